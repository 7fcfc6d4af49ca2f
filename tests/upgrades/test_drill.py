"""From the former release to this one and back, under load: no request fails, nothing acknowledged is lost.

The programs of the former release run behind a balancer while clerks make customers and have lists written. `migrate`
of this release is run, and the programs are replaced one after another; then they are replaced by the former ones
again, which work on the migrated database.
"""

import asyncio
import contextlib
import json
import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import make_url
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from ispgraph.settings import Settings
from tests.servers import ROOT
from tests.upgrades import releases
from tests.upgrades.balancer import Balancer
from tests.upgrades.releases import Release, Running

pytestmark = pytest.mark.long

CLERKS = 3
DRAIN_SECONDS = "3"
SIGN_IN = "mutation ($input: SignInInput!) { signIn(input: $input) { token errors { code message } } }"
CREATE = """mutation ($input: CustomerCreateInput!) { customerCreate(input: $input) {
  customer { id } errors { code message field } } }"""
PAY = """mutation ($input: AdvancePaymentInput!) { customerRecordAdvancePayment(input: $input) {
  payment { id } errors { code message field } } }"""
EXPORT = """mutation ($input: CustomersExportInput!) { customersExport(input: $input) {
  job { id } errors { code message field } } }"""


@pytest.fixture
async def empty(settings: Settings) -> AsyncIterator[Settings]:
    """Settings that name a database which the owner has just been given."""
    name = f"drill_{secrets.token_hex(6)}"
    admin = await asyncpg.connect(os.environ["ISPGRAPH_TEST_POSTGRES"])
    await admin.execute(f"CREATE DATABASE {name} OWNER ispgraph_owner TEMPLATE template0")
    await admin.execute(f"GRANT CONNECT ON DATABASE {name} TO ispgraph_app, ispgraph_radius")

    def there(url: str | None) -> str:
        return make_url(url or "").set(database=name).render_as_string(hide_password=False)

    yield replace(
        settings,
        database_url=there(settings.database_url),
        owner_database_url=there(settings.owner_database_url),
        radius_database_url=there(settings.radius_database_url),
    )
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@dataclass
class Load:
    """What clerks do all the time, and what they were told."""

    url: str
    token: str = ""
    failed: list[str] = field(default_factory=list)
    customers: list[str] = field(default_factory=list)
    payments: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    over: bool = False
    keeps: bool = False
    """Whether connections are kept for the next request, as a front end or a proxy keeps them."""

    async def ask(self, http: httpx.AsyncClient, document: str, **variables: Any) -> dict[str, Any]:
        """One try: whatever is not a whole answer is a failure."""
        answer = await http.post(
            f"http://{self.url}",
            json={"query": document, "variables": variables},
            headers={"Authorization": f"Bearer {self.token}"} if self.token else {},
        )
        found: dict[str, Any] = answer.json()
        if answer.status_code != 200 or "errors" in found:
            raise AssertionError(f"{answer.status_code}: {found}")
        data: dict[str, Any] = found["data"]
        for payload in data.values():
            if isinstance(payload, dict) and payload.get("errors"):
                raise AssertionError(str(payload["errors"]))
        return data

    async def work(self, clerk: int) -> None:
        """A customer, who pays in advance; now and then a list of all of them."""
        alone = httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_keepalive_connections=0))
        async with httpx.AsyncClient(timeout=30) as kept, alone:
            number = 0
            while not self.over:
                number += 1
                try:
                    await self.once(kept if self.keeps else alone, clerk, number)
                except Exception as error:
                    self.failed.append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.02)

    async def once(self, http: httpx.AsyncClient, clerk: int, number: int) -> None:
        key = f"drill-{clerk}-{number}"
        given = {"name": f"Example {key}", "mobile": f"017{clerk}{number:07}", "email": f"{key}@example.com"}
        made = await self.ask(http, CREATE, input={**given, "idempotencyKey": key})
        customer = made["customerCreate"]["customer"]["id"]
        self.customers.append(customer)
        given = {"customerId": customer, "amount": "10", "method": "CASH", "idempotencyKey": key}
        paid = await self.ask(http, PAY, input=given)
        self.payments.append(paid["customerRecordAdvancePayment"]["payment"]["id"])
        if number % 5 == 1:
            begun = await self.ask(http, EXPORT, input={"search": key, "idempotencyKey": key})
            self.jobs.append(begun["customersExport"]["job"]["id"])

    async def listen(self) -> None:
        """A panel that is open all the time, and connects again when it is told to."""
        while not self.over:
            socket = None
            with contextlib.suppress(OSError, ConnectionClosed, InvalidHandshake):
                async with connect(f"ws://{self.url}", subprotocols=["graphql-transport-ws"]) as socket:
                    await socket.send(
                        json.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {self.token}"}})
                    )
                    query = {"query": "subscription { jobUpdated { id } }"}
                    await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": query}))
                    while not self.over:
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(socket.recv(), 0.5)
            if socket is not None and not self.over:
                self.closed.append(socket.close_code or 0)
            await asyncio.sleep(0.05)

    async def more(self, customers: int = 6) -> None:
        """Wait until so many more were made."""
        wanted = len(self.customers) + customers
        async with asyncio.timeout(240):
            while len(self.customers) < wanted:
                assert not self.failed, self.failed[:5]
                await asyncio.sleep(0.05)


