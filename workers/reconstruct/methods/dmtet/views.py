"""Photos as the optimiser wants them: cut to the object, small, linear and premultiplied."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.reconstruct.methods.dmtet.losses import linear_from_srgb
from workers.reconstruct.methods.model import Scene

Float = NDArray[np.float32]

_BEYOND = 0.9  # what the object may stretch from the frame's middle, in its unit frame


@dataclass(frozen=True)
class Views:
    """N square views on one device.

    colour: (N,h,h,3) linear radiance times coverage. cover: (N,h,h,1). known: (N,h,h,1), 0 where a view shows
    no photo. clip: (N,4,4): row vectors (x, y, z, 1) times this are clip-space positions. centres: (N,3).
    """

    colour: Tensor
    cover: Tensor
    known: Tensor
    clip: Tensor
    centres: Tensor

    def select(self, index: Tensor) -> Views:
        """The views at `index`."""
        return Views(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def batch(self, seed: int, iteration: int, size: int) -> Views:
        """The views of an iteration: all in turn, in an order drawn anew for every round."""
        count = len(self.cover)
        places = range(iteration * size, (iteration + 1) * size)
        chosen = [np.random.default_rng((seed, k // count)).permutation(count)[k % count] for k in places]
        return self.select(torch.tensor(chosen, device=self.cover.device))


def cut(scene: Scene, half: NDArray[np.float64], size: int, device: torch.device) -> Views:
    """The photos cut to the object's box -half..half (3,) and resampled to size x size."""
    corners = np.stack(np.meshgrid(*[(-h, h, 0) for h in half], indexing="ij"), axis=-1).reshape(-1, 3)
    seen = np.pad(corners, ((0, 0), (0, 1)), constant_values=1) @ scene.cameras.projection().transpose(
        0, 2, 1
    )
    pixels = seen[..., :2] / np.maximum(seen[..., 2:], 1e-6)  # N,M,2
    low, high = np.floor(pixels.min(1)) - 2, np.ceil(pixels.max(1)) + 2
    side = np.minimum((high - low).max(1), 2 * max(scene.masks.shape[1:])).astype(int)
    start = np.round((low + high - side[:, None]) / 2).astype(int)
    intrinsics = scene.cameras.intrinsics.copy()
    intrinsics[:, 2:] -= start
    intrinsics *= (size / side)[:, None]
    cameras = replace(scene.cameras, intrinsics=intrinsics, width=size, height=size)
    windows = [_window(scene, i, start[i], side[i], size) for i in range(len(side))]
    distance = np.linalg.norm(cameras.centres, axis=1)
    near, far = max(distance.min() - _BEYOND, 0.05 * distance.min()), distance.max() + _BEYOND
    values = torch.from_numpy(np.stack(windows)).to(device)
    clip = torch.from_numpy(cameras.clip(near, far).astype(np.float32)).transpose(1, 2).to(device)
    centres = torch.from_numpy(cameras.centres.astype(np.float32)).to(device)
    return Views(values[..., :3], values[..., 3:4], values[..., 4:], clip, centres)


def _premultiplied(image: NDArray[np.uint8], mask: NDArray[np.bool_], frame: NDArray[np.int64]) -> Float:
    """(h,w,5) linear radiance times coverage, coverage, and 1 where there is photo."""
    pixels = np.zeros((*mask.shape, 5), np.float32)
    table = linear_from_srgb(torch.arange(256) / 255).numpy()
    pixels[..., :3] = table[image] * mask[..., None]
    pixels[..., 3] = mask
    left, top, right, bottom = frame
    pixels[top:bottom, left:right, 4] = 1
    return pixels


def _window(scene: Scene, i: int, start: NDArray[np.int64], side: int, size: int) -> Float:
    """(size,size,5) of a square of a photo, which may reach beyond it."""
    pixels = _premultiplied(scene.images[i], scene.masks[i], scene.frames[i])
    height, width = pixels.shape[:2]
    square = np.zeros((side, side, 5), np.float32)
    (x0, y0), (x1, y1) = np.maximum(start, 0), np.minimum(start + side, [width, height])
    if x0 < x1 and y0 < y1:
        square[y0 - start[1] : y1 - start[1], x0 - start[0] : x1 - start[0]] = pixels[y0:y1, x0:x1]
    smaller = cv2.INTER_AREA if size < side else cv2.INTER_LINEAR
    parts = [square[..., :4], square[..., 4:]]  # OpenCV takes four channels at most
    return np.dstack([cv2.resize(part, (size, size), interpolation=smaller) for part in parts])
