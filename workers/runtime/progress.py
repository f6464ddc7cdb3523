"""A job's progress, published as it comes; never in the job's way."""

import asyncio
import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from broker.interface import Broker, Message
from contracts.envelope import Envelope, child_traceparent, event_id
from contracts.errors import PhototwinError
from contracts.events import MAX_LOSSES, JobProgress
from workers.runtime.job import Job
from workers.runtime.logs import get_logger
from workers.runtime.previews import Previews
from workers.runtime.storage import ObjectStore

INTERVAL = 0.5
PATIENCE = 1.0
OVERDUE_SECONDS = 5.0
"""By so much an estimate may be exceeded before it is believed no longer."""


class Reporter:
    """Call it with a fraction and what else the computation says (see `runtime.child`), while in its context.

    Publishes at most twice a second, and whenever a preview out of the folder `previews` is in the store.
    """

    def __init__(self, broker: Broker, store: ObjectStore, job: Job, cause: Envelope, previews: Path) -> None:
        self._broker, self._job, self._cause = broker, job, cause
        self._previews = Previews(store, job, previews, self._publish)
        self._started = self._heard = time.monotonic()
        self._last = -math.inf
        self._latest: dict[str, Any] = {"fraction": 0.0}
        self._sending: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give what is under way a moment, and drop the rest."""
        await self._previews.close(PATIENCE)
        if self._sending:
            await asyncio.wait(self._sending, timeout=PATIENCE)
        for task in self._sending:
            task.cancel()

    @property
    def left(self) -> float:
        """Seconds, as far as can be told from how it went so far; infinite where nothing can."""
        eta, since = self._latest.get("eta_seconds"), time.monotonic() - self._heard
        return math.inf if eta is None or since > eta + OVERDUE_SECONDS else max(0.0, eta - since)

    def __call__(self, fraction: float, info: dict[str, Any]) -> None:
        try:
            self._hear(fraction, info)
        except Exception as error:  # whatever a method may have said: it computes on
            get_logger().warning("progress ignored", error=f"{type(error).__name__}: {error}"[:1000])

    def _hear(self, fraction: float, info: dict[str, Any]) -> None:
        self._heard = now = time.monotonic()
        fraction = min(max(0.0, fraction), 1.0)
        elapsed = now - self._started
        self._latest = {
            "fraction": fraction,
            "eta_seconds": round(elapsed * (1 - fraction) / fraction, 1) if fraction > 0 else None,
            "step": str(info.get("step", ""))[:100],
            "losses": _losses(info.get("losses", {})),
        }
        if now - self._last >= INTERVAL or fraction >= 1:
            self._last = now
            self._publish({})
        if "preview" in info:
            self._previews.announce(info["preview"])

    def _publish(self, keys: dict[str, str]) -> None:
        event, stage = self._job.event, self._job.worker.stage
        progress = event.followed_by(JobProgress, stage=stage, **self._latest, **keys)
        envelope = Envelope.wrap(
            progress,
            id=event_id(progress.event_type(), f"{event.folder}{stage}/{time.monotonic()}"),
            source=f"phototwin/{stage}",
            traceparent=child_traceparent(self._cause.traceparent),
        )
        message = Message(envelope.encode(), progress.routing_key, envelope.id)
        task = asyncio.create_task(self._send(message))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, message: Message) -> None:
        with suppress(PhototwinError):
            await self._broker.publish_progress(message)


def _losses(said: dict[str, Any]) -> dict[str, float]:
    """What of them can be published: one that has diverged is worth no silence about the others."""
    finite = {name: float(loss) for name, loss in said.items() if math.isfinite(loss)}
    return dict(list(finite.items())[:MAX_LOSSES])
