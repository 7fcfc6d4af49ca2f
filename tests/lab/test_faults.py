"""Each fault of the API connection, once; and that a fault that is over is over."""

import asyncio
import time
from typing import Any

import pytest

from ispgraph.lab.faults import Trap
from ispgraph.lab.routeros import RouterOS
from tests.lab.raw import Raw

IDENTITY = "/system/identity/print"
GOOD = [["!re", "=name=border"], ["!done"]]
GONE = (ConnectionError, asyncio.IncompleteReadError)


async def settle() -> None:
    """Let the server act on a change of its listeners."""
    for _ in range(5):
        await asyncio.sleep(0.002)


async def works(router: RouterOS) -> bool:
    async with await Raw.connect(router) as raw:
        return await raw.ask(IDENTITY) == GOOD


async def test_refuse(router: RouterOS) -> None:
    port = router.port
    router.faults.set(refuse=True)
    await settle()
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            await Raw.connect(router)
    router.faults.clear()
    await settle()
    assert (await works(router), router.port) == (True, port)


async def test_hang(router: RouterOS) -> None:
    router.faults.set(hang=True)
    raw = await Raw.connect(router, user=None)
    raw.send("/login", "=name=api", "=password=pw")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(raw.reader.read(1), 0.1)
    raw.writer.close()
    router.faults.set(hang=False)
    assert await works(router)


async def test_reset(router: RouterOS) -> None:
    router.faults.set(reset=True)
    with pytest.raises(GONE):
        await Raw.connect(router)


async def test_drop_after_bytes(router: RouterOS) -> None:
    router.faults.set(drop_after_bytes=30)
    raw = await Raw.connect(router)
    raw.send(IDENTITY)
    raw.send(IDENTITY)
    # 7 bytes were the answer to the login.
    assert len(await raw.rest()) == 23
    assert (await Raw.connect(router)).writer


@pytest.mark.parametrize(("name", "end"), [("drop_mid_word", b"\x03!re\x0c=name="), ("drop_mid_sentence", b"\x03!re")])
async def test_drops_inside_a_reply(router: RouterOS, raw: Raw, name: str, end: bytes) -> None:
    router.faults.set(**{name: True})
    raw.send(IDENTITY)
    assert await raw.rest() == end
    assert await works(router)


async def test_drip(router: RouterOS, raw: Raw) -> None:
    router.faults.set(drip_seconds=0.002)
    started = time.monotonic()
    assert await raw.ask(IDENTITY) == GOOD
    assert time.monotonic() - started > 25 * 0.002


async def test_delays(router: RouterOS, raw: Raw) -> None:
    router.faults.set(delay_done_seconds=0.1)
    raw.send(IDENTITY)
    assert await raw.reply() == GOOD[0]
    started = time.monotonic()
    assert await raw.reply() == GOOD[1]
    assert time.monotonic() - started > 0.08
    router.faults.set(delay_done_seconds=0, delay_row_seconds=0.1)
    raw.send("/ppp/profile/print", "=.proplist=name")
    assert await raw.reply() == ["!re", "=name=default"]
    started = time.monotonic()
    assert await raw.replies() == [["!re", "=name=default-encryption"], ["!done"]]
    assert time.monotonic() - started > 0.08


async def test_traps_by_path(router: RouterOS, raw: Raw) -> None:
    router.faults.set(
        traps=[
            {"path": "/ppp/secret/add", "message": "once", "category": 4},
            {"path": "/queue", "message": "always", "once": False},
        ]
    )
    assert await raw.refusal("/ppp/secret/add", "=name=ana") == "4|once"
    assert await raw.ask("/ppp/secret/add", "=name=ana") == [["!done", "=ret=*1"]]
    for _ in range(2):
        assert await raw.refusal("/queue/simple/print") == "always"
    assert await raw.ask(IDENTITY) == GOOD
    router.faults.set(traps=[Trap("*", "everything")])
    assert await raw.refusal(IDENTITY) == "everything"


