"""How many replicas an installation needs for so many captures an hour, and what they wait and cost."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from deploy.capacity.model import Draw, Outcome, Stage, poisson, quantile, simulate
from deploy.capacity.nodes import NodePool

MEASURED = Path(__file__).with_name("measured.json")
"""What `python -m tests.bench.service_times` found."""


@dataclass(frozen=True)
class Assumed:
    """What cannot be measured on one machine. Times in seconds, prices in one currency."""

    upload_mbit: float = 20.0
    """A phone's network, up"""
    download_mbit: float = 100.0
    """and down."""
    poll: float = 10.0
    """KEDA's `pollingInterval`, as in deploy/kubernetes."""
    pod_start: float = 8.0
    """The image being there; our processes take 3 to 5 of them until they are ready."""
    node_start: float = 120.0
    gpu_node_start: float = 240.0
    node_cores: float = 16.0
    node_keep: float = 600.0
    """An empty node is given up after so long."""
    taken_back: float = 0.05
    """Spot nodes an hour, those of reconstruct."""
    core_hour: float = 0.03
    gpu_hour: float = 0.60
    """A node with one, its cores included."""
    gpu_speed: float = 4.0
    """By how much a GPU shortens reconstruct: nobody has measured it."""
    broker_messages: float = 800.0
    """A second, through one RabbitMQ of two cores (quorum queues, 1 KB, a consumer with prefetch 10)."""
    headroom: float = 0.7
    """No more of a replica's or a broker's time is planned for."""


ASSUMED = Assumed()


@dataclass(frozen=True)
class Scenario:
    per_hour: float
    hours: float
    """Of arrivals; the first half, with the cold start, is left out of what is told."""
    gpu: bool = False
    once: bool = False
    """A Job for each reconstruction (`--once`); else a Job does what there is, and ends when nothing is left
    (`--drain`)."""

    @property
    def name(self) -> str:
        return f"{self.per_hour:,.0f}{' with GPUs' * self.gpu}{', a Job for each' * self.once}"


SCENARIOS = (
    Scenario(10, 150),
    Scenario(1000, 4),
    Scenario(1000, 4, once=True),
    Scenario(1000, 4, gpu=True),
    Scenario(100_000, 1.2),
    Scenario(100_000, 1.2, gpu=True),
)


@dataclass(frozen=True)
class Told:
    """A scenario, simulated."""

    scenario: Scenario
    outcome: Outcome
    stages: tuple[Stage, ...]
    latencies: tuple[float, ...]
    """T_upload + T_signal + T_preprocessing + T_reconstruction + T_download, of each capture."""
    cost: float
    """Of a model."""
    gpu_hours: float
    """Of an hour of operation."""
    messages: float
    """A second, through the broker."""
    cells: int
    """Brokers to spread the tenants over."""
    bytes_second: float
    """Through the object store."""


def measured() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(MEASURED.read_text())
    return found


def drawn(buckets: list[list[float]], mean: float) -> Draw:
    """From a histogram of Prometheus, [upper bound, cumulative count] each: evenly within a bucket, then all
    scaled so that the mean is the one that was measured."""
    bounds, counts, below, before = [], [], 0.0, 0.0
    for bound, count in buckets:
        if count > before:
            bounds.append((below, bound))
            counts.append(count - before)
        below, before = bound, count
    middles = sum(c * (low + high) / 2 for c, (low, high) in zip(counts, bounds, strict=True))
    scale = mean * sum(counts) / middles

    def draw(rng: Random) -> float:
        low, high = rng.choices(bounds, counts)[0]
        return scale * rng.uniform(low, high)

    return draw


STEADY = NodePool("steady", cores=ASSUMED.node_cores, start=ASSUMED.node_start, keep=ASSUMED.node_keep)
"""For all but reconstructions."""
SPOT = replace(STEADY, name="spot", taken_back=ASSUMED.taken_back)
GPU = replace(SPOT, name="gpu", gpus=1.0, start=ASSUMED.gpu_node_start)


