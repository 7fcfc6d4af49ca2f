"""The rows of a file as they were read, put beside what is here: set by set, however many there are.

What is asked here is asked again of each part that is made, so that the answer is as good then as it was when somebody
looked at it; unique constraints have the last word.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import ids
from ispgraph.domain import secrets
from ispgraph.domain.errors import ErrorCode
from ispgraph.domain.imports import fields, plans
from ispgraph.domain.imports.fields import Rules
from ispgraph.domain.imports.rows import Problem, Row
from ispgraph.domain.models import CustomerImport, ImportChunk, ImportOutcome, ImportRow, ImportStatus

# By the column that a person knows: which of ours must differ from row to row, and whether that is of these rows only.
_ONCE = {
    "external_id": ("source_key", ""),
    "username": ("username", ""),
    "email": ("email", ""),
    "account_number": ("account_number", ""),
    "ip_address": ("ip_address", "AND status <> 'TERMINATED'"),
    "mac_address": ("mac_address", "AND connection_type = 'HOTSPOT'"),
}
# Materialized, for a planner without statistics would reckon the windows anew for each row.
_TWICE = """
    WITH d AS MATERIALIZED (
      SELECT w.id, w.first FROM (
        SELECT id, number, min(number) OVER (PARTITION BY {own}) AS first FROM import_rows
         WHERE tenant_id = :tenant AND import_id = :import AND outcome = 'NEW' AND {own} IS NOT NULL {these}) w
       WHERE w.number > w.first)
    UPDATE import_rows r SET outcome = 'FAULTY', faults = r.faults || jsonb_build_array(jsonb_build_object(
             'code', 'TAKEN', 'column', CAST(:column AS text), 'message', 'Row ' || d.first || ' has this as well.'))
      FROM d WHERE r.tenant_id = :tenant AND r.id = d.id"""
_SEEN = """
    UPDATE import_rows r SET outcome = 'UNCHANGED', customer_id = o.customer_id, password = NULL
      FROM customer_origins o
     WHERE r.tenant_id = :tenant AND r.import_id = :import AND r.outcome = 'NEW' {part}
       AND o.tenant_id = :tenant AND o.label = :label AND o.source_key = r.source_key"""
_OTHERS = {
    "username": "services o WHERE o.username = r.username",
    "email": "customers o WHERE o.email = r.email",
    "account_number": "customers o WHERE o.account_number = r.account_number",
    "ip_address": "services o WHERE r.status <> 'TERMINATED' AND o.status <> 'TERMINATED'"
    " AND o.ip_address = CAST(r.ip_address AS inet)",
    "mac_address": "service_macs o WHERE r.connection_type = 'HOTSPOT' AND o.logs_in"
    " AND o.mac = CAST(r.mac_address AS macaddr)",
}
_CONFLICT = """
    UPDATE import_rows r SET outcome = 'CONFLICT', faults = r.faults || jsonb_build_array(jsonb_build_object(
             'code', 'TAKEN', 'column', CAST(:column AS text), 'message', 'Another customer here has this.'))
     WHERE r.tenant_id = :tenant AND r.import_id = :import AND r.outcome IN ('NEW', 'CONFLICT') {part}
       AND r.{column} IS NOT NULL AND EXISTS (SELECT FROM {other} AND o.tenant_id = :tenant)"""
_PART = "AND r.id = ANY (CAST(:rows AS uuid[]))"


def _faulty(code: str, column: str, message: str, outcome: str = "FAULTY") -> str:
    """What an update sets for rows with such a fault; `message` is SQL."""
    told = f"jsonb_build_object('code', '{code}', 'column', '{column}', 'message', {message})"
    return f"outcome = '{outcome}', faults = r.faults || jsonb_build_array({told})"


_THESE = "r.tenant_id = :tenant AND r.import_id = :import AND r.outcome = 'NEW'"
_SAME_TENANT = "o.tenant_id = r.tenant_id"
# By their names as they are written, and then in whatever case.
_NAMED = [
    f"""UPDATE import_rows r SET {noun}_id = o.id FROM {noun}s o
         WHERE {_THESE} AND r.{noun}_id IS NULL AND {_SAME_TENANT} AND {same}"""  # noqa: S608
    for noun in ("package", "zone")
    for same in (f"o.name = r.{noun}_name", f"lower(o.name) = lower(r.{noun}_name)")
]
_COMING = f"""
    UPDATE import_rows r SET {_faulty("INVALID", "package", "'The package ' || r.package_name || ' is for others.'")}
      FROM jsonb_each_text(CAST(:coming AS jsonb)) c
     WHERE {_THESE} AND r.package_id IS NULL AND lower(r.package_name) = c.key AND r.connection_type <> c.value"""  # noqa: S608
_NOT_THERE = [
    f"""UPDATE import_rows r SET {_faulty("REQUIRED", "package", "'A package is required, or one for all rows.'")}
         WHERE {_THESE} AND r.package_id IS NULL AND r.package_name IS NULL""",  # noqa: S608
    f"""UPDATE import_rows r SET {_faulty("NOT_FOUND", "package", "'There is no package ' || r.package_name || '.'")}
         WHERE {_THESE} AND r.package_id IS NULL AND NOT CAST(:coming AS jsonb) ? lower(r.package_name)""",  # noqa: S608
    f"""UPDATE import_rows r
           SET {_faulty("INVALID_STATE", "package", "'The package ' || o.name || ' is not sold any more.'")}
          FROM packages o WHERE {_THESE} AND {_SAME_TENANT} AND o.id = r.package_id AND NOT o.active""",  # noqa: S608
    f"""UPDATE import_rows r SET {_faulty("INVALID", "package", "'The package ' || o.name || ' is for others.'")}
          FROM packages o WHERE {_THESE} AND {_SAME_TENANT} AND o.id = r.package_id
           AND NOT r.connection_type = ANY (o.connection_types)""",  # noqa: S608
    f"""UPDATE import_rows r SET {_faulty("NOT_FOUND", "zone", "'There is no zone ' || r.zone_name || '.'")}
         WHERE {_THESE} AND r.zone_id IS NULL AND r.zone_name IS NOT NULL""",  # noqa: S608
]


def staged(job: CustomerImport, item: Row | Problem, rules: Rules, network_key: bytes) -> dict[str, object]:
    """A row of the table from one of the source. Pure, and most of the work: for a thread."""
    key = ids.uuid7()
    row: dict[str, object] = {
        **{"id": key, "tenant_id": job.tenant_id, "import_id": job.id, "number": item.number},
        **dict.fromkeys(("source_key", "name", "mobile", "email", "account_number", "username", "password")),
        **dict.fromkeys(("ip_address", "mac_address", "connection_type", "status", "balance_minor")),
        **dict.fromkeys(("package_name", "zone_name")),
        **{"details": {}, "outcome": ImportOutcome.FAULTY, "package_id": None, "zone_id": None},
    }
    if isinstance(item, Problem):
        return row | {"faults": [fields.fault(ErrorCode.INVALID, item.column, item.message)]}
    found = fields.check(item, rules)
    row |= {**found.columns, "faults": found.faults}
    if not found.faults:
        row["outcome"] = ImportOutcome.NEW
        row["package_id"] = job.package_id if row["package_name"] is None else None
        row["zone_id"] = job.zone_id if row["zone_name"] is None else None
        if found.password is not None:
            bound_to = secrets.import_password(job.tenant_id, key)
            row["password"] = secrets.seal(network_key, found.password, bound_to)
    return row


def blamed(row: dict[str, object], problem: Problem) -> dict[str, object]:
    """A row that is not kept yet, with what the reader has to say of it."""
    faults: Any = row["faults"]
    told = fields.fault(ErrorCode.INVALID, problem.column, problem.message)
    return row | {"faults": [*faults, told], "outcome": ImportOutcome.FAULTY, "password": None}


async def clear(session: AsyncSession, job: CustomerImport) -> None:
    """Forget what an earlier run of the check has read."""
    await session.execute(delete(ImportRow).where(ImportRow.import_id == job.id))


async def store(session: AsyncSession, rows: Sequence[dict[str, object]]) -> None:
    """Keep some rows."""
    if rows:
        await session.execute(insert(ImportRow), list(rows))


async def analyze(session: AsyncSession) -> None:
    """Have the planner know of what has come, in a transaction of its own."""
    await session.execute(text("SELECT analyze_imported()"))


async def blame(session: AsyncSession, job: CustomerImport, problems: Sequence[Problem]) -> None:
    """Say of rows that are kept what the reader has found out since."""
    for problem in problems:
        told = fields.fault(ErrorCode.INVALID, problem.column, problem.message)
        these = update(ImportRow).where(ImportRow.import_id == job.id, ImportRow.number == problem.number)
        new = {"outcome": ImportOutcome.FAULTY, "faults": ImportRow.faults.concat([told])}
        await session.execute(these.values(new), execution_options=_UNSEEN)


async def compare(session: AsyncSession, job: CustomerImport) -> None:
    """Say of every row that is sound by itself whether it can be made, and why not."""
    given = {"tenant": job.tenant_id, "import": job.id}
    await session.execute(text(_SEEN.format(part="")), given | {"label": job.label})
    for column, (own, these) in _ONCE.items():
        await session.execute(text(_TWICE.format(own=own, these=these)), given | {"column": column})
    coming = {"coming": json.dumps({str(plan["name"]).lower(): _type_of(plan) for plan in _coming(job)})}
    for statement in (*_NAMED, _COMING, *_NOT_THERE):
        await session.execute(text(statement), given | (coming if ":coming" in statement else {}))
    await _conflicts(session, job, None)


async def compare_again(session: AsyncSession, job: CustomerImport, rows: Sequence[UUID]) -> None:
    """The same for some rows that were sound, as they stand now."""
    given = {"tenant": job.tenant_id, "import": job.id, "rows": list(rows)}
    await session.execute(text(_SEEN.format(part=_PART)), given | {"label": job.label})
    await _conflicts(session, job, rows)


async def _conflicts(session: AsyncSession, job: CustomerImport, rows: Sequence[UUID] | None) -> None:
    given: dict[str, object] = {"tenant": job.tenant_id, "import": job.id}
    if rows is not None:
        given["rows"] = list(rows)
    for column, other in _OTHERS.items():
        statement = _CONFLICT.format(part="" if rows is None else _PART, column=column, other=other)
        await session.execute(text(statement), given | {"column": column})


def _coming(job: CustomerImport) -> list[dict[str, object]]:
    return [plan for plan in job.plans if plan["outcome"] == plans.PlanOutcome.NEW.value]


def _type_of(plan: dict[str, object]) -> str:
    terms = plan["terms"]
    assert isinstance(terms, dict)
    return str(terms["type"])


async def made_packages(session: AsyncSession, job: CustomerImport) -> None:
    """Give the rows the packages that were made for them."""
    for plan in job.plans:
        if "package" in plan:
            these = update(ImportRow).where(
                ImportRow.import_id == job.id,
                ImportRow.outcome == ImportOutcome.NEW,
                func.lower(ImportRow.package_name) == str(plan["name"]).lower(),
            )
            new = {"package_id": UUID(str(plan["package"]))}
            await session.execute(these.values(new), execution_options=_UNSEEN)


_UNSEEN = {"synchronize_session": False}


async def finish(session: AsyncSession, job: CustomerImport, at: datetime) -> None:
    """The check is done: what was kept of the file is not needed any more."""
    job.status, job.checked_at = ImportStatus.CHECKED, at
    await forget_file(session, job)
    spent = update(ImportRow).where(ImportRow.import_id == job.id, ImportRow.outcome != ImportOutcome.NEW)
    await session.execute(spent.values(password=None), execution_options=_UNSEEN)


async def forget_file(session: AsyncSession, job: CustomerImport) -> None:
    """Delete the file."""
    await session.execute(delete(ImportChunk).where(ImportChunk.import_id == job.id))
