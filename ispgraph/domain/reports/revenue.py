"""What was earned, and the tax on it, as the accounts REVENUE and TAX of the ledger have it."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, and_, case, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import customers
from ispgraph.domain.models import Account, Invoice, InvoiceLine, Journal, Posting
from ispgraph.domain.reports.periods import Asker, Stretch, answer


@dataclass(frozen=True, slots=True)
class Revenue:
    """Of a period, without tax: what invoices charged that were opened in it, and what was taken back in it by voids
    and by credit notes, whenever the invoice itself was opened. `invoices` counts those that charged something."""

    invoices: int = 0
    invoiced_minor: int = 0
    voided_minor: int = 0
    credited_minor: int = 0

    @property
    def net_minor(self) -> int:
        """What is left: the movement of the account REVENUE."""
        return self.invoiced_minor - self.voided_minor - self.credited_minor


@dataclass(frozen=True, slots=True)
class Taxed:
    """Of a period: what was earned, and the tax on it; without what was taken back in the period."""

    net_minor: int = 0
    tax_minor: int = 0


@dataclass(frozen=True, slots=True)
class Rate:
    """The same of one rate of tax, in per cent; `place` is that of the period."""

    place: int
    rate: Decimal
    net_minor: int
    tax_minor: int


async def revenue(session: AsyncSession, stretch: Stretch, by: Asker) -> Sequence[Revenue]:
    """What was earned in each period."""
    note = Journal.invoice_id.in_(_credit_notes())
    charged, taken = Posting.amount_minor < 0, Posting.amount_minor > 0
    place = stretch.place(Journal.at).label("place")
    rows = _booked(
        stretch,
        by,
        [Account.REVENUE],
        place,
        func.count().filter(charged, ~note).label("invoices"),
        _sum(-Posting.amount_minor, and_(charged, ~note)),
        _sum(Posting.amount_minor, and_(taken, ~note)),
        _sum(Posting.amount_minor, note),
    )
    found = {row[0]: Revenue(*row[1:]) for row in await answer(session, rows.group_by(place))}
    return [found.get(number, Revenue()) for number in range(stretch.count)]


async def taxes(session: AsyncSession, stretch: Stretch, by: Asker) -> Sequence[Taxed]:
    """What was earned and taxed in each period."""
    place = stretch.place(Journal.at).label("place")
    sums = (_sum(-Posting.amount_minor, Posting.account == account) for account in (Account.REVENUE, Account.TAX))
    rows = _booked(stretch, by, [Account.REVENUE, Account.TAX], place, *sums)
    found = {row[0]: Taxed(*row[1:]) for row in await answer(session, rows.group_by(place))}
    return [found.get(number, Taxed()) for number in range(stretch.count)]


async def rates(session: AsyncSession, stretch: Stretch, by: Asker) -> Sequence[Rate]:
    """The same by rate of tax, as the lines of the invoices have it; periods in order, the lowest rate first."""
    booked = func.sum(Posting.amount_minor)
    accounts = [Account.REVENUE, Account.TAX]
    place = stretch.place(Journal.at).label("place")
    journals = _booked(stretch, by, accounts, Journal.invoice_id, place, booked.label("booked"))
    each = journals.group_by(Journal.id).subquery()
    # The lines of a credit note are below zero, so its own entry is above, as that of a void is.
    opened = (each.c.booked < 0) != each.c.invoice_id.in_(_credit_notes())
    sign = case((opened, 1), else_=-1)
    rows = (
        select(
            each.c.place,
            InvoiceLine.tax_rate,
            cast(func.sum(sign * InvoiceLine.amount_minor), BigInteger),
            cast(func.sum(sign * InvoiceLine.tax_minor), BigInteger),
        )
        .join_from(each, InvoiceLine, InvoiceLine.invoice_id == each.c.invoice_id)
        .group_by(each.c.place, InvoiceLine.tax_rate)
        .order_by(each.c.place, InvoiceLine.tax_rate)
    )
    return [Rate(*row) for row in await answer(session, rows)]


def _booked(stretch: Stretch, by: Asker, accounts: Sequence[Account], *columns: Any) -> Select[Any]:
    """Columns of the entries of these accounts within the stretch, of the customers that count."""
    rows = (
        select(*columns)
        .join_from(Journal, Posting, Posting.journal_id == Journal.id)
        .where(stretch.within(Journal.at), Posting.account.in_(accounts))
    )
    if by.scope_id is None:
        return rows
    own = select(Invoice.id).where(customers.belonging(by, Invoice.customer_id))
    return rows.where(Journal.invoice_id.in_(own))


def _credit_notes() -> Select[Any]:
    return select(Invoice.id).where(Invoice.credits_id.is_not(None))


def _sum(minor: Any, condition: ColumnElement[bool]) -> ColumnElement[int]:
    # The sum of bigints is numeric in PostgreSQL.
    return cast(func.coalesce(func.sum(minor).filter(condition), 0), BigInteger)
