"""The one clock. Everything that asks for the time asks here, so that tests and drills can move it.

``ISPGRAPH_CLOCK`` is empty (the real time), an offset in seconds (``+86400``, ``-600``), an instant with offset
(``2026-01-31T10:00:00Z``: the clock starts there when the program starts, and runs), or ``file:PATH``, a file that
holds one of these and is read again whenever it changes: one file moves the clock of every running program, and an
instant in it is that of the file's last change.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path


class _Clock:
    def __init__(self, text: str) -> None:
        self._path = Path(text[5:]) if text.startswith("file:") else None
        self._stamp = -1
        self._offset = timedelta(0) if self._path else _offset(text, datetime.now(UTC))

    def offset(self) -> timedelta:
        if self._path is not None:
            try:
                stamp = self._path.stat().st_mtime_ns
                if stamp != self._stamp:
                    changed = datetime.fromtimestamp(stamp / 1e9, UTC)
                    self._offset = _offset(self._path.read_text().strip(), changed)
                    self._stamp = stamp
            except FileNotFoundError:
                self._offset = timedelta(0)
        return self._offset


def _offset(text: str, base: datetime) -> timedelta:
    if not text:
        return timedelta(0)
    if text[0] in "+-":
        return timedelta(seconds=float(text))
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("ISPGRAPH_CLOCK: an instant needs an offset, such as 2026-01-31T10:00:00Z")
    return instant - base


_clock = _Clock(os.environ.get("ISPGRAPH_CLOCK", ""))


def now() -> datetime:
    """The current instant, aware, in UTC."""
    return datetime.now(UTC) + _clock.offset()


def set_clock(text: str) -> None:
    """Replace the clock of this process, in the syntax of ``ISPGRAPH_CLOCK``."""
    global _clock
    _clock = _Clock(text)
