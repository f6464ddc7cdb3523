"""How much work each profile does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """How much work is done.

    voxels: samples on the longest side of the grid. coarse, fine: pixels of the views' sides in the first,
    wide sweep and in the narrow one. triangles: of the finished mesh. texture: pixels of its sides, at
    most. rounds: of fitting materials and light; 0 takes the photos' colours as they are.
    """

    voxels: int
    coarse: int
    fine: int
    triangles: int
    texture: int
    rounds: int


PROFILES = {
    "preview": Profile(voxels=96, coarse=128, fine=192, triangles=15_000, texture=1024, rounds=0),
    "standard": Profile(voxels=160, coarse=192, fine=384, triangles=40_000, texture=2048, rounds=200),
    "high": Profile(voxels=256, coarse=256, fine=512, triangles=100_000, texture=4096, rounds=400),
}


def profile(name: str) -> Profile:
    """The profile of that name. KeyError where there is none."""
    return PROFILES[name]
