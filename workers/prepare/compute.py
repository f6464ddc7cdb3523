"""Uploaded files in, normalised dataset out:

    images/<stem>.png     square, undistorted, all of one size: 512 x 512, up to 1024 x 1024 for `high`
    alpha/<stem>.png      8-bit masks, where they came with the upload
    cameras.json          authoritative: intrinsics, poses, crops, world frame
    poses_bounds.npy      LLFF; not of a single picture, whose pose is not known
    matches.npz           of estimated or refined poses: what was matched (see matched)
    coverage.png          from which sides the photos see the object
    compensation_matrix.npy    of an ARCore session: its poses as compensated (see readers.arcore.published)

Of EXIF only the orientation, the focal length and the time are used: no location leaves this stage.
"""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import MasksIncomplete
from workers.geometry.cameras import Cameras, to_llff, write_cameras
from workers.geometry.images import write_png
from workers.prepare.capture import Shot, Upload, World, checked_shots
from workers.prepare.frame import bounds, measured, object_sphere, to_normalised
from workers.prepare.poses import posed
from workers.prepare.quality import metrics
from workers.prepare.quality.coverage import coverage
from workers.prepare.quality.picture import coverage_picture
from workers.prepare.readers.layouts import read_capture
from workers.prepare.scale import scaled
from workers.prepare.sfm import matches_file
from workers.prepare.square import Prepared, prepare
from workers.prepare.times import taken
from workers.runtime.safe_input import read_size, read_taken

DEFAULTS: dict[str, Any] = {
    "kind": "auto",
    "largest": 512,
    "ignore_masks": False,
    "ignore_poses": False,
    "refine_poses": "auto",
    "mapper": "incremental",
    "networks": {},
    "known_length": None,
    "marker": None,
}
"""The parameters where an event's options are the default ones."""
LEAST_SIZE, SIZE_STEP = 512, 64
POSES = 0.6
"""Of the progress told."""

Report = Callable[[float, dict[str, Any]], None]


def run(inputs: Path, outputs: Path, parameters: dict[str, Any], report: Report) -> dict[str, Any]:
    """Raises the InputErrors that say what is wrong with the capture."""
    report(0.0, {"step": "reading"})
    capture = read_capture(Upload(inputs / "upload"), parameters["kind"])
    checked_shots(capture.shots)
    known, doubts = _known(inputs / "previous" / matches_file.FILE)
    sent = [shot.name for shot in capture.shots]
    capture = posed(
        replace(capture, warnings=[*capture.warnings, *doubts]),
        parameters,
        inputs / "weights",
        lambda part, step: report(POSES * part, {"step": step}),
        known,
    )
    capture = scaled(capture, sent, parameters)
    size, images = _images(capture.shots, outputs, parameters, report)
    masked = _check_masks(images)
    if not masked:
        (outputs / "alpha").rmdir()
    cameras, centre = _write_cameras(outputs, images, size, masked, capture.world)
    if capture.known is not None:
        matches_file.write(outputs / matches_file.FILE, capture.known)
    for name, array in capture.arrays.items():
        np.save(outputs / f"{name}.npy", array)
    found = {
        "images": len(images),
        "masked": masked,
        "posed": centre is not None,
        "size": size,
        "world": asdict(capture.world),
        **capture.metrics,
    }
    if centre is not None:
        up = None if capture.world.up is None else np.array(capture.world.up)
        covered = coverage(cameras.c2w, centre, up)
        write_png(outputs / "coverage.png", coverage_picture(covered))
        names, qualities = [image.shot.name for image in images], [image.quality for image in images]
        found["quality"] = metrics(names, qualities, covered, len(sent))
    if when := taken(read_taken(shot.image, shot.name) for shot in capture.shots):
        found["taken"] = when
    report(1.0, {"step": "done"})
    unknown = [name for name, value in asdict(capture.world).items() if value is None]
    untold = [f"The capture does not say its world's {' and '.join(unknown)}."] if unknown else []
    return {"warnings": [*capture.warnings, *untold], "metrics": found}


