"""The rows of some tables out of an SQL dump: of mysqldump and its like, or of pg_dump as plain text. Nothing is
carried out; what is neither a table's structure nor its rows is passed over.

Memory is bounded whatever the dump is like: it is read through a small window, and of a row only what was asked for is
kept, each value up to a bound.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from ispgraph.domain.imports.dump_text import LARGEST, LONGEST, BadDump, codec, copied_text, window
from ispgraph.domain.imports.dump_tokens import Tokens

# What begins a line of a table's structure that is no column. A name that is also such a word stands in quotes.
_CONSTRAINTS = {b"PRIMARY", b"UNIQUE", b"CONSTRAINT", b"FOREIGN", b"CHECK", b"EXCLUDE", b"LIKE"}
_MYSQL_CONSTRAINTS = _CONSTRAINTS | {b"KEY", b"INDEX", b"FULLTEXT", b"SPATIAL", b"PERIOD"}
_ALMOST_ALWAYS = 4096
# One value of a tuple that is at hand as a whole, with what follows it.
_ESCAPED_VALUE = re.compile(rb"\s*(?:(NULL)|'((?:[^'\\]++|\\.|'')*+)'|(-?[0-9][0-9.eE+-]*+))\s*([,)])", re.DOTALL)
_VALUE = re.compile(rb"\s*(?:(NULL)|'((?:[^']++|'')*+)'|(-?[0-9][0-9.eE+-]*+))\s*([,)])")


@dataclass(frozen=True, slots=True)
class Record:
    """A row of a table. `values` are of the columns that were asked for, in that order: None where there is NULL or no
    such column. Bytes that are no text in the dump's character set are replaced by U+FFFD."""

    table: str
    values: Sequence[str | None]


