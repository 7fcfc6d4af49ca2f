"""Programs of Node.js that judge the product: the packages under tests/clients."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CLIENTS = Path(__file__).parent / "clients"

needs_clients = pytest.mark.skipif(
    shutil.which("node") is None or not (CLIENTS / "node_modules").is_dir(),
    reason="needs Node.js and npm ci in tests/clients",
)


def told(script: str, *arguments: str | Path, seconds: float = 300, cwd: Path = CLIENTS) -> Any:
    """Run a script of tests/clients; the JSON that it prints."""
    done = subprocess.run(
        ["node", CLIENTS / script, *arguments], cwd=cwd, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)
