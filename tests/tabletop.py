"""Photos of a box on a table, both papered with a pattern that is nowhere the same: cheap to make, and enough
for structure from motion. y is up.
"""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.captures import Rig

RING = 30
TEXELS = 1024
TABLE = 0
_QUARTER_TURN = 6  # EXIF: to be turned clockwise to be upright
# Where each begins and its two sides: the table, and what is seen of the box.
RECTANGLES = np.array(
    [
        [[-2, -0.3, -2], [4, 0, 0], [0, 0, 4]],
        [[-0.3, 0.2, -0.3], [0.6, 0, 0], [0, 0, 0.6]],
        *([[-0.3, -0.3, z], [0.6, 0, 0], [0, 0.5, 0]] for z in (-0.3, 0.3)),
        *([[x, -0.3, -0.3], [0, 0, 0.6], [0, 0.5, 0]] for x in (-0.3, 0.3)),
    ]
)


def rig(views: int) -> Rig:
    """The first cameras of a walk around the origin in steps of 12 degrees."""
    whole = Rig(views=RING, width=480, height=360, fx=500, fy=500, cx=240, cy=180)
    whole.views, whole.c2w = views, whole.c2w[:views]
    return whole


def photo(rig: Rig, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(H,W) grey with a little noise, and the mask of the box, 0 or 255."""
    down, across = np.mgrid[: rig.height, : rig.width] + 0.5
    rays = np.stack([(across - rig.cx) / rig.fx, (rig.cy - down) / rig.fy, -np.ones_like(down)], axis=-1)
    rays, eye = rays @ rig.c2w[index, :3, :3].T, rig.c2w[index, :3, 3]
    seen = np.random.default_rng(index).normal(0, 0.03, down.shape).astype(np.float32)
    colours, nearest, first = np.zeros_like(seen), np.full(down.shape, np.inf), np.full(down.shape, TABLE)
    for number, (start, u, v) in enumerate(RECTANGLES):
        normal = np.cross(u, v)
        with np.errstate(divide="ignore"):
            depth = ((start - eye) @ normal) / (rays @ normal)
        hit = eye + rays * depth[..., None] - start
        a, b = (hit @ side / (side @ side) for side in (u, v))
        inside = (depth > 0) & (depth < nearest) & (np.minimum(a, b) >= 0) & (np.maximum(a, b) <= 1)
        texel = np.stack([a, b]).astype(np.float32) * (TEXELS - 1)
        colours = np.where(inside, cv2.remap(_paper(number), texel[0], texel[1], cv2.INTER_LINEAR), colours)
        nearest, first = np.where(inside, depth, nearest), np.where(inside, number, first)
    grey = cv2.GaussianBlur(colours, (0, 0), 0.6) + seen
    mask = np.where(first == TABLE, 0, 255)
    return np.clip(40 * grey + 128, 0, 255).astype(np.uint8), mask.astype(np.uint8)


def write(folder: Path, rig: Rig, *, masks: bool = False, lying: tuple[int, ...] = ()) -> Path:
    """photo_00.png …; `lying` are stored on their side, and their EXIF data say so."""
    folder.mkdir(parents=True)
    for index in range(rig.views):
        grey, mask = photo(rig, index)
        exif = Image.Exif()
        if index in lying:
            grey, exif[0x0112] = np.rot90(grey), _QUARTER_TURN
        Image.fromarray(grey).save(folder / f"photo_{index:02d}.png", exif=exif)
        if masks:
            (folder / "masks").mkdir(exist_ok=True)
            Image.fromarray(mask).save(folder / "masks" / f"photo_{index:02d}.png")
    return folder


@cache
def _paper(number: int) -> NDArray[np.float32]:
    """Blots of three sizes."""
    rng = np.random.default_rng(number)
    blots = [
        cv2.resize(
            rng.normal(size=(n, n)).astype(np.float32), (TEXELS, TEXELS), interpolation=cv2.INTER_CUBIC
        )
        for n in (24, 64, 160)
    ]
    return np.asarray(np.sum(blots, axis=0), np.float32)
