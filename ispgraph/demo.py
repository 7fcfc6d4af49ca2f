"""A fictional provider to look around in, and a second one that must never be seen from the first."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypedDict
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, demo_care, demo_crowd, demo_customers, demo_hosting, demo_network, ids
from ispgraph.db import Database
from ispgraph.domain import custom_fields, packages, passwords, secrets, viewers, zones
from ispgraph.domain.billing import commission_rates
from ispgraph.domain.models import (
    BillingCycle,
    CommissionRate,
    ConnectionType,
    CustomField,
    CustomFieldType,
    Draft,
    DraftStatus,
    Operator,
    Package,
    ResetPeriod,
    Role,
    Router,
    Tenant,
    Zone,
)
from ispgraph.domain.onboarding import drafts
from ispgraph.domain.permissions import DEFAULTS, LEVELS, Viewer
from ispgraph.settings import Settings, SettingsError

_PASSWORD = "demo-password-only"  # noqa: S105  printed on every start: it opens the demo, on purpose
_RADIUS_ADDRESS = "127.0.0.1"


class SignInOf(TypedDict):
    """What to sign in with."""

    email: str
    password: str
    role: str
    tenant: str


class Filled(TypedDict):
    """What a program needs to use the demo."""

    operators: list[SignInOf]
    radius_secret: str


@dataclass(frozen=True, slots=True)
class _Person:
    """An operator: the part of the address before the @, and that of the operator above."""

    local: str
    role: Role
    above: str | None
    name: str


@dataclass(frozen=True, slots=True)
class _House:
    """One provider. Zones stand after the zones they lie in."""

    slug: str
    name: str
    people: Sequence[_Person]
    packages: Sequence[packages.Terms]
    zones: Sequence[tuple[str, str, str | None]]
    customers: Sequence[demo_customers.Person]
    questions: Sequence[tuple[str, str, CustomFieldType, Sequence[str]]] = ()
    complaints: Sequence[demo_care.Complaint] = ()
    router: str | None = None


def _package(
    name: str,
    rates: tuple[int, int],
    price: str,
    kinds: Sequence[ConnectionType] = tuple(ConnectionType),
    period: tuple[BillingCycle, int] = (BillingCycle.MONTHLY, 30),
    quota_gib: int | None = None,
    fup: packages.FairUse | None = None,
) -> packages.Terms:
    return packages.Terms(
        name=name,
        description=None,
        connection_types=kinds,
        download_kbps=rates[0],
        upload_kbps=rates[1],
        price=Decimal(price),
        billing_cycle=period[0],
        validity_days=period[1],
        daily_rate=None,
        data_quota_bytes=quota_gib and quota_gib << 30,
        time_quota_seconds=None,
        fup=fup,
        active=True,
    )


_EARN = {Role.OPERATOR: Decimal(10), Role.SUB_OPERATOR: Decimal(5)}
_KIND = ConnectionType
_EXAMPLE_NET = _House(
    slug="example-net",
    name="Example Net",
    people=(
        _Person("super-admin", Role.SUPER_ADMIN, None, "Sam Above"),
        _Person("admin", Role.ADMIN, "super-admin", "Ada Example"),
        _Person("manager", Role.MANAGER, "admin", "Max Example"),
        _Person("accountant", Role.ACCOUNTANT, "admin", "Acca Example"),
        _Person("staff", Role.STAFF, "admin", "Stef Example"),
        _Person("operator", Role.OPERATOR, "admin", "Northern Reseller"),
        _Person("sub-operator", Role.SUB_OPERATOR, "operator", "Harbour Shop"),
        _Person("operator-2", Role.OPERATOR, "admin", "Southern Reseller"),
        _Person("sub-operator-2", Role.SUB_OPERATOR, "operator-2", "Market Shop"),
    ),
    packages=(
        _package("Home 20", (20_000, 10_000), "800.00"),
        _package("Home 50", (50_000, 25_000), "1200.00", (_KIND.PPPOE, _KIND.STATIC_IP)),
        _package(
            "Home 100 Fair Use",
            (100_000, 50_000),
            "1500.00",
            (_KIND.PPPOE,),
            quota_gib=100,
            fup=packages.FairUse(80 << 30, None, 10_000, 5_000, ResetPeriod.BILLING_PERIOD, 80),
        ),
        _package("Hotspot Week", (10_000, 5_000), "150.00", (_KIND.HOTSPOT,), (BillingCycle.WEEKLY, 7)),
        _package("Day Pass", (10_000, 5_000), "30.00", (_KIND.PPPOE, _KIND.HOTSPOT), (BillingCycle.DAILY, 1)),
    ),
    zones=(
        ("North", "N", None),
        ("North Harbour", "NH", "North"),
        ("North Hill", "NI", "North"),
        ("South", "S", None),
        ("South Market", "SM", "South"),
    ),
    customers=demo_customers.EXAMPLE_NET,
    complaints=demo_care.EXAMPLE_NET,
    questions=(
        ("landmark", "Landmark", CustomFieldType.TEXT, ()),
        ("floor", "Floor", CustomFieldType.NUMBER, ()),
        ("installedOn", "Installed on", CustomFieldType.DATE, ()),
        ("ownRouter", "Brings an own router", CustomFieldType.BOOLEAN, ()),
        ("heardFrom", "Heard of us from", CustomFieldType.SELECT, ("Neighbour", "Website", "Shop")),
    ),
    router="Core",
)
_OTHER_NET = _House(
    slug="other-net",
    name="Other Net",
    people=(_Person("admin", Role.ADMIN, None, "Otto Other"),),
    packages=(_package("Other 10", (10_000, 5_000), "500.00"),),
    zones=(("Elsewhere", "E", None),),
    customers=demo_customers.OTHER_NET,
)


def main(settings: Settings) -> None:
    """Fill the demo and print one line of JSON, a `Filled`. Again: nothing changes, the same is printed."""
    lab_url, panel_url = os.environ.get("ISPGRAPH_LAB_URL"), os.environ.get("ISPGRAPH_PANEL_URL")
    sys.stdout.write(json.dumps(asyncio.run(run(settings, lab_url=lab_url, panel_url=panel_url))) + "\n")


async def run(
    settings: Settings, password: str | None = None, lab_url: str | None = None, panel_url: str | None = None
) -> Filled:
    """Make what is missing of the demo, with its network and most of its customers where there is a lab for them, and
    its hosting server where there is a panel.

    Raises SettingsError.
    """
    if settings.owner_database_url is None:
        raise SettingsError("ISPGRAPH_OWNER_DATABASE_URL is not set")
    word = password or os.environ.get("ISPGRAPH_DEMO_PASSWORD") or _PASSWORD
    word_hash = await passwords.hashed(word)
    database = Database(settings.owner_database_url, pool_size=1)
    operators: list[SignInOf] = []
    radius_secret = ""
    try:
        for house in (_EXAMPLE_NET, _OTHER_NET):
            tenant = await _tenant(database, house)
            async with database.transaction(tenant.id) as session:
                people = await _people(session, tenant, house, word_hash)
                await _check_password(people, word)
                admin = _acting(tenant, people["admin"])
                await _catalogue(session, house, admin)
                await _left_behind(session, admin)
                await _commission(session, people, admin)
                signers = {local: _acting(tenant, row) for local, row in people.items()}
                await demo_customers.add(session, house.customers, signers, settings.network_key)
                if house.complaints:
                    await demo_care.add(session, house.complaints, signers, settings)
                if house is _EXAMPLE_NET and panel_url is not None:
                    await demo_hosting.add(session, panel_url, settings.network_key, admin)
                if house.router is not None:
                    radius_secret = await _router(session, tenant, house.router, settings.network_key)
            if house.router is not None and lab_url is not None:
                await _network(database, settings, tenant, signers, lab_url)
            operators += _sign_ins(house, people, word)
    finally:
        await database.dispose()
    return {"operators": operators, "radius_secret": radius_secret}


async def _tenant(database: Database, house: _House) -> Tenant:
    async with database.read(None) as session:
        found = await session.scalar(select(Tenant).where(Tenant.slug == house.slug))
    if found is not None:
        return found
    made = Tenant(
        id=ids.uuid7(), slug=house.slug, name=house.name, currency="BDT", country="BD", time_zone="Asia/Dhaka"
    )
    async with database.transaction(made.id) as session:
        session.add(made)
    return made


async def _people(session: AsyncSession, tenant: Tenant, house: _House, word_hash: str) -> dict[str, Operator]:
    found = {row.email: row for row in await session.scalars(select(Operator).where(Operator.tenant_id == tenant.id))}
    made: dict[str, Operator] = {}
    for person in house.people:
        email = f"{person.local}@{house.slug}.example"
        above = None if person.above is None else made[person.above]
        row = found.get(email) or Operator(
            id=ids.uuid7(),
            tenant_id=tenant.id,
            name=person.name,
            email=email,
            password_hash=word_hash,
            role=person.role,
            level=LEVELS[person.role],
            parent_id=None if above is None else above.id,
            ancestors=[] if above is None else [*above.ancestors, above.id],
            permissions=sorted(permission.value for permission in DEFAULTS[person.role]),
        )
        session.add(row)
        await session.flush()
        made[person.local] = row
    return made


async def _check_password(people: dict[str, Operator], word: str) -> None:
    if not await passwords.verify(people["admin"].password_hash, word):
        raise SettingsError("the demo was filled with another password: set ISPGRAPH_DEMO_PASSWORD to that one")


def _acting(tenant: Tenant, who: Operator) -> Viewer:
    return viewers.standing_in(tenant, who, DEFAULTS[who.role])


async def _catalogue(session: AsyncSession, house: _House, admin: Viewer) -> None:
    # As the owner, lookups see what row-level security shows: the packages, zones and fields of this tenant.
    sold = set(await session.scalars(select(Package.name)))
    for terms in house.packages:
        if terms.name not in sold:
            await packages.create(session, terms, by=admin)
    placed: dict[str, UUID] = {row.name: row.id for row in await session.scalars(select(Zone))}
    for name, code, parent in house.zones:
        if name not in placed:
            within = None if parent is None else placed[parent]
            placed[name] = (await zones.create(session, name=name, code=code, parent_id=within, by=admin)).id
    asked = set(await session.scalars(select(CustomField.key)))
    for key, label, kind, options in house.questions:
        if key not in asked:
            await custom_fields.define(
                session, key=key, label=label, kind=kind, required=False, options=options, by=admin
            )


async def _commission(session: AsyncSession, people: dict[str, Operator], admin: Viewer) -> None:
    """What resellers and those below them earn, from before their first customers pay."""
    said = set(await session.scalars(select(CommissionRate.operator_id)))
    for row in people.values():
        if row.role in _EARN and row.id not in said:
            rate = commission_rates.Rate(row.id, None, _EARN[row.role], None, None)
            await commission_rates.set_rate(session, rate, idempotency_key=None, by=admin)


async def _left_behind(session: AsyncSession, admin: Viewer) -> None:
    """A creation that nobody went on with: it shows what an expired draft looks like."""
    if await session.scalar(select(Draft.id).where(Draft.status == DraftStatus.EXPIRED).limit(1)) is None:
        draft = await drafts.start(session, by=admin)
        draft.status = DraftStatus.EXPIRED
        draft.expires_at = draft.created_at


async def _router(session: AsyncSession, tenant: Tenant, name: str, network_key: bytes) -> str:
    found = await session.scalar(select(Router).where(Router.tenant_id == tenant.id, Router.name == name))
    if found is not None and found.radius_secret is not None:
        return secrets.unseal(network_key, found.radius_secret, secrets.router_radius(tenant.id, found.id))
    key, secret = ids.uuid7(), secrets.generate_password(24)
    sealed = secrets.seal(network_key, secret, secrets.router_radius(tenant.id, key))
    session.add(
        Router(
            id=key,
            tenant_id=tenant.id,
            name=name,
            address=_RADIUS_ADDRESS,
            radius_address=_RADIUS_ADDRESS,
            radius_secret=sealed,
        )
    )
    return secret


async def _network(
    database: Database, settings: Settings, tenant: Tenant, signers: dict[str, Viewer], lab_url: str
) -> None:
    key = settings.network_key
    async with database.transaction(tenant.id) as session:
        rows = await demo_network.routers(session, tenant, key)
        await demo_crowd.add(session, signers, rows, key)
        places = demo_network.sites(rows, key)
        online = await demo_network.devices(session, places, key)
    ports = await demo_network.switch_on(lab_url, settings, tenant.walled_address_list, places, online)
    async with database.transaction(tenant.id) as session:
        for row in await session.scalars(select(Router).where(Router.id.in_(ports))):
            row.api_port, row.coa_port = ports[row.id]
            # As if nobody had met it: in the lab it has just been made.
            row.serial, row.retry_at, row.failures, row.check_at = None, None, 0, clock.now()


def _sign_ins(house: _House, people: dict[str, Operator], word: str) -> list[SignInOf]:
    # The admin first: that is who looks around.
    rows = sorted(people.values(), key=lambda row: row.role is not Role.ADMIN)
    return [{"email": row.email, "password": word, "role": row.role.value, "tenant": house.slug} for row in rows]
