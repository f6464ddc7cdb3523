"""Any network for salient objects that was exported to ONNX.

It takes and is described as `workers.networks.onnx` says, and has an output (B,1,h,w) or (B,h,w):
probabilities, or what a sigmoid makes into such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from workers.networks.onnx import answers, resized
from workers.networks.weights import unusable
from workers.segment.networks.weights import ready

Images = NDArray[np.uint8]
Masks = NDArray[np.float32]
Report = Callable[[float, str], None]


def segment(images: Images, folder: Path, files: Mapping[str, str], report: Report) -> Masks:
    """See the package. `files` are as `of_onnx` gives them."""
    paths = ready("onnx", folder, files)
    maps = answers(list(images), paths.values(), lambda part: report(part, "outlines"))
    if maps.ndim == 4 and maps.shape[1] == 1:
        maps = maps[:, 0]
    if maps.ndim != 3:
        raise unusable(folder / next(iter(files)), f"its output is {maps.shape}; it must be (B,1,h,w)")
    if maps.min() < -1e-3 or maps.max() > 1 + 1e-3:  # of all images together, for one alone may stay within
        maps = expit(maps)
    size = images.shape[2], images.shape[1]
    return np.stack([resized(each, size) for each in maps]).astype(np.float32).clip(0, 1)
