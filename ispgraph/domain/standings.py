"""How services stand, as SQL says it: the rates that count and why, what is left, and fair use."""

import enum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    Float,
    Integer,
    Numeric,
    Select,
    Text,
    Time,
    case,
    cast,
    column,
    func,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import aliased

from ispgraph.domain.models import Package, Service, ServiceLimit, ServiceWatch
from ispgraph.domain.models.base import names


class PolicySource(enum.Enum):
    PACKAGE = "PACKAGE"
    SPEED_LIMIT = "SPEED_LIMIT"
    TEMPORARY_SPEED_LIMIT = "TEMPORARY_SPEED_LIMIT"
    FUP = "FUP"
    ROUTER = "ROUTER"


_EXPLAINED = {
    PolicySource.PACKAGE: "The rates of the package.",
    PolicySource.SPEED_LIMIT: "A speed limit of this service, in place of the rates of its package.",
    PolicySource.TEMPORARY_SPEED_LIMIT: "A temporary speed limit, which beats everything else while it lasts.",
    PolicySource.FUP: "Fair use: the threshold of the package is reached, so it is slower until the period ends.",
    PolicySource.ROUTER: "Managed by the router: RADIUS tells it no rate.",
}
_INSTANT = DateTime(timezone=True)
_COLUMNS = (
    column("refusal", Text()),
    column("upload_kbps", Integer()),
    column("download_kbps", Integer()),
    column("source", names(PolicySource, 30)),
    column("until", _INSTANT),
    column("today_octets", BigInteger()),
    column("period_octets", BigInteger()),
    column("quota_octets", BigInteger()),
    column("fup_active", Boolean()),
    column("fup_since", _INSTANT),
    column("fup_until", _INSTANT),
    column("fup_octets", BigInteger()),
    column("fup_seconds", BigInteger()),
    column("fup_percent", Numeric()),
)


def standing(service: Any, at: Any) -> Any:
    """How a service stands at an instant, as a table of one row."""
    return func.service_standing(service.id, at).table_valued(*_COLUMNS).alias("standing")


def effective_policy(service: Any, at: Any) -> Select[Any]:
    """The rates that count for a service, where they come from, until when, and why, for people."""
    found = standing(service, at)
    why = case(*((found.c.source == source, literal(said, Text())) for source, said in _EXPLAINED.items()), else_="")
    off = func.concat(literal("Off line: ", Text()), found.c.refusal, literal(". On line: ", Text()))
    return select(
        func.nullif(found.c.download_kbps, 0).label("download_kbps"),
        func.nullif(found.c.upload_kbps, 0).label("upload_kbps"),
        found.c.source,
        found.c.until,
        case((found.c.refusal.is_(None), why), else_=func.concat(off, why)).label("explanation"),
    )


def fair_use(service: Any, at: Any) -> Select[Any]:
    """How far a service is with fair use; no row where its package has none."""
    found, package, watch = standing(service, at), aliased(Package), aliased(ServiceWatch)
    began = watch.fup_activated_at >= found.c.fup_since
    return (
        select(
            found.c.fup_active.label("active"),
            case((found.c.fup_active & began, watch.fup_activated_at)).label("activated_at"),
            found.c.fup_octets.label("used_bytes"),
            package.fup_threshold_bytes.label("threshold_bytes"),
            _rounded(found.c.fup_percent).label("used_percent"),
            found.c.fup_until.label("resets_at"),
        )
        .select_from(found)
        .join(package, true())
        .outerjoin(watch, (watch.tenant_id == service.tenant_id) & (watch.service_id == service.id))
        .where(package.id == service.package_id, found.c.fup_since.is_not(None))
    )


def speed_limit(service: Any, at: Any) -> Select[Any]:
    """The speed limit that counts among those of a service: the temporary one while there is one."""
    limit = aliased(ServiceLimit)
    temporary = limit.temporary_until > at
    return (
        select(
            case((temporary, limit.temporary_download_kbps), else_=limit.speed_download_kbps).label("download_kbps"),
            case((temporary, limit.temporary_upload_kbps), else_=limit.speed_upload_kbps).label("upload_kbps"),
            case((temporary, limit.temporary_until)).label("expires_at"),
        )
        .where(limit.tenant_id == service.tenant_id, limit.service_id == service.id)
        .where(or_(temporary, limit.speed_download_kbps.is_not(None)))
    )


def has_time_limit(service: Any) -> ColumnElement[bool]:
    """Whether a service has a time limit."""
    limit = aliased(ServiceLimit)
    given = (limit.session_seconds, limit.daily_seconds, limit.weekly_seconds, limit.monthly_seconds, limit.windows)
    there = or_(*(each.is_not(None) for each in given))
    return select(limit).where(limit.tenant_id == service.tenant_id, limit.service_id == service.id, there).exists()


def time_limit(service: Any, name: str) -> ColumnElement[Any]:
    """One number of the time limit of a service."""
    limit = aliased(ServiceLimit)
    rows = select(getattr(limit, name)).where(limit.tenant_id == service.tenant_id, limit.service_id == service.id)
    # Said here, because it also stands within FROM, where SQLAlchemy finds nothing outside by itself.
    return rows.correlate_except(limit).scalar_subquery()


def windows(service: Any) -> Select[Any]:
    """The windows of the time limit of a service: days, from_, to."""
    listed = func.jsonb_to_recordset(time_limit(service, "windows")).table_valued(
        column("days", JSONB()), column("from", Time()), column("to", Time())
    )
    each = listed.render_derived(name="each_window", with_types=True)
    return select(each.c.days, each.c["from"].label("from_"), each.c.to)


def volume_limit(service: Any, at: Any) -> Select[Any]:
    """The volume limit of a service, and what counts against it."""
    found, limit = standing(service, at), aliased(ServiceLimit)
    return (
        select(
            limit.daily_bytes,
            limit.monthly_bytes,
            limit.rollover,
            found.c.today_octets.label("used_today_bytes"),
            found.c.period_octets.label("used_this_period_bytes"),
        )
        .select_from(limit)
        .join(found, true())
        .where(limit.tenant_id == service.tenant_id, limit.service_id == service.id)
        .where(or_(limit.daily_bytes.is_not(None), limit.monthly_bytes.is_not(None)))
    )


def quota(customer: Any, at: Any) -> ColumnElement[Any]:
    """What the primary service of a customer may carry in its billing period, in octets; NULL without a limit."""
    service = aliased(Service)
    found = standing(service, at)
    return _of_primary(customer, service, found, found.c.quota_octets)


def quota_percent(customer: Any, at: Any) -> ColumnElement[Any]:
    """How much of that is used, in percent."""
    service = aliased(Service)
    found = standing(service, at)
    return _of_primary(customer, service, found, percent(found.c.period_octets, found.c.quota_octets))


def percent(used: Any, quota: Any) -> ColumnElement[Any]:
    """A share in percent, to two decimals."""
    return _rounded(cast(used, Numeric) * 100 / func.nullif(quota, 0))


def _rounded(number: Any) -> ColumnElement[Any]:
    return cast(func.round(number, 2), Float(53))


def _of_primary(customer: Any, service: Any, found: Any, value: Any) -> ColumnElement[Any]:
    rows = select(value).select_from(service).join(found, true())
    return rows.where(service.customer_id == customer.id, service.is_primary).scalar_subquery()
