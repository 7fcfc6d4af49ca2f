"""What the network should hold for a service now, and which of its open sessions were let in with something else."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Integer, Text, Uuid, column, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import sessions
from ispgraph.domain.models import (
    ConnectionType,
    Customer,
    CustomerStatus,
    OpenSession,
    Package,
    Service,
    ServiceMac,
    ServiceStatus,
    Session,
    Tenant,
)

_POLICY_DIGITS = 16


class Admission(enum.Enum):
    """How a service gets on line."""

    FULL = "FULL"
    WALLED = "WALLED"
    """Into the walled garden only."""
    NONE = "NONE"


@dataclass(frozen=True, slots=True)
class Wall:
    """The walled garden of a tenant."""

    address_list: str
    pool: str | None
    kbps: int


@dataclass(frozen=True, slots=True)
class Desired:
    """The state of a service at one version. Rates in kbit/s, 0 for the router's own. `policy` and `rate` are what a
    session let in now would bring back in its Class; `rate_limit` is in RouterOS' grammar, upload/download."""

    service_id: UUID
    customer_id: UUID
    version: int
    connection_type: ConnectionType
    username: str
    sealed_password: bytes = field(repr=False)
    profile: str | None
    ip_address: str | None
    macs: Sequence[str]
    package: str
    upload_kbps: int
    download_kbps: int
    admission: Admission
    wall: Wall
    policy: str
    rate: str
    rate_limit: str | None
    detail: str
    """What RADIUS says to a login, for people."""
    agrees: bool
    """Whether that is what the state of service and customer, and the limits, ask for."""
    sessions: Sequence[Session]
    """Its open sessions on the router that was asked for."""

    def conforms(self, session: Session) -> bool:
        """Whether an open session was let in with what is right now, and is of a device that may."""
        return (session.policy, session.rate) == (self.policy, self.rate) and self.welcomes(session)

    def welcomes(self, session: Session) -> bool:
        """Whether the device of a session may be on line for this service."""
        device = session.mac_address and session.mac_address.upper()
        if self.macs:
            return device in self.macs
        # A hotspot's device logs in by its address in place of a name; without the binding it could not.
        return self.connection_type is not ConnectionType.HOTSPOT or session.username.lower() == self.username

    def differs_in_rate(self, session: Session) -> bool:
        """Whether it is enough to give an open session another rate."""
        keeps = session.policy == self.policy and self.welcomes(session)
        return keeps and session.rate != self.rate and self.rate_limit is not None


async def load(session: AsyncSession, service_ids: Sequence[UUID], router_id: UUID | None) -> dict[UUID, Desired]:
    """The desired state of these services, in three statements however many; with the sessions on one router.

    Sessions come first: one that began with a later state than the one found is not among them. All else is of one
    moment, for what RADIUS says must be about the service that is compared with it.
    """
    here = sessions.opened(OpenSession.service_id.in_(service_ids), OpenSession.router_id == router_id)
    on_line: dict[UUID | None, list[Session]] = {}
    for row in await session.scalars(here.order_by(Session.started_at, Session.id)):
        on_line.setdefault(row.service_id, []).append(row)
    # Materialized, for a planner that expects one row would ask it all again for each service.
    told = _TOLD.bindparams(services=list(service_ids), at=clock.now()).cte("told").prefix_with("MATERIALIZED")
    found = (
        select(Service, Customer, Package, Tenant, told)
        .join(Customer, Customer.id == Service.customer_id)
        .join(Package, Package.id == Service.package_id)
        .join(Tenant, Tenant.id == Service.tenant_id)
        .outerjoin(told, told.c.id == Service.id)
        .where(Service.id.in_(service_ids))
    )
    # Whoever holds the session may have seen these rows before, as they were then.
    rows = (await session.execute(found.execution_options(populate_existing=True))).all()
    macs: dict[UUID, list[str]] = {}
    bound = select(ServiceMac).where(ServiceMac.service_id.in_(service_ids)).order_by(ServiceMac.id)
    for mac in await session.scalars(bound):
        macs.setdefault(mac.service_id, []).append(str(mac.mac).upper())
    return {
        row.Service.id: _desired(
            row.Service,
            row.Customer,
            row.Package,
            row.Tenant,
            _Told.of(row),
            macs.get(row.Service.id, []),
            on_line.get(row.Service.id, []),
        )
        for row in rows
    }


