"""The many customers of the demo, in every state, on the routers of the simulated network.

They are made by the verbs of the domain, but not one by one through the wizard: that would keep people waiting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import customer_records, packages, secrets
from ispgraph.domain.billing import bills, payments, periods, proration
from ispgraph.domain.models import (
    ConnectionType,
    Customer,
    CustomerStatus,
    Package,
    PaymentCategory,
    PaymentMethod,
    Router,
    Service,
    ServiceMac,
    ServiceStatus,
    SuspendReason,
    Tenant,
    Zone,
)
from ispgraph.domain.network import changes
from ispgraph.domain.permissions import Viewer

PASSWORD = "demo-line-only"  # noqa: S105  of lines that do not exist
SIZE = 292
"""With the eight who came through the wizard there are three hundred."""

_TREES: tuple[str, ...] = (
    "Alder",
    "Beech",
    "Cypress",
    "Damson",
    "Ebony",
    "Fir",
    "Ginkgo",
    "Hornbeam",
    "Ironwood",
    "Juniper",
    "Larch",
)
_TREES += ("Maple", "Nutmeg", "Oak", "Pine", "Rowan", "Spruce", "Teak", "Walnut", "Yew")
# Of every 40: who is suspended, expired, pending and terminated; all others are active.
_STATES = {
    3: ServiceStatus.SUSPENDED,
    11: ServiceStatus.EXPIRED,
    19: ServiceStatus.SUSPENDED,
    27: ServiceStatus.PENDING,
    35: ServiceStatus.TERMINATED,
}
_REASONS = (SuspendReason.NON_PAYMENT, SuspendReason.CUSTOMER_REQUEST, SuspendReason.VIOLATION)
_BY = ("admin", "admin", "admin", "operator", "operator-2", "sub-operator")


@dataclass(frozen=True, slots=True)
class _Place:
    """Everything that the customers are made of."""

    tenant: Tenant
    packages: Mapping[str, Package]
    zones: Sequence[UUID]
    routers: Sequence[Router]
    network_key: bytes
    at: datetime


async def add(session: AsyncSession, by: Mapping[str, Viewer], routers: Sequence[Router], network_key: bytes) -> None:
    """Make them, once."""
    here = select(func.count()).select_from(Customer).where(Customer.name.like("% Example %"))
    if await session.scalar(here):
        return
    some = next(iter(by.values()))
    place = _Place(
        tenant=await session.get_one(Tenant, some.tenant_id, with_for_update={"key_share": True}),
        packages={row.name: row for row in await session.scalars(select(Package))},
        zones=list(await session.scalars(select(Zone.id).order_by(Zone.id))),
        routers=routers,
        network_key=network_key,
        at=clock.now(),
    )
    for number in range(SIZE):
        await _make(session, place, number, by[_BY[number % len(_BY)]])


def _kind(number: int) -> tuple[ConnectionType, str]:
    if number % 10 == 7:
        return ConnectionType.HOTSPOT, "Hotspot Week"
    if number % 25 == 4:
        return ConnectionType.STATIC_IP, "Home 50"
    return ConnectionType.PPPOE, ("Home 20", "Home 50", "Home 100 Fair Use")[number % 3]


async def _make(session: AsyncSession, place: _Place, number: int, by: Viewer) -> None:
    state = _STATES.get(number % 40, ServiceStatus.ACTIVE)
    kind, chosen = _kind(number)
    package = place.packages[chosen]
    began = place.at - timedelta(days=package.validity_days + 3 if state is ServiceStatus.EXPIRED else number % 5)
    sold = await packages.sold(session, package, place.tenant)
    period = periods.period(began, sold.cycle, 0, place.tenant.time_zone)
    name = f"{_TREES[number % len(_TREES)]} Example {number + 1}"
    customer = await customer_records.enrolled(
        session,
        place.tenant,
        basics={"name": name, "mobile": f"+880171200{number:04d}", "email": f"line{number + 1}@customers.example"},
        address={"street": f"{number + 1} Sample Road", "city": "Example Town"},
        zone_id=place.zones[number % len(place.zones)],
        operator_id=by.operator_id,
        status=CustomerStatus(state.value),
        at=began,
    )
    service = _service(place, customer, package, number, kind, state)
    session.add(customer)
    await session.flush()
    session.add(service)
    if state is not ServiceStatus.PENDING:
        service.started_at, service.expires_at = period.start, period.end
        service.billing_anchor = period.start
    if state is ServiceStatus.SUSPENDED:
        service.suspend_reason, service.suspended_at = _REASONS[number % len(_REASONS)], place.at
        customer.status_reason = service.suspend_reason.value.replace("_", " ").capitalize()
    await session.flush()
    if kind is ConnectionType.HOTSPOT:
        mac = f"02:00:5E:01:{number >> 8:02X}:{number & 255:02X}"
        session.add(ServiceMac(tenant_id=place.tenant.id, service_id=service.id, mac=mac, logs_in=True))
    if state is not ServiceStatus.PENDING:
        await _bill(session, place, customer, service, sold, period, paid=number % 4 != 3, by=by)
    await changes.promised(session, service, by=by.operator_id)


def _service(
    place: _Place, customer: Customer, package: Package, number: int, kind: ConnectionType, state: ServiceStatus
) -> Service:
    key = ids.uuid7()
    bound_to = secrets.service_password(place.tenant.id, key)
    return Service(
        id=key,
        tenant_id=place.tenant.id,
        customer_id=customer.id,
        package_id=package.id,
        router_id=place.routers[number % len(place.routers)].id if place.routers else None,
        connection_type=kind,
        status=state,
        username=f"line{number + 1}",
        password=secrets.seal(place.network_key, PASSWORD, bound_to),
        ip_address=f"198.51.100.{number // 25 + 10}" if kind is ConnectionType.STATIC_IP else None,
    )


async def _bill(
    session: AsyncSession,
    place: _Place,
    customer: Customer,
    service: Service,
    sold: proration.Sold,
    period: periods.Period,
    *,
    paid: bool,
    by: Viewer,
) -> None:
    invoice = await bills.issue(
        session,
        tenant=place.tenant,
        service=service,
        lines=[proration.whole(sold, period, place.tenant.time_zone)],
        period=period,
        charged=sold,
        at=period.start,
        by=by,
    )
    if paid:
        await payments.record(
            session,
            tenant=place.tenant,
            customer_id=customer.id,
            amount_minor=invoice.total_minor,
            method=PaymentMethod.CASH,
            category=PaymentCategory.SERVICE,
            reference=None,
            notes=None,
            at=period.start,
            by=by,
            invoices=[invoice],
        )
