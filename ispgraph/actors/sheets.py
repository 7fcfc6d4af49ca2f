"""Sheets that grow row by row in bounded memory: comma-separated text, and a workbook of a spreadsheet.

No event loop here: these are called in threads, for a page of rows takes a tenth of a second.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import xlsxwriter

from ispgraph.domain.exports import Cell
from ispgraph.domain.files import CHUNK_BYTES

CSV_TYPE = "text/csv; charset=utf-8"
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
# What one page of a workbook holds.
_ROWS = 1_048_576
# A workbook's numbers are binary64: so large whole ones, and so many digits of others, are kept as they are.
_EXACT = 2**53
_DIGITS = 15


class Sheet(Protocol):
    """What rows are added to. Both functions give what of the file is ready."""

    media_type: str

    def add(self, rows: Sequence[Sequence[Cell]]) -> bytes:
        """More rows."""
        ...

    def end(self) -> Iterator[bytes]:
        """No more rows."""
        ...


class CsvSheet:
    """RFC 4180 in UTF-8, with the mark by which spreadsheets know that it is."""

    media_type = CSV_TYPE

    def __init__(self, head: Sequence[str]) -> None:
        self._text = io.StringIO("\ufeff", newline="")
        self._text.seek(0, io.SEEK_END)
        self._writer = csv.writer(self._text, lineterminator="\r\n")
        self._writer.writerow(head)

    def add(self, rows: Sequence[Sequence[Cell]]) -> bytes:
        """More rows: what they are in the file."""
        self._writer.writerows(rows)
        found = self._text.getvalue().encode()
        self._text.seek(0)
        self._text.truncate()
        return found

    def end(self) -> Iterator[bytes]:
        """What is left: the head, when there were no rows."""
        yield self.add([])


class XlsxSheet:
    """A workbook. Its rows wait in a directory of this machine, and it is packed at the end."""

    media_type = XLSX_TYPE

    def __init__(self, head: Sequence[str], directory: Path) -> None:
        self._path = directory / "sheet.xlsx"
        plain = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
        self._book = xlsxwriter.Workbook(self._path, {"constant_memory": True, "tmpdir": str(directory), **plain})
        self._bold = self._book.add_format({"bold": True})
        self._decimals: dict[int, Any] = {}
        self._head = head
        self._begin()

    def _begin(self) -> None:
        self._page = self._book.add_worksheet()
        self._page.freeze_panes(1, 0)
        self._page.set_column(0, len(self._head) - 1, 20)
        for column, name in enumerate(self._head):
            self._page.write_string(0, column, name, self._bold)
        self._row = 1

    def add(self, rows: Sequence[Sequence[Cell]]) -> bytes:
        """More rows; a page that is full is followed by another. Nothing is ready before the end."""
        for row in rows:
            if self._row == _ROWS:
                self._begin()
            for column, cell in enumerate(row):
                if isinstance(cell, str):
                    self._page.write_string(self._row, column, cell)
                elif isinstance(cell, Decimal):
                    self._write_decimal(column, cell)
                elif cell is not None and abs(cell) > _EXACT:
                    self._page.write_string(self._row, column, str(cell))
                elif cell is not None:
                    self._page.write_number(self._row, column, cell)
            self._row += 1
        return b""

    def _write_decimal(self, column: int, value: Decimal) -> None:
        _, digits, exponent = value.as_tuple()
        if len(digits) > _DIGITS or not isinstance(exponent, int):
            self._page.write_string(self._row, column, str(value))
            return
        decimals = max(0, -exponent)
        if decimals not in self._decimals:
            pattern = "0." + "0" * decimals if decimals else "0"
            self._decimals[decimals] = self._book.add_format({"num_format": pattern})
        self._page.write_number(self._row, column, value, self._decimals[decimals])

    def end(self) -> Iterator[bytes]:
        """The packed workbook."""
        self._book.close()
        with self._path.open("rb") as file:
            while body := file.read(CHUNK_BYTES):
                yield body
