"""Carrying out what was asked for many customers: part by part, each committed with what came of its customers.

A run that is broken off goes on where it was: what came of a customer is written in the transaction that changed it,
and a customer of whom that is written is not touched again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.db import RETRIABLE, sqlstate
from ispgraph.domain import bulk, bulk_runs, package_changes
from ispgraph.domain.errors import DomainError, ErrorCode, Fault
from ispgraph.domain.messaging import sms
from ispgraph.domain.models import BulkAction, BulkOutcome, BulkRow, BulkRun, SuspendReason
from ispgraph.domain.package_changes import Wish
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.services import Chosen

TOGETHER = 50
"""So many customers are suspended or activated in one transaction; nobody else changes them for that half second."""
HELD = "Somebody else was changing this customer all the while."
_TRIES = 5
_WAIT_SECONDS = 0.25
# The customer is held by somebody, or the transaction has to be begun again.
_PASSING = RETRIABLE | {"55P03"}
# Classes of SQLSTATE that the figures of a customer can cause: data, constraints, and what takes too long.
_OWN_FAULT = ("22", "23", "57014")

_log = logging.getLogger(__name__)

Transact = Callable[[], AbstractAsyncContextManager[AsyncSession]]
Progress = Callable[[AsyncSession, int, int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class One:
    """A row of the run, and whose it is."""

    row_id: UUID
    customer_id: UUID


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of one customer."""

    outcome: BulkOutcome
    code: ErrorCode | None = None
    message: str | None = None
    total_minor: int | None = None
    segments: int | None = None


class _Tried(Exception):
    """Of a dry run everything is undone."""


