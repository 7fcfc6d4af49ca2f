"""Which of the actions on a customer's page a viewer may run now: as the mutations themselves would decide, asked by
the same rules, without trying.

What is answered for a customer is about the service that the mutations take when none is named; each service answers
for itself. What depends on the input stays out: there may be no other package to change to, a wallet may be empty.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, DateTime, Select, false, func, literal, null, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import action_rules, customer_records, hotspot, payment_links, services, sessions, transfers
from ispgraph.domain.errors import DomainError
from ispgraph.domain.gateways import active
from ispgraph.domain.messaging import credits, sms
from ispgraph.domain.models import (
    ConnectionType,
    Customer,
    GatewayKind,
    OpenSession,
    Package,
    Service,
    ServiceMac,
    ServiceWatch,
    Session,
    Tenant,
)
from ispgraph.domain.permissions import Permission, Viewer
from ispgraph.domain.services import Chosen
from ispgraph.domain.standings import standing

_P = Permission


@dataclass(frozen=True, slots=True)
class _Used:
    """A service, and what besides its row its rules ask for."""

    service: Service
    package: Package
    bound: int
    on_line: bool
    activated_at: datetime | None
    standing: Any


@dataclass(frozen=True, slots=True)
class _Owned:
    """A customer with all services, the oldest first."""

    customer: Customer
    asked_for: bool
    """Whether a transfer is not decided."""
    kept: bool
    """Whether something refers to the customer that is never deleted."""
    services: Sequence[_Used]


@dataclass(frozen=True, slots=True)
class _House:
    """What holds for all customers of the viewer."""

    sms: bool
    links: bool
    tenant: Tenant


_Rule = Callable[[_Used, datetime], bool]

# customerActivate, customerSuspend, customerDisconnect, …: what a service is taken for.
OF_SERVICE: Mapping[Permission, _Rule] = {
    _P.ACTIVATE_CUSTOMERS: lambda used, now: action_rules.activate(used.service, now) is None,
    _P.SUSPEND_CUSTOMERS: lambda used, now: action_rules.suspend(used.service) is None,
    _P.DISCONNECT_CUSTOMERS: lambda used, now: action_rules.can_disconnect(used.service, on_line=used.on_line),
    _P.CHANGE_PACKAGE: lambda used, now: action_rules.change_package(used.service) is None,
    _P.EDIT_SPEED_LIMIT: lambda used, now: action_rules.limit(used.service) is None,
    _P.EDIT_TIME_LIMIT: lambda used, now: action_rules.limit(used.service) is None,
    _P.EDIT_VOLUME_LIMIT: lambda used, now: action_rules.limit(used.service) is None,
    _P.ACTIVATE_FUP: lambda used, now: (
        action_rules.activate_fair_use(used.service, used.package, used.standing, used.activated_at) is None
    ),
    _P.REMOVE_MAC_BIND: lambda used, now: action_rules.unbind_all(used.bound) is None,
    _P.EDIT_SUSPEND_DATE: lambda used, now: action_rules.set_suspend_date(used.service) is None,
    _P.DAILY_RECHARGE: lambda used, now: action_rules.recharge_days(used.service) is None,
    _P.HOTSPOT_RECHARGE: lambda used, now: (
        used.service.connection_type is ConnectionType.HOTSPOT and action_rules.recharge_hotspot(used.service) is None
    ),
    _P.REVEAL_SECRETS: lambda used, now: action_rules.reveal_password(used.service) is None,
}

# What is done to the customer, whatever the services are.
OF_CUSTOMER: Mapping[Permission, Callable[[_Owned, _House, Viewer], bool]] = {
    _P.EDIT_CUSTOMERS: lambda owned, house, by: True,
    _P.DELETE_CUSTOMERS: lambda owned, house, by: not owned.kept,
    _P.GENERATE_BILLS: lambda owned, house, by: True,
    _P.EDIT_BILLING_PROFILE: lambda owned, house, by: True,
    _P.RECORD_PAYMENTS: lambda owned, house, by: True,
    _P.REFUND_PAYMENTS: lambda owned, house, by: True,
    _P.SEND_SMS: lambda owned, house, by: sms.refusal(house.tenant, owned.customer, gateway=house.sms) is None,
    _P.SEND_PAYMENT_LINK: lambda owned, house, by: house.links,
    _P.CHANGE_OPERATOR: lambda owned, house, by: transfers.refusal(by) is None and not owned.asked_for,
    _P.MANAGE_TICKETS: lambda owned, house, by: by.may(_P.VIEW_CUSTOMERS),
    _P.EXPORT_DATA: lambda owned, house, by: by.may(_P.VIEW_CUSTOMERS),
}


async def of_customers(session: AsyncSession, keys: Sequence[UUID], *, by: Viewer) -> list[list[Permission]]:
    """What the viewer may do to each of these customers, in the order of their permissions' names."""
    known = await _known(session, Customer.id.in_(keys), by)
    house, now = await _house(session, by), clock.now()
    found = {key: _of_customer(owned, house, now, by) for key, owned in known.items()}
    return [found.get(key, []) for key in keys]


