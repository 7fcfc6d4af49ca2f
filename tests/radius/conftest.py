"""Both RADIUS servers, each in a process of its own, on a database that stays for the module."""

import asyncio
import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url

from ispgraph.settings import Settings
from ispgraph.up.ports import free_port
from tests import factories
from tests.radius import running, world
from tests.radius.client import Answer, Login, exchange
from tests.servers import TEMPLATE

needs_freeradius = [
    pytest.mark.freeradius,
    pytest.mark.skipif(not running.FREERADIUS.exists(), reason="FreeRADIUS is not installed"),
]


@dataclass(frozen=True)
class Network:
    """The database of the module and what is in it."""

    name: str
    world: world.World

    def settings(self, **changes: object) -> Settings:
        """Settings with free ports; ``changes`` override."""
        fields: dict[str, object] = {
            "database_url": dsn("ispgraph_app", self.name),
            "radius_database_url": dsn("ispgraph_radius", self.name),
            "redis_url": "redis://127.0.0.1:1/0",
            "token_key": factories.TOKEN_KEY,
            "network_key": factories.NETWORK_KEY,
            "radius_auth_port": free_port(socket.SOCK_DGRAM),
            "radius_acct_port": free_port(socket.SOCK_DGRAM),
            "radius_interim_port": free_port(socket.SOCK_DGRAM),
        }
        return Settings(**(fields | changes))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Server:
    """A running server and the network it serves."""

    kind: str
    network: Network
    running: running.Running

    def log_in(self, login: Login, *, wait: float = 5.0) -> Answer | None:
        """One login, with the secret of its router unless the login has another."""
        secret = login.secret or world.SECRETS[login.nas].encode()
        return exchange(self.running.address, login, secret, wait=wait)


def dsn(role: str, database: str) -> str:
    """The DSN of a role."""
    password = os.environ[f"ISPGRAPH_TEST_{role.upper()}"]
    url = make_url(os.environ["ISPGRAPH_TEST_POSTGRES"]).set(username=role, password=password, database=database)
    return url.render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """A database with everything that the cases need."""
    name = f"test_radius_{secrets.token_hex(6)}"
    asyncio.run(_admin(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER ispgraph_owner"))
    yield Network(name, asyncio.run(world.build(dsn("ispgraph_owner", name), dsn("ispgraph_app", name))))
    asyncio.run(_admin(f"DROP DATABASE {name} WITH (FORCE)"))


def fetch(network: Network, role: str, query: str, *arguments: Any, tenant: object = "", **settings: str) -> list[Any]:
    """Run one query as a role, with settings of the connection and on behalf of a tenant."""

    async def run() -> list[Any]:
        connection = await asyncpg.connect(dsn(role, network.name), server_settings=settings)
        try:
            async with connection.transaction():
                await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(tenant))
                return await connection.fetch(query, *arguments)
        finally:
            await connection.close()

    return asyncio.run(run())


def add(network: Network, tenant: object) -> None:
    """Add what accounting has put away of a tenant, as the scheduler does each second."""
    fetch(network, "ispgraph_app", "SELECT radius_accounting_add(1000)", tenant=tenant)


KINDS = [
    pytest.param("responder"),
    pytest.param("freeradius", marks=needs_freeradius),
]
# The third is the second with Interims stored by a program beside it, which logins do not meet.
ACCOUNTING_KINDS = [*KINDS, pytest.param("together", marks=needs_freeradius)]


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, network: Network) -> Iterator[Server]:
    """Each of the two servers in turn."""
    with getattr(running, request.param)(network.settings()) as started:
        yield Server(request.param, network, started)


def close_database(name: str) -> None:
    """Nobody gets into the database any more, and who is in is thrown out."""
    asyncio.run(
        _admin(
            f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        )
    )


def open_database(name: str) -> None:
    """The database is there again."""
    asyncio.run(_admin(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))


async def _admin(*statements: str) -> None:
    connection = await asyncpg.connect(os.environ["ISPGRAPH_TEST_POSTGRES"])
    for statement in statements:
        await connection.execute(statement)
    await connection.close()
