"""Papers as PDF: set by Typst with the fonts of the Noto family, which come in packages. Nothing of the system is used.

The same paper is the same file to the byte.
"""

import json
import re
import unicodedata
from dataclasses import asdict
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import Any

import manimgx_fonts
import manimgx_fonts_cjk
import typst

from ispgraph.domain.billing.papers import Paper

_TEMPLATE = Path(__file__).with_name("paper.typ")
_FONTS = [str(Path(str(package.__file__)).parent) for package in (manimgx_fonts, manimgx_fonts_cjk)]
# One family has the characters that Chinese, Japanese and Korean share in the shape of each.
_HAN = {"ja": "JP", "ko": "KR", "zh-Hant": "TC"}

# What is not seen and moves what stands beside it: turns of direction, marks of order, joiners of nothing.
_UNSEEN = re.compile("[\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0]")
_LONG_WORD = re.compile(r"\S{25,}")
_STEP = 12


def pdf(paper: Paper) -> bytes:
    """The paper as a PDF file of as many A4 pages as it needs. Takes some tenths of a second: call it in a thread.

    A character that none of the fonts has comes out as an empty box.
    """
    said = asdict(paper)
    logo, dated = said["sender"].pop("logo"), said.pop("dated").astimezone(UTC).replace(microsecond=0)
    told = _legible(said) | {
        "logo": list(logo) if logo else None,
        "dated": [dated.year, dated.month, dated.day, dated.hour, dated.minute, dated.second],
        "han": next((f"Noto Sans CJK {han}" for tag, han in _HAN.items() if paper.locale.startswith(tag)), None)
        or "Noto Sans CJK SC",
    }
    compiler = typst.Compiler(
        _TEMPLATE,
        root=_TEMPLATE.parent,
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
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=_FONTS)


def _legible(told: Any) -> Any:
    """The same with every text as it may be shown."""
    if isinstance(told, str):
        return _LONG_WORD.sub(_breakable, "".join(map(_shown, _UNSEEN.sub("", told))))
    if isinstance(told, dict):
        return {name: _legible(value) for name, value in told.items()}
    if isinstance(told, list | tuple):
        return [_legible(value) for value in told]
    return told


def _shown(character: str) -> str:
    if character.isspace():
        return " " if character not in "\u00a0\u202f" else character
    return "\ufffd" if unicodedata.category(character) in ("Cc", "Cs", "Cn", "Co") else character


def _breakable(word: re.Match[str]) -> str:
    """A word that is longer than a column, with places to break it where no letter is joined to the next."""
    found, since = [], 0
    for character in word[0]:
        if since >= _STEP and character.isascii():
            found.append("\u200b")
            since = 0
        found.append(character)
        since += 1
    return "".join(found)
