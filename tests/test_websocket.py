"""graphql-transport-ws against the real server: the protocol, its misuse, and the end of a token."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from ispgraph import clock
from ispgraph.api import over_websocket, sockets
from tests.live_api import LiveApi
from tests.receiver import traced
from tests.toy_schema import ToyViewer, settings

PROTOCOL = Subprotocol("graphql-transport-ws")
TOKEN = {"Authorization": "Bearer good"}


@pytest.fixture(scope="module")
def api() -> Iterator[LiveApi]:
    with LiveApi(allowed_origins=("https://panel.example",)) as running:
        yield running


@pytest.fixture(autouse=True)
def _fresh_tokens(api: LiveApi) -> None:
    api.tokens.viewers = {"good": ToyViewer()}


class Socket:
    """A client that speaks the protocol by hand."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await asyncio.wait_for(self.connection.recv(), 10))
        return message

    async def init(self, payload: Any = TOKEN) -> None:
        await self.send(type="connection_init", payload=payload)
        assert await self.receive() == {"type": "connection_ack"}

    async def subscribe(self, identifier: str, query: str, **variables: Any) -> None:
        await self.send(id=identifier, type="subscribe", payload={"query": query, "variables": variables})

    async def close_code(self) -> int:
        """Read until the server closes."""
        with suppress(ConnectionClosed):
            async for _message in self.connection:
                pass
        assert self.connection.close_code is not None
        return self.connection.close_code


@asynccontextmanager
async def opened(api: LiveApi, **options: Any) -> AsyncIterator[Socket]:
    options = {"subprotocols": [PROTOCOL], "compression": None, "close_timeout": 0.5, **options}
    async with connect(api.websocket, **options) as connection:
        yield Socket(connection)


# ----------------------------------------------------------------------------------- what works


async def test_a_subscription_delivers_and_completes(api: LiveApi) -> None:
    async with opened(api) as client:
        await client.init()
        await client.subscribe("1", "subscription ($to: Int!) { count(to: $to) }", to=2)
        assert [await client.receive() for _ in range(3)] == [
            {"id": "1", "type": "next", "payload": {"data": {"count": 0}}},
            {"id": "1", "type": "next", "payload": {"data": {"count": 1}}},
            {"id": "1", "type": "complete"},
        ]


@pytest.mark.parametrize(
    "payload", [TOKEN, {"authorization": "Bearer good"}, {"token": "good"}, {"token": "good", "more": [1]}]
)
async def test_queries_and_mutations_work_too(api: LiveApi, payload: Any) -> None:
    async with opened(api) as client:
        await client.init(payload)
        for query, data in (("{ hello }", {"hello": "world"}), ("mutation { signIn }", {"signIn": "x"})):
            await client.subscribe("1", query)
            assert await client.receive() == {"id": "1", "type": "next", "payload": {"data": data}}
            assert await client.receive() == {"id": "1", "type": "complete"}


async def test_operations_are_traced_until_their_first_answer(api: LiveApi, monkeypatch: pytest.MonkeyPatch) -> None:
    with traced(monkeypatch, settings(traces=True)) as receiver:
        async with opened(api) as client:
            await client.init()
            await client.subscribe("1", "query Hello { hello }")
            assert [(await client.receive())["type"] for _ in range(2)] == ["next", "complete"]
            await client.subscribe("2", "subscription Count($to: Int!) { count(to: $to) }", to=2)
            assert [(await client.receive())["type"] for _ in range(3)] == ["next", "next", "complete"]
    found = [(span.kind, span.parent, span.told["graphql.operation.type"]) for span in receiver.spans]
    assert found == [(2, "", "query"), (2, "", "subscription")]
    assert [span.name for span in receiver.spans] == ["query Hello", "subscription Count"]


async def test_a_token_in_the_header_will_do(api: LiveApi) -> None:
    async with opened(api, additional_headers=TOKEN) as client:
        await client.init(None)


async def test_pings_are_answered(api: LiveApi) -> None:
    async with opened(api) as client:
        await client.send(type="ping", payload={"a": 1})
        assert await client.receive() == {"type": "pong", "payload": {"a": 1}}
        await client.send(type="pong")
        await client.init()


async def test_the_server_keeps_the_connection_alive(api: LiveApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_websocket, "PING_SECONDS", 0.05)
    async with opened(api) as client:
        await client.init()
        assert await client.receive() == {"type": "ping"}


async def test_a_completed_operation_is_over_and_its_id_free(api: LiveApi) -> None:
    async with opened(api) as client:
        await client.init()
        for _ in range(15):
            await client.subscribe("1", "subscription { forever }")
            assert (await client.receive())["type"] == "next"
            await client.send(id="1", type="complete")
        await client.subscribe("1", "{ hello }")
        assert (await client.receive())["payload"] == {"data": {"hello": "world"}}


