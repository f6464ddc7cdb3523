"""What is cast or milled of a block: housings, ported blocks, heat sinks, bearing blocks.

Each function draws its measures anew. Bodies have z up and stand, or lie, as they would on a table.
"""

from __future__ import annotations

import numpy as np

from workers.simulate.parts.primitives import (
    Body,
    Shop,
    along_x,
    along_y,
    at_corners,
    circle,
    less,
    moved,
    rectangle,
    regular,
    spread,
    union,
)


def housing(s: Shop) -> Body:
    """A shell, open or with a cover, with a flange, bosses and an opening; box or cylinder."""
    w, d, h, wall = 1.0, s.between(0.6, 1.0), s.between(0.45, 0.95), s.between(0.04, 0.09)
    is_round = s.chance(0.35)
    r = s.between(0.04, 0.16)
    if is_round:
        d = w
        shell, room = circle(w / 2, s.segments), circle(w / 2 - wall, s.segments)
    else:
        shell, room = rectangle(w, d, r), rectangle(w - 2 * wall, d - 2 * wall, max(r - wall, 0.02))
    added = [s.prism(shell, h)]
    cuts = [moved(s.prism(room, 2), z=wall * s.between(1, 1.6))]
    lug, bolt = s.between(0.06, 0.09), 0.0
    lug_body = s.rod((0, 0, 0 if s.chance() else 0.5 * h), (0, 0, h), lug)
    lugs = (
        spread(lug_body, s.count(3, 6), w / 2, 30)
        if is_round
        else at_corners(lug_body, w / 2 - 0.2 * lug, d / 2 - 0.2 * lug)
    )
    if s.chance(0.6):
        added += lugs
        bolt = 0.45 * lug
    elif s.chance(0.7):
        rim = s.between(0.05, 0.1)
        lip = circle(w / 2 + rim, s.segments) if is_round else rectangle(w + 2 * rim, d + 2 * rim, r + rim)
        added.append(moved(s.prism(lip, 1.2 * wall), z=h - 1.2 * wall))
    side = s.choice(("none", "bore", "bore", "window"))
    if side == "bore":
        bore = s.between(0.12, 0.3) * min(h, d)
        boss = s.rod((0, 0, h / 2), (w / 2 + s.between(0.03, 0.2), 0, h / 2), 1.45 * bore, edge=0.012)
        added.append(boss)
        cuts.append(s.hole((0 if s.chance(0.6) else -2, 0, h / 2), (2, 0, h / 2), bore))
    elif side == "window":
        window = rectangle(0.5 * h, s.between(0.3, 0.6) * d, 0.04)
        cuts.append(moved(along_x(s.prism(window, 2, "cut")), z=h / 2))
    if s.chance(0.35) and not is_round:
        rib = s.slab(0.04, d + 0.12, 0.8 * h)
        added += [moved(rib, x) for x in np.linspace(-0.3, 0.3, s.count(2, 5)) * w]
    if s.chance(0.4):
        foot = s.slab(w + s.between(0.15, 0.4), 0.22 * d, 0.07, 0.04, 0.01)
        added += [moved(foot, y=0.33 * d), moved(foot, y=-0.33 * d)]
    box = less(union(added), cuts + [moved(b, z=-1) for b in _through(s, lugs, bolt)])
    if s.chance(0.35):  # closed by a cover
        cover = moved(s.prism(shell, s.between(0.05, 0.1), "trim", top=0.97), z=h - 0.001)
        knob = moved(s.rod((0, 0, 0), (0, 0, 0.14), s.between(0.08, 0.2), "trim", edge=0.02), z=h)
        box = union([box, cover] + ([knob] if s.chance() else []))
    return box


def _through(s: Shop, lugs: list[Body], radius: float) -> list[Body]:
    if not radius:
        return []
    boxes = [lug.bounding_box() for lug in lugs]
    hole = s.hole((0, 0, 0), (0, 0, 3), radius)
    return [moved(hole, (b[0] + b[3]) / 2, (b[1] + b[4]) / 2, 0.5) for b in boxes]


