"""Invoices: drafted with their lines, then opened, which numbers them, posts them, and makes them final."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Date,
    String,
    and_,
    any_,
    case,
    cast,
    false,
    func,
    not_,
    select,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain.billing import ledger, numbers, periods, tax
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.lists import Filter
from ispgraph.domain.models import Account, Invoice, InvoiceKind, InvoiceLine, InvoiceStatus, Tenant
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Viewer

AWAITING = (InvoiceStatus.OPEN, InvoiceStatus.PARTIALLY_PAID)
"""Where money is still expected."""
_NUMBERS = {
    InvoiceKind.INVOICE: (numbers.invoice_series, numbers.invoice_number),
    InvoiceKind.CREDIT_NOTE: (numbers.credit_series, numbers.credit_number),
}
NEWEST = newest_first("invoices", Invoice.id)


def _late(today: ColumnElement[Any], invoice: Any = Invoice) -> ColumnElement[bool]:
    return and_(invoice.status.in_(AWAITING), invoice.due_on < today)


FILTERS = {
    "status": Filter(ARRAY(String()), lambda value, by: type_coerce(Invoice.status, String()) == any_(value)),
    # The value of these two is the day it is in the tenant's zone.
    "overdue": Filter(Date(), lambda value, by: _late(value)),
    "not_overdue": Filter(Date(), lambda value, by: not_(func.coalesce(_late(value), false()))),
}


@dataclass(frozen=True, slots=True)
class Line:
    """What one line of an invoice asks for. The rate is in percent, on top of the price or, `tax_included`, in it."""

    description: str
    unit_price_minor: int
    tax_rate: Decimal
    quantity: Decimal = Decimal(1)
    explanation: str | None = None
    tax_included: bool = False
    share: tax.Taxed | None = None
    """Its amount and tax, where these are parts of others and not reckoned anew."""

    @property
    def taxed(self) -> tax.Taxed:
        """The amount and the tax on it."""
        if self.share is not None:
            return self.share
        priced = tax.priced_minor(self.quantity, self.unit_price_minor)
        return tax.taxed(priced, self.tax_rate, included=self.tax_included)

    @property
    def amount_minor(self) -> int:
        """Without tax."""
        return self.taxed.net_minor

    @property
    def tax_minor(self) -> int:
        """On top of the amount."""
        return self.taxed.tax_minor


@dataclass(frozen=True, slots=True)
class Amounts:
    """The sums of an invoice in minor units."""

    subtotal_minor: int
    tax_minor: int

    @property
    def total_minor(self) -> int:
        """What there is to pay."""
        return self.subtotal_minor + self.tax_minor


def amounts(lines: Sequence[Line]) -> Amounts:
    """What an invoice with these lines would come to."""
    return Amounts(sum(line.amount_minor for line in lines), sum(line.tax_minor for line in lines))


def settled_status(total_minor: int, paid_minor: int) -> InvoiceStatus:
    """The status of an open invoice of which so much is paid."""
    if paid_minor >= total_minor:
        return InvoiceStatus.PAID
    return InvoiceStatus.PARTIALLY_PAID if paid_minor else InvoiceStatus.OPEN


def settle(invoice: Invoice, minor: int) -> None:
    """So much more of an open invoice is paid, or, below zero, less."""
    invoice.paid_minor += minor
    invoice.status = settled_status(invoice.total_minor, invoice.paid_minor)


def due_minor(invoice: Any) -> ColumnElement[int]:
    """What is still to be paid: nothing for a draft or a void invoice."""
    return case((invoice.status.in_(AWAITING), invoice.total_minor - invoice.paid_minor), else_=0)


def overdue(invoice: Any, now: ColumnElement[datetime], time_zone: str) -> ColumnElement[bool]:
    """Whether money is still expected after the due day, which ends at midnight in the tenant's zone."""
    today = cast(func.timezone(time_zone, now), Date)
    return func.coalesce(_late(today, invoice), false())


