"""The captures that `tests.bench.quality` reconstructs, each with what it is judged by."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workers.evaluate.views import View, read_views
from workers.simulate.capture import simulate

HOLD_OUT = slice(4, None, 8)
NOISE_PIXELS = 1.0  # root mean square of how far a point is seen from its place
MASK_PIXELS = 2


@dataclass(frozen=True)
class Case:
    """capture: what `phototwin run` is given, without the views to judge by. truth: what `phototwin evaluate`
    is given.
    """

    name: str
    capture: Path
    truth: Path


Wanted = Callable[[str], bool]
"""Whether the case of that name is to be made at all."""


def found(data: Path, work: Path, wanted: Wanted) -> Iterator[Case]:
    """The rendered cases below `data`, and the real captures with masks, of which every 8th view is held out
    in a copy below `work`.
    """
    for folder in sorted({path.parent for path in data.glob("**/transforms*.json")}):
        if folder.name == "clean" and (folder.parent / "gt/mesh.glb").is_file():
            if wanted(folder.parent.name):
                yield Case(folder.parent.name, folder / "transforms_train.json", folder.parent)
        elif wanted(folder.name) and is_real(folder):
            copy = work / folder.name
            shutil.copytree(folder, copy, dirs_exist_ok=True)
            yield Case(folder.name, _split(copy), copy)


def simulated(work: Path, wanted: Wanted) -> Iterator[Case]:
    """One object with texture and one without, as a phone sees them from above."""
    for name, plain in (("simulated", False), ("simulated_plain", True)):
        if wanted(name):
            simulate(work / name, views=60, seed=7, plain=plain)
            yield Case(name, _split(work / name / "capture"), work / name / "truth")


def noisy(case: Case, work: Path, seed: int) -> Case:
    """The case with cameras that are a little off, by about NOISE_PIXELS in the pictures, and each view's
    mask MASK_PIXELS too small or too large; judged by the same truth.
    """
    rng = np.random.default_rng(seed)
    folder = work / f"{case.name}_noisy"
    document = json.loads(case.capture.read_text())
    views = read_views(case.capture)
    centre = _looked_at(views)
    for frame, view in zip(document["frames"], views, strict=True):
        frame["transform_matrix"] = _shaken(view, centre, rng).tolist()
        picture = folder / view.picture.relative_to(case.capture.parent)
        frame["file_path"] = picture.relative_to(folder).as_posix()
        picture.parent.mkdir(parents=True, exist_ok=True)
        if view.mask is None:
            pixels = np.array(Image.open(view.picture))
            pixels[..., 3] = _resized_outline(pixels[..., 3], rng)
            Image.fromarray(pixels).save(picture)
            continue
        shutil.copyfile(view.picture, picture)
        mask = folder / view.mask.relative_to(case.capture.parent)
        mask.parent.mkdir(parents=True, exist_ok=True)
        outline = np.array(Image.open(view.mask).convert("L"))
        Image.fromarray(_resized_outline(outline, rng)).save(mask)
    (folder / "transforms_train.json").write_text(json.dumps(document))
    return Case(f"{case.name}_noisy", folder / "transforms_train.json", case.truth)


def is_real(folder: Path) -> bool:
    """Whether a capture is no part of a rendered case, and has a mask for every photo."""
    whole = folder / "transforms.json"
    if not whole.is_file() or (folder.parent / "gt").is_dir():
        return False
    return all(frame.get("mask_path") for frame in json.loads(whole.read_text())["frames"])


def _split(capture: Path) -> Path:
    """Write transforms_train.json and transforms_test.json beside a capture's transforms.json; the former."""
    document: dict[str, Any] = json.loads((capture / "transforms.json").read_text())
    tests = document["frames"][HOLD_OUT]
    parts = {"test": tests, "train": [frame for frame in document["frames"] if frame not in tests]}
    for name, frames in parts.items():
        (capture / f"transforms_{name}.json").write_text(json.dumps({**document, "frames": frames}))
    return capture / "transforms_train.json"


def _looked_at(views: list[View]) -> NDArray[np.float64]:
    """(3,) the point nearest to all optical axes, least squares."""
    poses = np.concatenate([view.camera.c2w for view in views])
    across = (
        np.eye(3) - poses[:, :3, 2, None] * poses[:, None, :3, 2]
    )  # N,3,3: removes the part along the axis
    target = (across @ poses[:, :3, 3, None]).sum(0)[:, 0]
    return np.asarray(np.linalg.solve(across.sum(0), target))


def _shaken(view: View, centre: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """(4,4) the view's pose, turned and moved at random: either moves what is at `centre` as much, and both
    together NOISE_PIXELS, root mean square.
    """
    pose, focal = view.camera.c2w[0].copy(), float(view.camera.intrinsics[0, 0])
    each = NOISE_PIXELS / 2 / focal  # radians: two axes of turning and two of moving make up the whole
    turn, _ = cv2.Rodrigues(each * rng.standard_normal(3))
    distance = float(np.linalg.norm(centre - pose[:3, 3]))
    pose[:3, 3] += each * distance * rng.standard_normal(3)
    pose[:3, :3] = pose[:3, :3] @ np.asarray(turn)
    return np.asarray(pose)


def _resized_outline(mask: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * MASK_PIXELS + 1,) * 2)
    change = cv2.dilate if rng.random() < 0.5 else cv2.erode
    return np.asarray(change(mask, disc), np.uint8)
