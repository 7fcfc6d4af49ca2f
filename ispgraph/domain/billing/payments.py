"""Payments: money that came in, what it settles, and what is left over for the wallet."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, String, any_, func, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain.billing import commissions, ledger, numbers, periods
from ispgraph.domain.billing import invoices as billing
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.lists import Filter
from ispgraph.domain.models import (
    Account,
    Allocation,
    Invoice,
    InvoiceStatus,
    Payment,
    PaymentCategory,
    PaymentMethod,
    PaymentStatus,
    Tenant,
)
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Viewer

NOT_RECEIVED = (PaymentMethod.WALLET, PaymentMethod.VOUCHER)
"""Methods that bring no money in: they spend what was received before."""
NEWEST = newest_first("payments", Payment.id)
FILTERS = {"status": Filter(ARRAY(String()), lambda value, by: type_coerce(Payment.status, String()) == any_(value))}


async def record(
    session: AsyncSession,
    *,
    tenant: Tenant,
    customer_id: UUID,
    amount_minor: int,
    method: PaymentMethod,
    category: PaymentCategory,
    reference: str | None,
    notes: str | None,
    at: datetime,
    by: Viewer | None,
    invoices: Sequence[Invoice],
    first: Invoice | None = None,
) -> Payment:
    """Money received: it settles `invoices`, `first` before the others and those by age, and what is left goes to the
    wallet.

    The invoices are locked, so of two payments at once the second sees what the first has paid. Holds the tenant's
    payment counter from here to the end of the transaction. Raises DomainError INVALID for a method that brings no
    money in, INVALID_STATE for an invoice that is a draft or void, ValueError for an amount of zero or less or
    another customer's invoice.
    """
    if method in NOT_RECEIVED:
        raise fail(ErrorCode.INVALID, f"A payment by {method.value} cannot be recorded.", "input", "method")
    if amount_minor <= 0:
        raise ValueError("a payment is more than zero")
    shares = _shares(amount_minor, await _locked(session, customer_id, invoices), first)
    payment = await _numbered(
        session,
        tenant,
        Payment(
            customer_id=customer_id,
            amount_minor=amount_minor,
            method=method,
            category=category,
            reference=reference,
            notes=notes,
        ),
        at,
        by,
    )
    _settle(session, payment, shares)
    allocated = sum(part for _, part in shares)
    postings = [
        ledger.Entry(Account.CASH, amount_minor, method=method),
        ledger.Entry(Account.RECEIVABLE, -allocated, customer_id=customer_id),
        ledger.Entry(Account.WALLET, allocated - amount_minor, customer_id=customer_id),
    ]
    await _post(session, payment, postings, by)
    if allocated:
        await commissions.accrue(session, [payment], by=by)
    return payment


async def by_voucher(
    session: AsyncSession,
    *,
    tenant: Tenant,
    customer_id: UUID,
    amount_minor: int,
    reference: str,
    at: datetime,
    by: Viewer | None,
    invoice: Invoice,
) -> Payment:
    """What a voucher is worth settles an invoice of the same amount: a payment by VOUCHER, for which no money comes in.
    It was paid for when the voucher was sold, which is what the account VOUCHERS tells.

    Holds the payment counter as `record` does. Raises ValueError for another amount than that of the invoice.
    """
    shares = _shares(amount_minor, await _locked(session, customer_id, [invoice]), None)
    if amount_minor <= 0 or [part for _, part in shares] != [amount_minor]:
        raise ValueError("a voucher pays for what it is worth")
    row = Payment(
        customer_id=customer_id,
        amount_minor=amount_minor,
        method=PaymentMethod.VOUCHER,
        category=PaymentCategory.RECHARGE,
        reference=reference,
    )
    payment = await _numbered(session, tenant, row, at, by)
    _settle(session, payment, shares)
    postings = [
        ledger.Entry(Account.VOUCHERS, amount_minor),
        ledger.Entry(Account.RECEIVABLE, -amount_minor, customer_id=customer_id),
    ]
    await _post(session, payment, postings, by)
    await commissions.accrue(session, [payment], by=by)
    return payment


async def from_wallet(
    session: AsyncSession,
    *,
    tenant: Tenant,
    customer_id: UUID,
    invoices: Sequence[Invoice],
    at: datetime,
    by: Viewer | None,
    most_minor: int | None = None,
) -> Payment | None:
    """Settle `invoices`, the oldest first, with what the wallet holds, or with at most `most_minor` of it: a payment
    by WALLET; None when there is nothing to settle, or nothing to settle it with.

    The customer is locked, so that no two spend the same. Holds the payment counter as `record` does.
    """
    rows = await _locked(session, customer_id, invoices)
    held = (await ledger.balances(session, [customer_id]))[customer_id].wallet_minor
    shares = _shares(held if most_minor is None else min(held, most_minor), rows, None)
    spent = sum(part for _, part in shares)
    if spent == 0:
        return None
    row = Payment(
        customer_id=customer_id, amount_minor=spent, method=PaymentMethod.WALLET, category=PaymentCategory.SERVICE
    )
    payment = await _numbered(session, tenant, row, at, by)
    _settle(session, payment, shares)
    postings = [
        ledger.Entry(Account.WALLET, spent, customer_id=customer_id),
        ledger.Entry(Account.RECEIVABLE, -spent, customer_id=customer_id),
    ]
    await _post(session, payment, postings, by)
    await commissions.accrue(session, [payment], by=by)
    return payment


async def from_credit(
    session: AsyncSession, note: Invoice, *, tenant: Tenant, at: datetime, by: Viewer | None
) -> Payment | None:
    """What a credit note gave settles what its customer has open, the oldest first; the rest stays in the wallet."""
    if note.credits_id is not None:
        await commissions.follow(session, {note.credits_id: None}, tenant_id=note.tenant_id, at=at, by=by)
    rows = select(Invoice).where(Invoice.customer_id == note.customer_id, Invoice.status.in_(billing.AWAITING))
    return await from_wallet(
        session,
        tenant=tenant,
        customer_id=note.customer_id,
        invoices=(await session.scalars(rows)).all(),
        at=at,
        by=by,
        most_minor=-note.total_minor,
    )


async def _numbered(
    session: AsyncSession, tenant: Tenant, payment: Payment, at: datetime, by: Viewer | None
) -> Payment:
    year = periods.local_date(at, tenant.time_zone).year
    payment.tenant_id = tenant.id
    payment.number = numbers.payment_number(year, await numbers.take(session, tenant.id, numbers.payment_series(year)))
    payment.status = PaymentStatus.COMPLETED
    payment.received_at = at
    payment.collected_by_id = by.operator_id if by else None
    session.add(payment)
    await session.flush()
    return payment


async def _locked(session: AsyncSession, customer_id: UUID, invoices: Sequence[Invoice]) -> list[Invoice]:
    statement = (
        select(Invoice)
        .where(Invoice.id.in_([invoice.id for invoice in invoices]))
        .order_by(Invoice.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    rows = list(await session.scalars(statement)) if invoices else []
    if any(row.customer_id != customer_id for row in rows):
        raise ValueError("a payment settles the customer's own invoices")
    if any(row.status in (InvoiceStatus.DRAFT, InvoiceStatus.VOID) for row in rows):
        raise fail(ErrorCode.INVALID_STATE, "A draft or void invoice cannot be paid.")
    return rows


def _shares(amount_minor: int, invoices: Sequence[Invoice], first: Invoice | None) -> list[tuple[Invoice, int]]:
    named = first.id if first else None
    shares = []
    for invoice in sorted(invoices, key=lambda row: (row.id != named, row.issued_on, row.id)):
        part = min(amount_minor, invoice.total_minor - invoice.paid_minor)
        if part > 0:
            shares.append((invoice, part))
            amount_minor -= part
    return shares


def _settle(session: AsyncSession, payment: Payment, shares: Sequence[tuple[Invoice, int]]) -> None:
    for invoice, part in shares:
        session.add(
            Allocation(
                tenant_id=payment.tenant_id,
                payment_id=payment.id,
                invoice_id=invoice.id,
                amount_minor=part,
                created_at=payment.received_at,
            )
        )
        billing.settle(invoice, part)


async def _post(session: AsyncSession, payment: Payment, postings: Sequence[ledger.Entry], by: Viewer | None) -> None:
    await ledger.post(
        session,
        tenant_id=payment.tenant_id,
        description=f"Payment {payment.number}",
        postings=postings,
        at=payment.received_at,
        payment_id=payment.id,
        by=by,
    )


def last_received_at(customer: Any) -> ColumnElement[datetime]:
    """When a customer last paid."""
    return (
        select(func.max(Payment.received_at))
        .where(Payment.customer_id == customer.id, Payment.status == PaymentStatus.COMPLETED)
        .where(Payment.method.not_in(NOT_RECEIVED))
        .scalar_subquery()
    )
