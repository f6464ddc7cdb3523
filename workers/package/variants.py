"""The files that the model is handed out in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from workers.package import archive, glb, textures
from workers.package.buffers import Compressed
from workers.package.levels import levels, ordered
from workers.package.model import Array, Model
from workers.package.usdz import write_usdz

AR_BYTES, AR_TRIANGLES, AR_SIDE = 10_000_000, 100_000, 2048
_SMALLER = ((AR_SIDE, 85), (AR_SIDE, 70), (1024, 80), (512, 75))
"""Sides and qualities of textures to try, until the file is small enough for AR on phones."""


def write_variants(
    outputs: Path, mesh: Path, model: Model, root: Array, base: Array, metres: bool, extras: dict[str, Any]
) -> Iterator[tuple[str, int, str]]:
    """Writes them one by one; their names, numbers of triangles, and what they are for.

    mesh: the folder with the OBJ set. root (4,4): from the model's frame to the scene's; base: the same for
    those who stand the object on something, its base's middle at the origin. metres: whether a unit of the
    scene is known to be one.
    """
    model = ordered(model)
    coarser = {number: ordered(less) for number, less in levels(model).items()}
    pictures = textures.standard(model)

    def write(name: str, content: bytes) -> str:
        (outputs / name).write_bytes(content)
        return name

    name = write("model.glb", glb.encode(model, pictures, root, extras))
    yield name, len(model.faces), "any 3D engine"
    for number, less in coarser.items():
        name = write(f"model_{number // 1000}k.glb", glb.encode(less, pictures, root, extras))
        yield name, len(less.faces), "phones, and models far away"
    compressed = glb.encode(model, textures.webp(model), root, extras, Compressed())
    yield write("model_web.glb", compressed), len(model.faces), "web pages: needs meshopt and WebP"
    standing = {name: value for name, value in extras.items() if name != "up_of_photographers"}
    standing |= {"origin": "base"}
    light = coarser.get(AR_TRIANGLES, model)  # which has few more, if any, where there is no such level
    for side, quality in _SMALLER:
        content = glb.encode(light, textures.small(light, side, quality), base, standing)
        if len(content) < AR_BYTES:
            break
    yield write("model_ar.glb", content), len(light.faces), "AR on Android: stands on its base"
    write_usdz(outputs / "model.usdz", light.placed(base), metres, {"software": str(extras["software"])})
    yield "model.usdz", len(light.faces), "AR on iPhone and iPad: stands on its base"
    archive.write_archive(outputs / "model_obj.zip", mesh)
    yield "model_obj.zip", len(model.faces), "3D programs, in the capture's own frame"


def on_base(model: Model, root: Array) -> Array:
    """(4,4) `root`, and then to where the middle of the object's base is the origin."""
    placed = model.vertices @ root[:3, :3].T + root[:3, 3]
    low, high = placed.min(axis=0), placed.max(axis=0)
    moved = np.eye(4)
    moved[:3, 3] = -np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    return np.asarray(moved @ root)
