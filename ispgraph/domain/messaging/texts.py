"""Texts with variables in braces: what they name, what they say, and how long they are as SMS. Pure."""

import enum
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

MASK = "********"
"""Stands for a secret wherever a message is kept or shown."""
LONGEST = 1530
"""Ten SMS of the alphabet of telephones, in characters."""

# A brace that is written twice stands for itself.
_PART = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]")
_BLANKS = re.compile(r"[^\S\n]+")
# Blanks of other widths: they look the same, and would have a message go in 16 bits a character.
_WIDE = re.compile(r"[\u00a0\u2000-\u200a\u202f\u3000]")

# The alphabet that every phone knows, 7 bits a character (3GPP TS 23.038 section 6.2.1), and what takes two of them.
_ALPHABET = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΞΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")


class Encoding(enum.Enum):
    """How the characters of an SMS go over the air."""

    GSM_7 = "GSM_7"
    UCS_2 = "UCS_2"


@dataclass(frozen=True, slots=True)
class Found:
    """What a text names: `unknown` variables, and whether a brace stands alone."""

    named: frozenset[str]
    unknown: tuple[str, ...]
    lone: bool


def look(text: str, known: Collection[str]) -> Found:
    """What a text names, in the order of the text."""
    named, unknown, lone = set(), dict[str, None](), False
    for match in _PART.finditer(text):
        if match[1] is not None:
            named.add(match[1])
            if match[1] not in known:
                unknown[match[1]] = None
        elif match[0] in "{}":
            lone = True
    return Found(frozenset(named), tuple(unknown), lone)


def said(text: str, values: Mapping[str, str]) -> str:
    """The text with its variables filled in, once: what a value says is never read again. KeyError without a value."""

    def fill(match: re.Match[str]) -> str:
        if match[1] is not None:
            return values[match[1]]
        return match[0][0]

    filled = _WIDE.sub(" ", _PART.sub(fill, text))
    return "\n".join(_BLANKS.sub(" ", line).strip() for line in filled.splitlines()).strip()


def short(text: str) -> str:
    """At most ten SMS of the alphabet of telephones; what is longer is cut."""
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def encoding(text: str) -> Encoding:
    """In how many bits a character goes: one that telephones do not know has all of them go in 16."""
    known = all(character in _ALPHABET or character in _EXTENSION for character in text)
    return Encoding.GSM_7 if known else Encoding.UCS_2


def segments(text: str) -> int:
    """How many short messages a text takes, at least one.

    One holds 160 units, or 153 with the header that joins it to others (3GPP TS 23.040 section 9.2.3.24.1); 70 and 67
    where one character is outside the alphabet. A character of two units is never cut in two.
    """
    if encoding(text) is Encoding.GSM_7:
        widths = [2 if character in _EXTENSION else 1 for character in text]
        alone, joined = 160, 153
    else:
        widths = [2 if ord(character) > 0xFFFF else 1 for character in text]
        alone, joined = 70, 67
    if sum(widths) <= alone:
        return 1
    count, room = 1, joined
    for width in widths:
        if width > room:
            count, room = count + 1, joined
        room -= width
    return count
