"""Rates of commission: said for an operator from a moment on, and never changed. See `commissions` for what they do."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, and_, exists, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ispgraph import clock
from ispgraph.domain import amounts, audit, idempotency, operators
from ispgraph.domain.errors import ErrorCode, Faults, fail
from ispgraph.domain.lists import Filter
from ispgraph.domain.models import CommissionRate, Package
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Viewer

SET, END = "commissionRateSet", "commissionRateEnd"
NEWEST = newest_first("commission-rates", CommissionRate.id)
FILTERS = {
    "operator": Filter(Uuid(), lambda value, by: CommissionRate.operator_id == value),
    "package": Filter(Uuid(), lambda value, by: CommissionRate.package_id == value),
}


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate as given: percent, or a fixed amount for each invoice, for one package or in general."""

    operator_id: UUID
    package_id: UUID | None
    percent: Decimal | None
    fixed: Decimal | None
    valid_from: datetime | None


def in_force(rate: Any, now: Any) -> ColumnElement[bool]:
    """Whether a rate is what its operator earns by at this moment."""
    later = aliased(CommissionRate)
    replaced = exists().where(
        later.operator_id == rate.operator_id,
        or_(later.package_id == rate.package_id, and_(later.package_id.is_(None), rate.package_id.is_(None))),
        later.valid_from <= now,
        tuple_(later.valid_from, later.id) > tuple_(rate.valid_from, rate.id),
    )
    says = or_(rate.percent.is_not(None), rate.fixed_minor.is_not(None))
    return and_(rate.valid_from <= now, says, ~replaced.correlate_except(later))


async def set_rate(session: AsyncSession, given: Rate, *, idempotency_key: str | None, by: Viewer) -> CommissionRate:
    """Have an operator earn by a rate from a moment on; from now on when none is given. What was earned stays."""
    faults = Faults("input")
    if (given.percent is None) == (given.fixed is None):
        faults.add(ErrorCode.INVALID, "Give percent or a fixed amount, one of them.", "percent")
    if given.percent is not None and not _is_percent(given.percent):
        faults.add(ErrorCode.INVALID, "A rate is from 0 to 100 per cent with at most three decimals.", "percent")
    percent = None if given.percent is None else given.percent.normalize()
    fixed = None if given.fixed is None else amounts.minor(faults, given.fixed, by.currency, "fixed")
    if fixed is not None and fixed <= 0:
        faults.add(ErrorCode.INVALID, "The amount must be more than zero.", "fixed")
    return await _say(session, SET, given, faults, idempotency_key, by, percent=percent, fixed_minor=fixed)


async def end(session: AsyncSession, given: Rate, *, idempotency_key: str | None, by: Viewer) -> CommissionRate:
    """End a rate: that for a package, after which the general one counts, or the general one. A rate that was said to
    begin later still does. Raises DomainError INVALID_STATE when there is none by then."""
    return await _say(session, END, given, Faults("input"), idempotency_key, by)


async def _say(
    session: AsyncSession,
    operation: str,
    given: Rate,
    faults: Faults,
    idempotency_key: str | None,
    by: Viewer,
    **terms: Decimal | int | None,
) -> CommissionRate:
    if given.package_id is not None and await session.get(Package, given.package_id) is None:
        faults.add(ErrorCode.NOT_FOUND, "There is no such package.", "packageId")
    faults.raise_if_any()
    about = {"operator": given.operator_id, "package": given.package_id, "from": given.valid_from, **terms}
    first = await idempotency.claim(session, by=by, operation=operation, key=idempotency_key, given=about)
    # The lock puts those who say rates of one operator one after the other.
    operator = await operators.lock_paid(session, given.operator_id, by=by)
    if first is not None:
        return await session.get_one(CommissionRate, UUID(str(first["rate"])))
    now = clock.now()
    valid_from = given.valid_from or now
    if valid_from < now:
        message = "A rate begins now or later: what was earned stays as it is."
        raise fail(ErrorCode.INVALID, message, "input", "validFrom")
    if operation == END and not await _holds(session, given, valid_from):
        raise fail(ErrorCode.INVALID_STATE, "There is no such rate to end.", "input", "packageId")
    row = CommissionRate(
        tenant_id=by.tenant_id,
        operator_id=operator.id,
        package_id=given.package_id,
        valid_from=valid_from,
        by_id=by.operator_id,
        **terms,
    )
    session.add(row)
    await session.flush()
    action = "commission_rate.set" if operation == SET else "commission_rate.end"
    audit.record(session, by=by, action=action, subject_id=operator.id, details=_details(row))
    answer = {"rate": str(row.id)}
    await idempotency.keep(session, by=by, operation=operation, key=idempotency_key, answer=answer)
    return row


async def _holds(session: AsyncSession, given: Rate, at: datetime) -> bool:
    """Whether there is a rate to end at that moment."""
    latest = (
        select(func.num_nonnulls(CommissionRate.percent, CommissionRate.fixed_minor))
        .where(CommissionRate.operator_id == given.operator_id, CommissionRate.valid_from <= at)
        .where(CommissionRate.package_id.is_not_distinct_from(given.package_id))
        .order_by(CommissionRate.valid_from.desc(), CommissionRate.id.desc())
        .limit(1)
    )
    return bool(await session.scalar(latest))


def _is_percent(value: Decimal) -> bool:
    return value.is_finite() and 0 <= value <= 100 and value == round(value, 3)


def _details(row: CommissionRate) -> Mapping[str, object]:
    return {
        "package": None if row.package_id is None else str(row.package_id),
        "percent": None if row.percent is None else f"{row.percent:f}",
        "fixed_minor": row.fixed_minor,
        "valid_from": row.valid_from.isoformat(),
    }
