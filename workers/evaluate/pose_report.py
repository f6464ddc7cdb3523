"""All figures of two trajectories, for programs and for people."""

from __future__ import annotations

from typing import Any

import numpy as np

from workers.evaluate.maa import HAIPER, THRESHOLDS, Scene, mean_average_accuracy
from workers.evaluate.trajectory import Comparison, Trajectory, figures

_ROWS = (
    ("images in both", "{matched} of {reference}"),
    ("trajectory error (ATE)", "{ate:.5g}{unit}, {ate_percent:.4g} % of A's path"),
    ("rotation, mean and largest", "{rotation_deg:.4g}, {rotation_max_deg:.4g} degrees"),
    ("scale", "{scale:.6g} of A's units are one of B's"),
    ("image to image (RPE)", "{step:.5g}{unit}, {turn:.4g} degrees"),
    ("mAA (IMC 2023)", "{mAA:.4f}{assumed}"),
)


def report(
    reference: Trajectory, other: Trajectory, comparison: Comparison, scene: Scene | None = None
) -> dict[str, Any]:
    """`figures`, and mAA over all of the reference's images at thresholds of `scene`, by default haiper's.

    Those are in metres: a reference that does not know its scale is taken to be in metres.
    """
    found = np.full((len(reference), 4, 4), np.nan)
    found[comparison.pairs[:, 0]] = other.c2w[comparison.pairs[:, 1]]
    metric = reference.ordered().c2w.copy()
    metric[:, :3, 3] *= reference.metres or 1.0
    return {
        **figures(comparison, reference),
        "mAA": mean_average_accuracy(metric, found, THRESHOLDS.get(scene, HAIPER) if scene else HAIPER),
        "images": {"a": len(reference), "b": len(other)},
        "metres_per_unit": reference.metres,
    }


def difference(comparison: Comparison) -> dict[str, Any]:
    """For each matched image inverse(A) times the aligned B, 4x4: how B's camera stands in A's camera's axes
    (OpenGL), in A's units; and the similarity that aligned B, from its world to A's."""
    rows = zip(
        comparison.names,
        comparison.difference.tolist(),
        comparison.distances.tolist(),
        comparison.angles.tolist(),
        comparison.outliers.tolist(),
        strict=True,
    )
    keys = ("image", "difference", "distance", "rotation_deg", "outlier")
    return {
        "similarity": comparison.similarity.tolist(),
        "images": [dict(zip(keys, row, strict=True)) for row in rows],
    }


def in_words(report: dict[str, Any]) -> str:
    """One line a figure, for reading."""
    known = report["metres_per_unit"]
    values = {
        **report,
        "reference": report["images"]["a"],
        "unit": " m" if known == 1 else "",
        "step": report["rpe"]["translation"],
        "turn": report["rpe"]["rotation_deg"],
        "assumed": "" if known else ", if A's units are metres",
    }
    lines = [f"{label:<28}{form.format(**values)}" for label, form in _ROWS]
    if outliers := report["outliers"]:
        lines.append(f"{'too far off to align by':<28}{', '.join(outliers)}")
    return "\n".join(lines)
