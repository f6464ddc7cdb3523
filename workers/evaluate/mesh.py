"""A model with its one material, read from a file."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from workers.evaluate.errors import CannotEvaluate
from workers.evaluate.material import WHITE, Image, from_gltf, from_obj, unrolled
from workers.geometry.colour import encode_srgb

Float = NDArray[np.float32]
Array = NDArray[np.float64]

_RESULTS = ("mesh.obj", "model.glb")  # of `phototwin run`, the one in the capture's own world first


@dataclass(frozen=True)
class Mesh:
    """One surface of one material.

    vertices (V,3) float32; faces (F,3) int32; normals (V,3) unit float32; uv (V,2) float32 in [0,1], v up.
    kd: (h,w,3) uint8 sRGB base colour. ks: (h,w,3) uint8 linear: occlusion, roughness, metalness; None where
    the file does not say. normal_map: (h,w,3) uint8 tangent space, +y up, 128 is 0; None for a flat one.
    colours: (V,3) uint8 sRGB base colour in place of kd, or None. Textures are stored top row first and may
    differ in size.
    """

    vertices: Float
    faces: NDArray[np.int32]
    normals: Float
    uv: Float
    kd: Image
    ks: Image | None = None
    normal_map: Image | None = None
    colours: Image | None = None


def load_mesh(path: Path) -> Mesh:
    """The model in `path`: an OBJ with its MTL, a GLB, a PLY, or the folder that `phototwin run` left.

    In the file's own frame, except for our own GLB, whose turn to y up and metres is undone: any of a run's
    results comes out in the capture's world. CannotEvaluate where there is no file, no surface in it, or
    several materials.
    """
    path = _file(path)
    try:
        options: dict[str, Any] = {"skip_materials": True} if path.suffix.lower() == ".obj" else {}
        scene: Any = trimesh.load_scene(path, process=False, **options)
        parts = [(*scene.graph[node],) for node in scene.graph.nodes_geometry]
        meshes = [(np.asarray(matrix), scene.geometry[name]) for matrix, name in parts]
        back = np.linalg.inv(_turned(path)) if path.suffix.lower() == ".glb" else np.eye(4)
    except Exception as error:  # trimesh raises whatever its parsers stumble over
        raise CannotEvaluate(f"{path.name} cannot be read as a model ({error})") from error
    meshes = [(back @ matrix, mesh) for matrix, mesh in meshes if len(getattr(mesh, "faces", ()))]
    if not meshes or not all(np.isfinite(mesh.vertices).all() for _, mesh in meshes):
        raise CannotEvaluate(f"{path.name} has no usable surface")
    vertices = np.concatenate([mesh.vertices @ matrix[:3, :3].T + matrix[:3, 3] for matrix, mesh in meshes])
    normals = np.concatenate([mesh.vertex_normals @ np.linalg.inv(matrix[:3, :3]) for matrix, mesh in meshes])
    first = np.cumsum([0, *(len(mesh.vertices) for _, mesh in meshes)])
    faces = np.concatenate([mesh.faces + start for start, (_, mesh) in zip(first, meshes, strict=False)])
    visuals = [mesh.visual for _, mesh in meshes]
    material, uv = unrolled(_material(path, visuals), _texture_coordinates(meshes), path.name)
    return Mesh(
        vertices.astype(np.float32),
        faces.astype(np.int32),
        (normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)).astype(np.float32),
        uv.astype(np.float32),
        material.kd,
        material.ks,
        material.normal_map,
        _colours(path, visuals),
    )


def _file(path: Path) -> Path:
    if path.is_dir():
        inside = [path / name for name in _RESULTS if (path / name).is_file()]
        if not inside:
            raise CannotEvaluate(f"{path} holds neither {' nor '.join(_RESULTS)}")
        return inside[0]
    if not path.is_file():
        raise CannotEvaluate(f"there is no model {path}")
    if path.suffix.lower() not in (".obj", ".glb", ".ply"):
        raise CannotEvaluate(f"{path.name} is not an OBJ, GLB or PLY file")
    return path


def _turned(path: Path) -> Array:
    """(4,4) what a GLB of ours turns the capture's world by: its root node; identity for anybody else's."""
    with path.open("rb") as file:
        _, _, _, length, _ = struct.unpack("<5I", file.read(20))
        document = json.loads(file.read(length))
    if document["asset"].get("generator") != "phototwin":
        return np.eye(4)
    root = document["nodes"][document["scenes"][0]["nodes"][0]]
    return np.array(root.get("matrix", np.eye(4).ravel()), np.float64).reshape(4, 4).T


def _material(path: Path, visuals: Sequence[Any]) -> Any:
    if path.suffix.lower() == ".obj":
        return from_obj(path)
    given = {hash(v.material): v.material for v in visuals if getattr(v, "material", None) is not None}
    if len(given) > 1:
        raise CannotEvaluate(f"{path.name} has {len(given)} materials; one can be evaluated")
    return from_gltf(next(iter(given.values()))) if given and path.suffix.lower() == ".glb" else WHITE


def _texture_coordinates(meshes: Sequence[tuple[Array, Any]]) -> Array:
    """(V,2) of all parts; 0 where a part has none."""
    found = [getattr(mesh.visual, "uv", None) for _, mesh in meshes]
    return np.concatenate(
        [
            np.zeros((len(mesh.vertices), 2)) if uv is None else uv
            for uv, (_, mesh) in zip(found, meshes, strict=True)
        ]
    )


def _colours(path: Path, visuals: Sequence[Any]) -> Image | None:
    """(V,3) where all parts have colours at their vertices; glTF's are linear."""
    if any(visual.kind != "vertex" for visual in visuals):
        return None
    colours = np.concatenate([np.asarray(visual.vertex_colors, np.uint8)[:, :3] for visual in visuals])
    if path.suffix.lower() == ".glb":
        return np.round(255 * encode_srgb(colours.astype(np.float32) / np.float32(255))).astype(np.uint8)
    return colours