def stages_of(scenario: Scenario, found: dict[str, Any]) -> tuple[Stage, ...]:
    made = []
    for name, told in found["stages"].items():
        mean = told["seconds"] / told["jobs"]
        gpu = name == "reconstruct" and scenario.gpu
        mean /= ASSUMED.gpu_speed if gpu else 1.0
        load = scenario.per_hour / 3600 * mean
        most = max(2, math.ceil(load / ASSUMED.headroom) + math.ceil(2 * math.sqrt(load)))
        stage = Stage(
            name,
            drawn(told["buckets"], mean),
            least=1,
            most=most,
            nodes=STEADY,
            cores=found["cores"],
            start=ASSUMED.pod_start,
            poll=ASSUMED.poll,
        )
        if name == "reconstruct":  # a ScaledJob, on nodes that may be taken back
            stage = replace(stage, least=0, cooldown=0.0, once=scenario.once, nodes=SPOT)
        if gpu:
            stage = replace(stage, gpus=1.0, nodes=GPU)
        made.append(stage)
    return tuple(made)


def run(scenario: Scenario, found: dict[str, Any], seed: int = 1) -> Told:
    stages = stages_of(scenario, found)
    seconds = 3600 * scenario.hours
    outcome = simulate(stages, poisson(scenario.per_hour, seconds, seed), seed=seed)
    settled = [p for p in outcome.passages if p.arrived >= seconds / 2]
    moved = 8 * found["upload_bytes"] / (1e6 * ASSUMED.upload_mbit)
    moved += 8 * found["model_bytes"] / (1e6 * ASSUMED.download_mbit)
    paid = {name: nodes.paid() / 3600 for name, nodes in outcome.nodes.items()}
    gpus = paid.pop("gpu", 0.0)
    cost = ASSUMED.core_hour * ASSUMED.node_cores * sum(paid.values()) + ASSUMED.gpu_hour * gpus
    messages = scenario.per_hour / 3600 * found["messages"]
    return Told(
        scenario,
        outcome,
        stages,
        tuple(moved + passage.seconds for passage in settled),
        cost / len(outcome.passages),
        gpus / scenario.hours,
        messages,
        math.ceil(messages / (ASSUMED.headroom * ASSUMED.broker_messages)),
        scenario.per_hour / 3600 * found["bytes"],
    )


def table(told: list[Told]) -> str:
    """In Markdown."""
    lines = [
        "| captures an hour | replicas at most: prepare, segment, reconstruct, package "
        "| nodes at most: steady, reconstruct's | latency p50, p95, s "
        "| waiting p50, p95, s | of it reconstruct p95, s | busy | GPU hours an hour | cost of a model "
        "| messages a second, brokers | store, MB a second |",
        "|" + " --- |" * 11,
    ]
    for one in told:
        settled = [p for p in one.outcome.passages if p.arrived >= 1800 * one.scenario.hours]
        waits = [sum(p.waited.values()) for p in settled]
        rebuilt = [p.waited["reconstruct"] for p in settled]
        used = one.outcome.usage.values()
        busy = sum(usage.busy for usage in used) / sum(usage.alive for usage in used)
        replicas = ", ".join(str(one.outcome.usage[stage.name].most) for stage in one.stages)
        nodes = ", ".join(str(there.most) for there in one.outcome.nodes.values())
        lines.append(
            f"| {one.scenario.name} | {replicas} | {nodes} "
            f"| {quantile(one.latencies, 0.5):.0f}, {quantile(one.latencies, 0.95):.0f} "
            f"| {quantile(waits, 0.5):.1f}, {quantile(waits, 0.95):.1f} | {quantile(rebuilt, 0.95):.1f} "
            f"| {busy:.0%} | {one.gpu_hours:.1f} | {one.cost:.4f} "
            f"| {one.messages:.1f}, {one.cells} | {one.bytes_second / 1e6:.1f} |"
        )
    return "\n".join(lines)
