"""Photos as if all had been exposed alike: phones do not keep still."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.segment.multiview.plane import Plane
from workers.segment.multiview.plate import in_views, plate

Image = NDArray[np.uint8]
Bool = NDArray[np.bool_]

_ROUNDS = 3
_DARK, _BRIGHT = 16, 240  # levels beyond which a ratio says nothing
_FEWEST = 200  # pixels that say how a photo was exposed


def balanced(images: Image, photo: Bool, cameras: Cameras, plane: Plane) -> NDArray[np.float32]:
    """(N,3) by what the channels of images (N,h,w,3) are to be multiplied, so that they agree on the plane.

    The median ratio to what most photos show there, which the object itself cannot move as long as more of
    the plane is seen than of what hides it. 1 for a photo that shows too little of it.
    """
    gain = np.ones((len(images), 3), np.float32)
    for _ in range(_ROUNDS):
        now = multiplied(images, gain)
        found = plate(now, photo, cameras, plane)
        colour = in_views(found.colour, cameras, plane)
        for n, (picture, shown) in enumerate(zip(now, colour, strict=True)):
            clear = photo[n] & ((picture > _DARK) & (picture < _BRIGHT) & (shown > _DARK)).all(-1)
            if clear.sum() >= _FEWEST:
                gain[n] *= np.median(shown[clear] / picture[clear], axis=0)
        gain /= np.exp(np.log(gain).mean(0))
    return gain


def multiplied(images: Image, gain: NDArray[np.float32]) -> Image:
    """Images (N,h,w,3) times gain (N,3)."""
    return np.stack(
        [
            np.clip(image * each + np.float32(0.5), 0, 255).astype(np.uint8)
            for image, each in zip(images, gain, strict=True)
        ]
    )
