"""A list of customers as a file: what is wanted of it, its columns, and its rows."""

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ARRAY, Date, DateTime, Row, String, Uuid, and_, any_, func, literal, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ispgraph import clock
from ispgraph.domain import audit, customer_lists, exports, jobs, money, sessions, viewers
from ispgraph.domain.billing import payments
from ispgraph.domain.customer_lists import CustomerOrderField, CustomerWhere
from ispgraph.domain.errors import DomainError, ErrorCode, Faults, beneath, fail
from ispgraph.domain.exports import Cell, ExportFormat
from ispgraph.domain.idempotency import Once
from ispgraph.domain.models import Customer, CustomerBalance, Job, Operator, Package, Router, Service, Tenant, Zone
from ispgraph.domain.permissions import Permission, Viewer

OPERATION = "customersExport"
MOST = 1_000_000
"""So many customers one file may have."""
_KEY = 16


class CustomerColumn(enum.Enum):
    ACCOUNT_NUMBER = "ACCOUNT_NUMBER"
    NAME = "NAME"
    COMPANY = "COMPANY"
    MOBILE = "MOBILE"
    EMAIL = "EMAIL"
    STATUS = "STATUS"
    STATUS_REASON = "STATUS_REASON"
    JOINED_AT = "JOINED_AT"
    STREET = "STREET"
    CITY = "CITY"
    STATE = "STATE"
    POSTAL_CODE = "POSTAL_CODE"
    COUNTRY = "COUNTRY"
    ZONE = "ZONE"
    OPERATOR = "OPERATOR"
    BALANCE = "BALANCE"
    AMOUNT_DUE = "AMOUNT_DUE"
    WALLET = "WALLET"
    LAST_PAYMENT_AT = "LAST_PAYMENT_AT"
    OPEN_SESSIONS = "OPEN_SESSIONS"
    PACKAGE = "PACKAGE"
    CONNECTION_TYPE = "CONNECTION_TYPE"
    USERNAME = "USERNAME"
    IP_ADDRESS = "IP_ADDRESS"
    ROUTER = "ROUTER"
    SERVICE_STATUS = "SERVICE_STATUS"
    EXPIRES_AT = "EXPIRES_AT"


_Column = CustomerColumn
_Primary = aliased(Service)
# What stands above each column, and in it. Those from PACKAGE on are of the primary service.
_COLUMNS: Mapping[CustomerColumn, tuple[str, Any]] = {
    _Column.ACCOUNT_NUMBER: ("Account number", Customer.account_number),
    _Column.NAME: ("Name", Customer.name),
    _Column.COMPANY: ("Company", Customer.company),
    _Column.MOBILE: ("Mobile", Customer.mobile),
    _Column.EMAIL: ("E-mail", Customer.email),
    # As text: making objects of them for each row would be most of the work.
    _Column.STATUS: ("Status", type_coerce(Customer.status, String())),
    _Column.STATUS_REASON: ("Status reason", Customer.status_reason),
    _Column.JOINED_AT: ("Joined at", Customer.joined_at),
    _Column.STREET: ("Street", Customer.street),
    _Column.CITY: ("City", Customer.city),
    _Column.STATE: ("State", Customer.state),
    _Column.POSTAL_CODE: ("Postal code", Customer.postal_code),
    _Column.COUNTRY: ("Country", Customer.country),
    _Column.ZONE: ("Zone", Zone.name),
    _Column.OPERATOR: ("Operator", Operator.name),
    _Column.BALANCE: ("Balance", CustomerBalance.balance_minor),
    _Column.AMOUNT_DUE: ("Amount due", CustomerBalance.receivable_minor),
    _Column.WALLET: ("Wallet", CustomerBalance.wallet_minor),
    _Column.LAST_PAYMENT_AT: ("Last payment at", payments.last_received_at(Customer)),
    _Column.OPEN_SESSIONS: ("Open sessions", sessions.open_count(Customer)),
    _Column.PACKAGE: ("Package", Package.name),
    _Column.CONNECTION_TYPE: ("Connection type", type_coerce(_Primary.connection_type, String())),
    _Column.USERNAME: ("Username", _Primary.username),
    _Column.IP_ADDRESS: ("IP address", func.host(_Primary.ip_address)),
    _Column.ROUTER: ("Router", Router.name),
    _Column.SERVICE_STATUS: ("Service status", type_coerce(_Primary.status, String())),
    _Column.EXPIRES_AT: ("Expires at", _Primary.expires_at),
}
_MONEY = (_Column.BALANCE, _Column.AMOUNT_DUE, _Column.WALLET)
USUAL = tuple(column for column in _Column if column not in (_Column.STATE, _Column.COUNTRY, _Column.LAST_PAYMENT_AT))
"""The columns of who names none."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants a file of, as the list `customers` is narrowed and sorted."""

    where: CustomerWhere | None
    search: str | None
    order: CustomerOrderField
    descending: bool
    columns: Sequence[CustomerColumn]
    format: ExportFormat


