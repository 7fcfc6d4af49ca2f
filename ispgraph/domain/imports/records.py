"""Imports of customers: begun with a file, run by whoever has seen what would be, and undone.

Whoever may create customers may import them. What else a file brings needs what it would need by hand: a credit
REFUND_PAYMENTS (as `customerAdjustBalance`), a debt GENERATE_BILLS, packages MANAGE_PACKAGES, customers of another
operator CHANGE_OPERATOR, and taking them back DELETE_CUSTOMERS.
"""

import asyncio
import base64
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import audit, idempotency, jobs, router_readings, secrets, values
from ispgraph.domain.errors import ErrorCode, Faults, fail, not_found
from ispgraph.domain.imports import plans, staging
from ispgraph.domain.imports.layout import SHEETS, ImportEncoding, Layout
from ispgraph.domain.models import (
    ConnectionType,
    CustomerImport,
    ImportChunk,
    ImportOutcome,
    ImportRow,
    ImportSource,
    ImportStatus,
    Job,
    Operator,
    Package,
    Router,
    Tenant,
    Zone,
)
from ispgraph.domain.onboarding import answers
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Permission, Viewer, in_scope, manageable

BEGIN, RUN, UNDO = "customerImportBegin", "customerImportRun", "customerImportUndo"
LARGEST = 20 * 1024 * 1024
"""So many bytes a file may have."""
MOST_ROWS = 200_000
KEPT = timedelta(days=7)
"""So long an import can be run after it was begun."""
_TOO_LARGE = f"This file is too large: it may have at most {LARGEST // 1024 // 1024} MB."
_CHUNK_BYTES = 1024 * 1024
NEWEST = newest_first("customer-imports", CustomerImport.id)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be imported, and what is said for rows that leave it open."""

    source: ImportSource
    file_id: UUID | None
    """What a router was read as, in place of a file that is uploaded."""
    label: str
    layout: Layout
    connection_type: ConnectionType
    expires_at: datetime | None
    mobile: str | None
    package_id: UUID | None
    zone_id: UUID | None
    router_id: UUID | None
    operator_id: UUID | None
    create_packages: bool
    generate_passwords: bool
    day_first: bool | None
    decimal_comma: bool

    def as_json(self) -> dict[str, object]:
        """As it is kept, but for what has a column."""
        return self.layout.as_json() | {
            "connection_type": self.connection_type.name,
            "expires_at": self.expires_at.isoformat() if self.expires_at else None,
            "mobile": self.mobile,
            "create_packages": self.create_packages,
            "generate_passwords": self.generate_passwords,
            "day_first": self.day_first,
            "decimal_comma": self.decimal_comma,
        }


def visible(by: Viewer, row: Any = CustomerImport) -> ColumnElement[bool]:
    """Imports that somebody of the viewer's subtree has begun."""
    return in_scope(by, row.created_by_id)


def layout_of(job: CustomerImport) -> Layout:
    """How the file of an import is read."""
    given: Any = job.layout
    encoding = ImportEncoding[given["encoding"]] if given["encoding"] else None
    return Layout(given["headings"], encoding, given["delimiter"])


async def begin(
    session: AsyncSession,
    wish: Wish,
    upload: bytes | None,
    *,
    network_key: bytes,
    idempotency_key: str | None,
    by: Viewer,
) -> tuple[CustomerImport, Job]:
    """Keep a file, sealed, and promise the job that says what would come of it. Raises DomainError with everything that
    is wrong."""
    given = {"wish": repr(wish), "file": None if upload is None else hashlib.sha256(upload).hexdigest()}
    first = await idempotency.claim(session, by=by, operation=BEGIN, key=idempotency_key, given=given)
    if first is not None:
        return await _again(session, first)
    faults = Faults("input")
    label = values.checked(faults, values.text, wish.label, 60, at=("label",))
    tenant = await session.get_one(Tenant, by.tenant_id)
    if wish.mobile is not None:
        answers.mobile_number(faults, tenant, wish.mobile)
    _check_file(faults, wish, upload)
    await _check_reading(session, faults, wish, by)
    await _check_rows(session, faults, wish, by)
    faults.raise_if_any()
    body = await _body(session, wish, upload, network_key, by)
    rights = {
        "may_credit": by.may(Permission.REFUND_PAYMENTS),
        "may_bill": by.may(Permission.GENERATE_BILLS),
    }
    row = CustomerImport(
        id=ids.uuid7(),
        tenant_id=by.tenant_id,
        source=wish.source,
        label=label,
        layout=wish.as_json() | rights,
        operator_id=wish.operator_id or by.operator_id,
        package_id=wish.package_id,
        zone_id=wish.zone_id,
        router_id=wish.router_id,
        created_by_id=by.operator_id,
    )
    session.add(row)
    await session.flush()
    chunks = await asyncio.to_thread(lambda: list(_sealed(row, body, network_key)))
    await session.execute(insert(ImportChunk), chunks)
    details = {"label": label, "source": wish.source.value, "sha256": hashlib.sha256(body).hexdigest()}
    audit.record(session, by=by, action="customer_import.begin", subject_id=row.id, details=details)
    job = await _promise(session, jobs.IMPORT_CHECK, row, by)
    await _keep(session, BEGIN, idempotency_key, row, job, by)
    return row, job


