"""Distances between a found surface and the true one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from workers.evaluate.mesh import Mesh
from workers.evaluate.visibility import visible
from workers.geometry.cameras import Cameras

Array = NDArray[np.float64]

SAMPLES = 300_000
_SHARES = {"1": 0.01, "05": 0.005}  # thresholds of the F-scores, of the true bounding box's diagonal
_IN_FRONT = 1e-3  # of the diagonal: what is nearer to a point than this does not hide it


@dataclass(frozen=True)
class Samples:
    """points (S,3) drawn evenly over a surface; normals (S,3), unit, of the faces they lie on."""

    points: Array
    normals: Array


def sample(mesh: Mesh, count: int, seed: int) -> Samples:
    """`count` points, a face's chance being its area, uniform within it (Osada et al. 2002, section 3.1)."""
    rng = np.random.default_rng(seed)
    corner = mesh.vertices[mesh.faces].astype(np.float64)
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    area = np.linalg.norm(cross, axis=1)
    reached = np.cumsum(area)
    face = np.searchsorted(reached, rng.random(count) * reached[-1], side="right")
    root, share = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    a, b, c = corner[face].transpose(1, 0, 2)
    points = (1 - root) * a + root * (1 - share) * b + root * share * c
    return Samples(points, cross[face] / area[face, None])


def compare_geometry(
    found: Mesh, true: Mesh, cameras: Sequence[Cameras] = (), samples: int = SAMPLES
) -> dict[str, float]:
    """Figures on `samples` points of each surface, both in one frame; always the same for the same meshes.

    diagonal: of the true bounding box, in the frame's unit; lengths below are percent of it. accuracy and
    completeness: mean distance of found points to the true surface and the reverse; chamfer: their mean
    (Chamfer-L1). precision_1, recall_1, f_score_1: share of found points nearer than 1 % to the true
    surface, the reverse, and their harmonic mean (Knapitsch et al. 2017); _05 at 0.5 %. normal_consistency:
    mean |cos| between the normals of nearest points, both ways. With cameras all of these again with _vis:
    of only those points, on either surface, that some camera sees with the surface's own parts in front
    taken into account; against all of the other surface. visible: the share of the true surface so seen.
    """
    diagonal = float(np.linalg.norm(np.ptp(true.vertices[true.faces].reshape(-1, 3), axis=0)))
    ours, truth = sample(found, samples, 1), sample(true, samples, 0)
    there, nearest_true = _nearest(ours.points, truth.points)
    back, nearest_found = _nearest(truth.points, ours.points)
    cosines = (
        np.abs((ours.normals * truth.normals[nearest_true]).sum(1)),
        np.abs((truth.normals * ours.normals[nearest_found]).sum(1)),
    )
    there, back = there / diagonal, back / diagonal
    figures = {"diagonal": diagonal, **_figures((there, back), cosines, "")}
    if not cameras:
        return figures
    seen_found, seen_true = (
        visible(drawn.points, mesh.vertices.astype(np.float64), mesh.faces, cameras, _IN_FRONT * diagonal)
        for drawn, mesh in ((ours, found), (truth, true))
    )
    figures["visible"] = float(seen_true.mean())
    if seen_found.any() and seen_true.any():
        distances = there[seen_found], back[seen_true]
        figures |= _figures(distances, (cosines[0][seen_found], cosines[1][seen_true]), "_vis")
    return figures


def _nearest(points: Array, others: Array) -> tuple[Array, NDArray[np.int64]]:
    """For each of (P,3) the distance to, and the index of, the nearest of (Q,3)."""
    distance, index = cKDTree(others).query(points, workers=-1)
    return np.asarray(distance), np.asarray(index)


def _figures(distances: tuple[Array, Array], cosines: tuple[Array, Array], suffix: str) -> dict[str, float]:
    """Of distances in diagonals and cosines, both found to true and true to found."""
    accuracy, completeness = (100 * float(part.mean()) for part in distances)
    figures = {"accuracy": accuracy, "completeness": completeness, "chamfer": (accuracy + completeness) / 2}
    for name, share in _SHARES.items():
        precision, recall = (float((part < share).mean()) for part in distances)
        both = 2 * precision * recall / max(precision + recall, 1e-9)
        figures |= {f"precision_{name}": precision, f"recall_{name}": recall, f"f_score_{name}": both}
    figures["normal_consistency"] = float(cosines[0].mean() + cosines[1].mean()) / 2
    return {name + suffix: value for name, value in figures.items()}
