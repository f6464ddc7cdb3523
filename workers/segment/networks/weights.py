"""Which weights a segmenter reads, and whether all that it needs is there."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from workers.geometry.errors import NumericError
from workers.networks.weights import KNOWN, RUNTIMES, verified

PACKAGES: Mapping[str, tuple[str, ...]] = {"carvekit": ("carvekit",), "onnx": RUNTIMES}
"""What runs the networks of a segmenter; one is enough."""


def of_carvekit(folder: Path) -> dict[str, str]:
    """The files that CarveKit's networks are loaded from, with their digests: Tracer-B7, or U²-Net where only
    that one is there; and FBA matting where it is there, for not everybody may use it."""
    only_u2net = _lies(folder, "u2net") and not _lies(folder, "tracer_b7")
    names = ["u2net" if only_u2net else "tracer_b7"]
    names += ["fba_matting"] if _lies(folder, "fba_matting") else []
    return {KNOWN[name].file: KNOWN[name].digest for name in names}


def ready(segmenter: str, folder: Path, files: Mapping[str, str]) -> dict[str, Path]:
    """`files` (digests by name) as verified paths, once it is sure that the segmenter is installed.

    Raises NumericError: "segmenter_unavailable", "weights_missing", "weights_damaged".
    """
    if not any(find_spec(package) for package in PACKAGES[segmenter]):
        how = f"`pip install 'phototwin[{segmenter}]'` installs it"
        raise NumericError(
            "segmenter_unavailable", f"{segmenter} is not installed here: {how}", segmenter=segmenter
        )
    if not files:
        raise NumericError(
            "segmenter_unavailable",
            f"no weights are named here for {segmenter}: set PHOTOTWIN_ONNX_MODEL and PHOTOTWIN_ONNX_SHA256",
            segmenter=segmenter,
        )
    return {file: verified(folder, file, digest) for file, digest in files.items()}


def _lies(folder: Path, name: str) -> bool:
    return (folder / KNOWN[name].file).is_file()
