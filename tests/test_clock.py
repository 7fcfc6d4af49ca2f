"""The clock that everything asks, and how it is moved."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ispgraph import clock

CLOSE = timedelta(seconds=5)


def test_offsets_and_instants(moved_clock: None) -> None:
    clock.set_clock("+86400")
    assert abs(clock.now() - datetime.now(UTC) - timedelta(days=1)) < CLOSE
    clock.set_clock("-600")
    assert abs(datetime.now(UTC) - clock.now() - timedelta(minutes=10)) < CLOSE
    clock.set_clock("2031-02-28T23:59:00+06:00")
    assert abs(clock.now() - datetime(2031, 2, 28, 17, 59, tzinfo=UTC)) < CLOSE
    clock.set_clock("")
    assert abs(clock.now() - datetime.now(UTC)) < CLOSE


def test_an_instant_without_offset_is_refused(moved_clock: None) -> None:
    with pytest.raises(ValueError, match="needs an offset"):
        clock.set_clock("2031-02-28T23:59:00")


def test_a_file_moves_the_clock_of_a_running_program(tmp_path: Path, moved_clock: None) -> None:
    path = tmp_path / "clock"
    clock.set_clock(f"file:{path}")
    assert abs(clock.now() - datetime.now(UTC)) < CLOSE
    path.write_text("+3600\n")
    assert abs(clock.now() - datetime.now(UTC) - timedelta(hours=1)) < CLOSE
    path.write_text("2031-01-01T00:00:00Z")
    an_hour_ago = datetime.now(UTC).timestamp() - 3600
    os.utime(path, (an_hour_ago, an_hour_ago))
    assert abs(clock.now() - datetime(2031, 1, 1, 1, tzinfo=UTC)) < CLOSE
