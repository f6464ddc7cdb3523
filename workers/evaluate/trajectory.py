"""Two sets of poses of the same images, compared after a similarity has brought them together."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from workers.evaluate.errors import CannotEvaluate
from workers.geometry.errors import NumericError
from workers.geometry.similarity import align_cameras, moved, scale_of

Array = NDArray[np.float64]

NEEDED = 3
_SUFFIX = re.compile(r"\.(jpe?g|png|webp|hei[cf]|tiff?|bmp)$", re.IGNORECASE)


@dataclass(frozen=True)
class Trajectory:
    """names: N paths of images. c2w: (N,4,4) OpenGL camera-to-world. metres: that a unit is, if known."""

    names: tuple[str, ...]
    c2w: Array
    metres: float | None = None

    def __len__(self) -> int:
        return len(self.names)

    def ordered(self) -> Trajectory:
        """In the natural order of the names: photo_2 before photo_10."""
        order = sorted(range(len(self)), key=lambda i: _natural(self.names[i]))
        return Trajectory(tuple(self.names[i] for i in order), self.c2w[order], self.metres)


@dataclass(frozen=True)
class Comparison:
    """names: M images in both, in natural order, by the reference's names. reference, aligned: (M,4,4) their
    poses, both in the reference's world. difference: (M,4,4), inverse(reference) @ aligned: what each camera
    would have to move by, in its own axes. similarity: (4,4) from the other's world to the reference's.
    outliers: (M,) images that were too far off to align by. pairs: (M,2) indices into reference and other.
    """

    names: tuple[str, ...]
    reference: Array
    aligned: Array
    similarity: Array
    outliers: NDArray[np.bool_]
    pairs: NDArray[np.int64]

    @property
    def difference(self) -> Array:
        result: Array = np.linalg.inv(self.reference) @ self.aligned
        return result

    @property
    def distances(self) -> Array:
        """(M,) between the camera centres, in the reference's units."""
        result: Array = np.linalg.norm((self.aligned - self.reference)[:, :3, 3], axis=1)
        return result

    @property
    def angles(self) -> Array:
        """(M,) between the orientations, in degrees."""
        return _angles(self.difference)


def compare(reference: Trajectory, other: Trajectory) -> Comparison:
    """Match the images by name, and align the other's cameras to the reference's (see `align_cameras`).

    CannotEvaluate for fewer than three common images, and for cameras that cannot be aligned.
    """
    reference = reference.ordered()
    pairs = matches(reference.names, other.names)
    if len(pairs) < NEEDED:
        some = f"only {len(pairs)} of the" if len(pairs) else "none of the"
        examples = f"called {reference.names[0]!r:.80} here and {other.names[0]!r:.80} there"
        raise CannotEvaluate(
            f"{some} {len(reference)} and {len(other)} images have the same name (the first is {examples}), "
            f"and it takes {NEEDED}"
        )
    ours, theirs = reference.c2w[pairs[:, 0]], other.c2w[pairs[:, 1]]
    try:
        alignment = align_cameras(theirs, ours)
    except NumericError as error:
        raise CannotEvaluate(f"the trajectories cannot be aligned: {error}") from None
    return Comparison(
        names=tuple(reference.names[i] for i in pairs[:, 0]),
        reference=ours,
        aligned=moved(alignment.similarity, theirs),
        similarity=alignment.similarity,
        outliers=~alignment.inliers,
        pairs=pairs,
    )


def figures(comparison: Comparison, reference: Trajectory) -> dict[str, Any]:
    """Lengths are in the reference's units, angles in degrees.

    ate: absolute trajectory error, the root mean square distance of the matched centres (Sturm et al. 2012);
    ate_percent: of the length of the path through all of the reference's centres in the natural order of
    their names; rotation_deg: mean angle; scale: reference units that one of the other's is; rpe: relative
    pose error, of the motion from each matched image to the next: root mean square distance, mean angle.
    outliers: images too far off to align by, which count in all of the figures nevertheless.
    """
    distances, angles = comparison.distances, comparison.angles
    steps = np.diff(reference.ordered().c2w[:, :3, 3], axis=0)
    path = float(np.linalg.norm(steps, axis=1).sum())
    ate = _root_mean_square(distances)
    drift = np.linalg.inv(_motions(comparison.reference)) @ _motions(comparison.aligned)
    return {
        "matched": len(comparison.names),
        "ate": ate,
        "ate_percent": 100 * ate / path,
        "ate_median": float(np.median(distances)),
        "ate_max": float(distances.max()),
        "path": path,
        "rotation_deg": float(angles.mean()),
        "rotation_median_deg": float(np.median(angles)),
        "rotation_max_deg": float(angles.max()),
        "scale": scale_of(comparison.similarity),
        "rpe": {
            "translation": _root_mean_square(np.linalg.norm(drift[:, :3, 3], axis=1)),
            "rotation_deg": float(_angles(drift).mean()),
        },
        "outliers": [name for name, out in zip(comparison.names, comparison.outliers, strict=True) if out],
    }


def matches(ours: tuple[str, ...], theirs: tuple[str, ...]) -> NDArray[np.int64]:
    """(M,2) indices of the same images, by the first.

    The same is what has the longest common tail of folders and name, suffix aside, that is nobody else's:
    images/0001.jpg is 0001.png, but where there are train/0001.png and test/0001.png, 0001.png is neither.
    """
    paths = [[_parts(name) for name in names] for names in (ours, theirs)]
    found: dict[int, int] = {}
    for depth in range(max((len(path) for side in paths for path in side), default=0), 0, -1):
        left, right = (dict(_tails(side, depth)) for side in paths)
        for key in left.keys() & right.keys():
            found.setdefault(left[key], right[key])
    return np.array(sorted(found.items()), np.int64).reshape(-1, 2)


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(_SUFFIX.sub("", name.replace("\\", "/"))).parts


def _tails(paths: list[tuple[str, ...]], depth: int) -> list[tuple[tuple[str, ...], int]]:
    """The last parts of each path, where no other path has the same."""
    tails = [path[-depth:] for path in paths]
    counts = Counter(tails)
    return [(tail, i) for i, tail in enumerate(tails) if counts[tail] == 1]


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _motions(c2w: Array) -> Array:
    """(M-1,4,4) from each camera to the next, in its axes."""
    result: Array = np.linalg.inv(c2w[:-1]) @ c2w[1:]
    return result


def _angles(transforms: Array) -> Array:
    return np.degrees(Rotation.from_matrix(transforms[:, :3, :3]).magnitude())


def _root_mean_square(lengths: Array) -> float:
    return float(np.sqrt(np.mean(lengths**2)))
