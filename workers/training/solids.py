"""Files of meshes as closed solids, to be drawn and measured as generated parts are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from workers.geometry.colour import encode_srgb
from workers.geometry.mesh import compacted, volume
from workers.simulate.parts.materials import Material
from workers.simulate.parts.part import Part
from workers.simulate.parts.picture import pictures
from workers.training.examples import Example
from workers.training.reading import BadShape
from workers.training.shapes import RENDERED, Kept, example

SUFFIXES = (".obj", ".ply", ".stl", ".glb", ".off")
GREY = Material((0.6, 0.6, 0.6), 0.6, 0.0)
"""What a file without colours is made of."""

_SAME = 1e-6  # of the longest side: vertices nearer than that are one
_LEAST = 1e-5  # of the cube on the longest side: what encloses less is no solid
_MOST = 500_000  # triangles
_SHADES = 16  # of red, of green and of blue that are told apart

Float = NDArray[np.float32]
Index = NDArray[np.int32]


def from_mesh(path: Path, kept: Kept, rng: np.random.Generator) -> Example:
    """The `solid` in a file, drawn as generated parts are. BadShape."""
    made = solid(path)
    shown = pictures(made, kept.pictures, int(rng.integers(1 << 32)), RENDERED)
    rotations = [each.rotation for each in shown]
    return example(made.vertices, made.faces, [each.rgba for each in shown], rotations, kept, rng)


def solid(path: Path) -> Part:
    """The mesh in a file, of whatever it has several; y is up.

    Vertices of one place are made one. Faces that do not agree on where outside is are turned. Where the file
    has colours, each face is a matt paint of its colour; else all is `GREY`. BadShape where it cannot be
    read, has no faces or too many, is not closed, or encloses nothing.
    """
    try:
        scene: Any = trimesh.load_scene(path, process=False)
        placed = [(np.asarray(matrix), scene.geometry[name]) for matrix, name in
                  (scene.graph[node] for node in scene.graph.nodes_geometry)]  # fmt: skip
        placed = [(matrix, mesh) for matrix, mesh in placed if len(getattr(mesh, "faces", ()))]
    except Exception as error:  # trimesh raises whatever its parsers stumble over
        raise BadShape(f"it cannot be read as a mesh ({error})") from error
    if not placed:
        raise BadShape("it has no faces")
    vertices = np.concatenate([mesh.vertices @ matrix[:3, :3].T + matrix[:3, 3] for matrix, mesh in placed])
    first = np.cumsum([0, *(len(mesh.vertices) for _, mesh in placed)])
    faces = np.concatenate([mesh.faces + start for start, (_, mesh) in zip(first, placed, strict=False)])
    if len(faces) > _MOST:
        raise BadShape(f"it has {len(faces)} triangles; {_MOST} are the most that are drawn")
    colours = np.concatenate([_colours(mesh, path.suffix.lower() == ".glb") for _, mesh in placed])
    vertices, faces, colours = _merged(normalised(vertices), faces, colours)
    vertices, faces = closed(vertices, faces)
    materials, palette = _painted(colours)
    return Part("file", vertices, faces, materials, palette)


def normalised(vertices: NDArray[np.floating]) -> NDArray[np.float64]:
    """The vertices (V,3) of a surface, the middle of their box at 0 and its longest side 1. BadShape where
    they are not finite or all the same.
    """
    low, high = vertices.min(0).astype(np.float64), vertices.max(0).astype(np.float64)
    size = float((high - low).max())
    if not np.isfinite(size) or size <= 0:
        raise BadShape("its vertices are not finite, or all in one place")
    found: NDArray[np.float64] = (vertices - (low + high) / 2) / size
    return found


def closed(vertices: NDArray[np.floating], faces: Index) -> tuple[Float, Index]:
    """The same surface (V,3), (F,3), in the same order, its faces counter-clockwise from outside. BadShape
    where it is not closed, or encloses nothing.
    """
    if not _balanced(faces):
        mesh: Any = trimesh.Trimesh(vertices, faces, process=False)
        if mesh.is_watertight:
            trimesh.repair.fix_normals(mesh, multibody=True)  # type: ignore[no-untyped-call]
            faces = np.asarray(mesh.faces).astype(np.int32)
        if not _balanced(faces):
            raise BadShape("its surface is not closed")
    exact = vertices.astype(np.float32)
    enclosed = volume(exact, faces)
    if abs(enclosed) < _LEAST:
        raise BadShape("its surface encloses nothing")
    return exact, np.ascontiguousarray(faces if enclosed > 0 else faces[:, ::-1])


def _balanced(faces: Index) -> bool:
    """Whether each directed edge occurs as often as its opposite."""
    start, end = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2).astype(np.int64).T
    count = int(faces.max()) + 1
    return np.array_equal(np.sort(start * count + end), np.sort(end * count + start))


def _merged(
    vertices: NDArray[np.float64], faces: NDArray[np.integer], colours: NDArray[np.uint8]
) -> tuple[Float, Index, NDArray[np.uint8]]:
    """Vertices of one place made one, and faces that are nothing then left out."""
    _, kept, place = np.unique(
        np.round(vertices / _SAME).astype(np.int64), axis=0, return_index=True, return_inverse=True
    )
    merged = place.reshape(-1)[faces].astype(np.int32)
    a, b, c = merged.T
    whole = (a != b) & (b != c) & (c != a)
    if not whole.any():
        raise BadShape("all of its faces are degenerate")
    return *compacted(vertices[kept].astype(np.float32), merged), colours[whole]


def _colours(mesh: Any, linear: bool) -> NDArray[np.uint8]:
    """(F,3) sRGB of each face; `GREY` where there is none."""
    visual, faces = mesh.visual, np.asarray(mesh.faces)
    grey = np.round(255 * np.array(GREY.colour))
    try:
        if visual.kind is None:
            found = grey
        elif visual.kind == "texture":
            image = getattr(visual.material, "baseColorTexture", getattr(visual.material, "image", None))
            if image is not None and visual.uv is not None:
                found, linear = np.asarray(visual.to_color().vertex_colors)[faces].mean(1)[:, :3], False
            else:
                found = np.asarray(visual.material.main_color)[:3]
        else:
            found = np.asarray(visual.face_colors)[:, :3]
    except Exception:  # trimesh raises whatever it stumbles over; the shape is what is learned
        found = grey
    if linear and found is not grey:  # glTF's factors and vertex colours
        found = 255 * encode_srgb((np.asarray(found) / 255).astype(np.float32))
    return np.broadcast_to(np.round(found), (len(faces), 3)).astype(np.uint8)


def _painted(colours: NDArray[np.uint8]) -> tuple[Index, tuple[Material, ...]]:
    """(F,) which of some matt paints each face is of, and these."""
    step = 256 // _SHADES
    _, index = np.unique(colours // step, axis=0, return_inverse=True)
    index = index.reshape(-1)
    share = np.bincount(index) * 255
    means = np.stack([np.bincount(index, colours[:, k]) / share for k in range(3)], axis=1)
    paints = tuple(GREY._replace(colour=(float(r), float(g), float(b))) for r, g, b in means)
    return index.astype(np.int32), paints
