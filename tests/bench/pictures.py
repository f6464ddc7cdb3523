"""What a benchmark made, to look at: renders beside photos, losses over steps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from workers.evaluate.images import on_black
from workers.evaluate.lit import renderer_for
from workers.evaluate.mesh import load_mesh
from workers.evaluate.truth import read_truth
from workers.geometry.images import write_png

Picture = NDArray[np.uint8]

VIEWS = 4
TILE = 240  # pixels
LABEL = 24


def views_of(model: Path, truth: Path, name: str) -> Picture:
    """(h,w,3) a row of pairs: a held-out photo on black and the model's render (see `renderer_for`); views
    spread over them.
    """
    mesh, judged = load_mesh(model), read_truth(truth).judged
    renderer, _ = renderer_for(model, mesh)
    chosen = np.unique(np.linspace(0, len(judged) - 1, VIEWS).round().astype(int))
    tiles = []
    for view in (judged[i] for i in chosen):
        camera, photo, cover = view.read()
        render = renderer(mesh, camera)
        window = _window(cover)
        pair = on_black(photo, cover), on_black(render[..., :3], render[..., 3])
        tiles += [_tile(picture[window]) for picture in pair]
    row = np.concatenate(tiles + [np.zeros_like(tiles[0])] * (2 * VIEWS - len(tiles)), axis=1)
    label = np.full((LABEL, row.shape[1], 3), 255, np.uint8)
    text = f"{name}: photo, render"
    cv2.putText(label, text, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (20, 20, 20), 1, cv2.LINE_AA)
    return np.concatenate([label, row])


def write_sheet(path: Path, rows: Sequence[Picture]) -> None:
    write_png(path, np.concatenate(list(rows)))


def write_losses(path: Path, losses: Mapping[str, Sequence[Mapping[str, Any]] | None]) -> None:
    """Plot each case's losses, a list of {"round": number, name: value, ...} in order; nothing where no case
    has any.
    """
    cases = {name: entries for name, entries in losses.items() if entries}
    if not cases:
        return
    figure = Figure(figsize=(7, 2.6 * len(cases)), layout="constrained")
    panels = figure.subplots(len(cases), 1, squeeze=False)[:, 0]
    for panel, (case, entries) in zip(panels, cases.items(), strict=True):
        for name in sorted({key for entry in entries for key in entry} - {"round"}):
            points = [(entry["round"], entry[name]) for entry in entries if entry.get(name, 0) > 0]
            panel.plot(*np.array(points).reshape(-1, 2).T, label=name, linewidth=1)
        panel.set_yscale("log")
        panel.set_title(case, fontsize=9)
        panel.set_xlabel("round")
        panel.legend(fontsize=7, ncols=3)
    figure.savefig(path, dpi=110)


def _window(cover: Picture) -> tuple[slice, slice]:
    """A square part of the image around the object."""
    rows, columns = np.flatnonzero(cover.any(1)), np.flatnonzero(cover.any(0))
    if not len(rows):
        return slice(None), slice(None)
    side = int(min(1.08 * max(np.ptp(rows), np.ptp(columns)) + 4, *cover.shape))
    top, left = (
        int(np.clip((span[0] + span[-1] - side) // 2, 0, extent - side))
        for span, extent in zip((rows, columns), cover.shape, strict=True)
    )
    return slice(top, top + side), slice(left, left + side)


def _tile(picture: NDArray[np.float64]) -> Picture:
    resized = cv2.resize(picture, (TILE, TILE), interpolation=cv2.INTER_AREA)
    return np.asarray(np.round(255 * np.clip(resized, 0, 1)), np.uint8)
