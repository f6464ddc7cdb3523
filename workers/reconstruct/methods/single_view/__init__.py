"""Method `single-view`: a shape from one picture, by a network that has seen many parts and pictures of them
(after "Adaptive Points Sampling for Implicit Field Reconstruction of Industrial Digital Twin", Sensors 2022,
22, 6630).

What the picture does not show is generated, not measured. The shape has the picture's outline; its colours
are the picture's, on the far side those of its mirror image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.geometry.errors import NumericError
from workers.networks.weights import unusable
from workers.reconstruct.methods.appearance.painting import Effort, painted
from workers.reconstruct.methods.model import Report, Scene, Settings, Sketch, TexturedMesh
from workers.reconstruct.methods.single_view.extraction import filled, refined, seen, surface
from workers.reconstruct.methods.single_view.framing import framed, outside
from workers.reconstruct.methods.single_view.network import PIXELS, Network
from workers.reconstruct.methods.single_view.placing import Placed, placed
from workers.reconstruct.methods.single_view.weights import read_network, shipped
from workers.reconstruct.methods.surface.profiles import profile
from workers.reconstruct.methods.surface.shape import simplified

Float = NDArray[np.float32]

_CELLS = {"preview": 128, "standard": 256, "high": 256}
_SHARES = {"field": 6, "mesh": 4, "unwrap": 3, "bake": 6}  # how long each step takes beside the others


def reconstruct(scene: Scene, settings: Settings, report: Report) -> TexturedMesh:
    """The object in the scene's first photo, in the frame of its cameras. How far away it is cannot be seen:
    its middle is taken to be as deep as the frame's origin.

    Deterministic on the CPU. NumericError: "mask_empty", "weights_unusable".
    """
    work = profile(settings.profile)
    ends = np.cumsum(list(_SHARES.values())) / sum(_SHARES.values())
    spans = dict(zip(_SHARES, pairwise([0.0, *ends.tolist()]), strict=True))

    def done(step: str, part: float, draw: Callable[[], Sketch] | None = None, **more: Any) -> None:
        begin, end = spans[step]
        if draw is not None:
            more["sketch"] = lambda: at.given_back(draw())
        report(begin + (end - begin) * part, {"step": step, **more})

    network = shipped() if settings.network is None else _read(settings.network)
    vertices, faces, at = _shape(scene, network, _CELLS[settings.profile], work.triangles)
    done("field", 1)
    reach = 1.02 * float(np.linalg.norm(vertices, axis=1).max())
    mesh = painted(at.photos, vertices, faces, reach, Effort(work.texture, rounds=0), settings, done)
    return replace(
        mesh,
        vertices=at.moved_back(mesh.vertices),
        normals=at.turned_back(mesh.vertices, mesh.normals),
        warnings=_warnings(scene),
    )


def _read(path: Path) -> Network:
    try:
        return read_network(path)
    except ValueError as error:
        raise unusable(path, error) from None


def _shape(
    scene: Scene, network: Network, cells: int, triangles: int
) -> tuple[Float, NDArray[np.int32], Placed]:
    """The surface in the picture's frame, and where that is."""
    alpha = scene.masks[0].astype(np.uint8) * np.uint8(255)
    try:
        picture, framing = framed(np.dstack([scene.images[0], alpha]), PIXELS)
    except ValueError as error:
        name = scene.cameras.names[0]
        raise NumericError("mask_empty", f"the mask of {name}: {error}", file=name) from None
    beyond = outside(scene.masks[0], framing)
    field = filled(refined(seen(network, picture, beyond), cells).field, beyond)
    if not (field < 0).any():
        name = scene.cameras.names[0]
        raise NumericError("mask_empty", f"what is shown in {name} is too thin", file=name)
    return *simplified(*surface(field), triangles), placed(framing, scene)


def _warnings(scene: Scene) -> list[str]:
    found = [
        "The shape was generated from one photo, not measured: its depth, and all that the photo does not "
        "show, are a guess."
    ]
    if len(scene.images) > 1:
        found.append(f"Of {len(scene.images)} photos only the first was used, {scene.cameras.names[0]}.")
    return found
