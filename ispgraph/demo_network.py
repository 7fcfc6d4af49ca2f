"""The demo's routers and the devices behind them, in the simulated network (`ispgraph lab`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import ids
from ispgraph.domain import secrets
from ispgraph.domain.models import (
    ConnectionType,
    Router,
    Service,
    ServiceMac,
    ServiceStatus,
    Suspension,
    Tenant,
)
from ispgraph.settings import Settings

POOL, WALLED_POOL = "customers", "walled"
_SITES = {"Harbour": "127.0.0.11", "Hill": "127.0.0.12", "Market": "127.0.0.13"}
_LOGIN = "ispgraph"
_KINDS = {ConnectionType.PPPOE: "pppoe", ConnectionType.HOTSPOT: "hotspot", ConnectionType.STATIC_IP: "static"}
_OFF = (ServiceStatus.TERMINATED, ServiceStatus.PENDING)
# Those who give trouble, by username: an old password, a device that never slows down, a user left on the router.
_OLD_PASSWORD, _IMPATIENT, _LEFT_BEHIND = "line13", "line28", "line10"
_ALL_AT_ONCE = 60.0


@dataclass(frozen=True, slots=True)
class Site:
    """A router with its secrets in clear, as the simulated one has to know them."""

    id: UUID
    name: str
    address: str
    password: str
    secret: str


async def routers(session: AsyncSession, tenant: Tenant, network_key: bytes) -> Sequence[Router]:
    """The rows of the routers, made at the first time; and suspended customers are to see the walled garden."""
    settings = await session.get_one(Tenant, tenant.id)
    settings.suspension, settings.walled_pool = Suspension.WALLED_GARDEN, WALLED_POOL
    there = select(Router).where(Router.tenant_id == tenant.id, Router.name.in_(_SITES))
    found = {row.name: row for row in await session.scalars(there)}
    for name, address in _SITES.items():
        if name not in found:
            found[name] = _router(tenant, name, address, network_key)
            session.add(found[name])
    await session.flush()
    return [found[name] for name in _SITES]


def _router(tenant: Tenant, name: str, address: str, network_key: bytes) -> Router:
    key = ids.uuid7()
    login, shared = secrets.router_api(tenant.id, key), secrets.router_radius(tenant.id, key)
    return Router(
        id=key,
        tenant_id=tenant.id,
        name=name,
        address=address,
        radius_address=address,
        radius_secret=secrets.seal(network_key, secrets.generate_password(24), shared),
        api_username=_LOGIN,
        api_password=secrets.seal(network_key, secrets.generate_password(24), login),
    )


def sites(rows: Sequence[Router], network_key: bytes) -> list[Site]:
    """The routers with their secrets opened."""
    return [
        Site(
            id=row.id,
            name=row.name,
            address=row.address,
            password=secrets.unseal(network_key, row.api_password or b"", secrets.router_api(row.tenant_id, row.id)),
            secret=secrets.unseal(network_key, row.radius_secret or b"", secrets.router_radius(row.tenant_id, row.id)),
        )
        for row in rows
    ]


async def devices(session: AsyncSession, places: Sequence[Site], network_key: bytes) -> list[dict[str, Any]]:
    """A device for every service that has one, as the lab takes them."""
    names = {place.id: place.name for place in places}
    macs = {row.service_id: str(row.mac).upper() for row in await session.scalars(select(ServiceMac))}
    found = []
    for number, service in enumerate(await session.scalars(select(Service).order_by(Service.id))):
        router = names.get(service.router_id) if service.router_id else places[number % len(places)].name
        kind = service.connection_type
        static = kind is ConnectionType.STATIC_IP
        if service.status is ServiceStatus.TERMINATED or kind not in _KINDS or (static and service.router_id is None):
            continue
        bound_to = secrets.service_password(service.tenant_id, service.id)
        password = secrets.unseal(network_key, service.password, bound_to)
        device: dict[str, Any] = {
            "name": service.username,
            "password": "an old password" if service.username == _OLD_PASSWORD else password,
            "router": router,
            "service": _KINDS[kind],
            "protocol": "chap",
            "load_down_bps": 200_000 + number * 7919 % 6_000_000,
            "load_up_bps": 50_000 + number * 6271 % 900_000,
            "redial_seconds": 5,
            "patient": service.username != _IMPATIENT,
            "online": service.status not in _OFF,
        }
        if static:
            device["address"] = str(service.ip_address)
        if service.id in macs:
            device["mac"] = macs[service.id]
        found.append(device)
    return found


async def switch_on(
    lab_url: str, settings: Settings, walled_list: str, places: Sequence[Site], online: Sequence[dict[str, Any]]
) -> dict[UUID, tuple[int, int]]:
    """Give the lab the routers and the devices: the ports of API and CoA by router. Again: the same network anew."""
    ports: dict[UUID, tuple[int, int]] = {}
    async with httpx.AsyncClient(base_url=lab_url, timeout=_ALL_AT_ONCE, trust_env=False) as lab:
        for number, place in enumerate(places):
            made = (await lab.post("/routers", json=_order(settings, walled_list, place, number))).raise_for_status()
            ports[place.id] = (made.json()["api_port"], made.json()["coa_port"])
            if number == 0:
                left = {"name": _LEFT_BEHIND, "password": "left behind", "comment": "by hand, years ago"}
                (await lab.post(f"/routers/{place.name}/items", json={"path": "/ppp/secret", "values": left}))
        (await lab.post("/subscribers", json=list(online))).raise_for_status()
    return ports


def _order(settings: Settings, walled_list: str, place: Site, number: int) -> dict[str, Any]:
    host = settings.radius_host
    return {
        "name": place.name,
        "address": place.address,
        "version": ("7.16.1", "7.18.2", "7.14.3")[number],
        "serial": f"LAB{place.id.hex[-9:].upper()}",
        "users": [{"name": _LOGIN, "password": place.password, "group": "full"}],
        "radius": {
            "server": "127.0.0.1" if host in ("0.0.0.0", "::", "localhost") else host,  # noqa: S104
            "auth_port": settings.radius_auth_port,
            "acct_port": settings.radius_acct_port,
            "secret": place.secret,
        },
        "pools": [
            {"name": POOL, "ranges": f"10.{64 + number}.0.2-10.{64 + number}.15.254"},
            {"name": WALLED_POOL, "ranges": f"10.{99 + number}.0.2-10.{99 + number}.3.254"},
        ],
        "walls": [walled_list],
    }
