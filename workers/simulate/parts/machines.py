"""What is put together of many: motors, pumps, actuators, gearboxes.

Each function draws its measures anew. Bodies have z up and stand, or lie, as they would on a table.
"""

from __future__ import annotations

import numpy as np

from workers.simulate.parts.piping import joint
from workers.simulate.parts.primitives import (
    Body,
    Shop,
    along_x,
    along_y,
    at_corners,
    less,
    moved,
    polygon,
    put,
    regular,
    rounded,
    spread,
    union,
)


def motor(s: Shop) -> Body:
    """Along x, with cooling fins, end shields, a shaft, feet or a flange, and a terminal box."""
    r, long = s.between(0.3, 0.4), s.between(0.5, 0.8)
    fins = s.count(16, 36)
    fin, thick = s.between(0.04, 0.09), s.between(0.012, 0.02)
    core = along_x(s.rod((0, 0, 0), (0, 0, long), r))
    added: list[Body] = [core]
    if s.chance(0.8):
        one = moved(s.slab(long * 0.92, thick, r + fin), 0.5 * long)
        if s.chance(0.65):  # all around
            around = [one.rotate((360 * k / fins, 0, 0)) for k in range(fins)]
            added += around
        else:  # upright on both sides
            ring = s.rod((0, 0, 0), (0, 0, 0.92 * long), r + fin)
            sides = [moved(s.slab(long, 4, thick), 0.5 * long, z=z) for z in np.linspace(-0.9, 0.9, 12) * r]
            added.append(moved(along_x(ring), 0.04 * long) ^ union(sides))
    shield = rounded(
        [(0, 0), (r + 0.8 * fin, 0), (r + 0.8 * fin, 0.08), (0.5 * r, 0.16), (0.4 * r, 0.2), (0, 0.2)],
        [0, 0.02, 0.03, 0.03, 0.02, 0],
    )
    added.append(moved(along_x(s.turned(shield, "trim" if s.chance(0.3) else "body")), long - 0.01))
    cowl = rounded(
        [(0, 0), (r + fin + 0.01, 0), (r + fin + 0.01, s.between(0.15, 0.26)), (0.7 * r, 0.3), (0, 0.3)],
        [0, 0.01, 0.06, 0.03, 0],
    )
    cover = s.turned(cowl, "trim" if s.chance(0.5) else "body")
    if s.chance(0.6):
        slits = spread(s.hole((0, 0, 0.24), (0, 0, 2), 0.035, "body"), 8, 0.5 * r) + spread(
            s.hole((0, 0, 0.24), (0, 0, 2), 0.03, "body"), 5, 0.25 * r
        )
        cover = less(cover, slits)
    added.append(moved(cover.rotate((0, -90, 0)), 0.01))
    pin, out = s.between(0.05, 0.09), s.between(0.15, 0.35)
    rod = along_x(s.rod((0, 0, 0), (0, 0, long + 0.18 + out), pin, "cut", edge=0.01))
    key = moved(s.slab(0.6 * out, 0.4 * pin, 0.25 * pin, finish="cut"), long + 0.2 + 0.5 * out, z=0.93 * pin)
    added += [rod, key]
    mount, floor = s.choice(("feet", "feet", "flange")), -(r + fin + s.between(0.02, 0.08))
    cuts: list[Body] = []
    if mount == "feet":
        foot = moved(s.slab(0.16, 2.1 * r, 0.07, 0.02, 0.01), z=floor)
        post = moved(s.slab(0.1, 1.3 * r, r), z=floor)
        hole = s.hole((0, 0, floor - 1), (0, 0, floor + 0.2), 0.03)
        for x in (0.2 * long, 0.85 * long):
            added += [moved(foot, x), moved(post, x)]
            cuts += [moved(hole, x, y) for y in (-0.9 * r, 0.9 * r)]
    else:
        wide = r + fin + s.between(0.06, 0.14)
        plate = (
            s.rod((0, 0, 0), (0, 0, 0.07), wide, edge=0.01)
            if s.chance()
            else s.slab(1.75 * wide, 1.75 * wide, 0.07, 0.1)
        )
        added.append(moved(along_x(plate), long + 0.03))
        holes = spread(s.hole((0, 0, -1), (0, 0, 1), 0.035), 4, wide * 0.93, 45)
        cuts += [moved(along_x(b), long + 0.06) ^ moved(s.slab(0.4, 4, 4), long + 0.06, z=-2) for b in holes]
    if s.chance(0.8):
        case = s.slab(
            s.between(0.25, 0.4),
            s.between(0.25, 0.4),
            fin + s.between(0.1, 0.2),
            0.03,
            0.02,
            s.choice(("body", "trim", "grip")),
        )
        added.append(
            moved(case, s.between(0.35, 0.6) * long, z=0.95 * r).rotate((s.choice((0, 0, 90, -90)), 0, 0))
        )
    return less(union(added), cuts)


