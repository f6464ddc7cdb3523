"""How much work each profile does."""

from __future__ import annotations

from dataclasses import dataclass, replace

from workers.reconstruct.methods.appearance.painting import Effort
from workers.reconstruct.methods.hash_grid import HashGrid


@dataclass(frozen=True)
class Profile:
    """views: the profile of `surface` whose views and first carving are taken. size: pixels of the views'
    sides. grid: of the field. iterations: with `rays` of `samples` each. voxels: on the longest side when the
    surface is taken out; triangles: that it then has, at most. polish: see `surface`. effort: for what is
    on it.
    """

    views: str
    size: int
    grid: HashGrid
    iterations: int
    rays: int
    samples: int
    voxels: int
    triangles: int
    polish: int
    effort: Effort


_GRID = HashGrid(levels=8, features=2, coarsest=16, finest=256, rows=1 << 16)
_CPU = {
    "preview": Profile("preview", 192, _GRID, 250, 512, 16, 128, 10_000, 0, Effort(1024, 0)),
    "standard": Profile("standard", 384, _GRID, 1800, 768, 20, 224, 30_000, 512, Effort(2048, 200)),
    "high": Profile("high", 512, _GRID, 5000, 1024, 24, 320, 100_000, 1024, Effort(4096, 400)),
}
_PUBLISHED_GRID = HashGrid(levels=14, features=2, coarsest=16, finest=2048, rows=1 << 19)
_CUDA = {
    name: replace(each, grid=_PUBLISHED_GRID, size=768, iterations=20_000, rays=4096, samples=48)
    for name, each in _CPU.items()
} | {"preview": _CPU["preview"]}


def profile(name: str, device: str) -> Profile:
    """The profile of that name for a type of device. KeyError where there is none."""
    return (_CPU if device == "cpu" else _CUDA)[name]
