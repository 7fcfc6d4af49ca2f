"""`ispgraph bill`: all tenants or one, for good or as a trial; the status says how it went."""

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from ispgraph import clock, invariants
from ispgraph.actors.registry import ACTIONS
from ispgraph.actors.run import Runner
from ispgraph.bill import main
from ispgraph.db import Database
from ispgraph.domain.models import BillingCycle, BillingRun, Job, JobStatus
from ispgraph.settings import Settings
from tests.billing import office
from tests.factories import House
from tests.programs import ROOT

END = datetime(2027, 3, 10, 5, tzinfo=UTC)
AT = "2027-03-10T06:00:00Z"


class Command:
    """The command as a process of its own, with the clock at AT."""

    def __init__(self, settings: Settings, *arguments: str, at: str = AT) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ispgraph", "bill", *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "ISPGRAPH_DATABASE_URL": settings.database_url,
                "ISPGRAPH_REDIS_URL": settings.redis_url,
                "ISPGRAPH_TOKEN_KEY": settings.token_key.hex(),
                "ISPGRAPH_NETWORK_KEY": settings.network_key.hex(),
                "ISPGRAPH_CLOCK": at,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    async def end(self) -> tuple[int, list[list[str]], str]:
        """The status, the words of each line that it printed, and what it said of errors."""
        out, err = await asyncio.to_thread(self.process.communicate, timeout=120)
        return self.process.returncode, [line.split() for line in out.splitlines()], err


async def test_the_command_bills_and_says_what_it_did(
    house: House, other_house: House, settings: Settings, moved_clock: None, capsys: pytest.CaptureFixture[str]
) -> None:
    clock.set_clock(AT)
    good = await office.service(house, END - timedelta(days=40))
    await office.service(other_house, END)
    odd = await office.service(other_house, END)
    async with other_house.database.transaction(other_house.tenant.id) as session:
        await session.execute(text("UPDATE services SET billing_anchor = 'infinity' WHERE id = :id"), {"id": odd.id})

    async def command(tenant: str | None = None, *, dry_run: bool = False, as_of: date | None = None) -> Any:
        status = await asyncio.to_thread(main, settings, tenant=tenant, dry_run=dry_run, as_of=as_of)
        out, err = capsys.readouterr()
        return status, [line.split() for line in out.splitlines()], err

    status, lines, _ = await command("NORTH", dry_run=True)
    assert (status, lines[0][0]) == (0, "tenant")
    assert lines[1] == ["north", "1", "2", "1000.00", "USD", "0.00", "USD", "1000.00", "USD", "0"]
    assert [line[-2:] for line in lines[2:]] == [["500.00", "USD"]] * 2
    assert await office.billed(house) == []
    status, lines, _ = await command("south")
    assert (status, lines[1][:3], lines[1][-1]) == (1, ["south", "1", "1"], "1")
    assert lines[2][:4] == ["south:", "service", f"{odd.id}:", "PostgreSQL"]
    assert await command("west") == (2, [], "ispgraph: There is no tenant west.\n")
    status, lines, error = await command(as_of=date(2027, 3, 12))
    assert (status, lines, error.partition(":")[0]) == (2, [], "ispgraph")
    status, lines, _ = await command()
    assert (status, [line[:3] for line in lines[1:3]]) == (1, [["north", "1", "2"], ["south", "0", "0"]])
    assert {invoice.service_id for invoice, _ in await office.billed(house)} == {good.id}


@pytest.mark.long
async def test_a_killed_run_is_taken_up_and_nothing_is_billed_twice(
    house: House, settings: Settings, owner: Database, moved_clock: None
) -> None:
    clock.set_clock(AT)
    daily = await house.package("Daily", billing_cycle=BillingCycle.DAILY, validity_days=1)
    services = [await office.service(house, END - timedelta(days=11), daily) for _ in range(400)]
    killed = Command(settings, "--tenant", "north")
    for _ in range(1200):
        async with house.database.read(house.tenant.id) as session:
            runs = (await session.scalars(select(BillingRun))).all()
        if runs and runs[0].invoices:
            break
        await asyncio.sleep(0.02)
    killed.process.send_signal(signal.SIGKILL)
    await killed.end()
    async with house.database.read(house.tenant.id) as session:
        (half,) = await session.scalars(select(BillingRun))
        job = await session.get_one(Job, half.job_id)
    assert job.status is JobStatus.RUNNING
    assert 0 < half.invoices < 400 * 12
    assert len(await office.billed(house)) == half.invoices
    clock.set_clock("2027-03-10T06:10:00Z")
    for _ in range(100):
        # PostgreSQL may still be ending what the dead process had begun.
        await Runner(house.database, settings, ACTIONS).run_job(house.tenant.id.hex, half.job_id.hex)
        async with house.database.read(house.tenant.id) as session:
            whole = await session.get_one(BillingRun, half.id)
            job = await session.get_one(Job, half.job_id)
        if job.status is JobStatus.SUCCEEDED:
            break
        await asyncio.sleep(0.1)
    made = await office.billed(house)
    assert (whole.services, whole.invoices, whole.failed) == (400, 400 * 12, 0)
    assert [invoice.number for invoice, _ in made] == [f"INV-2027-{n:06d}" for n in range(1, 400 * 12 + 1)]
    for service in services[::50]:
        starts = [invoice.period_start for invoice, _ in made if invoice.service_id == service.id]
        assert starts == [END + timedelta(days=n) for n in range(-11, 1)]
    assert [finding for finding in await invariants.check(owner) if finding.broken] == []
