"""The first operator of a provider, and any other, made from the command line."""

import asyncio
import re
import sys
import zoneinfo

import phonenumbers
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import ids
from ispgraph.db import Database
from ispgraph.domain import operators, passwords, values
from ispgraph.domain.errors import DomainError, ErrorCode, Faults
from ispgraph.domain.models import AuditEntry, Operator, Role, Tenant
from ispgraph.domain.permissions import DEFAULTS, LEVELS
from ispgraph.domain.sign_in import SLUG
from ispgraph.settings import Settings, SettingsError


def main(
    settings: Settings,
    *,
    tenant: str,
    email: str,
    name: str,
    role: str,
    password: str,
    tenant_name: str | None = None,
    currency: str = "USD",
    country: str = "US",
    time_zone: str = "UTC",
) -> int:
    """Create an operator at the top of a tenant, and the tenant when its short name is new.

    Prints one line; the exit status is 1 after a mistake in the arguments. Raises SettingsError.
    """
    if settings.owner_database_url is None:
        raise SettingsError("ISPGRAPH_OWNER_DATABASE_URL is not set")
    slug = tenant.strip().lower()
    house = Tenant(
        id=ids.uuid7(),
        slug=slug,
        name=tenant_name or slug,
        currency=currency.upper(),
        country=country.upper(),
        time_zone=time_zone,
    )
    try:
        made = asyncio.run(_create(settings.owner_database_url, house, email, name, role.upper(), password))
    except DomainError as error:
        for fault in error.faults:
            sys.stderr.write(f"{'.'.join(fault.field or ('operator',))}: {fault.message}\n")
        return 1
    sys.stdout.write(f"{ids.encode('opr', made.id)} {made.email} {made.role.value} of {slug}\n")
    return 0


async def _create(url: str, house: Tenant, email: str, name: str, role: str, password: str) -> Operator:
    database = Database(url, pool_size=1)
    try:
        async with database.read(None) as session:
            known = await session.scalar(select(Tenant.id).where(Tenant.slug == house.slug))
        row = _operator(house, email, name, role, password, new_tenant=known is None)
        row.tenant_id = known or house.id
        row.password_hash = await passwords.hashed(password)
        async with database.transaction(row.tenant_id) as session:
            await _save(session, None if known else house, row)
        return row
    finally:
        await database.dispose()


def _operator(house: Tenant, email: str, name: str, role: str, password: str, *, new_tenant: bool) -> Operator:
    faults = Faults()
    if new_tenant:
        _check_tenant(faults, house)
    address = values.checked(faults, values.email, email, at=("email",))
    called = values.checked(faults, values.text, name, 120, at=("name",))
    values.checked(faults, passwords.fit, password, address, at=("password",))
    if role not in Role.__members__:
        faults.add(ErrorCode.INVALID, f"One of {', '.join(Role.__members__)}.", "role")
    faults.raise_if_any()
    kind = Role[role]
    return Operator(
        id=ids.uuid7(),
        name=called,
        email=address,
        role=kind,
        level=LEVELS[kind],
        ancestors=[],
        permissions=operators.spelt(DEFAULTS[kind]),
    )


def _check_tenant(faults: Faults, house: Tenant) -> None:
    if not SLUG.fullmatch(house.slug):
        faults.add(ErrorCode.INVALID, "1 to 40 of a–z, 0–9 and -, such as north-net.", "tenant")
    values.checked(faults, values.text, house.name, 120, at=("tenant_name",))
    if not re.fullmatch(r"[A-Z]{3}", house.currency):
        faults.add(ErrorCode.INVALID, "A currency has three letters (ISO 4217), such as BDT.", "currency")
    if house.country not in phonenumbers.SUPPORTED_REGIONS:
        faults.add(ErrorCode.INVALID, "Not a country of ISO 3166.", "country")
    if house.time_zone not in zoneinfo.available_timezones():
        faults.add(ErrorCode.INVALID, "Not a time zone of the IANA database, such as Asia/Dhaka.", "time_zone")


async def _save(session: AsyncSession, house: Tenant | None, row: Operator) -> None:
    if house is not None:
        session.add(house)
        try:
            await session.flush()
        except IntegrityError as error:
            faults = Faults()
            faults.add(ErrorCode.TAKEN, "This provider was made by somebody else just now; try again.", "tenant")
            raise DomainError(faults.found) from error
    session.add(row)
    await operators.flush_new(session)
    session.add(
        AuditEntry(
            tenant_id=row.tenant_id,
            action="operator.create",
            subject_id=row.id,
            details={"role": row.role.value, "by": "command line"},
        )
    )
