"""What customers owed at the end of a day, by how long it had been due.

The state of a past day is that of today without what was booked since: what was opened since is left out, what was paid
since is owed again, what was released since is paid again, what was voided since is there again. So the work grows with
what is open and with what happened since, not with all there ever was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Date,
    DateTime,
    Uuid,
    and_,
    bindparam,
    cast,
    column,
    false,
    func,
    literal,
    or_,
    select,
    union,
)
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import customers
from ispgraph.domain.billing import periods as calendar
from ispgraph.domain.billing.invoices import AWAITING
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.lists import Key, Order
from ispgraph.domain.models import (
    Account,
    Allocation,
    AllocationRelease,
    Customer,
    Invoice,
    InvoiceStatus,
    Journal,
    Operator,
    Posting,
)
from ispgraph.domain.pages import Page, Window, cursor, page
from ispgraph.domain.reports.periods import Asker, answer, midnight

_DAYS = (0, 30, 60, 90)
"""Whoever is at most so many days late is in the age of the same place; the last age has no end."""
ORDER = Order("debtors", (Key(column("total_minor"), BigInteger()), Key(column("customer_id"), Uuid())))
"""Whoever owes most first, read descending."""


@dataclass(frozen=True, slots=True)
class Aged:
    """What is owed of so many invoices, by how many days ago they were due."""

    not_due_minor: int
    days_1_to_30_minor: int
    days_31_to_60_minor: int
    days_61_to_90_minor: int
    over_90_days_minor: int
    invoices: int
    oldest_due_on: date | None

    @property
    def total_minor(self) -> int:
        """All of it."""
        late = self.days_1_to_30_minor + self.days_31_to_60_minor + self.days_61_to_90_minor + self.over_90_days_minor
        return self.not_due_minor + late


@dataclass(frozen=True, slots=True)
class Debtor:
    """A customer who owes, and how much."""

    customer_id: UUID
    owed: Aged


@dataclass(frozen=True, slots=True)
class NamedDebtor:
    """The same with what stands in a list to be worked through."""

    account_number: str
    name: str
    mobile: str
    operator: str
    owed: Aged


def day(on: date | None, by: Asker, *at: str) -> date:
    """The day that is asked about: today when none is given. Raises DomainError INVALID at the path `at`, on, for one
    that is still to come."""
    today = calendar.local_date(clock.now(), by.time_zone)
    if on is not None and on > today:
        raise fail(ErrorCode.INVALID, "This day is still to come.", *at, "on")
    return on or today


async def totals(session: AsyncSession, on: date, by: Asker) -> tuple[Aged, int]:
    """What all customers owed at the end of a day, and how many of them owed anything."""
    owed = _owed(on, by)
    (row,) = await answer(session, select(*_figures(owed, on), func.count(owed.c.customer_id.distinct())))
    return Aged(*row[:-1]), row[-1]


async def debtors(session: AsyncSession, on: date, wanted: Window, count: int, by: Asker) -> Page:
    """A page of those who owed at the end of a day, in ORDER; there are `count` of them, as `totals` has it."""
    each = _each(on, by)
    rows = page(select(each), ORDER, wanted, lambda name, kind: literal(wanted.value(name), kind), one_more=True)
    rows = rows.add_columns(cursor(ORDER, [key.expression for key in ORDER.keys]))  # type: ignore[misc]
    found = await answer(session, rows)
    more, kept = len(found) > wanted.size, found[: wanted.size]
    if wanted.backwards:
        kept = kept[::-1]

    async def counted(_session: AsyncSession) -> int:
        return count

    return Page(
        rows=[Debtor(row.customer_id, Aged(*row[1 : 1 + _FIGURES])) for row in kept],
        cursors=[row[-1] for row in kept],
        has_next=wanted.before is not None if wanted.backwards else more,
        has_previous=more if wanted.backwards else wanted.after is not None,
        count=counted,
    )


async def every_debtor(session: AsyncSession, on: date, by: Asker) -> Sequence[NamedDebtor]:
    """All who owed at the end of a day, in ORDER; by one statement, so that they add up."""
    each = _each(on, by)
    rows = (
        select(Customer.account_number, Customer.name, Customer.mobile, Operator.name, each)
        .join_from(each, Customer, Customer.id == each.c.customer_id)
        .join(Operator, Operator.id == Customer.operator_id)
        .order_by(each.c.total_minor.desc(), each.c.customer_id.desc())
    )
    found = await answer(session, rows)
    return [NamedDebtor(row[0], row[1], row[2], row[3], Aged(*row[5 : 5 + _FIGURES])) for row in found]


def _each(on: date, by: Asker) -> Any:
    """What each customer owed: customer_id, the figures, total_minor."""
    owed = _owed(on, by)
    total = cast(func.sum(owed.c.minor), BigInteger).label("total_minor")
    return select(owed.c.customer_id, *_figures(owed, on), total).group_by(owed.c.customer_id).subquery()


_FIGURES = 7


def _figures(owed: Any, on: date) -> list[ColumnElement[Any]]:
    """The fields of `Aged`, in their order."""
    late = bindparam(None, on, Date()) - owed.c.due_on
    to = (late <= _DAYS[0], *(late.between(low + 1, high) for low, high in pairwise(_DAYS)), late > _DAYS[-1])
    sums = [cast(func.coalesce(func.sum(owed.c.minor).filter(age), 0), BigInteger) for age in to]
    return [*(each.label(f"age_{place}") for place, each in enumerate(sums)), func.count(), func.min(owed.c.due_on)]


def _owed(on: date, by: Asker) -> Any:
    """The invoices of which something was open at the end of a day: customer_id, due_on, minor."""
    end = bindparam(None, midnight(on + timedelta(days=1), by.time_zone), DateTime(timezone=True))
    booked = (
        select(
            Journal.invoice_id,
            # Only the opening of an invoice adds to what is owed of it, and only its void takes from what it earned.
            func.bool_or(and_(Posting.account == Account.RECEIVABLE, Posting.amount_minor > 0)).label("opened"),
            func.bool_or(and_(Posting.account.in_(_EARNED), Posting.amount_minor > 0)).label("voided"),
        )
        .join_from(Journal, Posting, Posting.journal_id == Journal.id)
        .where(Journal.at >= end, Journal.invoice_id.is_not(None))
        .group_by(Journal.invoice_id)
        .cte("booked")
    )
    later = select(Journal.payment_id).where(Journal.at >= end, Journal.payment_id.is_not(None))
    paid = (
        select(Allocation.invoice_id, func.sum(Allocation.amount_minor).label("minor"))
        .where(Allocation.payment_id.in_(later), Allocation.created_at >= end)
        .group_by(Allocation.invoice_id)
        .cte("paid")
    )
    released = (
        select(Allocation.invoice_id, func.sum(AllocationRelease.amount_minor).label("minor"))
        .join_from(AllocationRelease, Allocation, Allocation.id == AllocationRelease.allocation_id)
        .where(AllocationRelease.at >= end)
        .group_by(Allocation.invoice_id)
        .cte("released")
    )
    some = union(
        select(Invoice.id).where(Invoice.status.in_(AWAITING)),
        select(paid.c.invoice_id),
        select(booked.c.invoice_id).where(booked.c.voided),
    ).subquery()
    minor = (
        Invoice.total_minor - Invoice.paid_minor + func.coalesce(paid.c.minor, 0) - func.coalesce(released.c.minor, 0)
    )
    was_there = and_(
        ~func.coalesce(booked.c.opened, false()),
        or_(Invoice.status != InvoiceStatus.VOID, booked.c.voided),
    )
    return (
        select(Invoice.customer_id, Invoice.due_on, minor.label("minor"))
        .join_from(some, Invoice, Invoice.id == some.c.id)
        .outerjoin(booked, booked.c.invoice_id == Invoice.id)
        .outerjoin(paid, paid.c.invoice_id == Invoice.id)
        .outerjoin(released, released.c.invoice_id == Invoice.id)
        .where(was_there, minor > 0, customers.belonging(by, Invoice.customer_id))
        .subquery("owed")
    )


_EARNED = (Account.REVENUE, Account.TAX)
