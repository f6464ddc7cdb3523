"""Shapes, cameras and finite differences for the tests of the rasteriser."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.geometry.cameras import Cameras
from workers.geometry.mesh import icosphere


def bumpy_ball(subdivisions: int, bump: float = 0.15) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """A ball of radius about 1 whose bumps hide one another in places."""
    vertices, faces = icosphere(subdivisions)
    height = 1 + bump * np.sin(5 * vertices[:, :1]) * np.cos(4 * vertices[:, 1:2])
    return (vertices * height).astype(np.float32), faces


def ring(count: int, size: int) -> Cameras:
    """Cameras around the origin, at 3.5 from it and a little above."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    for pose, angle in zip(poses, np.arange(count) * 2 * np.pi / count, strict=True):
        back = np.array([np.sin(angle), 0.3, np.cos(angle)]) / np.hypot(1, 0.3)
        right = np.array([np.cos(angle), 0, -np.sin(angle)])
        pose[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
        pose[:3, 3] = 3.5 * back
    intrinsics = np.tile([0.95 * size, 0.95 * size, size / 2, size / 2], (count, 1))
    return Cameras(tuple(map(str, range(count))), intrinsics, size, size, poses)


def projection(cameras: Cameras) -> Tensor:
    """(N,4,4) float32: row vectors (x, y, z, 1) times this are clip-space positions; near 2, far 5."""
    return torch.from_numpy(cameras.clip(2, 5).astype(np.float32)).transpose(1, 2)


def clip(vertices: Tensor, matrices: Tensor) -> Tensor:
    """(N,V,4) clip-space positions of vertices (V,3)."""
    return torch.cat([vertices, torch.ones_like(vertices[:, :1])], 1) @ matrices


def slopes(
    loss: Callable[[Tensor], Tensor], x: Tensor, directions: list[Tensor], step: float
) -> tuple[list[float], list[float]]:
    """Derivative of `loss` at x along each direction: by its gradient, and by central differences."""
    leaf = x.detach().clone().requires_grad_()
    loss(leaf).backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    gradient = leaf.grad.double()
    with torch.no_grad():
        differences = [
            float((loss(x + step * d).double() - loss(x - step * d).double()) / (2 * step))
            for d in directions
        ]
    return [float((gradient * d).sum()) for d in directions], differences
