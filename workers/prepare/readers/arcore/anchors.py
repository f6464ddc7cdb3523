"""The anchors of a session: places in the world that the phone keeps looking for, and which tell how its idea
of the world has moved since.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.geometry.rotations import to_matrix

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Anchors:
    """M anchors over N frames. Poses are a position (3) in metres and a quaternion x, y, z, w (4).

    initial: (M, 7) pose when the anchor was created, in the world of that moment.
    current: (N, M, 7) pose in the world of each frame; anything where it is not tracked.
    tracked: (N, M) whether the frame has the anchor, and it was TRACKING.
    created: (M,) the frame that has the anchor first.
    """

    names: tuple[str, ...]
    initial: Array
    current: Array
    tracked: NDArray[np.bool_]
    created: NDArray[np.int64]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(N, M) tracked, both now and when created."""
        return self.tracked & self.tracked[self.created, np.arange(len(self.names))]


def rigid(pose: Array) -> Array:
    """(..., 4, 4) of positions and quaternions (..., 7)."""
    matrix = np.zeros((*pose.shape[:-1], 4, 4))
    matrix[..., :3, :3] = to_matrix(pose[..., 3:])
    matrix[..., :3, 3] = pose[..., :3]
    matrix[..., 3, 3] = 1
    return matrix


def inverse(motion: Array) -> Array:
    """Of rigid motions (..., 4, 4)."""
    result = np.zeros_like(motion)
    result[..., :3, :3] = motion[..., :3, :3].swapaxes(-1, -2)
    result[..., :3, 3] = -np.einsum("...ij,...j->...i", result[..., :3, :3], motion[..., :3, 3])
    result[..., 3, 3] = 1
    return result
