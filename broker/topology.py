"""Exchanges, queues and bindings, as data. Both brokers are built from it.

events (topic) ──dataset.uploaded──> prepare ───┐ each a quorum queue; what is delivered too
       │ ├──────poses.ready,                    │ often without being settled goes through
       │ │      masks.reviewed─────> segment    │ `dead` to <queue>.dead
       │ ├──────masks.ready────────> reconstruct│
       │ ├──────mesh.ready─────────> package  ──┘
       │ └──────#──────────────────> outcomes (stream): so a mandatory publish always has somewhere
       │                             to go, and anyone can read all outcomes from an offset
retry.<delay> (fanout) ────────────> retry.<delay>, whose messages expire back to the queue named
                                     by their routing key; one queue for each delay, because
                                     messages expire only at a queue's head
progress (fanout) ─────────────────> whoever listens
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONSUMES: Mapping[str, tuple[str, ...]] = {
    "prepare": ("dataset.uploaded",),
    "segment": ("poses.ready", "masks.reviewed"),
    "reconstruct": ("masks.ready",),
    "package": ("mesh.ready",),
}
"""Worker -> the routing keys of the events it consumes."""

RETRY_DELAYS = (1.0, 5.0, 30.0, 120.0, 600.0)
DELIVERY_LIMIT = 5
OUTCOMES_MAX_BYTES = 1 << 30
OUTCOMES_MAX_AGE = "30D"


@dataclass(frozen=True)
class Exchange:
    name: str
    type: str


@dataclass(frozen=True)
class Queue:
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Binding:
    exchange: str
    queue: str
    routing_key: str


@dataclass(frozen=True)
class Topology:
    """`prefix` keeps several installations apart on one broker; `retry_delays` in seconds."""

    prefix: str = "phototwin"
    retry_delays: tuple[float, ...] = RETRY_DELAYS

    @property
    def events(self) -> str:
        return f"{self.prefix}.events"

    @property
    def progress(self) -> str:
        return f"{self.prefix}.progress"

    @property
    def outcomes(self) -> str:
        return f"{self.prefix}.outcomes"

    @property
    def dead(self) -> str:
        return f"{self.prefix}.dead"

    def queue(self, worker: str) -> str:
        return f"{self.prefix}.{worker}"

    def dead_letter_queue(self, worker: str) -> str:
        return f"{self.queue(worker)}.dead"

    def retry(self, delay: float) -> str:
        """Name of the retry exchange and queue for the shortest delay that is not below `delay`."""
        tier = min((d for d in self.retry_delays if d >= delay), default=max(self.retry_delays))
        return f"{self.prefix}.retry.{round(tier * 1000)}ms"

    def exchanges(self) -> list[Exchange]:
        return [
            Exchange(self.events, "topic"),
            Exchange(self.dead, "direct"),
            Exchange(self.progress, "fanout"),
            *(Exchange(self.retry(delay), "fanout") for delay in self.retry_delays),
        ]

    def queues(self) -> list[Queue]:
        outcomes = {
            "x-queue-type": "stream",
            "x-max-length-bytes": OUTCOMES_MAX_BYTES,
            "x-max-age": OUTCOMES_MAX_AGE,
        }
        return [
            Queue(self.outcomes, outcomes),
            *(self._work_queue(worker) for worker in CONSUMES),
            *(Queue(self.dead_letter_queue(w), {"x-queue-type": "quorum"}) for w in CONSUMES),
            *(self._retry_queue(delay) for delay in self.retry_delays),
        ]

    def bindings(self) -> list[Binding]:
        return [
            Binding(self.events, self.outcomes, "#"),
            *(Binding(self.events, self.queue(w), key) for w, keys in CONSUMES.items() for key in keys),
            *(Binding(self.dead, self.dead_letter_queue(w), self.queue(w)) for w in CONSUMES),
            *(Binding(self.retry(d), self.retry(d), "") for d in self.retry_delays),
        ]

    def _work_queue(self, worker: str) -> Queue:
        name = self.queue(worker)
        arguments = _dead_lettering(self.dead) | {
            "x-dead-letter-routing-key": name,
            "x-delivery-limit": DELIVERY_LIMIT,
        }
        return Queue(name, arguments)

    def _retry_queue(self, delay: float) -> Queue:
        """Expires into the default exchange under the message's own routing key, a queue's name."""
        return Queue(self.retry(delay), _dead_lettering("") | {"x-message-ttl": round(delay * 1000)})


def _dead_lettering(exchange: str) -> dict[str, Any]:
    """At least once: the message leaves its queue only when the target has confirmed it, which
    quorum queues do only if they refuse new messages, rather than drop old ones, when full."""
    return {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": exchange,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
