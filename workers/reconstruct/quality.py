"""How well a mesh explains photos."""

from __future__ import annotations

import numpy as np

from workers.reconstruct.methods.model import Scene, TexturedMesh
from workers.render.lit import Lit
from workers.render.preview import unlit


def compare(mesh: TexturedMesh, scene: Scene) -> tuple[float, float]:
    """Mean over the scene's photos of silhouette IoU, and of PSNR in dB on the masks' pixels.

    The render is the materials under the light that was found, or the texture as it is where none was, on
    black, in the frame of the scene's cameras; a pixel counts as covered from half on. PSNR is of sRGB values
    in [0,1].
    """
    lit = None if mesh.light is None else Lit(mesh, mesh.light)
    overlap, noise = [], []
    for i, mask in enumerate(scene.masks):
        camera = scene.cameras.select([i])
        render = unlit(mesh, camera) if lit is None else lit(camera)
        covered = render[:, :, 3] > 127
        overlap.append((covered & mask).sum() / max(1, (covered | mask).sum()))
        shown = render[:, :, :3] / 255.0 * (render[:, :, 3:] / 255.0)
        error = (shown - scene.images[i] / 255.0)[mask]
        noise.append(-10 * np.log10(max(float((error**2).mean()), 1e-10)))
    return float(np.mean(overlap)), float(np.mean(noise))
