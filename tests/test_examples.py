"""The tours of the product run against the product."""

import os
import shutil
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


def taken(product: Product, *tour: str) -> None:
    """Take a tour that has to come out as expected."""
    command = [sys.executable, *tour, "--up", str(product.directory / "up.json")]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired as error:
        pytest.fail(f"{tour} came no further than this:\n{(error.stdout or b'').decode()}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything came out as expected" in done.stdout
    checked = product.run("check-invariants")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_tours_come_out_as_expected(product: Product) -> None:
    # The first one twice: it has to cope with what it left behind.
    for tour in ("quickstart.py", "suspend_and_watch.py", "watch_usage.py", "onboard.py", "quickstart.py"):
        taken(product, f"examples/{tour}")


@pytest.mark.chromium
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_customers_pay_on_their_phones(product: Product, tmp_path: Path) -> None:
    pictures = Path(os.environ.get("ISPGRAPH_SCREENSHOTS", tmp_path))
    for _ in range(2):
        taken(product, "examples/get_paid.py", "--screenshots", str(pictures))
    assert {path.stem for path in pictures.glob("*.png")} >= {
        f"{gateway}-{page}" for gateway in ("Stripe", "SSLCommerz", "bKash") for page in ("1-owed", "3-receipt")
    }
