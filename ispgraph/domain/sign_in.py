"""Signing in, staying signed in, signing out."""

import asyncio
import ipaddress
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from redis.asyncio import Redis
from sqlalchemy import ColumnElement, Uuid, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import audit, messages, one_time_codes, operators, passwords, throttle, tokens, viewers
from ispgraph.domain.errors import DomainError, ErrorCode, Faults, fail, not_found
from ispgraph.domain.idempotency import Once
from ispgraph.domain.lists import Filter
from ispgraph.domain.models import Operator, SignIn
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.references import typed_id
from ispgraph.settings import Settings

NEWEST = newest_first("sign-ins", SignIn.id)
FILTERS = {"operator": Filter(Uuid(), lambda value, by: SignIn.operator_id == value)}
ACTING_LASTS = timedelta(minutes=30)
CHALLENGE_LASTS = timedelta(minutes=5)
SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


class NotSignedIn(Exception):
    """The token is not valid, or not any more."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A token, when it ends, and whose it is."""

    token: str
    expires_at: datetime
    viewer: Viewer


@dataclass(frozen=True, slots=True)
class Challenge:
    """The password was right; a code of the second factor is still asked for, with this token."""

    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """Who may be meant by an address: an operator of a tenant, or nobody at all."""

    tenant_id: UUID
    operator_id: UUID


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request comes from, for the throttle and the record."""

    address: str | None
    user_agent: str | None


async def start(
    database: Database,
    redis: Redis,
    settings: Settings,
    *,
    email: str,
    password: str,
    tenant: str | None,
    caller: Caller,
) -> SignedIn | Challenge:
    """Sign an operator in, or ask for the second factor. Opens its own transaction: the right tenant is only known on
    the way.

    Raises DomainError: REQUIRED for what is missing (the tenant, when the e-mail address is used in several), and one
    and the same INVALID for an unknown address, a wrong password and an inactive operator. Raises throttle.Throttled.
    """
    account, slug = account_and_slug(email, tenant)
    _refuse_blanks(account, password)
    attempt = await throttle.begin(redis, account, caller.address)
    known = await _known(database, account, slug)
    right = await asyncio.gather(
        *(passwords.verify(operator.password_hash if operator else None, password) for operator in known)
    )
    if not any(right):
        raise _wrong()
    await throttle.give_back(redis, attempt)
    if sum(operator is not None for operator in known) > 1:
        raise fail(ErrorCode.REQUIRED, "This address is used at several providers; name yours.", "input", "tenant")
    operator = next(operator for operator in known if operator is not None)
    stale = passwords.is_stale(operator.password_hash)
    fresh = await passwords.hashed(password) if stale else operator.password_hash

    async def work(session: AsyncSession) -> SignedIn | Challenge:
        if await one_time_codes.confirmed(session, operator.id):
            return _challenge(settings, operator)
        return await _open(session, settings, operator, fresh, caller)

    return await database.run(operator.tenant_id, work)


async def confirm(
    database: Database, redis: Redis, settings: Settings, *, challenge: str, code: str, caller: Caller
) -> SignedIn:
    """Sign an operator in whose password was right, with a code of the second factor or a recovery code.

    Raises DomainError INVALID for a challenge that is over and for a code that is wrong or was used. Raises
    throttle.Throttled.
    """
    try:
        claims = tokens.read(settings.token_keys, challenge, tokens.CHALLENGE)
    except tokens.BadToken as error:
        raise _over() from error
    attempt = await throttle.begin(redis, claims.operator_id.hex, caller.address, realm="code-")

    async def work(session: AsyncSession) -> SignedIn:
        operator = await session.get(Operator, claims.operator_id)
        if operator is None or not operator.active or operator.token_version != claims.version:
            raise _over()
        if not await one_time_codes.take(session, settings, operator.id, code):
            raise one_time_codes.wrong_code()
        return await _open(session, settings, operator, operator.password_hash, caller)

    signed_in = await database.run(claims.tenant_id, work)
    await throttle.give_back(redis, attempt)
    return signed_in


async def in_place_of(
    session: AsyncSession,
    settings: Settings,
    operator_id: str,
    *,
    idempotency_key: str | None,
    caller: Caller,
    by: Viewer,
) -> SignedIn:
    """Sign in in the place of an operator below the viewer, for half an hour, which that one is told of.

    No more can be done than both may do. The answer to a repetition is another token of the same sign-in. Raises
    DomainError NOT_FOUND, NOT_PERMITTED, INVALID_STATE for an operator who is not active, and when a repeated
    sign-in has ended.
    """
    require_person(by)
    row = await operators.lock_below(session, operator_id, "operatorId", by=by)
    if not row.active:
        raise fail(ErrorCode.INVALID_STATE, "This operator is not active.", "operatorId")
    once = Once(by, "signInAs", idempotency_key, {"operator": operator_id})
    first = await once.claim(session)
    if first is not None:
        entry = await session.get_one(SignIn, UUID(str(first["sign_in"])))
        found = await viewers.find(session, _claims(settings, entry))
        if found is None:
            raise fail(ErrorCode.INVALID_STATE, "This sign-in has ended already.", "operatorId")
        return _signed_in(settings, entry, found)
    own = await session.get_one(SignIn, by.session_id)
    entry = SignIn(
        id=ids.uuid7(),
        tenant_id=row.tenant_id,
        operator_id=row.id,
        token_version=row.token_version,
        expires_at=min(clock.now() + ACTING_LASTS, own.expires_at),
        address=address_of(caller.address),
        user_agent=readable(caller.user_agent or "")[:300] or None,
        acting_id=by.operator_id,
        acting_version=own.token_version,
    )
    session.add(entry)
    await session.flush()
    found = await viewers.find(session, _claims(settings, entry))
    if found is None:
        raise fail(ErrorCode.NOT_PERMITTED, "You may not act for others.", "operatorId")
    audit.record(session, by=by, action="operator.sign_in_as", subject_id=row.id, details={"sign_in": str(entry.id)})
    told = f"{by.name} has signed in in your place, for half an hour at most"
    await messages.tell_operator(session, row, "operator.security", what=told)
    await once.keep(session, {"sign_in": str(entry.id)})
    return _signed_in(settings, entry, found)


async def end_other(session: AsyncSession, sign_in_id: str, *, by: Viewer) -> SignIn:
    """End a sign-in of the viewer, or of an operator below. Raises DomainError NOT_FOUND, INVALID_STATE."""
    key = typed_id("sgn", sign_in_id, "signInId")
    rows = select(SignIn).where(SignIn.id == key, visible(by)).with_for_update()
    row = await session.scalar(rows)
    if row is None:
        raise not_found("sign-in", "signInId")
    if row.ended_at is not None or row.expires_at <= clock.now():
        raise fail(ErrorCode.INVALID_STATE, "This sign-in has ended already.", "signInId")
    row.ended_at = clock.now()
    await session.flush()
    audit.record(session, by=by, action="operator.end_sign_in", subject_id=row.operator_id)
    viewers.forget_after_commit(session)
    return row


def visible(by: Viewer, row: Any = SignIn) -> ColumnElement[bool]:
    """The viewer's sign-ins, those of others in the viewer's place, and, with the permission MANAGE_OPERATORS, those of
    the operators below."""
    return operators.own_or_below(by, row.operator_id)


def require_person(by: Viewer) -> None:
    """What lets an operator in is changed in person. Raises DomainError NOT_PERMITTED."""
    if by.acting_id is not None:
        raise fail(ErrorCode.NOT_PERMITTED, "Whoever acts for another cannot do this in that one's name.")
    if by.by_token:
        raise fail(ErrorCode.NOT_PERMITTED, "A program with an API token cannot do this for its operator.")


async def renew(session: AsyncSession, settings: Settings, *, by: Viewer) -> SignedIn:
    """A new token for the same sign-in, which lasts no longer for it. Raises DomainError NOT_PERMITTED for one with an
    API token, which signs nobody in."""
    if by.by_token:
        raise _no_sign_in()
    sign_in = await session.get_one(SignIn, by.session_id)
    signed_in = _signed_in(settings, sign_in, by)
    return replace(signed_in, viewer=replace(by, expires_at=signed_in.expires_at))


async def end(session: AsyncSession, *, by: Viewer) -> None:
    """Sign out: every token of this sign-in is void, here at once and in other processes within a second.

    Raises DomainError as `renew`."""
    if by.by_token:
        raise _no_sign_in()
    ended = update(SignIn).where(SignIn.id == by.session_id, SignIn.ended_at.is_(None)).values(ended_at=clock.now())
    await session.execute(ended)
    audit.record(session, by=by, action="operator.sign_out", subject_id=by.operator_id)
    viewers.forget_after_commit(session)


async def viewer(database: Database, settings: Settings, token: str) -> Viewer:
    """Whose token this is: of a sign-in, or of a program. Raises NotSignedIn."""
    if token.startswith(viewers.API_TOKEN):
        program = await viewers.of_api_token(database, token)
        if program is None:
            raise NotSignedIn
        return program
    try:
        claims = tokens.read(settings.token_keys, token)
    except tokens.BadToken as error:
        raise NotSignedIn from error
    found = await viewers.of_claims(database, claims)
    if found is None:
        raise NotSignedIn
    return found


async def places(database: Database, account: str, slug: str | None) -> list[Place]:
    """Who may be meant: one place when the tenant is named, else two, filled up with places that do not exist, so that
    an unknown address costs the same reads and the same hashing as a known one."""
    async with database.read(None) as session:
        statement = text("SELECT tenant_id, operator_id FROM sign_in_candidates(:email, :slug)")
        rows = (await session.execute(statement, {"email": account, "slug": slug})).all()
    found = [Place(row.tenant_id, row.operator_id) for row in rows]
    return found + [Place(uuid4(), uuid4()) for _ in range((1 if slug is not None else 2) - len(found))]


async def _known(database: Database, account: str, slug: str | None) -> list[Operator | None]:
    found = []
    for place in await places(database, account, slug):
        async with database.read(place.tenant_id) as session:
            found.append(await session.get(Operator, place.operator_id))
    return found


def _challenge(settings: Settings, operator: Operator) -> Challenge:
    ends = (clock.now() + CHALLENGE_LASTS).replace(microsecond=0)
    claims = tokens.Claims(operator.tenant_id, operator.id, ids.uuid7(), operator.token_version, ends)
    return Challenge(tokens.issue(settings.token_key, claims, tokens.CHALLENGE), ends)


async def _open(
    session: AsyncSession, settings: Settings, operator: Operator, password_hash: str, caller: Caller
) -> SignedIn:
    sign_in = SignIn(
        id=ids.uuid7(),
        tenant_id=operator.tenant_id,
        operator_id=operator.id,
        token_version=operator.token_version,
        expires_at=clock.now() + timedelta(seconds=settings.session_seconds),
        address=address_of(caller.address),
        user_agent=readable(caller.user_agent or "")[:300] or None,
    )
    session.add(sign_in)
    if password_hash != operator.password_hash:
        same = (Operator.id == operator.id, Operator.password_hash == operator.password_hash)
        await session.execute(update(Operator).where(*same).values(password_hash=password_hash))
    await session.flush()
    found = await viewers.find(session, _claims(settings, sign_in))
    if found is None:
        # Deactivated, or given another password, since we looked.
        raise _wrong()
    audit.record(session, by=found, action="operator.sign_in", subject_id=operator.id)
    return _signed_in(settings, sign_in, found)


def _signed_in(settings: Settings, sign_in: SignIn, found: Viewer) -> SignedIn:
    claims = _claims(settings, sign_in)
    return SignedIn(tokens.issue(settings.token_key, claims), claims.expires_at, found)


def _claims(settings: Settings, sign_in: SignIn) -> tokens.Claims:
    ends = min(clock.now() + timedelta(seconds=settings.token_seconds), sign_in.expires_at)
    return tokens.Claims(
        tenant_id=sign_in.tenant_id,
        operator_id=sign_in.operator_id,
        session_id=sign_in.id,
        version=sign_in.token_version,
        expires_at=ends.replace(microsecond=0),
    )


def _refuse_blanks(account: str, password: str) -> None:
    faults = Faults("input")
    for name, value in (("email", account), ("password", password)):
        if not value:
            faults.add(ErrorCode.REQUIRED, "This is required.", name)
    faults.raise_if_any()


def _no_sign_in() -> DomainError:
    return fail(ErrorCode.NOT_PERMITTED, "An API token signs nobody in: it lasts until it ends or is revoked.")


def _over() -> DomainError:
    return fail(ErrorCode.INVALID, "This has taken too long: sign in anew.", "input", "challenge")


def _wrong() -> DomainError:
    return fail(ErrorCode.INVALID, "The e-mail address or the password is wrong.", "input")


def account_and_slug(email: str, tenant: str | None) -> tuple[str, str | None]:
    """An address and the short name of a tenant, as they are looked for."""
    return readable(email.strip().lower()), _slug(tenant)


def _slug(tenant: str | None) -> str | None:
    slug = (tenant or "").strip().lower()
    if not slug:
        return None
    return slug if SLUG.fullmatch(slug) else "-"  # No tenant is called that.


def readable(raw: str) -> str:
    """What of a text can be looked for, and kept."""
    # PostgreSQL stores no NUL and UTF-8 has no lone surrogates.
    return "".join(character for character in raw if character.isprintable())[:320]


def address_of(raw: str | None) -> str | None:
    """The address that a request came from, as it is kept; None for what is none."""
    try:
        return str(ipaddress.ip_address((raw or "").partition("%")[0]))
    except ValueError:
        return None
