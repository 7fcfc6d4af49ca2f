"""The adapters against the lab's routers, over TCP and TLS, in good weather and bad."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ispgraph.adapters.errors import BadReply, Refusal, Refused, TimedOut, Unreachable
from ispgraph.adapters.routeros import Address, connect
from ispgraph.lab.faults import Trap
from ispgraph.lab.routeros import RouterOS

USERS = {"ispgraph": ("pässword of the lab", "full"), "viewer": ("viewer of the lab", "read")}
SECRET = "/ppp/secret"


@pytest.fixture(params=["6.49.17", "7.16.1", "7.18.2"])
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[RouterOS]:
    router = RouterOS("border", request.param, users=USERS)
    await router.start(tls_port=0)
    yield router
    await router.stop()


@pytest.fixture(params=["tcp", "tls"])
def address(request: pytest.FixtureRequest, lab: RouterOS) -> Address:
    login = Address(lab.address, lab.port, "ispgraph", USERS["ispgraph"][0])
    if request.param == "tcp":
        return login
    assert lab.tls_port is not None
    return replace(login, port=lab.tls_port, tls=True, fingerprint=lab.fingerprint)


async def test_an_item_from_its_first_day_to_its_last(lab: RouterOS, address: Address) -> None:
    exact = {"name": "007", "password": "a=b==c", "comment": "yes", "caller-id": "José বাংলা", "profile": "default"}
    async with connect(address) as device:
        assert await device.print(SECRET, where={"name": "007"}, columns=[".id"]) == []
        id = await device.add(SECRET, exact)
        await device.add(SECRET, {"name": "7", "comment": "yes"})
        both = {"name": "007", "comment": "yes"}
        assert await device.print(SECRET, where=both, columns=[".id", *exact]) == [{".id": id, **exact}]
        assert await device.print(SECRET, where={"name": "007", "comment": "no"}, columns=[".id"]) == []
        assert await device.print(SECRET, where={".id": id}, columns=["name"]) == [{"name": "007"}]

        await device.set(SECRET, id, {"disabled": "yes", "remote-address": "10.0.0.7"})
        changed = ["disabled", "remote-address"]
        assert await device.print(SECRET, where=both, columns=changed) == [
            {"disabled": "true", "remote-address": "10.0.0.7"}
        ]
        await device.unset(SECRET, id, "remote-address")
        (row,) = await device.print(SECRET, where=both, columns=changed)
        assert "remote-address" not in row

        assert await device.remove(SECRET, id) is True
        assert await device.remove(SECRET, id) is False
        assert [row["name"] for row in await device.print(SECRET, columns=["name"])] == ["7"]


async def test_refusals(lab: RouterOS, address: Address) -> None:
    async with connect(address) as device:
        await device.add(SECRET, {"name": "anna"})
        for values, kind in (
            ({"name": "anna"}, Refusal.ALREADY_EXISTS),
            ({"name": "b", "profile": "no-such"}, Refusal.INVALID_VALUE),
            ({"name": "b", "remote-address": "10.0.0.700"}, Refusal.INVALID_VALUE),
            ({"name": "b", "colour": "red"}, Refusal.UNKNOWN_PARAMETER),
        ):
            with pytest.raises(Refused) as caught:
                await device.add(SECRET, values)
            assert caught.value.kind is kind, values
        with pytest.raises(Refused) as caught:
            await device.set(SECRET, "*FFFF", {"disabled": "yes"})
        assert caught.value.kind is Refusal.NO_SUCH_ITEM
        with pytest.raises(Refused) as caught:
            await device.run("/ppp/nonsense/print", {})
        assert caught.value.kind is Refusal.UNKNOWN_COMMAND
        assert len(await device.print(SECRET, columns=["name"])) == 1
    viewer = replace(address, username="viewer", password=USERS["viewer"][0])
    async with connect(viewer) as device:
        assert len(await device.print(SECRET, columns=["name"])) == 1
        with pytest.raises(Refused) as caught:
            await device.add(SECRET, {"name": "b"})
        assert caught.value.kind is Refusal.NOT_PERMITTED
    for wrong in (replace(address, password="guess"), replace(address, username="nobody")):
        with pytest.raises(Refused) as caught:
            async with connect(wrong):
                pass
        assert caught.value.kind is Refusal.BAD_LOGIN


async def test_a_menu_without_items_and_commands_that_answer_once(lab: RouterOS, address: Address) -> None:
    lab.monitors["/radius/incoming"] = lambda item: {"requests": "3", "acks": "2"}
    async with connect(address) as device:
        await device.set("/radius/incoming", None, {"accept": "yes", "port": "3799"})
        (row,) = await device.print("/radius/incoming", columns=["accept", "port"])
        assert row == {"accept": "true", "port": "3799"}
        (row,) = await device.run("/radius/incoming/monitor", {"once": ""})
        assert row["requests"] == "3"
        (row,) = await device.print("/system/resource", columns=["version"])
        assert row["version"].startswith(lab.version_text)
        assert device.last_ms is not None


async def test_a_large_table(lab: RouterOS, address: Address) -> None:
    for number in range(3000):
        lab.create(SECRET, {"name": f"line-{number}"})
    async with connect(address) as device:
        rows = await device.print(SECRET, columns=["name"])
        assert [row["name"] for row in rows] == [f"line-{number}" for number in range(3000)]


@pytest.mark.parametrize("lab", ["7.18.2"], indirect=True)
async def test_bad_weather_of_a_command(lab: RouterOS, address: Address) -> None:
    """Each time the connection is lost, and the next one is as good as new."""
    for fault, kind in (
        ({"drop_mid_word": True}, BadReply),
        ({"drop_mid_sentence": True}, BadReply),
        ({"garbage": 1}, BadReply),
        ({"wrong_tags": 1}, BadReply),
        ({"fatal_next": True}, BadReply),
        ({"delay_done_seconds": 2.0}, TimedOut),
        ({"drip_seconds": 0.1}, TimedOut),
        ({"lose_answers": [f"{SECRET}/add"]}, BadReply),
    ):
        async with connect(address, command_deadline=0.3) as device:
            lab.faults.set(**fault)
            with pytest.raises(kind) as caught:
                await device.add(SECRET, {"name": f"under {next(iter(fault))}"})
            lab.faults.clear()
            assert type(caught.value) is kind, fault
            assert caught.value.outcome_unknown, fault
            with pytest.raises(Unreachable):
                await device.print(SECRET, columns=["name"])
    async with connect(address) as device:
        names = [row["name"] for row in await device.print(SECRET, columns=["name"])]
    # What was done although its answer was lost is found by looking.
    assert "under lose_answers" in names


@pytest.mark.parametrize("lab", ["7.18.2"], indirect=True)
async def test_a_trap_from_a_full_disk(lab: RouterOS, address: Address) -> None:
    lab.faults.set(traps=[Trap(SECRET, "failure: not enough space on disk", 4)])
    async with connect(address) as device:
        with pytest.raises(Refused, match="space") as caught:
            await device.add(SECRET, {"name": "anna"})
        assert (caught.value.kind, caught.value.category) == (Refusal.OTHER, 4)
        assert await device.add(SECRET, {"name": "anna"})


@pytest.mark.parametrize("lab", ["7.18.2"], indirect=True)
async def test_bad_weather_while_connecting(lab: RouterOS, address: Address) -> None:
    for fault, kind in (
        ({"refuse": True}, Unreachable),
        ({"reset": True}, Unreachable),
        ({"hang": True}, TimedOut),
        ({"drip_seconds": 0.2}, TimedOut),
        ({"garbage": 1}, BadReply),
        ({"failing_logins": 1}, Refused),
    ):
        lab.faults.set(**fault)
        await asyncio.sleep(0.02)
        with pytest.raises(kind) as caught:
            async with connect(address, deadline=0.4):
                pass
        lab.faults.clear()
        await asyncio.sleep(0.02)
        assert type(caught.value) is kind, fault
        assert not caught.value.outcome_unknown
    async with connect(address):
        pass


@pytest.mark.parametrize("lab", ["7.16.1"], indirect=True)
@pytest.mark.parametrize("address", ["tls"], indirect=True)
async def test_another_certificate(lab: RouterOS, address: Address) -> None:
    for fingerprint in ("00" * 32, None):
        with pytest.raises(Refused) as caught:
            async with connect(replace(address, fingerprint=fingerprint)):
                pass
        assert caught.value.kind is Refusal.UNTRUSTED
    assert (lab.counters.logins, lab.counters.failed_logins) == (0, 0)
