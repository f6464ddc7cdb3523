"""For as long as it lasts: what cannot be done while the broker or the store is away is tried again."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from contracts.errors import DeliveryLost, EventReturned, Outage
from workers.runtime.logs import get_logger

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
T = TypeVar("T")


async def patiently(
    action: Callable[[], Awaitable[T]], stalled: Callable[[str], None], stop: asyncio.Event | None = None
) -> T | None:
    """What `action` returns, once it does; None where its delivery is lost, which comes again by itself, and
    where `stop` is set during a pause.

    Pauses grow from half a second to half a minute; `stalled` is called before each with the error's code.
    """
    pause = FIRST_PAUSE
    stop = stop or asyncio.Event()
    while True:
        try:
            return await action()
        except DeliveryLost as error:
            get_logger().warning("delivery lost, it will come again", error=error.message)
            return None
        except (Outage, EventReturned) as error:
            get_logger().error("cannot go on yet", code=error.code, error=error.message, pause=pause)
            stalled(error.code)
            await wait(stop, pause)
            if stop.is_set():
                return None
            pause = min(2 * pause, LONGEST_PAUSE)


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set, but no longer than that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel them, and return when they are done. A cancellation can be lost on its way: a library may make
    an error of it, which is then taken for an outage."""
    while any(not task.done() for task in tasks):
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1.0)