def pump(s: Shop) -> Body:
    """A centrifugal pump's casing: a volute around y, an inlet in front, an outlet above, a foot."""
    r, d = s.between(0.34, 0.45), s.between(0.24, 0.36)
    turn = np.linspace(0, 2 * np.pi, 41)[:-1]
    out = r * (1 + 0.3 * turn / (2 * np.pi))
    outline = polygon(np.stack([out * np.cos(turn + np.pi / 2), out * np.sin(turn + np.pi / 2)], axis=1))
    casing = s.hull(
        [
            moved(s.prism(outline, 0.6 * d), z=-0.3 * d),
            moved(s.prism(outline.scale((0.88, 0.88)), d), z=-0.5 * d),
        ]
    )
    added: list[Body] = [along_y(casing)]
    pipe_r = s.between(0.11, 0.17)
    inlet, reach = s.between(0.1, 0.3) + d / 2, r * s.between(1.45, 1.9)
    rim, holes = joint(s, pipe_r)
    side = r * 0.7 * s.choice((0, 1))
    ends = ((0, -inlet, 0), (0, -1, 0)), ((-side, 0, reach), (0, 0, 1))
    added += [s.rod((0, 0, 0), (0, -inlet, 0), 1.1 * pipe_r), s.rod((-side, 0, 0), (-side, 0, reach), pipe_r)]
    added += [put(b, *end) for end in ends for b in rim]
    cuts = [put(b, *end) for end in ends for b in holes]
    cuts += [
        s.hole((0, -2, 0), (0, 0, 0), 0.75 * pipe_r, "body"),
        s.hole((-side, 0, 0.3 * r), (-side, 0, 2), 0.75 * pipe_r, "body"),
    ]
    floor = -1.3 * r - s.between(0, 0.12)
    added += [
        moved(s.slab(s.between(0.6, 1), s.between(0.35, 0.6), 0.07, 0.03, 0.012), z=floor),
        moved(s.slab(0.5 * r, 0.8 * d, -floor), z=floor),
    ]
    body = less(union(added), cuts)
    tail = s.between(0.2, 0.6)
    back = [s.rod((0, 0.4 * d, 0), (0, 0.5 * d + 0.06, 0), 0.85 * r, "trim", edge=0.015)]
    back += [
        s.rod((0, 0, 0), (0, 0.5 * d + tail, 0), s.between(0.3, 0.6) * r, edge=0.02),
        s.rod((0, 0, 0), (0, 0.5 * d + tail + 0.15, 0), 0.05, "cut", edge=0.008),
    ]
    bolts = [
        b.rotate((-90, 0, 0))
        for b in spread(
            moved(s.prism(regular(6, 0.07), 0.05, "trim"), z=0.5 * d + 0.055), s.count(5, 8), 0.72 * r
        )
    ]
    return union([body, *back, *bolts])


