"""Dataset in, one mask for each image out: `<stem>.png`, 0 or 255, and `outlines.jpg`, which shows them to a
person.

Masks that came with the upload are thresholded sharp: a pixel half covered belongs to neither side, and
silhouettes are only as good as their edges. Where none came they are made from all photos together.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import photo_frames, read_cameras
from workers.geometry.images import encoded, read_grey, read_rgb, write_png
from workers.segment.multiview import segment
from workers.segment.outlines import outlines
from workers.segment.threshold import sharpen

Report = Callable[[float, dict[str, Any]], None]


def run(inputs: Path, outputs: Path, parameters: dict[str, Any], report: Report) -> dict[str, Any]:
    """Raises NumericError: "object_not_found"."""
    dataset, threshold = inputs / "dataset", float(parameters["threshold"])
    alphas = sorted((dataset / "alpha").glob("*.png"))
    report(0.0, {"step": "reading"})
    photos = {path.stem: read_rgb(path) for path in sorted((dataset / "images").glob("*.png"))}
    if alphas:
        segmenter = "uploaded"
        masks = {path.stem: sharpen(read_grey(path), threshold) for path in alphas}
    else:
        segmenter = "multiview"
        masks = _made(dataset, photos, threshold, report)
    for stem, mask in masks.items():
        write_png(outputs / f"{stem}.png", mask)
    sheet = outlines({stem: (photos[stem], mask) for stem, mask in masks.items()})
    (outputs / "outlines.jpg").write_bytes(encoded(sheet, ".jpg"))
    report(1.0, {"step": "done"})
    coverage = float(np.mean([(mask > 0).mean() for mask in masks.values()]))
    return {"metrics": {"images": len(masks), "segmenter": segmenter, "mean_coverage": round(coverage, 4)}}


def _made(
    dataset: Path, photos: dict[str, NDArray[np.uint8]], threshold: float, report: Report
) -> dict[str, NDArray[np.uint8]]:
    """Masks by stem, of the photos by stem."""
    cameras, _ = read_cameras(dataset / "cameras.json")
    stems = [Path(name).stem for name in cameras.names]
    masks = segment(
        np.stack([photos[stem] for stem in stems]),
        photo_frames(dataset / "cameras.json"),
        cameras,
        lambda part, step: report(0.05 + 0.9 * part, {"step": step}),
    )
    sharp = (sharpen(np.round(255 * inside).astype(np.uint8), threshold) for inside in masks)
    return dict(zip(stems, sharp, strict=True))
