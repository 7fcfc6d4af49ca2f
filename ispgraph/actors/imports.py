"""Imports of customers: what would come of a file, making it, and taking it back; each part by part.

A check that is broken off begins anew; what makes or takes back goes on with the rows that are left.
"""

import asyncio
import io
import re
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.actors.run import Run
from ispgraph.domain import jobs
from ispgraph.domain.imports import csv_sheet, making, plans, records, staging, undoing
from ispgraph.domain.imports.fields import Rules
from ispgraph.domain.imports.layout import Unreadable
from ispgraph.domain.imports.making import Clerk
from ispgraph.domain.imports.rows import Plan, Problem
from ispgraph.domain.imports.sources import READERS, Item, totals
from ispgraph.domain.models import (
    ConnectionType,
    CustomerImport,
    ImportOutcome,
    ImportSource,
    ImportStatus,
    Tenant,
)

_BATCH = 500
_TRIES = 5
# After so many, and twice as many, and so on, the planner is told how many there are.
_FEW = 250
_READ_AS = {ImportSource.XLSX: "The first sheet of a workbook"}
_O = ImportOutcome


async def check(run: Run) -> None:
    """Read the file, keep what each row comes to, and compare it with what is here. Nothing of it is made."""
    key, network_key = _import_id(run), run.settings.network_key
    async with run.transaction() as session:
        row = await _held(session, key)
        if row.status is not ImportStatus.CHECKING:
            await run.succeed(session)
            return
        await staging.clear(session, row)
        rules = await _rules(session, row)
        body = await records.body_of(session, row, network_key)
    file = io.BytesIO(body)
    layout = records.layout_of(row)
    found: list[Plan] = []
    try:
        read_as = _READ_AS.get(row.source)
        if row.source is ImportSource.CSV:
            read_as = await asyncio.to_thread(csv_sheet.described, file, layout)
            file.seek(0)
        items = READERS[row.source](file, layout)
        await _read(run, row, items, rules, found)
        told = await asyncio.to_thread(totals, row.source, file, rules.currency)
    except Unreadable as error:
        async with run.transaction() as session:
            row = await _held(session, key)
            await staging.clear(session, row)
            row.status, row.problem = ImportStatus.FAILED, str(error)
            await staging.forget_file(session, row)
            await run.fail(session, str(error))
        return
    await _analyze(run)
    async with run.transaction() as session:
        row = await _held(session, key)
        row.read_as = read_as
        row.told_customers, row.told_active, row.told_balance_minor = told or (None, None, None)
        row.plans = await plans.decide(session, found, rules, wanted=bool(row.layout["create_packages"]))
        await staging.compare(session, row)
        await staging.finish(session, row, clock.now())
        new, faulty = await records.counted(session, row, _O.NEW), await records.counted(session, row, _O.FAULTY)
        conflicts = await records.counted(session, row, _O.CONFLICT)
        same = await records.counted(session, row, _O.UNCHANGED)
        message = f"{new} new, {same} taken over before, {conflicts} in conflict, {faulty} with faults."
        await run.succeed(session, message)


async def _read(run: Run, row: CustomerImport, items: Iterator[Item], rules: Rules, found: list[Plan]) -> None:
    """Keep every row, some at a time."""
    rows, numbers = 0, dict[int, bool]()
    while batch := await asyncio.to_thread(_some, items):
        for item in batch:
            if isinstance(item, Plan):
                found.append(item)
        people = [item for item in batch if not isinstance(item, Plan)]
        staged = await asyncio.to_thread(
            lambda these: [staging.staged(row, item, rules, run.settings.network_key) for item in these], people
        )
        # A reader may have something to say of a row that it gives as well, before or after: it is faulty then.
        fresh: dict[int, dict[str, object]] = {}
        late: list[Problem] = []
        for item, row_of_it in zip(people, staged, strict=True):
            if item.number not in numbers:
                fresh[item.number] = row_of_it
                numbers[item.number] = isinstance(item, Problem)
            elif isinstance(item, Problem) and item.number in fresh:
                fresh[item.number] = staging.blamed(fresh[item.number], item)
            elif isinstance(item, Problem):
                late.append(item)
            elif not numbers[item.number]:
                raise Unreadable(f"There are two rows {item.number} in it.")
        rows += len(fresh)
        if rows > records.MOST_ROWS or len(found) > plans.MOST:
            raise Unreadable(f"A file may have {records.MOST_ROWS} rows and {plans.MOST} packages: import it in parts.")
        async with run.transaction() as session:
            await staging.store(session, [*fresh.values()])
            await staging.blame(session, row, late)
            job = await jobs.hold(session, run.job.id, run.lease)
            jobs.progress(session, job, rows, rows, f"{rows} rows read.")
    if rows == 0:
        raise Unreadable("There is no row in it.")


