"""Carrying what is queued: which messages are due, and what became of them.

A message is taken by one worker, which commits that before it asks a gateway: no message is sent twice, whoever dies
when. One whose outcome is not known is not sent again; a report of the gateway may still tell.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import and_, delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import gateways, password_codes, secrets
from ispgraph.domain.gateways import Opened
from ispgraph.domain.messaging import credits, texts
from ispgraph.domain.models import (
    CustomerPasswordReset,
    DeliveryReport,
    Gateway,
    GatewayKind,
    Message,
    MessageChannel,
    MessageStatus,
    PasswordReset,
    PortalAdmin,
    Service,
)
from ispgraph.domain.portals import invitations

BATCH = 10
"""How many one worker takes at a time. It begins all of them at once."""
LOST = timedelta(minutes=2)
"""Longer than any gateway is waited for: who has said nothing by then is dead."""
# After so long each, one that no gateway took is tried again; after the last it has failed.
_AGAIN = tuple(timedelta(seconds=seconds) for seconds in (10, 60, 300, 900, 3600, 10_800))
_REPORTS_KEPT = timedelta(days=7)
_KINDS = {MessageChannel.SMS: GatewayKind.SMS, MessageChannel.EMAIL: GatewayKind.EMAIL}
_NAMES = {MessageChannel.SMS: "SMS", MessageChannel.EMAIL: "e-mail"}
_LINK = re.compile(r"https?://[^\s<>\"]+[^\s<>\".,;:!?)]")


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message that was taken, ready for a gateway. What is secret in it stands there in clear: for no log."""

    message_id: UUID
    attempt: int
    account: Opened
    to: str
    subject: str | None
    body: str
    html: str | None
    segments: int

    @property
    def reference(self) -> str:
        """Ours, the same each time it is tried: a gateway that looks at it takes the message once."""
        return self.message_id.hex


@dataclass(frozen=True, slots=True)
class Told:
    """What a gateway tells of a message: its own reference and ours, one of which is there, and what became of it."""

    theirs: str | None
    ours: str | None
    status: MessageStatus
    reason: str | None


async def due_tenants(session: AsyncSession) -> list[UUID]:
    """The tenants with messages that are to be sent now."""
    return list(await session.scalars(text("SELECT tenant_id FROM due_messages(:at)"), {"at": clock.now()}))


async def take(session: AsyncSession, key: bytes) -> tuple[Sequence[Parcel], bool]:
    """Up to BATCH messages that are due, taken, and whether there may be more. `key` is the network key.

    Those that cannot be sent at all have failed by then.
    """
    now = clock.now()
    due = select(Message).where(Message.status == MessageStatus.QUEUED, Message.not_before <= now)
    due = due.order_by(Message.not_before, Message.id).limit(BATCH).with_for_update(skip_locked=True)
    rows = list(await session.scalars(due))
    accounts: dict[MessageChannel, Opened | None] = {}
    parcels = []
    for row in rows:
        if row.in_flight:
            _unknown(row, "the program that sent it has died")
            continue
        if row.channel not in accounts:
            accounts[row.channel] = await _account(session, row.channel, key)
        account = accounts[row.channel]
        if account is None:
            await _failed(session, row, f"There is no gateway for {_NAMES[row.channel]} in use.")
            continue
        body = await _in_clear(session, row, key)
        row.in_flight, row.attempts, row.gateway_id = True, row.attempts + 1, account.id
        row.not_before = now + LOST
        parcels.append(
            Parcel(
                row.id,
                row.attempts,
                account,
                row.to,
                row.subject,
                body,
                _html(body) if row.channel is MessageChannel.EMAIL else None,
                texts.segments(body) if row.channel is MessageChannel.SMS else 0,
            )
        )
    return parcels, len(rows) == BATCH


async def sent(session: AsyncSession, parcel: Parcel, reference: str | None, segments: int | None) -> None:
    """The gateway has taken it, under a reference of its own, in so many parts where it said."""
    row = await _held(session, parcel)
    if row is None:
        return
    # A report may have been faster, and one that was given up for lost has been sent after all.
    if row.status is MessageStatus.QUEUED or (row.status is MessageStatus.FAILED and row.sent_at is None):
        row.status, row.error = MessageStatus.SENT, None
    row.in_flight, row.provider_reference = False, reference and reference[:200]
    row.sent_at = row.sent_at or clock.now()
    if row.channel is MessageChannel.SMS:
        row.segments = segments or parcel.segments
        await credits.settle(session, row, row.segments)
    if row.provider_reference is None:
        return
    # What it told meanwhile.
    early = and_(
        DeliveryReport.gateway_id == parcel.account.id, DeliveryReport.provider_reference == row.provider_reference
    )
    for report in await session.scalars(select(DeliveryReport).where(early).order_by(DeliveryReport.id)):
        _become(row, report.status, report.reason)
    await session.execute(delete(DeliveryReport).where(early))


async def not_taken(session: AsyncSession, parcel: Parcel, reason: str, *, again: bool) -> None:
    """The gateway did not take it: it is tried again later where that may help, or has failed."""
    row = await _held(session, parcel)
    if row is None or row.status is not MessageStatus.QUEUED:
        return
    row.in_flight = False
    if not again or row.attempts > len(_AGAIN):
        await _failed(session, row, reason)
    else:
        row.error, row.not_before = reason, clock.now() + _AGAIN[row.attempts - 1]


