"""How a job's result looks so far, put into the store; never in the job's way."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

from contracts.dataset import preview_key
from contracts.errors import PhototwinError
from workers.runtime.job import MEDIA_TYPES, Job
from workers.runtime.logs import get_logger
from workers.runtime.storage import NotFound, ObjectStore

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
FIELDS = {"preview": ".glb", "preview_image": ".png"}
"""Of `JobProgress`: the files they stand for."""


class Previews:
    """Puts `NAME.glb` and `NAME.png` (either may be missing) out of a folder into the store, in place of
    those before. `on_put` is then given their keys, as fields of `JobProgress`."""

    def __init__(
        self, store: ObjectStore, job: Job, folder: Path, on_put: Callable[[dict[str, str]], None]
    ) -> None:
        self._store, self._job, self._folder, self._on_put = store, job, folder, on_put
        self._newest: str | None = None
        self._putting: asyncio.Task[None] | None = None

    def announce(self, name: str) -> None:
        """The files are complete. Of those announced while others are under way only the last are taken."""
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a preview")
        self._newest = name
        if self._putting is None or self._putting.done():
            self._putting = asyncio.create_task(self._put())

    async def _put(self) -> None:
        while (name := self._newest) is not None:
            self._newest = None
            try:
                keys = {}
                for field, suffix in FIELDS.items():
                    path = self._folder / f"{name}{suffix}"
                    if path.is_file():
                        keys[field] = preview_key(self._job.event, self._job.key, suffix)
                        await self._store.put(keys[field], path, MEDIA_TYPES[suffix])
                if keys:
                    self._on_put(keys)
            except (PhototwinError, NotFound, OSError) as error:
                get_logger().warning("preview not stored", preview=name, error=str(error))

    async def close(self, patience: float) -> None:
        """Give what is under way a moment, and drop the rest."""
        if self._putting is not None:
            await asyncio.wait({self._putting}, timeout=patience)
            self._putting.cancel()
