"""How well a mesh explains photos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.colour import decode_srgb, encode_srgb
from workers.reconstruct.methods.model import Scene, TexturedMesh
from workers.render.lit import Lit
from workers.render.preview import unlit

Image = NDArray[np.uint8]
PUBLISHED = {"training": 0.010540, "holdout": 0.010293}
"""Of an object of its own, as a pipeline like this with Munkberg et al.'s recipe reports `Likeness.loss`."""
Render = Callable[[Cameras], Image]  # of one camera: (h,w,4) sRGB and coverage, not premultiplied


@dataclass(frozen=True)
class Likeness:
    """Means over views. silhouette_iou: a pixel counts as covered from half on. psnr: dB, of sRGB values in
    [0,1] on the masks' pixels. image_loss and mask_loss: see `view_losses`; loss, their sum.
    """

    silhouette_iou: float
    psnr: float
    image_loss: float
    mask_loss: float

    @property
    def loss(self) -> float:
        return self.image_loss + self.mask_loss


def renderer(mesh: TexturedMesh) -> Render:
    """Shows its materials under the light that was found, or the texture as it is where none was."""
    return (lambda camera: unlit(mesh, camera)) if mesh.light is None else Lit(mesh, mesh.light)


def compare(draw: Render, scene: Scene) -> Likeness:
    """What `draw` shows from the scene's cameras, on black, to its photos."""
    figures = []
    for i, mask in enumerate(scene.masks):
        camera, photo = scene.cameras.select([i]), scene.images[i]
        render = draw(camera)
        covered = render[:, :, 3] > 127
        overlap = (covered & mask).sum() / max(1, (covered | mask).sum())
        shown = render[:, :, :3] / 255.0 * (render[:, :, 3:] / 255.0)
        error = float(((shown - photo / 255.0)[mask] ** 2).mean()) if mask.any() else 0.0
        figures.append((overlap, -10 * np.log10(max(error, 1e-10)), *view_losses(render, photo, mask)))
    return Likeness(*(float(mean) for mean in np.mean(figures, axis=0)))


def view_losses(render: Image, photo: Image, mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Image and mask loss of one view: what Munkberg et al. (2022, section 4 and 8.4) fall, without their
    regularisers.

    Mean absolute difference of linear radiance over black after tone mapping, sRGB's transfer function of
    log(x + 1), where only the mask's pixels have any; mean squared difference of coverage. render: (h,w,4)
    sRGB and coverage, not premultiplied. photo: (h,w,3) sRGB. mask: (h,w).
    """
    cover, true = render[..., 3:] / np.float32(255), mask[..., None].astype(np.float32)
    drawn = _tonemapped(decode_srgb(render[..., :3]) * cover * true)
    image = np.abs(drawn - _tonemapped(decode_srgb(photo) * true)).mean()
    return float(image), float(((cover - true) ** 2).mean())


def _tonemapped(radiance: NDArray[np.floating]) -> NDArray[np.float32]:
    return encode_srgb(np.log1p(radiance).astype(np.float32))
