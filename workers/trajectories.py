"""Camera poses from wherever they are written, without a look at any picture."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from contracts.errors import InputError
from workers.evaluate.errors import CannotEvaluate
from workers.evaluate.maa import Scene, read_labels
from workers.evaluate.trajectory import Trajectory
from workers.prepare.capture import Upload, checked_pose
from workers.prepare.readers import colmap
from workers.prepare.readers.colmap_files import parse
from workers.prepare.readers.layouts import read_capture
from workers.runtime.safe_input import read_json
from workers.upload import files_of


def read_trajectory(source: str) -> tuple[Trajectory, Scene | None]:
    """The poses at `source`, and which scene of the Image Matching Challenge they are of, if any: a run's
    folder, its dataset/ or cameras.json; train_labels.csv#dataset/scene; a COLMAP model; any capture.

    Of a run's images the names are those of the photos they were cut from. Raises CannotEvaluate,
    CaptureError, InputError, OSError.
    """
    path, _, scene = source.partition("#") if ".csv" in source else (source, "", "")
    if Path(path).suffix == ".csv":
        return _labelled(Path(path), scene)
    for file in (Path(path), Path(path, "cameras.json"), Path(path, "dataset", "cameras.json")):
        if file.suffix == ".json" and file.is_file():
            return _of_json(file), None
    with _uploaded(Path(path)) as upload:
        return _of_capture(upload, path), None


def _labelled(path: Path, name: str) -> tuple[Trajectory, Scene]:
    scenes = read_labels(path)
    chosen = [scene for scene in scenes if name in ("/".join(scene), "")]
    if len(chosen) != 1:
        known = ", ".join("/".join(scene) for scene in scenes)
        raise CannotEvaluate(
            f"choose a scene of {path.name}, as {path.name}#dataset/scene; it has {known:.500}"
        )
    return scenes[chosen[0]], chosen[0]


def _of_json(path: Path) -> Trajectory:
    """Of a run's cameras.json or of a transforms.json, whether its pictures are there or not."""
    document = read_json(path, path.name)
    try:
        if "frames" in document:
            names = [str(frame["file_path"]) for frame in document["frames"]]
            matrices = [frame["transform_matrix"] for frame in document["frames"]]
            metres = document.get("metres_per_unit")
        else:
            names = [str(image["source"]) for image in document["images"]]
            matrices = [image["c2w"] for image in document["images"]]
            metres = document["world"]["scale"]
    except (LookupError, TypeError, AttributeError) as error:
        message = f"{path.name} is neither a transforms.json nor a run's cameras.json: {error!r:.200}"
        raise CannotEvaluate(message) from None
    return _trajectory(names, matrices, metres, path.name)


def _of_capture(upload: Upload, path: str) -> Trajectory:
    if (listing := upload.transforms()) is not None:
        return _of_json(listing)
    model_file = colmap.find(upload)
    if model_file is not None and not upload.find("session.jsonl", "poses_bounds.npy"):
        model = parse(model_file.parent)
        return Trajectory(tuple(image.name for image in model.images), colmap.c2w(model))
    capture = read_capture(upload, "auto")
    posed = [(shot.name, shot.c2w) for shot in capture.shots if shot.c2w is not None]
    if not posed:
        raise CannotEvaluate(f"{path} has pictures, but no poses of their cameras")
    return Trajectory(
        tuple(name for name, _ in posed), np.array([c2w for _, c2w in posed]), capture.world.scale
    )


def _trajectory(names: list[str], matrices: list[Any], metres: Any, path: str) -> Trajectory:
    """Raises CannotEvaluate where there is no pose, or one that is none."""
    if not names:
        raise CannotEvaluate(f"{path} lists no image")
    try:
        rows = [np.array(matrix, np.float64) for matrix in matrices]
        square = [np.vstack([each[:3], [0, 0, 0, 1]]) for each in rows]
        poses = np.array([checked_pose(each, name) for each, name in zip(square, names, strict=True)])
        known = metres is not None and 0 < float(metres) < np.inf
        return Trajectory(tuple(names), poses, float(metres) if known else None)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise CannotEvaluate(f"{path} has a pose that is not 4x4 numbers: {error!s:.200}") from None
    except InputError as error:
        raise CannotEvaluate(f"{path}: {error.message}") from None


@contextmanager
def _uploaded(path: Path) -> Iterator[Upload]:
    """The capture as it would arrive, zips unpacked, in a folder of links: nothing beside it is changed."""
    with TemporaryDirectory(prefix="phototwin-poses-") as folder:
        for name, file in files_of(path):
            link = Path(folder, name)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.resolve())
        yield Upload(Path(folder))
