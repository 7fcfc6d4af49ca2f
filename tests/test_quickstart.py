"""The tour of the product runs against the product."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.product import Product
from tests.servers import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def product(data: Path) -> Iterator[Product]:
    running = Product(data).start()
    yield running
    assert running.stop() == 0


def test_the_tour_comes_out_as_expected(product: Product) -> None:
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "examples/quickstart.py", "--up", str(product.directory / "up.json")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "everything came out as expected" in done.stdout
    checked = product.run("check-invariants")
    assert checked.returncode == 0, checked.stdout + checked.stderr
