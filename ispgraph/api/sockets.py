"""One WebSocket below ASGI: uvicorn's, which besides takes messages at once, without a task that waits for each.

What the client takes goes straight to the transport. While it takes nothing, what is posted waits in a queue of bounded
length. Whoever lets that run over, or takes nothing at all for ten seconds, has its connection ended.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import Request

SEND_SECONDS = 10.0
OUTBOX = 200
"""Messages that wait for a slow reader; with one more it is let go."""
TOO_SLOW = 4008
_NAME = "ispgraph.socket"

End = Callable[[int, str], None]


class Sender(Protocol):
    """Whose messages wait, and whether they are still to be sent."""

    head: bytes
    """What stands before the body of each message; `}` stands after it."""
    open: bool


class Socket(WebSocketsSansIOProtocol):
    """What uvicorn makes for each WebSocket. After `begin`, messages go by `post` and `tell`, and not by ASGI."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Whether there is room in the transport and nothing waits.
        self._clear = False
        self._end: End | None = None
        self._waiting: deque[tuple[Sender | None, bytes]] | None = None
        self._drained: asyncio.Event | None = None
        self._stalled: asyncio.TimerHandle | None = None

    @staticmethod
    def of(scope: Any) -> "Socket":
        """The socket behind an ASGI scope."""
        return cast("Socket", scope["extensions"][_NAME]["socket"])

    def begin(self, end: End) -> None:
        """Take messages from now on. `end` is called with a close code once this reader turns out to be too slow."""
        self._end = end
        # Nobody asks for the handshake any more, and it is kilobytes.
        del self.request, self.response
        # Nothing but the answer to the handshake has been written.
        self._clear = not self.disconnected and self.writable.is_set()

    def post(self, sender: Sender | None, body: bytes) -> None:
        """Send a message, or have it wait; without a sender the body is all of it."""
        if self._clear:
            self._write(sender, body)
        elif self._end is not None:
            self._wait(sender, body)

    async def tell(self, text: bytes) -> None:
        """Send a message as soon as there is room for it. Raises ConnectionError once the socket has ended."""
        while not self._clear:
            if self._end is None:
                raise ConnectionError("the socket has ended")
            self._drained = self._drained or asyncio.Event()
            await self._drained.wait()
        self._write(None, text)

    def end(self, code: int, reason: str) -> None:
        """Close with this code, behind what the transport holds already, which gets ten seconds."""
        self._stop()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        if self.close_sent or self.transport.is_closing():
            return
        with suppress(InvalidState):
            self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def _write(self, sender: Sender | None, body: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(framed(body if sender is None else b"%b%b}" % (sender.head, body)))

    def _wait(self, sender: Sender | None, body: bytes) -> None:
        self._waiting = self._waiting if self._waiting is not None else deque()
        if len(self._waiting) < OUTBOX:
            self._waiting.append((sender, body))
        else:
            self._give_up("Too slow")

    def _give_up(self, reason: str) -> None:
        if self._end is not None:
            self._end(TOO_SLOW, reason)

    def _stop(self) -> None:
        self._clear, self._end, self._waiting = False, None, None
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        if self._drained is not None:
            self._drained.set()

    # -- what uvicorn and the transport call

    def handle_connect(self, event: Request) -> None:
        """The handshake: the application finds this object in its scope."""
        super().handle_connect(event)
        if self.response.status_code == 101 and self.scope["extensions"] is not None:
            self.scope["extensions"][_NAME] = {"socket": self}

    def pause_writing(self) -> None:
        """The transport holds enough."""
        super().pause_writing()
        self._clear = False
        if self._end is not None and self._stalled is None:
            self._watch_progress()

    def resume_writing(self) -> None:
        """The transport has room again."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        # Not from within the transport's own writing.
        self.loop.call_soon(self._resume)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop()
        super().connection_lost(exc)

    def _watch_progress(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._stalled = self.loop.call_later(SEND_SECONDS, self._look_for_progress, left)

    def _look_for_progress(self, before: int) -> None:
        if self.transport.get_write_buffer_size() < before:
            self._watch_progress()
        else:
            self._give_up("Too slow, or gone")

    def _resume(self) -> None:
        if self._end is None or not self.writable.is_set():
            return
        self._clear = True
        # Each may be the one that fills the transport again.
        while self._waiting and self._clear:
            sender, body = self._waiting.popleft()
            if sender is None or sender.open:
                self._write(sender, body)
        if self._clear:
            self._waiting = None
            if self._drained is not None:
                self._drained.set()
                self._drained = None


def framed(text: bytes) -> bytes:
    """A text message as a frame of RFC 6455: in one piece, and unmasked as servers send."""
    size = len(text)
    if size < 126:
        return b"\x81%c%b" % (size, text)
    if size < 65536:
        return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), text)
    return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), text)