@dataclass(frozen=True, slots=True)
class Wanted:
    """The same, judged, of a job: `asked` are values of `customer_lists.FILTERS`."""

    asked: Mapping[str, Any]
    order: CustomerOrderField
    descending: bool
    columns: Sequence[CustomerColumn]
    format: ExportFormat
    by: Viewer

    @property
    def heads(self) -> list[str]:
        """What stands above the columns; with money, in which currency it is."""
        return [
            f"{_COLUMNS[column][0]} ({self.by.currency})" if column in _MONEY else _COLUMNS[column][0]
            for column in self.columns
        ]


async def promise(session: AsyncSession, wish: Wish, *, idempotency_key: str | None, by: Viewer) -> Job:
    """The job that makes the file. Raises DomainError NOT_PERMITTED, and INVALID or REQUIRED naming the field."""
    if not by.may(Permission.VIEW_CUSTOMERS):
        raise fail(ErrorCode.NOT_PERMITTED, "This needs the permission VIEW_CUSTOMERS as well.")
    faults = Faults("input")
    if not wish.columns:
        faults.add(ErrorCode.REQUIRED, "Name at least one column, or none at all for the usual ones.", "columns")
    for place, column in enumerate(wish.columns):
        if column in wish.columns[:place]:
            faults.add(ErrorCode.INVALID, "This column is named twice.", "columns", str(place))
    faults.raise_if_any()
    try:
        asked = customer_lists.wanted(wish.where, wish.search, by=by)
    except DomainError as error:
        raise beneath(error, "input") from error
    arguments: dict[str, object] = {
        "asked": {name: _plain(value) for name, value in asked.items()},
        "order": wish.order.value,
        "descending": wish.descending,
        "columns": [column.value for column in wish.columns],
        "format": wish.format.value,
    }

    async def begin() -> Job:
        job = await jobs.enqueue(
            session, jobs.EXPORT_CUSTOMERS, tenant_id=by.tenant_id, by=by.operator_id, arguments=arguments
        )
        audit.record(session, by=by, action="customers.export", subject_id=job.id, details=arguments)
        return job

    return await exports.promised(session, Once(by, OPERATION, idempotency_key, arguments), begin)


async def wanted_of(session: AsyncSession, job: Job) -> Wanted:
    """What a job was promised for. Raises jobs.Permanent when its operator may not have it any more."""
    by = None
    if job.created_by_id is not None:
        by = await viewers.on_behalf(session, job.created_by_id, job_id=job.id, acting_id=None)
    if by is None or not (by.may(Permission.EXPORT_DATA) and by.may(Permission.VIEW_CUSTOMERS)):
        message = "Who asked for this has not the permissions EXPORT_DATA and VIEW_CUSTOMERS any more."
        raise jobs.Permanent(message)
    given: Mapping[str, Any] = job.arguments
    return Wanted(
        asked={name: _typed(name, value) for name, value in given["asked"].items()},
        order=CustomerOrderField(given["order"]),
        descending=given["descending"],
        columns=[CustomerColumn(name) for name in given["columns"]],
        format=ExportFormat(given["format"]),
        by=by,
    )


