"""Traces cost nothing where nobody receives them, and never time or work where somebody does."""

import asyncio
import json
import logging
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ispgraph import logs, traced_statements, traces
from ispgraph.adapters import outbound
from ispgraph.adapters.sms.double import serve
from ispgraph.db import Database
from ispgraph.domain.models import Job
from ispgraph.settings import Settings, SettingsError
from tests.api import Api
from tests.factories import House
from tests.programs import Program
from tests.receiver import receiving, traced

ROOT = Path(__file__).parent.parent
VIEWER = "query Who { viewer { operator { name } } }"
EXPORT = "mutation Ask { customersExport(input: {format: CSV}) { job { id } errors { message } } }"
SERVERS = {
    "ISPGRAPH_DATABASE_URL": "postgresql://h/d",
    "ISPGRAPH_REDIS_URL": "redis://h",
    "ISPGRAPH_TOKEN_KEY": "00" * 32,
    "ISPGRAPH_NETWORK_KEY": "00" * 32,
}


def test_the_settings_are_opentelemetrys_own() -> None:
    def traced_by(**given: str) -> bool:
        return Settings.from_env(SERVERS | given).traces

    assert not traced_by()
    assert traced_by(OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318")
    assert traced_by(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://collector:4318/v1/traces")
    for off in ({"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}):
        assert not traced_by(OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318", **off)
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_PROTOCOL"):
        traced_by(OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4317", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")


def test_what_nobody_receives_is_not_even_loaded() -> None:
    # redis-py loads OpenTelemetry's metrics where they are installed.
    sent = "('ispgraph.spans', 'requests', 'opentelemetry.exporter')"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, ispgraph.app; print([name for name in {sent} if name in sys.modules])"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


async def test_off_means_no_threads_and_no_spans(
    api: Api, house: House, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving(monkeypatch) as receiver:
        before = threading.active_count()
        with traces.running("test", settings):
            assert (traces.on(), threading.active_count()) == (False, before)
            assert traces.span("a") is traces.span("b") is traces.within("c")
            assert "errors" not in await api(VIEWER, house.admin)
            await api(EXPORT, house.admin)
        with traces.running("test", replace(settings, traces=True)):
            assert threading.active_count() == before + 1
    async with database.read(house.tenant.id) as session:
        assert await session.scalar(select(Job.traceparent)) is None
    assert (receiver.spans, receiver.asked, traces.carried(), traces.ids()) == ([], 0, None, None)


async def test_a_receiver_that_hangs_or_is_away_costs_no_time_and_no_work(
    api: Api, house: House, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
    on = replace(settings, traces=True)
    promised = 0
    with receiving(monkeypatch) as receiver:
        receiver.hangs.set()
        for endpoint in (receiver.url, "http://127.0.0.1:9"):
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            longest = 0.0
            with traces.running("test", on):
                # As when nobody could be told: far more than the queue holds.
                for _ in range(60):
                    began = time.monotonic()
                    answer = await api(EXPORT, house.admin)
                    longest = max(longest, time.monotonic() - began)
                    assert answer["data"]["customersExport"]["job"] is not None
                    promised += 1
                ending = time.monotonic()
            assert time.monotonic() - ending < 4
            assert longest < 2
        assert receiver.asked > 0
        assert receiver.spans == []
    async with database.read(house.tenant.id) as session:
        assert len((await session.scalars(select(Job.id))).all()) == promised


async def test_what_fails_is_told_by_its_kind_alone(
    api: Api, house: House, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with traced(monkeypatch, replace(settings, traces=True)) as receiver:
        traced_statements.watch(database.engine.sync_engine)
        with pytest.raises(DBAPIError), traces.span("outer"):
            async with database.transaction(house.tenant.id) as session:
                await session.execute(text("SELECT CAST('x' || :given AS integer)"), {"given": "somebody's name"})
        with traces.span("another"):
            assert await database.read_texts("SELECT $1::text", ["a value"]) == ["a value"]
            assert "errors" not in await api(VIEWER, house.admin)
    spans = receiver.named("SELECT")
    [failed] = [span for span in spans if span.failed]
    assert failed.told["error.type"] == "22P02"
    assert receiver.above(failed) == ["transaction", "outer"]
    assert [span.told.get("error.type") for span in receiver.named("outer")] == ["DBAPIError"]
    assert "SELECT $1::text" in [span.told["db.query.text"] for span in spans]
    assert receiver.above(receiver.named("query viewer")[0]) == ["query Who"]
    told = json.dumps([span.told for span in receiver.spans])
    assert "somebody" not in told
    assert "a value" not in told


async def test_others_are_told_which_trace_and_no_trace_tells_their_address(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str | None] = []

    class Other:
        ended = asyncio.Event()

        def app(self) -> Starlette:
            async def answer(request: Request) -> Response:
                heard.append(request.headers.get("traceparent"))
                return Response(status_code=204)

            return Starlette(routes=[Route("/{path:path}", answer, methods=["POST"])])

    other: Any = Other()
    with traced(monkeypatch, replace(settings, traces=True)) as receiver:
        async with serve(other) as base, outbound.client(private=True) as client:
            with traces.span("outer"):
                carried = traces.carried()
                await client.post(f"{base}/hooks/a-key-in-the-path?token=secret", content=b"{}")
            await client.post(f"{base}/hooks/else", content=b"{}")
    [asked] = receiver.named("POST")
    assert (asked.kind, receiver.above(asked), asked.told["server.address"]) == (3, ["outer"], "127.0.0.1")
    assert heard == [f"00-{asked.trace}-{asked.id}-03", None]
    assert carried is not None
    assert carried.split("-")[1] == asked.trace
    assert "key-in-the-path" not in json.dumps(asked.told)


def test_the_log_names_the_trace(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    former = (root.handlers, root.level)
    try:
        logs.configure("test", replace(settings, log="json"))
        with traced(monkeypatch, replace(settings, traces=True)):
            with traces.span("outer"):
                under_way = traces.ids()
                logging.getLogger("ispgraph.other").warning("by the standard library")
                structlog.get_logger("ispgraph.test").error("by ours")
                structlog.get_logger("ispgraph.test").error("told", trace_id="already")
            logging.getLogger("ispgraph.other").warning("outside")
    finally:
        root.handlers, root.level = former
        structlog.reset_defaults()
    entries: list[dict[str, Any]] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert under_way is not None
    assert [entry.get("trace_id") for entry in entries] == [under_way[0], under_way[0], "already", None]
    assert [entry.get("span_id") for entry in entries] == [under_way[1]] * 3 + [None]


async def test_a_program_traces_and_ends_in_time(
    house: House, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving(monkeypatch) as receiver:
        program = Program("scheduler", settings, OTEL_SERVICE_NAME="isp")
        try:
            await program.ready()
            until = time.monotonic() + 20
            while not receiver.named("scheduler turn"):
                assert time.monotonic() < until
                time.sleep(0.1)
            receiver.hangs.set()
            time.sleep(1.5)
            began = time.monotonic()
            assert await program.terminate(20) == 0
            assert time.monotonic() - began < 9
        finally:
            program.kill()
    assert {span.service for span in receiver.spans} == {"isp"}
    assert "scheduler turn" in receiver.above(receiver.named("SELECT")[0])
