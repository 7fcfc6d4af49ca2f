"""The API of RouterOS, strictly: what was asked either happened, or did not, or is said to be unknown.

librouteros speaks the protocol; this file stands below its `Api`, because that casts values (a password ``12345`` would
be read as a number, a comment ``yes`` as true) and drops bytes it can not decode. Here words go in and come out as they
are, as UTF-8; a word that is not UTF-8 (old Winbox wrote in the code page of its PC) is read as Latin-1, which loses
nothing. Every command is read to its ``!done``, within a deadline for all of it that also holds against a router that
answers one byte at a time, and carries a tag that the answer must repeat. After any error but a clean refusal the
connection is dropped: what would come next on it could be the answer to an earlier question.

A login is one plain command, as RouterOS has it since 6.43; the challenges of older versions are not attempted. Nothing
is logged here, and librouteros' own log, which would show every word, is not passed through.
"""

import asyncio
import hashlib
import re
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count

from librouteros.exceptions import ConnectionClosed, FatalError, ProtocolError
from librouteros.protocol import decode_length, determine_length, encode_sentence

from ispgraph import traces
from ispgraph.adapters.errors import BadReply, Refusal, Refused, TimedOut, Unreachable, cause, one_line

CONNECT_SECONDS = 10.0
COMMAND_SECONDS = 30.0
# Against a router, or what answers in its place, that would fill our memory.
_LONGEST_WORD = 1 << 20
_LONGEST_REPLY = 64 << 20
_CHUNK = 1 << 15

_ID = re.compile(r"\*[0-9A-Fa-f]+")
_SECRET_NAME = re.compile(r"password|secret|passphrase|key")

# What RouterOS says varies between versions; these are the parts that stay.
_REFUSALS = (
    (Refusal.BAD_LOGIN, re.compile(r"invalid user name or password|cannot log in")),
    (Refusal.NOT_PERMITTED, re.compile(r"not enough permissions|not permitted")),
    (Refusal.UNKNOWN_COMMAND, re.compile(r"no such command|bad command name")),
    (Refusal.UNKNOWN_PARAMETER, re.compile(r"unknown parameter")),
    (Refusal.NO_SUCH_ITEM, re.compile(r"no such item")),
    (Refusal.ALREADY_EXISTS, re.compile(r"already (have|exist)")),
    (Refusal.INVALID_VALUE, re.compile(r"input does not match|invalid value|value of \S+ (expects|must|should)")),
)
_ARGUMENT_VALUE = 1


@dataclass(frozen=True, slots=True)
class Address:
    """Where a router's API is, and how to log in. Ports are 8728 in the clear and 8729 with TLS.

    With `tls`, `fingerprint` (SHA-256 of the certificate in hex, colons allowed) is the one certificate to accept;
    without it the certificate must be valid for `host` by the system's authorities, which a router's own never is.
    """

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    tls: bool = False
    fingerprint: str | None = None