@pytest.mark.parametrize("query", ["{", "{ nope }", "subscription { count(to: 1) " + "a: count " * 11 + "}"])
async def test_a_refused_operation_is_an_error_with_a_code(api: LiveApi, query: str) -> None:
    async with opened(api) as client:
        await client.init()
        await client.subscribe("1", query)
        message = await client.receive()
        assert (message["id"], message["type"]) == ("1", "error")
        assert message["payload"][0]["extensions"]["code"] == "BAD_REQUEST"
        await client.subscribe("1", "{ hello }")
        assert (await client.receive())["type"] == "next"


async def test_errors_inside_a_stream_are_masked(api: LiveApi) -> None:
    async with opened(api) as client:
        await client.init()
        await client.subscribe("1", "subscription { fails }")
        assert (await client.receive())["payload"] == {"data": {"fails": 1}}
        text = json.dumps(await client.receive())
        assert "Internal error" in text
        assert "secret" not in text
        assert (await client.receive())["type"] == "complete"


# --------------------------------------------------------------------------------------- misuse


async def test_no_init_in_time(api: LiveApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_websocket, "INIT_SECONDS", 0.1)
    async with opened(api) as client:
        assert await client.close_code() == 4408


async def test_subscribing_before_init(api: LiveApi) -> None:
    async with opened(api) as client:
        await client.subscribe("1", "{ hello }")
        assert await client.close_code() == 4401


async def test_double_init(api: LiveApi) -> None:
    async with opened(api) as client:
        await client.init()
        await client.send(type="connection_init", payload=TOKEN)
        assert await client.close_code() == 4429


@pytest.mark.parametrize("payload", [None, {}, {"Authorization": "Bearer forged"}, {"Authorization": 5}, {"token": []}])
async def test_nobody_gets_in_without_a_good_token(api: LiveApi, payload: Any) -> None:
    async with opened(api) as client:
        await client.send(type="connection_init", payload=payload)
        assert await client.close_code() == 4401


@pytest.mark.parametrize("protocols", [["graphql-ws"], ["nonsense"], None])
async def test_other_protocols_are_refused(api: LiveApi, protocols: list[Any] | None) -> None:
    async with opened(api, subprotocols=protocols) as client:
        assert await client.close_code() == 4406


@pytest.mark.parametrize(
    "message",
    ["nonsense", "[]", "[" * 60_000, "{}", '{"type": "start"}', '{"type": 1}', b"binary",
     '{"type": "connection_init", "payload": 5}'],
    ids=str,
)  # fmt: skip
async def test_messages_that_are_not_of_the_protocol(api: LiveApi, message: Any) -> None:
    async with opened(api) as client:
        await client.connection.send(message)
        assert await client.close_code() == 4400


@pytest.mark.parametrize(
    "message",
    [{"payload": {"query": "{ hello }"}}, {"id": 1, "payload": {"query": "{ hello }"}}, {"id": "1"},
     {"id": "", "payload": {"query": "{ hello }"}}, {"id": "x" * 200, "payload": {"query": "{ hello }"}},
     {"id": "1", "payload": {}}, {"id": "1", "payload": {"query": "{ hello }", "variables": 1}}],
)  # fmt: skip
async def test_subscribe_messages_that_are_malformed(api: LiveApi, message: dict[str, Any]) -> None:
    async with opened(api) as client:
        await client.init()
        await client.send(type="subscribe", **message)
        assert await client.close_code() == 4400


async def test_an_id_that_is_in_use(api: LiveApi) -> None:
    async with opened(api) as client:
        await client.init()
        await client.subscribe("1", "subscription { forever }")
        await client.subscribe("1", "subscription { forever }")
        assert await client.close_code() == 4409


async def test_the_eleventh_operation_is_refused_and_the_others_go_on(api: LiveApi) -> None:
    async with opened(api) as client:
        await client.init()
        for number in range(over_websocket.OPERATIONS):
            await client.subscribe(str(number), "subscription { forever }")
            assert (await client.receive())["type"] == "next"
        await client.subscribe("more", "subscription { forever }")
        message = await client.receive()
        assert (message["id"], message["type"]) == ("more", "error")
        assert message["payload"][0]["extensions"]["code"] == "RATE_LIMITED"
        await client.send(type="ping")
        assert await client.receive() == {"type": "pong"}


@pytest.mark.parametrize("size", [65 * 1024, 20 * 1024 * 1024])
async def test_a_message_that_is_too_big(api: LiveApi, size: int) -> None:
    async with opened(api) as client:
        with suppress(ConnectionClosed):
            await client.connection.send(json.dumps({"type": "ping", "payload": {"a": "x" * size}}))
        assert await client.close_code() == 1009


async def test_pages_of_other_origins_cannot_open_a_socket(api: LiveApi) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with opened(api, origin=Origin("https://evil.example")):
            pass
    assert refused.value.response.status_code == 403
    for origin in ("https://panel.example", f"http://127.0.0.1:{api.port}"):
        async with opened(api, origin=Origin(origin)) as client:
            await client.init()


async def test_a_client_that_takes_nothing_is_let_go(api: LiveApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "SEND_SECONDS", 0.3)
    async with opened(api, max_queue=1) as client:
        await client.init()
        await client.subscribe("1", "subscription { flood }")
        await _until(lambda: not api.server.server_state.tasks)


