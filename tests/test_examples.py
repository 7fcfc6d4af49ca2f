"""The tours of the product run against the product."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.product import Product
from tests.servers import ROOT

pytestmark = pytest.mark.long


@pytest.fixture
def product(data: Path) -> Iterator[Product]:
    running = Product(data).start()
    yield running
    assert running.stop() == 0


def test_the_tours_come_out_as_expected(product: Product) -> None:
    # The first one twice: it has to cope with what it left behind.
    for tour in ("quickstart.py", "suspend_and_watch.py", "watch_usage.py", "quickstart.py"):
        command = [sys.executable, f"examples/{tour}", "--up", str(product.directory / "up.json")]
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
        except subprocess.TimeoutExpired as error:
            pytest.fail(f"{tour} came no further than this:\n{(error.stdout or b'').decode()}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "everything came out as expected" in done.stdout
    checked = product.run("check-invariants")
    assert checked.returncode == 0, checked.stdout + checked.stderr
