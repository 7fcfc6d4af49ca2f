"""Money at the desk: what a customer pays, and what is given or taken back, asked for by a person with a right to it.

Each of these locks the customer first, so that of two at once, on any of the customer's invoices and payments, the
second sees what the first has done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import (
    amounts,
    audit,
    customers,
    gateway_refunds,
    idempotency,
    money,
    notices,
    tax_profiles,
    values,
)
from ispgraph.domain.billing import corrections, dunning_run, income, payments
from ispgraph.domain.billing import invoices as billing
from ispgraph.domain.errors import ErrorCode, Faults, fail, not_found
from ispgraph.domain.models import (
    Customer,
    Invoice,
    InvoiceStatus,
    Payment,
    PaymentCategory,
    PaymentMethod,
    Tenant,
)
from ispgraph.domain.onboarding import answers
from ispgraph.domain.permissions import Viewer

Row = TypeVar("Row", Invoice, Payment)

INVOICE_PAYMENT, REFUND = "invoiceRecordPayment", "paymentRefund"
ADVANCE, OTHER = "customerRecordAdvancePayment", "customerRecordOtherPayment"
_OTHER = {
    PaymentCategory.INSTALLATION: "Installation",
    PaymentCategory.EQUIPMENT: "Equipment",
    PaymentCategory.MAINTENANCE: "Maintenance",
    PaymentCategory.LATE_FEE: "Late fee",
    PaymentCategory.OTHER: "Other charge",
}
_NOTHING_DUE = {
    InvoiceStatus.DRAFT: "A draft cannot be paid.",
    InvoiceStatus.VOID: "A void invoice cannot be paid.",
    InvoiceStatus.PAID: "This invoice is paid.",
}


@dataclass(frozen=True, slots=True)
class Money:
    """What somebody hands over, as typed."""

    amount: Decimal
    method: PaymentMethod
    reference: str | None
    notes: str | None


@dataclass(frozen=True, slots=True)
class _Taken:
    """The same, judged: in minor units, the texts trimmed."""

    minor: int
    method: PaymentMethod
    reference: str | None
    notes: str | None


@dataclass(frozen=True, slots=True)
class Paid:
    """A payment, and the customer as it leaves him."""

    payment: Payment
    customer: Customer


async def pay_invoice(
    session: AsyncSession, invoice_id: UUID, given: Money, *, idempotency_key: str | None, by: Viewer
) -> Paid:
    """Money for an invoice. What is more than is due settles other open invoices, the oldest first, then goes to the
    wallet. With the method WALLET the wallet pays, and at most what is due.

    Raises DomainError INVALID_STATE when nothing is due, INSUFFICIENT_FUNDS when the wallet holds less.
    """
    taken = _judged(Faults("input"), given, by.currency)
    key = _Key(INVOICE_PAYMENT, idempotency_key, {"invoice": invoice_id, **_told(taken)})
    if (first := await key.answered(session, by)) is not None:
        return first
    customer, invoice = await locked(session, Invoice, invoice_id, by, "input", "invoiceId")
    if invoice.status in _NOTHING_DUE:
        raise fail(ErrorCode.INVALID_STATE, _NOTHING_DUE[invoice.status], "input", "invoiceId")
    tenant = await session.get_one(Tenant, by.tenant_id)
    if taken.method is PaymentMethod.WALLET:
        payment = await _from_wallet(session, tenant, customer, invoice, taken.minor, by)
    else:
        settles = await income.open_invoices(session, customer)
        payment = await _received(session, tenant, customer, taken, PaymentCategory.SERVICE, settles, by, invoice)
    return await _done(session, key, Paid(payment, customer), by)


async def pay_in_advance(
    session: AsyncSession,
    customer_id: UUID,
    given: Money,
    *,
    invoice_id: UUID | None,
    idempotency_key: str | None,
    by: Viewer,
) -> Paid:
    """Money ahead of time: it settles the invoice that is named, then other open ones, the oldest first; what is left
    is in the wallet for those to come."""
    taken = _judged(Faults("input"), given, by.currency)
    about = {"customer": customer_id, "invoice": invoice_id, **_told(taken)}
    key = _Key(ADVANCE, idempotency_key, about)
    if (first := await key.answered(session, by)) is not None:
        return first
    customer = await customers.lock(session, customer_id, by=by)
    invoice = await _invoice_of(session, customer, invoice_id)
    tenant = await session.get_one(Tenant, by.tenant_id)
    settles = await income.open_invoices(session, customer)
    payment = await _received(session, tenant, customer, taken, PaymentCategory.ADVANCE, settles, by, invoice)
    return await _done(session, key, Paid(payment, customer), by)


async def pay_other(
    session: AsyncSession,
    customer_id: UUID,
    given: Money,
    *,
    category: PaymentCategory,
    idempotency_key: str | None,
    by: Viewer,
) -> Paid:
    """Money for something other than a service: an invoice over it is made and paid at once, with the tax in it.

    Nothing of it goes to the wallet or to other invoices. With the method WALLET the wallet pays.
    """
    faults = Faults("input")
    if category not in _OTHER:
        message = f"Money for {category.value} is recorded as a payment of an invoice, or in advance."
        faults.add(ErrorCode.INVALID, message, "category")
    taken = _judged(faults, given, by.currency)
    about = {"customer": customer_id, "category": category.value, **_told(taken)}
    key = _Key(OTHER, idempotency_key, about)
    if (first := await key.answered(session, by)) is not None:
        return first
    customer = await customers.lock(session, customer_id, by=by)
    tenant = await session.get_one(Tenant, by.tenant_id)
    invoice = await _invoice_over(session, tenant, customer, taken.minor, category, by)
    if taken.method is PaymentMethod.WALLET:
        payment = await _from_wallet(session, tenant, customer, invoice, taken.minor, by)
    else:
        payment = await _received(session, tenant, customer, taken, category, [invoice], by)
    return await _done(session, key, Paid(payment, customer), by)


async def refund(
    session: AsyncSession,
    payment_id: UUID,
    *,
    amount: Decimal | None,
    reason: str,
    idempotency_key: str | None,
    by: Viewer,
    at_gateway: bool | None = None,
) -> Paid:
    """Give a payment back, whole or in part; see `corrections.refund`. The gateway that took the money carries it out
    where it can, unless `at_gateway` is false; see `gateway_refunds`."""
    faults = Faults()
    minor = None if amount is None else above_zero(faults, amount, by.currency, "amount")
    told = values.checked(faults, values.text, reason, 255, at=("reason",))
    faults.raise_if_any()
    assert told is not None
    about = {"payment": payment_id, "minor": minor, "reason": told}
    if at_gateway is not None:
        about["gateway"] = at_gateway
    key = _Key(REFUND, idempotency_key, about)
    if (first := await key.answered(session, by)) is not None:
        return first
    customer, payment = await locked(session, Payment, payment_id, by, "paymentId")
    way = await gateway_refunds.way(session, payment, wanted=at_gateway)
    at = clock.now()
    row = await corrections.refund(session, payment, minor, reason=told, currency=by.currency, at=at, by=by)
    details = {"payment": payment.number, "amount_minor": row.amount_minor, "reason": told}
    if way is not None:
        details["gateway"] = way.gateway.name
        await gateway_refunds.promise(session, way, row, by=by)
    audit.record(session, by=by, action="payment.refund", subject_id=customer.id, details=details)
    return await key.keep(session, by, Paid(payment, customer))


async def void(session: AsyncSession, invoice_id: UUID, *, reason: str, by: Viewer) -> tuple[Invoice, Customer]:
    """Take an invoice back; see `corrections.void`. The reason stands in the ledger."""
    faults = Faults()
    told = values.checked(faults, values.text, reason, 255, at=("reason",))
    faults.raise_if_any()
    assert told is not None
    customer, invoice = await locked(session, Invoice, invoice_id, by, "invoiceId")
    await corrections.void(session, invoice, reason=told, at=clock.now(), by=by)
    details = {"invoice": invoice.number, "total_minor": invoice.total_minor, "reason": told}
    audit.record(session, by=by, action="invoice.void", subject_id=customer.id, details=details)
    await dunning_run.relieve(session, customer, by=by)
    return invoice, customer


def above_zero(faults: Faults, amount: Decimal, currency: str, *field: str) -> int:
    """An amount above zero in minor units; a fault at `field` and 0 for what is none."""
    minor = amounts.minor(faults, amount, currency, *field)
    if minor is not None and minor <= 0:
        faults.add(ErrorCode.INVALID, "The amount must be more than zero.", *field)
    return minor or 0


def _judged(faults: Faults, given: Money, currency: str) -> _Taken:
    minor = above_zero(faults, given.amount, currency, "amount")
    reference = answers.optional(faults, given.reference, 255, "reference")
    notes = answers.optional(faults, given.notes, 500, "notes")
    if given.method is PaymentMethod.VOUCHER:
        faults.add(ErrorCode.INVALID, "A voucher is redeemed, not recorded as a payment.", "method")
    faults.raise_if_any()
    return _Taken(minor, given.method, reference, notes)


def _told(taken: _Taken) -> dict[str, object]:
    return {
        "minor": taken.minor,
        "method": taken.method.value,
        "reference": taken.reference,
        "notes": taken.notes,
    }


async def _invoice_over(
    session: AsyncSession, tenant: Tenant, customer: Customer, minor: int, category: PaymentCategory, by: Viewer
) -> Invoice:
    line = billing.Line(_OTHER[category], minor, await tax_profiles.rate_of(session, None, tenant), tax_included=True)
    row = await billing.draft(
        session,
        tenant=tenant,
        customer_id=customer.id,
        service_id=None,
        lines=[line],
        period_start=None,
        period_end=None,
    )
    return await billing.open(session, row, tenant=tenant, at=clock.now(), by=by)


async def _received(
    session: AsyncSession,
    tenant: Tenant,
    customer: Customer,
    taken: _Taken,
    category: PaymentCategory,
    settles: Sequence[Invoice],
    by: Viewer,
    first: Invoice | None = None,
) -> Payment:
    payment = await payments.record(
        session,
        tenant=tenant,
        customer_id=customer.id,
        amount_minor=taken.minor,
        method=taken.method,
        category=category,
        reference=taken.reference,
        notes=taken.notes,
        at=clock.now(),
        by=by,
        invoices=settles,
        first=first,
    )
    await notices.payment_received(session, tenant, customer, payment, by=by)
    return payment


async def _from_wallet(
    session: AsyncSession, tenant: Tenant, customer: Customer, invoice: Invoice, minor: int, by: Viewer
) -> Payment:
    due = invoice.total_minor - invoice.paid_minor
    if minor > due:
        raise fail(ErrorCode.INVALID, f"Of this invoice {money.shown(due, by.currency)} is due.", "input", "amount")
    payment = await payments.from_wallet(
        session,
        tenant=tenant,
        customer_id=customer.id,
        invoices=[invoice],
        at=clock.now(),
        by=by,
        most_minor=minor,
    )
    if payment is None or payment.amount_minor < minor:
        raise fail(ErrorCode.INSUFFICIENT_FUNDS, "The wallet holds less than that.", "input", "amount")
    return payment


async def _invoice_of(session: AsyncSession, customer: Customer, invoice_id: UUID | None) -> Invoice | None:
    if invoice_id is None:
        return None
    invoice = await session.get(Invoice, invoice_id)
    if invoice is None or invoice.customer_id != customer.id:
        raise not_found("invoice", "input", "invoiceId")
    if invoice.status in _NOTHING_DUE:
        raise fail(ErrorCode.INVALID_STATE, _NOTHING_DUE[invoice.status], "input", "invoiceId")
    return invoice


async def locked(session: AsyncSession, kind: type[Row], key: UUID, by: Viewer, *field: str) -> tuple[Customer, Row]:
    """A visible invoice or payment with its customer: the customer locked first, then the row."""
    what = "invoice" if kind is Invoice else "payment"
    owner = await session.scalar(
        select(kind.customer_id).where(kind.id == key, customers.belonging(by, kind.customer_id))
    )
    if owner is None:
        raise not_found(what, *field)
    customer = await customers.lock(session, owner, by=by, at=field)
    row = await session.get_one(kind, key, with_for_update={"key_share": True}, populate_existing=True)
    return customer, row


# -- keys


@dataclass(frozen=True, slots=True)
class _Key:
    operation: str
    key: str | None
    given: Mapping[str, object]

    async def answered(self, session: AsyncSession, by: Viewer) -> Paid | None:
        """What the same key and input did before; None when there is no key, or it is ours from now on."""
        first = await idempotency.claim(session, by=by, operation=self.operation, key=self.key, given=self.given)
        return None if first is None else await _paid_before(session, first, by)

    async def keep(self, session: AsyncSession, by: Viewer, paid: Paid) -> Paid:
        """The same, which the key answers with from now on."""
        answer = {"payment": str(paid.payment.id)}
        await idempotency.keep(session, by=by, operation=self.operation, key=self.key, answer=answer)
        return paid


async def _done(session: AsyncSession, key: _Key, paid: Paid, by: Viewer) -> Paid:
    await income.follow(session, paid.customer, paid.payment, by)
    return await key.keep(session, by, paid)


async def _paid_before(session: AsyncSession, first: Mapping[str, object], by: Viewer) -> Paid:
    payment = await session.get_one(Payment, UUID(str(first["payment"])))
    customer = await customers.find(session, payment.customer_id, by=by)
    if customer is None:
        raise not_found("customer")
    return Paid(payment, customer)
