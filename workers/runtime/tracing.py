"""Spans by OpenTelemetry: a trace for each capture, which events carry on from worker to worker.

Where nobody collects them (`collected`) spans cost next to nothing, and traces are passed on all the same.
https://opentelemetry.io/docs/specs/otel/trace/api/, https://www.w3.org/TR/trace-context/
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace import NoOpTracer, Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from contracts.envelope import new_traceparent
from workers.runtime.settings import Settings, SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

FLUSH_SECONDS = 2
"""A collector that is away holds up the end of a process for no longer, or twice that."""
_W3C = TraceContextTextMapPropagator()
_tracer: Tracer = NoOpTracer()


@contextmanager
def span(
    name: str,
    parent: str | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: dict[str, str | int] | None = None,
) -> Iterator[Span]:
    """The current span until it ends. parent: a traceparent; else the span that is current now."""
    context = _W3C.extract({"traceparent": parent}) if parent else None
    with _tracer.start_as_current_span(name, context, kind, attributes) as made:
        yield made


def failed(code: str, message: str) -> None:
    """So the current span ends."""
    current = trace.get_current_span()
    current.set_attribute("error.type", code)
    current.set_status(Status(StatusCode.ERROR, message))


def traceparent() -> str:
    """Of the current span, for what it causes elsewhere; of a new trace where there is none."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier.get("traceparent") or new_traceparent()


@asynccontextmanager
async def collected(settings: Settings, service: str) -> AsyncIterator[None]:
    """While inside, spans are sent where the settings say. Raises SettingsError."""
    if settings.traces_url is None:
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise SettingsError("PHOTOTWIN_TRACES_URL: needs OpenTelemetry; install phototwin[tracing]") from None
    async with exported(OTLPSpanExporter(settings.traces_url, timeout=FLUSH_SECONDS), service):
        yield


@asynccontextmanager
async def exported(exporter: "SpanExporter", service: str) -> AsyncIterator[None]:
    """While inside, spans go to the exporter, from a thread of their own; what it would not take by the end
    is lost."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    global _tracer
    provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer("phototwin")
    try:
        yield
    finally:
        _tracer = NoOpTracer()
        await asyncio.to_thread(provider.force_flush, 1000 * FLUSH_SECONDS)
        await asyncio.to_thread(provider.shutdown)
