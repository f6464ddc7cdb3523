"""How a glTF file stores its arrays: as they are, or quantised and compressed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from meshoptimizer import (
    encode_index_buffer,
    encode_index_version,
    encode_vertex_buffer,
    encode_vertex_version,
)
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int32]

COMPONENTS = {"float32": 5126, "uint32": 5125, "int16": 5122, "uint16": 5123}
TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
VERTICES, INDICES = 34962, 34963  # targets of buffer views


class Buffers(ABC):
    """The binary chunk as it grows, and what the document says of it."""

    extensions: ClassVar[tuple[str, ...]] = ()
    """Of glTF, that a reader must know."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []

    @abstractmethod
    def positions(self, values: Array) -> int:
        """(V,3) in [-1,1]; the accessor's index."""

    @abstractmethod
    def directions(self, values: Array) -> int:
        """(V,3) or (V,4) in [-1,1]."""

    @abstractmethod
    def coordinates(self, values: Array) -> int:
        """(V,2) in [0,1]."""

    @abstractmethod
    def indices(self, faces: Index) -> int:
        """(F,3)"""

    def declared(self) -> list[dict[str, Any]]:
        """The document's `buffers`."""
        return [{"byteLength": len(self.data)}]

    def image(self, content: bytes, media_type: str) -> int:
        place = self._appended(content)
        self.views.append({"buffer": 0, "byteOffset": place, "byteLength": len(content)})
        self.images.append({"bufferView": len(self.views) - 1, "mimeType": media_type})
        return len(self.images) - 1

    def _appended(self, content: bytes) -> int:
        """Where it begins: at a multiple of four."""
        self.data.extend(b"\0" * (-len(self.data) % 4))
        self.data.extend(content)
        return len(self.data) - len(content)

    def _accessor(self, values: NDArray[Any], **more: Any) -> int:
        """Of the values in the newest view."""
        self.accessors.append(
            {
                "bufferView": len(self.views) - 1,
                "componentType": COMPONENTS[values.dtype.name],
                "count": len(values),
                "type": TYPES[values.shape[1] if values.ndim > 1 else 1],
                **more,
            }
        )
        return len(self.accessors) - 1


def _box(values: NDArray[Any]) -> dict[str, Any]:
    return {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}


class Plain(Buffers):
    """What any reader of glTF 2.0 can read: float32, and uint32 for indices."""

    def positions(self, values: Array) -> int:
        packed = values.astype(np.float32)
        return self._stored(packed, VERTICES, **_box(packed))

    def directions(self, values: Array) -> int:
        return self._stored(values.astype(np.float32), VERTICES)

    def coordinates(self, values: Array) -> int:
        return self._stored(values.astype(np.float32), VERTICES)

    def indices(self, faces: Index) -> int:
        return self._stored(faces.astype(np.uint32).reshape(-1), INDICES)

    def _stored(self, values: NDArray[Any], target: int, **more: Any) -> int:
        content = np.ascontiguousarray(values).tobytes()
        place = self._appended(content)
        self.views.append({"buffer": 0, "byteOffset": place, "byteLength": len(content), "target": target})
        return self._accessor(values, **more)


class Compressed(Buffers):
    """16 bits a number (KHR_mesh_quantization), compressed by meshoptimizer (EXT_meshopt_compression).

    A view of compressed data names a place in a second buffer, which nobody has: where it is decoded to.
    """

    extensions = ("KHR_mesh_quantization", "EXT_meshopt_compression")

    def __init__(self) -> None:
        super().__init__()
        self._decoded = 0

    def positions(self, values: Array) -> int:
        packed = _quantised(values, np.int16)
        return self._vertices(packed, **_box(packed))

    def directions(self, values: Array) -> int:
        return self._vertices(_quantised(values, np.int16))

    def coordinates(self, values: Array) -> int:
        return self._vertices(_quantised(values, np.uint16))

    def indices(self, faces: Index) -> int:
        packed = faces.astype(np.uint32).reshape(-1)
        encode_index_version(1)
        content = encode_index_buffer(packed, len(packed), int(packed.max()) + 1)
        self._view(content, 4, len(packed), "TRIANGLES", INDICES)
        return self._accessor(packed)

    def declared(self) -> list[dict[str, Any]]:
        decoded = {"byteLength": self._decoded, "extensions": {"EXT_meshopt_compression": {"fallback": True}}}
        return [*super().declared(), decoded]

    def _vertices(self, packed: NDArray[Any], **more: Any) -> int:
        wide = np.zeros((len(packed), packed.shape[1] + packed.shape[1] % 2), packed.dtype)  # to four bytes
        wide[:, : packed.shape[1]] = packed
        stride = wide.shape[1] * wide.itemsize
        encode_vertex_version(0)  # the one that the extension knows
        content = encode_vertex_buffer(np.ascontiguousarray(wide).view(np.uint8), len(wide), stride)
        self._view(content, stride, len(wide), "ATTRIBUTES", VERTICES)
        return self._accessor(packed, normalized=True, **more)

    def _view(self, content: bytes, stride: int, count: int, mode: str, target: int) -> None:
        length = stride * count
        compressed = {
            "buffer": 0,
            "byteOffset": self._appended(bytes(content)),
            "byteLength": len(content),
            "byteStride": stride,
            "count": count,
            "mode": mode,
        }
        view = {
            "buffer": 1,
            "byteOffset": self._decoded,
            "byteLength": length,
            "target": target,
            "extensions": {"EXT_meshopt_compression": compressed},
        }
        self.views.append(view if mode == "TRIANGLES" else {**view, "byteStride": stride})
        self._decoded += length


def _quantised(values: Array, kind: type[np.int16] | type[np.uint16]) -> NDArray[Any]:
    """Values in [-1,1], or [0,1] for an unsigned kind, as normalised integers."""
    return np.round(values * np.iinfo(kind).max).astype(kind)
