"""Pictures of what the schema tells in figures."""

from datetime import datetime
from typing import Annotated, Any

import strawberry

from ispgraph.domain import models, usage_charts
from ispgraph.domain.usage import UsageGranularity
from ispgraph.domain.usage_charts import ChartFormat
from ispgraph.schema.context import Info


def _url(
    root: strawberry.Parent[models.Customer],
    info: Info,
    from_: Annotated[datetime | None, strawberry.argument(name="from")] = None,
    to: datetime | None = None,
    granularity: UsageGranularity | None = UsageGranularity.DAY,
    format: ChartFormat = ChartFormat.SVG,
) -> str:
    settings = info.context.settings
    link = usage_charts.link(
        settings.token_key,
        root,
        since=from_,
        until=to,
        granularity=granularity or UsageGranularity.DAY,
        format=format,
        by=info.context.viewer_or_refuse(),
    )
    return settings.origin + link


def usage_chart_url() -> Any:
    """The field `usageChartUrl` of a customer."""
    description = (
        "Where `usage` of the same arguments is drawn, for pages and e-mails: whoever has this address sees it, for "
        "seven days, without signing in."
    )
    return strawberry.field(resolver=_url, description=description)
