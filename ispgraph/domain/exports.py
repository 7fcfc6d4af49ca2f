"""Files of rows that people download, and the one of a customer's sessions: what is wanted of it, its columns, and its
rows page by page."""

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Row, String, Text, cast, func, select, tuple_, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import audit, customers, jobs
from ispgraph.domain.errors import ErrorCode, fail, not_found
from ispgraph.domain.idempotency import Once
from ispgraph.domain.models import ConnectionType, Job, Router, Session, SessionState
from ispgraph.domain.permissions import Permission, Viewer

OPERATION = "customerExportSessions"
MOST = 2_000_000
"""So many sessions one export may have."""
PAGE = 2_000
COLUMNS = (
    *("Session", "Username", "Connection type", "State", "Started at", "Last update", "Stopped at"),
    *("Duration (s)", "Download (bytes)", "Upload (bytes)", "Total (bytes)", "IP address", "MAC address"),
    *("NAS address", "Router", "Terminate cause"),
)
Cell = str | int | Decimal | None
"""What stands in a sheet; a Decimal with all its decimals."""

# A spreadsheet would run what follows these as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class ExportFormat(enum.Enum):
    CSV = "CSV"
    XLSX = "XLSX"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which sessions of a customer, as in `Customer.sessions`: begun from `since` on, and before `until`."""

    customer_id: UUID
    format: ExportFormat
    since: datetime | None
    until: datetime | None
    connection_type: ConnectionType | None
    state: SessionState | None

    def as_arguments(self) -> dict[str, object]:
        """As it stands in the job."""
        return {
            "format": self.format.value,
            "from": self.since.isoformat() if self.since else None,
            "to": self.until.isoformat() if self.until else None,
            "connection_type": self.connection_type.value if self.connection_type else None,
            "state": self.state.value if self.state else None,
        }


@dataclass(frozen=True, slots=True)
class Totals:
    """Of all the sessions together."""

    count: int
    download_bytes: int
    upload_bytes: int
    seconds: int


async def promise(session: AsyncSession, wanted: Wanted, *, idempotency_key: str | None, by: Viewer) -> Job:
    """The job that makes the file. Raises DomainError NOT_FOUND, NOT_PERMITTED, INVALID naming the field."""
    if not by.may(Permission.VIEW_CUSTOMERS):
        raise fail(ErrorCode.NOT_PERMITTED, "This needs the permission VIEW_CUSTOMERS as well.")
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise fail(ErrorCode.INVALID, "The stretch of time must begin before it ends.", "input", "where", "from")
    given = {**wanted.as_arguments(), "customer": wanted.customer_id}

    async def begin() -> Job:
        customer = await customers.find(session, wanted.customer_id, by=by)
        if customer is None:
            raise not_found("customer", "input", "customerId")
        job = await jobs.enqueue(
            session,
            jobs.EXPORT_SESSIONS,
            tenant_id=by.tenant_id,
            customer_id=customer.id,
            by=by.operator_id,
            arguments=wanted.as_arguments(),
        )
        details = {"job": str(job.id), **wanted.as_arguments()}
        audit.record(session, by=by, action="customer.exportSessions", subject_id=customer.id, details=details)
        return job

    return await promised(session, Once(by, OPERATION, idempotency_key, given), begin)


async def promised(session: AsyncSession, once: Once, begin: Callable[[], Awaitable[Job]]) -> Job:
    """The job that `begin` enqueues and records, or the one that was promised with the key before."""
    first = await once.claim(session)
    if first is not None:
        return await session.get_one(Job, UUID(str(first["job"])))
    job = await begin()
    await once.keep(session, {"job": str(job.id)})
    return job


def wanted_of(job: Job) -> Wanted:
    """What a job was promised for. What has begun since then is not part of it."""
    if job.customer_id is None:
        raise jobs.Permanent("The job names no customer.")
    given: Mapping[str, Any] = job.arguments
    until = datetime.fromisoformat(given["to"]) if given["to"] else job.created_at
    return Wanted(
        customer_id=job.customer_id,
        format=ExportFormat(given["format"]),
        since=datetime.fromisoformat(given["from"]) if given["from"] else None,
        until=min(until, job.created_at),
        connection_type=ConnectionType(given["connection_type"]) if given["connection_type"] else None,
        state=SessionState(given["state"]) if given["state"] else None,
    )


async def totals(session: AsyncSession, wanted: Wanted) -> Totals:
    """How much there is."""
    sums = (Session.output_octets, Session.input_octets, Session.duration_seconds)
    figures = (func.count(), *(func.coalesce(func.sum(each), 0) for each in sums))
    row = (await session.execute(select(*figures).where(*_matches(wanted)))).one()
    return Totals(*(int(each) for each in row))


async def page(session: AsyncSession, wanted: Wanted, after: tuple[datetime, UUID] | None) -> Sequence[Row[Any]]:
    """The next rows, oldest first, after the one that began at an instant with an id; none at the end."""
    rows = _select(wanted)
    if after is not None:
        rows = rows.where(tuple_(Session.started_at, Session.id) > tuple_(*after))
    found: Sequence[Row[Any]] = (await session.execute(rows.order_by(Session.started_at, Session.id).limit(PAGE))).all()
    return found


def _select(wanted: Wanted) -> Any:
    router = select(Router.name).where(Router.id == Session.router_id).scalar_subquery()
    return select(
        Session.id,
        Session.started_at,
        Session.acct_session_id,
        Session.username,
        # As text: making objects of them for each row would be most of the work.
        type_coerce(Session.connection_type, String()).label("connection_type"),
        type_coerce(Session.state, String()).label("state"),
        Session.updated_at,
        Session.stopped_at,
        Session.duration_seconds,
        Session.output_octets,
        Session.input_octets,
        func.host(Session.ip_address).label("ip_address"),
        func.upper(cast(Session.mac_address, Text)).label("mac_address"),
        func.host(Session.nas_address).label("nas_address"),
        router.label("router"),
        Session.terminate_cause,
    ).where(*_matches(wanted))


def _matches(wanted: Wanted) -> list[ColumnElement[bool]]:
    found = [Session.customer_id == wanted.customer_id]
    if wanted.since is not None:
        found.append(Session.started_at >= wanted.since)
    if wanted.until is not None:
        found.append(Session.started_at < wanted.until)
    if wanted.connection_type is not None:
        found.append(Session.connection_type == wanted.connection_type)
    if wanted.state is not None:
        found.append(Session.state == wanted.state)
    return found


def cells(row: Row[Any], zone: ZoneInfo) -> list[Cell]:
    """One line of the sheet. Instants are ISO 8601 in the tenant's zone, with the offset."""
    return [
        neutral(row.acct_session_id),
        neutral(row.username),
        row.connection_type,
        row.state,
        _instant(row.started_at, zone),
        _instant(row.updated_at, zone),
        _instant(row.stopped_at, zone),
        row.duration_seconds,
        row.output_octets,
        row.input_octets,
        row.output_octets + row.input_octets,
        row.ip_address,
        row.mac_address,
        row.nas_address,
        neutral(row.router),
        neutral(row.terminate_cause),
    ]


