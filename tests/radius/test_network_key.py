"""The network key is changed under running servers: at no stage is anybody turned away."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import asyncpg

from ispgraph.domain import secrets
from tests import factories
from tests.radius import running, world
from tests.radius.client import ACCEPT, Login
from tests.radius.conftest import Network, Server, dsn, fetch

OLD, NEW = factories.NETWORK_KEY, bytes(range(50, 82))
LOGINS = [Login("alice", world.PASSWORD, method) for method in ("pap", "chap", "mschap2")] + [
    Login("for-ever", world.PASSWORD),
    Login("odd-script", world.ODD_PASSWORDS["odd-script"]),
]
# Small batches, so that a kill finds some rows sealed anew and others not.
_COMMAND = """
from ispgraph.domain import network_keys
from ispgraph.rotate_network_key import main
from ispgraph.settings import Settings
network_keys.BATCH = 5
raise SystemExit(main(Settings.from_env(), check=False))
"""


@contextmanager
def servers(network: Network, key: bytes) -> Iterator[list[Server]]:
    """The responder with these keys, and FreeRADIUS where it is installed."""
    kinds = ["responder", *(["freeradius"] if running.FREERADIUS.exists() else [])]
    with ExitStack() as stack:
        yield [
            Server(kind, network, stack.enter_context(getattr(running, kind)(network.settings(network_key=key))))
            for kind in kinds
        ]


def all_get_in(there: list[Server]) -> None:
    for server in there:
        for login in LOGINS:
            answer = server.log_in(login)
            assert answer is not None, (server.kind, login)
            assert answer.code == ACCEPT, (server.kind, login)


def rotate(network: Network) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _COMMAND],
        cwd=running.ROOT,
        env=running.environment(network.settings(network_key=NEW + OLD)),
        stdout=subprocess.PIPE,
        text=True,
    )


def sealed(network: Network) -> dict[str, bytes | None]:
    """With which key the password of each service of the first tenant is sealed, by their order."""
    query = "SELECT id, tenant_id, username, password FROM services WHERE password IS NOT NULL ORDER BY id"
    return {
        row["username"]: secrets.sealed_with(
            NEW + OLD, row["password"], secrets.service_password(row["tenant_id"], row["id"])
        )
        for row in fetch(network, "ispgraph_app", query, tenant=network.world.north)
    }


@contextmanager
def held(network: Network, username: str) -> Iterator[None]:
    """Somebody changes a service just now, and does not come to an end."""
    loop = asyncio.new_event_loop()

    async def begin() -> Any:
        connection = await asyncpg.connect(dsn("ispgraph_app", network.name))
        await connection.execute("BEGIN")
        await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(network.world.north))
        await connection.execute("SELECT 1 FROM services WHERE username = $1 FOR UPDATE", username)
        return connection

    connection = loop.run_until_complete(begin())
    try:
        yield
    finally:
        loop.run_until_complete(connection.close())
        loop.close()


def test_a_killed_change_of_the_key_lets_everybody_in_at_every_stage(network: Network) -> None:
    order = list(sealed(network))
    with servers(network, OLD) as there:
        all_get_in(there)
    with servers(network, NEW + OLD) as there:
        all_get_in(there)
        with held(network, order[-1]):
            killed = rotate(network)
            until = time.monotonic() + 30
            while NEW not in sealed(network).values():
                assert time.monotonic() < until, "nothing is sealed anew"
                assert killed.poll() is None
                time.sleep(0.05)
            killed.kill()
            killed.communicate()
        assert set(sealed(network).values()) == {NEW, OLD}
        all_get_in(there)
        again = rotate(network)
        said = again.communicate(timeout=60)[0]
        assert again.returncode == 0, said
        assert set(sealed(network).values()) == {NEW}
        all_get_in(there)
    with servers(network, NEW) as there:
        all_get_in(there)
    with servers(network, OLD) as there:
        assert [server.log_in(LOGINS[0], wait=0.7) for server in there] == [None] * len(there)
