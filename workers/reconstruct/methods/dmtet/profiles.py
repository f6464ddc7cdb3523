"""How much work each profile does."""

from __future__ import annotations

from dataclasses import dataclass, replace

from workers.reconstruct.methods.dmtet.encoding import Hashed, Planes
from workers.reconstruct.methods.hash_grid import HashGrid


@dataclass(frozen=True)
class Stage:
    """iterations: with `batch` views of size x size pixels each."""

    iterations: int
    size: int
    batch: int


@dataclass(frozen=True)
class Profile:
    """How much work is done.

    cells: of the lattice on the longest side of the object's box. start: the field's largest value at first;
    what is small against the learning rate changes sides sooner. quiet: what the weight of sign changes falls
    to; larger where an edge of the lattice is seen by fewer pixels of a batch, since each of these then
    counts for more. encoding: of the materials in space. light:
    size of its cube map. shape: the first pass. texture: of its sides. finish: the second pass. warmup: its
    iterations until the full learning rate.
    """

    cells: int
    start: float
    quiet: float
    encoding: Hashed | Planes
    light: int
    shape: tuple[Stage, ...]
    texture: int
    finish: Stage
    warmup: int


_PLANES = Planes(sizes=(16, 48, 128), features=4)
_CPU = {
    "preview": Profile(
        20, 0.03, 0.1, _PLANES, 16, (Stage(90, 48, 10), Stage(60, 96, 3)), 512, Stage(50, 128, 3), 10
    ),
    "standard": Profile(
        26, 0.03, 0.1, _PLANES, 32, (Stage(150, 64, 12), Stage(250, 128, 4)), 1024, Stage(150, 256, 3), 20
    ),
    "high": Profile(
        40, 0.03, 0.1, _PLANES, 32, (Stage(200, 96, 12), Stage(400, 192, 4)), 1024, Stage(300, 384, 3), 20
    ),
}
_PUBLISHED = Profile(
    cells=52,  # as many points as the published grid of resolution 128
    start=0.9,
    quiet=0.01,
    encoding=Hashed(HashGrid(levels=16, features=2, coarsest=16, finest=4096, rows=1 << 19)),
    light=64,
    shape=(Stage(5000, 512, 8),),
    texture=1024,
    finish=Stage(5000, 512, 8),
    warmup=100,
)
_SHORT = replace(_PUBLISHED, shape=(Stage(1000, 512, 4),), finish=Stage(1000, 512, 4))
_CUDA = {"preview": _SHORT, "standard": _PUBLISHED, "high": _PUBLISHED}


def profile(name: str, device: str) -> Profile:
    """The profile of that name for a type of device: reduced on the CPU, elsewhere as published. KeyError
    where there is none.
    """
    return (_CPU if device == "cpu" else _CUDA)[name]
