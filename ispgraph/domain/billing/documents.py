"""Invoices and receipts at signed links: whoever has the link sees the paper, as the rows are then, for a week."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import links, locales
from ispgraph.domain.billing import corrections, papers
from ispgraph.domain.billing import invoices as billing
from ispgraph.domain.billing.papers import Paper
from ispgraph.domain.models import (
    Allocation,
    Customer,
    Invoice,
    InvoiceKind,
    InvoiceLine,
    InvoiceStatus,
    Operator,
    Payment,
    PaymentMethod,
    PaymentStatus,
    Service,
    Tenant,
    TenantLogo,
)

LASTS = timedelta(days=7)
RECEIVED = (PaymentStatus.COMPLETED, PaymentStatus.REFUNDED)
"""Of these payments there is a receipt."""

# What a void or a refund has taken from an invoice again is not settled.
_SETTLES = Allocation.amount_minor - Allocation.released_minor

_METHODS = {
    PaymentMethod.CASH: "Cash",
    PaymentMethod.BANK_TRANSFER: "Bank transfer",
    PaymentMethod.CARD: "Card",
    PaymentMethod.MOBILE_MONEY: "Mobile money",
    PaymentMethod.ONLINE: "Online payment",
    PaymentMethod.WALLET: "Wallet",
    PaymentMethod.VOUCHER: "Voucher",
    PaymentMethod.OTHER: "Other",
}


def invoice_link(secret: bytes, invoice: Invoice) -> str | None:
    """The path and query where an invoice is; None for a draft."""
    if invoice.number is None:
        return None
    return _link(secret, f"/downloads/invoices/{invoice.tenant_id.hex}/{invoice.id.hex}.pdf")


def receipt_link(secret: bytes, payment: Payment) -> str | None:
    """The path and query where the receipt of a payment is; None when no money came in."""
    if payment.status not in RECEIVED:
        return None
    return _link(secret, f"/downloads/receipts/{payment.tenant_id.hex}/{payment.id.hex}.pdf")


def _link(secret: bytes, path: str) -> str:
    return links.signed(secret, path, {}, clock.now() + LASTS)


async def find_invoice(session: AsyncSession, invoice_id: UUID) -> Paper | None:
    """An invoice as it stands now; None when it is there no more."""
    invoice = await session.get(Invoice, invoice_id)
    if invoice is None or invoice.number is None or invoice.issued_on is None:
        return None
    house = await _house(session, invoice.tenant_id)
    customer = await session.get_one(Customer, invoice.customer_id)
    rows = select(InvoiceLine).where(InvoiceLine.invoice_id == invoice.id).order_by(InvoiceLine.position)
    lines = list(await session.scalars(rows))
    writing = house.writing
    due = invoice.total_minor - invoice.paid_minor if invoice.status in billing.AWAITING else 0
    note = invoice.kind is InvoiceKind.CREDIT_NOTE
    facts = [("Credit note date" if note else "Invoice date", papers.day(invoice.issued_on))]
    if invoice.credits_id is not None:
        facts.append(("Credits invoice", (await session.get_one(Invoice, invoice.credits_id)).number or ""))
    if invoice.due_on is not None:
        facts.append(("Due date", papers.day(invoice.due_on)))
    if invoice.period_start is not None and invoice.period_end is not None:
        facts.append(("Period", writing.stretch(invoice.period_start, invoice.period_end)))
    settled = [("Paid", writing.amount(invoice.paid_minor)), ("Due", writing.money(due))]
    return Paper(
        title="Credit note" if note else "Invoice",
        number=invoice.number,
        dated=datetime.combine(invoice.issued_on, time(), UTC),
        locale=writing.locale,
        sender=house.sender,
        recipient=papers.recipient(customer),
        facts=facts + await _account(session, customer, invoice.service_id),
        headline=("Amount credited" if note else "Amount due", writing.money(-invoice.total_minor if note else due)),
        items=[_item(line, writing) for line in lines],
        sums=[
            ("Subtotal", writing.amount(invoice.subtotal_minor)),
            *_taxes(lines, writing),
            ("Total", writing.money(invoice.total_minor)),
            *([] if note else settled),
        ],
        listing=await _payments(session, invoice, writing),
        notes=(invoice.notes or "").splitlines(),
        stamp="PAID" if invoice.status is InvoiceStatus.PAID and not note else None,
        void=invoice.status is InvoiceStatus.VOID,
    )


async def find_receipt(session: AsyncSession, payment_id: UUID) -> Paper | None:
    """The receipt of a payment as it stands now; None when it is there no more."""
    payment = await session.get(Payment, payment_id)
    if payment is None or payment.status not in RECEIVED:
        return None
    house = await _house(session, payment.tenant_id)
    customer = await session.get_one(Customer, payment.customer_id)
    writing = house.writing
    facts = [("Received", writing.moment(payment.received_at)), ("Method", _METHODS[payment.method])]
    if payment.reference:
        facts.append(("Reference", payment.reference))
    if payment.collected_by_id is not None:
        facts.append(("Received by", (await session.get_one(Operator, payment.collected_by_id)).name))
    refunded = payment.status is PaymentStatus.REFUNDED
    return Paper(
        title="Receipt",
        number=payment.number,
        dated=payment.received_at,
        locale=writing.locale,
        sender=house.sender,
        recipient=papers.recipient(customer),
        facts=facts + await _account(session, customer, None),
        headline=("Amount received", writing.money(payment.amount_minor)),
        listing=None if refunded else await _settled(session, payment, writing),
        stamp="REFUNDED" if refunded else None,
    )


@dataclass(frozen=True, slots=True)
class _House:
    writing: papers.Writing
    sender: papers.Sender


async def _house(session: AsyncSession, tenant_id: UUID) -> _House:
    tenant = await session.get_one(Tenant, tenant_id)
    logo = await session.scalar(select(TenantLogo.body).where(TenantLogo.tenant_id == tenant_id))
    return _House(papers.writing(tenant), papers.sender(tenant, logo))


async def _account(session: AsyncSession, customer: Customer, service_id: UUID | None) -> list[tuple[str, str]]:
    """The account number, and the username of a service, or else of the primary one."""
    of = Service.id == service_id if service_id is not None else Service.is_primary
    username = await session.scalar(select(Service.username).where(Service.customer_id == customer.id, of))
    return [("Account", customer.account_number), *([("Username", username)] if username else [])]


def _item(line: InvoiceLine, writing: papers.Writing) -> papers.Item:
    return papers.Item(
        description=line.description,
        explanation=line.explanation,
        quantity=locales.number(line.quantity, writing.locale),
        unit_price=writing.amount(line.unit_price_minor),
        tax_rate=_rate(line.tax_rate, writing),
        amount=writing.amount(line.amount_minor),
    )


def _rate(rate: Decimal, writing: papers.Writing) -> str:
    return f"{locales.number(rate, writing.locale)}\u00a0%"


def _taxes(lines: Iterable[InvoiceLine], writing: papers.Writing) -> list[tuple[str, str]]:
    """The tax of each rate, also of none where there are others."""
    net: dict[Decimal, int] = defaultdict(int)
    tax: dict[Decimal, int] = defaultdict(int)
    for line in lines:
        net[line.tax_rate] += line.amount_minor
        tax[line.tax_rate] += line.tax_minor
    if set(net) == {Decimal(0)}:
        return [("Tax", writing.amount(0))]
    return [
        (f"Tax {_rate(rate, writing)} on {writing.amount(net[rate])}", writing.amount(tax[rate]))
        for rate in sorted(net)
    ]


async def _payments(session: AsyncSession, invoice: Invoice, writing: papers.Writing) -> papers.Listing | None:
    statement = (
        select(Payment.number, Payment.received_at, Payment.method, _SETTLES.label("amount_minor"))
        .join(Allocation, Allocation.payment_id == Payment.id)
        .where(Allocation.invoice_id == invoice.id, _SETTLES > 0)
        .order_by(Allocation.id)
    )
    rows = [
        (
            row.number,
            papers.day(row.received_at.astimezone(writing.zone).date()),
            _METHODS[row.method],
            writing.amount(row.amount_minor),
        )
        for row in await session.execute(statement)
    ]
    return papers.Listing("Payments", ("Number", "Received", "Method", "Amount"), rows) if rows else None


async def _settled(session: AsyncSession, payment: Payment, writing: papers.Writing) -> papers.Listing:
    """What a payment is for: the parts of invoices that it settles, what was given back, and what went to the
    wallet."""
    statement = (
        select(Invoice.number, Invoice.issued_on, _SETTLES.label("amount_minor"))
        .join(Invoice, Invoice.id == Allocation.invoice_id)
        .where(Allocation.payment_id == payment.id, _SETTLES > 0)
        .order_by(Allocation.id)
    )
    found = list(await session.execute(statement))
    rows: list[Sequence[str]] = [
        (f"Invoice {row.number}", papers.day(row.issued_on), writing.amount(row.amount_minor)) for row in found
    ]
    given = select(corrections.refunded(Payment)).where(Payment.id == payment.id)
    refunded = (await session.scalars(given)).one()
    left = payment.amount_minor - refunded - sum(row.amount_minor for row in found)
    if refunded:
        rows.append(("Given back", "", writing.amount(refunded)))
    if left > 0:
        rows.append(("Put into the wallet", "", writing.amount(left)))
    return papers.Listing("What it was for", ("", "Date", "Amount"), rows)
