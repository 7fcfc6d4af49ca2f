"""Commission: what operators earn by what their customers pay.

When a part of an invoice is settled, by money that comes in or out of the customer's wallet, the operator who is
responsible for the customer and each one above earn by the rate that they have at that moment. Who had the customer
before a transfer that left the open invoices behind stands for the responsible one on these. Each has an own rate: what
the one earns is not taken from the other. A rate for the package that the invoice charges for, or that its service has
where it charges for no time, goes before the general one. A rate in percent is of what was settled, without the tax in
it. A fixed amount is for each invoice of a service, earned in proportion to what of it is settled, and is no more than
the invoice is without tax.

What an operator has earned by an invoice is reckoned as a whole, from every allocation that still settles a part of it
and the rate kept with each, and is rounded once, half up. What is booked is the difference to what was booked before.
So it comes to the same in whatever parts an invoice is paid, and what a refund or a void releases is taken back to the
last unit, also from a wallet that holds less by then. What a credit note gives back of an invoice is not earned by: it
earns again where it is spent.

Whoever calls these has the invoices locked.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ispgraph.domain import money
from ispgraph.domain.billing import ledger
from ispgraph.domain.models import (
    Account,
    Allocation,
    BilledPeriod,
    Commission,
    CommissionRate,
    CommissionShare,
    Customer,
    Invoice,
    InvoiceEarner,
    InvoiceStatus,
    Operator,
    Payment,
    Service,
)
from ispgraph.domain.permissions import Viewer


@dataclass(frozen=True, slots=True)
class Share:
    """An allocation of which so much still settles something, and the rate it earns by: percent or a fixed amount."""

    left_minor: int
    percent: Decimal | None
    fixed_minor: int | None


def earned_minor(shares: Iterable[Share], net_minor: int, total_minor: int, credited_minor: int = 0) -> int:
    """What these earn of an invoice that is so much without and with tax, of which so much was given back. Pure."""
    exact = Fraction(0)
    for share in shares:
        if share.fixed_minor is not None:
            exact += Fraction(min(share.fixed_minor, net_minor) * share.left_minor, total_minor)
        elif share.percent is not None:
            exact += Fraction(share.percent) * net_minor * share.left_minor / (100 * total_minor)
    return money.half_up(exact * Fraction(max(0, total_minor - credited_minor), total_minor or 1))


async def accrue(session: AsyncSession, payments: Sequence[Payment], *, by: Viewer | None) -> None:
    """Have operators earn by what these new payments settle, once for each of their allocations. The payments are one
    tenant's, and were received at one moment."""
    charged = (
        select(BilledPeriod.package_id)
        .where(BilledPeriod.invoice_id == Invoice.id)
        .order_by(BilledPeriod.starts_at, BilledPeriod.id)
        .limit(1)
        .scalar_subquery()
    )
    settled = (
        select(
            Allocation.id,
            Allocation.invoice_id,
            Allocation.payment_id,
            func.coalesce(charged, Service.package_id).label("package_id"),
            Operator.id.label("operator_id"),
            Operator.ancestors,
        )
        .join(Invoice, Invoice.id == Allocation.invoice_id)
        .join(Customer, Customer.id == Invoice.customer_id)
        # Who keeps an invoice from before a transfer goes before the one who is responsible for the customer now.
        .outerjoin(InvoiceEarner, InvoiceEarner.invoice_id == Invoice.id)
        .join(Operator, Operator.id == func.coalesce(InvoiceEarner.operator_id, Customer.operator_id))
        .outerjoin(Service, Service.id == Invoice.service_id)
        .where(Allocation.payment_id.in_([payment.id for payment in payments]))
        .order_by(Allocation.id)
    )
    rows = (await session.execute(settled)).all()
    chains = {row.operator_id: (*row.ancestors, row.operator_id) for row in rows}
    tenant_id, at = payments[0].tenant_id, max(payment.received_at for payment in payments)
    rates = await _rates(session, {operator for chain in chains.values() for operator in chain}, at)
    shares = [
        CommissionShare(
            tenant_id=tenant_id,
            allocation_id=row.id,
            invoice_id=row.invoice_id,
            operator_id=operator_id,
            rate_id=rate.id,
        )
        for row in rows
        for operator_id in chains[row.operator_id]
        if (rate := _rate(rates, operator_id, row.package_id)) is not None
    ]
    if not shares:
        return
    session.add_all(shares)
    await session.flush()
    settled_by = {row.invoice_id: row.payment_id for row in rows}
    await follow(session, settled_by, tenant_id=tenant_id, at=at, by=by)


