"""FreeRADIUS and the embedded responder store the same sessions, and answer when they are stored."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.radius import running, world
from tests.radius.accounting_cases import CASES, Case
from tests.radius.client import attribute, send
from tests.radius.conftest import ACCOUNTING_KINDS, Network, Server, add, close_database, fetch, open_database
from tests.radius.reports import Report, deliver, session

ROWS = """
    SELECT s.*, v.username AS service, s.connection_type, host(s.ip_address) AS ip_address,
           s.mac_address::text AS mac_address, host(s.nas_address) AS nas_address
      FROM sessions s LEFT JOIN services v ON v.tenant_id = s.tenant_id AND v.id = s.service_id
     WHERE s.id <> ALL ($1) ORDER BY s.started_at, s.id"""


@pytest.fixture(scope="module", params=ACCOUNTING_KINDS)
def server(request: pytest.FixtureRequest, network: Network) -> Iterator[Server]:
    """Each of the servers in turn."""
    with getattr(running, request.param)(network.settings()) as started:
        yield Server(request.param, network, started)


def sessions(network: Network, known: tuple[object, ...] = ()) -> list[dict[str, Any]]:
    """North's sessions that are not known yet, with the times as seconds from now."""
    add(network, network.world.north)
    now = datetime.now(UTC)
    found = [dict(row) for row in fetch(network, "ispgraph_app", ROWS, list(known), tenant=network.world.north)]
    for row in found:
        for name in ("started", "updated", "stopped"):
            at = row[f"{name}_at"]
            row[name] = None if at is None else round((at - now).total_seconds())
    return found


def tell(server: Server, report: Report, *, wait: float = 5.0) -> bytes | None:
    """Deliver a report to a server."""
    return deliver(server.running.accounting, report, wait=wait)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_rows(server: Server, case: Case) -> None:
    known = tuple(row["id"] for row in sessions(server.network))
    for number, report in enumerate(case.packets()):
        assert tell(server, report) is not None, (number, server.running.output)
    rows = sessions(server.network, known)
    assert len(rows) == len(case.rows), rows
    for row, expected in zip(rows, case.rows, strict=True):
        for name, value in expected.items():
            assert row[name] in value if isinstance(value, range) else row[name] == value, (name, row[name], value)


@pytest.mark.parametrize(
    "report",
    [
        session(secret=b"wrong"),
        session(nas=world.STRANGER, secret=b"whatever"),
        session(status=None),
        session(extra=attribute(80, bytes(16))),
    ],
    ids=["another secret", "a stranger", "no status", "a forged signature"],
)
def test_silence(server: Server, report: Report) -> None:
    known = sessions(server.network)
    assert tell(server, report, wait=0.5) is None
    assert len(sessions(server.network)) == len(known)


def test_a_byte_that_changed_on_the_way(server: Server) -> None:
    packet = session().packet()
    for changed in (packet[:-1] + b"X", packet[:4] + bytes(16) + packet[20:]):
        assert send(server.running.accounting, changed, world.NORTH, wait=0.3) is None


def test_the_ports_are_not_confused(server: Server) -> None:
    assert send(server.running.address, session().packet(), world.NORTH, wait=0.3) is None


def test_what_a_proxy_added_comes_back(server: Server) -> None:
    assert tell(server, session(extra=attribute(33, b"p1") + attribute(33, b"p2"))) == (
        attribute(33, b"p1") + attribute(33, b"p2")
    )


def test_secrets_stay_out_of_the_log(server: Server) -> None:
    tell(server, session())
    assert server.network.settings().network_key.hex() not in server.running.output


@pytest.fixture(params=ACCOUNTING_KINDS)
def passing(request: pytest.FixtureRequest, network: Network) -> Iterator[Server]:
    """A server for one test."""
    with getattr(running, request.param)(network.settings()) as started:
        yield Server(request.param, network, started)


def test_nothing_is_acknowledged_while_the_database_is_away(passing: Server) -> None:
    known = tuple(row["id"] for row in sessions(passing.network))
    line = session()
    assert tell(passing, line.start()) is not None
    close_database(passing.network.name)
    try:
        assert tell(passing, line.interim(30, 3, 4), wait=1.0) is None
        assert tell(passing, line.stop(60, 5, 6), wait=1.0) is None
    finally:
        open_database(passing.network.name)
    assert any(tell(passing, line.stop(60, 5, 6), wait=1.0) is not None for _ in range(15))
    [row] = sessions(passing.network, known)
    assert (row["state"], row["input_octets"]) == ("STOPPED", 5)
