"""The run loop of a worker: one delivery after another through the seven steps of a job.

    1 parse the event      4 compute in the child          6 publish the next event, confirmed
    2 skip what is done    5 put artefacts, manifest last  7 only then acknowledge
    3 fetch the inputs

Effects happen once (the manifest is put if absent), events at least once under one id.
"""

import asyncio
import tempfile
import time
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from broker.interface import Broker, Delivery, Message
from contracts.dataset import Manifest
from contracts.envelope import Envelope, child_traceparent, event_id, new_traceparent, sender, trace_id
from contracts.errors import (
    BrokerUnavailable,
    ComputeFailed,
    ContractError,
    DeliveryLost,
    EventReturned,
    EventUnknown,
    Outage,
    PhototwinError,
)
from contracts.events import CaptureFailed, Event, Failure
from contracts.fields import ManifestRef
from workers.runtime.checkpoints import Checkpoints
from workers.runtime.compute import Compute
from workers.runtime.job import Job
from workers.runtime.logs import get_logger
from workers.runtime.metrics import Metrics
from workers.runtime.progress import Reporter
from workers.runtime.retry import decide
from workers.runtime.settings import Settings
from workers.runtime.storage import ObjectStore
from workers.runtime.watch import unless_cancelled
from workers.runtime.worker import Worker

DRAIN_PAUSE = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0


