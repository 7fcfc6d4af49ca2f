"""Which characters the fonts of papers have, read from the tables of the fonts themselves (OpenType, `cmap`)."""

import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import manimgx_fonts
import manimgx_fonts_cjk

FOLDERS = tuple(Path(str(package.__file__)).parent for package in (manimgx_fonts, manimgx_fonts_cjk))
# Tables of all of Unicode; those of the first 65,536 characters alone, which every font has too, are parts of them.
_FULL = {(0, 4), (0, 6), (3, 10)}
_BASIC = {(0, 3), (3, 1)}


@cache
def known() -> frozenset[str]:
    """Every character that at least one of the fonts has."""
    fonts = (path for folder in FOLDERS for path in folder.iterdir() if path.suffix in (".ttf", ".otf", ".ttc"))
    return frozenset(chr(code) for path in fonts for code in _codes(path))


def _codes(path: Path) -> Iterator[int]:
    with path.open("rb") as file:
        start = 0
        # The fonts of a collection differ in the shape of characters, not in which they have.
        if file.read(4) == b"ttcf":
            file.seek(12)
            (start,) = struct.unpack(">L", file.read(4))
        file.seek(start + 4)
        count = struct.unpack(">HHHH", file.read(8))[0]
        records = [struct.unpack(">4sLLL", file.read(16)) for _ in range(count)]
        place, length = next((offset, size) for name, _, offset, size in records if name == b"cmap")
        file.seek(place)
        table = file.read(length)
    tables = {(platform, encoding): offset for platform, encoding, offset in _subtables(table)}
    chosen = next(offset for kind, offset in sorted(tables.items(), key=_preference) if kind in _FULL | _BASIC)
    yield from (
        _groups(table[chosen:]) if struct.unpack_from(">H", table, chosen)[0] == 12 else _segments(table[chosen:])
    )


def _preference(entry: tuple[tuple[int, int], int]) -> bool:
    return entry[0] not in _FULL


def _subtables(table: bytes) -> list[tuple[int, int, int]]:
    (count,) = struct.unpack_from(">H", table, 2)
    return [struct.unpack_from(">HHL", table, 4 + 8 * number) for number in range(count)]


def _groups(table: bytes) -> Iterator[int]:
    """Format 12: ranges of codes."""
    (count,) = struct.unpack_from(">L", table, 12)
    for number in range(count):
        first, last, _ = struct.unpack_from(">LLL", table, 16 + 12 * number)
        yield from range(first, last + 1)


def _segments(table: bytes) -> Iterator[int]:
    """Format 4: ranges of codes, of which some may have no glyph."""
    count = struct.unpack_from(">H", table, 6)[0] // 2
    ends = struct.unpack_from(f">{count}H", table, 14)
    starts = struct.unpack_from(f">{count}H", table, 16 + 2 * count)
    deltas = struct.unpack_from(f">{count}H", table, 16 + 4 * count)
    ranges = 16 + 6 * count
    offsets = struct.unpack_from(f">{count}H", table, ranges)
    for number in range(count):
        for code in range(starts[number], ends[number] + 1):
            glyph = code
            if offsets[number]:
                place = ranges + 2 * number + offsets[number] + 2 * (code - starts[number])
                (glyph,) = struct.unpack_from(">H", table, place)
                if glyph == 0:
                    continue
            if (glyph + deltas[number]) & 0xFFFF:
                yield code