def actuator(s: Shop) -> Body:
    """A hydraulic or pneumatic cylinder along x: heads, tie rods or a plain barrel, an eye or a fork."""
    r, long = s.between(0.11, 0.17), s.between(0.5, 0.7)
    head, half = s.between(0.1, 0.16), 1.15 * r
    square = s.chance(0.6)
    added: list[Body] = [s.rod((0, 0, 0), (long, 0, 0), r * (0.92 if square else 1.0), "body", edge=0.01)]
    if square:
        end = s.slab(2 * half, 2 * half, head, 0.03, 0.01, "trim")
        added += [along_x(end), moved(along_x(end), long - head)]
        bar = s.rod((-0.03, 0, 0), (long + 0.03, 0, 0), 0.02, "cut", segments=12)
        added += [moved(bar, 0, i * 0.8 * half, j * 0.8 * half) for i in (-1, 1) for j in (-1, 1)]
    else:
        added += [
            s.rod((long - head, 0, 0), (long, 0, 0), 1.12 * r, "trim", edge=0.015),
            s.rod((0, 0, 0), (0.5 * head, 0, 0), 1.08 * r, edge=0.01),
        ]
    out, bar_r = s.between(0.15, 0.4), s.between(0.35, 0.55) * r
    added.append(s.rod((0, 0, 0), (long + out, 0, 0), bar_r, "cut", edge=0.008))
    cuts: list[Body] = []
    for x, kind in (
        (long + out + 0.07, s.choice(("eye", "fork", "none"))),
        (-0.09, s.choice(("eye", "fork", "none"))),
    ):
        if kind == "none":
            continue
        wide = s.between(0.1, 0.16)
        ring = along_y(moved(s.rod((0, 0, -wide / 2), (0, 0, wide / 2), 0.1, "trim", edge=0.01), x, 0))
        stem = s.rod((x, 0, 0), (max(min(x, long), 0.0), 0, 0), 0.07, "trim")
        added += [ring, stem]
        cuts.append(s.hole((x, -1, 0), (x, 1, 0), 0.045))
        if kind == "fork":
            cuts.append(
                moved(s.slab(0.17, 0.4 * wide, 1, finish="cut"), x + (0.02 if x > 0 else -0.02), z=-0.5)
            )
    port = s.rod((0, 0, 0), (0, 0, 1.35 * r), 0.05, "trim", segments=24)
    bore = s.hole((0, 0, r), (0, 0, 1), 0.028)
    for x in (0.5 * head + 0.02, long - 0.5 * head):
        added.append(moved(port, x))
        cuts.append(moved(bore, x))
    return less(union(added), cuts)


def gearbox(s: Shop) -> Body:
    """A split case on a foot with bearing covers, shafts and a bolted seam."""
    w, d, h = 1.0, s.between(0.4, 0.65), s.between(0.55, 0.8)
    low = s.between(0.42, 0.55) * h
    r = s.between(0.04, 0.1)
    wall = s.slab(w, d, low, r)
    big, small = s.between(0.22, 0.3), s.between(0.14, 0.2)
    roof = s.hull(
        [
            moved(along_y(s.rod((0, 0, -d / 2), (0, 0, d / 2), 1.1 * big)), -0.18, 0, low + 0.02),
            moved(along_y(s.rod((0, 0, -d / 2), (0, 0, d / 2), 1.2 * small)), 0.26, 0, low + 0.02),
        ]
    )
    roof = roof ^ moved(s.slab(3, 3, 2), z=low)
    seam = moved(s.slab(w + 0.08, d + 0.1, 0.08, r, 0.01), z=low - 0.04)
    foot = s.slab(w + s.between(0.05, 0.2), d + 0.2, 0.07, 0.03, 0.012)
    added: list[Body] = [wall, roof, seam, foot]
    nut = moved(s.prism(regular(6, 0.07), 0.05, "trim"), z=low + 0.039)
    added += at_corners(nut, 0.47 * w, 0.5 * d)
    for x, size in ((-0.18, big), (0.26, small)):
        sides = s.choice(((1,), (-1,), (1, -1)))
        for side in (1, -1):
            face = side * (d / 2 + s.between(0.06, 0.12))
            added.append(s.rod((x, 0, low), (x, face, low), 0.75 * size, "body", edge=0.01))
            added.append(s.rod((x, 0, low), (x, face + 0.03 * side, low), 0.6 * size, "trim", edge=0.008))
            if side in sides:
                added.append(
                    s.rod(
                        (x, 0, low),
                        (x, face + side * s.between(0.12, 0.3), low),
                        0.22 * size,
                        "cut",
                        edge=0.01,
                    )
                )
    if s.chance(0.6):
        added.append(moved(s.rod((0, 0, 0), (0, 0, h + 0.1), s.between(0.05, 0.1), "trim", edge=0.015), -0.1))
    if s.chance(0.5):
        rib = s.slab(0.04, d + 0.09, low)
        added += [moved(rib, x) for x in (-0.3, 0.05, 0.35)]
    cuts = at_corners(s.hole((0, 0, -1), (0, 0, 0.2), 0.03), 0.47 * w, d / 2 + 0.06)
    return less(union(added), cuts)
