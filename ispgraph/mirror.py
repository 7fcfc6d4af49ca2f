"""Two fictional providers with the same in them, each with an operator of every role, for tests of who sees what.

Whatever one of them may reach of the other is a hole, and so is what a reseller may reach of the one beside. All that
such a test needs is printed: the ids of everything that has one, by whom it belongs to, and tokens that sign in.
"""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

import ispgraph.resolvers.build  # noqa: F401  it registers the types, and with them the prefixes of their ids
from ispgraph import clock, ids, mirror_rows
from ispgraph.db import Database
from ispgraph.domain import (
    custom_fields,
    gateways,
    hosting_servers,
    packages,
    passwords,
    secrets,
    tax_profiles,
    viewers,
    zones,
)
from ispgraph.domain.billing import runs
from ispgraph.domain.messaging import templates
from ispgraph.domain.models import (
    BillingCycle,
    BillingRun,
    ConnectionType,
    Customer,
    CustomerSignIn,
    CustomField,
    CustomFieldType,
    Gateway,
    GatewayKind,
    HostingServer,
    MessageChannel,
    Operator,
    Package,
    Role,
    Router,
    SignIn,
    TaxProfile,
    Tenant,
    Zone,
)
from ispgraph.domain.permissions import DEFAULTS, LEVELS, Permission, Viewer
from ispgraph.domain.tokens import Claims, issue
from ispgraph.mirror_rows import Ground, Place
from ispgraph.schema.compiler.sources import PREFIXES
from ispgraph.settings import Settings, SettingsError

SLUGS = ("mirror-east", "mirror-west")
LASTS = timedelta(hours=24)
"""How long the printed tokens sign in."""
_PASSWORD = "mirror-password-only"  # noqa: S105  printed: it opens what is fictional
_NAS = {"mirror-east": "192.0.2.21", "mirror-west": "192.0.2.22"}
_SHARED = (TaxProfile, Package, Zone, CustomField, Router, Gateway, HostingServer, BillingRun)

# The name, the role and who stands right above; each who has customers has somebody below as well.
_PEOPLE: Sequence[tuple[str, Role, str | None]] = (
    ("super-admin", Role.SUPER_ADMIN, None),
    ("admin", Role.ADMIN, "super-admin"),
    ("manager", Role.MANAGER, "admin"),
    ("accountant", Role.ACCOUNTANT, "admin"),
    ("staff", Role.STAFF, "admin"),
    ("customer", Role.CUSTOMER, "admin"),
    ("operator", Role.OPERATOR, "admin"),
    ("sub-operator", Role.SUB_OPERATOR, "operator"),
    ("sibling", Role.OPERATOR, "admin"),
    ("mate-of-admin", Role.MANAGER, "admin"),
    ("mate-of-operator", Role.MANAGER, "operator"),
    ("mate-of-sub-operator", Role.MANAGER, "sub-operator"),
    ("mate-of-sibling", Role.MANAGER, "sibling"),
)
PLACES: Mapping[str, str] = {
    "house": "admin",
    "reseller": "operator",
    "below": "sub-operator",
    "sibling": "sibling",
}
"""Whose objects are listed under which name: those of the provider itself, of a reseller, of the one below that, and
of another reseller."""


@dataclass(frozen=True, slots=True)
class Made:
    """One provider with what is in it."""

    tenant: Tenant
    people: Mapping[str, Operator]
    places: Sequence[Place]
    customers: Mapping[str, Customer]
    """Of each place, the one who can sign in."""
    messages: Sequence[str]


def main(settings: Settings, *, as_json: bool) -> int:
    """Make both providers and print what they have. Raises SettingsError when they are there already."""
    found = asyncio.run(seed(settings))
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return 0
    for tenant in found["tenants"]:
        sys.stdout.write(f"{tenant['slug']} {tenant['id']}\n")
        for each in tenant["operators"]:
            sys.stdout.write(f"  {each['role']:<13} {each['email']} {each['password']}\n")
        for each in tenant["customers"]:
            sys.stdout.write(f"  {'customer':<13} {each['email']} {each['password']}\n")
    return 0


