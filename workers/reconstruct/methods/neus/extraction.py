"""The field's zero surface."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from workers.geometry.errors import NumericError
from workers.geometry.grid import Grid, solid, zero_surface
from workers.reconstruct.methods.neus.field import Field
from workers.reconstruct.methods.neus.sampling import NEAR, SOLID, Space

Float = NDArray[np.float32]

_POINTS = 1 << 15  # looked at together


@torch.no_grad()
def extracted(field: Field, space: Space, voxels: int, levels: int) -> tuple[Float, NDArray[np.int32]]:
    """Vertices (V,3) and faces (F,3) of the field's largest part, by marching cubes of 1 / `voxels`, looked
    for where `space` has it. NumericError: "masks_inconsistent" where it is nowhere.
    """
    spacing = 1 / voxels
    count = int(field.side / spacing)
    origin = -(count - 1) * spacing / 2
    grid = Grid((origin,) * 3, spacing, (count,) * 3)
    axis = origin + spacing * np.arange(count)
    cell = np.clip(((axis + field.side / 2) / space.cell).astype(np.int64), 0, len(space.state) - 1)
    state = space.state[np.ix_(cell, cell, cell)]
    distance = np.where(state == SOLID, np.float32(-spacing), np.float32(spacing))
    near = np.argwhere(state == NEAR)
    found = [
        field.distance(torch.from_numpy(part.astype(np.float32)).to(field.base.device), levels)[0].cpu()
        for part in np.array_split(axis[near], max(1, len(near) // _POINTS))
    ]
    distance[tuple(near.T)] = torch.cat(found).numpy()
    if not (distance < 0).any():
        raise NumericError("masks_inconsistent", "nothing is left of the object")
    return zero_surface(solid(distance), grid)
