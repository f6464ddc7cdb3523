"""The object as a signed distance: a footed jar, a bowl in its top, a knob in the bowl, a ring for a handle.

World frame: metres, y up, the table at y = 0, the jar's axis the y axis, the handle towards +x.
Primitives and smooth unions after Inigo Quilez, "distance functions" (iquilezles.org).
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from workers.simulate.noise import ramp

RELIEF_BAND = 0.006  # m: nearer than this to the turned body its relief is worked out; it fades in from here
RELIEF_RANGE = 0.0024  # m: the relief moves the surface by less than this
DIMPLE = 0.0064  # m: a dimple's radius
RELIEF_STEP = 0.6  # share of the distance that is safe to walk on relief: its slope stays below 1.3


class Shape(NamedTuple):
    """Measures in metres; heights are above the table; the last three are counts around the jar."""

    foot_radius: float
    belly_radius: float
    belly_y: float  # centre of the belly's sphere
    waist_radius: float
    waist_y: float
    rim_radius: float
    height: float
    bowl_radius: float
    bowl_y: float  # centre of the sphere that hollows the bowl
    knob_radius: float
    knob_y: float
    handle_x: float  # centre of the ring
    handle_y: float
    handle_ring: float
    handle_tube: float
    flutes: float
    dimples: float
    waves: float


def random_shape(rng: np.random.Generator) -> Shape:
    """A valid jar, each measure a few per cent around the design."""

    def near(value: float, share: float = 0.05) -> float:
        return float(value * rng.uniform(1 - share, 1 + share))

    height, rim, belly = near(0.2), near(0.072), near(0.078)
    belly_y = belly + 0.010
    bowl = rim - 0.007
    bowl_y = height + 0.2 * bowl
    knob = near(0.017)
    return Shape(
        foot_radius=near(0.055), belly_radius=belly, belly_y=belly_y, waist_radius=near(0.05),
        waist_y=height - near(0.062), rim_radius=rim, height=height, bowl_radius=bowl, bowl_y=bowl_y,
        knob_radius=knob, knob_y=bowl_y - bowl + 0.75 * knob, handle_x=belly + near(0.006, 0.3),
        handle_y=belly_y + near(0.032), handle_ring=near(0.042, 0.03), handle_tube=near(0.009),
        flutes=float(rng.integers(30, 41)), dimples=float(rng.integers(16, 23)),
        waves=float(rng.integers(9, 14)),
    )  # fmt: skip


def bounds(s: Shape) -> NDArray[np.float64]:
    """(2, 3): lowest and highest corner of a box around the object, metres, with 2 mm to spare."""
    side = max(s.belly_radius, s.rim_radius, s.foot_radius) + RELIEF_RANGE
    right = s.handle_x + s.handle_ring + s.handle_tube
    spare = 0.002
    return np.array([[-side - spare, -spare, -side - spare], [right + spare, s.height + spare, side + spare]])


def bounding_sphere(s: Shape) -> tuple[NDArray[np.float64], float]:
    """Centre (3,) and radius of a sphere around the object, metres; tighter than one around its box."""
    low, high = bounds(s)
    side = -low[2]
    centre = np.array([(low[0] + high[0]) / 2, s.height / 2, 0.0])
    reach = [
        math.hypot(centre[0] + s.foot_radius, centre[1]),
        math.hypot(centre[0] + s.rim_radius, centre[1]),
        math.hypot(centre[0] + side, abs(s.belly_y - centre[1])),
        math.hypot(s.handle_x - centre[0], s.handle_y - centre[1]) + s.handle_ring + s.handle_tube,
    ]
    return centre, max(reach) + 0.004


@njit(cache=True, fastmath=True)
def _length(a: float, b: float) -> float:
    return math.sqrt(a * a + b * b)  # math.hypot minds overflow, at five times the price


@njit(cache=True, fastmath=True)
def _union(a: float, b: float, k: float) -> float:
    h = max(k - abs(a - b), 0.0) / k
    return min(a, b) - 0.25 * k * h * h


@njit(cache=True, fastmath=True)
def _relief(s: Shape, x: float, y: float, z: float, r: float) -> float:
    """What the decoration adds to the turned body, metres: flutes, a row of dimples, an embossed wave."""
    flute_top = s.belly_y - 0.004
    if y < flute_top:
        window = ramp(0.018, 0.030, y) * (1.0 - ramp(flute_top - 0.012, flute_top, y))
        return 0.0011 * window * math.cos(s.flutes * math.atan2(z, x))

    up = y - (s.belly_y + 0.016)
    if abs(up) < DIMPLE:
        turn = s.dimples * math.atan2(z, x) / (2 * math.pi)
        across = (turn - math.floor(turn + 0.5)) * 2 * math.pi / s.dimples * r
        inside = max(1.0 - (across * across + up * up) / (DIMPLE * DIMPLE), 0.0)
        return -0.0022 * inside * inside

    above = y - 0.5 * (s.waist_y + s.height) - 0.004
    if abs(above) < 0.009:
        off = abs(above - 0.006 * math.sin(s.waves * math.atan2(z, x)))
        return 0.0012 * (1.0 - ramp(0.0012, 0.0030, off))
    return 0.0


@njit(cache=True, fastmath=True)
def _cone(r: float, y: float, s: Shape) -> float:
    """Exact distance to the flaring neck, a cone cut at the waist and at the rim."""
    half = 0.5 * (s.height - s.waist_y)
    v = y - s.waist_y - half
    grow = s.rim_radius - s.waist_radius
    cap = s.waist_radius if v < 0.0 else s.rim_radius
    cap_r, cap_y = r - min(r, cap), abs(v) - half
    along = ((r - s.rim_radius) * -grow + (v - half) * -2 * half) / (grow * grow + 4 * half * half)
    along = min(max(along, 0.0), 1.0)
    side_r, side_y = r - s.rim_radius + grow * along, v - half + 2 * half * along
    sign = -1.0 if side_r < 0.0 and cap_y < 0.0 else 1.0
    return sign * math.sqrt(min(cap_r * cap_r + cap_y * cap_y, side_r * side_r + side_y * side_y))


@njit(cache=True, fastmath=True)
def parts(s: Shape, x: float, y: float, z: float) -> tuple[float, float, float, float]:
    """Distances in metres from a point to (turned body, bowl's sphere, knob, handle), not yet joined."""
    r = math.sqrt(x * x + z * z)
    foot_r, foot_y = r - (s.foot_radius - 0.003), abs(y - 0.009) - 0.006
    foot = min(max(foot_r, foot_y), 0.0) + _length(max(foot_r, 0.0), max(foot_y, 0.0)) - 0.003
    belly = _length(r, y - s.belly_y) - s.belly_radius
    body = _union(_union(belly, foot, 0.012), _cone(r, y, s), 0.03)
    if body < RELIEF_BAND:
        # faded, not cut off: a jump here would tear the smooth joint with the handle
        body -= _relief(s, x, y, z, r) * (1.0 - ramp(0.3 * RELIEF_BAND, RELIEF_BAND, body))
    bowl = _length(r, y - s.bowl_y) - s.bowl_radius
    knob = _length(r, y - s.knob_y) - s.knob_radius
    ring = _length(x - s.handle_x, y - s.handle_y) - s.handle_ring
    return body, bowl, knob, _length(ring, z) - s.handle_tube


@njit(cache=True, fastmath=True)
def distance(s: Shape, x: float, y: float, z: float) -> float:
    """Signed distance in metres, negative inside; the relief bends it, so walk along it by `safe_step`.

    The handle is joined before the bowl is hollowed: whatever the proportions, none of it shows in the bowl.
    """
    body, bowl, knob, handle = parts(s, x, y, z)
    hollow = -_union(-_union(body, handle, 0.012), bowl, 0.005)
    return _union(hollow, knob, 0.008)


@njit(cache=True, fastmath=True)
def safe_step(d: float) -> float:
    """How far one may walk from where `distance` is d without crossing the surface, metres."""
    return max(d - RELIEF_RANGE, RELIEF_STEP * d)


@njit(cache=True, fastmath=True)
def normal(s: Shape, x: float, y: float, z: float) -> tuple[float, float, float]:
    """Unit outward normal at a point of the surface, from four distances 0.3 mm around it (a tetrahedron)."""
    e = 0.0003
    a, b = distance(s, x + e, y - e, z - e), distance(s, x - e, y - e, z + e)
    c, d = distance(s, x - e, y + e, z - e), distance(s, x + e, y + e, z + e)
    nx, ny, nz = a - b - c + d, -a - b + c + d, -a + b - c + d
    scale = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-30)
    return nx * scale, ny * scale, nz * scale


@njit(cache=True, parallel=True, fastmath=True)
def distance_grid(
    s: Shape, xs: NDArray[np.float64], ys: NDArray[np.float64], zs: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(X, Y, Z) float32: signed distance in metres on the grid of coordinates xs (X,), ys (Y,), zs (Z,)."""
    out = np.empty((len(xs), len(ys), len(zs)), np.float32)
    for i in prange(len(xs)):
        for j in range(len(ys)):
            for k in range(len(zs)):
                out[i, j, k] = distance(s, xs[i], ys[j], zs[k])
    return out
