"""What a page to pay on says: who asks, for what, and what became of it. Texts, ready to be shown; nothing of pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain.billing import documents, papers
from ispgraph.domain.billing import invoices as billing
from ispgraph.domain.gateway_payments import BANK_TRANSFER, BY_PHONE
from ispgraph.domain.models import (
    Gateway,
    GatewayPayment,
    GatewayPaymentState,
    Invoice,
    InvoiceLine,
    Payment,
    TenantLogo,
)
from ispgraph.domain.payment_links import Seen

_LARGEST_LOGO = 300_000


@dataclass(frozen=True, slots=True)
class House:
    """Who asks."""

    name: str
    lines: Sequence[str]
    locale: str
    logo: tuple[str, bytes] | None
    """Its media type and itself."""
    color: str | None
    """As #rrggbb; None: the product's own."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What is asked for. Each line has an amount."""

    house: House
    who: str
    title: str
    lines: Sequence[tuple[str, str]]
    due: str
    due_on: str | None
    until: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A gateway that can be taken."""

    id: UUID
    name: str
    by_phone: bool
    """Whether it asks the payer on a telephone, whose number it needs."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How one attempt stands."""

    house: House
    state: GatewayPaymentState
    reference: str
    gateway: str
    amount: str
    instructions: str | None
    account: Sequence[tuple[str, str]]
    """Where a transfer goes to; empty for other gateways."""
    said: str | None
    """What the payer has said of a transfer."""
    received: str | None
    number: str | None
    """Of the payment that came of it."""
    receipt_path: str | None


async def bill(session: AsyncSession, seen: Seen) -> Bill:
    """What a link asks for now."""
    writing = papers.writing(seen.tenant)
    link, customer = seen.link, seen.customer
    title, lines, due_on = "What you owe", [], None
    if link.amount_minor is not None:
        title, lines = "Payment in advance", [("Credit for your account", writing.money(link.amount_minor))]
    elif link.invoice_id is not None:
        invoice = await session.get_one(Invoice, link.invoice_id)
        title = f"Invoice {invoice.number}"
        due_on = papers.day(invoice.due_on) if invoice.due_on else None
        rows = select(InvoiceLine).where(InvoiceLine.invoice_id == invoice.id).order_by(InvoiceLine.position)
        for line in await session.scalars(rows):
            lines.append((line.description, writing.money(line.amount_minor + line.tax_minor)))
        if invoice.paid_minor:
            lines.append(("Paid so far", writing.money(-invoice.paid_minor)))
    else:
        rows_open = select(Invoice).where(Invoice.customer_id == customer.id, Invoice.status.in_(billing.AWAITING))
        for invoice in await session.scalars(rows_open.order_by(Invoice.issued_on, Invoice.id)):
            by = f", due {papers.day(invoice.due_on)}" if invoice.due_on else ""
            lines.append((f"Invoice {invoice.number}{by}", writing.money(invoice.total_minor - invoice.paid_minor)))
    return Bill(
        house=await _house(session, seen),
        who=f"{customer.name}, account {customer.account_number}",
        title=title,
        lines=lines,
        due=writing.money(seen.due_minor),
        due_on=due_on,
        until=papers.day(link.expires_at.astimezone(writing.zone).date()),
    )


def choices(gateways: Sequence[Gateway]) -> list[Choice]:
    """What there is to choose from."""
    return [Choice(row.id, row.name, row.provider in BY_PHONE) for row in gateways]


async def progress(session: AsyncSession, seen: Seen, attempt: GatewayPayment, *, token_key: bytes) -> Progress:
    """How an attempt stands, with its receipt when it is paid."""
    writing = papers.writing(seen.tenant)
    gateway = await session.get_one(Gateway, attempt.gateway_id)
    payment = None if attempt.payment_id is None else await session.get_one(Payment, attempt.payment_id)
    return Progress(
        house=await _house(session, seen),
        state=attempt.state,
        reference=attempt.reference,
        gateway=gateway.name,
        amount=writing.money(attempt.amount_minor),
        instructions=attempt.instructions,
        account=_account(gateway) if gateway.provider == BANK_TRANSFER else (),
        said=attempt.payer_note,
        received=None if attempt.received_minor is None else writing.money(attempt.received_minor),
        number=payment.number if payment else None,
        receipt_path=documents.receipt_link(token_key, payment) if payment else None,
    )


async def last_paid(session: AsyncSession, link_id: UUID) -> GatewayPayment | None:
    """The latest attempt of a link that was paid."""
    rows = select(GatewayPayment).where(GatewayPayment.link_id == link_id)
    rows = rows.where(GatewayPayment.state == GatewayPaymentState.PAID)
    rows = rows.order_by(GatewayPayment.settled_at.desc(), GatewayPayment.id.desc())
    return await session.scalar(rows.limit(1))


def _account(gateway: Gateway) -> list[tuple[str, str]]:
    labels = {"account_name": "Name", "account_number": "Account", "bank": "Bank", "branch": "Branch"}
    told = [(label, gateway.settings.get(name, "")) for name, label in labels.items()]
    told.append(("Please note", gateway.settings.get("instructions", "")))
    return [(label, text) for label, text in told if text]


async def _house(session: AsyncSession, seen: Seen) -> House:
    sender = papers.sender(seen.tenant, None)
    found = await session.execute(
        select(TenantLogo.media_type, TenantLogo.body).where(TenantLogo.tenant_id == seen.tenant.id)
    )
    logo = found.one_or_none()
    shown = (logo.media_type, logo.body) if logo is not None and len(logo.body) <= _LARGEST_LOGO else None
    return House(sender.name, sender.lines, papers.writing(seen.tenant).locale, shown, seen.tenant.page_color)
