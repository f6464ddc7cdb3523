"""Masks from photos with known cameras, without anything learnt beforehand.

What all photos share tells the object from the rest: it is where the cameras look (`region`), it stands on a
plane whose picture is known from the other photos (`plane`, `exposure`, `plate`), it is one thing in space
that no photo sees through (`carving`), and it has colours and textures of its own (`colours`), unlike what
is around it (`surroundings`). Each in turn makes the others better (`judgement`); the edges are then found in
the pictures (`cut`). In the spirit of Kolev, Brox and Cremers (2012) and Campbell et al. (2010), with the
plate as a further cue.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.errors import NumericError
from workers.geometry.grid import Grid
from workers.segment.multiview.carving import carve
from workers.segment.multiview.exposure import balanced
from workers.segment.multiview.judgement import Pictures, first, judge
from workers.segment.multiview.plane import find_plane
from workers.segment.multiview.region import region

Float = NDArray[np.float32]
Array = NDArray[np.float64]
Bool = NDArray[np.bool_]
Image = NDArray[np.uint8]
Report = Callable[[float, str], None]

_PIXELS = 256  # of the pictures' longer side while the object is looked for
_MOST_PIXELS = 512  # of them when its edges are: twice the side is four times the memory
_SAMPLES = 96  # of the grid's sides
_REACH = 1.02  # half of their length
_ROUNDS = 4
_LEAST, _MOST = 0.002, 0.8  # of a photo that an object takes


def segment(
    images: Image, frames: NDArray[np.int64], cameras: Cameras, told: Float, report: Report
) -> tuple[Float, Array | None]:
    """(N,h,w) in [0,1], near 1 where photos (N,h,w,3) show the object; and the plane (4,) that it stands on,
    where one was found: plane @ (x, 1) is the height of a point x over it, in the cameras' frame.

    frames (N,4): left, top, right, bottom of what is photo in each. cameras: N, in any frame. told (N,h,w):
    what is known of pixels from elsewhere, as logarithm of how much likelier they are the object; 0 for
    nothing. So masks that do not fit each other are made to.

    report: called with the part that is done and what it was. NumericError: "object_not_found" where there
    is nothing that all photos show before something else.
    """
    photo = _photo(frames, images.shape[1:3])
    to_region = region(cameras, frames)
    whole = Pictures(images, photo, cameras.transformed(to_region), told).smaller(_MOST_PIXELS)
    grey = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in whole.images])
    plane = find_plane(grey, whole.photo, whole.cameras)
    report(0.15, "support plane")
    small = whole.smaller(_PIXELS)
    if plane is not None:
        gain = balanced(small.images, small.photo, small.cameras, plane)
        whole, small = whole.multiplied(gain), small.multiplied(gain)
    grid = Grid.around(np.full(3, -_REACH), np.full(3, _REACH), _SAMPLES)
    found = first(small, plane)
    for n in range(_ROUNDS):
        field = carve(found.evidence, small.cameras, plane, grid)
        found = judge(small, plane, field, grid, found)
        report(0.15 + 0.6 * (n + 1) / _ROUNDS, "object")
    inside = judge(whole, plane, field, grid, None).inside
    shares = [(each[photo] > 0.5).mean() for each, photo in zip(inside, whole.photo, strict=True)]
    share = float(np.median(shares))
    if not _LEAST < share < _MOST:
        message = f"what all photos show in one place takes {share:.1%} of them, which is no object"
        raise NumericError("object_not_found", message)
    report(1.0, "edges")
    size = (images.shape[2], images.shape[1])
    masks = np.stack([cv2.resize(each, size, interpolation=cv2.INTER_LINEAR) for each in inside])
    if plane is None:
        return masks, None
    support = plane.equation @ to_region
    return masks, support / np.linalg.norm(support[:3])


def _photo(frames: NDArray[np.int64], size: tuple[int, ...]) -> Bool:
    """(N,h,w) what is photo and not padding."""
    photo = np.zeros((len(frames), *size), bool)
    for each, (left, top, right, bottom) in zip(photo, frames, strict=True):
        each[top:bottom, left:right] = True
    return photo
