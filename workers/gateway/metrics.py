"""What is measured of the gateway, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()
"""Of this process."""
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
