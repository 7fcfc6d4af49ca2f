"""Ten thousand sessions on ten routers in one process, against a RADIUS server in another."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ispgraph.up.ports import free_port
from tests.lab.server import SECRET

ROUTERS, SESSIONS = 10, 1000
_SERVER = """
import asyncio
from ispgraph.lab import packets

SECRET = %r

class Accept(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        request = packets.decode(data)
        if request.code == packets.ACCOUNTING_REQUEST:
            answer = packets.encode(packets.ACCOUNTING_RESPONSE, request.identifier, request.authenticator, [])
        else:
            body = [
                (packets.MESSAGE_AUTHENTICATOR, bytes(16)),
                (packets.RATE_LIMIT, b"2M/10M"),
                (packets.CLASS, data[4:20] + bytes(4)),
                (packets.INTERIM_INTERVAL, packets.number(300)),
                (packets.SESSION_TIMEOUT, packets.number(86400)),
            ]
            answer = packets.encode(packets.ACCESS_ACCEPT, request.identifier, request.authenticator, body)
            answer = packets.seal(answer, SECRET, request.authenticator)
        self.transport.sendto(packets.keyed(answer, SECRET, request.authenticator), addr)

async def main():
    loop = asyncio.get_running_loop()
    for _ in range(2):
        transport, _ = await loop.create_datagram_endpoint(Accept, local_addr=("127.0.0.1", 0))
        print(transport.get_extra_info("sockname")[1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def radius() -> Iterator[tuple[int, int]]:
    """Ports of a server that accepts everybody."""
    with subprocess.Popen([sys.executable, "-c", _SERVER % SECRET.encode()], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline()), int(process.stdout.readline())
        process.kill()


@pytest.fixture
def lab() -> Iterator[tuple[int, str]]:
    """The program: its process id and its URL."""
    port = free_port()
    environment = {**os.environ, "ISPGRAPH_LAB_PORT": str(port)}
    command = [sys.executable, "-m", "ispgraph", "lab"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid, f"http://127.0.0.1:{port}"
        # Ten thousand farewells are not what is measured here.
        process.kill()


def megabytes(pid: int) -> float:
    """Resident memory of a process."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_ten_thousand_sessions(radius: tuple[int, int], lab: tuple[int, str]) -> None:
    pid, url = lab
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        empty = megabytes(pid)
        for number in range(ROUTERS):
            server = {"server": "127.0.0.1", "auth_port": radius[0], "acct_port": radius[1], "secret": SECRET}
            pools = [{"name": "main", "ranges": f"10.{number}.0.2-10.{number}.15.254"}]
            order = {"name": f"r{number}", "address": f"127.0.1.{number + 1}", "pools": pools, "radius": server}
            assert (await http.post("/routers", json=order)).status_code == 200
        begun = time.monotonic()
        for number in range(ROUTERS):
            devices = [
                {"name": f"u{number}-{one}", "password": "pw", "router": f"r{number}", "load_down_bps": 5_000_000}
                for one in range(SESSIONS)
            ]
            answer = await http.post("/subscribers", json=[{**device, "online": True} for device in devices])
            assert answer.status_code == 200
        async with asyncio.timeout(60):
            while (await http.get("/")).json()["sessions"] < ROUTERS * SESSIONS:
                await asyncio.sleep(0.2)
        seconds, full = time.monotonic() - begun, megabytes(pid)
        assert full < 1024, (
            f"{ROUTERS * SESSIONS} sessions in {seconds:.1f} s; {empty:.0f} MB empty, {full:.0f} MB full"
        )
        # Every session reports at once, and the lab still answers.
        await http.post("/clock", json={"advance": 300})
        slowest = 0.0
        async with asyncio.timeout(60):
            while True:
                asked = time.monotonic()
                routers = (await http.get("/routers")).json()
                slowest = max(slowest, time.monotonic() - asked)
                if sum(router["accounting"]["confirmed"] for router in routers) >= 2 * ROUTERS * SESSIONS:
                    break
                await asyncio.sleep(0.1)
        assert slowest < 20
