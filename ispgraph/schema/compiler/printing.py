"""The scalars of the schema as PostgreSQL prints them: the very text that `schema.scalars` makes of a Python value."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Numeric, Text, cast, func, literal_column
from sqlalchemy.sql.elements import ColumnElement

from ispgraph.domain import money

Print = Callable[[Any], ColumnElement[Any]]


def _date_time(value: Any) -> ColumnElement[Any]:
    # The connection's time zone is UTC. A whole second is printed without a fraction.
    text = func.to_char(value, literal_column("""'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'"""))
    return func.replace(text, literal_column("'.000000Z'"), literal_column("'Z'"))


def _text(value: Any) -> ColumnElement[Any]:
    return cast(value, Text)


PRINT: Mapping[str, Print] = {
    "DateTime": _date_time,
    "BigInt": _text,
    "Decimal": lambda value: _text(func.trim_scale(cast(value, Numeric))),
    "MacAddress": lambda value: func.upper(_text(value)),
    "IpAddress": lambda value: func.host(value),
    "IpNetwork": _text,
}
"""By the name of the scalar; those that are not here are printed as JSON prints the column."""


def printed(value: Any, scalar: str) -> ColumnElement[Any]:
    """A value as the scalar's text."""
    made: ColumnElement[Any] = PRINT[scalar](value) if scalar in PRINT else value
    return made


def amount(minor: Any, currency: str) -> ColumnElement[Any]:
    """Minor units as the Decimal of `Money.amount`, with exactly the currency's decimals."""
    digits = money.exponent(currency)
    if not digits:
        return _text(minor)
    # numeric times a constant of so many decimals has exactly so many decimals.
    return _text(cast(minor, Numeric) * literal_column("0." + "1".rjust(digits, "0")))


def typed_id(prefix: str, key: Any) -> ColumnElement[Any]:
    """A public id."""
    return literal_column(f"'{prefix}_'").op("||")(func.encode(func.uuid_send(key), literal_column("'hex'")))


def typed_id_of(prefix: ColumnElement[Any], key: Any) -> ColumnElement[Any]:
    """A public id whose prefix SQL tells; NULL where either is."""
    return prefix.op("||")(literal_column("'_'")).op("||")(func.encode(func.uuid_send(key), literal_column("'hex'")))
