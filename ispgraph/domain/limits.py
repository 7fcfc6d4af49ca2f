"""The limits of one service beside those of its package: speed, time and volume.

What they come to at a moment is said by `service_standing` in the migrations, for RADIUS, people and the scheduler
alike. Of the rates: a temporary limit beats fair use, fair use beats a permanent limit wherever it is slower, and a
permanent limit stands in place of the package's rates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from itertools import pairwise
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import action_rules, audit, services
from ispgraph.domain.errors import ErrorCode, Faults, fail
from ispgraph.domain.models import Customer, Service, ServiceLimit
from ispgraph.domain.models.limits import MAXIMUM_LIMIT_KBPS
from ispgraph.domain.network import changes
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.services import Chosen, Done

SPEED, TIME, VOLUME = "speed", "time", "volume"
COLUMNS: Mapping[str, Sequence[str]] = {
    SPEED: (
        *("speed_download_kbps", "speed_upload_kbps"),
        *("temporary_download_kbps", "temporary_upload_kbps", "temporary_until"),
    ),
    TIME: ("session_seconds", "daily_seconds", "weekly_seconds", "monthly_seconds", "windows"),
    VOLUME: ("daily_bytes", "monthly_bytes", "rollover", "rollover_since"),
}
_DAY = 86_400
MAXIMUM_SECONDS = {"session": 31 * _DAY, "daily": _DAY, "weekly": 7 * _DAY, "monthly": 31 * _DAY}
MAXIMUM_BYTES = 2**60
MAXIMUM_WINDOWS = 50


@dataclass(frozen=True, slots=True)
class Window:
    """On these days (1 is Monday), from one time of the wall clock until before another; past midnight when that is
    not later."""

    days: Sequence[int]
    begins: time
    ends: time


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Seconds of a session, day, week and month, and the windows outside of which there is no access."""

    session: int | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None
    windows: Sequence[Window] | None = None


async def set_speed(
    session: AsyncSession,
    chosen: Chosen,
    *,
    download_kbps: int,
    upload_kbps: int,
    expires_at: datetime | None,
    idempotency_key: str | None,
    by: Viewer,
) -> Done:
    """Give a service rates of its own, for good or until `expires_at`; 0 and 0 leave them to the router.

    A permanent limit takes the place of every other. A temporary one lets the permanent one wait.
    """
    faults = Faults("input")
    for rate, field in ((download_kbps, "downloadKbps"), (upload_kbps, "uploadKbps")):
        if not 0 <= rate <= MAXIMUM_LIMIT_KBPS:
            faults.add(ErrorCode.INVALID, f"This must be from 0 to {MAXIMUM_LIMIT_KBPS}.", field)
        elif rate == 0 and (download_kbps, upload_kbps) != (0, 0):
            message = "Only both can be 0: then the router manages the rates. A rate of one direction cannot."
            faults.add(ErrorCode.INVALID, message, field)
    if expires_at is not None and expires_at <= clock.now():
        faults.add(ErrorCode.INVALID, "This must be in the future; leave it out for a permanent limit.", "expiresAt")
    faults.raise_if_any()
    values: dict[str, object] = {
        "temporary_download_kbps": None if expires_at is None else download_kbps,
        "temporary_upload_kbps": None if expires_at is None else upload_kbps,
        "temporary_until": expires_at,
    }
    if expires_at is None:
        values |= {"speed_download_kbps": download_kbps, "speed_upload_kbps": upload_kbps}
    return await _set(session, SPEED, chosen, values, idempotency_key, by)


