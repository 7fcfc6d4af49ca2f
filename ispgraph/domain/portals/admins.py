"""Who looks after a portal on the customer's side, and how they are invited.

Whoever has the token of an invitation is believed to read the e-mail that it was sent to: see `invitations`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import (
    audit,
    conflicts,
    customer_passwords,
    customer_sign_in,
    idempotency,
    messages,
    passwords,
    values,
)
from ispgraph.domain.errors import DomainError, ErrorCode, Faults, fail
from ispgraph.domain.messaging import texts
from ispgraph.domain.models import Customer, MessageChannel, Operator, Portal, PortalAdmin, PortalStep
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.portals import branding, invitations, records
from ispgraph.domain.portals.invitations import INVITED, hashed, token

CREATE = "portalCreateAdmin"
LASTS = timedelta(days=7)
MOST_INVITATIONS = 20
"""For one admin within `LASTS`: whoever sends more has another trouble than a lost e-mail."""
_EMAIL = ("input", "email")


@dataclass(frozen=True, slots=True)
class NewAdmin:
    """An admin to be, as typed."""

    customer_id: UUID
    name: str
    email: str
    send_invitation: bool


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation that is good, as it is shown to whoever has it."""

    portal: str
    name: str
    email: str
    expires_at: datetime


async def create(
    session: AsyncSession,
    given: NewAdmin,
    *,
    idempotency_key: str | None,
    network_key: bytes,
    origin: str,
    portal_url: str,
    by: Viewer,
) -> Portal:
    """Make somebody the admin of a customer's portal, in place of the one there is, and write an invitation.

    The same e-mail again is the same admin: the name is corrected, and another invitation takes the place of the
    last. Raises DomainError TAKEN for the e-mail of another portal's admin, or of an operator.
    """
    faults = Faults("input")
    name = values.checked(faults, values.text, given.name, 255, at=("name",))
    email = values.checked(faults, values.email, given.email, at=("email",))
    faults.raise_if_any()
    assert name is not None
    assert email is not None
    about = {"customer": given.customer_id, "name": name, "email": email, "invite": given.send_invitation}
    first = await idempotency.claim(session, by=by, operation=CREATE, key=idempotency_key, given=about)
    portal = await records.lock(session, given.customer_id, by=by, at=("input", "customerId"))
    if first is not None:
        return portal
    if await session.scalar(select(Operator.id).where(Operator.email == email)) is not None:
        raise fail(ErrorCode.TAKEN, "This is the e-mail address of an operator.", *_EMAIL)
    admin = await session.scalar(select(PortalAdmin).where(PortalAdmin.portal_id == portal.id).with_for_update())
    if admin is not None and admin.email != email:
        await customer_sign_in.forget_admins(session, portal.id)
        await session.delete(admin)
        await session.flush()
        admin = None
    if admin is None:
        admin = PortalAdmin(
            id=ids.uuid7(),
            tenant_id=portal.tenant_id,
            portal_id=portal.id,
            email=email,
            created_at=clock.now(),
            created_by_id=by.operator_id,
            invitations=0,
        )
        session.add(admin)
    admin.name = name
    async with conflicts.taken(
        {"uq_portal_admins_tenant_id_email": _EMAIL}, "Another portal has an admin with this e-mail address."
    ):
        await session.flush()
    if given.send_invitation:
        await _invite(
            session, portal, admin, network_key, invitations.address(origin, portal_url, portal.subdomain), by
        )
    records.touch(portal, by=by)
    records.log(session, portal, PortalStep.ADMIN, None, by=by)
    await records.settle(session, portal)
    details = {"admin": str(admin.id), "invited": given.send_invitation}
    audit.record(session, by=by, action="portal.admin", subject_id=portal.customer_id, details=details)
    answer = {"portal": str(portal.id)}
    await idempotency.keep(session, by=by, operation=CREATE, key=idempotency_key, answer=answer)
    await session.flush()
    return portal


async def invitation(session: AsyncSession, portal_id: UUID, given: str) -> Invitation | None:
    """The invitation with this token to this portal, while it is good."""
    rows = select(PortalAdmin, Portal.display_name).join(Portal, Portal.id == PortalAdmin.portal_id)
    mine = rows.where(PortalAdmin.portal_id == portal_id, PortalAdmin.invitation_hash == hashed(given))
    found = (await session.execute(mine)).one_or_none()
    if found is None:
        return None
    admin, portal = found
    until = admin.invitation_expires_at
    return Invitation(portal, admin.name, admin.email, until) if until is not None and until > clock.now() else None


async def accept(database: Database, *, subdomain: str, given: str, new: str) -> None:
    """Accept the invitation with this token by setting a password; the token is void from then on.

    Raises DomainError INVALID for an invitation that is not there, is over or was accepted, and for an unfit password.
    """
    name = subdomain.strip().lower()
    async with database.read(None) as session:
        tenant_id = await branding.tenant_of(session, name) if name.isascii() and name.isprintable() else None
    if tenant_id is None:
        raise _no_invitation()

    async def work(session: AsyncSession) -> None:
        rows = select(PortalAdmin.id, Portal.customer_id).join(Portal, Portal.id == PortalAdmin.portal_id)
        mine = rows.where(Portal.subdomain == name, PortalAdmin.invitation_hash == hashed(given))
        found = (await session.execute(mine)).one_or_none()
        person = None if found is None else await customer_sign_in.locked(session, found.customer_id, found.id)
        admin = None if person is None else person.admin
        if person is None or admin is None or admin.invitation_hash != hashed(given):
            raise _no_invitation()
        now = clock.now()
        if admin.invitation_expires_at is None or admin.invitation_expires_at <= now:
            raise _no_invitation()
        faults = Faults("input")
        values.checked(faults, passwords.fit, new, admin.email, at=("newPassword",))
        faults.raise_if_any()
        admin.invitation_hash = admin.invitation_expires_at = None
        admin.accepted_at = admin.accepted_at or now
        await customer_passwords.set_password(session, person, await passwords.hashed(new), but=None)
        details = {"admin": str(admin.id)}
        audit.noticed(session, tenant_id, "portal.accept_invitation", person.customer.id, details)

    await database.run(tenant_id, work)


def _no_invitation() -> DomainError:
    return fail(ErrorCode.INVALID, "This invitation is wrong, was accepted, or is over.", "input", "token")


async def _invite(session: AsyncSession, portal: Portal, admin: PortalAdmin, key: bytes, link: str, by: Viewer) -> None:
    now = clock.now()
    if admin.invitations >= MOST_INVITATIONS and admin.invitation_sent_at and admin.invitation_sent_at > now - LASTS:
        message = f"{admin.invitations} invitations were sent to this admin already. Send another one in a week."
        raise fail(ErrorCode.LIMIT_EXCEEDED, message, "input", "sendInvitation")
    admin.invitations += 1
    admin.invitation_hash = hashed(token(key, admin.id, admin.invitations))
    admin.invitation_sent_at, admin.invitation_expires_at = now, now + LASTS
    customer = await session.get_one(Customer, portal.customer_id)
    await messages.tell(
        session,
        customer,
        INVITED,
        by=by,
        contact=messages.Contact(admin.name, None, admin.email, (MessageChannel.EMAIL,)),
        once=invitations.once(admin.id, admin.invitations),
        portal=portal.display_name,
        url=link + texts.MASK,
        until=f"{(now + LASTS):%Y-%m-%d}",
    )
