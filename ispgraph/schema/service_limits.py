"""Limits of a service, fair use, and what they come to."""

from datetime import datetime, time
from typing import Any

import strawberry

from ispgraph.domain import standings
from ispgraph.schema.compiler.fields import declared, part
from ispgraph.schema.compiler.sources import Expression, Rows
from ispgraph.schema.scalars import BigInt

_SERVICE = "Left out: the primary service, or the only one."


@strawberry.type(description="Rates of a service's own, in kbit/s; 0 and 0: the router manages them.")
class SpeedLimit:
    download_kbps: int
    upload_kbps: int
    expires_at: datetime | None = strawberry.field(
        description="When it ends by itself and the permanent limit, if there is one, counts again."
    )


@strawberry.type(
    description="From one time of the wall clock until before another. A window that ends as late as it begins, or "
    "earlier, ends on the next day."
)
class TimeWindow:
    days: list[int] = strawberry.field(description="The days on which it begins: 1 is Monday, 7 is Sunday.")
    from_: time = strawberry.field(name="from")
    to: time


def _number(name: str) -> Any:
    return declared(Expression(lambda service, asked: standings.time_limit(service, name)))


@strawberry.type(description="How long, and when, a service may be used. Weeks begin on Monday.")
class TimeLimit:
    session_seconds: int | None = _number("session_seconds")
    daily_seconds: int | None = _number("daily_seconds")
    weekly_seconds: int | None = _number("weekly_seconds")
    monthly_seconds: int | None = _number("monthly_seconds")
    windows: list[TimeWindow] = declared(
        Rows(lambda service, asked: standings.windows(service)),
        "When the service may be used, in the tenant's time zone; without windows, at any time.",
    )


@strawberry.type(description="How much a service may carry, both directions together.")
class VolumeLimit:
    daily_bytes: BigInt | None
    monthly_bytes: BigInt | None = strawberry.field(
        description="Of a billing period, or of a calendar month where the service has no end that is paid for."
    )
    used_today_bytes: BigInt
    used_this_period_bytes: BigInt
    rollover: bool = strawberry.field(
        description="What is left of one period goes over into the next, at most one period's worth."
    )


@strawberry.type(description="How far a service is with the fair use policy of its package.")
class FupState:
    active: bool
    activated_at: datetime | None = strawberry.field(description="When that was noticed, or somebody said so.")
    used_bytes: BigInt = strawberry.field(description="In this period, since it was last reset.")
    threshold_bytes: BigInt | None
    used_percent: float = strawberry.field(description="Of the threshold of bytes or of seconds, whichever is nearer.")
    resets_at: datetime = strawberry.field(description="When the period ends.")


@strawberry.type(description="What the customer really gets now, and why.")
class EffectivePolicy:
    download_kbps: int | None = strawberry.field(description="Null where the router manages it.")
    upload_kbps: int | None = strawberry.field(description="Null where the router manages it.")
    source: standings.PolicySource
    until: datetime | None = strawberry.field(description="When it ends by itself.")
    explanation: str


def speed_limit() -> Any:
    """The field `speedLimit` of a service."""
    return declared(Rows(lambda service, asked: standings.speed_limit(service, asked.now), single=True))


def time_limit() -> Any:
    """The field `timeLimit` of a service."""
    return part(lambda service, asked: standings.has_time_limit(service))


def volume_limit() -> Any:
    """The field `volumeLimit` of a service."""
    return declared(Rows(lambda service, asked: standings.volume_limit(service, asked.now), single=True))


def fup_state() -> Any:
    """The field `fup` of a service."""
    return declared(
        Rows(lambda service, asked: standings.fair_use(service, asked.now), single=True),
        "Null where its package has no fair use policy.",
    )


def effective_policy() -> Any:
    """The field `effectivePolicy` of a service."""
    return declared(Rows(lambda service, asked: standings.effective_policy(service, asked.now), single=True))


@strawberry.input(description="In kbit/s. 0 and 0: the router manages the rates. With `expiresAt` it is temporary.")
class SpeedLimitInput:
    customer_id: strawberry.ID
    service_id: strawberry.ID | None = strawberry.field(default=None, description=_SERVICE)
    download_kbps: int
    upload_kbps: int
    expires_at: datetime | None = None
    idempotency_key: str | None = None


@strawberry.input
class TimeWindowInput:
    days: list[int] = strawberry.field(description="The days on which it begins: 1 is Monday, 7 is Sunday.")
    from_: time = strawberry.field(name="from")
    to: time


@strawberry.input(description="These limits stand in place of those there were.")
class TimeLimitInput:
    customer_id: strawberry.ID
    service_id: strawberry.ID | None = strawberry.field(default=None, description=_SERVICE)
    session_seconds: int | None = None
    daily_seconds: int | None = None
    weekly_seconds: int | None = None
    monthly_seconds: int | None = strawberry.field(default=None, description="Of a calendar month.")
    windows: list[TimeWindowInput] | None = None
    idempotency_key: str | None = None


@strawberry.input(description="Both directions together. These limits stand in place of those there were.")
class VolumeLimitInput:
    customer_id: strawberry.ID
    service_id: strawberry.ID | None = strawberry.field(default=None, description=_SERVICE)
    daily_bytes: BigInt | None = None
    monthly_bytes: BigInt | None = None
    rollover: bool = False
    idempotency_key: str | None = None


@strawberry.input
class ServiceRef:
    customer_id: strawberry.ID
    service_id: strawberry.ID | None = strawberry.field(default=None, description=_SERVICE)
    idempotency_key: str | None = None
