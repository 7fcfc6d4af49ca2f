"""Reports on the books: looked at, or made into files."""

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Annotated, Any, TypeVar

import strawberry

from ispgraph.domain.permissions import Permission
from ispgraph.domain.reports import exports, periods, receivables, revenue, subscribers, takings
from ispgraph.domain.reports.periods import ReportGranularity
from ispgraph.resolvers.base import action, query
from ispgraph.schema import reports as shown
from ispgraph.schema.context import Info
from ispgraph.schema.jobs import JobPayload

T = TypeVar("T")
_From = Annotated[date, strawberry.argument(name="from")]


async def revenue_report(
    info: Info, from_: _From, to: date, granularity: ReportGranularity = ReportGranularity.MONTH
) -> shown.RevenueReport:
    """What was earned from the day `from` until before the day `to`, of the viewer's customers: at most 36 months, by
    day 366 days. Days and months are those of the tenant's time zone. The net sums of all months are the account
    REVENUE of the ledger."""
    stretch, found = await _booked(info, from_, to, granularity, revenue.revenue)
    return shown.revenue_report(info, stretch, found)


async def tax_report(
    info: Info, from_: _From, to: date, granularity: ReportGranularity = ReportGranularity.MONTH
) -> shown.TaxReport:
    """What was earned and the tax on it from the day `from` until before the day `to`, as `revenueReport`. The sums of
    all months are the account TAX of the ledger."""
    stretch, found = await _booked(info, from_, to, granularity, revenue.taxes)
    return shown.tax_report(info, stretch, found)


async def collections_report(
    info: Info, from_: _From, to: date, granularity: ReportGranularity = ReportGranularity.MONTH
) -> shown.CollectionsReport:
    """Money that came in and was given back from the day `from` until before the day `to`, with stretches of time as in
    `revenueReport`. What a wallet paid came in before and is not counted again. The net sums of all months are the
    accounts CASH of the ledger."""
    stretch, found = await _booked(info, from_, to, granularity, takings.takings)
    return shown.collections_report(info, stretch, found)


async def receivables_report(info: Info, on: date | None = None) -> shown.ReceivablesReport:
    """What the viewer's customers owed at the end of a day, by default today so far, by age. The total is the account
    RECEIVABLE of the ledger; what customers have in their wallets is not taken off."""
    viewer = info.context.viewer_or_refuse()
    day = receivables.day(on, viewer)
    owed, count = await info.context.look_up(lambda session: receivables.totals(session, day, viewer))
    return shown.receivables_report(info, day, owed, count)


async def subscriber_report(info: Info, from_: _From, to: date) -> shown.SubscriberReport:
    """The customers served, gained and lost, and what one brings, by whole months: those in which the days from `from`
    until before `to` lie, as far as they have begun, and at most 36."""
    viewer = info.context.viewer_or_refuse()
    stretch = subscribers.months(from_, to, viewer)
    found = await info.context.look_up(lambda session: subscribers.by_month(session, stretch, viewer))
    return shown.subscriber_report(info, stretch, found)


async def export_report(info: Info, input: shown.ReportExportInput) -> JobPayload:
    """Make a file of a report. The job tells when it is there, and where. Needs the permission VIEW_REPORTS as well,
    and RECEIVABLES also VIEW_CUSTOMERS."""
    wish = exports.Wish(input.report, input.format, input.from_, input.to, input.granularity, input.on)
    job: Any = await exports.promise(
        info.context.session, wish, idempotency_key=input.idempotency_key, by=info.context.viewer_or_refuse()
    )
    return JobPayload(job=job)


async def _booked(
    info: Info, first: date, end: date, granularity: ReportGranularity, find: Callable[..., Awaitable[T]]
) -> tuple[periods.Stretch, T]:
    viewer = info.context.viewer_or_refuse()
    stretch = periods.stretch(first, end, granularity, viewer.time_zone)
    return stretch, await info.context.look_up(lambda session: find(session, stretch, viewer))


@strawberry.type
class ReportQueries:
    revenue_report = query(revenue_report, Permission.VIEW_REPORTS)
    tax_report = query(tax_report, Permission.VIEW_REPORTS)
    collections_report = query(collections_report, Permission.VIEW_REPORTS)
    receivables_report = query(receivables_report, Permission.VIEW_REPORTS)
    subscriber_report = query(subscriber_report, Permission.VIEW_REPORTS)


@strawberry.type
class ReportMutations:
    report_export = action(export_report, Permission.EXPORT_DATA)
