"""The scale test of `bench.scale`, for a minute: what it looks for is its own, and said by its exit status."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.servers import installed
from tests.servers import ROOT

pytestmark = [
    pytest.mark.long,
    pytest.mark.pgbouncer,
    pytest.mark.skipif(
        None in (installed("pgbouncer"), installed("haproxy")), reason="pgbouncer or haproxy is not installed"
    ),
]


def test_nothing_is_lost_while_one_of_each_kind_is_killed_again_and_again(data: Path) -> None:
    # How long an answer may take is the machine's business here; the figures are those of a run by hand.
    most = ["--minutes", "1", "--customers", "60", "--routers", "2", "--clerks", "4", "--most", "60"]
    command = [sys.executable, "-m", "bench.scale", *most, "--dir", str(data)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert "WRONG" not in done.stdout
    assert "check-invariants: clean" in done.stdout
