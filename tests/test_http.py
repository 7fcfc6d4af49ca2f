"""GraphQL over HTTP through the ASGI application and the real server: media types, status codes, refusals, streams."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from ispgraph import clock
from ispgraph.api import create_api, over_http
from ispgraph.schema.errors import ApiError
from ispgraph.up.ports import free_port
from tests import toy_schema
from tests.live_api import LiveApi
from tests.toy_schema import ToyTokens, ToyViewer

JSON = "application/json"
RESPONSE_JSON = "application/graphql-response+json"
TOKEN = {"Authorization": "Bearer good"}


def client_of(tokens: ToyTokens, **options: Any) -> httpx.AsyncClient:
    app = create_api(toy_schema.build(), tokens.settings, tokens.context, **options)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


@pytest.fixture
def tokens() -> ToyTokens:
    return ToyTokens(toy_schema.settings())


@pytest.fixture
async def client(tokens: ToyTokens) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(tokens) as made:
        yield made


async def post(client: httpx.AsyncClient, query: Any, /, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post("/graphql", json={"query": query}, headers=named)


def code(answer: httpx.Response) -> str:
    errors = answer.json()["errors"]
    assert all("code" in error["extensions"] for error in errors)
    return str(errors[0]["extensions"]["code"])


# ------------------------------------------------------------------------------------ media types


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        ("application/json; charset=utf-8", JSON),
        (RESPONSE_JSON, RESPONSE_JSON),
        (f"{RESPONSE_JSON}, {JSON};q=0.9", RESPONSE_JSON),
        (f"{RESPONSE_JSON};q=0, {JSON}", JSON),
        ("text/html, */*;q=0.1", JSON),
    ],
)
async def test_the_answer_has_the_type_that_was_asked_for(
    client: httpx.AsyncClient, accept: str | None, expected: str
) -> None:
    headers = {"Accept": accept} if accept else {}
    request = client.build_request("POST", "/graphql", json={"query": "{ hello }"}, headers=headers)
    if accept is None:
        del request.headers["Accept"]
    answer = await client.send(request)
    assert answer.headers["content-type"] == f"{expected}; charset=utf-8"
    assert answer.json() == {"data": {"hello": "world"}}


async def test_an_answer_that_nobody_can_give_is_not_acceptable(client: httpx.AsyncClient) -> None:
    assert (await post(client, "{ hello }", Accept="image/png")).status_code == 406


@pytest.mark.parametrize(
    ("query", "status", "expected"),
    [
        ("{ hello }", 200, None),
        ("{", 400, "BAD_REQUEST"),
        ("{ nope }", 400, "BAD_REQUEST"),
        ("{ ...Nope }", 400, "BAD_REQUEST"),
        ('{ whole(number: "x") }', 400, "BAD_REQUEST"),
        ("subscription { count }", 400, "BAD_REQUEST"),
        ("{ broken }", 200, "INTERNAL"),
        ("{ refused }", 200, "FORBIDDEN"),
    ],
)
async def test_status_codes(client: httpx.AsyncClient, query: str, status: int, expected: str | None) -> None:
    answer = await post(client, query, Accept=RESPONSE_JSON)
    assert answer.status_code == status
    assert ("data" in answer.json()) is (status == 200)
    assert expected is None or code(answer) == expected
    if not query.startswith("subscription"):
        assert (await post(client, query, Accept=JSON)).status_code == 200


# ------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"nonsense",
        b"[]",
        b'[{"query": "{ hello }"}]',
        b'"{ hello }"',
        b"{}",
        b'{"query": ""}',
        b'{"query": 1}',
        b'{"query": "{ hello }", "variables": []}',
        b'{"query": "{ hello }", "variables": "{}"}',
        b'{"query": "{ hello }", "extensions": 1}',
        b'{"query": "{ hello }", "operationName": 1}',
        b'{"query": "{ hello }", "operationName": "Nope"}',
        b'{"query": "{ hello }", "variables": {"a": NaN}}',
        b'{"query": "{ hello }", "variables": {"a": Infinity}}',
        b'{"query": "{ hello }", "variables": {"a": ' + b"9" * 5000 + b"}}",
        b'{"query": "{ hello }", "variables": {"a": "\\u0000"}}',
        b'{"query": "{ hello }", "variables": {"\\ud800": 1}}',
        b'{"query": "{ hello }", "variables": {"a": ' + b"[" * 40 + b"]" * 40 + b"}}",
        b"[" * 100_000,
        b'{"a":' * 40_000,
    ],
)
async def test_bad_bodies_get_400_and_say_why(client: httpx.AsyncClient, given: bytes) -> None:
    answer = await client.post("/graphql", content=given, headers={"Content-Type": JSON})
    assert answer.status_code == 400
    assert code(answer) == "BAD_REQUEST"


@pytest.mark.parametrize(
    "kind",
    [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "application/json; charset=utf-16", "application/graphql"],
)  # fmt: skip
async def test_a_form_of_another_site_cannot_speak_graphql(client: httpx.AsyncClient, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = await client.post("/graphql", content=b'{"query": "mutation { rename(name: 1) }"}', headers=headers)
    assert answer.status_code == 415


async def test_get_is_for_queries(client: httpx.AsyncClient) -> None:
    query = "query ($n: Int!) { whole(number: $n) }"
    answer = await client.get("/graphql", params={"query": query, "variables": '{"n": 4}'})
    assert answer.json() == {"data": {"whole": 4}}
    assert (await client.get("/graphql", params={"query": "{ hello }", "variables": "{"})).status_code == 400
    assert (await client.get("/graphql")).status_code == 400
    for accept in (JSON, "text/event-stream"):
        params = {"query": 'mutation { rename(name: "x") }'}
        refused = await client.get("/graphql", params=params, headers={"Accept": accept, **TOKEN})
        assert "renamed" not in refused.text
        assert "GET is for queries only" in refused.text or "mutations are not allowed" in refused.text


async def test_other_methods_are_refused(client: httpx.AsyncClient) -> None:
    for method in ("PUT", "PATCH", "DELETE"):
        answer = await client.request(method, "/graphql", json={"query": "{ hello }"})
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


# ---------------------------------------------------------------------------------------- origins


async def test_pages_of_other_origins_are_refused(client: httpx.AsyncClient) -> None:
    assert (await post(client, "{ hello }", Origin="https://evil.example")).status_code == 403
    assert (await post(client, "{ hello }", Origin="null")).status_code == 403
    assert (await post(client, "{ hello }", Origin="http://test")).status_code == 200
    assert "access-control-allow-origin" not in (await post(client, "{ hello }", Origin="http://test")).headers


async def test_an_allowed_origin_may(tokens: ToyTokens) -> None:
    tokens.settings = toy_schema.settings(allowed_origins=("https://panel.example",))
    async with client_of(tokens) as client:
        answer = await post(client, "{ hello }", Origin="https://panel.example")
        assert answer.headers["access-control-allow-origin"] == "https://panel.example"
        asked = {
            "Origin": "https://panel.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        assert (await client.options("/graphql", headers=asked)).status_code == 200
        assert (await client.options("/graphql", headers={**asked, "Origin": "https://e.vil"})).status_code == 400


# --------------------------------------------------------------------------------- authentication


async def test_a_bad_token_is_401_in_both_media_types(client: httpx.AsyncClient) -> None:
    for accept in (JSON, RESPONSE_JSON, "text/event-stream"):
        answer = await post(client, "{ hello }", Accept=accept, Authorization="Bearer forged")
        assert answer.status_code == 401
        assert code(answer) == "UNAUTHENTICATED"


async def test_whatever_breaks_outside_of_graphql_is_masked(tokens: ToyTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> Any:
        raise KeyError("the secret word")

    async def away(*_: Any) -> Any:
        raise ConnectionRefusedError("the secret word")

    for factory, status, expected in ((broken, 500, "INTERNAL"), (away, 503, "UNAVAILABLE")):
        monkeypatch.setattr(tokens, "context", factory)
        async with client_of(tokens) as client:
            answer = await post(client, "{ hello }")
            assert (answer.status_code, code(answer)) == (status, expected)
            assert "secret" not in answer.text
            assert "traceId" in answer.json()["errors"][0]["extensions"]


async def test_an_operation_that_takes_too_long_is_given_up(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(over_http, "DEADLINE_SECONDS", 0.05)
    answer = await post(client, "{ slow }", Accept=RESPONSE_JSON)
    assert (answer.status_code, code(answer)) == (503, "UNAVAILABLE")


# ------------------------------------------------------------------------------------------ health


async def test_health_names_what_is_away(tokens: ToyTokens) -> None:
    async def fine() -> None:
        return None

    async def away() -> None:
        raise OSError("connection refused")

    async with client_of(tokens, probes={"database": fine, "redis": fine}) as client:
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"ok": True})
    async with client_of(tokens, probes={"database": fine, "redis": away}) as client:
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.json()) == (503, {"ok": False, "away": ["redis"]})


# ------------------------------------------------------------------------------ the real server


def frames(text: str) -> list[tuple[str, Any]]:
    found = []
    for part in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in part.splitlines() if ": " in line)
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"]) if lines.get("data") else None))
    return found


async def test_event_streams() -> None:
    with LiveApi() as api:
        async with httpx.AsyncClient(headers={"Accept": "text/event-stream", **TOKEN}) as client:
            answer = await client.post(api.url, json={"query": "subscription { count(to: 2) }"})
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert frames(answer.text) == [
                ("next", {"data": {"count": 0}}),
                ("next", {"data": {"count": 1}}),
                ("complete", None),
            ]
            refused = await client.post(api.url, json={"query": "subscription { nope }"})
            assert frames(refused.text)[0][1]["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
            document = {"query": "subscription { pushed(count: 3) }"}
            async with client.stream("POST", api.url, json=document) as answer:
                texts = answer.aiter_text()
                begun = ""
                while begun.count("event: next") < 3:
                    begun += await anext(texts)
                assert [each[1]["data"] for each in frames(begun)] == [{"pushed": str(number)} for number in range(3)]
            failed = await client.post(api.url, json={"query": "subscription { fails }"})
            assert frames(failed.text)[1][1]["errors"][0]["message"] == "Internal error"
            anonymous = await client.post(
                api.url, json={"query": "subscription { count }"}, headers={"Authorization": ""}
            )
            assert anonymous.status_code == 401


@pytest.mark.parametrize("ending", ["expiry", "revocation"])
async def test_an_event_stream_ends_with_its_token(ending: str) -> None:
    with LiveApi() as api:
        if ending == "expiry":
            api.tokens.viewers["good"] = ToyViewer(expires_at=clock.now() + timedelta(seconds=1))
        request = httpx.AsyncClient(headers={"Accept": "text/event-stream", **TOKEN}, timeout=10)
        async with (
            request as client,
            client.stream("POST", api.url, json={"query": "subscription { forever }"}) as answer,
        ):
            text = ""
            async for part in answer.aiter_text():
                text += part
                if ending == "revocation":
                    api.tokens.viewers.clear()
                else:
                    # The database cannot say that it has expired; the stream knows by itself.
                    api.tokens.away = True
        assert [event for event, _ in frames(text)] == ["next", "complete"]


async def test_a_stopping_server_ends_its_event_streams() -> None:
    with LiveApi() as api:
        request = httpx.AsyncClient(headers={"Accept": "text/event-stream", **TOKEN}, timeout=10)
        document = {"query": "subscription { forever }"}
        async with request as client, client.stream("POST", api.url, json=document) as answer:
            text = ""
            async for part in answer.aiter_text():
                text += part
                api.server.should_exit = True
        assert frames(text)[-1] == ("complete", None)


async def raw(api: LiveApi, head: bytes, body: AsyncIterator[bytes]) -> tuple[bytes, int]:
    """Send by hand; return the beginning of the answer and how much of the body was taken."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(head)
    sent = 0
    answered = asyncio.ensure_future(reader.read(65536))
    async for part in body:
        if answered.done():
            break
        writer.write(part)
        try:
            await asyncio.wait_for(writer.drain(), 5)
        except (ConnectionError, TimeoutError):
            break
        sent += len(part)
    try:
        answer = await asyncio.wait_for(answered, 10)
    except ConnectionResetError:
        # The server closes with our data unread: its reset may overtake the answer (RFC 9112 section 9.6).
        answer = b""
    writer.close()
    return answer, sent


