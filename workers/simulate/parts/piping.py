"""What leads fluids: pipes and valves, and the joints at their ends.

Each function draws its measures anew. Bodies have z up and stand, or lie, as they would on a table.
"""

from __future__ import annotations

import numpy as np

from workers.simulate.parts.primitives import (
    Array,
    Body,
    Finish,
    Point,
    Shop,
    along_x,
    less,
    moved,
    put,
    regular,
    rounded,
    spread,
    union,
)


def joint(s: Shop, radius: float, finish: Finish = "body") -> tuple[list[Body], list[Body]]:
    """What the end of a pipe has, from z = 0 down; bodies and holes. The bore is not among these."""
    kind = s.choice(("flange", "flange", "socket", "hex", "plain"))
    if kind == "flange":
        wide, t = radius * s.between(1.6, 2.1), radius * s.between(0.22, 0.4)
        disc = s.rod((0, 0, -t), (0, 0, 0), wide, finish, edge=0.06 * radius)
        hole = s.hole((0, 0, -1.5 * t), (0, 0, 1), 0.17 * (wide - 0.5 * radius))
        return [disc], spread(hole, s.choice((4, 4, 6, 8)), (wide + 1.06 * radius) / 2, 22.5)
    if kind == "socket":
        return [s.rod((0, 0, -0.7 * radius), (0, 0, 0), 1.25 * radius, finish, edge=0.05 * radius)], []
    if kind == "hex":
        sides = s.prism(regular(6, 2.5 * radius), 0.8 * radius, finish)
        return [moved(sides, z=-0.8 * radius)], []
    return [], []


def pipe(s: Shop) -> Body:
    """A straight piece, a reducer, an elbow, a tee or a cross, with flanges, sockets or hexagons."""
    r = s.between(0.13, 0.22)
    inner = r * s.between(0.7, 0.88)
    form = s.choice(("straight", "elbow", "elbow", "tee", "cross"))
    ends: list[tuple[Point, Point, float]]  # where, which way, how much smaller
    rim, holes = joint(s, r)
    long = s.between(0.4, 0.6)
    if form == "straight":
        small = s.choice((1.0, s.between(0.55, 0.8)))
        profile = [(0, -long), (r, -long), (r, -0.15), (small * r, 0.15), (small * r, long), (0, long)]
        inside = [(0, -2), (inner, -2), (inner, -0.15), (small * inner, 0.15), (small * inner, 2), (0, 2)]
        tube, room = s.turned(profile), s.turned(inside)
        ends = [((0, 0, long), (0, 0, 1), small), ((0, 0, -long), (0, 0, -1), 1.0)]
    elif form == "elbow":
        bend, angle = s.between(1.3, 2.5) * r, s.choice((45.0, 90.0, 90.0, 90.0))
        stub = s.between(0.05, 0.25)
        way = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle)), 0])
        on = np.array([-way[1], way[0], 0])
        tube, room = (
            union(
                [
                    s.turned(_round(bend, radius), degrees=angle),
                    s.rod((bend, 0.001, 0), (bend, -long, 0), radius, segments=28),
                    s.rod(bend * way - 0.001 * on, bend * way + long * on, radius, segments=28),
                ]
            )
            for radius, long in ((r, stub), (inner, stub + 0.5))
        )
        ends = [((bend, -stub, 0), (0, -1, 0), 1.0), (bend * way + stub * on, on, 1.0)]
    else:
        branch = s.choice((1.0, s.between(0.6, 0.9)))
        tops = (1,) if form == "tee" else (1, -1)
        tube = union(
            [
                s.rod((-long, 0, 0), (long, 0, 0), r),
                *[s.rod((0, 0, 0), (0, 0, k * long), branch * r) for k in tops],
            ]
        )
        room = union(
            [
                s.rod((-2, 0, 0), (2, 0, 0), inner),
                *[s.rod((0, 0, 0), (0, 0, k * 2), branch * inner) for k in tops],
            ]
        )
        ends = [((k * long, 0, 0), (k, 0, 0), 1.0) for k in (1, -1)]
        ends += [((0, 0, k * long), (0, 0, k), branch) for k in tops]
    rims = [put(b, *end) for end in ends for b in rim]
    body = less(union([tube, *rims]), [room, *[put(b, *end) for end in ends for b in holes]])
    return body.rotate(s.choice(((0, 0, 0), (0, 0, 0), (90, 0, 0))))


