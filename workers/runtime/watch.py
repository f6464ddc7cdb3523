"""Work that ends as soon as its capture is cancelled."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from contracts.errors import StorageUnavailable
from workers.runtime.job import Job

INTERVAL = 1.0
T = TypeVar("T")


async def unless_cancelled(job: Job, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns or raises. Raises CaptureCancelled, the work cancelled and over by then."""
    working, watching = asyncio.create_task(work), asyncio.create_task(_cancellation(job))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await watching
        return await working
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _cancellation(job: Job) -> None:
    """Raises CaptureCancelled once there is reason to; a store that is away is none."""
    while True:
        await asyncio.sleep(INTERVAL)
        with suppress(StorageUnavailable):
            await job.check_cancelled()
