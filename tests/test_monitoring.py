"""What monitoring sees of the programs, and what they write to their logs."""

import json
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from ispgraph import clock, ids, logs, metrics, scheduler
from ispgraph.db import Database
from ispgraph.domain.models import Job, Role, RouterStatus
from ispgraph.settings import Settings, SettingsError
from ispgraph.up.ports import free_port
from tests.api import Api
from tests.factories import House
from tests.programs import Program


async def shown(port: int) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """The figures of a program: by name, then by labels."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{port}/metrics")
    assert answer.status_code == 200
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


async def test_the_api_counts_what_it_answers(house: House, api: Api, settings: Settings) -> None:
    port, eye = free_port(), free_port()
    program = Program("app", settings, ISPGRAPH_PORT=str(port), ISPGRAPH_METRICS_PORT=str(eye))
    await program.ready()
    try:
        headers = {"authorization": f"Bearer {await api.token(house.admin)}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
            for path in ("/livez", "/readyz"):
                assert (await client.get(path)).json() == {"ok": True}
            assert (await client.get("/metrics")).status_code == 404
            for query in ("{ packages { id } }", "{ packages { id } }", "{ nothing }"):
                await client.post("/graphql", json={"query": query})
            zone = "mutation($name: String!) { zoneCreate(input: {name: $name}) { zone { id } errors { code } } }"
            for name in ("North", ""):
                answer = (await client.post("/graphql", json={"query": zone, "variables": {"name": name}})).json()
                assert bool(answer["data"]["zoneCreate"]["errors"]) is (name == ""), answer
        found = await shown(eye)
    finally:
        program.kill()
    requests = found["ispgraph_request_seconds_count"]
    assert requests[(("code", "OK"),)] == 4
    assert requests[(("code", "BAD_REQUEST"),)] == 1
    mutations = found["ispgraph_mutations_total"]
    assert mutations == {
        (("field", "zoneCreate"), ("outcome", "DONE")): 1,
        (("field", "zoneCreate"), ("outcome", "REFUSED")): 1,
    }
    assert found["ispgraph_sockets"] == {(): 0}


async def test_a_port_that_is_taken_is_said(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="ISPGRAPH_METRICS_PORT"):
        metrics.serve(Settings(**{**_fields(settings), "metrics_host": "192.0.2.1", "metrics_port": 9}))


def _fields(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__slots__}


async def test_figures_are_of_all_tenants(house: House, other_house: House, database: Database) -> None:
    for each in (house, other_house):
        await each.router(None, status=RouterStatus.OFFLINE, retry_at=clock.now() + timedelta(minutes=5))
        await each.add(
            Job(kind="test.mark", arguments={}, next_attempt_at=clock.now() - timedelta(minutes=10)),
            Job(kind="test.mark", arguments={}, next_attempt_at=clock.now() + timedelta(minutes=10)),
        )
    await scheduler.count(database)
    figures = {
        (name, sample.labels["of"]): sample.value
        for name, gauge in metrics.FIGURES.items()
        for family in gauge.collect()
        for sample in family.samples
    }
    assert figures["jobs_due", "test.mark"] == 2
    assert figures["jobs_overdue_seconds", "test.mark"] == pytest.approx(600, abs=30)
    assert figures["routers", "OFFLINE"] == figures["routers_left_alone", ""] == 2
    assert figures["accounting_lag_seconds", ""] == 0
    assert ("billing_last_age_seconds", "") not in figures
    # What is over is shown no more.
    for each in (house, other_house):
        async with database.transaction(each.tenant.id) as session:
            await session.execute(text("update jobs set status = 'CANCELLED', finished_at = next_attempt_at"))
    await scheduler.count(database)
    assert not next(iter(metrics.FIGURES["jobs_due"].collect())).samples


async def test_only_the_application_asks_for_figures(database: Database, house: House) -> None:
    async with database.read(None) as session:
        assert (await session.execute(text("select count(*) from monitoring_figures(now())"))).scalar_one() > 3
        grants = await session.scalar(
            text("select has_function_privilege('ispgraph_radius', 'monitoring_figures(timestamptz)', 'EXECUTE')")
        )
    assert grants is False
    assert Role.ADMIN is house.admin.role


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[str]]]:
    """The lines of the log until now. Everything is as before afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("ispgraph")
    handlers, levels = root.handlers, (root.level, ours.level)
    yield lambda: capsys.readouterr().err.splitlines()
    root.handlers = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    structlog.reset_defaults()


def test_a_log_of_json_holds_no_secret(written: Callable[[], list[str]], settings: Settings) -> None:
    logs.configure("worker", Settings(**{**_fields(settings), "log": "json"}))
    key = ids.uuid7().hex
    structlog.get_logger("ispgraph.test").info(
        "signed_in", password="sesame-1", nested={"api_token": "sesame-2"}, name="Ann"
    )
    try:
        raise ValueError("cannot connect to postgresql://app:sesame-3@db.example/isp")
    except ValueError:
        logging.getLogger("ispgraph.other").exception("header was 'Authorization: Bearer sesame-4.%s'", key)
    logging.getLogger("somebody.else").info("not ours, and not important")
    logging.getLogger("somebody.else").warning("a token ispg_sesame-5sesame was refused")
    lines = written()
    first, second, third = map(json.loads, lines)
    assert (first["program"], first["level"], first["logger"], first["event"]) == (
        *("worker", "info"),
        *("ispgraph.test", "signed_in"),
    )
    assert (first["name"], first["password"], first["nested"]) == ("Ann", logs.STRUCK, {"api_token": logs.STRUCK})
    assert first["at"].endswith("Z")
    assert "ValueError" in second["exception"]
    assert "db.example" in second["exception"]
    assert third["event"] == f"a token {logs.STRUCK} was refused"
    assert not any("sesame" in line or key in line for line in lines)


def test_a_log_of_text_is_one_line_an_entry(written: Callable[[], list[str]], settings: Settings) -> None:
    logs.configure("api", settings)
    structlog.get_logger("ispgraph.test").warning("it_happened", number=7)
    (line,) = written()
    assert "it_happened" in line
    assert "number=7" in line
    assert "\x1b" not in line
