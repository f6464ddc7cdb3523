"""A capture as its sender recorded it, whatever layout it came in."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from contracts.errors import (
    FormatUnsupported,
    ImageMissing,
    PoseInvalid,
    PosesDegenerate,
    PosesUnreadable,
    TooFewImages,
    TooManyImages,
)
from workers.prepare.sfm.matches_file import Known
from workers.runtime.safe_input import IMAGE_SUFFIXES, SEND_INSTEAD, extract_zip

MIN_IMAGES = 6
MAX_IMAGES = 600
FARTHEST = 1e9
FOCAL_RANGE = (0.05, 50.0)
"""Of the picture's width: from beyond any fisheye to beyond any telescope."""
STRONGEST = 1e3
"""Of distortion coefficients: a long lens may have large ones, whose effect is small."""
LAYOUTS = (
    "Send photos or a video; or, with poses, a session.jsonl (ARCore), transforms.json (nerfstudio or "
    "instant-ngp), poses_bounds.npy (LLFF) or a COLMAP model beside the photos."
)
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".3gp")
OTHER_IMAGE_SUFFIXES = (".gif", ".bmp", ".tif", ".tiff", ".avif", ".dng", ".raw", ".cr2", ".nef", ".exr")


@dataclass(frozen=True)
class Lens:
    """Pixel centres are at +0.5. size: (width, height) in pixels that the rest is for; None where it is
    relative to the picture, whatever its size. focal: fx, fy in those pixels, or multiples of the width where
    there is no size. centre: cx, cy; None for the middle. distortion: k1, k2, p1, p2, k3 of OpenCV's model.
    stored: whether all that, and the pose, is for the pixels as they are stored, whatever EXIF says of
    turning them; where it is not known, the size tells.
    """

    size: tuple[float, float] | None
    focal: tuple[float, float]
    centre: tuple[float, float] | None = None
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    stored: bool = False


@dataclass(frozen=True)
class Shot:
    """One photo, and of its camera what is known: its lens, its pose (4, 4) OpenGL camera-to-world, and how
    near and far the object lies along its axis, in units of the world. `name` is its path in the upload."""

    name: str
    image: Path
    mask: Path | None = None
    lens: Lens | None = None
    c2w: NDArray[np.float64] | None = None
    depth: tuple[float, float] | None = None


@dataclass(frozen=True)
class World:
    """What the capture says of its world: up as a unit vector, scale in metres per unit."""

    up: tuple[float, float, float] | None = None
    scale: float | None = None


@dataclass(frozen=True)
class Capture:
    """All that was uploaded, read.

    ordered: the shots are frames of one walk, neighbours in time. tracked: the poses are a phone's own, good
    but not perfect. metrics: JSON, for the manifest. arrays: saved beside the dataset as NAME.npy. known:
    what was found in pairs of photos, for when more are added.
    """

    shots: list[Shot]
    world: World = World()
    ordered: bool = False
    tracked: bool = False
    warnings: list[str] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    known: Known | None = None

    @property
    def posed(self) -> bool:
        return all(shot.c2w is not None and shot.lens is not None for shot in self.shots)


class Upload:
    """The uploaded files, zips unpacked: paths below one root, in the order of their names."""

    def __init__(self, root: Path) -> None:
        self.root = root
        archives = [path for path in root.rglob("*") if path.is_file() and path.suffix.lower() == ".zip"]
        if len(archives) > 1:
            raise FormatUnsupported(
                f"the upload has {len(archives)} zip files; just one is unpacked",
                file=", ".join(sorted(path.name for path in archives))[:200],
                advice="Put the whole capture into one zip.",
            )
        for archive in archives:
            extract_zip(archive, archive.parent, archive.name)
            archive.unlink()
        self.files = sorted(
            path
            for path in root.rglob("*")
            if path.is_file()
            and not any(part.startswith((".", "__MACOSX")) for part in path.relative_to(root).parts)
        )

    def find(self, *names: str) -> Path | None:
        """The file of one of these names nearest to the root."""
        found = [path for path in self.files if path.name in names]
        return min(found, key=lambda path: (len(path.parts), names.index(path.name)), default=None)

    def transforms(self) -> Path | None:
        """`transforms.json`, or the only file called `transforms*.json`.

        Raises FormatUnsupported where there are several and none is the whole.
        """
        if (whole := self.find("transforms.json")) is not None:
            return whole
        parts = [p for p in self.files if p.name.startswith("transforms") and p.suffix == ".json"]
        if len(parts) > 1:
            names = ", ".join(path.name for path in parts)
            raise FormatUnsupported(
                f"the capture has {names} but no transforms.json, so it is open which to use",
                file=names,
                advice="Send just one of them, or a transforms.json with all frames.",
            )
        return parts[0] if parts else None

    def video(self) -> Path | None:
        """The only video. Raises FormatUnsupported where there are several."""
        videos = self.videos()
        if len(videos) > 1:
            names = ", ".join(path.name for path in videos)[:200]
            raise FormatUnsupported(
                f"the upload has {len(videos)} videos, {names}; just one is read",
                file=names,
                advice="Send one video of one walk around the object.",
            )
        return videos[0] if videos else None

    def videos(self) -> list[Path]:
        return [path for path in self.files if path.suffix.lower() in VIDEO_SUFFIXES]

    def images(self, folder: Path) -> list[Path]:
        """Pictures directly in a folder, in the order of their names."""
        return [p for p in self.files if p.parent == folder and p.suffix.lower() in IMAGE_SUFFIXES]

    def resolve(self, base: Path, relative: str, what: str) -> Path:
        """The uploaded file that a path within the capture means; the suffix may be left out, as
        NeRF's own files do. Raises ImageMissing, also for paths that lead elsewhere."""
        relative = relative.encode("utf-8", "replace").decode()
        parts = PurePosixPath(relative.replace("\\", "/"))
        inside = not parts.is_absolute() and ".." not in parts.parts
        for suffix in ("", *IMAGE_SUFFIXES):
            path = base / f"{parts}{suffix}"
            if inside and path.name not in ("", ".") and len(path.name.encode()) < 256 and path in self._set:
                return path
        raise ImageMissing(f"{what} {relative!r:.300} is not among the uploaded files", file=relative[:300])

    def find_mask(self, base: Path, image: Path) -> Path | None:
        """`masks/<stem>.png` or `masks/<file name>.png` beside the images' folder or at `base`."""
        for folder in (base / "masks", image.parent.parent / "masks"):
            for name in (f"{image.stem}.png", f"{image.name}.png", image.name):
                if folder / name in self._set:
                    return folder / name
        return None

    @cached_property
    def _set(self) -> set[Path]:
        return set(self.files)

    def reject(self) -> NoReturn:
        """Say why this upload is of no layout we read. Raises FormatUnsupported."""
        name = next((p.name for p in self.files), "The upload")
        other = any(path.suffix.lower() in OTHER_IMAGE_SUFFIXES for path in self.files)
        raise FormatUnsupported(
            f"there is no picture in the upload ({name} is none)",
            file=name,
            advice=SEND_INSTEAD if other else LAYOUTS,
        )


