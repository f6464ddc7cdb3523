"""From a surface to a textured mesh: charts, materials and light from the photos, textures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from workers.geometry.mesh import vertex_normals
from workers.reconstruct.checkpoints import Checkpoints
from workers.reconstruct.methods.appearance.atlas import Atlas, laid_out, texture_size, unwrapping
from workers.reconstruct.methods.appearance.bake import Photos, prepare
from workers.reconstruct.methods.appearance.fit import Appearance, fit
from workers.reconstruct.methods.appearance.observations import gather
from workers.reconstruct.methods.appearance.occlusion import visible_directions
from workers.reconstruct.methods.appearance.sketch import Draft, draft, sketch
from workers.reconstruct.methods.appearance.texture import photographed, physical
from workers.reconstruct.methods.model import Scene, Settings, Sketch, TexturedMesh

Float = NDArray[np.float32]
Index = NDArray[np.int32]


class Done(Protocol):
    """Called with a step's name and the part of it now done; `draw` makes what shows the result so far."""

    def __call__(
        self, step: str, part: float, draw: Callable[[], Sketch] | None = None, **more: object
    ) -> None: ...


class Effort(NamedTuple):
    """texture: pixels of its sides, at most. rounds: of fitting materials and light; 0 takes the photos'
    colours as they are.
    """

    texture: int
    rounds: int


def painted(
    colour: Scene, vertices: Float, faces: Index, reach: float, effort: Effort, settings: Settings, done: Done
) -> TexturedMesh:
    """The closed surface (V,3), (F,3) with what the photos show of it, in the photos' frame.

    reach: beyond which nothing of the surface is, from anywhere on it (see `visible_directions`). Reports
    the steps "mesh", "materials", "unwrap" and "bake"; saves "atlas" and "appearance".
    """
    normals = vertex_normals(vertices, faces)
    size = texture_size(vertices, faces, float(np.median(colour.cameras.magnification)), effort.texture)
    with _unwrapped(vertices, faces, size, settings.checkpoints) as unwrapped:
        done("mesh", 1, lambda: sketch(colour, vertices, faces))
        photos = prepare(colour, vertices, faces)
        matter = _matter(vertices, faces, normals, photos, reach, effort.rounds, settings, done)
        atlas = unwrapped()
    done("unwrap", 1)
    if matter is None:
        textures = photographed(vertices, faces, normals, atlas, photos, lambda part: done("bake", part))
    else:
        textures = physical(
            vertices,
            faces,
            normals,
            matter.visible,
            matter.found,
            matter.known,
            atlas,
            photos,
            lambda part: done("bake", part, lambda: matter.draft().painted(matter.found.kd)),
        )
    return TexturedMesh(
        vertices=vertices[atlas.source],
        faces=atlas.faces,
        normals=normals[atlas.source],
        uv=atlas.uv,
        kd=textures.kd,
        ks=textures.ks,
        normal_map=textures.normal_map,
        light=matter and matter.found.light,
        losses=matter.found.history() if matter else [],
    )


def _unwrapped(
    vertices: Float, faces: Index, size: int, checkpoints: Checkpoints
) -> AbstractContextManager[Callable[[], Atlas]]:
    """What `unwrapping` gives, from the charts that were saved where there are any."""
    saved = checkpoints.load("atlas")
    if saved is not None:
        return nullcontext(lambda: laid_out(**saved, size=size))
    return unwrapping(vertices, faces, size, lambda charts: checkpoints.save("atlas", charts))


class _Matter(NamedTuple):
    """What the surface is made of, found at its V vertices; visible, known: see `physical`; draft: makes what
    shows it.
    """

    visible: NDArray[np.uint8]
    known: NDArray[np.bool_]
    found: Appearance
    draft: Callable[[], Draft]


def _matter(
    vertices: Float,
    faces: Index,
    normals: Float,
    photos: Photos,
    reach: float,
    rounds: int,
    settings: Settings,
    done: Done,
) -> _Matter | None:
    """Materials and light, None for no rounds."""
    if not rounds:
        return None
    seen = gather(vertices, normals, photos)
    known = seen.enough()
    visible = visible_directions(vertices, faces, normals, reach)
    simple = cache(lambda: draft(vertices, faces, known))
    saved = settings.checkpoints.load("appearance")
    if saved is not None:
        return _Matter(visible, known, Appearance(**saved), simple)
    found = fit(
        faces,
        normals,
        visible,
        seen,
        len(photos.images),
        rounds,
        settings.seed,
        lambda part, losses, colours: done(
            "materials", part, lambda: simple().painted(colours()), losses=losses
        ),
        settings.checkpoints,
    )
    settings.checkpoints.save("appearance", found.arrays())
    return _Matter(visible, known, found, simple)
