"""Whether a mesh and its atlas are as a 3D engine wants them."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse.csgraph import connected_components

from workers.geometry.kernels import kernel
from workers.geometry.mesh import volume
from workers.package.model import Float, Index, Model

Labels = NDArray[np.int32]
_OUTSIDE = 1e-6  # of the atlas' side, by which rounding may carry a coordinate over its border


def hygiene(model: Model, scale: float | None) -> dict[str, Any]:
    """What is measured of the mesh, whose points count once, and of its atlas.

    watertight: each edge belongs to exactly two faces. consistent: which run through it in opposite
    directions. outwards: and the volume inside is positive. parts: pieces that hang together by their edges.
    holes: edges with one face only. volume: in litres, where `scale` (metres a unit) is known. overlap: part
    of the texels that more than one triangle covers. padding: texels from a chart to half way to the next.
    """
    points, faces = model.points
    along, across = (points[faces[:, k]] - points[faces[:, 0]] for k in (1, 2))
    area = np.linalg.norm(np.cross(along, across), axis=1)
    size = float(np.ptp(points, axis=0).max())
    unit = ((points - points.mean(axis=0)) / size).astype(np.float32)
    inside = volume(unit, faces) * size**3
    triangles, charts = charted(model)
    covered, twice = _covered(model.uv, model.faces, triangles, len(model.kd))
    edges = _Edges(faces)
    closed = edges.watertight and edges.consistent
    return {
        "triangles": len(faces),
        "vertices": len(model.vertices),
        "watertight": edges.watertight,
        "consistent": edges.consistent,
        "outwards": closed and inside > 0,
        "holes": edges.open,
        "parts": _parts(faces),
        "degenerate": int((area <= 1e-14 * size**2).sum()),
        "duplicate": len(faces) - len(np.unique(np.sort(faces, axis=1), axis=0)),
        "litres": round(1000 * inside * scale**3, 4) if closed and scale else None,
        "charts": charts,
        "uv_inside": bool((model.uv > -_OUTSIDE).all() and (model.uv < 1 + _OUTSIDE).all()),
        "uv_used": round(float((covered >= 0).mean()), 4),
        "uv_overlap": round(twice / max(1, int((covered >= 0).sum())), 6),
        "padding_texels": padding(covered),
    }


class _Edges:
    """How the faces (F,3) meet at their edges."""

    def __init__(self, faces: Index) -> None:
        ends = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2).astype(np.int64)
        low, high = ends.min(axis=1), ends.max(axis=1)
        _, edge, count = np.unique(
            low * (int(faces.max()) + 1) + high, return_inverse=True, return_counts=True
        )
        sum_of_signs = np.bincount(edge.reshape(-1), np.where(ends[:, 0] == low, 1, -1))
        self.watertight = bool((count == 2).all())
        self.consistent = bool((sum_of_signs[count == 2] == 0).all())
        self.open = int((count == 1).sum())


def charted(model: Model) -> tuple[Labels, int]:
    """(F,) which chart of the atlas each triangle lies in, and how many there are."""
    labels, count = _joined(model.faces, len(model.vertices))
    return labels[model.faces[:, 0]].astype(np.int32), count


def _parts(faces: Index) -> int:
    return _joined(faces, int(faces.max()) + 1)[1]


def _joined(faces: Index, count: int) -> tuple[NDArray[np.int32], int]:
    """(count,) label of the piece that each vertex is part of, and how many pieces have faces."""
    rows, columns = faces[:, [0, 1]].reshape(-1), faces[:, [1, 2]].reshape(-1)
    graph = sparse.coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), (count, count))
    _, labels = connected_components(graph, directed=False)
    return labels, len(np.unique(labels[faces[:, 0]]))


def _covered(uv: Float, faces: Index, charts: Labels, side: int) -> tuple[Labels, int]:
    """(side,side) the chart at each texel's centre or -1, top row first; and how many texels' centres lie
    inside more than one triangle."""
    corners = np.stack([uv[:, 0] * side, (1 - uv[:, 1]) * side], axis=1).astype(np.float64)
    found = np.full((side, side), -1, np.int32)
    return found, int(_cover(corners, faces, charts, found))


@kernel
def _cover(corners: NDArray[np.float64], faces: Index, charts: Labels, found: Labels) -> int:
    side, twice = len(found), 0
    for f in range(len(faces)):
        a, b, c = corners[faces[f, 0]], corners[faces[f, 1]], corners[faces[f, 2]]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area == 0:
            continue
        top, bottom = min(a[1], b[1], c[1]), max(a[1], b[1], c[1])
        left, right = min(a[0], b[0], c[0]), max(a[0], b[0], c[0])
        for row in range(max(int(top - 0.5), 0), min(int(bottom + 0.5), side - 1) + 1):
            for column in range(max(int(left - 0.5), 0), min(int(right + 0.5), side - 1) + 1):
                x, y = column + 0.5, row + 0.5
                p = ((b[0] - x) * (c[1] - y) - (b[1] - y) * (c[0] - x)) / area
                q = ((c[0] - x) * (a[1] - y) - (c[1] - y) * (a[0] - x)) / area
                if p > 1e-7 and q > 1e-7 and p + q < 1 - 1e-7:
                    twice += found[row, column] >= 0
                    found[row, column] = charts[f]
    return twice


def padding(covered: Labels) -> float:
    """Half the narrowest gap between two charts, in texels: so far a look-up may stray from one."""
    far, nearest = distance_transform_edt(covered < 0, return_indices=True)
    chart = covered[nearest[0], nearest[1]]
    gaps = [
        (far[first] + far[second])[chart[first] != chart[second]] + 1
        for first, second in (
            ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
            ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        )
    ]
    narrow = np.concatenate(gaps)
    return round(float(narrow.min()) / 2, 2) if len(narrow) else float(len(covered))
