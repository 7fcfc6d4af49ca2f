"""A client that speaks the API byte by byte, for what no library would send. It shares no code with the lab."""

import asyncio
from contextlib import suppress
from typing import Any, ClassVar

from ispgraph.lab.routeros import RouterOS

Reply = list[str]


def word(text: str | bytes) -> bytes:
    body = text.encode() if isinstance(text, str) else text
    size = len(body)
    if size < 0x80:
        return bytes([size]) + body
    if size < 0x4000:
        return bytes([0x80 | size >> 8, size & 0xFF]) + body
    if size < 0x200000:
        return bytes([0xC0 | size >> 16, size >> 8 & 0xFF, size & 0xFF]) + body
    return bytes([0xE0 | size >> 24, size >> 16 & 0xFF, size >> 8 & 0xFF, size & 0xFF]) + body


def sentence(*words: str | bytes) -> bytes:
    return b"".join(map(word, words)) + b"\0"


class Raw:
    opened: ClassVar[list["Raw"]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.opened.append(self)

    @classmethod
    async def connect(cls, router: RouterOS, user: str | None = "api", password: str = "pw", **options: Any) -> "Raw":
        raw = cls(*await asyncio.open_connection("127.0.0.1", options.pop("port", router.port), **options))
        if user is not None:
            assert await raw.ask("/login", f"=name={user}", f"=password={password}") == [["!done"]]
        return raw

    async def __aenter__(self) -> "Raw":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    @classmethod
    async def close_all(cls) -> None:
        """Close what tests left open, or what was never handed to them."""
        while cls.opened:
            writer = cls.opened.pop().writer
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def send(self, *words: str | bytes) -> None:
        self.writer.write(sentence(*words))

    async def length(self) -> int:
        first = (await self.reader.readexactly(1))[0]
        for low, mask, more in ((0x80, 0x7F, 0), (0xC0, 0x3F, 1), (0xE0, 0x1F, 2), (0xF0, 0x0F, 3)):
            if first < low:
                return int.from_bytes(bytes([first & mask]) + await self.reader.readexactly(more), "big")
        raise AssertionError(f"a length beginning with {first:#x}")

    async def reply(self) -> Reply:
        words = []
        while size := await self.length():
            words.append((await self.reader.readexactly(size)).decode("utf-8", "surrogateescape"))
        return words

    async def replies(self) -> list[Reply]:
        """All up to ``!done``, or to ``!fatal``."""
        found = [await self.reply()]
        while found[-1][0] not in ("!done", "!fatal"):
            found.append(await self.reply())
        return found

    async def ask(self, *words: str | bytes) -> list[Reply]:
        self.send(*words)
        async with asyncio.timeout(10):
            return await self.replies()

    async def rest(self) -> bytes:
        """All until the router ends the connection, which it must do soon."""
        async with asyncio.timeout(5):
            return await self.reader.read()

    async def rows(self, *words: str | bytes) -> list[dict[str, str]]:
        found = await self.ask(*words)
        assert {reply[0] for reply in found[:-1]} <= {"!re"}, found
        return [values(reply) for reply in found[:-1]]

    async def add(self, *words: str) -> str:
        [reply] = await self.ask(*words)
        return values(reply)["ret"]

    async def refusal(self, *words: str | bytes) -> str:
        """The message of the trap, after its category and a bar where it has one."""
        [reply, done] = await self.ask(*words)
        assert (reply[0], done) == ("!trap", ["!done"])
        found = values(reply)
        return "|".join(found[name] for name in ("category", "message") if name in found)


def values(reply: Reply) -> dict[str, str]:
    pairs = (text[1:].partition("=") for text in reply[1:] if text.startswith("="))
    return {name: value for name, _, value in pairs}
