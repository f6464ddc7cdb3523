"""Dataset in, one mask for each image out: `<stem>.png`, 0 or 255.

Masks that came with the upload are passed on, thresholded sharp: a pixel half covered belongs to
neither side, and silhouettes are only as good as their edges.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from contracts.errors import MasksMissing
from workers.geometry.images import read_grey, write_png
from workers.segment.threshold import sharpen

Report = Callable[[float, dict[str, Any]], None]


def run(inputs: Path, outputs: Path, parameters: dict[str, Any], report: Report) -> dict[str, Any]:
    """Raises MasksMissing."""
    alphas = sorted((inputs / "dataset" / "alpha").glob("*.png"))
    if not alphas:
        raise MasksMissing("the upload has no masks, and making masks is not built yet")
    shares = []
    for index, path in enumerate(alphas):
        report(index / len(alphas), {"step": f"mask {index + 1} of {len(alphas)}"})
        mask = sharpen(read_grey(path), parameters["threshold"])
        write_png(outputs / path.name, mask)
        shares.append(float((mask > 0).mean()))
    report(1.0, {"step": "done"})
    return {"metrics": {"images": len(alphas), "mean_coverage": round(float(np.mean(shares)), 4)}}
