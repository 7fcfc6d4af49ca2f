"""The words of an SQL dump: names, values, comments, and where a statement ends."""

import re

from ispgraph.domain.imports.dump_text import LONGEST, BadDump, Window, mysql_text, postgresql_text

_WORD = re.compile(rb"[A-Za-z_@\x80-\xff][\w@$\x80-\xff]*")
_SPACES = re.compile(rb"\s*")
# What holds nothing that may be more than it seems: a quote, a comment, an end.
_DULL = re.compile(rb"[^'\"`;#/*$\\(),-]++")
# The same in MySQL's rows, texts included: most of a large dump is passed over by this alone.
_QUIET = re.compile(rb"(?:[^'\"`;#/*$\\-]++|-(?=[0-9])|'(?:[^'\\]++|\\.|'')*+'(?=[^']))++", re.DOTALL)
_INSIDE = {
    (quote, escapes): re.compile(rb"(?:[^%b\\]++|\\.)++" % quote if escapes else rb"[^%b]++" % quote, re.DOTALL)
    for quote in (b"'", b'"', b"`")
    for escapes in (False, True)
}
_NUMBER = re.compile(rb"[-+]?[0-9.][0-9.eE+-]*+")
_HEX = re.compile(rb"[0-9A-Fa-f]++")
_DOLLAR = re.compile(rb"\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$")
# A comment for servers of this version or above is for none: MariaDB hides words for its own client there.
_NEVER = 900_000
_CUT = "It ends in the middle of a statement: it was perhaps not sent to its end."


