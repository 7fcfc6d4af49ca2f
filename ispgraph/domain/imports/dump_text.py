"""The text of an SQL dump in pieces: a window on it that stays small, however long its lines are.

A dump may be packed with gzip, and, as Windows shells write it, in UTF-16. Here are also the character sets, and how
the two families of servers write a text.
"""

import codecs
import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

CHUNK = 1 << 16
LARGEST = 4 << 30
"""So many bytes a dump may have, unpacked."""
LONGEST = 1 << 20
"""So many bytes a value that is kept may have, or the line that it stands in."""

# What stands before a quote may say what the quote is.
_BEHIND = 2

_Read = Callable[[int], bytes]

# By the names of MySQL, whose latin1 is in truth cp1252, and of PostgreSQL. In none of them is a byte below 0x80 part
# of another character: quotes and backslashes are what they seem.
_CODECS = {
    **dict.fromkeys(("utf8", "utf8mb3", "utf8mb4", "unicode", "binary", "ascii", "sql_ascii"), "utf-8"),
    **dict.fromkeys(("latin1", "win1252", "cp1252"), "cp1252"),
    **{name: name for name in ("cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "koi8_r", "koi8_u")},
    **{f"win{page}": f"cp{page}" for page in (1250, 1251, 1253, 1254, 1255, 1256, 1257, 1258, 866, 874)},
    "koi8r": "koi8_r",
    "koi8u": "koi8_u",
    "latin2": "iso8859_2",
    "latin5": "iso8859_9",
    "latin7": "iso8859_13",
    "latin9": "iso8859_15",
    "greek": "iso8859_7",
    "hebrew": "iso8859_8",
    "tis620": "tis_620",
}

_MYSQL_ESCAPE = re.compile(rb"\\(.)|''", re.DOTALL)
_MYSQL_MEANING = {
    **{b"0": b"\0", b"b": b"\b", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"Z": b"\x1a"},
    # These two mean something to LIKE, and stay as they are elsewhere.
    **{b"%": b"\\%", b"_": b"\\_"},
}
_POSTGRESQL_ESCAPE = re.compile(rb"\\([0-7]{1,3}|x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)|''", re.DOTALL)
_COPY_ESCAPE = re.compile(rb"\\([0-7]{1,3}|x[0-9A-Fa-f]{1,2}|.)", re.DOTALL)
_POSTGRESQL_MEANING = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


class BadDump(Exception):
    """The dump cannot be read, as a whole; the text tells a person why, and what may help."""


class Window:
    """What of the dump is at hand: `text` from `place` on. What lies before `place` is forgotten."""

    def __init__(self, read: _Read) -> None:
        self._read = read
        self.text = b""
        self.place = 0

    def more(self) -> bool:
        """Have more at hand; False at the end of the dump. Raises BadDump when what is kept at hand grows too long."""
        if len(self.text) - self.place > LONGEST:
            raise BadDump(f"It has a value or a line of more than {LONGEST >> 20} MiB where none should be so long.")
        piece = self._read(CHUNK)
        if piece:
            kept = max(self.place - _BEHIND, 0)
            self.text = self.text[kept:] + piece
            self.place -= kept
        return bool(piece)

    def ahead(self, count: int) -> bytes:
        """The next so many bytes, fewer only at the end of the dump; they stay at hand."""
        while len(self.text) - self.place < count:
            if not self.more():
                break
        return self.text[self.place : self.place + count]

    def pass_over(self, *, through: bytes) -> None:
        """Go on behind the next `through`, or to the end of the dump."""
        while (found := self.text.find(through, self.place)) < 0:
            self.place = max(self.place, len(self.text) - len(through) + 1)
            if not self.more():
                self.place = len(self.text)
                return
        self.place = found + len(through)

    def line(self) -> bytes | None:
        """The next line, without its end; None at the end of the dump."""
        while (end := self.text.find(b"\n", self.place)) < 0:
            if not self.more():
                end = len(self.text)
                break
        if end == self.place == len(self.text):
            return None
        found = self.text[self.place : end]
        self.place = min(end + 1, len(self.text))
        return found.removesuffix(b"\r")


def window(file: BinaryIO, most: int = LARGEST) -> Window:
    """A window on a dump, from its beginning on. Reading raises BadDump beyond `most` bytes, unpacked."""
    file.seek(0)
    packed = _head(file.read, 2) == b"\x1f\x8b"
    file.seek(0)
    read = _counted(_unpacked(file) if packed else file.read, most)
    head = _head(read, 3)
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return Window(_from_utf16(_after(head, read)))
    return Window(_after(head.removeprefix(codecs.BOM_UTF8), read))


def codec(name: str) -> str:
    """Python's name of a character set. Raises BadDump for one in which a dump cannot be taken apart safely."""
    found = _CODECS.get(re.sub(r"[^a-z0-9_]", "", name.lower().replace("-", "")))
    if found is None:
        raise BadDump(
            f"It is in the character set {name[:30]}: make it again in UTF-8 (mysqldump "
            "--default-character-set=utf8mb4, pg_dump --encoding=UTF8)."
        )
    return found


def mysql_text(raw: bytes) -> bytes:
    """What stands between quotes, as MySQL and MariaDB mean it."""

    def meant(found: re.Match[bytes]) -> bytes:
        escaped: bytes | None = found[1]
        return b"'" if escaped is None else _MYSQL_MEANING.get(escaped, escaped)

    return _MYSQL_ESCAPE.sub(meant, raw) if b"\\" in raw or b"''" in raw else raw


def postgresql_text(raw: bytes) -> bytes:
    """What stands between the quotes of E'…', as PostgreSQL means it."""
    return _POSTGRESQL_ESCAPE.sub(_meant, raw) if b"\\" in raw or b"''" in raw else raw


def copied_text(raw: bytes) -> bytes:
    """One value of a line of COPY, in which quotes mean nothing."""
    return _COPY_ESCAPE.sub(_meant, raw) if b"\\" in raw else raw


def _meant(found: re.Match[bytes]) -> bytes:
    escaped: bytes | None = found[1]
    if escaped is None:
        return b"'"
    if b"0" <= escaped[:1] <= b"7":
        return bytes([int(escaped, 8) & 0xFF])
    if len(escaped) > 1:
        code = int(escaped[1:], 16)
        return bytes([code]) if escaped[:1] == b"x" else _character(code)
    return _POSTGRESQL_MEANING.get(escaped, escaped)


def _character(code: int) -> bytes:
    try:
        return chr(code).encode()
    except (ValueError, OverflowError, UnicodeEncodeError):
        return "\N{REPLACEMENT CHARACTER}".encode()


def _head(read: _Read, size: int) -> bytes:
    head = b""
    while len(head) < size and (piece := read(size - len(head))):
        head += piece
    return head


def _counted(read: _Read, most: int) -> _Read:
    count = 0

    def counted(size: int) -> bytes:
        nonlocal count
        piece = read(size)
        count += len(piece)
        if count > most:
            raise BadDump(f"It has more than {most} bytes, unpacked, and one dump may have no more.")
        return piece

    return counted


def _unpacked(file: BinaryIO) -> _Read:
    packed = gzip.GzipFile(fileobj=file, mode="rb")

    def unpacked(size: int) -> bytes:
        try:
            return packed.read(size)
        except (EOFError, OSError, zlib.error) as error:
            raise BadDump("It is packed with gzip, and damaged: it was perhaps not sent to its end.") from error

    return unpacked


def _after(head: bytes, read: _Read) -> _Read:
    waiting = head

    def after(size: int) -> bytes:
        nonlocal waiting
        if waiting:
            piece, waiting = waiting, b""
            return piece
        return read(size)

    return after


def _from_utf16(read: _Read) -> _Read:
    def pieces() -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder("utf-16")("replace")
        while piece := read(CHUNK):
            if text := decoder.decode(piece).encode("utf-8", "replace"):
                yield text

    waiting = pieces()
    return lambda size: next(waiting, b"")
