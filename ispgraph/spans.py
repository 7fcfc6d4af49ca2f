"""OpenTelemetry's side of `traces`: spans, made and sent as its own settings say (`OTEL_*`), over OTLP and HTTP.

Spans wait in a queue of bounded length and are sent by a thread: a receiver that hangs costs spans, and never time.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ispgraph import traces
from ispgraph.traces import ROOT, Kind, Told

_UNNAMED = "unknown_service"
_W3C = TraceContextTextMapPropagator()


class _Span:
    __slots__ = ("_otel",)

    def __init__(self, otel: trace.Span) -> None:
        self._otel = otel

    def rename(self, name: str) -> None:
        self._otel.update_name(name)

    def tell(self, told: Told) -> None:
        self._otel.set_attributes(told)

    def failed(self, kind: str) -> None:
        self._otel.set_attribute("error.type", kind)
        self._otel.set_status(StatusCode.ERROR)

    def end(self) -> None:
        self._otel.end()


class Spans:
    """The tracer of one program. Making it starts the thread that sends."""

    def __init__(self, program: str) -> None:
        named = {"service.namespace": "ispgraph", "service.instance.id": str(uuid4())}
        if str(Resource.create().attributes.get(SERVICE_NAME, _UNNAMED)).startswith(_UNNAMED):
            named[SERVICE_NAME] = f"ispgraph-{program}"
        # Its own end would wait for the receiver as long as that likes.
        self._provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        self._exporter = OTLPSpanExporter()
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("ispgraph")

    @contextmanager
    def span(
        self, name: str, kind: Kind, parent: str | None, links: Sequence[str], told: Told
    ) -> Iterator[traces.Span]:
        """See `traces.span`."""
        with self._tracer.start_as_current_span(
            name,
            context=None if parent is None else _context(parent),
            kind=SpanKind[kind],
            attributes=told,
            links=[trace.Link(found) for found in map(_named, links) if found.is_valid],
            # The text of an error may quote what somebody sent.
            record_exception=False,
            set_status_on_exception=False,
        ) as otel:
            made = _Span(otel)
            try:
                yield made
            except BaseException as error:
                made.failed(type(error).__name__)
                raise

    def begin(self, name: str, told: Told) -> traces.Span | None:
        """See `traces.begin`."""
        if not trace.get_current_span().is_recording():
            return None
        return _Span(self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=told))

    def carried(self) -> str | None:
        """See `traces.carried`."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return carrier.get("traceparent")

    def ids(self) -> tuple[str, str] | None:
        """See `traces.ids`."""
        found = trace.get_current_span().get_span_context()
        return (trace.format_trace_id(found.trace_id), trace.format_span_id(found.span_id)) if found.is_valid else None

    def current(self) -> traces.Span | None:
        """See `traces.tell`."""
        found = trace.get_current_span()
        return _Span(found) if found.is_recording() else None

    def close(self, seconds: float) -> None:
        """Send what waits, for so long at most."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(seconds)
        if last.is_alive():
            # It still tries: it gives up now.
            self._exporter.shutdown()  # type: ignore[no-untyped-call]


def _context(parent: str) -> Context:
    return Context() if parent == ROOT else _W3C.extract({"traceparent": parent}, Context())


def _named(parent: str) -> trace.SpanContext:
    return trace.get_current_span(_context(parent)).get_span_context()