# By service: the policy, what RADIUS would be told, by attribute, and how the limits stand.
_TOLD = text("""
    SELECT s.id, r.policy, r.attributes, r."values", n.barred, n.upload_kbps, n.download_kbps
      FROM unnest(CAST(:services AS uuid[])) AS s (id)
      CROSS JOIN LATERAL (
        SELECT radius_policy(array_agg(r.attribute), array_agg(r.value)) AS policy,
               array_agg(r.attribute) AS attributes, array_agg(r.value) AS "values" FROM radius_rows(s.id, :at) r) r
      CROSS JOIN LATERAL service_standing(s.id, :at) n""").columns(
    column("id", Uuid()),
    column("policy", Text()),
    column("attributes", ARRAY(Text())),
    column("values", ARRAY(Text())),
    column("barred", Text()),
    column("upload_kbps", Integer()),
    column("download_kbps", Integer()),
)


@dataclass(frozen=True, slots=True)
class _Told:
    """What RADIUS would say to a login, and the rates that count; `barred` is why a limit keeps the service off."""

    policy: str
    attributes: Mapping[str, str]
    barred: str | None
    upload_kbps: int
    download_kbps: int

    @classmethod
    def of(cls, row: Any) -> "_Told":
        attributes = dict(zip(row.attributes or [], row.values or [], strict=True))
        return cls(row.policy or "", attributes, row.barred, row.upload_kbps, row.download_kbps)


def _desired(
    service: Service,
    customer: Customer,
    package: Package,
    tenant: Tenant,
    told: _Told,
    macs: Sequence[str],
    sessions: Sequence[Session],
) -> Desired:
    admission = _admission(told.attributes)
    return Desired(
        service_id=service.id,
        customer_id=service.customer_id,
        version=service.desired_version,
        connection_type=service.connection_type,
        username=service.username,
        sealed_password=service.password,
        profile=service.profile,
        ip_address=None if service.ip_address is None else str(service.ip_address),
        macs=macs,
        package=package.name,
        upload_kbps=told.upload_kbps,
        download_kbps=told.download_kbps,
        admission=admission,
        wall=Wall(tenant.walled_address_list, tenant.walled_pool, tenant.walled_kbps),
        policy=told.policy[:_POLICY_DIGITS],
        rate=told.policy[_POLICY_DIGITS:],
        rate_limit=told.attributes.get("Mikrotik-Rate-Limit"),
        detail=_said(admission, told.attributes),
        agrees=(admission is Admission.FULL) == (_wanted_on_line(service, customer) and told.barred is None),
        sessions=sessions,
    )


def _admission(attributes: Mapping[str, str]) -> Admission:
    if "Auth-Type" in attributes or "Cleartext-Password" not in attributes:
        return Admission.NONE
    return Admission.WALLED if "Mikrotik-Address-List" in attributes else Admission.FULL


def _said(admission: Admission, attributes: Mapping[str, str]) -> str:
    if admission is Admission.NONE:
        return f"RADIUS refuses a login: {attributes.get('Reply-Message', 'no reason given')}."
    shown = (f"{name}={value}" for name, value in attributes.items() if name != "Cleartext-Password")
    where = " into the walled garden" if admission is Admission.WALLED else ""
    return f"RADIUS accepts a login{where}: {', '.join(shown)}."


def _wanted_on_line(service: Service, customer: Customer) -> bool:
    if service.status is not ServiceStatus.ACTIVE or customer.status is not CustomerStatus.ACTIVE:
        return False
    return service.expires_at is None or service.expires_at > clock.now()
