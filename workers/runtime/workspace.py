"""The folders that a job works in, on the worker's own disk."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from workers.runtime.storage import local_disk
from workers.runtime.temporary import MARK, remove_left_behind, temporary_folder


class Folders(NamedTuple):
    """See `runtime.child`; `saved` and `previews` lie in `scratch`."""

    inputs: Path
    outputs: Path
    scratch: Path
    saved: Path
    previews: Path


class Workspace:
    """Made once and emptied after each job: to make and remove folders costs more than many a job. Those of
    workers that were killed are removed at first, as a full disk would have us take no job."""

    def __init__(self, parent: str | None) -> None:
        self._parent = parent
        self._root = ExitStack()
        self._folders: Folders | None = None
        remove_left_behind(parent)

    @contextmanager
    def folders(self) -> Iterator[Folders]:
        """Empty ones, for one job at a time. Raises DiskFull."""
        with local_disk(Path(self._parent or tempfile.gettempdir())):
            if self._folders is None or not all(map(os.path.isdir, self._folders)):
                self._folders = self._make()
        try:
            yield self._folders
        finally:
            root = os.path.dirname(self._folders.inputs)  # also what a task calls temporary is here
            keep = {*map(str, self._folders), os.path.join(root, MARK)}
            for folder in (*map(str, self._folders), root):
                _empty(folder, keep)

    def close(self) -> None:
        """Leave nothing behind."""
        self._root.close()
        self._folders = None

    def _make(self) -> Folders:
        self.close()
        root = self._root.enter_context(temporary_folder(self._parent))
        scratch = root / "scratch"
        made = Folders(root / "in", root / "out", scratch, scratch / "checkpoints", scratch / "previews")
        for folder in made:
            folder.mkdir()
        return made


def _empty(folder: str, keep: set[str]) -> None:
    """Remove what is in a folder, except for folders to be kept; of one that is gone there is nothing."""
    if not os.path.isdir(folder):
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.path in keep:
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)
