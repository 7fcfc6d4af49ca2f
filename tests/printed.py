"""Reads a PDF back as a person would: what is written on each page, and whether a glyph was missing."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pypdf import PdfReader
from pypdf.generic import ContentStream

_MAPPED = re.compile(r"<([0-9A-Fa-f]+)> <([0-9A-Fa-f]+)>(?: <([0-9A-Fa-f]+)>)?")


@dataclass
class Page:
    """The text of each line as it was set, from left to right and top to bottom in the order of the file."""

    text: str
    empty_boxes: int
    """Characters for which there was no glyph."""
    pictures: int
    heights: set[float]
    """Where lines begin, in points above the foot of the page."""


def pages(pdf: bytes) -> list[Page]:
    """Every page."""
    reader = PdfReader(io.BytesIO(pdf))
    return [_page(reader, page) for page in reader.pages]


def text(pdf: bytes) -> str:
    """What stands on all pages."""
    return "\n".join(page.text for page in pages(pdf))


def title(pdf: bytes) -> tuple[str, str]:
    """Title and day of the file, as its properties tell."""
    told: Any = PdfReader(io.BytesIO(pdf)).metadata
    return told.title, told.creation_date.date().isoformat()


def _page(reader: PdfReader, page: Any) -> Page:
    said: list[str] = []
    missing, pictures, heights = 0, 0, set()
    fonts = {name: _letters(font.get_object()) for name, font in page["/Resources"].get("/Font", {}).items()}
    letters: dict[int, str] = {}
    spans: list[str | None] = []
    for operands, operator in ContentStream(page.get_contents(), reader).operations:
        if operator in (b"BDC", b"BMC"):
            told = operands[1] if len(operands) > 1 else {}
            actual = told.get("/ActualText") if isinstance(told, dict) else None
            spans.append(actual)
            if actual is not None:
                said.append(str(actual))
        elif operator == b"EMC":
            spans.pop()
        elif operator == b"Tf":
            letters = fonts[operands[0]]
        elif operator == b"Tm":
            said.append("\n")
        elif operator == b"cm":
            heights.add(round(float(operands[5]), 1))
        elif operator == b"Do":
            pictures += 1
        elif operator in (b"Tj", b"TJ"):
            codes = list(_codes(operands[0]))
            missing += codes.count(0)
            # What a cluster of glyphs spells is told beside it, where no glyph spells a letter.
            if all(span is None for span in spans):
                said.extend(letters.get(code, "\ufffd") for code in codes)
    return Page("".join(said), missing, pictures, heights)


def _codes(shown: Any) -> Iterator[int]:
    for part in shown if isinstance(shown, list) else [shown]:
        if hasattr(part, "original_bytes") or isinstance(part, bytes):
            raw = part if isinstance(part, bytes) else part.original_bytes
            yield from (int.from_bytes(raw[place : place + 2], "big") for place in range(0, len(raw), 2))


def _letters(font: Any) -> dict[int, str]:
    """What each code of a font stands for, from its ToUnicode table."""
    found: dict[int, str] = {}
    if "/ToUnicode" not in font:
        return found
    table = font["/ToUnicode"].get_data().decode("latin-1")
    for kind, block in re.findall(r"begin(bfchar|bfrange)(.*?)end\1", table, re.DOTALL):
        for first, second, third in _MAPPED.findall(block):
            if kind == "bfchar":
                found[int(first, 16)] = bytes.fromhex(second).decode("utf-16-be")
            else:
                start = bytes.fromhex(third).decode("utf-16-be")
                for code in range(int(first, 16), int(second, 16) + 1):
                    found[code] = start[:-1] + chr(ord(start[-1]) + code - int(first, 16))
    return found
