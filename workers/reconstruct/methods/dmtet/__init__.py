"""Method `dmtet`: shape, materials and light by differentiable rendering alone, from nothing (Munkberg et al.
2022, "Extracting triangular 3D models, materials, and lighting from images").

Deviations from the published recipe: the first pass bends normals by a vector in space, where there is no
tangent space yet; shading is the model of `workers.render.shading`; enclosed bubbles and loose parts are
dropped between the passes; on the CPU see `profiles`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.geometry.mesh import vertex_normals
from workers.reconstruct.methods.appearance.atlas import Atlas, unwrap
from workers.reconstruct.methods.dmtet.finish import Finish
from workers.reconstruct.methods.dmtet.light import Light
from workers.reconstruct.methods.dmtet.losses import srgb_from_linear
from workers.reconstruct.methods.dmtet.profiles import profile
from workers.reconstruct.methods.dmtet.shape import Shape
from workers.reconstruct.methods.dmtet.views import cut
from workers.reconstruct.methods.model import Report, Scene, Settings, TexturedMesh
from workers.reconstruct.methods.surface.silhouettes import to_unit_frame, usable
from workers.render.ops import backend

# Where in the whole each step begins and ends, by its share of the time.
_SPANS = {"box": (0.0, 0.05), "shape": (0.05, 0.65), "unwrap": (0.65, 0.7), "finish": (0.7, 1.0)}


def reconstruct(scene: Scene, settings: Settings, report: Report) -> TexturedMesh:
    """The object's surface, its materials and the light around it, in the frame of the scene's cameras.

    Deterministic for a seed on the CPU. On CUDA sums of gradients run in no fixed order.
    NumericError: "mask_empty", "masks_inconsistent".
    """
    rounds: list[dict[str, float]] = []

    def done(step: str, part: float, losses: dict[str, float] | None = None) -> None:
        begin, end = _SPANS[step]
        if losses:
            rounds.append({"round": len(rounds), **losses})
        report(begin + (end - begin) * part, {"step": step, "losses": losses or {}})

    raster = backend("auto")
    work = profile(settings.profile, raster.device.type)
    unit, half, similarity = to_unit_frame(usable(scene))
    light = Light(work.light, raster)
    done("box", 1)
    shape = Shape(half, work, settings.seed, raster)
    shape.optimise(
        [cut(unit, half, stage.size, raster.device) for stage in work.shape],
        light,
        settings.checkpoints,
        lambda part, losses: done("shape", part, losses),
    )
    vertices, faces, _ = shape.surface()
    atlas = unwrap(vertices.cpu().numpy(), faces.cpu().numpy(), work.texture)
    finish = Finish(shape, atlas, raster)
    done("unwrap", 1)
    finish.optimise(
        cut(unit, half, work.finish.size, raster.device),
        light,
        work,
        settings.seed,
        settings.checkpoints,
        lambda part, losses: done("finish", part, losses),
    )
    return _textured(finish, atlas, np.linalg.inv(similarity), rounds)


def _textured(
    finish: Finish, atlas: Atlas, back: NDArray[np.floating], rounds: list[dict[str, float]]
) -> TexturedMesh:
    """The result, moved by `back` (4,4)."""
    vertices, faces, sheet = (each.cpu().numpy() for each in (finish.vertices, finish.faces, finish.sheet))
    kd = srgb_from_linear(finish.sheet[..., :3]).cpu().numpy()
    bent = sheet[..., 5:] / np.maximum(np.linalg.norm(sheet[..., 5:], axis=-1, keepdims=True), 1e-9)
    ks = np.concatenate([np.ones_like(sheet[..., :1]), sheet[..., 3:5]], axis=-1)
    return TexturedMesh(
        vertices=(vertices @ back[:3, :3].T + back[:3, 3]).astype(np.float32)[atlas.source],
        faces=atlas.faces,
        normals=vertex_normals(vertices, faces)[atlas.source],
        uv=atlas.uv,
        kd=_bytes(255 * kd),
        ks=_bytes(255 * ks),
        normal_map=_bytes(127.5 * bent + 127.5),
        light=finish.light.cpu().numpy(),
        losses=rounds,
    )


def _bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.round(values).clip(0, 255).astype(np.uint8)
