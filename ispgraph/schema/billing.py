"""Invoices, payments, and the ledger."""

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from sqlalchemy import ColumnElement, String, and_, case, cast, exists, select

from ispgraph.domain import models, visibility
from ispgraph.domain.billing import corrections, invoices, ledger
from ispgraph.schema.base import Money, Node, node, row
from ispgraph.schema.compiler.fields import amount as amount_of
from ispgraph.schema.compiler.fields import column, expression, many, one
from ispgraph.schema.documents import pdf_url, receipt_url
from ispgraph.schema.dunning import DunningStep, dunning

if TYPE_CHECKING:
    from ispgraph.schema.customers import Customer
    from ispgraph.schema.gateway_refunds import GatewayRefund
    from ispgraph.schema.operators import Operator

CustomerLink = Annotated["Customer", strawberry.lazy("ispgraph.schema.customers")]
GatewayRefundLink = Annotated["GatewayRefund", strawberry.lazy("ispgraph.schema.gateway_refunds")]
OperatorLink = Annotated["Operator", strawberry.lazy("ispgraph.schema.operators")]


@row(models.InvoiceLine, description="One line of an invoice. `amount` is without tax; `taxRate` is in percent.")
class InvoiceLine:
    description: str
    explanation: str | None
    quantity: Decimal = column("quantity")
    unit_price: Money = amount_of("unit_price_minor", description="With tax where `taxIncluded`.")
    amount: Money = amount_of("amount_minor")
    tax: Money = amount_of("tax_minor")
    tax_rate: Decimal = column("tax_rate")
    tax_included: bool


@node("inv", models.Invoice, description="A demand for money. Once open, only its status and what is paid change.")
class Invoice(Node):
    kind: models.InvoiceKind = column(
        "kind", description="The amounts of a CREDIT_NOTE are below zero; what it gives is in the customer's wallet."
    )
    credits: Annotated["Invoice", strawberry.lazy("ispgraph.schema.billing")] | None = one(
        "credits_id", description="The invoice of which a credit note gives something back."
    )
    number: str | None
    status: models.InvoiceStatus
    issued_on: date | None
    due_on: date | None
    period_start: datetime | None
    period_end: datetime | None
    notes: str | None
    customer: CustomerLink = one("customer_id")
    overdue: bool = expression(
        lambda invoice, asked: invoices.overdue(invoice, asked.now, asked.viewer.time_zone),
        description="Money is still due, and the due day is over in the tenant's time zone.",
    )
    lines: list[InvoiceLine] = many("invoice_id", order=lambda line, asked: [line.position])
    subtotal: Money = amount_of("subtotal_minor")
    tax: Money = amount_of("tax_minor")
    total: Money = amount_of("total_minor")
    amount_paid: Money = amount_of("paid_minor")
    amount_due: Money = amount_of(
        lambda invoice, asked: invoices.due_minor(invoice),
        description="What is still to be paid: nothing for a draft or a void invoice.",
    )
    payments: list[Annotated["Payment", strawberry.lazy("ispgraph.schema.billing")]] = many(
        lambda invoice, payment, asked: (
            exists()
            .where(models.Allocation.invoice_id == invoice.id, models.Allocation.payment_id == payment.id)
            .where(models.Allocation.released_minor < models.Allocation.amount_minor)
            .correlate_except(models.Allocation)
        ),
        description="Every payment of which a part settles this invoice.",
    )
    pdf_url: str | None = pdf_url()
    dunning: list[DunningStep] = dunning()


@row(models.Allocation, description="The part of a payment that settles one invoice.")
class PaymentAllocation:
    invoice: Invoice = one("invoice_id")
    amount: Money = amount_of(
        lambda allocation, asked: allocation.amount_minor - allocation.released_minor,
        description="Without what a void or a refund has taken from the invoice again.",
    )


@row(models.Refund, description="Money that was given back, as the books have it.")
class PaymentRefund:
    amount: Money = amount_of("amount_minor", description="Below zero: it takes back one that did not come about.")
    reason: str
    at: datetime
    by: OperatorLink | None = one("by_id", description="Null: the product itself, because a gateway has refused.")
    gateway_refund: GatewayRefundLink | None = one(
        lambda refund, theirs, asked: and_(
            theirs.refund_id == refund.id, visibility.condition(asked.viewer, models.GatewayRefund, theirs)
        ),
        description="How it stands with the gateway that carries it out; null where nobody was asked to.",
    )


@node("pay", models.Payment, description="Money received. What its allocations leave over went to the wallet.")
class Payment(Node):
    number: str
    method: models.PaymentMethod
    status: models.PaymentStatus
    category: models.PaymentCategory
    reference: str | None
    notes: str | None
    received_at: datetime
    customer: CustomerLink = one("customer_id")
    amount: Money = amount_of("amount_minor")
    collected_by: OperatorLink | None = one("collected_by_id")
    refunded: Money = amount_of(
        lambda payment, asked: corrections.refunded(payment),
        description="What of it was given back; also what a gateway is still to give back.",
    )
    refunds: list[PaymentRefund] = many("payment_id", description="Oldest first.")
    allocations: list[PaymentAllocation] = many(
        lambda payment, allocation, asked: and_(
            allocation.payment_id == payment.id, allocation.released_minor < allocation.amount_minor
        )
    )
    receipt_url: str | None = receipt_url()


def _journal(posting: Any, column: Any) -> ColumnElement[Any]:
    rows = select(column).where(models.Journal.id == posting.journal_id)
    return rows.correlate_except(models.Journal).scalar_subquery()


@node("led", models.Posting, description="One movement on a customer's receivable or wallet.")
class LedgerEntry(Node):
    at: datetime = expression(lambda posting, asked: _journal(posting, models.Journal.at))
    account: str = expression(lambda posting, asked: cast(posting.account, String), description="RECEIVABLE or WALLET.")
    description: str = expression(lambda posting, asked: _journal(posting, models.Journal.description))
    debit: Money | None = amount_of(
        lambda posting, asked: case((posting.amount_minor > 0, posting.amount_minor)),
        description="What the customer came to owe, or took out of the wallet.",
    )
    credit: Money | None = amount_of(
        lambda posting, asked: case((posting.amount_minor < 0, -posting.amount_minor)),
        description="What was taken off the debt, or put into the wallet.",
    )
    balance: Money = amount_of(
        lambda posting, asked: ledger.running_balance_minor(posting),
        description="The customer's balance just after: above zero is credit, below zero is debt.",
    )
    invoice: Invoice | None = one(
        lambda posting, invoice, asked: invoice.id == _journal(posting, models.Journal.invoice_id)
    )
    payment: Payment | None = one(
        lambda posting, payment, asked: payment.id == _journal(posting, models.Journal.payment_id)
    )
