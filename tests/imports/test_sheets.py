"""Reading files of rows: how their letters, delimiters, cells and days are written, and what is no such file."""

import io
import zipfile
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest

from ispgraph.domain.imports import csv_sheet, fields, xlsx_sheet
from ispgraph.domain.imports.layout import ImportEncoding, Layout, Unreadable
from ispgraph.domain.imports.rows import Problem, Row
from ispgraph.domain.values import Unfit

DHAKA = ZoneInfo("Asia/Dhaka")


def read(body: bytes, layout: Layout | None = None) -> list[Any]:
    """The rows of a text file: number and values."""
    return _plain(csv_sheet.read(io.BytesIO(body), layout or Layout()))


def read_book(body: bytes, layout: Layout | None = None) -> list[Any]:
    """The same of a workbook."""
    return _plain(xlsx_sheet.read(io.BytesIO(body), layout or Layout()))


def _plain(items: Any) -> list[Any]:
    found = []
    for item in items:
        assert isinstance(item, Row | Problem)
        found.append((item.number, dict(item.values) if isinstance(item, Row) else item.message))
    return found


def book(rows: list[list[Any]]) -> bytes:
    """A workbook of one sheet."""
    made = openpyxl.Workbook()
    for row in rows:
        made.worksheets[0].append(row)
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


TEXT = 'Name,Mobile,Note\r\nZoë,0171,"a\r\nb, ""c"""\r\n\r\n,,\r\nBob,0172\r\n'
ROWS = [(2, {"name": "Zoë", "mobile": "0171", "note": 'a\r\nb, "c"'}), (5, {"name": "Bob", "mobile": "0172"})]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_letters(encoding: str) -> None:
    assert read(TEXT.encode(encoding)) == ROWS
    for delimiter in ";\t|":
        other = TEXT.replace("b, ", "b@").replace(",", delimiter).replace("b@", "b, ")
        assert read(other.encode(encoding)) == ROWS


def test_what_is_said_of_a_file_counts() -> None:
    layout = Layout({"name": "full NAME"}, ImportEncoding.CP1252, "#")
    assert read(b"Full-Name#mobile\nZo\xeb, B#1\n", layout) == [(2, {"name": "Zoë, B", "mobile": "1"})]
    with pytest.raises(Unreadable, match="not written in UTF_8"):
        read(b"name\nZo\xeb\n", Layout(encoding=ImportEncoding.UTF_8))
    with pytest.raises(Unreadable, match=r"There is no column Who\. The headings are: name, mobile\."):
        read(b"name,mobile\n1,2\n", Layout({"note": "Who"}))
    for body, reason in ((b"", "empty"), (b"a,b\n1,2\n", "No heading"), (b"\0\0\0", "No heading")):
        with pytest.raises(Unreadable, match=reason):
            read(body)
    found = read(b"name,mobile\na,b,c\n")
    assert found == [(2, "This row has 3 cells, and there are 2 headings.")]


def test_cells_are_what_somebody_would_have_typed() -> None:
    day, half_past_six = datetime.fromisoformat("2026-01-31"), datetime.fromisoformat("2026-01-31T18:30:00")
    body = book(
        [
            [],
            ["External ID", "mobile", "balance", "expires_at", "created_at", "name", "status"],
            [7, 8801712345678.0, 12.5, day, half_past_six, "=1+1", None],
            [],
            ["x", "0171", 0.1, date(2026, 2, 1), None, " Ann ", "ACTIVE"],
        ]
    )
    assert read_book(body) == [
        (
            3,
            {
                "external_id": "7",
                "mobile": "8801712345678",
                "balance": "12.5",
                "expires_at": "2026-01-31",
                "created_at": "2026-01-31T18:30:00",
                "name": "=1+1",
                "status": "",
            },
        ),
        (
            5,
            {
                "external_id": "x",
                "mobile": "0171",
                "balance": "0.1",
                "expires_at": "2026-02-01",
                "created_at": "",
                "name": "Ann",
                "status": "ACTIVE",
            },
        ),
    ]


