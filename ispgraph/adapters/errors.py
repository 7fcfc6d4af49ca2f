"""How the outside world can fail us: one tree, shared by every adapter.

The text of an error is fit for a person to read: one line, of bounded length, without passwords or shared secrets.
"""

import enum
import os
import re
import socket


class AdapterError(Exception):
    """The other side did not do what was asked.

    `outcome_unknown` is whether it may have done it all the same: then the caller looks before it asks again.
    """

    def __init__(self, text: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.outcome_unknown = outcome_unknown


class Unreachable(AdapterError):
    """Nothing was asked, for no conversation came about: refused, no route, no such name, or closed beforehand."""


class TimedOut(AdapterError):
    """The deadline passed. After a command its outcome is unknown; while connecting nothing had been asked."""


class BadReply(AdapterError):
    """The answer made no sense, or the connection was lost in the middle of it."""


class Forged(AdapterError):
    """What came in is not shown to be from whom it says it is."""


class Refusal(enum.Enum):
    """Why the other side said no."""

    BAD_LOGIN = "BAD_LOGIN"
    UNTRUSTED = "UNTRUSTED"
    NOT_PERMITTED = "NOT_PERMITTED"
    UNKNOWN_COMMAND = "UNKNOWN_COMMAND"
    UNKNOWN_PARAMETER = "UNKNOWN_PARAMETER"
    INVALID_VALUE = "INVALID_VALUE"
    NO_SUCH_ITEM = "NO_SUCH_ITEM"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    OTHER = "OTHER"


class Refused(AdapterError):
    """The other side said no, and will say so again until something is changed there or here.

    `message` is what it said, on one line; `category` is RouterOS' number from 0 to 7, where it gave one. UNTRUSTED is
    our own no, to a certificate. A router that is still starting up may answer BAD_LOGIN to a good password.
    """

    def __init__(self, kind: Refusal, message: str, category: int | None = None) -> None:
        super().__init__(f"{_KINDS[kind]}: {message}" if message else _KINDS[kind])
        self.kind = kind
        self.message = message
        self.category = category


_KINDS = {
    Refusal.BAD_LOGIN: "The login was refused",
    Refusal.UNTRUSTED: "The certificate is not the one we trust",
    Refusal.NOT_PERMITTED: "Our login may not do this",
    Refusal.UNKNOWN_COMMAND: "The command is unknown there",
    Refusal.UNKNOWN_PARAMETER: "A parameter is unknown there",
    Refusal.INVALID_VALUE: "A value was refused",
    Refusal.NO_SUCH_ITEM: "The item does not exist there",
    Refusal.ALREADY_EXISTS: "The item already exists there",
    Refusal.OTHER: "The request was refused",
}

_LONGEST = 300
_NOT_TEXT = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


def one_line(text: str, longest: int = _LONGEST) -> str:
    """What the other side said, made fit to show and to store: no control characters, at most 300 characters."""
    clean = _NOT_TEXT.sub(" ", text).strip()
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def cause(error: OSError) -> str:
    """Why the system could not do it, in its own words."""
    if isinstance(error, socket.gaierror):
        return error.strerror or "no such name"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if error.errno:
        return os.strerror(error.errno)
    return "the connection was closed" if isinstance(error, ConnectionError) else one_line(str(error))
