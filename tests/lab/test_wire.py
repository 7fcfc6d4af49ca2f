"""Words and sentences: lengths at their borders, pieces of any size, and what ends a connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispgraph.lab.wire import Decoder, ProtocolBroken, encode_length, encode_sentence, octets, text

LIMIT = 2**31
BORDERS = {
    0: "00",
    0x7F: "7f",
    0x80: "8080",
    0x3FFF: "bfff",
    0x4000: "c04000",
    0x1FFFFF: "dfffff",
    0x200000: "e0200000",
    0xFFFFFFF: "efffffff",
    0x10000000: "f010000000",
    0xFFFFFFFF: "f0ffffffff",
}


@pytest.mark.parametrize(("length", "form"), BORDERS.items())
def test_each_form_of_length(length: int, form: str) -> None:
    assert encode_length(length).hex() == form


def test_a_word_of_more_than_four_gibibytes_has_no_form() -> None:
    with pytest.raises(ValueError, match="4 GiB"):
        encode_length(0x100000000)


@pytest.mark.parametrize("form", [form for length, form in BORDERS.items() if length >= 0x80])
def test_lengths_are_read_as_they_are_written(form: str) -> None:
    length = next(length for length, known in BORDERS.items() if known == form)
    exact, short = Decoder(length), Decoder(length - 1)
    assert exact.feed(bytes.fromhex(form)) == []
    with pytest.raises(ProtocolBroken, match="too long"):
        short.feed(bytes.fromhex(form))


@pytest.mark.parametrize("length", [1, 0x7F, 0x80, 0x81, 0x3FFF, 0x4000, 0x1FFFFF, 0x200000])
def test_words_at_the_borders_come_back(length: int) -> None:
    words = [b"/x", b"y" * length, b"z"]
    assert Decoder(LIMIT).feed(encode_sentence(words)) == [words]


def test_the_longest_form_is_understood_for_a_short_word_too() -> None:
    assert Decoder(LIMIT).feed(b"\xf0\0\0\0\x02/x\0") == [[b"/x"]]


@given(
    st.lists(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=4), max_size=4),
    st.lists(st.integers(1, 40), min_size=1),
)
def test_sentences_in_pieces_of_any_size(sentences: list[list[bytes]], sizes: list[int]) -> None:
    # Empty sentences between them do not count.
    data = b"\0".join(encode_sentence(words) for words in sentences)
    decoder, found, at, turn = Decoder(LIMIT), [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        found += decoder.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    assert found == sentences


@pytest.mark.parametrize("first", [0xF8, 0xF9, 0xFF])
def test_a_control_byte_breaks_off(first: int) -> None:
    with pytest.raises(ProtocolBroken, match="control"):
        Decoder(LIMIT).feed(bytes([2]) + b"/x" + bytes([first]))


def test_the_limit_is_that_of_the_whole_sentence() -> None:
    decoder = Decoder(10)
    assert decoder.feed(encode_sentence([b"12345", b"12345"])) == [[b"12345", b"12345"]]
    with pytest.raises(ProtocolBroken):
        decoder.feed(encode_sentence([b"12345", b"123456"]))


@given(st.binary())
def test_any_bytes_survive_as_text(data: bytes) -> None:
    assert octets(text(data)) == data
