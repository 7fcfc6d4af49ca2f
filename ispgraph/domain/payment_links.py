"""Payment links: made and sent, taken back, found by what is in their address, and how they stand.

The token is 32 random bytes. Its SHA-256 finds the page; the token itself is kept sealed for the row, so that whoever
sees the customer can be shown the address again. The page shows nothing that these do not see, and takes nothing but
money.
"""

import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, String, and_, case, cast, exists, func, literal, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import audit, customers, gateways, idempotency, locales, messages
from ispgraph.domain import secrets as sealing
from ispgraph.domain.billing import desk, papers
from ispgraph.domain.billing import invoices as billing
from ispgraph.domain.errors import ErrorCode, Faults, fail, not_found
from ispgraph.domain.models import (
    Customer,
    CustomerBalance,
    Gateway,
    GatewayKind,
    GatewayPayment,
    GatewayPaymentState,
    Invoice,
    InvoiceStatus,
    Message,
    MessageChannel,
    PaymentLink,
    PaymentLinkStatus,
    Tenant,
)
from ispgraph.domain.pages import newest_first
from ispgraph.domain.payment_providers import PAYMENT
from ispgraph.domain.permissions import Viewer

NEWEST = newest_first("payment-links", PaymentLink.id)
SEND, CANCEL = "customerSendPaymentLink", "paymentLinkCancel"
LASTS = timedelta(days=14)
LONGEST = timedelta(days=366)
MOST_BY_CUSTOMER = 20
"""So many may a customer have made within an hour, its operators' among them."""
_TOKEN_BYTES = 32
_CURRENCIES = {provider.slug: provider.currencies for provider in PAYMENT}


@dataclass(frozen=True, slots=True)
class Wish:
    """A link as it is asked for: over an invoice, an amount ahead of time, or with neither over all that is open."""

    customer_id: UUID
    invoice_id: UUID | None
    amount: Decimal | None
    channels: Sequence[MessageChannel]
    gateways: Sequence[str] | None
    """Their names, or those of their providers; None for every one in use."""
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Sent:
    """A link and what was written about it."""

    link: PaymentLink
    messages: Sequence[Message]


@dataclass(frozen=True, slots=True)
class Seen:
    """A link as the page shows it."""

    link: PaymentLink
    tenant: Tenant
    customer: Customer
    status: PaymentLinkStatus
    due_minor: int


async def send(
    session: AsyncSession, wish: Wish, *, network_key: bytes, origin: str, idempotency_key: str | None, by: Viewer
) -> Sent:
    """Make a link and write its address to the customer by these channels; by none it is only made.

    Raises DomainError NOT_CONFIGURED without a gateway that could take the money, INVALID for a channel by which the
    customer cannot be reached, INVALID_STATE for an invoice of which nothing is due.
    """
    faults = Faults("input")
    minor = None if wish.amount is None else desk.above_zero(faults, wish.amount, by.currency, "amount")
    if minor is not None and wish.invoice_id is not None:
        faults.add(ErrorCode.INVALID, "A link over an invoice asks for what is due of it.", "amount")
    if by.customer_id is not None and wish.channels:
        faults.add(ErrorCode.INVALID, "You are shown the address: it is sent to nobody.", "channels")
    faults.raise_if_any()
    given = {
        "customer": wish.customer_id,
        "invoice": wish.invoice_id,
        "minor": minor,
        "channels": sorted({channel.value for channel in wish.channels}),
        "gateways": None if wish.gateways is None else list(wish.gateways),
        "expires": wish.expires_at,
    }
    first = await idempotency.claim(session, by=by, operation=SEND, key=idempotency_key, given=given)
    if first is not None:
        return await _sent_before(session, first, by)
    customer = await customers.lock(session, wish.customer_id, by=by)
    tenant = await session.get_one(Tenant, by.tenant_id)
    now = clock.now()
    if by.customer_id is not None:
        await _not_too_many(session, customer, now)
    until = wish.expires_at or now + LASTS
    faults = Faults("input")
    if not now < until <= now + LONGEST:
        faults.add(ErrorCode.INVALID, f"This must be within the next {LONGEST.days} days.", "expiresAt")
    if MessageChannel.EMAIL in wish.channels and customer.email is None:
        faults.add(ErrorCode.INVALID, "This customer has no e-mail address.", "channels")
    chosen = _chosen(faults, await offered(session, tenant, []), wish.gateways)
    invoice = await _payable(session, faults, customer, wish.invoice_id)
    faults.raise_if_any()
    token = base64.urlsafe_b64encode(secrets.token_bytes(_TOKEN_BYTES)).decode().rstrip("=")
    key = ids.uuid7()
    link = PaymentLink(
        id=key,
        tenant_id=tenant.id,
        token_hash=hashed(token),
        token_sealed=sealing.seal(network_key, token, sealing.payment_link(tenant.id, key)),
        customer_id=customer.id,
        invoice_id=invoice.id if invoice else None,
        amount_minor=minor,
        gateway_ids=[gateway.id for gateway in chosen],
        expires_at=until,
        created_by_id=by.operator_id if by.customer_id is None else None,
    )
    session.add(link)
    await session.flush()
    written = await _write(session, tenant, customer, link, address(origin, token), wish.channels, by)
    details = {"link": str(link.id), "channels": given["channels"], "invoice": invoice.number if invoice else None}
    audit.record(session, by=by, action="payment_link.send", subject_id=customer.id, details=details)
    await session.flush()
    answer = {"link": str(link.id), "messages": [str(message.id) for message in written]}
    await idempotency.keep(session, by=by, operation=SEND, key=idempotency_key, answer=answer)
    return Sent(link, written)


