"""Lists of customers: what narrows them, what sorts them, what a search finds, and the figures above the list.

The conditions are SQL that does not know its values; `wanted` makes the values out of what a person asks for. What a
list holds besides is the viewer's scope, which `customers.visible` adds.
"""

import enum
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import phonenumbers
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    Date,
    Exists,
    Select,
    String,
    Text,
    Uuid,
    and_,
    any_,
    cast,
    exists,
    func,
    literal,
    literal_column,
    not_,
    select,
    type_coerce,
)
from sqlalchemy.orm import aliased

from ispgraph import clock
from ispgraph.domain import amounts, customers, values
from ispgraph.domain.billing import invoices, periods
from ispgraph.domain.errors import ErrorCode, Faults
from ispgraph.domain.lists import Filter, Key, Order
from ispgraph.domain.models import (
    ConnectionType,
    Customer,
    CustomerBalance,
    CustomerStatus,
    Invoice,
    OpenSession,
    Service,
    ServiceStatus,
)
from ispgraph.domain.models.base import Instant
from ispgraph.domain.permissions import Viewer

SHORTEST_SEARCH = 3
LONGEST_SEARCH = 100


class CustomerOrderField(enum.Enum):
    CREATED_AT = "CREATED_AT"
    NAME = "NAME"
    ACCOUNT_NUMBER = "ACCOUNT_NUMBER"
    EXPIRES_AT = "EXPIRES_AT"
    BALANCE = "BALANCE"
    STATUS = "STATUS"


@dataclass(frozen=True, slots=True)
class CustomerWhere:
    """What a person wants to see; None is no condition, an empty list matches nothing.

    `joined_from` belongs to the span, `joined_to` and `expires_before` do not; the balances are amounts of the
    tenant's currency, below or above which a balance is. Those on services ask for one that is not terminated.
    """

    status: Sequence[CustomerStatus] | None = None
    connection_type: Sequence[ConnectionType] | None = None
    package_id: UUID | None = None
    zone_id: UUID | None = None
    operator_id: UUID | None = None
    router_id: UUID | None = None
    online: bool | None = None
    overdue: bool | None = None
    joined_from: datetime | None = None
    joined_to: datetime | None = None
    expires_before: datetime | None = None
    balance_below: Decimal | None = None
    balance_above: Decimal | None = None


def _of_customer(model: Any, *conditions: ColumnElement[bool]) -> Exists:
    owned = (model.tenant_id == Customer.tenant_id, model.customer_id == Customer.id)
    return exists().where(*owned, *conditions).correlate(Customer)


def _served(*conditions: ColumnElement[bool]) -> Exists:
    return _of_customer(Service, Service.status != ServiceStatus.TERMINATED, *conditions)


def _online() -> Exists:
    return _of_customer(OpenSession)


def _overdue(today: ColumnElement[Any]) -> Exists:
    return _of_customer(Invoice, Invoice.status.in_(invoices.AWAITING), Invoice.due_on < today)