def _check_file(faults: Faults, wish: Wish, upload: bytes | None) -> None:
    if wish.source is ImportSource.ROUTER:
        if upload is not None:
            faults.add(ErrorCode.INVALID, "A router is read by routerReadUsers: name its fileId instead.", "file")
    elif upload is None:
        faults.add(ErrorCode.REQUIRED, "A file is required, sent by a multipart request.", "file")
    elif not upload:
        faults.add(ErrorCode.INVALID, "This file is empty.", "file")
    elif len(upload) > LARGEST:
        faults.add(ErrorCode.LIMIT_EXCEEDED, _TOO_LARGE, "file")
    layout = wish.layout
    if layout.headings and wish.source not in SHEETS:
        faults.add(ErrorCode.INVALID, "The columns of such a file are known.", "columns")
    delimiter = layout.delimiter
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n\0' or delimiter.isalnum()):
        faults.add(ErrorCode.INVALID, "A delimiter is one character, such as a semicolon.", "delimiter")


async def _check_reading(session: AsyncSession, faults: Faults, wish: Wish, by: Viewer) -> None:
    if wish.source is not ImportSource.ROUTER:
        if wish.file_id is not None:
            faults.add(ErrorCode.INVALID, "Only what a router was read as has such an id: send the file.", "fileId")
        return
    if wish.file_id is None:
        message = "What was read is required: routerReadUsers promises a job that tells its fileId."
        faults.add(ErrorCode.REQUIRED, message, "fileId")
        return
    found = await router_readings.find(session, wish.file_id, by=by)
    if found is None:
        faults.add(ErrorCode.NOT_FOUND, "There is no such reading, or none any more: read the router again.", "fileId")
    elif found.size > LARGEST:
        faults.add(ErrorCode.LIMIT_EXCEEDED, _TOO_LARGE, "fileId")


async def _body(session: AsyncSession, wish: Wish, upload: bytes | None, network_key: bytes, by: Viewer) -> bytes:
    if upload is not None:
        return upload
    assert wish.file_id is not None
    field = ("input", "fileId")
    return await router_readings.body(session, wish.file_id, network_key=network_key, by=by, field=field)


async def _check_rows(session: AsyncSession, faults: Faults, wish: Wish, by: Viewer) -> None:
    """What is said of all rows."""
    if wish.expires_at is not None and wish.expires_at <= clock.now():
        faults.add(ErrorCode.INVALID, "This must be in the future.", "expiresAt")
    if wish.create_packages and not by.may(Permission.MANAGE_PACKAGES):
        faults.add(ErrorCode.NOT_PERMITTED, "This needs the permission MANAGE_PACKAGES.", "createPackages")
    package = None if wish.package_id is None else await session.get(Package, wish.package_id)
    if wish.package_id is not None and (package is None or not package.active):
        faults.add(ErrorCode.NOT_FOUND, "There is no such package on sale.", "packageId")
    for model, key, field in ((Zone, wish.zone_id, "zoneId"), (Router, wish.router_id, "routerId")):
        if key is not None and await session.get(model, key) is None:
            faults.add(ErrorCode.NOT_FOUND, f"There is no such {model.__name__.lower()}.", field)
    if wish.operator_id is not None and wish.operator_id != by.operator_id:
        if not by.may(Permission.CHANGE_OPERATOR):
            faults.add(ErrorCode.NOT_PERMITTED, "This needs the permission CHANGE_OPERATOR.", "operatorId")
        there = select(Operator.id).where(Operator.id == wish.operator_id, manageable(by), Operator.active)
        if await session.scalar(there) is None:
            faults.add(ErrorCode.NOT_FOUND, "There is no such operator.", "operatorId")


