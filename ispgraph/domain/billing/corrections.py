"""Voids, credit notes and refunds: what puts billing right again, by entries that are added. Nothing that was booked is
changed.

The customer is locked before any of these is called, so that of two at once the second sees what the first has done.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import money
from ispgraph.domain.billing import bills, commissions, ledger, payments, tax
from ispgraph.domain.billing import invoices as billing
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.models import (
    Account,
    Allocation,
    AllocationRelease,
    BilledPeriod,
    Invoice,
    InvoiceKind,
    InvoiceLine,
    InvoiceStatus,
    Payment,
    PaymentMethod,
    PaymentStatus,
    Refund,
    Tenant,
)
from ispgraph.domain.permissions import Viewer

_UNPAYABLE = {
    InvoiceStatus.DRAFT: "A draft was never asked for: there is nothing to void.",
    InvoiceStatus.VOID: "This invoice is void already.",
}


@dataclass(frozen=True, slots=True)
class _Giver:
    """Who made a refund."""

    operator_id: UUID


@dataclass(frozen=True, slots=True)
class _Share:
    """An allocation that still settles something, with its payment and invoice."""

    allocation: Allocation
    payment: Payment
    invoice: Invoice

    @property
    def minor(self) -> int:
        """What of it has not been released."""
        return self.allocation.amount_minor - self.allocation.released_minor


async def void(session: AsyncSession, invoice: Invoice, *, reason: str, at: datetime, by: Viewer | None) -> None:
    """Take an open or paid invoice back as a whole. What had been paid of it goes to the customer's wallet, and the
    time it charged for can be charged again; what it gave back is charged as before. A credit note takes what it gave
    out of the wallet.

    `invoice` is locked. Raises DomainError INVALID_STATE for a draft, one that is void, and one of which something was
    given back since; INSUFFICIENT_FUNDS when what a credit note gave was spent.
    """
    if invoice.status in _UNPAYABLE:
        raise fail(ErrorCode.INVALID_STATE, _UNPAYABLE[invoice.status], "invoiceId")
    await _require_last(session, invoice)
    shares = await _shares(session, Allocation.invoice_id == invoice.id)
    paid = invoice.paid_minor
    if invoice.kind is InvoiceKind.CREDIT_NOTE:
        # All of it went into the wallet, and comes out of there.
        paid = invoice.total_minor
        held = (await ledger.balances(session, [invoice.customer_id]))[invoice.customer_id].wallet_minor
        if held < -paid:
            message = "What this credit note gave has been spent: void what was paid with it first."
            raise fail(ErrorCode.INSUFFICIENT_FUNDS, message, "invoiceId")
    for share in shares:
        _release(session, share, share.minor, at)
    invoice.status = InvoiceStatus.VOID
    await bills.release(session, invoice.id, at)
    await bills.restore(session, invoice.id)
    await _undo_wallet_payments(session, [share.payment for share in shares])
    if not (invoice.subtotal_minor or invoice.tax_minor):
        return
    await ledger.post(
        session,
        tenant_id=invoice.tenant_id,
        description=f"Void of {invoice.number}: {reason}",
        postings=[
            ledger.Entry(Account.RECEIVABLE, paid - invoice.total_minor, customer_id=invoice.customer_id),
            ledger.Entry(Account.WALLET, -paid, customer_id=invoice.customer_id),
            ledger.Entry(Account.REVENUE, invoice.subtotal_minor),
            ledger.Entry(Account.TAX, invoice.tax_minor),
        ],
        at=at,
        invoice_id=invoice.id,
        by=by,
    )
    earned_by = {key: None for key in (invoice.id, invoice.credits_id) if key is not None}
    await commissions.follow(session, earned_by, tenant_id=invoice.tenant_id, at=at, by=by)


async def _require_last(session: AsyncSession, invoice: Invoice) -> None:
    """Nothing of an invoice was given back since, nor of the one that a credit note is for."""
    note = select(Invoice.id).where(Invoice.credits_id == invoice.id, Invoice.status != InvoiceStatus.VOID)
    note = note.order_by(Invoice.id.desc())
    later = await bills.given_back(session, invoice.id) or await session.scalar(note.limit(1))
    if later is None and invoice.credits_id is not None:
        rows = select(BilledPeriod.given_back_by_id).where(BilledPeriod.invoice_id == invoice.credits_id)
        rows = rows.where(BilledPeriod.given_back_by_id > invoice.id).order_by(BilledPeriod.given_back_by_id.desc())
        later = await session.scalar(rows.limit(1))
    if later is not None:
        number = (await session.get_one(Invoice, later)).number
        message = f"Some of {invoice.number} was given back since, on {number}: void that first."
        raise fail(ErrorCode.INVALID_STATE, message, "invoiceId")


async def credit(
    session: AsyncSession,
    invoice: Invoice,
    amount_minor: int,
    *,
    tenant: Tenant,
    reason: str,
    at: datetime,
    by: Viewer | None,
) -> Invoice:
    """Give a part of an invoice back by a credit note, its tax in it: what it gives is in the wallet, and settles what
    the customer has open, the oldest first. The time that the invoice charges for stays charged, for less.

    The tax is shared by the rates of the lines: when all of an invoice is given back, in however many parts, so is
    exactly its tax. `invoice` is locked. Raises DomainError INVALID_STATE for what cannot be credited, INVALID for more
    than is left of it.
    """
    if invoice.kind is InvoiceKind.CREDIT_NOTE or invoice.status in _UNPAYABLE:
        what = "credit note" if invoice.kind is InvoiceKind.CREDIT_NOTE else invoice.status.value.lower() + " invoice"
        raise fail(ErrorCode.INVALID_STATE, f"Of a {what} nothing can be given back.", "invoiceId")
    left = await _creditable(session, invoice)
    possible = min(sum(left_of.gross_minor for left_of in left.values()), invoice.total_minor)
    if possible <= 0:
        raise fail(ErrorCode.INVALID_STATE, "All of this invoice was given back.", "invoiceId")
    if amount_minor > possible:
        shown = money.shown(possible, tenant.currency)
        raise fail(ErrorCode.INVALID, f"Of this invoice {shown} can be given back.", "amount")
    parts = money.allocate(amount_minor, [left_of.gross_minor for left_of in left.values()])
    lines = [
        _credit_line(invoice, rate, left_of, part, reason)
        for (rate, left_of), part in zip(left.items(), parts, strict=True)
        if part
    ]
    note = await billing.draft(
        session,
        tenant=tenant,
        customer_id=invoice.customer_id,
        service_id=invoice.service_id,
        lines=lines,
        period_start=None,
        period_end=None,
        credits_id=invoice.id,
    )
    await _lower(session, invoice, note, left.values(), at)
    await billing.open(session, note, tenant=tenant, at=at, by=by)
    await payments.from_credit(session, note, tenant=tenant, at=at, by=by)
    return note


async def _creditable(session: AsyncSession, invoice: Invoice) -> dict[Decimal, tax.Taxed]:
    """What of an invoice was not given back yet, by the rate of tax; rates of which nothing is left are not there."""
    notes = select(Invoice.id).where(Invoice.credits_id == invoice.id, Invoice.status != InvoiceStatus.VOID)
    found = set(await session.scalars(notes))
    # One that came of a change charges for time as well, so of that one the time that it gave back counts.
    lowering = found - set(
        await session.scalars(select(BilledPeriod.invoice_id).where(BilledPeriod.invoice_id.in_(found)))
    )
    net: dict[Decimal, int] = {}
    taxes: dict[Decimal, int] = {}
    lines = select(InvoiceLine).where(InvoiceLine.invoice_id.in_([invoice.id, *lowering]))
    for line in await session.scalars(lines.order_by(InvoiceLine.id)):
        net[line.tax_rate] = net.get(line.tax_rate, 0) + line.amount_minor
        taxes[line.tax_rate] = taxes.get(line.tax_rate, 0) + line.tax_minor
    given_back = BilledPeriod.given_back_by_id.is_not(None)
    for row in await session.scalars(select(BilledPeriod).where(BilledPeriod.invoice_id == invoice.id, given_back)):
        if row.given_back_by_id not in lowering:
            part = tax.taxed(row.price_minor, row.tax_rate, included=row.tax_included)
            net[row.tax_rate] = net.get(row.tax_rate, 0) - part.net_minor
            taxes[row.tax_rate] = taxes.get(row.tax_rate, 0) - part.tax_minor
    return {rate: tax.Taxed(net[rate], taxes[rate]) for rate in net if net[rate] + taxes[rate] > 0}


def _credit_line(invoice: Invoice, rate: Decimal, left: tax.Taxed, part: int, reason: str) -> billing.Line:
    taxed = money.half_up(Fraction(part * left.tax_minor, left.gross_minor))
    return billing.Line(
        description=f"Credit for invoice {invoice.number}",
        unit_price_minor=-part,
        tax_rate=rate,
        tax_included=True,
        explanation=reason,
        share=tax.Taxed(taxed - part, -taxed),
    )


async def _lower(
    session: AsyncSession, invoice: Invoice, note: Invoice, left: Iterable[tax.Taxed], at: datetime
) -> None:
    """Take off the prices of what an invoice charges for what a note gives back, so that a change of the package does
    not give it back again."""
    rows = [row for row in await bills.of_invoice(session, invoice.id) if row.price_minor]
    if not rows:
        return
    included = rows[0].tax_included
    minor = -(note.total_minor if included else note.subtotal_minor)
    whole = sum(each.gross_minor if included else each.net_minor for each in left)
    prices = [row.price_minor for row in rows]
    shares = money.allocate(minor, [*prices, max(0, whole - sum(prices))])
    for row, share in zip(rows, shares[:-1], strict=True):
        if lowered := min(share, row.price_minor):
            await bills.lower(session, row, lowered, at, note)


def refunded(payment: Any) -> ColumnElement[int]:
    """What of a payment was given back, in minor units."""
    total = cast(func.coalesce(func.sum(Refund.amount_minor), 0), BigInteger)
    return select(total).where(Refund.payment_id == payment.id).correlate_except(Refund).scalar_subquery()


async def refund(
    session: AsyncSession,
    payment: Payment,
    amount_minor: int | None,
    *,
    reason: str,
    currency: str,
    at: datetime,
    by: Viewer | None,
) -> Refund:
    """Give a payment back, all that is left of it when no amount is given, by the way it came.

    What of it is still in the wallet goes first; then invoices that it settled are owed again, the last settled first.
    `payment` is locked. Raises DomainError INVALID_STATE when nothing of it is left, INVALID for more than is left,
    INSUFFICIENT_FUNDS when what was in the wallet has been spent on other invoices.
    """
    if payment.method is PaymentMethod.VOUCHER:
        message = "No money came in with a voucher: void what it paid for, and its worth is in the customer's wallet."
        raise fail(ErrorCode.INVALID_STATE, message, "paymentId")
    given = (await session.scalars(select(refunded(Payment)).where(Payment.id == payment.id))).one()
    left = payment.amount_minor - given
    if payment.status is not PaymentStatus.COMPLETED or left == 0:
        raise fail(ErrorCode.INVALID_STATE, "Nothing of this payment is left to give back.", "paymentId")
    amount = left if amount_minor is None else amount_minor
    if amount > left:
        raise fail(ErrorCode.INVALID, f"Of this payment {money.shown(left, currency)} is left.", "amount")
    shares = await _shares(session, Allocation.payment_id == payment.id)
    settled = sum(share.minor for share in shares)
    held = (await ledger.balances(session, [payment.customer_id]))[payment.customer_id].wallet_minor
    from_wallet = min(amount, left - settled, held) if payment.method is not PaymentMethod.WALLET else 0
    if amount - from_wallet > settled:
        possible = money.shown(settled + min(left - settled, held), currency)
        message = f"At most {possible} can be given back: the rest was spent from the wallet on other invoices."
        raise fail(ErrorCode.INSUFFICIENT_FUNDS, message, "amount")
    _release_last_first(session, shares, amount - from_wallet, at)
    row = Refund(tenant_id=payment.tenant_id, payment_id=payment.id, amount_minor=amount, reason=reason, at=at)
    row.by_id = by.operator_id if by else None
    session.add(row)
    if amount == left:
        payment.status = PaymentStatus.REFUNDED
    await session.flush()
    await ledger.post(
        session,
        tenant_id=payment.tenant_id,
        description=f"Refund of {payment.number}: {reason}",
        postings=[
            ledger.Entry(Account.RECEIVABLE, amount - from_wallet, customer_id=payment.customer_id),
            ledger.Entry(Account.WALLET, from_wallet, customer_id=payment.customer_id),
            _way_back(payment, amount),
        ],
        at=at,
        payment_id=payment.id,
        refund_id=row.id,
        by=by,
    )
    settled_by = {share.invoice.id: payment.id for share in shares}
    await commissions.follow(session, settled_by, tenant_id=payment.tenant_id, at=at, by=by, refund_id=row.id)
    return row


async def undo(
    session: AsyncSession, refund: Refund, payment: Payment, *, reason: str, at: datetime, by: Viewer | None
) -> Refund:
    """Take a refund back that did not come about, by entries that are added: the invoices that it had opened are
    settled again by the same payment, as far as they still wait for money, and the rest is in the wallet.

    In the reports it comes off what was given back by whoever gave that. The customer and `payment` are locked. The
    database lets it happen once.
    """
    left = refund.amount_minor
    settled_by: dict[UUID, UUID | None] = {}
    for share in reversed(await _shares(session, Allocation.payment_id == payment.id, Allocation.released_minor > 0)):
        invoice = share.invoice
        waits = invoice.total_minor - invoice.paid_minor if invoice.status in billing.AWAITING else 0
        part = min(left, share.allocation.released_minor, waits)
        _release(session, share, -part, at)
        left -= part
        settled_by |= {invoice.id: payment.id} if part else {}
    row = Refund(tenant_id=payment.tenant_id, payment_id=payment.id, reason=reason[:255], at=at, undoes_id=refund.id)
    row.amount_minor = -refund.amount_minor
    row.by_id = by.operator_id if by else None
    session.add(row)
    payment.status = PaymentStatus.COMPLETED
    await session.flush()
    await ledger.post(
        session,
        tenant_id=payment.tenant_id,
        description=f"Refund of {payment.number} undone: {reason}",
        postings=[
            ledger.Entry(Account.RECEIVABLE, left - refund.amount_minor, customer_id=payment.customer_id),
            ledger.Entry(Account.WALLET, -left, customer_id=payment.customer_id),
            _way_back(payment, -refund.amount_minor),
        ],
        at=at,
        payment_id=payment.id,
        refund_id=row.id,
        by=None if refund.by_id is None else _Giver(refund.by_id),
    )
    await commissions.follow(session, settled_by, tenant_id=payment.tenant_id, at=at, by=by, refund_id=row.id)
    return row


def _way_back(payment: Payment, amount_minor: int) -> ledger.Entry:
    if payment.method is PaymentMethod.WALLET:
        return ledger.Entry(Account.WALLET, -amount_minor, customer_id=payment.customer_id)
    return ledger.Entry(Account.CASH, -amount_minor, method=payment.method)


async def _shares(
    session: AsyncSession, which: ColumnElement[bool], instead: ColumnElement[bool] | None = None
) -> list[_Share]:
    """What settles something still, or allocations of another kind, the last first; the invoices locked, in the order
    in which all lock them."""
    rows = (
        select(Allocation, Payment, Invoice)
        .join(Payment, Payment.id == Allocation.payment_id)
        .join(Invoice, Invoice.id == Allocation.invoice_id)
        .where(which, Allocation.released_minor < Allocation.amount_minor if instead is None else instead)
        .order_by(Invoice.id, Allocation.id)
        .with_for_update(of=(Allocation, Payment, Invoice), key_share=True)
        .execution_options(populate_existing=True)
    )
    found = [_Share(*row) for row in await session.execute(rows)]
    return sorted(found, key=lambda share: share.allocation.id, reverse=True)


def _release_last_first(session: AsyncSession, shares: Sequence[_Share], amount_minor: int, at: datetime) -> None:
    for share in shares:
        part = min(amount_minor, share.minor)
        _release(session, share, part, at)
        amount_minor -= part


def _release(session: AsyncSession, share: _Share, minor: int, at: datetime) -> None:
    if minor == 0:
        return
    allocation = share.allocation
    allocation.released_minor += minor
    session.add(
        AllocationRelease(tenant_id=allocation.tenant_id, allocation_id=allocation.id, amount_minor=minor, at=at)
    )
    billing.settle(share.invoice, -minor)


async def _undo_wallet_payments(session: AsyncSession, payments: Sequence[Payment]) -> None:
    # Money that only went from the wallet to an invoice, and came back, was not spent.
    for payment in payments:
        if payment.method is PaymentMethod.WALLET and not await _shares(session, Allocation.payment_id == payment.id):
            payment.status = PaymentStatus.REFUNDED
    await session.flush()
