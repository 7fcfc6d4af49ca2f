"""One connection to a message centre. All of it waits: it belongs in a thread, one call at a time, but for `end`."""

import contextlib
import logging
import select
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smpplib import consts, exceptions, smpp
from smpplib.client import Client

_LARGEST = 1 << 16
_VERSION = 0x34
_RECEIPT, _OF_KIND = 0x04, 0x3C

# It would write passwords and texts to the log, in hexadecimal.
_LOGGER = "ispgraph.smpplib"
logging.getLogger(_LOGGER).setLevel(logging.CRITICAL)
logging.getLogger("smpplib").setLevel(logging.CRITICAL)


class Silent(Exception):
    """There was no answer in time, though the other side may have said other things."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a message: SMPP's status, and the number that the message was given."""

    status: int
    message_id: str


class Line(Client):  # type: ignore[misc]  # smpplib has no types
    """A connection that is open. `sent` counts what has gone out; `receipts` came in and were acknowledged."""

    def __init__(self, made: socket.socket) -> None:
        super().__init__("", 0, logger_name=_LOGGER, allow_unknown_opt_params=True)
        self._socket: socket.socket | ssl.SSLSocket = made
        self.state = consts.SMPP_CLIENT_STATE_OPEN
        self.sent = 0
        self.receipts: list[Mapping[str, Any]] = []
        self._heard_at = time.monotonic()

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """TLS from here on."""
        self._socket = context.wrap_socket(self._socket, server_hostname=host)

    def bind(self, seconds: float, **login: str) -> int:
        """Log in as a transceiver; SMPP's status."""
        asked = smpp.make_pdu("bind_transceiver", client=self, interface_version=_VERSION, **login)
        self.send_pdu(asked)
        status: int = self._answer(asked.sequence, seconds).status
        return status

    def submit(self, asked: Mapping[str, Any], seconds: float) -> Answer:
        """Hand a message over."""
        given = self.send_message(**asked)
        found = self._answer(given.sequence, seconds)
        return Answer(found.status, _text(getattr(found, "message_id", None)))

    def listen(self, seconds: float, idle: float) -> None:
        """Take what has come in; after so long a silence ask whether the other side is alive."""
        while self._has_more():
            self._heed(self._read(seconds))
        if time.monotonic() - self._heard_at > idle:
            asked = smpp.make_pdu("enquire_link", client=self)
            self.send_pdu(asked)
            self._answer(asked.sequence, seconds)

    def leave(self, seconds: float) -> None:
        """Log out."""
        asked = smpp.make_pdu("unbind", client=self)
        self.send_pdu(asked)
        self._answer(asked.sequence, seconds)

    def end(self) -> None:
        """End the connection at once; whoever waits on it in another thread stops waiting."""
        made, self.state = self._socket, consts.SMPP_CLIENT_STATE_CLOSED
        with contextlib.suppress(OSError):
            made.shutdown(socket.SHUT_RDWR)
        made.close()

    def send_pdu(self, pdu: Any) -> bool:
        """As smpplib has it, counted."""
        self.sent += 1
        done: bool = super().send_pdu(pdu)
        return done

    def __del__(self) -> None:
        """Nothing to say: whoever made it ends it."""

    def _recv_exact(self, exact_size: int) -> bytes:
        if not 0 <= exact_size <= _LARGEST:
            raise ValueError("longer than any message should be")
        found: bytes = super()._recv_exact(exact_size)
        return found

    def _has_more(self) -> bool:
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        return bool(select.select([self._socket], [], [], 0)[0])

    def _answer(self, sequence: int, seconds: float) -> Any:
        """The answer to a question, and on the way whatever comes before it."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            found = self._read(left)
            if found.sequence == sequence and (found.is_response() or found.command == "generic_nack"):
                return found
            self._heed(found)
        raise Silent

    def _read(self, seconds: float) -> Any:
        self._socket.settimeout(seconds)
        found = self.read_pdu()
        if found is None:
            raise ValueError("no command of SMPP")
        self._heard_at = time.monotonic()
        return found

    def _heed(self, pdu: Any) -> None:
        """What the other side says of itself."""
        if pdu.command == "deliver_sm":
            if (pdu.esm_class or 0) & _OF_KIND == _RECEIPT:
                text, named = _text(pdu.short_message), _text(getattr(pdu, "receipted_message_id", None))
                self.receipts.append({"text": text, "id": named, "state": getattr(pdu, "message_state", None)})
            self._reply("deliver_sm_resp", pdu)
        elif pdu.command == "enquire_link":
            self._reply("enquire_link_resp", pdu)
        elif pdu.command == "unbind":
            self._reply("unbind_resp", pdu)
            raise exceptions.ConnectionError

    def _reply(self, command: str, pdu: Any) -> None:
        reply = smpp.make_pdu(command, client=self)
        reply.sequence = pdu.sequence
        super().send_pdu(reply)


def _text(value: bytes | str | None) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value or ""
