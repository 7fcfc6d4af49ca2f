"""The rules of the house: what a tenant may decide for itself."""

from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import audit, values
from ispgraph.domain.errors import ErrorCode, Faults
from ispgraph.domain.models import Tenant
from ispgraph.domain.permissions import Viewer


@dataclass(frozen=True, slots=True)
class Changes:
    """New settings; None leaves a setting as it is."""

    email_required: bool | None = None
    pending_until_paid: bool | None = None
    tax_rate: Decimal | None = None
    invoice_due_days: int | None = None
    account_prefix: str | None = None


async def own(session: AsyncSession, *, by: Viewer) -> Tenant:
    """The viewer's tenant."""
    return await session.get_one(Tenant, by.tenant_id)


async def change(session: AsyncSession, changes: Changes, *, by: Viewer) -> Tenant:
    """Change settings. They hold for what is made from now on; what exists stays as it is."""
    faults = Faults("input")
    prefix = changes.account_prefix
    if changes.tax_rate is not None and not (
        0 <= changes.tax_rate <= 100 and changes.tax_rate == round(changes.tax_rate, 3)
    ):
        faults.add(ErrorCode.INVALID, "A tax rate is from 0 to 100 per cent with at most three decimals.", "taxRate")
    if changes.invoice_due_days is not None and not 0 <= changes.invoice_due_days <= 365:
        faults.add(ErrorCode.INVALID, "Invoices are due within 0 to 365 days.", "invoiceDueDays")
    if prefix is not None:
        blank = not prefix.strip()
        prefix = "" if blank else values.checked(faults, values.text, prefix, 8, at=("accountPrefix",))
    faults.raise_if_any()
    tenant = (await session.scalars(select(Tenant).where(Tenant.id == by.tenant_id).with_for_update())).one()
    wanted = {
        "email_required": changes.email_required,
        "pending_until_paid": changes.pending_until_paid,
        "tax_rate": changes.tax_rate,
        "invoice_due_days": changes.invoice_due_days,
        "account_prefix": prefix,
    }
    made = {name: value for name, value in wanted.items() if value is not None and value != getattr(tenant, name)}
    for name, value in made.items():
        setattr(tenant, name, value)
    if made:
        details = {name: str(value) for name, value in made.items()}
        audit.record(session, by=by, action="tenant.settings", subject_id=tenant.id, details=details)
    await session.flush()
    return tenant
