"""Making the files of lists of customers."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from ispgraph.actors.exports import Content, make
from ispgraph.actors.run import Run
from ispgraph.domain import customer_exports
from ispgraph.domain.customer_exports import Wanted
from ispgraph.domain.models import Tenant


async def listed(run: Run) -> None:
    """The list that a job was promised for, as a sheet."""
    async with run.database.read(run.job.tenant_id) as session:
        wanted = await customer_exports.wanted_of(session, run.job)
        tenant = await session.get_one(Tenant, run.job.tenant_id)
        keys = await customer_exports.listed(session, wanted)
    zone = ZoneInfo(tenant.time_zone)
    await make(
        run,
        Content(
            stem=customer_exports.stem(tenant),
            format=wanted.format,
            columns=wanted.heads,
            total=customer_exports.count(keys),
            pages=_pages(run, wanted, keys),
            cells=lambda row: customer_exports.cells(wanted, row, zone),
            told=lambda rows: f"{rows} customers.",
        ),
    )


async def _pages(run: Run, wanted: Wanted, keys: bytes) -> AsyncIterator[Sequence[Any]]:
    for page in customer_exports.pages(keys):
        yield await run.look_up(partial(customer_exports.page, wanted=wanted, keys=page))
