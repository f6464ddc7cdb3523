"""Renders of a model beside photos it was not made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.evaluate.mesh import Mesh
from workers.evaluate.surface import look_up_albedo
from workers.evaluate.views import View
from workers.geometry.cameras import Cameras
from workers.geometry.colour import encode_srgb

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_SAMPLES = 4  # across a pixel, and down

Renderer = Callable[[Mesh, Cameras], Image]
"""(mesh, one camera in its frame) -> (h,w,4) uint8, sRGB and alpha, not premultiplied."""


def base_colour(mesh: Mesh, camera: Cameras) -> Image:
    """A `Renderer`: the base colour as it is, without light; 4x4 samples a pixel, their mean linear."""
    height, width = _SAMPLES * camera.height, _SAMPLES * camera.width
    seen, albedo = look_up_albedo(mesh, camera.scaled(width, height))
    samples = np.zeros((height, width, 4), np.float32)
    samples[seen] = np.pad(albedo, ((0, 0), (0, 1)), constant_values=1)
    mean = samples.reshape(camera.height, _SAMPLES, camera.width, _SAMPLES, 4).mean((1, 3))
    colour = encode_srgb(mean[..., :3] / np.maximum(mean[..., 3:], np.float32(1e-6)))
    return np.round(255 * np.concatenate([colour, mean[..., 3:]], axis=2)).astype(np.uint8)


def compare_images(mesh: Mesh, views: Iterable[View], renderer: Renderer = base_colour) -> dict[str, float]:
    """Means over the views of what `compare_pictures` gives, `iou_min`, and `views`, how many they were."""
    figures: dict[str, list[float]] = {}
    for view in views:
        camera, photo, cover = view.read()
        for name, value in compare_pictures(renderer(mesh, camera), photo, cover).items():
            figures.setdefault(name, []).append(value)
    means = {name: float(np.mean(values)) for name, values in figures.items()}
    return {**means, "iou_min": min(figures["iou"]), "views": len(figures["iou"])}


def compare_pictures(render: Image, photo: Image, cover: Image) -> dict[str, float]:
    """Figures of one view: `render` (h,w,4) sRGB and alpha, `photo` (h,w,3) sRGB, `cover` (h,w) its alpha.

    iou: of the two outlines, covered from half on. psnr (dB) and ssim: of the whole pictures, sRGB values in
    [0,1] times alpha, that is straight alpha over black. psnr_fg and ssim_fg: over the pixels with true alpha
    above a half only, absent where there are none.
    """
    ours, true = render[..., 3] > 127, cover > 127
    either = (ours | true).sum()
    a, b = on_black(render[..., :3], render[..., 3]), on_black(photo, cover)
    error, likeness = (a - b) ** 2, ssim_map(a, b)
    figures = {"iou": float((ours & true).sum() / either) if either else 1.0}
    figures |= {"psnr": psnr(error), "ssim": float(likeness.mean())}
    if true.any():
        figures |= {"psnr_fg": psnr(error[true]), "ssim_fg": float(likeness[true].mean())}
    return figures


def on_black(colour: Image, alpha: Image) -> Array:
    """(h,w,3) in [0,1]."""
    return colour / 255.0 * (alpha / 255.0)[..., None]


def psnr(squared_error: NDArray[np.floating]) -> float:
    """dB, of errors of values in [0,1]; 100 at most."""
    return float(-10 * np.log10(max(float(squared_error.mean(dtype=np.float64)), 1e-10)))


def ssim_map(a: Array, b: Array) -> Array:
    """(h,w) structural similarity of (h,w,3) in [0,1], the mean over channels (Wang et al. 2004: Gaussian
    window of 11 pixels, sigma 1.5; K1 = 0.01, K2 = 0.03).
    """

    def blurred(x: Array) -> Array:
        return np.asarray(cv2.GaussianBlur(x, (11, 11), 1.5))

    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    covariance = blurred(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    result: Array = (luminance * (2 * covariance + c2) / (var_a + var_b + c2)).mean(2)
    return result
