"""Method `neus`: a signed distance and the light that leaves it, learned by volume rendering (Wang et al.
2021, "NeuS"; Miller et al. 2024, "Objects as volumes"; as VISOR does, from rays where the photos are not met
yet, with a hash grid), then materials as `surface` finds them.

Deviations: the distance begins as that of the hull with its hollows dug out, and what is learned is added to
it; how sharp the surface is follows a schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates

from workers.reconstruct.memory import check_memory
from workers.reconstruct.methods.appearance.painting import painted
from workers.reconstruct.methods.appearance.sketch import sketch
from workers.reconstruct.methods.model import Report, Scene, Settings, Sketch, TexturedMesh
from workers.reconstruct.methods.neus.extraction import extracted
from workers.reconstruct.methods.neus.field import Field
from workers.reconstruct.methods.neus.learning import learn
from workers.reconstruct.methods.neus.pixels import Pixels
from workers.reconstruct.methods.neus.profiles import Profile, profile
from workers.reconstruct.methods.neus.sampling import Space
from workers.reconstruct.methods.surface import profiles as carving
from workers.reconstruct.methods.surface.refinement import refined
from workers.reconstruct.methods.surface.shape import dug_hull, simplified
from workers.reconstruct.methods.surface.silhouettes import cut_to_object, usable
from workers.reconstruct.methods.surface.views import Views, views_of

Float = NDArray[np.float32]

SIDE = 1.12
"""Of the field's cube; the object's longest side is 1."""
_BASE = 96  # samples on a side of what the distance begins with
_SKETCHED = 96  # voxels on the longest side of a preview
_MEMORY = 0.8e9  # bytes: PyTorch, and what it keeps for the gradients
# How long each step takes beside the others.
_SHARES = {"box": 4, "hull": 10, "field": 120, "mesh": 6, "materials": 10, "unwrap": 1, "bake": 6}


def reconstruct(scene: Scene, settings: Settings, report: Report) -> TexturedMesh:
    """The object's surface, its materials and the light around it, in the frame of the scene's cameras.

    Deterministic for a seed on the CPU. NumericError: "mask_empty", "masks_inconsistent", "too_much_memory".
    """
    check_memory(scene.masks.size, settings.profile, _MEMORY)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    work = profile(settings.profile, device.type)
    ends = np.cumsum(list(_SHARES.values())) / sum(_SHARES.values())
    spans = dict(zip(_SHARES, pairwise([0.0, *ends.tolist()]), strict=True))
    rounds: list[dict[str, float]] = []

    def done(step: str, part: float, draw: Callable[[], Sketch] | None = None, **more: Any) -> None:
        begin, end = spans[step]
        if draw is not None:
            more["sketch"] = lambda: views.given_back(draw())
        report(begin + (end - begin) * part, {"step": step, **more})

    views = views_of(usable(scene), carving.profile(work.views))
    done("box", 1)
    vertices, faces = _shape(views, work, settings, device, rounds, done)
    reach = 1.02 * float(np.linalg.norm(views.half))
    mesh = painted(views.colour, vertices, faces, reach, work.effort, settings, done)
    return replace(mesh, vertices=views.moved_back(mesh.vertices), losses=rounds, warnings=views.warnings())


def _shape(
    views: Views,
    work: Profile,
    settings: Settings,
    device: torch.device,
    rounds: list[dict[str, float]],
    done: Callable[..., None],
) -> tuple[Float, NDArray[np.int32]]:
    """The surface, in the unit frame."""
    saved = settings.checkpoints.load("surface")
    if saved is not None:
        return saved["vertices"], saved["faces"]
    base = torch.from_numpy(begun(views.shape, views.half, carving.profile(work.views))).to(device)
    cut = cut_to_object(views.shape, views.half, work.size)
    field = Field.start(work.grid, base, SIDE, len(cut.images), settings.seed)
    space = Space(field)
    done("hull", 1)

    def tell(part: float, losses: dict[str, float]) -> None:
        rounds.append({"round": len(rounds), **losses})
        done("field", part, lambda: sketch(views.colour, *taken(_SKETCHED)), losses=losses)

    def taken(voxels: int) -> tuple[Float, NDArray[np.int32]]:
        return extracted(field, space, voxels, work.grid.levels)

    learn(field, Pixels(cut), space, work, settings.seed, settings.checkpoints, tell)
    vertices, faces = simplified(*taken(work.voxels), work.triangles)
    if work.polish:
        size = min(work.polish, max(views.shape.masks.shape[1:]))
        vertices, faces = refined(views.shape, views.half, vertices, faces, size)
    settings.checkpoints.save("surface", {"vertices": vertices, "faces": faces})
    return vertices, faces


def begun(scene: Scene, half: NDArray[np.float64], work: carving.Profile) -> Float:
    """(4,_BASE,_BASE,_BASE) signed distance to the hull with its hollows dug out, and its slopes, on the
    cube. scene, half: in the unit frame. NumericError: "masks_inconsistent".
    """
    hull, field = dug_hull(scene, half, work)
    grid = hull.grid
    inside = field < 0
    distance = distance_transform_edt(~inside) - distance_transform_edt(inside) + inside - 0.5
    distance = gaussian_filter((grid.spacing * distance).astype(np.float32), 1.0)
    spacing = SIDE / (_BASE - 1)
    axis = spacing * np.arange(_BASE) - SIDE / 2
    at = np.meshgrid(*((axis - start) / grid.spacing for start in grid.origin), indexing="ij")
    base = map_coordinates(distance, at, order=1, mode="nearest")
    # What lies outside that grid is as much farther away.
    outside = sum(
        np.maximum(np.maximum(-x, x - (n - 1)), 0) ** 2 for x, n in zip(at, grid.shape, strict=True)
    )
    base += (grid.spacing * np.sqrt(outside)).astype(np.float32)
    return np.stack([base, *np.gradient(base, spacing)]).astype(np.float32)
