"""A picture of two aligned trajectories, from above and from the side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.evaluate.trajectory import Comparison

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]

_SIDE = 720  # pixels of one view
_MARGIN = 56
_HEAD = 76
_REFERENCE, _OTHER, _BETWEEN = (178, 98, 28), (36, 110, 222), (150, 150, 150)  # B, G, R
_INK, _FAINT = (50, 50, 50), (225, 225, 225)
_ARROW = 0.05  # of the view's width: how long a view direction is drawn
_SUBPIXEL = 4  # bits


def write_plot(path: Path, comparison: Comparison, names: tuple[str, str]) -> None:
    """`plot` as a PNG."""
    path.write_bytes(cv2.imencode(".png", plot(comparison, names))[1].tobytes())


def plot(comparison: Comparison, names: tuple[str, str] = ("A", "B")) -> Picture:
    """(H,W,3) uint8, B, G, R: the cameras' centres joined in order, their view directions, and a line between
    the two centres of each image. Both views have one scale, in the reference's units.

    The view from above is along the direction in which the cameras' own up axes point on average.
    """
    right, forward, up = _frame(comparison.reference)
    centres = np.concatenate([comparison.reference[:, :3, 3], comparison.aligned[:, :3, 3]])
    # A camera that is wildly off is drawn at the rim: it must not shrink all others to a dot.
    kept = centres[np.concatenate([np.ones_like(comparison.outliers), ~comparison.outliers])]
    middle = (kept.min(0) + kept.max(0)) / 2
    views = (("from above", np.stack([right, forward])), ("from the side", np.stack([right, up])))
    extent = max(float(np.abs((kept - middle) @ axes.T).max()) for _, axes in views)
    scale = (_SIDE / 2 - _MARGIN) / extent
    panels = [_view(comparison, title, axes, middle, scale) for title, axes in views]
    head = np.full((_HEAD, 2 * _SIDE, 3), 255, np.uint8)
    x = _MARGIN // 2
    for name, colour in zip(
        (f"{names[0]} (reference)", f"{names[1]} (aligned)"), (_REFERENCE, _OTHER), strict=True
    ):
        cv2.line(head, (x, 30), (x + 34, 30), colour, 3, cv2.LINE_AA)
        x = 30 + _write(head, name, (x + 44, 36))
    said = f"{len(comparison.names)} images"
    if out := int(comparison.outliers.sum()):
        said += f", {out} of them too far off to align by"
    _write(head, said, (_MARGIN // 2, 64))
    return np.concatenate([head, np.concatenate(panels, axis=1)])


def _frame(c2w: Array) -> tuple[Array, Array, Array]:
    """Unit axes to look along: up as the cameras mean it, right where they spread the most across it."""
    up = c2w[:, :3, 1].mean(0)
    length = float(np.linalg.norm(up))
    up = up / length if length > 0.1 else np.array([0.0, 1.0, 0.0])
    centres = c2w[:, :3, 3] - c2w[:, :3, 3].mean(0)
    across = centres - (centres @ up)[:, None] * up
    right = np.linalg.svd(across, full_matrices=True)[2][0]
    right = right - (right @ up) * up
    right /= np.linalg.norm(right)
    return right, np.cross(up, right), up


def _view(comparison: Comparison, title: str, axes: Array, middle: Array, scale: float) -> Picture:
    """(S,S,3). axes (2,3): the world's directions to the right and up in the picture; pixels per unit."""
    picture = np.full((_SIDE, _SIDE, 3), 255, np.uint8)
    cv2.rectangle(picture, (4, 4), (_SIDE - 5, _SIDE - 5), _FAINT, 1)

    def pixel(points: Array) -> Array:
        flat = (points - middle) @ axes.T * scale
        return np.clip(_SIDE / 2 + flat * [1, -1], 6, _SIDE - 7)

    here, there = (pixel(c2w[:, :3, 3]) for c2w in (comparison.reference, comparison.aligned))
    for a, b in zip(here, there, strict=True):
        _line(picture, np.stack([a, b]), _BETWEEN, 1)
    for c2w, colour in ((comparison.reference, _REFERENCE), (comparison.aligned, _OTHER)):
        ends = pixel(c2w[:, :3, 3] - c2w[:, :3, 2] * (_ARROW * _SIDE / scale))
        centres = pixel(c2w[:, :3, 3])
        _line(picture, centres, tuple((3 * 255 + part) // 4 for part in colour), 1)
        for centre, end in zip(centres, ends, strict=True):
            _line(picture, np.stack([centre, end]), colour, 1)
            cv2.circle(picture, _fixed(centre).tolist(), 3 << _SUBPIXEL, colour, -1, cv2.LINE_AA, _SUBPIXEL)
    _write(picture, title, (16, 28))
    _ruler(picture, scale)
    return picture


def _ruler(picture: Picture, scale: float) -> None:
    """How long a round number of units is: about a fifth of the picture."""
    wanted = _SIDE / 5 / scale
    power = 10 ** np.floor(np.log10(wanted))
    units = power * max(step for step in (1, 2, 5) if step * power <= wanted)
    y, end = _SIDE - 22, 20 + round(units * scale)
    cv2.line(picture, (20, y), (end, y), _INK, 2)
    _write(picture, f"{units:g}", (end + 8, y + 6))


def _line(picture: Picture, points: Array, colour: tuple[int, ...], width: int) -> None:
    cv2.polylines(picture, [_fixed(points)], False, colour, width, cv2.LINE_AA, _SUBPIXEL)


def _fixed(points: Array) -> NDArray[np.int32]:
    return np.round(points * (1 << _SUBPIXEL)).astype(np.int32)


def _write(picture: Picture, text: str, at: tuple[int, int]) -> int:
    """Where the text ends, in pixels."""
    text = text.encode("ascii", "replace").decode()
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.55
    cv2.putText(picture, text, at, font, size, _INK, 1, cv2.LINE_AA)
    return int(at[0] + cv2.getTextSize(text, font, size, 1)[0][0])
