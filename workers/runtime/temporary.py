"""Temporary folders, gone with their process; of one that was killed the next to start removes them. Else a
container that is killed again and again would fill its disk."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "phototwin-"
MARK = ".in-use"
"""A file that is locked as long as the process lives whose folder it is."""


@contextmanager
def temporary_folder(parent: str | None) -> Iterator[Path]:
    """Gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent) as name:
        folder = Path(name)
        with (folder / f"{MARK}-not").open("wb") as mark:
            with suppress(OSError):  # no locks here: unmarked, it is left to its process alone
                fcntl.flock(mark, fcntl.LOCK_EX)
                os.rename(mark.name, folder / MARK)  # once it is locked, or it would look left behind
            yield folder


def remove_left_behind(parent: str | None) -> None:
    """What `temporary_folder` made for processes that are gone."""
    for mark in Path(parent or tempfile.gettempdir()).glob(f"{PREFIX}*/{MARK}"):
        with suppress(OSError):  # somebody else's, in use, or removed meanwhile
            handle = os.open(mark, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(mark.parent, ignore_errors=True)
            finally:
                os.close(handle)