def _round(middle: float, radius: float) -> Array:
    """(N,2) a circle."""
    turn = np.arange(28) / 28 * 2 * np.pi
    return np.stack([middle + radius * np.cos(turn), radius * np.sin(turn)], axis=1)


def valve(s: Shop) -> Body:
    """A body with a bore along x between two joints, a bonnet above, a stem with a hand wheel or a lever."""
    r, long = s.between(0.15, 0.22), s.between(0.42, 0.6)
    belly = r * s.between(1.3, 1.9)
    if s.chance(0.7):
        middle = s.ball(belly)
    else:
        middle = moved(s.slab(2 * belly, 1.8 * belly, 1.8 * belly, 0.05, 0.03), z=-0.9 * belly)
    added: list[Body] = [middle, s.rod((-long, 0, 0), (long, 0, 0), r)]
    rim, holes = joint(s, r)
    added += [put(b, (k * long, 0, 0), (k, 0, 0)) for k in (1, -1) for b in rim]
    cuts = [put(b, (k * long, 0, 0), (k, 0, 0)) for k in (1, -1) for b in holes]
    cuts.append(s.hole((-2, 0, 0), (2, 0, 0), 0.75 * r, "body"))
    neck, height = 0.75 * belly, belly + s.between(0.08, 0.3)
    added.append(s.rod((0, 0, 0), (0, 0, height), neck))
    closed = less(union(added), cuts)
    lid = s.rod((0, 0, height - 0.1), (0, 0, height), 1.35 * neck, edge=0.015)
    cap = s.rod((0, 0, height - 0.001), (0, 0, height + 0.07), 1.35 * neck, "trim", edge=0.012)
    bolts = spread(
        moved(s.prism(regular(6, 0.09), 0.05, "trim"), z=height + 0.069), s.choice((4, 6)), 1.1 * neck, 30
    )
    stem = height + s.between(0.15, 0.4)
    done = [
        closed,
        lid,
        cap,
        *bolts,
        s.rod((0, 0, height), (0, 0, stem), s.between(0.045, 0.07), "cut", segments=24),
    ]
    kind = s.choice(("wheel", "wheel", "lever", "motor"))
    if kind == "wheel":
        wide = s.between(0.25, 0.42)
        spoke = moved(along_x(s.rod((0, 0, 0), (0, 0, wide), 0.025, "grip", segments=12)), z=stem - 0.03)
        done += [
            moved(s.torus(wide, s.between(0.03, 0.05), "grip"), z=stem - 0.03),
            *spread(spoke, s.count(3, 6)),
        ]
        done.append(s.rod((0, 0, stem - 0.08), (0, 0, stem + 0.03), 0.08, "grip", segments=24))
    elif kind == "lever":
        arm = s.slab(s.between(0.5, 0.8), 0.1, 0.04, 0.045, finish="grip")
        done.append(moved(arm, 0.22, z=stem - 0.04).rotate((0, 0, s.choice((0, 90, 180)))))
        done.append(s.rod((0, 0, stem - 0.06), (0, 0, stem + 0.03), 0.06, "trim", segments=24))
    else:
        done.append(
            moved(
                s.turned(
                    rounded([(0, 0), (0.3, 0), (0.3, 0.4), (0.15, 0.5), (0, 0.5)], [0, 0.03, 0.08, 0.05, 0]),
                    "grip",
                ),
                z=stem - 0.15,
            )
        )
    return union(done)
