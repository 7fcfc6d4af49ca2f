"""Subscriptions that go on without an operation: what is pushed, slow readers, the end, and tokens that many share."""

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.frames import Frame, Opcode

from ispgraph.api import connections, over_websocket, sockets
from ispgraph.domain.live.readings import Reading
from ispgraph.schema import live
from tests import toy_schema
from tests.live_api import LiveApi
from tests.test_websocket import TOKEN, Socket, opened
from tests.toy_schema import Kept, ToyViewer

CARRIED = "subscription ($name: String!) { carried(name: $name) }"
COMPLETE = {"id": "1", "type": "complete"}
# Far more than what the kernel and the transport hold for a reader with a small buffer.
BIG = "x" * 60_000


@pytest.fixture(scope="module")
def api() -> Iterator[LiveApi]:
    with LiveApi() as running:
        yield running


@pytest.fixture(autouse=True)
def _fresh(api: LiveApi) -> None:
    api.tokens.viewers = {"good": ToyViewer(), "other": ToyViewer()}
    toy_schema.kept.clear()


def message(text: str) -> dict[str, Any]:
    return {"id": "1", "type": "next", "payload": {"data": {"carried": text}}}


async def carried(client: Socket, name: str = "one") -> Kept:
    """Subscribe as operation 1 and take the first message."""
    await client.subscribe("1", CARRIED, name=name)
    assert await client.receive() == message("first")
    return toy_schema.kept[name]


