"""The scalars of the schema: what goes out in one canonical form, and what is let in.

Values with one exact meaning (instants, days, decimals, 64-bit integers, JSON) are judged here, strictly. Texts that
the trade has an opinion about (phone numbers, e-mail, MAC and IP addresses, currencies) are only checked to be short
strings without control characters: the domain judges their content, so that a form gets all its errors at once, as
`UserError`s with field paths, instead of one top-level error.

A refused literal or variable is a top-level error; graphql-core puts the path of the variable in front of our reason.
`SCALAR_MAP` goes into `StrawberryConfig(scalar_map=…)`.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from ipaddress import ip_address, ip_network
from typing import Any, NewType

from graphql import GraphQLError, IntValueNode, StringValueNode, Undefined, ValueNode, value_from_ast_untyped
from strawberry import scalar
from strawberry.types.scalar import ScalarDefinition

from ispgraph.domain.uploads import Received

__all__ = [
    "JSON",
    "SCALAR_MAP",
    "BigInt",
    "CurrencyCode",
    "Date",
    "DateTime",
    "Decimal",
    "EmailAddress",
    "IpAddress",
    "IpNetwork",
    "MacAddress",
    "PhoneNumber",
    "Time",
    "Upload",
]

DateTime = datetime
Date = date
Time = time
BigInt = NewType("BigInt", int)
CurrencyCode = NewType("CurrencyCode", str)
PhoneNumber = NewType("PhoneNumber", str)
EmailAddress = NewType("EmailAddress", str)
MacAddress = NewType("MacAddress", str)
IpAddress = NewType("IpAddress", str)
IpNetwork = NewType("IpNetwork", str)
JSON = NewType("JSON", object)
Upload = NewType("Upload", Received)

_DATE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(r"\d{2}:\d{2}(?::\d{2})?", re.ASCII)
_DECIMAL = re.compile(r"-?\d{1,18}(?:\.\d{1,9})?", re.ASCII)
_INTEGER = re.compile(r"-?\d{1,19}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BIGGEST = 2**63
_JSON_DEPTH = 8
_JSON_BYTES = 16 * 1024

Parse = Callable[[Any], Any]


def _refuse(reason: str) -> GraphQLError:
    return GraphQLError(reason)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise _refuse(f"{what} must be a string")
    return value


def _parse_date_time(value: Any) -> datetime:
    what = "DateTime must look like 2026-01-31T10:00:00Z or 2026-01-31T16:00:00.5+06:00, with an offset"
    text = _text(value, "DateTime")
    if not _DATE_TIME.fullmatch(text):
        raise _refuse(what)
    try:
        instant = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _refuse("DateTime is not on the calendar") from None
    if instant.year < 1970:
        raise _refuse("DateTime must lie in the years 1970 to 9999")
    return instant


def _parse_date(value: Any) -> date:
    text = _text(value, "Date")
    if not _DATE.fullmatch(text):
        raise _refuse("Date must look like 2026-01-31")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise _refuse("Date is not on the calendar") from None
    if day.year < 1900:
        raise _refuse("Date must lie in the years 1900 to 9999")
    return day


def _parse_time(value: Any) -> time:
    text = _text(value, "Time")
    if not _TIME.fullmatch(text):
        raise _refuse("Time must look like 09:30 or 09:30:00")
    try:
        return time.fromisoformat(text)
    except ValueError:
        raise _refuse("Time is not on the clock") from None


def _parse_decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _refuse('Decimal must be a string such as "12.50" or a whole number; a float is not exact')
    if isinstance(value, int):
        if abs(value) >= 10**18:
            raise _refuse("Decimal may have 18 digits before the point and 9 after it")
        return Decimal(value)
    if not _DECIMAL.fullmatch(value):
        raise _refuse('Decimal must look like "12.50": at most 18 digits before the point and 9 after it')
    return Decimal(value)


def _parse_big_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _refuse('BigInt must be a whole number, or a string such as "10737418240"')
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value):
            raise _refuse('BigInt must look like "10737418240"')
        value = int(value)
    if not -_BIGGEST <= value < _BIGGEST:
        raise _refuse("BigInt must fit into 64 bits with sign")
    return int(value)


def _parse_short_text(what: str, longest: int) -> Parse:
    def parse(value: Any) -> str:
        text = _text(value, what)
        if len(text) > longest:
            raise _refuse(f"{what} may have at most {longest} characters")
        if _CONTROL.search(text):
            raise _refuse(f"{what} may not hold control characters")
        return text

    return parse


def _json_depth(value: Any) -> int:
    deepest, pending = 0, [(value, 0)]
    while pending:
        item, depth = pending.pop()
        if isinstance(item, dict | list):
            deepest = max(deepest, depth + 1)
            if deepest > _JSON_DEPTH:
                break
            children = item.values() if isinstance(item, dict) else item
            pending.extend((child, depth + 1) for child in children)
    return deepest


def _parse_json(value: Any) -> Any:
    if _json_depth(value) > _JSON_DEPTH:
        raise _refuse(f"JSON may be nested at most {_JSON_DEPTH} levels deep")
    if len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")) > _JSON_BYTES:
        raise _refuse("JSON may have at most 16 kB")
    return value


def _json_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
    # While a document is validated its variables have no values yet.
    return _parse_json(_without_undefined(value_from_ast_untyped(node, variables)))


def _without_undefined(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_undefined(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_undefined(item) for name, item in value.items()}
    return None if value is Undefined else value


def _literal(parse: Parse, what: str, *, numbers: bool) -> Callable[[ValueNode, Any], Any]:
    """A literal must be a string, or an Int literal where numbers are let in; enum words and floats are neither."""

    def parse_literal(node: ValueNode, _variables: Any = None) -> Any:
        try:
            if isinstance(node, StringValueNode) or (numbers and isinstance(node, IntValueNode)):
                return parse(node.value)
            raise _refuse(f"{what} must be a {'string or a whole number' if numbers else 'string'}")
        except GraphQLError as refused:
            # Where it stands: a document may hold many.
            raise GraphQLError(refused.message, node) from None

    return parse_literal


def _print_date_time(value: datetime | str) -> str:
    if isinstance(value, str):
        return value
    if value.tzinfo is None:
        raise ValueError("an instant without offset")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _print_plain(value: date | time | str) -> str:
    return value if isinstance(value, str) else value.isoformat()


def _print_decimal(value: Decimal | int | str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        raise TypeError("a float is not a decimal")
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError("not a number")
    return format(number if number else abs(number), "f")


def _print_big_int(value: int | str) -> str:
    return str(int(value))


def _print_mac(value: object) -> str:
    digits = re.sub(r"[^0-9A-F]", "", str(value).upper())
    if len(digits) != 12:
        raise ValueError("not a MAC address")
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def _print_ip(value: object) -> str:
    # inet columns arrive as interfaces ("10.0.0.1/32") from some drivers.
    address = ip_address(str(value).partition("/")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    # As RFC 5952 section 5 and PostgreSQL write it.
    return str(address) if mapped is None else f"::ffff:{mapped}"


def _print_network(value: object) -> str:
    return str(ip_network(str(value), strict=False))


def _parse_upload(value: Any) -> Received:
    if not isinstance(value, Received):
        raise _refuse("Upload must be a file of a multipart request, and null in its operations")
    return value


def _upload_literal(_node: ValueNode, _variables: Any = None) -> Any:
    raise _refuse("Upload must be a variable")


def _print_upload(_value: Any) -> Any:
    raise ValueError("files are never sent")


def _define(
    name: str, description: str, print_value: Callable[[Any], Any], parse: Parse, *, numbers: bool = False
) -> ScalarDefinition:
    return scalar(
        name=name,
        description=description,
        serialize=print_value,
        parse_value=parse,
        parse_literal=_literal(parse, name, numbers=numbers),
    )


def _define_text(
    name: str, description: str, longest: int, print_value: Callable[[Any], Any] = str
) -> ScalarDefinition:
    return _define(name, description, print_value, _parse_short_text(name, longest))


SCALAR_MAP: Mapping[object, ScalarDefinition] = {
    datetime: _define(
        "DateTime", "RFC 3339 instant with offset, always UTC on output.", _print_date_time, _parse_date_time
    ),
    date: _define("Date", "Calendar day in the tenant's time zone.", _print_plain, _parse_date),
    time: _define("Time", "Wall-clock time of day in the tenant's time zone.", _print_plain, _parse_time),
    Decimal: _define(
        "Decimal",
        "Exact decimal, sent as a string. On input a string or a whole number, never a float.",
        _print_decimal,
        _parse_decimal,
        numbers=True,
    ),
    BigInt: _define(
        "BigInt",
        "64-bit integer (bytes, bits per second), sent as a string.",
        _print_big_int,
        _parse_big_int,
        numbers=True,
    ),
    CurrencyCode: _define_text("CurrencyCode", "ISO 4217 code of three letters.", 3),
    PhoneNumber: _define_text("PhoneNumber", "E.164 on output; national form accepted on input.", 40),
    EmailAddress: _define_text("EmailAddress", "E-mail address.", 320),
    MacAddress: _define_text(
        "MacAddress", "AA:BB:CC:DD:EE:FF on output; any common separator accepted on input.", 40, _print_mac
    ),
    IpAddress: _define_text("IpAddress", "IPv4 or IPv6 address.", 64, _print_ip),
    IpNetwork: _define_text("IpNetwork", "IPv4 or IPv6 network in CIDR form.", 64, _print_network),
    JSON: scalar(
        name="JSON",
        description="Any JSON value; on input nested at most 8 levels deep and at most 16 kB.",
        serialize=lambda value: value,
        parse_value=_parse_json,
        parse_literal=_json_literal,
    ),
    Upload: scalar(
        name="Upload",
        description="A file of a request by the GraphQL multipart request specification.",
        serialize=_print_upload,
        parse_value=_parse_upload,
        parse_literal=_upload_literal,
    ),
}
