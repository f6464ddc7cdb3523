"""What is measured of the gateway, for Prometheus."""

from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from contracts.envelope import Envelope
from contracts.errors import Disposition, from_code, table
from contracts.events import EVENTS, LANES, CaptureFailed, ModelReady
from workers.gateway.record import Record

REGISTRY = CollectorRegistry()
"""Of this process."""
ProcessCollector(registry=REGISTRY)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
requests = Histogram(
    "phototwin_gateway_request_seconds",
    "Answering a request, events aside",
    ("route", "method", "status"),
    buckets=SECONDS,
    registry=REGISTRY,
)
listeners = Gauge("phototwin_gateway_listeners", "Clients that listen to events", registry=REGISTRY)
entered = Counter(
    "phototwin_gateway_events_total", "Events entered into the index", ("kind",), registry=REGISTRY
)
behind = Gauge(
    "phototwin_gateway_behind_seconds",
    "Age of the latest event entered, when it was entered",
    registry=REGISTRY,
)
CAPTURE_SECONDS = (30, 60, 120, 180, 300, 600, 900, 1200, 1800, 3600, 7200, 14400)
ended = Histogram(
    "phototwin_gateway_capture_seconds",
    "From upload to end (model, rejected for its input, failed); first attempts that waited for no person",
    ("lane", "outcome"),
    buckets=CAPTURE_SECONDS,
    registry=REGISTRY,
)
failed = Counter(
    "phototwin_gateway_captures_failed_total", "capture.failed, by why", ("code",), registry=REGISTRY
)
oldest = Gauge(
    "phototwin_gateway_quiet_seconds",
    "For how long nothing was heard of the capture in work that has been silent for longest",
    ("lane",),
    registry=REGISTRY,
)
for _lane in LANES:  # there from the start, or their first increase would not be seen
    oldest.labels(_lane)
    for _outcome in ("model", "rejected", "failed"):
        ended.labels(_lane, _outcome)
for _kind in EVENTS:
    entered.labels(_kind.routing_key)
for _code in table():
    failed.labels(_code)


def note(envelope: Envelope, record: Record) -> None:
    """An event that has been entered, and what its capture's record is with it."""
    event = envelope.data
    entered.labels(event.routing_key).inc()
    behind.set((datetime.now(UTC) - envelope.time).total_seconds())
    if isinstance(event, CaptureFailed):
        failed.labels(event.error.code).inc()
    if record.generation or record.uploaded is None or record.options.review:
        return
    if isinstance(event, ModelReady):
        outcome = "model"
    elif isinstance(event, CaptureFailed) and record.state == "failed":
        theirs = from_code(event.error.code, "").disposition is Disposition.ABORT
        outcome = "rejected" if theirs else "failed"
    else:
        return
    seconds = (envelope.time - record.uploaded).total_seconds()
    ended.labels(record.options.lane, outcome).observe(max(0.0, seconds))
