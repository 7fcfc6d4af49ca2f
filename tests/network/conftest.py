"""A provider with a network: the API, a worker's runners, a RADIUS server, and simulated routers with subscribers."""

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import asyncpg
import pytest
from pyrad.packet import AccessRequest, AccountingRequest

from ispgraph.actors import endings
from ispgraph.adapters import radius_client, routeros
from ispgraph.db import Database
from ispgraph.domain import jobs
from ispgraph.domain.network import lanes
from ispgraph.lab.network import Lab
from ispgraph.radius.responder import Decisions, Responder
from ispgraph.settings import Settings
from ispgraph.up.ports import free_port
from tests.api import Api
from tests.factories import House
from tests.network.world import World
from tests.radius.running import freeradius


@asynccontextmanager
async def responding(settings: Settings) -> AsyncIterator[tuple[int, int]]:
    """The embedded responder in this process: the ports for authentication and accounting."""
    loop = asyncio.get_running_loop()
    async with asyncpg.create_pool(
        settings.radius_database_url,
        min_size=0,
        max_size=8,
        server_settings={"ispgraph.network_key": settings.network_key.hex()},
    ) as pool:
        decisions = Decisions(pool)
        transports = [
            (await loop.create_datagram_endpoint(partial(Responder, decisions, code), ("127.0.0.1", 0)))[0]
            for code in (AccessRequest, AccountingRequest)
        ]
        auth, acct = (transport.get_extra_info("sockname")[1] for transport in transports)
        yield auth, acct
        for transport in transports:
            transport.close()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for silence as long as in earnest: the order of events is what is tested."""
    for ask in (radius_client.disconnect, radius_client.change):
        monkeypatch.setitem(ask.__kwdefaults__, "interval", 0.08)
    monkeypatch.setitem(routeros.connect.__wrapped__.__kwdefaults__, "deadline", 1.0)  # type: ignore[attr-defined]
    for module, name, seconds in (
        (endings, "STOP_SECONDS", 0.6),
        (endings, "_LATE_SECONDS", 0.5),
        (endings, "_LOOK_SECONDS", 0.05),
        (lanes, "_FIRST", 0.05),
        (lanes, "_SHORTEST", 0.05),
        (lanes, "_LONGEST", 0.1),
        (jobs, "_SHORTEST", 0.1),
    ):
        monkeypatch.setattr(module, name, seconds)


@asynccontextmanager
async def working(
    house: House, api: Api, database: Database, settings: Settings, ports: tuple[int, int]
) -> AsyncIterator[World]:
    """Everything in one event loop but what listens on `ports`; jobs are carried out as they become due."""
    async with Lab() as lab:
        made = World(house, api, database, settings, lab, *ports)
        task = asyncio.create_task(made.work())
        yield made
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await made.lanes.finish(0)


@pytest.fixture
async def world(house: House, api: Api, database: Database, settings: Settings) -> AsyncIterator[World]:
    """A provider whose RADIUS server is the embedded one."""
    async with responding(settings) as ports, working(house, api, database, settings, ports) as made:
        yield made


@pytest.fixture
async def freeradius_world(house: House, api: Api, database: Database, settings: Settings) -> AsyncIterator[World]:
    """A provider whose RADIUS server is FreeRADIUS."""
    ports = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    listening = dataclasses.replace(settings, radius_auth_port=ports[0], radius_acct_port=ports[1])
    with freeradius(listening):
        async with working(house, api, database, settings, ports) as made:
            yield made
