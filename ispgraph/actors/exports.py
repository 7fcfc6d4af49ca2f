"""Making the files that people download. A run that is broken off leaves nothing behind: the next one begins anew."""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Row

from ispgraph.actors.run import Run
from ispgraph.actors.sheets import CsvSheet, Sheet, XlsxSheet
from ispgraph.domain import exports, files, jobs
from ispgraph.domain.exports import ExportFormat, Totals, Wanted
from ispgraph.domain.jobs import Permanent
from ispgraph.domain.models import Customer, File, Tenant

_PACKING = "Packing the workbook."


class _Out:
    """The file of a run. `number` and `size` are of the chunks that are stored, `waiting` is still to be."""

    def __init__(self, run: Run, file: File, total: int) -> None:
        self._run, self._file, self._total = run, file, total
        self._number = self.size = 0
        self._waiting = bytearray()

    async def write(self, body: bytes, rows: int, message: str | None = None) -> None:
        """Store what makes whole chunks, and say how far it is."""
        self._waiting += body
        await self._store(rows, files.CHUNK_BYTES, message)

    async def flush(self, rows: int) -> None:
        """Store the rest."""
        await self._store(rows, 1, None)

    async def _store(self, rows: int, least: int, message: str | None) -> None:
        async with self._run.transaction() as session:
            while len(self._waiting) >= least:
                body = bytes(self._waiting[: files.CHUNK_BYTES])
                del self._waiting[: files.CHUNK_BYTES]
                files.append(session, self._file, self._number, body)
                self._number, self.size = self._number + 1, self.size + len(body)
            job = await jobs.hold(session, self._run.job.id, self._run.lease)
            jobs.progress(session, job, rows, self._total, message)


async def sessions(run: Run) -> None:
    """The sessions that a job was promised for, as a sheet."""
    wanted = exports.wanted_of(run.job)
    async with run.database.read(run.job.tenant_id) as session:
        found = await exports.totals(session, wanted)
        customer = await session.get_one(Customer, wanted.customer_id)
        zone = ZoneInfo((await session.get_one(Tenant, run.job.tenant_id)).time_zone)
    if found.count > exports.MOST:
        message = f"There are {found.count} sessions, and one file may have {exports.MOST}: ask for a shorter time."
        raise Permanent(message)
    with tempfile.TemporaryDirectory(prefix="ispgraph-export-", ignore_cleanup_errors=True) as place:
        sheet = _sheet(wanted, Path(place))
        async with run.transaction() as session:
            job = await jobs.hold(session, run.job.id, run.lease)
            name = exports.file_name(customer.account_number, wanted, zone)
            file = await files.begin(session, job, name=name, media_type=sheet.media_type)
            jobs.progress(session, job, 0, found.count)
        out = _Out(run, file, found.count)
        rows = await _fill(run, wanted, sheet, out, zone)
        if wanted.format is ExportFormat.XLSX:
            await out.write(b"", rows, _PACKING)
        ready = sheet.end()
        while (body := await asyncio.to_thread(_next, ready)) is not None:
            await out.write(body, rows)
        await out.flush(rows)
    async with run.transaction() as session:
        job = await jobs.hold(session, run.job.id, run.lease)
        whole = await files.finish(session, file, out.size)
        job.arguments = {**job.arguments, **exports.result(file.id, rows, whole.expires_at)}
        await run.succeed(session, _told(found, rows))


def _sheet(wanted: Wanted, place: Path) -> Sheet:
    return CsvSheet(exports.COLUMNS) if wanted.format is ExportFormat.CSV else XlsxSheet(exports.COLUMNS, place)


async def _fill(run: Run, wanted: Wanted, sheet: Sheet, out: _Out, zone: ZoneInfo) -> int:
    """Add every page; how many rows there were."""
    after: tuple[datetime, UUID] | None = None
    rows = 0
    while True:
        async with run.database.read(run.job.tenant_id) as session:
            page = await exports.page(session, wanted, after)
        if not page:
            return rows
        after = (page[-1].started_at, page[-1].id)
        rows += len(page)
        await out.write(await asyncio.to_thread(_add, sheet, page, zone), rows)


def _add(sheet: Sheet, page: Sequence[Row[Any]], zone: ZoneInfo) -> bytes:
    return sheet.add([exports.cells(row, zone) for row in page])


def _next(ready: Iterator[bytes]) -> bytes | None:
    return next(ready, None)


def _told(found: Totals, rows: int) -> str:
    gigabytes = f"{found.download_bytes / 1e9:.2f} GB down, {found.upload_bytes / 1e9:.2f} GB up"
    return f"{rows} sessions: {gigabytes}, {found.seconds // 3600} hours on line."
