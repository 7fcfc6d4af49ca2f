"""Reports as files: what is wished for, and the job that is promised for it."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import audit, jobs
from ispgraph.domain.errors import ErrorCode, Faults, fail
from ispgraph.domain.exports import ExportFormat, promised
from ispgraph.domain.idempotency import Once
from ispgraph.domain.models import Job, Tenant
from ispgraph.domain.permissions import Permission, Viewer
from ispgraph.domain.reports import periods, receivables, subscribers
from ispgraph.domain.reports.periods import Asker, ReportGranularity, Stretch

OPERATION = "reportExport"


class ReportKind(enum.Enum):
    REVENUE = "REVENUE"
    TAX = "TAX"
    COLLECTIONS = "COLLECTIONS"
    RECEIVABLES = "RECEIVABLES"
    SUBSCRIBERS = "SUBSCRIBERS"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants a file of, as typed."""

    report: ReportKind
    format: ExportFormat
    first: date | None
    end: date | None
    granularity: ReportGranularity
    on: date | None


@dataclass(frozen=True, slots=True)
class OnBehalf:
    """An `Asker` that is no viewer any more."""

    scope_id: UUID | None
    currency: str
    time_zone: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """The same, judged: of a stretch of time, or of a day."""

    report: ReportKind
    format: ExportFormat
    stretch: Stretch | None
    on: date | None
    by: OnBehalf


async def promise(session: AsyncSession, wish: Wish, *, idempotency_key: str | None, by: Viewer) -> Job:
    """The job that makes the file. Raises DomainError NOT_PERMITTED, and REQUIRED or INVALID naming the field."""
    demanded = [Permission.VIEW_REPORTS]
    if wish.report is ReportKind.RECEIVABLES:
        demanded.append(Permission.VIEW_CUSTOMERS)
    for permission in demanded:
        if not by.may(permission):
            raise fail(ErrorCode.NOT_PERMITTED, f"This needs the permission {permission.value} as well.")
    arguments = _arguments(wish, by)
    # As typed: today is another day tomorrow, and the wish is the same.
    given = {**arguments, "on": _text(wish.on)}

    async def begin() -> Job:
        job = await jobs.enqueue(
            session, jobs.EXPORT_REPORT, tenant_id=by.tenant_id, by=by.operator_id, arguments=arguments
        )
        audit.record(session, by=by, action="report.export", subject_id=job.id, details=arguments)
        return job

    return await promised(session, Once(by, OPERATION, idempotency_key, given), begin)


def _arguments(wish: Wish, by: Viewer) -> dict[str, object]:
    """A wish that can be fulfilled, as it stands in the job. Raises DomainError."""
    faults = Faults("input")
    of_a_day = wish.report is ReportKind.RECEIVABLES
    for name, day in (("from", wish.first), ("to", wish.end), ("on", wish.on)):
        if of_a_day != (name == "on") and day is not None:
            faults.add(ErrorCode.INVALID, f"The report {wish.report.value} has no {name}.", name)
        elif not of_a_day and name != "on" and day is None:
            faults.add(ErrorCode.REQUIRED, "Say which days.", name)
    faults.raise_if_any()
    on = receivables.day(wish.on, by, "input") if of_a_day else None
    if wish.first is not None and wish.end is not None:
        _stretch(wish.report, wish.first, wish.end, wish.granularity, by, "input")
    return {
        "report": wish.report.value,
        "format": wish.format.value,
        "from": _text(wish.first),
        "to": _text(wish.end),
        "granularity": wish.granularity.value,
        "on": _text(on),
        "scope": str(by.scope_id) if by.scope_id else None,
    }


def _stretch(
    report: ReportKind, first: date, end: date, granularity: ReportGranularity, by: Asker, *at: str
) -> Stretch:
    if report is ReportKind.SUBSCRIBERS:
        return subscribers.months(first, end, by, *at)
    return periods.stretch(first, end, granularity, by.time_zone, *at)


def _text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


async def wanted_of(session: AsyncSession, job: Job) -> Wanted:
    """What a job was promised for."""
    given: Mapping[str, Any] = job.arguments
    tenant = await session.get_one(Tenant, job.tenant_id)
    report = ReportKind(given["report"])
    by = OnBehalf(UUID(given["scope"]) if given["scope"] else None, tenant.currency, tenant.time_zone)
    first, end, on = (date.fromisoformat(given[name]) if given[name] else None for name in ("from", "to", "on"))
    asked = None
    if first is not None and end is not None:
        asked = _stretch(report, first, end, ReportGranularity(given["granularity"]), by)
    return Wanted(report, ExportFormat(given["format"]), asked, on, by)
