"""What comes from a lathe: flanges, shafts, bolts, vessels.

Each function draws its measures anew. Bodies have z up and stand, or lie, as they would on a table.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

from workers.simulate.parts.primitives import (
    Array,
    Body,
    Finish,
    Shop,
    along_x,
    along_y,
    less,
    moved,
    polygon,
    regular,
    rounded,
    slot,
    spread,
    union,
)


def flange(s: Shop) -> Body:
    """A disc or square with a bolt circle, a hub or neck, a raised face and a bore."""
    t, hub, h = s.between(0.18, 0.4), s.between(0.35, 0.62), s.between(0.1, 0.9)
    bore = hub * s.between(0.45, 0.85)
    face, neck = hub + s.between(0.04, 0.1), hub * s.choice((1.0, 1.0, s.between(0.75, 0.95)))
    neck = max(neck, bore + 0.05)
    blend = s.between(0.02, 0.09)
    profile = [(0, 0), (1, 0), (1, t), (hub, t), (neck, t + h), (0, t + h)]
    radii = [0, 0.02, 0.03, blend, 0.02, 0]
    if s.chance(0.25):  # square
        half = 1 - s.between(0, 0.1)
        added = [s.slab(2 * half, 2 * half, t, s.between(0.1, 0.4), 0.02)]
        added.append(s.turned(rounded([(0, 0), (hub + 0.05, 0), (hub, t), (neck, t + h), (0, t + h)], 0)))
        bolts = spread(s.hole((0, 0, -1), (0, 0, 2), s.between(0.07, 0.13)), 4, half * 1.05, 45)
    else:
        added = [s.turned(rounded(profile, radii))]
        count = s.choice((3, 4, 6, 8, 12))
        middle = (1 + hub + blend) / 2
        hole = s.hole((0, 0, -1), (0, 0, 2), min(0.28 * (1 - hub - blend), 0.35 * middle * np.pi / count))
        bolts = spread(hole, count, middle)
    if s.chance():
        added.append(s.rod((0, 0, -0.05), (0, 0, 0.1), face, "cut"))
    cuts = [
        *bolts,
        s.hole((0, 0, -1), (0, 0, 4), bore) if s.chance(0.85) else s.hole((0, 0, t), (0, 0, 4), bore),
    ]
    body = less(union(added), cuts)
    return body.rotate((90, 0, 0)) if s.chance(0.3) else body


def shaft(s: Shop) -> Body:
    """Stepped, with chamfers, keyways, grooves, flats or a pinion; lies along x."""
    count = s.count(3, 7)
    radii = np.array([s.between(0.07, 0.19) for _ in range(count)])
    radii[1:-1] = np.maximum(radii[1:-1], min(radii[0], radii[-1]))
    lengths = np.array([s.between(0.4, 1.5) for _ in range(count)])
    lengths /= lengths.sum()
    ends = np.concatenate([[0], np.cumsum(lengths)])
    edge = 0.012
    profile: list[tuple[float, float]] = [(0.0, 0.0)]
    for r, a, b in zip(radii, ends[:-1], ends[1:], strict=True):
        profile += [(r - edge, a), (r, a + edge), (r, b - edge), (r - edge, b)]
    profile.append((0.0, 1.0))
    added, cuts = [s.turned(profile, s.choice(("body", "cut")))], []
    for r, a, b in zip(radii, ends[:-1], ends[1:], strict=True):
        kind = s.choice(("none", "none", "key", "groove", "flats", "thread"))
        long = b - a
        if kind == "key" and long > 0.15:
            key = s.prism(slot(0.55 * long, 0.22 * r), 1, "cut").rotate((0, -90, 0)).rotate((0, 0, 180))
            cuts.append(moved(key, 0.75 * r, 0, (a + b) / 2))
        elif kind == "groove":
            ring = [(0.85 * r, b - 0.06), (0.3, b - 0.06), (0.3, b - 0.04), (0.85 * r, b - 0.04)]
            cuts.append(s.turned(ring, "cut"))
        elif kind == "flats" and b == 1:
            for sign in (-1, 1):
                cuts.append(moved(s.slab(1, 1, long, finish="cut"), y=sign * (0.5 + 0.72 * r), z=a + 0.02))
        elif kind == "thread" and long > 0.1 and (b == 1 or a == 0):
            added.append(moved(thread(s, 1.06 * r, long - 0.03, "cut"), z=a + 0.015))
    if s.chance(0.3):
        k = int(np.argmax(lengths))
        r, a = radii[k] + s.between(0.05, 0.12), ends[k] + 0.15 * lengths[k]
        teeth = s.count(12, 22)
        turn = np.arange(4 * teeth) * np.pi / 2 / teeth
        out = np.where(np.arange(4 * teeth) % 4 < 2, r, r - 0.04)
        pinion = s.prism(
            polygon(np.stack([out * np.cos(turn), out * np.sin(turn)], axis=1)), 0.6 * lengths[k]
        )
        added.append(moved(pinion, z=a))
    if s.chance(0.3):
        cuts.append(s.hole((0, 0, -1), (0, 0, 2), 0.5 * radii.min()))
    body = less(union(added), cuts).rotate((0, 0, s.between(0, 360)))
    return body if s.chance(0.2) else along_x(body)


def thread(s: Shop, radius: float, length: float, finish: Finish) -> Body:
    """Rings in place of a thread, from z = 0 up."""
    turns = int(np.clip(length / (0.22 * radius), 3, 14))
    z = np.linspace(0, length, 2 * turns + 1)
    r = np.where(np.arange(len(z)) % 2, radius, 0.87 * radius)
    return s.turned([(0, 0), *zip(r, z, strict=True), (0, length)], finish, segments=24)


def bolt(s: Shop) -> Body:
    """A screw with any of the usual heads, on its head or lying; a nut; an eye bolt."""
    r = 0.15
    kind = s.choice(("screw", "screw", "screw", "nut", "eye"))
    if kind == "nut":
        across, h = 1.0, s.between(0.4, 0.9)
        sides = s.choice((6, 6, 6, 4))
        body = less(hexagon(s, sides, across, h, h), [s.hole((0, 0, -1), (0, 0, 2), s.between(0.26, 0.33))])
        if s.chance(0.4):
            ring = s.turned([(0.3, 0), (0.7, 0), (0.7, 0.05), (0.5, 0.16), (0.3, 0.16)])
            body = union([body, ring])
        return body.rotate((90, 0, 0)) if s.chance(0.2) else body
    length, head = s.between(0.5, 1.1), s.between(0.16, 0.3)
    shank = moved(thread(s, 1.05 * r, length * s.between(0.5, 1), "cut"), z=-length)
    added: list[Body] = [shank, s.rod((0, 0, -0.6 * length), (0, 0, 0.02), r, edge=0.01)]
    if kind == "eye":
        eye = along_y(s.torus(0.24, s.between(0.07, 0.1)))
        added += [moved(eye, z=0.28), s.rod((0, 0, -0.02), (0, 0, 0.07), 0.24, edge=0.015)]
    else:
        wide = s.between(1.7, 2.3) * r
        form = s.choice(("hex", "socket", "button", "countersunk"))
        socket = moved(s.prism(regular(6, 0.9 * wide), 1, "cut"), z=0.45 * head)
        if form == "hex":
            added.append(hexagon(s, 6, 1.75 * wide, head, head))
            if s.chance(0.4):
                added.append(s.rod((0, 0, 0), (0, 0, 0.06), 1.2 * wide, edge=0.01))
        elif form == "socket":
            added.append(less(s.rod((0, 0, 0), (0, 0, head), wide, edge=0.02), [socket]))
        elif form == "button":
            added.append(
                less(
                    s.turned(
                        rounded(
                            [(0, 0), (wide, 0), (wide, 0.1 * head), (0.6 * wide, head), (0, head)],
                            [0, 0, 0.2, 0.2, 0],
                        )
                    ),
                    [socket],
                )
            )
        else:
            cone = s.turned([(0, -0.8 * head), (r, -0.8 * head), (wide, 0), (wide, 0.05), (0, 0.05)])
            added.append(less(cone, [moved(s.slab(3 * wide, 0.3 * r, 1, finish="cut"), z=-0.2 * head)]))
    body = union(added)
    if s.chance(0.35) and kind == "screw":
        body = union(
            [
                body,
                moved(
                    hexagon(s, 6, 0.5, 0.2, 0.2, "trim").rotate((0, 0, 17)), z=-s.between(0.35, 0.9) * length
                ),
            ]
        )
    return along_x(body) if s.chance(0.6) else body.rotate((180, 0, 0))


def hexagon(s: Shop, sides: int, across: float, h: float, top: float, finish: Finish = "body") -> Body:
    """A prism whose upper corners are turned off, as heads and nuts have it."""
    wide = across / 2 / np.cos(np.pi / sides)
    cone = [
        (0, -0.1),
        (1.02 * wide, -0.1),
        (1.02 * wide, top - 0.45 * (wide - across / 2)),
        (0.48 * across, top),
        (0, top),
    ]
    return s.prism(regular(sides, across), h, finish) ^ s.turned(cone, finish)


def vessel(s: Shop) -> Body:
    """A knob, bottle, cup, spindle or bowl, of a random smooth profile; some are hollow, some fluted."""
    fine, out = _outline(s)
    h = float(fine[-1])
    body = s.turned([(0, 0), *zip(out, fine, strict=True), (0, h)])
    added, cuts = [body], []
    hollow = s.chance(0.5)
    if hollow:
        wall = s.between(0.04, 0.08)
        inside = np.maximum(out - wall, 0.05)
        inside[-1] = inside[-2]
        keep = fine > wall
        cuts.append(
            s.turned(
                [(0, wall), *zip(inside[keep], fine[keep], strict=True), (inside[-1], h + 1), (0, h + 1)],
                s.choice(("body", "cut")),
            )
        )
    if s.chance(0.25):
        flute = s.rod((0, 0, -1), (0, 0, h + 1), s.between(0.05, 0.09), segments=12)
        if not hollow:
            cuts += spread(flute, s.count(8, 16), float(out.max()) + 0.02)
    if hollow and s.chance(0.4):  # a handle
        ring = (
            along_y(s.torus(0.3 * h, 0.05, s.choice(("body", "trim"))))
            if h < 1.5
            else along_y(s.torus(0.2 * h, 0.05))
        )
        middle = 0.5 * h
        handle = moved(ring, float(np.interp(middle, fine, out)) + 0.02, 0, middle)
        solid = s.turned([(0, -0.1), (out[0] * 0.9, -0.1), *zip(0.93 * out, fine, strict=True), (0, h)])
        added.append(less(handle, [solid]))
    if s.chance(0.3):
        k = s.count(6, len(fine) - 6)
        added.append(
            moved(
                s.turned(
                    rounded(
                        [(0, -0.05), (out[k] + 0.06, -0.05), (out[k] + 0.06, 0.05), (0, 0.05)],
                        [0, 0.03, 0.03, 0],
                    ),
                    "trim",
                ),
                z=fine[k],
            )
        )
    if hollow and len(cuts):
        return union([less(added[0], cuts), *[less(b, cuts) for b in added[1:]]])
    if s.chance(0.3):
        cuts.append(s.hole((0, 0, 0.6 * h), (0, 0, h + 1), 0.5 * out[-1]))
    return less(union(added), cuts)


def _outline(s: Shop) -> tuple[Array, Array]:
    """Heights and radii (N,) of a vessel from its foot to its rim."""
    form = s.choice(("waves", "waves", "bottle", "cup"))
    h = s.between(0.7, 2.4)
    if form == "waves":
        count = s.count(4, 6)
        r = np.array([s.between(0.25, 0.6) for _ in range(count)])
        steep = float((np.abs(np.diff(r)) / (h / (count - 1))).max())
        r = r.mean() + (r - r.mean()) * min(1.0, 1.1 / steep)  # no steeper than a lathe would cut it
        fine = np.linspace(0, h, 26)
        return fine, np.maximum(CubicSpline(np.linspace(0, h, count), r)(fine), 0.12)
    r0 = s.between(0.3, 0.5)
    if form == "cup":
        corners = [(0.0, 0.0), (r0 * s.between(0.7, 1), 0.0), (r0, h), (0.0, h)]
        radii = [0.0, s.between(0.02, 0.2), 0.01, 0.0]
    else:
        neck, shoulder = r0 * s.between(0.3, 0.6), h * s.between(0.5, 0.75)
        corners = [
            (0.0, 0.0),
            (r0, 0.0),
            (r0, shoulder),
            (neck, shoulder + s.between(0.1, 0.2) * h),
            (neck, h),
            (0.0, h),
        ]
        radii = [0.0, 0.06, s.between(0.1, 0.4), s.between(0.05, 0.3), 0.01, 0.0]
    points = rounded(corners, radii, 6)[1:-1]
    return points[:, 1], points[:, 0]
