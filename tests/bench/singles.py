"""How well the object of one photo is found without its neighbours: `python -m tests.bench.singles DATA_DIR`.

DATA_DIR: a folder with photos and their masks (NAME.jpg beside NAME_alpha.png, anywhere below), and with
captures whose frames have masks (CASE/phone, and real ones), of which each photo is taken alone. Prints, for
each, the overlap (IoU) by this segmenter and by GrabCut from a rectangle, and whether the confidence tells
good from bad ones: Spearman's rank correlation, and the mean overlap by confidence.
"""

import argparse
import sys
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path
from time import process_time

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from tests.bench.cases import is_real
from workers.evaluate.views import read_views
from workers.geometry.images import read_grey, read_rgb
from workers.segment.single import segment

PIXELS = 512  # of the photos' longer side
RECTANGLE = 0.15  # of the photo that is certainly none of the object, on either side, for GrabCut
STEPS = 0.0, 0.6, 0.75, 0.9, 1.01  # of confidence

Mask = NDArray[np.bool_]
Image = NDArray[np.uint8]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.singles", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--views", type=int, default=6, help="photos of each capture, evenly spread")
    arguments = parser.parse_args()
    rows: dict[str, list[tuple[float, float, float]]] = {}
    seconds = []
    for name, image, truth in _photos(arguments.data, arguments.views):
        start = process_time()
        inside, confidence = segment(image, np.zeros(image.shape[:2], np.float32), lambda part, step: None)
        seconds.append(process_time() - start)
        row = _overlap(inside > 0.5, truth), confidence, _overlap(_grabcut(image), truth)
        rows.setdefault(name, []).append(row)
    if not rows:
        parser.error(f"{arguments.data} has no photo with a mask")
    print("| photos of | photos | mean IoU | worst IoU | mean confidence | GrabCut's mean IoU |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, each in [*rows.items(), ("all", list(chain(*rows.values())))]:
        right, sure, other = np.array(each).T
        figures = right.mean(), right.min(), sure.mean(), other.mean()
        print(f"| {name} | {len(each)} | {' | '.join(f'{value:.3f}' for value in figures)} |")
    _print_confidence(right, sure)
    print(f"CPU s a photo: {np.mean(seconds):.2f}")
    return 0


def _print_confidence(right: NDArray[np.float64], sure: NDArray[np.float64]) -> None:
    print(f"\nrank correlation of confidence and IoU: {spearmanr(right, sure).statistic:.2f}")
    for low, high in pairwise(STEPS):
        some = right[(sure >= low) & (sure < high)]
        if len(some):
            told = f"mean IoU {some.mean():.3f}, worst {some.min():.3f}"
            print(f"confidence {low:.2f} to {min(high, 1):.2f}: {len(some)} photos, {told}")


def _photos(data: Path, views: int) -> Iterator[tuple[str, Image, Mask]]:
    """Name of the group, photo (h,w,3) and its true mask (h,w)."""
    for alpha in sorted(data.rglob("*_alpha.png")):
        image = alpha.with_name(alpha.name.removesuffix("_alpha.png") + ".jpg")
        yield alpha.parent.name, *_small(read_rgb(image), read_grey(alpha))
    for listing in sorted(data.rglob("transforms*.json")):
        phone = listing.parent.name == "phone" and listing.name == "transforms_train.json"
        if phone or (listing.name == "transforms.json" and is_real(listing.parent)):
            found = [view for view in read_views(listing) if view.mask is not None]
            name = listing.parent.parent.name if phone else listing.parent.name
            for i in np.linspace(0, len(found) - 1, min(views, len(found))).astype(int):
                mask = found[i].mask
                assert mask is not None
                yield name, *_small(read_rgb(found[i].picture), read_grey(mask))


def _small(image: Image, mask: Image) -> tuple[Image, Mask]:
    factor = min(1.0, PIXELS / max(image.shape[:2]))
    size = (round(factor * image.shape[1]), round(factor * image.shape[0]))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return small, np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > 127)


def _grabcut(image: Image) -> Mask:
    height, width = image.shape[:2]
    left, top = round(RECTANGLE * width), round(RECTANGLE * height)
    found = np.zeros((height, width), np.uint8)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(
        cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
        found,
        (left, top, width - 2 * left, height - 2 * top),
        *models,
        4,
        cv2.GC_INIT_WITH_RECT,
    )
    return np.asarray((found == cv2.GC_FGD) | (found == cv2.GC_PR_FGD))


def _overlap(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


if __name__ == "__main__":
    sys.exit(main())
