"""CarveKit's networks: Tracer-B7 or U²-Net finds the object, FBA matting draws its edge.

CarveKit's own classes would fetch weights by themselves, delete those they do not know, and unpickle whatever
they hold. So its networks are taken alone, and fed and read as those classes do (`carvekit.ml.wrap` 4.1.2).

Tracer: Lee, Shin and Han, "TRACER: Extreme Attention Guided Salient Object Tracing Network", 2022.
U²-Net: Qin et al., "U²-Net: Going Deeper with Nested U-Structure for Salient Object Detection", 2020.
FBA: Forte and Pitié, "F, B, Alpha Matting", 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numba
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from torch.nn.functional import interpolate

from workers.networks.tensors import filled, read
from workers.networks.weights import KNOWN
from workers.segment.networks.weights import ready

Images = NDArray[np.uint8]
Masks = NDArray[np.float32]
Report = Callable[[float, str], None]

_SIDES = {"tracer_b7": 640, "u2net": 320}  # pixels of what they are fed with
_AT_ONCE = 2  # images through Tracer or U²-Net: 1.5 GB of memory
_MEAN, _SPREAD = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))
_FAINTEST = 0.3  # of what matting gives; all that is fainter is none of the object


def segment(images: Images, folder: Path, files: Mapping[str, str], report: Report) -> Masks:
    """See the package. `files` are as `of_carvekit` gives them."""
    paths = ready("carvekit", folder, files)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    known = {name: paths[weights.file] for name, weights in KNOWN.items() if weights.file in paths}
    with _threads(), torch.inference_mode():
        name, network = ("tracer_b7", _tracer) if "tracer_b7" in known else ("u2net", _u2net)
        find = network(known[name], device)
        matting = _matting(known["fba_matting"], device) if "fba_matting" in known else None
        masks = []
        for start in range(0, len(images), _AT_ONCE):
            some = images[start : start + _AT_ONCE]
            for image, mask in zip(some, find(some), strict=True):
                masks.append(mask if matting is None else matting(image, mask))
                report(len(masks) / len(images), "outlines")
    return np.stack(masks)


def _tracer(path: Path, device: torch.device) -> Callable[[Images], Masks]:
    from carvekit.ml.arch.tracerb7.efficientnet import EfficientEncoderB7
    from carvekit.ml.arch.tracerb7.tracer import TracerDecoder

    # The weights hold an edge detector too, which CarveKit leaves out.
    network = filled(TracerDecoder(encoder=EfficientEncoderB7()), read(path), path).to(device)

    def find(images: Images) -> Masks:
        x = torch.from_numpy(images).to(device).permute(0, 3, 1, 2) / 255
        x = interpolate(x, (_SIDES["tracer_b7"],) * 2, mode="bilinear", antialias=True)
        x = (x - _column(_MEAN, x)) / _column(_SPREAD, x)
        found = network(x)
        return _resized(found[:, 0], images, cv2.INTER_LINEAR)

    return find


def _u2net(path: Path, device: torch.device) -> Callable[[Images], Masks]:
    from carvekit.ml.arch.u2net.u2net import U2NETArchitecture

    network = filled(U2NETArchitecture(), read(path), path).to(device)

    def find(images: Images) -> Masks:
        small = [_pillow_resized(image, _SIDES["u2net"]) for image in images]
        scaled = np.stack([image / max(1.0, image.max()) for image in small])
        x = torch.from_numpy(((scaled - _MEAN) / _SPREAD).astype(np.float32)).to(device).permute(0, 3, 1, 2)
        found = network(x)[0][:, 0]
        low, high = found.amin((1, 2), keepdim=True), found.amax((1, 2), keepdim=True)
        return _resized((found - low) / (high - low).clamp_min(1e-6), images, cv2.INTER_CUBIC)

    return find


def _matting(path: Path, device: torch.device) -> Callable[[Images, Masks], Masks]:
    """Of one image (h,w,3) and its mask (h,w): the mask with its edge drawn anew."""
    from carvekit.ml.arch.fba_matting.models import FBA
    from carvekit.ml.arch.fba_matting.transforms import groupnorm_normalise_image, trimap_transform
    from carvekit.trimap.generator import TrimapGenerator

    network = filled(FBA(encoder="resnet50_GN_WS"), read(path), path).to(device)
    unsure = TrimapGenerator()

    def tensor(values: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(device).permute(2, 0, 1)[None]

    def matte(image: Images, mask: Masks) -> Masks:
        coarse = Pillow.fromarray(np.round(255 * mask).astype(np.uint8))
        trimap = np.asarray(unsure(original_image=Pillow.fromarray(image), mask=coarse))
        size = [8 * -(-side // 8) for side in trimap.shape[::-1]]
        photo = tensor(cv2.resize(image[..., ::-1] / 255, size, interpolation=cv2.INTER_LANCZOS4))
        told = np.stack([trimap == 0, trimap == 255], axis=2).astype(np.float64)
        sure = cv2.resize(told, size, interpolation=cv2.INTER_LANCZOS4)
        normalised = groupnorm_normalise_image(photo.clone(), format="nchw")
        found = network(photo, tensor(sure), normalised, tensor(trimap_transform(sure)))
        alpha = cv2.resize(found[0, 0].cpu().numpy(), trimap.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return np.where((trimap > 0) & (alpha >= _FAINTEST), alpha.clip(0, 1), 0).astype(np.float32)

    return matte


def _column(values: NDArray[np.float64], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, 3, 1, 1)


def _pillow_resized(image: Images, side: int) -> NDArray[np.float64]:
    return np.asarray(Pillow.fromarray(image).resize((side, side), Pillow.Resampling.BICUBIC), np.float64)


def _resized(masks: torch.Tensor, images: Images, how: int) -> Masks:
    """(N,y,x) -> (N,h,w), as large as the images."""
    size = images.shape[2], images.shape[1]
    resized = [cv2.resize(mask, size, interpolation=how) for mask in masks.cpu().numpy()]
    return np.stack(resized).astype(np.float32).clip(0, 1)


@contextmanager
def _threads() -> Iterator[None]:
    """As many for torch as kernels have. Otherwise a job leaves it one: its threads fight with theirs."""
    before = torch.get_num_threads()
    torch.set_num_threads(numba.get_num_threads())
    try:
        yield
    finally:
        torch.set_num_threads(before)
