"""One photo of the object on its table, by sphere tracing, in linear light.

Each pixel walks one cone; only where that touches the object do its 2x2 rays go on. Light that changes slowly
(shadow, occlusion) is worked out once a pixel; colour, normal and reflection for each ray.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from workers.simulate.cameras import Lens
from workers.simulate.noise import blend
from workers.simulate.paint import Paint, albedo
from workers.simulate.room import Room, ambient, radiance
from workers.simulate.shape import Shape, distance, normal, safe_step
from workers.simulate.table import look_up, open_share

EPSILON = 0.00003  # m: this near is on the surface
FAR = 1e3  # m: nothing was hit


class Scene(NamedTuple):
    """All there is to see; table comes from `table.bake`, ball (x, y, z, radius) from `bounding_sphere`."""

    shape: Shape
    paint: Paint
    room: Room
    table: tuple[NDArray[np.float32], ...]
    ball: tuple[float, float, float, float]


@njit(cache=True, fastmath=True)
def _in_ball(scene: Scene, o: NDArray[np.float64], d: tuple[float, float, float]) -> tuple[float, float]:
    """Where a ray enters the bounding sphere and leaves it or meets the table; equal if it misses."""
    cx, cy, cz, radius = scene.ball
    px, py, pz = o[0] - cx, o[1] - cy, o[2] - cz
    b = px * d[0] + py * d[1] + pz * d[2]
    inside = b * b - (px * px + py * py + pz * pz - radius * radius)
    if inside <= 0.0:
        return FAR, FAR
    end = -b + math.sqrt(inside)
    if d[1] < 0.0:
        end = min(end, -o[1] / d[1])
    return max(-b - math.sqrt(inside), 0.0), end


@njit(cache=True, fastmath=True)
def _march(
    s: Shape, o: NDArray[np.float64], d: tuple[float, float, float], near: float, far: float, spread: float
) -> float:
    """Distance to where a cone of radius spread·distance first touches the object; FAR if it does not."""
    t = near
    for _ in range(160):
        if t > far:
            return FAR
        gap = distance(s, o[0] + t * d[0], o[1] + t * d[1], o[2] + t * d[2]) - spread * t
        if gap < EPSILON:
            return t
        t += safe_step(gap)
    return t


@njit(cache=True, fastmath=True)
def _free_light(
    scene: Scene, p: tuple[float, float, float], n: tuple[float, float, float], lit: NDArray[np.float64]
) -> None:
    """Fill lit (L + 1,): the share of the surroundings and of each lamp that reaches p, unit normal n."""
    s = scene.shape
    hidden, weight = 0.0, 1.0
    for i in range(5):
        h = 0.003 * 1.9**i
        y = p[1] + h * n[1]
        d = min(distance(s, p[0] + h * n[0], y, p[2] + h * n[2]), max(y, 0.0))
        hidden += weight * (h - d) / h
        weight *= 0.75
    lit[0] = min(max(1.0 - 0.42 * hidden, 0.04), 1.0)
    x, y, z = p[0] + 0.0008 * n[0], p[1] + 0.0008 * n[1], p[2] + 0.0008 * n[2]
    for i in range(len(scene.room.lamps)):
        lamp = scene.room.lamps[i]
        lit[i + 1] = 0.0
        if lamp[0] * n[0] + lamp[1] * n[1] + lamp[2] * n[2] > -0.1:
            lit[i + 1] = open_share(s, x, y, z, lamp[0], lamp[1], lamp[2], lamp[6])


@njit(cache=True, fastmath=True)
def _reflection(
    scene: Scene, p: tuple[float, float, float], r: tuple[float, float, float]
) -> tuple[float, float, float]:
    """What a mirror at p shows in the unit direction r: the room, the table, or darkly the object itself."""
    seen = radiance(scene.room, r[0], r[1], r[2], 0.002)
    if r[1] < -0.02:
        t = p[1] / -r[1]
        table = look_up(scene.table, p[0] + t * r[0], p[2] + t * r[2], 0.004 + 0.05 * t)
        rest = 1.0 - table[3]
        seen = table[0] + rest * seen[0], table[1] + rest * seen[1], table[2] + rest * seen[2]
    near = distance(scene.shape, p[0] + 0.02 * r[0], p[1] + 0.02 * r[1], p[2] + 0.02 * r[2]) / 0.02
    return blend((0.06, 0.055, 0.05), seen, min(max(1.6 * near, 0.0), 1.0))


@njit(cache=True, fastmath=True)
def _shade(
    scene: Scene, p: tuple[float, float, float], n: tuple[float, float, float], d: tuple[float, float, float],
    lit: NDArray[np.float64],
) -> tuple[float, float, float]:  # fmt: skip
    """Radiance RGB from p against the ray d: Lambert, and on the glaze a mirror by Schlick's Fresnel."""
    kr, kg, kb, gloss = albedo(scene.shape, scene.paint, p[0], p[1], p[2])
    er, eg, eb = ambient(scene.room, n[1])
    er, eg, eb = er * lit[0], eg * lit[0], eb * lit[0]
    for i in range(len(scene.room.lamps)):
        lamp = scene.room.lamps[i]
        facing = max(lamp[0] * n[0] + lamp[1] * n[1] + lamp[2] * n[2], 0.0) * lit[i + 1]
        er, eg, eb = er + facing * lamp[3], eg + facing * lamp[4], eb + facing * lamp[5]
    out = kr * er / math.pi, kg * eg / math.pi, kb * eb / math.pi
    if gloss == 0.0:
        return out
    facing = -(d[0] * n[0] + d[1] * n[1] + d[2] * n[2])
    mirror = d[0] + 2 * facing * n[0], d[1] + 2 * facing * n[1], d[2] + 2 * facing * n[2]
    fresnel = 0.045 + 0.955 * (1.0 - min(max(facing, 0.0), 1.0)) ** 5
    seen = _reflection(scene, p, mirror)
    return blend(out, seen, fresnel)