async def seed(settings: Settings) -> dict[str, Any]:
    """Both providers, as they are printed."""
    if settings.owner_database_url is None or settings.radius_database_url is None:
        raise SettingsError("ISPGRAPH_OWNER_DATABASE_URL and ISPGRAPH_RADIUS_DATABASE_URL are needed")
    databases = [Database(settings.owner_database_url, pool_size=2), Database.of(settings, pool_size=2)]
    accounting = Database(settings.radius_database_url, pool_size=1)
    owner, app = databases
    try:
        async with owner.read(None) as session:
            there = (await session.scalars(select(Tenant.slug).where(Tenant.slug.in_(SLUGS)))).all()
        if there:
            raise SettingsError(f"{', '.join(there)}: these mirrored providers are there already")
        word = await passwords.hashed(_PASSWORD)
        made = [await _provider(owner, app, accounting, slug, word, settings) for slug in SLUGS]
        return {"tenants": [await _printed(app, each, settings) for each in made]}
    finally:
        for each in (*databases, accounting):
            await each.dispose()


async def _provider(
    owner: Database, app: Database, accounting: Database, slug: str, word: str, settings: Settings
) -> Made:
    tenant = Tenant(
        id=ids.uuid7(), slug=slug, name=f"{slug.title()} Net", currency="USD", country="BD", time_zone="Asia/Dhaka"
    )
    async with owner.transaction(tenant.id) as session:
        session.add(tenant)
        await session.flush()
        people = await _people(session, tenant, word)
    by = {row.id: _acting(tenant, row) for row in people.values()}
    admin = by[people["admin"].id]
    places = [
        Place(name, people[local], people[f"mate-of-{local}"], people[_receiver(local)])
        for name, local in PLACES.items()
    ]
    async with app.transaction(tenant.id) as session:
        ground, words = await _ground(session, tenant, word, admin, settings)
        served = {place.name: await mirror_rows.fill(session, place, ground, by, admin, settings) for place in places}
    async with app.read(tenant.id) as session:
        names = await session.scalars(text("SELECT username FROM services ORDER BY id"))
        lines = names.all()
    async with accounting.transaction(None) as session:
        for number, name in enumerate(lines):
            began = text("SELECT radius_accounting(:name, CAST(:nas AS inet), 1, :session, p_at => :now)")
            told = {"name": name, "nas": _NAS[slug], "session": f"{number + 1:08}", "now": clock.now()}
            assert await session.scalar(began, told), "accounting is stored"
    return Made(tenant, people, places, served, words)


def _receiver(local: str) -> str:
    """Who is to get a customer: somebody of the same tree."""
    return {"operator": "sub-operator", "sub-operator": "operator"}.get(local, f"mate-of-{local}")


async def _people(session: AsyncSession, tenant: Tenant, word: str) -> dict[str, Operator]:
    made: dict[str, Operator] = {}
    for local, role, above_local in _PEOPLE:
        above = None if above_local is None else made[above_local]
        row = Operator(
            tenant_id=tenant.id,
            name=local.replace("-", " ").title(),
            email=f"{local}@{tenant.slug}.example",
            password_hash=word,
            role=role,
            level=LEVELS[role],
            parent_id=None if above is None else above.id,
            ancestors=[] if above is None else [*above.ancestors, above.id],
            permissions=sorted(permission.value for permission in DEFAULTS[role]),
        )
        session.add(row)
        await session.flush()
        made[local] = row
    return made


def _acting(tenant: Tenant, who: Operator) -> Viewer:
    """Who does the seeding: in the operator's name, with every right."""
    return viewers.standing_in(tenant, who, frozenset(Permission))


