"""What a camera's pixels show of a model's material."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.evaluate.mesh import Mesh
from workers.geometry.cameras import Cameras
from workers.geometry.colour import decode_srgb
from workers.render.depth import clip_positions
from workers.render.rasterizer import interpolate, rasterize, texture

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Surface:
    """What one camera sees at the centres of its pixels.

    seen: (h,w) where there is surface; the P such pixels, row by row, have albedo (P,3) linear, roughness and
    metalness (P,) or None where the model does not say, and normals (P,3), unit, in the world, with the
    normal map.
    """

    seen: Bool
    albedo: Float
    roughness: Float | None
    metalness: Float | None
    normals: Float


def look_up(mesh: Mesh, camera: Cameras) -> Surface:
    """What one camera, in the mesh's frame, sees of its materials."""
    rast = rasterize(clip_positions(mesh.vertices, camera), mesh.faces, (camera.height, camera.width))
    seen = rast[0, :, :, 3] > 0
    uv, normals = (interpolate(part, rast, mesh.faces)[0][seen] for part in (mesh.uv, mesh.normals))
    normals = _unit(normals)
    if mesh.normal_map is not None:
        bend = _unit(texture(mesh.normal_map.astype(np.float32) / np.float32(255), uv) * 2 - 1)
        normals = _bent(mesh, rast[0, :, :, 3][seen].astype(np.int64) - 1, normals, bend)
    albedo = _albedo(mesh, rast, seen)
    if mesh.ks is None:
        return Surface(seen, albedo, None, None, normals)
    _, roughness, metalness = texture(mesh.ks.astype(np.float32) / np.float32(255), uv).T
    return Surface(seen, albedo, roughness, metalness, normals)


def look_up_albedo(mesh: Mesh, camera: Cameras) -> tuple[Bool, Float]:
    """`seen` and `albedo` of `look_up` alone."""
    rast = rasterize(clip_positions(mesh.vertices, camera), mesh.faces, (camera.height, camera.width))
    seen = rast[0, :, :, 3] > 0
    return seen, _albedo(mesh, rast, seen)


def _albedo(mesh: Mesh, rast: Float, seen: Bool) -> Float:
    if mesh.colours is not None:
        drawn: Float = interpolate(decode_srgb(mesh.colours), rast, mesh.faces)[0][seen]
        return drawn
    return texture(decode_srgb(mesh.kd), interpolate(mesh.uv, rast, mesh.faces)[0][seen])


def _bent(mesh: Mesh, face: NDArray[np.int64], normals: Float, bend: Float) -> Float:
    """(P,3) `normals` of faces (P,) turned as `bend` (P,3), in the tangent frame, says.

    Its x runs along increasing u in the face's plane, made orthogonal to the normal; its y along increasing
    v, which is on the other side where the face's texture is mirrored.
    """
    corner, place = mesh.vertices[mesh.faces], mesh.uv[mesh.faces]
    along, across = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    (u1, v1), (u2, v2) = (place[:, 1] - place[:, 0]).T, (place[:, 2] - place[:, 0]).T
    side = np.where(u1 * v2 - u2 * v1 < 0, np.float32(-1), np.float32(1))[:, None]
    tangent = ((along * v2[:, None] - across * v1[:, None]) * side)[face]
    tangent = _unit(tangent - normals * (normals * tangent).sum(1, keepdims=True))
    x, y, z = bend.T[..., None]
    return _unit(tangent * x + np.cross(normals, tangent) * side[face] * y + normals * z)


def _unit(vectors: Float) -> Float:
    result: Float = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return result