@njit(cache=True, fastmath=True)
def _behind(
    scene: Scene, o: NDArray[np.float64], d: tuple[float, float, float], pixel: float
) -> tuple[float, float, float]:
    """Radiance RGB of a ray that misses the object; pixel is a pixel's size at 1 m."""
    red, green, blue, cover = 0.0, 0.0, 0.0, 0.0
    if d[1] < -0.01:
        t = -o[1] / d[1]
        # a pixel covers the table as a long ellipse: between its two axes blur and flicker are both small
        size = t * pixel / math.sqrt(-d[1])
        red, green, blue, cover = look_up(scene.table, o[0] + t * d[0], o[2] + t * d[2], size)
        sheen = 0.25 * cover * (1.0 + d[1]) ** 5  # a satin varnish: it shows at a low angle only
        if sheen > 0.002:
            red, green, blue = blend((red, green, blue), radiance(scene.room, d[0], -d[1], d[2], 0.05), sheen)
    if cover < 1.0:
        room = radiance(scene.room, d[0], d[1], d[2], 0.004)
        rest = 1.0 - cover
        red, green, blue = red + room[0] * rest, green + room[1] * rest, blue + room[2] * rest
    return red, green, blue


@njit(cache=True, fastmath=True)
def _ray(pose: NDArray[np.float64], lens: Lens, u: float, v: float) -> tuple[float, float, float]:
    """Unit direction in the world through the image point (u, v) in pixels."""
    x, y = (u - lens.cx) / lens.f, -(v - lens.cy) / lens.f
    scale = 1.0 / math.sqrt(x * x + y * y + 1.0)
    dx = (pose[0, 0] * x + pose[0, 1] * y - pose[0, 2]) * scale
    dy = (pose[1, 0] * x + pose[1, 1] * y - pose[1, 2]) * scale
    dz = (pose[2, 0] * x + pose[2, 1] * y - pose[2, 2]) * scale
    return dx, dy, dz


@njit(cache=True, fastmath=True)
def _pixel(
    scene: Scene, pose: NDArray[np.float64], lens: Lens, u: int, v: int, lit: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """(red, green, blue, coverage) of the pixel in column u, row v; lit (L + 1,) is room to work in."""
    o = pose[:3, 3]
    red, green, blue, hits, before = 0.0, 0.0, 0.0, 0, FAR
    middle = _ray(pose, lens, u + 0.5, v + 0.5)
    near, far = _in_ball(scene, o, middle)
    start = FAR
    if near < far:
        # the cone ends a little past the table, for its lower rays reach further
        start = _march(scene.shape, o, middle, near, far + 0.02, 0.75 / lens.f)
    if start < FAR:
        for i in range(4):
            d = _ray(pose, lens, u + 0.25 + 0.5 * (i % 2), v + 0.25 + 0.5 * (i // 2))
            _, far = _in_ball(scene, o, d)
            t = _march(scene.shape, o, d, start, far, 0.0)
            if t == FAR:
                continue
            p = o[0] + t * d[0], o[1] + t * d[1], o[2] + t * d[2]
            n = normal(scene.shape, p[0], p[1], p[2])
            if abs(t - before) > 0.003:
                _free_light(scene, p, n, lit)
                before = t
            colour = _shade(scene, p, n, d, lit)
            red, green, blue, hits = red + colour[0], green + colour[1], blue + colour[2], hits + 1
    share = 0.25 * hits
    if hits < 4:
        back = _behind(scene, o, middle, 1.0 / lens.f)
        rest = 1.0 - share
        return (
            0.25 * red + rest * back[0],
            0.25 * green + rest * back[1],
            0.25 * blue + rest * back[2],
            share,
        )
    return 0.25 * red, 0.25 * green, 0.25 * blue, share


@njit(cache=True, fastmath=True)
def _row(scene: Scene, pose: NDArray[np.float64], lens: Lens, v: int, out: NDArray[np.float32]) -> None:
    lit = np.empty(len(scene.room.lamps) + 1)
    for u in range(lens.w):
        red, green, blue, share = _pixel(scene, pose, lens, u, v, lit)
        out[u, 0], out[u, 1], out[u, 2], out[u, 3] = red, green, blue, share


@njit(cache=True, parallel=True, fastmath=True)
def _render(
    shape: Shape, paint: Paint, room: Room, table: tuple[NDArray[np.float32], ...],
    ball: tuple[float, float, float, float], pose: NDArray[np.float64], lens: Lens,
) -> NDArray[np.float32]:  # fmt: skip
    # numba takes no tuple of tuples into a parallel loop: the scene is put together again inside
    out = np.empty((lens.h, lens.w, 4), np.float32)
    for v in prange(lens.h):
        _row(Scene(shape, paint, room, table, ball), pose, lens, v, out[v])
    return out


def render(scene: Scene, pose: NDArray[np.float64], lens: Lens) -> NDArray[np.float32]:
    """(h, w, 4) float32: the photo's linear RGB and the object's coverage; pose (4, 4) camera-to-world."""
    return _render(*scene, pose, lens)
