"""The colour of a tenant on the pages that its customers see, and what goes with it so that all of it can be read.

Pure. Contrast is that of WCAG 2: between 1 and 21; texts of usual size need 4.5.
"""

import re
from dataclasses import dataclass

from ispgraph.domain import values

READABLE = 4.5
# The darkest ground of a light page, the lightest of a dark one: what can be read there can be read on the others.
_LIGHT_GROUND, _DARK_GROUND = "#f2f5f8", "#22262c"
_BLACK, _WHITE = "#000000", "#ffffff"
_WRITTEN = re.compile(r"#[0-9a-f]{6}")
_STEPS = 64


@dataclass(frozen=True, slots=True)
class Shades:
    """What is painted, what is written on it, and what is written in the colour on the page itself."""

    fill: str
    on_fill: str
    link: str


@dataclass(frozen=True, slots=True)
class Palette:
    """On light pages and on dark ones."""

    light: Shades
    dark: Shades


def read(raw: str) -> str:
    """A colour as #rrggbb in small letters. Raises Unfit."""
    found = raw.strip().lower()
    if not _WRITTEN.fullmatch(found):
        raise values.Unfit("A colour is written as #rrggbb, such as #0b5cad.")
    return found


def palette(color: str) -> Palette:
    """What goes with a colour that was read."""
    on_fill = max(_BLACK, _WHITE, key=lambda text: contrast(text, color))
    return Palette(
        Shades(color, on_fill, _readable(color, _LIGHT_GROUND, _BLACK)),
        Shades(color, on_fill, _readable(color, _DARK_GROUND, _WHITE)),
    )


def contrast(one: str, other: str) -> float:
    """Of two colours, from 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _readable(color: str, ground: str, towards: str) -> str:
    """The colour, or the first shade of it on the way to black or white that can be read on this ground."""
    mixed = (_mixed(color, towards, step) for step in range(_STEPS + 1))
    return next(shade for shade in mixed if contrast(shade, ground) >= READABLE)


def _mixed(color: str, towards: str, step: int) -> str:
    pairs = zip(_parts(color), _parts(towards), strict=True)
    return "#" + "".join(f"{(own * (_STEPS - step) + other * step) // _STEPS:02x}" for own, other in pairs)


def _luminance(color: str) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (each / 255 for each in _parts(color))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _parts(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
