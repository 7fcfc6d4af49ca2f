"""The network that the cases log in to: two tenants, their routers, and services in every state."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import insert, update

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import secrets
from ispgraph.domain.models import (
    ConnectionType,
    Customer,
    CustomerStatus,
    Operator,
    ResetPeriod,
    Router,
    Service,
    ServiceLimit,
    ServiceMac,
    ServiceStatus,
    SuspendReason,
    Suspension,
    Tenant,
    UsageBucket,
    UsageDay,
)
from tests import factories

NORTH, SOUTH, STRANGER, LATER, GARDEN = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6"
# A shared secret is free text: this one has everything that a configuration file could trip over.
SECRETS = {
    NORTH: "tr1cky \\n\"'%{User-Name}` ${name} é",
    SOUTH: "south-of-the-river",
    LATER: "added while it runs",
    GARDEN: "a walled garden",
}
PASSWORD = "correct horse"
QUOTA = 10 * 2**30
# What a program that runs or unquotes values would get wrong.
ODD_PASSWORDS = {
    "odd-double": '"%{User-Name}"',
    "odd-single": "'quoted'",
    "odd-back": "`/bin/echo pw`",
    "odd-escape": "a\\n\\\\b\\101\\",
    "odd-quote": "'",
    "odd-expansion": "%{User-Name} ${name}",
    "odd-script": "পাসওয়ার্ড é ñ",
    "odd-long": "x1" * 48,
    "odd-space": " led and trailed ",
    "odd-hexadecimal": "0x41424344",
    "odd-number": "00123",
}


@dataclass(frozen=True)
class World:
    """What tests need to know of it."""

    north: UUID
    south: UUID
    static: UUID
    suspended: UUID


class _Network:
    def __init__(self, house: factories.House) -> None:
        self.house = house

    async def service(self, username: str, password: str = PASSWORD, **fields: Any) -> Service:
        macs = fields.pop("macs", ())
        package = fields.pop("package", None) or await self.house.package(f"Package of {username}")
        customer = Customer(
            id=ids.uuid7(),
            account_number=f"T{ids.uuid7().hex[-12:]}",
            name="Customer Example",
            mobile="+8801700000000",
            operator_id=self.house.admin.id,
            status=fields.pop("customer_status", CustomerStatus.ACTIVE),
        )
        key, tenant = ids.uuid7(), self.house.tenant.id
        sealed = secrets.seal(factories.NETWORK_KEY, password, secrets.service_password(tenant, key))
        service = Service(
            **{
                "id": key,
                "customer_id": customer.id,
                "package_id": package.id,
                "connection_type": ConnectionType.PPPOE,
                "status": ServiceStatus.ACTIVE,
                "username": username,
                "password": sealed,
            }
            | fields
        )
        await self.house.add(customer, service, *(ServiceMac(service_id=key, mac=mac) for mac in macs))
        return service


async def build(owner_dsn: str, app_dsn: str) -> World:
    """Fill an empty database."""
    owner, app = Database(owner_dsn, pool_size=1), Database(app_dsn, pool_size=1)
    north = _Network(await factories.house(owner, app, "north"))
    south = _Network(await factories.house(owner, app, "south"))
    await north.house.router(NORTH, SECRETS[NORTH])
    await south.house.router(SOUTH, SECRETS[SOUTH])
    await south.service("alice", "another password")
    await south.service("southerner")
    await _garden(owner, app)
    await _plain(north)
    await _states(north)
    await _hotspots(north)
    await _limits(north, owner)
    static = await north.service(
        "static",
        connection_type=ConnectionType.STATIC_IP,
        ip_address="10.20.30.40",
        subnet="10.20.30.0/24",
        profile="gold \\ 'fibre'",
    )
    suspended = await north.service("both", status=ServiceStatus.SUSPENDED, customer_status=CustomerStatus.SUSPENDED)
    await owner.dispose()
    await app.dispose()
    return World(north.house.tenant.id, south.house.tenant.id, static.id, suspended.id)


async def _garden(owner: Database, app: Database) -> None:
    """A tenant that lets those who are suspended into a walled garden, and a router that keeps its own users."""
    walls = {"suspension": Suspension.WALLED_GARDEN, "walled_address_list": "wall", "walled_pool": "walled"}
    garden = _Network(await factories.house(owner, app, "garden", **walls, walled_kbps=256))
    await garden.house.router(GARDEN, SECRETS[GARDEN])
    suspended = {"status": ServiceStatus.SUSPENDED, "customer_status": CustomerStatus.SUSPENDED}
    await garden.service("walled", **suspended, ip_address="10.9.8.7")
    await garden.service("over", expires_at=clock.now() - timedelta(seconds=1))
    await garden.service("violator", **suspended, suspend_reason=SuspendReason.VIOLATION)
    await garden.service("closed", status=ServiceStatus.TERMINATED, customer_status=CustomerStatus.TERMINATED)
    await garden.service("bound", **suspended, macs=("00:1a:2b:00:00:0c",))
    await garden.service("free")


async def add_router(app_dsn: str, tenant: UUID, address: str) -> None:
    """A router more, as the product adds one."""
    app = Database(app_dsn, pool_size=1)
    house = factories.House(app, Tenant(id=tenant), Operator())
    await house.router(address, SECRETS[address])
    await app.dispose()


async def remove_router(app_dsn: str, tenant: UUID, address: str) -> None:
    """Take a router's address away, so that it is a stranger again."""
    app = Database(app_dsn, pool_size=1)
    async with app.transaction(tenant) as session:
        await session.execute(update(Router).where(Router.radius_address == address).values(radius_address=None))
    await app.dispose()


