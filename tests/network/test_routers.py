"""Routers that are looked at: what is wrong with them is found out and said, and the sick do not hold up the others."""

import asyncio
import re
import time
from collections.abc import Callable

import pytest
from sqlalchemy import func, select, update

from ispgraph import clock, ids
from ispgraph.adapters import routeros
from ispgraph.domain import secrets
from ispgraph.domain.models import ConnectionType, JobStatus, NetworkStep, Router, RouterStatus
from ispgraph.lab.nas import Nas
from tests.factories import NETWORK_KEY
from tests.network.world import World, until

ROUTER = "query($id: ID!) { node(id: $id) { ... on Router { status problem version board serial unreachableSince } } }"


async def told(world: World) -> tuple[JobStatus, str, list[tuple[str, str, str]]]:
    """What `routerTest` finds: how the job ended, its message, and its steps."""
    (job,) = await world.router_job("Test", "north")
    async with world.database.read(world.house.tenant.id) as session:
        rows = await session.scalars(select(NetworkStep).where(NetworkStep.job_id == job.id).order_by(NetworkStep.id))
        steps = [(row.protocol.value, row.outcome.value, row.detail or "") for row in rows]
    return job.status, job.message or "", steps


async def shown(world: World) -> dict[str, str | None]:
    """A router as the API shows it."""
    answer = await world.api.data(ROUTER, world.house.admin, id=ids.encode("rtr", world.routers["north"].id))
    found: dict[str, str | None] = answer["node"]
    return found


async def look(world: World) -> None:
    """Have the router looked at now."""
    await world.change(Router, world.routers["north"].id, check_at=clock.now())
    await until(lambda: world.looked_at("north"))


def configure(path: str, **values: str) -> Callable[[Nas], None]:
    """As an installer would who does not read the documentation."""

    def change(nas: Nas) -> None:
        table = nas.router.table(path)
        for item in table:
            table.change(item, {name.replace("_", "-"): value for name, value in values.items()})

    return change


def login(password: str, group: str) -> Callable[[Nas], None]:
    """Another login than the one we have."""
    return lambda nas: nas.router.users.update({"ispgraph": (password, group)})


def tick(seconds: float) -> Callable[[Nas], None]:
    """A clock that is ahead."""
    return lambda nas: setattr(nas.router, "clock_offset", seconds)


async def test_a_router_that_is_well(world: World):
    nas = await world.router()

    status, message, steps = await told(world)

    assert (status, message) == (JobStatus.SUCCEEDED, "Everything that was tried works.")
    assert {outcome for _, outcome, _ in steps} == {"VERIFIED"}
    assert [step[0] for step in steps][-1] == "DISCONNECT"
    assert steps[0][2] == "Logged in: RouterOS 7.16.1 (stable) on RB4011."
    router = await shown(world)
    assert (router["status"], router["problem"], router["serial"]) == ("ONLINE", None, nas.router.serial)
    # The trial of writing leaves nothing.
    assert len(nas.router.table("/ip/firewall/address-list")) == 0


@pytest.mark.parametrize(
    ("break_it", "outcome", "words", "health"),
    [
        (
            lambda nas: nas.router.faults.set(refuse=True),
            "UNREACHABLE",
            "can not be reached: Connection ref",
            "OFFLINE",
        ),
        (lambda nas: nas.router.faults.set(hang=True), "TIMEOUT", "did not let us in within 1 s", "OFFLINE"),
        (login("another password", "full"), "REFUSED", "The login was refused", "DEGRADED"),
        (login("router password", "read"), "REFUSED", "Our login may not do this: .*permissions", "ONLINE"),
        (configure("/radius/incoming", accept="false"), "REFUSED", "Set /radius incoming accept=yes", "DEGRADED"),
        (tick(3600), "REFUSED", r"The clock is off by (3599|3600) s. Set up NTP", "DEGRADED"),
        (configure("/radius", require_message_auth="no"), "REFUSED", "Set require-message-auth=yes", "ONLINE"),
        (configure("/radius", disabled="true"), "REFUSED", "No RADIUS server is set up", "ONLINE"),
        (configure("/ppp/aaa", use_radius="false"), "REFUSED", "Set /ppp aaa use-radius=yes", "ONLINE"),
        (configure("/ppp/aaa", accounting="false"), "REFUSED", "Set /ppp aaa accounting=yes", "ONLINE"),
    ],
)
async def test_what_is_wrong_is_said(world: World, break_it, outcome: str, words: str, health: str):
    break_it(await world.router())

    status, message, steps = await told(world)

    assert status is JobStatus.FAILED
    assert re.search(words, message), message
    (found,) = [step for step in steps if re.search(words, step[2])]
    assert found[:2] == ("ROUTEROS", outcome)
    router = await shown(world)
    assert router["status"] == health
    assert (router["problem"] is None) == (health == "ONLINE")