def _sealed(row: CustomerImport, body: bytes, network_key: bytes) -> Iterator[dict[str, object]]:
    for number, start in enumerate(range(0, len(body), _CHUNK_BYTES)):
        packed = base64.b64encode(zlib.compress(body[start : start + _CHUNK_BYTES], 1)).decode()
        bound_to = secrets.import_chunk(row.tenant_id, row.id, number)
        yield {
            **{"id": ids.uuid7(), "tenant_id": row.tenant_id, "import_id": row.id, "number": number},
            "body": secrets.seal(network_key, packed, bound_to),
        }


async def body_of(session: AsyncSession, row: CustomerImport, network_key: bytes) -> bytes:
    """The file of an import. Raises BadSecret when it was sealed with another key."""
    asked = select(ImportChunk).where(ImportChunk.import_id == row.id).order_by(ImportChunk.number)
    found = bytearray()
    for chunk in await session.scalars(asked):
        bound_to = secrets.import_chunk(row.tenant_id, row.id, chunk.number)
        found += zlib.decompress(base64.b64decode(secrets.unseal(network_key, chunk.body, bound_to)))
    return bytes(found)


async def run(
    session: AsyncSession, import_id: UUID, *, expected_count: int, idempotency_key: str | None, by: Viewer
) -> tuple[CustomerImport, Job]:
    """Promise to make what the check found to be new. Packages that are wanted are made at once.

    Raises DomainError NOT_FOUND, INVALID_STATE unless it is CHECKED, INVALID when other than so many would be made,
    NOT_PERMITTED for balances.
    """
    given = {"import": import_id, "count": expected_count}
    first = await idempotency.claim(session, by=by, operation=RUN, key=idempotency_key, given=given)
    if first is not None:
        return await _again(session, first)
    row = await lock(session, import_id, by=by)
    if row.status is not ImportStatus.CHECKED:
        raise fail(ErrorCode.INVALID_STATE, _NOT_TO_RUN[row.status], "input", "importId")
    count, credits, debts = await _new(session, row)
    faults = Faults("input")
    if count != expected_count:
        message = f"{count} customers would be made: look at the report again."
        faults.add(ErrorCode.INVALID, message, "expectedCount")
    if credits and not by.may(Permission.REFUND_PAYMENTS):
        faults.add(ErrorCode.NOT_PERMITTED, "Its credits need the permission REFUND_PAYMENTS.", "importId")
    if debts and not by.may(Permission.GENERATE_BILLS):
        faults.add(ErrorCode.NOT_PERMITTED, "Its debts need the permission GENERATE_BILLS.", "importId")
    if row.layout["create_packages"] and not by.may(Permission.MANAGE_PACKAGES):
        faults.add(ErrorCode.NOT_PERMITTED, "Its packages need the permission MANAGE_PACKAGES.", "importId")
    faults.raise_if_any()
    await plans.make(session, row, by=by)
    await staging.made_packages(session, row)
    row.status, row.run_at = ImportStatus.RUNNING, clock.now()
    audit.record(session, by=by, action="customer_import.run", subject_id=row.id, details={"customers": count})
    job = await _promise(session, jobs.IMPORT_RUN, row, by)
    await _keep(session, RUN, idempotency_key, row, job, by)
    return row, job


async def undo(
    session: AsyncSession, import_id: UUID, *, expected_count: int, idempotency_key: str | None, by: Viewer
) -> tuple[CustomerImport, Job]:
    """Promise to take back what was made. Raises DomainError NOT_FOUND, INVALID_STATE unless it is DONE, INVALID when
    other than so many were made."""
    given = {"import": import_id, "count": expected_count}
    first = await idempotency.claim(session, by=by, operation=UNDO, key=idempotency_key, given=given)
    if first is not None:
        return await _again(session, first)
    row = await lock(session, import_id, by=by)
    if row.status is not ImportStatus.DONE:
        raise fail(ErrorCode.INVALID_STATE, _NOT_TO_UNDO[row.status], "input", "importId")
    count = await counted(session, row, ImportOutcome.CREATED)
    if count != expected_count:
        raise fail(ErrorCode.INVALID, f"{count} customers were made by it.", "input", "expectedCount")
    row.status, row.undone_at = ImportStatus.UNDOING, clock.now()
    audit.record(session, by=by, action="customer_import.undo", subject_id=row.id, details={"customers": count})
    job = await _promise(session, jobs.IMPORT_UNDO, row, by)
    await _keep(session, UNDO, idempotency_key, row, job, by)
    return row, job


