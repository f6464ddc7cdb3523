"""What turns: gears, pulleys and wheels, couplings.

Each function draws its measures anew. Bodies have z up and stand, or lie, as they would on a table.
"""

from __future__ import annotations

import numpy as np

from workers.simulate.parts.primitives import (
    Body,
    Shop,
    along_x,
    circle,
    less,
    moved,
    polygon,
    rectangle,
    rounded,
    spread,
    union,
)
from workers.simulate.parts.turned import hexagon


def gear(s: Shop) -> Body:
    """A spur, helical or bevel gear with a hub, bore and keyway, its web thinned, holed or with spokes."""
    teeth, h = s.count(12, 36), s.between(0.16, 0.55)
    module = 2 / (teeth + 2)  # the tip circle has radius 1
    root, tip = 1 - 2.2 * module, 1.0
    angle = 2 * np.pi / teeth
    middle = (root + tip) / 2
    tooth = [(root, -0.33), (middle, -0.22), (tip, -0.1), (tip, 0.1), (middle, 0.22), (root, 0.33)]
    points = [
        (r * np.cos((k + a) * angle), r * np.sin((k + a) * angle)) for k in range(teeth) for r, a in tooth
    ]
    form = s.choice(("spur", "spur", "spur", "helical", "bevel"))
    twist = s.between(8, 20) if form == "helical" and teeth < 28 else 0
    body = s.prism(polygon(points), h, twist=twist, top=s.between(0.6, 0.8) if form == "bevel" else 1)
    bore = s.between(0.12, 0.26)
    hub, reach = bore + s.between(0.08, 0.2), s.between(0, 0.3)
    added, cuts = [body], [s.hole((0, 0, -2), (0, 0, 3), bore)]
    inner = root - s.between(0.1, 0.18)
    if form != "bevel" and inner - hub > 0.15:
        web = s.between(0.2, 0.7) * h
        ring = s.prism(circle(inner, s.segments) - circle(hub, s.segments), 2)
        cuts += [moved(ring, z=(h + web) / 2), moved(ring, z=(h - web) / 2 - 2)]
        cuts += _web_holes(s, hub, inner)
    if s.chance(0.6):
        added.append(s.rod((0, 0, -reach * s.choice((0, 1))), (0, 0, h + reach), hub, edge=0.02))
    if s.chance(0.6):
        key = 0.45 * bore
        cuts.append(moved(s.slab(key, 1.3 * bore, 4, finish="cut"), y=0.65 * bore, z=-2))
    gearing = less(union(added), cuts)
    return gearing.rotate((90, 0, 0)) if s.chance(0.25) else gearing


def _web_holes(s: Shop, hub: float, inner: float) -> list[Body]:
    middle, room = (hub + inner) / 2, inner - hub
    count = s.count(3, 8)
    kind = s.choice(("none", "round", "window"))
    if kind == "round":
        radius = min(0.36 * room, 0.7 * middle * np.sin(np.pi / count))
        return spread(s.hole((0, 0, -1), (0, 0, 3), radius, "body"), count, middle)
    if kind == "window":
        half = np.pi / count - s.between(0.06, 0.12) / middle
        if half > 0.12:
            turn = np.linspace(-half, half, 9)
            arc = np.stack([np.cos(turn), np.sin(turn)], axis=1)
            outline = np.concatenate([(inner - 0.12 * room) * arc, (hub + 0.15 * room) * arc[::-1]])
            return spread(moved(s.prism(polygon(outline), 4), z=-1), count)
    return []


