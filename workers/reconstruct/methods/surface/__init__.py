"""Method `surface`: visual hull, stereo within it, materials and light from the photos. Needs poses and
masks; no training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.reconstruct.checkpoints import Checkpoints
from workers.reconstruct.methods.appearance.painting import Effort, painted
from workers.reconstruct.methods.appearance.sketch import sketch
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
_ENOUGH = 20  # photos
_HOLLOW = 0.1  # share of the hull that is stretched over hollows
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
            more["sketch"] = lambda: views.given_back(draw())
        report(begin + (end - begin) * part, {"step": step, **more})

    views = views_of(usable(scene), work)
    done("box", 1)
    vertices, faces, cloud, lids = _shape(views, work, checkpoints, done)
    reach = 1.02 * float(np.linalg.norm(views.half))
    effort = Effort(work.texture, work.rounds)
    mesh = painted(views.colour, vertices, faces, reach, effort, settings, done)
    return replace(
        mesh,
        vertices=views.moved_back(mesh.vertices),
        cloud=_given(cloud, views),
        warnings=views.warnings() + _hollows(lids, len(scene.images), settings.profile),
    )


def _hollows(lids: float, photos: int, profile: str) -> list[str]:
    """In plain sentences. The outlines of few photos leave hollows everywhere, which says nothing."""
    if lids < _HOLLOW or photos < _ENOUGH or profile == "high":
        return []
    return [
        "Much of the object lies in hollows, which few photos look into: profile high may find more of it."
    ]


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
        return Found(saved["vertices"], saved["faces"], cloud, float(saved["lids"]))
    found = surface(
        views.shape,
        views.half,
        work,
        done,
        lambda step, mesh: done(step, 1, lambda: sketch(views.colour, *mesh())),
        checkpoints,
    )
    arrays = {name: getattr(found.cloud, name) for name in _CLOUD}
    arrays |= {"vertices": found.vertices, "faces": found.faces, "lids": np.array(found.lids)}
    checkpoints.save("surface", arrays)
    return found


def _given(cloud: Cloud, views: Views) -> Cloud:
    """The cloud in the frame the photos were given in, its cameras for photos as large as they came."""
    whole = views.colour.cameras
    cameras = cloud.cameras.scaled(whole.width, whole.height)
    return replace(cloud, cameras=cameras).transformed(views.back)
