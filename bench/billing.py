"""A billing run over every service of a provider, against the bare statements that write the same rows, and against an
ORM: `python -m bench.billing --services 100000 --rounds 3`.

In each round every service is billed three times, a month further each time: by `ispgraph` (the run's own code), by
`bare` (INSERT … SELECT from rows that were worked out before the time begins, in chunks of the same size, under the
same constraints and triggers, which price nothing and lock nothing first), and a part of them by `orm` (objects in
units of work). Beside the seconds stands the processor time of PostgreSQL and of this process, which tells more on a
machine that has other things to do. At the end a second run of the last month has to leave every table as it is.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bench.place import ROOT, Description, Place
from bench.processes import cpu_seconds
from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import packages
from ispgraph.domain.billing import invoices, numbers, periods, proration, runs
from ispgraph.domain.models import (
    Account,
    BilledPeriod,
    BillingRun,
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    Journal,
    Package,
    Posting,
    Service,
    Tenant,
)
from ispgraph.up.postgres import APP_ROLE, OWNER_ROLE, RADIUS_ROLE

BEGIN = datetime(2027, 1, 1, tzinfo=UTC)
ZONE = "Asia/Dhaka"
TABLES = ("invoices", "invoice_lines", "billed_periods", "journals", "postings", "services", "number_series")
TABLES += ("customer_balances", "service_watches", "payments")

# All foreign keys are met; triggers that keep rows beside these are on.
HOUSE = """
INSERT INTO tenants (id, slug, name, currency, country, time_zone, tax_rate, tax_inclusive, invoice_due_days,
                     account_prefix, email_required, pending_until_paid, suspension, walled_address_list, walled_kbps,
                     created_at)
VALUES ($1::text::uuid, 'bench', 'Bench Net', 'USD', 'BD', $2, 7.5, false, 7, '', false, false, 'REJECT', 'suspended',
        512, $3)"""
FILL = (
    """INSERT INTO operators SELECT o.* FROM jsonb_populate_record(NULL::operators, jsonb_build_object(
    'id', :tenant, 'tenant_id', :tenant, 'name', 'Bench', 'email', 'admin@bench.example', 'password_hash', '-',
    'role', 'ADMIN', 'level', 20, 'ancestors', '{}', 'permissions', '{}', 'active', true, 'token_version', 1,
    'sms_credits', 0, 'created_at', :at)) o""",
    """INSERT INTO packages (id, tenant_id, name, active, connection_types, download_kbps, upload_kbps, price_minor,
    billing_cycle, validity_days, created_at, updated_at, bind_mac_on_first_login)
    SELECT gen_random_uuid(), :tenant, 'Package ' || n, true, '{PPPOE}', 20000, 5000, 999 + 137 * n, 'MONTHLY', 30,
           :at, :at, false FROM generate_series(1, 20) n""",
    """INSERT INTO customers (id, tenant_id, account_number, version, name, mobile, operator_id, status, joined_at,
    updated_at)
    SELECT gen_random_uuid(), :tenant, (100000 + n)::text, 1, 'Customer ' || n, '+8801712345678', :tenant, 'ACTIVE',
           :at, :at FROM generate_series(1, :count) n""",
    """INSERT INTO services (id, tenant_id, customer_id, package_id, is_primary, connection_type, status, username,
    password, started_at, expires_at, billing_anchor, auto_renew, desired_version, applied_version, provisioning, drift,
    created_at)
    SELECT gen_random_uuid(), :tenant, c.id, (array_agg(k.id ORDER BY k.id))[1 + c.n % 20], true, 'PPPOE', 'ACTIVE',
           'user' || c.n, 'x', :at, :at + make_interval(secs => c.n % 86400), :at + make_interval(secs => c.n % 86400),
           false, 1, 1, 'APPLIED', '[]', :at
      FROM (SELECT id, row_number() OVER () AS n FROM customers) c CROSS JOIN packages k GROUP BY c.id, c.n""",
)

# What the bare statements insert, worked out before.
STAGE = """
CREATE UNLOGGED TABLE bare AS
SELECT row_number() OVER (ORDER BY s.id) AS n, s.id AS service_id, s.customer_id, s.package_id, s.expires_at AS starts,
       billing_boundary(s.billing_anchor, $2, 1, 0, $3) AS ends, k.price_minor AS net,
       round(k.price_minor * 0.075)::bigint AS tax, gen_random_uuid() AS invoice_id, gen_random_uuid() AS journal_id,
       k.name || ', 1 month, ' || (s.expires_at AT TIME ZONE $2)::date || ' to ' || $3 AS description,
       '1 month at ' || k.price_minor * 0.01 || ' USD, and 7.5 % tax.' AS explanation, '' AS number
  FROM services s JOIN packages k ON k.id = s.package_id WHERE s.tenant_id = $1;
