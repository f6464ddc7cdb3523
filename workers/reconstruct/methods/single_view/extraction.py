"""The surface of what the network says is inside, looked for from coarse to fine."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt

from workers.geometry.grid import Grid, solid, zero_surface
from workers.reconstruct.methods.single_view.network import REACH, Network, fed

Float = NDArray[np.float32]

COARSEST = 32
"""Cells on a side of the grid that is looked at as a whole."""
_AT_ONCE = 1 << 15  # points
_EDGE = 60.0  # logits a unit, by which what lies beyond the outline is outside
_ZERO = 1e-4  # logits
_SURE = 12.0  # logits beyond this say no more


class Extracted(NamedTuple):
    """field (n,n,n): negative inside, where it was looked at exactly, and interpolated elsewhere; asked: how
    many points the network was asked for.
    """

    field: Float
    asked: int


def refined(ask: Callable[[Float], Float], cells: int) -> Extracted:
    """A field on the cube of `cells` on a side, COARSEST times a power of two. After Mescheder et al. 2019,
    "Occupancy networks", section 3.4: only cells that the surface passes, and those next to them, are halved.

    ask: the field (P,), negative inside, at points (P,3) of the picture's frame.
    """
    count = COARSEST
    everywhere = np.ones((count + 1,) * 3, bool)
    field = ask(_points(everywhere)).reshape(everywhere.shape)
    asked = field.size
    while count < cells:
        passed = binary_dilation(_passed(field), np.ones((3, 3, 3), bool))
        count *= 2
        field = _doubled(field)
        wanted = _corners(passed.repeat(2, 0).repeat(2, 1).repeat(2, 2))
        wanted[::2, ::2, ::2] = False  # those are known
        if wanted.any():
            field[wanted] = ask(_points(wanted))
            asked += int(wanted.sum())
    return Extracted(field, asked)


def filled(field: Float, beyond: Callable[[Float], Float]) -> Float:
    """The field (n,n,n) on the cube, and something in it wherever the outline (see `outside`) shows the
    object: what the network missed, thin things above all, is as deep as it is wide, and lies behind what is
    next to it in the picture.
    """
    inside = field < 0
    axis = np.linspace(-REACH, REACH, len(field), dtype=np.float32)
    columns = np.stack(np.meshgrid(axis, axis, np.zeros(1, np.float32), indexing="ij"), axis=-1)
    off = beyond(columns.reshape(-1, 3)).reshape(len(axis), -1)
    known = np.asarray(inside.any(2))
    missed = ~known & (off < 0)
    middle = np.zeros_like(off)
    if known.any():
        depths = (inside @ axis) / np.maximum(inside.sum(2), 1)
        nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
        middle = depths[tuple(nearest)]
    half = np.maximum(-off, axis[1] - axis[0])
    thin = np.abs(axis - middle[..., None]) - half[..., None]
    found: Float = np.where(missed[..., None], np.minimum(field, np.float32(_EDGE) * thin), field)
    return found


def surface(field: Float) -> tuple[Float, NDArray[np.int32]]:
    """Vertices (V,3) and faces (F,3) of the largest part of the field (n,n,n) on the cube, which must be
    negative somewhere.
    """
    spacing = 2 * REACH / (len(field) - 1)
    # An outline along pixels makes whole sheets of zeros, at which marching cubes leave the surface open.
    field = np.where(np.abs(field) < _ZERO, np.float32(_ZERO), field)
    return zero_surface(solid(field), Grid((-REACH,) * 3, spacing, field.shape))


def seen(
    network: Network, picture: NDArray[np.uint8], beyond: Callable[[Float], Float]
) -> Callable[[Float], Float]:
    """What tells of points (P,3) whether the network sees the object of a picture (S,S,4) there: negative
    inside. Nothing is where it is seen `beyond` the outline (see `outside`).
    """
    with torch.no_grad():
        maps = network.features(fed(picture[None]))

    def ask(points: Float) -> Float:
        found: Float = np.maximum(asked(network, maps, points), np.float32(_EDGE) * beyond(points))
        return found

    return ask


@torch.no_grad()
def asked(network: Network, maps: list[torch.Tensor], points: Float) -> Float:
    """(P,) minus the logits at points (P,3), of a picture's feature maps."""
    device = maps[0].device
    parts = [
        network.inside(maps, torch.from_numpy(part).to(device)[None])[0].cpu().numpy()
        for part in np.array_split(points, max(1, -(-len(points) // _AT_ONCE)))
    ]
    found: Float = -np.clip(np.concatenate(parts), -_SURE, _SURE).astype(np.float32)
    return found


def _points(where: NDArray[np.bool_]) -> Float:
    axis = np.linspace(-REACH, REACH, len(where), dtype=np.float32)
    return axis[np.argwhere(where)]


def _passed(field: Float) -> NDArray[np.bool_]:
    """Cells (n-1,...) with corners of both signs."""
    inside = field < 0
    some, every = np.zeros(tuple(n - 1 for n in field.shape), bool), np.ones((), bool)
    for corner in np.ndindex(2, 2, 2):
        part = inside[tuple(slice(c, n - 1 + c) for c, n in zip(corner, field.shape, strict=True))]
        some, every = some | part, every & part
    found: NDArray[np.bool_] = some & ~every
    return found


def _corners(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Points (n+1,...) at a corner of any of the cells (n,...)."""
    points = np.zeros(tuple(n + 1 for n in cells.shape), bool)
    for corner in np.ndindex(2, 2, 2):
        points[tuple(slice(c, n + c) for c, n in zip(corner, cells.shape, strict=True))] |= cells
    return points


def _doubled(field: Float) -> Float:
    """(2n-1,...) the field with what lies halfway between its samples."""
    for axis in range(3):
        field = np.moveaxis(field, axis, 0)
        finer = np.empty((2 * len(field) - 1, *field.shape[1:]), np.float32)
        finer[::2] = field
        finer[1::2] = (field[1:] + field[:-1]) / 2
        field = np.moveaxis(finer, 0, axis)
    return np.ascontiguousarray(field)
