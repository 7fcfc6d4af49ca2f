"""One API client of a router: login, tags, cancelling, and everything that can go wrong on its connection."""

import asyncio
import hashlib
import secrets
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any, Protocol

from ispgraph.lab import commands, printing
from ispgraph.lab.faults import Counters, Faults
from ispgraph.lab.items import Table
from ispgraph.lab.kinds import Refused
from ispgraph.lab.menus import menus
from ispgraph.lab.sentence import Sentence, read, reply, trap
from ispgraph.lab.wire import Decoder, ProtocolBroken, encode_sentence, octets

_BEFORE_LOGIN, _AFTER_LOGIN = 4096, 64 * 2**20
_BATCH = 64
_SHOWING = frozenset({"print", "getall", "listen", "monitor", "monitor-traffic"})
_DENIED = Refused("not enough permissions (9)")
_INTERRUPTED = Refused("interrupted", 2)


class Router(commands.Router, printing.Router, Protocol):
    """What the API needs of a router."""

    faults: Faults
    counters: Counters

    def password_and_policies(self, user: str) -> tuple[str, frozenset[str]] | None: ...

    def max_connections(self) -> int | None: ...

    def log(self, topics: str, message: str) -> None: ...

    def restart(self) -> None: ...


class Gone(Exception):
    """The connection has ended, or a fault ends it here."""


