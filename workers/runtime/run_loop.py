"""The run loop of a worker: brings one delivery after another, and ends in good order."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Literal

from broker.intake import Intake, Turns
from broker.interface import Broker, Delivery
from contracts.errors import EventReturned, Outage
from contracts.events import LANES
from workers.runtime.chores import Chores
from workers.runtime.compute import Compute
from workers.runtime.logs import get_logger
from workers.runtime.metrics import Metrics
from workers.runtime.patience import end, patiently, wait
from workers.runtime.settings import Settings
from workers.runtime.shell import Shell
from workers.runtime.storage import ObjectStore
from workers.runtime.worker import Worker

LOOKS, LOOK_PAUSE = 2, 0.5
"""After which nothing is left: what somebody else was just putting into its lane is there by then."""
LONG_SECONDS = 1.0
"""A job that takes longer has the worker let go of whatever it would only do afterwards."""
FAREWELL_SECONDS = 5.0
"""Of the grace period, for handing over a job that is not finished within the rest of it."""
FULL_PAUSE = 5.0
Until = Literal["stopped", "empty", "once"]
Arrivals = Callable[[], Awaitable[None]]


class RunLoop:
    """Runs one worker against a broker and a store, and its chores beside it."""

    def __init__(
        self,
        worker: Worker[Any],
        broker: Broker,
        store: ObjectStore,
        compute: Compute,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._shell = Shell(worker, broker, store, compute, settings, metrics)
        self._broker = broker
        self._settings = settings
        self._metrics = metrics
        self._log = get_logger()
        self._stage = worker.stage
        self._topology = settings.topology
        metrics.begin(self._stage)
        self._chores = Chores(broker, store, self._topology, metrics)
        self._listening, self._attended = False, 0

    def fault(self) -> str | None:
        """One sentence while it is not yet at work, else None."""
        if self._listening and self._chores.attending == self._attended:
            return None
        return "starting: not all queues are listened to yet"

    async def run(self, stop: asyncio.Event, *, until: Until = "stopped") -> None:
        """Until `stop` is set (the job at hand is then finished, if that is soon, or given back); with
        `until` "empty" or "once" no longer than there is something to do, or than one event takes."""
        stage, chores, drain = self._stage, self._chores, until != "stopped"
        beside = [chores.heed_cancellations(), chores.bury_lost(stage)]
        if not drain:
            beside.append(chores.sort(stage))
        aside, self._attended = [asyncio.create_task(chore) for chore in beside], len(beside)
        queues = self._topology.live_queues(stage) if drain else self._topology.work_queues(stage)
        turns = Turns({lane: self._topology.lane_queues(stage, lane) for lane in LANES})
        async with self._broker.inbox(queues) as inbox:
            self._listening = True
            intake = Intake(inbox, turns, self._deaf)
            arrivals = partial(chores.sort_all, stage, inbox) if drain else None
            jobs = asyncio.create_task(self._jobs(intake, stop, arrivals, once=until == "once"))
            try:
                await asyncio.wait({jobs, *aside}, return_when=asyncio.FIRST_COMPLETED)
                for task in (jobs, *aside):
                    if task.done():
                        task.result()  # a chore ends by a fault of ours only: end, to be started anew
            finally:
                await end(jobs, *aside)
                self._shell.close()

    async def _jobs(
        self, intake: Intake, stop: asyncio.Event, arrivals: Arrivals | None, *, once: bool
    ) -> None:
        stopping = asyncio.create_task(stop.wait())
        while (delivery := await self._next(intake, stop, stopping, arrivals)) is not None:
            job = asyncio.create_task(self._shell.handle(delivery))
            try:
                await asyncio.wait({job, stopping}, timeout=LONG_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if not job.done():
                    await self._hush(intake)
                    await asyncio.wait({job, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not job.done():
                    await self._hand_over(delivery, job)
                else:
                    job.result()  # a bug in the shell itself: end, and let the message come again
            finally:
                await end(job)
            if once:
                break
        stopping.cancel()
        await self._hush(intake)

    async def _hand_over(self, delivery: Delivery, job: asyncio.Task[None]) -> None:
        """The job at hand, as we are to end: finished where that is sooner than we have to be gone."""
        patience = self._settings.grace_seconds - FAREWELL_SECONDS
        if self._shell.left < patience:
            self._log.info("finishing the job at hand", event_id=delivery.message.id)
            await asyncio.wait({job}, timeout=patience)
        if job.done():
            job.result()
            return
        await end(job)
        with suppress(Outage, EventReturned, TimeoutError):  # then the connection's end gives it back
            async with asyncio.timeout(FAREWELL_SECONDS):
                await delivery.give_back()
        self._log.info("job given back", event_id=delivery.message.id)

    async def _hush(self, intake: Intake) -> None:
        with suppress(Outage, EventReturned):  # what is held comes again when the connection ends
            await intake.release()

    async def _next(
        self, intake: Intake, stop: asyncio.Event, stopping: asyncio.Task[Any], arrivals: Arrivals | None
    ) -> Delivery | None:
        """The next delivery, once there is room to work on it; None when it is time to end: where `arrivals`
        is given, which sorts them, when nothing is left."""
        await self._room(stop)
        if stop.is_set():
            return None
        if arrivals is None:
            return await patiently(partial(intake.next, stopping), self._shell.stalled, stop)
        for _ in range(LOOKS):
            # Read, not asked for their length: RabbitMQ says 0 where a queue's leader is slow to tell.
            await patiently(arrivals, self._shell.stalled, stop)
            delivery = await patiently(intake.poll, self._shell.stalled, stop)
            if delivery is not None or stop.is_set():
                return delivery
            await wait(stop, LOOK_PAUSE)
        return None

    async def _room(self, stop: asyncio.Event) -> None:
        """Returns once the disk has room for a job: until then others may take them."""
        folder = self._settings.work_dir or tempfile.gettempdir()
        while (free := shutil.disk_usage(folder).free) < self._settings.min_free_bytes and not stop.is_set():
            self._log.error("the disk is full, taking no jobs", folder=folder, free=free)
            self._shell.stalled("disk_full")
            await wait(stop, FULL_PAUSE)

    def _deaf(self) -> None:
        self._metrics.deaf.labels(self._stage).inc()
        self._log.error("RabbitMQ had stopped sending; listening anew")