def pulley(s: Shop) -> Body:
    """A wheel with belt grooves, a flat rim or a tyre, on a web or spokes, with a hub."""
    h = s.between(0.2, 0.6)
    rim, hub, bore = s.between(0.12, 0.25), s.between(0.2, 0.34), s.between(0.08, 0.15)
    form = s.choice(("grooves", "grooves", "flat", "tyre", "round"))
    inner = 1 - rim
    outer = [(inner, 0.0), (inner, h), (1.0, h)]
    if form == "grooves":
        count = s.count(1, 3)
        for k in reversed(range(count)):
            a, b = (k + 0.9) * h / count, (k + 0.1) * h / count
            outer += [
                (1, a),
                (1 - 0.6 * rim, 0.65 * a + 0.35 * b),
                (1 - 0.6 * rim, 0.35 * a + 0.65 * b),
                (1, b),
            ]
    outer.append((1, 0))
    if form == "round":
        added = [moved(s.torus(inner, 0.5 * rim), z=h / 2)]
        inner -= 0.1 * rim
    else:
        added = [s.turned(outer)]
    cuts: list[Body] = []
    if form == "tyre":
        added.append(
            s.turned(
                rounded(
                    [(0.985, 0.05 * h), (1.2, 0.05 * h), (1.2, 0.95 * h), (0.985, 0.95 * h)],
                    [0, 0.12, 0.12, 0],
                ),
                "grip",
            )
        )
    reach = s.between(0, 0.15)
    added.append(s.rod((0, 0, -reach), (0, 0, h + reach), hub, edge=0.02))
    if s.chance(0.45):
        spoke = s.rod(
            (0.5 * hub, 0, h / 2),
            (inner + 0.04, 0, h / 2),
            s.between(0.05, 0.1),
            top=s.between(0.04, 0.08),
            segments=16,
        )
        if s.chance():
            spoke = moved(
                s.slab(inner + 0.04 - 0.5 * hub, s.between(0.08, 0.16), 0.55 * h),
                (0.5 * hub + inner + 0.04) / 2,
                z=0.22 * h,
            )
        added += spread(spoke, s.count(3, 7))
    else:
        web = s.between(0.2, 0.6) * h
        added.append(s.rod((0, 0, (h - web) / 2), (0, 0, (h + web) / 2), inner + 0.03))
        if s.chance(0.6):
            middle, count = (hub + inner) / 2, s.count(3, 7)
            radius = min(0.38 * (inner - hub), 0.7 * middle * np.sin(np.pi / count))
            cuts = spread(s.hole((0, 0, -1), (0, 0, 3), radius, "body"), count, middle)
    cuts.append(s.hole((0, 0, -1), (0, 0, 3), bore))
    wheel = less(union(added), cuts)
    if form == "round" and s.chance(0.6):  # a hand wheel's crank
        wheel = union(
            [wheel, s.rod((inner, 0, h / 2), (inner, 0, h / 2 + 0.6), 0.075, "grip", top=0.1, edge=0.02)]
        )
    return wheel.rotate((90, 0, 0)) if s.chance(0.4) else wheel


def coupling(s: Shop) -> Body:
    """Two hubs with claws or a bolted disc between; lies along x or stands."""
    r, h, bore = s.between(0.4, 0.55), s.between(0.35, 0.6), s.between(0.14, 0.24)
    hub = s.between(0.62, 0.95) * r
    lower = s.turned(
        rounded(
            [(0, -h), (hub, -h), (hub, -0.4 * h), (r, -0.3 * h), (r, 0), (0, 0)], [0, 0.03, 0.04, 0.03, 0, 0]
        )
    )
    upper = lower.mirror((0, 0, 1))
    added: list[Body]
    if s.chance():
        claw = s.count(2, 4)
        gap = s.between(0.12, 0.2)
        tooth = s.prism(circle(r, s.segments) ^ rectangle(0.55 * r, 0.6 * r).translate((0.72 * r, 0)), gap)
        spider = s.rod((0, 0, 0), (0, 0, gap), 0.92 * r, "grip")
        added = [lower, *spread(tooth, 2 * claw), spider, moved(upper, z=gap)]
    else:
        disc = s.between(1.15, 1.5) * r
        ring = s.rod((0, 0, -0.1), (0, 0, 0.1), disc, edge=0.015)
        bolts = spread(moved(hexagon(s, 6, 0.13, 0.07, 0.07, "trim"), z=0.098), s.count(4, 8), (disc + r) / 2)
        added = [lower, upper, ring, *bolts]
    cuts: list[Body] = [s.hole((0, 0, -2), (0, 0, 2), bore)]
    if s.chance():
        cuts.append(s.hole((0, 0, -0.7 * h), (2, 0, -0.7 * h), 0.05))
    body = less(union(added), cuts)
    return along_x(body) if s.chance(0.6) else body
