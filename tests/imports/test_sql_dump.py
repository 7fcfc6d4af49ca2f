"""What is read out of SQL dumps: the values that were written into them, whatever they are and wherever reads end."""

import gzip
import io
import re
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ispgraph.domain.imports.dump_text import CHUNK, BadDump
from ispgraph.domain.imports.sql_dump import Dump
from tests.imports.dumps import Pieces, copy_value, mysql_dump, mysql_rows, mysql_value, postgresql_head

TABLE = """  `id` int NOT NULL,
  `Name` varchar(40) DEFAULT 'a, (''b'')' COMMENT 'x;\\'',
  `key` text,
  KEY `n` (`Name`)"""
WANTED = {"t": ("id", "key", "name", "newer")}
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=30) | st.text("'\\\";,()-#/*\n\tE", max_size=12)
MYSQL_VALUES = st.none() | TEXTS | st.integers(-(10**6), 10**6)
SIZES = st.lists(st.integers(1, 40) | st.just(CHUNK), min_size=1, max_size=6)


def read(
    body: bytes, sizes: Sequence[int] = (CHUNK,), wanted: Mapping[str, Sequence[str]] = WANTED
) -> list[list[str | None]]:
    """The rows of a dump."""
    return [list(record.values) for record in Dump(Pieces(body, sizes), wanted).records()]


def as_read(row: Sequence[object]) -> list[object]:
    """A row of the table as it is to come out: columns as they were asked for, and one that is not there."""
    number, name, key = (None if value is None else str(value) for value in row)
    return [number, key, name, None]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(MYSQL_VALUES, MYSQL_VALUES, MYSQL_VALUES), max_size=6), TEXTS, SIZES)
def test_what_mysqldump_writes_is_read_as_it_was(rows, other, sizes):
    others = "  `a` text", [[other], ["'); INSERT INTO `t` VALUES (1,2,3);"]]
    tables = {"aaa": others, "t": (TABLE, rows), "zzz": others}

    assert read(mysql_dump(tables), sizes) == [as_read(row) for row in rows]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(*[st.none() | TEXTS.map(lambda text: text.replace("\0", ""))] * 3), max_size=6),
    st.sampled_from(["COPY", "INSERT", "E"]),
    SIZES,
)
def test_what_pg_dump_writes_is_read_as_it_was(rows, form, sizes):
    assert read(postgresql(rows, form).encode(), sizes) == [as_read(row) for row in rows]


def postgresql(rows: Sequence[Sequence[str | None]], form: str) -> str:
    """A dump with rows as pg_dump writes them, as it does with --inserts, or in texts with escapes."""
    head = postgresql_head() + (
        "CREATE FUNCTION public.f() RETURNS void LANGUAGE sql AS $_$ INSERT INTO t VALUES (1, 2, '3); $_$;\n"
        "CREATE FUNCTION public.g() RETURNS void\n    LANGUAGE sql\n    BEGIN ATOMIC\n"
        " INSERT INTO public.t VALUES (1, CASE WHEN true THEN 2 END, 3);\n INSERT INTO t VALUES (4, 5, 6);\nEND;\n"
        "CREATE TABLE public.t (\n    id integer NOT NULL,\n    name text DEFAULT 'a\\'::text,\n    key text,\n"
        "    CONSTRAINT c CHECK ((id > 0))\n);\n"
        "ALTER TABLE public.other ALTER COLUMN a SET DEFAULT E'it\\'); INSERT INTO t VALUES (7, 8, 9); --');\n"
        "INSERT INTO public.other (a) VALUES (E'it\\'); INSERT INTO t VALUES (7, 8, 9); --');\n"
        "COPY public.empty (a) FROM stdin;\n\\.\n\n"
        "COPY public.other (a) FROM stdin;\nINSERT INTO t VALUES (7,8,9);\n\\.\n\n"
    )
    if form == "COPY":
        lines = "".join("\t".join(map(copy_value, row)) + "\n" for row in rows)
        return f"{head}COPY public.t (id, name, key) FROM stdin;\n{lines}\\.\n\n\\unrestrict 0aBc\n"
    return head + "".join(
        f"INSERT INTO public.t (id, name, key) VALUES ({', '.join(literal(value, form) for value in row)});\n"
        for row in rows
    )


