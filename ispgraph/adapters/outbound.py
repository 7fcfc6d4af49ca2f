"""Calls to addresses that operators type in: providers of messages and of payments, over HTTP or a bare connection.

A name is resolved once, what it resolves to is judged, and the connection goes to that very address: a name that
resolves to something else a moment later (DNS rebinding) gains nothing. Addresses inside of our own network are for
those who run the product to allow (`private`), link-local, multicast and reserved ones are for nobody. Redirects are
not followed, answers are bounded, and every exchange has a deadline.

Whatever goes wrong is raised as one of `errors`, also by the HTTP client itself: whoever calls it needs no other
`except`. No error tells more of an address than its host and port, for the rest of it may hold a key.
"""

import asyncio
import functools
import logging
import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import httpcore
import httpx

from ispgraph import traces
from ispgraph.adapters.errors import AdapterError, BadReply, Refusal, Refused, TimedOut, Unreachable, cause, one_line
from ispgraph.domain.outside import permitted

CONNECT_SECONDS = 3.0
TOTAL_SECONDS = 10.0
LARGEST_ANSWER = 1 << 20
_MOST_CONNECTIONS = 50
_IDLE_SECONDS = 5.0
_ASKED = ("http11.send_request_headers.started", "http2.send_request_headers.started")

# It would write every address to the log, with the keys that some providers want to see in it.
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpcore").setLevel(logging.WARNING)


class Client(httpx.AsyncClient):
    """An HTTP client for calls to others. `private` is whether addresses of our own network may be called; with `kept`
    only so many bytes of an answer are read, and the rest is left, where otherwise a long answer is an error."""

    def __init__(self, *, private: bool, seconds: float = TOTAL_SECONDS, kept: int | None = None) -> None:
        # What is compressed would not be bounded by the bytes that come.
        super().__init__(
            transport=_Transport(private=private, seconds=seconds, kept=kept),
            headers={"Accept-Encoding": "identity", "User-Agent": "ispgraph"},
            follow_redirects=False,
            trust_env=False,
        )
        self.private = private


def client(*, private: bool, seconds: float = TOTAL_SECONDS) -> Client:
    """A client for calls to providers: one for many accounts, to be closed with `aclose`.

    Its calls raise Unreachable, TimedOut, BadReply and Refused (an address that may not be called, a certificate that
    is not valid), with `outcome_unknown` once the request was begun. Any status is an answer.
    """
    return Client(private=private, seconds=seconds)


def may_be_private(client: httpx.AsyncClient) -> bool:
    """Whether a bare connection beside this client may go to addresses of our own network."""
    return isinstance(client, Client) and client.private


