"""The same model with fewer triangles, for phones and for the distance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from meshoptimizer import (
    optimize_vertex_cache,
    optimize_vertex_fetch_remap,
    simplify,
)

from workers.package.model import Model

TRIANGLES = (100_000, 30_000, 8_000)
_CLEARLY_MORE = 1.1  # times the triangles of a level that a model has, or the level is not worth a file


def levels(model: Model) -> dict[int, Model]:
    """By how many triangles they have at most: those of `TRIANGLES` that are fewer than the model has."""
    wanted = [number for number in TRIANGLES if len(model.faces) > _CLEARLY_MORE * number]
    return {number: simplified(model, number) for number in wanted}


def simplified(model: Model, triangles: int) -> Model:
    """With at most so many triangles, by collapsing edges onto one of their ends in the order of the quadric
    error (Garland and Heckbert 1997), along a seam of the texture where they lie on one: every vertex left
    keeps its place in the texture.
    """
    low = model.vertices.min(axis=0)
    positions = ((model.vertices - low) / np.ptp(model.vertices, axis=0).max()).astype(np.float32)
    found = np.zeros(model.faces.size, np.uint32)
    number = simplify(
        found,
        model.faces.astype(np.uint32).reshape(-1),
        positions,
        target_index_count=3 * triangles,
        target_error=1.0,
    )
    return without_fins(model.of_faces(found[:number].reshape(-1, 3).astype(np.int32)))


def without_fins(model: Model) -> Model:
    """Without pairs of faces that lie back to back on the same three points, which enclose nothing, and
    without faces that have lost a corner."""
    corners = np.sort(model.points[1], axis=1)
    _, which, count = np.unique(corners, axis=0, return_inverse=True, return_counts=True)
    broad = (corners[:, 0] != corners[:, 1]) & (corners[:, 1] != corners[:, 2])
    kept = broad & (count[which.reshape(-1)] == 1)
    return model if kept.all() else model.of_faces(model.faces[kept])


def ordered(model: Model) -> Model:
    """The same, its triangles in an order that graphics cards, and compression, do best with, and its
    vertices as the triangles need them."""
    indices = model.faces.astype(np.uint32).reshape(-1)
    faces = np.zeros_like(indices)
    optimize_vertex_cache(faces, indices, len(indices), len(model.vertices))
    place = np.zeros(len(model.vertices), np.uint32)
    optimize_vertex_fetch_remap(place, faces, len(faces), len(model.vertices))
    order = np.argsort(place)
    return replace(
        model,
        vertices=model.vertices[order],
        normals=model.normals[order],
        uv=model.uv[order],
        faces=place[faces].reshape(-1, 3).astype(np.int32),
    )
