"""A picture of what the photos see: the sphere around the object, as from above."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.prepare.quality.coverage import NEAR, Coverage

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_SIDE, _LEGEND = 620, 300  # pixels
_RADIUS = 268
_LOWEST = -30.0  # degrees of elevation at the disc's rim; photos from farther below are drawn there
_SEEN, _UNSEEN, _HATCH = (186, 222, 192), (246, 214, 205), (226, 164, 150)
_INK, _FAINT, _PHOTO, _FIRST = (45, 45, 45), (150, 150, 150), (32, 84, 156), (214, 92, 20)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def coverage_picture(covered: Coverage) -> Image:
    """(620,920,3) uint8 sRGB: the object in the middle, its front below; photos as dots, the first one
    marked, the higher up the nearer to the middle. What no photo sees from nearby is hatched.
    """
    canvas = np.full((_SIDE, _SIDE + _LEGEND, 3), 255, np.uint8)
    y, x = np.mgrid[:_SIDE, :_SIDE] + 0.5
    disc = np.hypot(x - _SIDE / 2, y - _SIDE / 2) < _RADIUS
    hatched = np.where(((x + y) % 14 < 2.5)[..., None], _HATCH, _UNSEEN)
    colours = np.where((_nearest(covered.directions) > np.cos(NEAR))[..., None], _SEEN, hatched)
    canvas[:, :_SIDE][disc] = colours[disc]
    for height, shade in ((60, _FAINT), (30, _FAINT), (0, _INK), (_LOWEST, _INK)):
        radius = round(_RADIUS * (90 - height) / (90 - _LOWEST))
        cv2.circle(canvas, (_SIDE // 2, _SIDE // 2), radius, shade, 1, cv2.LINE_AA)
    for word, place in (("front", (0, 1)), ("back", (0, -1)), ("left", (-1, 0)), ("right", (1, 0))):
        _centred(canvas, word, np.array(place) * 1.08 * _RADIUS + _SIDE / 2)
    _centred(canvas, "top", np.array([_SIDE / 2, _SIDE / 2]))
    for dot in (places := _places(covered.directions)):
        _dot(canvas, dot, _PHOTO)
    if len(places):
        _dot(canvas, places[0], _FIRST)
    _legend(canvas, covered)
    return canvas


def _nearest(directions: Array) -> NDArray[np.float32]:
    """(620,620) cosines of the angles from what a pixel stands for to the next of the directions (N,3)."""
    coarse = _SIDE // 4  # it varies slowly
    y, x = (np.mgrid[:coarse, :coarse] + 0.5) * (_SIDE / coarse)
    right, front = (x - _SIDE / 2) / _RADIUS, (y - _SIDE / 2) / _RADIUS
    away = np.maximum(np.hypot(right, front), 1e-9)
    elevation = np.radians(90 - away * (90 - _LOWEST))
    flat = np.cos(elevation) / away
    sphere = np.stack([right * flat, -front * flat, np.sin(elevation)], axis=-1)
    nearest = np.full(away.shape, -1, np.float32)
    for direction in directions:
        np.maximum(nearest, np.einsum("ijk,k->ij", sphere, direction), out=nearest, casting="same_kind")
    return np.asarray(cv2.resize(nearest, (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR), np.float32)


def _places(directions: Array) -> Array:
    """(N,2) pixels x, y of directions (N,3)."""
    elevation = np.degrees(np.arcsin(np.clip(directions[:, 2], -1, 1)))
    away = (90 - np.maximum(elevation, _LOWEST)) / (90 - _LOWEST)
    flat = directions[:, :2] * [1, -1]
    flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
    return np.asarray(_SIDE / 2 + _RADIUS * away[:, None] * flat)


def _legend(canvas: Image, covered: Coverage) -> None:
    left, top = _SIDE + 10, 110
    lines = [
        f"{covered.upper:.0%} of the upper half seen",
        f"{covered.whole:.0%} of all sides seen",
        "",
        "the first photo",
        "a photo",
        f"seen from within {np.degrees(NEAR):.0f} degrees",
        "not seen from nearby",
        "",
        "The object is in the middle, as",
        "from above: photos from above",
        "are there, those from its height",
        "on the dark ring, those from",
        "below outside it.",
    ]
    for row, line in enumerate(lines):
        place, key = top + 32 * row, row - 3
        if key in (0, 1):
            _dot(canvas, np.array([left + 14, place - 6]), (_FIRST, _PHOTO)[key])
        elif key in (2, 3):
            corners = (left, place - 17), (left + 28, place + 4)
            cv2.rectangle(canvas, *corners, (_SEEN, _UNSEEN)[key - 2], -1)
            cv2.rectangle(canvas, *corners, _FAINT, 1)
        if key == 3:
            cv2.line(canvas, (left + 6, place + 2), (left + 24, place - 15), _HATCH, 2, cv2.LINE_AA)
        indent = 40 if key in range(4) else 0
        cv2.putText(canvas, line, (left + indent, place), _FONT, 0.5, _INK, 1, cv2.LINE_AA)


def _dot(canvas: Image, place: Array, colour: tuple[int, int, int]) -> None:
    x, y = np.round(place).astype(int).tolist()
    cv2.circle(canvas, (x, y), 7, (255, 255, 255), -1, cv2.LINE_AA)
    cv2.circle(canvas, (x, y), 5, colour, -1, cv2.LINE_AA)


def _centred(canvas: Image, word: str, place: Array) -> None:
    (width, height), _ = cv2.getTextSize(word, _FONT, 0.5, 1)
    x, y = round(place[0] - width / 2), round(place[1] + height / 2)
    cv2.putText(canvas, word, (x, y), _FONT, 0.5, _INK, 1, cv2.LINE_AA)
