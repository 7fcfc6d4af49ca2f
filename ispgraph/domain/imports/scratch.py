"""What a dump has apart, in several tables, brought together without holding it in memory.

The rows that are needed go into a database of Python's own, in a temporary file without a name: nobody else can open
it, and it is gone with its connection.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import BinaryIO

from ispgraph.domain.imports.dump_text import BadDump
from ispgraph.domain.imports.sql_dump import Dump

Texts = tuple[str, ...]
_BATCH = 500
_CACHE_KIB = 8192


class Scratch:
    """The columns of `tables` of a dump, by name; `keys` are the columns, or what is made of them, by which
    rows are looked for.

    All is text, as the dump has it: '' for NULL and for what the dump does not have. Raises BadDump.
    """

    def __init__(self, file: BinaryIO, tables: Mapping[str, Sequence[str]], keys: Mapping[str, Sequence[str]]) -> None:
        # A job reads on in whichever thread is free, one after the other.
        self._database = sqlite3.connect("", check_same_thread=False)
        try:
            self._fill(Dump(file, tables), tables, keys)
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> "Scratch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def rows(self, question: str, *given: str) -> Iterator[Texts]:
        """What a question in SQL finds."""
        yield from self._database.execute(question, given)

    def one(self, question: str, *given: str) -> Texts | None:
        """The first row of what a question finds."""
        found: Texts | None = self._database.execute(question, given).fetchone()
        return found

    def change(self, statement: str) -> None:
        """Change what was taken from the dump."""
        self._database.execute(statement)

    def _fill(self, dump: Dump, tables: Mapping[str, Sequence[str]], keys: Mapping[str, Sequence[str]]) -> None:
        run = self._database.execute
        for pragma in ("journal_mode = off", "synchronous = off", f"cache_size = -{_CACHE_KIB}"):
            run(f"PRAGMA {pragma}")
        insert = {}
        for table, columns in tables.items():
            run(f"CREATE TABLE {table} ({', '.join(f'{column} TEXT NOT NULL' for column in columns)})")
            insert[table] = f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})"
        waiting: dict[str, list[list[str]]] = {table: [] for table in tables}
        for record in dump.records():
            batch = waiting[record.table]
            batch.append(["" if value is None else value for value in record.values])
            if len(batch) == _BATCH:
                self._database.executemany(insert[record.table], batch)
                batch.clear()
        for table, batch in waiting.items():
            self._database.executemany(insert[table], batch)
        for table, columns in keys.items():
            for place, column in enumerate(columns):
                run(f"CREATE INDEX {table}_{place} ON {table} ({column})")
        self.found, self.of_postgresql, self.in_utc = dump.found, dump.of_postgresql, dump.in_utc


def scratch(
    file: BinaryIO, tables: Mapping[str, Sequence[str]], keys: Mapping[str, Sequence[str]], one_of: Sequence[str]
) -> Scratch:
    """The tables of a dump. Raises BadDump, also for one that has none of the tables `one_of`."""
    made = Scratch(file, tables, keys)
    if not made.found.intersection(one_of):
        made.__exit__(None, None, None)
        raise BadDump(f"It has no table {' or '.join(one_of)}: it is not a dump of this kind, or not all of it.")
    return made
