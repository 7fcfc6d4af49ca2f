"""A router that does what a test says, byte by byte. It shares no code with the adapters or with librouteros."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from ispgraph.adapters.routeros import Address

USER, PASSWORD = "ispgraph", "pa55-wörd-of-lab"


def length(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    if size < 0x4000:
        return bytes([0x80 | size >> 8, size & 0xFF])
    return bytes([0xC0 | size >> 16, size >> 8 & 0xFF, size & 0xFF])


def sentence(*words: str | bytes) -> bytes:
    raw = [word.encode() if isinstance(word, str) else word for word in words]
    return b"".join(length(len(word)) + word for word in raw) + b"\x00"


class Talk:
    """One connection, from the router's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.tag = b""
        self.heard: list[list[bytes]] = []

    async def hear(self) -> list[bytes]:
        """The words of the next command but its tag, which is kept."""
        words = []
        while True:
            size = (await self.reader.readexactly(1))[0]
            if size >= 0xC0:
                size = (size & 0x1F) << 16 | int.from_bytes(await self.reader.readexactly(2), "big")
            elif size >= 0x80:
                size = (size & 0x3F) << 8 | (await self.reader.readexactly(1))[0]
            if size == 0:
                break
            words.append(await self.reader.readexactly(size))
        self.tag = next(word for word in words if word.startswith(b".tag="))
        words = [word for word in words if word != self.tag]
        self.heard.append(words)
        return words

    def say(self, *words: str | bytes) -> None:
        """A sentence with the tag of the last command."""
        self.writer.write(sentence(*words, self.tag))

    async def log_in(self) -> None:
        assert await self.hear() == [b"/login", f"=name={USER}".encode(), f"=password={PASSWORD}".encode()]
        self.say("!done")

    def reset(self) -> None:
        """RST rather than FIN."""
        self.writer.get_extra_info("socket").setsockopt(1, 13, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.writer.transport.abort()


Script = Callable[[Talk], Awaitable[None]]


@asynccontextmanager
async def router(script: Script, context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Address, list[Talk]]]:
    """A router at 127.0.0.1 that runs the script for each connection, and the connections it had."""
    talks: list[Talk] = []
    failed: list[BaseException] = []
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        talk = Talk(reader, writer)
        talks.append(talk)
        try:
            await script(talk)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except AssertionError as error:
            failed.append(error)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Address("127.0.0.1", port, USER, PASSWORD, tls=context is not None), talks
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if failed:
        raise failed[0]
