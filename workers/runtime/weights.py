"""Weights of networks that lie in the object store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from workers.runtime.settings import Settings, SettingsError
from workers.runtime.storage import ObjectStore
from workers.runtime.temporary import remove_left_behind, temporary_folder
from workers.runtime.worker import Worker

IN_STORE = "store:"


@asynccontextmanager
async def weights_at_hand(
    worker: type[Worker[Any]], settings: Settings, store: ObjectStore
) -> AsyncIterator[Settings]:
    """The settings with their weights in a folder: fetched, for a worker that wants them and as long as it
    runs, where they lie in the store. Whether they are what they should be is for their reader to see.

    Raises SettingsError where there are none, StorageUnavailable.
    """
    where = settings.weights or ""
    if not worker.networks(settings) or not where.startswith(IN_STORE):
        yield settings
        return
    prefix = where.removeprefix(IN_STORE).strip("/") + "/"
    remove_left_behind(settings.work_dir)
    with temporary_folder(settings.work_dir) as made:
        (folder := made / "weights").mkdir()
        found = [item for item in await store.below(prefix) if "/" not in item.key.removeprefix(prefix)]
        if not found:
            raise SettingsError(
                f"PHOTOTWIN_WEIGHTS is {where}, and the object store has nothing below {prefix}"
            )
        for item in found:
            await store.download(item.key, folder / item.key.removeprefix(prefix), item.bytes)
        yield settings.model_copy(update={"weights": str(folder)})
