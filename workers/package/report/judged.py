"""The model beside the photos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.evaluate.images import compare_pictures
from workers.geometry.cameras import Cameras
from workers.geometry.images import read_grey, read_rgb, window_of
from workers.package.model import Array, Image, Model
from workers.package.seen import Seen, seen
from workers.render.environment import from_equirectangular
from workers.render.lit import Lit
from workers.render.preview import unlit

_LIGHT_SIZE = 32
_MOST = 8
"""Photos at most that a render is compared with in colour."""
_SHOWN = 6
_TILE = 288
_WORST = 0.25
"""Mean error of the three colours, in [0,1], that is the hottest of a heat map."""


@dataclass(frozen=True)
class Judged:
    """One photo. figures: see `compare_pictures`, of those whose colours were compared, else None. tiles: the
    photo, our render and where they differ, each (288,288,3) sRGB, of those that are shown."""

    name: str
    held_out: bool
    iou: float
    figures: dict[str, float] | None = None
    tiles: tuple[Image, Image, Image] | None = None


def judge(inputs: Path, model: Model, cameras: Cameras, held_out: list[str]) -> tuple[list[Judged], Seen]:
    """Of every photo with a mask, in the order of the cameras.

    inputs: `dataset/images/`, `masks/` and `mesh/light.hdr`, where there is one. model, cameras: in the
    capture's world. Colours are compared on the photos held out, or on some of all where none was.
    """
    small = _centred(model)
    model, cameras = model.placed(small), cameras.transformed(small)
    found = seen(model, cameras)
    masks = [read_grey(inputs / "masks" / f"{Path(name).stem}.png") for name in cameras.names]
    overlaps = [_overlap(cover, mask > 127) for cover, mask in zip(found.cover, masks, strict=True)]
    draw = _renderer(model, inputs / "mesh" / "light.hdr")
    compared = _spread(
        [i for i, name in enumerate(cameras.names) if name in held_out] or range(len(masks)), _MOST
    )
    shown = _spread(compared, _SHOWN)
    result = []
    for i, (name, mask) in enumerate(zip(cameras.names, masks, strict=True)):
        each = Judged(name, name in held_out, overlaps[i])
        if i in compared:
            photo, render = read_rgb(inputs / "dataset" / "images" / name), draw(cameras.select([i]))
            figures = compare_pictures(render, photo, mask)
            each = replace(each, figures=figures, tiles=_tiles(photo, render, mask) if i in shown else None)
        result.append(each)
    return result, found


def _centred(model: Model) -> Array:
    """(4,4) to a frame about the model's middle, of its size and without a turn: float32 is exact enough
    there, wherever in the world it stands, and its light's directions stay what they are."""
    low, high = model.vertices.min(axis=0), model.vertices.max(axis=0)
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([np.eye(3), -(low + high) / 2]) / np.linalg.norm(high - low)
    return matrix


def _renderer(model: Model, light: Path) -> Callable[[Cameras], Image]:
    """Under the light that was found, or with the base colour alone where none was."""
    picture = cv2.imread(str(light), cv2.IMREAD_UNCHANGED) if light.exists() else None
    mesh = model.single
    if picture is None:
        return lambda camera: unlit(mesh, camera)
    return Lit(mesh, from_equirectangular(picture[:, :, ::-1].astype(np.float32), _LIGHT_SIZE))


def _overlap(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> float:
    either = int((ours | theirs).sum())
    return float((ours & theirs).sum() / either) if either else 1.0


def _spread(of: list[int] | range, most: int) -> list[int]:
    """At most so many of them, evenly."""
    return list(of) if len(of) <= most else [of[int(i)] for i in np.linspace(0, len(of) - 1, most).round()]


def _tiles(photo: Image, render: Image, mask: Image) -> tuple[Image, Image, Image]:
    """Cut to the object. The heat map: dark where the two agree, yellow where they differ most, also where
    one has the object and the other has not."""
    window = window_of((mask > 127) | (render[..., 3] > 127))
    alpha, true = (cover[..., None] / np.float32(255) for cover in (render[..., 3], mask))
    drawn = render[..., :3] * alpha
    error = np.abs(drawn - photo * true).mean(axis=2) / 255
    heat = cv2.applyColorMap(
        np.round(255 * np.clip(error / _WORST, 0, 1)).astype(np.uint8), cv2.COLORMAP_INFERNO
    )
    rendered = np.round(drawn + 220 * (1 - alpha)).astype(np.uint8)
    pictures = photo, rendered, np.ascontiguousarray(heat[..., ::-1])
    cut = [cv2.resize(picture[window], (_TILE, _TILE), interpolation=cv2.INTER_AREA) for picture in pictures]
    return np.asarray(cut[0]), np.asarray(cut[1]), np.asarray(cut[2])
