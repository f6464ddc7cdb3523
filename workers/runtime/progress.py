"""A job's progress, published as it comes; never in the job's way."""

import asyncio
import time
from contextlib import suppress
from typing import Any

from broker.interface import Broker, Message
from contracts.envelope import Envelope, child_traceparent, event_id
from contracts.errors import PhototwinError
from contracts.events import Event, JobProgress, Stage

INTERVAL = 0.5


class Reporter:
    """Call it with a fraction and `{"step": ...}`; publishes at most twice a second."""

    def __init__(self, broker: Broker, event: Event, stage: Stage, cause: Envelope) -> None:
        self._broker, self._event, self._stage, self._cause = broker, event, stage, cause
        self._started = time.monotonic()
        self._last = -INTERVAL
        self._sending: set[asyncio.Task[None]] = set()

    def __call__(self, fraction: float, info: dict[str, Any]) -> None:
        now = time.monotonic()
        if now - self._last < INTERVAL and fraction < 1:
            return
        self._last = now
        fraction = min(max(fraction, 0.0), 1.0)
        elapsed = now - self._started
        progress = self._event.followed_by(
            JobProgress,
            stage=self._stage,
            fraction=fraction,
            eta_seconds=round(elapsed * (1 - fraction) / fraction, 1) if fraction > 0 else None,
            step=str(info.get("step", ""))[:100],
        )
        envelope = Envelope.wrap(
            progress,
            id=event_id(progress.event_type(), f"{self._event.folder}{self._stage}/{now}"),
            source=f"phototwin/{self._stage}",
            traceparent=child_traceparent(self._cause.traceparent),
        )
        message = Message(envelope.encode(), progress.routing_key, envelope.id)
        task = asyncio.create_task(self._send(message))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def close(self) -> None:
        """Give what is under way a moment, and drop the rest."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=1.0)
        for task in self._sending:
            task.cancel()

    async def _send(self, message: Message) -> None:
        with suppress(PhototwinError):
            await self._broker.publish_progress(message)
