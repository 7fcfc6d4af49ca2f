"""What a row says, checked by the rules of customers and services, and written as those are. Pure.

Nothing is made up: what a customer must have and the row leaves open comes from what was said of the whole file, or is
a fault.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar
from zoneinfo import ZoneInfo

from ispgraph.domain import amounts, values
from ispgraph.domain.errors import ErrorCode, Faults
from ispgraph.domain.imports.rows import Row
from ispgraph.domain.models import ConnectionType, CustomerStatus
from ispgraph.domain.onboarding import answers
from ispgraph.domain.values import Unfit

Choice = TypeVar("Choice", bound=enum.Enum)

LONGEST_KEY = 255
_ADDRESS = {"street": "street", "city": "city", "state": "state", "postalCode": "postal_code", "country": "country"}
_COLUMNS = {"postalCode": "postal_code", "macAddress": "mac_address", "ipAddress": "ip_address"}
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,23}")
_PLAIN = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?")
_DAY_FIRST = re.compile(r"([0-9]{1,2})[./-]([0-9]{1,2})[./-]([0-9]{4})(.*)", re.DOTALL)
_BLANKS = re.compile(r"[\s\u00a0\u202f']")


@dataclass(frozen=True, slots=True)
class Rules:
    """What the rows of one file are read by: the tenant's, and what was said of the file for what rows leave open."""

    country: str
    currency: str
    zone: ZoneInfo
    email_required: bool
    now: datetime
    account: "re.Pattern[str]"
    """Account numbers that we will give out ourselves."""
    may_credit: bool
    may_bill: bool
    connection_type: ConnectionType
    expires_at: datetime | None
    mobile: str | None
    generate_passwords: bool
    day_first: bool | None
    """Whether 1/2/2026 is the first of February; None takes ISO days alone."""
    decimal_comma: bool


@dataclass(frozen=True, slots=True)
class Checked:
    """A row's columns as they are kept, the password in clear, and what is wrong."""

    columns: Mapping[str, object]
    password: str | None
    faults: list[dict[str, str | None]]


def check(row: Row, rules: Rules) -> Checked:
    """What a row comes to."""
    return _Reading(row, rules).checked()


def fault(code: ErrorCode, column: str | None, message: str) -> dict[str, str | None]:
    """A fault as it is kept."""
    return {"code": code.value, "column": column, "message": message}


def shown(raw: str, longest: int) -> str | None:
    """Text of a source that is only shown: what cannot be is left out."""
    return "".join(each for each in raw if each.isprintable()).strip()[:longest] or None


