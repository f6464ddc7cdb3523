"""Where a surface turns away from the cameras, and how far that lies from the masks' borders."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.mesh import edges, vertex_normals
from workers.reconstruct.methods.model import Scene
from workers.render.depth import depth_maps

Float = NDArray[np.float32]
Array = NDArray[np.float64]
Index = NDArray[np.int32]

_MARGIN = 4  # pixels from the frame's sides: nearer, a border may be the frame's
_FARTHEST = 8.0  # pixels between a rim and the border it is taken to belong to
_SAME_WAY = 0.7  # cosine between the two outlines' normals: less is another part's border
_PIXEL_AXES = np.array([1.0, -1.0, -1.0])  # the camera's axes, right, down and forwards
_SQUARE = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Rims:
    """M samples of the outlines that a mesh has in N views.

    view (M,): whose outline. corner (M,2): the ends of the mesh's edge a sample lies on; share (M,2): of
    them. residual (M,): pixels that the mask's border lies within the outline, negative where beyond.
    growth (M,): by how much the residual grows for a unit that the surface grows there. turning (M,6): by how
    much for a radian that the camera turns about its own axes right, down and forwards, and for moving along
    them, in units of its distance from the origin.
    """

    view: NDArray[np.int64]
    corner: NDArray[np.int64]
    share: Array
    residual: Array
    growth: Array
    turning: Array


def rims(vertices: Float, faces: Index, scene: Scene, distances: Float) -> Rims:
    """The rims of the mesh (V,3), (F,3) in the scene's views, with distances (N,h,w) of `signed_distances`.

    The rim runs where the interpolated normal is perpendicular to the view (Hertzmann and Zorin 2000, section
    4.1), so it is as smooth as the surface; a sample counts where it lies on the rendered outline and the
    mask's border next to it runs the same way.
    """
    normals, (corners, _) = vertex_normals(vertices, faces), edges(faces)
    shown = depth_maps(vertices, faces, scene.cameras) > 0
    parts = []
    for i in range(len(scene.masks)):
        cover = shown[i].astype(np.uint8)
        outline = cv2.dilate(cover, _SQUARE) != cv2.erode(cover, _SQUARE)
        camera = scene.cameras.select([i])
        part = _rims(vertices, normals, corners, camera, outline, distances[i], scene.frames[i])
        parts.append((np.full(len(part[0]), i), *part))
    return Rims(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _rims(
    vertices: Float,
    normals: Float,
    corners: NDArray[np.int64],
    camera: Cameras,
    outline: NDArray[np.bool_],
    distance: Float,
    frame: NDArray[np.int64],
) -> tuple[NDArray[np.int64], Array, Array, Array, Array]:
    """Of one view: corner, share, residual, growth and turning of `Rims`."""
    facing = (normals * (camera.centres[0] - vertices)).sum(1)
    corners = corners[(facing[corners] > 0).sum(1) == 1]
    share = np.abs(facing[corners])[:, ::-1]
    share /= share.sum(1, keepdims=True)
    point = (vertices[corners] * share[..., None]).sum(1)
    normal = (normals[corners] * share[..., None]).sum(1)
    projection = camera.projection()[0]
    u, v, w = projection @ np.concatenate([point, np.ones((len(point), 1))], axis=1).T
    u, v = u / w, v / w
    left, top, right, bottom = frame + np.array([1, 1, -1, -1]) * _MARGIN
    inside = (w > 0) & (u > left) & (v > top) & (u < right) & (v < bottom)
    inside[inside] = outline[v[inside].astype(int), u[inside].astype(int)]
    corners, share, point, normal, u, v, w = (
        values[inside] for values in (corners, share, point, normal, u, v, w)
    )
    residual = _at(distance, u, v)
    slope = np.stack(
        [_at(distance, u + 1, v) - _at(distance, u - 1, v), _at(distance, u, v + 1) - _at(distance, u, v - 1)]
    )
    length = np.linalg.norm(slope, axis=0) + 1e-9
    slope /= length
    across = projection[:2, :3] @ normal.T - np.stack([u, v]) * (projection[2, :3] @ normal.T)
    aligned = (slope * across).sum(0) > _SAME_WAY * np.linalg.norm(across, axis=0)
    good = aligned & (length > 1) & (np.abs(residual) < _FARTHEST)
    focal = camera.intrinsics[0, :2, None]
    x, y, z = ((point - camera.centres[0]) @ camera.c2w[0, :3, :3] * _PIXEL_AXES).T
    pull = np.stack([*(slope * focal), -(slope * focal * [x, y]).sum(0) / z]) / z  # 3,M: of the point
    turn = np.cross(pull.T, np.stack([x, y, z], axis=1))
    turning = np.concatenate([turn, -pull.T * np.linalg.norm(camera.centres[0])], axis=1)
    growth = camera.intrinsics[0, :2].mean() / w
    return corners[good], share[good], residual[good], growth[good], turning[good]


def _at(image: Float, u: Array, v: Array) -> Array:
    """Bilinear values (M,) of an image (h,w) at pixel coordinates, centres at +0.5."""
    x, y = (u - 0.5).astype(np.float32)[None], (v - 0.5).astype(np.float32)[None]
    values = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values, np.float64).reshape(-1)
