"""Making the files that people download. A run that is broken off leaves nothing behind: the next one begins anew."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from ispgraph.actors.run import Run
from ispgraph.actors.sheets import CsvSheet, Sheet, XlsxSheet
from ispgraph.domain import exports, files, jobs
from ispgraph.domain.exports import Cell, ExportFormat, Totals, Wanted
from ispgraph.domain.imports import comparing
from ispgraph.domain.jobs import Permanent
from ispgraph.domain.models import Customer, File, Tenant
from ispgraph.domain.reports import exports as reports
from ispgraph.domain.reports import sheets

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


@dataclass(frozen=True, slots=True)
class Content:
    """What goes into a file: rows in pages, each of which becomes cells, and what is told of it at the end."""

    stem: str
    format: ExportFormat
    columns: Sequence[str]
    total: int
    pages: AsyncIterator[Sequence[Any]]
    cells: Callable[[Any], Sequence[Cell]]
    told: Callable[[int], str]


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
    await make(
        run,
        Content(
            stem=exports.stem(customer.account_number, zone),
            format=wanted.format,
            columns=exports.COLUMNS,
            total=found.count,
            pages=_pages(run, wanted),
            cells=lambda row: exports.cells(row, zone),
            told=lambda rows: _told(found, rows),
        ),
    )


async def report(run: Run) -> None:
    """The report that a job was promised for, as a sheet. All of it is read at once, so that it adds up."""
    async with run.database.read(run.job.tenant_id) as session:
        wanted = await reports.wanted_of(session, run.job)
    found = await run.look_up(lambda session: sheets.sheet(session, wanted))
    await make(
        run,
        Content(
            stem=sheets.stem(wanted),
            format=wanted.format,
            columns=found.columns,
            total=len(found.rows),
            pages=_chunks(found.rows),
            cells=lambda row: row,
            told=lambda rows: f"{rows} rows.",
        ),
    )


async def imports(run: Run) -> None:
    """The report of an import that a job was promised for: what became of each row."""
    async with run.database.read(run.job.tenant_id) as session:
        wanted = await comparing.wanted_of(session, run.job)
        zone = ZoneInfo((await session.get_one(Tenant, run.job.tenant_id)).time_zone)
    await make(
        run,
        Content(
            stem=exports.stem(wanted.label, zone, "import"),
            format=wanted.format,
            columns=comparing.COLUMNS,
            total=wanted.lines,
            pages=_import_pages(run, wanted),
            cells=lambda line: line,
            told=lambda rows: f"{rows} lines.",
        ),
    )


async def make(run: Run, content: Content) -> None:
    """Store the file, and end the job with it."""
    with tempfile.TemporaryDirectory(prefix="ispgraph-export-", ignore_cleanup_errors=True) as place:
        sheet = _sheet(content, Path(place))
        async with run.transaction() as session:
            job = await jobs.hold(session, run.job.id, run.lease)
            name = exports.file_name(content.stem, content.format)
            file = await files.begin(session, job, name=name, media_type=sheet.media_type)
            jobs.progress(session, job, 0, content.total)
        out = _Out(run, file, content.total)
        rows = 0
        async for page in content.pages:
            rows += len(page)
            await out.write(await asyncio.to_thread(_add, sheet, page, content.cells), rows)
        if content.format is ExportFormat.XLSX:
            await out.write(b"", rows, _PACKING)
        ready = sheet.end()
        while (body := await asyncio.to_thread(_next, ready)) is not None:
            await out.write(body, rows)
        await out.flush(rows)
    async with run.transaction() as session:
        job = await jobs.hold(session, run.job.id, run.lease)
        whole = await files.finish(session, file, out.size)
        job.arguments = {**job.arguments, **exports.result(file.id, rows, whole.expires_at)}
        await run.succeed(session, content.told(rows))


def _sheet(content: Content, place: Path) -> Sheet:
    if content.format is ExportFormat.CSV:
        return CsvSheet(content.columns)
    return XlsxSheet(content.columns, place)


async def _pages(run: Run, wanted: Wanted) -> AsyncIterator[Sequence[Any]]:
    after: tuple[datetime, UUID] | None = None
    while True:
        page = await run.look_up(partial(exports.page, wanted=wanted, after=after))
        if not page:
            return
        yield page
        after = (page[-1].started_at, page[-1].id)


async def _import_pages(run: Run, wanted: comparing.Wanted) -> AsyncIterator[Sequence[Any]]:
    after = 0
    while True:
        page = await run.look_up(partial(comparing.page, wanted=wanted, after=after))
        if not page:
            return
        yield [line for row in page for line in comparing.lines(row)]
        after = page[-1].number


async def _chunks(rows: Sequence[Any]) -> AsyncIterator[Sequence[Any]]:
    for first in range(0, len(rows), exports.PAGE):
        yield rows[first : first + exports.PAGE]


def _add(sheet: Sheet, page: Sequence[Any], cells: Callable[[Any], Sequence[Cell]]) -> bytes:
    return sheet.add([cells(row) for row in page])


def _next(ready: Iterator[bytes]) -> bytes | None:
    return next(ready, None)


def _told(found: Totals, rows: int) -> str:
    gigabytes = f"{found.download_bytes / 1e9:.2f} GB down, {found.upload_bytes / 1e9:.2f} GB up"
    return f"{rows} sessions: {gigabytes}, {found.seconds // 3600} hours on line."
