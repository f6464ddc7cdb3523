"""Spans of a job: whose they are, what they say, and that events carry their trace on."""

from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from broker.embedded import Broker
from contracts.envelope import trace_id
from contracts.events import CaptureFailed, PosesReady
from tests.fakes.bench import TOPOLOGY, Bench
from tests.gateway import served
from workers.runtime import tracing
from workers.runtime.folder import FolderStore
from workers.runtime.metrics import Metrics
from workers.runtime.settings import Settings, SettingsError

DEAD = {"stage": "prepare", "code": "compute_failed"}
CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    settings = Settings(
        prefix="test", retry_delays=TOPOLOGY.retry_delays, work_dir=str(tmp_path), max_attempts=2
    )
    return Bench(tmp_path, Broker(TOPOLOGY), FolderStore(tmp_path / "store"), settings, Metrics())


class Spans:
    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self.exporter = exporter

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]


def ids(span: ReadableSpan) -> tuple[str, str]:
    """Of its trace, and its own."""
    assert span.context is not None
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


@pytest.fixture
def spans() -> Spans:
    return Spans(InMemorySpanExporter())


async def test_a_job_is_a_span_of_its_events_trace_and_its_steps_are_its_children(
    bench: Bench, spans: Spans
) -> None:
    async with tracing.exported(spans.exporter, "test"), bench.shell():
        published = await bench.publish(await bench.upload("work"))
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))
        await bench.until(
            lambda: bench.count("job_duration_seconds_count", outcome="done", stage="prepare") > 0
        )
    (job,) = spans.named("prepare")
    assert ids(job)[0] == trace_id(published.traceparent)
    assert job.parent is not None
    assert f"{job.parent.span_id:016x}" == published.traceparent.split("-")[2]
    assert job.kind is SpanKind.CONSUMER
    assert job.attributes is not None
    assert job.attributes["phototwin.capture_id"] == "c1"
    assert job.attributes["phototwin.outcome"] == "done"
    for step in ("fetch", "compute", "put", "publish poses.ready"):
        (child,) = spans.named(step)
        assert child.parent is not None
        assert f"{child.parent.span_id:016x}" == ids(job)[1], step
    (announced,) = bench.outcomes(PosesReady)
    assert announced.traceparent.split("-")[1:3] == list(ids(spans.named("publish poses.ready")[0]))


async def test_a_failure_is_told(bench: Bench, spans: Spans) -> None:
    async with tracing.exported(spans.exporter, "test"), bench.shell():
        published = await bench.publish(await bench.upload("break"))
        await bench.until(lambda: bool(bench.outcomes(CaptureFailed)))
        await bench.until(lambda: bench.count("events_dead_lettered_total", **DEAD) > 0)
    first, last = spans.named("prepare")
    assert [span.status.status_code for span in (first, last)] == [StatusCode.ERROR] * 2
    assert [(span.attributes or {})["error.type"] for span in (first, last)] == ["compute_failed"] * 2
    assert [(span.attributes or {})["phototwin.attempt"] for span in (first, last)] == [0, 1]
    (failed,) = bench.outcomes(CaptureFailed)
    assert trace_id(failed.traceparent) == trace_id(published.traceparent)


async def test_without_a_collector_the_trace_goes_on(bench: Bench) -> None:
    async with bench.shell():
        published = await bench.publish(await bench.upload("work"))
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))
    (announced,) = bench.outcomes(PosesReady)
    assert trace_id(announced.traceparent) == trace_id(published.traceparent)


async def test_a_captures_trace_is_its_clients(tmp_path: Path, spans: Spans) -> None:
    async with tracing.exported(spans.exporter, "test"), served(tmp_path) as site:
        told = await site.created()
        await site.send(told["uploads"])
        address = f"/v1/captures/{told['capture_id']}/complete"
        await site.client.post(address, headers={"traceparent": CLIENT})
        log = site.gateway.broker._log  # type: ignore[attr-defined]
    (asked,) = spans.named("POST /v1/captures/{capture_id}/complete")
    assert ids(asked)[0] == trace_id(CLIENT)
    assert log[-1].body.decode().count("-".join(ids(asked))) == 1


async def test_traces_that_are_none_begin_one(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        for wrong in ("", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"):
            told = await site.created()
            await site.send(told["uploads"])
            address = f"/v1/captures/{told['capture_id']}/complete"
            done = await site.client.post(address, headers={"traceparent": wrong})
            assert done.status_code == 202


async def test_a_collector_that_is_away_costs_nothing(bench: Bench) -> None:
    settings = bench.settings.model_copy(update={"traces_url": "http://127.0.0.1:1/v1/traces"})
    async with tracing.collected(settings, "test"), bench.shell():
        await bench.publish(await bench.upload("work"))
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))


async def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        __import__("sys").modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None
    )
    with pytest.raises(SettingsError, match=r"phototwin\[tracing\]"):
        async with tracing.collected(Settings(traces_url="http://127.0.0.1:1/v1/traces"), "test"):
            pass
