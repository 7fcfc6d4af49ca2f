"""What each step of the wizard takes. Answers are checked as a whole: a person sees all faults of a step at once.

Each function reads raw input and answers normalised values, or None where a fault was recorded.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import amounts, values
from ispgraph.domain.billing import payments
from ispgraph.domain.errors import ErrorCode, Faults
from ispgraph.domain.models import (
    ConnectionType,
    Customer,
    Package,
    PaymentMethod,
    Service,
    ServiceMac,
    ServiceStatus,
    Tenant,
)

Answer = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Access:
    """The answers of the connection step; `password` is in clear and goes no further than being sealed."""

    type: ConnectionType
    username: str | None = None
    password: str | None = None
    profile: str | None = None
    mac_address: str | None = None
    device_type: str | None = None
    ip_address: str | None = None
    subnet: str | None = None
    configuration: str | None = None


async def basics(
    session: AsyncSession, faults: Faults, tenant: Tenant, *, name: str, mobile: str, email: str | None
) -> dict[str, object]:
    """Step 1: who the customer is."""
    return {
        "name": full_name(faults, name),
        "mobile": mobile_number(faults, tenant, mobile),
        "email": await email_address(session, faults, tenant, email),
    }


def full_name(faults: Faults, raw: str | None) -> str | None:
    """What the customer is called."""
    return values.checked(faults, values.text, raw, 255, at=("name",))


def mobile_number(faults: Faults, tenant: Tenant, raw: str | None) -> str | None:
    """Where the customer is called."""
    return values.checked(faults, values.phone, raw, tenant.country, at=("mobile",))


async def email_address(
    session: AsyncSession, faults: Faults, tenant: Tenant, raw: str | None, own_id: UUID | None = None
) -> str | None:
    """Free, or the customer's own already (`own_id`); may be left empty unless the tenant wants one."""
    if raw is None or not raw.strip():
        if tenant.email_required:
            faults.add(ErrorCode.REQUIRED, "An e-mail address is required.", "email")
        return None
    found = values.checked(faults, values.email, raw, at=("email",))
    await email_is_free(session, faults, found, "email", own_id=own_id)
    return found


async def email_is_free(
    session: AsyncSession, faults: Faults, email: object, *at: str, own_id: UUID | None = None
) -> None:
    """A customer's e-mail is unique within the tenant. `own_id` is the customer who may have it."""
    same = select(Customer.id).where(Customer.email == email, Customer.id.is_distinct_from(own_id))
    if email is not None and await session.scalar(same):
        faults.add(ErrorCode.TAKEN, "Another customer has this e-mail address.", *at)


async def connection(session: AsyncSession, faults: Faults, given: Mapping[ConnectionType, Answer]) -> Access | None:
    """Step 2: exactly one kind of connection. `given` holds the inputs that were sent, by kind."""
    if len(given) != 1:
        code = ErrorCode.INVALID if given else ErrorCode.REQUIRED
        faults.add(code, "Give exactly one of pppoe, hotspot, staticIp and other.")
        return None
    kind, answer = next(iter(given.items()))
    access = _READERS[kind](faults, answer)
    if access is not None:
        await address_is_free(session, faults, access)
    return access


async def address_is_free(session: AsyncSession, faults: Faults, access: Access, *prefix: str) -> None:
    """A hotspot's device and a static address belong to one service of the tenant."""
    device = select(ServiceMac.id).where(ServiceMac.mac == access.mac_address, ServiceMac.logs_in)
    if access.mac_address and await session.scalar(device):
        at = prefix or ("hotspot",)
        faults.add(ErrorCode.TAKEN, "Another service uses this hardware address.", *at, "macAddress")
    in_use = select(Service.id).where(
        Service.ip_address == access.ip_address, Service.status != ServiceStatus.TERMINATED
    )
    if access.ip_address and await session.scalar(in_use):
        at = prefix or ("staticIp",)
        faults.add(ErrorCode.TAKEN, "Another service uses this IP address.", *at, "ipAddress")


