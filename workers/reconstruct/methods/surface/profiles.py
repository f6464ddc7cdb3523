"""How much work each profile does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """How much work is done.

    pixels: of the photos' longer sides that the shape is found from, at most. agree: whether cameras and
    masks are first made to agree with each other. voxels: samples on the longest side of the grid. coarse,
    fine: pixels of the views' sides in the second, wide sweep and in the narrow one. triangles: of the
    finished mesh, at most. polish: pixels of the views' sides that its vertices are refined by, at most; 0
    leaves them. texture: pixels of its sides, at most. photos: that colours are taken from, at most. rounds:
    of fitting materials and light; 0 takes the photos' colours as they are.
    """

    pixels: int
    agree: bool
    voxels: int
    coarse: int
    fine: int
    triangles: int
    polish: int
    texture: int
    photos: int
    rounds: int


_ALL = 1 << 20
PROFILES = {
    "preview": Profile(
        pixels=256,
        agree=False,
        voxels=96,
        coarse=104,
        fine=128,
        triangles=10_000,
        polish=0,
        texture=1024,
        photos=24,
        rounds=0,
    ),
    "standard": Profile(
        pixels=_ALL,
        agree=True,
        voxels=144,
        coarse=160,
        fine=256,
        triangles=30_000,
        polish=512,
        texture=2048,
        photos=_ALL,
        rounds=200,
    ),
    "high": Profile(
        pixels=_ALL,
        agree=True,
        voxels=256,
        coarse=256,
        fine=512,
        triangles=100_000,
        polish=1024,
        texture=4096,
        photos=_ALL,
        rounds=400,
    ),
}


def profile(name: str) -> Profile:
    """The profile of that name. KeyError where there is none."""
    return PROFILES[name]