class Dump:
    """The rows of the tables named in `wanted`, each with the columns wanted of it, all in lower case."""

    def __init__(self, file: BinaryIO, wanted: Mapping[str, Sequence[str]], most: int = LARGEST) -> None:
        self._wanted = wanted
        self._window = window(file, most)
        self._tokens = Tokens(self._window)
        self._codec = "utf-8"
        self._utc = False
        self._database: str | None = None
        self._columns: dict[str, list[str]] = {}
        self._homes: dict[str, str | None] = {}

    @property
    def of_postgresql(self) -> bool:
        """Whether what was read so far is PostgreSQL's. There, names that differ by case are two."""
        return self._tokens.postgresql

    @property
    def in_utc(self) -> bool:
        """Whether the dump says that MySQL's timestamps, which are not its dates with times, are in UTC."""
        return self._utc

    @property
    def found(self) -> frozenset[str]:
        """The wanted tables that were seen so far, with rows or without."""
        return frozenset(self._homes)

    def records(self) -> Iterator[Record]:
        """All rows, in the dump's order. Raises BadDump."""
        tokens = self._tokens
        while tokens.statement():
            match tokens.word():
                case b"INSERT" | b"REPLACE":
                    yield from self._inserted()
                case b"COPY":
                    yield from self._copied()
                case b"CREATE":
                    self._created()
                case b"SET":
                    self._set()
                case b"USE":
                    self._database = ".".join(tokens.name())
                    tokens.skip_statement()
                case b"DELIMITER":
                    tokens.delimit()
                case _:
                    tokens.skip_statement()

    # -- structure

    def _created(self) -> None:
        tokens = self._tokens
        while (word := tokens.word()) in (b"TEMPORARY", b"UNLOGGED", b"GLOBAL", b"LOCAL", b"OR", b"REPLACE"):
            pass
        if word != b"TABLE":
            tokens.skip_routine()
            return
        while tokens.peek_word() in (b"IF", b"NOT", b"EXISTS"):
            tokens.word()
        table = self._table()
        if table is not None and tokens.take(b"("):
            self._columns[table] = self._defined()
        tokens.skip_statement()

    def _defined(self) -> list[str]:
        """The names of the columns in what follows CREATE TABLE."""
        tokens = self._tokens
        constraints = _CONSTRAINTS if tokens.postgresql else _MYSQL_CONSTRAINTS
        found: list[str] = []
        while True:
            if tokens.at_quoted_name() or tokens.peek_word() not in constraints:
                name = tokens.name()
                if not name:
                    break
                found.append(name[-1])
            if tokens.skip_expression() != b",":
                break
        return found

    def _table(self) -> str | None:
        """The table that is named next, when it is a wanted one. Raises BadDump when there are two of that name."""
        name = self._tokens.name()
        if not name or name[-1] not in self._wanted:
            return None
        home = name[-2] if len(name) > 1 else self._database
        if self._homes.setdefault(name[-1], home) != home:
            raise BadDump(f"It has the table {name[-1]} of more than one database: make a dump of one database alone.")
        return name[-1]

    # -- what holds for the rest

    def _set(self) -> None:
        tokens = self._tokens
        told = tokens.rest()
        if found := re.match(rb"\s*NAMES\s+['\"]?([\w-]+)", told, re.IGNORECASE):
            self._codec = codec(found[1].decode())
        elif found := re.match(rb"\s*client_encoding\s*(?:=|TO)\s*'([\w-]+)'", told, re.IGNORECASE):
            tokens.postgresql = True
            name = found[1].decode()
            self._codec = "iso8859_1" if name.upper() == "LATIN1" else codec(name)
        elif found := re.match(rb"\s*standard_conforming_strings\s*(?:=|TO)\s*'?(\w+)", told, re.IGNORECASE):
            tokens.postgresql = True
            tokens.backslashes = found[1].lower() == b"off"
        elif found := re.search(rb"\bSQL_MODE\s*=\s*'([^']*)'", told, re.IGNORECASE):
            tokens.backslashes = b"NO_BACKSLASH_ESCAPES" not in found[1].upper()
        elif re.search(rb"\bTIME_ZONE\s*=\s*'\+00:00'", told, re.IGNORECASE):
            self._utc = True

    # -- rows

    def _inserted(self) -> Iterator[Record]:
        tokens = self._tokens
        while (word := tokens.peek_word()) is not None and word != b"INTO":
            tokens.word()
        tokens.word()
        table = self._table()
        if table is None:
            tokens.skip_statement()
            return
        columns = self._listed() if tokens.take(b"(") else self._columns.get(table)
        while (word := tokens.word()) in (b"OVERRIDING", b"SYSTEM", b"USER"):
            pass
        if word == b"VALUE" and tokens.peek_word() == b"VALUES":
            word = tokens.word()
        if word not in (b"VALUES", b"VALUE"):
            tokens.skip_statement()
            return
        places = self._places(table, columns)
        while tokens.take(b"("):
            yield Record(table, self._tuple(table, places, len(columns or ())))
            if not tokens.take(b","):
                break
        tokens.skip_statement()

    def _listed(self) -> list[str]:
        tokens = self._tokens
        found: list[str] = []
        while name := tokens.name():
            found.append(name[-1])
            if not tokens.take(b","):
                break
        if not tokens.take(b")"):
            raise BadDump("It has a list of columns that does not end.")
        return found

    def _places(self, table: str, columns: Sequence[str] | None) -> dict[int, int]:
        """Where in a row of the dump each wanted column stands, and where it is to go."""
        if columns is None:
            raise BadDump(
                f"It does not say which columns the table {table} has: make it with the structure of the tables, or "
                "with --complete-insert."
            )
        wanted = self._wanted[table]
        return {columns.index(name): goes for goes, name in enumerate(wanted) if name in columns}

    def _tuple(self, table: str, places: Mapping[int, int], count: int) -> list[str | None]:
        window, tokens, codec = self._window, self._tokens, self._codec
        found: list[str | None] = [None] * len(self._wanted[table])
        at = 0
        while True:
            if len(window.text) - window.place < _ALMOST_ALWAYS:
                window.more()
            values = _ESCAPED_VALUE if tokens.escapes else _VALUE
            goes = places.get(at)
            if (match := values.match(window.text, window.place)) is not None:
                window.place = match.end()
                if goes is not None and match[1] is None:
                    raw = match[3] if match[2] is None else tokens.plain(match[2])
                    found[goes] = raw.decode(codec, "replace")
                after = match[4]
            else:
                kept = tokens.value(keep=goes is not None)
                if goes is not None and kept is not None:
                    found[goes] = kept.decode(codec, "replace")
                after = tokens.skip_expression()
            at += 1
            if after == b")":
                break
        if at != count:
            raise BadDump(f"It has a row of the table {table} with {at} values, and the table has {count} columns.")
        return found

    def _copied(self) -> Iterator[Record]:
        tokens, window = self._tokens, self._window
        tokens.postgresql = True
        table = self._table()
        columns = self._listed() if tokens.take(b"(") else None
        told = b" ".join(tokens.rest().upper().split())
        if told != b"FROM STDIN":
            if told.startswith(b"FROM STDIN"):
                raise BadDump("It has rows in a form other than that of pg_dump: make it with pg_dump alone.")
            return
        if table is None:
            # The end of the line that says COPY may be followed by the end of the rows at once.
            window.pass_over(through=b"\n\\.")
            window.line()
            return
        window.line()
        places = self._places(table, columns if columns is not None else self._columns.get(table))
        count = len(columns if columns is not None else self._columns[table])
        while (line := window.line()) != b"\\.":
            if line is None:
                raise BadDump(f"It ends in the middle of the table {table}: it was perhaps not sent to its end.")
            yield Record(table, self._fields(table, line, places, count))

    def _fields(self, table: str, line: bytes, places: Mapping[int, int], count: int) -> list[str | None]:
        fields = line.split(b"\t")
        if len(fields) != count:
            raise BadDump(f"It has a row of {table} with {len(fields)} values, and the table has {count} columns.")
        found: list[str | None] = [None] * len(self._wanted[table])
        for at, goes in places.items():
            if (raw := fields[at]) != b"\\N":
                if len(raw) > LONGEST:
                    raise BadDump(f"It has a value of more than {LONGEST >> 20} MiB in the table {table}.")
                found[goes] = copied_text(raw).decode(self._codec, "replace")
        return found
