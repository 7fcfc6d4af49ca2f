"""Reports: what the books say of a stretch of time, or of a day."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import strawberry

from ispgraph.domain import models, pages
from ispgraph.domain.exports import ExportFormat
from ispgraph.domain.models import PaymentMethod
from ispgraph.domain.permissions import Permission
from ispgraph.domain.reports import receivables, revenue
from ispgraph.domain.reports.exports import ReportKind
from ispgraph.domain.reports.periods import ReportGranularity, Stretch
from ispgraph.domain.reports.subscribers import Month
from ispgraph.domain.reports.takings import Takings
from ispgraph.schema.base import Money, money
from ispgraph.schema.compiler.reading import RowOf
from ispgraph.schema.context import Info
from ispgraph.schema.customers import Customer
from ispgraph.schema.operators import Operator
from ispgraph.schema.pages import Connection

_END = "The day after its last."


@strawberry.type(
    description="What was earned, without tax. Everything counts when it was booked: a void or a credit note in the "
    "period in which it happened, never in that of the invoice it takes back."
)
class RevenueFigures:
    invoices: int = strawberry.field(description="Opened, and charging something.")
    invoiced: Money = strawberry.field(description="Charged by these invoices.")
    voided: Money = strawberry.field(description="Of invoices that were voided.")
    credited: Money = strawberry.field(description="Taken back by credit notes.")
    net: Money = strawberry.field(description="`invoiced` without `voided` and `credited`.")


@strawberry.type(description="A day or a month, as far as it lies in the stretch of time.")
class RevenuePeriod:
    start: date
    end: date = strawberry.field(description=_END)
    figures: RevenueFigures


@strawberry.type
class RevenueReport:
    total: RevenueFigures
    periods: list[RevenuePeriod] = strawberry.field(description="In order, also those in which nothing was earned.")


def revenue_report(info: Info, stretch: Stretch, found: Sequence[revenue.Revenue]) -> RevenueReport:
    """As the schema shows it."""

    def figures(*given: revenue.Revenue) -> RevenueFigures:
        return RevenueFigures(
            invoices=sum(each.invoices for each in given),
            invoiced=money(info, sum(each.invoiced_minor for each in given)),
            voided=money(info, sum(each.voided_minor for each in given)),
            credited=money(info, sum(each.credited_minor for each in given)),
            net=money(info, sum(each.net_minor for each in given)),
        )

    periods = [
        RevenuePeriod(start=start, end=end, figures=figures(each))
        for start, end, each in zip(stretch.days, stretch.days[1:], found, strict=False)
    ]
    return RevenueReport(total=figures(*found), periods=periods)


@strawberry.type(
    description="What was earned and the tax on it, without what voids and credit notes took back in the same time."
)
class TaxFigures:
    net: Money = strawberry.field(description="Without tax.")
    tax: Money


@strawberry.type(description="A day or a month, as far as it lies in the stretch of time.")
class TaxPeriod:
    start: date
    end: date = strawberry.field(description=_END)
    figures: TaxFigures


@strawberry.type(description="What was taxed at one rate.")
class TaxOfRate:
    rate: Decimal = strawberry.field(description="In per cent.")
    figures: TaxFigures


@strawberry.type
class TaxReport:
    total: TaxFigures
    periods: list[TaxPeriod] = strawberry.field(description="In order, also those in which nothing was taxed.")
    asked: strawberry.Private[Stretch]

    @strawberry.field(description="Of the whole stretch of time by rate, the lowest first.")
    async def rates(self, info: Info) -> list[TaxOfRate]:
        found = await info.context.look_up(
            lambda session: revenue.rates(session, self.asked, info.context.viewer_or_refuse())
        )
        sums: dict[Decimal, list[revenue.Rate]] = {}
        for each in found:
            sums.setdefault(each.rate, []).append(each)
        return [TaxOfRate(rate=rate, figures=_taxed(info, sums[rate])) for rate in sorted(sums)]


def _taxed(info: Info, given: Sequence[revenue.Taxed | revenue.Rate]) -> TaxFigures:
    net, tax = sum(each.net_minor for each in given), sum(each.tax_minor for each in given)
    return TaxFigures(net=money(info, net), tax=money(info, tax))


def tax_report(info: Info, stretch: Stretch, found: Sequence[revenue.Taxed]) -> TaxReport:
    """As the schema shows it."""
    periods = [
        TaxPeriod(start=start, end=end, figures=_taxed(info, [each]))
        for start, end, each in zip(stretch.days, stretch.days[1:], found, strict=False)
    ]
    return TaxReport(total=_taxed(info, found), periods=periods, asked=stretch)


@strawberry.type(description="Money that came in and was given back. A refund counts when it was made.")
class CollectionFigures:
    payments: int
    received: Money
    refunds: int
    refunded: Money
    net: Money = strawberry.field(description="`received` without `refunded`.")


@strawberry.type(description="A day or a month, as far as it lies in the stretch of time.")
class CollectionPeriod:
    start: date
    end: date = strawberry.field(description=_END)
    figures: CollectionFigures


@strawberry.type(description="What one operator took by one method; a refund counts with whoever gave it back.")
class CollectionOfOperator:
    method: PaymentMethod
    figures: CollectionFigures
    operator_key: strawberry.Private[Any]

    @strawberry.field(description="Null for what came without one.")
    def operator(self) -> Operator | None:
        found: Any = None if self.operator_key is None else RowOf(models.Operator, self.operator_key)
        operator: Operator | None = found
        return operator


@strawberry.type
class CollectionsReport:
    total: CollectionFigures
    periods: list[CollectionPeriod] = strawberry.field(description="In order, also those in which nothing came in.")
    operators: list[CollectionOfOperator] = strawberry.field(
        description="Of the whole stretch of time, by operator and method."
    )


def collections_report(info: Info, stretch: Stretch, found: Sequence[Takings]) -> CollectionsReport:
    """As the schema shows it."""

    def figures(given: Sequence[Takings]) -> CollectionFigures:
        return CollectionFigures(
            payments=sum(each.payments for each in given),
            received=money(info, sum(each.received_minor for each in given)),
            refunds=sum(each.refunds for each in given),
            refunded=money(info, sum(each.refunded_minor for each in given)),
            net=money(info, sum(each.net_minor for each in given)),
        )

    by_period: dict[int, list[Takings]] = {}
    by_operator: dict[tuple[Any, PaymentMethod], list[Takings]] = {}
    for each in found:
        by_period.setdefault(each.place, []).append(each)
        by_operator.setdefault((each.operator_id, each.method), []).append(each)
    keys = sorted(by_operator, key=lambda key: (key[0] is None, key[0], key[1].value))
    return CollectionsReport(
        total=figures(found),
        periods=[
            CollectionPeriod(start=start, end=end, figures=figures(by_period.get(place, [])))
            for place, (start, end) in enumerate(zip(stretch.days, stretch.days[1:], strict=False))
        ],
        operators=[
            CollectionOfOperator(method=method, figures=figures(by_operator[key, method]), operator_key=key)
            for key, method in keys
        ],
    )


@strawberry.type(description="What is owed on invoices, by how many days ago they were due.")
class AgedReceivables:
    total: Money
    not_due: Money = strawberry.field(description="Due on the day that is asked about, or later.")
    days_1_to_30: Money
    days_31_to_60: Money
    days_61_to_90: Money
    over_90_days: Money
    invoices: int = strawberry.field(description="On which something is owed.")
    oldest_due_on: date | None = strawberry.field(description="Of these invoices; null when nothing is owed.")


def _aged(info: Info, owed: receivables.Aged) -> AgedReceivables:
    return AgedReceivables(
        total=money(info, owed.total_minor),
        not_due=money(info, owed.not_due_minor),
        days_1_to_30=money(info, owed.days_1_to_30_minor),
        days_31_to_60=money(info, owed.days_31_to_60_minor),
        days_61_to_90=money(info, owed.days_61_to_90_minor),
        over_90_days=money(info, owed.over_90_days_minor),
        invoices=owed.invoices,
        oldest_due_on=owed.oldest_due_on,
    )


@strawberry.type(description="What one customer owes.")
class CustomerReceivables:
    owed: AgedReceivables
    customer_key: strawberry.Private[Any]

    @strawberry.field
    def customer(self) -> Customer:
        found: Any = RowOf(models.Customer, self.customer_key)
        customer: Customer = found
        return customer


@strawberry.type(
    description="What was owed at the end of a day. What was booked later is left out: of a past day it is what the "
    "report said then."
)
class ReceivablesReport:
    on: date
    total: AgedReceivables
    customer_count: int = strawberry.field(description="Customers who owed something.")

    @strawberry.field(
        description="Those who owed something, whoever owed most first. Needs the permission VIEW_CUSTOMERS as well."
    )
    async def customers(
        self,
        info: Info,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
    ) -> Connection[CustomerReceivables]:
        viewer = info.context.viewer_or_refuse(Permission.VIEW_CUSTOMERS)
        wanted = pages.window(receivables.ORDER, first=first, after=after, last=last, before=before)
        found = await info.context.look_up(
            lambda session: receivables.debtors(session, self.on, wanted, self.customer_count, viewer)
        )
        rows = [CustomerReceivables(owed=_aged(info, each.owed), customer_key=each.customer_id) for each in found.rows]
        shown: Any = replace(found, rows=rows)
        page: Connection[CustomerReceivables] = shown
        return page


def receivables_report(info: Info, on: date, owed: receivables.Aged, count: int) -> ReceivablesReport:
    """As the schema shows it."""
    return ReceivablesReport(on=on, total=_aged(info, owed), customer_count=count)


@strawberry.type(
    description="A month of the calendar. A customer is served while the time of a service runs: time that is charged, "
    "or, of a service that is not charged for, all of it until it ends. A suspended service counts until its time is "
    "over."
)
class SubscriberMonth:
    start: date
    end: date = strawberry.field(description=_END)
    served_at_start: int = strawberry.field(description="Customers when the month begins.")
    gained: int = strawberry.field(description="Not served when the month begins, but when it ends.")
    lost: int = strawberry.field(
        description="Served when the month begins, but not when it ends: terminated, or expired and not renewed."
    )
    served_at_end: int = strawberry.field(
        description="Customers when the month ends, or, of one that is not over, now."
    )
    net_revenue: Money = strawberry.field(description="As in `revenueReport`.")
    arpu: Money | None = strawberry.field(
        description="Average revenue per user: `netRevenue` shared by the average of `servedAtStart` and "
        "`servedAtEnd`, rounded half away from zero; null without customers."
    )
    churn_percent: Decimal | None = strawberry.field(
        description="How many of `servedAtStart` were `lost`, with two decimals; null without customers."
    )


@strawberry.type
class SubscriberReport:
    months: list[SubscriberMonth]


def subscriber_report(info: Info, stretch: Stretch, found: Sequence[Month]) -> SubscriberReport:
    """As the schema shows it."""
    months = [
        SubscriberMonth(
            start=start,
            end=end,
            served_at_start=each.served_at_start,
            gained=each.gained,
            lost=each.lost,
            served_at_end=each.served_at_end,
            net_revenue=money(info, each.net_minor),
            arpu=None if each.arpu_minor is None else money(info, each.arpu_minor),
            churn_percent=each.churn_percent,
        )
        for start, end, each in zip(stretch.days, stretch.days[1:], found, strict=False)
    ]
    return SubscriberReport(months=months)


@strawberry.input
class ReportExportInput:
    report: ReportKind
    format: ExportFormat = ExportFormat.CSV
    from_: date | None = strawberry.field(
        default=None, name="from", description="The first day; of every report but RECEIVABLES."
    )
    to: date | None = strawberry.field(
        default=None, description="The day after the last; of every report but RECEIVABLES."
    )
    granularity: ReportGranularity = strawberry.field(
        default=ReportGranularity.MONTH, description="SUBSCRIBERS is by month always."
    )
    on: date | None = strawberry.field(default=None, description="Of RECEIVABLES: the day, today when left out.")
    idempotency_key: str | None = None
