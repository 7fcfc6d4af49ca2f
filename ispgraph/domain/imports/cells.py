"""The cells of a row: the canonical columns, and the values that several sources write in the same way.

What the import itself can judge, such as an amount or an address, is handed on as it is written. A problem is what only
the reader can know: it comes behind its row. Plans and rows of one source are counted together, plans first. A problem
with number 0 is of the source as a whole, of which there is nothing else then.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from ispgraph.domain.imports.rows import Plan, Problem, Row
from ispgraph.domain.values import Unfit, mac

ROW = (
    *("external_id", "name", "mobile", "email", "account_number"),
    *("street", "city", "state", "postal_code", "country", "zone"),
    *("connection_type", "username", "password", "ip_address", "mac_address", "package"),
    *("status", "expires_at", "balance", "created_at", "note"),
)
PLAN = ("name", "price", "download_kbps", "upload_kbps", "validity_days", "connection_type", "external_id")

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)(?:bit/s|bps|b)?", re.IGNORECASE)
_KBPS = {"": Decimal("0.001"), "k": Decimal(1), "m": Decimal(1000), "g": Decimal(1_000_000)}
_MONEY = re.compile(r"-?\d{1,18}(\.\d{1,6})?")
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d))?(?:\.\d+)?)?")


@dataclass
class Reading:
    """One row or plan while it is put together."""

    number: int
    values: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def doubt(self, column: str | None, message: str) -> None:
        """Note what could not be read."""
        self.problems.append(Problem(self.number, column, message))

    def row(self) -> list[Row | Plan | Problem]:
        """A customer, and what is to be said of it."""
        for column, value in self.values.items():
            if "\N{REPLACEMENT CHARACTER}" in value:
                self.doubt(column, "This has bytes that are no text in the character set of the source.")
        values = {column: _in_lines(column, value) for column, value in self.values.items()}
        return [Row(self.number, dict.fromkeys(ROW, "") | values), *self.problems]

    def plan(self) -> list[Row | Plan | Problem]:
        """A package."""
        return [Plan(self.number, dict.fromkeys(PLAN, "") | self.values)]


def _in_lines(column: str, value: str) -> str:
    """A value without the ends of lines that have no place in it."""
    if column == "password":
        return value
    lines = [line.strip() for line in value.splitlines() if line.strip()]
    return {"note": "\n", "street": ", "}.get(column, " ").join(lines)


def first(*values: str) -> str:
    """The first value that was given, without blanks around it."""
    return next((value.strip() for value in values if value.strip()), "")


def joined(parts: Iterable[str], between: str) -> str:
    """The parts that were given."""
    return between.join(part.strip() for part in parts if part.strip())


def amount(value: str) -> Decimal:
    """An amount that is added to others; what is none counts as nothing."""
    text = value.strip()
    return Decimal(text) if _MONEY.fullmatch(text) else Decimal(0)


def kbps(value: str) -> str | None:
    """A rate such as 512k, 10M or 2.5M, or in bits per second, in whole kbit/s; None for what is none, or no limit."""
    found = _RATE.fullmatch(value.strip())
    if found is None:
        return None
    try:
        rate = Decimal(found[1]) * _KBPS[found[2].lower()]
        whole = int(rate.to_integral_value(ROUND_HALF_UP))
    except InvalidOperation:
        return None
    return str(whole) if whole > 0 else None


def rate_limit(value: str) -> tuple[str, str] | None:
    """Upload and download, in kbit/s, of a limit of RouterOS: rx/tx, seen from the router, or one for both; what
    follows, bursts and priorities, has no place here. None for what is no such limit."""
    up, _, down = (value.split() or [""])[0].partition("/")
    rates = kbps(up), kbps(down or up)
    return (rates[0], rates[1]) if rates[0] is not None and rates[1] is not None else None


def instant(date: str, zone: tzinfo | None, time: str = "") -> str:
    """A date of a database, with its time, as ISO 8601: with the offset where the zone is known. '' for none, such as
    0000-00-00."""
    found = _DATE.match(f"{date.strip()} {time.strip()}".strip())
    if found is None:
        return ""
    try:
        year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
        return datetime(year, month, day, hour, minute, second, tzinfo=zone).isoformat()
    except (ValueError, OverflowError):
        return ""


def in_utc(date: str, known: bool) -> str:
    """A timestamp of a dump that says, or does not say, that it has them in UTC."""
    return instant(date, UTC if known else None)


def device(value: str) -> str | None:
    """A hardware address in one spelling; None for what is none."""
    try:
        return mac(value)
    except Unfit:
        return None


def of_epoch(seconds: str) -> str:
    """An instant that is written as seconds since 1970."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return ""
