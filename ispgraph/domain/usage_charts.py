"""Charts of usage at signed links: whoever has the link sees the chart, as the figures are then, for a week."""

import enum
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Date
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import charts, links, usage
from ispgraph.domain.models import Customer, Tenant
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.usage import UsageGranularity

LASTS = timedelta(days=7)


class ChartFormat(enum.Enum):
    SVG = "SVG"
    PNG = "PNG"


def link(
    secret: bytes,
    customer: Customer,
    *,
    since: datetime | None,
    until: datetime | None,
    granularity: UsageGranularity,
    format: ChartFormat,
    by: Viewer,
) -> str:
    """The path and query of the chart of a stretch of time. Raises DomainError as `usage.stretch` does."""
    values = usage.stretch(by, since=since, until=until, granularity=granularity)
    given = {name: value.isoformat() for name, value in values.items()}
    path = f"/downloads/usage/{customer.tenant_id.hex}/{customer.id.hex}/chart.{format.value.lower()}"
    return links.signed(secret, path, {**given, "by": granularity.value}, clock.now() + LASTS)


async def find(session: AsyncSession, customer_id: UUID, given: Mapping[str, str]) -> charts.Drawing | None:
    """The chart that a link was made for; None when the customer is there no more."""
    customer = await session.get(Customer, customer_id)
    if customer is None:
        return None
    tenant = await session.get_one(Tenant, customer.tenant_id)
    granularity = UsageGranularity(given["by"])
    values = {name: _read(name, text) for name, text in given.items() if name in usage.KINDS}
    begin, end = (values[name] for name in (("since", "until") if "since" in values else ("first_day", "end_day")))
    rows = await session.execute(usage.points(customer, values, granularity, tenant.time_zone))
    return charts.draw(
        charts.Usage(
            account_number=customer.account_number,
            zone=ZoneInfo(tenant.time_zone),
            granularity=granularity,
            begin=begin,
            end=end,
            points=[charts.Point(row.start, int(row.download_bytes), int(row.upload_bytes)) for row in rows],
        )
    )


def _read(name: str, text: str) -> Any:
    return date.fromisoformat(text) if isinstance(usage.KINDS[name], Date) else datetime.fromisoformat(text)
