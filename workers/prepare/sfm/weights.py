"""The weights of networks that structure from motion may use."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from workers.geometry.errors import NumericError
from workers.networks.weights import KNOWN, RUNTIMES, verified

Networks = Mapping[str, Mapping[str, str]]
"""By what they are for, "aliked", "lightglue" or "retrieval": digests of their files, by name."""


def of_aliked() -> dict[str, str]:
    """Its file, with its digest."""
    return {KNOWN["aliked"].file: KNOWN["aliked"].digest}


def ready(networks: Networks, folder: Path) -> dict[str, list[Path]]:
    """Their files, once it is sure that they are what was named, and that something is installed to run them.

    Raises NumericError "weights_missing", "weights_damaged", "weights_unusable".
    """
    for name in networks:
        extra, packages = ("onnx", RUNTIMES) if name == "retrieval" else ("aliked", ("kornia",))
        if not any(find_spec(package) for package in packages):
            how = f"`pip install 'phototwin[{extra}]'` installs it"
            raise NumericError("weights_unusable", f"{packages[0]} is not installed here: {how}", file=name)
    return {
        name: [verified(folder, file, digest) for file, digest in files.items()]
        for name, files in networks.items()
    }