"""
BARE = (
    """INSERT INTO invoices (id, tenant_id, customer_id, service_id, status, period_start, period_end, subtotal_minor,
         tax_minor, total_minor, paid_minor, created_at)
       SELECT invoice_id, $1, customer_id, service_id, 'DRAFT', starts, ends, net, tax, net + tax, 0, $2 FROM bare
        WHERE n BETWEEN $3 AND $4""",
    """INSERT INTO invoice_lines (id, tenant_id, invoice_id, position, description, quantity, unit_price_minor,
         amount_minor, tax_rate, tax_minor, tax_included, explanation)
       SELECT gen_random_uuid(), $1, invoice_id, 1, description, 1, net, net, 7.5, tax, false, explanation FROM bare
        WHERE $2::timestamptz IS NOT NULL AND n BETWEEN $3 AND $4""",
    """INSERT INTO billed_periods (id, tenant_id, service_id, invoice_id, package_id, starts_at, ends_at, price_minor,
         tax_rate, tax_included)
       SELECT gen_random_uuid(), $1, service_id, invoice_id, package_id, starts, ends, net, 7.5, false FROM bare
        WHERE $2::timestamptz IS NOT NULL AND n BETWEEN $3 AND $4""",
    """UPDATE invoices i SET number = b.number, issued_on = $2::date, due_on = $2::date + 7, status = 'OPEN' FROM bare b
        WHERE i.tenant_id = $1 AND i.id = b.invoice_id AND b.n BETWEEN $3 AND $4""",
    """INSERT INTO journals (id, tenant_id, at, description, invoice_id)
       SELECT journal_id, $1, $2, 'Invoice ' || number, invoice_id FROM bare WHERE n BETWEEN $3 AND $4""",
    """INSERT INTO postings (id, tenant_id, journal_id, account, customer_id, amount_minor)
       SELECT gen_random_uuid(), $1, journal_id, v.account, v.customer_id, v.minor FROM bare b
        CROSS JOIN LATERAL (VALUES ('RECEIVABLE', b.customer_id, b.net + b.tax), ('REVENUE', NULL, -b.net),
                                   ('TAX', NULL, -b.tax)) v (account, customer_id, minor)
        WHERE $2::timestamptz IS NOT NULL AND n BETWEEN $3 AND $4""",
    """UPDATE services s SET expires_at = b.ends FROM bare b
        WHERE $2::timestamptz IS NOT NULL AND s.tenant_id = $1 AND s.id = b.service_id AND b.n BETWEEN $3 AND $4""",
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a way took, for so many services: seconds, and seconds of the processors."""

    services: int
    seconds: float
    database: float
    program: float

    @property
    def microseconds(self) -> float:
        """Of the processors, for one service."""
        return (self.database + self.program) / self.services * 1e6