async def of_services(session: AsyncSession, keys: Sequence[UUID], *, by: Viewer) -> list[list[Permission]]:
    """The same of services: what may be done to each, when it is named."""
    owners = select(Service.customer_id).where(Service.id.in_(keys))
    known, now = await _known(session, Customer.id.in_(owners), by), clock.now()
    found = {
        used.service.id: _sorted(
            each for each, rule in OF_SERVICE.items() if _holds(by, each, owned) and rule(used, now)
        )
        for owned in known.values()
        for used in owned.services
    }
    return [found.get(key, []) for key in keys]


def _of_customer(owned: _Owned, house: _House, now: datetime, by: Viewer) -> list[Permission]:
    used = _meant(owned)
    may = {each for each, rule in OF_CUSTOMER.items() if _holds(by, each, owned) and rule(owned, house, by)}
    for each, rule in OF_SERVICE.items():
        if not _holds(by, each, owned):
            continue
        allowed = _recharges_hotspot(owned) if each is _P.HOTSPOT_RECHARGE else used is not None and rule(used, now)
        if allowed:
            may.add(each)
    return _sorted(may)


def _sorted(found: Any) -> list[Permission]:
    return sorted(found, key=lambda permission: permission.value)


def _holds(by: Viewer, permission: Permission, owned: _Owned) -> bool:
    """Whether the viewer has the permission for this customer: everywhere, or in the zone."""
    return by.may(permission) or owned.customer.zone_id in by.zones_of(permission)


def _meant(owned: _Owned) -> _Used | None:
    """The service of which a mutation is when none is named."""
    try:
        meant = services.meant([used.service for used in owned.services], Chosen(owned.customer.id, None))
    except DomainError:
        return None
    return next(used for used in owned.services if used.service is meant)


def _recharges_hotspot(owned: _Owned) -> bool:
    """A customer without any service gets one by the recharge."""
    try:
        meant = hotspot.meant([used.service for used in owned.services], Chosen(owned.customer.id, None))
    except DomainError:
        return False
    return meant is None or action_rules.recharge_hotspot(meant) is None


# -- what is known


async def _known(session: AsyncSession, which: ColumnElement[bool], by: Viewer) -> dict[UUID, _Owned]:
    deletes = by.may(_P.DELETE_CUSTOMERS) or bool(by.zones_of(_P.DELETE_CUSTOMERS))
    rows = select(
        Customer,
        transfers.is_asked_for(Customer).label("asked_for"),
        # A question to twenty tables: put only for who would hear the answer.
        (customer_records.is_referred_to(Customer) if deletes else true()).label("kept"),
    ).where(which)
    owners = (await session.execute(rows)).all()
    used: dict[UUID, list[_Used]] = {row.Customer.id: [] for row in owners}
    for row in await session.execute(_services(list(used), by)):
        used[row.Service.customer_id].append(
            _Used(row.Service, row.Package, row.bound, row.on_line, row.fup_activated_at, row)
        )
    return {row.Customer.id: _Owned(row.Customer, row.asked_for, row.kept, used[row.Customer.id]) for row in owners}


def _services(owners: Sequence[UUID], by: Viewer) -> Select[Any]:
    bound = select(func.count()).select_from(ServiceMac).where(ServiceMac.service_id == Service.id).scalar_subquery()
    on_line = sessions.opened(OpenSession.service_id == Service.id).with_only_columns(Session.id)
    rows = (
        select(
            Service,
            Package,
            bound.label("bound"),
            on_line.correlate(Service).exists().label("on_line"),
            ServiceWatch.fup_activated_at,
        )
        .join(Package, (Package.tenant_id == Service.tenant_id) & (Package.id == Service.package_id))
        .outerjoin(
            ServiceWatch, (ServiceWatch.tenant_id == Service.tenant_id) & (ServiceWatch.service_id == Service.id)
        )
        .where(Service.customer_id.in_(owners))
        .order_by(Service.id)
    )
    if not (by.may(_P.ACTIVATE_FUP) or by.zones_of(_P.ACTIVATE_FUP)):
        # How a service stands is added up from its usage: not for who may not use the answer.
        unknown = (null().label("fup_since"), false().label("fup_active"))
        return rows.add_columns(*unknown)
    stands = standing(Service, literal(clock.now(), DateTime(timezone=True)))
    columns = (stands.c.fup_since, stands.c.fup_active, stands.c.fup_octets, stands.c.fup_seconds)
    return rows.join(stands, true()).add_columns(*columns)


async def _house(session: AsyncSession, by: Viewer) -> _House:
    tenant = await session.get_one(Tenant, by.tenant_id)
    sends = bool(await active(session, GatewayKind.SMS)) and await credits.there(session, by=by)
    return _House(sends, bool(await payment_links.offered(session, tenant, [])), tenant)
