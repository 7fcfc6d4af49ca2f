"""Reports as sheets: columns, and rows in which amounts are decimals of the tenant's currency."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import money
from ispgraph.domain.exports import Cell, neutral
from ispgraph.domain.models import Operator
from ispgraph.domain.reports import receivables, revenue, subscribers, takings
from ispgraph.domain.reports.exports import ReportKind, Wanted
from ispgraph.domain.reports.periods import Stretch

Row = list[Cell]
Amount = Callable[[int], Cell]


@dataclass(frozen=True, slots=True)
class Sheet:
    """All of a sheet. Columns in the currency say so."""

    columns: Sequence[str]
    rows: Sequence[Row]


async def sheet(session: AsyncSession, wanted: Wanted) -> Sheet:
    """What a job was promised for. By period alone there is a row for each; by rate of tax or by operator there is one
    where there was anything."""

    def amount(minor: int) -> Cell:
        return money.to_decimal(minor, wanted.by.currency)

    if wanted.stretch is None:
        columns, rows = await _receivables(session, wanted, amount)
    elif wanted.report is ReportKind.REVENUE:
        columns, rows = await _revenue(session, wanted, wanted.stretch, amount)
    elif wanted.report is ReportKind.TAX:
        columns, rows = await _taxes(session, wanted, wanted.stretch, amount)
    elif wanted.report is ReportKind.SUBSCRIBERS:
        columns, rows = await _subscribers(session, wanted, wanted.stretch, amount)
    else:
        columns, rows = await _takings(session, wanted, wanted.stretch, amount)
    return Sheet([each.replace("¤", wanted.by.currency) for each in columns], rows)


def stem(wanted: Wanted) -> str:
    """What the file is called, without its ending."""
    name = wanted.report.value.lower()
    if wanted.stretch is None:
        return f"{name}-{wanted.on}"
    return f"{name}-{wanted.stretch.days[0]}-{wanted.stretch.days[-1]}"


def _days(stretch: Stretch, place: int) -> Row:
    return [stretch.days[place].isoformat(), stretch.days[place + 1].isoformat()]


async def _revenue(
    session: AsyncSession, wanted: Wanted, stretch: Stretch, amount: Amount
) -> tuple[Sequence[str], Sequence[Row]]:
    columns = ("From", "To", "Invoices", "Invoiced (¤)", "Voided (¤)", "Credited (¤)", "Net (¤)")
    found = await revenue.revenue(session, stretch, wanted.by)
    minors = [(each.invoiced_minor, each.voided_minor, each.credited_minor, each.net_minor) for each in found]
    return columns, [
        [*_days(stretch, place), each.invoices, *map(amount, minors[place])] for place, each in enumerate(found)
    ]


async def _taxes(
    session: AsyncSession, wanted: Wanted, stretch: Stretch, amount: Amount
) -> tuple[Sequence[str], Sequence[Row]]:
    columns = ("From", "To", "Rate (%)", "Net (¤)", "Tax (¤)")
    found = await revenue.rates(session, stretch, wanted.by)
    return columns, [
        [*_days(stretch, each.place), each.rate, amount(each.net_minor), amount(each.tax_minor)] for each in found
    ]


async def _subscribers(
    session: AsyncSession, wanted: Wanted, stretch: Stretch, amount: Amount
) -> tuple[Sequence[str], Sequence[Row]]:
    columns = (
        *("From", "To", "Served at start", "Gained", "Lost", "Served at end"),
        *("Net revenue (¤)", "ARPU (¤)", "Churn (%)"),
    )
    found = await subscribers.by_month(session, stretch, wanted.by)
    return columns, [
        [
            *_days(stretch, place),
            each.served_at_start,
            each.gained,
            each.lost,
            each.served_at_end,
            amount(each.net_minor),
            None if each.arpu_minor is None else amount(each.arpu_minor),
            each.churn_percent,
        ]
        for place, each in enumerate(found)
    ]


async def _takings(
    session: AsyncSession, wanted: Wanted, stretch: Stretch, amount: Amount
) -> tuple[Sequence[str], Sequence[Row]]:
    columns = ("From", "To", "Operator", "Method", "Payments", "Received (¤)", "Refunds", "Refunded (¤)", "Net (¤)")
    found = await takings.takings(session, stretch, wanted.by)
    names = await _names(session, {each.operator_id for each in found if each.operator_id is not None})
    return columns, [
        [
            *_days(stretch, each.place),
            neutral(names[each.operator_id]) if each.operator_id is not None else None,
            each.method.value,
            each.payments,
            amount(each.received_minor),
            each.refunds,
            amount(each.refunded_minor),
            amount(each.net_minor),
        ]
        for each in found
    ]


async def _names(session: AsyncSession, keys: set[UUID]) -> Mapping[UUID, str]:
    rows = await session.execute(select(Operator.id, Operator.name).where(Operator.id.in_(keys)))
    return {row.id: row.name for row in rows}


async def _receivables(session: AsyncSession, wanted: Wanted, amount: Amount) -> tuple[Sequence[str], Sequence[Row]]:
    columns = (
        *("Account", "Customer", "Mobile", "Operator", "Not due (¤)", "1-30 days (¤)", "31-60 days (¤)"),
        *("61-90 days (¤)", "Over 90 days (¤)", "Total (¤)", "Invoices", "Oldest due on"),
    )
    assert wanted.on is not None
    rows = await receivables.every_debtor(session, wanted.on, wanted.by)
    return columns, [
        [
            neutral(each.account_number),
            neutral(each.name),
            neutral(each.mobile),
            neutral(each.operator),
            amount(each.owed.not_due_minor),
            amount(each.owed.days_1_to_30_minor),
            amount(each.owed.days_31_to_60_minor),
            amount(each.owed.days_61_to_90_minor),
            amount(each.owed.over_90_days_minor),
            amount(each.owed.total_minor),
            each.owed.invoices,
            None if each.owed.oldest_due_on is None else each.owed.oldest_due_on.isoformat(),
        ]
        for each in rows
    ]
