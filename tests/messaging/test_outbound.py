"""Where calls to others may go, how long they may take, and what they tell of a failure."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from ispgraph.adapters import outbound
from ispgraph.adapters.errors import AdapterError, BadReply, Refusal, Refused, TimedOut, Unreachable
from ispgraph.domain.outside import permitted
from ispgraph.lab.certificates import server_context
from ispgraph.up.ports import free_port

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    started = await asyncio.start_server(kept, "127.0.0.1", 0)
    try:
        yield started.sockets[0].getsockname()[1]
    finally:
        started.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(*parts: bytes, pause: float = 0) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)

    return serve


PUBLIC = ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
OURS = ["127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd00::1"]
OURS += ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "::10.0.0.1"]
NOBODYS = ["169.254.169.254", "fe80::1", "fe80::1%eth0", "224.0.0.1", "ff02::1", "240.0.0.1", "255.255.255.255"]
NOBODYS += ["0.0.0.0", "::", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::"]


def test_which_addresses_may_be_called() -> None:
    judged = {
        address: (permitted(address, private=False), permitted(address, private=True))
        for address in [*PUBLIC, *OURS, *NOBODYS]
    }
    expected = dict.fromkeys(PUBLIC, (True, True)) | dict.fromkeys(OURS, (False, True))
    assert judged == expected | dict.fromkeys(NOBODYS, (False, False))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "[::1]"])
async def test_our_own_network_is_not_called_by_any_spelling(host: str) -> None:
    called = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal called
        called += 1

    async with server(serve) as port, outbound.client(private=False) as client:
        with pytest.raises(Refused) as refused:
            await client.post(f"http://{host}:{port}/?key=s3cret")
        assert not refused.value.outcome_unknown
        assert "s3cret" not in str(refused.value)
        with pytest.raises(Refused):
            await outbound.connect(host.strip("[]"), port, private=False)
    assert called == 0


async def test_a_name_is_resolved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a name that first is at one address and then at another, the one that was judged is called."""
    asked: list[str] = []
    loop = asyncio.get_running_loop()
    ask = loop.getaddrinfo

    async def rebinding(host: str, port: int, **options: object) -> object:
        if host != "rebinding.example":
            return await ask(host, port, **options)  # type: ignore[arg-type]
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "169.254.169.254"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(loop, "getaddrinfo", rebinding)
    async with (
        server(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as port,
        outbound.client(private=True) as client,
    ):
        answer = await client.get(f"http://rebinding.example:{port}/")
        assert (answer.text, asked) == ("ok", ["rebinding.example"])
        with pytest.raises(Refused):
            await client.get("http://rebinding.example:1/")


async def test_redirects_are_answers() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    async with server(answering(moved)) as port, outbound.client(private=True) as client:
        assert (await client.get(f"http://127.0.0.1:{port}/")).status_code == 302


async def _fails(serve: Serve, seconds: float = 1.0) -> AdapterError:
    async with server(serve) as port, outbound.client(private=True, seconds=seconds) as client:
        with pytest.raises(AdapterError) as raised:
            await client.post(f"http://127.0.0.1:{port}/pay?token=s3cret", content=b"x" * 10)
    assert "s3cret" not in str(raised.value)
    return raised.value


async def test_what_is_known_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async with outbound.client(private=True) as client:
        with pytest.raises(Unreachable) as refused:
            await client.post(f"http://127.0.0.1:{free_port()}/")
        assert not refused.value.outcome_unknown
        with pytest.raises(Unreachable) as nowhere:
            await client.post("http://no-such-host.invalid/")
        assert not nowhere.value.outcome_unknown
        with pytest.raises(Refused):
            await client.post("ftp://127.0.0.1/")
    with monkeypatch.context() as quick:
        quick.setitem(outbound._TIMEOUTS, "connect", 0.4)
        async with server(answering(b"", pause=30)) as port, outbound.client(private=True) as client:
            with pytest.raises(TimedOut) as no_tls:
                await client.post(f"https://127.0.0.1:{port}/")
            assert not no_tls.value.outcome_unknown

    silent = await _fails(answering(b"", pause=30))
    assert (type(silent), silent.outcome_unknown) == (TimedOut, True)
    dripping = await _fails(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", *[b"x"] * 100, pause=0.1))
    assert (type(dripping), dripping.outcome_unknown) == (TimedOut, True)
    lost = await _fails(answering())
    assert (type(lost), lost.outcome_unknown) == (BadReply, True)
    half = await _fails(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"))
    assert (type(half), half.outcome_unknown) == (BadReply, True)
    nonsense = await _fails(answering(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"))
    assert (type(nonsense), nonsense.outcome_unknown) == (BadReply, True)


async def test_answers_are_bounded() -> None:
    endless = await _fails(answering(b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * (1 << 18)] * 8), seconds=5)
    assert (type(endless), endless.outcome_unknown) == (BadReply, True)
    packed = await _fails(answering(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"))
    assert (type(packed), packed.outcome_unknown) == (BadReply, True)


async def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    context, _ = server_context("strange", "127.0.0.1")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.start_tls(context)

    async with server(serve) as port, outbound.client(private=True) as client:
        with pytest.raises(Refused) as refused:
            await client.post(f"https://127.0.0.1:{port}/")
    assert refused.value.kind is Refusal.UNTRUSTED


async def test_addresses_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        server(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as port,
        outbound.client(private=True) as client,
    ):
        await client.get(f"http://127.0.0.1:{port}/send?api_key=s3cret")
    assert "s3cret" not in caplog.text