@dataclass
class Site:
    """The programs of an installation, each of which is replaced in its turn."""

    balancer: Balancer
    running: dict[str, Running] = field(default_factory=dict)

    async def start(self, release: Release, place: str) -> None:
        """A program of this release, in this place."""
        program = release.start(place.split("-")[0])
        self.running[place] = program
        await asyncio.wait_for(asyncio.to_thread(program.ready), 240)
        if place.startswith("api"):
            self.balancer.add(program.port)
            await self.balancer.has(program.port, ready=True)

    async def replace(self, release: Release, place: str, *, drains: bool) -> None:
        """The new one first, then the old one is told to stop. One that does not drain is taken away before."""
        former = self.running[place]
        await self.start(release, place)
        if place.startswith("api") and not drains:
            self.balancer.remove(former.port)
            # What clerks keep open leads there still: they end with what they have begun.
            await asyncio.sleep(1)
        status = await asyncio.to_thread(former.stop)
        assert status == 0, place
        former.end()
        self.balancer.remove(former.port)

    def end(self) -> None:
        """All of it, whatever state it is in."""
        for program in self.running.values():
            program.end()


PLACES = ("api-1", "worker-1", "api-2", "worker-2", "scheduler")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Balancer() as balancer:
        made = Site(balancer)
        yield made
        made.end()


async def test_an_upgrade_and_the_way_back_under_load(
    site: Site, empty: Settings, valkey: object, tmp_path: Path
) -> None:
    commit = releases.former()
    if not commit:
        pytest.skip("the history of this checkout has no former release: it is shallow, or no repository")
    log = tmp_path / "log"
    # Told so, each of them drains, unless it is older than draining: without, what is kept open is closed at once.
    told_to = {"ISPGRAPH_DRAIN_SECONDS": DRAIN_SECONDS}
    old = Release(releases.unpacked(commit, tmp_path / "former"), empty, log, **told_to)
    new = Release(ROOT, empty, log, **told_to)
    drains = "drain_seconds" in (old.tree / "ispgraph/settings.py").read_text()
    await asyncio.to_thread(old.run, "migrate")
    told = json.loads(await asyncio.to_thread(old.run, "demo"))
    await asyncio.gather(*(site.start(old, place) for place in PLACES))
    # A release that does not drain closes what is kept open, and whoever sends something just then gets no answer.
    load = await begun(f"127.0.0.1:{site.balancer.port}/graphql", told)
    load.keeps = drains
    busy = [asyncio.create_task(load.work(clerk)) for clerk in range(CLERKS)]
    busy.append(asyncio.create_task(load.listen()))
    try:
        await load.more()
        assert (await asyncio.to_thread(new.run, "migrate")).strip()
        await load.more()
        for place in PLACES:
            await site.replace(new, place, drains=drains)
            await load.more()
        load.keeps = True
        await load.more()
        for place in PLACES:
            await site.replace(old, place, drains=True)
            await load.more()
    finally:
        load.over = True
        await asyncio.gather(*busy)
    assert load.failed == []
    assert len(load.closed) >= 2, "the panel was connected to what was replaced"
    assert set(load.closed) == {1012}
    await nothing_is_lost(load, empty)
    await asyncio.to_thread(new.run, "check-invariants")


async def begun(url: str, told: dict[str, Any]) -> Load:
    """Signed in, as an admin."""
    admin = next(each for each in told["operators"] if each["role"] == "ADMIN")
    load = Load(url)
    async with httpx.AsyncClient(timeout=30) as http:
        given = {name: admin[name] for name in ("email", "password", "tenant")}
        load.token = (await load.ask(http, SIGN_IN, input=given))["signIn"]["token"]
    return load


async def nothing_is_lost(load: Load, settings: Settings) -> None:
    """Everything that was acknowledged is there, and every list was written."""
    connection = await asyncpg.connect(
        make_url(os.environ["ISPGRAPH_TEST_POSTGRES"])
        .set(database=make_url(settings.database_url).database)
        .render_as_string(hide_password=False)
    )
    try:
        for table, told in (("customers", load.customers), ("payments", load.payments)):
            wanted = {each.partition("_")[2] for each in told}
            rows = await connection.fetch(f"SELECT id FROM {table}")
            assert wanted <= {row[0].hex for row in rows}, table
            assert len(wanted) == len(told)
        wanted = [each.partition("_")[2] for each in load.jobs]
        statement = "SELECT id, status, message FROM jobs WHERE replace(id::text, '-', '') = ANY($1)"
        async with asyncio.timeout(240):
            while True:
                rows = await connection.fetch(statement, wanted)
                if len(rows) == len(wanted) and {row["status"] for row in rows} == {"SUCCEEDED"}:
                    return
                assert "FAILED" not in {row["status"] for row in rows}, rows
                await asyncio.sleep(0.2)
    finally:
        await connection.close()