def changed(body: bytes, parts: Mapping[str, bytes]) -> bytes:
    """A workbook with some of its parts replaced, or added."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as packed, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name in packed.namelist():
            if name not in parts:
                made.writestr(name, packed.read(name))
        for name, part in parts.items():
            made.writestr(name, part)
    return out.getvalue()


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">'
    + b"".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 20}">'.encode() for n in range(9))
    + b']><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData><row r="1">'
    b'<c r="A1" t="inlineStr"><is><t>&j;</t></is></c></row></sheetData></worksheet>'
)


def test_what_is_no_workbook_is_told() -> None:
    sound = book([["name"], ["Ann"]])
    assert read_book(sound) == [(2, {"name": "Ann"})]
    sheet = "xl/worksheets/sheet1.xml"
    bomb = changed(sound, {sheet: b"<worksheet>" + b" " * (xlsx_sheet.MOST_EXPANDED + 1)})
    assert len(bomb) < 1024 * 1024
    strings = changed(sound, {"xl/sharedStrings.xml": b" " * (xlsx_sheet.MOST_STRINGS + 1)})
    for body, reason in (
        (b"", "no workbook"),
        (b"PK\3\4 no", "no workbook"),
        (sound[: len(sound) // 2], "no workbook"),
        (changed(sound, {sheet: b"<worksheet><sheetData><row>"}), "broken|empty"),
        (changed(sound, {"xl/workbook.xml": b"<a/>"}), "no workbook|no sheet"),
        (book([[]]), "empty"),
        (bomb, "too large"),
        (strings, "too large"),
        (changed(sound, {sheet: LAUGHS}), "broken"),
    ):
        with pytest.raises(Unreadable, match=reason):
            read_book(body)


@pytest.mark.parametrize(
    ("raw", "comma", "amount"),
    [
        ("12", False, "12"),
        ("-1,234,567.50", False, "-1234567.50"),
        ("1 234.5", False, "1234.5"),
        ("1.234,5", True, "1234.5"),
        ("+0,5", True, "0.5"),
        ("1,5", False, None),
        ("12,34.5", False, None),
        ("1.234,5", False, None),
        ("1e5", False, None),
        ("NaN", False, None),
        ("5 USD", False, None),
        ("٣", False, None),
    ],
)
def test_amounts(raw: str, comma: bool, amount: str | None) -> None:
    if amount is not None:
        assert fields.number(raw, decimal_comma=comma) == Decimal(amount)
        return
    with pytest.raises(Unfit):
        fields.number(raw, decimal_comma=comma)


@pytest.mark.parametrize(
    ("raw", "day_first", "end", "at"),
    [
        ("2026-01-31", None, False, (2026, 1, 30, 18)),
        ("2026-01-31", None, True, (2026, 1, 31, 18)),
        ("31/1/2026", True, True, (2026, 1, 31, 18)),
        ("1.31.2026", False, True, (2026, 1, 31, 18)),
        ("2026-01-31 12:30", None, True, (2026, 1, 31, 6, 30)),
        ("2026-01-31T12:30:00Z", None, True, (2026, 1, 31, 12, 30)),
        ("31-12-2026 23:59:00", True, True, (2026, 12, 31, 17, 59)),
        ("31/1/2026", None, True, None),
        ("31/1/2026", False, True, None),
        ("2026-02-30", None, True, None),
        ("0001-01-01", None, True, None),
        ("9999-12-31", None, True, None),
        ("tomorrow", None, True, None),
    ],
)
def test_days(raw: str, day_first: bool | None, end: bool, at: tuple[int, ...] | None) -> None:
    if at is not None:
        year, month, day, hour, *rest = at
        wanted = datetime(year, month, day, hour, *rest, tzinfo=UTC)
        assert fields.instant(raw, DHAKA, day_first, end_of_day=end) == wanted
        return
    with pytest.raises(Unfit):
        fields.instant(raw, DHAKA, day_first, end_of_day=end)
