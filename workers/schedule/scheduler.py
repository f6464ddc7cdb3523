"""Looks at reconstruct's queues and at the Jobs there are, again and again, and does what that asks for."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from broker.interface import Broker
from contracts.errors import BrokerUnavailable
from workers.runtime.logs import get_logger
from workers.runtime.patience import end, wait
from workers.schedule.cluster import REASONS, Cluster, ClusterUnavailable, QuotaExceeded
from workers.schedule.decision import UNFINISHED, Plan, decide
from workers.schedule.template import Template

LONGEST_PAUSE = 120.0


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.created = Counter("phototwin_schedule_jobs_created", "Jobs created", registry=self.registry)
        self.refused = Counter(
            "phototwin_schedule_refused",
            "Requests that Kubernetes refused: exists (another scheduler was first), quota, and others",
            ["reason"],
            registry=self.registry,
        )
        self.active = Gauge("phototwin_schedule_jobs_active", "Jobs not finished", registry=self.registry)
        self.waiting = Gauge(
            "phototwin_schedule_waiting", "Messages ready in reconstruct's queues", registry=self.registry
        )
        self.up = Gauge(
            "phototwin_schedule_up",
            "Whether the latest look at queues and Jobs came to something",
            registry=self.registry,
        )
        for reason in REASONS:  # there from the start, or their first increase would not be seen
            self.refused.labels(reason)


class Scheduler:
    """`connect` reaches the cluster, once for each look; no more than `most` Jobs at a time."""

    def __init__(
        self,
        broker: Broker,
        queues: list[str],
        connect: Callable[[], AbstractAsyncContextManager[Cluster]],
        template: Template,
        most: int,
    ) -> None:
        self._broker, self._queues, self._connect = broker, queues, connect
        self._template, self._most = template, most
        self.metrics = Metrics()
        self._fault: str | None = None

    def fault(self) -> str | None:
        """One sentence where the latest look came to nothing."""
        return self._fault

    async def run(self, stop: asyncio.Event, interval: float) -> None:
        """Look every `interval` seconds until told to stop; Jobs go on without us. Raises SettingsError."""
        stopping = asyncio.create_task(stop.wait())
        pause = interval
        try:
            while not stop.is_set():
                looking = asyncio.create_task(self._try())
                await asyncio.wait({looking, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not looking.done():  # a request that is cut off has been heard or not: the next look tells
                    await end(looking)
                    break
                asked_for = looking.result()
                pause = interval if asked_for is None else min(2 * pause, max(interval, LONGEST_PAUSE))
                await wait(stop, max(pause, asked_for or 0.0))
        finally:
            await end(stopping)

    async def look(self) -> Plan:
        """Do once what is to be done. Raises BrokerUnavailable, ClusterUnavailable, SettingsError."""
        async with self._connect() as cluster:
            try:
                plan = await self._plan(cluster)
                await self._follow(cluster, plan)
            except ClusterUnavailable as error:
                self.metrics.refused.labels(error.reason).inc()
                raise
        return plan

    async def plan(self) -> Plan:
        """What `look` would do. Raises as it does."""
        async with self._connect() as cluster:
            return await self._plan(cluster)

    async def _try(self) -> float | None:
        """Look; where that comes to nothing, for how many seconds we were asked to wait."""
        try:
            await self.look()
        except (BrokerUnavailable, ClusterUnavailable) as error:
            self._fault = str(error)
            self.metrics.up.set(0)
            get_logger().error("cannot look after the Jobs", error=self._fault)
            return error.retry_after if isinstance(error, ClusterUnavailable) else 0.0
        self._fault = None
        self.metrics.up.set(1)
        return None

    async def _plan(self, cluster: Cluster) -> Plan:
        # In this order: a Job that gets its message in between is counted as starting, and the message not at
        # all. The other way round the message would seem to wait, and nobody to come for it.
        jobs = await cluster.jobs()
        waiting = sum([await self._broker.depth(queue) for queue in self._queues])
        self.metrics.waiting.set(waiting)
        self.metrics.active.set(sum(job.phase in UNFINISHED for job in jobs))
        return decide(waiting, jobs, self._most, self._template.keep, datetime.now(UTC))

    async def _follow(self, cluster: Cluster, plan: Plan) -> None:
        log = get_logger()
        for job in plan.delete:
            await cluster.delete(job)
            log.info("job deleted", job=job.name, was=job.phase)
        for slot in plan.create:
            name = self._template.name_of(slot)
            try:
                if await cluster.create(slot):
                    self.metrics.created.inc()
                    self.metrics.active.inc()
                    log.info("job created", job=name)
                else:
                    self.metrics.refused.labels("exists").inc()
                    log.info("job is there already", job=name)
            except QuotaExceeded as error:
                self.metrics.refused.labels("quota").inc()
                log.warning("no room for more jobs", job=name, error=str(error))
                return
