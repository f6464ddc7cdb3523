"""Pinhole cameras: OpenGL camera-to-world (x right, y up, looking down -z), pixel centres at +0.5, row 0 on
top.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workers.geometry.errors import NumericError

Array = NDArray[np.float64]

# Pixel axes run right and down, the camera's run right and up, and it looks down -z.
_PIXEL_FROM_CAMERA = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class Cameras:
    """N pinhole cameras with images of one size.

    names: N image file names.
    intrinsics: (N,4) float64, fx, fy, cx, cy in pixels.
    width, height: size of every image in pixels.
    c2w: (N,4,4) float64, OpenGL camera-to-world.
    """

    names: tuple[str, ...]
    intrinsics: Array
    width: int
    height: int
    c2w: Array

    def __len__(self) -> int:
        return len(self.names)

    @property
    def magnification(self) -> Array:
        """(N,) pixels that a unit of length covers at the origin of the frame."""
        pixels: Array = self.intrinsics[:, :2].mean(1) / np.linalg.norm(self.centres, axis=1)
        return pixels

    @property
    def centres(self) -> Array:
        """(N,3) camera centres, in the world."""
        return self.c2w[:, :3, 3]

    def select(self, indices: ArrayLike) -> Cameras:
        """The cameras at `indices` (integers, or N booleans), in that order."""
        chosen = np.arange(len(self))[np.asarray(indices)]
        names = tuple(self.names[i] for i in chosen)
        return replace(self, names=names, intrinsics=self.intrinsics[chosen], c2w=self.c2w[chosen])

    def scaled(self, width: int, height: int) -> Cameras:
        """The same cameras after their images are resized to width x height pixels."""
        factor = np.array([width / self.width, height / self.height])
        return replace(self, intrinsics=self.intrinsics * np.tile(factor, 2), width=width, height=height)

    def transformed(self, similarity: Array) -> Cameras:
        """The same cameras in the frame that `similarity` (4,4: scale, rotation, translation) maps the world
        to.
        """
        scale = np.cbrt(np.linalg.det(similarity[:3, :3]))
        c2w = similarity @ self.c2w  # N,4,4
        c2w[:, :3, :3] /= scale
        return replace(self, c2w=c2w)

    def w2c(self) -> Array:
        """(N,4,4) world to OpenGL camera."""
        rotation = self.c2w[:, :3, :3].transpose(0, 2, 1)
        w2c = np.tile(np.eye(4), (len(self), 1, 1))
        w2c[:, :3, :3] = rotation
        w2c[:, :3, 3] = -(rotation @ self.centres[..., None])[..., 0]
        return w2c

    def projection(self) -> Array:
        """(N,3,4) world to pixels: P (x, 1) = (u w, v w, w), w being the depth along the axis, positive in
        front.
        """
        calibration = np.zeros((len(self), 3, 3))
        calibration[:, [0, 1], [0, 1]] = self.intrinsics[:, :2]
        calibration[:, :2, 2] = self.intrinsics[:, 2:]
        calibration[:, 2, 2] = 1
        projection: Array = calibration @ _PIXEL_FROM_CAMERA @ self.w2c()[:, :3]
        return projection

    def clip(self, near: float, far: float) -> Array:
        """(N,4,4) world to OpenGL clip space: depth `near` to z/w = -1, `far` to +1; the image's top row to
        y/w = +1.
        """
        u, v, w = self.projection().transpose(1, 0, 2)  # N,4 each
        z = (far + near) / (far - near) * w
        z[:, 3] -= 2 * far * near / (far - near)
        return np.stack([2 * u / self.width - w, w - 2 * v / self.height, z, w], axis=1)


def view_angles(cameras: Cameras) -> Array:
    """(N,N) angles in radians between the directions from the origin to the cameras."""
    towards = cameras.centres / np.linalg.norm(cameras.centres, axis=1, keepdims=True)
    angles: Array = np.arccos(np.clip(towards @ towards.T, -1, 1))
    return angles


def to_llff(cameras: Cameras, near: ArrayLike, far: ArrayLike) -> Array:
    """(N,17) rows of LLFF's poses_bounds.npy (Mildenhall et al. 2019, released code).

    Each row is a row-major 3x5 [R|t|(h,w,f)] whose camera-to-world columns are [down, right, backwards], then
    near and far (one each, or N) in world units. The convention has one focal length and no principal point:
    fx is kept.
    """
    c1, c2, c3, centre = (cameras.c2w[:, :3, i] for i in range(4))
    size = np.broadcast_to([cameras.height, cameras.width, 0.0], c1.shape).copy()
    size[:, 2] = cameras.intrinsics[:, 0]
    rows = np.stack([-c2, c1, c3, centre, size], axis=2).reshape(len(cameras), 15)
    bounds = np.stack(np.broadcast_arrays(np.zeros(len(cameras)), near, far)[1:], axis=1)
    return np.concatenate([rows, bounds], axis=1)


def from_llff(rows: Array) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Undo `to_llff`: c2w (N,4,4) OpenGL, then height, width, focal (pixels), near, far (world units), each
    (N,).
    """
    matrix = rows[:, :15].reshape(-1, 3, 5)
    down, right, back, centre, size = (matrix[:, :, i] for i in range(5))
    c2w = np.tile(np.eye(4), (len(rows), 1, 1))
    c2w[:, :3] = np.stack([right, -down, back, centre], axis=2)
    return c2w, size[:, 0], size[:, 1], size[:, 2], rows[:, 15], rows[:, 16]