async def set_time(
    session: AsyncSession, chosen: Chosen, limits: TimeLimits, *, idempotency_key: str | None, by: Viewer
) -> Done:
    """Limit how long, and when, a service may be used: these limits in place of those there were."""
    faults = Faults("input")
    given = {"session": limits.session, "daily": limits.daily, "weekly": limits.weekly, "monthly": limits.monthly}
    for name, seconds in given.items():
        if seconds is not None and not 1 <= seconds <= MAXIMUM_SECONDS[name]:
            faults.add(ErrorCode.INVALID, f"This must be from 1 to {MAXIMUM_SECONDS[name]}.", f"{name}Seconds")
    longer = [(name, seconds) for name, seconds in given.items() if name != "session" and seconds is not None]
    for (shorter_name, shorter), (name, seconds) in pairwise(longer):
        if seconds < shorter:
            message = f"This is less than {shorter_name}Seconds, which could never be reached."
            faults.add(ErrorCode.INVALID, message, f"{name}Seconds")
    windows = limits.windows or None
    if windows is None and all(seconds is None for seconds in given.values()):
        message = "Give a limit, or windows; to have none at all, clear the time limit."
        faults.add(ErrorCode.REQUIRED, message, "sessionSeconds")
    for number, window in enumerate(windows or ()):
        _check_window(faults, window, number)
    if not faults.found and windows:
        _check_overlaps(faults, windows)
    faults.raise_if_any()
    values: dict[str, object] = {f"{name}_seconds": seconds for name, seconds in given.items()}
    values["windows"] = windows and [
        {"days": sorted(set(each.days)), "from": each.begins.isoformat(), "to": each.ends.isoformat()}
        for each in windows
    ]
    return await _set(session, TIME, chosen, values, idempotency_key, by)


def _check_window(faults: Faults, window: Window, number: int) -> None:
    if number >= MAXIMUM_WINDOWS:
        if number == MAXIMUM_WINDOWS:
            faults.add(ErrorCode.LIMIT_EXCEEDED, f"There can be {MAXIMUM_WINDOWS} windows.", "windows")
        return
    at = ("windows", str(number))
    if not window.days:
        faults.add(ErrorCode.REQUIRED, "Name at least one day: 1 is Monday, 7 is Sunday.", *at, "days")
    elif not all(1 <= day <= 7 for day in window.days):
        faults.add(ErrorCode.INVALID, "Days are from 1 (Monday) to 7 (Sunday).", *at, "days")
    if window.begins == window.ends:
        message = "A window cannot end when it begins; for a whole day give two, up to noon and from noon on."
        faults.add(ErrorCode.INVALID, message, *at, "to")


def _check_overlaps(faults: Faults, windows: Sequence[Window]) -> None:
    """No moment of the week lies in two windows."""
    spans = sorted(
        (begin, begin + (_seconds(window.ends) - _seconds(window.begins)) % _DAY, number)
        for number, window in enumerate(windows)
        for begin in ((day - 1) * _DAY + _seconds(window.begins) for day in set(window.days))
    )
    first, last = spans[0], max(spans, key=lambda span: span[1])
    # Sunday night goes on into Monday.
    spans.append((first[0] + 7 * _DAY, first[1] + 7 * _DAY, first[2]))
    for before, after in pairwise(spans):
        reach = last if after is spans[-1] else before
        if after[0] < reach[1]:
            message = f"This window overlaps window {min(reach[2], after[2])}."
            faults.add(ErrorCode.INVALID, message, "windows", str(max(reach[2], after[2])))
            return


def _seconds(at: time) -> int:
    return at.hour * 3600 + at.minute * 60 + at.second


async def set_volume(
    session: AsyncSession,
    chosen: Chosen,
    *,
    daily_bytes: int | None,
    monthly_bytes: int | None,
    rollover: bool,
    idempotency_key: str | None,
    by: Viewer,
) -> Done:
    """Limit how much a service may carry, both directions together. `monthly_bytes` is of a billing period, or of a
    calendar month where the service has none; with `rollover` what is left of one goes over into the next."""
    faults = Faults("input")
    for number, field in ((daily_bytes, "dailyBytes"), (monthly_bytes, "monthlyBytes")):
        if number is not None and not 1 <= number <= MAXIMUM_BYTES:
            faults.add(ErrorCode.INVALID, f"This must be from 1 to {MAXIMUM_BYTES}.", field)
    if daily_bytes is None and monthly_bytes is None:
        message = "Give bytes of a day, of a month, or both; to have no limit at all, clear the volume limit."
        faults.add(ErrorCode.REQUIRED, message, "dailyBytes")
    elif daily_bytes is not None and monthly_bytes is not None and monthly_bytes < daily_bytes:
        faults.add(ErrorCode.INVALID, "This is less than dailyBytes, which could never be reached.", "monthlyBytes")
    if rollover and monthly_bytes is None:
        faults.add(ErrorCode.INVALID, "Only what is left of monthlyBytes can go over into the next month.", "rollover")
    faults.raise_if_any()
    values: dict[str, object] = {"daily_bytes": daily_bytes, "monthly_bytes": monthly_bytes, "rollover": rollover}
    return await _set(session, VOLUME, chosen, values, idempotency_key, by)