class _Reading:
    """One row on its way."""

    def __init__(self, row: Row, rules: Rules) -> None:
        self.given = {name: value.strip() for name, value in row.values.items() if value.strip()}
        # A blank may be part of a password.
        self.password = row.values.get("password") or None
        self.rules = rules
        self.faults = Faults()

    def checked(self) -> Checked:
        faults, given, rules = self.faults, self.given, self.rules
        kind = self._choice("connection_type", ConnectionType, rules.connection_type)
        username, password, mac, ip = self._access(kind)
        status, expires_at, lapsed = self._time()
        created_at = self._instant("created_at")
        if created_at is not None and created_at > rules.now:
            faults.add(ErrorCode.INVALID, "Nobody joins in the future.", "created_at")
        columns: dict[str, object] = {
            "source_key": self._key(username),
            "name": answers.full_name(faults, given.get("name") or username),
            "mobile": self._mobile(),
            "email": self._email(),
            "account_number": self._account_number(),
            "username": username,
            "ip_address": ip,
            "mac_address": mac,
            "connection_type": kind,
            "status": status,
            "balance_minor": self._balance(),
            "package_name": answers.optional(faults, given.get("package"), 100, "package"),
            "zone_name": answers.optional(faults, given.get("zone"), 255, "zone"),
            "details": self._address()
            | {
                "expires_at": expires_at.isoformat() if expires_at else None,
                "created_at": created_at.isoformat() if created_at else None,
                "note": self._note(kind),
                "lapsed": "yes" if lapsed else None,
            },
        }
        if columns["name"] is None:
            columns["name"] = shown(given.get("name", ""), 255)
        return Checked(columns, password, [self._kept(each.code, each.field, each.message) for each in faults.found])

    def _kept(self, code: ErrorCode, path: tuple[str, ...] | None, message: str) -> dict[str, str | None]:
        column = path[-1] if path else None
        return fault(code, None if column is None else _COLUMNS.get(column, column), message)

    def _key(self, username: str | None) -> str | None:
        given = self.given
        key = given.get("external_id") or username or given.get("username") or given.get("account_number")
        if key is None:
            message = "Without an id of its own, a row needs a username or an account number: it would be taken twice."
            self.faults.add(ErrorCode.REQUIRED, message, "external_id")
            return None
        return values.checked(self.faults, values.text, key, LONGEST_KEY, at=("external_id",))

    def _mobile(self) -> str | None:
        raw = self.given.get("mobile") or self.rules.mobile
        return values.checked(self.faults, values.phone, raw, self.rules.country, at=("mobile",))

    def _email(self) -> str | None:
        raw = self.given.get("email")
        if raw is None and not self.rules.email_required:
            return None
        return values.checked(self.faults, values.email, raw, at=("email",))

    def _account_number(self) -> str | None:
        number = self.given.get("account_number")
        if number is None:
            return None
        if not _ACCOUNT.fullmatch(number):
            message = "An account number has 1 to 24 letters, digits, dots, dashes, underscores and strokes."
            self.faults.add(ErrorCode.INVALID, message, "account_number")
            return None
        if self.rules.account.fullmatch(number):
            message = "Numbers like this one are given out here: leave it out, or change the prefix in the settings."
            self.faults.add(ErrorCode.INVALID, message, "account_number")
            return None
        return number

    def _address(self) -> dict[str, str | None]:
        given = {theirs: self.given.get(ours) for theirs, ours in _ADDRESS.items()}
        if not any(given.values()):
            return dict.fromkeys(_ADDRESS.values())
        found = answers.address(self.faults, given)
        return {ours: str(found[theirs]) if found[theirs] else None for theirs, ours in _ADDRESS.items()}

    # -- the network

    def _access(self, kind: ConnectionType | None) -> tuple[str | None, str | None, str | None, str | None]:
        """Username, password, hardware address and IP address."""
        faults, given = self.faults, self.given
        username = password = mac = ip = None
        if "username" in given:
            username = values.checked(faults, values.username, given["username"], at=("username",))
        if "mac_address" in given:
            mac = values.checked(faults, values.mac, given["mac_address"], at=("mac_address",))
        if "ip_address" in given:
            ip = values.checked(faults, values.ip_address, given["ip_address"], 4, at=("ip_address",))
        elif kind is ConnectionType.STATIC_IP:
            faults.add(ErrorCode.REQUIRED, "A static address is required.", "ip_address")
        if self.password is not None:
            password = values.checked(faults, values.network_password, self.password, at=("password",))
        elif not self.rules.generate_passwords and not self._logs_in_without(kind):
            faults.add(ErrorCode.REQUIRED, "A network password is required, or have passwords made.", "password")
        if kind is ConnectionType.HOTSPOT and "username" not in given and "mac_address" not in given:
            faults.add(ErrorCode.REQUIRED, "A hotspot needs a username or a hardware address.", "username")
        return username, password, mac, ip

    def _logs_in_without(self, kind: ConnectionType | None) -> bool:
        """Whether nobody types the password: the device or the address is known, so one is made as in the wizard."""
        if kind is ConnectionType.HOTSPOT:
            return "mac_address" in self.given and "username" not in self.given
        return kind in (ConnectionType.STATIC_IP, ConnectionType.OTHER)

    def _note(self, kind: ConnectionType | None) -> str | None:
        raw = self.given.get("note")
        if kind is ConnectionType.OTHER or raw is not None:
            return values.checked(self.faults, values.text, raw, 4000, lines=True, at=("note",))
        return None

    # -- state, time and money

    def _time(self) -> tuple[CustomerStatus | None, datetime | None, bool]:
        """The status, when what is paid for ends, and whether that is over for one whom the source calls active: who is
        expired then."""
        status = self._choice("status", CustomerStatus, CustomerStatus.ACTIVE)
        expires_at = self._instant("expires_at", end_of_day=True)
        if expires_at is None and "expires_at" not in self.given:
            expires_at = self.rules.expires_at
        if status is CustomerStatus.PENDING:
            return status, None, False
        if status is CustomerStatus.ACTIVE and expires_at is None and "expires_at" not in self.given:
            message = "Until when is it paid for? Give the column, or one day for all rows without."
            self.faults.add(ErrorCode.REQUIRED, message, "expires_at")
        if status is CustomerStatus.ACTIVE and expires_at is not None and expires_at <= self.rules.now:
            return CustomerStatus.EXPIRED, expires_at, True
        return status, expires_at, False

    def _choice(self, column: str, kind: type[Choice], default: Choice) -> Choice | None:
        raw = self.given.get(column)
        if raw is None:
            return default
        name = raw.upper().replace(" ", "_").replace("-", "_")
        if name not in kind.__members__:
            known = ", ".join(kind.__members__)
            self.faults.add(ErrorCode.INVALID, f"This is none of {known}.", column)
            return None
        return kind[name]

    def _instant(self, column: str, *, end_of_day: bool = False) -> datetime | None:
        raw = self.given.get(column)
        if raw is None:
            return None
        try:
            return instant(raw, self.rules.zone, self.rules.day_first, end_of_day=end_of_day)
        except Unfit as error:
            self.faults.add(ErrorCode.INVALID, str(error), column)
            return None

    def _balance(self) -> int | None:
        raw = self.given.get("balance")
        if raw is None:
            return 0
        try:
            amount = number(raw, decimal_comma=self.rules.decimal_comma)
        except Unfit as error:
            self.faults.add(ErrorCode.INVALID, str(error), "balance")
            return None
        minor = amounts.minor(self.faults, amount, self.rules.currency, "balance")
        if minor is not None and minor > 0 and not self.rules.may_credit:
            self.faults.add(ErrorCode.NOT_PERMITTED, "A credit needs the permission REFUND_PAYMENTS.", "balance")
        if minor is not None and minor < 0 and not self.rules.may_bill:
            self.faults.add(ErrorCode.NOT_PERMITTED, "A debt needs the permission GENERATE_BILLS.", "balance")
        return minor


