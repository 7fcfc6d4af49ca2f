"""Tens of thousands of packets of a network that behaves badly, and what they must add up to."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import sessions
from ispgraph.domain.models import Customer
from ispgraph.radius import inbox
from tests import factories
from tests.api import Api
from tests.conftest import Dsns
from tests.crowd import customer, service
from tests.factories import House
from tests.radius import running, world
from tests.radius.conftest import ACCOUNTING_KINDS, add, fetch
from tests.radius.conftest import Network as Radius
from tests.radius.oracle import Oracle
from tests.radius.reports import Report, deliver
from tests.radius.stream import START, Device, Network, Packet

ZONE = "Asia/Kathmandu"
ROUTERS = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
SWAPPED, CLASSLESS, PLAIN = ROUTERS[1], ROUTERS[2], ROUTERS[3]
ARGUMENTS = {
    "p_username": lambda packet: packet.user,
    "p_nas": lambda packet: packet.router,
    "p_status": lambda packet: packet.status,
    "p_session_id": lambda packet: packet.session_id,
    "p_class": lambda packet: packet.cookie,
    "p_session_time": lambda packet: _told(packet, packet.seconds),
    "p_input_octets": lambda packet: _told(packet, packet.up % 2**32),
    "p_input_gigawords": lambda packet: _told(packet, packet.up >> 32),
    "p_output_octets": lambda packet: _told(packet, packet.down % 2**32),
    "p_output_gigawords": lambda packet: _told(packet, packet.down >> 32),
    "p_calling_station": lambda packet: packet.station,
    "p_delay": lambda packet: packet.delay,
    "p_event": lambda packet: packet.event,
    "p_at": lambda packet: packet.arrival,
}
CALL = f"SELECT radius_accounting({', '.join(f'{name} => ${n}' for n, name in enumerate(ARGUMENTS, 1))})"
# In one transaction, which is quicker; few, for what a transaction wrote is only cleared away after it.
_TOGETHER = 25
USAGE = """query ($id: ID!, $from: DateTime!, $to: DateTime!) { customer(by: {id: $id}) {
  usage(from: $from, to: $to) { uploadBytes downloadBytes seconds } } }"""


def _told(packet: Packet, figure: int) -> int | None:
    return None if packet.status == START else figure


def devices(users: Sequence[str], routers: Sequence[str]) -> list[Device]:
    """Everybody has one; every fourth user has a second one on another router."""
    made = []
    for number, user in enumerate(users):
        for turn in range(2 if number % 4 == 0 else 1):
            station = f"02:00:5E:{turn:02X}:{number // 256:02X}:{number % 256:02X}"
            made.append(Device(user, station, routers[(number + turn) % len(routers)]))
    return made


@pytest.mark.parametrize(
    ("packets", "users", "hours"),
    [
        pytest.param(3_000, 12, 9, id="3,000"),
        pytest.param(50_000, 60, 27, id="50,000", marks=pytest.mark.long),
    ],
)
@pytest.mark.usefixtures("moved_clock")
async def test_to_the_byte(
    owner: Database, database: Database, dsns: Dsns, api: Api, packets: int, users: int, hours: int
) -> None:
    house = await factories.house(owner, database, "hills", time_zone=ZONE)
    for router in ROUTERS:
        await house.router(router, octets_swapped=router == SWAPPED)
    lines = await subscribers(house, [f"user-{number}" for number in range(users)])
    everybody = [*lines, "nobody"]
    network = Network(packets, devices(everybody, ROUTERS), classless=[CLASSLESS], plain=[PLAIN])
    # Over the ends of two months: in Kathmandu they are at 18:15 UTC.
    for midnight in (datetime(2026, 1, 31, 18, 15, tzinfo=UTC), datetime(2026, 2, 28, 18, 15, tzinfo=UTC)):
        network.run(midnight - timedelta(hours=hours / 2), midnight + timedelta(hours=hours / 2))
    stream = network.in_order()
    assert packets <= len(stream) < 1.3 * packets, len(stream)
    assert any(packet.down > 2**33 for packet in stream)
    oracle = Oracle(ZONE, [SWAPPED])
    for packet in stream:
        oracle.read(packet)

    await play(database, house, dsns.radius, stream)
    await check(database, house, oracle, lines)
    await check_periods(api, house, oracle, lines)


async def subscribers(house: House, users: Sequence[str]) -> dict[str, tuple[Customer, UUID]]:
    """A customer with one service for each username."""
    package = await house.package()
    made = {}
    for user in users:
        row = customer(house, user)
        await house.add(row)
        line = service(row, package.id, username=user)
        await house.add(line)
        made[user] = (row, line.id)
    return made


async def play(database: Database, house: House, radius: str, stream: Sequence[Packet]) -> None:
    """Send them, and do meanwhile what the scheduler does."""
    connection = await asyncpg.connect(radius)
    for begin in range(0, len(stream), _TOGETHER):
        some = stream[begin : begin + _TOGETHER]
        await connection.executemany(CALL, [[make(packet) for make in ARGUMENTS.values()] for packet in some])
        if begin % (10 * _TOGETHER) == 0:
            await inbox.add(database)
            async with database.transaction(house.tenant.id) as session:
                await sessions.end_silent(session, at=some[-1].arrival, limit=1000)
    await connection.close()
    await inbox.add(database)


async def read(database: Database, house: House, query: str, *arguments: Any) -> list[Any]:
    """Rows as the house sees them."""
    async with database.read(house.tenant.id) as session:
        plain = (await (await session.connection()).get_raw_connection()).driver_connection
        return list(await plain.fetch(query, *arguments))


async def check(database: Database, house: House, oracle: Oracle, lines: dict[str, tuple[Customer, UUID]]) -> None:
    """Each session, each day, and no day more."""
    rows = await read(
        database,
        house,
        "SELECT s.*, host(r.radius_address) AS nas FROM sessions s JOIN routers r ON r.id = s.router_id",
    )
    found = {
        row["class"] or f"{row['nas']} {row['acct_session_id']}": (
            row["input_octets"],
            row["output_octets"],
            row["duration_seconds"],
        )
        for row in rows
    }
    assert len(found) == len(rows)
    assert found == {name: (*session.total, session.seconds) for name, session in oracle.sessions.items()}
    days = await read(database, house, "SELECT service_id, day, input_octets, output_octets, seconds FROM usage_days")
    assert {(row[0], row[1]): tuple(row[2:]) for row in days} == {
        (line, day): figures for user, (_, line) in lines.items() for day, figures in oracle.days(user).items()
    }
    # The quarters say the same as the days.
    quarters = await read(
        database,
        house,
        """SELECT service_id, (starts_at AT TIME ZONE $1)::date AS day, sum(input_octets)::bigint,
                  sum(output_octets)::bigint, sum(seconds)::bigint FROM usage_buckets GROUP BY 1, 2""",
        ZONE,
    )
    assert {tuple(row) for row in quarters} == {tuple(row) for row in days}
    states = await read(database, house, "SELECT DISTINCT state || COALESCE(' ' || terminate_cause, '') FROM sessions")
    assert {row[0] for row in states} >= {"OPEN", "STOPPED", "STALE Lost-Carrier", "STALE NAS-Reboot"}
    assert await read(database, house, "SELECT FROM usage_quarantine") == []


async def check_periods(api: Api, house: House, oracle: Oracle, lines: dict[str, tuple[Customer, UUID]]) -> None:
    """Through the API: months, and periods that begin on any day of a month."""
    clock.set_clock("2026-03-15T00:00:00Z")
    zone = ZoneInfo(ZONE)
    periods = [
        (date(2026, 1, 1), date(2026, 2, 1)),
        (date(2026, 2, 1), date(2026, 3, 1)),
        (date(2026, 1, 31), date(2026, 2, 28)),
        (date(2026, 3, 1), date(2026, 3, 2)),
    ]
    for user, (row, _) in list(lines.items())[:6]:
        for first, end in periods:
            stretch = {
                name: datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC).isoformat()
                for name, day in (("from", first), ("to", end))
            }
            answer = await api.data(USAGE, house.admin, id=ids.encode("cus", row.id), **stretch)
            usage = answer["customer"]["usage"]
            up, down, seconds = oracle.used(user, first, end)
            assert (int(usage["uploadBytes"]), int(usage["downloadBytes"]), usage["seconds"]) == (up, down, seconds)


@pytest.mark.parametrize("kind", ACCOUNTING_KINDS)
def test_a_sample_through_a_server(network: Radius, kind: str) -> None:
    """The same, sent as packets. What a server takes for now is now: so every packet says how long it was kept."""
    north = network.world.north
    users = {
        "responder": ["alice", "capped", "ann@isp.example"],
        "freeradius": ["static", "for-ever", "bob+1"],
        "together": ["a#b", "a=b", "josé"],
    }[kind]
    lived = Network(len(kind), devices(users, [world.NORTH]), plain=[world.NORTH])
    now = datetime.now(UTC).replace(microsecond=0)
    lived.run(now - timedelta(hours=16), now - timedelta(hours=8))
    stream = lived.in_order()
    assert len(stream) > 150
    oracle = Oracle("Asia/Dhaka")
    with getattr(running, kind)(network.settings()) as server:
        for packet in stream:
            oracle.read(packet)
            assert deliver(server.accounting, report(packet)) is not None
    add(network, north)
    query = """SELECT class, input_octets, output_octets, duration_seconds FROM sessions
                WHERE lower(username) = ANY ($1)"""
    rows = fetch(network, "ispgraph_app", query, users, tenant=north)
    assert {row[0]: tuple(row[1:]) for row in rows} == {
        name: (*session.total, session.seconds) for name, session in oracle.sessions.items()
    }
    query = """SELECT v.username, u.day, u.input_octets, u.output_octets, u.seconds
                 FROM usage_days u JOIN services v ON v.id = u.service_id WHERE v.username = ANY ($1)"""
    assert {(row[0], row[1]): tuple(row[2:]) for row in fetch(network, "ispgraph_app", query, users, tenant=north)} == {
        (user, day): figures for user in users for day, figures in oracle.days(user).items()
    }


def report(packet: Packet) -> Report:
    """As a router sends it now that kept it since."""
    assert packet.event is not None
    kept = int((datetime.now(UTC) - packet.event).total_seconds())
    return Report(
        packet.session_id or None,
        bytes.fromhex(packet.cookie) or None,
        packet.station or None,
        user=packet.user,
        status=packet.status,
        seconds=_told(packet, packet.seconds),
        up=_told(packet, packet.up),
        down=_told(packet, packet.down),
        event=int(packet.event.timestamp()),
        delay=kept,
        nas=packet.router,
    )
