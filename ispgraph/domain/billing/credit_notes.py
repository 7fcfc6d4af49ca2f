"""Credit notes at the desk: a part of an invoice given back, asked for by a person with a right to it."""

from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import audit, customers, idempotency, values
from ispgraph.domain.billing import corrections, desk, dunning_run
from ispgraph.domain.errors import Faults, not_found
from ispgraph.domain.models import Customer, Invoice, Tenant
from ispgraph.domain.permissions import Viewer

OPERATION = "invoiceCredit"


async def give(
    session: AsyncSession, invoice_id: UUID, *, amount: Decimal, reason: str, idempotency_key: str | None, by: Viewer
) -> tuple[Invoice, Customer]:
    """Give so much of an invoice back, its tax in it; see `corrections.credit`. The credit note, and the customer."""
    faults = Faults()
    minor = desk.above_zero(faults, amount, by.currency, "amount")
    told = values.checked(faults, values.text, reason, 255, at=("reason",))
    faults.raise_if_any()
    assert told is not None
    given = {"invoice": invoice_id, "minor": minor, "reason": told}
    first = await idempotency.claim(session, by=by, operation=OPERATION, key=idempotency_key, given=given)
    if first is not None:
        note = await session.get_one(Invoice, UUID(str(first["note"])))
        known = await customers.find(session, note.customer_id, by=by)
        if known is None:
            raise not_found("customer")
        return note, known
    customer, invoice = await desk.locked(session, Invoice, invoice_id, by, "invoiceId")
    tenant = await session.get_one(Tenant, by.tenant_id)
    note = await corrections.credit(session, invoice, minor, tenant=tenant, reason=told, at=clock.now(), by=by)
    details = {"invoice": invoice.number, "note": note.number, "total_minor": note.total_minor, "reason": told}
    audit.record(session, by=by, action="invoice.credit", subject_id=customer.id, details=details)
    await dunning_run.relieve(session, customer, by=by)
    answer = {"note": str(note.id)}
    await idempotency.keep(session, by=by, operation=OPERATION, key=idempotency_key, answer=answer)
    return note, customer
