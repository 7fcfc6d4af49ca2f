"""The API's wire format: words with a length in front, sentences that an empty word ends.

Lengths take one to five bytes (network order); a first byte of 0xF8 and more is a control byte, which nobody sends.
"""

_FORMS = ((0x80, 0x00, 1), (0x4000, 0x8000, 2), (0x200000, 0xC00000, 3), (0x10000000, 0xE0000000, 4))


class ProtocolBroken(Exception):
    """The peer sent what is no sentence, or more than may be: the connection cannot go on."""


def encode_length(length: int) -> bytes:
    """One of the five forms. Raises ValueError for what 32 bits cannot hold."""
    for limit, mark, size in _FORMS:
        if length < limit:
            return (length | mark).to_bytes(size, "big")
    if length > 0xFFFFFFFF:
        raise ValueError("a word has at most 4 GiB")
    return b"\xf0" + length.to_bytes(4, "big")


def encode_word(word: bytes) -> bytes:
    return encode_length(len(word)) + word


def encode_sentence(words: list[bytes]) -> bytes:
    return b"".join([encode_word(word) for word in words]) + b"\x00"


class Decoder:
    """Takes bytes as they come and gives whole sentences. Empty sentences are skipped.

    ``limit`` bounds the bytes of one sentence; a peer that has not logged in gets a small one.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._words: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[list[bytes]]:
        """The sentences that these bytes complete. Raises ProtocolBroken."""
        self._buffer += data
        sentences = []
        at = 0
        while (header := self._length(at)) is not None:
            start, length = header
            if self._size + length > self.limit:
                raise ProtocolBroken("the sentence is too long")
            if len(self._buffer) < start + length:
                break
            at = start + length
            if length:
                self._words.append(bytes(self._buffer[start:at]))
                self._size += length
            elif self._words:
                sentences.append(self._words)
                self._words, self._size = [], 0
        del self._buffer[:at]
        return sentences

    def _length(self, at: int) -> tuple[int, int] | None:
        """Where the word at this place begins, and its length; None while bytes are missing."""
        buffer = self._buffer
        if at >= len(buffer):
            return None
        first = buffer[at]
        if first >= 0xF8:
            raise ProtocolBroken("a control byte")
        if first < 0x80:
            return at + 1, first
        size = 2 if first < 0xC0 else 3 if first < 0xE0 else 4 if first < 0xF0 else 5
        if len(buffer) < at + size:
            return None
        number = int.from_bytes(buffer[at + 1 : at + size], "big")
        if size < 5:
            number |= (first & (0xFF >> size)) << (8 * (size - 1))
        return at + size, number


def text(word: bytes) -> str:
    """RouterOS keeps bytes as they come; so does this, whatever their encoding is."""
    return word.decode("utf-8", "surrogateescape")


def octets(word: str) -> bytes:
    return word.encode("utf-8", "surrogateescape")
