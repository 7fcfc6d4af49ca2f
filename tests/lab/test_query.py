"""The stack machine of query words."""

import pytest

from ispgraph.lab.kinds import Refused
from ispgraph.lab.query import parse

ITEM = {"name": "ana", "service": "pppoe", "uptime": "1h", "size": "9", "a=b": "no", "disabled": "false"}
YES, NO = "?name=ana", "?name=bob"
CASES = [
    ("", True),
    ("?name", True),
    ("?comment", False),
    ("?-comment", True),
    ("?-name", False),
    ("?name=ana", True),
    ("?=name=ana", True),
    ("?name=Ana", False),
    ("?comment=", False),
    ("?disabled=no", False),
    ("?disabled=false", True),
    # As numbers nine is less than ten, as text it is not.
    ("?<size=10", True),
    ("?>size=10", False),
    ("?<size=9", False),
    ("?>uptime=59m", True),
    ("?<uptime=1d", True),
    ("?>name=", True),
    ("?>comment=", False),
    # Without an operation all must be true.
    (f"{YES} {YES}", True),
    (f"{YES} {NO}", False),
    (f"{NO} {YES}", False),
    (f"{YES} {NO} ?#|", True),
    (f"{YES} {NO} ?#&", False),
    (f"{NO} ?#!", True),
    (f"{YES} {NO} ?#!&", True),
    (f"{YES} {NO} {NO} ?#||", True),
    # An index that ends the word leaves only that value; one that something follows pushes a copy.
    (f"{YES} {NO} ?#1", True),
    (f"{YES} {NO} ?#0", False),
    (f"{YES} {NO} ?#1|&", True),
    (f"{YES} {NO} ?#1.|&", True),
    (f"{NO} ?#.!|", True),
    (f"{NO} {YES} ?#0.1", True),
]


@pytest.mark.parametrize(("words", "wanted"), CASES)
def test_what_matches(words: str, wanted: bool) -> None:
    assert parse(words.split()).matches(ITEM.get) is wanted


@pytest.mark.parametrize("words", ["?#!", "?#&", f"{YES} ?#&", f"{YES} ?#1", "?#.", f"{YES} ?#x", f"{YES} ?#7!"])
def test_operations_that_lack_values_are_refused(words: str) -> None:
    with pytest.raises(Refused, match="invalid query"):
        parse(words.split()).matches(ITEM.get)


def test_only_conjunctions_may_use_an_index() -> None:
    assert parse(["?name=ana", "?service=any", "?#&"]).certain() == {"name": "ana", "service": "any"}
    assert parse(["?name=ana", "?name=bob", "?#|"]).certain() == {}
    assert parse(["?name=ana", "?#!"]).certain() == {}
    assert parse(["?<name=ana"]).certain() == {}