class Connection:
    """One client."""

    def __init__(self, router: Router, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._router = router
        self._reader, self._writer = reader, writer
        self._user: str | None = None
        self._policies: frozenset[str] = frozenset()
        self._challenge: bytes | None = None
        self._running: dict[asyncio.Task[None], bytes | None] = {}
        self._sending, self._untagged = asyncio.Lock(), asyncio.Lock()
        self._sent = 0
        self._decoder = Decoder(_BEFORE_LOGIN)

    async def serve(self) -> None:
        """Answer until either side ends it."""
        try:
            while data := await self._reader.read(65536):
                for words in self._decoder.feed(data):
                    await self._take(read(words))
        except (Gone, ProtocolBroken, OSError):
            pass
        finally:
            for task in list(self._running):
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            self._writer.close()

    def abort(self) -> None:
        """End it at once, with a reset."""
        reset(self._writer)

    # Sentences

    async def _take(self, sentence: Sentence) -> None:
        # One client writes two slashes.
        command = "/" + sentence.command.lstrip("/") if sentence.command.startswith("/") else sentence.command
        counts = self._router.counters.commands
        counts[command] = counts.get(command, 0) + 1
        if command == "/login":
            await self._login(sentence)
        elif command == "/quit":
            await self._fatal("session terminated on request")
        elif self._user is None:
            await self._fatal("not logged in")
        elif self._router.faults.fatal():
            await self._fatal("something is wrong")
        elif command == "/cancel":
            await self._cancel(sentence)
        else:
            task = asyncio.create_task(self._in_order(command, sentence))
            self._running[task] = sentence.tag
            task.add_done_callback(lambda ended: self._running.pop(ended, None))

    async def _login(self, sentence: Sentence) -> None:
        router, values = self._router, sentence.values
        old = router.version < (6, 43)
        if "response" not in values and (old or "name" not in values):
            self._challenge = secrets.token_bytes(16)
            await self._done(sentence, {"ret": self._challenge.hex()})
            return
        user = values.get("name", "")
        known = router.password_and_policies(user)
        right = known is not None and "api" in known[1] and not router.faults.take("failing_logins")
        if right and known is not None:
            if old:
                right = self._answers(values["response"], known[0])
            else:
                right = values.get("password", "") == known[0] and "response" not in values
        self._challenge = None
        host = self._writer.get_extra_info("peername", ("unknown",))[0]
        if not right or known is None:
            router.counters.failed_logins += 1
            router.log("system,error,critical", f"login failure for user {user} from {host} via api")
            message = "cannot log in" if old else "invalid user name or password (6)"
            await self._send(trap(Refused(message)), sentence.tag)
            await self._done(sentence)
            return
        self._user, self._policies = user, known[1]
        self._decoder.limit = _AFTER_LOGIN
        router.counters.logins += 1
        router.log("system,info,account", f"user {user} logged in from {host} via api")
        await self._done(sentence)

    def _answers(self, response: str, password: str) -> bool:
        if self._challenge is None:
            return False
        digest = hashlib.md5(b"\x00" + octets(password) + self._challenge, usedforsecurity=False).hexdigest()
        return response == f"00{digest}"

    async def _cancel(self, sentence: Sentence) -> None:
        wanted = octets(sentence.values["tag"]) if "tag" in sentence.values else None
        stopped = [task for task, tag in self._running.items() if wanted is None or tag == wanted]
        for task in stopped:
            task.cancel()
        await asyncio.gather(*stopped, return_exceptions=True)
        await self._done(sentence)

    async def _in_order(self, command: str, sentence: Sentence) -> None:
        """Commands with a tag run at once; those without would mix their replies, so they wait for each other."""
        try:
            if sentence.tag is None:
                async with self._untagged:
                    await self._run(command, sentence)
            else:
                await self._run(command, sentence)
        except asyncio.CancelledError:
            if not self._writer.is_closing():
                await self._send(trap(_INTERRUPTED), sentence.tag)
                await self._done(sentence)
        except (Gone, OSError):
            self._writer.close()

    async def _run(self, command: str, sentence: Sentence) -> None:
        ret: dict[str, str] = {}
        try:
            if planned := self._router.faults.trap(command):
                raise Refused(planned.message, planned.category)
            if sentence.problem is not None:
                raise sentence.problem
            ret = await self._execute(command, sentence)
        except Refused as refused:
            await self._send(trap(refused), sentence.tag)
        else:
            if self._router.faults.loses_answer(command):
                self.abort()
                raise Gone
        await self._done(sentence, ret)

    async def _execute(self, command: str, sentence: Sentence) -> dict[str, str]:
        path, _, name = command.rpartition("/")
        if command in ("/system/reboot", "/system/shutdown"):
            self._allow("reboot")
            self._router.restart()
            raise Gone
        if path not in menus():
            known = any(menu == command or menu.startswith(f"{command}/") for menu in menus())
            prefix = any(menu.startswith(f"{path}/") for menu in menus())
            raise Refused("no such command" if known or (path and prefix) else "no such command prefix", 0)
        table = self._router.table(path)
        if name not in table.menu.commands:
            raise Refused("no such command", 0)
        if name in _SHOWING:
            self._allow("read")
            return await self._show(name, table, sentence)
        self._allow("write")
        if sentence.queries:
            raise Refused(f"unknown parameter {sentence.queries[0]}")
        if self._router.faults.flash_full:
            raise Refused("failure: not enough space on flash")
        if name not in commands.COMMANDS:
            raise Refused("failure: not supported by this router")
        return commands.COMMANDS[name](self._router, table, dict(sentence.values))

    def _allow(self, policy: str) -> None:
        if policy not in self._policies:
            raise _DENIED

    # Showing

    async def _show(self, name: str, table: Table, sentence: Sentence) -> dict[str, str]:
        router, values, sensitive = self._router, dict(sentence.values), "sensitive" in self._policies
        match name:
            case "listen":
                await self._stream(printing.listen(router, table, values, sentence.queries, sensitive), sentence)
                return {}
            case "monitor":
                await self._stream(printing.monitor(router, table, values), sentence)
                return {}
            case "monitor-traffic":
                await self._stream(printing.monitor_traffic(router, table, values), sentence)
                return {}
        items, columns = printing.rows(router, table, values, sentence.queries, sensitive)
        if "count-only" in values:
            return {"ret": str(len(items))}
        if not items and router.version >= (7, 18):
            await self._send([b"!empty"], sentence.tag)
        middle = len(items) // 2
        for start in range(0, len(items), _BATCH):
            batch = items[start : start + _BATCH]
            if router.faults.delay_row_seconds and start <= middle < start + _BATCH:
                await self._send_rows(table, batch[: middle - start], columns, sentence.tag)
                await asyncio.sleep(router.faults.delay_row_seconds)
                batch = batch[middle - start :]
            await self._send_rows(table, batch, columns, sentence.tag)
        return {}

    async def _send_rows(self, table: Table, items: list[Any], columns: list[str], tag: bytes | None) -> None:
        # Others have had their turn since the items were selected: some may be gone.
        sentences = [reply("!re", printing.row(table, item, columns)) for item in items if item in table]
        await self._send_all(sentences, tag)
        await asyncio.sleep(0)

    async def _stream(self, shown: AsyncIterator[dict[str, str]], sentence: Sentence) -> None:
        async for values in shown:
            await self._send(reply("!re", values), sentence.tag)

    # Sending

    async def _done(self, sentence: Sentence, ret: dict[str, str] | None = None) -> None:
        if self._router.faults.delay_done_seconds:
            await asyncio.sleep(self._router.faults.delay_done_seconds)
        await self._send(reply("!done", ret), sentence.tag)

    async def _fatal(self, reason: str) -> None:
        await self._send([b"!fatal", reason.encode()], None)
        raise Gone

    async def _send(self, words: list[bytes], tag: bytes | None) -> None:
        await self._send_all([words], tag)

    async def _send_all(self, sentences: list[list[bytes]], tag: bytes | None) -> None:
        faults = self._router.faults
        data = b""
        for words in sentences:
            marked = [words[0], *words[1:]]
            if tag is not None:
                shown = tag + b"0" if faults.take("wrong_tags") else tag
                marked.insert(1, b".tag=" + shown)
            if faults.take("garbage"):
                data += b"\xff"
            whole = encode_sentence(marked)
            if faults.take("drop_mid_word"):
                await self._write(data + whole[: -1 - (len(marked[-1]) + 1) // 2])
                raise self._end()
            if faults.take("drop_mid_sentence"):
                await self._write(data + whole[: 1 + len(marked[0])])
                raise self._end()
            data += whole
        await self._write(data)

    async def _write(self, data: bytes) -> None:
        faults = self._router.faults
        async with self._sending:
            limit = faults.drop_after_bytes
            if limit is not None and self._sent + len(data) > limit:
                self._writer.write(data[: max(limit - self._sent, 0)])
                raise self._end()
            self._sent += len(data)
            if not faults.drip_seconds:
                self._writer.write(data)
                await self._writer.drain()
                return
            for place in range(len(data)):
                self._writer.write(data[place : place + 1])
                await self._writer.drain()
                await asyncio.sleep(faults.drip_seconds)

    def _end(self) -> Gone:
        self._writer.close()
        return Gone()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side sees a reset."""
    held = writer.get_extra_info("socket")
    if held is not None and held.fileno() >= 0:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