def neutral(text: str | None) -> str | None:
    """Text that no spreadsheet takes for a formula: an apostrophe goes before what would be one."""
    return f"'{text}" if text is not None and text.startswith(_FORMULA) else text


def stem(name: str, zone: ZoneInfo, what: str = "sessions") -> str:
    """What a file of today is called, without its ending: `name` is an account number, or a label."""
    return f"{what}-{name}-{clock.now().astimezone(zone):%Y-%m-%d}"


def file_name(stem: str, format: ExportFormat) -> str:
    """What a file is called: ASCII letters, digits, dots and hyphens."""
    plain = "".join(each if each.isascii() and each.isalnum() else "-" for each in stem)
    return f"{plain}.{format.value.lower()}"


def _instant(at: datetime | None, zone: ZoneInfo) -> str | None:
    return None if at is None else at.astimezone(zone).isoformat(timespec="seconds")


def result(file_id: UUID, rows: int, expires_at: datetime) -> dict[str, object]:
    """What a finished job keeps beside its arguments."""
    return {"file": file_id.hex, "rows": rows, "expires_at": expires_at.isoformat()}


def link_path(tenant_id: UUID, file_id: UUID) -> str:
    """Where a file is downloaded."""
    return f"/downloads/files/{tenant_id.hex}/{file_id.hex}"


def file_of(job: Job) -> tuple[UUID, datetime] | None:
    """The file a job has made, and until when it can be had; None when there is none, or none any more."""
    key, until = job.arguments.get("file"), job.arguments.get("expires_at")
    if not isinstance(key, str) or not isinstance(until, str):
        return None
    expires_at = datetime.fromisoformat(until)
    return (UUID(hex=key), expires_at) if expires_at > clock.now() else None
