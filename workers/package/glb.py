"""A textured mesh as binary glTF 2.0 (https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html)."""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.package.buffers import Buffers, Plain
from workers.package.model import Model

Array = NDArray[np.float64]
Pictures = Mapping[str, tuple[bytes, str]]
"""Of the textures "kd", "ks" and "n": the encoded picture, and its media type."""

WEBP = "EXT_texture_webp"


def y_up_metres(up: Sequence[float] | None, scale: float | None) -> Array:
    """(4, 4) from the capture's world to glTF's: +y up, metres. What is not known stays as it is.

    up: unit vector; scale: metres per unit.
    """
    matrix = np.eye(4)
    if up is not None:
        matrix[:3, :3] = _rotation_between(np.array(up, float), np.array([0.0, 1.0, 0.0]))
    if scale is not None:
        matrix[:3, :3] *= scale
    return matrix


def unit(vector: Array) -> Array:
    """(3,) of length 1; +y where it has none."""
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else np.array([0.0, 1.0, 0.0])


def tangents(positions: Array, normals: Array, uv: Array, faces: NDArray[np.integer]) -> Array:
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
    model: Model, pictures: Pictures, root: Array, extras: dict[str, Any], buffers: Buffers | None = None
) -> bytes:
    """The GLB file.

    root (4,4): from the model's frame to glTF's, see `y_up_metres`. extras: what `asset.extras` is to hold.
    buffers: how arrays are stored, `Plain` unless said. The mesh is stored about its own centre, which its
    node gives back: float32 keeps its precision wherever in the world the object stands.
    """
    low, high = model.vertices.min(axis=0), model.vertices.max(axis=0)
    centre, size = (low + high) / 2, float((high - low).max())
    flipped = np.stack([model.uv[:, 0], 1 - model.uv[:, 1]], axis=1).astype(np.float64)
    normals = model.normals.astype(np.float64)
    buffers = buffers or Plain()
    attributes = {
        "POSITION": buffers.positions((model.vertices - centre) / size),
        "NORMAL": buffers.directions(normals),
        "TANGENT": buffers.directions(tangents(model.vertices, normals, flipped, model.faces)),
        "TEXCOORD_0": buffers.coordinates(np.clip(flipped, 0, 1)),
    }
    primitive = {"attributes": attributes, "indices": buffers.indices(model.faces), "material": 0}
    sources = {name: buffers.image(*pictures[name]) for name in ("kd", "ks", "n")}
    node = {"name": "object", "mesh": 0, "translation": centre.tolist(), "scale": [size] * 3}
    document = {
        "asset": {"version": "2.0", "generator": "phototwin", "extras": extras},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "world", "children": [1], **_transform(root)}, node],
        "meshes": [{"name": "object", "primitives": [primitive]}],
        "materials": [
            {
                "name": "surface",
                "pbrMetallicRoughness": {
                    "baseColorTexture": {"index": 0},
                    "metallicRoughnessTexture": {"index": 1},
                },
                "occlusionTexture": {"index": 1},
                "normalTexture": {"index": 2},
            }
        ],
        "textures": [_texture(source, pictures[name][1]) for name, source in sources.items()],
        "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}],
        "images": buffers.images,
        "accessors": buffers.accessors,
        "bufferViews": buffers.views,
        "buffers": buffers.declared(),
    }
    needed = [*buffers.extensions, *([WEBP] if pictures["kd"][1] == "image/webp" else [])]
    if needed:
        document |= {"extensionsUsed": needed, "extensionsRequired": needed}
    return _container(document, bytes(buffers.data))


def _texture(source: int, media_type: str) -> dict[str, Any]:
    if media_type == "image/webp":
        return {"sampler": 0, "extensions": {WEBP: {"source": source}}}
    return {"source": source, "sampler": 0}


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