def _some(items: Iterator[Item]) -> list[Item]:
    return list(islice(items, _BATCH))


async def _rules(session: AsyncSession, row: CustomerImport) -> Rules:
    tenant = await session.get_one(Tenant, row.tenant_id)
    given: Any = row.layout
    return Rules(
        country=tenant.country,
        currency=tenant.currency,
        zone=ZoneInfo(tenant.time_zone),
        email_required=tenant.email_required,
        now=clock.now(),
        account=re.compile(re.escape(tenant.account_prefix) + r"[1-9][0-9]{5,}"),
        may_credit=given["may_credit"],
        may_bill=given["may_bill"],
        connection_type=ConnectionType[given["connection_type"]],
        expires_at=datetime.fromisoformat(given["expires_at"]) if given["expires_at"] else None,
        mobile=given["mobile"],
        generate_passwords=given["generate_passwords"],
        day_first=given["day_first"],
        decimal_comma=given["decimal_comma"],
    )


async def make(run: Run) -> None:
    """Make the customers."""

    async def some(session: AsyncSession, row: CustomerImport, by: Clerk) -> int:
        return await making.make(session, row, run.settings.network_key, by)

    await _each(run, some, ImportStatus.RUNNING, ImportStatus.DONE, (_O.NEW,))


async def undo(run: Run) -> None:
    """Take them back."""
    await _each(run, undoing.undo, ImportStatus.UNDOING, ImportStatus.UNDONE, (_O.CREATED,))


async def _each(
    run: Run,
    some: Callable[[AsyncSession, CustomerImport, Clerk], Awaitable[int]],
    during: ImportStatus,
    after: ImportStatus,
    left: tuple[ImportOutcome, ...],
) -> None:
    """Part by part, each committed with what is told of it. Whoever loses a race looks again."""
    done, tries, known = 0, 0, _FEW
    total: int | None = None
    while True:
        try:
            async with run.transaction() as session:
                row = await _held(session, _import_id(run))
                if row.status is not during:
                    await run.succeed(session)
                    return
                if total is None:
                    total = await records.counted(session, row, *left)
                seen = await some(session, row, Clerk(run.job.created_by_id or row.created_by_id))
                done += seen
                job = await jobs.hold(session, run.job.id, run.lease)
                jobs.progress(session, job, done, total)
                if seen == 0:
                    row.status = after
                    await session.flush()
                    await run.succeed(session, await _told(session, row))
                    return
            tries = 0
            if done >= known:
                await _analyze(run)
                known = 2 * done
        except IntegrityError:
            tries += 1
            if tries == _TRIES:
                raise


async def _told(session: AsyncSession, row: CustomerImport) -> str:
    words = {
        _O.CREATED: "made",
        _O.CONFLICT: "in conflict",
        _O.REMOVED: "deleted",
        _O.TERMINATED: "terminated",
        _O.KEPT: "kept for what was done since",
    }
    counts = {word: await records.counted(session, row, outcome) for outcome, word in words.items()}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count) + "." if any(counts.values()) else ""


async def _analyze(run: Run) -> None:
    async with run.database.transaction(run.job.tenant_id) as session:
        await staging.analyze(session)


async def _held(session: AsyncSession, key: UUID) -> CustomerImport:
    asked = select(CustomerImport).where(CustomerImport.id == key).with_for_update(key_share=True)
    return (await session.scalars(asked)).one()


def _import_id(run: Run) -> UUID:
    return UUID(str(run.job.arguments["import"]))
