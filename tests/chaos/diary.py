"""What happened among the workers, in the order in which it did: one file that all processes append to."""

import json
import os
import time
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class Diary:
    """Entries have `what`, `pid` and `at` (Unix seconds); what else depends on `what`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Appending a line with one write: no two processes' lines are ever mixed, and no kill tears one.
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        self._place = 0

    def note(self, what: str, **facts: Any) -> None:
        entry = {"what": what, "pid": os.getpid(), "at": time.time(), **facts}
        os.write(self._file, json.dumps(entry).encode() + b"\n")

    def news(self) -> list[Entry]:
        """The entries since the last call."""
        with self._path.open("rb") as file:
            file.seek(self._place)
            found = file.read()
        self._place += len(found)
        return [json.loads(line) for line in found.splitlines()]