class Bench:
    """One provider, and the ways to bill it."""

    def __init__(self, place: Place, tenant: UUID, services: int, sample: int) -> None:
        self.place = place
        self.tenant = tenant
        self.services, self.sample = services, sample
        self.month = 0
        self.database = Database(place.dsn(APP_ROLE), pool_size=3)

    def transact(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction of the application's role."""
        return self.database.transaction(self.tenant)

    @property
    def ends(self) -> datetime:
        """When the periods that are billed next have all begun."""
        months = periods.boundary(BEGIN, periods.Cycle(1, 0), self.month, ZONE)
        return months + timedelta(days=2)

    async def measured(self, work: Callable[[], Awaitable[int]]) -> Figures:
        """What `work`, which answers how many services it billed, takes. Nothing of the rounds before is left over."""
        await self._superuser("CHECKPOINT")
        postmaster = self.place.postgres.pid
        assert postmaster is not None
        clock.set_clock(self.ends.isoformat())
        used, own, begun = cpu_seconds(postmaster), time.process_time(), time.monotonic()
        count = await work()
        return Figures(count, time.monotonic() - begun, cpu_seconds(postmaster) - used, time.process_time() - own)

    async def ispgraph(self) -> int:
        """The run, as a worker carries it out, without a job's lease."""

        async def progress(_session: AsyncSession, _done: int, _total: int) -> None:
            return None

        async with self.transact() as session:
            tenant = await session.get_one(Tenant, self.tenant)
            run = await runs.by_command(session, tenant, dry_run=False, as_of=None)
        await runs.Carrier(run, tenant, self.transact, progress).carry_out()
        async with self.database.read(self.tenant) as session:
            ended = await session.get_one(BillingRun, run.id)
        assert ended.failed == 0, ended.failures
        return ended.services

    async def prepare_bare(self) -> None:
        """Work out what the bare statements insert, and its numbers."""
        await self._superuser("DROP TABLE IF EXISTS bare")
        connection = await asyncpg.connect(self.place.dsn("superuser"))
        stage = STAGE.replace("$1", f"'{self.tenant}'").replace("$2", f"'{ZONE}'").replace("$3", str(self.month + 1))
        await connection.execute(stage)
        last = await connection.fetchval("SELECT COALESCE(max(last), 0) FROM number_series WHERE series = 'INV-2027'")
        await connection.execute(f"UPDATE bare SET number = 'INV-2027-' || lpad((n + {last})::text, 6, '0')")
        await connection.execute("CREATE UNIQUE INDEX ON bare (n)")
        await connection.execute(f"GRANT SELECT ON bare TO {APP_ROLE}; ANALYZE bare")
        await connection.close()

    async def bare(self) -> int:
        """The same rows by nothing but INSERT … SELECT."""
        connection = await asyncpg.connect(self.place.dsn())
        for first in range(1, self.services + 1, runs.CHUNK):
            async with connection.transaction():
                await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(self.tenant))
                last = min(first + runs.CHUNK - 1, self.services)
                await connection.execute(
                    """INSERT INTO number_series VALUES ($1, 'INV-2027', $2) ON CONFLICT (tenant_id, series)
                       DO UPDATE SET last = number_series.last + $2""",
                    self.tenant,
                    last - first + 1,
                )
                for statement in BARE:
                    await connection.execute(statement, self.tenant, self.ends, first, last)
        await connection.close()
        return self.services

    async def orm(self) -> int:
        """Some of the services by objects, so many in a unit of work as there are in a chunk."""
        keys = await self._keys()
        for first in range(0, len(keys), runs.CHUNK):
            async with self.transact() as session:
                await self._unit(session, keys[first : first + runs.CHUNK])
        return len(keys)

    async def _keys(self) -> list[UUID]:
        async with self.database.read(self.tenant) as session:
            return list(await session.scalars(select(Service.id).order_by(Service.id).limit(self.sample)))

    async def _unit(self, session: AsyncSession, keys: list[UUID]) -> None:
        tenant = await session.get_one(Tenant, self.tenant)
        rows = select(Service, Package).join(Package, Package.id == Service.package_id).where(Service.id.in_(keys))
        found = (await session.execute(rows.with_for_update(of=Service))).all()
        sold = {package.id: await packages.sold(session, package, tenant) for _, package in found[:200]}
        made = []
        for service, package in found:
            terms = sold.get(package.id) or await packages.sold(session, package, tenant)
            assert service.expires_at is not None
            anchor = service.billing_anchor or service.expires_at
            number = periods.number_at(anchor, terms.cycle, service.expires_at, ZONE)
            period = periods.period(anchor, terms.cycle, number, ZONE)
            line = proration.whole(terms, period, ZONE)
            sums = invoices.amounts([line])
            invoice = Invoice(
                tenant_id=self.tenant,
                customer_id=service.customer_id,
                service_id=service.id,
                status=InvoiceStatus.DRAFT,
                period_start=period.start,
                period_end=period.end,
                subtotal_minor=sums.subtotal_minor,
                tax_minor=sums.tax_minor,
                total_minor=sums.total_minor,
                paid_minor=0,
            )
            made.append((invoice, line, service, period, terms))
        session.add_all([each[0] for each in made])
        await session.flush()
        for invoice, line, service, period, terms in made:
            session.add(
                InvoiceLine(
                    tenant_id=self.tenant,
                    invoice_id=invoice.id,
                    position=1,
                    description=line.description,
                    quantity=line.quantity,
                    unit_price_minor=line.unit_price_minor,
                    amount_minor=line.amount_minor,
                    tax_rate=line.tax_rate,
                    tax_minor=line.tax_minor,
                    tax_included=line.tax_included,
                    explanation=line.explanation,
                )
            )
            session.add(
                BilledPeriod(
                    tenant_id=self.tenant,
                    service_id=service.id,
                    invoice_id=invoice.id,
                    package_id=service.package_id,
                    starts_at=period.start,
                    ends_at=period.end,
                    price_minor=terms.price_minor,
                    tax_rate=terms.tax_rate,
                    tax_included=terms.tax_included,
                )
            )
            service.expires_at = period.end
        await session.flush()
        first = await numbers.take_many(session, self.tenant, numbers.invoice_series(2027), len(made))
        for number, (invoice, *_) in enumerate(made, start=first):
            invoice.number = numbers.invoice_number(2027, number)
            invoice.issued_on, invoice.due_on = date(2027, 1, 1), date(2027, 1, 8)
            invoice.status = InvoiceStatus.OPEN
        await session.flush()
        journals = [
            Journal(tenant_id=self.tenant, at=self.ends, description=f"Invoice {invoice.number}", invoice_id=invoice.id)
            for invoice, *_ in made
        ]
        session.add_all(journals)
        await session.flush()
        for journal, (invoice, *_) in zip(journals, made, strict=True):
            for account, minor, customer in (
                (Account.RECEIVABLE, invoice.total_minor, invoice.customer_id),
                (Account.REVENUE, -invoice.subtotal_minor, None),
                (Account.TAX, -invoice.tax_minor, None),
            ):
                session.add(
                    Posting(
                        tenant_id=self.tenant,
                        journal_id=journal.id,
                        account=account,
                        amount_minor=minor,
                        customer_id=customer,
                    )
                )

    async def written(self) -> dict[str, tuple[int, int]]:
        """Of each table that billing writes how many rows there are, and the newest transaction that wrote one."""
        connection = await asyncpg.connect(self.place.dsn("superuser"))
        found = {}
        for table in TABLES:
            query = f"SELECT count(*), COALESCE(max(xmin::text::bigint), 0) FROM {table}"
            found[table] = tuple(await connection.fetchrow(query))
        await connection.close()
        return found

    async def catch_up(self) -> None:
        """Bill what the sample of objects has left of the month."""
        clock.set_clock(self.ends.isoformat())
        await self.ispgraph()

    async def begin(self) -> None:
        """A month in which the tables fill, told to the planner in between as autovacuum does after a minute.

        While a table is empty every index is as good as another for it, and what was planned then, the checks of
        foreign keys among it, may go by one that finds all rows of the tenant.
        """
        await self.orm()
        await self.tidy()
        await self.database.dispose()
        await self.catch_up()
        await self.tidy()
        self.month += 1

    async def tidy(self) -> None:
        """What autovacuum would do meanwhile."""
        await self._superuser("VACUUM (ANALYZE)")

    async def _superuser(self, statement: str) -> None:
        connection = await asyncpg.connect(self.place.dsn("superuser"))
        await connection.execute(statement, timeout=3600)
        await connection.close()


