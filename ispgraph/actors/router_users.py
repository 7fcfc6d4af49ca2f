"""Reading the users that a router keeps, for an import. Nothing is changed on it."""

import asyncio
from collections.abc import Mapping, Sequence

from ispgraph.actors.turns import Turn
from ispgraph.adapters import routeros
from ispgraph.adapters.errors import Refusal, Refused
from ispgraph.domain import jobs, router_readings
from ispgraph.domain.imports import router_users
from ispgraph.domain.models import Job, JobStatus, StepOutcome, StepProtocol
from ispgraph.domain.network import lanes, outcomes
from ispgraph.domain.network.outcomes import Step


async def read(turn: Turn, of: Sequence[Job]) -> None:
    """Keep what the router lists, once for each job. Raises AdapterError."""
    api = await turn.api()
    parts, steps, users = [router_users.head()], [], 0
    for menu, columns in router_users.MENUS.items():
        listed, step = await _listed(api, menu, columns)
        steps.append(step)
        parts += router_users.written(menu, listed)
        users += len(listed) if menu in router_users.USERS else 0
    chunks = {
        job.id: await asyncio.to_thread(router_readings.sealed, job, parts, turn.settings.network_key) for job in of
    }
    async with turn.database.transaction(turn.lane.tenant_id) as session:
        for job in (await lanes.hold_jobs(session, turn.lane, of)).values():
            await router_readings.keep(session, job, turn.router, chunks[job.id])
            outcomes.record(session, job, steps)
            job.progress_done = job.progress_total = users
            jobs.finish(session, job, JobStatus.SUCCEEDED, f"Users read: {users}.")


async def _listed(api: routeros.Router, menu: str, columns: Sequence[str]) -> tuple[Sequence[Mapping[str, str]], Step]:
    try:
        listed = await api.print(menu, columns=columns)
    except Refused as error:
        # A router may be without its hotspot package, or its PPP.
        if error.kind is not Refusal.UNKNOWN_COMMAND:
            raise
        return [], Step(StepProtocol.ROUTEROS, StepOutcome.UNCHANGED, f"There is no {menu}.", None, api.last_ms)
    detail = f"Read {len(listed)} items of {menu}."
    return listed, Step(StepProtocol.ROUTEROS, StepOutcome.VERIFIED, detail, None, api.last_ms)
