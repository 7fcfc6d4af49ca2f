"""What the demo shows of care for customers and of being paid: tickets, and a bank transfer as the only way to pay, so
that nobody outside is ever called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import gateways, paying, payment_links, tickets
from ispgraph.domain.gateway_payments import BANK_TRANSFER
from ispgraph.domain.models import (
    Customer,
    Gateway,
    GatewayKind,
    Invoice,
    PaymentLink,
    Ticket,
    TicketCategory,
    TicketPriority,
    TicketStatus,
)
from ispgraph.domain.permissions import Viewer
from ispgraph.settings import Settings

_ACCOUNT = (
    ("account_name", "Example Net, a fictional provider"),
    ("account_number", "0000-0000-0000"),
    ("bank", "Example Bank"),
    ("instructions", "This is a demo: send no money. Give the reference that is shown with your transfer."),
)
_DEBTOR = "elm"


@dataclass(frozen=True, slots=True)
class Complaint:
    """A ticket of a customer, the part of the address before the @, with what was answered and how it stands."""

    customer: str
    subject: str
    body: str
    category: TicketCategory = TicketCategory.COMPLAINT
    priority: TicketPriority = TicketPriority.MEDIUM
    note: str | None = None
    assignee: str | None = None
    status: TicketStatus | None = None


EXAMPLE_NET = (
    Complaint("aster", "Slow in the evening", "Pages take long to open after eight.", assignee="manager"),
    Complaint(
        "cedar",
        "No light on the modem",
        "Since this morning the third light is off.",
        priority=TicketPriority.HIGH,
        note="The splitter in the street was opened yesterday: send somebody.",
        assignee="manager",
        status=TicketStatus.IN_PROGRESS,
    ),
    Complaint(
        "dahlia",
        "Thank you for the quick visit",
        "All is well again.",
        priority=TicketPriority.LOW,
        status=TicketStatus.RESOLVED,
    ),
)


async def add(
    session: AsyncSession, complaints: Sequence[Complaint], by: Mapping[str, Viewer], settings: Settings
) -> None:
    """Make what is not there yet."""
    people = {str(row.email).partition("@")[0]: row for row in await session.scalars(select(Customer))}
    there = set(await session.scalars(select(Ticket.subject)))
    for one in complaints:
        if one.subject not in there and one.customer in people:
            await _ticket(session, one, people[one.customer], by)
    if await session.scalar(select(Gateway.id).where(Gateway.provider == BANK_TRANSFER).limit(1)) is None:
        await _transfer(session, people[_DEBTOR], by["admin"], settings)


async def _ticket(session: AsyncSession, one: Complaint, customer: Customer, by: Mapping[str, Viewer]) -> None:
    admin = by["admin"]
    wish = tickets.NewTicket(customer.id, one.subject, one.body, one.category, one.priority)
    row = await tickets.create(session, wish, idempotency_key=None, by=admin)
    if one.note is not None:
        await tickets.reply(session, row.id, one.note, internal=True, idempotency_key=None, by=admin)
    if one.assignee is not None:
        await tickets.assign(session, row.id, by[one.assignee].operator_id, by=admin)
    if one.status is not None:
        await tickets.set_status(session, row.id, one.status, by=admin)


async def _transfer(session: AsyncSession, debtor: Customer, admin: Viewer, settings: Settings) -> None:
    """An account at a bank, a page on which a customer can pay what is due, and a transfer that waits for somebody who
    looks at the account."""
    terms = gateways.Terms(GatewayKind.PAYMENT, BANK_TRANSFER, "Bank transfer (demo)", _ACCOUNT, None, None, None)
    gateway = await gateways.save(session, None, terms, network_key=settings.network_key, private=False, by=admin)
    sent = await payment_links.send(
        session,
        payment_links.Wish(debtor.id, None, None, [], None, clock.now() + timedelta(days=365)),
        network_key=settings.network_key,
        origin=settings.origin,
        idempotency_key=None,
        by=admin,
    )
    link = await session.get_one(PaymentLink, sent.link.id)
    due = await session.scalars(
        select(Invoice.total_minor - Invoice.paid_minor).where(Invoice.customer_id == debtor.id)
    )
    attempt = await paying.begin(
        session,
        gateway=gateway,
        customer_id=debtor.id,
        amount_minor=sum(due),
        currency=admin.currency,
        link_id=link.id,
    )
    await paying.said_paid(session, attempt.id, "Sent this morning")
