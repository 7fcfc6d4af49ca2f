"""Commission, and the wallets of operators."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import strawberry
from sqlalchemy import ColumnElement, and_, case, select

from ispgraph.domain import models, visibility
from ispgraph.domain.billing import commission_rates, operator_wallets
from ispgraph.schema import roots
from ispgraph.schema.base import Money, Node, Payload, money, node, row
from ispgraph.schema.billing import Invoice, Payment
from ispgraph.schema.catalogue import Package
from ispgraph.schema.compiler.fields import amount as amount_of
from ispgraph.schema.compiler.fields import column, expression, one
from ispgraph.schema.compiler.reading import RowOf, page_of
from ispgraph.schema.context import Info
from ispgraph.schema.operators import Operator
from ispgraph.schema.pages import Connection

_ONE_OF_BOTH = "Give this or the other, not both."


@node(
    "crt",
    models.CommissionRate,
    description="What an operator earns from a moment on by the payments of the customers in the operator's tree: a "
    "share of what settles invoices, without tax, or a fixed amount for each invoice of a service. With neither, the "
    "rate before ended then.",
)
class CommissionRate(Node):
    operator: Operator = one("operator_id")
    package: Package | None = one("package_id", description="Null: for every package without a rate of its own.")
    percent: Decimal | None = column("percent")
    fixed: Money | None = amount_of("fixed_minor")
    valid_from: datetime
    in_force: bool = expression(
        lambda rate, asked: commission_rates.in_force(rate, asked.now),
        description="Whether it is what the operator earns by now.",
    )


@node("opp", models.OperatorPayment, description="Money between an operator and the provider.")
class OperatorPayment(Node):
    operator: Operator = one("operator_id")
    kind: models.OperatorPaymentKind
    amount: Money = amount_of("amount_minor", description="Into the operator's wallet above zero, out of it below.")
    method: models.PaymentMethod | None
    reference: str | None
    notes: str | None = strawberry.field(description="Of an adjustment: why.")
    at: datetime
    recorded_by: Operator | None = one("by_id")


def _journal(posting: Any, of: Any) -> ColumnElement[Any]:
    rows = select(of).where(models.Journal.id == posting.journal_id)
    return rows.correlate_except(models.Journal).scalar_subquery()


def _caused(model: Any, of: Any) -> Callable[..., ColumnElement[bool]]:
    # A customer may have gone to another operator since.
    return lambda posting, other, asked: and_(
        other.id == _journal(posting, of), visibility.condition(asked.viewer, model, other)
    )


@row(models.Posting, description="One movement of an operator's wallet.")
class OperatorEntry:
    at: datetime = expression(lambda posting, asked: _journal(posting, models.Journal.at))
    kind: models.OperatorEntryKind = expression(lambda posting, asked: operator_wallets.kind(posting))
    description: str = expression(lambda posting, asked: _journal(posting, models.Journal.description))
    credit: Money | None = amount_of(
        lambda posting, asked: case((posting.amount_minor < 0, -posting.amount_minor)),
        description="What came into the wallet.",
    )
    debit: Money | None = amount_of(
        lambda posting, asked: case((posting.amount_minor > 0, posting.amount_minor)),
        description="What went out of the wallet, or was taken back.",
    )
    balance: Money = amount_of(
        lambda posting, asked: operator_wallets.running_balance_minor(posting),
        description="What the wallet held just after.",
    )
    invoice: Invoice | None = one(_caused(models.Invoice, models.Journal.invoice_id))
    payment: Payment | None = one(_caused(models.Payment, models.Journal.payment_id))


Root = strawberry.Parent[operator_wallets.Statement]


@strawberry.type(description="An operator's wallet over some days. `opening`, `credited` less `debited` is `closing`.")
class OperatorStatement:
    @strawberry.field
    def operator(root: Root) -> Operator | None:
        found: Any = RowOf(models.Operator, root.operator_id, if_visible=True)
        return found

    @strawberry.field(name="from")
    def from_(root: Root) -> date:
        return root.first

    @strawberry.field
    def to(root: Root) -> date:
        return root.last

    @strawberry.field(description="What the wallet held when the first day began.")
    def opening(root: Root, info: Info) -> Money:
        return money(info, root.opening_minor)

    @strawberry.field(description="What came into it.")
    def credited(root: Root, info: Info) -> Money:
        return money(info, root.credited_minor)

    @strawberry.field(description="What went out of it, or was taken back.")
    def debited(root: Root, info: Info) -> Money:
        return money(info, root.debited_minor)

    @strawberry.field(description="What it held when the last day ended.")
    def closing(root: Root, info: Info) -> Money:
        return money(info, root.closing_minor)

    @strawberry.field(description="Newest first.")
    def entries(
        root: Root,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
    ) -> Connection[OperatorEntry]:
        within = {"operator": root.operator_id, "since": root.since, "until": root.until}
        found: Connection[OperatorEntry] = page_of(
            roots.OPERATOR_ENTRIES, within, first=first, after=after, last=last, before=before
        )
        return found


@strawberry.input(description="Amounts in the tenant's currency.")
class CommissionRateInput:
    operator_id: strawberry.ID
    package_id: strawberry.ID | None = strawberry.field(
        default=None, description="Null: for every package without a rate of its own, and for what is no package."
    )
    percent: Decimal | None = strawberry.field(
        default=None, description=f"From 0 to 100, with at most three decimals. {_ONE_OF_BOTH}"
    )
    fixed: Decimal | None = strawberry.field(
        default=None, description=f"For each invoice of a service that is paid as a whole. {_ONE_OF_BOTH}"
    )
    valid_from: datetime | None = strawberry.field(default=None, description="Now or later; null is now.")
    idempotency_key: str | None = None


@strawberry.input
class CommissionRateEndInput:
    operator_id: strawberry.ID
    package_id: strawberry.ID | None = strawberry.field(
        default=None, description="Which rate: that for a package, or the general one."
    )
    valid_from: datetime | None = strawberry.field(default=None, description="From when on; null is now.")
    idempotency_key: str | None = None


@strawberry.input
class OperatorPaymentInput:
    operator_id: strawberry.ID
    kind: models.OperatorPaymentKind = strawberry.field(
        description="TOP_UP: the operator pays in. PAYOUT: the operator is paid, at most what the wallet holds."
    )
    amount: Decimal = strawberry.field(description="Above zero, in the tenant's currency.")
    method: models.PaymentMethod
    reference: str | None = None
    notes: str | None = None
    idempotency_key: str | None = None


@strawberry.input
class OperatorAdjustmentInput:
    operator_id: strawberry.ID
    amount: Decimal = strawberry.field(description="Above zero, or below: at most what the wallet holds.")
    reason: str
    idempotency_key: str | None = None


@strawberry.type
class CommissionRatePayload(Payload):
    commission_rate: CommissionRate | None = None


@strawberry.type
class OperatorPaymentPayload(Payload):
    payment: OperatorPayment | None = None
    operator: Operator | None = None
