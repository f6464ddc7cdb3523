"""Mean average accuracy of camera poses, as the Image Matching Challenge 2023 defines it.

https://www.kaggle.com/competitions/image-matching-challenge-2023/overview/evaluation
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workers.evaluate.errors import CannotEvaluate
from workers.evaluate.trajectory import Trajectory
from workers.geometry.colmap import to_opengl

Array = NDArray[np.float64]
Scene = tuple[str, str]

STEPS = 10


@dataclass(frozen=True)
class Thresholds:
    """First and last of ten: rotations in degrees, evenly spaced; translations in metres, geometrically."""

    rotation: tuple[float, float]
    translation: tuple[float, float]

    @property
    def pairs(self) -> list[tuple[float, float]]:
        """(degrees, metres) of each step."""
        rotations = np.linspace(*self.rotation, STEPS)
        translations = np.geomspace(*self.translation, STEPS)
        return list(zip(rotations.tolist(), translations.tolist(), strict=True))


HAIPER = Thresholds((1, 10), (0.05, 0.5))
THRESHOLDS: dict[Scene, Thresholds] = {
    ("haiper", "bike"): HAIPER,
    ("haiper", "chairs"): HAIPER,
    ("haiper", "fountain"): HAIPER,
    ("heritage", "cyprus"): Thresholds((1, 10), (0.1, 2)),
    ("heritage", "dioscuri"): Thresholds((1, 10), (0.1, 2)),
    ("heritage", "wall"): Thresholds((0.2, 10), (0.05, 1)),
    ("urban", "kyiv-puppet-theater"): Thresholds((1, 10), (0.5, 5)),
}
"""By data set and scene, those of the challenge's training scenes."""


def mean_average_accuracy(reference: Array, found: Array, thresholds: Thresholds = HAIPER) -> float:
    """Share of image pairs whose relative pose is right, averaged over the thresholds; 0 to 1.

    reference, found: (N,4,4) camera-to-world of the same images, the reference in metres; of an image that
    was not found, NaN. A pair counts at a step where its rotation and its translation are both within it.
    Depends neither on the world frame and scale of `found` nor on the camera axes, if both have the same.
    """
    rotation, translation = pair_errors(reference, found)
    right = [(rotation <= degrees) & (translation <= metres) for degrees, metres in thresholds.pairs]
    return float(np.mean(right))


def pair_errors(reference: Array, found: Array) -> tuple[Array, Array]:
    """Of all N(N-1)/2 pairs the angle in degrees between their relative rotations, and the distance between
    their relative translations, the found one at the true one's length and of either sign; infinite where
    one of the two images was not found.
    """
    missing: NDArray[np.bool_] = np.isnan(found.sum((1, 2)))
    found = np.where(missing[:, None, None], np.eye(4), found)
    (turn, step), (found_turn, found_step) = _relative(reference), _relative(found)
    cosine = (np.einsum("nij,nij->n", turn, found_turn) - 1) / 2
    sine = np.linalg.norm(_skew(turn @ found_turn.swapaxes(1, 2)), axis=1)
    rotation = np.degrees(np.arctan2(sine, cosine))  # exact at small angles, where an arc cosine is not
    length = np.linalg.norm(found_step, axis=1, keepdims=True)
    found_step = found_step * (np.linalg.norm(step, axis=1, keepdims=True) / np.maximum(length, 1e-15))
    translation = np.minimum(
        np.linalg.norm(step - found_step, axis=1), np.linalg.norm(step + found_step, axis=1)
    )
    first, second = np.triu_indices(len(found), 1)
    either = missing[first] | missing[second]
    return np.where(either, np.inf, rotation), np.where(either, np.inf, translation)


def _relative(c2w: Array) -> tuple[Array, Array]:
    """dR (P,3,3) = R2 R1ᵀ and dT (P,3) = T2 - dR T1 of each pair, from world-to-camera R and T."""
    first, second = np.triu_indices(len(c2w), 1)
    rotation = c2w[:, :3, :3].swapaxes(1, 2)
    between = c2w[first, :3, 3] - c2w[second, :3, 3]  # T2 - dR T1 = R2 (C1 - C2)
    return rotation[second] @ c2w[first, :3, :3], (rotation[second] @ between[..., None])[..., 0]


def _skew(rotation: Array) -> Array:
    """(P,3) the axis times the angle's sine."""
    axis: Array = np.stack(
        [rotation[:, j, k] - rotation[:, k, j] for j, k in ((2, 1), (0, 2), (1, 0))], axis=1
    )
    return axis / 2


def overall(scores: Mapping[Scene, float]) -> float:
    """The challenge's final figure: the mean over data sets of the mean over their scenes."""
    datasets = sorted({dataset for dataset, _ in scores})
    means = [np.mean([score for (name, _), score in scores.items() if name == each]) for each in datasets]
    return float(np.mean(means))


def read_labels(path: Path) -> dict[Scene, Trajectory]:
    """The true poses of train_labels.csv by data set and scene.

    Its columns: dataset, scene, image_path, rotation_matrix (9 numbers, row-major) and translation_vector
    (3), world to camera, separated by semicolons. CannotEvaluate names the first line that is not like this.
    """
    rows: dict[Scene, list[tuple[str, Array]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            for row in reader:
                try:
                    numbers = np.concatenate(
                        [_numbers(row["rotation_matrix"], 9), _numbers(row["translation_vector"], 3)]
                    )
                    scene = row["dataset"], row["scene"]
                    rows.setdefault(scene, []).append((row["image_path"], numbers))
                except (KeyError, ValueError, AttributeError) as error:
                    message = f"line {reader.line_num} of {path} is no label of an image: {error!r:.200}"
                    raise CannotEvaluate(message) from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise CannotEvaluate(f"{path} is not a table of labels: {error}") from None
    return {scene: _trajectory(labels) for scene, labels in rows.items()}


def _numbers(text: str, count: int) -> Array:
    numbers = np.array(text.split(";"), np.float64)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"{text[:60]!r} is not {count} numbers")
    return numbers


def _trajectory(labels: list[tuple[str, Array]]) -> Trajectory:
    numbers = np.array([each for _, each in labels])
    c2w = to_opengl(numbers[:, :9].reshape(-1, 3, 3), numbers[:, 9:])
    return Trajectory(tuple(name for name, _ in labels), c2w, metres=1.0)
