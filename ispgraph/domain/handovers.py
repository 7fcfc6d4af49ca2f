"""Giving a customer to another operator: what changes with it, in the transaction at hand, and what it will cost.

What was earned and collected stays with whom it is. What comes in from now on earns for the new operator and those
above, for the invoices that are open by then only if they are to go along: otherwise a row of each says who keeps it.
"""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import audit, messages, tickets
from ispgraph.domain.billing import invoices, overrides
from ispgraph.domain.models import (
    Customer,
    CustomerTransfer,
    Invoice,
    InvoiceEarner,
    Operator,
    Package,
    Service,
    ServiceStatus,
    Tenant,
)
from ispgraph.domain.permissions import Viewer


async def warnings(session: AsyncSession, customer: Customer, target: Operator) -> list[str]:
    """What the next period of a package costs the customer now, and with the other operator, where that differs."""
    tenant = await session.get_one(Tenant, customer.tenant_id)
    sold = select(Service.package_id).where(
        Service.customer_id == customer.id, Service.status != ServiceStatus.TERMINATED
    )
    told, at = [], clock.now()
    for package in await session.scalars(select(Package).where(Package.id.in_(sold)).order_by(Package.name)):
        before, after = [
            await overrides.agreed_minor(session, package, operator_id=key, customer_id=customer.id, at=at)
            for key in (customer.operator_id, target.id)
        ]
        if before != after:
            costs = [messages.amount(tenant, minor) for minor in (before, after)]
            told.append(f"{package.name} costs {costs[0]} now, and {costs[1]} from the next period with {target.name}.")
    return told


async def carry_out(session: AsyncSession, transfer: CustomerTransfer, customer: Customer, *, by: Viewer) -> None:
    """Give the customer, who is locked, to the operator whom an approved transfer names."""
    former = customer.operator_id
    customer.operator_id = transfer.to_operator_id
    customer.version += 1
    customer.updated_at = clock.now()
    await session.flush()
    own = select(Invoice.id).where(Invoice.customer_id == customer.id)
    kept: Sequence[object] = ()
    if transfer.transfer_invoices:
        await session.execute(delete(InvoiceEarner).where(InvoiceEarner.invoice_id.in_(own)))
    else:
        # An invoice that an earlier transfer left behind goes on earning for whom it does.
        said = select(InvoiceEarner.invoice_id).where(InvoiceEarner.invoice_id.in_(own))
        still = own.where(Invoice.status.in_(invoices.AWAITING), Invoice.id.not_in(said)).order_by(Invoice.id)
        kept = (await session.scalars(still)).all()
        session.add_all(
            InvoiceEarner(
                tenant_id=customer.tenant_id, invoice_id=invoice_id, operator_id=former, transfer_id=transfer.id
            )
            for invoice_id in kept
        )
    await session.flush()
    released = await tickets.release(session, customer, by=by)
    details = {
        "transfer": str(transfer.id),
        "operator": [str(former), str(customer.operator_id)],
        "transfer_invoices": transfer.transfer_invoices,
        "invoices_kept": len(kept),
        "tickets_unassigned": [ticket.number for ticket in released],
    }
    audit.record(session, by=by, action="customer.transfer", subject_id=customer.id, details=details)
