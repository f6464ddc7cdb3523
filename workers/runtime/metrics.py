"""Prometheus metrics of a worker. No label ever holds a capture's id: labels stay few."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from contracts.errors import DiskFull, Disposition, Outage, leaves

SECONDS = (1, 2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, 1800, 3600, 7200, 14400)


class Metrics:
    """`stage` is a worker's name; `outcome` is done, adopted (the result was there already),
    cancelled, rejected (the input's fault), retried or dead_lettered; `segmenter` is who made masks,
    `verdict` good, doubtful or bad, `decision` what a person made of a mask: kept, replaced or discarded."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        ProcessCollector(registry=self.registry)  # of the shell; what computes is a process of its own: below
        self.consumed = self._counter("events_consumed", "Events taken from the queue", "stage")
        self.published = self._counter("events_published", "Events published", "stage", "event")
        self.retried = self._counter("events_retried", "Events put back for a later attempt", "stage", "code")
        self.dead_lettered = self._counter("events_dead_lettered", "Events given up", "stage", "code")
        self.duration = self._histogram("job_duration_seconds", "From delivery to settlement", "outcome")
        self.queue_wait = self._histogram(
            "queue_wait_seconds", "From publication to delivery", "outcome", "lane"
        )
        self.moved = self._counter(
            "storage_bytes", "Bytes moved to (put) and from (get) the object store", "stage", "direction"
        )
        self.in_flight = Gauge(
            "phototwin_jobs_in_flight", "Jobs being worked on", ["stage"], registry=self.registry
        )
        self.cpu = self._counter("job_cpu_seconds", "CPU time of computations that were finished", "stage")
        self.memory = Gauge(
            "phototwin_job_peak_memory_bytes",
            "Of the latest computation that was finished",
            ["stage"],
            registry=self.registry,
        )
        self.stalls = self._counter(
            "stalls", "Pauses because broker, store or disk would not take or give", "stage", "code"
        )
        self.deaf = self._counter("consumers_lost", "Times the broker had stopped sending unnoticed", "stage")
        self.up = Gauge("phototwin_broker_up", "Whether RabbitMQ takes messages", registry=self.registry)
        self.lag = Histogram(
            "phototwin_loop_lag_seconds",
            "By how much the event loop is late",
            buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=self.registry,
        )
        self.masks = self._counter("masks", "Masks made", "segmenter", "verdict")
        self.masks_reviewed = self._counter("masks_reviewed", "Masks a person decided on", "decision")
        self.mask_duration = Histogram(
            "phototwin_mask_duration_seconds",
            "Wall time of a segmentation by the number of its images",
            ["segmenter"],
            buckets=(0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50),
            registry=self.registry,
        )

    def begin(self, stage: str) -> None:
        """Have what alerts count be there from the start: else its first increase would not be seen."""
        self.deaf.labels(stage)
        self.in_flight.labels(stage)
        for error in leaves():
            if issubclass(error, Outage | DiskFull):
                self.stalls.labels(stage, error.code)
            if error.disposition is not Disposition.ABORT:
                self.dead_lettered.labels(stage, error.code)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"phototwin_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(
            f"phototwin_{name}", text, ["stage", *labels], buckets=SECONDS, registry=self.registry
        )
