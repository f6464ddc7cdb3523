"""The object's box found from the masks, and views cut to the object."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.geometry.errors import NumericError
from workers.geometry.grid import Grid
from workers.reconstruct.methods.model import Scene
from workers.reconstruct.methods.surface.hull import hull
from workers.reconstruct.methods.surface.masks import dissenters, signed_distances
from workers.reconstruct.threads import each

Float = NDArray[np.float32]
Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_COARSE = 72  # samples on the longest side of the grids the object is looked for in
_SMALLEST_MASK = 50  # pixels: less is no object


def usable(scene: Scene) -> Scene:
    """The photos whose mask shows anything.

    NumericError: "too_few_images" where there is one photo alone, "mask_empty" where fewer than two do.
    """
    if len(scene.images) < 2:
        raise NumericError("too_few_images", "only one image has a mask", found=1, needed=2)
    shown = scene.masks.sum((1, 2)) >= _SMALLEST_MASK
    if shown.sum() < 2:
        first = scene.cameras.names[int(np.argmin(shown))]
        message = f"only {shown.sum()} of {len(shown)} masks show anything; that of {first} does not"
        raise NumericError("mask_empty", message, file=first)
    return scene.select(np.flatnonzero(shown))


def bounding_sphere(scene: Scene) -> tuple[Array, float]:
    """Centre (3,) and radius of a sphere around the object, generous, from its masks alone.

    The centre is the point nearest to the rays through the masks' centroids (least squares, reweighted twice
    against outliers). The radius is what the larger masks' pixels are away from it, at the centre's depth.
    """
    cameras = scene.cameras
    pixels = each(lambda mask: np.argwhere(mask)[:, ::-1] + 0.5, scene.masks)
    fx, fy, cx, cy = cameras.intrinsics.T
    u, v = np.array([p.mean(0) for p in pixels]).T
    camera_rays = np.stack([(u - cx) / fx, -(v - cy) / fy, -np.ones(len(u))], axis=1)
    rays = np.einsum("nij,nj->ni", cameras.c2w[:, :3, :3], camera_rays)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    across = np.eye(3) - rays[:, :, None] * rays[:, None]  # N,3,3 projectors across each ray
    weight = np.ones(len(rays))
    centre = np.zeros(3)
    for _ in range(3):
        # A faint wish to stay near the cameras decides the depth where all rays are parallel.
        pull = 1e-6 * np.eye(3)
        left = np.einsum("n,nij->ij", weight, across) + pull
        right = np.einsum("n,nij,nj->i", weight, across, cameras.centres) + pull @ cameras.centres.mean(0)
        centre = np.linalg.solve(left, right)
        away = np.linalg.norm(np.einsum("nij,nj->ni", across, centre - cameras.centres), axis=1)
        weight = 1 / (1 + (away / (np.median(away) + 1e-12)) ** 2)
    homogeneous = cameras.projection() @ np.append(centre, 1)  # N,3
    ahead = np.flatnonzero(homogeneous[:, 2] > 0)
    if not len(ahead):
        raise NumericError("masks_inconsistent", "the object lies behind all cameras")

    def offset(i: int) -> float:
        x, y, w = homogeneous[i]
        return float(np.linalg.norm(pixels[i] - np.array([x, y]) / w, axis=1).max() * w / fx[i])

    return centre, float(np.quantile(each(offset, ahead), 0.9))


def object_box(scene: Scene, distances: Float | None = None) -> tuple[Array, Array]:
    """Opposite corners (3,), (3,) of a box tight around what the masks carve, in the scene's frame.

    Two coarse carvings: one of the bounding sphere's box, one of what the first left, so that an object whose
    masks are small or off-centre still ends with a full grid. distances: (N,h,w) of `signed_distances`, where
    they are known.
    NumericError: "masks_inconsistent" where the masks leave nothing.
    """
    centre, radius = bounding_sphere(scene)
    low, high = centre - 1.5 * radius, centre + 1.5 * radius
    if distances is None:
        distances = signed_distances(scene.masks, scene.frames)
    allowed = dissenters(len(scene.masks))
    for _ in range(2):
        grid = Grid.around(low, high, _COARSE)
        inside = grid.points(hull(scene, distances, grid, allowed) < 0.6 * grid.spacing)
        if len(inside) == 0:
            raise NumericError("masks_inconsistent", "no part of space is on every mask")
        low, high = inside.min(0) - grid.spacing / 2, inside.max(0) + grid.spacing / 2
    return low, high


def to_unit_frame(scene: Scene, distances: Float | None = None) -> tuple[Scene, Array, Array]:
    """The scene in the object's own frame, whose box is centred on 0 with its longest side from -0.5 to 0.5.

    Returns that scene, half the box's sides (3,) in its frame, and the similarity (4,4) from the given frame
    to it. distances: see `object_box`.
    """
    low, high = object_box(scene, distances)
    scale = 1 / float(np.max(high - low))
    similarity = np.diag([scale, scale, scale, 1.0])
    similarity[:3, 3] = -scale * (low + high) / 2
    return scene.transformed(similarity), scale * (high - low) / 2, similarity


def cut_to_object(scene: Scene, half: Array, size: int) -> Scene:
    """The photos cut to the object and resized to size x size, never enlarged beyond a photo's own pixels.

    half: (3,) half sides of the object's box around 0. Each view's window is the square around the box's
    corners; what lies beyond the photo's frame is black and not object.
    """
    corners = np.stack(np.meshgrid(*[(-h, h) for h in half], indexing="ij"), axis=-1).reshape(-1, 3)
    corners = np.concatenate([corners, np.ones((8, 1))], axis=1)
    homogeneous = corners @ scene.cameras.projection().transpose(0, 2, 1)  # N,8,3
    pixels = homogeneous[:, :, :2] / np.maximum(homogeneous[:, :, 2:], 1e-6)  # N,8,2
    images = np.zeros((len(pixels), size, size, 3), np.uint8)
    masks = np.zeros((len(pixels), size, size), bool)
    frames = np.empty_like(scene.frames)
    intrinsics = scene.cameras.intrinsics.copy()

    def cut(i: int) -> None:
        corner = pixels[i]
        low, high = np.floor(corner.min(0)) - 2, np.ceil(corner.max(0)) + 2
        side = int(min(max(high - low), 2 * max(scene.masks.shape[1:])))
        left, top = np.round((low + high - side) / 2).astype(int)
        scaled = min(size, side)
        image = _window(scene.images[i], scene.frames[i], left, top, side)
        mask = _window(scene.masks[i].astype(np.uint8) * 255, scene.frames[i], left, top, side)
        images[i, :scaled, :scaled] = cv2.resize(image, (scaled, scaled), interpolation=cv2.INTER_AREA)
        masks[i, :scaled, :scaled] = cv2.resize(mask, (scaled, scaled), interpolation=cv2.INTER_AREA) > 127
        frame = (scene.frames[i] - [left, top, left, top]) * (scaled / side)
        frames[i] = np.clip(np.concatenate([np.ceil(frame[:2]), np.floor(frame[2:])]), 0, scaled)
        intrinsics[i, 2:] -= left, top
        intrinsics[i] *= scaled / side

    each(cut, range(len(pixels)))
    cameras = replace(scene.cameras, intrinsics=intrinsics, width=size, height=size)
    return replace(scene, images=images, masks=masks, cameras=cameras, frames=frames)


def _window(image: Image, frame: NDArray[np.int64], left: int, top: int, side: int) -> Image:
    """The square window of an image (h,w,...), 0 beyond the image's frame."""
    window = np.zeros((side, side, *image.shape[2:]), np.uint8)
    x0, y0 = np.maximum(frame[:2], [left, top])
    x1, y1 = np.minimum(frame[2:], [left + side, top + side])
    if x0 < x1 and y0 < y1:
        window[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    return window