class Carrier:
    """One run, carried out in transactions that `transact` begins: they commit only while its job is ours."""

    def __init__(self, run_id: UUID, transact: Transact, progress: Progress, token_key: bytes) -> None:
        self._run_id = run_id
        self._transact, self._progress, self._token_key = transact, progress, token_key
        self._alone = 0

    async def carry_out(self) -> None:
        """Come to everybody of whom nothing is written yet, unless the run is cancelled meanwhile.

        Raises jobs.Permanent when the operator may not do this any more; who is left stays as it is.
        """
        while await self._part():
            pass

    async def _part(self) -> bool:
        """The next of them; False when there is nobody left."""
        for attempt in range(1, _TRIES + 1):
            rows: Sequence[One] = ()
            try:
                async with self._transact() as session:
                    run, by = await self._begin(session)
                    rows = await self._next(session, run)
                    if not rows:
                        return False
                    endings = await self._act(session, run, rows, by)
                    if run.dry_run:
                        raise _Tried
                    await self._note(session, rows, endings)
                    return True
            except _Tried:
                pass
            except DomainError as error:
                if len(rows) != 1:
                    raise
                endings = [_refused(error.faults)]
            except DBAPIError as error:
                state = sqlstate(error) or ""
                if state in _PASSING and attempt < _TRIES:
                    await asyncio.sleep(_WAIT_SECONDS * attempt)
                    continue
                if not rows or not (state in _PASSING or state.startswith(_OWN_FAULT)):
                    raise
                if len(rows) > 1:
                    # One of them is the reason: from here each goes alone.
                    self._alone = len(rows)
                    return True
                _log.warning("customer %s of bulk run %s", rows[0].customer_id, self._run_id, exc_info=error)
                endings = [Ending(BulkOutcome.FAILED, ErrorCode.UNAVAILABLE, _reason(error, state))]
            async with self._transact() as session:
                await self._note(session, rows, endings)
            return True
        raise AssertionError("unreachable")

    async def _begin(self, session: AsyncSession) -> tuple[BulkRun, Viewer]:
        run = await session.get_one(BulkRun, self._run_id)
        return run, await bulk_runs.authority(session, run)

    async def _next(self, session: AsyncSession, run: BulkRun) -> Sequence[One]:
        if run.cancelled_at is not None:
            return ()
        together = run.action in (BulkAction.SUSPEND, BulkAction.ACTIVATE) and self._alone == 0
        self._alone = max(0, self._alone - 1)
        waiting = select(BulkRow.id, BulkRow.customer_id).where(
            BulkRow.run_id == run.id, BulkRow.outcome == BulkOutcome.WAITING
        )
        rows = waiting.order_by(BulkRow.position.desc()).limit(TOGETHER if together else 1)
        return [One(row.id, row.customer_id) for row in await session.execute(rows)]

    async def _act(self, session: AsyncSession, run: BulkRun, rows: Sequence[One], by: Viewer) -> Sequence[Ending]:
        wish = run.wish
        match run.action:
            case BulkAction.SUSPEND:
                reason, notify = SuspendReason(wish["reason"]), wish["notify"]
                change = bulk.suspending(session, reason=reason, told=wish["note"], notify=notify, by=by)
                return await _changed(session, rows, change, by)
            case BulkAction.ACTIVATE:
                change = bulk.activating(session, told=wish["note"], notify=wish["notify"], by=by)
                return await _changed(session, rows, change, by)
            case BulkAction.CHANGE_PACKAGE:
                return [await self._other_package(session, run, Chosen(rows[0].customer_id, None), by)]
            case BulkAction.MESSAGE:
                said = sms.Wish(wish["body"], wish["template"])
                made = await sms.send(session, rows[0].customer_id, said, idempotency_key=None, by=by)
                return [Ending(BulkOutcome.DONE, segments=made.segments)]

    async def _other_package(self, session: AsyncSession, run: BulkRun, chosen: Chosen, by: Viewer) -> Ending:
        on = run.wish["on"]
        wish = Wish(UUID(run.wish["package"]), date.fromisoformat(on) if on else None)
        if run.dry_run:
            quoted = await package_changes.quote(session, chosen, wish, token_key=self._token_key, by=by)
            return Ending(BulkOutcome.DONE, total_minor=quoted.amounts.total_minor)
        done = await package_changes.change(
            session,
            chosen,
            wish,
            quote_token=None,
            reason=run.wish["reason"],
            idempotency_key=None,
            token_keys=(self._token_key,),
            by=by,
        )
        return Ending(BulkOutcome.DONE, total_minor=done.invoice.total_minor if done.invoice else None)

    async def _note(self, session: AsyncSession, rows: Sequence[One], endings: Sequence[Ending]) -> None:
        run = await session.get_one(BulkRun, self._run_id, with_for_update=True, populate_existing=True)
        keys = [row.row_id for row in rows]
        kept = {row.id: row for row in await session.scalars(select(BulkRow).where(BulkRow.id.in_(keys)))}
        now = clock.now()
        for key, ending in zip(keys, endings, strict=True):
            # Who was deleted meanwhile has no row any more.
            if (row := kept.get(key)) is None:
                run.failed += 1
                continue
            row.outcome, row.message, row.ended_at = ending.outcome, ending.message, now
            row.code, row.total_minor, row.segments = ending.code, ending.total_minor, ending.segments
            run.done += ending.outcome is BulkOutcome.DONE
            run.unchanged += ending.outcome is BulkOutcome.UNCHANGED
            run.failed += ending.outcome is BulkOutcome.FAILED
            run.charged_minor += max(0, ending.total_minor or 0)
            run.credited_minor -= min(0, ending.total_minor or 0)
            run.segments += ending.segments or 0
        await self._progress(session, run.done + run.unchanged + run.failed, run.count)


async def _changed(session: AsyncSession, rows: Sequence[One], change: bulk.Change, by: Viewer) -> Sequence[Ending]:
    results = await bulk.change_all(session, [row.customer_id for row in rows], change, (), by)
    return [_refused(one.faults) if one.faults else Ending(BulkOutcome.DONE) for one in results]


def _refused(faults: Sequence[Fault]) -> Ending:
    first = faults[0].code
    outcome = BulkOutcome.UNCHANGED if first is ErrorCode.NO_CHANGE else BulkOutcome.FAILED
    return Ending(outcome, first, " ".join(fault.message for fault in faults)[:500])


def _reason(error: DBAPIError, state: str) -> str:
    if state in _PASSING:
        return HELD
    driver = error.orig and error.orig.__cause__
    return f"PostgreSQL refused it: {driver}."[:500]
