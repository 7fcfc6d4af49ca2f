"""Codes of vouchers: how they are made, mistyped and found."""

import math
from uuid import uuid4

import pytest

from ispgraph.domain import voucher_codes as codes


def test_a_code_has_more_than_fifty_bits_and_is_never_twice() -> None:
    assert math.log2(len(codes.ALPHABET)) * codes.RANDOM > 50
    made = {codes.generate() for _ in range(2_000)}
    assert len(made) == 2_000
    assert {len(code) for code in made} == {12}
    assert not set("01OILoil") & set("".join(made))


def test_it_is_read_however_it_is_typed() -> None:
    code = codes.generate()
    shown = codes.written(code, "CAFE")
    assert shown == f"CAFE-{code[:4]}-{code[4:8]}-{code[8:]}"
    for typed in (shown, shown.lower(), code, f" {code[:6]}\u2013{code[6:]}\t", shown.replace("-", " "), f"X0-{code}"):
        assert codes.read(typed) == code


def test_any_one_wrong_character_and_any_two_that_changed_places_are_noticed() -> None:
    code = codes.generate()
    for place, right in enumerate(code):
        for wrong in codes.ALPHABET:
            if wrong != right:
                assert codes.read(code[:place] + wrong + code[place + 1 :]) is None
        for other in range(place + 1, len(code)):
            swapped = list(code)
            swapped[place], swapped[other] = swapped[other], swapped[place]
            if "".join(swapped) != code:
                assert codes.read("".join(swapped)) is None


@pytest.mark.parametrize("typed", ["", "-", "A" * 11, "0" * 12, "A" * 12, "\u0410" * 12, "A" * 5_000, "\x00", "é" * 12])
def test_what_is_no_code(typed: str) -> None:
    assert codes.read(typed) is None


def test_what_finds_a_code_depends_on_the_key_and_the_tenant() -> None:
    tenant, code = uuid4(), codes.generate()
    found = {
        codes.lookup(key, of, typed)
        for key in (bytes(32), bytes(range(32)))
        for of in (tenant, uuid4())
        for typed in (code, codes.generate())
    }
    assert len(found) == 8
    assert codes.lookup(bytes(32), tenant, code) == codes.lookup(bytes(32), tenant, code)