def read_cameras(path: Path) -> tuple[Cameras, dict[str, Any]]:
    """Read cameras.json: the cameras in the capture's own world, and its "world" entry (up, scale,
    to_normalised).

    A single picture whose pose is not known is a world of its own: its camera looks down -z, upright, at what
    is at the origin, so far away that the picture is one unit wide there.

    NumericError: "too_few_images" for no image, "size_mismatch" where one has not the size of the first,
    "poses_missing" where one of several has no pose.
    """
    document = json.loads(path.read_text())
    images, world = document["images"], dict(document["world"])
    if not images:
        raise NumericError("too_few_images", f"{path.name} lists no image", found=0, needed=2)
    if len(images) == 1 and images[0]["c2w"] is None:
        alone = np.eye(4)
        alone[2, 3] = images[0]["fx"] / images[0]["w"]
        images[0]["c2w"], world["to_normalised"] = alone.tolist(), np.diag([2.0, 2.0, 2.0, 1.0]).tolist()
    sizes = [(int(image["w"]), int(image["h"])) for image in images]
    for image, size in zip(images, sizes, strict=True):
        if size != sizes[0]:
            message = (
                f"{image['image']} is of {size[0]}x{size[1]} pixels, the first of {sizes[0][0]}x{sizes[0][1]}"
            )
            raise NumericError("size_mismatch", message, file=str(image["image"]))
        if image["c2w"] is None:
            raise NumericError(
                "poses_missing", f"of {image['image']} no pose is known", file=str(image["image"])
            )
    intrinsics = [[image[key] for key in ("fx", "fy", "cx", "cy")] for image in images]
    cameras = Cameras(
        names=tuple(str(image["image"]) for image in images),
        intrinsics=np.array(intrinsics, np.float64),
        width=sizes[0][0],
        height=sizes[0][1],
        c2w=np.array([image["c2w"] for image in images], np.float64),
    )
    return cameras, world


def photo_frames(path: Path) -> NDArray[np.int64]:
    """(N,4) left, top, right, bottom in pixels of the part of each image in cameras.json that its photo
    covers: a crop may leave its photo, and is then padded.
    """
    frames = []
    for image in json.loads(path.read_text())["images"]:
        x, y, width, height = image["crop"]
        right, bottom = image["source_size"]
        scale = np.array([image["w"] / width, image["h"] / height] * 2)
        frame = (
            np.array([max(0, x), max(0, y), min(x + width, right), min(y + height, bottom)]) - [x, y, x, y]
        ) * scale
        frames.append(np.concatenate([np.ceil(frame[:2]), np.floor(frame[2:])]))
    return np.array(frames, np.int64)


def write_cameras(
    path: Path,
    cameras: Cameras,
    sources: Sequence[str],
    source_sizes: ArrayLike,
    crops: ArrayLike,
    world: dict[str, Any],
) -> None:
    """Write cameras.json, which `read_cameras` reads.

    sources: N names of the photos the images were cut from. source_sizes: (N,2) their width and height in
    pixels. crops: (N,4) x, y, width, height in those pixels; a crop may leave its photo, and is then padded.
    world: {"up": [x,y,z] or None, "scale": metres per unit or None, "to_normalised": 4x4 or None}. A pose
    that is not known is NaN.
    """
    images: list[dict[str, Any]] = [
        {
            "image": name,
            "source": source,
            "source_size": size,
            "crop": crop,
            **dict(zip(("fx", "fy", "cx", "cy"), intrinsics, strict=True)),
            "w": cameras.width,
            "h": cameras.height,
            "c2w": c2w if np.isfinite(c2w).all() else None,
        }
        for name, source, size, crop, intrinsics, c2w in zip(
            cameras.names,
            sources,
            np.asarray(source_sizes).tolist(),
            np.asarray(crops).tolist(),
            cameras.intrinsics.tolist(),
            cameras.c2w.tolist(),
            strict=True,
        )
    ]
    if world["to_normalised"] is not None:
        world = {**world, "to_normalised": np.asarray(world["to_normalised"]).tolist()}
    path.write_text(json.dumps({"images": images, "world": world}, indent=1, allow_nan=False))
