"""Text files of rows: their letters, their delimiter, and their records, one after the other."""

import codecs
import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

from ispgraph.domain.imports.layout import ImportEncoding, Layout, Unreadable, places
from ispgraph.domain.imports.rows import Plan, Problem, Row

_DELIMITERS = ",;\t|"
_SAMPLE = 64 * 1024
LONGEST_FIELD = 128 * 1024


def read(file: BinaryIO, layout: Layout) -> Iterator[Plan | Row | Problem]:
    """The rows of a file, numbered as a spreadsheet would number its records: the headings are the first.

    Raises Unreadable when it is no such file, also half-way.
    """
    encoding = encoding_of(file, layout)
    file.seek(0)
    # Only lines end a record: what stands in quotes may have some.
    text = io.TextIOWrapper(file, encoding=encoding.value, newline="")
    try:
        yield from _records(csv.reader(text, delimiter=_delimiter(text, layout)), layout)
    except UnicodeError as error:
        raise Unreadable(f"The file is not written in {encoding.name}.") from error
    except csv.Error as error:
        raise Unreadable(f"The file cannot be read: {error}. A quotation mark may be missing.") from error
    finally:
        # Or the file would be closed along.
        text.detach()


def described(file: BinaryIO, layout: Layout) -> str:
    """How the file is read, for people: UTF_8, with semicolons."""
    encoding = encoding_of(file, layout)
    file.seek(0)
    text = io.TextIOWrapper(file, encoding=encoding.value, newline="")
    try:
        delimiter = _delimiter(text, layout)
    except UnicodeError as error:
        raise Unreadable(f"The file is not written in {encoding.name}.") from error
    finally:
        text.detach()
    names = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
    return f"{encoding.name}, {names.get(delimiter, delimiter)}"


def encoding_of(file: BinaryIO, layout: Layout) -> ImportEncoding:
    """As it is said; or as the file says; or UTF-8 if all of it is, else what old Windows programs write."""
    if layout.encoding is not None:
        return layout.encoding
    file.seek(0)
    start = file.read(4)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ImportEncoding.UTF_16
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(start)
        while block := file.read(_SAMPLE):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return ImportEncoding.CP1252
    return ImportEncoding.UTF_8


def _delimiter(text: io.TextIOWrapper, layout: Layout) -> str:
    """As it is said, or what makes the most columns of the headings."""
    if layout.delimiter is not None:
        return layout.delimiter
    sample = text.read(_SAMPLE)
    text.seek(0)
    best, columns = _DELIMITERS[0], 0
    for delimiter in _DELIMITERS:
        try:
            headings = next(csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter), [])
        except csv.Error:
            continue
        if len(headings) > columns:
            best, columns = delimiter, len(headings)
    return best


def _records(records: "Iterator[list[str]]", layout: Layout) -> Iterator[Plan | Row | Problem]:
    headings = next(records, None)
    if headings is None:
        raise Unreadable("The file is empty.")
    where = places(headings, layout)
    for number, record in enumerate(records, start=2):
        if not any(cell.strip() for cell in record):
            continue
        if len(record) > len(headings):
            message = f"This row has {len(record)} cells, and there are {len(headings)} headings."
            yield Problem(number, None, message)
            continue
        yield Row(number, {column: record[place] for column, place in where.items() if place < len(record)})
