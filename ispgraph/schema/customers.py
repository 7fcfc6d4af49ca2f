"""Customers and their services."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any

import strawberry
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import jobs, models, radius_rows
from ispgraph.domain.billing import invoices, ledger, payments
from ispgraph.schema.base import Money, Node, money, node
from ispgraph.schema.billing import Invoice, LedgerEntry, Payment
from ispgraph.schema.catalogue import CustomField, CustomFieldValue, Package, Zone
from ispgraph.schema.context import Info
from ispgraph.schema.jobs import Job
from ispgraph.schema.operators import Operator
from ispgraph.schema.pages import Connection, connection
from ispgraph.schema.routers import Router
from ispgraph.schema.scalars import EmailAddress, IpAddress, MacAddress, PhoneNumber

CustomerLink = Annotated["Customer", strawberry.lazy("ispgraph.schema.customers")]


@strawberry.type
class Address:
    street: str
    city: str | None
    state: str | None
    postal_code: str | None
    country: str | None


@strawberry.type
class RadiusAttribute:
    list: str
    attribute: str
    op: str
    value: str


def radius_attributes(rows: Sequence[radius_rows.RadiusRow]) -> list[RadiusAttribute]:
    """Rows as the schema shows them."""
    return [RadiusAttribute(list=row.list, attribute=row.attribute, op=row.op, value=row.value) for row in rows]


@strawberry.type(description="What the network should hold for a service, and what is known of it.")
class NetworkState:
    desired_version: int
    applied_version: int
    checked_at: datetime | None

    @strawberry.field
    async def radius(root: strawberry.Parent[models.Service], info: Info) -> list[RadiusAttribute]:
        async with info.context.read() as session:
            return radius_attributes(await radius_rows.of_service(session, root.id))


@node("svc", models.Service, description="One package on one connection.")
class Service(Node):
    status: models.ServiceStatus
    connection_type: models.ConnectionType
    username: str | None
    ip_address: IpAddress | None
    started_at: datetime | None
    expires_at: datetime | None
    suspend_on: date | None
    auto_renew: bool

    @strawberry.field
    async def package(root: strawberry.Parent[models.Service], info: Info) -> Package:
        return await info.context.loaders.one(models.Package, root.package_id)

    @strawberry.field
    async def mac_addresses(root: strawberry.Parent[models.Service], info: Info) -> list[MacAddress]:
        rows = await info.context.loaders.many(models.ServiceMac, "service_id", root.id)
        return [MacAddress(row.mac) for row in rows]

    @strawberry.field
    async def router(root: strawberry.Parent[models.Service], info: Info) -> Router | None:
        return await info.context.loaders.one(models.Router, root.router_id)

    @strawberry.field
    def network(root: strawberry.Parent[models.Service]) -> NetworkState:
        found: Any = root
        return found


@node("cus", models.Customer, description="Who pays.")
class Customer(Node):
    account_number: str
    version: int
    name: str
    mobile: PhoneNumber
    email: EmailAddress | None
    company: str | None
    status: models.CustomerStatus
    status_reason: str | None
    joined_at: datetime
    updated_at: datetime

    @strawberry.field
    def address(root: strawberry.Parent[models.Customer]) -> Address | None:
        if root.street is None:
            return None
        return Address(
            street=root.street,
            city=root.city,
            state=root.state,
            postal_code=root.postal_code,
            country=root.country,
        )

    @strawberry.field
    async def zone(root: strawberry.Parent[models.Customer], info: Info) -> Zone | None:
        return await info.context.loaders.one(models.Zone, root.zone_id)

    @strawberry.field
    async def operator(root: strawberry.Parent[models.Customer], info: Info) -> Operator:
        return await info.context.loaders.one(models.Operator, root.operator_id)

    @strawberry.field(description="Above zero: the customer has credit. Below zero: the customer owes.")
    async def balance(root: strawberry.Parent[models.Customer], info: Info) -> Money:
        held = await _balance(info, root)
        return money(info, held.wallet_minor - held.receivable_minor)

    @strawberry.field(description="Sum open on finalized invoices.")
    async def amount_due(root: strawberry.Parent[models.Customer], info: Info) -> Money:
        return money(info, (await _balance(info, root)).receivable_minor)

    @strawberry.field
    async def wallet(root: strawberry.Parent[models.Customer], info: Info) -> Money:
        return money(info, (await _balance(info, root)).wallet_minor)

    @strawberry.field
    async def last_payment_at(root: strawberry.Parent[models.Customer], info: Info) -> datetime | None:
        found: datetime | None = await info.context.loaders.batched(("last_payment_at",), _last_payments).load(root.id)
        return found

    @strawberry.field(description="The primary service; most customers have exactly one.")
    async def service(root: strawberry.Parent[models.Customer], info: Info) -> Service | None:
        rows = await info.context.loaders.many(models.Service, "customer_id", root.id)
        return next((row for row in rows if row.is_primary), None)

    @strawberry.field
    async def services(root: strawberry.Parent[models.Customer], info: Info) -> list[Service]:
        rows = await info.context.loaders.many(models.Service, "customer_id", root.id)
        return list(rows)

    @strawberry.field
    async def custom_fields(root: strawberry.Parent[models.Customer], info: Info) -> list[CustomFieldValue]:
        rows = await info.context.loaders.many(models.CustomFieldValue, "customer_id", root.id)
        fields: list[Any] = [await info.context.loaders.one(models.CustomField, row.field_id) for row in rows]
        return [custom_value(field, row.value) for field, row in zip(fields, rows, strict=True)]

    @strawberry.field
    async def invoices(
        root: strawberry.Parent[models.Customer],
        info: Info,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
        status: list[models.InvoiceStatus] | None = None,
    ) -> Connection[Invoice]:
        async with info.context.read() as session:
            page = await invoices.of_customer(
                session, root.id, status=status, first=first, after=after, last=last, before=before
            )
        return connection(page)

    @strawberry.field
    async def payments(
        root: strawberry.Parent[models.Customer],
        info: Info,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
        status: list[models.PaymentStatus] | None = None,
    ) -> Connection[Payment]:
        async with info.context.read() as session:
            page = await payments.of_customer(
                session, root.id, status=status, first=first, after=after, last=last, before=before
            )
        return connection(page)

    @strawberry.field
    async def ledger(
        root: strawberry.Parent[models.Customer],
        info: Info,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
    ) -> Connection[LedgerEntry]:
        async with info.context.read() as session:
            page = await ledger.entries(session, root.id, first=first, after=after, last=last, before=before)
        return connection(page)

    @strawberry.field
    async def jobs(
        root: strawberry.Parent[models.Customer],
        info: Info,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
        status: list[models.JobStatus] | None = None,
    ) -> Connection[Job]:
        async with info.context.read() as session:
            page = await jobs.of_customer(
                session, root.id, status=status, first=first, after=after, last=last, before=before
            )
        return connection(page)


def custom_value(field: CustomField, value: object) -> CustomFieldValue:
    """A custom field with what was answered."""
    made: Any = CustomFieldValue
    answered: CustomFieldValue = made(field=field, value=value)
    return answered


async def _balance(info: Info, customer: models.Customer) -> ledger.Balance:
    found: ledger.Balance = await info.context.loaders.batched(("balance",), _balances).load(customer.id)
    return found


async def _balances(session: AsyncSession, keys: list[Any]) -> list[ledger.Balance]:
    held = await ledger.balances(session, keys)
    return [held[key] for key in keys]


async def _last_payments(session: AsyncSession, keys: list[Any]) -> list[datetime | None]:
    rows = await session.execute(
        select(models.Payment.customer_id, func.max(models.Payment.received_at))
        .where(models.Payment.customer_id.in_(keys), models.Payment.status == models.PaymentStatus.COMPLETED)
        .group_by(models.Payment.customer_id)
    )
    found = {row[0]: row[1] for row in rows}
    return [found.get(key) for key in keys]
