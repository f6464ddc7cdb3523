"""Method `surface`: visual hull, stereo within it, materials and light from the photos. Needs poses and
masks; no training.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

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
from workers.reconstruct.methods.model import Cloud, Report, Scene, Settings, Sketch, TexturedMesh
from workers.reconstruct.methods.surface.profiles import Profile, profile
from workers.reconstruct.methods.surface.shape import Found, surface
from workers.reconstruct.methods.surface.silhouettes import usable
from workers.reconstruct.methods.surface.views import Views, views_of

Float = NDArray[np.float32]
Index = NDArray[np.int32]

# How long each step takes beside the others.
_SHARES = {
    "box": 4.5,
    "hull": 2.5,
    "rough": 3.5,
    "sweep": 4.5,
    "refine": 7.0,
    "mesh": 5.0,
    "materials": 10.0,
    "unwrap": 0.5,
    "bake": 6.0,
}
# By what is saved: the steps it spares whoever goes on from there.
_SPARED = {
    "rough": {"rough"},
    "field": {"rough", "sweep"},
    "surface": {"hull", "rough", "sweep", "refine", "mesh"},
    "atlas": {"unwrap"},
    "appearance": {"materials"},
}
_CLOUD = ("points", "normals", "colours", "sightings")  # what is saved of it


def reconstruct(scene: Scene, settings: Settings, report: Report) -> TexturedMesh:
    """The object's surface, its materials and the light around it, in the frame of the scene's cameras.

    Deterministic for a seed, which decides in which order points are looked at.
    NumericError: "mask_empty", "masks_inconsistent".
    """
    work, checkpoints = profile(settings.profile), settings.checkpoints
    spans = _spans(work, checkpoints)

    def done(step: str, part: float, draw: Callable[[], Sketch] | None = None, **more: Any) -> None:
        begin, end = spans[step]
        if draw is not None:
            more["sketch"] = lambda: _back(draw())
        report(begin + (end - begin) * part, {"step": step, **more})

    def _back(drawn: Sketch) -> Sketch:
        return replace(drawn, vertices=_moved(drawn.vertices, views.back))

    views = views_of(usable(scene), work)
    done("box", 1)
    vertices, faces, cloud = _shape(views, work, checkpoints, done)
    normals = vertex_normals(vertices, faces)
    size = _texels(views.colour, vertices, faces, work.texture)
    with _unwrapped(vertices, faces, size, checkpoints) as unwrapped:
        done("mesh", 1, lambda: sketch(views.colour, vertices, faces))
        photos = prepare(views.colour, vertices, faces)
        reach = 1.02 * float(np.linalg.norm(views.half))
        matter = _matter(vertices, faces, normals, photos, reach, work, settings, done)
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
        vertices=_moved(vertices, views.back)[atlas.source],
        faces=atlas.faces,
        normals=normals[atlas.source],
        uv=atlas.uv,
        kd=textures.kd,
        ks=textures.ks,
        normal_map=textures.normal_map,
        light=matter and matter.found.light,
        cloud=_given(cloud, views),
        losses=matter.found.history() if matter else [],
        warnings=_warnings(views.stayed),
    )


def _spans(work: Profile, checkpoints: Checkpoints) -> dict[str, tuple[float, float]]:
    """Where in the whole each step begins and ends. What is spared takes no time, so that the time left can
    be told by the time it took so far.
    """
    spared = set() if work.rounds else {"materials"}
    spared.update(*(steps for saved, steps in _SPARED.items() if checkpoints.has(saved)))
    ends = np.cumsum([0 if step in spared else share for step, share in _SHARES.items()])
    return dict(zip(_SHARES, pairwise([0.0, *(ends / ends[-1]).tolist()]), strict=True))


def _shape(views: Views, work: Profile, checkpoints: Checkpoints, done: Callable[..., None]) -> Found:
    """The surface and its cloud, in the unit frame."""
    saved = checkpoints.load("surface")
    if saved is not None:
        cloud = Cloud(**{name: saved[name] for name in _CLOUD}, cameras=views.shape.cameras)
        return Found(saved["vertices"], saved["faces"], cloud)
    found = surface(
        views.shape,
        views.half,
        work,
        done,
        lambda step, mesh: done(step, 1, lambda: sketch(views.colour, *mesh())),
        checkpoints,
    )
    arrays = {name: getattr(found.cloud, name) for name in _CLOUD}
    checkpoints.save("surface", {"vertices": found.vertices, "faces": found.faces, **arrays})
    return found


def _given(cloud: Cloud, views: Views) -> Cloud:
    """The cloud in the frame the photos were given in, its cameras for photos as large as they came."""
    whole = views.colour.cameras
    cameras = cloud.cameras.scaled(whole.width, whole.height)
    return replace(cloud, cameras=cameras).transformed(views.back)


def _texels(scene: Scene, vertices: Float, faces: Index, largest: int) -> int:
    """Of the texture's sides: as fine as the photos show the surface."""
    return texture_size(vertices, faces, float(np.median(scene.cameras.magnification)), largest)


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
    work: Profile,
    settings: Settings,
    done: Callable[..., None],
) -> _Matter | None:
    """Materials and light, None where the profile asks for none. reach: see `visible_directions`."""
    if not work.rounds:
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
        work.rounds,
        settings.seed,
        lambda part, losses, colours: done(
            "materials", part, lambda: simple().painted(colours()), losses=losses
        ),
        settings.checkpoints,
    )
    settings.checkpoints.save("appearance", found.arrays())
    return _Matter(visible, known, found, simple)


def _warnings(stayed: tuple[str, ...]) -> list[str]:
    if not stayed:
        return []
    return [f"The camera positions of these photos do not fit the others: {', '.join(stayed)}."]


def _moved(vertices: Float, similarity: NDArray[np.floating]) -> Float:
    moved: Float = (vertices @ similarity[:3, :3].T + similarity[:3, 3]).astype(np.float32)
    return moved
