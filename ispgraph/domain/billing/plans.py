"""What a change of package comes to: the time that is given back and the time that is charged in its place.

What is given back is what was really charged, at the price and with the tax of that time; what is charged is at the
price of today. The day of the change belongs to the new package.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain.billing import bills, invoices, payments, periods, prices, proration
from ispgraph.domain.billing.invoices import Line
from ispgraph.domain.billing.periods import Period, cycle_of
from ispgraph.domain.billing.proration import Sold
from ispgraph.domain.models import BilledPeriod, Invoice, Package, Service, ServiceStatus, Tenant
from ispgraph.domain.permissions import Viewer


@dataclass(frozen=True, slots=True)
class GivenBack:
    """Time that is charged, from when on it is not used, what that is of its price, and the line that says so; none
    when it is nothing."""

    row: BilledPeriod
    since: datetime
    minor: int
    line: Line | None


@dataclass(frozen=True, slots=True)
class Charged:
    """Time to be charged, as what, and the line; none when it costs nothing."""

    period: Period
    sold: Sold
    line: Line | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A change at an instant. `ends_at` and `anchor` are those of the service afterwards."""

    at: datetime
    package: Package
    sold: Sold
    given_back: Sequence[GivenBack]
    charged: Sequence[Charged]
    ends_at: datetime | None
    anchor: datetime | None

    @property
    def lines(self) -> list[Line]:
        """What is given back, then what is charged."""
        lines = [*(each.line for each in self.given_back), *(each.line for each in self.charged)]
        return [line for line in lines if line is not None]

    @property
    def amounts(self) -> invoices.Amounts:
        """The sums of the lines."""
        return invoices.amounts(self.lines)


async def plan(
    session: AsyncSession, *, tenant: Tenant, service: Service, package: Package, sold: Sold, at: datetime
) -> Plan:
    """What it comes to when a service gets a package at an instant, sold to its customer as `sold`.

    With the same cycle the periods stay, and the new package is charged up to where the service ends. With another
    cycle, for a service whose time is over, and for one that has not begun, a period begins at that instant.
    """
    waits = service.status is ServiceStatus.PENDING and service.expires_at is None
    before = await session.get_one(Package, service.package_id)
    given_back = [
        await _given_back(session, row, tenant, row.starts_at if waits else at)
        for row in await bills.ahead(session, service.id, None if waits else at)
    ]
    zone, ends, anchor = tenant.time_zone, service.expires_at, service.billing_anchor
    charged: list[Charged] = []
    if ends is None and not waits:
        # A service without an end has no periods: nothing of it is charged by time.
        return Plan(at, package, sold, given_back, charged, ends, anchor)
    if ends is None or ends <= at or sold.cycle != await prices.cycle(session, before, service.customer_id):
        period = Period(at, periods.boundary(at, sold.cycle, 1, zone))
        charged.append(_charged(period, sold, proration.whole(sold, period, zone)))
        anchor, ends = at, None if waits else period.end
    else:
        counted = proration.parts(sold, anchor or ends, Period(at, ends), zone)
        charged += [_charged(period, sold, line) for period, line in counted]
    return Plan(at, package, sold, given_back, charged, ends, anchor)


async def _given_back(session: AsyncSession, row: BilledPeriod, tenant: Tenant, at: datetime) -> GivenBack:
    package = await session.get_one(Package, row.package_id)
    period = Period(row.starts_at, row.ends_at)
    if proration.days(period, tenant.time_zone) == 0:
        return GivenBack(row, at, 0, None)
    was = Sold(
        name=package.name,
        cycle=cycle_of(package.billing_cycle, package.validity_days),
        price_minor=row.price_minor,
        currency=tenant.currency,
        tax_rate=row.tax_rate,
        tax_included=row.tax_included,
    )
    line = proration.credit(was, period, at, tenant.time_zone)
    minor = -line.unit_price_minor
    return GivenBack(row, at, minor, line if minor else None)


def _charged(period: Period, sold: Sold, line: Line) -> Charged:
    price = line.unit_price_minor
    return Charged(period, replace(sold, price_minor=price), line if price else None)


async def carry_out(
    session: AsyncSession, plan: Plan, *, tenant: Tenant, service: Service, by: Viewer | None
) -> Invoice | None:
    """Do it: give the service the package and its new end, and settle. The invoice when something is to be paid, with
    the wallet applied; the credit note when not; None when what is given back is exactly what is charged.

    The service and its customer are locked.
    """
    service.package_id, service.expires_at, service.billing_anchor = plan.package.id, plan.ends_at, plan.anchor
    document, opened = await _document(session, plan, tenant, service)
    for each in plan.given_back:
        if document is not None:
            await bills.cut(session, each.row, each.since, each.minor, plan.at, document)
    for part in plan.charged:
        if document is not None:
            await bills.charge(session, document, service, part.period, part.sold)
    if not opened or document is None:
        return None
    await invoices.open(session, document, tenant=tenant, at=plan.at, by=by)
    if document.total_minor < 0:
        await payments.from_credit(session, document, tenant=tenant, at=plan.at, by=by)
    else:
        await payments.from_wallet(
            session, tenant=tenant, customer_id=service.customer_id, invoices=[document], at=plan.at, by=by
        )
    return document


async def _document(session: AsyncSession, plan: Plan, tenant: Tenant, service: Service) -> tuple[Invoice | None, bool]:
    """What charges for the time from now on, and whether it is a draft of ours. When nothing is due either way it is
    the invoice that had charged for it; None when nobody charges for it."""
    sums, source = plan.amounts, _source(plan)
    if not (sums.subtotal_minor or sums.tax_minor):
        if not plan.lines:
            return None, False
        if {each.row.invoice_id for each in plan.given_back} == {source}:
            return await session.get_one(Invoice, source), False
    credits_id = None
    if sums.total_minor < 0:
        given = await session.get_one(Invoice, source)
        credits_id = given.credits_id or given.id
    spans = [each.period for each in plan.charged]
    draft = await invoices.draft(
        session,
        tenant=tenant,
        customer_id=service.customer_id,
        service_id=service.id,
        lines=plan.lines,
        period_start=spans[0].start if spans else None,
        period_end=spans[-1].end if spans else None,
        credits_id=credits_id,
    )
    return draft, True


def _source(plan: Plan) -> UUID | None:
    """The invoice whose time is given back first."""
    return next((each.row.invoice_id for each in plan.given_back if each.line is not None), None)
