"""One delivery's way through the seven steps of a job.

    1 parse the event      4 compute in the child          6 publish the next event, confirmed
    2 skip what is done    5 put artefacts, manifest last  7 only then acknowledge
    3 fetch the inputs

Effects happen once (the manifest is put if absent), events at least once under one id.
"""

import asyncio
import hashlib
import math
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from opentelemetry.trace import SpanKind

from broker import deadletter
from broker.interface import Broker, Delivery, Message
from contracts.dataset import Manifest
from contracts.envelope import (
    Envelope,
    event_id,
    new_traceparent,
    retried,
    sender,
    trace_id,
)
from contracts.errors import (
    BrokerUnavailable,
    ComputeFailed,
    ContractError,
    DeliveryLost,
    Disposition,
    EventReturned,
    EventUnknown,
    PhototwinError,
    from_code,
)
from contracts.events import CaptureFailed, Event, ModelReady, Options
from contracts.fields import ManifestRef
from workers.runtime import tracing
from workers.runtime.checkpoints import Checkpoints
from workers.runtime.compute import Compute
from workers.runtime.job import Job
from workers.runtime.logs import get_logger
from workers.runtime.metrics import Metrics
from workers.runtime.outcome import Outcomes
from workers.runtime.patience import patiently
from workers.runtime.progress import Reporter
from workers.runtime.retry import decide
from workers.runtime.settings import Settings
from workers.runtime.storage import ObjectStore
from workers.runtime.watch import INTERVAL, unless_ended
from workers.runtime.worker import Worker
from workers.runtime.workspace import Workspace


