"""What is cut, bent or put together of plain solids: plates, brackets, levers, and solids at random.

Each function draws its measures anew. Bodies have z up and stand, or lie, as they would on a table.
"""

from __future__ import annotations

import itertools

import numpy as np

from workers.simulate.parts.primitives import (
    Array,
    Body,
    Finish,
    Section,
    Shop,
    at_corners,
    less,
    moved,
    polygon,
    rectangle,
    regular,
    rounded,
    slot,
    spread,
    union,
    upright,
)


def plate(s: Shop) -> Body:
    """With an outline, a pattern of holes, at times a pocket, bosses or ribs."""
    w, d, h = 1.0, s.between(0.45, 1), s.between(0.13, 0.28)
    shape = s.choice(("rectangle", "rectangle", "rectangle", "disc", "triangle", "stepped"))
    if shape == "disc":
        d, edge = w, s.choice((0.0, 0.03))
        profile = [(0, 0), (w / 2, 0), (w / 2, h - edge), (w / 2 - edge, h), (0, h)]
        body = s.turned(profile[:3] + profile[3 if edge else 4 :])
    elif shape == "rectangle":
        body = s.slab(w, d, h, s.choice((0.0, 0.06, 0.15)), s.choice((0.0, 0.02, 0.04)))
    else:
        a, b = s.between(0.3, 0.5), s.between(0.3, 0.5)
        corners = [
            (-w / 2, -d / 2),
            (w / 2, -d / 2),
            (w / 2, (b - 0.5) * d),
            ((a - 0.5) * w, d / 2),
            (-w / 2, d / 2),
        ]
        if shape == "stepped":
            corners.insert(3, ((a - 0.5) * w, (b - 0.5) * d))
        body = s.prism(polygon(rounded(corners, s.between(0.02, 0.08))), h)
    bossed = s.chance(0.35)
    added, cuts = [body], _plate_holes(s, shape, bossed, w, d, h)
    if bossed:
        r, tall = s.between(0.08, 0.16), h + s.between(0.05, 0.3)
        added.append(s.rod((0, 0, 0.3 * h), (0, 0, tall), 1.6 * r, edge=0.02))
        cuts.append(s.hole((0, 0, -1), (0, 0, 2), r))
    elif s.chance(0.3) and shape in ("rectangle", "disc"):
        pocket = s.prism(rectangle(0.42 * w, 0.42 * d, 0.05), 1, "cut")
        cuts.append(moved(pocket, z=s.between(0.3, 0.7) * h))
    elif s.chance(0.3) and shape == "rectangle":
        rib = s.slab(s.between(0.03, 0.06), 0.9 * d, 2.2 * h, edge=0.01)
        added += [moved(rib, x) for x in np.linspace(-0.3, 0.3, s.count(2, 4)) * w]
    return less(union(added), cuts)


def _plate_holes(s: Shop, shape: str, bossed: bool, w: float, d: float, h: float) -> list[Body]:
    patterns = ("corners", "ring") if bossed else ("corners", "grid", "ring", "slots", "corners", "none")
    pattern = s.choice(patterns)
    if shape in ("triangle", "stepped"):
        pattern = s.choice(("row", "none"))
    r = s.between(0.025, 0.05)
    hole = s.hole((0, 0, -1), (0, 0, 2), r)
    if s.chance(0.4):  # counterbored
        hole = union([hole, s.hole((0, 0, s.between(0.4, 0.7) * h), (0, 0, 2), 1.7 * r)])
    if pattern == "ring" or shape == "disc":
        out = 0.38 * min(w, d)
        return spread(hole, s.count(3, 10), out)
    if pattern == "corners":
        return at_corners(hole, 0.4 * w, 0.5 * d - 0.1)
    if pattern == "grid":
        columns, rows = s.count(3, 5), s.count(2, 4)
        return [
            moved(hole, x, y)
            for x in np.linspace(-0.4, 0.4, columns) * w
            for y in np.linspace(-0.36, 0.36, rows) * d
        ]
    if pattern == "row":
        return [moved(hole, x * w, -0.4 * d + 0.02) for x in np.linspace(-0.4, 0.35, s.count(2, 5))]
    if pattern == "slots":
        long = moved(s.prism(slot(0.45 * d, r), 3, "cut").rotate((0, 0, 90)), z=-1)
        return [moved(long, x) for x in np.linspace(-0.36, 0.36, s.count(2, 4)) * w]
    return []


