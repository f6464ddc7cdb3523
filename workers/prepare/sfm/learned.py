"""Features, matches and global descriptors by networks, which is kornia's and ONNX's business.

ALIKED: Zhao et al., "ALIKED: A Lighter Keypoint and Descriptor Extraction Network via Deformable
Transformation", 2023. LightGlue: Lindenberger, Sarlin and Pollefeys, "LightGlue: Local Feature Matching at
Light Speed", 2023.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from kornia.feature import ALIKED, LightGlue
from numpy.typing import NDArray

from workers.networks.onnx import answers
from workers.networks.tensors import filled, read
from workers.networks.weights import unusable
from workers.prepare.sfm.features import MOST, Features
from workers.prepare.sfm.matching import Matches

Grey = NDArray[np.uint8]
Float = NDArray[np.float32]


def aliked(path: Path) -> Callable[[Grey, tuple[int, int]], Features]:
    """`Plugs.find` by the weights in a file that is named for its kind, as "aliked-n16rot.pth". Sets torch to
    one thread: photos are looked at side by side.

    NumericError "weights_unusable".
    """
    torch.set_num_threads(1)
    # No threshold: a plain table's few faint features are all there is to go by.
    empty = ALIKED(path.stem, max_num_keypoints=MOST, detection_threshold=0)
    network = filled(empty, read(path), path, derived=("hw_grid",)).to(_device())

    @torch.inference_mode()
    def find(grey: Grey, size: tuple[int, int]) -> Features:
        image = torch.from_numpy(grey).to(_device())[None, None].float() / 255
        (found,) = network(image)
        scale = np.array(size) / (grey.shape[1], grey.shape[0])
        # Its pixel centres are at +0.
        xy = (found.keypoints.double().cpu().numpy() + 0.5) * scale
        return Features(xy, found.descriptors.cpu().numpy(), np.zeros(len(xy), np.float32), size)

    return find


def lightglue(path: Path) -> Callable[[Features, Features], Matches]:
    """`Plugs.match` by weights in a file, which also say how large the network is. Sets torch to one thread.

    NumericError "weights_unusable", also where the weights are for other features.
    """
    torch.set_num_threads(1)
    # As its authors published it, before its parts got other names.
    tensors = {
        re.sub(r"^(self|cross)_attn\.(\d+)", r"transformers.\2.\1_attn", name): tensor
        for name, tensor in read(path).items()
    }
    try:
        wide = len(tensors["log_assignment.0.final_proj.weight"])
        head, places = tensors["posenc.Wr.weight"].shape
        taken = tensors["input_proj.weight"].shape[1] if "input_proj.weight" in tensors else wide
        layers = sum(name.endswith("final_proj.weight") for name in tensors)
        heads = wide // (2 * head)
        size = {"input_dim": taken, "descriptor_dim": wide, "num_heads": heads, "n_layers": layers}
        empty = LightGlue(None, **size)  # type: ignore[arg-type]
    except Exception as error:
        raise unusable(path, f"they are not LightGlue's: {error}") from None
    if (taken, places) != (128, 2):
        raise unusable(path, f"they match other features than ALIKED's, of {taken} numbers and {places} more")
    network = filled(empty, tensors, path, derived=("confidence_thresholds",)).to(_device())

    def told(features: Features) -> dict[str, torch.Tensor]:
        given = {
            "keypoints": features.xy.astype(np.float32),
            "descriptors": features.descriptors,
            "image_size": np.array(features.size, np.float32),
        }
        return {name: torch.from_numpy(values)[None].to(_device()) for name, values in given.items()}

    @torch.inference_mode()
    def match(one: Features, other: Features) -> Matches:
        found = network({"image0": told(one), "image1": told(other)})["matches"][0]
        return np.asarray(found.cpu().numpy(), np.uint32).reshape(-1, 2)

    return match


def retrieval(paths: Sequence[Path]) -> Callable[[Sequence[Grey], Sequence[Features]], Float]:
    """`Plugs.describe` by a network in ONNX such as DINOv2 (Oquab et al. 2024), from an image to a vector. It
    is shown photos in grey. NumericError "weights_unusable", when it is used."""

    def describe(greys: Sequence[Grey], _: Sequence[Features]) -> Float:
        images = [np.broadcast_to(grey[..., None], (*grey.shape, 3)) for grey in greys]
        found = answers(images, paths, lambda _: None)
        if found.ndim != 2:
            raise unusable(paths[0], f"its output has the shape {found.shape}, and (B,D) was expected")
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9), np.float32)

    return describe


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