class Cut(io.BytesIO):
    """A file that is given in two parts."""

    def __init__(self, body: bytes, place: int) -> None:
        super().__init__(body)
        self._place = place

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to the cut, or what is behind it."""
        left = self._place - self.tell()
        return super().read(min(size or 0, left) if left > 0 else size)


@pytest.mark.parametrize("form", ["COPY", "E", "MYSQL"])
def test_no_place_is_bad_for_a_cut(form):
    rows = [["1", "it's \\", None]]
    others = "  `a` text", [["'); INSERT INTO `t` VALUES (1,2,3);\\"]]
    tables = {"aaa": others, "t": (TABLE, rows), "zzz": others}
    body = mysql_dump(tables) if form == "MYSQL" else postgresql(rows, form).encode()

    for place in range(1, len(body)):
        assert [list(each.values) for each in Dump(Cut(body, place), WANTED).records()] == [
            ["1", None, "it's \\", None]
        ]


def literal(value: str | None, form: str) -> str:
    """A value in an INSERT."""
    if value is None:
        return "NULL"
    doubled = value.replace("'", "''")
    return f"E'{doubled.replace(chr(92), chr(92) * 2)}'" if form == "E" else f"'{doubled}'"


def test_forms_that_other_tools_write():
    body = rb"""/*M!999999\- enable the sandbox mode */ # a comment; with 'a quote
