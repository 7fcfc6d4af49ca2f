"""Amounts as providers write them: exact both ways, never a float."""

import re
from decimal import Decimal

from ispgraph.adapters.errors import BadReply, Refusal, Refused, one_line

_PLAIN = re.compile(r"[0-9]{1,18}(\.[0-9]{1,8})?")


def whole(minor: int, exponent: int, places: int) -> int:
    """`minor`, which has `exponent` decimals, in units that have `places`. Raises Refused if that loses something."""
    if minor <= 0:
        raise Refused(Refusal.INVALID_VALUE, "an amount is above zero")
    more = places - exponent
    if more >= 0:
        return int(minor * 10**more)
    units, rest = divmod(minor, 10**-more)
    if rest:
        allowed = f"at most {places} decimals" if places else "no decimals"
        raise Refused(Refusal.INVALID_VALUE, f"{plain(minor, exponent)} can not be taken there: {allowed}")
    return int(units)


def written(minor: int, exponent: int, places: int) -> str:
    """With exactly so many decimals: 15000 of exponent 2 is "150.00". Raises Refused if that loses something."""
    return plain(whole(minor, exponent, places), places)


def plain(minor: int, exponent: int) -> str:
    """As people write it."""
    return f"{Decimal(minor).scaleb(-exponent):f}"


def read(said: object, exponent: int) -> int:
    """What a provider wrote with a point, in minor units. Raises BadReply if it is no such amount."""
    text = str(said) if isinstance(said, str | int | Decimal) and not isinstance(said, bool) else ""
    if not _PLAIN.fullmatch(text):
        raise BadReply(f"No amount: {one_line(repr(said))}")
    units = Decimal(text).scaleb(exponent)
    if units != units.to_integral_value():
        raise BadReply(f"The amount {text} has more decimals than the currency")
    return int(units)


def from_whole(said: object, places: int, exponent: int) -> int:
    """What a provider counted in units that have `places` decimals. Raises BadReply if it is no such amount."""
    if not isinstance(said, int) or isinstance(said, bool) or said < 0:
        raise BadReply(f"No amount: {one_line(repr(said))}")
    return read(plain(said, places), exponent)
