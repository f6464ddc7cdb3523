"""From matches to cameras and points: what to ask of `mapper`, the program beside this one that knows
COLMAP."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workers.geometry.errors import NumericError
from workers.prepare.sfm.matching import Matches

Array = NDArray[np.float64]
Matched = dict[tuple[int, int], Matches]
Method = Literal["incremental", "global"]

_MAPPER = Path(__file__).with_name("mapper.py")


@dataclass(frozen=True)
class Camera:
    """size: (width, height) in pixels. lens: fx, fy, cx, cy, k1, k2, p1, p2 of OpenCV's model: exactly where
    it is `known`; else where to begin, and whether that is well guessed."""

    size: tuple[int, int]
    lens: tuple[float, ...]
    known: bool = False
    guessed_well: bool = False


@dataclass(frozen=True)
class Question:
    """camera_of: each photo's. keypoints: (F,2) float32 pixels each. Matches by pairs of photos: `trusted` to
    begin with (several sets, to try), `verified` to fit an epipolar geometry, and all. poses (N,4,4) OpenGL
    camera-to-world to begin with, if any. pixel: of a picture of 640, in the photos' own.
    """

    cameras: list[Camera]
    camera_of: list[int]
    keypoints: list[NDArray[np.float32]]
    trusted: list[Matched]
    verified: Matched
    matches: Matched
    method: Method
    poses: Array | None
    pixel: float
    threads: int


@dataclass(frozen=True)
class Map:
    """c2w (N,4,4) OpenGL, NaN for photos that have no place in it. lenses (C,8) as `Camera.lens`, points
    (P,3). seen (O,3): point, photo, keypoint. others: photos in further models, which are left out. error:
    mean reprojection error in pixels. agreement: the share of what photos have in common with those most
    alike that agrees with it. misfit: where poses were given, the median distance of matches from
    their epipolar lines by those poses, and by these.
    """

    c2w: Array
    lenses: Array
    points: Array
    seen: NDArray[np.int64]
    others: list[int]
    error: float
    agreement: float
    misfit: tuple[float, float] | None

    @property
    def registered(self) -> NDArray[np.bool_]:
        """(N,)"""
        return np.asarray(~np.isnan(self.c2w[:, 0, 0]))


def mapped(question: Question) -> Map:
    """Raises NumericError "poses_not_found", also where the program dies: then COLMAP's assumptions
    failed."""
    asked = {**vars(question), "cameras": [asdict(camera) for camera in question.cameras]}
    environment = os.environ | {
        "OMP_NUM_THREADS": str(question.threads),
        "OMP_WAIT_POLICY": "passive",  # spinning would take the other processor from whoever works there
    }
    ran = subprocess.run(
        [sys.executable, str(_MAPPER)], input=pickle.dumps(asked), stdout=subprocess.PIPE, env=environment
    )
    if ran.returncode or not ran.stdout:
        raise NumericError("poses_not_found", f"mapping them ended with {ran.returncode}", found=0)
    found = pickle.loads(ran.stdout)
    if isinstance(found, Exception):
        raise NumericError("poses_not_found", str(found), found=0)
    return Map(**found)
