"""Rows that tests begin with, put there the way the product would."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import secrets
from ispgraph.domain.models import (
    BillingCycle,
    Operator,
    Package,
    Role,
    Router,
    SignIn,
    Tenant,
    Zone,
)
from ispgraph.domain.permissions import DEFAULTS, LEVELS, Viewer, scope_of

NETWORK_KEY = bytes(range(32))
TOKEN_KEY = bytes(range(32, 64))
PASSWORD = "correct horse battery"
# argon2id of PASSWORD with the product's parameters: computing it for every test would be most of the run.
PASSWORD_HASH = "$argon2id$v=19$m=19456,t=2,p=1$7UTCVK4nyO2d/axxREkGBQ$j/nuBmhRzbtO0Z5QPL+CypmY8odgwU1ZrrDCumg26vY"


@dataclass
class House:
    """A tenant with its rows, and the database they stand in."""

    database: Database
    tenant: Tenant
    admin: Operator

    async def add(self, *rows: Any) -> None:
        """Insert rows of this tenant."""
        async with self.database.transaction(self.tenant.id) as session:
            for row in rows:
                row.tenant_id = self.tenant.id
                session.add(row)
                await session.flush()

    async def operator(self, role: Role, parent: Operator | None = None, **fields: Any) -> Operator:
        """An operator of a role; below the admin unless `parent` says otherwise."""
        above = parent or self.admin
        row = operator(role, ancestors=[*above.ancestors, above.id], parent_id=above.id, **fields)
        await self.add(row)
        return row

    async def package(self, name: str = "Home 20", **fields: Any) -> Package:
        """A package of 20 Mbit/s down and 5 up for 500.00 and 30 days."""
        row = Package(
            **{
                "name": name,
                "connection_types": ["PPPOE", "HOTSPOT", "STATIC_IP", "OTHER"],
                "download_kbps": 20_000,
                "upload_kbps": 5_000,
                "price_minor": 50_000,
                "billing_cycle": BillingCycle.MONTHLY,
                "validity_days": 30,
            }
            | fields
        )
        await self.add(row)
        return row

    async def zone(self, name: str = "North", **fields: Any) -> Zone:
        """A zone."""
        row = Zone(name=name, **fields)
        await self.add(row)
        return row

    async def router(self, address: str | None = "127.0.0.1", secret: str = "a shared secret", **fields: Any) -> Router:
        """A router that is a RADIUS client at `address`."""
        key = ids.uuid7()
        sealed = secrets.seal(NETWORK_KEY, secret, secrets.router_radius(self.tenant.id, key))
        row = Router(
            **{"id": key, "name": f"router-{key.hex[-6:]}", "address": address or "192.0.2.1", "radius_secret": sealed}
            | {"radius_address": address}
            | fields
        )
        await self.add(row)
        return row

    async def viewer(self, operator: Operator | None = None) -> Viewer:
        """What authentication makes of an operator, with a sign-in of its own."""
        who = operator or self.admin
        entry = await sign_in(self.database, who)
        async with self.database.read(self.tenant.id) as session:
            above = {key: (await session.get_one(Operator, key)).role for key in who.ancestors}
        return Viewer(
            tenant_id=self.tenant.id,
            operator_id=who.id,
            name=who.name,
            role=who.role,
            level=who.level,
            permissions=frozenset(DEFAULTS[who.role]),
            scope_id=scope_of(who, above),
            session_id=entry.id,
            expires_at=clock.now() + timedelta(minutes=15),
            currency=self.tenant.currency,
            country=self.tenant.country,
            time_zone=self.tenant.time_zone,
        )


def operator(role: Role, **fields: Any) -> Operator:
    """An unsaved operator with the default permissions of its role."""
    key = ids.uuid7()
    return Operator(
        **{
            "id": key,
            "name": f"{role.value.title()} Example",
            "email": f"{role.value.lower()}-{key.hex[-6:]}@example.net",
            "password_hash": PASSWORD_HASH,
            "role": role,
            "level": LEVELS[role],
            "ancestors": [],
            "permissions": sorted(permission.value for permission in DEFAULTS[role]),
        }
        | fields
    )


async def sign_in(database: Database, who: Operator) -> SignIn:
    """A sign-in of an operator that lasts a year, so that tests may move the clock."""
    entry = SignIn(
        id=ids.uuid7(),
        tenant_id=who.tenant_id,
        operator_id=who.id,
        token_version=who.token_version,
        expires_at=clock.now() + timedelta(days=365),
    )
    async with database.transaction(who.tenant_id) as session:
        session.add(entry)
    return entry


async def house(owner: Database, app: Database, slug: str, **settings: Any) -> House:
    """A tenant with an admin. Only the owner may make tenants."""
    tenant = Tenant(
        **{
            "id": ids.uuid7(),
            "slug": slug,
            "name": f"{slug.title()} Networks",
            "currency": "USD",
            "country": "BD",
            "time_zone": "Asia/Dhaka",
        }
        | settings
    )
    admin = operator(Role.ADMIN, tenant_id=tenant.id, email=f"admin@{slug}.example")
    async with owner.transaction(tenant.id) as session:
        session.add(tenant)
        await session.flush()
        session.add(admin)
    return House(app, tenant, admin)


def uuid_of(public: str) -> UUID:
    """The UUID in a public id."""
    return ids.parse(public)[1]
