"""Downloading weights, by hand and never during a job."""

from __future__ import annotations

import tempfile
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from workers.geometry.errors import NumericError
from workers.networks.weights import KNOWN, verified

_PART = 1 << 20  # bytes
_PATIENCE = 60  # seconds without a byte


class CannotFetch(Exception):
    """The weights could not be downloaded; the message is one plain sentence."""


def fetch(name: str, folder: Path, report: Callable[[int, int | None], None]) -> Path:
    """The weights called `name` in KNOWN, downloaded into the folder unless they are there already.

    report: called with the bytes that have come, and all that will where that is known. The file appears when
    it is complete and verified. One of that name that is something else stays as it is.

    Raises CannotFetch, also where other bytes came; NumericError: "weights_damaged", where others lie there.
    """
    weights = KNOWN[name]
    if (folder / weights.file).exists():
        return verified(folder, weights.file, weights.digest)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as aside:
        try:
            _download(weights.url, Path(aside, weights.file), report)
        except (OSError, HTTPException) as error:
            raise CannotFetch(f"{weights.url} could not be downloaded: {error}") from None
        try:
            came = verified(Path(aside), weights.file, weights.digest)
        except NumericError as error:
            found = f"its digest is {error.params['found']} and not {weights.digest}"
            raise CannotFetch(f"{weights.url} is not what it should be: {found}") from None
        return came.replace(folder / weights.file)


def _download(url: str, path: Path, report: Callable[[int, int | None], None]) -> None:
    with urllib.request.urlopen(url, timeout=_PATIENCE) as answer, path.open("wb") as file:
        length = answer.headers["Content-Length"]
        while part := answer.read(_PART):
            file.write(part)
            report(file.tell(), None if length is None else int(length))
