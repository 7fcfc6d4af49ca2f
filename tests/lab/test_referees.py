"""Public RouterOS API clients judge the simulated router: one table of cases, each client reads it its own way."""

import asyncio
import json
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import librouteros
import pytest
import routeros
import routeros_api
from librouteros.exceptions import TrapError
from librouteros.login import plain, token
from routeros.errors import DeviceError
from routeros_api.exceptions import RouterOsApiCommunicationError

from ispgraph.lab.routeros import RouterOS

NPM = Path(__file__).parent / "npm"
ENTRIES = 300
Words = tuple[str, ...]
Outcome = dict[str, Any]


def rows(*found: dict[str, str]) -> Outcome:
    return {"rows": list(found)}


def refused(message: str) -> Outcome:
    return {"refused": message}


LONG = "0123456789" * 2000
COLUMNS = "=.proplist=name,password,comment,disabled"
CASES: list[tuple[Words, Outcome]] = [
    (("/system/identity/print",), rows({"name": "referee"})),
    (("/ppp/secret/print", "?name=ana"), rows()),
    (("/ppp/secret/add", "=name=ana", "=password=a=b==", "=comment=café"), rows({"ret": "*1"})),
    (("/ppp/secret/add", "=name=bob", "=password=", "=disabled=yes"), rows({"ret": "*2"})),
    (
        ("/ppp/secret/print", "?name=ana", COLUMNS),
        rows({"name": "ana", "password": "a=b==", "comment": "café", "disabled": "false"}),
    ),
    (("/ppp/secret/print", "?name=bob", COLUMNS), rows({"name": "bob", "password": "", "disabled": "true"})),
    (("/ppp/secret/print", "?name=ana", "?name=bob", "?#|", "=.proplist=name"), rows({"name": "ana"}, {"name": "bob"})),
    (("/ppp/secret/print", "?-comment", "=.proplist=name"), rows({"name": "bob"})),
    (("/ppp/secret/set", "=.id=*1", "=caller-id=x", f"=comment={LONG}"), rows()),
    (
        ("/ppp/secret/print", "?name=ana", "=.proplist=caller-id,comment"),
        rows({"caller-id": "x", "comment": LONG}),
    ),
    (("/ppp/secret/set", "=.id=*1", "=caller-id="), rows()),
    (("/ppp/secret/print", "?name=ana", "=.proplist=caller-id"), rows({"caller-id": ""})),
    (("/ppp/secret/add", "=name=ana"), refused("failure: secret with the same name already exists")),
    (("/ppp/secret/add", "=name=x", "=colour=red"), refused("unknown parameter colour")),
    (("/ppp/secret/add", "=name=x", "=profile=gold"), refused("input does not match any value of profile")),
    (("/ppp/secret/remove", "=.id=*77"), refused("no such item")),
    (("/ppp/secrets/print",), refused("no such command prefix")),
    (("/ppp/secret/print", "=.proplist=name"), rows({"name": "ana"}, {"name": "bob"})),
    (("/ppp/secret/remove", "=.id=*1,*2"), rows()),
    (("/ppp/secret/print",), rows()),
    (
        ("/ip/firewall/address-list/print", "=.proplist=address"),
        rows(*({"address": f"10.0.{number // 250}.{number % 250 + 1}"} for number in range(ENTRIES))),
    ),
]


@pytest.fixture(params=["7.16.1", "7.20"])
async def router(request: pytest.FixtureRequest) -> AsyncIterator[RouterOS]:
    router = furnished(request.param)
    await router.start(tls_port=0)
    yield router
    await router.stop()


@pytest.fixture
async def old() -> AsyncIterator[RouterOS]:
    router = furnished("6.42.12")
    await router.start()
    yield router
    await router.stop()


def furnished(version: str) -> RouterOS:
    router = RouterOS("referee", version=version, users={"api": ("pässword", "full")})
    for number in range(ENTRIES):
        address = f"10.0.{number // 250}.{number % 250 + 1}"
        router.create("/ip/firewall/address-list", {"list": "many", "address": address})
    return router


# Each takes a port, a password and lists of words, and gives what came of each, or the refusal of the login.


def by_librouteros(port: int, password: str, cases: list[Words], **options: Any) -> list[Outcome]:
    options = {"encoding": "utf-8", "timeout": 10, "port": port, **options}
    try:
        api = librouteros.connect("127.0.0.1", "api", password, **options)
    except TrapError as problem:
        return [refused(problem.message)]
    outcomes = []
    with closing(api):
        for words in cases:
            try:
                outcomes.append(rows(*(plain_text(row) for row in api.rawCmd(*words))))
            except TrapError as problem:
                outcomes.append(refused(problem.message))
    return outcomes


def plain_text(row: dict[str, Any]) -> dict[str, str]:
    """librouteros casts values; this takes it back."""
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in row.items()}


def by_routeros_api(port: int, password: str, cases: list[Words], **options: Any) -> list[Outcome]:
    pool = routeros_api.RouterOsApiPool("127.0.0.1", "api", password, port=port, plaintext_login=True, **options)
    try:
        try:
            api = pool.get_api()
        except RouterOsApiCommunicationError as problem:
            return [refused(problem.original_message.decode())]
        return [_ask(api, words) for words in cases]
    finally:
        pool.disconnect()