@asynccontextmanager
async def narrow(api: LiveApi, **options: Any) -> AsyncIterator[Socket]:
    """A client whose kernel takes little before it is read."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
    made.setblocking(False)
    await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", api.port))
    async with opened(api, sock=made, max_queue=1, **options) as client:
        await client.init()
        yield client


async def until(condition: Any, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def held_up(api: LiveApi) -> bool:
    """Whether a transport is full."""
    return any(not each.writable.is_set() for each in api.server.server_state.connections if hasattr(each, "writable"))


# ------------------------------------------------------------------------- from beginning to end


async def test_what_is_carried_goes_on_and_completes_when_it_ends(api: LiveApi) -> None:
    async with opened(api) as client:
        await client.init()
        for _ in range(2):
            one = await carried(client)
            one.push(*(str(number) for number in range(300)))
            assert [await client.receive() for _ in range(300)] == [message(str(number)) for number in range(300)]
            assert one.released == 0
            one.end()
            assert await client.receive() == COMPLETE
            assert one.released == 1
            one.push("too late")
        await client.subscribe("1", "{ hello }")
        assert (await client.receive())["payload"] == {"data": {"hello": "world"}}


async def test_what_ends_while_its_operation_does_completes_once(api: LiveApi) -> None:
    async with opened(api) as client:
        await client.init()
        await client.subscribe("1", "subscription { carriedAndOver }")
        assert await client.receive() == message("first")
        assert await client.receive() == COMPLETE
        await client.subscribe("1", "{ hello }")
        assert (await client.receive())["payload"] == {"data": {"hello": "world"}}
        assert await client.receive() == COMPLETE
        assert toy_schema.kept["over"].released == 1


async def test_the_client_completes_and_the_next_operation_hears_nothing_of_it(api: LiveApi) -> None:
    async with opened(api) as client:
        await client.init()
        one = await carried(client)
        await client.send(id="1", type="complete")
        await until(lambda: one.released == 1)
        one.push("of the one before")
        two = await carried(client, "two")
        one.push("of the one before")
        one.end()
        two.push("mine")
        assert await client.receive() == message("mine")
        assert (one.released, two.released) == (1, 0)
        two.push("still mine")
        assert await client.receive() == message("still mine")


async def test_who_leaves_leaves_nothing_behind(api: LiveApi) -> None:
    async with opened(api) as client:
        await client.init()
        one = await carried(client)
    await until(lambda: one.released == 1)
    one.push("to nobody")
    await until(lambda: not api.server.server_state.connections)


async def test_carried_operations_count_and_keep_their_ids(api: LiveApi) -> None:
    async with opened(api) as client:
        await client.init()
        for number in range(over_websocket.OPERATIONS):
            await client.subscribe(f"n{number}", CARRIED, name=str(number))
            assert (await client.receive())["type"] == "next"
        await client.subscribe("more", "{ hello }")
        assert (await client.receive())["payload"][0]["extensions"]["code"] == "RATE_LIMITED"
        await client.subscribe("n3", CARRIED, name="again")
        assert await client.close_code() == 4409
    await until(lambda: all(each.released == 1 for each in toy_schema.kept.values()))


async def test_a_connection_that_only_listens_has_one_task(api: LiveApi) -> None:
    async with opened(api) as first:
        await first.init()
        one = await carried(first)

        def tasks() -> int:
            return len(asyncio.all_tasks(one.loop))

        await asyncio.sleep(0.1)
        before = tasks()
        async with opened(api) as second, opened(api) as third:
            for number, client in enumerate((second, third)):
                await client.init()
                await carried(client, str(number))
            # Looking at the token is a task now and then.
            await until(lambda: tasks() == before + 2)


async def test_event_streams_carry_as_well(api: LiveApi) -> None:
    headers = {"Accept": "text/event-stream", **TOKEN}
    question = {"query": CARRIED, "variables": {"name": "one"}}
    async with httpx.AsyncClient(headers=headers, timeout=10) as http:
        async with http.stream("POST", api.url, json=question) as answer:
            text = ""
            async for part in answer.aiter_text():
                text += part
                if text.count("event: next") == 1:
                    toy_schema.kept["one"].push("second", "third")
                elif text.count("event: next") == 3:
                    toy_schema.kept["one"].end()
        found = [json.loads(line[6:])["data"]["carried"] for line in text.splitlines() if line.startswith("data: {")]
        assert found == ["first", "second", "third"]
        assert text.endswith("event: complete\ndata: \n\n")
        await until(lambda: toy_schema.kept["one"].released == 1)
        async with http.stream("POST", api.url, json=question) as answer:
            async for _ in answer.aiter_text():
                break
        await until(lambda: toy_schema.kept["one"].released == 1)


# ---------------------------------------------------------------------------------- slow readers


async def test_who_is_slow_for_a_while_gets_everything_in_order(api: LiveApi) -> None:
    async with narrow(api) as client:
        one = await carried(client)
        count = sockets.OUTBOX - 20
        one.push(*(f"{number} {BIG}" for number in range(count)))
        await until(lambda: held_up(api))
        await client.send(type="ping")
        await asyncio.sleep(0.2)
        came = [await client.receive() for _ in range(count + 1)]
        pong = came.index({"type": "pong"})
        del came[pong]
        assert [each["payload"]["data"]["carried"].split()[0] for each in came] == [str(each) for each in range(count)]
        assert not held_up(api)
        one.push("and on")
        assert await client.receive() == message("and on")


async def test_who_lets_too_many_wait_is_let_go_and_nobody_else(api: LiveApi) -> None:
    async with narrow(api) as slow, opened(api) as quick:
        await quick.init()
        one, two = await carried(slow), await carried(quick, "two")
        one.push(*[BIG] * (sockets.OUTBOX + 100))
        two.push("still here")
        assert await quick.receive() == message("still here")
        await until(lambda: one.released == 1)
        assert await slow.close_code() == 4008
        two.push("and here")
        assert await quick.receive() == message("and here")
        assert two.released == 0


async def test_what_waits_is_dropped_with_its_operation(api: LiveApi) -> None:
    async with narrow(api) as client:
        one = await carried(client)
        one.push(*[BIG] * 150)
        await until(lambda: held_up(api))
        one.end()
        came = 0
        while (found := await client.receive()) != COMPLETE:
            assert found == message(BIG)
            came += 1
        assert came < 130


async def test_who_takes_nothing_is_let_go_even_if_nothing_more_comes(
    api: LiveApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "SEND_SECONDS", 0.3)
    async with narrow(api) as client:
        one = await carried(client)
        one.push(*[BIG] * 150)
        await until(lambda: one.released == 1, 5)
        assert await client.close_code() == 4008


async def test_who_takes_little_at_a_time_is_waited_for(api: LiveApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "SEND_SECONDS", 1.0)
    async with narrow(api, max_size=None) as client:
        one = await carried(client)
        for each in api.server.server_state.connections:
            # Else the kernel takes a megabyte at a time, and that seldom.
            each.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        one.push("x" * 24_000_000)
        receiving = asyncio.ensure_future(client.receive())
        transport = client.connection.transport
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not receiving.done() and loop.time() - began < 2.5:
            # A little each time, and no end of the whole for longer than a client that takes nothing is given.
            transport.resume_reading()
            for _turn in range(2):
                await asyncio.sleep(0)
            transport.pause_reading()
            await asyncio.sleep(0.01)
        assert held_up(api)
        transport.resume_reading()
        assert len((await receiving)["payload"]["data"]["carried"]) == 24_000_000
        assert one.released == 0


async def test_a_socket_that_does_not_take_its_end_is_aborted(api: LiveApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "SEND_SECONDS", 0.2)
    made = sockets.Socket.__init__

    def hasty(self: Any, *arguments: Any, **options: Any) -> None:
        made(self, *arguments, **options)
        self.close_timeout = 0.2

    monkeypatch.setattr(sockets.Socket, "__init__", hasty)
    async with narrow(api) as client:
        one = await carried(client)
        one.push(*[BIG] * 150)
        await until(lambda: one.released == 1, 5)
        await until(lambda: not api.server.server_state.connections, 5)


# ---------------------------------------------------------------------------------------- tokens


async def test_a_token_is_presented_once_for_all_who_listen_with_it(api: LiveApi) -> None:
    clients = [opened(api) for _ in range(5)]
    for client in clients:
        await (await client.__aenter__()).init()
    try:
        before = api.tokens.asked
        await asyncio.sleep(2.5 * connections.RECHECK_SECONDS)
        assert 2 <= api.tokens.asked - before <= 3
    finally:
        for client in clients:
            await client.__aexit__(None, None, None)
    await until(lambda: not api.server.server_state.connections)
    before = api.tokens.asked
    await asyncio.sleep(1.5 * connections.RECHECK_SECONDS)
    assert api.tokens.asked == before


async def test_a_revoked_token_ends_all_who_listen_with_it_and_nobody_else(api: LiveApi) -> None:
    async with opened(api) as one, opened(api) as two, opened(api) as three, opened(api) as other:
        kept = []
        for number, (client, token) in enumerate(((one, "good"), (two, "good"), (three, "good"), (other, "other"))):
            await client.init({"token": token})
            kept.append(await carried(client, str(number)))
        # The first to present it need not be there any more.
        await one.connection.close()
        del api.tokens.viewers["good"]
        loop = asyncio.get_running_loop()

        async def end(client: Socket) -> float:
            assert await asyncio.wait_for(client.close_code(), 4) == 4401
            return loop.time()

        ends = await asyncio.gather(end(two), end(three))
        assert abs(ends[0] - ends[1]) < connections.RECHECK_SECONDS / 2
        await until(lambda: [each.released for each in kept] == [1, 1, 1, 0])
        kept[3].push("still here")
        assert await other.receive() == message("still here")


# ------------------------------------------------------------------------------- frames, printing


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 100_000])
def test_frames_are_those_of_the_library(size: int) -> None:
    text = random.Random(size).randbytes(size)
    assert sockets.framed(text) == Frame(Opcode.TEXT, text).serialize(mask=False)


def test_readings_are_printed_as_they_are_selected() -> None:
    ids = {"customer_id": "0f" * 16, "operator_id": "1f" * 16, "router_id": None, "session_id": None}
    speed = {"download_bps": 2**40, "upload_bps": 7, "download_bytes": 0, "upload_bytes": 3}
    one = Reading(**ids, at="2026-01-02T03:04:05Z", online=True, **speed, source="ROUTER")  # type: ignore[arg-type]
    other = one._replace(online=False, source="ACCOUNTING")
    fields = {
        "__typename": "LiveUsage",
        "customerId": "cus_" + "0f" * 16,
        "at": "2026-01-02T03:04:05Z",
        "online": True,
        "downloadBps": str(2**40),
        "uploadBps": "7",
        "downloadBytes": "0",
        "uploadBytes": "3",
        "source": "ROUTER",
    }
    for selected in (list(fields), ["online"], ["source"], ["__typename"], ["online", "source", "at"]):
        keys = [(f"{name}_{place}", name) for place, name in enumerate(selected)]
        wanted = {key: fields[name] for key, name in keys}
        plain = live.compiled("now", keys, listed=False)
        assert json.loads(plain(one)) == {"data": {"now": wanted}}
        unlike = {key: {"online": False, "source": "ACCOUNTING"}.get(name, wanted[key]) for key, name in keys}
        listed = live.compiled("all", keys, listed=True)
        assert json.loads(listed([one, other])) == {"data": {"all": [wanted, unlike]}}
        assert json.loads(listed([])) == {"data": {"all": []}}