class Tokens:
    """What comes next in a dump. `postgresql` says whose rules hold; `backslashes` whether they escape in '…', where
    the dump has said so."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._delimiter = b";"
        self.postgresql = False
        self.backslashes: bool | None = None

    @property
    def escapes(self) -> bool:
        """Whether a backslash in '…' means something."""
        return not self.postgresql if self.backslashes is None else self.backslashes

    def plain(self, raw: bytes) -> bytes:
        """The text that '…' with this inside stands for."""
        if not self.escapes:
            return raw.replace(b"''", b"'")
        return postgresql_text(raw) if self.postgresql else mysql_text(raw)

    # -- statements

    def statement(self) -> bool:
        """Go to the next statement; False at the end of the dump."""
        window = self._window
        while True:
            self.spaces()
            if self._at_delimiter():
                window.place += len(self._delimiter)
            elif (first := window.ahead(1)) == b";":
                window.place += 1
            elif first == b"\\":
                # A word for psql.
                window.pass_over(through=b"\n")
            else:
                return bool(first)

    def skip_statement(self) -> None:
        """Go on behind the end of this statement. Raises BadDump when it has none."""
        window = self._window
        while True:
            dull = _QUIET if self.escapes and not self.postgresql else _DULL
            if (match := dull.match(window.text, window.place)) is not None:
                window.place = match.end()
            if not window.ahead(1):
                raise BadDump(_CUT)
            if self._at_delimiter():
                window.place += len(self._delimiter)
                return
            self._one()

    def skip_routine(self) -> None:
        """Go on behind the end of what may have statements of its own: BEGIN ATOMIC … END of PostgreSQL."""
        window = self._window
        depth, before = 0, b""
        while True:
            self.spaces()
            if self._at_delimiter():
                window.place += len(self._delimiter)
                if depth == 0:
                    return
            elif (word := self.word()) is not None:
                begins = before == b"BEGIN" and word == b"ATOMIC"
                depth += begins or (depth > 0 and word == b"CASE")
                depth -= depth > 0 and word == b"END"
                before = word
            elif not window.ahead(1):
                raise BadDump(_CUT)
            else:
                self._one()

    def rest(self) -> bytes:
        """The rest of a short statement, its words in upper case, and on behind its end."""
        window, found = self._window, b""
        while True:
            self.spaces()
            if (first := window.ahead(1)) in (b"", b";"):
                window.place += len(first)
                return found
            if first == b"'":
                found += b" '" + self._quoted(b"'", self.escapes, keep=True) + b"'"
            elif (word := self.word()) is not None:
                found += b" " + word
            else:
                found += first
                window.place += 1
            if len(found) > LONGEST:
                raise BadDump(_CUT)

    def delimit(self) -> None:
        """Statements end from now on with what the rest of this line says."""
        line = (self._window.line() or b"").strip()
        if not 0 < len(line) <= 16 or line[:1] not in b";$/":
            raise BadDump("It has statements that end otherwise than with ;, ;;, $$ or //.")
        self._delimiter = line

    # -- words

    def spaces(self) -> None:
        """Pass over what separates words, comments too. What MySQL alone would carry out is read, not passed over."""
        window = self._window
        while True:
            if (match := _SPACES.match(window.text, window.place)) is not None:
                window.place = match.end()
            if window.place == len(window.text):
                if not window.more():
                    return
            elif window.text[window.place] in b"-#/*":
                if window.ahead(2) == b"*/":
                    window.place += 2
                elif not self._comment():
                    return
            else:
                return

    def peek_word(self) -> bytes | None:
        """The next word in upper case, which stays; None when something else comes."""
        self.spaces()
        window = self._window
        while (match := _WORD.match(window.text, window.place)) is not None:
            if match.end() < len(window.text) or not window.more():
                return match[0].upper()
        return None

    def word(self) -> bytes | None:
        """The next word in upper case; None, and nothing is passed over, when something else comes."""
        found = self.peek_word()
        if found is not None:
            self._window.place += len(found)
        return found

    def at_quoted_name(self) -> bool:
        """Whether a name in quotes comes next."""
        self.spaces()
        return self._window.ahead(1) in (b"`", b'"')

    def name(self) -> list[str]:
        """The parts of the next name in lower case, such as public.radcheck; empty when something else comes."""
        found: list[str] = []
        while True:
            if self.at_quoted_name():
                quote = self._window.ahead(1)
                raw = self._quoted(quote, False, keep=True).replace(quote * 2, quote)
            elif (raw := self.word() or b"") == b"":
                return found
            found.append(raw.decode("utf-8", "replace").lower())
            if not self.take(b"."):
                return found

    def take(self, sign: bytes) -> bool:
        """Pass over this sign, if it comes next."""
        self.spaces()
        there = self._window.ahead(1) == sign
        self._window.place += there
        return there

    # -- values

    def value(self, *, keep: bool) -> bytes | None:
        """The next value of a row, when it is written as such; None for NULL, for what a server would have to compute,
        and for what is not to be kept. Raises BadDump for one that is too long."""
        window = self._window
        self.spaces()
        first = window.ahead(2)
        if first[:1] == b"'":
            return self.plain(self._quoted(b"'", self.escapes, keep=keep))
        if first[:1] == b'"' and not self.postgresql:
            return mysql_text(self._quoted(b'"', self.escapes, keep=keep).replace(b'""', b'"'))
        if first.lower() == b"0x":
            window.place += 2
            return _from_hex(self._run(_HEX, keep=keep))
        if _NUMBER.match(first):
            return self._run(_NUMBER, keep=keep)
        word = self.word()
        if word in (b"TRUE", b"FALSE"):
            return word.lower()
        if word is not None and (word[:1] == b"_" or word in (b"E", b"N", b"X", b"B")):
            return self._introduced(word, keep=keep)
        return None

    def _introduced(self, word: bytes, *, keep: bool) -> bytes | None:
        self.spaces()
        if word[:1] == b"_" or word == b"N":
            return self.value(keep=keep) if self._window.ahead(1) != b"_" else None
        if self._window.ahead(1) != b"'":
            return None
        raw = self._quoted(b"'", word == b"E" or self.escapes, keep=keep)
        if word == b"E":
            return postgresql_text(raw)
        if word == b"X":
            return _from_hex(raw)
        return str(int(raw, 2)).encode() if raw and not raw.strip(b"01") else None

    def skip_expression(self) -> bytes:
        """Go on behind the next comma or closing parenthesis that belongs to what surrounds this; which it was."""
        window = self._window
        depth = 0
        while True:
            self.spaces()
            if (match := _DULL.match(window.text, window.place)) is not None:
                window.place = match.end()
            first = window.ahead(1)
            if not first or self._at_delimiter():
                raise BadDump(_CUT)
            if depth == 0 and first in (b",", b")"):
                window.place += 1
                return first
            depth += (first == b"(") - (first == b")")
            self._one()

    # -- what may be more than it seems

    def _at_delimiter(self) -> bool:
        return self._window.ahead(len(self._delimiter)) == self._delimiter

    def _one(self) -> None:
        """Pass over what comes next: a text, a name in quotes, a comment, or one sign."""
        window = self._window
        first = window.ahead(1)
        if first == b"'":
            self._quoted(b"'", self.escapes or self._after_e(), keep=False)
        elif first in (b'"', b"`"):
            self._quoted(first, first == b'"' and self.escapes and not self.postgresql, keep=False)
        elif first == b"$" and self.postgresql and (match := _DOLLAR.match(window.ahead(80))) is not None:
            window.place += match.end()
            window.pass_over(through=match[0])
        elif not self._comment():
            window.place += len(first)

    def _after_e(self) -> bool:
        """Whether E stands before the quote at hand."""
        window = self._window
        before = window.text[max(window.place - 2, 0) : window.place]
        return self.postgresql and before[-1:] in (b"E", b"e") and not re.match(rb"[\w$]", before[:-1])

    def _comment(self) -> bool:
        """Pass over a comment; of one that MySQL would carry out, over its beginning alone. False when none comes."""
        window = self._window
        head = window.ahead(16)
        if head.startswith(b"--") and (self.postgresql or head[2:3] in (b"", b" ", b"\t", b"\r", b"\n")):
            told = window.ahead(80).partition(b"\n")[0]
            if b"PostgreSQL" in told and b"dump" in told:
                self.postgresql = True
            window.pass_over(through=b"\n")
        elif head.startswith(b"#") and not self.postgresql:
            window.pass_over(through=b"\n")
        elif (match := re.match(rb"/\*M?!([0-9]*)", head)) is not None:
            if int(match[1] or b"0") >= _NEVER:
                window.pass_over(through=b"*/")
            else:
                window.place += match.end()
        elif head.startswith(b"/*"):
            window.place += 2
            window.pass_over(through=b"*/")
        else:
            return False
        return True

    def _quoted(self, quote: bytes, escapes: bool, *, keep: bool) -> bytes:
        """What stands between the quotes at hand, as it stands; empty when it is not to be kept."""
        window, inside = self._window, _INSIDE[quote, escapes]
        window.place += 1
        parts: list[bytes] = []
        size = 0
        while True:
            if (match := inside.match(window.text, window.place)) is not None:
                window.place = match.end()
                part = match[0]
            elif window.place == len(window.text) and window.more():
                continue
            else:
                part = window.ahead(2)
                if part[:1] == quote and part != quote * 2:
                    window.place += 1
                    return b"".join(parts)
                if len(part) < 2:
                    raise BadDump(_CUT)
                window.place += 2
            if keep:
                parts.append(part)
                size += len(part)
                if size > LONGEST:
                    raise BadDump(f"It has a value of more than {LONGEST >> 20} MiB where none should be so long.")

    def _run(self, signs: re.Pattern[bytes], *, keep: bool) -> bytes:
        """All that follows of some signs."""
        window, found = self._window, b""
        while True:
            if (match := signs.match(window.text, window.place)) is not None:
                window.place = match.end()
                found += match[0] if keep else b""
            if window.place < len(window.text) or not window.more():
                return found
            if len(found) > LONGEST:
                raise BadDump(f"It has a value of more than {LONGEST >> 20} MiB where none should be so long.")


def _from_hex(digits: bytes) -> bytes | None:
    try:
        return bytes.fromhex(digits.decode())
    except ValueError:
        return None
