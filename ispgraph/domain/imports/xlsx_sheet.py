"""The first sheet of a workbook, row by row. A formula is the text that it is: nothing is reckoned."""

import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from ispgraph.domain.imports.layout import Layout, Unreadable, places
from ispgraph.domain.imports.rows import Plan, Problem, Row

MOST_EXPANDED = 256 * 1024 * 1024
MOST_STRINGS = 48 * 1024 * 1024
"""Of the table of strings, which is held in memory while the sheet is read."""
_MOST_PARTS = 1_000
_MOST_COLUMNS = 500
_BROKEN = "This is no workbook, or it is broken."
# What a broken workbook makes the library raise.
_FAILURES = (
    *(InvalidFileException, zipfile.BadZipFile, ParseError, KeyError, ValueError, TypeError, IndexError),
    *(AttributeError, EOFError, NotImplementedError, RuntimeError, OSError),
)


def read(file: BinaryIO, layout: Layout) -> Iterator[Plan | Row | Problem]:
    """The rows of the first sheet by their numbers there; the headings are the first that has anything.

    Raises Unreadable when it is no such file, or would be too large unpacked, also half-way.
    """
    _measure(file)
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=False, keep_links=False)
    except _FAILURES as error:
        raise Unreadable(_BROKEN) from error
    try:
        if not book.worksheets:
            raise Unreadable("The workbook has no sheet.")
        yield from _rows(_cells(book.worksheets[0]), layout)
    finally:
        book.close()


def _measure(file: BinaryIO) -> None:
    """No more is unpacked of a part than it says it has, so what they say is the limit."""
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as packed:
            parts = packed.infolist()
    except _FAILURES as error:
        raise Unreadable(_BROKEN) from error
    strings = sum(part.file_size for part in parts if "sharedstrings" in part.filename.lower())
    if len(parts) > _MOST_PARTS or sum(part.file_size for part in parts) > MOST_EXPANDED or strings > MOST_STRINGS:
        raise Unreadable("This workbook is too large when it is unpacked: save the sheet as CSV, or in parts.")
    file.seek(0)


def _cells(sheet: Any) -> Iterator[tuple[Any, ...]]:
    rows = sheet.iter_rows(values_only=True, max_col=_MOST_COLUMNS)
    while True:
        try:
            cells = next(rows)
        except StopIteration:
            return
        except _FAILURES as error:
            raise Unreadable(_BROKEN) from error
        yield cells


def _rows(records: Iterator[tuple[Any, ...]], layout: Layout) -> Iterator[Plan | Row | Problem]:
    where = None
    for number, cells in enumerate(records, start=1):
        texts = [text(cell) for cell in cells]
        if not any(texts):
            continue
        if where is None:
            where = places(texts, layout)
            continue
        yield Row(number, {column: texts[place] for column, place in where.items() if place < len(texts)})
    if where is None:
        raise Unreadable("The sheet is empty.")


def text(cell: Any) -> str:
    """A cell as somebody would have typed it: a telephone number is no 8.8e+12, a day has no time."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else format(Decimal(repr(cell)), "f")
    if isinstance(cell, datetime):
        return cell.date().isoformat() if cell.time() == time() else cell.isoformat(timespec="seconds")
    if isinstance(cell, date):
        return cell.isoformat()
    return str(cell).strip()
