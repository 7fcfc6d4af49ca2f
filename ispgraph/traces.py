"""Traces: which request led to which statements, jobs and commands, and how long each took. See `spans` for how.

Nothing is loaded and nothing done unless settings name a receiver. No span holds a variable, a parameter or a secret:
what is told is said here and by those who call `span`, and never taken from what somebody sent.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, Protocol

from ispgraph.settings import Settings

Kind = Literal["INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"]
Told = Mapping[str, str | int | float | bool]
ROOT = ""
"""As a parent: whatever is under way, this begins a trace of its own."""


class Span(Protocol):
    """Something that takes its time."""

    def rename(self, name: str) -> None:
        """Give it a better name than was known at first."""

    def tell(self, told: Told) -> None:
        """Say more of it."""

    def failed(self, kind: str) -> None:
        """It went wrong; `kind` is a class of error or a code, never a text."""

    def end(self) -> None:
        """It is over; for those of `begin`."""


class Tracer(Protocol):
    """What `spans` makes of settings."""

    def span(
        self, name: str, kind: Kind, parent: str | None, links: Sequence[str], told: Told
    ) -> AbstractContextManager[Span]:
        """See `span`."""

    def begin(self, name: str, told: Told) -> Span | None:
        """See `begin`."""

    def carried(self) -> str | None:
        """See `carried`."""

    def ids(self) -> tuple[str, str] | None:
        """See `ids`."""

    def current(self) -> Span | None:
        """See `tell`."""

    def close(self, seconds: float) -> None:
        """Send what waits, for so long at most."""


class _Nothing:
    def rename(self, name: str) -> None:
        pass

    def tell(self, told: Told) -> None:
        pass

    def failed(self, kind: str) -> None:
        pass

    def end(self) -> None:
        pass


NOTHING: Span = _Nothing()
_NO_SPAN: AbstractContextManager[Span] = nullcontext(NOTHING)
# What the receiver has not taken by then is lost: a program that ends does not wait for it.
_FAREWELL_SECONDS = 2.0

_tracer: Tracer | None = None


@contextmanager
def running(program: str, settings: Settings) -> Iterator[None]:
    """Trace this program as long as it runs, where settings say so."""
    global _tracer
    if not settings.traces:
        yield
        return
    _tracer = importlib.import_module("ispgraph.spans").Spans(program)
    try:
        yield
    finally:
        made, _tracer = _tracer, None
        if made is not None:
            made.close(_FAREWELL_SECONDS)


def on() -> bool:
    """Whether this program traces."""
    return _tracer is not None


def span(
    name: str,
    kind: Kind = "INTERNAL",
    *,
    parent: str | None = None,
    links: Sequence[str] = (),
    told: Told | None = None,
) -> AbstractContextManager[Span]:
    """A span around what is done inside. `parent` is a `traceparent` that was carried; None: whatever is under way.
    `links` are further ones that have to do with it. An error that passes is told by its class alone."""
    return _NO_SPAN if _tracer is None else _tracer.span(name, kind, parent, links, told or {})


def within(name: str, kind: Kind = "INTERNAL", told: Told | None = None) -> AbstractContextManager[Span]:
    """The same, but only as a part of something that is traced: it begins no trace of its own."""
    return _NO_SPAN if _tracer is None or _tracer.ids() is None else _tracer.span(name, kind, None, (), told or {})


def begin(name: str, told: Told) -> Span | None:
    """A part of what is traced, to be ended by whoever begins it; None when nothing is."""
    return None if _tracer is None else _tracer.begin(name, told)


def tell(told: Told, name: str | None = None) -> None:
    """Say more of what is under way, or name it."""
    if _tracer is not None and (current := _tracer.current()) is not None:
        current.tell(told)
        if name is not None:
            current.rename(name)


def carried() -> str | None:
    """What is under way, for somebody elsewhere to go on with (`traceparent` of W3C Trace Context)."""
    return None if _tracer is None else _tracer.carried()


def ids() -> tuple[str, str] | None:
    """The trace and the span that are under way."""
    return None if _tracer is None else _tracer.ids()


def given(values: Sequence[str]) -> str:
    """The parent that the headers `traceparent` of a request name; ROOT for none, and, as the specification has it, for
    several."""
    return values[0] if len(values) == 1 else ROOT


def outcome(done: Any) -> Told:
    """How a mutation ended, told by its payload: whether it has errors."""
    return {"ispgraph.outcome": "REFUSED" if getattr(done, "errors", None) else "DONE"}
