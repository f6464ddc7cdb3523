"""Small captures for tests, made as their sender would make them.

The scene is one bright dot in space, among faint ones that stand for an object, on a dark ground: so
a test can look up where a camera sees a point, and whether the picture shows it there.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

DOT = np.array([0.33, 0.2, 0.05])
DOTS = np.array([DOT, [0.3, 0.1, 0], [-0.2, 0.25, 0.1], [0.1, -0.3, 0.2], [-0.25, -0.2, -0.2]])


@dataclass
class Rig:
    """Cameras on a ring looking at the origin; sizes and intrinsics in pixels of the stored photo."""

    views: int = 8
    width: int = 160
    height: int = 120
    fx: float = 170.0
    fy: float = 170.0
    cx: float = 80.0
    cy: float = 60.0
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    distance: float = 2.2
    c2w: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.c2w = np.stack([_look_at_origin(i, self) for i in range(self.views)])

    def project(self, index: int, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) pixels, centres at +0.5, by OpenCV's own lens model."""
        flip = np.diag([1.0, -1, -1])
        rotation = flip @ self.c2w[index, :3, :3].T
        translation = -rotation @ self.c2w[index, :3, 3]
        matrix = np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]])
        vector, _ = cv2.Rodrigues(rotation)
        projected, _ = cv2.projectPoints(points, vector, translation, matrix, np.array(self.distortion))
        return np.asarray(projected.reshape(-1, 2))

    def photo(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3): each dot a Gaussian, the first bright, the others faint."""
        y, x = np.mgrid[: self.height, : self.width] + 0.5
        picture = np.zeros((self.height, self.width))
        for number, (u, v) in enumerate(self.project(index, DOTS)):
            spread = self.width / 100
            dot = np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * spread**2))
            picture += (200 if number == 0 else 40) * dot
        return np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[..., None], 3, axis=2)

    def mask(self, index: int) -> NDArray[np.uint8]:
        """(H, W), 0 or 255: the dots' convex hull, with room for the dots themselves."""
        hull = cv2.convexHull(self.project(index, DOTS).astype(np.float32)).astype(np.int32)
        filled = cv2.fillConvexPoly(np.zeros((self.height, self.width), np.uint8), hull, 255)
        room = self.width // 12 | 1
        return np.asarray(cv2.dilate(filled, np.ones((room, room), np.uint8)), np.uint8)


def write(folder: Path, rig: Rig, *, layout: str = "transforms", masks: str | None = "files") -> Path:
    """The rig's photos as `transforms` or `llff`; masks as `files`, `alpha` or None."""
    (folder / "images").mkdir(parents=True)
    frames = []
    for index in range(rig.views):
        name = f"photo_{index:02d}.png"
        frame: dict[str, object] = {
            "file_path": f"images/{name}",
            "transform_matrix": rig.c2w[index].tolist(),
        }
        picture = rig.photo(index)
        if masks == "alpha":
            picture = np.dstack([picture, rig.mask(index)])
        Image.fromarray(picture).save(folder / "images" / name)
        if masks == "files":
            (folder / "masks").mkdir(exist_ok=True)
            Image.fromarray(rig.mask(index)).save(folder / "masks" / name)
            frame["mask_path"] = f"masks/{name}"
        frames.append(frame)
    if layout == "llff":
        np.save(folder / "poses_bounds.npy", llff_rows(rig))
    else:
        write_transforms(folder, rig, frames)
    return folder


def write_transforms(folder: Path, rig: Rig, frames: list[dict[str, object]], **more: object) -> None:
    names = ("k1", "k2", "p1", "p2", "k3")
    document = {
        "w": rig.width,
        "h": rig.height,
        "fl_x": rig.fx,
        "fl_y": rig.fy,
        "cx": rig.cx,
        "cy": rig.cy,
        **dict(zip(names, rig.distortion, strict=True)),
        "frames": frames,
        **more,
    }
    (folder / "transforms.json").write_text(json.dumps(document))


def llff_rows(rig: Rig) -> NDArray[np.float64]:
    """(N, 17), written out here from LLFF's definition and not by the code under test."""
    rows = []
    for pose in rig.c2w:
        right, up, back, position = (pose[:3, i] for i in range(4))
        matrix = np.stack([-up, right, back, position, [rig.height, rig.width, rig.fx]], axis=1)
        rows.append([*matrix.reshape(-1), 1.0, 4.0])
    return np.array(rows)


def _look_at_origin(index: int, rig: Rig) -> NDArray[np.float64]:
    angle = 2 * np.pi * index / rig.views
    position = rig.distance * np.array([np.cos(angle), 0.4, np.sin(angle)])
    back = position / np.linalg.norm(position)
    right = np.cross([0, 1.0, 0], back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
    pose[:3, 3] = position
    return pose
