"""Photos of the corner of a room, floor and two walls papered with a pattern that is nowhere the same: by
cameras that are known exactly, without any of the code under test."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.prepare.sfm.mapping import Camera

Array = NDArray[np.float64]
Grey = NDArray[np.uint8]

SIZE = 400, 300
FOCAL = 380.0
TEXELS = 400  # along a unit
LENS = (FOCAL, FOCAL, SIZE[0] / 2, SIZE[1] / 2, 0.0, 0.0, 0.0, 0.0)
CAMERA = Camera(SIZE, LENS, known=True)


@dataclass(frozen=True)
class Turned:
    """Photos, each by some quarters counterclockwise, as its sender may hold them: and the camera that then
    took it."""

    greys: list[Grey]
    c2w: Array
    cameras: list[Camera]
    camera_of: list[int]
    sizes: list[tuple[int, int]]


def walk(count: int) -> Array:
    """(N,4,4) OpenGL: on a quarter circle, looking into the corner, which lies at the origin; z is up."""
    poses = []
    for angle in np.linspace(0.2, np.pi / 2 - 0.2, count):
        eye = np.array([1.3 * np.cos(angle), 1.3 * np.sin(angle), 0.6 + 0.2 * np.sin(7 * angle)])
        back = (eye - [0.25, 0.25, 0.3]) / np.linalg.norm(eye - [0.25, 0.25, 0.3])
        right = np.cross([0, 0, 1.0], back)
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3] = np.stack([right, np.cross(back, right), back, eye], axis=1)
        poses.append(pose)
    return np.array(poses)


def photo(c2w: Array) -> Grey:
    """(h,w)"""
    width, height = SIZE
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    local = np.stack([(x - width / 2) / FOCAL, -(y - height / 2) / FOCAL, -np.ones_like(x)], axis=-1)
    rays, eye = local @ c2w[:3, :3].T, c2w[:3, 3]
    far = np.where(rays < 0, -eye / np.minimum(rays, -1e-9), np.inf)
    side = far.argmin(axis=2)  # the plane that is met first
    hit = eye + rays * far.min(axis=2)[..., None]
    seen = np.zeros((height, width), np.float32)
    for plane, paper in enumerate(_papers()):
        u, v = (hit[..., axis].astype(np.float32) * TEXELS for axis in range(3) if axis != plane)
        there = cv2.remap(paper, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        seen = np.where(side == plane, there, seen)
    return np.asarray(seen, np.uint8)


def turned(photos: list[Grey], c2w: Array, quarters: list[int]) -> Turned:
    greys = [np.ascontiguousarray(np.rot90(grey, turn)) for grey, turn in zip(photos, quarters, strict=True)]
    lying = Camera(SIZE[::-1], (*LENS[:2], LENS[3], LENS[2], *LENS[4:]), known=True)
    rolled = []
    for pose, turn in zip(c2w, quarters, strict=True):
        # What was right in a photo that is turned counterclockwise points up: so up was right.
        roll = np.eye(4)
        roll[:2, :2] = np.linalg.matrix_power(np.array([[0, 1], [-1, 0]]), turn % 4)
        rolled.append(pose @ roll)
    odd = [turn % 2 for turn in quarters]
    sizes = [grey.shape[::-1] for grey in greys]
    return Turned(greys, np.array(rolled), [CAMERA, lying], odd, sizes)


def _papers() -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    papers = []
    for _ in range(3):
        paper = np.zeros((2 * TEXELS, 2 * TEXELS), np.float32)
        for spread in (2.0, 5.0, 12.0):
            noise = rng.standard_normal(paper.shape).astype(np.float32)
            paper += spread * cv2.GaussianBlur(noise, (0, 0), spread)
        papers.append((128 + 50 * paper / paper.std()).clip(0, 255))
    return papers