async def answered(api: LiveApi, head: bytes, body: Callable[[], AsyncIterator[bytes]]) -> tuple[bytes, int]:
    """As `raw`, again when the reset was faster than the answer."""
    for _ in range(10):
        answer, sent = await raw(api, head, body())
        if answer:
            break
    return answer, sent


async def test_a_huge_body_is_refused_before_it_has_come() -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(480):
            yield b" " * 65536

    async def chunks() -> AsyncIterator[bytes]:
        async for part in parts():
            yield f"{len(part):x}\r\n".encode() + part + b"\r\n"

    head = b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with LiveApi() as api:
        announced, sent = await answered(api, head + b"Content-Length: 31457280\r\n\r\n", parts)
        assert announced.startswith(b"HTTP/1.1 413")
        assert sent < 10_000_000
        chunked, sent = await answered(api, head + b"Transfer-Encoding: chunked\r\n\r\n", chunks)
        assert chunked.startswith(b"HTTP/1.1 413")
        assert sent < 10_000_000


async def test_requests_are_finished_when_the_server_stops() -> None:
    with LiveApi() as api:
        async with httpx.AsyncClient(timeout=10) as client:
            running = asyncio.ensure_future(client.post(api.url, json={"query": "{ late }"}))
            await asyncio.to_thread(toy_schema.late_began.wait, 10)
            api.server.should_exit = True
            await api.stopping()
            toy_schema.late_may_end.set()
            assert (await running).json() == {"data": {"late": "done"}}


async def test_sigterm_ends_the_program_cleanly_with_listeners_and_a_request() -> None:
    port = free_port()
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.live_api", str(port), stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    assert await asyncio.wait_for(program.stdout.readline(), 20) == b"ready\n"
    url = f"http://127.0.0.1:{port}/graphql"
    request = httpx.AsyncClient(headers={"Accept": "text/event-stream", **TOKEN}, timeout=10)
    document = {"query": "subscription { forever }"}
    async with request as client, client.stream("POST", url, json=document) as answer:
        async for part in answer.aiter_text():
            if "next" in part:
                program.terminate()
    assert await asyncio.wait_for(program.wait(), 10) == 0


def test_an_api_error_keeps_its_details() -> None:
    assert ApiError("BAD_REQUEST", "no", bound=1).extensions == {"code": "BAD_REQUEST", "bound": 1}