async def resolve(host: str, port: int, *, private: bool) -> list[str]:
    """The addresses of a host. Raises Unreachable; Refused when one of them may not be called."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise TimedOut(f"The name {one_line(host)} was not resolved in time.") from error
    except (OSError, UnicodeError) as error:
        why = cause(error) if isinstance(error, OSError) else "no such name"
        raise Unreachable(f"The name {one_line(host)} is not known: {why}.") from error
    addresses = list(dict.fromkeys(str(item[4][0]) for item in found))
    if any(not permitted(address, private=private) for address in addresses):
        raise Refused(Refusal.OTHER, f"{one_line(host)} is at an address that may not be called.")
    return addresses


async def connect(host: str, port: int, *, private: bool) -> socket.socket:
    """A connection to a host, as a socket that does not block. Raises Unreachable, TimedOut, Refused."""
    loop = asyncio.get_running_loop()
    failed: Exception | None = None
    for address in await resolve(host, port, private=private):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setblocking(False)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.sock_connect(made, (address, port))
        except BaseException as error:
            made.close()
            if not isinstance(error, OSError):
                raise
            failed = error
        else:
            return made
    raise _no_connection(host, port, failed) from failed


def _no_connection(host: str, port: int, error: Exception | None) -> AdapterError:
    if isinstance(error, TimeoutError):
        return TimedOut(f"{one_line(host)}:{port} did not answer in time.")
    why = cause(error) if isinstance(error, OSError) else "no answer"
    return Unreachable(f"{one_line(host)}:{port} was not reached: {why}.")


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to what a name resolved to when it was judged."""

    def __init__(self, *, private: bool) -> None:
        self._private = private
        self._beneath = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failed: Exception | None = None
        for address in await resolve(host, port, private=self._private):
            try:
                return await self._beneath.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                timed_out = isinstance(error, httpcore.ConnectTimeout)
                failed = TimeoutError() if timed_out else _system_error(error)
        raise _no_connection(host, port, failed) from failed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Transport(httpx.AsyncBaseTransport):
    def __init__(self, *, private: bool, seconds: float, kept: int | None) -> None:
        self._seconds = seconds
        self._kept = kept
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trusted(),
            max_connections=_MOST_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=_Pinned(private=private),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        where = f"{one_line(request.url.host)}:{request.url.port or {'http': 80}.get(request.url.scheme, 443)}"
        if request.url.scheme not in ("http", "https") or not request.url.host:
            raise Refused(Refusal.OTHER, "The address does not begin with https:// or http://.")
        with traces.within(request.method, "CLIENT", _told(request)) as span:
            # Where and what belongs to it: never the address, which may hold a key.
            if (under_way := traces.carried()) is not None:
                request.headers["traceparent"] = under_way
            answer = await self._asked(request, where)
            span.tell({"http.response.status_code": answer.status_code})
            return answer

    async def _asked(self, request: httpx.Request, where: str) -> httpx.Response:
        asked = False

        async def trace(event: str, info: dict[str, Any]) -> None:
            nonlocal asked
            asked = asked or event in _ASKED

        asking = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions={"timeout": _TIMEOUTS | {"pool": self._seconds}, "trace": trace},
        )
        try:
            async with asyncio.timeout(self._seconds):
                return await self._exchange(asking, where)
        except AdapterError:
            raise
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise TimedOut(f"{where} did not answer in time.", outcome_unknown=asked) from error
        except httpcore.ConnectError as error:
            raise _tls_error(where, error) from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            if not asked:
                raise Unreachable(f"{where} closed the connection before it was asked.") from error
            raise BadReply(f"{where} closed the connection instead of answering.", outcome_unknown=True) from error

    async def _exchange(self, asking: httpcore.Request, where: str) -> httpx.Response:
        answer = await self._pool.handle_async_request(asking)
        try:
            kept = bytearray()
            async for part in answer.aiter_stream():
                kept += part
                if self._kept is not None and len(kept) >= self._kept:
                    break
                if len(kept) > LARGEST_ANSWER:
                    raise BadReply(f"The answer of {where} is too long.", outcome_unknown=True)
        finally:
            with suppress(httpcore.NetworkError):
                await answer.aclose()
        headers = httpx.Headers(answer.headers)
        if headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise BadReply(f"The answer of {where} is compressed, against our request.", outcome_unknown=True)
        return httpx.Response(answer.status, headers=headers, content=bytes(kept[: self._kept]))

    async def aclose(self) -> None:
        await self._pool.aclose()


def _told(request: httpx.Request) -> traces.Told:
    port = request.url.port or (80 if request.url.scheme == "http" else 443)
    told: traces.Told = {"server.address": one_line(request.url.host), "server.port": port}
    return {"http.request.method": request.method, **told}


_TIMEOUTS: dict[str, float | None] = {"connect": CONNECT_SECONDS, "read": None, "write": None}


@functools.cache
def trusted() -> ssl.SSLContext:
    """What a certificate has to be signed by: the public authorities."""
    # Reading the authorities takes tens of milliseconds.
    return httpx.create_ssl_context(trust_env=False)


def _system_error(error: BaseException) -> Exception | None:
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, OSError):
        inner = inner.__cause__ or inner.__context__
    return inner


def _tls_error(where: str, error: BaseException) -> AdapterError:
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, ssl.SSLError):
        inner = inner.__cause__ or inner.__context__
    if isinstance(inner, ssl.SSLCertVerificationError):
        return Refused(Refusal.UNTRUSTED, f"{where}: {one_line(inner.verify_message)}")
    return Unreachable(f"{where} does not speak TLS as it should, or closed the connection.")