async def test_fatal(router: RouterOS, raw: Raw) -> None:
    router.faults.set(fatal_next=True)
    assert (await raw.ask(IDENTITY))[0][0] == "!fatal"
    assert await raw.rest() == b""
    assert await works(router)


async def test_fatal_by_chance_is_the_same_for_the_same_seed(router: RouterOS) -> None:
    async def fates() -> list[bool]:
        router.faults.set(fatal_chance=0.5, seed=7)
        found = []
        for _ in range(12):
            async with await Raw.connect(router) as raw:
                found.append((await raw.ask(IDENTITY))[0][0] == "!fatal")
        return found

    first = await fates()
    assert first == await fates()
    assert {True, False} == set(first)


async def test_wrong_tag(router: RouterOS, raw: Raw) -> None:
    router.faults.set(wrong_tags=1)
    assert await raw.ask(IDENTITY, ".tag=5") == [["!re", ".tag=50", "=name=border"], ["!done", ".tag=5"]]


async def test_garbage(router: RouterOS, raw: Raw) -> None:
    router.faults.set(garbage=1)
    raw.send(IDENTITY)
    assert await raw.reader.readexactly(4) == b"\xff\x03!r"


async def test_failing_logins(router: RouterOS) -> None:
    router.faults.set(failing_logins=2)
    async with await Raw.connect(router, user=None) as raw:
        for kind in ("!trap", "!trap", "!done"):
            assert (await raw.ask("/login", "=name=api", "=password=pw"))[0][0] == kind


async def test_flash_full(router: RouterOS, raw: Raw) -> None:
    router.faults.set(flash_full=True)
    assert (await raw.refusal("/ppp/secret/add", "=name=ana")).startswith("failure: ")
    assert await raw.ask(IDENTITY) == GOOD
    assert len(router.table("/ppp/secret")) == 0


async def test_done_but_the_answer_is_lost(router: RouterOS) -> None:
    router.faults.set(lose_answers=["/ppp/secret/add"])
    raw = await Raw.connect(router)
    raw.send("/ppp/secret/add", "=name=ana")
    with pytest.raises(GONE):
        await raw.reply()
    assert len(router.table("/ppp/secret")) == 1
    async with await Raw.connect(router) as raw:
        assert await raw.refusal("/ppp/secret/add", "=name=ana") == "failure: secret with the same name already exists"
        assert await raw.ask("/ppp/secret/add", "=name=bob") == [["!done", "=ret=*2"]]


async def test_one_session_at_most(router: RouterOS) -> None:
    router.faults.set(max_sessions=1)
    async with await Raw.connect(router) as raw:
        with pytest.raises(GONE):
            await Raw.connect(router)
        assert await raw.ask(IDENTITY) == GOOD
    while router.counters.connections:
        await asyncio.sleep(0.005)
    assert await works(router)
    assert router.counters.highest_connections == 1


async def test_down_for_a_while(router: RouterOS) -> None:
    raw = await Raw.connect(router)
    router.go_down(0.1)
    with pytest.raises(GONE):
        await raw.ask(IDENTITY)
    await settle()
    with pytest.raises(ConnectionRefusedError):
        await Raw.connect(router)
    # Another fault that is set meanwhile does not bring it back.
    router.faults.clear()
    await settle()
    with pytest.raises(ConnectionRefusedError):
        await Raw.connect(router)
    await asyncio.sleep(0.12)
    assert await works(router)


WRONG: list[dict[str, Any]] = [
    {"refuze": True},
    {"refuse": 1},
    {"garbage": True},
    {"garbage": -1},
    {"drip_seconds": "1"},
    {"lose_answers": [1]},
    {"traps": [{"path": "/x"}]},
    {"traps": [5]},
    {"on_change": None},
    {"_random": None},
    {"hang": True, "x": 1},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_faults_that_are_none_set_nothing(wrong: dict[str, Any]) -> None:
    router = RouterOS("r")
    with pytest.raises(ValueError, match=r"fault|cannot be|a trap has"):
        router.faults.set(**wrong)
    assert not router.faults.hang