def _ask(api: Any, words: Words) -> Outcome:
    class Queries:
        def get_api_format(self) -> list[bytes]:
            return [word.encode() for word in words if word.startswith("?")]

    path, _, command = words[0].rpartition("/")
    pairs = (word[1:].partition("=") for word in words[1:] if word.startswith("="))
    arguments = {name: value.encode() for name, _, value in pairs}
    queries = [Queries()] if any(word.startswith("?") for word in words) else []
    try:
        found = api.get_binary_resource(path).call(command, arguments, additional_queries=queries)
    except RouterOsApiCommunicationError as problem:
        return refused(problem.original_message.decode())
    done = {name: value for name, value in found.done_message.items() if name != "tag"}
    shown = [{cleaned(name): value.decode() for name, value in row.items()} for row in [*found, done] if row]
    return rows(*shown)


def cleaned(name: str) -> str:
    return ".id" if name == "id" else name


def by_routeros_py(port: int, password: str, cases: list[Words]) -> list[Outcome]:
    # Its dial() leaves the socket of a failed login open.
    with closing(socket.create_connection(("127.0.0.1", port), 10)) as connection:
        client = routeros.Client(connection)
        try:
            client._login("api", password)
        except DeviceError as problem:
            return [refused(problem.message)]
        outcomes = []
        for words in cases:
            try:
                reply = client.run(*words)
            except DeviceError as problem:
                outcomes.append(refused(problem.message))
            else:
                done = [reply.done.map] if reply.done is not None and reply.done.map else []
                outcomes.append(rows(*(row.map for row in reply.re), *done))
    return outcomes


Client = Callable[..., list[Outcome]]
CLIENTS = pytest.mark.parametrize("client", [by_librouteros, by_routeros_api, by_routeros_py])


@CLIENTS
async def test_the_cases(router: RouterOS, client: Client) -> None:
    outcomes = await asyncio.to_thread(client, router.port, "pässword", [words for words, _ in CASES])
    for (words, wanted), outcome in zip(CASES, outcomes, strict=True):
        assert outcome == wanted, words


@CLIENTS
async def test_a_bad_login(router: RouterOS, client: Client) -> None:
    outcomes = await asyncio.to_thread(client, router.port, "wrong", [("/system/identity/print",)])
    assert outcomes == [refused("invalid user name or password (6)")]


@CLIENTS
async def test_the_login_of_old_versions(old: RouterOS, client: Client) -> None:
    # The first of these takes ASCII only.
    old.users["api"] = ("pw", "full")
    options = {"login_method": token} if client is by_librouteros else {}
    identity = [("/system/identity/print",)]
    outcomes = await asyncio.to_thread(client, old.port, "pw", identity, **options)
    assert outcomes == [rows({"name": "referee"})]
    assert await asyncio.to_thread(client, old.port, "wrong", identity, **options) == [refused("cannot log in")]


async def test_new_versions_refuse_the_old_login(router: RouterOS) -> None:
    router.users["api"] = ("pw", "full")
    outcomes = await asyncio.to_thread(by_librouteros, router.port, "pw", [], login_method=token)
    assert outcomes == [refused("invalid user name or password (6)")]


async def test_tls(router: RouterOS) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    words = [("/system/identity/print",)]
    options = {"ssl_wrapper": context.wrap_socket, "login_method": plain}
    assert await asyncio.to_thread(by_librouteros, router.tls_port, "pässword", words, **options) == [
        rows({"name": "referee"})
    ]
    assert await asyncio.to_thread(by_routeros_api, router.tls_port, "pässword", words, ssl_context=context) == [
        rows({"name": "referee"})
    ]


async def test_a_stream_of_changes_by_tag(router: RouterOS) -> None:
    def work() -> tuple[list[str], list[str]]:
        with routeros.dial(f"127.0.0.1:{router.port}", "api", "pässword", timeout=10) as client:
            stream = client.listen("/ppp/secret/listen", "=.proplist=name")
            added = client.run("/ppp/secret/add", "=name=ana")
            assert added.done is not None
            client.run("/ppp/secret/remove", f"=.id={added.done.map['ret']}")
            changes = [stream.chan().get(timeout=5), stream.chan().get(timeout=5)]
            stream.cancel()
            return [added.done.map["ret"]] * 2, [str(change.map) for change in changes if change is not None]

    ids, changes = await asyncio.to_thread(work)
    assert changes == [str({".id": ids[0], "name": "ana"}), str({".id": ids[0], ".dead": "yes"})]


@pytest.mark.npm
@pytest.mark.skipif(
    shutil.which("node") is None or not (NPM / "node_modules").is_dir(),
    reason="needs Node.js and npm ci in tests/lab/npm",
)
@pytest.mark.parametrize("version", ["7.16.1", "6.42.12"])
async def test_node_routeros(version: str) -> None:
    # It does not know !empty, so no version from 7.18 on; its words are Windows-1252, so a plain password.
    router = furnished(version)
    router.users["api"] = ("pw", "full")
    await router.start()
    try:
        found = await node(router.port, "pw", [words for words, _ in CASES])
        assert await node(router.port, "wrong", []) == {"refused": "CANTLOGIN"}
    finally:
        await router.stop()
    for (words, wanted), outcome in zip(CASES, found["results"], strict=True):
        assert outcome == wanted, words
    assert found["together"] == [[f"10.0.0.{number}"] for number in range(1, 21)]
    assert found["changes"]["name"] == "listened"


async def node(port: int, password: str, cases: list[Words]) -> Any:
    process = await asyncio.create_subprocess_exec(
        "node",
        "run.mjs",
        str(port),
        "api",
        password,
        cwd=NPM,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await asyncio.wait_for(process.communicate(json.dumps(cases).encode()), 60)
    assert process.returncode == 0
    return json.loads(output)
