"""Customers' passwords, and those of the admins of their portals: set by a code that was sent, and changed by whoever
knows the present one. They let nobody into the network."""

import hmac
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from redis.asyncio import Redis
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import (
    audit,
    customer_sign_in,
    customers,
    messages,
    operator_passwords,
    password_codes,
    passwords,
    throttle,
    values,
)
from ispgraph.domain.customer_sign_in import Named, Person
from ispgraph.domain.errors import ErrorCode, Faults, fail
from ispgraph.domain.messaging import texts
from ispgraph.domain.models import (
    Customer,
    CustomerPasswordReset,
    CustomerStatus,
    Message,
    MessageChannel,
)
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.sign_in import Caller, SignedIn
from ispgraph.settings import Settings

INVITATION_LASTS, CODE_LASTS = timedelta(days=7), timedelta(hours=1)
MOST_CODES, WITHIN = 10, timedelta(hours=24)
"""So many codes are sent to one customer within a day."""
REQUESTS_FREE = 3
"""So many requests for a name are free of a wait."""


async def invite(
    session: AsyncSession,
    settings: Settings,
    customer_id: UUID,
    channels: Sequence[MessageChannel],
    *,
    by: Viewer,
) -> tuple[Customer, Sequence[Message]]:
    """Write to a customer how to set a password; former codes are void, a password that there is stays.

    Raises DomainError INVALID_STATE for a customer who may not sign in, INVALID for one who cannot be reached so,
    LIMIT_EXCEEDED.
    """
    customer = await customers.lock(session, customer_id, by=by)
    if customer.status is CustomerStatus.TERMINATED or not customer.portal_access:
        raise fail(ErrorCode.INVALID_STATE, "This customer may not sign in.", "input", "customerId")
    if await _count(session, customer.id) >= MOST_CODES:
        message = f"{MOST_CODES} codes were sent to this customer within a day."
        raise fail(ErrorCode.LIMIT_EXCEEDED, message, "input", "customerId")
    person = Person(customer, None, tuple(channels))
    written = await _send(session, settings, person, by)
    if not written:
        raise fail(ErrorCode.INVALID, "This customer cannot be reached so.", "input", "channels")
    details = {"channels": sorted({channel.value for channel in channels})}
    audit.record(session, by=by, action="customer.invite", subject_id=customer.id, details=details)
    return customer, written


async def request(database: Database, redis: Redis, settings: Settings, *, named: Named, caller: Caller) -> None:
    """Send a code to whoever is known by a name, if anybody; nothing tells whether it was sent. Former codes are void.

    Raises DomainError REQUIRED, and throttle.Throttled.
    """
    customer_sign_in.require_place(named)
    where = await customer_sign_in.place(database, named)
    of_name = customer_sign_in.account(where, named)
    free = {"account_free": REQUESTS_FREE, "address_free": customer_sign_in.ADDRESS_FREE}
    await throttle.begin(redis, of_name, caller.address, realm="customer-reset-", **free)

    async def work(session: AsyncSession) -> None:
        for found in await customer_sign_in.people(session, where, named.login):
            person = await customer_sign_in.locked(session, found.customer.id, found.admin.id if found.admin else None)
            # An admin comes in by an invitation first.
            if person is None or (person.admin is not None and person.password_hash is None):
                continue
            if await _count(session, person.customer.id) >= MOST_CODES:
                continue
            sent_to = Person(person.customer, person.admin, found.channels)
            await _send(session, settings, sent_to, None)
            details = {"admin": str(person.admin.id)} if person.admin else {}
            audit.noticed(session, where.tenant_id, "customer.request_password", person.customer.id, details)

    await database.run(where.tenant_id, work)


async def reset(database: Database, *, code: str, new: str) -> None:
    """Set a password by the code that was sent, to a customer or an operator. Every sign-in of theirs ends.

    Raises DomainError INVALID for a code that was never sent, is over or was used, and for an unfit password.
    """
    named = password_codes.meant(code)
    if named is None:
        raise operator_passwords.no_code()
    tenant_id, reset_id = named
    async with database.read(tenant_id) as session:
        if await session.get(CustomerPasswordReset, reset_id) is None:
            return await operator_passwords.reset(database, code=code, new=new)
    return await database.run(tenant_id, lambda session: _reset(session, reset_id, code, new))


