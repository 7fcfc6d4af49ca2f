"""Makes the data set that the other benchmarks read: `python -m bench.data --customers 100000 --sessions 2000000`.

Two tenants, nine customers in ten with the first. The same seed makes the same rows.
"""

import argparse
import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from bench import fill
from bench.fill import Plan, Step
from bench.place import DIRECTORY, ROOT, Description, Place, fingerprint
from ispgraph.domain import secrets
from ispgraph.domain.models import (
    BillingCycle,
    ConnectionType,
    Operator,
    Package,
    Role,
    Router,
    RouterStatus,
    SignIn,
    Tenant,
    Zone,
)
from ispgraph.domain.passwords import hashed
from ispgraph.domain.permissions import DEFAULTS, LEVELS
from ispgraph.up.postgres import APP_ROLE, OWNER_ROLE, RADIUS_ROLE

UNTIL = datetime(2026, 11, 20, 12, tzinfo=UTC)
PASSWORD = "benchmark-password-only"
_FAST = "SET session_replication_role = replica; SET work_mem = '512MB'; SET max_parallel_workers_per_gather = 0"

# (local part, role, name, above)
_PEOPLE = [
    ("admin", Role.ADMIN, "Ada Bench", None),
    ("manager", Role.MANAGER, "Max Bench", "admin"),
    ("staff", Role.STAFF, "Stef Bench", "admin"),
    ("reseller", Role.OPERATOR, "Northern Reseller", "admin"),
    ("shop", Role.SUB_OPERATOR, "Harbour Shop", "reseller"),
    ("reseller-2", Role.OPERATOR, "Southern Reseller", "admin"),
]