async def clear(session: AsyncSession, kind: str, chosen: Chosen, *, idempotency_key: str | None, by: Viewer) -> Done:
    """Take away the limits of SPEED, TIME or VOLUME. Raises DomainError NO_CHANGE when there are none."""
    operation = _operation("clear", kind)
    if (first := await services.done_before(session, operation, idempotency_key, chosen, {}, by)) is not None:
        return first
    customer, service, _ = await services.locked(session, chosen, by)
    row = await _row(session, service.id)
    if row is None or not _there(row, kind):
        raise fail(ErrorCode.NO_CHANGE, f"This service has no {kind} limit.", *chosen.field)
    before = _state(row, kind)
    for name in COLUMNS[kind]:
        setattr(row, name, False if name == "rollover" else None)
    if not any(_there(row, each) for each in COLUMNS):
        await session.delete(row)
    return await _done(session, "clear", kind, customer, service, (before, None), idempotency_key, by)


async def _set(
    session: AsyncSession, kind: str, chosen: Chosen, values: dict[str, object], key: str | None, by: Viewer
) -> Done:
    operation = _operation("set", kind)
    if (first := await services.done_before(session, operation, key, chosen, values, by)) is not None:
        return first
    customer, service, _ = await services.locked(session, chosen, by)
    action_rules.require(action_rules.limit(service), *chosen.field)
    row = await _row(session, service.id)
    before = None if row is None or not _there(row, kind) else _state(row, kind)
    if row is None:
        row = ServiceLimit(tenant_id=by.tenant_id, service_id=service.id, rollover=False)
        session.add(row)
    if kind == VOLUME:
        values["rollover_since"] = (row.rollover_since or clock.now()) if values["rollover"] else None
    if before is not None and all(getattr(row, name) == value for name, value in values.items()):
        raise fail(ErrorCode.NO_CHANGE, f"This is the {kind} limit that the service has.", *chosen.field)
    for name, value in values.items():
        setattr(row, name, value)
    return await _done(session, "set", kind, customer, service, (before, _state(row, kind)), key, by)


def _operation(verb: str, kind: str) -> str:
    return f"customer{verb.title()}{kind.title()}Limit"


async def _done(
    session: AsyncSession,
    verb: str,
    kind: str,
    customer: Customer,
    service: Service,
    states: tuple[object, object],
    key: str | None,
    by: Viewer,
) -> Done:
    details = {"service": str(service.id), "before": states[0], "after": states[1]}
    audit.record(session, by=by, action=f"customer.{verb}_{kind}_limit", subject_id=customer.id, details=details)
    jobs = await changes.changed(session, service, by=by.operator_id)
    return await services.kept(session, _operation(verb, kind), key, Done(customer, jobs), by)


async def _row(session: AsyncSession, service_id: UUID) -> ServiceLimit | None:
    # Whoever writes it has locked the service.
    return await session.scalar(select(ServiceLimit).where(ServiceLimit.service_id == service_id))


def _there(row: ServiceLimit, kind: str) -> bool:
    return any(getattr(row, name) not in (None, False) for name in COLUMNS[kind])


def _state(row: ServiceLimit, kind: str) -> dict[str, object]:
    values = ((name, getattr(row, name)) for name in COLUMNS[kind])
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values}
