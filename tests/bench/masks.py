"""How good the masks are that are made from photos alone: `python -m tests.bench.masks [DATA_DIR]`.

DATA_DIR: a folder with captures whose frames have masks: rendered ones seen by a phone (CASE/phone), and real
ones; and with single photos (NAME.jpg beside NAME_alpha.png). Without it a capture is simulated. The masks
that came along are kept from the pipeline and judged by. Networks need their weights, as the settings say.
Writes table.md, and each case's outlines.jpg, which show what the table does not.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from contracts.events import Options, PosesReady
from contracts.fields import ManifestRef
from tests.bench.cases import is_real
from workers import local
from workers.geometry.images import read_grey, read_rgb, write_png
from workers.runtime import logs
from workers.runtime.settings import Settings
from workers.runtime.usage import metered
from workers.segment import compute
from workers.segment.worker import Segment
from workers.simulate.capture import simulate

NEAR = 2  # pixels of a boundary that count as on it
COLUMNS = {"mean IoU": 4, "worst IoU": 4, "mean boundary F": 3, "CPU s a photo": 2, "peak MB": 0}

NOWHERE = ManifestRef(key="captures/default/bench/dataset/x/manifest.json", sha256="0" * 64, content="0" * 64)

Mask = NDArray[np.bool_]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.masks", description=__doc__)
    parser.add_argument("data", nargs="?", type=Path, help="folder of captures; default: a simulated one")
    parser.add_argument("--cases", help="names of the cases to take, with commas between; default: all")
    parser.add_argument("--segmenters", default="auto", help="with commas between; default: auto")
    parser.add_argument("--out", type=Path, default=Path("build/bench-masks"))
    arguments = parser.parse_args()
    logs.configure("CRITICAL")
    wanted = arguments.cases.split(",") if arguments.cases else None
    arguments.out.mkdir(parents=True, exist_ok=True)
    lines = [["case", "photos", "segmenter", *COLUMNS], ["---"] * (3 + len(COLUMNS))]

    def tell(name: str, row: list[str]) -> None:
        lines.append([name, *row])
        print(" | ".join(lines[-1]), flush=True)

    for segmenter in arguments.segmenters.split(","):
        out = arguments.out / segmenter
        for name, capture in _captures(arguments.data, arguments.out):
            if wanted is None or name in wanted:
                tell(name, _row(capture, out / name, segmenter))
        for name, photos in _singles(arguments.data):
            if wanted is None or name in wanted:
                tell(name, _single_row(photos, out / name, segmenter))
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    (arguments.out / "table.md").write_text(text + "\n")
    print(f"\n{text}")
    return 0


def _captures(data: Path | None, out: Path) -> Iterator[tuple[str, Path]]:
    if data is None:
        simulate(out / "simulated", views=30, seed=7)
        yield "simulated", out / "simulated" / "capture"
        return
    for listing in sorted(data.glob("**/transforms*.json")):
        if listing.parent.name == "phone" and listing.name == "transforms_train.json":
            yield listing.parent.parent.name, listing
        elif listing.name == "transforms.json" and is_real(listing.parent):
            yield listing.parent.name, listing


def _singles(data: Path | None) -> Iterator[tuple[str, list[Path]]]:
    """Folders' names, and the photos in them that have a mask."""
    photos = sorted(data.glob("**/*_alpha.png")) if data else []
    for folder in sorted({path.parent for path in photos}):
        yield folder.name, [path for path in photos if path.parent == folder]


def _row(capture: Path, out: Path, segmenter: str) -> list[str]:
    """Cells of the table: photos, segmenter, and COLUMNS' figures."""
    made, sent = out / "made", out / "sent"
    stages = _run(capture, made, "segment", ignore_masks=True, segmenter=segmenter)
    _run(capture, sent, "prepare", ignore_masks=False)
    crops = [_crops(folder / "dataset" / "cameras.json") for folder in (sent, made)]
    overlaps, boundaries = [], []
    for stem in sorted(crops[1]):
        path = made / "masks" / f"{stem}.png"  # not there for a bad mask
        mask = read_grey(path) > 127 if path.exists() else np.zeros((512, 512), bool)
        truth = _recropped(
            read_grey(sent / "dataset" / "alpha" / f"{stem}.png"), crops[0][stem], crops[1][stem]
        )
        overlaps.append(float((mask & truth).sum() / max((mask | truth).sum(), 1)))
        boundaries.append(boundary_f(mask, truth))
    cost = stages["segment"]
    own = str(cost["metrics"]["segmenter"])
    return _cells(own, overlaps, boundaries, cost["cpu_seconds"], cost["peak_rss_mb"])