class _Maker:
    """Makes the few rows that stand above the many: with ids that follow from the seed."""

    def __init__(self, plan: Plan, place: Place) -> None:
        self._plan = plan
        self._network_key = bytes.fromhex(place.description.network_key)
        self._at = plan.until - timedelta(days=1200)
        self._made = 0

    def id(self) -> UUID:
        """The next id: a UUIDv7 of a second of its own, so that the order is that of making."""
        self._made += 1
        moment = int((self._at + timedelta(seconds=self._made)).timestamp() * 1000)
        noise = int.from_bytes(hashlib.sha256(f"{self._plan.seed}:{self._made}".encode()).digest()[:10], "big")
        low = noise & ((1 << 62) - 1)
        return UUID(int=moment << 80 | 7 << 76 | (noise >> 62 & 0xFFF) << 64 | 0b10 << 62 | low)

    def tenant(self, key: UUID, slug: str, name: str) -> Tenant:
        return Tenant(
            id=key,
            slug=slug,
            name=name,
            currency="BDT",
            country="BD",
            time_zone=fill.ZONE,
            tax_rate=fill.TAX_PERCENT,
            created_at=self._at,
        )

    def operators(self, tenant_id: UUID, domain: str, people: Sequence[Any], password_hash: str) -> list[Operator]:
        made: dict[str, Operator] = {}
        for local, role, name, above in people:
            parent = made.get(above)
            made[local] = Operator(
                id=self.id(),
                tenant_id=tenant_id,
                name=name,
                email=f"{local}@{domain}",
                password_hash=password_hash,
                role=role,
                level=LEVELS[role],
                parent_id=parent and parent.id,
                ancestors=[*parent.ancestors, parent.id] if parent else [],
                permissions=sorted(permission.value for permission in DEFAULTS[role]),
                created_at=self._at,
            )
        return list(made.values())

    def catalogue(self, tenant_id: UUID, size: int, network: int) -> list[Any]:
        """`size` parts in twelve of the packages and zones, and routers in 10.64.`network`.0/24."""
        rows: list[Any] = []
        for name, down, up, price in fill.PACKAGES[: max(1, size // 2)]:
            rows.append(
                Package(
                    id=self.id(),
                    tenant_id=tenant_id,
                    name=name,
                    connection_types=[kind.value for kind in ConnectionType],
                    download_kbps=down,
                    upload_kbps=up,
                    price_minor=price,
                    billing_cycle=BillingCycle.MONTHLY,
                    validity_days=30,
                    created_at=self._at,
                    updated_at=self._at,
                )
            )
        for number in range(size):
            rows.append(
                Zone(
                    id=self.id(),
                    tenant_id=tenant_id,
                    name=f"Sector {number + 1}",
                    code=f"S{number + 1}",
                    created_at=self._at,
                )
            )
        for number in range(1, 1 + max(1, size * 2 // 3)):
            key, address = self.id(), f"10.64.{network}.{number}"
            sealed = secrets.seal(self._network_key, f"radius-{number}", secrets.router_radius(tenant_id, key))
            rows.append(
                Router(
                    id=key,
                    tenant_id=tenant_id,
                    name=f"Core {number}",
                    address=address,
                    radius_address=address,
                    radius_secret=sealed,
                    status=RouterStatus.ONLINE,
                    last_seen_at=self._plan.until,
                    created_at=self._at,
                )
            )
        return rows


async def _above(place: Place, plan: Plan, maker: _Maker) -> dict[str, str]:
    """Tenants, operators, catalogue, and the admin's sign-in; answers what bench.json has to know of them."""
    engine = create_async_engine(place.dsn("superuser").replace("postgresql:", "postgresql+asyncpg:"))
    password_hash = await hashed(PASSWORD)
    first, second = maker.id(), maker.id()
    async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
        session.add_all([maker.tenant(first, "bench", "Bench Net"), maker.tenant(second, "other", "Other Bench Net")])
        await session.flush()
        people = maker.operators(first, "bench.example", _PEOPLE, password_hash)
        people += maker.operators(second, "other.bench.example", _PEOPLE[:1], password_hash)
        for person in people:
            session.add(person)
            await session.flush()
        session.add_all([*maker.catalogue(first, 12, 1), *maker.catalogue(second, 4, 2)])
        signed_in = SignIn(
            id=maker.id(),
            tenant_id=first,
            operator_id=people[0].id,
            token_version=1,
            created_at=plan.until,
            expires_at=plan.until + timedelta(days=3650),
        )
        session.add(signed_in)
    await engine.dispose()
    return {
        "tenant_id": str(first),
        "other_tenant_id": str(second),
        "operator_id": str(people[0].id),
        "sign_in_id": str(signed_in.id),
    }


async def _run(place: Place, steps: Sequence[Step], say: Callable[[str], None]) -> None:
    connection = await asyncpg.connect(place.dsn("superuser"))
    try:
        await connection.execute(_FAST)
        await connection.execute(f"SET bench.network_key = '{place.description.network_key}'")
        for step in steps:
            begun = time.monotonic()
            done = await connection.execute(step.sql, timeout=3600)
            say(f"{step.table:26} {done:28} {time.monotonic() - begun:6.1f} s")
    finally:
        await connection.close()


async def _fill(place: Place, plan: Plan, say: Callable[[str], None]) -> dict[str, str]:
    known = await _above(place, plan, _Maker(plan, place))
    connection = await asyncpg.connect(place.dsn("superuser"))
    await connection.execute(fill.functions(plan))
    small, billing, ledger, usage = fill.small(plan), fill.billing(plan), fill.ledger(plan), fill.usage(plan)
    tables = sorted({step.table for step in (*small, *billing, *ledger, *usage)})
    # Rows go in faster without indexes, and the indexes of a table are then made in one pass each. REINDEX makes an
    # index that was set aside this way whole and valid again, and checks what is unique.
    await connection.execute(
        """UPDATE pg_index i SET indisready = false, indisvalid = false FROM pg_class c
            WHERE c.oid = i.indexrelid AND c.relkind = 'i' AND (i.indrelid = ANY ($1::text[]::regclass[])
               OR i.indrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = ANY ($1::text[]::regclass[])))""",
        tables,
    )
    first, second = UUID(known["tenant_id"]), UUID(known["other_tenant_id"])
    await _run(place, fill.scaffold(plan, first, second), say)
    await _run(place, [step for step in small if step.table == "services"], say)
    rest = [step for step in small if step.table != "services"]
    await asyncio.gather(_run(place, [*rest, *billing], say), _run(place, [*ledger, *usage], say))
    sizes = dict(
        await connection.fetch("SELECT relname, pg_relation_size(oid) FROM pg_class WHERE relname = ANY ($1)", tables)
    )
    await connection.execute("DROP SCHEMA bench CASCADE")
    await connection.close()
    queue = sorted(tables, key=lambda table: -sizes[table])

    async def finish() -> None:
        while queue:
            table = queue.pop(0)
            await _run(place, [Step(table, f"REINDEX TABLE {table}"), Step(table, f"VACUUM (ANALYZE) {table}")], say)

    await asyncio.gather(finish(), finish())
    others = ("tenants", "operators", "packages", "zones", "routers", "sign_ins")
    steps = [*(Step(table, f"ANALYZE {table}") for table in others), Step("", "CHECKPOINT")]
    await _run(place, steps, lambda _: None)
    return known


def make(directory: Path, plan: Plan, say: Callable[[str], None]) -> None:
    """Make the data set in a new directory, or in one where this was begun before; a finished one stays as it is."""
    if (directory / "bench.json").exists():
        say(f"{directory} holds a finished data set already; remove it to make another")
        return
    begun_before = directory / "bench.begun"
    if begun_before.exists():
        shutil.rmtree(directory)
    directory.mkdir(mode=0o755, parents=True)
    begun_before.touch()
    place = Place(directory, Description.fresh(plan.customers, plan.sessions, plan.seed, plan.until))
    begun, migrations = time.monotonic(), fingerprint()
    with place.running():
        roles = (OWNER_ROLE, APP_ROLE, RADIUS_ROLE)
        place.postgres.provision({role: place.description.passwords[role] for role in roles})
        subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=ROOT,
            env={**os.environ, "ISPGRAPH_OWNER_DATABASE_URL": place.dsn(OWNER_ROLE)},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        known = asyncio.run(_fill(place, plan, say))
        size = place.postgres.execute("SELECT pg_size_pretty(pg_database_size('ispgraph'))", "ispgraph")
    place.finish(**known, migrations=migrations)
    begun_before.unlink()
    say(f"{directory}: {plan.customers} customers, {plan.sessions} sessions, {size}, {time.monotonic() - begun:.0f} s")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.data", description=__doc__)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--sessions", type=int, help="in all; 20 for each customer unless given")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--until", type=datetime.fromisoformat, default=UNTIL, help="when the data ends")
    parser.add_argument("--dir", type=Path, default=DIRECTORY)
    given = parser.parse_args()
    sessions = given.customers * 20 if given.sessions is None else given.sessions
    plan = Plan(given.customers, sessions, given.seed, given.until)
    make(given.dir.absolute(), plan, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
