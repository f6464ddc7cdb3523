"""What every reconstruction method takes and gives: `reconstruct(scene, settings, report) ->
TexturedMesh`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.reconstruct.checkpoints import Checkpoints

# report(fraction, info): called after a piece of work; fraction is of the whole, info["step"] its name.
# info["losses"] may say how well it goes, {name: value}, and info["sketch"] how it looks: it draws a `Sketch`
# when called, which is at once or not at all.
Report = Callable[[float, dict[str, Any]], None]


@dataclass(frozen=True)
class Scene:
    """N photos of one object.

    images: (N,h,w,3) uint8 sRGB, top row first. masks: (N,h,w) bool, true on the object.
    cameras: N cameras with images of that size, in the frame the mesh is wanted in.
    frames: (N,4) left, top, right, bottom in pixels of the part of each image that is photo; beyond it is
    padding. support: (4,) the plane that the object stands on, where it is known: support @ (x, 1) is the
    height of a point x over it.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    cameras: Cameras
    frames: NDArray[np.int64]
    support: NDArray[np.float64] | None = None

    def select(self, indices: NDArray[Any]) -> Scene:
        """The scene with only the photos at `indices`."""
        return replace(
            self,
            images=self.images[indices],
            masks=self.masks[indices],
            cameras=self.cameras.select(indices),
            frames=self.frames[indices],
        )

    def transformed(self, similarity: NDArray[np.float64]) -> Scene:
        """The scene in the frame that `similarity` (4,4) leads to."""
        support = None
        if self.support is not None:
            support = self.support @ np.linalg.inv(similarity)
            support = support / np.linalg.norm(support[:3])
        return replace(self, cameras=self.cameras.transformed(similarity), support=support)


@dataclass(frozen=True)
class Settings:
    """profile: preview, standard or high. seed: of whatever a method draws at random. checkpoints: of steps
    that take long. network: a file to read in the place of the network that a method ships with, if it has
    one.
    """

    profile: str = "standard"
    seed: int = 0
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    network: Path | None = None

    @property
    def judged(self) -> int:
        """Pixels of a photo's longer side that the model is judged by, at most."""
        return 256 if self.profile == "preview" else 1 << 20


@dataclass(frozen=True)
class Sketch:
    """A surface on its way: vertices (V,3) float32, faces (F,3) int32, in the frame of the scene's cameras;
    colours (V,3) uint8 sRGB.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    colours: NDArray[np.uint8]


@dataclass(frozen=True)
class Cloud:
    """Points that the photos themselves show, without a mesh.

    points (P,3) float32; normals (P,3) float32, unit, outwards; colours (P,3) uint8 sRGB. sightings: (T,2)
    int32, a point and a view that sees it, in that order. cameras: of the views, in the points' frame, where
    the method has found them to be.
    """

    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    colours: NDArray[np.uint8]
    sightings: NDArray[np.int32]
    cameras: Cameras

    def transformed(self, similarity: NDArray[np.floating]) -> Cloud:
        """The cloud in the frame that `similarity` (4,4) leads to."""
        matrix = similarity.astype(np.float64)
        linear, scale = matrix[:3, :3], np.cbrt(np.linalg.det(matrix[:3, :3]))
        # einsum: BLAS rounds by how many threads it has.
        points = np.einsum("ij,nj->ni", linear, self.points) + matrix[:3, 3]
        return replace(
            self,
            points=points.astype(np.float32),
            normals=np.einsum("ij,nj->ni", linear / scale, self.normals).astype(np.float32),
            cameras=self.cameras.transformed(matrix),
        )


@dataclass(frozen=True)
class TexturedMesh:
    """A closed surface with its materials.

    vertices (V,3) float32; faces (F,3) int32, counter-clockwise from outside; normals (V,3) unit float32.
    uv: (V,2) float32 in [0,1], v up. Vertices on texture seams are repeated.
    kd: (T,T,3) uint8 sRGB base colour. ks: (T,T,3) uint8 linear: occlusion, roughness, metalness.
    normal_map: (T,T,3) uint8 tangent space, +y up, 128 is 0. Textures are stored top row first.
    light: (6,R,R,3) linear radiance around it, in the mesh's frame (see `workers.render.environment`), where
    the method finds it. cloud: in the mesh's frame, where the method has one. losses: of some of its rounds,
    as {"round": n, name: value}. warnings: plain sentences on what the method found wrong with the capture.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    normals: NDArray[np.float32]
    uv: NDArray[np.float32]
    kd: NDArray[np.uint8]
    ks: NDArray[np.uint8]
    normal_map: NDArray[np.uint8]
    light: NDArray[np.float32] | None = None
    cloud: Cloud | None = None
    losses: list[dict[str, float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
