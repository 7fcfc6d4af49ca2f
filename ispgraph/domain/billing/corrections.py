"""Voids and refunds: what puts billing right again, by entries that are added. Nothing that was booked is changed.

The customer is locked before any of these is called, so that of two at once the second sees what the first has done.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import money
from ispgraph.domain.billing import bills, commissions, ledger
from ispgraph.domain.billing import invoices as billing
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.models import (
    Account,
    Allocation,
    AllocationRelease,
    Invoice,
    InvoiceStatus,
    Payment,
    PaymentMethod,
    PaymentStatus,
    Refund,
)
from ispgraph.domain.permissions import Viewer

_UNPAYABLE = {
    InvoiceStatus.DRAFT: "A draft was never asked for: there is nothing to void.",
    InvoiceStatus.VOID: "This invoice is void already.",
}


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
    time it charged for can be charged again.

    `invoice` is locked. Raises DomainError INVALID_STATE for a draft or one that is void.
    """
    if invoice.status in _UNPAYABLE:
        raise fail(ErrorCode.INVALID_STATE, _UNPAYABLE[invoice.status], "invoiceId")
    shares = await _shares(session, Allocation.invoice_id == invoice.id)
    paid = invoice.paid_minor
    for share in shares:
        _release(session, share, share.minor, at)
    invoice.status = InvoiceStatus.VOID
    await bills.release(session, invoice.id, at)
    await _undo_wallet_payments(session, [share.payment for share in shares])
    if invoice.total_minor == 0:
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
    await commissions.follow(session, {invoice.id: None}, tenant_id=invoice.tenant_id, at=at, by=by)


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


def _way_back(payment: Payment, amount_minor: int) -> ledger.Entry:
    if payment.method is PaymentMethod.WALLET:
        return ledger.Entry(Account.WALLET, -amount_minor, customer_id=payment.customer_id)
    return ledger.Entry(Account.CASH, -amount_minor, method=payment.method)


async def _shares(session: AsyncSession, which: ColumnElement[bool]) -> list[_Share]:
    """What settles something still, the last first; the invoices locked, in the order in which all lock them."""
    rows = (
        select(Allocation, Payment, Invoice)
        .join(Payment, Payment.id == Allocation.payment_id)
        .join(Invoice, Invoice.id == Allocation.invoice_id)
        .where(which, Allocation.released_minor < Allocation.amount_minor)
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
