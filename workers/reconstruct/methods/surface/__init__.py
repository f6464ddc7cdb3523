"""Method `surface`: visual hull, stereo within it, colours from the photos. Needs poses and masks; no
training.
"""

from __future__ import annotations

import numpy as np

from workers.geometry.mesh import vertex_normals
from workers.reconstruct.methods.model import Report, Scene, Settings, TexturedMesh
from workers.reconstruct.methods.surface.atlas import unwrap
from workers.reconstruct.methods.surface.bake import prepare
from workers.reconstruct.methods.surface.mending import mended
from workers.reconstruct.methods.surface.profiles import profile
from workers.reconstruct.methods.surface.shape import surface
from workers.reconstruct.methods.surface.silhouettes import to_unit_frame, usable
from workers.reconstruct.methods.surface.texture import base_colour

# Where in the whole each step begins and ends, by its share of the time.
_SPANS = {
    "box": (0.0, 0.05),
    "hull": (0.05, 0.1),
    "sweep": (0.1, 0.25),
    "refine": (0.25, 0.55),
    "mesh": (0.55, 0.6),
    "unwrap": (0.6, 0.8),
    "bake": (0.8, 1.0),
}
_MATERIAL = (255, 153, 0)  # no occlusion, roughness 0.6, not metal
_FLAT = (128, 128, 255)


def reconstruct(scene: Scene, settings: Settings, report: Report) -> TexturedMesh:
    """The object's surface and base colour, in the frame of the scene's cameras; ORM and normal map are
    constant.

    Deterministic: it draws nothing, so `settings.seed` changes nothing.
    NumericError: "mask_empty", "masks_inconsistent".
    """

    def done(step: str, part: float) -> None:
        begin, end = _SPANS[step]
        report(begin + (end - begin) * part, {"step": step})

    work = profile(settings.profile)
    unit, half, similarity = to_unit_frame(usable(scene))
    unit = mended(unit, half)
    done("box", 1)
    vertices, faces = surface(unit, half, work, done)
    normals = vertex_normals(vertices, faces)
    atlas = unwrap(vertices, faces, work.texture)
    done("unwrap", 1)
    photos = prepare(unit, vertices, faces)
    kd = base_colour(vertices, faces, normals, atlas, photos, lambda part: done("bake", part))
    back = np.linalg.inv(similarity)
    return TexturedMesh(
        vertices=(vertices @ back[:3, :3].T + back[:3, 3]).astype(np.float32)[atlas.source],
        faces=atlas.faces,
        normals=normals[atlas.source],
        uv=atlas.uv,
        kd=kd,
        ks=np.full_like(kd, _MATERIAL),
        normal_map=np.full_like(kd, _FLAT),
    )
