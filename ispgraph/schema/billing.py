"""Invoices, payments, and the ledger."""

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from ispgraph import clock
from ispgraph.domain import models
from ispgraph.domain.billing import invoices, ledger, periods
from ispgraph.schema.base import Money, Node, money, node
from ispgraph.schema.context import Info

if TYPE_CHECKING:
    from ispgraph.schema.customers import Customer
    from ispgraph.schema.operators import Operator

CustomerLink = Annotated["Customer", strawberry.lazy("ispgraph.schema.customers")]
OperatorLink = Annotated["Operator", strawberry.lazy("ispgraph.schema.operators")]


@strawberry.type(description="One line of an invoice. `amount` is without tax; `taxRate` is in percent.")
class InvoiceLine:
    description: str
    explanation: str | None

    @strawberry.field
    def quantity(root: strawberry.Parent[models.InvoiceLine]) -> Decimal:
        return root.quantity.normalize()

    @strawberry.field
    def unit_price(root: strawberry.Parent[models.InvoiceLine], info: Info) -> Money:
        return money(info, root.unit_price_minor)

    @strawberry.field
    def amount(root: strawberry.Parent[models.InvoiceLine], info: Info) -> Money:
        return money(info, root.amount_minor)

    @strawberry.field
    def tax_rate(root: strawberry.Parent[models.InvoiceLine]) -> Decimal:
        return root.tax_rate.normalize()


@node("inv", models.Invoice, description="A demand for money. Once open, only its status and what is paid change.")
class Invoice(Node):
    number: str | None
    status: models.InvoiceStatus
    issued_on: date | None
    due_on: date | None
    period_start: datetime | None
    period_end: datetime | None
    notes: str | None

    @strawberry.field
    async def customer(root: strawberry.Parent[models.Invoice], info: Info) -> CustomerLink:
        row: Any = await info.context.loaders.one(models.Customer, root.customer_id)
        return row

    @strawberry.field(description="Money is still due, and the due day is over in the tenant's time zone.")
    def overdue(root: strawberry.Parent[models.Invoice], info: Info) -> bool:
        today = periods.local_date(clock.now(), info.context.viewer_or_refuse().time_zone)
        return invoices.overdue(root, today)

    @strawberry.field
    async def lines(root: strawberry.Parent[models.Invoice], info: Info) -> list[InvoiceLine]:
        rows: Any = await info.context.loaders.many(models.InvoiceLine, "invoice_id", root.id, order_by="position")
        return list(rows)

    @strawberry.field
    def subtotal(root: strawberry.Parent[models.Invoice], info: Info) -> Money:
        return money(info, root.subtotal_minor)

    @strawberry.field
    def tax(root: strawberry.Parent[models.Invoice], info: Info) -> Money:
        return money(info, root.tax_minor)

    @strawberry.field
    def total(root: strawberry.Parent[models.Invoice], info: Info) -> Money:
        return money(info, root.total_minor)

    @strawberry.field
    def amount_paid(root: strawberry.Parent[models.Invoice], info: Info) -> Money:
        return money(info, root.paid_minor)

    @strawberry.field(description="What is still to be paid: nothing for a draft or a void invoice.")
    def amount_due(root: strawberry.Parent[models.Invoice], info: Info) -> Money:
        return money(info, invoices.due_minor(root))

    @strawberry.field(description="Every payment of which a part went to this invoice.")
    async def payments(
        root: strawberry.Parent[models.Invoice], info: Info
    ) -> list[Annotated["Payment", strawberry.lazy("ispgraph.schema.billing")]]:
        shares = await info.context.loaders.many(models.Allocation, "invoice_id", root.id)
        found: list[Any] = [await info.context.loaders.one(models.Payment, share.payment_id) for share in shares]
        return list({row.id: row for row in found}.values())


@strawberry.type(description="The part of a payment that settles one invoice.")
class PaymentAllocation:
    @strawberry.field
    async def invoice(root: strawberry.Parent[models.Allocation], info: Info) -> Invoice:
        row: Any = await info.context.loaders.one(models.Invoice, root.invoice_id)
        return row

    @strawberry.field
    def amount(root: strawberry.Parent[models.Allocation], info: Info) -> Money:
        return money(info, root.amount_minor)


@node("pay", models.Payment, description="Money received. What its allocations leave over went to the wallet.")
class Payment(Node):
    number: str
    method: models.PaymentMethod
    status: models.PaymentStatus
    category: models.PaymentCategory
    reference: str | None
    notes: str | None
    received_at: datetime

    @strawberry.field
    async def customer(root: strawberry.Parent[models.Payment], info: Info) -> CustomerLink:
        row: Any = await info.context.loaders.one(models.Customer, root.customer_id)
        return row

    @strawberry.field
    def amount(root: strawberry.Parent[models.Payment], info: Info) -> Money:
        return money(info, root.amount_minor)

    @strawberry.field
    async def collected_by(root: strawberry.Parent[models.Payment], info: Info) -> OperatorLink | None:
        row: Any = await info.context.loaders.one(models.Operator, root.collected_by_id)
        return row

    @strawberry.field
    async def allocations(root: strawberry.Parent[models.Payment], info: Info) -> list[PaymentAllocation]:
        rows: Any = await info.context.loaders.many(models.Allocation, "payment_id", root.id)
        return list(rows)


@node("led", models.Posting, description="One movement on a customer's receivable or wallet.")
class LedgerEntry(Node):
    @strawberry.field
    async def at(root: strawberry.Parent[models.Posting], info: Info) -> datetime:
        return (await _journal(info, root)).at

    @strawberry.field(description="RECEIVABLE or WALLET.")
    def account(root: strawberry.Parent[models.Posting]) -> str:
        return root.account.value

    @strawberry.field
    async def description(root: strawberry.Parent[models.Posting], info: Info) -> str:
        return (await _journal(info, root)).description

    @strawberry.field(description="What the customer came to owe, or took out of the wallet.")
    def debit(root: strawberry.Parent[models.Posting], info: Info) -> Money | None:
        return money(info, root.amount_minor) if root.amount_minor > 0 else None

    @strawberry.field(description="What was taken off the debt, or put into the wallet.")
    def credit(root: strawberry.Parent[models.Posting], info: Info) -> Money | None:
        return money(info, -root.amount_minor) if root.amount_minor < 0 else None

    @strawberry.field(description="The customer's balance just after: above zero is credit, below zero is debt.")
    async def balance(root: strawberry.Parent[models.Posting], info: Info) -> Money:
        running = info.context.loaders.batched(("running balance",), ledger.running_balances)
        return money(info, await running.load(root.id))

    @strawberry.field
    async def invoice(root: strawberry.Parent[models.Posting], info: Info) -> Invoice | None:
        row: Any = await info.context.loaders.one(models.Invoice, (await _journal(info, root)).invoice_id)
        return row

    @strawberry.field
    async def payment(root: strawberry.Parent[models.Posting], info: Info) -> Payment | None:
        row: Any = await info.context.loaders.one(models.Payment, (await _journal(info, root)).payment_id)
        return row


async def _journal(info: Info, posting: models.Posting) -> models.Journal:
    row = await info.context.loaders.one(models.Journal, posting.journal_id)
    assert row is not None, "a foreign key says so"
    return row