def _balance(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return Customer.id.in_(select(CustomerBalance.customer_id).where(condition))


def _found(forms: ColumnElement[Any]) -> ColumnElement[bool]:
    # As an array, the index of the ids gives what is in it in their order, and stops when the page is full.
    keys = select(func.customer_matches(forms, type_=Uuid())).scalar_subquery()
    return Customer.id == any_(func.array(keys, type_=ARRAY(Uuid())))


_Strings = ARRAY(String())
_Key = Uuid()

FILTERS: Mapping[str, Filter] = {
    "status": Filter(_Strings, lambda value, by: type_coerce(Customer.status, String()) == any_(value)),
    "connection_type": Filter(
        _Strings, lambda value, by: _served(type_coerce(Service.connection_type, String()) == any_(value))
    ),
    "package_id": Filter(_Key, lambda value, by: _served(Service.package_id == value)),
    "zone_id": Filter(_Key, lambda value, by: Customer.zone_id == value),
    "operator_id": Filter(_Key, lambda value, by: Customer.operator_id == value),
    "router_id": Filter(_Key, lambda value, by: _served(Service.router_id == value)),
    "online": Filter(Boolean(), lambda value, by: _online() == value),
    # The value of these two is the day it is in the tenant's zone.
    "overdue": Filter(Date(), lambda value, by: _overdue(value)),
    "not_overdue": Filter(Date(), lambda value, by: not_(_overdue(value))),
    "joined_from": Filter(Instant, lambda value, by: Customer.joined_at >= value),
    "joined_to": Filter(Instant, lambda value, by: Customer.joined_at < value),
    "expires_before": Filter(Instant, lambda value, by: _served(Service.expires_at < value)),
    "balance_below": Filter(BigInteger(), lambda value, by: _balance(CustomerBalance.balance_minor < value)),
    "balance_above": Filter(BigInteger(), lambda value, by: _balance(CustomerBalance.balance_minor > value)),
    "search": Filter(ARRAY(Text()), lambda value, by: _found(value)),
}

_Primary = aliased(Service)


def _with_primary_service(rows: Select[Any]) -> Select[Any]:
    own = and_(_Primary.tenant_id == Customer.tenant_id, _Primary.customer_id == Customer.id, _Primary.is_primary)
    return rows.outerjoin(_Primary, own)


def _with_balance(rows: Select[Any]) -> Select[Any]:
    own = and_(CustomerBalance.tenant_id == Customer.tenant_id, CustomerBalance.customer_id == Customer.id)
    return rows.join(CustomerBalance, own)


_LAST = Key(Customer.id, Uuid())
# The planner takes an index in the order of a list only where the keys are the index's own columns.
_LAST_OF_BALANCES = Key(CustomerBalance.customer_id, Uuid())
_EXPIRY = func.coalesce(_Primary.expires_at, literal_column("'infinity'::timestamptz"), type_=Instant)

ORDERS: Mapping[CustomerOrderField, Order] = {
    # UUIDs of version 7 are in the order of time.
    CustomerOrderField.CREATED_AT: Order("customers", (_LAST,)),
    CustomerOrderField.NAME: Order("customers:name", (Key(Customer.name_key, Text()), _LAST)),
    CustomerOrderField.ACCOUNT_NUMBER: Order("customers:number", (Key(Customer.account_number, String()), _LAST)),
    # Who has no service, or one without an end, comes last.
    CustomerOrderField.EXPIRES_AT: Order(
        "customers:expiry", (Key(_EXPIRY, Instant), _LAST), joined=_with_primary_service
    ),
    CustomerOrderField.BALANCE: Order(
        "customers:balance",
        (Key(CustomerBalance.balance_minor, BigInteger()), _LAST_OF_BALANCES),
        joined=_with_balance,
    ),
    CustomerOrderField.STATUS: Order(
        "customers:status", (Key(type_coerce(Customer.status, String()), String()), _LAST)
    ),
}


def wanted(where: CustomerWhere | None, search: str | None, *, by: Viewer) -> dict[str, Any]:
    """The values of the FILTERS in use. Raises DomainError INVALID, naming each field of `where`, or `search`."""
    where = where or CustomerWhere()
    faults = Faults()
    today = periods.local_date(clock.now(), by.time_zone)
    below = _minor(faults, where.balance_below, by.currency, "balanceBelow")
    above = _minor(faults, where.balance_above, by.currency, "balanceAbove")
    if below is not None and above is not None and below <= above:
        faults.add(ErrorCode.INVALID, "balanceBelow must be more than balanceAbove.", "where", "balanceBelow")
    if where.joined_from is not None and where.joined_to is not None and where.joined_to <= where.joined_from:
        faults.add(ErrorCode.INVALID, "joinedTo must be later than joinedFrom.", "where", "joinedTo")
    asked = {
        "status": _names(where.status),
        "connection_type": _names(where.connection_type),
        "package_id": where.package_id,
        "zone_id": where.zone_id,
        "operator_id": where.operator_id,
        "router_id": where.router_id,
        "online": where.online,
        "overdue": today if where.overdue is True else None,
        "not_overdue": today if where.overdue is False else None,
        "joined_from": where.joined_from,
        "joined_to": where.joined_to,
        "expires_before": where.expires_before,
        "balance_below": below,
        "balance_above": above,
        # A search box that was cleared sends nothing but blanks.
        "search": None if search is None or not search.strip() else _forms(faults, search, by.country),
    }
    faults.raise_if_any()
    return {name: value for name, value in asked.items() if value is not None}


def narrowed(asked: Mapping[str, Any], by: Viewer) -> Select[Customer]:
    """The customers the viewer may see that the values of `wanted` leave."""
    matches = (FILTERS[name].matches(literal(value, FILTERS[name].kind), by) for name, value in asked.items())
    return customers.visible(by).where(*matches)


def _names(members: Sequence[enum.Enum] | None) -> list[str] | None:
    return None if members is None else [member.value for member in members]


def _minor(faults: Faults, amount: Decimal | None, currency: str, field: str) -> int | None:
    return None if amount is None else amounts.minor(faults, amount, currency, "where", field)


def _forms(faults: Faults, search: str, country: str) -> list[str | None] | None:
    """What the search may mean, in the order of the SQL function `customer_matches`; None for what it cannot."""
    try:
        term = values.text(search, LONGEST_SEARCH)
        if len(term) < SHORTEST_SEARCH:
            raise values.Unfit(f"Search for at least {SHORTEST_SEARCH} characters.")
    except values.Unfit as error:
        faults.add(ErrorCode.INVALID, str(error), "search")
        return None
    digits, dialled = _telephone(term, country)
    address = _address(term)
    return [
        term,
        digits,
        dialled,
        _hardware(term) if address is None else None,
        address,
        _invoice_number(term),
    ]


_TELEPHONE = re.compile(r"\+?[\d\s()./-]+")
_SEPARATOR = re.compile(r"[:.\s-]")
_HEXADECIMAL = re.compile(r"[0-9a-f]{1,12}")
_INVOICE_NUMBER = re.compile(r"INV-\d{4}-\d{1,20}", re.ASCII)
_PLAIN_HARDWARE = 6
"""So many hexadecimal digits without separators begin a MAC address; fewer are too often a word or a number."""


def _telephone(term: str, country: str) -> tuple[str | None, str | None]:
    """Digits that may stand anywhere in a number, and how a number in E.164 form begins if these are its first."""
    # +44 (0) 20 …: the nought in brackets is for those who do not dial the country.
    bare = term.replace("(0)", "") if term.startswith("+") else term
    digits: str = phonenumbers.normalize_digits_only(bare)
    if not _TELEPHONE.fullmatch(bare) or len(digits) < SHORTEST_SEARCH - term.startswith("+"):
        return None, None
    if term.startswith("+"):
        return None, f"+{digits}"
    try:
        return digits, values.phone(bare, country)
    except values.Unfit:
        pass
    if digits.startswith("00"):
        return digits, f"+{digits[2:]}"
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(country)
    trunk = (metadata.national_prefix if metadata else None) or ""
    return digits, f"+{phonenumbers.country_code_for_region(country)}{digits.removeprefix(trunk)}"


def _hardware(term: str) -> str | None:
    """The digits of a MAC address or of its beginning, in any notation."""
    groups = _SEPARATOR.split(term.lower())
    digits = "".join(groups)
    if not _HEXADECIMAL.fullmatch(digits):
        return None
    *whole, rest = groups
    if not whole:
        return digits if len(digits) >= _PLAIN_HARDWARE else None
    width = len(whole[0])
    same = all(len(group) == width for group in whole) and len(rest) <= width
    return digits if same and width in (2, 4, 6) else None


def _address(term: str) -> str | None:
    try:
        return None if "%" in term else str(ipaddress.ip_address(term))
    except ValueError:
        return None


def _invoice_number(term: str) -> str | None:
    return term.upper() if _INVOICE_NUMBER.fullmatch(term.upper()) else None


def figures(by: Viewer) -> Select[int, int, int, int, int, int, int]:
    """One row about the customers the viewer may see: how many, and their balance on average in minor units, halves
    away from zero. Terminated customers count in neither `total` nor the average."""
    counted = Customer.status != CustomerStatus.TERMINATED

    def having(status: CustomerStatus) -> ColumnElement[int]:
        return func.count().filter(Customer.status == status).label(status.value.lower())

    average = func.round(func.avg(CustomerBalance.balance_minor).filter(counted))
    # The few open sessions are read on their own: asked for each customer they would be most of the work.
    online = select(func.count(OpenSession.customer_id.distinct())).where(
        customers.belonging(by, OpenSession.customer_id)
    )
    return _with_balance(customers.visible(by)).with_only_columns(
        func.count().filter(counted).label("total"),
        having(CustomerStatus.ACTIVE),
        having(CustomerStatus.SUSPENDED),
        having(CustomerStatus.PENDING),
        having(CustomerStatus.EXPIRED),
        online.scalar_subquery().label("online"),
        cast(func.coalesce(average, 0), BigInteger).label("average_minor"),
        maintain_column_froms=True,
    )
