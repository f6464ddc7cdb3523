"""Masks as signed distances, and their gross mistakes mended by the other views."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.geometry.grid import Grid, zero_surface
from workers.reconstruct.methods.model import Scene
from workers.reconstruct.methods.surface.hull import hull_distance
from workers.render.depth import depth_maps

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

_MANY_VIEWS = 12  # from which a lone view is doubted; with fewer, most of the carving is done by lone views
_VOXELS = 96
_THICK = 0.025  # of the object's longest side: width from which a disputed part is a mistake, not a rim


def signed_distances(masks: Bool, frames: NDArray[np.int64]) -> Float:
    """(N,h,w) pixels from each pixel's centre to the mask's border, negative on the object.

    A mask (N,h,w) cut by its frame (N,4: left, top, right, bottom) counts as going straight on beyond it.
    """
    height, width = masks.shape[1:]
    pad = max(height, width) // 4
    distances = np.empty(masks.shape, np.float32)
    for i, (mask, (left, top, right, bottom)) in enumerate(zip(masks, frames, strict=True)):
        rows = np.clip(np.arange(-pad, height + pad), top, bottom - 1)
        columns = np.clip(np.arange(-pad, width + pad), left, right - 1)
        wide = mask[rows][:, columns].astype(np.uint8)
        outside = cv2.distanceTransform(1 - wide, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        inside = cv2.distanceTransform(wide, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        # The border runs between pixels, half a pixel from either centre; the blur takes off the staircase.
        signed = np.where(wide > 0, 0.5 - inside, outside - 0.5).astype(np.float32)
        distances[i] = cv2.GaussianBlur(signed, (0, 0), 0.8)[pad:-pad, pad:-pad]
    return distances


def dissenters(views: int) -> int:
    """How many views may call a sample outside before it is taken to be, where mistakes are expected."""
    return 1 if views >= _MANY_VIEWS else 0


def mended(scene: Scene, half: NDArray[np.float64]) -> Scene:
    """The scene with parts put back that single masks miss: a shadow taken for background, a lost limb.

    half: (3,) half sides of the object's box around 0. A part is put back in a view's mask where the hull
    that two views have to agree to carve shows there, and is wider there than a rim; thin differences stay as
    they are, since every view rightly carves some of those alone. Nothing is changed with few views.
    """
    views = len(scene.masks)
    if dissenters(views) == 0:
        return scene
    grid = Grid.around(-half, half, _VOXELS)
    field = hull_distance(signed_distances(scene.masks, scene.frames), scene.cameras, grid, dissenters(views))
    if not (field < 0).any():
        return scene
    shown = depth_maps(*zero_surface(field, grid), scene.cameras)
    focal = scene.cameras.intrinsics[:, :2].mean(1)
    masks = scene.masks.copy()
    for i, mask in enumerate(scene.masks):
        disputed = ((shown[i] > 0) & ~mask).astype(np.uint8)
        if not disputed.any():
            continue
        width = _THICK * focal[i] / float(np.median(shown[i][shown[i] > 0]))  # pixels
        core = cv2.distanceTransform(disputed, cv2.DIST_L2, 5) > max(width / 2, 2)
        reach = (
            cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 5) < width if core.any() else core
        )
        masks[i] = mask | (reach & (disputed > 0))
    return replace(scene, masks=masks)
