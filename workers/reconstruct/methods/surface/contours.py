"""Where a mesh's rendered outlines lie against the masks' borders."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.render.cpu.outlines import outline_crossings, screen_of
from workers.render.cpu.topology import joined
from workers.render.depth import clip_positions
from workers.render.rasterizer import interpolate, rasterize

Float = NDArray[np.float32]
Array = NDArray[np.float64]
Index = NDArray[np.int32]

_BATCH = 8  # views rasterised at once
_MARGIN = 4  # pixels from the frame's sides: nearer, a border may be the frame's
_FARTHEST = 8.0  # pixels between an outline and the border it is taken to belong to
_SAME_WAY = 0.7  # cosine between the two lines' normals: less is another part's border
_LEAST_GROWTH = 0.5  # of what an outline moves where its vertices move: less is one seen from behind


class Contours(NamedTuple):
    """M places where an outline passes between two pixels.

    view (M,): whose outline, ascending. corner (M,2): the vertices of the edge it lies on. growth (M,2): by
    how many pixels it moves there, across the mask's border, for a pixel that either vertex moves along its
    normal. residual (M,): pixels that the mask's border lies within the outline, negative where beyond.
    """

    view: NDArray[np.int64]
    corner: Index
    growth: Array
    residual: Array


def contours(
    vertices: Float,
    normals: Float,
    faces: Index,
    cameras: Cameras,
    distances: Float,
    frames: NDArray[np.int64],
    pixels: float,
) -> tuple[Contours, Float]:
    """The outlines of the mesh (V,3), (F,3) with unit normals (V,3) in N views, and depth maps (N,h,w), 0
    where there is no surface.

    distances: (N,h,w) of `signed_distances`. frames: (N,4) of a `Scene`. pixels: for a unit of length. An
    outline is where the antialiasing of `workers.render` finds it, and moves with its edge as its gradient
    does.
    """
    shape = (cameras.height, cameras.width)
    depth = np.zeros((len(cameras), *shape), np.float32)
    edges, clip, projection = joined(faces), clip_positions(vertices, cameras), cameras.projection()
    parts = []
    for start in range(0, len(cameras), _BATCH):
        views = range(start, min(start + _BATCH, len(cameras)))
        rast = rasterize(clip[views], faces, shape)
        found, share, starts = outline_crossings(screen_of(clip[views], *shape), edges, rast, faces)
        for i, view in enumerate(views):
            depth[view] = interpolate(clip[view, :, 3:], rast[i : i + 1], faces)[0, :, :, 0]
            own = slice(starts[i], starts[i + 1])
            at, beyond = found[own], share[own] + 0.5  # pixels from the inner pixel's centre
            free = rast[i].reshape(-1, 4)[at[:, 1], 3] <= 0
            at, beyond = at[free], beyond[free, None]
            inner, outer = (np.stack(np.divmod(at[:, k], shape[1])[::-1], 1) + 0.5 for k in (0, 1))
            place = inner + (outer - inner) * beyond
            low, high = frames[view, :2] + _MARGIN, frames[view, 2:] - _MARGIN
            within = ((place > low) & (place < high)).all(1)
            parts.append(
                _against(
                    place[within], at[within, 2:], vertices, normals, projection[view], distances[view], view
                )
            )
    whose, corner, growth, residual = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Contours(whose, corner, growth / pixels, residual), depth


def _against(
    place: Array,
    corner: Index,
    vertices: Float,
    normals: Float,
    projection: Array,
    distance: Float,
    view: int,
) -> Contours:
    """The contours of one view at the pixel coordinates `place` (M,2), on edges (M,2); growth for a unit."""
    residual = _at(distance, place)
    step = np.eye(2)
    slope = np.stack([_at(distance, place + d) - _at(distance, place - d) for d in step], axis=1)
    length = np.linalg.norm(slope, axis=1, keepdims=True)
    slope /= length + 1e-9
    homogeneous = vertices[corner] @ projection[:, :3].T + projection[:, 3]  # M,2,3
    ends, depth = homogeneous[..., :2] / homogeneous[..., 2:], homogeneous[..., 2:]
    along = ends[:, 1] - ends[:, 0]
    square = (along**2).sum(1) + 1e-9
    second = np.clip(((place - ends[:, 0]) * along).sum(1) / square, 0, 1)
    move = normals[corner] @ projection[:, :3].T
    growth = (((move[..., :2] - ends * move[..., 2:]) / depth) * slope[:, None]).sum(2)
    same_way = np.abs(along[:, 0] * slope[:, 1] - along[:, 1] * slope[:, 0]) > _SAME_WAY * np.sqrt(square)
    unit = np.linalg.norm(projection[0, :3]) / depth[:, :, 0]
    good = same_way & (length[:, 0] > 1) & (np.abs(residual) < _FARTHEST)
    good &= (growth > _LEAST_GROWTH * unit).all(1)
    growth *= np.stack([1 - second, second], axis=1)
    return Contours(np.full(good.sum(), view), corner[good], growth[good], residual[good])


def _at(image: Float, place: Array) -> Array:
    """Bilinear values (M,) of an image (h,w) at pixel coordinates (M,2), centres at +0.5."""
    x, y = (place - 0.5).astype(np.float32).T[:, None]
    values = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values, np.float64).reshape(-1)
