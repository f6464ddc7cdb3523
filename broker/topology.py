"""Exchanges, queues, bindings and policies, as data. Both brokers are built from it.

    events (topic) ─┬─ dataset.uploaded ────────> prepare: what arrives for it, from whomever; sorted into
                    ├─ poses.ready.LANE.SHARD ──> segment.LANE.SHARD       \\  what the worker works on:
                    ├─ masks.ready.LANE.SHARD ──> reconstruct.LANE.SHARD    | two lanes, and tenants spread
                    ├─ mesh.ready.LANE.SHARD ───> package.LANE.SHARD       /  over the shards of each
                    └─ # ───────────────────────> outcomes (stream): so a mandatory publish always has
                                                  somewhere to go, and all can be read from an offset
    work (topic) ── a queue's name ─────────────> that queue
    retry.DELAY (topic) ── # ───────────────────> retry.DELAY, whose messages expire back through `work` to
                                                  the queue named by their routing key; one for each delay,
                                                  because messages expire only at a queue's head
    dead (topic) ─┬─ WORKER ────────────────────> WORKER.dead: given up, with the reasons in its headers
                  └─ WORKER.lost ───────────────> WORKER.lost: given up by the broker, which knows no reasons;
                                                  a watcher tells the sender, and moves it to WORKER.dead
    progress (fanout) ──────────────────────────> whoever listens

All queues but the stream are quorum queues. All exchanges but progress are topic exchanges, because that is
where RabbitMQ can be told who may use which routing key.
"""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from broker.versions import LATEST, Version
from contracts.events import LANES, Lane

CONSUMES: Mapping[str, tuple[str, ...]] = {
    "prepare": ("dataset.uploaded",),
    "segment": ("poses.ready", "masks.reviewed"),
    "reconstruct": ("masks.ready",),
    "package": ("mesh.ready",),
}
"""Worker -> the routing keys of the events it consumes."""
CANCELLATIONS = "cancellations"
"""In place of a worker: the queue of `capture.cancelled`, which all workers share."""

RETRY_DELAYS = (1.0, 5.0, 30.0, 120.0, 600.0)
DELIVERY_LIMIT = 5
MOST_DELIVERIES = 20
MOST_MESSAGES = 100_000
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
class Policy:
    """What can be changed while the queues are in use; `pattern` is a regular expression of their names."""

    name: str
    pattern: str
    definition: Mapping[str, Any]