_NOT_READY = "The file is still being read: wait for the report."
_NOT_TO_RUN = {
    ImportStatus.CHECKING: _NOT_READY,
    ImportStatus.FAILED: "The file could not be read: begin again with another.",
    **dict.fromkeys(
        (ImportStatus.RUNNING, ImportStatus.DONE, ImportStatus.UNDOING, ImportStatus.UNDONE),
        "This import was run already: to import what is left, begin again with the same file and label.",
    ),
}
_NOT_TO_UNDO = {
    **dict.fromkeys((ImportStatus.CHECKING, ImportStatus.CHECKED, ImportStatus.FAILED), "It has made nothing."),
    ImportStatus.RUNNING: "It still runs: wait until it is done.",
    **dict.fromkeys((ImportStatus.UNDOING, ImportStatus.UNDONE), "It was undone already."),
}


async def lock(session: AsyncSession, import_id: UUID, *, by: Viewer) -> CustomerImport:
    """A visible import, locked. Raises DomainError NOT_FOUND."""
    asked = select(CustomerImport).where(CustomerImport.id == import_id, visible(by)).with_for_update(key_share=True)
    row = await session.scalar(asked.execution_options(populate_existing=True))
    if row is None:
        raise not_found("import", "input", "importId")
    return row


async def counted(session: AsyncSession, row: CustomerImport, *outcomes: ImportOutcome) -> int:
    """How many rows came to one of these."""
    asked = select(func.count()).where(ImportRow.import_id == row.id, ImportRow.outcome.in_(outcomes))
    return await session.scalar(asked) or 0


async def clean(session: AsyncSession, tenant_id: UUID) -> None:
    """Daily: what nobody ran in time is given up, and its passwords are forgotten."""
    waiting = (ImportStatus.CHECKING, ImportStatus.CHECKED)
    old = update(CustomerImport).where(
        CustomerImport.tenant_id == tenant_id,
        CustomerImport.status.in_(waiting),
        CustomerImport.created_at < clock.now() - KEPT,
    )
    problem = f"Nobody ran it within {KEPT.days} days: begin again with the same file."
    given_up = old.values(status=ImportStatus.FAILED, problem=problem).returning(CustomerImport.id)
    for key in await session.scalars(given_up):
        await session.execute(delete(ImportChunk).where(ImportChunk.import_id == key))
        await session.execute(update(ImportRow).where(ImportRow.import_id == key).values(password=None))


async def _new(session: AsyncSession, row: CustomerImport) -> tuple[int, int, int]:
    """How many are new; how many of them with a credit, and with a debt."""
    credit, debt = (func.count().filter(each) for each in (ImportRow.balance_minor > 0, ImportRow.balance_minor < 0))
    asked = select(func.count(), credit, debt).where(
        ImportRow.import_id == row.id, ImportRow.outcome == ImportOutcome.NEW
    )
    found = (await session.execute(asked)).one()
    return int(found[0]), int(found[1]), int(found[2])


async def _promise(session: AsyncSession, kind: str, row: CustomerImport, by: Viewer) -> Job:
    arguments: dict[str, object] = {"import": str(row.id)}
    return await jobs.enqueue(session, kind, tenant_id=row.tenant_id, by=by.operator_id, arguments=arguments)


async def _keep(session: AsyncSession, operation: str, key: str | None, row: Any, job: Job, by: Viewer) -> None:
    answer = {"import": str(row.id), "job": str(job.id)}
    await idempotency.keep(session, by=by, operation=operation, key=key, answer=answer)


async def _again(session: AsyncSession, answer: dict[str, object]) -> tuple[CustomerImport, Job]:
    row = await session.get_one(CustomerImport, UUID(str(answer["import"])))
    return row, await session.get_one(Job, UUID(str(answer["job"])))