async def test_what_is_pushed_comes_in_order_and_ends_with_its_operation(api: LiveApi) -> None:
    async with opened(api) as client:
        await client.init()
        for _ in range(2):
            await client.subscribe('a "b"', "subscription { pushed(count: 50) }")
            for number in range(50):
                payload = {"data": {"pushed": str(number)}}
                assert await client.receive() == {"id": 'a "b"', "type": "next", "payload": payload}
            await client.send(id='a "b"', type="complete")


async def test_who_lets_the_queue_run_over_is_let_go_and_nobody_else(api: LiveApi) -> None:
    async with opened(api, max_queue=1) as slow, opened(api) as quick:
        for client in (slow, quick):
            await client.init()
        await quick.subscribe("1", "subscription { pushed(count: 3) }")
        # More than the buffers between us hold: one that reads has time to.
        await slow.subscribe("1", "subscription { pushed(count: 1000, size: 60000) }")
        for _ in range(3):
            assert (await quick.receive())["type"] == "next"
        await asyncio.sleep(0.5)
        assert await slow.close_code() == 4008
        await quick.subscribe("2", "{ hello }")
        assert (await quick.receive())["payload"] == {"data": {"hello": "world"}}


async def _until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


# ---------------------------------------------------------------------------- the end of a token


async def test_a_socket_ends_when_its_token_expires_whatever_the_database_says(api: LiveApi) -> None:
    api.tokens.viewers["good"] = ToyViewer(expires_at=clock.now() + timedelta(seconds=1))
    async with opened(api) as client:
        await client.init()
        await client.subscribe("1", "subscription { forever }")
        assert (await client.receive())["type"] == "next"
        api.tokens.away = True
        try:
            assert await asyncio.wait_for(client.close_code(), 4) == 4401
        finally:
            api.tokens.away = False


async def test_a_socket_ends_when_its_token_is_revoked(api: LiveApi) -> None:
    async with opened(api) as client:
        await client.init()
        await client.subscribe("1", "subscription { forever }")
        assert (await client.receive())["type"] == "next"
        api.tokens.viewers.clear()
        assert await asyncio.wait_for(client.close_code(), 4) == 4401


async def test_an_operation_with_a_revoked_token_does_not_start(api: LiveApi) -> None:
    async with opened(api) as client:
        await client.init()
        api.tokens.viewers.clear()
        await client.subscribe("1", "mutation { signIn }")
        assert await client.close_code() == 4401


async def test_a_database_that_is_away_ends_nothing(api: LiveApi) -> None:
    async with opened(api) as client:
        await client.init()
        api.tokens.refusals = 0
        api.tokens.away = True
        try:
            await _until(lambda: api.tokens.refusals >= 2)
        finally:
            api.tokens.away = False
        await client.subscribe("1", "{ hello }")
        assert (await client.receive())["payload"] == {"data": {"hello": "world"}}


async def test_a_stopping_server_closes_its_sockets() -> None:
    with LiveApi() as stopped:
        async with opened(stopped) as client:
            await client.init()
            await client.subscribe("1", "subscription { forever }")
            assert (await client.receive())["type"] == "next"
            stopped.server.should_exit = True
            assert await client.close_code() == 1012


async def test_an_operator_has_so_many_connections_and_no_more() -> None:
    with LiveApi(sockets_per_operator=2) as api:
        events = {"Accept": "text/event-stream", **TOKEN}
        counting = {"query": "subscription { count(to: 1) }"}
        async with opened(api) as first, opened(api) as second:
            await first.init()
            await second.init()
            async with opened(api) as third:
                await third.send(type="connection_init", payload=TOKEN)
                assert await third.close_code() == 4429
            async with httpx.AsyncClient() as client:
                refused = (await client.post(api.url, json=counting, headers=events)).text
                assert '"code":"RATE_LIMITED"' in refused
                assert refused.endswith("event: complete\ndata: \n\n")
                await first.connection.close()
                async with asyncio.timeout(10):
                    while "RATE_LIMITED" in (await client.post(api.url, json=counting, headers=events)).text:
                        await asyncio.sleep(0.02)
                # Event streams that have ended count no more either.
                for _ in range(3):
                    assert '"count":0' in (await client.post(api.url, json=counting, headers=events)).text
        for _ in range(3):
            async with opened(api) as again:
                await again.init()


async def test_a_document_may_be_named_by_its_hash(api: LiveApi) -> None:
    query = "{ hello }"
    named = {"persistedQuery": {"version": 1, "sha256Hash": hashlib.sha256(query.encode()).hexdigest()}}
    async with opened(api) as client:
        await client.init()
        for payload, answer in (
            ({"extensions": named}, "error"),
            ({"extensions": named, "query": query}, "next"),
            ({"extensions": named}, "next"),
        ):
            await client.send(id="1", type="subscribe", payload=payload)
            assert (await client.receive())["type"] == answer
            if answer == "next":
                assert (await client.receive())["type"] == "complete"
