"""What parts are made of: boxes, rods, prisms and turned bodies, each of which remembers its finish.

Bodies are Manifold's (Lalish, https://github.com/elalish/manifold): closed whatever is done with them. The
frame is z up; the unit is free, as a part is scaled when it is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from manifold3d import CrossSection, FillRule, Manifold, OpType
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Body: TypeAlias = Any  # Manifold
Section: TypeAlias = Any  # CrossSection: an outline in the plane
Finish = Literal["body", "cut", "trim", "grip"]
"""As it was cast or painted, where a tool has been, what is screwed on, what hands or the road touch."""
Point: TypeAlias = Sequence[float] | Array
T = TypeVar("T")


class Shop:
    """Draws a part's measures, and makes its primitives.

    finishes: of each primitive, by Manifold's original id.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.finishes: dict[int, Finish] = {}
        self.segments = int(rng.choice([32, 40, 48]))  # of a large circle

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return float(self.rng.uniform(low, high))

    def count(self, low: int, high: int) -> int:
        """A whole number in [low, high]."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, share: float = 0.5) -> bool:
        """True in that share of the draws."""
        return bool(self.rng.random() < share)

    def choice(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[int(self.rng.integers(len(options)))]

    def prism(
        self, section: Section, height: float, finish: Finish = "body", twist: float = 0, top: float = 1
    ) -> Body:
        """An outline from z = 0 up; its top may be turned by degrees, and smaller."""
        steps = 5 if twist else 0
        return self._kept(section.extrude(height, steps, twist, (top, top)), finish)

    def slab(
        self, w: float, d: float, h: float, r: float = 0, edge: float = 0, finish: Finish = "body"
    ) -> Body:
        """A box from z = 0 up, in the middle of x and y, its upright edges of radius r, the upper ones
        broken by `edge`.
        """
        outer = rectangle(w, d, r)
        if edge <= 0:
            return self.prism(outer, h, finish)
        inner = rectangle(w - 2 * edge, d - 2 * edge, max(r - edge, 0.2 * min(r, edge)))
        return self._kept(Manifold.batch_hull([outer.extrude(h - edge), inner.extrude(h)]), finish)

    def turned(
        self, profile: ArrayLike, finish: Finish = "body", degrees: float = 360, segments: int = 0
    ) -> Body:
        """A profile (N,2) of radius and z, turned about z."""
        section = polygon(np.maximum(np.asarray(profile, float), [0, -np.inf]))
        return self._kept(section.revolve(segments or self.segments, degrees), finish)

    def rod(
        self,
        start: Point,
        end: Point,
        radius: float,
        finish: Finish = "body",
        top: float | None = None,
        edge: float = 0,
        segments: int = 0,
    ) -> Body:
        """A round bar between two points, of radius `top` at its end, both rims broken by `edge`."""
        axis = np.subtract(end, start).astype(float)
        length, last = float(np.linalg.norm(axis)), radius if top is None else top
        if edge > 0:
            profile = [
                (0, 0), (radius - edge, 0), (radius, edge),
                (last, length - edge), (last - edge, length), (0, length),
            ]  # fmt: skip
            body = self.turned(profile, finish, segments=segments)
        else:
            body = Manifold.cylinder(length, radius, last, segments or self.segments)
            self._kept(body, finish)
        return body.transform(np.column_stack([_turn(axis / length), start]))

    def hole(self, start: Point, end: Point, radius: float, finish: Finish = "cut") -> Body:
        """As `rod`, to be taken away: coarser, as most holes are small."""
        return self.rod(start, end, radius, finish, segments=24)

    def ball(self, radius: float, finish: Finish = "body", segments: int = 0) -> Body:
        """Around 0."""
        return self._kept(Manifold.sphere(radius, segments or min(self.segments, 32)), finish)

    def torus(self, ring: float, radius: float, finish: Finish = "body", degrees: float = 360) -> Body:
        """A tube of that radius around z, from +x on."""
        section = CrossSection.circle(radius, 16).translate((ring, 0))
        return self._kept(section.revolve(self.segments, degrees), finish)

    def hull(self, bodies: Sequence[Body], finish: Finish = "body") -> Body:
        """The smallest convex body around all of these."""
        return self._kept(Manifold.batch_hull(list(bodies)), finish)

    def _kept(self, body: Body, finish: Finish) -> Body:
        self.finishes[body.original_id()] = finish
        return body


def union(bodies: Sequence[Body]) -> Body:
    """All of these in one."""
    return Manifold.batch_boolean(list(bodies), OpType.Add)


def less(body: Body, cuts: Sequence[Body]) -> Body:
    """A body without what these take away."""
    return Manifold.batch_boolean([body, *cuts], OpType.Subtract) if cuts else body


def moved(body: Body, x: float = 0, y: float = 0, z: float = 0) -> Body:
    """Shifted."""
    return body.translate((x, y, z))


def put(body: Body, at: Point, towards: Point, scale: float = 1) -> Body:
    """Scaled, its z turned to a unit direction, its origin moved there."""
    return body.transform(np.column_stack([scale * _turn(np.asarray(towards, float)), at]))


def along_x(body: Body) -> Body:
    """Its z along x."""
    return body.rotate((0, 90, 0))


def along_y(body: Body) -> Body:
    """Its z along y."""
    return body.rotate((-90, 0, 0))


def upright(body: Body) -> Body:
    """Its y up, its z along y: an outline seen from the front."""
    return along_y(body).mirror((0, 0, 1))


def spread(body: Body, count: int, radius: float = 0, first: float = 0) -> list[Body]:
    """So many of it around z, moved out by `radius`; `first` in degrees from x."""
    out = moved(body, radius)
    return [out.rotate((0, 0, first + 360 * k / count)) for k in range(count)]


def at_corners(body: Body, x: float, y: float) -> list[Body]:
    """Four of it, at +-x, +-y."""
    return [moved(body, i * x, j * y) for i in (-1, 1) for j in (-1, 1)]


def polygon(points: ArrayLike) -> Section:
    """The outline (N,2), whichever way it runs."""
    return CrossSection([np.asarray(points, float)], FillRule.NonZero)


def circle(radius: float, segments: int = 24) -> Section:
    """Around 0."""
    return CrossSection.circle(radius, segments)


def rectangle(w: float, d: float, r: float = 0) -> Section:
    """Around 0, its corners of radius r."""
    corners = np.array([(-w, -d), (w, -d), (w, d), (-w, d)]) / 2
    return polygon(rounded(corners, min(r, 0.49 * w, 0.49 * d)) if r > 0 else corners)


def regular(sides: int, across: float) -> Section:
    """A regular polygon, its opposite flats so far apart."""
    return CrossSection.circle(across / 2 / np.cos(np.pi / sides), sides).rotate(180 / sides)


def slot(length: float, radius: float) -> Section:
    """A rectangle along x with round ends, `length` between their middles."""
    end = circle(radius)
    return CrossSection.batch_hull([end.translate((-length / 2, 0)), end.translate((length / 2, 0))])


def rounded(corners: ArrayLike, radius: ArrayLike, steps: int = 4) -> Array:
    """(M,2) of a closed outline (N,2) whose corners are rounded by that radius, or radii, as far as their
    edges are long enough; 0 leaves one sharp.
    """
    points = np.asarray(corners, float)
    radii = np.broadcast_to(radius, len(points))
    before, after = np.roll(points, 1, axis=0) - points, np.roll(points, -1, axis=0) - points
    found: list[Array] = []
    for p, b, a, r in zip(points, before, after, radii, strict=True):
        lengths = float(np.linalg.norm(b)), float(np.linalg.norm(a))
        if r <= 0 or min(lengths) < 1e-9:
            found.append(p[None])
            continue
        b, a = b / lengths[0], a / lengths[1]
        half = np.arccos(np.clip(b @ a, -1, 1)) / 2
        reach = min(r / max(np.tan(half), 1e-6), 0.48 * min(lengths))
        t = np.linspace(0, 1, steps + 1)[:, None]
        weight = np.sin(half)  # with it the rational curve is the circle's arc
        bend = (1 - t) ** 2, 2 * weight * t * (1 - t), t**2
        arc = bend[0] * (p + reach * b) + bend[1] * p + bend[2] * (p + reach * a)
        found.append(arc / sum(bend))
    return np.concatenate(found)


def _turn(axis: Array) -> Array:
    """(3,3) rotation that takes z to a unit axis."""
    other = np.eye(3)[np.abs(axis).argmin()]
    x = np.cross(other, axis)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(axis, x), axis], axis=1)