async def follow(
    session: AsyncSession,
    invoices: Mapping[UUID, UUID | None],
    *,
    tenant_id: UUID,
    at: datetime,
    by: Viewer | None,
    refund_id: UUID | None = None,
) -> None:
    """Book what operators have earned by these invoices more, or less, than was booked. Beside an invoice stands the
    payment that gave cause, if one did."""
    earned = await _earned(session, invoices.keys()) if invoices else {}
    if not earned:
        return
    booked = await _booked(session, earned.keys())
    changes = {
        key: changed
        for key, operators in sorted(earned.items(), key=lambda item: item[0][1])
        if (changed := _changed(key[0], operators, booked))
    }
    journals = await ledger.post_all(
        session,
        [
            _event(number, changed, invoice_id, invoices[invoice_id], refund_id)
            for (invoice_id, number), changed in changes.items()
        ],
        tenant_id=tenant_id,
        at=at,
        by=by,
    )
    session.add_all(
        Commission(
            tenant_id=tenant_id,
            operator_id=operator_id,
            invoice_id=invoice_id,
            journal_id=journal.id,
            amount_minor=minor,
        )
        for journal, ((invoice_id, _), changed) in zip(journals, changes.items(), strict=True)
        for operator_id, minor in changed.items()
    )
    await session.flush()


def _changed(
    invoice_id: UUID, operators: Mapping[UUID, int], booked: Mapping[tuple[UUID, UUID], int]
) -> Mapping[UUID, int]:
    """By operator: how much more, or less, is earned by an invoice than was booked."""
    differences = {
        operator_id: minor - booked.get((invoice_id, operator_id), 0) for operator_id, minor in operators.items()
    }
    return {operator_id: minor for operator_id, minor in sorted(differences.items()) if minor}


def _event(
    number: str, changed: Mapping[UUID, int], invoice_id: UUID, payment_id: UUID | None, refund_id: UUID | None
) -> ledger.Event:
    cost = sum(changed.values())
    postings = [ledger.Entry(Account.COMMISSION, cost)]
    postings += [ledger.Entry(Account.OPERATOR_WALLET, -minor, operator_id=key) for key, minor in changed.items()]
    told = f"Commission on {number} taken back" if cost < 0 else f"Commission on {number}"
    return ledger.Event(told, postings, invoice_id, payment_id, refund_id)


_Rates = Mapping[tuple[UUID, UUID | None], CommissionRate]


async def _rates(session: AsyncSession, operators: Iterable[UUID], at: datetime) -> _Rates:
    """The rates that hold at a moment, by operator and package; those that have ended among them."""
    said = (
        select(CommissionRate)
        .where(CommissionRate.operator_id.in_(operators), CommissionRate.valid_from <= at)
        .order_by(CommissionRate.valid_from, CommissionRate.id)
    )
    return {(row.operator_id, row.package_id): row for row in await session.scalars(said)}


def _rate(rates: _Rates, operator_id: UUID, package_id: UUID | None) -> CommissionRate | None:
    """What an operator earns by for an invoice over this package; over no service, for None."""
    for key in ((operator_id, package_id), (operator_id, None)):
        rate = rates.get(key)
        if rate is not None and (rate.percent is not None or (rate.fixed_minor is not None and package_id is not None)):
            return rate
    return None


async def _earned(session: AsyncSession, invoices: Iterable[UUID]) -> Mapping[tuple[UUID, str], Mapping[UUID, int]]:
    """By invoice, with its number, and operator: what is earned by now."""
    note = aliased(Invoice)
    credited = (
        select(func.coalesce(-func.sum(note.total_minor), 0))
        .where(note.credits_id == Invoice.id, note.status != InvoiceStatus.VOID)
        .scalar_subquery()
    )
    rows = (
        select(
            Invoice.id,
            Invoice.number,
            Invoice.subtotal_minor,
            Invoice.total_minor,
            credited.label("credited_minor"),
            CommissionShare.operator_id,
            (Allocation.amount_minor - Allocation.released_minor).label("left_minor"),
            CommissionRate.percent,
            CommissionRate.fixed_minor,
        )
        .join(CommissionShare, CommissionShare.invoice_id == Invoice.id)
        .join(Allocation, Allocation.id == CommissionShare.allocation_id)
        .join(CommissionRate, CommissionRate.id == CommissionShare.rate_id)
        .where(Invoice.id.in_(invoices))
    )
    sums: dict[tuple[UUID, str], tuple[int, int, int]] = {}
    shares: dict[tuple[UUID, str], dict[UUID, list[Share]]] = defaultdict(lambda: defaultdict(list))
    for row in await session.execute(rows):
        key = (row.id, row.number)
        sums[key] = (row.subtotal_minor, row.total_minor, int(row.credited_minor))
        shares[key][row.operator_id].append(Share(row.left_minor, row.percent, row.fixed_minor))
    return {
        key: {operator_id: earned_minor(parts, *sums[key]) for operator_id, parts in operators.items()}
        for key, operators in shares.items()
    }


async def _booked(session: AsyncSession, invoices: Iterable[tuple[UUID, str]]) -> Mapping[tuple[UUID, UUID], int]:
    """By invoice and operator: what was booked until now."""
    rows = (
        select(Commission.invoice_id, Commission.operator_id, func.sum(Commission.amount_minor))
        .where(Commission.invoice_id.in_([invoice_id for invoice_id, _ in invoices]))
        .group_by(Commission.invoice_id, Commission.operator_id)
    )
    # The sum of bigints is numeric in PostgreSQL.
    return {(row[0], row[1]): int(row[2]) for row in await session.execute(rows)}
