"""Which reader reads which kind of source. Each is a generator over the file that holds one row at a time.

Whoever only takes files does not ask here: some of the readers take long to load.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from ispgraph.domain.imports import csv_sheet, daloradius, phpnuxbill, router_users, xlsx_sheet
from ispgraph.domain.imports.dump_text import BadDump
from ispgraph.domain.imports.layout import Layout, Unreadable
from ispgraph.domain.imports.rows import Plan, Problem, Row
from ispgraph.domain.imports.totals import Totals
from ispgraph.domain.models import ImportSource
from ispgraph.domain.money import BadAmount

Item = Plan | Row | Problem
Reader = Callable[[BinaryIO, Layout], Iterator[Item]]


def without_layout(read: Callable[[BinaryIO], Iterator[Item]]) -> Reader:
    """A reader of files whose columns are known. It raises Unreadable for what is a problem of the file as a whole, and
    gives a row before what is to be said of it, so that the row is known."""

    def reader(file: BinaryIO, _layout: Layout) -> Iterator[Item]:
        said: list[Item] = []
        for item in read(file):
            if isinstance(item, Problem) and item.number == 0:
                raise Unreadable(item.message)
            said.append(item)
            if not isinstance(item, Problem):
                yield from sorted(said, key=_row_first)
                said.clear()
        yield from said

    return reader


def _row_first(item: Item) -> tuple[int, bool]:
    return item.number, isinstance(item, Problem)


READERS: Mapping[ImportSource, Reader] = {
    ImportSource.CSV: csv_sheet.read,
    ImportSource.XLSX: xlsx_sheet.read,
    ImportSource.PHPNUXBILL: without_layout(phpnuxbill.read),
    ImportSource.DALORADIUS: without_layout(daloradius.read),
    ImportSource.ROUTER: without_layout(router_users.read),
}
_TOTALS: Mapping[ImportSource, Callable[[BinaryIO], Totals]] = {
    ImportSource.PHPNUXBILL: phpnuxbill.totals,
    ImportSource.DALORADIUS: daloradius.totals,
    ImportSource.ROUTER: router_users.totals,
}


def totals(source: ImportSource, file: BinaryIO, currency: str) -> tuple[int, int, int] | None:
    """Its customers, how many of them may get on line, and the sum of their balances in minor units, as the source's
    own tables have it; None of a sheet. Raises Unreadable."""
    count = _TOTALS.get(source)
    if count is None:
        return None
    try:
        found = count(file)
        return found.customers, found.active, found.balance_minor(currency)
    except (BadDump, BadAmount) as error:
        raise Unreadable(str(error)) from error