def _single_row(alphas: list[Path], out: Path, segmenter: str) -> list[str]:
    """The same of photos each of which is all that is known of its object."""
    overlaps, boundaries, spent, peak, own = [], [], 0.0, 0.0, ""
    for alpha in alphas:
        work = out / alpha.stem
        (work / "dataset" / "images").mkdir(parents=True, exist_ok=True)
        (work / "masks").mkdir(exist_ok=True)
        photo, truth = (_shrunk(each) for each in (read_rgb(_photo_of(alpha)), read_grey(alpha)))
        write_png(work / "dataset" / "images" / "photo.png", photo)
        settings = Settings()
        event = PosesReady(capture_id="bench", dataset=NOWHERE, images=1, posed=False, masked=False)
        event = event.model_copy(update={"options": Options.model_validate({"segmenter": segmenter})})
        (work / "weights").unlink(missing_ok=True)
        (work / "weights").symlink_to(settings.weights_folder)
        with metered() as usage:
            done = compute.run(work, work / "masks", Segment(settings).parameters(event), lambda *_: None)
        spent, peak = spent + usage["cpu_seconds"], max(peak, usage["peak_rss_mb"])
        own = done["metrics"]["segmenter"]
        mask, true = read_grey(work / "masks" / "photo.png") > 127, truth > 127
        overlaps.append(float((mask & true).sum() / max((mask | true).sum(), 1)))
        boundaries.append(boundary_f(mask, true))
    return _cells(own, overlaps, boundaries, spent, peak)


def _photo_of(alpha: Path) -> Path:
    return alpha.with_name(alpha.name.replace("_alpha.png", ".jpg"))


def _shrunk(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As large as prepare makes images."""
    scale = 512 / max(image.shape[:2])
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _cells(
    segmenter: str, overlaps: list[float], boundaries: list[float], seconds: float, peak: float
) -> list[str]:
    values = np.mean(overlaps), min(overlaps), np.mean(boundaries), seconds / len(overlaps), peak
    figures = [f"{value:.{decimals}f}" for value, decimals in zip(values, COLUMNS.values(), strict=True)]
    return [str(len(overlaps)), segmenter, *figures]


def _run(capture: Path, out: Path, until: Any, **chosen: Any) -> Mapping[str, Any]:
    local.claim(out)
    options = Options(**chosen)
    result: Mapping[str, Any] = asyncio.run(local.run(capture, out, options, lambda _: None, until))
    return result["stages"]  # type: ignore[no-any-return]


def _crops(cameras: Path) -> dict[str, list[float]]:
    """Left, top, width, height of each image in its photo, by stem."""
    return {Path(each["image"]).stem: each["crop"] for each in json.loads(cameras.read_text())["images"]}


def _recropped(mask: NDArray[np.uint8], old: list[float], new: list[float]) -> Mask:
    """A mask of one crop of a photo as one of another, of as many pixels."""
    height, width = mask.shape
    scale = np.array([new[2] / old[2], new[3] / old[3]])
    offset = np.array([(new[0] - old[0]) / old[2] * width, (new[1] - old[1]) / old[3] * height])
    to_old = np.column_stack(
        [np.diag(scale), offset + scale / 2 - 0.5]
    )  # of pixels, centres at whole numbers
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(mask, to_old, (width, height), flags=flags) > 127)


def boundary_f(mask: Mask, truth: Mask) -> float:
    """F-score of boundary pixels within NEAR pixels of the other's (Perazzi et al. 2016)."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * NEAR + 1, 2 * NEAR + 1))
    edges = [
        cv2.morphologyEx(each.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((2, 2))) > 0
        for each in (mask, truth)
    ]
    near = [cv2.dilate(edge.astype(np.uint8), disc) > 0 for edge in edges]
    precision, recall = ((edges[k] & near[1 - k]).sum() / max(edges[k].sum(), 1) for k in (0, 1))
    return float(2 * precision * recall / max(precision + recall, 1e-9))


if __name__ == "__main__":
    sys.exit(main())
