"""Turns on routers: however slow or dead some of them are, the others do not wait.

A turn is a task of the event loop, not a thread. Its lane is kept by a heartbeat; whoever loses it writes nothing more.
"""

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import cancelling, clock, metrics, traces
from ispgraph import jobs as queue
from ispgraph.actors import disconnect, provision, router_users, routers
from ispgraph.actors.turns import Turn
from ispgraph.adapters.errors import AdapterError, Refusal, Refused
from ispgraph.db import Database
from ispgraph.domain import jobs
from ispgraph.domain.jobs import LeaseLost
from ispgraph.domain.models import Job
from ispgraph.domain.network import lanes, outcomes
from ispgraph.domain.network.lanes import Lane
from ispgraph.settings import Settings

HEARTBEAT_SECONDS = 10.0
_CANCEL_SECONDS = 0.5
# Turns at once in one worker; more wait for the next sweep.
_MOST = 200
_LOGINS = 3

_log = logging.getLogger(__name__)

Action = Callable[[Turn, Sequence[Job]], Awaitable[None]]
Ending = Callable[[AsyncSession, Job, str], Awaitable[None]]

ACTIONS: Mapping[str, Action] = {
    jobs.PROVISION: provision.provision,
    jobs.DISCONNECT: disconnect.disconnect,
    jobs.TEST: routers.test,
    jobs.RECONCILE: routers.reconcile,
    jobs.READ_USERS: router_users.read,
}


def _traced(kind: str, of: Sequence[Job]) -> AbstractContextManager[object]:
    """Jobs that are carried out together belong to the trace of the first one; the others are linked."""
    first, *others = [job.traceparent for job in of if job.traceparent is not None] or [traces.ROOT]
    told: traces.Told = {
        "ispgraph.job.id": str(of[0].id),
        "ispgraph.job.attempt": of[0].attempts,
        "ispgraph.jobs": len(of),
    }
    under_way = traces.carried()
    links = [*others, *([under_way] if under_way is not None else [])]
    return traces.span(f"job {kind}", "CONSUMER", parent=first, links=links, told=told)


class LaneRunner:
    """Takes turns on routers in one event loop."""

    def __init__(self, database: Database, settings: Settings, actions: Mapping[str, Action] = ACTIONS) -> None:
        self._database = database
        self._settings = settings
        self._actions = actions
        self._turns: dict[UUID, asyncio.Task[None]] = {}
        self._stopping = False

    async def run_lane(self, tenant: str, router: str) -> None:
        """Begin a turn on a router, unless one is under way here: that one looks for more before it ends."""
        tenant_id, router_id = UUID(hex=tenant), UUID(hex=router)
        await queue.claimed(router_id)
        if self._stopping or router_id in self._turns or len(self._turns) >= _MOST:
            return
        task = asyncio.create_task(self._turns_on(tenant_id, router_id))
        self._turns[router_id] = task
        task.add_done_callback(lambda _: self._turns.pop(router_id, None))

    def stop(self) -> None:
        """Cancel what runs: each lane is given back, its jobs due at once. Call it in the loop."""
        self._stopping = True
        for task in self._turns.values():
            task.cancel()
        if self._turns:
            asyncio.get_running_loop().call_later(_CANCEL_SECONDS, self.stop)

    async def finish(self, seconds: float) -> None:
        """Begin nothing new, let what runs go on for so long, then give it back. Call it in the loop."""
        self._stopping = True
        if self._turns:
            await asyncio.wait([*self._turns.values()], timeout=seconds)
        self.stop()
        while self._turns:
            await asyncio.wait([*self._turns.values()])

    async def _turns_on(self, tenant_id: UUID, router_id: UUID) -> None:
        try:
            while not self._stopping and await self._turn(tenant_id, router_id):
                pass
        except (SQLAlchemyError, OSError) as error:
            _log.warning("router %s: the database is away (%s)", router_id, type(error).__name__)

    async def _turn(self, tenant_id: UUID, router_id: UUID) -> bool:
        """One turn; whether there is reason for another at once."""
        taken = await self._database.run(tenant_id, lambda session: lanes.take(session, router_id))
        if taken is None:
            return False
        lane, router = taken
        turn = Turn(self._database, self._settings, lane, router)
        began = time.monotonic()
        work = asyncio.create_task(self._work(turn))
        beat = asyncio.create_task(self._keep(lane, work))
        more = False
        try:
            await asyncio.wait([work])
        finally:
            work.cancel()
            beat.cancel()
            await asyncio.wait([work, beat])
            metrics.TURNS.observe(time.monotonic() - began)
            with suppress(LeaseLost):
                more = await self._database.run(tenant_id, lambda session: lanes.leave(session, lane))
        if not work.cancelled() and (error := work.exception()) is not None and not isinstance(error, LeaseLost):
            raise error
        return more

    async def _work(self, turn: Turn) -> None:
        with traces.span("router turn", parent=traces.ROOT, told={"ispgraph.router.id": str(turn.router.id)}):
            await self._take(turn)

    async def _take(self, turn: Turn) -> None:
        try:
            # Jobs first: they may need no more than RADIUS, and a look at a router that hangs takes its time.
            claim = functools.partial(lanes.claim, lane=turn.lane)
            while not self._stopping and (of := await self._database.run(turn.lane.tenant_id, claim)):
                if not await self._carry_out(turn, of):
                    return
            if turn.router.check_at <= clock.now():
                await routers.check(turn)
        finally:
            await turn.close()

    async def _carry_out(self, turn: Turn, of: Sequence[Job]) -> bool:
        """Each kind in turn, in the order of its oldest job; False when the router does not let us go on."""
        for kind in dict.fromkeys(job.kind for job in of):
            chosen = [job for job in of if job.kind == kind]
            try:
                action = self._actions.get(kind)
                if action is None:
                    raise jobs.Permanent(f"This version does not know jobs of the kind {kind}.")
                with _traced(kind, chosen):
                    await action(turn, chosen)
            except LeaseLost:
                raise
            except (Refused, jobs.Permanent) as error:
                if isinstance(error, Refused) and error.kind is Refusal.BAD_LOGIN and chosen[0].attempts < _LOGINS:
                    # A router that is starting up refuses a good password as well. The next turn asks it again.
                    await self._each(turn, chosen, outcomes.job_postponed, str(error))
                    return False
                await self._each(turn, chosen, outcomes.job_failed, str(error))
            except AdapterError as error:
                missed = functools.partial(lanes.missed, lane=turn.lane, reason=str(error))
                await self._database.run(turn.lane.tenant_id, missed)
                return False
            except Exception as error:
                _log.exception("jobs of the kind %s failed on router %s", kind, turn.router.id)
                text = f"Unexpected error ({type(error).__name__}); the worker's log has the details."
                await self._each(turn, chosen, outcomes.job_postponed, text)
        return True

    async def _each(self, turn: Turn, of: Sequence[Job], act: Ending, reason: str) -> None:
        async def work(session: AsyncSession) -> None:
            for job in (await lanes.hold_jobs(session, turn.lane, of)).values():
                await act(session, job, reason)

        await self._database.run(turn.lane.tenant_id, work)

    async def _keep(self, lane: Lane, work: "asyncio.Task[None]") -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                async with self._database.transaction(lane.tenant_id) as session:
                    await lanes.renew(session, lane)
            except LeaseLost:
                await cancelling.until_done(work, _CANCEL_SECONDS)
                return
            except (SQLAlchemyError, OSError) as error:
                # The lease outlives two beats: the next one may find the database back.
                _log.warning("router %s: the lane could not be renewed: %s", lane.router_id, type(error).__name__)
