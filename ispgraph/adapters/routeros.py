"""The API of RouterOS, strictly: what was asked either happened, or did not, or is said to be unknown.

librouteros speaks the protocol; this file stands below its `Api`, because that casts values (a password ``12345`` would
be read as a number, a comment ``yes`` as true) and drops bytes it can not decode. Here words go in and come out as they
are, as UTF-8; a word that is not UTF-8 (old Winbox wrote in the code page of its PC) is read as Latin-1, which loses
nothing. Every command is read to its ``!done``, within a deadline for all of it that also holds against a router that
answers one byte at a time. After any error but a clean refusal the connection is dropped: what would come next on it
could be the answer to an earlier question.

Logins are in the clear inside the connection, as RouterOS has them since 6.43; the challenges of older versions are not
attempted. Nothing is ever logged here.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

CONNECT_SECONDS = 10.0
COMMAND_SECONDS = 30.0


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


class Router:
    """A connection that is logged in. Calls of several tasks take turns.

    Paths are written as in RouterOS' API (``/ppp/secret``). All values are strings as RouterOS writes them; it writes
    ``true`` and ``false``, and takes ``yes`` and ``no`` as well. `last_ms` is how long the last command took, from
    sending it to its ``!done``.

    Every call raises Unreachable, TimedOut, Refused or BadReply. After Refused the connection is good for more.
    """

    last_ms: float | None

    async def print(
        self, path: str, *, where: Mapping[str, str] | None = None, columns: Sequence[str]
    ) -> list[dict[str, str]]:
        """The items of a menu for which all of `where` hold (exact equality), with the properties in `columns` that
        they have (RouterOS leaves out what is not set). Ask for ``.id`` to address an item afterwards."""
        raise NotImplementedError

    async def add(self, path: str, values: Mapping[str, str]) -> str:
        """Add an item and answer its ``.id``."""
        raise NotImplementedError

    async def set(self, path: str, id: str | None, values: Mapping[str, str]) -> None:
        """Change properties of an item, or, without an id, of a menu that has no items (``/radius/incoming``)."""
        raise NotImplementedError

    async def unset(self, path: str, id: str, name: str) -> None:
        """Take a property of an item away."""
        raise NotImplementedError

    async def remove(self, path: str, id: str) -> bool:
        """Remove an item. False if there was none: that is as good."""
        raise NotImplementedError

    async def run(self, command: str, values: Mapping[str, str]) -> list[dict[str, str]]:
        """Any command that ends by itself (``/radius/incoming/monitor`` with ``once`` empty): the rows it answers, and
        last what came with its ``!done``, if anything did."""
        raise NotImplementedError


@asynccontextmanager
async def connect(
    address: Address, *, deadline: float = CONNECT_SECONDS, command_deadline: float = COMMAND_SECONDS
) -> AsyncIterator[Router]:
    """Connect and log in within `deadline` seconds; each command then has `command_deadline` seconds.

    Raises Unreachable, TimedOut, BadReply, and Refused: BAD_LOGIN, or UNTRUSTED for another certificate than the one we
    trust, before any password is sent.
    """
    raise NotImplementedError
    yield