USE `one`;
CREATE TABLE IF NOT EXISTS t (id int, name text, `key` blob, PRIMARY KEY (id));
INSERT IGNORE INTO `one`.`t` (`key`, `id`) VALUES (0x4142, 1), (X'4344', -2.50), (_binary 'x\0', 3e2), (b'101', 4);
INSERT INTO t VALUES (5, "double ""quoted"" \"text\"", N'n'), (6, now(), _utf8mb4'u' /* , */ COLLATE x) -- ) end
ON DUPLICATE KEY UPDATE name=VALUES(name);
DELIMITER ;;
/*!50003 CREATE*/ /*!50003 TRIGGER x AFTER INSERT ON t FOR EACH ROW BEGIN INSERT INTO t VALUES (8,8,8); END */;;
DELIMITER ;
INSERT INTO t SELECT * FROM u;
/*!40000 INSERT /*!50000 IGNORE */ INTO `t` VALUES (9,'conditional',NULL) */;
REPLACE INTO t VALUES (7,'it''s\_\%',NULL);"""
    expected = [
        *(["1", "AB", None, None], ["-2.50", "CD", None, None], ["3e2", "x\0", None, None], ["4", "5", None, None]),
        *(["5", "n", 'double "quoted" "text"', None], ["6", "u", None, None], ["9", None, "conditional", None]),
        ["7", None, "it's\\_\\%", None],
    ]

    for sizes in ([CHUNK], [1], [2], [3, 50]):
        assert read(body, sizes) == expected


def test_character_sets_and_packing():
    rows = [[1, "রহিম 😀 é", "x"]]
    whole = mysql_dump({"t": (TABLE, rows)})
    expected = [as_read(rows[0])]

    assert read(b"\xef\xbb\xbf" + whole) == expected
    assert read(whole.decode().encode("utf-16"), [7]) == expected
    packed = gzip.compress(whole[:200]) + gzip.compress(whole[200:])
    assert read(packed, [5]) == expected
    latin = re.sub(rb"utf8mb4 \*/", b"latin1 */", mysql_dump({"t": (TABLE, [[1, "x", "y"]])})).replace(
        b"'x'", b"'\xe9\x80'"
    )
    assert read(latin) == [["1", "y", "é€", None]]
    broken = whole.replace("é".encode(), b"\xe9")
    assert read(broken) == [["1", "x", "রহিম 😀 \ufffd", None]]
    literal = (
        b"SET sql_mode='NO_BACKSLASH_ESCAPES'; CREATE TABLE t (id int, name text); INSERT INTO t VALUES (1,'a\\');"
    )
    assert read(literal, [3]) == [["1", None, "a\\", None]]
    assert read(b"") == read(gzip.compress(b"")) == []


WHOLE = mysql_dump({"t": (TABLE, [[1, "a", "b"]])})
COPY = postgresql([["1", "a", "b"]], "COPY").encode()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (WHOLE[: WHOLE.index(b"'a'") + 2], "ends in the middle of a statement"),
        (COPY[: COPY.index(b"1\ta")] + b"1\ta\tb\n", "ends in the middle of the table t"),
        (gzip.compress(WHOLE)[:-20], "damaged"),
        (gzip.compress(WHOLE)[:-4] + b"xxxx", "damaged"),
        (WHOLE.replace(b"NAMES utf8mb4", b"NAMES gbk"), "character set GBK"),
        (WHOLE.replace(b"VALUES (1,", b"VALUES (1,2,"), "row of the table t with 4 values"),
        (COPY.replace(b"1\ta", b"1\ta\ta"), "row of t with 4 values"),
        (b"INSERT INTO t VALUES (1,2,3);", "which columns the table t has"),
        (b"USE a; CREATE TABLE t (id int); USE b; CREATE TABLE t (id int);", "more than one database"),
        (WHOLE.replace(b"'a'", b"'" + b"a" * (2 << 20) + b"'"), "value of more than 1 MiB"),
        (COPY.replace(b"1\ta", b"1\t" + b"a" * (2 << 20)), "more than 1 MiB"),
        (b"COPY t FROM stdin WITH CSV;\n1\n\\.\n", "form other than that of pg_dump"),
    ],
)
def test_a_dump_that_cannot_be_read_is_refused_as_a_whole(body, said):
    with pytest.raises(BadDump, match=said):
        read(body, [1 << 16])


class Endless(io.RawIOBase):
    """A file that is made while it is read, and seen from its beginning once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._waiting = b""

    def seek(self, place: int, whence: int = 0, /) -> int:
        """The beginning, where it is."""
        assert place == whence == 0
        return 0

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; what is read to find out whether it is packed, comes again."""
        self._waiting = self._waiting or next(self._pieces, b"")
        if size == 2:
            return self._waiting[:2]
        found, self._waiting = self._waiting[:size], self._waiting[size:]
        return found


def statement(table: str, row: str, times: int) -> Iterator[bytes]:
    """One INSERT of many rows, in one line."""
    yield f"INSERT INTO `{table}` VALUES ".encode()
    rows = (f",{row}" * 1000).encode()
    yield rows[1:]
    for _ in range(times - 1):
        yield rows
    yield b";\n"


def test_one_line_of_many_megabytes_and_a_bomb_take_little_memory():
    def pieces() -> Iterator[bytes]:
        yield f"CREATE TABLE t (\n{TABLE}\n);\n".encode()
        yield from statement("radacct", "(1,'" + "x" * 300 + "','it\\'s',0x00,NULL)", 20)
        yield from statement("t", "(1,'name','" + "k" * 1000 + "')", 10)
        yield b"INSERT INTO radacct VALUES ('"
        for _ in range(100):
            yield b"y\\'" * 20_000
        yield b"');\n"

    bomb = io.BytesIO(gzip.compress(bytes(50 << 20)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in Dump(Endless(pieces()), {"t": ("id", "name")}).records()) == 10_000
        with pytest.raises(BadDump, match="more than 3000000 bytes"):
            list(Dump(bomb, WANTED, most=3_000_000).records())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 << 20, peak


def test_the_writer_of_these_tests_writes_as_mysqldump_does():
    assert mysql_rows("t", [[1, "it's\n", None, b"\x01"]]) == "INSERT INTO `t` VALUES (1,'it\\'s\\n',NULL,0x01);\n"
    assert mysql_value('a"\\') == "'a\\\"\\\\'"
