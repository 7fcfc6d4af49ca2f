"""Scalars: one canonical form out, strict in, and refusals that name the variable."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
import strawberry
from strawberry.schema.config import StrawberryConfig

from ispgraph.schema import scalars
from ispgraph.schema.errors import ApiSchema


@strawberry.type
class Query:
    @strawberry.field
    def echo(
        self,
        instant: scalars.DateTime | None = None,
        day: scalars.Date | None = None,
        clock: scalars.Time | None = None,
        amount: Decimal | None = None,
        octets: scalars.BigInt | None = None,
        currency: scalars.CurrencyCode | None = None,
        phone: scalars.PhoneNumber | None = None,
        mac: scalars.MacAddress | None = None,
        data: scalars.JSON | None = None,
    ) -> str:
        given = (instant, day, clock, amount, octets, currency, phone, mac, data)
        return repr(next((value for value in given if value is not None), None))

    @strawberry.field
    def instant(self) -> scalars.DateTime:
        return datetime(2026, 1, 31, 16, 0, 0, 5, timezone(timedelta(hours=6)))

    @strawberry.field
    def day(self) -> scalars.Date:
        return date(2026, 1, 31)

    @strawberry.field
    def clock(self) -> scalars.Time:
        return time(9, 30)

    @strawberry.field
    def amounts(self) -> list[Decimal]:
        return [Decimal("1E+3"), Decimal("0.000000001"), Decimal("-0.00"), Decimal("12.50")]

    @strawberry.field
    def octets(self) -> scalars.BigInt:
        return scalars.BigInt(2**63 - 1)

    @strawberry.field
    def mac(self) -> scalars.MacAddress:
        return scalars.MacAddress("aabb.ccdd.eeff")

    @strawberry.field
    def address(self) -> scalars.IpAddress:
        return scalars.IpAddress("2001:DB8:0:0:0:0:0:1")

    @strawberry.field
    def network(self) -> scalars.IpNetwork:
        return scalars.IpNetwork("10.1.2.3/24")

    @strawberry.field
    def bad_amount(self) -> Decimal:
        return Decimal("NaN")


SCHEMA = ApiSchema(query=Query, config=StrawberryConfig(scalar_map=scalars.SCALAR_MAP))
TYPES = {
    "instant": "DateTime",
    "day": "Date",
    "clock": "Time",
    "amount": "Decimal",
    "octets": "BigInt",
    "currency": "CurrencyCode",
    "phone": "PhoneNumber",
    "mac": "MacAddress",
    "data": "JSON",
}


def by_variable(name: str, value: Any) -> Any:
    return SCHEMA.execute_sync(f"query($v: {TYPES[name]}) {{ echo({name}: $v) }}", {"v": value})


def by_literal(name: str, literal: str) -> Any:
    return SCHEMA.execute_sync(f"{{ echo({name}: {literal}) }}")


def test_output_is_canonical() -> None:
    result = SCHEMA.execute_sync("{ instant day clock amounts octets mac address network }")
    assert result.errors is None
    assert result.data == {
        "instant": "2026-01-31T10:00:00.000005Z",
        "day": "2026-01-31",
        "clock": "09:30:00",
        "amounts": ["1000", "0.000000001", "0.00", "12.50"],
        "octets": "9223372036854775807",
        "mac": "AA:BB:CC:DD:EE:FF",
        "address": "2001:db8::1",
        "network": "10.1.2.0/24",
    }


def test_a_value_that_cannot_be_printed_is_our_fault_and_masked() -> None:
    error = SCHEMA.execute_sync("{ badAmount }").errors[0]
    assert error.message == "Internal error"
    assert error.extensions["code"] == "INTERNAL"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("instant", "2026-01-31T16:00:00+06:00", repr(datetime(2026, 1, 31, 10, tzinfo=UTC))),
        ("instant", "1970-01-01T00:00:00.123456789Z", repr(datetime(1970, 1, 1, 0, 0, 0, 123456, UTC))),
        ("day", "2024-02-29", repr(date(2024, 2, 29))),
        ("clock", "23:59", repr(time(23, 59))),
        ("clock", "23:59:58", repr(time(23, 59, 58))),
        ("amount", "-12.50", repr(Decimal("-12.50"))),
        ("amount", 12, repr(Decimal(12))),
        ("octets", "-9223372036854775808", repr(-(2**63))),
        ("octets", 2**63 - 1, repr(2**63 - 1)),
        ("phone", "not a number, the domain says so", repr("not a number, the domain says so")),
        ("data", {"a": [1, None, "x"]}, repr({"a": [1, None, "x"]})),
    ],
)
def test_variables_that_are_let_in(name: str, value: Any, expected: str) -> None:
    result = by_variable(name, value)
    assert result.errors is None
    assert result.data == {"echo": expected}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("instant", "2026-01-31"),
        ("instant", "2026-01-31T10:00:00"),
        ("instant", "2026-01-31 10:00:00Z"),
        ("instant", "20260131T100000Z"),
        ("instant", "2026-W05-6T10:00:00Z"),
        ("instant", "2026-02-30T10:00:00Z"),
        ("instant", "2026-01-31T24:00:00Z"),
        ("instant", "1969-12-31T23:59:59Z"),
        ("instant", "9999-12-31T23:59:59-05:00"),
        ("instant", "0000-01-01T00:00:00Z"),
        ("instant", "٢٠٢٦-01-31T10:00:00Z"),
        ("instant", 1769853600),
        ("day", "2026-02-29"),
        ("day", "20260131"),
        ("day", "2026-01-31T00:00:00Z"),
        ("clock", "25:00"),
        ("clock", "9:30"),
        ("amount", 12.5),
        ("amount", True),
        ("amount", "NaN"),
        ("amount", "Infinity"),
        ("amount", "1e309"),
        ("amount", "1,000"),
        ("amount", "١٢"),
        ("amount", "1."),
        ("amount", " 1"),
        ("amount", "1\n"),
        ("amount", "1234567890123456789"),
        ("amount", 10**18),
        ("amount", "0.1234567890"),
        ("octets", 2**63),
        ("octets", "9223372036854775808"),
        ("octets", 1.0),
        ("octets", False),
        ("octets", "1e3"),
        ("currency", "BDTX"),
        ("currency", 5),
        ("phone", "0171\x00"),
        ("phone", "0" * 41),
        ("phone", 1712345678),
        ("mac", ["AA:BB:CC:DD:EE:FF"]),
        ("data", [[[[[[[[[]]]]]]]]]),
        ("data", "x" * 16384),
    ],
)
def test_variables_that_are_refused(name: str, value: Any) -> None:
    result = by_variable(name, value)
    assert result.data is None
    error = result.errors[0]
    assert error.extensions == {"code": "BAD_REQUEST"}
    assert "'$v'" in error.message
    assert TYPES[name] in error.message


@pytest.mark.parametrize(
    ("name", "literal", "fine"),
    [
        ("amount", '"12.50"', True),
        ("amount", "12", True),
        ("amount", "12.5", False),
        ("amount", "1e3", False),
        ("amount", "TWELVE", False),
        ("amount", "{a: 1}", False),
        ("octets", "9223372036854775807", True),
        ("octets", "9223372036854775808", False),
        ("octets", "true", False),
        ("instant", '"2026-01-31T10:00:00Z"', True),
        ("instant", "2026", False),
        ("phone", "SOME_WORD", False),
        ("phone", "123", False),
        ("data", "{a: [1, 2]}", True),
        ("data", "[[[[[[[[[1]]]]]]]]]", False),
    ],
)
def test_literals(name: str, literal: str, fine: bool) -> None:
    result = by_literal(name, literal)
    assert (result.errors is None) is fine
    if not fine:
        assert result.errors[0].extensions == {"code": "BAD_REQUEST"}


def test_a_refusal_shows_no_python() -> None:
    for name, value in (("amount", 12.5), ("amount", True), ("octets", {"a": None}), ("phone", [1])):
        message = by_variable(name, value).errors[0].message
        for leak in ("True", "None", "Decimal(", "<class", "Traceback", "Undefined"):
            assert leak not in message
