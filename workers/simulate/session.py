"""What a phone that tracks itself records: poses in a world that drifts and jumps, and anchors that tell how.

The world of the first frame is the true one, and all worlds have y up. Poses are (4, 4), metres.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.geometry.rotations import from_matrix, from_vector, product, to_matrix
from workers.simulate.cameras import Lens

Array = NDArray[np.float64]

DRIFT = (5e-4, math.radians(0.03))  # m and radians between two frames, standard deviations
JUMP = (0.02, 0.06, math.radians(1), math.radians(5))  # m and radians of yaw, least and most
FRAMES_A_JUMP = 12
ANCHORS, LATE, NOISY = 6, 2, 4  # the last LATE are created late; the number of the noisy one
NOISE = (8e-4, math.radians(0.08))  # m and radians, standard deviations of how an anchor repeats
NOISIER = 4.0
PAUSES = 2  # anchors that lose tracking for a few frames


def drift(rng: np.random.Generator, eyes: Array) -> tuple[Array, list[int]]:
    """(N, 4, 4) from the true world to each frame's, and the frames at which it jumped; eyes (N, 3) are where
    the cameras are: worlds turn about the phone.
    """
    count = len(eyes)
    jumps = sorted(rng.choice(np.arange(1, count), count // FRAMES_A_JUMP, replace=False).tolist())
    worlds = np.tile(np.eye(4), (count, 1, 1))
    for k in range(1, count):
        shift, yaw = rng.normal(0, DRIFT[0], 3), rng.normal(0, DRIFT[1])
        if k in jumps:
            away = rng.standard_normal(3) * (1, 0.2, 1)
            shift = rng.uniform(*JUMP[:2]) * away / np.linalg.norm(away)
            yaw = rng.choice([-1, 1]) * rng.uniform(*JUMP[2:])
        step = np.eye(4)
        step[:3, :3] = to_matrix(from_vector([0.0, yaw, 0.0]))
        here = worlds[k - 1, :3, :3] @ eyes[k] + worlds[k - 1, :3, 3]
        step[:3, 3] = here + shift - step[:3, :3] @ here
        worlds[k] = step @ worlds[k - 1]
    return worlds, jumps


def record(
    rng: np.random.Generator, lens: Lens, poses: Array, centre: Array, radius: float, seconds: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The lines of `session.jsonl` for photos at poses (N, 4, 4) of an object in a sphere of centre (3,) and
    radius, taken every so many seconds; and what is true of them.
    """
    worlds, jumps = drift(rng, poses[:, :3, 3])
    anchors = _anchors(rng, worlds, centre, radius)
    lines: list[dict[str, Any]] = [
        {"type": "session", "session_id": "simulated", "pose_axes": "image", "image_rotation": 0}
    ]
    for i, pose in enumerate(poses):
        depth = (pose[:3, 3] - centre) @ pose[:3, 2]
        lines.append(
            {
                "type": "frame",
                "frame_index": i,
                "timestamp_ns": i * seconds * 10**9,
                "image": f"images/photo_{i:03}.jpg",
                "camera": {
                    "pose_matrix": (worlds[i] @ pose).T.ravel().tolist(), "tracking_state": "TRACKING",
                },
                "intrinsics": {
                    "width": lens.w, "height": lens.h,
                    "fx": lens.f, "fy": lens.f, "cx": lens.cx, "cy": lens.cy,
                },
                "min_depth": float(depth - radius),
                "max_depth": float(depth + radius),
                "anchors": anchors[i],
            }
        )  # fmt: skip
    return lines, {"jumps": jumps, "drift": worlds.tolist(), "noisy_anchor": f"anchor-{NOISY}"}


def _anchors(
    rng: np.random.Generator, worlds: Array, centre: Array, radius: float
) -> list[list[dict[str, Any]]]:
    """For each of the worlds (N, 4, 4) the anchors that its frame lists."""
    count = len(worlds)
    frames: list[list[dict[str, Any]]] = [[] for _ in worlds]
    turns = from_matrix(worlds[:, :3, :3])
    paused = rng.choice(ANCHORS - LATE, PAUSES, replace=False)
    for j in range(ANCHORS):
        around = 2 * math.pi * (j + rng.uniform(-0.2, 0.2)) / ANCHORS
        place = centre + radius * rng.uniform(1.0, 2.0) * np.array([math.cos(around), 0, math.sin(around)])
        place[1] = rng.uniform(0, 2 * radius) if j % 3 == 0 else 0.0  # some on what stands beside the table
        rotation = from_vector([0.0, rng.uniform(-math.pi, math.pi), 0.0])
        created = int(rng.integers(0, 1 + count // 2)) if j >= ANCHORS - LATE else 0
        gap = int(rng.integers(1, 1 + count))
        scale = NOISIER if j == NOISY else 1.0
        first: dict[str, Any] = {}
        for k in range(created, count):
            known = place + scale * rng.normal(0, NOISE[0], 3) * (k > created)
            seen = product(from_vector(scale * rng.normal(0, NOISE[1], 3) * (k > created)), rotation)
            now = {
                "position": (worlds[k, :3, :3] @ known + worlds[k, :3, 3]).tolist(),
                "quaternion_xyzw": product(turns[k], seen).tolist(),
            }
            first = first or now
            resting = j in paused and gap <= k < gap + 3
            frames[k].append(
                {
                    "id": f"anchor-{j}",
                    "tracking_state": "PAUSED" if resting else "TRACKING",
                    "initial_pose": first,
                    "current_pose": now,
                }
            )
    return frames