async def _plain(north: _Network) -> None:
    await north.service("alice", expires_at=clock.now() + timedelta(days=10))
    for name in ("o'brien", "bob+1", "ann@isp.example", "josé", "a#b", "a=b", "a%b", 'quo"te', "back\\slash"):
        await north.service(name)
    for name, password in ODD_PASSWORDS.items():
        await north.service(name, password)
    await north.service("for-ever", expires_at=clock.now() + timedelta(days=40_000))
    await north.service("nearly-over", expires_at=clock.now() + timedelta(seconds=30))
    await north.service(
        "capped", package=await north.house.package("Capped", data_quota_bytes=QUOTA, time_quota_seconds=3600)
    )
    await north.service("small", package=await north.house.package("Small", data_quota_bytes=5000))
    await north.service("six", ip_address="2001:db8::7", subnet="2001:db8::/64")


async def _limits(north: _Network, owner: Database) -> None:
    """Services with limits, of which something is used; the owner writes usage as accounting would."""
    now = clock.now()
    fair: dict[str, Any] = {"fup_threshold_bytes": QUOTA, "fup_download_kbps": 2000, "fup_upload_kbps": 1000}
    fair |= {"fup_reset_period": ResetPeriod.MONTH, "fup_notify_at_percent": 80}
    soon, past = now + timedelta(hours=1), now - timedelta(seconds=1)
    temporary = {"temporary_download_kbps": 9000, "temporary_upload_kbps": 8000}
    permanent = {"speed_download_kbps": 3000, "speed_upload_kbps": 500}
    # One that is open now and for at least an hour, by the clock of Dhaka, whenever the tests run; and its opposite.
    wall = (now + timedelta(hours=6)).replace(tzinfo=None)
    hours = [{"days": [1, 2, 3, 4, 5, 6, 7], **_from_to(wall, start, end)} for start, end in ((-2, 2), (3, 5))]
    cases: list[tuple[str, dict[str, Any], dict[str, Any], int, int]] = [
        # Name, terms of the package, limits, octets and seconds used today.
        ("quota-rest", {"data_quota_bytes": QUOTA}, {}, 3 * 2**30, 0),
        ("quota-gone", {"data_quota_bytes": QUOTA}, {}, QUOTA, 0),
        ("time-rest", {"time_quota_seconds": 9000}, {}, 0, 4000),
        ("time-gone", {"time_quota_seconds": 9000}, {}, 0, 9000),
        ("daily", {"data_quota_bytes": QUOTA}, {"daily_bytes": 5 * 2**30, "daily_seconds": 7200}, 2**30, 200),
        ("daily-gone", {}, {"daily_bytes": 2**30}, 2**30, 0),
        ("hours-open", {}, {"windows": hours[:1]}, 0, 0),
        ("hours-closed", {}, {"windows": hours[1:]}, 0, 0),
        ("session", {}, {"session_seconds": 1800}, 0, 0),
        ("fair-below", fair, {}, QUOTA - 1, 0),
        ("fair-above", fair, {}, QUOTA, 0),
        ("slow", {}, permanent, 0, 0),
        ("own-rate", {}, {"speed_download_kbps": 0, "speed_upload_kbps": 0}, 0, 0),
        ("boosted", fair, permanent | temporary | {"temporary_until": soon}, QUOTA, 0),
        ("no-more-boosted", {}, permanent | temporary | {"temporary_until": past}, 0, 0),
    ]
    for name, terms, limits, octets, seconds in cases:
        service = await north.service(name, package=await north.house.package(f"Limits of {name}", **terms))
        if limits:
            await north.house.add(ServiceLimit(service_id=service.id, rollover=False, **limits))
        key = {"tenant_id": service.tenant_id, "service_id": service.id, "customer_id": service.customer_id}
        used = {"input_octets": octets // 4, "output_octets": octets - octets // 4, "seconds": seconds}
        quarter = now.replace(minute=now.minute // 15 * 15, second=0, microsecond=0)
        async with owner.transaction(service.tenant_id) as session:
            await session.execute(insert(UsageDay).values(**key, **used, day=wall.date()))
            await session.execute(insert(UsageBucket).values(**key, **used, starts_at=quarter))


def _from_to(wall: datetime, start: int, end: int) -> dict[str, str]:
    """A window from so many hours after a time of the wall clock until so many."""
    times = [(wall + timedelta(hours=hours)).time().replace(microsecond=0) for hours in (start, end)]
    return {"from": times[0].isoformat(), "to": times[1].isoformat()}


async def _states(north: _Network) -> None:
    await north.service("over", expires_at=clock.now() - timedelta(seconds=1))
    for status in (ServiceStatus.EXPIRED, ServiceStatus.SUSPENDED, ServiceStatus.PENDING, ServiceStatus.TERMINATED):
        await north.service(status.value.lower(), status=status)
    await north.service("of-suspended", customer_status=CustomerStatus.SUSPENDED)
    await north.service("of-terminated", customer_status=CustomerStatus.TERMINATED)


async def _hotspots(north: _Network) -> None:
    hotspot = {"connection_type": ConnectionType.HOTSPOT}
    await north.service("cafe", macs=("00:1a:2b:3c:4d:5e", "00:1a:2b:3c:4d:5f"), **hotspot)
    await north.service("open-cafe", **hotspot)
    await north.service("dialler", macs=("00:1a:2b:00:00:01", "00:1a:2b:00:00:0a"))
    await north.service("closed-cafe", macs=("00:1a:2b:00:00:02",), status=ServiceStatus.SUSPENDED, **hotspot)
    await north.service("named-cafe", macs=("00:1a:2b:00:00:03",), **hotspot)
    await north.service("00:1a:2b:00:00:03", "by name")