def bracket(s: Shop) -> Body:
    """Of sheet or cast: L, U, Z or a hat, with holes, at times with gussets."""
    form = s.choice(("L", "L", "L", "U", "Z", "hat"))
    t, w, h, d = s.between(0.06, 0.16), 1.0, s.between(0.45, 1.0), s.between(0.4, 0.9)
    foot = {"L": 0.0, "U": 0.0, "Z": 0.0, "hat": s.between(0.24, 0.32)}[form]
    line = {
        "L": [(0, h), (0, 0), (w, 0)],
        "U": [(0, h), (0, 0), (w, 0), (w, h if s.chance(0.6) else 0.6 * h)],
        "Z": [(-0.7 * w, h), (0, h), (0, 0), (0.7 * w, 0)],
        "hat": [(-foot, 0), (foot, 0), (foot, h), (w, h), (w, 0), (w + 2 * foot, 0)],
    }[form]
    body = moved(upright(s.prism(_strip(line, t, s.between(0.3, 1.6) * t), d)), y=-d / 2)
    cuts: list[Body] = []
    r = s.between(0.035, 0.06)
    for start, end in itertools.pairwise(line):
        cuts += _leg_holes(s, np.array(start), np.array(end), d, r, t)
    added = [body]
    if form in ("L", "U") and s.chance(0.6):
        a, b = s.between(0.45, 0.8) * w * (0.45 if form == "U" else 1), s.between(0.5, 0.85) * h * 0.7
        gusset = polygon([(0, 0), (a, 0), (a, 0.12 * h), (0.12 * w, b), (0, b)])
        thick = s.between(0.05, 0.1)
        rib = upright(s.prism(gusset, thick))
        places = [-thick / 2] if s.chance() else [-d / 2, d / 2 - thick]
        added += [moved(rib, y=y) for y in places]
    return less(union(added), cuts)


def _strip(line: list[tuple[float, float]], t: float, bend: float) -> Section:
    """The outline of a sheet of thickness t bent along a line, to its left and its right."""
    points = np.array(line, float)
    step = np.diff(points, axis=0)
    normal = np.stack([-step[:, 1], step[:, 0]], axis=1) / np.linalg.norm(step, axis=1, keepdims=True)
    mean = np.concatenate([normal[:1], normal[:-1] + normal[1:], normal[-1:]])  # bends are right angles
    sides = points + mean * t / 2, points - mean * t / 2
    turn = np.concatenate([[0], step[:-1, 0] * step[1:, 1] - step[:-1, 1] * step[1:, 0], [0]])
    ends = np.ones(len(points))
    ends[[0, -1]] = 0
    radii = [ends * (bend + t * (sign * turn < 0)) for sign in (1, -1)]  # larger outside of a bend
    outline = np.concatenate([sides[0], sides[1][::-1]])
    return polygon(rounded(outline, np.concatenate([radii[0], radii[1][::-1]])))


def _leg_holes(s: Shop, a: Array, b: Array, d: float, r: float, t: float) -> list[Body]:
    length = float(np.linalg.norm(b - a))
    way = (b - a) / length
    normal = np.array([-way[1], way[0]])
    kind = s.choice(("none", "one", "two", "four", "bore"))
    if length < 0.3 and kind != "none":
        kind = "two"
    middle = (a + b) / 2 + 0.08 * length * (b - a) / length
    places = {
        "none": [], "one": [(0.0, 0.0)], "bore": [(0.0, 0.0)], "two": [(0.0, -0.28), (0.0, 0.28)],
        "four": [(i, j) for i in (-0.22, 0.22) for j in (-0.3, 0.3)],
    }[kind]  # fmt: skip
    radius = min(0.3 * d, 0.26 * length) if kind == "bore" else min(r, 0.3 * length)
    found = []
    for i, j in places:
        x, z = middle + i * length * way
        dx, dz = 2 * t * normal
        found.append(s.hole((x - dx, j * d, z - dz), (x + dx, j * d, z + dz), radius))
    return found