class Shell:
    """Runs one worker against a broker and a store."""

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
        self._queue = settings.topology.queue(worker.stage)

    async def run(self, stop: asyncio.Event, *, drain: bool = False) -> None:
        """Until `stop` is set (the job at hand is then given back), or with `drain` until the queue
        is empty."""
        async with self._broker.consume(self._queue, prefetch=1) as deliveries:
            while (delivery := await self._next(deliveries, stop, drain)) is not None:
                job = asyncio.create_task(self.handle(delivery))
                stopping = asyncio.create_task(stop.wait())
                await asyncio.wait({job, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if job.done():
                    job.result()  # a bug in the shell itself: end, and let the message come again
                else:
                    await deliveries.aclose()  # first, or what is given back comes straight to us
                    job.cancel()
                    with suppress(asyncio.CancelledError):
                        await job
                    self._log.info("job given back", event_id=delivery.message.id)
                    with suppress(Outage):  # then the closing of the connection gives it back
                        await delivery.give_back()
                stopping.cancel()

    async def _next(self, deliveries: Any, stop: asyncio.Event, drain: bool) -> Delivery | None:
        """The next delivery; None when it is time to end."""
        waiting: asyncio.Task[Delivery] = asyncio.create_task(anext(deliveries))
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                await asyncio.wait(
                    {waiting, stopping},
                    timeout=DRAIN_PAUSE if drain else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if waiting.done():
                    return waiting.result()
                if drain and await self._broker.depth(self._queue) == 0:
                    return None
            return None
        finally:
            stopping.cancel()
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting

    async def handle(self, delivery: Delivery) -> None:
        """One delivery, settled whatever happens. While the broker takes no messages it is tried again
        for as long as that lasts: the result is in the store by then, and is only announced."""
        stage = self.worker.stage
        started = time.monotonic()
        self._metrics.consumed.labels(stage).inc()
        with (
            structlog.contextvars.bound_contextvars(stage=stage, event_id=delivery.message.id),
            self._metrics.in_flight.labels(stage).track_inprogress(),
        ):
            pause = FIRST_PAUSE
            while True:
                try:
                    outcome = await self._settle(delivery)
                    break
                except DeliveryLost as error:
                    self._log.warning("delivery lost, it will come again", error=error.message)
                    outcome = "lost"
                    break
                except (BrokerUnavailable, EventReturned) as error:
                    self._log.error("cannot settle yet", code=error.code, error=error.message, pause=pause)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
                except Exception as error:  # nothing that a message holds may end the worker
                    outcome = "dead_lettered"
                    await self._bury(delivery, _unforeseen(error), 0)
                    break
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
            tenant=event.tenant,
            trace_id=trace_id(envelope.traceparent),
        ):
            outcome = await self._attempt(envelope, delivery)
        self._metrics.queue_wait.labels(self.worker.stage, outcome).observe(max(0.0, wait))
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
            await job.check_cancelled()
            checkpoints = Checkpoints(self._store, job)
            result, outcome = await job.existing(), "adopted"
            if result is None:
                produced = self._produce(job, envelope, checkpoints)
                result, outcome = await unless_cancelled(job, produced), "done"
                self.worker.observe(self._metrics, result[0])
                await job.check_cancelled()
            manifest, ref = result
            await self._publish(self.worker.reply(job.event, manifest, ref), envelope.traceparent, job.key)
            await checkpoints.drop()  # before the ack: if we die over it, the next to come does it
            await delivery.ack()
            cost = manifest.usage.model_dump() if outcome == "done" else {}
            self._log.info("job finished", outcome=outcome, **cost)
            return outcome

    async def _produce(
        self, job: Job, envelope: Envelope, checkpoints: Checkpoints
    ) -> tuple[Manifest, ManifestRef]:
        """Steps 3 to 5: fetch, compute, put."""
        got = self._metrics.moved.labels(self.worker.stage, "get").inc
        put = self._metrics.moved.labels(self.worker.stage, "put").inc
        with tempfile.TemporaryDirectory(prefix="phototwin-", dir=self._settings.work_dir) as work:
            inputs, outputs, scratch = Path(work, "in"), Path(work, "out"), Path(work, "scratch")
            saved, previews = scratch / "checkpoints", scratch / "previews"
            for folder in (inputs, outputs, saved, previews):
                folder.mkdir(parents=True)
            await job.fetch(inputs, self._settings.max_upload_bytes, got)
            if self.worker.networks(self._settings):
                (inputs / "weights").symlink_to(self._settings.weights_folder)
            if not 0 < job.event.attempt == self._settings.max_attempts - 1:
                await checkpoints.fetch(saved, got)  # but not at last: the fault may lie in them
            async with (
                checkpoints.kept(saved, put),
                Reporter(self._broker, self._store, job, envelope, previews) as reporter,
            ):
                computed = await self._compute.run(
                    self.worker.task(job.event),
                    inputs,
                    outputs,
                    scratch,
                    self.worker.parameters(job.event),
                    reporter,
                    self._settings.time_limit,
                )
            return await job.put(outputs, computed, put)

    async def _publish(self, event: Event, parent: str, key: str) -> None:
        """Under an id that depends on the job alone."""
        envelope = Envelope.wrap(
            event,
            id=event_id(event.event_type(), f"{event.folder}{key}"),
            source=f"phototwin/{self.worker.stage}",
            traceparent=child_traceparent(parent),
        )
        await self._broker.publish(Message(envelope.encode(), event.routing_key, envelope.id))
        self._metrics.published.labels(self.worker.stage, event.routing_key).inc()

    async def _failed(self, delivery: Delivery, envelope: Envelope, error: PhototwinError) -> str:
        event, stage = envelope.data, self.worker.stage
        decision = decide(error, event.attempt, self._settings.max_attempts)
        level = "info" if decision.action == "stop" else "warning"
        getattr(self._log, level)(
            "job ends", code=error.code, error=error.message, then=decision.action, **_stack(error)
        )
        if decision.action == "retry":
            attempt = event.attempt + (1 if decision.counts else 0)
            again = envelope.model_copy(update={"data": event.model_copy(update={"attempt": attempt})})
            await delivery.retry(again.encode(), decision.delay)
            self._metrics.retried.labels(stage, error.code).inc()
            return "retried"
        if decision.action == "stop":
            await delivery.ack()
            return "cancelled"
        await self._publish_failure(event, envelope.id, envelope.traceparent, error)
        if decision.action == "fail":
            await delivery.ack()
            return "rejected"
        await self._bury(delivery, error, event.attempt)
        return "dead_lettered"

    async def _unreadable(self, delivery: Delivery, error: ContractError) -> str:
        """To the dead letters; and where it can at least be read whose it is, the sender is told."""
        self._log.warning("event not readable", code=error.code, error=error.message)
        if (event := sender(delivery.message.body)) is not None:
            await self._publish_failure(event, delivery.message.id, new_traceparent(), error)
        await self._bury(delivery, error, 0)
        return "dead_lettered"

    async def _publish_failure(self, event: Event, cause: str, parent: str, error: PhototwinError) -> None:
        """`cause`: the id of the event that failed, which makes the failure's own."""
        failure = Failure(
            code=error.code,
            message=encodable(error.message)[:4000],
            sentence=encodable(error.sentence)[:1000],
            action=encodable(error.action)[:1000],
            params={name: encodable(value) for name, value in error.params.items() if name != "stack"},
        )
        failed = event.followed_by(CaptureFailed, stage=self.worker.stage, error=failure)
        await self._publish(failed, parent, f"{self.worker.stage}/{cause}")

    async def _bury(self, delivery: Delivery, error: PhototwinError, attempt: int) -> None:
        headers: dict[str, str | int] = {
            "phototwin-error-code": error.code,
            "phototwin-error-message": encodable(error.message)[:2000],
            "phototwin-stage": self.worker.stage,
            "phototwin-attempts": attempt + 1,
            "phototwin-time": datetime.now(UTC).isoformat(),
        }
        if stack := error.params.get("stack"):
            headers["phototwin-stack"] = encodable(stack)[-8000:]
        await delivery.dead_letter(headers)
        self._metrics.dead_lettered.labels(self.worker.stage, error.code).inc()


def _unforeseen(error: Exception) -> ComputeFailed:
    """A bug, ours or a library's, as an error of the tree. For use where it is being handled."""
    return ComputeFailed(f"{type(error).__name__}: {error}", stack=traceback.format_exc(limit=-20))


def _stack(error: PhototwinError) -> dict[str, str]:
    return {"stack": error.params["stack"]} if "stack" in error.params else {}


def encodable(value: Any) -> Any:
    """A text with what cannot be written as UTF-8 replaced: file names of strangers hold anything."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
