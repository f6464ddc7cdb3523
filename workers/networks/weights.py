"""Weights of networks as files: where they come from, and whether they are what they should be."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workers.geometry.errors import NumericError

RUNTIMES = "openvino", "onnxruntime"
"""Packages that run networks in ONNX; one is enough."""
_HUB = "https://huggingface.co/Carve"


@dataclass(frozen=True)
class Weights:
    """`licence`: of the weights, which is not always that of the code."""

    file: str
    url: str
    digest: str
    licence: str


# CarveKit's networks have the addresses and digests of carvekit 4.1.2 (carvekit/utils/download_models.py). It
# gives SHA-512, and no SHA-256 that could be trusted is published beside it.
KNOWN: Mapping[str, Weights] = {
    "tracer_b7": Weights(
        "tracer_b7.pth",
        f"{_HUB}/tracer_b7/resolve/d8a8fd9e7b3fa0d2f1506fe7242966b34381e9c5/tracer_b7.pth",
        "sha512:c439c5c12d4d43d5f9be9ec61e68b2e54658a541bccac2577ef5a54fb252b6e8"
        "415d41f7ec2487033d0c02b4dd08367958e4e62091318111c519f93e2632be7b",
        "Apache-2.0",
    ),
    "u2net": Weights(
        "u2net.pth",
        f"{_HUB}/u2net-universal/resolve/10305d785481cf4b2eee1d447c39cd6e5f43d74b/full_weights.pth",
        "sha512:16f8125e2fedd8c85db0e001ee15338b4aa2fda77bab8ba70c25ebea1533fda5"
        "ee70a909b934a9bd495b432cef89d629f00a07858a517742476fa8b346de24f7",
        "Apache-2.0",
    ),
    "fba_matting": Weights(
        "fba_matting.pth",
        f"{_HUB}/fba/resolve/a5d3457df0fb9c88ea19ed700d409756ca2069d1/fba_matting.pth",
        "sha512:890906ec94c1bfd2ad08707a63e4ccb0955d7f5d25e32853950c24c784cbad2e"
        "59be277999defc3754905d0f15aa75702cdead3cfe669ff72f08811c52971613",
        # None is told where they lie; they are as large as those that their authors publish.
        "noncommercial use only, as learnt from Adobe's image matting data",
    ),
    # As its authors' repository holds it, whose licence covers it.
    "aliked": Weights(
        "aliked-n16rot.pth",
        "https://github.com/Shiaoming/ALIKED/raw/683d7c65197395c0b3f01ebe76e1084a27e73a65/models/aliked-n16rot.pth",
        "sha256:ddf3abbf38e86f6a74540d214e1a9712c54b2d8551abc864542199f2347d7332",
        "BSD-3-Clause",
    ),
}
SETS: Mapping[str, tuple[str, ...]] = {"carvekit": ("tracer_b7",)}
"""What a segmenter's own name stands for: what it needs, and anybody may use."""


def of_onnx(folder: Path, model: str, sha256: str) -> dict[str, str]:
    """What decides the answers of a network in ONNX: its file, and the one beside it that describes it."""
    beside = folder / Path(model).with_suffix(".json").name
    described = {beside.name: digest_of(beside, "sha256")} if beside.is_file() else {}
    return {model: f"sha256:{sha256}", **described}


def verified(folder: Path, file: str, digest: str) -> Path:
    """The file, when it is what `digest` ("sha256:…" or "sha512:…") says. It is never changed or deleted.

    Raises NumericError: "weights_missing", which says how to get them, and "weights_damaged".
    """
    path = folder / file
    if not path.is_file():
        names = [name for name, weights in KNOWN.items() if weights.file == file]
        how = f"run `phototwin weights fetch {names[0]}`" if names else f"put {file} there"
        where = f"there is no {file} among the weights (PHOTOTWIN_WEIGHTS)"
        raise NumericError("weights_missing", f"{where}: {how}", file=file, remedy=how)
    found = digest_of(path, digest.partition(":")[0])
    if found != digest:
        raise NumericError(
            "weights_damaged",
            f"the weights {path} are damaged, or others: their digest is {found} and not {digest}",
            file=file,
            expected=digest,
            found=found,
        )
    return path


def digest_of(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def unusable(path: Path, why: object) -> NumericError:
    """For weights that are what was asked for, and still cannot be used."""
    return NumericError("weights_unusable", f"the weights {path.name} cannot be used: {why}", file=path.name)
