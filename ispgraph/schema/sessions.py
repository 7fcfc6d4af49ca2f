"""Accounting sessions, and the usage that follows from them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import strawberry

from ispgraph.domain import models, standings, usage
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.usage import UsageGranularity
from ispgraph.schema.base import Node, node
from ispgraph.schema.compiler.fields import column, one, part, rows
from ispgraph.schema.compiler.sources import Arguments, Asked, Choice, Expression, in_use
from ispgraph.schema.routers import Router
from ispgraph.schema.scalars import BigInt, IpAddress, MacAddress


@node("ses", models.Session, description="One accounting session.")
class Session(Node):
    acct_session_id: str
    state: models.SessionState = strawberry.field(
        description="STALE: nothing was heard of it for too long, so it is taken to have ended at its last update."
    )
    connection_type: models.ConnectionType
    started_at: datetime
    updated_at: datetime = strawberry.field(description="When accounting last told of it.")
    stopped_at: datetime | None
    duration_seconds: int
    download_bytes: BigInt = column("output_octets")
    upload_bytes: BigInt = column("input_octets")
    ip_address: IpAddress | None
    mac_address: MacAddress | None
    nas_address: IpAddress | None = strawberry.field(description="Of the router that told of it.")
    router: Router | None = one("router_id")
    terminate_cause: str | None


@strawberry.input(
    description="What is left out is no condition. Sessions began at `from` or later, and earlier than `to`."
)
class SessionWhere:
    from_: datetime | None = strawberry.field(default=None, name="from")
    to: datetime | None = None
    connection_type: models.ConnectionType | None = None
    state: models.SessionState | None = None


def session_values(viewer: Viewer, where: SessionWhere | None = None) -> Mapping[str, Any]:
    """The values of the filters of `domain.sessions`."""
    if where is None:
        return {}
    return in_use(
        viewer,
        begun_from=where.from_,
        begun_to=where.to,
        connection_type=where.connection_type,
        state=where.state,
    )


@strawberry.type(description="One hour, day or month.")
class UsagePoint:
    start: datetime = strawberry.field(description="Midnight in the tenant's time zone begins a day or month.")
    download_bytes: BigInt
    upload_bytes: BigInt


def _points(customer: Any, asked: Asked) -> Any:
    granularity = UsageGranularity[asked.given["granularity"]]
    return usage.points(customer, asked.given, granularity, asked.viewer.time_zone)


@strawberry.type(
    description="What was used in a stretch of time, widened to whole hours, days or months of the tenant's time zone."
)
class Usage:
    download_bytes: BigInt
    upload_bytes: BigInt
    total_bytes: BigInt = strawberry.field(description="Download and upload together.")
    seconds: int = strawberry.field(description="How long sessions were open.")
    quota_bytes: BigInt | None = strawberry.field(
        description="What the primary service may carry in its billing period now; null without a limit."
    )
    used_percent: float | None = strawberry.field(description="How much of that this stretch of time has used.")
    points: list[UsagePoint] = rows(_points, description="In order of time; those without usage are left out.")


def _stretch(
    viewer: Viewer,
    from_: datetime | None = None,
    to: datetime | None = None,
    granularity: UsageGranularity | None = None,
) -> Mapping[str, Any]:
    chosen = granularity or UsageGranularity.DAY
    values = usage.stretch(viewer, since=from_, until=to, granularity=chosen)
    return {**values, "granularity": Choice(chosen.name)}


def _used_percent(customer: Any, asked: Asked) -> Any:
    used = usage.total(customer, asked.given, "output_octets", "input_octets")
    return standings.percent(used, standings.quota(customer, asked.now))


def usage_of_customer() -> Any:
    """The field `usage` of a customer."""
    longest = ", ".join(f"{each.days} days by {kind.value}" for kind, each in usage.LONGEST.items())

    def total(*figures: str) -> Expression:
        return Expression(lambda customer, asked: usage.total(customer, asked.given, *figures))

    return part(
        arguments=Arguments(
            {
                "from_": Annotated[datetime | None, strawberry.argument(name="from")],
                "to": datetime | None,
                "granularity": UsageGranularity | None,
            },
            _stretch,
            usage.KINDS,
            {"granularity": UsageGranularity.DAY},
        ),
        description=f"From `from`, by default the month's beginning, up to `to`, by default now: at most {longest}.",
        members={
            "download_bytes": total("output_octets"),
            "upload_bytes": total("input_octets"),
            "total_bytes": total("output_octets", "input_octets"),
            "seconds": total("seconds"),
            "quota_bytes": Expression(lambda customer, asked: standings.quota(customer, asked.now)),
            "used_percent": Expression(_used_percent),
        },
    )
