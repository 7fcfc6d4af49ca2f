"""Papers as PDF: set by Typst with the fonts of the Noto family, which come in packages. Nothing of the system is used.

The same paper is the same file to the byte.
"""

import io
import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import segno
import typst

from ispgraph.api import glyphs
from ispgraph.domain.billing.papers import Paper
from ispgraph.domain.voucher_sheets import Sheet

_FOLDER = Path(__file__).parent
_HAN = {"ja": "JP", "ko": "KR", "zh-Hant": "TC"}

# What is not seen and moves what stands beside it: turns of direction, marks of order, joiners of nothing.
_UNSEEN = re.compile("[\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0]")
_UNKNOWN = "\ufffd"
# Latin, Greek and Cyrillic, and their signs: letters that stand one beside the other.
_PLAIN = re.compile("[^ -~\u00a0-\u052f\u1e00-\u1fff\u2010-\u2027\u202f-\u205e\u20a0-\u20bf]")
_LONG_WORD = re.compile(r"\S{25,}")
_STEP = 6
_JOINER, _VIRAMA = "\u200d", 9


def pdf(paper: Paper) -> bytes:
    """The paper as a PDF file of as many A4 pages as it needs. Takes some tenths of a second: call it in a thread.

    A character that none of the fonts has comes out as a question mark in a diamond.
    """
    return _printed("paper.typ", asdict(paper), {})


def sheet(found: Sheet) -> bytes:
    """Vouchers as a PDF file, 18 to a page, each with a picture of its address. Takes some seconds: as `pdf`."""
    said = asdict(found)
    pictures = [_picture(card.pop("url")) for card in said["cards"]]
    return _printed("vouchers.typ", said, {"pictures": pictures})


def _picture(url: str) -> str:
    made = io.BytesIO()
    # To find out which of the eight masks is best takes five times as long; scanners read them all.
    segno.make(url, error="m", micro=False, mask=3).save(made, kind="svg", xmldecl=False, border=2)
    return made.getvalue().decode()


def _printed(template: str, said: dict[str, Any], drawn: dict[str, Any]) -> bytes:
    logo, dated = said["sender"].pop("logo"), said.pop("dated").astimezone(UTC).replace(microsecond=0)
    # One family has the characters that Chinese, Japanese and Korean share, in the shape of each.
    told: dict[str, Any] = _each(_legible, said) | {
        "logo": list(logo) if logo else None,
        "dated": [dated.year, dated.month, dated.day, dated.hour, dated.minute, dated.second],
        "han": f"Noto Sans CJK {next((han for tag, han in _HAN.items() if said['locale'].startswith(tag)), 'SC')}",
    }
    try:
        return _set(template, told | drawn, dated)
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        # The typesetter stumbles over some texts that are none. Better a paper with gaps than no paper.
        return _set(template, _each(lambda text: _PLAIN.sub(_UNKNOWN, text), told) | drawn, dated)


def _set(template: str, told: dict[str, Any], dated: datetime) -> bytes:
    compiler = typst.Compiler(
        _FOLDER / template,
        root=_FOLDER,
        font_paths=_fonts(),
        ignore_system_fonts=True,
        sys_inputs={"paper": json.dumps(told)},
    )
    made = compiler.compile(format="pdf", timestamp=dated)
    if not isinstance(made, bytes):
        raise TypeError("a PDF is one file")
    return made


@cache
def _fonts() -> typst.Fonts:
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=list(glyphs.FOLDERS))


def _each(change: Callable[[str], str], told: Any) -> Any:
    """The same with every text changed."""
    if isinstance(told, str):
        return change(told)
    if isinstance(told, dict):
        return {name: _each(change, value) for name, value in told.items()}
    if isinstance(told, list | tuple):
        return [_each(change, value) for value in told]
    return told


def _legible(text: str) -> str:
    """As it may be shown."""
    return _LONG_WORD.sub(_breakable, "".join(map(_shown, _UNSEEN.sub("", text))))


def _shown(character: str) -> str:
    kind = unicodedata.category(character)
    # Fonts have some control characters too.
    if character in glyphs.known() and kind not in ("Cc", "Zl", "Zp"):
        return character
    if character.isspace():
        return " "
    # Of marks that are not seen themselves none is missed.
    unseen = kind == "Cf" or "VARIATION SELECTOR" in unicodedata.name(character, "")
    return "" if unseen else _UNKNOWN


def _breakable(word: re.Match[str]) -> str:
    """A word that is longer than a column, with places to break it that part no letter from its marks."""
    found = [word[0][0]]
    since = 1
    for before, character in pairwise(word[0]):
        joined = unicodedata.category(character)[0] == "M" or _JOINER in (before, character)
        # After a virama the next letter takes another shape.
        if since >= _STEP and not joined and unicodedata.combining(before) != _VIRAMA:
            found.append("\u200b")
            since = 0
        found.append(character)
        since += 1
    return "".join(found)