def lever(s: Shop) -> Body:
    """Two or three bosses with bores, joined by webs: a connecting rod, a lever, a link."""
    h, span = s.between(0.14, 0.3), 1.0
    r = [s.between(0.14, 0.26), s.between(0.1, 0.18), s.between(0.1, 0.18)]
    ends = [(0.0, 0.0), (span, 0.0)]
    if s.chance(0.4):
        turn = np.radians(s.between(70, 150))
        ends.append((s.between(0.5, 0.9) * np.cos(turn), s.between(0.5, 0.9) * np.sin(turn)))
    thin = s.between(0.4, 0.8) * h
    added, cuts = [], []
    for k, (x, y) in enumerate(ends):
        tall = h * s.between(0.9, 1.8)
        added.append(moved(s.rod((0, 0, 0), (0, 0, tall), r[k], edge=0.015), x, y))
        cuts.append(moved(s.hole((0, 0, -1), (0, 0, 2), r[k] * s.between(0.45, 0.7)), x, y))
        if k:
            share = s.between(0.6, 0.95)
            web = s.hull(
                [s.rod((0, 0, 0), (0, 0, thin), share * r[0]), s.rod((x, y, 0), (x, y, thin), share * r[k])]
            )
            added.append(web)
            if s.chance(0.6):
                way = np.array([x, y]) / np.hypot(x, y)
                a, b = way * (r[0] + 0.07), np.array([x, y]) - way * (r[k] + 0.06)
                small = 0.5 * share * min(r[0], r[k])
                groove = s.hull([s.rod((*a, 0), (*a, 3), small), s.rod((*b, 0), (*b, 3), 0.8 * small)])
                cuts.append(moved(groove, z=thin * s.choice((0.6, 0.6, -1))))
    return less(union(added), cuts)


def composed(s: Shop) -> Body:
    """Boxes, rods and balls at random, joined and taken away: so that not only kinds are known."""
    body = _any(s, 1)
    for _ in range(s.count(1, 6)):
        low, high = np.array(body.bounding_box()).reshape(2, 3)
        place = s.rng.uniform(low, high)
        if s.chance(0.4):  # in the middle of it, as a maker would put it
            place[s.count(0, 2)] = 0
        one = _any(s, 0.75).translate(place)
        body = body - one if s.chance(0.35) else body + one
        if body.is_empty():
            body = one
    return union([body, body.mirror((1, 0, 0))]) if s.chance(0.3) else body


def _any(s: Shop, size: float) -> Body:
    x, y, z = (s.between(0.25, 0.8) * size for _ in range(3))
    finishes: tuple[Finish, ...] = ("body", "body", "cut", "trim", "grip")
    finish = s.choice(finishes)
    form = s.choice(("box", "box", "rod", "rod", "ball", "cone", "prism"))
    ends = (0, 0, -z / 2), (0, 0, z / 2)
    if form == "box":
        one = moved(s.slab(x, y, z, s.choice((0.0, 0.05)), s.choice((0.0, 0.03)), finish), z=-z / 2)
    elif form == "rod":
        one = s.rod(*ends, x / 2, finish, edge=s.choice((0.0, 0.02)))
    elif form == "cone":
        one = s.rod(*ends, x / 2, finish, top=s.between(0.1, 0.8) * x / 2)
    elif form == "prism":
        one = moved(s.prism(regular(s.count(3, 8), x), z, finish), z=-z / 2)
    else:
        one = s.ball(x / 2, finish).scale((1, y / x, z / x) if s.chance(0.3) else (1, 1, 1))
    if s.chance(0.85):
        return one.rotate(s.choice(((0, 0, 0), (90, 0, 0), (0, 90, 0), (0, 0, 90))))
    return one.rotate((s.between(0, 360), s.between(0, 360), s.between(0, 360)))