class Shell:
    """Does the jobs of one worker, against a broker and a store; `run_loop.RunLoop` brings them."""

    def __init__(
        self,
        worker: Worker[Any],
        broker: Broker,
        store: ObjectStore,
        compute: Compute,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self.worker = worker
        self._broker = broker
        self._store = store
        self._compute = compute
        self._settings = settings
        self._metrics = metrics
        self._log = get_logger()
        self._topology = settings.topology
        self._outcomes = Outcomes(broker, store)
        self._workspace = Workspace(settings.work_dir)
        self._left: Callable[[], float] = _unknown

    @property
    def left(self) -> float:
        """Seconds until the job at hand is computed, as far as can be told."""
        return self._left()

    def close(self) -> None:
        """Leave nothing behind on the disk."""
        self._workspace.close()

    def stalled(self, code: str) -> None:
        """Count a pause: something, as the error's code says, cannot be had at present."""
        self._metrics.stalls.labels(self.worker.stage, code).inc()

    async def handle(self, delivery: Delivery) -> None:
        """One delivery, settled whatever happens. While broker or store are away it is tried again for as
        long as that lasts: what was computed is in the store by then, and is only announced."""
        stage = self.worker.stage
        started = time.monotonic()
        self._metrics.consumed.labels(stage).inc()
        with (
            structlog.contextvars.bound_contextvars(stage=stage, event_id=delivery.message.id),
            self._metrics.in_flight.labels(stage).track_inprogress(),
        ):
            try:
                outcome = await patiently(partial(self._settle, delivery), self.stalled) or "lost"
            except Exception as error:  # nothing that a message holds may end the worker
                outcome = "dead_lettered"
                buried = partial(self._bury, delivery, _unforeseen(error), 0)
                await patiently(buried, self.stalled)
        self._metrics.duration.labels(stage, outcome).observe(time.monotonic() - started)

    async def _settle(self, delivery: Delivery) -> str:
        try:
            envelope = Envelope.parse(delivery.message.body)
            if not isinstance(envelope.data, self.worker.consumes):
                raise EventUnknown(f"{self.worker.stage} does not consume {envelope.type}")
        except ContractError as error:
            return await self._unreadable(delivery, error)
        wait = (datetime.now(UTC) - envelope.time).total_seconds()
        event = envelope.data
        with structlog.contextvars.bound_contextvars(
            event_id=envelope.id,
            capture_id=event.capture_id,
            generation=event.generation,
            tenant=event.tenant,
            trace_id=trace_id(envelope.traceparent),
        ):
            outcome = await self._traced(envelope, delivery)
        lane = getattr(event, "options", Options()).lane
        self._metrics.queue_wait.labels(self.worker.stage, outcome, lane).observe(max(0.0, wait))
        return outcome

    async def _traced(self, envelope: Envelope, delivery: Delivery) -> str:
        stage, event = self.worker.stage, envelope.data
        attributes: dict[str, str | int] = {
            "messaging.system": "rabbitmq",
            "messaging.operation.type": "process",
            "messaging.message.id": envelope.id,
            "phototwin.capture_id": event.capture_id,
            "phototwin.tenant": event.tenant,
            "phototwin.generation": event.generation,
            "phototwin.attempt": event.attempt,
        }
        with tracing.span(stage, envelope.traceparent, SpanKind.CONSUMER, attributes) as span:
            outcome = await self._attempt(envelope, delivery)
            span.set_attribute("phototwin.outcome", outcome)
        return outcome

    async def _attempt(self, envelope: Envelope, delivery: Delivery) -> str:
        try:
            return await self._work(envelope, delivery)
        except (DeliveryLost, BrokerUnavailable, EventReturned):
            raise
        except PhototwinError as error:
            return await self._failed(delivery, envelope, error)
        except Exception as error:
            return await self._failed(delivery, envelope, _unforeseen(error))

    async def _work(self, envelope: Envelope, delivery: Delivery) -> str:
        """Steps 2 to 7."""
        job = await Job.of(self.worker, envelope.data, self._store)
        with structlog.contextvars.bound_contextvars(job_key=job.key):
            self._log.info("job started", attempt=job.event.attempt, returns=delivery.returns)
            started = time.monotonic()
            failed, result = await asyncio.gather(self._outcomes.failed(job.event), job.existing())
            if failed is not None:
                return await self._failed_before(delivery, envelope, failed)
            begun = delivery.again or job.event.attempt > 0
            checkpoints = Checkpoints(self._store, job, begun=begun)
            outcome = "adopted"
            if result is None:
                produced = self._produce(job, envelope, checkpoints)
                result, outcome = await unless_ended(self._outcomes, job, produced), "done"
                self.worker.observe(self._metrics, result[0])
                if time.monotonic() - started > INTERVAL:
                    await self._outcomes.failed(job.event)  # once more: it may be cancelled by now
            manifest, ref = result
            await self._publish(self.worker.reply(job.event, manifest, ref), job.key)
            await checkpoints.drop()  # before the ack: if we die over it, the next to come does it
            await delivery.ack()
            cost = manifest.usage.model_dump() if outcome == "done" else {}
            if cost:
                self._metrics.cpu.labels(self.worker.stage).inc(cost["cpu_seconds"])
                self._metrics.memory.labels(self.worker.stage).set(cost["peak_rss_mb"] * 1e6)
            self._log.info("job finished", outcome=outcome, **cost)
            return outcome

    async def _produce(
        self, job: Job, envelope: Envelope, checkpoints: Checkpoints
    ) -> tuple[Manifest, ManifestRef]:
        """Steps 3 to 5: fetch, compute, put."""
        got = self._metrics.moved.labels(self.worker.stage, "get").inc
        put = self._metrics.moved.labels(self.worker.stage, "put").inc
        self._left = _unknown
        with self._workspace.folders() as (inputs, outputs, scratch, saved, previews):
            with tracing.span("fetch"):
                await job.fetch(inputs, self._settings.max_upload_bytes, got)
            if self.worker.networks(self._settings):
                (inputs / "weights").symlink_to(self._settings.weights_folder)
            if not 0 < job.event.attempt == self._settings.max_attempts - 1:
                await checkpoints.fetch(saved, got)  # but not at last: the fault may lie in them
            async with (
                checkpoints.kept(saved, put),
                Reporter(self._broker, self._store, job, envelope, previews) as reporter,
            ):
                self._left = lambda: reporter.left
                with tracing.span("compute"):
                    computed = await self._compute.run(
                        self.worker.task(job.event),
                        inputs,
                        outputs,
                        scratch,
                        self.worker.parameters(job.event),
                        reporter,
                        self._settings.time_limit,
                    )
            self._left = _none
            with tracing.span("put"):
                return await job.put(outputs, computed, put)

    async def _publish(self, event: Event, key: str) -> None:
        """Under an id that depends on the job alone."""
        with tracing.span(f"publish {event.routing_key}", kind=SpanKind.PRODUCER):
            await self._say(event, key)
        self._metrics.published.labels(self.worker.stage, event.routing_key).inc()

    async def _say(self, event: Event, key: str) -> None:
        envelope = Envelope.wrap(
            event,
            id=event_id(event.event_type(), f"{event.folder}{key}"),
            source=f"phototwin/{self.worker.stage}",
            traceparent=tracing.traceparent(),
        )
        if isinstance(event, ModelReady):
            message = Message(envelope.encode(), event.routing_key, envelope.id)
            await self._outcomes.announce(event, message)
        else:
            options: Options = getattr(event, "options", Options())
            key = self._topology.routing_key(event.routing_key, options.lane, event.tenant)
            await self._broker.publish(Message(envelope.encode(), key, envelope.id))

    async def _failed(self, delivery: Delivery, envelope: Envelope, error: PhototwinError) -> str:
        event, stage = envelope.data, self.worker.stage
        decision = decide(
            error, event.attempt, self._settings.max_attempts, _chance(envelope.id, event.attempt)
        )
        level = "info" if decision.action == "stop" else "warning"
        getattr(self._log, level)(
            "job ends", code=error.code, error=error.message, then=decision.action, **_stack(error)
        )
        if decision.action != "stop":
            tracing.failed(error.code, error.message)
        if decision.action == "retry":
            attempt = event.attempt + (1 if decision.counts else 0)
            await delivery.retry(retried(delivery.message.body, envelope, attempt), decision.delay)
            self._metrics.retried.labels(stage, error.code).inc()
            return "retried"
        if decision.action == "stop":
            await delivery.ack()
            return "cancelled"
        failure = deadletter.announcement(event, stage, envelope.id, tracing.traceparent(), error)
        if not event.ends_capture:
            await self._broker.publish(failure)
        elif not await self._outcomes.announce(event, failure):
            await delivery.ack()  # a copy of this event was luckier, or failed before
            return "failed_before"
        self._metrics.published.labels(stage, CaptureFailed.routing_key).inc()
        if decision.action == "fail":
            await delivery.ack()
            return "rejected"
        await self._bury(delivery, error, event.attempt)
        return "dead_lettered"

    async def _failed_before(self, delivery: Delivery, envelope: Envelope, failed: Message) -> str:
        """Whoever published this event waits for an answer. And where it is this very event that failed, and
        whoever had it did not get to the end, it may be for us to keep it with the dead letters."""
        event, stage = envelope.data, self.worker.stage
        await self._broker.publish(failed)
        recorded = Envelope.parse(failed.body).data
        if isinstance(recorded, CaptureFailed) and failed.id == deadletter.announcement_id(
            event, stage, envelope.id
        ):
            error = from_code(recorded.error.code, recorded.error.message)
            if error.disposition is not Disposition.ABORT:
                await self._bury(delivery, error, event.attempt)
                return "dead_lettered"
        await delivery.ack()
        return "failed_before"

    async def _unreadable(self, delivery: Delivery, error: ContractError) -> str:
        """To the dead letters; and where it can at least be read whose it is, the sender is told. It is no
        outcome of the capture, whose sender may well send the event corrected."""
        self._log.warning("event not readable", code=error.code, error=error.message)
        if (event := sender(delivery.message.body)) is not None:
            stage, cause = self.worker.stage, delivery.message.id
            await self._broker.publish(deadletter.announcement(event, stage, cause, new_traceparent(), error))
            self._metrics.published.labels(stage, CaptureFailed.routing_key).inc()
        await self._bury(delivery, error, 0)
        return "dead_lettered"

    async def _bury(self, delivery: Delivery, error: PhototwinError, attempt: int) -> None:
        stage = self.worker.stage
        await delivery.dead_letter(stage, deadletter.headers(error, stage, attempt + 1))
        self._metrics.dead_lettered.labels(stage, error.code).inc()


def _unknown() -> float:
    return math.inf


def _none() -> float:
    return 0.0


def _chance(id: str, attempt: int) -> float:
    """In [0, 1), the same whenever this attempt fails, another for each event."""
    return int.from_bytes(hashlib.sha256(f"{id}/{attempt}".encode()).digest()[:6]) / (1 << 48)


def _unforeseen(error: Exception) -> ComputeFailed:
    """A bug, ours or a library's, as an error of the tree. For use where it is being handled."""
    return ComputeFailed(f"{type(error).__name__}: {error}", stack=traceback.format_exc(limit=-20))


def _stack(error: PhototwinError) -> dict[str, str]:
    return {"stack": error.params["stack"]} if "stack" in error.params else {}
