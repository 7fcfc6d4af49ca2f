"""Customers, and those who look after their portals, sign in, stay signed in, and sign out.

A customer is known by the account number, the e-mail address or the mobile number, within one provider; whoever looks
after a portal by an e-mail address, and signs in for the customer of that portal. Nothing tells whether anybody is
known by a name: every attempt costs the same reads and the same hashing.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID, uuid4

from redis.asyncio import Redis
from sqlalchemy import ColumnElement, delete, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import audit, passwords, throttle, tokens, values, viewers
from ispgraph.domain.errors import DomainError, ErrorCode, Faults, fail
from ispgraph.domain.models import (
    Customer,
    CustomerPasswordReset,
    CustomerSignIn,
    CustomerStatus,
    MessageChannel,
    Portal,
    PortalAdmin,
    Tenant,
)
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.portals import branding
from ispgraph.domain.sign_in import Caller, SignedIn, address_of, readable
from ispgraph.settings import Settings

MOST = 3
"""So many may be known by one name, as a family by its mobile number: the others take their account numbers."""
ADDRESS_FREE = 50
"""So many failures from one address are free of a wait: many customers come from one, where theirs are translated."""


@dataclass(frozen=True, slots=True)
class Named:
    """Who wants to sign in, as typed: within a tenant, by its short name, or within a portal, by its subdomain."""

    login: str
    tenant: str | None
    portal: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name is looked for: in a tenant, or for one customer of it. A place that does not exist is one too."""

    tenant_id: UUID
    customer_id: UUID | None


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is known by a name: a customer, or the admin of its portal."""

    customer: Customer
    admin: PortalAdmin | None
    channels: Collection[MessageChannel]
    """The ways by which a code proves that the name is theirs."""

    @property
    def key(self) -> UUID:
        return self.admin.id if self.admin is not None else self.customer.id

    @property
    def password_hash(self) -> str | None:
        return self.admin.password_hash if self.admin is not None else self.customer.password_hash

    @property
    def token_version(self) -> int:
        return self.admin.token_version if self.admin is not None else self.customer.token_version

    @property
    def email(self) -> str | None:
        return self.admin.email if self.admin is not None else self.customer.email


async def start(
    database: Database, redis: Redis, settings: Settings, *, named: Named, password: str, caller: Caller
) -> SignedIn:
    """Sign a customer in. Opens its own transaction: the right tenant is only known on the way.

    Raises DomainError: REQUIRED for what is missing, and one and the same INVALID for an unknown name, a wrong password
    and a customer who may not sign in. Raises throttle.Throttled.
    """
    faults = Faults("input")
    for name, value in (("login", named.login.strip()), ("password", password)):
        if not value:
            faults.add(ErrorCode.REQUIRED, "This is required.", name)
    _require_place(faults, named)
    faults.raise_if_any()
    where = await place(database, named)
    attempt = await throttle.begin(
        redis, account(where, named), caller.address, realm="customer-", address_free=ADDRESS_FREE
    )
    async with database.read(where.tenant_id) as session:
        found = [person for person in await people(session, where, named.login) if person.password_hash is not None]
    known: list[Person | None] = [*found[:MOST], *[None] * (MOST - len(found))]
    right = await asyncio.gather(
        *(passwords.verify(person.password_hash if person else None, password) for person in known)
    )
    let_in = [person for person, is_right in zip(known, right, strict=True) if person is not None and is_right]
    if not let_in:
        raise _wrong()
    await throttle.give_back(redis, attempt)
    if len(let_in) > 1:
        message = "Several accounts are known by this: sign in with the account number."
        raise fail(ErrorCode.INVALID, message, "input", "login")
    return await database.run(where.tenant_id, lambda session: _open(session, settings, let_in[0], caller))


async def renew(session: AsyncSession, settings: Settings, *, by: Viewer) -> SignedIn:
    """A new token for the same sign-in, which lasts no longer for it."""
    row = await session.get_one(CustomerSignIn, by.session_id)
    claims = _claims(settings, row, by.operator_id)
    return SignedIn(
        tokens.issue(settings.token_key, claims), claims.expires_at, replace(by, expires_at=claims.expires_at)
    )


async def end(session: AsyncSession, *, by: Viewer) -> None:
    """Sign out: every token of this sign-in is void, here at once and in other processes within a second."""
    mine = (CustomerSignIn.id == by.session_id, CustomerSignIn.ended_at.is_(None))
    await session.execute(update(CustomerSignIn).where(*mine).values(ended_at=clock.now()))
    audit.record(session, by=by, action="customer.sign_out", subject_id=by.customer_id)
    viewers.forget_after_commit(session)


async def shut_out(session: AsyncSession, person: Person, *, but: UUID | None = None) -> None:
    """End every sign-in of a customer, or of an admin: all but one, when named. The row is locked."""
    row = person.admin or person.customer
    row.token_version += 1
    await session.flush()
    theirs = (
        CustomerSignIn.customer_id == person.customer.id,
        CustomerSignIn.admin_id.is_not_distinct_from(person.admin.id if person.admin else None),
    )
    ended = update(CustomerSignIn).where(*theirs, CustomerSignIn.ended_at.is_(None))
    if but is not None:
        ended = ended.where(CustomerSignIn.id != but)
        kept = update(CustomerSignIn).where(CustomerSignIn.id == but)
        await session.execute(kept.values(token_version=row.token_version))
    await session.execute(ended.values(ended_at=clock.now()))
    viewers.forget_after_commit(session)


async def set_access(session: AsyncSession, customer: Customer, allowed: bool, *, by: Viewer) -> None:
    """Let a customer, who is locked, and the admin of its portal sign in, or end that: their sign-ins end at once.

    Raises DomainError NO_CHANGE.
    """
    if customer.portal_access is allowed:
        raise fail(ErrorCode.NO_CHANGE, "That is how it is already.", "input", "allowed")
    customer.portal_access = allowed
    await session.flush()
    if not allowed:
        open_ones = (CustomerSignIn.customer_id == customer.id, CustomerSignIn.ended_at.is_(None))
        await session.execute(update(CustomerSignIn).where(*open_ones).values(ended_at=clock.now()))
    audit.record(session, by=by, action="customer.set_access", subject_id=customer.id, details={"allowed": allowed})
    viewers.forget_after_commit(session)


async def place(database: Database, named: Named) -> Place:
    """Where a name is to be looked for; one that does not exist where nothing is called so."""
    async with database.read(None) as session:
        if named.portal:
            tenant_id: UUID | None = await branding.tenant_of(session, readable(named.portal.strip().lower()))
        else:
            slug = {"slug": readable((named.tenant or "").strip())}
            tenant_id = await session.scalar(text("SELECT tenant_named(:slug)"), slug)
    if tenant_id is None:
        return Place(uuid4(), uuid4() if named.portal else None)
    if not named.portal:
        return Place(tenant_id, None)
    async with database.read(tenant_id) as session:
        portal = await branding.find(session, readable(named.portal.strip().lower()), active=False)
    same = portal is not None and (not named.tenant or await _is_named(database, tenant_id, named.tenant))
    return Place(tenant_id, portal.customer_id) if portal is not None and same else Place(uuid4(), uuid4())


def account(where: Place, named: Named) -> str:
    """What attempts are counted by: a number is one, however it is written."""
    name = readable(named.login.strip().lower())
    digits = "".join(character for character in name if character.isdigit())
    return f"{where.tenant_id.hex} {digits[-9:] if len(digits) >= 7 and '@' not in name else name}"


async def people(session: AsyncSession, where: Place, login: str) -> Sequence[Person]:
    """Who is known by a name, at most `MOST`; also those who have no password yet."""
    name = readable(login.strip())
    tenant = await session.get(Tenant, where.tenant_id)
    ways: dict[MessageChannel | None, ColumnElement[bool]] = {
        None: or_(Customer.account_number == name, Customer.account_number == name.upper())
    }
    admins: Sequence[tuple[Customer, PortalAdmin]] = []
    if "@" in name:
        ways[MessageChannel.EMAIL] = Customer.email == name.lower()
        rows = (
            select(Customer, PortalAdmin)
            .join(Portal, Portal.customer_id == Customer.id)
            .join(PortalAdmin, PortalAdmin.portal_id == Portal.id)
            .where(PortalAdmin.email == name.lower(), *_may(where))
            .order_by(PortalAdmin.id)
            .limit(MOST)
        )
        admins = [(customer, admin) for customer, admin in await session.execute(rows)]
    else:
        try:
            ways[MessageChannel.SMS] = Customer.mobile == values.phone(name, tenant.country if tenant else "US")
        except values.Unfit:
            ways[MessageChannel.SMS] = Customer.mobile == "-"
    known = select(Customer).where(or_(*ways.values()), *_may(where)).limit(MOST)
    found = []
    for customer in await session.scalars(known.order_by(Customer.password_hash.is_(None), Customer.id)):
        by_number = customer.account_number in (name, name.upper())
        by_email = MessageChannel.EMAIL if "@" in name else MessageChannel.SMS
        found.append(Person(customer, None, tuple(MessageChannel) if by_number else (by_email,)))
    return [*(Person(customer, admin, (MessageChannel.EMAIL,)) for customer, admin in admins), *found][:MOST]


async def locked(session: AsyncSession, customer_id: UUID, admin_id: UUID | None) -> Person | None:
    """Somebody who may sign in, locked; None for one who may not, or not any more."""
    rows = select(Customer).where(Customer.id == customer_id, *_may(Place(uuid4(), None)))
    customer = await session.scalar(rows.with_for_update(key_share=True).execution_options(populate_existing=True))
    if customer is None:
        return None
    if admin_id is None:
        return Person(customer, None, tuple(MessageChannel))
    theirs = select(PortalAdmin).where(PortalAdmin.id == admin_id).with_for_update()
    admin = await session.scalar(theirs.execution_options(populate_existing=True))
    return None if admin is None else Person(customer, admin, (MessageChannel.EMAIL,))


async def forget_admins(session: AsyncSession, portal_id: UUID) -> None:
    """Forget what let in whoever looks after a portal: they are going to be deleted."""
    theirs = select(PortalAdmin.id).where(PortalAdmin.portal_id == portal_id)
    for table in (CustomerSignIn, CustomerPasswordReset):
        await session.execute(delete(table).where(table.admin_id.in_(theirs)))
    viewers.forget_after_commit(session)


def require_place(named: Named) -> None:
    """A name is looked for somewhere. Raises DomainError REQUIRED."""
    faults = Faults("input")
    if not named.login.strip():
        faults.add(ErrorCode.REQUIRED, "This is required.", "login")
    _require_place(faults, named)
    faults.raise_if_any()


def _require_place(faults: Faults, named: Named) -> None:
    if not (named.tenant or "").strip() and not (named.portal or "").strip():
        faults.add(ErrorCode.REQUIRED, "Name the provider, or the portal.", "tenant")


def _may(where: Place) -> list[ColumnElement[bool]]:
    may = [Customer.status != CustomerStatus.TERMINATED, Customer.portal_access.is_(True)]
    return may if where.customer_id is None else [*may, Customer.id == where.customer_id]


async def _is_named(database: Database, tenant_id: UUID, slug: str) -> bool:
    async with database.read(tenant_id) as session:
        tenant = await session.get_one(Tenant, tenant_id)
    return tenant.slug == slug.strip().lower()


async def _open(session: AsyncSession, settings: Settings, person: Person, caller: Caller) -> SignedIn:
    row = CustomerSignIn(
        id=ids.uuid7(),
        tenant_id=person.customer.tenant_id,
        customer_id=person.customer.id,
        admin_id=person.admin.id if person.admin else None,
        token_version=person.token_version,
        expires_at=clock.now() + timedelta(seconds=settings.session_seconds),
        address=address_of(caller.address),
        user_agent=readable(caller.user_agent or "")[:300] or None,
    )
    session.add(row)
    await session.flush()
    claims = _claims(settings, row, person.customer.id)
    found = await viewers.find(session, claims)
    if found is None:
        # Terminated, or given another password, since we looked.
        raise _wrong()
    audit.record(session, by=found, action="customer.sign_in", subject_id=person.customer.id)
    return SignedIn(tokens.issue(settings.token_key, claims), claims.expires_at, found)


def _claims(settings: Settings, row: CustomerSignIn, customer_id: UUID) -> tokens.Claims:
    ends = min(clock.now() + timedelta(seconds=settings.token_seconds), row.expires_at)
    return tokens.Claims(
        tenant_id=row.tenant_id,
        operator_id=customer_id,
        session_id=row.id,
        version=row.token_version,
        expires_at=ends.replace(microsecond=0),
        of_customer=True,
    )


def _wrong() -> DomainError:
    return fail(ErrorCode.INVALID, "The name or the password is wrong.", "input")
