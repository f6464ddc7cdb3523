"""Method `surface`: visual hull, stereo within it, materials and light from the photos. Needs poses and
masks; no training.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.geometry.mesh import vertex_normals
from workers.reconstruct.methods.appearance.atlas import texture_size, unwrap
from workers.reconstruct.methods.appearance.bake import prepare
from workers.reconstruct.methods.appearance.fit import Appearance, fit
from workers.reconstruct.methods.appearance.observations import gather
from workers.reconstruct.methods.appearance.occlusion import visible_directions
from workers.reconstruct.methods.appearance.sketch import sketch
from workers.reconstruct.methods.appearance.texture import photographed, physical
from workers.reconstruct.methods.model import Report, Scene, Settings, TexturedMesh
from workers.reconstruct.methods.surface.mending import mended
from workers.reconstruct.methods.surface.profiles import profile
from workers.reconstruct.methods.surface.registration import Registration, registered
from workers.reconstruct.methods.surface.shape import surface
from workers.reconstruct.methods.surface.silhouettes import to_unit_frame, usable

Float = NDArray[np.float32]
Index = NDArray[np.int32]

# Where in the whole each step begins and ends, by its share of the time.
_SPANS = {
    "box": (0.0, 0.05),
    "hull": (0.05, 0.1),
    "sweep": (0.1, 0.2),
    "refine": (0.2, 0.4),
    "mesh": (0.4, 0.5),
    "unwrap": (0.5, 0.58),
    "materials": (0.58, 0.88),
    "bake": (0.88, 1.0),
}


def reconstruct(scene: Scene, settings: Settings, report: Report) -> TexturedMesh:
    """The object's surface, its materials and the light around it, in the frame of the scene's cameras.

    Deterministic for a seed, which decides in which order points are looked at.
    NumericError: "mask_empty", "masks_inconsistent".
    """

    def done(step: str, part: float, **more: Any) -> None:
        begin, end = _SPANS[step]
        report(begin + (end - begin) * part, {"step": step, **more})

    def show(step: str, vertices: Float, faces: Index) -> None:
        drawn = sketch(unit, vertices, faces)
        done(step, 1, sketch=replace(drawn, vertices=_moved(drawn.vertices, back)))

    work = profile(settings.profile)
    given, half, similarity = to_unit_frame(usable(scene))
    back = np.linalg.inv(similarity)
    fitted = registered(mended(given, half), half)
    half = fitted.half
    # A mask that was grown may reach where a photo is cut out, and black: no colour is taken from there.
    unit = replace(fitted.scene, masks=fitted.scene.masks & given.masks)
    done("box", 1)
    saved = settings.checkpoints.load("surface")
    if saved is None:
        vertices, faces = surface(fitted.scene, half, work, done, lambda *mesh: show("sweep", *mesh))
        settings.checkpoints.save("surface", {"vertices": vertices, "faces": faces})
    else:
        vertices, faces = saved["vertices"], saved["faces"]
    show("mesh", vertices, faces)
    normals = vertex_normals(vertices, faces)
    distance = np.linalg.norm(unit.cameras.centres, axis=1)
    pixels = float(np.median(unit.cameras.intrinsics[:, :2].mean(1) / distance))
    atlas = unwrap(vertices, faces, texture_size(vertices, faces, pixels, work.texture))
    done("unwrap", 1)
    photos = prepare(unit, vertices, faces)
    light, losses = None, []
    if work.rounds:
        seen = gather(vertices, normals, photos)
        visible = visible_directions(vertices, faces, normals, 1.02 * float(np.linalg.norm(half)))
        saved = settings.checkpoints.load("appearance")
        if saved is None:
            found = fit(
                faces,
                normals,
                visible,
                seen,
                len(unit.images),
                work.rounds,
                settings.seed,
                lambda part, losses: done("materials", part, losses=losses),
            )
            settings.checkpoints.save("appearance", found.arrays())
        else:
            found = Appearance(**saved)
        light, losses = found.light, found.history()
        textures = physical(
            vertices,
            faces,
            normals,
            visible,
            found,
            seen.enough(),
            atlas,
            photos,
            lambda part: done("bake", part),
        )
    else:
        textures = photographed(vertices, faces, normals, atlas, photos, lambda part: done("bake", part))
    return TexturedMesh(
        vertices=_moved(vertices, back)[atlas.source],
        faces=atlas.faces,
        normals=normals[atlas.source],
        uv=atlas.uv,
        kd=textures.kd,
        ks=textures.ks,
        normal_map=textures.normal_map,
        light=light,
        losses=losses,
        warnings=_warnings(fitted),
    )


def _warnings(fitted: Registration) -> list[str]:
    if not fitted.stayed:
        return []
    return [f"The camera positions of these photos do not fit the others: {', '.join(fitted.stayed)}."]


def _moved(vertices: Float, similarity: NDArray[np.floating]) -> Float:
    moved: Float = (vertices @ similarity[:3, :3].T + similarity[:3, 3]).astype(np.float32)
    return moved
