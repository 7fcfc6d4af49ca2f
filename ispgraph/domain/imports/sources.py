"""Which reader reads which kind of source. Each is a generator over the file that holds one row at a time.

Of `layout.READ` each has one. Whoever only takes files asks there: some of the readers take long to load.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from ispgraph.domain.imports import csv_sheet, xlsx_sheet
from ispgraph.domain.imports.layout import Layout
from ispgraph.domain.imports.rows import Plan, Problem, Row
from ispgraph.domain.models import ImportSource

Item = Plan | Row | Problem
Reader = Callable[[BinaryIO, Layout], Iterator[Item]]


def without_layout(read: Callable[[BinaryIO], Iterator[Item]]) -> Reader:
    """A reader of files whose columns are known."""
    return lambda file, _layout: read(file)


READERS: Mapping[ImportSource, Reader] = {
    ImportSource.CSV: csv_sheet.read,
    ImportSource.XLSX: xlsx_sheet.read,
}
