"""The three textures as files, for those who want them small and those who want them exact."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.geometry.images import encoded
from workers.package.glb import Pictures
from workers.package.model import Image, Model

QUALITY = 93
WEBP_QUALITY = 85


def standard(model: Model) -> Pictures:
    """Colour as JPEG, what is measured exactly as PNG: any reader of glTF takes both."""
    return {
        "kd": (jpeg(model.kd), "image/jpeg"),
        "ks": (encoded(model.ks, ".png"), "image/png"),
        "n": (encoded(model.normal_map, ".png"), "image/png"),
    }


def small(model: Model, side: int, quality: int) -> Pictures:
    """All as JPEG, at most `side` pixels wide."""
    return {name: (jpeg(image, quality), "image/jpeg") for name, image in _shrunk(model, side).items()}


def webp(model: Model) -> Pictures:
    """All as WebP, at their full size."""
    return {
        name: (encoded(image, ".webp", cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY), "image/webp")
        for name, image in _shrunk(model, len(model.kd)).items()
    }


def jpeg(image: NDArray[np.uint8], quality: int = QUALITY) -> bytes:
    """Without chroma subsampling, which would bleed across the atlas' seams."""
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    return encoded(image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, quality, *sampling)


def _shrunk(model: Model, side: int) -> dict[str, Image]:
    images = {"kd": model.kd, "ks": model.ks, "n": model.normal_map}
    if len(model.kd) <= side:
        return images
    return {
        name: np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
        for name, image in images.items()
    }
