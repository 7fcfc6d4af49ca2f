"""Invoice numbers have no gaps: whoever writes, one or many at once, and whatever is rolled back or killed."""

import asyncio
import random
from contextlib import suppress
from decimal import Decimal

import asyncpg
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, invariants
from ispgraph.db import Database
from ispgraph.domain.billing import charges, invoices
from ispgraph.domain.models import Customer, CustomerStatus, Invoice
from tests import factories, subscribers
from tests.conftest import Dsns
from tests.factories import House

WRITERS = 16
KILLED_EACH = 10
"""Of so many transactions one is killed."""
DRAFTS = text("""
    WITH made AS (
      INSERT INTO invoices (id, tenant_id, customer_id, status, subtotal_minor, tax_minor, total_minor, paid_minor,
                            created_at)
      SELECT gen_random_uuid(), :tenant, :customer, 'DRAFT', 100, 0, 100, 0, :at FROM generate_series(1, :count)
      RETURNING id),
    lined AS (
      INSERT INTO invoice_lines (id, tenant_id, invoice_id, position, description, quantity, unit_price_minor,
                                 amount_minor, tax_rate, tax_minor, tax_included)
      SELECT gen_random_uuid(), :tenant, id, 1, 'A line', 1, 100, 100, 0, 0, false FROM made)
    SELECT id FROM made""")


class _Undone(Exception):
    """A writer that thinks better of it."""


class Writers:
    """They open invoices of several tenants at once until there are enough."""

    def __init__(self, houses: list[House], customers: list[Customer], wanted: int) -> None:
        self.houses, self.customers = houses, customers
        self.left = wanted
        self.begun = self.undone = self.killed = 0

    async def write(self, seed: int) -> None:
        """One writer: of four transactions one opens a single invoice; a fifth of them is rolled back."""
        chance = random.Random(seed)
        while self.left > 0:
            house, customer = chance.choice(list(zip(self.houses, self.customers, strict=True)))
            count = 1 if chance.random() < 0.25 else chance.randint(2, 40)
            self.begun += 1
            try:
                async with house.database.transaction(house.tenant.id) as session:
                    await (self._one if count == 1 else self._many)(session, house, customer, count)
                    if chance.random() < 0.2:
                        raise _Undone
                self.left -= count
            except _Undone:
                self.undone += 1
            except (DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                self.killed += 1

    async def _one(self, session: AsyncSession, house: House, customer: Customer, _count: int) -> None:
        line = invoices.Line("A line", 100, Decimal(0))
        row = await invoices.draft(
            session,
            tenant=house.tenant,
            customer_id=customer.id,
            service_id=None,
            lines=[line],
            period_start=None,
            period_end=None,
        )
        await invoices.open(session, row, tenant=house.tenant, at=clock.now(), by=None)

    async def _many(self, session: AsyncSession, house: House, customer: Customer, count: int) -> None:
        at = clock.now()
        given = {"tenant": house.tenant.id, "customer": customer.id, "count": count, "at": at}
        drafts = list(await session.scalars(DRAFTS, given))
        await charges.open_all(session, house.tenant, drafts, at=at, by=None)


async def kill(dsn: str, writers: Writers) -> None:
    """End one connection of the application after the other, whatever it is doing: one for some transactions, not for
    some time, because all the others are made anew as well, and on a slow machine there would be time for little else.
    """
    superuser = await asyncpg.connect(dsn)
    seen = 0
    try:
        while True:
            await asyncio.sleep(0.02)
            if writers.begun < seen + KILLED_EACH:
                continue
            seen = writers.begun
            await superuser.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE usename = 'ispgraph_app' AND datname = current_database() AND state <> 'idle'
                    ORDER BY random() LIMIT 1"""
            )
    finally:
        await superuser.close()


@pytest.mark.parametrize("wanted", [200, pytest.param(20_000, marks=pytest.mark.long)])
async def test_five_tenants_sixteen_writers_and_no_gap(owner: Database, dsns: Dsns, wanted: int) -> None:
    database = Database(dsns.app, pool_size=WRITERS)
    houses = [await factories.house(owner, database, f"house-{number}") for number in range(5)]
    customers = [await subscribers.customer(house, status=CustomerStatus.PENDING) for house in houses]
    writers = Writers(houses, customers, wanted)
    killing = asyncio.create_task(kill(dsns.superuser, writers))
    await asyncio.gather(*(writers.write(seed) for seed in range(WRITERS)))
    killing.cancel()
    with suppress(asyncio.CancelledError):
        await killing
    assert writers.undone > 0
    assert writers.killed > 0
    total = 0
    for house in houses:
        async with house.database.read(house.tenant.id) as session:
            found = (await session.scalars(select(Invoice.number).order_by(Invoice.number))).all()
        year = clock.now().year
        assert found == [f"INV-{year}-{number:06d}" for number in range(1, len(found) + 1)]
        total += len(found)
    assert total >= wanted
    assert [finding for finding in await invariants.check(owner) if finding.broken] == []
    await database.dispose()