async def test_a_wrong_radius_secret_is_told_from_silence(world: World):
    nas = await world.router()
    row = world.routers["north"]
    other = secrets.seal(NETWORK_KEY, "not the secret", secrets.router_radius(row.tenant_id, row.id))
    await world.change(Router, row.id, radius_secret=other)

    _, message, steps = await told(world)

    assert message == "The RADIUS secret is not the router's."
    assert steps[-1][:2] == ("DISCONNECT", "TIMEOUT")

    await world.change(Router, row.id, radius_secret=row.radius_secret)
    nas.incoming.faults.silent = True
    _, message, steps = await told(world)
    assert message.startswith("The router is silent")
    assert steps[-1][:2] == ("DISCONNECT", "TIMEOUT")


async def test_a_wrong_port_for_requests(world: World):
    nas = await world.router()
    await world.change(Router, world.routers["north"].id, coa_port=9)

    status, message, steps = await told(world)

    assert status is JobStatus.FAILED
    assert f"They are taken at port {nas.coa_port}, and sent to 9." in message
    assert steps[-1][:2] == ("DISCONNECT", "UNREACHABLE")


async def test_health_follows_the_router(world: World):
    nas = await world.router()
    assert (await shown(world))["status"] == "ONLINE"

    nas.router.faults.set(refuse=True)
    await look(world)
    router = await shown(world)
    assert router["status"] == "OFFLINE"
    assert "can not be reached" in (router["problem"] or "")

    nas.router.faults.clear()
    configure("/radius/incoming", accept="false")(nas)
    await look(world)
    router = await shown(world)
    assert router["status"] == "DEGRADED"
    assert router["problem"] == "It does not accept CoA and Disconnect (/radius incoming accept=no)."

    configure("/radius/incoming", accept="true")(nas)
    await look(world)
    router = await shown(world)
    assert (router["status"], router["problem"]) == ("ONLINE", None)


async def test_another_device_at_the_address_is_not_touched(world: World):
    nas = await world.router()
    line = await world.line(kind=ConnectionType.STATIC_IP, ip_address="10.70.0.9")
    known, nas.router.serial = nas.router.serial, "ANOTHER0001"
    commands = dict(nas.router.counters.commands)

    (key,) = await world.suspend(line)

    (job,) = await world.ended([key])
    assert job.status is JobStatus.FAILED
    assert f"another device answers, serial number ANOTHER0001 and not {known}" in (job.message or "")
    assert (await world.network(line))["state"] == "FAILED"
    done = {name for name, count in nas.router.counters.commands.items() if count != commands.get(name)}
    assert done <= {"/login", "/system/routerboard/print"}
    await look(world)
    router = await shown(world)
    assert (router["status"], router["serial"]) == ("DEGRADED", known)
    assert "another device answers" in (router["problem"] or "")


@pytest.mark.long
async def test_fifty_dead_routers_of_sixty_hold_up_nobody(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(routeros.connect.__wrapped__.__kwdefaults__, "deadline", 10.0)  # type: ignore[attr-defined]
    routers = await asyncio.gather(*(world.router(f"r{n}", f"127.0.1.{n}") for n in range(1, 61)))
    line = await world.line("r60")
    for nas in routers[:50]:
        nas.router.faults.set(hang=True)
    async with world.database.transaction(world.house.tenant.id) as session:
        await session.execute(update(Router).values(check_at=clock.now()))
    await until(lambda: waiting(world))

    keys = await world.suspend(line)
    begun = time.monotonic()
    customers = await world.api.data("{ customers(first: 20) { edges { node { id name } } } }", world.house.admin)
    asked = time.monotonic() - begun
    await world.succeeded(keys, 10)

    assert asked < 1
    assert len(customers["customers"]["edges"]) == 1
    assert await waiting(world)
    assert line.device.state == "offline"
    async with world.database.read(world.house.tenant.id) as session:
        online = select(func.count()).where(Router.status == RouterStatus.ONLINE)
        assert await session.scalar(online) == 60


async def waiting(world: World) -> bool:
    """Whether turns are under way on all those that do not answer."""
    async with world.database.read(world.house.tenant.id) as session:
        names = set(await session.scalars(select(Router.name).where(Router.lane.is_not(None))))
    return names >= {f"r{number}" for number in range(1, 51)}
