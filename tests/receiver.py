"""Somebody who receives traces: OTLP over HTTP, decoded by the protocol's own package."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ispgraph import traces
from ispgraph.settings import Settings


@dataclass(frozen=True)
class Span:
    """One span as it came."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    links: list[str]
    told: dict[str, Any]
    service: str
    events: int
    failed: bool


@dataclass
class Receiver:
    """What came so far; set `hangs` to have it answer no more."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    hangs: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    asked: int = 0

    def take(self, body: bytes) -> None:
        """Keep the spans of one request."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            of = _values(resource.resource.attributes)
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        Span(
                            name=span.name,
                            trace=span.trace_id.hex(),
                            id=span.span_id.hex(),
                            parent=span.parent_span_id.hex(),
                            kind=span.kind,
                            links=[link.trace_id.hex() for link in span.links],
                            told=_values(span.attributes),
                            service=str(of["service.name"]),
                            events=len(span.events),
                            failed=span.status.code == 2,
                        )
                    )

    def named(self, name: str) -> list[Span]:
        """The spans of this name."""
        return [span for span in self.spans if span.name == name]

    def above(self, span: Span) -> list[str]:
        """The names of what a span is a part of, the nearest first."""
        by_id, names = {each.id: each for each in self.spans}, []
        while (found := by_id.get(span.parent)) is not None:
            names.append(found.name)
            span = found
        return names


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def receiving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that OpenTelemetry's settings name."""
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.asked += 1
            if made.hangs.is_set():
                made.released.wait(30)
                return
            assert self.path == "/v1/traces"
            made.take(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    try:
        yield made
    finally:
        made.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def traced(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[Receiver]:
    """This process traces; when it is left, everything has come."""
    with receiving(monkeypatch) as made, traces.running("test", settings):
        yield made
