"""What papers on shape from a single picture measure: volumetric IoU, Chamfer-L1, edge Chamfer distance.

Surfaces are (vertices (V,3), faces (F,3)), both in one frame. Everything is drawn with fixed seeds: the same
surfaces give the same figures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from workers.evaluate.geometry import Samples, sample
from workers.evaluate.mesh import Mesh
from workers.geometry.distance import inside

Array = NDArray[np.float64]
Bool = NDArray[np.bool_]
Surface = tuple[NDArray[np.floating], NDArray[np.integer]]

POINTS = 100_000  # in the box, and on each surface (Mescheder et al. 2019, section 4)
_TENTH = 0.1  # of the longest side: the unit of Chamfer-L1 (there, after Fan et al. 2017)
_EPSILON = 0.01  # of the longest side: how far apart points are neighbours (Chen et al. 2020, section 4)
_SHARP = 0.1  # |cos| of the angle between the normals of neighbours across an edge (ibid.)
_EDGE_POINTS = 4096  # compared at most (its released code)
_AT_ONCE = 1024  # points whose neighbours are in memory together


def compare_shapes(found: Surface, true: Surface, points: int = POINTS) -> dict[str, float | None]:
    """iou, chamfer_l1 and edge_chamfer of two closed surfaces, each as the function of that name has it.

    NumericError where one is not closed.
    """
    ours, truth = draw(found, points, 1), draw(true, points, 0)
    return {
        "iou": volume_iou(found, true, points),
        "chamfer_l1": chamfer_l1(ours.points, truth.points),
        "edge_chamfer": edge_chamfer(ours, truth),
    }


def draw(surface: Surface, count: int = POINTS, seed: int = 0) -> Samples:
    """`count` points drawn evenly over a surface, with the normals of its faces."""
    vertices, faces = (np.asarray(part) for part in surface)
    none, white = np.zeros((len(vertices), 3), np.float32), np.full((1, 1, 3), 255, np.uint8)
    bare = Mesh(vertices.astype(np.float32), faces.astype(np.int32), none, none[:, :2], white)
    return sample(bare, count, seed)


def iou(found: Bool, true: Bool) -> float:
    """Intersection over union of two solids, (P,) each whether the same points are inside; 1 for none in
    either.
    """
    either = int((found | true).sum())
    return int((found & true).sum()) / either if either else 1.0


def volume_iou(found: Surface, true: Surface, points: int = POINTS, seed: int = 0) -> float:
    """`iou` at points drawn uniformly in the box around both of two closed surfaces (Mescheder et al. 2019,
    "Occupancy networks", section 4: 100 000 of them, from the bounding volume).

    Its standard deviation is sqrt(iou (1 - iou) / n), n the points in the union. NumericError where a surface
    is not closed.
    """
    corners = np.concatenate([vertices[faces].reshape(-1, 3) for vertices, faces in (found, true)])
    places = np.random.default_rng(seed).uniform(corners.min(0), corners.max(0), (points, 3))
    return iou(inside(places, *found), inside(places, *true))


def chamfer_l1(found_points: Array, true_points: Array) -> float:
    """Mean of accuracy, how far found points (P,3) are from the nearest true one (Q,3) on average, and
    completeness, the reverse (Mescheder et al. 2019: Euclidean, not squared; 100 000 points each).

    In tenths of the longest side of the true points' box. Two draws from one surface are about half the
    distance between neighbouring points apart, not 0.
    """
    there, back = _nearest(found_points, true_points), _nearest(true_points, found_points)
    return float(there.mean() + back.mean()) / 2 / (_TENTH * _longest_side(true_points))


def edge_chamfer(found: Samples, true: Samples) -> float | None:
    """ECD (Chen et al. 2020, "BSP-Net", section 4): the mean squared distance of found edge points to the
    nearest true one plus the reverse, as its released code sums them; None where either has none.

    Of the first 4096 edge points of each. In squares of the longest side of the true points' box, not times
    1000. How many points the edge points are found among, and the None, are ours.
    """
    side = _longest_side(true.points)
    ours, truth = (edge_points(drawn, side)[:_EDGE_POINTS] for drawn in (found, true))
    if len(ours) == 0 or len(truth) == 0:
        return None
    return float((_nearest(ours, truth) ** 2).mean() + (_nearest(truth, ours) ** 2).mean()) / side**2


def edge_points(drawn: Samples, side: float) -> Array:
    """(E,3) points on edges, in their order: those with a neighbour, nearer than 0.01 `side`, whose normal is
    within 6 degrees of a right angle to theirs, |n.n'| < 0.1 (Chen et al. 2020).

    So an edge of 45 degrees is none, and a bar thinner than that is one all over.
    """
    along = np.argmax(np.ptp(drawn.points, axis=0))
    order = np.argsort(drawn.points[:, along], kind="stable")  # so that those at once are near each other
    points, normals = drawn.points[order], drawn.normals[order]
    everything, sharp = cKDTree(points), np.zeros(len(points), bool)
    for start in range(0, len(points), _AT_ONCE):
        part = cKDTree(points[start : start + _AT_ONCE])
        pairs = part.sparse_distance_matrix(everything, _EPSILON * side, output_type="ndarray")
        i, j = pairs["i"] + start, pairs["j"]
        sharp[i[np.abs(np.einsum("ij,ij->i", normals[i], normals[j])) < _SHARP]] = True
    return drawn.points[np.sort(order[sharp])]


def _longest_side(points: Array) -> float:
    return float(np.ptp(points, axis=0).max())


def _nearest(points: Array, others: Array) -> Array:
    """(P,) how far each of (P,3) is from the nearest of (Q,3)."""
    return np.asarray(cKDTree(others).query(points, workers=-1)[0])
