"""The program `bill`: a billing run from the command line, as the scheduler begins one each day.

The run is a job like any other. It is carried out here, unless a worker was faster; when this program dies, a worker
goes on with it.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TextIO
from uuid import UUID

from sqlalchemy import text

from ispgraph import replica, traces
from ispgraph.actors.registry import ACTIONS
from ispgraph.actors.run import Runner
from ispgraph.db import Database
from ispgraph.domain import jobs, money
from ispgraph.domain.billing import runs
from ispgraph.domain.errors import DomainError
from ispgraph.domain.models import BillingRun, Job, JobStatus, Tenant
from ispgraph.settings import Settings

_LOOK_SECONDS = 0.5
_HEAD = ("tenant", "services", "invoices", "subtotal", "tax", "total", "failed")


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that is over, and how its job ended."""

    tenant: Tenant
    run: BillingRun
    job: Job

    @property
    def well(self) -> bool:
        """Everything that was due was billed."""
        return self.job.status is JobStatus.SUCCEEDED and self.run.failed == 0


class _Unknown(Exception):
    """There is no such tenant."""


def main(settings: Settings, *, tenant: str | None, dry_run: bool, as_of: date | None) -> int:
    """Bill one tenant or all, and print what was done.

    The exit status is 1 when something that is due could not be billed, 2 for arguments that cannot be.
    """
    try:
        with traces.running("bill", settings):
            ended = asyncio.run(_bill(settings, tenant, dry_run=dry_run, as_of=as_of))
    except (DomainError, _Unknown) as error:
        sys.stderr.write(f"ispgraph: {error}\n")
        return 2
    report(ended, sys.stdout)
    return 0 if all(each.well for each in ended) else 1


async def _bill(settings: Settings, slug: str | None, *, dry_run: bool, as_of: date | None) -> list[Ended]:
    replica.connect(settings)
    database = Database.of(settings, pool_size=3)
    try:
        tenants = await _tenants(database)
        if slug is not None:
            tenants = [each for each in tenants if each.slug == slug.lower()]
            if not tenants:
                raise _Unknown(f"There is no tenant {slug}.")
        runner = Runner(database, settings, ACTIONS)
        return [await _one(database, runner, each, dry_run=dry_run, as_of=as_of) for each in tenants]
    finally:
        await replica.disconnect()
        await database.dispose()


async def _tenants(database: Database) -> list[Tenant]:
    async with database.read(None) as session:
        rows = await session.scalars(text("SELECT tenant_id FROM all_tenants() ORDER BY tenant_id"))
        keys: Sequence[UUID] = rows.all()
    found = []
    for key in keys:
        async with database.read(key) as session:
            found.append(await session.get_one(Tenant, key))
    return found


async def _one(database: Database, runner: Runner, tenant: Tenant, *, dry_run: bool, as_of: date | None) -> Ended:
    async with database.transaction(tenant.id) as session:
        run = await runs.by_command(session, tenant, dry_run=dry_run, as_of=as_of)
    while True:
        await runner.run_job(tenant.id.hex, run.job_id.hex)
        async with database.read(tenant.id) as session:
            job = await session.get_one(Job, run.job_id)
            if job.status not in jobs.UNFINISHED:
                return Ended(tenant, await session.get_one(BillingRun, run.id), job)
        await asyncio.sleep(_LOOK_SECONDS)


def report(ended: Sequence[Ended], out: TextIO) -> None:
    """A table with a row for each tenant, and under it what could not be billed, or of a dry run the first lines."""
    rows = [_HEAD, *(_row(each) for each in ended)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    for row in rows:
        numbers = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        out.write("  ".join((row[0].ljust(widths[0]), *numbers)) + "\n")
    for each in ended:
        if each.job.status is not JobStatus.SUCCEEDED:
            out.write(f"{each.tenant.slug}: the run ended as {each.job.status.value}: {each.job.message}\n")
        for failure in each.run.failures:
            out.write(f"{each.tenant.slug}: service {failure['service']}: {failure['reason']}\n")
        for line in each.run.lines:
            total = money.shown(line["total_minor"], each.tenant.currency)
            out.write(f"{each.tenant.slug}: {line['description']}: {total}\n")


def _row(ended: Ended) -> tuple[str, ...]:
    run = ended.run
    amounts = (run.subtotal_minor, run.tax_minor, run.total_minor)
    shown = (money.shown(minor, ended.tenant.currency) for minor in amounts)
    return (ended.tenant.slug, str(run.services), str(run.invoices), *shown, str(run.failed))