def made(directory: Path, services: int, say: Callable[[str], None]) -> tuple[Place, UUID]:
    """A new place with one provider of so many customers with a service each."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o755, parents=True)
    place = Place(directory, Description.fresh(services, 0, 1, BEGIN))
    tenant = ids.uuid7()

    async def fill() -> None:
        connection = await asyncpg.connect(place.dsn("superuser"))
        await connection.execute("SELECT set_config('app.tenant_id', $1, false)", str(tenant))
        await connection.execute(HOUSE, str(tenant), ZONE, BEGIN)
        for statement in FILL:
            filled = statement.replace(":tenant", f"'{tenant}'").replace(":at", f"'{BEGIN.isoformat()}'::timestamptz")
            say(await connection.execute(filled.replace(":count", str(services)), timeout=3600))
        await connection.execute("VACUUM (ANALYZE)", timeout=3600)
        await connection.close()

    place.postgres.initialise()
    place.postgres.start()
    roles = (OWNER_ROLE, APP_ROLE, RADIUS_ROLE)
    place.postgres.provision({role: place.description.passwords[role] for role in roles})
    environment = {**os.environ, "ISPGRAPH_OWNER_DATABASE_URL": place.dsn(OWNER_ROLE)}
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    asyncio.run(fill())
    return place, tenant


async def measure(bench: Bench, rounds: int, say: Callable[[str], None]) -> dict[str, list[Figures]]:
    """The rounds, the ways in turns; a first run of every way that warms up does not count."""
    found: dict[str, list[Figures]] = {"ispgraph": [], "bare": [], "orm": []}
    await bench.begin()
    for number in range(rounds + 1):
        order = list(found)
        for way in order[number % 3 :] + order[: number % 3]:
            if way == "bare":
                await bench.prepare_bare()
            figures = await bench.measured(getattr(bench, way))
            if way == "orm":
                await bench.catch_up()
            say(
                f"round {number}, {way}: {figures.services} services, {figures.seconds:.1f} s, "
                f"{figures.microseconds:.0f} µs of the processors for each"
            )
            if number:
                found[way].append(figures)
            bench.month += 1
            await bench.tidy()
    return found


def report(found: dict[str, list[Figures]]) -> None:
    """A line for each way; ratios are medians of those within each round."""
    print("\n| way | s per 100,000 | CPU s per 100,000 | x bare, by time | x bare, by CPU |\n|---|---|---|---|---|")
    for way, figures in found.items():
        pairs = list(zip(figures, found["bare"], strict=True))
        wall = statistics.median(a.seconds / a.services / (b.seconds / b.services) for a, b in pairs)
        cpu = statistics.median(a.microseconds / b.microseconds for a, b in pairs)
        seconds = statistics.median(each.seconds / each.services * 1e5 for each in figures)
        used = statistics.median(each.microseconds / 10 for each in figures)
        print(f"| {way} | {seconds:.1f} | {used:.1f} | {wall:.2f} | {cpu:.2f} |")


async def _bench(place: Place, tenant: UUID, given: Any, say: Callable[[str], None]) -> None:
    bench = Bench(place, tenant, given.services, given.sample)
    report(await measure(bench, given.rounds, say))
    bench.month -= 1
    clock.set_clock(bench.ends.isoformat())
    before = await bench.written()
    again = await bench.ispgraph()
    same = await bench.written() == before
    print(f"a second run: {again} services; {'no row was written' if same else 'ROWS WERE WRITTEN'}")
    await bench.database.dispose()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.billing", description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path("/tmp/bench-billing"))
    parser.add_argument("--services", type=int, default=100_000)
    parser.add_argument("--sample", type=int, default=10_000, help="services that are billed by objects")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()

    def say(line: str) -> None:
        print(line, flush=True)

    place, tenant = made(given.dir.absolute(), given.services, say)
    try:
        asyncio.run(_bench(place, tenant, given, say))
    finally:
        place.postgres.stop(60)
        shutil.rmtree(given.dir, ignore_errors=True)


if __name__ == "__main__":
    main()
