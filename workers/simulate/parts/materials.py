"""What parts are made of and painted with."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.simulate.parts.primitives import Finish


class Material(NamedTuple):
    """colour: sRGB in [0,1]. roughness, metalness: in [0,1], as glTF has them. brushed: how much of the grain
    that a tool leaves is seen, in [0,1].
    """

    colour: tuple[float, float, float]
    roughness: float
    metalness: float
    brushed: float = 0.0


METALS = {
    "cast grey": Material((0.42, 0.42, 0.43), 0.65, 0.3),
    "cast iron": Material((0.28, 0.28, 0.29), 0.7, 0.3),
    "cast aluminium": Material((0.66, 0.67, 0.68), 0.55, 0.7),
    "machined steel": Material((0.70, 0.70, 0.70), 0.32, 0.95, 0.8),
    "aluminium": Material((0.80, 0.81, 0.82), 0.38, 0.95, 0.6),
    "stainless": Material((0.72, 0.71, 0.69), 0.25, 1.0, 0.4),
    "galvanised": Material((0.62, 0.65, 0.67), 0.5, 0.7, 0.2),
    "black oxide": Material((0.12, 0.12, 0.13), 0.4, 0.6, 0.2),
    "brass": Material((0.80, 0.66, 0.36), 0.32, 0.95, 0.4),
    "bronze": Material((0.66, 0.48, 0.30), 0.42, 0.9, 0.3),
    "copper": Material((0.80, 0.52, 0.40), 0.35, 0.95, 0.3),
    "rust": Material((0.40, 0.24, 0.15), 0.9, 0.1),
}
PAINTS = {
    "blue": (0.05, 0.28, 0.50),
    "sky": (0.20, 0.50, 0.72),
    "green": (0.20, 0.42, 0.27),
    "red": (0.62, 0.11, 0.10),
    "yellow": (0.90, 0.68, 0.08),
    "orange": (0.86, 0.38, 0.08),
    "light grey": (0.74, 0.76, 0.76),
    "dark grey": (0.27, 0.30, 0.33),
    "white": (0.90, 0.90, 0.88),
    "black": (0.08, 0.08, 0.09),
    "cream": (0.84, 0.78, 0.62),
    "turquoise": (0.12, 0.46, 0.47),
}
_BODIES = (
    "cast grey", "cast iron", "cast aluminium", "machined steel", "aluminium", "stainless", "galvanised",
    "black oxide", "brass", "bronze", "rust",
)  # fmt: skip
_BODY_WEIGHTS = np.array([5, 3, 4, 5, 5, 2, 2, 2, 2, 1, 1], float)
_TOOLED = ("machined steel", "machined steel", "aluminium", "stainless")
_TRIMS = ("machined steel", "stainless", "black oxide", "brass", "galvanised", "copper", "aluminium")


def painted(rng: np.random.Generator, finishes: Sequence[Finish]) -> tuple[list[Material], NDArray[np.int64]]:
    """Up to four materials for a part, and (N,) which of them each finish gets."""
    metal = rng.random() < 0.55
    body = METALS[str(rng.choice(_BODIES, p=_BODY_WEIGHTS / _BODY_WEIGHTS.sum()))] if metal else _paint(rng)
    tool = body if rng.random() < (0.5 if metal else 0.3) else METALS[str(rng.choice(_TOOLED))]
    trim = (body, METALS[str(rng.choice(_TRIMS))], _paint(rng))[int(rng.integers(3))]
    grip = Material((0.07, 0.07, 0.075), 0.85, 0.0) if rng.random() < 0.5 else _paint(rng)
    palette = [_varied(rng, material) for material in (body, tool, trim, grip)]
    if tool == body:
        palette[1] = palette[0]
    if trim == body:
        palette[2] = palette[0]
    order = {"body": 0, "cut": 0 if tool == body else 1, "trim": 0 if trim == body else 2, "grip": 3}
    return palette, np.array([order[finish] for finish in finishes], np.int64)


def _paint(rng: np.random.Generator) -> Material:
    """A usual paint, or at times any colour at all, from matt to glossy."""
    if rng.random() < 0.25:
        colour = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.1, 0.85), rng.uniform(0.2, 0.9))
    else:
        colour = PAINTS[str(rng.choice(list(PAINTS)))]
    return Material(colour, float(rng.uniform(0.2, 0.75)), 0.0)


def _varied(rng: np.random.Generator, material: Material) -> Material:
    """As it comes from another melt, pot or tool."""
    shade = rng.uniform(0.85, 1.15) + rng.uniform(-0.03, 0.03, 3)
    r, g, b = np.clip(np.array(material.colour) * shade, 0.02, 0.97).tolist()
    rough = float(np.clip(material.roughness * rng.uniform(0.75, 1.3), 0.15, 0.95))
    return material._replace(colour=(r, g, b), roughness=rough)