def check_count(found: int) -> None:
    """Raises TooFewImages, TooManyImages."""
    if found < MIN_IMAGES:
        raise TooFewImages(
            f"the capture has {found} images; at least {MIN_IMAGES} are needed",
            found=found,
            needed=MIN_IMAGES,
        )
    check_most(found)


def check_most(found: int) -> None:
    """Raises TooManyImages."""
    if found > MAX_IMAGES:
        raise TooManyImages(
            f"the capture has {found} images; at most {MAX_IMAGES} are accepted",
            found=found,
            limit=MAX_IMAGES,
        )


def checked_shots(shots: list[Shot]) -> None:
    """Whether the shots make sense, together and each for itself.

    Raises PoseInvalid, PosesUnreadable, and as `check_count`.
    """
    names = [shot.name for shot in shots]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise PosesUnreadable(f"the image {twice} is named twice", file=twice)
    for shot in shots:
        if shot.lens is not None:
            _check_lens(shot.lens, shot.name)
    poses = [shot.c2w for shot in shots if shot.c2w is not None]
    if len(poses) < len(shots):
        check_most(len(shots))
        return
    check_count(len(shots))
    positions = np.array([pose[:3, 3] for pose in poses])
    spread = np.ptp(positions, axis=0).max()
    if spread <= 1e-9 * max(1.0, float(np.abs(positions).max())):
        raise PosesDegenerate("all cameras stand at one place: nothing can be measured from there")


def _check_lens(lens: Lens, name: str) -> None:
    width, height = lens.size or (1.0, 1.0)
    low, high = FOCAL_RANGE
    if min(width, height) <= 0 or not all(low < focal / width < high for focal in lens.focal):
        raise PosesUnreadable(
            f"the focal length of {name}, {lens.focal[0]:g} for {width:g} pixels, makes no sense", file=name
        )
    if not all(abs(value) < STRONGEST for value in lens.distortion):
        raise PosesUnreadable(f"the lens distortion of {name} makes no sense", file=name)
    if lens.centre and not (0 <= lens.centre[0] <= width and 0 <= lens.centre[1] <= height):
        raise PosesUnreadable(f"the principal point of {name} lies outside of it", file=name)


def checked_pose(matrix: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """(4, 4) camera-to-world with an exact rotation. Raises PoseInvalid."""
    if not np.isfinite(matrix).all():
        raise PoseInvalid(f"the pose of {name} has values that are not finite", file=name)
    if np.abs(matrix[:3, 3]).max() > FARTHEST:
        raise PoseInvalid(f"the pose of {name} is more than {FARTHEST:g} units from the origin", file=name)
    rotation = matrix[:3, :3]
    if np.abs(rotation.T @ rotation - np.eye(3)).max() > 0.02:
        raise PoseInvalid(f"the pose of {name} is no rotation: its columns are not orthonormal", file=name)
    if np.linalg.det(rotation) < 0:
        raise PoseInvalid(f"the pose of {name} mirrors: its rotation has determinant -1", file=name)
    u, _, vt = np.linalg.svd(rotation)
    pose = np.eye(4)
    pose[:3, :3] = u @ vt
    pose[:3, 3] = matrix[:3, 3]
    return pose