async def listed(session: AsyncSession, wanted: Wanted) -> bytes:
    """The ids of the list as it is at one instant, in its order, 16 bytes each.

    Whoever is changed while the file is made keeps the place, and nobody is in it twice. Raises jobs.Permanent when
    they are too many for one file.
    """
    order = customer_lists.ORDERS[wanted.order]
    keys = [key.expression.desc() if wanted.descending else key.expression.asc() for key in order.keys]
    rows = order.joined(customer_lists.narrowed(wanted.asked, wanted.by).with_only_columns(Customer.id))
    found = bytearray()
    limited = rows.order_by(*keys).limit(MOST + 1).execution_options(yield_per=exports.PAGE)
    async for key in await session.stream_scalars(limited):
        found += key.bytes
    if len(found) > MOST * _KEY:
        raise jobs.Permanent(f"There are more than {MOST} customers, and one file may have no more: narrow the list.")
    return bytes(found)


def count(keys: bytes) -> int:
    """How many ids there are."""
    return len(keys) // _KEY


def pages(keys: bytes) -> Iterator[Sequence[UUID]]:
    """The ids, so many at a time."""
    step = exports.PAGE * _KEY
    for first in range(0, len(keys), step):
        part = keys[first : first + step]
        yield [UUID(bytes=part[place : place + _KEY]) for place in range(0, len(part), _KEY)]


async def page(session: AsyncSession, wanted: Wanted, keys: Sequence[UUID]) -> Sequence[Row[Any]]:
    """The rows of these customers whom the viewer may still see, in the order of the ids."""
    columns = (_COLUMNS[column][1].label(column.value) for column in wanted.columns)
    own = Customer.tenant_id
    rows = (
        customer_lists.narrowed({}, wanted.by)
        .with_only_columns(Customer.id, *columns)
        .join(CustomerBalance, and_(CustomerBalance.tenant_id == own, CustomerBalance.customer_id == Customer.id))
        .outerjoin(Zone, and_(Zone.tenant_id == own, Zone.id == Customer.zone_id))
        .outerjoin(Operator, and_(Operator.tenant_id == own, Operator.id == Customer.operator_id))
        .outerjoin(_Primary, and_(_Primary.tenant_id == own, _Primary.customer_id == Customer.id, _Primary.is_primary))
        .outerjoin(Package, and_(Package.tenant_id == own, Package.id == _Primary.package_id))
        .outerjoin(Router, and_(Router.tenant_id == own, Router.id == _Primary.router_id))
        .where(Customer.id == any_(literal(list(keys), ARRAY(Uuid()))))
    )
    found = {row.id: row for row in await session.execute(rows)}
    return [found[key] for key in keys if key in found]


def cells(wanted: Wanted, row: Row[Any], zone: ZoneInfo) -> list[Cell]:
    """One line of the sheet. Instants are ISO 8601 in the tenant's zone, with the offset; money has its decimals."""
    values: Sequence[Any] = row[1:]
    currency = wanted.by.currency
    return [_cell(column, value, zone, currency) for column, value in zip(wanted.columns, values, strict=True)]


def _cell(column: CustomerColumn, value: Any, zone: ZoneInfo, currency: str) -> Cell:
    if column in _MONEY:
        return money.to_decimal(value, currency)
    if isinstance(value, datetime):
        return value.astimezone(zone).isoformat(timespec="seconds")
    if isinstance(value, str):
        return exports.neutral(value)
    found: int | None = value
    return found


def stem(tenant: Tenant) -> str:
    """What a file of today is called, without its ending."""
    return f"customers-{tenant.slug}-{clock.now().astimezone(ZoneInfo(tenant.time_zone)):%Y-%m-%d}"


def _plain(value: Any) -> Any:
    """The value of a filter as JSON."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _typed(name: str, value: Any) -> Any:
    """It again."""
    kind = customer_lists.FILTERS[name].kind
    if isinstance(kind, Uuid):
        return UUID(value)
    if isinstance(kind, DateTime):
        return datetime.fromisoformat(value)
    return date.fromisoformat(value) if isinstance(kind, Date) else value
