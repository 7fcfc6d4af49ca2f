"""Taking back what an import made, as far as nobody has touched it since.

A customer without any money is deleted. One who had or owed something stays as a terminated customer with nothing,
for what the ledger says is never deleted; so does one of whom a router has been told. Who has done something since,
or to whom something was done, is named and left alone.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import audit, customer_records, jobs
from ispgraph.domain.billing import corrections, ledger
from ispgraph.domain.errors import ErrorCode
from ispgraph.domain.imports import fields, making
from ispgraph.domain.imports.making import Clerk
from ispgraph.domain.models import (
    AuditEntry,
    Customer,
    CustomerImport,
    CustomerOrigin,
    CustomerStatus,
    ImportOutcome,
    ImportRow,
    Invoice,
    Job,
    Journal,
    Posting,
    Service,
    ServiceMac,
    ServiceStatus,
)
from ispgraph.domain.network import changes

CHUNK = 200
_REASON = "The import was undone."
_CHANGED = "The customer was changed since."


async def undo(session: AsyncSession, job: CustomerImport, by: Clerk) -> int:
    """Take back some more of a locked import; how many rows were looked at: none when all is done."""
    asked = select(ImportRow).where(
        ImportRow.tenant_id == job.tenant_id, ImportRow.import_id == job.id, ImportRow.outcome == ImportOutcome.CREATED
    )
    rows = (await session.scalars(asked.order_by(ImportRow.number).limit(CHUNK).with_for_update())).all()
    keys = [row.customer_id for row in rows if row.customer_id is not None]
    # Alone: what is on its way to them is either seen here or finds nobody.
    held = select(Customer).where(Customer.id.in_(keys)).order_by(Customer.id).with_for_update()
    customers = {row.id: row for row in await session.scalars(held)}
    reasons = await _reasons(session, rows, list(customers))
    told = set(await session.scalars(select(Job.customer_id).where(Job.customer_id.in_(customers)).distinct()))
    gone: list[tuple[ImportRow, Customer]] = []
    for row in rows:
        customer = customers.get(row.customer_id) if row.customer_id is not None else None
        if customer is None:
            row.outcome, row.customer_id = ImportOutcome.REMOVED, None
        elif customer.id in reasons:
            row.outcome = ImportOutcome.KEPT
            row.faults = [fields.fault(ErrorCode.INVALID_STATE, None, each) for each in reasons[customer.id]]
        elif row.balance_minor or customer.id in told:
            await _terminate(session, row, customer, by, told=customer.id in told)
        else:
            gone.append((row, customer))
    if not await _removed(session, gone, by):
        for each in gone:
            if not await _removed(session, [each], by):
                row, _ = each
                row.outcome = ImportOutcome.KEPT
                row.faults = [fields.fault(ErrorCode.INVALID_STATE, None, "Something else refers to this customer.")]
    await session.flush()
    return len(rows)


async def _reasons(
    session: AsyncSession, rows: Sequence[ImportRow], keys: Sequence[UUID]
) -> Mapping[UUID, Sequence[str]]:
    """By customer, what has happened since, for people."""
    found: dict[UUID, list[str]] = {}
    opening = [UUID(row.made["invoice"]) for row in rows if row.made and "invoice" in row.made]
    journals = [UUID(row.made["journal"]) for row in rows if row.made and "journal" in row.made]
    ours: dict[Any, Any] = {
        Invoice: Invoice.id.not_in(opening),
        Posting: ~exists().where(
            Journal.tenant_id == Posting.tenant_id,
            Journal.id == Posting.journal_id,
            or_(Journal.id.in_(journals), Journal.invoice_id.in_(opening)),
        ),
        Job: Job.kind != jobs.PROVISION,
    }
    for model, one, many in customer_records.HISTORY:
        counted = select(model.customer_id, func.count()).where(model.customer_id.in_(keys)).group_by(model.customer_id)
        if model in ours:
            counted = counted.where(ours[model])
        for customer_id, count in await session.execute(counted):
            found.setdefault(customer_id, []).append(f"The customer has {count} {one if count == 1 else many}.")
    since = select(AuditEntry.subject_id).where(AuditEntry.subject_id.in_(keys), AuditEntry.action != "customer.import")
    several = select(Service.customer_id).where(Service.customer_id.in_(keys)).group_by(Service.customer_id)
    for asked in (since.distinct(), several.having(func.count() > 1)):
        for customer_id in await session.scalars(asked):
            if customer_id is not None and _CHANGED not in found.setdefault(customer_id, []):
                found[customer_id].append(_CHANGED)
    return found


async def _removed(session: AsyncSession, gone: Sequence[tuple[ImportRow, Customer]], by: Clerk) -> bool:
    """Delete these customers, all at once; False when something refers to one of them that is not ours to delete."""
    keys = [customer.id for _, customer in gone]
    services = select(Service.id).where(Service.customer_id.in_(keys))
    try:
        async with session.begin_nested():
            rows = update(ImportRow).where(ImportRow.id.in_([row.id for row, _ in gone]))
            new = {"outcome": ImportOutcome.REMOVED, "customer_id": None}
            await session.execute(rows.values(new), execution_options={"synchronize_session": False})
            # Imports that found them here already have rows of them as well.
            others = update(ImportRow).where(ImportRow.customer_id.in_(keys)).values(customer_id=None)
            await session.execute(others, execution_options={"synchronize_session": False})
            await session.execute(_forget(keys))
            await session.execute(delete(ServiceMac).where(ServiceMac.service_id.in_(services)))
            await session.execute(delete(Service).where(Service.customer_id.in_(keys)))
            deleted = delete(Customer).where(Customer.id.in_(keys))
            await session.execute(deleted, execution_options={"synchronize_session": False})
    except IntegrityError:
        return False
    for row, customer in gone:
        details = {"account_number": customer.account_number, "name": customer.name, "import": str(row.import_id)}
        audit.on_behalf(session, row.tenant_id, by.operator_id, "customer.delete", customer.id, details)
        session.expunge(customer)
    return True


async def _terminate(session: AsyncSession, row: ImportRow, customer: Customer, by: Clerk, *, told: bool) -> None:
    """Leave a terminated customer with a balance of zero. What only one can have is free again; the username is where
    no router has to forget it."""
    at = clock.now()
    await _take_back(session, row, customer, at, by)
    made = row.made or {}
    services = (await session.scalars(select(Service).where(Service.customer_id == customer.id))).all()
    for service in services:
        await session.execute(delete(ServiceMac).where(ServiceMac.service_id == service.id))
        if not told:
            await session.delete(service)
            continue
        service.status = ServiceStatus.TERMINATED
        await session.flush()
        await changes.changed(session, service, by=by.operator_id)
    await session.execute(_forget([customer.id]))
    customer.status, customer.status_reason = CustomerStatus.TERMINATED, _REASON
    customer.email = None
    customer.account_number = made.get("account_number", customer.account_number)
    customer.version += 1
    customer.updated_at = at
    row.outcome = ImportOutcome.TERMINATED
    details = {"import": str(row.import_id), "account_number": customer.account_number}
    audit.on_behalf(session, row.tenant_id, by.operator_id, "customer.import_undo", customer.id, details)
    await session.flush()


async def _take_back(session: AsyncSession, row: ImportRow, customer: Customer, at: datetime, by: Clerk) -> None:
    told, made = f"{making.OPENING}, taken back", row.made or {}
    events = []
    if "invoice" in made:
        held = select(Invoice).where(Invoice.id == UUID(made["invoice"])).with_for_update()
        invoice = (await session.scalars(held)).one()
        await corrections.void(session, invoice, reason=_REASON, at=at, by=None)
        events.append(making.earned_before(invoice, told, -1))
    elif row.balance_minor:
        events.append(making.credit(customer.id, -row.balance_minor, told))
    if events:
        await ledger.post_all(session, events, tenant_id=customer.tenant_id, at=at, by=by)


def _forget(keys: Sequence[UUID]) -> Any:
    return delete(CustomerOrigin).where(CustomerOrigin.customer_id.in_(keys))