@dataclass(frozen=True)
class Topology:
    """`prefix` keeps several installations apart on one broker; `retry_delays` and `job_seconds`, the longest
    that a job may take, in seconds; `shards`: over how many queues a lane's tenants are spread."""

    prefix: str = "phototwin"
    retry_delays: tuple[float, ...] = RETRY_DELAYS
    shards: int = 4
    job_seconds: float = 1500.0

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
    def cancellations(self) -> str:
        return f"{self.prefix}.{CANCELLATIONS}"

    @property
    def work(self) -> str:
        return f"{self.prefix}.work"

    @property
    def dead(self) -> str:
        return f"{self.prefix}.dead"

    def arrivals(self, worker: str) -> str:
        """The queue of all that comes under an event's plain routing key."""
        return f"{self.prefix}.{worker}"

    def lane_queue(self, worker: str, lane: Lane, tenant: str) -> str:
        return f"{self.arrivals(worker)}.{lane}.{self._shard(tenant)}"

    def lane_queues(self, worker: str, lane: Lane) -> list[str]:
        return [f"{self.arrivals(worker)}.{lane}.{shard}" for shard in range(self.shards)]

    def work_queues(self, worker: str) -> list[str]:
        return [queue for lane in LANES for queue in self.lane_queues(worker, lane)]

    def live_queues(self, worker: str) -> list[str]:
        """All in which events for it wait."""
        return [self.arrivals(worker), *self.work_queues(worker)]

    def lost_letter_queue(self, worker: str) -> str:
        return f"{self.arrivals(worker)}.lost"

    def dead_letter_queue(self, worker: str) -> str:
        return f"{self.arrivals(worker)}.dead"

    def routing_key(self, event: str, lane: Lane, tenant: str) -> str:
        """Of an event for the events exchange: into its worker's lane at once, where a worker consumes it."""
        consumed = any(event in keys for keys in CONSUMES.values())
        return f"{event}.{lane}.{self._shard(tenant)}" if consumed else event

    def retry(self, delay: float) -> str:
        """Name of the retry exchange and queue for the shortest delay that is not below `delay`."""
        tier = min((d for d in self.retry_delays if d >= delay), default=max(self.retry_delays))
        return f"{self.prefix}.retry.{round(tier * 1000)}ms"

    def _shard(self, tenant: str) -> int:
        return zlib.crc32(tenant.encode()) % self.shards

    def exchanges(self) -> list[Exchange]:
        topics = [self.events, self.work, self.dead, *(self.retry(delay) for delay in self.retry_delays)]
        return [*(Exchange(name, "topic") for name in topics), Exchange(self.progress, "fanout")]

    def queues(self) -> list[Queue]:
        return [
            Queue(self.outcomes, {"x-queue-type": "stream"}),
            self._work_queue(self.cancellations, CANCELLATIONS),
            *(self._work_queue(queue, worker) for worker in CONSUMES for queue in self.live_queues(worker)),
            *(Queue(queue, {"x-queue-type": "quorum"}) for queue in self._kept()),
            *(self._retry_queue(delay) for delay in self.retry_delays),
        ]

    def bindings(self) -> list[Binding]:
        found = [
            Binding(self.events, self.outcomes, "#"),
            Binding(self.events, self.cancellations, "capture.cancelled"),
        ]
        for worker in CONSUMES:
            found += [Binding(self.events, self.arrivals(worker), key) for key in CONSUMES[worker]]
            found += [
                Binding(self.events, f"{self.arrivals(worker)}.{lane}.{shard}", f"{key}.{lane}.{shard}")
                for key in CONSUMES[worker]
                for lane in LANES
                for shard in range(self.shards)
            ]
            found += [Binding(self.work, queue, queue) for queue in self.live_queues(worker)]
        lost = [self.lost_letter_queue(worker) for worker in (*CONSUMES, CANCELLATIONS)]
        found += [Binding(self.work, queue, queue) for queue in (self.cancellations, *lost)]
        found += [Binding(self.dead, queue, queue) for queue in self._kept()]
        return found + [Binding(self.retry(d), self.retry(d), "#") for d in self.retry_delays]

    def policies(self, version: Version = LATEST) -> list[Policy]:
        """What a RabbitMQ of that version understands of them."""
        prefix, workers = re.escape(self.prefix), "|".join((*CONSUMES, CANCELLATIONS))
        lanes = rf"\.({'|'.join(LANES)})\.\d+"
        kept = {"delivery-limit": -1} if version.limits_deliveries_unasked else {}
        live: dict[str, Any] = {"delivery-limit": DELIVERY_LIMIT, "max-length": MOST_MESSAGES}
        if version.consumer_timeout_by_policy:
            live["consumer-timeout"] = round(self.job_seconds * 1200)  # ms: a fifth more than a job may take
        outcomes = {"max-length-bytes": OUTCOMES_MAX_BYTES, "max-age": OUTCOMES_MAX_AGE}
        found = [
            Policy(f"{self.prefix}-work", rf"^{prefix}\.({workers})({lanes})?$", live),
            Policy(f"{self.prefix}-outcomes", rf"^{prefix}\.outcomes$", outcomes),
        ]
        if kept:
            found.append(Policy(f"{self.prefix}-kept", rf"^{prefix}\.\w+\.(lost|dead)$", kept))
        return found

    def _kept(self) -> list[str]:
        kinds = (self.lost_letter_queue, self.dead_letter_queue)
        return [queue(worker) for worker in (*CONSUMES, CANCELLATIONS) for queue in kinds]

    def _work_queue(self, name: str, worker: str) -> Queue:
        arguments = _dead_lettering(self.dead) | {
            "x-dead-letter-routing-key": self.lost_letter_queue(worker),
            # Should no policy be there: RabbitMQ 3.10 would deliver what kills its worker for ever.
            "x-delivery-limit": MOST_DELIVERIES,
        }
        return Queue(name, arguments)

    def _retry_queue(self, delay: float) -> Queue:
        """Expires into the work exchange under the message's own routing key, a queue's name."""
        return Queue(self.retry(delay), _dead_lettering(self.work) | {"x-message-ttl": round(delay * 1000)})


def _dead_lettering(exchange: str) -> dict[str, Any]:
    """At least once: the message leaves its queue only when the target has confirmed it, which
    quorum queues do only if they refuse new messages, rather than drop old ones, when full."""
    return {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": exchange,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
