"""The ways to tell an object from its background, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.errors import NumericError
from workers.segment import multiview, single
from workers.segment.networks.weights import PACKAGES

Array = NDArray[np.float64]
Float = NDArray[np.float32]
Image = NDArray[np.uint8]
Report = Callable[[float, str], None]

_TOLD = 3.0  # log-likelihood that a network's mask may say: less than photos that agree against it


def of_posed(
    name: str,
    images: Image,
    frames: NDArray[np.int64],
    cameras: Cameras,
    marked: Float,
    weights: tuple[Path, Mapping[str, str]],
    report: Report,
) -> tuple[Float, Array | None]:
    """(N,h,w) in [0,1] where images (N,h,w,3) show the object, and the plane it stands on, as
    `multiview.segment` has them. What a network finds is made consistent.

    marked (N,h,w): see `hints.marked`. weights: their folder, and the digests of the files in it to use.
    Raises NumericError as `multiview.segment` and `networks` do.
    """
    if name in ("auto", "multiview"):
        return multiview.segment(images, frames, cameras, marked, report)
    found = _by_network(name, images, weights, lambda part, step: report(0.7 * part, step))
    told = np.where(marked != 0, marked, np.float32(2 * _TOLD) * (found - np.float32(0.5)))
    return multiview.segment(images, frames, cameras, told, lambda part, step: report(0.7 + 0.3 * part, step))


def of_single(
    name: str, image: Image, marked: Float, weights: tuple[Path, Mapping[str, str]], report: Report
) -> tuple[Float, float | None]:
    """(h,w) as above of one image (h,w,3) without a camera, and the confidence in it, where it has one."""
    if name in ("auto", "multiview"):
        return single.segment(image, marked, report)
    found = _by_network(name, image[None], weights, report)[0]
    return np.where(marked != 0, (marked > 0).astype(np.float32), found), None


def _by_network(name: str, images: Image, weights: tuple[Path, Mapping[str, str]], report: Report) -> Float:
    if name not in PACKAGES:
        raise NumericError("segmenter_unavailable", f"there is no segmenter {name!r}", segmenter=name)
    # Loaded only when asked for: it takes long, and may not be installed.
    network = import_module(f"workers.segment.networks.{name}")
    found: Float = network.segment(images, *weights, report)
    return found
