"""Work that ends as soon as its capture has."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from contracts.errors import CaptureCancelled, StorageUnavailable
from contracts.events import Event
from workers.runtime.job import Job
from workers.runtime.outcome import Outcomes
from workers.runtime.patience import end

INTERVAL = 1.0
T = TypeVar("T")


async def unless_ended(outcomes: Outcomes, job: Job, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns or raises, the job marked as being worked on where that takes longer.

    Raises CaptureCancelled, the work cancelled and over by then, where the generation is cancelled meanwhile,
    or has failed by a copy of the event.
    """
    working = asyncio.create_task(work)
    marked = False
    try:
        while not (await asyncio.wait({working}, timeout=INTERVAL))[0]:
            with suppress(StorageUnavailable):  # no reason to end
                await _check(outcomes, job.event)
                if not marked:
                    await job.mark()
                    marked = True
        return working.result()
    finally:
        await end(working)
        if marked:
            await job.unmark()


async def _check(outcomes: Outcomes, event: Event) -> None:
    if await outcomes.failed(event) is not None:
        raise CaptureCancelled(f"generation {event.generation} of {event.capture_id} has failed")
