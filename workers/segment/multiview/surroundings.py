"""What is around the object: in all photos, in each photo, and near each pixel."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.segment.multiview.colours import density, table

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Image = NDArray[np.uint8]

_HERE, _LEAST_HERE = 0.5, 300  # of what is known of the surroundings is the photo's own; from so many pixels
_LOCAL, _LOCAL_REACH, _LOCAL_SHARE = 0.9, 20, 0.1  # what the nearest surroundings say; pixels, part of them
_LOCAL_NOISE, _LOCAL_KIND = 5.0, 0.5  # grey levels; how likely the texture is that they have as well


def around(pixels: Image, near: Bool, wide: Bool) -> Float:
    """(N,h,w) density of what each pixel (N,h,w,4) shows around the object, in all photos and in its own: a
    wall seen in few of them is rare in all and common there.
    """
    everywhere = np.float32(0.5) * (table(pixels[near]) + table(pixels[wide]))
    found = np.empty(pixels.shape[:3], np.float32)
    for n, photo in enumerate(pixels):
        here = photo[wide[n]]
        own = np.float32(_HERE if len(here) >= _LEAST_HERE else 0)
        found[n] = density((1 - own) * everywhere + own * table(here), photo)
    return found


def nearby(images: Image, there: Bool, rest: Float, unit: float) -> Float:
    """`rest` (N,h,w), the density of what pixels show around the object, by what is around them in their own
    photo, as far as enough of that is `there` (N,h,w): a normal distribution of its colours.
    """
    side = 2 * round(_LOCAL_REACH * unit) + 1
    found = np.empty_like(rest)
    for image, where, everywhere, here in zip(images, there, rest, found, strict=True):
        colour, weight = image.astype(np.float32), where[..., None].astype(np.float32)
        share = cv2.blur(weight[..., 0], (side, side))
        mean, square = (
            cv2.blur(weight * colour**k, (side, side)) / np.maximum(share, np.float32(1e-6))[..., None]
            for k in (1, 2)
        )
        variance = np.maximum(square - mean**2, 0) + np.float32(_LOCAL_NOISE**2)
        off = ((colour - mean) ** 2 / variance).sum(-1)
        likely = np.float32(_LOCAL_KIND) * np.exp(-off / 2) / np.sqrt((2 * np.pi) ** 3 * variance.prod(-1))
        said = np.float32(_LOCAL) * np.clip(share / np.float32(_LOCAL_SHARE), 0, 1)
        here[:] = (1 - said) * everywhere + said * likely
    return found
