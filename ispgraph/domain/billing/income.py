"""Money that comes in, at the desk or by itself, and what follows from it."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import audit, notices, services
from ispgraph.domain.billing import dunning_run, payments
from ispgraph.domain.billing import invoices as billing
from ispgraph.domain.models import (
    Customer,
    Invoice,
    Payment,
    PaymentCategory,
    PaymentMethod,
    ServiceStatus,
    Tenant,
)
from ispgraph.domain.network import changes
from ispgraph.domain.permissions import Viewer


async def receive(
    session: AsyncSession,
    customer: Customer,
    minor: int,
    *,
    method: PaymentMethod,
    reference: str,
    notes: str | None,
    first: Invoice | None,
    by: Viewer | None,
) -> Payment:
    """Money of a locked customer that has come without anybody at the desk. As `pay_invoice` and `pay_in_advance`: it
    settles the invoice that is named, if it still waits for money, then other open ones, then goes to the wallet."""
    settles = await open_invoices(session, customer)
    tenant = await session.get_one(Tenant, customer.tenant_id)
    payment = await payments.record(
        session,
        tenant=tenant,
        customer_id=customer.id,
        amount_minor=minor,
        method=method,
        category=PaymentCategory.SERVICE if settles else PaymentCategory.ADVANCE,
        reference=reference,
        notes=notes,
        at=clock.now(),
        by=by,
        invoices=settles,
        first=first,
    )
    await notices.payment_received(session, tenant, customer, payment, by=by)
    await follow(session, customer, payment, by)
    return payment


async def open_invoices(session: AsyncSession, customer: Customer) -> Sequence[Invoice]:
    """What a customer is asked for now."""
    rows = select(Invoice).where(Invoice.customer_id == customer.id, Invoice.status.in_(billing.AWAITING))
    return (await session.scalars(rows)).all()


async def follow(session: AsyncSession, customer: Customer, payment: Payment, by: Viewer | None) -> None:
    """What follows from a payment of a locked customer, wherever it came in: services that waited for it, or were
    stopped for want of it, are on line, and it is on record."""
    await _begin_what_waited(session, customer, by)
    await dunning_run.relieve(session, customer, by=by)
    details = {"payment": payment.number, "amount_minor": payment.amount_minor, "method": payment.method.value}
    whose = payment.tenant_id
    audit.record(session, by=by, tenant_id=whose, action="payment.record", subject_id=customer.id, details=details)


async def _begin_what_waited(session: AsyncSession, customer: Customer, by: Viewer | None) -> None:
    """Activate the services of a locked customer that waited for the first payment, which has come."""
    tenant = await session.get_one(Tenant, customer.tenant_id)
    if not tenant.pending_until_paid:
        return
    every = (await services.services_of(session, [customer.id]))[customer.id]
    now = clock.now()
    for service in every:
        # Of one whose time is over nothing can be begun; the money is welcome all the same.
        if service.status is ServiceStatus.PENDING and (service.expires_at is None or service.expires_at > now):
            chosen = services.Chosen(customer.id, service.id)
            await services.put_on_line(session, customer, service, every, chosen, told="Paid", notify=True, by=by)
            await changes.changed(session, service, by=by.operator_id if by else None)
