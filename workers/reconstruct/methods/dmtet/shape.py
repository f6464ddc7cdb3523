"""First pass: the shape, from nothing, with materials in space and light."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sparse
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from workers.geometry.errors import NumericError
from workers.reconstruct.checkpoints import Checkpoints
from workers.reconstruct.methods.dmtet.draw import Seen, draw, smooth_normals
from workers.reconstruct.methods.dmtet.lattice import Lattice, lattice
from workers.reconstruct.methods.dmtet.light import Light
from workers.reconstruct.methods.dmtet.marching import Grid, march
from workers.reconstruct.methods.dmtet.profiles import Profile
from workers.reconstruct.methods.dmtet.recipe import (
    CHANNELS,
    HIGH,
    LOW,
    noise,
    picture_losses,
    smoothness,
    whiteness,
)
from workers.reconstruct.methods.dmtet.views import Views
from workers.reconstruct.methods.dmtet.volume import Volume
from workers.reconstruct.methods.training import Losses, Schedule, optimise
from workers.render.ops import Rasterizer

_RATE = 0.03
_SIGN_CHANGE, _SIGN_CHANGE_UNTIL = 0.2, 0.25
_OUTSIDE_AT_FIRST = 0.1  # of the points
_DEFORMED = 0.2  # of the spacing: what a point moves at most along an axis; tetrahedra stay upright
_NEARBY = 0.01  # of the object's longest side
_COMPARED = 4  # every how many pixels one is compared with a place nearby

Tell = Callable[[float, dict[str, float]], None]


class Shape:
    """A signed distance field and offsets on a lattice, materials in space, a light (6,R,R,3)."""

    def __init__(self, half: NDArray[np.float64], work: Profile, seed: int, raster: Rasterizer) -> None:
        """Nine points in ten are inside at first, at random; those on the lattice's border never."""
        generator = torch.Generator().manual_seed(seed)
        self._lattice = lattice(half, work.cells)
        self._raster, self._seed, self._work = raster, seed, work
        device = raster.device
        self._grid = Grid.of(self._lattice, device)
        self._points = torch.from_numpy(self._lattice.points).to(device)
        self._border = torch.from_numpy(self._lattice.border).to(device)
        drawn = _OUTSIDE_AT_FIRST - torch.rand(len(self._points), generator=generator)
        self.field = (work.start / (1 - _OUTSIDE_AT_FIRST) * drawn).to(device)
        self.offsets = torch.zeros_like(self._points)
        reach = float(self._points.abs().max())
        self.volume = Volume(work.encoding, CHANNELS, reach, raster, generator)
        self.light = torch.full((6, work.light, work.light, 3), 0.5, device=device)
        self._low, self._high = torch.tensor(LOW, device=device), torch.tensor(HIGH, device=device)

    def surface(self) -> tuple[Tensor, Tensor, Tensor]:
        """See `march`. NumericError: "masks_inconsistent" where nothing is left."""
        points = self._points + _DEFORMED * self._lattice.spacing * torch.tanh(self.offsets)
        vertices, faces, crossed = march(points, self._bounded(), self._grid)
        if len(faces) == 0:
            raise _nothing()
        return vertices, faces, crossed

    def _bounded(self) -> Tensor:
        """The field, outside on the border."""
        return torch.where(self._border, self.field.detach().abs() + 1e-3, self.field)

    def look(self, points: Tensor) -> Tensor:
        """(N,8) materials within their bounds, and what to add to the normal, at points (N,3)."""
        value = self.volume(points)
        return torch.cat([self._low + (self._high - self._low) * value[:, :5], 2 * value[:, 5:] - 1], dim=1)

    def optimise(self, views: list[Views], light: Light, checkpoints: Checkpoints, tell: Tell) -> None:
        """Fit everything to the views, given in the size of each stage."""
        groups = [(self.field, _RATE), (self.offsets, _RATE), (self.light, _RATE)]
        groups += [(each, _RATE) for each in self.volume.parameters()]

        ends = np.cumsum([stage.iterations for stage in self._work.shape])
        schedule = Schedule(int(ends[-1]))

        def losses(iteration: int) -> Losses:
            number = int(np.searchsorted(ends, iteration, "right"))
            batch = views[number].batch(self._seed, iteration, self._work.shape[number].batch)
            return self._losses(batch, light, iteration, iteration / schedule.iterations)

        def settle() -> None:
            self.light.clamp_(0)

        optimise("shape", groups, schedule, losses, settle, checkpoints, tell)
        self.field = torch.from_numpy(solid(self.field.cpu().numpy(), self._lattice)).to(self.field.device)

    def _losses(self, views: Views, light: Light, iteration: int, progress: float) -> Losses:
        vertices, faces, crossed = self.surface()
        attributes = torch.cat([vertices, smooth_normals(vertices, faces)], dim=1)
        maps = light.prefiltered(self.light)
        found: Losses = {}

        def colour(seen: Seen) -> Tensor:
            at, _ = self._raster.interpolate(attributes, seen.rast, faces, pixels=seen.pixels)
            look = self.look(at[:, :3])
            some = at[::_COMPARED, :3].detach()
            moved = some + noise(self._seed, iteration, len(some), 3, _NEARBY, some.device)
            total = views.cover.numel() / _COMPARED
            found["smooth"] = smoothness(look[::_COMPARED], self.look(moved), int(total), progress)
            normals = normalize(normalize(at[:, 3:], dim=1) + look[:, 5:], dim=1)
            view = normalize(seen.eyes - at[:, :3], dim=1)
            return light.shade(maps, look[:, :3], look[:, 3:4], look[:, 4:5], normals, view)

        image = draw(self._raster, views, vertices, faces, colour)
        found |= picture_losses(image, views)
        fallen = min(1.0, progress / _SIGN_CHANGE_UNTIL)
        weight = _SIGN_CHANGE + (self._work.quiet - _SIGN_CHANGE) * fallen
        return found | {
            "sign": weight * _sign_change(self._bounded(), crossed),
            "white": whiteness(self.light),
        }


def _sign_change(field: Tensor, crossed: Tensor) -> Tensor:
    """How much the ends (V,2) of edges disagree on which side they are (Munkberg et al. 2022, equation 2)."""
    a, b = field[crossed].unbind(1)
    return binary_cross_entropy_with_logits(a, (b.detach() > 0).float()) + binary_cross_entropy_with_logits(
        b, (a.detach() > 0).float()
    )


def _nothing() -> NumericError:
    return NumericError("masks_inconsistent", "the masks leave nothing of the object")


def solid(field: NDArray[np.float32], lattice: Lattice) -> NDArray[np.float32]:
    """`field` (P,) with one inside: its largest connected part, without enclosed bubbles.

    What changes sides keeps its distance, and the surface of what stays keeps its place.
    NumericError: "masks_inconsistent" where nothing is inside.
    """
    inside = (field < 0) & ~lattice.border
    if not inside.any():
        raise _nothing()
    parts = _parts(lattice, inside)
    kept = parts == np.argmax(np.bincount(parts[inside]))
    around = _parts(lattice, ~kept)
    filled = ~np.isin(around, around[lattice.border])
    size = np.maximum(np.abs(field), np.float32(1e-6))
    return np.where(filled, -size, size)


def _parts(lattice: Lattice, where: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(P,) number of the connected part each point is of, joined by edges within `where` only."""
    a, b = lattice.edges[where[lattice.edges].all(1)].T
    joined = sparse.coo_array((np.ones(len(a), bool), (a, b)), shape=(len(where), len(where)))
    labels: NDArray[np.int32] = connected_components(joined, directed=False)[1]
    return labels
