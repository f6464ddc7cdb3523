"""Plots for the page, as SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from workers.package.report.judged import Judged

Array = NDArray[np.float64]

USED, HELD_OUT, WEAK = "#3b6ea5", "#e08a1e", "#c0392b"
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "phototwin",
}


def outlines(views: Sequence[Judged]) -> str:
    """How well the outline in each photo is met."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(4.8, 2.0)
        values = [view.iou for view in views]
        colours = [HELD_OUT if view.held_out else USED for view in views]
        axes.bar(range(len(views)), values, color=colours, width=0.8)
        axes.set_ylim(max(0.0, min(0.9, min(values) - 0.02)), 1)
        axes.set_xlim(-0.6, len(views) - 0.4)
        axes.set_xlabel("photo")
        axes.set_ylabel("outline IoU")
        return _svg(figure)


def losses(rounds: Sequence[Mapping[str, float]]) -> str:
    """How the computation got nearer to the photos."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(4.8, 2.0)
        x = [entry.get("round", entry.get("step", i)) for i, entry in enumerate(rounds)]
        for name in sorted({name for entry in rounds for name in entry} - {"round", "step"}):
            points = [(at, entry[name]) for at, entry in zip(x, rounds, strict=True) if name in entry]
            axes.plot(*zip(*points, strict=True), label=name, linewidth=1.4)
        axes.set_yscale("log")
        axes.set_xlabel("round")
        axes.set_ylabel("loss")
        axes.legend(frameon=False)
        return _svg(figure)


def directions(towards: Array, up: Array, held_out: Sequence[bool]) -> str:
    """From where the photos were taken, seen from above: the middle is straight above, the inner circle the
    horizon, the rim straight below. towards (N,3) unit, from the object; up (3,) unit. The first photo is at
    the bottom."""
    height = np.clip(towards @ up, -1, 1)
    first = towards[0] - height[0] * up
    front = first / max(float(np.linalg.norm(first)), 1e-9)
    azimuth = np.arctan2(towards @ np.cross(up, front), towards @ front) - np.pi / 2
    from_above = np.degrees(np.arccos(height))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(3.4, 3.4))
        axes = figure.add_subplot(projection="polar")
        axes.scatter(azimuth, from_above, s=22, c=[HELD_OUT if held else USED for held in held_out], zorder=3)
        axes.set_ylim(0, 180)
        axes.set_yticks([90])
        axes.set_yticklabels([])
        axes.set_xticks([])
        axes.annotate("first photo", (-np.pi / 2, 195), ha="center", va="top", annotation_clip=False)
        axes.fill_between(np.linspace(0, 2 * np.pi, 90), 90, 180, color="0.93", zorder=0)
        return _svg(figure)


def times(stages: Mapping[str, float]) -> str:
    """Seconds by stage, one bar."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(4.8, 0.7)
        left, shades = 0.0, ("#3b6ea5", "#74a9cf", "#e08a1e", "#8c6bb1")
        for (name, seconds), colour in zip(stages.items(), shades, strict=False):
            axes.barh(0, seconds, left=left, color=colour, label=f"{name} {seconds:.0f} s")
            left += seconds
        axes.set_yticks([])
        axes.set_xlabel("seconds")
        axes.spines["left"].set_visible(False)
        axes.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
        return _svg(figure)


def _axes(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def _svg(figure: Figure) -> str:
    """The `svg` element alone, as wide as the page lets it be."""
    file = io.StringIO()
    figure.savefig(file, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None})
    element = file.getvalue()[file.getvalue().index("<svg") :]
    return re.sub(r' (?:width|height)="[\d.]+pt"', "", element, count=2)