async def draft(
    session: AsyncSession,
    *,
    tenant: Tenant,
    customer_id: UUID,
    service_id: UUID | None,
    lines: Sequence[Line],
    period_start: datetime | None,
    period_end: datetime | None,
    notes: str | None = None,
    credits_id: UUID | None = None,
) -> Invoice:
    """A new invoice in DRAFT with its lines, or a credit note for the invoice `credits_id`.

    Raises ValueError for no lines, an invoice with a total below zero, and a credit note with one that is not.
    """
    sums = amounts(lines)
    if not lines or (sums.total_minor < 0) != (credits_id is not None):
        raise ValueError("an invoice has lines, and asks for nothing below zero; a credit note gives something")
    invoice = Invoice(
        tenant_id=tenant.id,
        kind=InvoiceKind.INVOICE if credits_id is None else InvoiceKind.CREDIT_NOTE,
        credits_id=credits_id,
        customer_id=customer_id,
        service_id=service_id,
        status=InvoiceStatus.DRAFT,
        period_start=period_start,
        period_end=period_end,
        subtotal_minor=sums.subtotal_minor,
        tax_minor=sums.tax_minor,
        total_minor=sums.total_minor,
        paid_minor=0,
        notes=notes,
    )
    session.add(invoice)
    await session.flush()
    session.add_all(_row(invoice, position, line) for position, line in enumerate(lines, start=1))
    await session.flush()
    return invoice


def _row(invoice: Invoice, position: int, line: Line) -> InvoiceLine:
    return InvoiceLine(
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.id,
        position=position,
        description=line.description,
        quantity=line.quantity,
        unit_price_minor=line.unit_price_minor,
        amount_minor=line.amount_minor,
        tax_rate=line.tax_rate,
        tax_minor=line.tax_minor,
        tax_included=line.tax_included,
        explanation=line.explanation,
    )


async def open(
    session: AsyncSession,
    invoice: Invoice,
    *,
    tenant: Tenant,
    at: datetime,
    by: Viewer | None,
    due_on: date | None = None,
) -> Invoice:
    """Number a draft, post it, and make it final; with nothing to pay it is PAID at once.

    Due so many days after its issue as the tenant gives, or on `due_on`; what a credit note gives is in the wallet.
    Holds the tenant's counter from here to the end of the transaction: call it late. The day of issue is never before
    that of the number before it, also when two programs open across midnight. Raises DomainError INVALID_STATE.
    """
    await session.refresh(invoice, with_for_update=True)
    if invoice.status is not InvoiceStatus.DRAFT:
        raise fail(ErrorCode.INVALID_STATE, "Only a draft can be opened.")
    today = periods.local_date(at, tenant.time_zone)
    series, written = _NUMBERS[invoice.kind]
    number = await numbers.take(session, tenant.id, series(today.year))
    before = await session.scalar(select(Invoice.issued_on).where(Invoice.number == written(today.year, number - 1)))
    invoice.number = written(today.year, number)
    invoice.issued_on = max(today, before or today)
    if invoice.kind is InvoiceKind.INVOICE:
        invoice.due_on = due_on or invoice.issued_on + timedelta(days=tenant.invoice_due_days)
    invoice.status = settled_status(invoice.total_minor, 0)
    await session.flush()
    if invoice.subtotal_minor or invoice.tax_minor:
        await _post(session, invoice, at=at, by=by)
    return invoice


async def _post(session: AsyncSession, invoice: Invoice, *, at: datetime, by: Viewer | None) -> None:
    note = invoice.kind is InvoiceKind.CREDIT_NOTE
    # What a credit note gives is the customer's to spend: it settles what is open only as a payment from the wallet.
    account = Account.WALLET if note else Account.RECEIVABLE
    await ledger.post(
        session,
        tenant_id=invoice.tenant_id,
        description=f"{'Credit note' if note else 'Invoice'} {invoice.number}",
        postings=[
            ledger.Entry(account, invoice.total_minor, customer_id=invoice.customer_id),
            ledger.Entry(Account.REVENUE, -invoice.subtotal_minor),
            ledger.Entry(Account.TAX, -invoice.tax_minor),
        ],
        at=at,
        invoice_id=invoice.id,
        by=by,
    )
