"""A textured mesh as binary glTF 2.0 (https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html)."""

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FLOAT, UNSIGNED_INT = 5126, 5125
VERTICES, INDICES = 34962, 34963
COMPONENTS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}


def y_up_metres(up: tuple[float, float, float] | None, scale: float | None) -> Array:
    """(4, 4) from the capture's world to glTF's: +y up, metres. What is not known stays as it is.

    up: unit vector; scale: metres per unit.
    """
    matrix = np.eye(4)
    if up is not None:
        matrix[:3, :3] = _rotation_between(np.array(up, float), np.array([0.0, 1.0, 0.0]))
    if scale is not None:
        matrix[:3, :3] *= scale
    return matrix


def tangents(positions: Array, normals: Array, uv: Array, faces: NDArray[np.int64]) -> Array:
    """(V, 4) tangents with the sign of the bitangent, as glTF wants them: along +u, orthogonal to
    the normals. positions, normals (V, 3); uv (V, 2) with v down; faces (F, 3)."""
    p, t = positions[faces], uv[faces]
    e1, e2 = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    (u1, v1), (u2, v2) = (t[:, 1] - t[:, 0]).T, (t[:, 2] - t[:, 0]).T
    area = u1 * v2 - u2 * v1
    sign = np.where(area < 0, -1.0, 1.0)[:, None]
    along_u = (e1 * v2[:, None] - e2 * v1[:, None]) * sign  # F,3, weighted by area
    along_v = (e2 * u1[:, None] - e1 * u2[:, None]) * sign
    sums = np.zeros((2, len(positions), 3))
    for corner in range(3):
        np.add.at(sums[0], faces[:, corner], along_u)
        np.add.at(sums[1], faces[:, corner], along_v)
    tangent = sums[0] - (sums[0] * normals).sum(1, keepdims=True) * normals
    length = np.linalg.norm(tangent, axis=1, keepdims=True)
    tangent = np.where(length > 1e-12, tangent / np.maximum(length, 1e-12), _any_orthogonal(normals))
    # glTF's bitangent points along +v of the picture's lower left origin, that is along -v here.
    handed = np.where((np.cross(normals, tangent) * -sums[1]).sum(1) < 0, -1.0, 1.0)
    return np.concatenate([tangent, handed[:, None]], axis=1)


def encode(
    positions: Array,
    normals: Array,
    uv: Array,
    faces: NDArray[np.int64],
    textures: dict[str, tuple[bytes, str]],
    root: Array,
    extras: dict[str, Any],
) -> bytes:
    """The GLB file.

    positions, normals (V, 3) in the capture's world; uv (V, 2) with v up, as in OBJ; faces (F, 3);
    textures: "kd", "ks", "n" -> (encoded bytes, media type); root (4, 4), see `y_up_metres`.
    The mesh is stored about its own centre, which its node gives back: float32 keeps its precision
    wherever in the world the object stands.
    """
    centre = (positions.min(axis=0) + positions.max(axis=0)) / 2
    flipped = np.stack([uv[:, 0], 1 - uv[:, 1]], axis=1)
    tangent = tangents(positions, normals, flipped, faces)
    binary = _Binary()
    attributes = {
        "POSITION": binary.vertices(positions - centre, bounds=True),
        "NORMAL": binary.vertices(normals),
        "TANGENT": binary.vertices(tangent),
        "TEXCOORD_0": binary.vertices(flipped),
    }
    primitive = {"attributes": attributes, "indices": binary.indices(faces), "material": 0}
    images = {name: binary.image(*textures[name]) for name in ("kd", "ks", "n")}
    document = {
        "asset": {"version": "2.0", "generator": "phototwin", "extras": extras},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [
            {"name": "world", "children": [1], **_transform(root)},
            {"name": "object", "mesh": 0, "translation": centre.tolist()},
        ],
        "meshes": [{"name": "object", "primitives": [primitive]}],
        "materials": [
            {
                "name": "surface",
                "pbrMetallicRoughness": {
                    "baseColorTexture": {"index": images["kd"]},
                    "metallicRoughnessTexture": {"index": images["ks"]},
                },
                "normalTexture": {"index": images["n"]},
            }
        ],
        "textures": [{"source": index, "sampler": 0} for index in images.values()],
        "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}],
        "images": binary.images,
        "accessors": binary.accessors,
        "bufferViews": binary.views,
        "buffers": [{"byteLength": len(binary.data)}],
    }
    return _container(document, bytes(binary.data))


class _Binary:
    """The binary chunk as it grows, with the views and accessors into it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []

    def _view(self, content: bytes, **more: int) -> int:
        self.data.extend(b"\0" * (-len(self.data) % 4))
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content), **more})
        self.data.extend(content)
        return len(self.views) - 1

    def _accessor(self, view: int, values: NDArray[Any], component: int, **more: Any) -> int:
        width = values.shape[1] if values.ndim > 1 else 1
        self.accessors.append(
            {
                "bufferView": view,
                "componentType": component,
                "count": len(values),
                "type": COMPONENTS[width],
                **more,
            }
        )
        return len(self.accessors) - 1

    def vertices(self, values: Array, *, bounds: bool = False) -> int:
        packed = np.ascontiguousarray(values, np.float32)
        view = self._view(packed.tobytes(), target=VERTICES)
        box = {"min": packed.min(0).tolist(), "max": packed.max(0).tolist()} if bounds else {}
        return self._accessor(view, packed, FLOAT, **box)

    def indices(self, faces: NDArray[np.int64]) -> int:
        packed = np.ascontiguousarray(faces, np.uint32).reshape(-1)
        return self._accessor(self._view(packed.tobytes(), target=INDICES), packed, UNSIGNED_INT)

    def image(self, content: bytes, media_type: str) -> int:
        self.images.append({"bufferView": self._view(content), "mimeType": media_type})
        return len(self.images) - 1


def _container(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    chunks += struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks


def _transform(matrix: Array) -> dict[str, Any]:
    """Nothing for the identity, which glTF leaves out; column-major otherwise."""
    return {} if np.allclose(matrix, np.eye(4)) else {"matrix": matrix.T.reshape(-1).tolist()}


def _rotation_between(a: Array, b: Array) -> Array:
    """(3, 3) the smallest rotation that takes unit vector a to unit vector b (Rodrigues)."""
    axis, cosine = np.cross(a, b), float(a @ b)
    if cosine < -1 + 1e-9:
        half = _any_orthogonal(a[None])[0]
        return 2 * np.outer(half, half) - np.eye(3)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 + cosine))


def _any_orthogonal(vectors: Array) -> Array:
    """(N, 3) unit vectors, each orthogonal to the one given."""
    helper = np.where(np.abs(vectors[:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]])
    across = np.cross(vectors, helper)
    return np.asarray(across / np.linalg.norm(across, axis=1, keepdims=True))
