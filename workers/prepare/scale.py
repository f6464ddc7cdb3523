"""How many metres a unit of the capture's world is, by a length that its sender knows: between two points
marked in photos, or of printed markers in view. Cameras and world keep their units: the scale is told beside.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import LengthUnknownImage, LengthUnusable
from workers.geometry.triangulation import Meeting, View, triangulated
from workers.prepare.capture import Capture, Lens, Shot
from workers.prepare.orientation import oriented
from workers.prepare.sfm.markers import LEAST_ANGLE, Corners, detected, measured
from workers.runtime.safe_input import Glance, read_glance

LONGEST = 2000
"""Longer side in pixels at which markers are looked for."""
WITHIN = 0.02
"""Of a photo's longer side: how far off a finger may mark a point."""
SHORTEST = 0.005
"""Of the distance it is seen from: what a length must have, to be measured at all."""
DISAGREEING = 0.03
UNEVEN = 0.05


@dataclass(frozen=True)
class Placed:
    """A photo whose camera is known."""

    shot: Shot
    lens: Lens
    c2w: NDArray[np.float64]

    def view(self, glance: Glance) -> View:
        """Its camera, for the photo as it is looked at."""
        camera = oriented(self.lens, self.c2w, glance.size, glance.orientation, self.shot.name)
        return View(camera.c2w, camera.intrinsics, self.lens.distortion)


def scaled(capture: Capture, sent: Sequence[str], parameters: Mapping[str, Any]) -> Capture:
    """The capture with the scale that the parameter `known_length` or `marker` gives, if any; it counts more
    than what the capture says itself. sent: the names of all photos, also of those that have no place.

    Raises LengthUnknownImage, LengthUnusable.
    """
    length, marker = parameters["known_length"], parameters["marker"]
    if length is not None:
        return _by_length(capture, sent, length)
    return capture if marker is None else _by_marker(capture, marker)


def _by_length(capture: Capture, sent: Sequence[str], length: Mapping[str, Any]) -> Capture:
    placed = {each.shot.name: each for each in _placed(capture)}
    marks = [[(_named(mark["image"], sent), mark) for mark in end] for end in length["ends"]]
    one, other = (_end([(placed[name], mark) for name, mark in end if name in placed]) for end in marks)
    lost = sorted({name for end in marks for name, _ in end if name not in placed})
    units = float(np.linalg.norm(one.point - other.point))
    middle = (one.point + other.point) / 2
    away = float(np.median([np.linalg.norm(each.c2w[:3, 3] - middle) for each in placed.values()]))
    if units < SHORTEST * away:
        raise LengthUnusable("the two ends of the known length are marked at one place")
    warnings = [f"The known length is also marked in {name}, which has no place." for name in lost]
    told = {
        "by": "known_length",
        "units": units,
        "error": round(float(max(one.errors.max(), other.errors.max())), 2),
        "angle": round(min(one.angle, other.angle), 1),
    }
    return _told(capture, length["metres"] / units, told, warnings)


def _placed(capture: Capture) -> list[Placed]:
    return [
        Placed(shot, shot.lens, shot.c2w)
        for shot in capture.shots
        if shot.lens is not None and shot.c2w is not None
    ]


def _named(name: str, sent: Sequence[str]) -> str:
    """The photo that a name means: its path in the upload, or its file name. Raises LengthUnknownImage."""
    if name in sent:
        return name
    alike = [each for each in sent if PurePosixPath(each).name == name]
    if len(alike) != 1:
        message = (
            f"{name!r:.200}, where a length is marked, is {'several' if alike else 'none'} of the photos"
        )
        raise LengthUnknownImage(message, file=name[:100])
    return alike[0]


def _end(marks: Sequence[tuple[Placed, Mapping[str, Any]]]) -> Meeting:
    """Where a point is that was marked in photos. Raises LengthUnusable."""
    if len(marks) < 2:
        raise LengthUnusable(
            "an end of the known length is marked in fewer than two photos that have a place"
        )
    views, seen, within = [], [], []
    for photo, mark in marks:
        glance = read_glance(photo.shot.image, photo.shot.name, 64)  # its size and orientation are wanted
        views.append(photo.view(glance))
        seen.append((mark["x"] * glance.size[0], mark["y"] * glance.size[1]))
        within.append(WITHIN * max(glance.size))
    met = triangulated(views, np.array(seen))
    if met is None or met.angle < LEAST_ANGLE:
        raise LengthUnusable(
            "an end of the known length is marked only in photos taken from about one side: "
            f"no two rays to it are {LEAST_ANGLE:g} degrees apart"
        )
    if (met.errors > within).any():
        worst = marks[int((met.errors / within).argmax())][0].shot.name
        raise LengthUnusable(
            f"an end of the known length is marked at different points: {worst} does not fit"
        )
    return met


def _by_marker(capture: Capture, marker: Mapping[str, Any]) -> Capture:
    def look(photo: Placed) -> tuple[View, Corners, float]:
        glance = read_glance(photo.shot.image, photo.shot.name, LONGEST)
        larger = np.array(glance.size) / (glance.grey.shape[1], glance.grey.shape[0])
        corners = {n: xy * larger for n, xy in detected(glance.grey, marker["dictionary"]).items()}
        return photo.view(glance), corners, float(max(glance.size))

    with ThreadPoolExecutor(2) as pool:
        looked = list(pool.map(look, _placed(capture)))
    seen = [corners for _, corners, _ in looked]
    longest = max((size for _, _, size in looked), default=0.0)
    sides = measured([view for view, _, _ in looked], seen, longest)
    if sides is None:
        count = sum(bool(corners) for corners in seen)
        warning = (
            f"No marker ({marker['dictionary']}) can be measured: {count} of {len(seen)} photos show one."
        )
        return replace(capture, warnings=[*capture.warnings, warning])
    told = {
        "by": "marker",
        "markers": sides.numbers,
        "photos": sides.photos,
        "error": round(sides.residual, 2),
        "spread": round(sides.spread, 4),
    }
    warnings = []
    if sides.spread > UNEVEN:
        warnings = [f"The markers' sides differ by {sides.spread:.1%}; are all printed alike, and flat?"]
    return _told(capture, marker["metres"] / sides.typical, told, warnings)


def _told(capture: Capture, scale: float, told: dict[str, Any], warnings: list[str]) -> Capture:
    said = capture.world.scale
    if said is not None and abs(scale / said - 1) > DISAGREEING:
        warnings.append(
            f"By the {told['by'].replace('_', ' ')} the capture is {scale / said:.3g} times as large as "
            "it says itself; the former is believed."
        )
    return replace(
        capture,
        world=replace(capture.world, scale=scale),
        warnings=[*capture.warnings, *warnings],
        metrics={**capture.metrics, "scale": told},
    )