def fits(faults: Faults, package: Package, kind: ConnectionType, *at: str) -> None:
    """A package is sold for some kinds of connection only."""
    if kind.value not in package.connection_types:
        faults.add(ErrorCode.INVALID, f"The package {package.name} is not for {kind.value} connections.", *at)


def address(faults: Faults, given: Mapping[str, str | None]) -> dict[str, object]:
    """Step 4: where; the street is required."""
    limits = {"city": 100, "state": 100, "postalCode": 20, "country": 100}
    answered: dict[str, object] = {
        "street": values.checked(faults, values.text, given["street"] or "", 500, at=("address", "street"))
    }
    for name, limit in limits.items():
        raw = given[name]
        blank = raw is None or not raw.strip()
        answered[name] = None if blank else values.checked(faults, values.text, raw, limit, at=("address", name))
    return answered


def payment(
    faults: Faults, tenant: Tenant, *, amount: Decimal, method: PaymentMethod, reference: str | None, notes: str | None
) -> dict[str, object]:
    """Step 6: what the customer pays now; zero pays nothing yet."""
    minor = amounts.minor(faults, amount, tenant.currency, "amount")
    if minor is not None and minor < 0:
        faults.add(ErrorCode.INVALID, "The amount cannot be below zero.", "amount")
    if method in payments.NOT_RECEIVED:
        faults.add(ErrorCode.INVALID, f"A first payment cannot be made by {method.value}.", "method")
    return {
        "amount_minor": minor,
        "method": method.value,
        "reference": optional(faults, reference, 255, "reference"),
        "notes": optional(faults, notes, 500, "notes"),
    }


def _pppoe(faults: Faults, given: Answer) -> Access:
    wished = given["username"] or ""
    username = values.checked(faults, values.username, wished, at=("pppoe", "username")) if wished.strip() else None
    return Access(
        type=ConnectionType.PPPOE,
        username=username,
        password=values.checked(faults, values.network_password, given["password"] or "", at=("pppoe", "password")),
        profile=optional(faults, given["profile"], 60, "pppoe", "profile"),
    )


def _hotspot(faults: Faults, given: Answer) -> Access:
    return Access(
        type=ConnectionType.HOTSPOT,
        mac_address=values.checked(faults, values.mac, given["mac_address"] or "", at=("hotspot", "macAddress")),
        device_type=optional(faults, given["device_type"], 100, "hotspot", "deviceType"),
    )


def _static_ip(faults: Faults, given: Answer) -> Access:
    at = ("staticIp", "ipAddress")
    ip = values.checked(faults, values.ip_address, given["ip_address"] or "", 4, at=at)
    raw = given["subnet"]
    blank = raw is None or not raw.strip()
    subnet = None if blank else values.checked(faults, values.ip_network, raw, 4, at=("staticIp", "subnet"))
    if ip and subnet and ipaddress.ip_address(ip) not in ipaddress.ip_network(subnet):
        faults.add(ErrorCode.INVALID, "The IP address is not within the subnet.", *at)
    elif ip and subnet and not _is_host(ip, subnet):
        faults.add(ErrorCode.INVALID, "This is the subnet's own or its broadcast address.", *at)
    return Access(type=ConnectionType.STATIC_IP, ip_address=ip, subnet=subnet)


def _is_host(ip: str, subnet: str) -> bool:
    network = ipaddress.ip_network(subnet)
    # A /31 has two hosts (RFC 3021), a /32 one.
    return network.prefixlen >= 31 or ipaddress.ip_address(ip) not in (network[0], network[-1])


def _other(faults: Faults, given: Answer) -> Access:
    raw = given["configuration"] or ""
    return Access(
        type=ConnectionType.OTHER,
        configuration=values.checked(faults, values.text, raw, 4000, lines=True, at=("other", "configuration")),
    )


_READERS = {
    ConnectionType.PPPOE: _pppoe,
    ConnectionType.HOTSPOT: _hotspot,
    ConnectionType.STATIC_IP: _static_ip,
    ConnectionType.OTHER: _other,
}


def optional(faults: Faults, raw: str | None, limit: int, *at: str) -> str | None:
    """Text that may be left empty."""
    if raw is None or not raw.strip():
        return None
    return values.checked(faults, values.text, raw, limit, at=at)