async def change(
    database: Database,
    redis: Redis,
    settings: Settings,
    *,
    current: str,
    new: str,
    idempotency_key: str | None,
    caller: Caller,
    by: Viewer,
) -> SignedIn:
    """Set another password. Every other sign-in of whoever has signed in ends; this one goes on with the new token.
    Done before with the key: as `operator_passwords.change`.

    Raises DomainError: INVALID for a wrong present password or an unfit new one, NO_CHANGE when it is the same; and
    throttle.Throttled.
    """
    assert by.customer_id is not None
    customer_id, admin_id = by.customer_id, by.admin_id
    wrong = fail(ErrorCode.INVALID, "This is not your password.", "input", "currentPassword")
    attempt = await throttle.begin(redis, (admin_id or customer_id).hex, caller.address, realm="own-")

    async def known(session: AsyncSession) -> tuple[str | None, str | None]:
        person = await customer_sign_in.locked(session, customer_id, admin_id)
        return (None, None) if person is None else (person.password_hash, person.email)

    once = operator_passwords.change_once(settings, idempotency_key, current, new, by)
    again = await database.run(by.tenant_id, once.used)
    proved, email = await database.run(by.tenant_id, known)
    if not await passwords.verify(proved, new if again else current):
        raise wrong
    await throttle.give_back(redis, attempt)
    hashed = None if again else await operator_passwords.other(current, new, email)

    async def work(session: AsyncSession) -> SignedIn:
        if await once.claim(session) is not None or hashed is None:
            return await customer_sign_in.renew(session, settings, by=by)
        person = await customer_sign_in.locked(session, customer_id, admin_id)
        if person is None or person.password_hash != proved:
            raise wrong
        await set_password(session, person, hashed, but=by.session_id)
        await once.keep(session, {"customer": str(customer_id)})
        audit.record(session, by=by, action="customer.change_password", subject_id=customer_id)
        await _warn(session, person, "your password was changed")
        return await customer_sign_in.renew(session, settings, by=by)

    return await database.run(by.tenant_id, work)


async def set_password(session: AsyncSession, person: Person, hashed: str, *, but: UUID | None) -> None:
    """Give somebody, who is locked, a password: sign-ins end, but for the one that is named, and codes are void."""
    (person.admin or person.customer).password_hash = hashed
    await customer_sign_in.shut_out(session, person, but=but)
    await void(session, person.customer.id, person.admin.id if person.admin else None)


async def _reset(session: AsyncSession, reset_id: UUID, code: str, new: str) -> None:
    asked = await session.get(CustomerPasswordReset, reset_id, with_for_update=True)
    if (
        asked is None
        or not hmac.compare_digest(asked.digest, password_codes.digest(code))
        or asked.used_at is not None
        or asked.expires_at <= clock.now()
    ):
        raise operator_passwords.no_code()
    person = await customer_sign_in.locked(session, asked.customer_id, asked.admin_id)
    if person is None:
        raise operator_passwords.no_code()
    faults = Faults("input")
    values.checked(faults, passwords.fit, new, person.email, at=("newPassword",))
    faults.raise_if_any()
    await set_password(session, person, await passwords.hashed(new), but=None)
    details = {"admin": str(person.admin.id)} if person.admin else {}
    audit.noticed(session, person.customer.tenant_id, "customer.reset_password", person.customer.id, details)
    await _warn(session, person, "your password was set by a code that was sent to you")


async def _send(session: AsyncSession, settings: Settings, person: Person, by: Viewer | None) -> Sequence[Message]:
    """A code, by an operator's invitation, or because somebody has asked for it."""
    await void(session, person.customer.id, person.admin.id if person.admin else None)
    lasts = CODE_LASTS if by is None else INVITATION_LASTS
    key, now = ids.uuid7(), clock.now()
    code = password_codes.code(settings.network_key, person.customer.tenant_id, key)
    session.add(
        CustomerPasswordReset(
            id=key,
            tenant_id=person.customer.tenant_id,
            customer_id=person.customer.id,
            admin_id=person.admin.id if person.admin else None,
            digest=password_codes.digest(code),
            created_at=now,
            expires_at=now + lasts,
        )
    )
    url = f"{settings.origin}{password_codes.PAGE}/{texts.MASK}"
    to: Any = {"contact": _contact(person), "once": password_codes.once(key), "url": url}
    if by is None:
        return await messages.tell(session, person.customer, password_codes.FORGOTTEN, by=None, **to)
    until = f"{now + lasts:%Y-%m-%d}"
    return await messages.tell(session, person.customer, password_codes.INVITATION, by=by, until=until, **to)


def _contact(person: Person) -> messages.Contact:
    if person.admin is None:
        return messages.Contact(None, None, None, person.channels)
    return messages.Contact(person.admin.name, None, person.admin.email, (MessageChannel.EMAIL,))


async def _warn(session: AsyncSession, person: Person, what: str) -> None:
    """Tell whoever it is, by one way: by e-mail, or where there is no address by SMS."""
    way = MessageChannel.EMAIL if person.email is not None else MessageChannel.SMS
    contact = _contact(Person(person.customer, person.admin, (way,)))
    await messages.tell(session, person.customer, "customer.security", by=None, contact=contact, what=what)


async def void(session: AsyncSession, customer_id: UUID, admin_id: UUID | None = None) -> None:
    """Codes that were sent to a customer, or to the admin of its portal, are of no use from now on."""
    theirs = (
        CustomerPasswordReset.customer_id == customer_id,
        CustomerPasswordReset.admin_id.is_not_distinct_from(admin_id),
        CustomerPasswordReset.used_at.is_(None),
    )
    await session.execute(update(CustomerPasswordReset).where(*theirs).values(used_at=clock.now()))


async def _count(session: AsyncSession, customer_id: UUID) -> int:
    lately = CustomerPasswordReset.created_at > clock.now() - WITHIN
    rows = select(func.count()).where(CustomerPasswordReset.customer_id == customer_id, lately)
    return await session.scalar(rows) or 0
