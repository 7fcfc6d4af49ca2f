"""An office that bills: services whose time is over, and runs carried out where they stand."""

from contextlib import AbstractAsyncContextManager
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain.billing import runs
from ispgraph.domain.models import BillingRun, Customer, Invoice, InvoiceLine, Package, Service, Tenant
from tests import subscribers
from tests.factories import House

OWN_RECORD = ("billing_runs", "jobs", "scheduled_runs", "sign_ins")
"""What a run that finds nothing to do leaves behind all the same: that it was."""


async def service(house: House, expires_at: datetime | None, package: Package | None = None, **fields: Any) -> Service:
    """A service of a customer of its own."""
    owner: Customer = fields.pop("customer", None) or await subscribers.customer(house)
    chosen = {} if package is None else {"package_id": package.id}
    return await subscribers.service(house, owner, expires_at=expires_at, **chosen, **fields)


async def begin(house: House, *, dry_run: bool = False, as_of: date | None = None) -> BillingRun:
    """A run that nobody carries out yet."""
    async with house.database.transaction(house.tenant.id) as session:
        tenant = await session.get_one(Tenant, house.tenant.id)
        return await runs.by_command(session, tenant, dry_run=dry_run, as_of=as_of)


async def carry_out(house: House, run: BillingRun) -> BillingRun:
    """Carry a run out; it afterwards."""

    def transact() -> AbstractAsyncContextManager[AsyncSession]:
        return house.database.transaction(house.tenant.id)

    async def progress(session: AsyncSession, done: int, total: int) -> None:
        assert 0 <= done <= total

    async with house.database.read(house.tenant.id) as session:
        tenant = await session.get_one(Tenant, house.tenant.id)
    await runs.Carrier(run, tenant, transact, progress).carry_out()
    async with house.database.read(house.tenant.id) as session:
        return await session.get_one(BillingRun, run.id)


async def bill(house: House, **given: Any) -> BillingRun:
    """A run, carried out."""
    return await carry_out(house, await begin(house, **given))


async def billed(house: House, service_id: UUID | None = None) -> list[tuple[Invoice, InvoiceLine]]:
    """Invoices with their only lines, by number."""
    rows = select(Invoice, InvoiceLine).join(InvoiceLine, InvoiceLine.invoice_id == Invoice.id)
    if service_id is not None:
        rows = rows.where(Invoice.service_id == service_id)
    async with house.database.read(house.tenant.id) as session:
        return [(invoice, line) for invoice, line in await session.execute(rows.order_by(Invoice.number))]


async def again(house: House, service: Service) -> Service:
    """The service as it stands now."""
    async with house.database.read(house.tenant.id) as session:
        return await session.get_one(Service, service.id)


async def everything(house: House) -> dict[str, list[tuple[str, ...]]]:
    """Every row of every table, by the transaction that wrote it last, but for what a run says of itself."""
    tables = text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
    found = {}
    async with house.database.read(house.tenant.id) as session:
        for table in sorted(await session.scalars(tables)):
            readable = await session.scalar(text("SELECT has_table_privilege(:t, 'SELECT')"), {"t": table})
            if readable and table not in OWN_RECORD:
                rows = await session.execute(text(f"SELECT xmin::text, x::text FROM {table} x ORDER BY 2"))
                found[table] = [tuple(row) for row in rows]
    return found
