"""The public referees: the 61 audits of graphql-http, and the graphql-ws and graphql-sse clients."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from tests.live_api import LiveApi

AUDITS = Path(__file__).parent / "audits"
COUNT = [{"data": {"count": number}} for number in range(3)]

pytestmark = [
    pytest.mark.npm,
    pytest.mark.skipif(
        shutil.which("node") is None or not (AUDITS / "node_modules").is_dir(),
        reason="needs Node.js and npm ci in tests/audits",
    ),
]


async def test_public_audits_and_clients() -> None:
    with LiveApi() as api:
        process = await asyncio.create_subprocess_exec(
            "node", "run.mjs", api.url, api.websocket, "good", cwd=AUDITS, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0
    found = json.loads(output)
    assert [audit for audit in found["audits"] if audit["status"] != "ok"] == []
    assert len(found["audits"]) == 61
    assert found["socket"] == {"results": COUNT}
    assert found["socketQuery"] == {"results": [{"data": {"hello": "world"}}]}
    assert found["socketRefusal"]["results"] == []
    assert "BAD_REQUEST" in found["socketRefusal"]["problem"]
    assert found["events"] == {"results": COUNT}
