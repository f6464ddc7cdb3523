"""The textured mesh that is packaged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from workers.geometry.images import read_rgb

Array = NDArray[np.float64]
Float = NDArray[np.float32]
Index = NDArray[np.int32]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Model:
    """vertices (V,3) float64 and unit normals (V,3); uv (V,2) with v up; faces (F,3), counter-clockwise seen
    from outside. A point on a texture's seam is several vertices. kd: (T,T,3) sRGB; ks: (T,T,3) occlusion,
    roughness, metalness; normal_map: (T,T,3) tangent space, +y up; top row first.
    """

    vertices: Array
    normals: Float
    uv: Float
    faces: Index
    kd: Image
    ks: Image
    normal_map: Image

    @property
    def single(self) -> Single:
        """For renderers, in float32: exact enough in a frame about the model, and of its size."""
        vertices = self.vertices.astype(np.float32)
        return Single(vertices, self.normals, self.uv, self.faces, self.kd, self.ks, self.normal_map)

    @property
    def points(self) -> tuple[Array, Index]:
        """Positions (P,3), each once, and the corners of the faces (F,3) among them."""
        positions, place = np.unique(self.vertices, axis=0, return_inverse=True)
        return positions, place.reshape(-1)[self.faces].astype(np.int32)

    def of_faces(self, faces: Index) -> Model:
        """With these faces of its vertices, and without the vertices that none of them has, which keep their
        order."""
        used, place = np.unique(faces, return_inverse=True)
        return replace(
            self,
            vertices=self.vertices[used],
            normals=self.normals[used],
            uv=self.uv[used],
            faces=place.reshape(-1, 3).astype(np.int32),
        )

    def placed(self, matrix: Array) -> Model:
        """In the frame that the similarity (4,4) takes its own to."""
        turn = matrix[:3, :3] / np.cbrt(np.linalg.det(matrix[:3, :3]))
        return replace(
            self,
            vertices=self.vertices @ matrix[:3, :3].T + matrix[:3, 3],
            normals=(self.normals @ turn.T).astype(np.float32),
        )


@dataclass(frozen=True)
class Single:
    """A `Model` whose vertices are float32."""

    vertices: Float
    normals: Float
    uv: Float
    faces: Index
    kd: Image
    ks: Image
    normal_map: Image


def read_model(folder: Path) -> Model:
    """mesh.obj and its three textures, in the capture's world."""
    mesh: Any = trimesh.load(folder / "mesh.obj", process=False, force="mesh", skip_materials=True)
    return Model(
        np.asarray(mesh.vertices, np.float64),
        np.asarray(mesh.vertex_normals, np.float32),
        np.asarray(mesh.visual.uv, np.float32),
        np.asarray(mesh.faces, np.int32),
        *(read_rgb(folder / f"texture_{name}.png") for name in ("kd", "ks", "n")),
    )
