"""How alike two surfaces look from all around.

In the spirit of DR-KFS (Jin et al. 2020, "A differentiable visual similarity metric for 3D shape
reconstruction"; DR-KFD in 2019), which compares depth renders from key views by the features of a network
trained for that. Here outlines and structural similarity compare them instead: **the measure is ours, and its
figures are not DR-KFS's**.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage import metrics

from workers.render.rasterizer import rasterize

Float = NDArray[np.float32]
Array = NDArray[np.float64]
Surface = tuple[NDArray[np.floating], NDArray[np.integer]]

PIXELS = 128
_MARGIN = 1.05  # of the ball's radius: half a picture


def key_views() -> Array:
    """(20,3,3) turns from the world to a camera's axes (right, up, back), one for each corner of a
    dodecahedron, from which it looks at the middle.
    """
    golden = (1 + 5**0.5) / 2
    cube = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
    others = np.array([[0, y / golden, z * golden] for y in (-1, 1) for z in (-1, 1)])
    corners = np.concatenate([cube, *(np.roll(others, k, axis=1) for k in range(3))])
    back = corners / np.linalg.norm(corners, axis=1, keepdims=True)
    right = np.cross(np.eye(3)[np.argmin(np.abs(back), axis=1)], back)  # the axis that is most sideways is up
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return np.stack([right, np.cross(back, right), back], axis=1)


def depth_pictures(surface: Surface, middle: Array, radius: float) -> Float:
    """(20,PIXELS,PIXELS) orthographic depth from the key views of the ball around `middle` (3,): 1 at its
    nearest point, near 0 at its farthest, 0 where there is no surface.
    """
    vertices, faces = (np.asarray(part) for part in surface)
    clip = np.ones((1, len(vertices), 4), np.float32)
    pictures = []
    for view in key_views():
        clip[0, :, :3] = (vertices - middle) / radius @ view.T * [1, 1, -1]
        rast = rasterize(clip, faces.astype(np.int32), (PIXELS, PIXELS))[0]
        pictures.append(np.where(rast[..., 3] > 0, (1 - rast[..., 2]) / 2, 0))
    return np.array(pictures, np.float32)


def key_view_similarity(found: Surface, true: Surface) -> float:
    """Mean over 20 key views of the mean of two figures: the IoU of the outlines, and the mean structural
    similarity (Wang et al. 2004, sigma 1.5, at least 0) of the depths within either outline.

    found, true: (vertices (V,3), faces (F,3)) in one frame, with faces; they are seen at one scale, of the
    ball around the box of both. In [0,1], 1 for the same surface, and the same whichever is which. Only what
    is seen from outside counts: a hollow without an opening does not.
    """
    corners = np.concatenate([vertices[faces].reshape(-1, 3) for vertices, faces in (found, true)])
    low, high = corners.min(0).astype(np.float64), corners.max(0).astype(np.float64)
    middle, radius = (low + high) / 2, _MARGIN * float(np.linalg.norm(high - low)) / 2
    pictures = (depth_pictures(surface, middle, radius) for surface in (found, true))
    return float(np.mean([_likeness(a, b) for a, b in zip(*pictures, strict=True)]))


def _likeness(a: Float, b: Float) -> float:
    """Of one view's depths (h,w); 1 where neither surface is seen, as of a sheet from its side."""
    either, both = (a > 0) | (b > 0), (a > 0) & (b > 0)
    if not either.any():
        return 1.0
    _, structure = metrics.structural_similarity(  # type: ignore[no-untyped-call]
        a, b, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    return (float(both.sum() / either.sum()) + max(float(structure[either].mean(dtype=np.float64)), 0.0)) / 2
