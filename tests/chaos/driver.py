"""Sends captures, has things go wrong meanwhile, and waits for the end."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from broker.interface import Message
from broker.rabbitmq import Broker
from broker.topology import CONSUMES
from contracts.dataset import outcome_key
from contracts.envelope import Envelope, new_traceparent
from contracts.errors import EventReturned, Outage
from contracts.events import CaptureCancelled, Event, Options
from tests.chaos.captures import Capture, Plan, Poison, ordinary
from tests.chaos.checker import ending
from tests.chaos.diary import Diary, Entry
from tests.chaos.faults import Fault, Faults
from tests.chaos.record import queues, readable, whose
from workers.runtime.s3 import S3Store
from workers.runtime.storage import NotFound
from workers.upload import upload

R = TypeVar("R")
PAUSE = 0.25
WINDOW = 24
"""Captures under way at once: so that faults fall into all of the run, and the load stays bounded."""
REPLAYED = 0.04
"""Of the stages' events, sent a second time when all that followed from them is long over."""
LATE_SECONDS = (1.0, 6.0)
STARTED_SECONDS = 300
LOOKS = 4


class Driver:
    """`patience`: for how many seconds nothing at all may come to its end before the run is given up; `each`:
    workers of each stage; `doomed`: how many are to be killed between two steps."""

    def __init__(
        self,
        plan: Plan,
        schedule: dict[int, list[Fault]],
        faults: Faults,
        broker: Broker,
        store: S3Store,
        diary: Diary,
        folder: Path,
        patience: float,
        seed: int,
        each: int,
        doomed: int,
    ) -> None:
        self.plan, self._schedule, self._faults = plan, schedule, faults
        self._broker, self._store, self._diary, self._folder = broker, store, diary, folder
        self._patience, self._each, self._doomed = patience, each, doomed
        self._dice = random.Random(f"driver {seed}")
        self._sent: set[str] = set()
        self._over: set[str] = set()
        self._last = time.monotonic()
        self._later: list[asyncio.Task[None]] = []
        self.entries: list[Entry] = []
        self.replayed = 0

    async def run(self) -> None:
        watching = [asyncio.create_task(self._follow()), asyncio.create_task(self._watch())]
        try:
            await self._until_all_listen()
            self._last = time.monotonic()
            self._fail()
            await self._send_all()
            await self._until(lambda: self._sent <= self._over)
            await self._send_more()
            await self._faults.over()
            await asyncio.gather(*self._later)
            await self._until_idle()
        finally:
            for task in (*watching, *self._later):
                task.cancel()
            await asyncio.gather(*watching, *self._later, return_exceptions=True)

    async def _send_all(self) -> None:
        parcels: list[Capture | Poison] = [*self.plan.captures, *self.plan.poison]
        self._dice.shuffle(parcels)
        for parcel in parcels:
            if isinstance(parcel, Poison):
                await insist(partial(self._broker.publish, parcel.message))
                continue
            await self._until(lambda: len(self._sent - self._over) < WINDOW)
            await self._send(parcel)

    async def _send_more(self) -> None:
        """Until all who are doomed are dead: which of the workers does how much is left to chance."""
        while self._sent <= self._over and self._killed() < self._doomed:
            number = len(self.plan.captures)
            more = tuple(ordinary(f"more-{each}") for each in range(number, number + self._each))
            self.plan = replace(self.plan, captures=(*self.plan.captures, *more))
            for capture in more:
                await self._send(capture)
            await self._until(lambda: self._sent <= self._over)

    def _killed(self) -> int:
        return sum(entry["what"] == "killed" for entry in self.entries)

    async def _send(self, capture: Capture) -> None:
        real = capture.do == "real"
        photos = self._folder / "capture" if real else capture.orders(self._folder)
        options = Options(lane=capture.lane, profile="preview", holdout=0)
        event = await upload(
            self._store, photos, tenant=capture.tenant, capture_id=capture.id, options=options
        )
        made = {id: _envelope(event, id) for id in capture.ids}
        for id in capture.ids:
            await self._publish(made[id], event.routing_key)
        self._sent.add(capture.name)
        if capture.cancelled_after is not None:
            self._later.append(asyncio.create_task(self._cancel(event, capture.cancelled_after)))

    async def _cancel(self, event: Event, delay: float) -> None:
        await asyncio.sleep(delay)
        cancellation = event.followed_by(CaptureCancelled, reason="chaos")
        await self._publish(_envelope(cancellation, f"cancel-{event.capture_id}"), cancellation.routing_key)
        started = time.monotonic()
        while time.monotonic() - started < self._patience:
            try:
                await self._store.stat(outcome_key(event))
                break
            except NotFound:
                await asyncio.sleep(PAUSE)
        self._ended(whose(event))

    async def _publish(self, envelope: Envelope, routing_key: str) -> None:
        message = Message(envelope.encode(), routing_key, envelope.id)
        await insist(lambda: self._broker.publish(message))

    async def _follow(self) -> None:
        """What comes out, as it does. Reads on at the same place whatever becomes of the broker."""
        place = -1
        while True:
            try:
                async with self._broker.outcomes(place + 1 if place >= 0 else "first") as outcomes:
                    while True:
                        async with asyncio.timeout(5):
                            at, message = await anext(outcomes)
                        if at > place:
                            place = at
                            self._hear(message)
            except (Outage, TimeoutError):
                await asyncio.sleep(PAUSE)

    def _hear(self, message: Message) -> None:
        envelope = readable(message)
        if envelope is None:
            return
        if ending(envelope.data):
            self._ended(whose(envelope.data))
        elif envelope.source.startswith("phototwin/") and self._dice.random() < REPLAYED:
            self._later.append(asyncio.create_task(self._replay(message)))

    async def _replay(self, message: Message) -> None:
        await asyncio.sleep(self._dice.uniform(*LATE_SECONDS))
        await insist(lambda: self._broker.publish(message))
        self.replayed += 1

    def _ended(self, capture: str) -> None:
        self._last = time.monotonic()
        if capture not in self._over:
            self._over.add(capture)
            self._fail()

    def _fail(self) -> None:
        for fault in self._schedule.get(len(self._over), ()):
            self._faults.begin(fault)

    async def _watch(self) -> None:
        """Who lives, and who is at work."""
        living = self._faults.living
        while True:
            for entry in self._diary.news():
                self.entries.append(entry)
                match entry["what"]:
                    case "born":
                        living.setdefault(entry["of"], False)
                    case "died":
                        living.pop(entry["of"], None)
                    case "delivered" | "settled":
                        living[entry["pid"]] = entry["what"] == "delivered"
            await asyncio.sleep(0.05)

    async def _until_all_listen(self) -> None:
        """So that none comes too late for what is to happen to several at once."""
        topology = self._broker.topology
        async with asyncio.timeout(STARTED_SECONDS):
            for queue in [queue for worker in CONSUMES for queue in topology.live_queues(worker)]:
                while await self._broker.listeners(queue) < self._each:  # noqa: ASYNC110
                    await asyncio.sleep(PAUSE)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition() and time.monotonic() - self._last < self._patience:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def _until_idle(self) -> None:
        """Several looks in a row find nothing that waits and nobody at work; or patience is at its end. (What
        is on its way into its lane is not seen.)"""
        started, quiet = time.monotonic(), 0
        while quiet < LOOKS and time.monotonic() - started < self._patience:
            depths = [await insist(partial(self._broker.depth, queue)) for queue in queues(self._broker)]
            busy = any(depths) or any(self._faults.living.values())
            quiet = 0 if busy else quiet + 1
            await asyncio.sleep(PAUSE)


async def insist(action: Callable[[], Awaitable[R]]) -> R:
    """What it returns, once it does."""
    while True:
        try:
            return await action()
        except (Outage, EventReturned):
            await asyncio.sleep(PAUSE)


def _envelope(event: Event, id: str) -> Envelope:
    return Envelope.wrap(event, id=id, source="chaos", traceparent=new_traceparent())