def _images(
    shots: list[Shot], outputs: Path, parameters: dict[str, Any], report: Report
) -> tuple[int, list[Prepared]]:
    """The square images, and their size."""
    size = image_size([read_size(shot.image, shot.name) for shot in shots], parameters["largest"])
    (outputs / "images").mkdir()
    (outputs / "alpha").mkdir()
    stems = unique_stems([shot.name for shot in shots])
    use_masks = not parameters["ignore_masks"]
    images = []
    # Two at a time: decoding and resampling leave Python's lock, and large photos need much memory.
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(lambda shot, stem: prepare(shot, stem, outputs, size, use_masks), shots, stems)
        for index, image in enumerate(done, start=1):
            images.append(image)
            report(POSES + (1 - POSES) * index / len(shots), {"step": f"photo {index} of {len(shots)}"})
    return size, images


def _known(path: Path) -> tuple[matches_file.Known, list[str]]:
    """What was matched for an earlier dataset of the same capture, if any, and what is to be told of that."""
    if not path.exists():
        return matches_file.NOTHING, []
    try:
        return matches_file.read(path), []
    except ValueError as error:
        return matches_file.NOTHING, [f"What was matched before is of no use, all is matched again: {error}."]


def image_size(photos: list[tuple[int, int]], most: int) -> int:
    """Side of the square images made from photos of these sizes (width, height): as large as what half of the
    photos have to show, since more pixels than that cost time and tell nothing."""
    shorter = float(np.median([min(photo) for photo in photos]))
    return max(LEAST_SIZE, min(most, int(shorter) // SIZE_STEP * SIZE_STEP))


def unique_stems(names: list[str]) -> list[str]:
    """File stems fit for any system, each used once."""
    stems: list[str] = []
    for name in names:
        stem = re.sub(r"[^A-Za-z0-9._-]", "_", Path(name).stem).lstrip(".")[:100] or "image"
        candidate, number = stem, 1
        while candidate in stems:
            number += 1
            candidate = f"{stem}-{number}"
        stems.append(candidate)
    return stems


def _check_masks(prepared: list[Prepared]) -> bool:
    """Whether there are masks. Raises MasksIncomplete."""
    without = [image.shot.name for image in prepared if image.box is None]
    if without and len(without) < len(prepared):
        raise MasksIncomplete(
            f"{len(without)} of {len(prepared)} images have no mask, {without[0]} first", file=without[0]
        )
    return not without


def _write_cameras(
    outputs: Path, prepared: list[Prepared], size: int, masked: bool, world: World
) -> tuple[Cameras, NDArray[np.float64] | None]:
    """The cameras, and what they look at; for a single picture without a pose, nothing is known of that."""
    cameras = Cameras(
        names=tuple(f"{image.stem}.png" for image in prepared),
        intrinsics=np.array([image.intrinsics for image in prepared]),
        width=size,
        height=size,
        c2w=np.array([image.c2w for image in prepared]),
    )
    centre, normalised = None, None
    if np.isfinite(cameras.c2w).all():
        boxes = np.array([image.box for image in prepared], np.float64) if masked else None
        centre, radius = object_sphere(cameras.c2w, cameras.intrinsics, boxes)
        normalised = to_normalised(centre, radius)
        depths = [image.shot.depth for image in prepared]
        near, far = measured(bounds(cameras.c2w, centre, radius), depths)
        np.save(outputs / "poses_bounds.npy", to_llff(cameras, near, far))
    write_cameras(
        outputs / "cameras.json",
        cameras,
        sources=[image.shot.name for image in prepared],
        source_sizes=[image.photo for image in prepared],
        crops=[image.crop for image in prepared],
        world={**asdict(world), "to_normalised": normalised},
    )
    return cameras, centre
