"""From which sides the photos see the object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NEAR = float(np.radians(20))  # what a photo shows well: surface that is seen from this near to its direction
_LOOKS = float(np.cos(np.radians(60)))  # a camera that looks farther past the object than that does not count
_SAMPLES = 4000
_LEVEL, _HIGH = 25.0, 55.0  # degrees: up to where a direction is level, and from where on it is above
_SIDES = (
    "the front",
    "the front right",
    "the right",
    "behind on the right",
    "behind",
    "behind on the left",
    "the left",
    "the front left",
)


@dataclass(frozen=True)
class Coverage:
    """upper, whole: the shares, 0 to 1, of the sphere around the object's upper half and of all of it that
    are seen from nearby. gap: radians from the upper half's direction that is farthest from all photos to
    the next of them; gap_from: that direction in words, to go with "from". directions: (N,3) unit, to the
    cameras that look at the object, in axes right, back, up: as the first of them saw it, which is in front,
    at negative `back`.
    """

    upper: float
    whole: float
    gap: float
    gap_from: str
    directions: Array


def coverage(c2w: Array, centre: Array, up: Array | None) -> Coverage:
    """c2w: (N,4,4) OpenGL. centre: (3,) of the object. up: (3,) unit, of the world; without it, up is where
    the photographers' heads were.
    """
    towards = c2w[:, :3, 3] - centre
    towards = towards / np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-12)
    looking = (towards * c2w[:, :3, 2]).sum(1) > _LOOKS
    first = int(looking.argmax())
    directions = (towards @ _axes(c2w, towards[first], first, up).T)[looking]
    sphere = _sphere(_SAMPLES)
    nearest = np.full(len(sphere), -1.0)
    for direction in directions:
        np.maximum(nearest, sphere @ direction, out=nearest)
    seen, above = nearest > np.cos(NEAR), sphere[:, 2] >= 0
    worst = int(np.where(above, nearest, 2).argmin())
    return Coverage(
        upper=float(seen[above].mean()),
        whole=float(seen.mean()),
        gap=float(np.arccos(np.clip(nearest[worst], -1, 1))),
        gap_from=_gap_in_words(sphere[worst], directions),
        directions=directions,
    )


def _gap_in_words(direction: Array, directions: Array) -> str:
    """Where the gap is, "lower down" where photos were taken from there, but from higher up."""
    turns = np.arctan2(*directions[:, :2].T) - np.arctan2(*direction[:2])
    if direction[2] < np.sin(np.radians(_LEVEL)) and (np.cos(turns) > np.cos(NEAR)).any():
        return "lower down"
    return in_words(direction)


def in_words(direction: Array) -> str:
    """Where a unit direction (right, back, up) is, to go with "from": "above", "the left and above"."""
    elevation = np.degrees(np.arcsin(np.clip(direction[2], -1, 1)))
    if abs(elevation) > _HIGH:
        return "above" if elevation > 0 else "below"
    eighth = round(np.arctan2(direction[0], -direction[1]) / (np.pi / 4)) % 8
    if abs(elevation) <= _LEVEL:
        return _SIDES[eighth]
    return f"{_SIDES[eighth]} and {'above' if elevation > 0 else 'below'}"


def _axes(c2w: Array, towards: Array, first: int, up: Array | None) -> Array:
    """(3,3) rows right, back, up in the world. towards: (3,) to the camera `first`, which is in front."""
    upwards = c2w[:, :3, 1].mean(0) if up is None else up
    if np.linalg.norm(upwards) < 0.1:  # cameras all round, of which none is upright
        upwards = c2w[first, :3, 1]
    upwards = upwards / np.linalg.norm(upwards)
    # A first photo from straight above is in front where its lower edge is.
    front = towards - (towards @ upwards) * upwards
    if np.linalg.norm(front) < 0.1:
        front = (c2w[first, :3, 1] @ upwards) * upwards - c2w[first, :3, 1]
    if np.linalg.norm(front) < 1e-6:  # it lies on its side
        front = (c2w[first, :3, 0] @ upwards) * upwards - c2w[first, :3, 0]
    front = front / np.linalg.norm(front)
    return np.stack([np.cross(upwards, front), -front, upwards])


def _sphere(count: int) -> Array:
    """(count,3) unit vectors, spread evenly (Fibonacci lattice; Gonzalez 2010)."""
    k = np.arange(count)
    height = 1 - 2 * (k + 0.5) / count
    turn = k * np.pi * (3 - 5**0.5)
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), height], axis=1)