def block(s: Shop) -> Body:
    """A block with ports from several sides, some with fittings, as hydraulics have."""
    w, d, h = 1.0, s.between(0.45, 0.9), s.between(0.4, 0.8)
    edge = s.choice((0.0, 0.02, 0.05))
    size = np.array([w, d, h])
    added, cuts = [moved(s.slab(w, d, h, edge, edge), z=-h / 2)], []
    for axis, sign in ((0, 1), (0, -1), (1, 1), (1, -1), (2, 1)):
        across = [k for k in range(3) if k != axis]
        count = s.count(0, 3)
        radius = s.between(0.13, 0.24) * min(size[across])
        row = across[int(np.argmax(size[across]))]
        for offset in np.linspace(-0.3, 0.3, count) if count > 1 else [0.0] * count:
            if count > 1:
                radius = min(radius, 0.5 * 0.6 * size[row] / (count - 1) * 0.6)
            start, out = np.zeros(3), np.zeros(3)
            out[axis] = sign
            start[row] = offset * size[row]
            face = start + out * size[axis] / 2
            bore = radius
            if s.chance(0.35):
                tall = s.between(0.08, 0.22)
                nut = s.prism(regular(6, 2.2 * radius), tall, "trim")
                stub = s.rod((0, 0, 0), (0, 0, 1.8 * tall), 0.8 * radius, "trim")
                fitting = union([nut, stub])
                turn = {0: (0, 90 * sign, 0), 1: (-90 * sign, 0, 0), 2: (0, 0, 0)}[axis]
                added.append(fitting.rotate(turn).translate(face - 0.002 * out))
                bore *= 0.55
            else:
                cuts.append(s.hole(face - 0.06 * out, face + out, 1.25 * radius))
            cuts.append(s.hole(face - s.between(0.15, 0.4) * out, face + out, bore))
    if s.chance(0.4):
        cuts += at_corners(s.hole((0, 0, -2), (0, 0, 2), 0.045), 0.43 * w, 0.5 * d - 0.08)
    return less(union(added), cuts)


def heat_sink(s: Shop) -> Body:
    """A base with fins or pins."""
    w, d, base, h = 1.0, s.between(0.6, 1), s.between(0.06, 0.14), s.between(0.25, 0.6)
    added = [s.slab(w, d, base)]
    count = s.count(5, 12)
    if s.chance(0.7):
        fin = s.slab(0.45 * w / count, d, base + h, edge=0.008)
        added += [moved(fin, x) for x in np.linspace(-0.5, 0.5, count) * 0.94 * w]
    else:
        count = min(count, 7)
        pin = (
            s.slab(0.07, 0.07, base + h)
            if s.chance()
            else s.rod((0, 0, 0), (0, 0, base + h), 0.045, segments=12)
        )
        added += [
            moved(pin, x * w, y * d)
            for x in np.linspace(-0.43, 0.43, count)
            for y in np.linspace(-0.43, 0.43, count)
        ]
    cuts = []
    if s.chance(0.5):
        cuts = at_corners(s.hole((0, 0, -1), (0, 0, 2), 0.045), 0.42 * w, 0.42 * d)
    if s.chance(0.3):
        cuts.append(moved(s.slab(0.3 * w, 2, 2, finish="cut"), z=base + 0.3 * h))
    return less(union(added), cuts)


def pillow_block(s: Shop) -> Body:
    """A bearing's housing on a foot with two or four bolts."""
    bore, wall, d = s.between(0.16, 0.26), s.between(0.07, 0.14), s.between(0.28, 0.5)
    r, foot = bore + wall, s.between(0.1, 0.18)
    height = r + foot * s.between(0.4, 1.2)
    front = along_y(s.rod((0, 0, -d / 2), (0, 0, d / 2), r, edge=0.015))
    base = s.slab(s.between(1.0, 1.25), d * s.between(0.8, 1.2), foot, 0.07, 0.02)
    neck = s.hull(
        [
            moved(along_y(s.rod((0, 0, -0.38 * d), (0, 0, 0.38 * d), 0.97 * r)), z=height),
            s.slab(2.2 * r, 0.76 * d, 0.3 * foot),
        ]
    )
    added = [base, neck, moved(front, z=height)]
    reach, wide = 0.42, d * 0.26
    bolt = s.rod((0, 0, 0.5 * foot), (0, 0, 1.12 * foot), 0.085)
    hole = s.hole((0, 0, -1), (0, 0, 1), 0.045)
    pair = s.chance()
    places = spread(bolt, 2, reach) if pair else at_corners(bolt, reach, wide)
    holes = spread(hole, 2, reach) if pair else at_corners(hole, reach, wide)
    added += places
    cuts = [*holes, along_y(s.rod((0, 0, -2), (0, 0, 2), bore, "cut")).translate((0, 0, height))]
    done = [less(union(added), cuts)]
    if s.chance(0.5):  # with a bearing's ring and a stub of its shaft
        race = rectangle(0.47 * bore, 0.8 * d).translate((0.785 * bore, 0)).to_polygons()[0]
        done.append(moved(along_y(s.turned(race, "trim")), z=height))
    if s.chance(0.35):
        done.append(s.rod((0, 0, height + 0.9 * r), (0, 0, height + r + 0.09), 0.04, "trim", segments=24))
    return union(done)
