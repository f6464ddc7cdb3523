"""One industrial-looking part for each seed: a closed solid with the materials of its faces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.simulate.parts import castings, machines, piping, solids, turned, wheels
from workers.simulate.parts.materials import Material, painted
from workers.simulate.parts.primitives import Body, Shop

Float = NDArray[np.float32]
Index = NDArray[np.int32]

TRIANGLES = 6000
"""At most."""
FLATTEST = 8.0
"""The longest side of a part by its shortest, at most."""
STOUT = 3.0
"""The same for kinds that are not plates or bars."""
_FREE = 1 / 6  # of the seeds bring no kind, but solids put together at random
_COARSER = (
    2e-4,
    8e-4,
    2e-3,
    4e-3,
)  # of the longest side: what is thinner is not kept; more as triangles are too many


class Kind(NamedTuple):
    """make: draws one. flattest: its longest side by its shortest, at most."""

    make: Callable[[Shop], Body]
    flattest: float = STOUT


KINDS: dict[str, Kind] = {
    "plate": Kind(solids.plate, FLATTEST),
    "bracket": Kind(solids.bracket, FLATTEST),
    "gear": Kind(wheels.gear, FLATTEST),
    "housing": Kind(castings.housing),
    "block": Kind(castings.block),
    "heat sink": Kind(castings.heat_sink, FLATTEST),
    "pillow block": Kind(castings.pillow_block, FLATTEST),
    "lever": Kind(solids.lever, FLATTEST),
    "flange": Kind(turned.flange, FLATTEST),
    "shaft": Kind(turned.shaft, FLATTEST),
    "pulley": Kind(wheels.pulley, FLATTEST),
    "bolt": Kind(turned.bolt, 5),
    "vessel": Kind(turned.vessel, 5),
    "coupling": Kind(wheels.coupling),
    "pipe": Kind(piping.pipe, 5),
    "valve": Kind(piping.valve),
    "motor": Kind(machines.motor),
    "pump": Kind(machines.pump),
    "actuator": Kind(machines.actuator, FLATTEST),
    "gearbox": Kind(machines.gearbox),
    "composed": Kind(solids.composed),
}


@dataclass(frozen=True)
class Part:
    """A closed solid of one piece, y up, its bounding box around 0 and its longest side 1.

    kind: of `KINDS`. vertices: (V,3) float32. faces: (F,3) int32, counter-clockwise from outside, at most
    `TRIANGLES`. materials: (F,) int32, which of the palette each face is of; all of these occur.
    """

    kind: str
    vertices: Float
    faces: Index
    materials: Index
    palette: tuple[Material, ...]


def part(seed: int) -> Part:
    """The part of a seed, always the same. A draw that is empty, too flat or too fine is drawn anew; of one
    in several pieces the largest is kept.
    """
    rng = np.random.default_rng(seed)
    while True:
        free = rng.random() < _FREE
        kind = "composed" if free else str(rng.choice([name for name in KINDS if name != "composed"]))
        shop = Shop(rng)
        solid = _largest(KINDS[kind].make(shop))
        if solid is not None:
            made = _finished(kind, solid, shop)
            if made is not None:
                return made


def _largest(body: Body) -> Body | None:
    """Of its pieces; holes inside that nothing leads to are filled. None where there is none."""
    pieces = body.decompose()
    return max(pieces, key=lambda piece: piece.volume()) if pieces else None


def _finished(kind: str, solid: Body, shop: Shop) -> Part | None:
    low, high = np.array(solid.bounding_box()).reshape(2, 3)
    size = high - low
    if size.max() > KINDS[kind].flattest * size.min():
        return None
    for coarse in _COARSER:
        simple = _largest(solid.simplify(coarse * size.max()))
        if simple is not None and simple.num_tri() <= TRIANGLES:
            break
    else:
        return None
    mesh = simple.to_mesh64()
    x, y, z = np.asarray(mesh.vert_properties, np.float64)[:, :3].T
    vertices = np.stack([x, z, -y], axis=1)
    low, high = vertices.min(0), vertices.max(0)
    vertices = (vertices - (low + high) / 2) / (high - low).max()
    faces = np.asarray(mesh.tri_verts).astype(np.int32)
    finishes = [shop.finishes[i] for i in mesh.run_original_id]
    palette, slots = painted(shop.rng, finishes)
    lengths = np.diff(np.array(mesh.run_index, np.int64)) // 3
    materials = np.repeat(slots, lengths.astype(np.intp))
    used, index = np.unique(materials, return_inverse=True)
    return Part(
        kind, vertices.astype(np.float32), faces, index.astype(np.int32), tuple(palette[i] for i in used)
    )
