"""Reader of COLMAP models: `sparse/0` (or any folder) beside the photos' folder."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from contracts.errors import CameraUnsupported, ImageMissing, PosesUnreadable
from workers.geometry.colmap import to_opengl
from workers.prepare.capture import Capture, Lens, Shot, Upload, check_count, checked_pose
from workers.prepare.readers.colmap_files import Camera, Model, parse

FOLDERS = ("images", "input", "")
DEPTH_PERCENTILES = (0.1, 99.9)
FEWEST_POINTS = 10
LARGEST_SIDE = 1 << 20


def find(upload: Upload) -> Path | None:
    """cameras.bin or cameras.txt of the model with the most to say of its images, binary before text: COLMAP
    writes several where it could not join them."""
    for suffix in ("bin", "txt"):
        images = [path for path in upload.files if path.name == f"images.{suffix}"]
        found = [path for path in images if path.with_name(f"cameras.{suffix}") in upload.files]
        if found:
            largest = max(found, key=lambda path: (path.stat().st_size, -len(path.parts)))
            return largest.with_name(f"cameras.{suffix}")
    return None


def read(upload: Upload, path: Path) -> Capture:
    """The images that are registered in the model at `path` (see `find`), in the order of their names. How
    near and far things are in each photo is told by the points it sees. COLMAP's world has neither up nor
    scale.

    Raises PosesUnreadable, PoseInvalid, CameraUnsupported, ImageMissing, TooFewImages, TooManyImages.
    """
    model = parse(path.parent)
    check_count(len(model.images))
    names = [image.name for image in model.images]
    base = _photos(upload, path, names[0])
    lenses = {number: _lens(camera, number) for number, camera in model.cameras.items()}
    poses = c2w(model)
    shots = []
    for index in np.argsort(names, kind="stable"):
        image = upload.resolve(base, names[index], f"{path.parent.name}: the image")
        shots.append(
            Shot(
                name=image.relative_to(upload.root).as_posix(),
                image=image,
                mask=upload.find_mask(base, image),
                lens=lenses[model.images[index].camera],
                c2w=poses[index],
                depth=_depth(model, int(index), poses[index]),
            )
        )
    return Capture(shots)


def c2w(model: Model) -> NDArray[np.float64]:
    """(N,4,4) OpenGL camera-to-world of the model's images. Raises PosesUnreadable, PoseInvalid."""
    quaternions = np.array([image.quaternion for image in model.images])
    lengths = np.linalg.norm(quaternions, axis=1)
    for image, length in zip(model.images, lengths, strict=True):
        if not 0.5 < length < 2:
            raise PosesUnreadable(f"the quaternion of {image.name} is of length {length:g}", file=image.name)
    rotation = Rotation.from_quat(quaternions, scalar_first=True).as_matrix()
    translation = np.array([image.translation for image in model.images])
    poses = to_opengl(rotation, translation)
    return np.array([checked_pose(pose, image.name) for pose, image in zip(poses, model.images, strict=True)])


def _photos(upload: Upload, path: Path, first: str) -> Path:
    """The folder that the names in the model are relative to. Raises ImageMissing."""
    above = [path.parent, *path.parent.parents]
    for folder in above[: above.index(upload.root) + 1]:
        for name in FOLDERS:
            try:
                upload.resolve(folder / name, first, "the image")
            except ImageMissing:
                continue
            return folder / name
    raise ImageMissing(f"the photo {first!r:.200} of the COLMAP model is not in the upload", file=first[:300])


def _lens(camera: Camera, number: int) -> Lens:
    """Raises CameraUnsupported, PosesUnreadable."""
    width, height = camera.size
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        raise PosesUnreadable(f"COLMAP camera {number} is of {width} x {height} pixels", file="cameras")
    values = camera.parameters
    one_focal = camera.model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL")
    fx, fy, cx, cy, *rest = (values[0], *values) if one_focal else values
    match camera.model:
        case "SIMPLE_PINHOLE" | "PINHOLE" | "SIMPLE_RADIAL" | "RADIAL" | "OPENCV":
            pass
        case "FULL_OPENCV" if not any(rest[5:]):
            pass
        case "FULL_OPENCV":
            raise CameraUnsupported(
                f"COLMAP camera {number} has distortion k4, k5 or k6, which is not supported"
            )
        case model:
            raise CameraUnsupported(f"COLMAP camera {number} is of model {model}, which is not supported")
    k1, k2, p1, p2, k3 = (*rest, 0.0, 0.0, 0.0, 0.0, 0.0)[:5]
    return Lens((float(width), float(height)), (fx, fy), (cx, cy), (k1, k2, p1, p2, k3))


def _depth(model: Model, index: int, pose: NDArray[np.float64]) -> tuple[float, float] | None:
    """Nearest and farthest along the axis of the points that the image sees, the extreme ones left out."""
    seen = model.images[index].seen
    if not len(model.point_ids) or not len(seen):
        return None
    place = np.minimum(np.searchsorted(model.point_ids, seen), len(model.point_ids) - 1)
    points = model.points[place[model.point_ids[place] == seen]]
    depths = (pose[:3, 3] - points) @ pose[:3, 2]
    depths = depths[depths > 0]
    if len(depths) < FEWEST_POINTS:
        return None
    near, far = np.percentile(depths, DEPTH_PERCENTILES).tolist()
    return near, far
