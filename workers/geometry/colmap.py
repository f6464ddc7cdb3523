"""COLMAP's conventions and its text models (https://colmap.github.io/format.html).

COLMAP's cameras are world-to-camera, x right, y down, looking down +z; pixel centres are at +0.5 as ours.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from workers.geometry.cameras import Cameras

Array = NDArray[np.float64]

_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenCV's camera axes to OpenGL's, and back


def to_opengl(rotation: Array, translation: Array) -> Array:
    """(N,4,4) OpenGL camera-to-world of OpenCV's world-to-camera rotation (N,3,3) and translation (N,3)."""
    c2w = np.tile(np.eye(4), (len(rotation), 1, 1))
    c2w[:, :3, :3] = rotation.swapaxes(1, 2)
    c2w[:, :3, 3] = -(c2w[:, :3, :3] @ translation[..., None])[..., 0]
    return c2w @ _FLIP


def from_opengl(c2w: Array) -> tuple[Array, Array]:
    """Undo `to_opengl`: rotation (N,3,3) and translation (N,3)."""
    rotation = (c2w @ _FLIP)[:, :3, :3].swapaxes(1, 2)
    return rotation, -(rotation @ c2w[:, :3, 3, None])[..., 0]


def write_model(
    folder: Path,
    cameras: Cameras,
    points: Array,
    colours: NDArray[np.uint8],
    tracks: NDArray[np.int64] | None = None,
) -> None:
    """Write cameras.txt, images.txt and points3D.txt, which COLMAP, OpenMVS and pycolmap open.

    One PINHOLE camera for each image; ids count from 1 in the order given. Names hold no space. points (P,3)
    in the world of the cameras, colours (P,3) sRGB. tracks (M,2): pairs of a point's index and that of an
    image that sees it; where it sees it is where the camera projects it to. Errors of reprojection are
    written as 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tracks = np.empty((0, 2), np.int64) if tracks is None else tracks
    _write(folder / "cameras.txt", _cameras(cameras))
    _write(folder / "images.txt", _images(cameras, np.asarray(points, np.float64), tracks))
    _write(folder / "points3D.txt", _points(points, colours, tracks, len(cameras)))


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cameras(cameras: Cameras) -> list[str]:
    head = f"PINHOLE {cameras.width} {cameras.height}"
    return [
        f"{number} {head} {' '.join(map(repr, row))}"
        for number, row in enumerate(cameras.intrinsics.tolist(), 1)
    ]


def _images(cameras: Cameras, points: Array, tracks: NDArray[np.int64]) -> list[str]:
    rotation, translation = from_opengl(cameras.c2w)
    quaternions = Rotation.from_matrix(rotation).as_quat(canonical=True, scalar_first=True)
    projection = cameras.projection()
    lines = []
    for index, name in enumerate(cameras.names):
        seen = tracks[tracks[:, 1] == index, 0]
        u, v, w = projection[index, :, :3] @ points[seen].T + projection[index, :, 3:]
        pose = " ".join(map(repr, [*quaternions[index].tolist(), *translation[index].tolist()]))
        pixels = zip((u / w).tolist(), (v / w).tolist(), (seen + 1).tolist(), strict=True)
        lines += [
            f"{index + 1} {pose} {index + 1} {name}",
            " ".join([f"{x:.3f} {y:.3f} {point}" for x, y, point in pixels]),
        ]
    return lines


def _points(points: Array, colours: NDArray[np.uint8], tracks: NDArray[np.int64], images: int) -> list[str]:
    """A track names an image, and the place of the point in that image's list."""
    by_image = np.argsort(tracks[:, 1], kind="stable")
    first = np.searchsorted(tracks[by_image, 1], np.arange(images))
    place = np.empty(len(tracks), np.int64)
    place[by_image] = np.arange(len(tracks)) - first[tracks[by_image, 1]]
    by_point = np.argsort(tracks[:, 0], kind="stable")
    pairs = np.stack([tracks[:, 1] + 1, place], axis=1)[by_point].tolist()
    seen = [f"{image} {where}" for image, where in pairs]
    ends = np.searchsorted(tracks[by_point, 0], np.arange(len(points) + 1)).tolist()
    rows = zip(points.tolist(), colours.tolist(), strict=True)
    return [
        f"{n + 1} {x:.9g} {y:.9g} {z:.9g} {r} {g} {b} 0 {' '.join(seen[ends[n] : ends[n + 1]])}"
        for n, ((x, y, z), (r, g, b)) in enumerate(rows)
    ]