def number(raw: str, *, decimal_comma: bool) -> Decimal:
    """An amount as people write it, with groups of three or without. Raises Unfit."""
    text = _BLANKS.sub("", raw)
    if decimal_comma:
        text = text.translate(str.maketrans(",.", ".,"))
    if not _PLAIN.fullmatch(text) and not _GROUPED.fullmatch(text):
        raise Unfit("Write an amount as 1234.50, without a currency.")
    return Decimal(text.replace(",", ""))


def instant(raw: str, zone: ZoneInfo, day_first: bool | None, *, end_of_day: bool = False) -> datetime:
    """A day or an instant; without an offset in the tenant's zone. A day alone is its beginning, or its end.

    Raises Unfit.
    """
    text = raw.strip()
    if day_first is not None and (parts := _DAY_FIRST.fullmatch(text)):
        one, two, year, rest = parts.groups()
        day, month = (one, two) if day_first else (two, one)
        text = f"{year}-{month:0>2}-{day:0>2}{rest}"
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=zone)
        if end_of_day and len(text) <= len("2026-01-31"):
            found = found.replace(tzinfo=None) + timedelta(days=1)
            found = found.replace(tzinfo=zone)
        if not 1970 <= found.year <= 9000:
            raise ValueError
    except (ValueError, OverflowError) as error:
        wanted = "2026-01-31" if day_first is None else "31/01/2026" if day_first else "01/31/2026"
        raise Unfit(f"Write a day as {wanted}, or an instant as {wanted} 18:00.") from error
    return found
