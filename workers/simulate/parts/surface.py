"""A part as it is drawn: its normals, smooth but for sharp edges, and what of its surroundings it sees."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from workers.render.rasterizer import rasterize

Float = NDArray[np.float32]
Index = NDArray[np.int32]

SHARP = np.radians(32.0)
"""Edges that bend more are sharp."""
REACH = 0.8661
"""From the middle of a unit cube to its corners, at least."""


class Surface(NamedTuple):
    """points, normals: (N,3), a vertex as often as there are normals at it. faces: (F,3) of these."""

    points: Float
    normals: Float
    faces: Index


def surface(vertices: Float, faces: Index) -> Surface:
    """Of a closed mesh: around each vertex, faces are smooth together where no sharp edge parts them."""
    a, b, c = vertices[faces].transpose(1, 0, 2).astype(np.float64)
    across = np.cross(b - a, c - a)  # twice the area long
    flat = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-30)
    count, total = len(vertices), faces.size
    corner = np.arange(total).reshape(-1, 3)
    start, end = faces.ravel().astype(np.int64), np.roll(faces, -1, axis=1).ravel().astype(np.int64)
    forward, backward = np.argsort(start * count + end), np.argsort(end * count + start)
    twin = np.empty(total, np.int64)  # of each half-edge, numbered as the corner that it leaves
    twin[forward] = backward
    smooth = (flat[np.arange(total) // 3] * flat[twin // 3]).sum(1) > np.cos(SHARP)
    following = np.roll(corner, -1, axis=1).ravel()
    here = np.flatnonzero(smooth)
    rows = np.concatenate([here, following[here]])
    columns = np.concatenate([following[twin[here]], twin[here]])
    graph = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(total, total))
    groups, group = connected_components(graph, directed=False)
    weight = across.repeat(3, axis=0)
    summed = np.stack([np.bincount(group, weight[:, k], groups) for k in range(3)], axis=1)
    summed[~summed.any(axis=1)] = 0, 1, 0  # corners of triangles without area alone
    normals = summed / np.linalg.norm(summed, axis=1, keepdims=True)
    source = np.empty(groups, np.int64)
    source[group] = faces.ravel()
    return Surface(vertices[source], normals.astype(np.float32), group.reshape(-1, 3).astype(np.int32))


def turned(directions: NDArray[np.floating]) -> Float:
    """(D,3,3) rotations that take unit directions (D,3) to -z, towards the viewer of a rasterised image, and
    scale so that the part fits it.
    """
    d = np.asarray(directions, np.float64)
    other = np.eye(3)[np.abs(d).argmin(1)]
    x = np.cross(other, d)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return (np.stack([x, np.cross(d, x), -d], axis=1) / REACH).astype(np.float32)


def depths(drawn: Surface, turns: Float, side: int) -> Float:
    """(D,side,side) how near the surface comes, seen from afar along each of the `turned` directions; 2 where
    there is none.
    """
    clip = np.ones((len(turns), len(drawn.points), 4), np.float32)
    clip[..., :3] = drawn.points @ turns.transpose(0, 2, 1)
    rast = rasterize(clip, drawn.faces, (side, side))
    return np.where(rast[..., 3] > 0, rast[..., 2], np.float32(2))


def around(count: int) -> Float:
    """(count,3) unit directions, evenly spread over the sphere (a Fibonacci lattice)."""
    k = np.arange(count) + 0.5
    y, turn = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    r = np.sqrt(1 - y * y)
    return np.stack([r * np.cos(turn), y, r * np.sin(turn)], axis=1).astype(np.float32)
