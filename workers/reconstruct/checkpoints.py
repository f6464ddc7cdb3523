"""Arrays that a long computation saves after a step, and finds again when it is begun anew."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DIGEST = 32


class Checkpoints:
    """One file `STEP.npz` a step, in a folder that outlives the process; None keeps nothing.

    A step is named by letters, digits, `_` and `-`. A file is an uncompressed .npz followed by the SHA-256 of
    its bytes: a zip's own checksums cover its members, but not which members there are.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def has(self, step: str) -> bool:
        """Whether something was saved for the step, be it whole or damaged."""
        return self._folder is not None and (self._folder / f"{step}.npz").exists()

    def load(self, step: str) -> dict[str, NDArray[Any]] | None:
        """All that was last saved for the step; None where there is nothing, or it is damaged."""
        if self._folder is None:
            return None
        try:
            content = (self._folder / f"{step}.npz").read_bytes()
            if hashlib.sha256(memoryview(content)[:-_DIGEST]).digest() != content[-_DIGEST:]:
                return None
            with np.load(io.BytesIO(content), allow_pickle=False) as saved:
                return dict(saved.items())
        except Exception:  # there is no end to what a file of another make can raise
            return None

    def save(self, step: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """In place of what was saved for the step before. Readers see it whole or not at all.

        Raises ValueError for arrays of objects, OSError where the disk is full.
        """
        if self._folder is None:
            return
        part = self._folder / f".{step}.npz"
        with part.open("w+b") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.seek(0)
            file.write(hashlib.file_digest(file, "sha256").digest())
        part.replace(self._folder / f"{step}.npz")