async def in_doubt(session: AsyncSession, parcel: Parcel, reason: str) -> None:
    """Nobody knows whether the gateway took it."""
    row = await _held(session, parcel)
    if row is not None and row.status is MessageStatus.QUEUED:
        _unknown(row, reason)


async def reported(session: AsyncSession, gateway_id: UUID, told: Told) -> None:
    """A gateway tells of a message, by its reference or by ours. Each step happens once; DELIVERED is the last word."""
    rows = select(Message).where(Message.gateway_id == gateway_id).with_for_update()
    row = None
    key = _own(told.ours)
    if key is not None:
        row = await session.scalar(rows.where(Message.id == key))
    if row is None and told.theirs is not None:
        row = await session.scalar(rows.where(Message.provider_reference == told.theirs[:200]))
    if row is not None:
        _become(row, told.status, told.reason)
    elif told.theirs is not None:
        session.add(
            DeliveryReport(
                tenant_id=(await session.get_one(Gateway, gateway_id)).tenant_id,
                gateway_id=gateway_id,
                provider_reference=told.theirs[:200],
                status=told.status,
                reason=told.reason,
            )
        )


async def prune(session: AsyncSession, tenant_id: UUID) -> None:
    """Forget reports of messages that nobody ever knew."""
    old = and_(DeliveryReport.tenant_id == tenant_id, DeliveryReport.created_at < clock.now() - _REPORTS_KEPT)
    await session.execute(delete(DeliveryReport).where(old))


async def account(session: AsyncSession, gateway_id: UUID, key: bytes) -> Opened | None:
    """The account with this id, if it carries messages. One that is not in use may still report."""
    row = await session.get(Gateway, gateway_id)
    return None if row is None or row.kind is GatewayKind.PAYMENT else gateways.opened(key, row)


async def _account(session: AsyncSession, channel: MessageChannel, key: bytes) -> Opened | None:
    found = await gateways.active(session, _KINDS[channel])
    return gateways.opened(key, found[0]) if found else None


async def _in_clear(session: AsyncSession, row: Message, key: bytes) -> str:
    if row.event == invitations.INVITED and row.once is not None:
        admin = await session.get(PortalAdmin, invitations.about(row.once)[0])
        token = invitations.in_message(key, row.once, admin.invitation_hash if admin else None)
        return row.body.replace(texts.MASK, token)
    if row.once is not None and row.event in password_codes.EVENTS:
        resets = PasswordReset if row.event == password_codes.EVENT else CustomerPasswordReset
        asked: Any = await session.get(resets, password_codes.about(row.once))
        code = password_codes.of_message(key, row.tenant_id, row.once, asked.digest if asked else None)
        return row.body.replace(texts.MASK, code)
    if row.service_id is None:
        return row.body
    service = await session.get_one(Service, row.service_id)
    bound_to = secrets.service_password(service.tenant_id, service.id)
    return row.body.replace(texts.MASK, secrets.unseal(key, service.password, bound_to))


async def _held(session: AsyncSession, parcel: Parcel) -> Message | None:
    """The row, locked; None when it was given up and is nobody's any more."""
    row = await session.get_one(Message, parcel.message_id, with_for_update=True)
    return row if row.attempts == parcel.attempt else None


async def _failed(session: AsyncSession, row: Message, reason: str) -> None:
    row.status, row.error, row.in_flight = MessageStatus.FAILED, reason, False
    await credits.give_back(session, row)


def _unknown(row: Message, reason: str) -> None:
    # It may have been sent, and paid for: the credits are not given back.
    row.status, row.in_flight = MessageStatus.FAILED, False
    row.error = f"It is not known whether it was sent: {reason.rstrip('.')}."


def _become(row: Message, status: MessageStatus, reason: str | None) -> None:
    if row.status is MessageStatus.DELIVERED or (
        status is MessageStatus.SENT and row.status is not MessageStatus.QUEUED
    ):
        return
    now = clock.now()
    row.status, row.error = status, reason if status is MessageStatus.FAILED else None
    row.in_flight = False
    row.sent_at = row.sent_at or now
    if status is MessageStatus.DELIVERED:
        row.delivered_at = now
    elif status is MessageStatus.FAILED and reason is None:
        row.error = "The gateway could not deliver it."


def _own(reference: str | None) -> UUID | None:
    try:
        return UUID(hex=reference) if reference is not None and len(reference) == 32 else None
    except ValueError:
        return None


def _html(body: str) -> str:
    """Plain text as a page: paragraphs, lines and links."""
    paragraphs = [_lines(part) for part in re.split(r"\n{2,}", body)]
    inside = "".join(f"<p>{part}</p>" for part in paragraphs)
    return f'<!doctype html><html><body style="font-family: sans-serif; line-height: 1.5">{inside}</body></html>'


def _lines(part: str) -> str:
    found, last = [], 0
    for match in _LINK.finditer(part):
        found.append(html.escape(part[last : match.start()]))
        address = html.escape(match[0])
        found.append(f'<a href="{address}">{address}</a>')
        last = match.end()
    return "".join([*found, html.escape(part[last:])]).replace("\n", "<br>")
