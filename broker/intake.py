"""A worker's queues, served one message at a time and fairly: lanes by their share, tenants in turn.

While there is work the broker is asked for one message after another, so none waits in the hands of a worker
that is busy with another. While there is none the worker listens, and starts on what comes at once; only if
that takes long (`release`) does it let go of what has come meanwhile, so a flood of jobs that are done in no
time costs no asking.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from broker.interface import Delivery, Inbox
from contracts.events import LANES, Lane

SHARE = 3
"""Messages of the interactive lane for one of the bulk lane, where both have some."""
CHECK_SECONDS = 30.0
"""RabbitMQ can end a consumer without our noticing; so while nothing comes it is asked now and then."""


class Turns:
    """In which order a worker's queues are asked. Tenants share turns only with those of the same shard."""

    def __init__(self, queues: Mapping[Lane, Sequence[str]]) -> None:
        self._queues = {lane: list(queues[lane]) for lane in LANES}
        self._turn = 0

    def order(self) -> list[str]:
        first, second = reversed(LANES) if self._turn % (SHARE + 1) == SHARE else LANES
        return self._queues[first] + self._queues[second]

    def served(self, queue: str) -> None:
        """Its lane's other queues are next, then it again."""
        self._turn += 1
        for shards in self._queues.values():
            if queue in shards:
                place = shards.index(queue) + 1
                shards[:] = shards[place:] + shards[:place]


class Intake:
    """Deliveries out of an inbox; `deaf` is called where the broker had a message that it did not send."""

    def __init__(self, inbox: Inbox, turns: Turns, deaf: Callable[[], None]) -> None:
        self._inbox, self._turns, self._deaf = inbox, turns, deaf
        self._listening = False

    async def next(self, stop: asyncio.Future[Any]) -> Delivery | None:
        """Waits for it; None once `stop` is done. Raises BrokerUnavailable.

        To be stopped so, not cancelled: a question to the broker that is cancelled takes its channel along.
        """
        while not stop.done():
            if not self._listening:
                if (delivery := await self.poll()) is not None:
                    return delivery
                await self._inbox.listen()
                self._listening = True
            arriving = asyncio.create_task(self._inbox.arrival())
            await asyncio.wait({arriving, stop}, timeout=CHECK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if arriving.done():
                return arriving.result()
            arriving.cancel()
            if not stop.done() and (delivery := await self.poll()) is not None:
                self._deaf()
                await self.release()
                return delivery
        return None

    async def poll(self) -> Delivery | None:
        """What there is now. Raises BrokerUnavailable."""
        for queue in self._turns.order():
            if (delivery := await self._inbox.take(queue)) is not None:
                self._turns.served(queue)
                return delivery
        return None

    async def release(self) -> None:
        """Leave to others what is not being worked on here. Raises BrokerUnavailable."""
        if self._listening:
            self._listening = False
            await self._inbox.hush()
