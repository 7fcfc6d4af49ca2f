"""Signing in, staying signed in, signing out."""

import asyncio
import ipaddress
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from redis.asyncio import Redis
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import audit, passwords, throttle, tokens, viewers
from ispgraph.domain.errors import DomainError, ErrorCode, Faults, fail
from ispgraph.domain.models import Operator, SignIn
from ispgraph.domain.permissions import Viewer
from ispgraph.settings import Settings

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
) -> SignedIn:
    """Sign an operator in. Opens its own transaction: the right tenant is only known on the way.

    Raises DomainError: REQUIRED for what is missing (the tenant, when the e-mail address is used in several), and one
    and the same INVALID for an unknown address, a wrong password and an inactive operator. Raises throttle.Throttled.
    """
    account, slug = _readable(email.strip().lower()), _slug(tenant)
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
    return await database.run(operator.tenant_id, lambda session: _open(session, settings, operator, fresh, caller))


async def renew(session: AsyncSession, settings: Settings, *, by: Viewer) -> SignedIn:
    """A new token for the same sign-in, which lasts no longer for it."""
    sign_in = await session.get_one(SignIn, by.session_id)
    claims = _claims(settings, sign_in)
    return SignedIn(
        tokens.issue(settings.token_key, claims), claims.expires_at, replace(by, expires_at=claims.expires_at)
    )


async def end(session: AsyncSession, *, by: Viewer) -> None:
    """Sign out: every token of this sign-in is void, here at once and in other processes within a second."""
    ended = update(SignIn).where(SignIn.id == by.session_id, SignIn.ended_at.is_(None)).values(ended_at=clock.now())
    await session.execute(ended)
    audit.record(session, by=by, action="operator.sign_out", subject_id=by.operator_id)
    viewers.forget_after_commit(session)


async def viewer(database: Database, settings: Settings, token: str) -> Viewer:
    """Whose token this is. Raises NotSignedIn."""
    try:
        claims = tokens.read(settings.token_key, token)
    except tokens.BadToken as error:
        raise NotSignedIn from error
    found = await viewers.of_claims(database, claims)
    if found is None:
        raise NotSignedIn
    return found


async def _known(database: Database, account: str, slug: str | None) -> list[Operator | None]:
    """Who may be meant: one place when the tenant is named, else two, filled up with None, so that an unknown address
    costs the same reads and the same hashing as a known one."""
    async with database.read(None) as session:
        statement = text("SELECT tenant_id, operator_id FROM sign_in_candidates(:email, :slug)")
        rows = (await session.execute(statement, {"email": account, "slug": slug})).all()
    places: list[tuple[UUID, UUID]] = [(row.tenant_id, row.operator_id) for row in rows]
    places += [(uuid4(), uuid4())] * ((1 if slug is not None else 2) - len(places))
    found = []
    for tenant_id, operator_id in places:
        async with database.read(tenant_id) as session:
            found.append(await session.get(Operator, operator_id))
    return found


async def _open(
    session: AsyncSession, settings: Settings, operator: Operator, password_hash: str, caller: Caller
) -> SignedIn:
    sign_in = SignIn(
        id=ids.uuid7(),
        tenant_id=operator.tenant_id,
        operator_id=operator.id,
        token_version=operator.token_version,
        expires_at=clock.now() + timedelta(seconds=settings.session_seconds),
        address=_address(caller.address),
        user_agent=_readable(caller.user_agent or "")[:300] or None,
    )
    session.add(sign_in)
    if password_hash != operator.password_hash:
        same = (Operator.id == operator.id, Operator.password_hash == operator.password_hash)
        await session.execute(update(Operator).where(*same).values(password_hash=password_hash))
    await session.flush()
    claims = _claims(settings, sign_in)
    found = await viewers.find(session, claims)
    if found is None:
        # Deactivated, or given another password, since we looked.
        raise _wrong()
    audit.record(session, by=found, action="operator.sign_in", subject_id=operator.id)
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


def _wrong() -> DomainError:
    return fail(ErrorCode.INVALID, "The e-mail address or the password is wrong.", "input")


def _slug(tenant: str | None) -> str | None:
    slug = (tenant or "").strip().lower()
    if not slug:
        return None
    return slug if SLUG.fullmatch(slug) else "-"  # No tenant is called that.


def _readable(raw: str) -> str:
    # PostgreSQL stores no NUL and UTF-8 has no lone surrogates.
    return "".join(character for character in raw if character.isprintable())[:320]


def _address(raw: str | None) -> str | None:
    try:
        return str(ipaddress.ip_address((raw or "").partition("%")[0]))
    except ValueError:
        return None
