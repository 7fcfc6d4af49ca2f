"""A large export takes no more memory than a small one. ISPGRAPH_TEST_EXPORT_ROWS asks for another size."""

import asyncio
import csv
import os
import resource
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from ispgraph import ids
from ispgraph.db import Database
from ispgraph.domain import files
from ispgraph.domain.models import Customer, File, Job
from ispgraph.settings import Settings
from tests import subscribers
from tests.api import Api
from tests.factories import House
from tests.test_exports import Desk, books

__all__ = ["books"]

ROWS = int(os.environ.get("ISPGRAPH_TEST_EXPORT_ROWS", "200000"))
FEW = 10_000
MEGABYTE = 2**20
BATCH = 50_000

pytestmark = pytest.mark.long


async def fill(books: Database, customer: Customer, count: int) -> None:
    """So many sessions, an hour apart."""
    for first in range(0, count, BATCH):
        async with books.transaction(customer.tenant_id) as session:
            await session.execute(text("SET LOCAL statement_timeout = '120s'"))
            await session.execute(
                text("""
                INSERT INTO sessions (id, tenant_id, customer_id, acct_session_id, unique_id, username, connection_type,
                  state, started_at, updated_at, stopped_at, duration_seconds, input_octets, output_octets, ip_address,
                  mac_address, nas_address, terminate_cause)
                SELECT gen_random_uuid(), :tenant, customer, '81' || n, customer || '-' || n, 'line of ann', 'PPPOE',
                  'STOPPED', at, at + interval '14 min', at + interval '14 min', 840, n * 1001, n * 9001, '10.1.2.3',
                  '02:00:5e:00:00:01', '192.0.2.1', 'User-Request'
                  FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) n
                  CROSS JOIN LATERAL (SELECT timestamptz '1990-01-01Z' + n * interval '15 min', CAST(:customer AS uuid))
                    t (at, customer)"""),
                {
                    "tenant": customer.tenant_id,
                    "customer": customer.id,
                    "first": first,
                    "last": min(first + BATCH, count) - 1,
                },
            )


def resident() -> int:
    """Bytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@contextmanager
def watched() -> Iterator[dict[str, Any]]:
    """Afterwards: by how many megabytes the memory grew at most, and the seconds it took."""
    found: dict[str, Any] = {}
    before, began = resident(), time.monotonic()
    over, highest = threading.Event(), before

    def look() -> None:
        nonlocal highest
        while not over.wait(0.01):
            highest = max(highest, resident())

    thread = threading.Thread(target=look)
    thread.start()
    yield found
    over.set()
    thread.join()
    found |= {"grew": (highest - before) / MEGABYTE, "seconds": time.monotonic() - began}


@pytest.mark.parametrize("format", ["CSV", "XLSX"])
async def test_memory_is_bounded(
    api: Api, house: House, settings: Settings, books: Database, tmp_path: Path, format: str
) -> None:
    desk = Desk(api, house, settings)
    few, many = await subscribers.customer(house), await subscribers.customer(house)
    await fill(books, few, FEW)
    await fill(books, many, ROWS)
    await desk.work((await desk.ask(few, format=format))["job"]["id"])
    job = (await desk.ask(many, format=format))["job"]["id"]

    with watched() as worker:
        done = await desk.work(job)

    assert (done["status"], done["rowCount"]) == ("SUCCEEDED", ROWS), done
    with watched() as server:
        path = await download(house, job, tmp_path)
    figures = f"{format}, {ROWS} rows, {path.stat().st_size / MEGABYTE:.0f} MB: worker {worker}, download {server}"
    print(figures)  # noqa: T201
    assert worker["grew"] < 48
    assert server["grew"] < 24
    if format == "CSV":
        with path.open(encoding="utf-8-sig", newline="") as file:
            assert sum(1 for _ in csv.reader(file)) == ROWS + 1
    else:
        with zipfile.ZipFile(path) as book:
            assert book.testzip() is None


async def download(house: House, job: str, place: Path) -> Path:
    """The file of a job, as the API's program reads it."""
    path = place / "file"
    async with house.database.read(house.tenant.id) as session:
        row = await session.get_one(Job, ids.parse(job)[1])
        file = await session.get_one(File, UUID(hex=str(row.arguments["file"])))
    with path.open("wb") as out:
        async for body in files.chunks(house.database.read, file):
            await asyncio.to_thread(out.write, body)
    return path