async def _ground(
    session: AsyncSession, tenant: Tenant, word: str, admin: Viewer, settings: Settings
) -> tuple[Ground, Sequence[str]]:
    key = settings.network_key
    profile = await tax_profiles.save(session, None, name="Standard", rate=Decimal(15), is_default=True, by=admin)
    sold = [
        await packages.create(session, _terms(name, price), by=admin) for name, price in (("Home", 10), ("Pro", 20))
    ]
    zone = await zones.create(session, name="North", code="N", parent_id=None, by=admin)
    kind = CustomFieldType.TEXT
    await custom_fields.define(session, key="floor", label="Floor", kind=kind, required=False, options=[], by=admin)
    router = ids.uuid7()
    secret = secrets.seal(key, secrets.generate_password(24), secrets.router_radius(tenant.id, router))
    address = _NAS[tenant.slug]
    session.add(
        Router(
            id=router, tenant_id=tenant.id, name="edge", address=address, radius_address=address, radius_secret=secret
        )
    )
    fields = [("secret_key", "sk_test_mirror"), ("webhook_secret", "whsec_mirror")]
    account = gateways.Terms(GatewayKind.PAYMENT, "stripe", "Cards", fields, True, True, None)
    gateway = await gateways.save(session, None, account, network_key=key, private=False, by=admin)
    panel = hosting_servers.Terms("Panel", "https://panel.example", "npk_mirror", "nps_mirror", 100, True)
    await hosting_servers.add(session, panel, network_key=key, private=True, by=admin)
    own = templates.New("service.suspended", MessageChannel.EMAIL, "en", "Off", "Your line is off.", True)
    words = await templates.save(session, own, by=admin)
    await runs.start(session, dry_run=True, as_of=None, idempotency_key=None, by=admin)
    await session.flush()
    assert profile.id
    return Ground(tenant.slug, sold[0], sold[1], zone.name, gateway, word), [ids.encode("mtp", words.id)]


def _terms(name: str, price: int) -> packages.Terms:
    return packages.Terms(
        name=name,
        description=None,
        connection_types=tuple(ConnectionType),
        download_kbps=20_000,
        upload_kbps=10_000,
        price=Decimal(price),
        billing_cycle=BillingCycle.MONTHLY,
        validity_days=30,
        daily_rate=None,
        data_quota_bytes=None,
        time_quota_seconds=None,
        fup=None,
        active=True,
    )


async def _printed(app: Database, made: Made, settings: Settings) -> dict[str, Any]:
    tokens = await _signed_in(app, made, settings)
    async with app.read(made.tenant.id) as session:
        shared = {
            PREFIXES[model]: _public(model, (await session.scalars(select(model.id).order_by(model.id))).all())
            for model in _SHARED
        }
        objects = {
            place.name: {
                PREFIXES[model]: _public(model, keys)
                for model, keys in (await mirror_rows.of_place(session, place)).items()
            }
            for place in made.places
        }
        own = {
            place: {
                PREFIXES[model]: _public(model, keys)
                for model, keys in (await mirror_rows.of_customer(session, row.id)).items()
            }
            for place, row in made.customers.items()
        }
    return {
        "slug": made.tenant.slug,
        "id": ids.encode("ten", made.tenant.id),
        "operators": [
            {
                "name": local,
                "id": ids.encode("opr", row.id),
                "role": row.role.value,
                "email": row.email,
                "password": _PASSWORD,
                "token": tokens[row.id],
            }
            for local, row in made.people.items()
        ],
        "customers": [
            {
                "place": place,
                "id": ids.encode("cus", row.id),
                "accountNumber": row.account_number,
                "email": row.email,
                "password": _PASSWORD,
                "token": tokens[row.id],
                "own": own[place],
            }
            for place, row in made.customers.items()
        ],
        "shared": {**shared, "mtp": list(made.messages)},
        "objects": objects,
    }


def _public(model: type[Any], keys: Sequence[UUID]) -> list[str]:
    return [ids.encode(PREFIXES[model], key) for key in keys]


async def _signed_in(app: Database, made: Made, settings: Settings) -> dict[UUID, str]:
    """A token of each operator and customer, as signing in gives one but for its length."""
    until, found = clock.now() + LASTS, {}
    async with app.transaction(made.tenant.id) as session:
        for row in made.people.values():
            entry = SignIn(
                id=ids.uuid7(),
                tenant_id=made.tenant.id,
                operator_id=row.id,
                token_version=row.token_version,
                created_at=clock.now(),
                expires_at=until,
            )
            session.add(entry)
            claims = Claims(made.tenant.id, row.id, entry.id, row.token_version, until)
            found[row.id] = issue(settings.token_key, claims)
        for served in made.customers.values():
            visit = CustomerSignIn(
                id=ids.uuid7(),
                tenant_id=made.tenant.id,
                customer_id=served.id,
                token_version=served.token_version,
                expires_at=until,
            )
            session.add(visit)
            claims = Claims(made.tenant.id, served.id, visit.id, served.token_version, until, of_customer=True)
            found[served.id] = issue(settings.token_key, claims)
    return found
