"""Billing runs: every service whose time has come to an end is billed for the next period, and for those it missed.

A run is one job. It works in parts, each a transaction: a run that is broken off goes on where it was, and of many at
once each bills what the others have not. A period is billed once for ever, whoever asks and however often.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, ColumnElement, Select, Text, Uuid, column, false, func, select, true
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.db import RETRIABLE, sqlstate
from ispgraph.domain import audit, idempotency, jobs, money
from ispgraph.domain.billing import charges, periods
from ispgraph.domain.billing.charges import Charged, Due
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.models import BillingRun, Job, Tenant
from ispgraph.domain.models.base import Instant
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Viewer

OPERATION = "billingRunStart"
CHUNK = 2_000
"""About so many periods are billed in one transaction: a second of work, in which nobody else changes them."""
AHEAD = timedelta(hours=26)
"""The daily run bills what ends before the next one is over: nobody goes off line because a bill is still to come."""
SHOWN = 100
"""How many failures, and lines of a trial, are kept."""
HELD = "Somebody else was changing it all the while; the next run will bill it."

_PAGE = 10_000
_TRIES = 5
_WAITS = 20
_WAIT = timedelta(milliseconds=250)
_NONE = UUID(int=0)
# Classes of SQLSTATE that a service's own figures can cause: data, constraints, and what takes too long.
_OWN_FAULT = ("22", "23", "57014")

_log = logging.getLogger(__name__)

Transact = Callable[[], AbstractAsyncContextManager[AsyncSession]]
Progress = Callable[[AsyncSession, int, int], Awaitable[None]]


async def start(
    session: AsyncSession, *, dry_run: bool, as_of: date | None, idempotency_key: str | None, by: Viewer
) -> BillingRun:
    """A run of the viewer's whole tenant, which a worker carries out.

    It bills what has come to an end until now, or by the end of the day `as_of`. A day to come can only be tried.
    Raises DomainError NOT_PERMITTED for those who see a part of the tenant, INVALID.
    """
    if by.scope_id is not None:
        raise fail(ErrorCode.NOT_PERMITTED, "A run bills all customers: this is for those who see all of them.")
    given = {"dry_run": dry_run, "as_of": as_of}
    first = await idempotency.claim(session, by=by, operation=OPERATION, key=idempotency_key, given=given)
    if first is not None:
        return await session.get_one(BillingRun, UUID(str(first["run"])))
    moment = _moment(as_of, by.time_zone, dry_run=dry_run)
    run = await _promise(session, by.tenant_id, moment, dry_run=dry_run, by=by.operator_id)
    details = {"run": str(run.id), "as_of": moment.isoformat(), "dry_run": dry_run}
    audit.record(session, by=by, action="billing.run", subject_id=run.id, details=details)
    await idempotency.keep(session, by=by, operation=OPERATION, key=idempotency_key, answer={"run": str(run.id)})
    return run


async def by_command(session: AsyncSession, tenant: Tenant, *, dry_run: bool, as_of: date | None) -> BillingRun:
    """The same for whoever has a shell on the machine."""
    return await _promise(session, tenant.id, _moment(as_of, tenant.time_zone, dry_run=dry_run), dry_run=dry_run)


async def daily(session: AsyncSession, tenant_id: UUID) -> None:
    """The run of a day."""
    await _promise(session, tenant_id, clock.now() + AHEAD, dry_run=False)


def _moment(as_of: date | None, zone: str, *, dry_run: bool) -> datetime:
    now = clock.now()
    if as_of is None or as_of == periods.local_date(now, zone):
        return now
    if as_of > periods.local_date(now, zone) and not dry_run:
        message = "That day is still to come: what will be billed then can be tried by a dry run."
        raise fail(ErrorCode.INVALID, message, "input", "asOf")
    try:
        return datetime.combine(as_of + timedelta(days=1), time(), ZoneInfo(zone)).astimezone(now.tzinfo)
    except OverflowError as error:
        raise fail(ErrorCode.INVALID, "There is no such day.", "input", "asOf") from error


async def _promise(
    session: AsyncSession, tenant_id: UUID, as_of: datetime, *, dry_run: bool, by: UUID | None = None
) -> BillingRun:
    key = ids.uuid7()
    job = await jobs.enqueue(session, jobs.BILLING_RUN, tenant_id=tenant_id, by=by, arguments={"run": str(key)})
    run = BillingRun(
        id=key,
        tenant_id=tenant_id,
        job_id=job.id,
        started_by_id=by,
        as_of=as_of,
        dry_run=dry_run,
        failures=[],
        lines=[],
    )
    session.add(run)
    await session.flush()
    return run


# -- what can be seen

NEWEST = newest_first("billing_runs", BillingRun.id)


def visible(by: Viewer, run: Any = BillingRun) -> ColumnElement[bool]:
    """Runs are of the whole tenant, and so for those who see all of it."""
    return true() if by.scope_id is None else false()


def of_its_job(run: Any, wanted: Any) -> ColumnElement[Any]:
    """A column of the job of a run."""
    return select(wanted).where(Job.id == run.job_id).correlate_except(Job).scalar_subquery()


def failures(run: Any) -> Select[Any]:
    """What could not be billed: service_id, reason."""
    each = _listed(run.failures, service=Uuid(), reason=Text())
    return select(each.c.service.label("service_id"), each.c.reason)


def lines(run: Any) -> Select[Any]:
    """The lines of a trial: service_id, description, explanation, the ends of the period, and the amounts."""
    kinds: dict[str, Any] = {
        "description": Text(),
        "explanation": Text(),
        "period_start": Instant,
        "period_end": Instant,
    }
    kinds |= dict.fromkeys(("subtotal_minor", "tax_minor", "total_minor"), BigInteger())
    each = _listed(run.lines, service=Uuid(), **kinds)
    return select(each.c.service.label("service_id"), *(each.c[name] for name in kinds))


def _listed(value: Any, **kinds: Any) -> Any:
    columns = (column(name, kind) for name, kind in kinds.items())
    return func.jsonb_to_recordset(value).table_valued(*columns).render_derived(with_types=True)


def of_job(job: Job) -> UUID:
    """Which run a job carries out."""
    return UUID(str(job.arguments["run"]))


# -- what a worker does


class Carrier:
    """One run, carried out in transactions that `transact` begins: they commit only while the run is ours."""

    def __init__(self, run: BillingRun, tenant: Tenant, transact: Transact, progress: Progress) -> None:
        self._run, self._tenant = run, tenant
        self._transact, self._progress = transact, progress
        self._done = self._total = 0

    async def carry_out(self) -> None:
        """Bill all that is due, or count it. Nothing is lost or doubled when this is broken off and begun again."""
        async with self._transact() as session:
            self._total = await charges.count(session, self._tenant.id, self._run.as_of)
            await self._begin(session)
        left: list[Due] = []
        after = _NONE
        while page := await self._page(after):
            after = page[-1].service_id
            left += await self._all_billed(page)
        for _ in range(_WAITS):
            if not (left := await self._still(left)):
                return
            await asyncio.sleep(_WAIT.total_seconds())
            left = await self._all_billed(left)
        if left:
            await self._give_up([each.service_id for each in left], HELD)

    async def _begin(self, session: AsyncSession) -> None:
        row = await session.get_one(BillingRun, self._run.id, with_for_update=True)
        row.failed, row.failures = 0, []
        if row.dry_run:
            row.services = row.invoices = row.subtotal_minor = row.tax_minor = row.total_minor = 0
            row.lines = []
        await self._progress(session, 0, self._total)

    async def _page(self, after: UUID) -> list[Due]:
        async with self._transact() as session:
            return await charges.due(session, self._tenant.id, self._run.as_of, after, _PAGE)

    async def _still(self, left: Sequence[Due]) -> list[Due]:
        """Those of them that nobody else has billed meanwhile."""
        if not left:
            return []
        async with self._transact() as session:
            keys = [each.service_id for each in left]
            due = await charges.still_due(session, self._tenant.id, self._run.as_of, keys)
        return [each for each in left if each.service_id in due]

    async def _all_billed(self, found: Sequence[Due]) -> list[Due]:
        return [each for chunk in _chunks(found) for each in await self._billed(chunk)]

    async def _billed(self, chunk: Sequence[Due]) -> list[Due]:
        """Bill these; those that were not looked at, because somebody else holds them or has billed them."""
        keys = [each.service_id for each in chunk]
        try:
            seen = await self._once(keys)
        except DBAPIError as error:
            if not (sqlstate(error) or "").startswith(_OWN_FAULT):
                raise
            if len(chunk) > 1:
                half = len(chunk) // 2
                return [*await self._billed(chunk[:half]), *await self._billed(chunk[half:])]
            _log.warning("service %s could not be billed", keys[0], exc_info=error)
            await self._give_up(keys, _reason(error))
            return []
        return [each for each in chunk if each.service_id not in seen]

    async def _once(self, keys: Sequence[UUID]) -> frozenset[UUID]:
        """Bill these in one transaction, begun again when PostgreSQL asks for that."""
        for attempt in range(_TRIES):
            try:
                async with self._transact() as session:
                    done = await self._charge(session, keys)
            except DBAPIError as error:
                if sqlstate(error) not in RETRIABLE or attempt == _TRIES - 1:
                    raise
                await asyncio.sleep(_WAIT.total_seconds() * (attempt + 1))
            else:
                self._done += len(done.seen)
                return done.seen
        raise AssertionError("unreachable")

    async def _charge(self, session: AsyncSession, keys: Sequence[UUID]) -> Charged:
        run, at = self._run, clock.now()
        if run.dry_run:
            kept = await session.get_one(BillingRun, run.id)
            room = SHOWN - len(kept.lines)
            done = await charges.attempt(session, self._tenant, keys, as_of=run.as_of, at=at, shown=room)
        else:
            done = await charges.charge(session, self._tenant, keys, as_of=run.as_of, at=at, by=run.started_by_id)
        if done.seen:
            await self._note(session, done)
        return done

    async def _note(self, session: AsyncSession, done: Charged) -> None:
        row = await session.get_one(BillingRun, self._run.id, with_for_update=True)
        row.services += done.services
        row.invoices += done.invoices
        row.subtotal_minor += done.subtotal_minor
        row.tax_minor += done.tax_minor
        row.total_minor += done.subtotal_minor + done.tax_minor
        row.lines = [*row.lines, *done.lines]
        _failed(row, done.failures)
        await self._progress(session, self._done + len(done.seen), self._total)

    async def _give_up(self, keys: Sequence[UUID], reason: str) -> None:
        async with self._transact() as session:
            row = await session.get_one(BillingRun, self._run.id, with_for_update=True)
            _failed(row, [(key, reason) for key in keys])


def _failed(row: BillingRun, failures: Sequence[tuple[UUID, str]]) -> None:
    row.failed += len(failures)
    told = [{"service": str(key), "reason": reason} for key, reason in failures]
    row.failures = [*row.failures, *told[: SHOWN - len(row.failures)]]


def _chunks(found: Sequence[Due]) -> Iterator[list[Due]]:
    """In parts of about CHUNK periods."""
    chunk: list[Due] = []
    weight = 0
    for each in found:
        if chunk and weight + each.periods > CHUNK:
            yield chunk
            chunk, weight = [], 0
        chunk.append(each)
        weight += each.periods
    if chunk:
        yield chunk


def _reason(error: DBAPIError) -> str:
    driver = error.orig and error.orig.__cause__
    return f"PostgreSQL refused it: {driver}."


def told(run: BillingRun, tenant: Tenant) -> str:
    """What a run did, for a person."""
    total = money.shown(run.total_minor, tenant.currency)
    verb = "would be billed" if run.dry_run else "were billed"
    told = f"{run.services} services {verb}: {run.invoices} invoices, {total}."
    return f"{told} {run.failed} could not be billed." if run.failed else told