async def cancel(session: AsyncSession, link_id: UUID, *, idempotency_key: str | None, by: Viewer) -> PaymentLink:
    """Take a link back: its page is gone. What is being paid by it arrives all the same. Raises DomainError NO_CHANGE,
    NOT_FOUND."""
    first = await idempotency.claim(session, by=by, operation=CANCEL, key=idempotency_key, given={"link": link_id})
    visible = customers.belonging(by, PaymentLink.customer_id)
    rows = select(PaymentLink).where(PaymentLink.id == link_id, visible).with_for_update(key_share=True)
    link = await session.scalar(rows)
    if link is None:
        raise not_found("payment link", "paymentLinkId")
    if first is not None:
        return link
    if link.cancelled_at is not None:
        raise fail(ErrorCode.NO_CHANGE, "This link is cancelled already.", "paymentLinkId")
    link.cancelled_at = clock.now()
    audit.record(
        session,
        by=by,
        action="payment_link.cancel",
        subject_id=link.customer_id,
        details={"link": str(link.id)},
    )
    await idempotency.keep(session, by=by, operation=CANCEL, key=idempotency_key, answer={"link": str(link.id)})
    await session.flush()
    return link


def hashed(token: str) -> bytes:
    """By what a link is found."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def address(origin: str, token: str) -> str:
    """Where the page is."""
    return f"{origin}/pay/{token}"


def url(link: PaymentLink, network_key: bytes, origin: str) -> str:
    """The address of a link that was made before."""
    token = sealing.unseal(network_key, link.token_sealed, sealing.payment_link(link.tenant_id, link.id))
    return address(origin, token)


# -- what the page asks


async def tenant_of(session: AsyncSession, token: str) -> UUID | None:
    """Whose link has this token; needs no tenant in the session."""
    found: UUID | None = await session.scalar(text("SELECT payment_link_tenant(:hash)"), {"hash": hashed(token)})
    return found


async def find(session: AsyncSession, token: str) -> Seen | None:
    """The link with this token, whatever its state."""
    return await found_by(session, hashed(token))


async def found_by(session: AsyncSession, token_hash: bytes, *, lock: bool = False) -> Seen | None:
    """The same; with `lock` nobody else begins to pay by it until the transaction ends."""
    if lock:
        held = select(PaymentLink.id).where(PaymentLink.token_hash == token_hash).with_for_update(key_share=True)
        await session.execute(held)
    now = clock.now()
    asked = literal(now, PaymentLink.expires_at.type)
    rows = (
        select(PaymentLink, Customer, cast(status_of(PaymentLink, asked), String), due_of(PaymentLink))
        .join(Customer, and_(Customer.tenant_id == PaymentLink.tenant_id, Customer.id == PaymentLink.customer_id))
        .where(PaymentLink.token_hash == token_hash)
    )
    row = (await session.execute(rows)).one_or_none()
    if row is None:
        return None
    link, customer, status, due_minor = row
    tenant = await session.get_one(Tenant, link.tenant_id)
    return Seen(link, tenant, customer, PaymentLinkStatus(status), due_minor)


async def offered(session: AsyncSession, tenant: Tenant, gateway_ids: Sequence[UUID]) -> list[Gateway]:
    """The gateways in use that take the tenant's currency; with ids, those of them."""
    found = []
    for gateway in await gateways.active(session, GatewayKind.PAYMENT):
        currencies = _CURRENCIES.get(gateway.provider)
        if (not currencies or tenant.currency in currencies) and (not gateway_ids or gateway.id in gateway_ids):
            found.append(gateway)
    return found


async def opened(session: AsyncSession, link_id: UUID) -> None:
    """A person has opened the page."""
    link = await session.get_one(PaymentLink, link_id, with_for_update={"key_share": True}, populate_existing=True)
    link.open_count += 1
    link.last_opened_at = clock.now()


# -- how links stand, in SQL


def due_of(link: Any) -> ColumnElement[int]:
    """What a link asks for, in minor units: nothing when that is paid."""
    of_invoice = select(billing.due_minor(Invoice)).where(Invoice.id == link.invoice_id)
    of_all = select(CustomerBalance.receivable_minor).where(CustomerBalance.customer_id == link.customer_id)
    return case(
        (link.amount_minor.is_not(None), func.greatest(link.amount_minor - _received(link), 0)),
        (
            link.invoice_id.is_not(None),
            func.coalesce(of_invoice.correlate_except(Invoice).scalar_subquery(), 0),
        ),
        else_=func.greatest(func.coalesce(of_all.correlate_except(CustomerBalance).scalar_subquery(), 0), 0),
    )