class _Words:
    """The reading of sentences: bounded, without loss, and without librouteros' log. Bytes are taken as many at a time
    as are there, for three awaits to a word would hold up the event loop through a large answer."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._bytes = b""
        self._place = 0
        self.read_bytes = 0

    async def sentence(self) -> list[str]:
        """The words up to an empty one. What does not begin like a reply is not waited for to its end."""
        words: list[str] = []
        while word := await self._word():
            if not words and not word.startswith("!"):
                raise ProtocolError("it is not in the language of the API")
            words.append(word)
        return words

    async def _word(self) -> str:
        start = await self._take(1)
        if more := determine_length(start):
            start += await self._take(more)
        length = decode_length(start)
        if length > _LONGEST_WORD:
            raise ProtocolError("a word is longer than any should be")
        word = await self._take(length)
        try:
            return word.decode()
        except UnicodeDecodeError:
            return word.decode("latin-1")

    async def _take(self, size: int) -> bytes:
        end = self._place + size
        if end > len(self._bytes):
            parts = [self._bytes[self._place :]]
            missing = size - len(parts[0])
            while missing > 0:
                parts.append(await self._more())
                missing -= len(parts[-1])
            self._bytes, self._place, end = b"".join(parts), 0, size
        taken = self._bytes[self._place : end]
        self._place = end
        return taken

    async def _more(self) -> bytes:
        # A reader that has bytes at hand gives them without a pause, in which others may run.
        await asyncio.sleep(0)
        if not (part := await self._reader.read(_CHUNK)):
            raise ConnectionClosed
        self.read_bytes += len(part)
        if self.read_bytes > _LONGEST_REPLY:
            raise ProtocolError("it is longer than any answer should be")
        return part


class Router:
    """A connection that is logged in. Calls of several tasks take turns.

    Paths are written as in RouterOS' API (``/ppp/secret``), items are named by the ``.id`` of a fresh `print` (it does
    not outlive a reset). All values are strings as RouterOS writes them; it writes ``true`` and ``false``, and takes
    ``yes`` and ``no`` as well. `last_ms` is how long the last command took, from sending it to its ``!done``.

    Every call raises Unreachable, TimedOut, Refused or BadReply. After Refused the connection is good for more; after
    the others it is gone, and every further call raises Unreachable. Whether the command was carried out is in the
    error's `outcome_unknown`.
    """

    last_ms: float | None

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deadline: float) -> None:
        self.last_ms = None
        self._reader = reader
        self._writer = writer
        self._words = _Words(reader)
        self._deadline = deadline
        self._dropped = False
        self._turn = asyncio.Lock()
        self._tags = count(1)

    async def print(
        self, path: str, *, where: Mapping[str, str] | None = None, columns: Sequence[str]
    ) -> list[dict[str, str]]:
        """The items of a menu for which all of `where` hold (exact equality), with the properties in `columns` that
        they have (RouterOS leaves out what is not set). Ask for ``.id`` to address an item afterwards."""
        words = [_word(".proplist", ",".join(columns))]
        words += [f"?{_word(name, value)}" for name, value in (where or {}).items()]
        rows, _ = await self._ask(f"{path}/print", words)
        return rows

    async def add(self, path: str, values: Mapping[str, str]) -> str:
        """Add an item and answer its ``.id``."""
        _, done = await self._ask(f"{path}/add", _words(values), _secrets(values))
        if "ret" not in done:
            self._drop()
            raise BadReply(f"The router added to {path}, but did not say what", outcome_unknown=True)
        return done["ret"]

    async def set(self, path: str, id: str | None, values: Mapping[str, str]) -> None:
        """Change properties of an item, or, without an id, of a menu that has no items (``/radius/incoming``)."""
        words = [] if id is None else [_item(id)]
        await self._ask(f"{path}/set", [*words, *_words(values)], _secrets(values))

    async def unset(self, path: str, id: str, name: str) -> None:
        """Take a property of an item away."""
        await self._ask(f"{path}/unset", [_item(id), _word("value-name", name)])

    async def remove(self, path: str, id: str) -> bool:
        """Remove an item. False if there was none: that is as good."""
        try:
            await self._ask(f"{path}/remove", [_item(id)])
        except Refused as refused:
            if refused.kind is Refusal.NO_SUCH_ITEM:
                return False
            raise
        return True

    async def run(self, command: str, values: Mapping[str, str]) -> list[dict[str, str]]:
        """Any command that ends by itself (``/radius/incoming/monitor`` with ``once`` empty): the rows it answers, and
        last what came with its ``!done``, if anything did."""
        rows, done = await self._ask(command, _words(values), _secrets(values))
        return [*rows, done] if done else rows

    async def _ask(
        self, command: str, words: Iterable[str], secrets: Iterable[str] = ()
    ) -> tuple[list[dict[str, str]], dict[str, str]]:
        async with self._turn:
            if self._dropped or self._reader.at_eof() or self._reader.exception() is not None:
                self._drop()
                raise Unreachable("The connection to the router is gone")
            try:
                with traces.within(f"routeros {command}", "CLIENT"):
                    async with asyncio.timeout(self._deadline):
                        return await self._converse(command, words, secrets)
            except TimeoutError as error:
                text = f"The router did not finish {command} in {self._deadline:g} s"
                raise TimedOut(text, outcome_unknown=True) from error
            except (ConnectionClosed, OSError) as error:
                text = f"The router closed the connection before it had answered {command}"
                raise BadReply(text, outcome_unknown=True) from error
            except ProtocolError as error:
                raise BadReply(_nonsense(command, error), outcome_unknown=True) from error

    async def _converse(
        self, command: str, arguments: Iterable[str], secrets: Iterable[str]
    ) -> tuple[list[dict[str, str]], dict[str, str]]:
        """One command and its whole answer: the rows, and what came with ``!done``. Raises Refused, and with the
        connection dropped whatever else went wrong, as it came."""
        tag = f".tag={next(self._tags)}"
        sentence = encode_sentence(command, *arguments, tag, encoding="utf-8")
        rows: list[dict[str, str]] = []
        traps: list[dict[str, str]] = []
        begun = time.perf_counter()
        try:
            self._words.read_bytes = 0
            self._writer.write(sentence)
            await self._writer.drain()
            while True:
                if not (words := await self._words.sentence()):
                    continue
                kind, *answer = words
                if kind == "!fatal":
                    raise FatalError(_redacted(" ".join(answer), secrets))
                row = _row(answer, tag)
                if kind == "!re":
                    rows.append(row)
                elif kind == "!trap":
                    traps.append(row)
                elif kind == "!done":
                    break
                elif kind != "!empty":
                    raise ProtocolError("it is not in the language of the API")
        except BaseException:
            self._drop()
            raise
        self.last_ms = (time.perf_counter() - begun) * 1000
        if traps:
            raise _refused(traps, secrets)
        return rows, row

    async def _log_in(self, address: Address) -> None:
        words = [_word("name", address.username), _word("password", address.password)]
        _, done = await self._converse("/login", words, [address.password])
        if done:
            raise Refused(Refusal.OTHER, "RouterOS before 6.43 logs in by a challenge, which is not supported")

    def _drop(self) -> None:
        self._dropped = True
        self._writer.transport.abort()


@asynccontextmanager
async def connect(
    address: Address, *, deadline: float = CONNECT_SECONDS, command_deadline: float = COMMAND_SECONDS
) -> AsyncIterator[Router]:
    """Connect and log in within `deadline` seconds; each command then has `command_deadline` seconds.

    Raises Unreachable, TimedOut, BadReply, and Refused: BAD_LOGIN, or UNTRUSTED for another certificate than the one we
    trust, before any password is sent.
    """
    place = f"{address.host} port {address.port}"
    try:
        with traces.within("routeros /login", "CLIENT"):
            async with asyncio.timeout(deadline):
                router = await _open(address, command_deadline)
    except TimeoutError as error:
        raise TimedOut(f"{place} did not let us in within {deadline:g} s") from error
    except ssl.SSLCertVerificationError as error:
        raise Refused(Refusal.UNTRUSTED, one_line(error.verify_message)) from error
    except ssl.SSLError as error:
        text = f"{place} does not speak TLS with us; a router's api-ssl needs a certificate of its own"
        raise BadReply(f"{text} ({one_line(error.reason or 'no reason given')})") from error
    except ConnectionClosed as error:
        raise Unreachable(f"{place} closed the connection before we were in") from error
    except OSError as error:
        raise Unreachable(f"{place} can not be reached: {cause(error)}") from error
    except ProtocolError as error:
        raise BadReply(_nonsense("/login", error)) from error
    try:
        yield router
    finally:
        router._drop()


async def _open(address: Address, command_deadline: float) -> Router:
    context = None if not address.tls else _verifying() if address.fingerprint is None else _pinning()
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    try:
        if address.tls and address.fingerprint is not None:
            shown = hashlib.sha256(writer.get_extra_info("ssl_object").getpeercert(binary_form=True)).hexdigest()
            if shown != address.fingerprint.replace(":", "").lower():
                raise Refused(Refusal.UNTRUSTED, f"it shows the fingerprint {shown}")
        router = Router(reader, writer, command_deadline)
        await router._log_in(address)
    except BaseException:
        writer.transport.abort()
        raise
    return router


@cache
def _verifying() -> ssl.SSLContext:
    return ssl.create_default_context()


@cache
def _pinning() -> ssl.SSLContext:
    # Who signed it and for which name says nothing: the fingerprint is compared instead.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _word(name: str, value: str) -> str:
    if not name or "=" in name:
        raise ValueError(f"no property is called {name!r}")
    return f"={name}={value}"


def _words(values: Mapping[str, str]) -> list[str]:
    return [_word(name, value) for name, value in values.items()]


def _item(id: str) -> str:
    # Names and lists of names would be taken as well, and an empty list is not nothing everywhere.
    if _ID.fullmatch(id) is None:
        raise ValueError(f"not an id of RouterOS: {id!r}")
    return _word(".id", id)


def _row(words: Iterable[str], tag: str) -> dict[str, str]:
    row = {}
    tagged = False
    for word in words:
        if word.startswith("="):
            name, _, value = word[1:].partition("=")
            row[name] = value
        elif word == tag:
            tagged = True
        else:
            raise ProtocolError("it is not in the language of the API")
    if not tagged:
        raise ProtocolError("it is the answer to something else")
    return row


def _refused(traps: Sequence[Mapping[str, str]], secrets: Iterable[str]) -> Refused:
    said = traps[0].get("message", "")
    number = traps[0].get("category", "")
    category = int(number) if number.isdecimal() else None
    kind = next((kind for kind, pattern in _REFUSALS if pattern.search(said)), Refusal.OTHER)
    if kind is Refusal.OTHER and category == _ARGUMENT_VALUE:
        kind = Refusal.INVALID_VALUE
    return Refused(kind, _redacted("; ".join(trap.get("message", "") for trap in traps), secrets), category)


def _secrets(values: Mapping[str, str]) -> list[str]:
    return [value for name, value in values.items() if _SECRET_NAME.search(name)]


def _redacted(text: str, secrets: Iterable[str]) -> str:
    # Short ones are left: they would be found in any words.
    for secret in secrets:
        if len(secret) > 3:
            text = text.replace(secret, "***")
    return one_line(text)


def _nonsense(command: str, error: ProtocolError) -> str:
    if isinstance(error, FatalError):
        return f"The router ended the conversation at {command}: {error}"
    return f"The router's answer to {command} makes no sense: {error}"