def status_of(link: Any, now: ColumnElement[datetime]) -> ColumnElement[str]:
    """How a link stands. An invoice that is paid otherwise makes it PAID, one that is void makes it CANCELLED."""
    invoice = exists().where(Invoice.id == link.invoice_id).correlate_except(Invoice)
    paid = or_(
        and_(link.amount_minor.is_not(None), _received(link) >= link.amount_minor),
        invoice.where(Invoice.status == InvoiceStatus.PAID),
        and_(link.invoice_id.is_(None), link.amount_minor.is_(None), _received(link) > 0, due_of(link) == 0),
    )
    void = invoice.where(Invoice.status == InvoiceStatus.VOID)
    kinds = PaymentLinkStatus
    return case(
        (paid, kinds.PAID.value),
        (or_(link.cancelled_at.is_not(None), void), kinds.CANCELLED.value),
        (link.expires_at <= now, kinds.EXPIRED.value),
        else_=kinds.ACTIVE.value,
    )


def names_of(link: Any) -> ColumnElement[Any]:
    """The names of the gateways that a link offers, in their order."""
    found = (
        select(Gateway.name)
        .where(
            Gateway.tenant_id == link.tenant_id,
            Gateway.kind == GatewayKind.PAYMENT,
            Gateway.active,
            or_(func.cardinality(link.gateway_ids) == 0, Gateway.id == func.any(link.gateway_ids)),
        )
        .order_by(Gateway.position, Gateway.id)
        .correlate_except(Gateway)
    )
    return func.array(found.scalar_subquery())


def gateway_name(attempt: Any) -> ColumnElement[str]:
    """What the gateway of an attempt is called."""
    found = select(Gateway.name).where(Gateway.tenant_id == attempt.tenant_id, Gateway.id == attempt.gateway_id)
    return found.correlate_except(Gateway).scalar_subquery()


def _received(link: Any) -> ColumnElement[int]:
    total = func.coalesce(func.sum(GatewayPayment.received_minor), 0)
    paid = GatewayPayment.state == GatewayPaymentState.PAID
    rows = select(cast(total, BigInteger)).where(GatewayPayment.link_id == link.id, paid)
    return rows.correlate_except(GatewayPayment).scalar_subquery()


# -- parts


async def _not_too_many(session: AsyncSession, customer: Customer, now: datetime) -> None:
    lately = (PaymentLink.customer_id == customer.id, PaymentLink.created_at > now - timedelta(hours=1))
    if (await session.scalar(select(func.count()).where(*lately)) or 0) >= MOST_BY_CUSTOMER:
        message = f"You have made {MOST_BY_CUSTOMER} of these within an hour: use one of them."
        raise fail(ErrorCode.LIMIT_EXCEEDED, message, "input", "customerId")


def _chosen(faults: Faults, there: Sequence[Gateway], wanted: Sequence[str] | None) -> list[Gateway]:
    if not there:
        faults.add(ErrorCode.NOT_CONFIGURED, "There is no gateway in use that could take the money.", "gateways")
        return []
    found = []
    for place, name in enumerate(wanted or []):
        told = name.strip().casefold()
        those = [gateway for gateway in there if told in (gateway.name.casefold(), gateway.provider)]
        if not those:
            faults.add(ErrorCode.NOT_FOUND, "There is no such gateway in use.", "gateways", str(place))
        found += [gateway for gateway in those if gateway not in found]
    return found


async def _payable(
    session: AsyncSession, faults: Faults, customer: Customer, invoice_id: UUID | None
) -> Invoice | None:
    if invoice_id is None:
        return None
    invoice = await session.get(Invoice, invoice_id)
    if invoice is None or invoice.customer_id != customer.id:
        faults.add(ErrorCode.NOT_FOUND, "There is no such invoice.", "invoiceId")
        return None
    if invoice.status not in billing.AWAITING:
        faults.add(ErrorCode.INVALID_STATE, "Nothing is due of this invoice.", "invoiceId")
    return invoice


async def _write(
    session: AsyncSession,
    tenant: Tenant,
    customer: Customer,
    link: PaymentLink,
    where: str,
    channels: Sequence[MessageChannel],
    by: Viewer,
) -> list[Message]:
    if not channels:
        return []
    rows = select(due_of(PaymentLink)).where(PaymentLink.id == link.id)
    due_minor = (await session.scalars(rows)).one()
    writing = papers.writing(tenant)
    return await messages.tell(
        session,
        customer,
        "payment_link.sent",
        by=by,
        contact=messages.Contact(None, None, None, channels),
        amount=locales.with_currency(due_minor, writing.currency, writing.locale),
        url=where,
        until=papers.day(link.expires_at.astimezone(writing.zone).date()),
    )


async def _sent_before(session: AsyncSession, first: dict[str, Any], by: Viewer) -> Sent:
    link = await session.get_one(PaymentLink, UUID(first["link"]))
    if await customers.find(session, link.customer_id, by=by) is None:
        raise not_found("customer", "input", "customerId")
    rows = select(Message).where(Message.id.in_([UUID(key) for key in first["messages"]])).order_by(Message.id)
    return Sent(link, (await session.scalars(rows)).all())
