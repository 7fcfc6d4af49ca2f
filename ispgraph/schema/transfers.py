"""Customers that change hands."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from sqlalchemy import and_

from ispgraph.domain import models, transfers
from ispgraph.domain.errors import not_found
from ispgraph.domain.models import TransferStatus
from ispgraph.schema.base import Node, Payload, node
from ispgraph.schema.compiler.fields import one, pages
from ispgraph.schema.compiler.reading import RowOf
from ispgraph.schema.context import Info
from ispgraph.schema.operators import Operator

if TYPE_CHECKING:
    from ispgraph.schema.customers import Customer

CustomerLink = Annotated["Customer", strawberry.lazy("ispgraph.schema.customers")]


@node(
    "trf",
    models.CustomerTransfer,
    description="A request that a customer goes to another operator. Those see it who see one of the two operators.",
)
class CustomerTransfer(Node):
    @strawberry.field(
        description="Only for those in whose tree the customer is now: for others, such as the operator who is to get "
        "the customer, an error says that there is no such customer. `customerName` and `accountNumber` are for all."
    )
    async def customer(root: strawberry.Parent[models.CustomerTransfer], info: Info) -> CustomerLink:
        viewer = info.context.viewer_or_refuse()
        seen = info.context.loaders.batched(
            ("customers seen",), lambda session, keys: transfers.seen_customers(session, keys, by=viewer)
        )
        if not await seen.load(root.customer_id):
            raise not_found("customer")
        found: Any = RowOf(models.Customer, root.customer_id)
        return found

    customer_name: str = strawberry.field(description="When it was asked for.")
    account_number: str
    from_operator: Operator = one("from_operator_id")
    to_operator: Operator = one("to_operator_id")
    status: TransferStatus = strawberry.field(
        description="PENDING_SOURCE: `fromOperator` is to agree. PENDING_TARGET: that is done, and `toOperator` is to. "
        "APPROVED: carried out. REJECTED: refused by one of them, or taken back."
    )
    transfer_invoices: bool = strawberry.field(
        description="Whether payments of the invoices that are open when it is carried out earn commission for the new "
        "operator and those above. Otherwise for the former ones."
    )
    reason: str | None
    note: str | None = strawberry.field(description="What was said last to a confirmation, or to the rejection.")
    created_at: datetime
    requested_by: Operator = one("requested_by_id")
    waiting_for: Operator | None = one(
        lambda transfer, operator, asked: operator.id == transfers.awaited_id(transfer),
        description="Who is to agree next: the operator, or, when that one is not active or may not see customers, the "
        "nearest one above. Null when it is decided.",
    )
    source_confirmed_at: datetime | None
    source_confirmed_by: Operator | None = one("source_confirmed_by_id")
    target_confirmed_at: datetime | None
    target_confirmed_by: Operator | None = one("target_confirmed_by_id")
    decided_at: datetime | None = strawberry.field(description="When it was carried out or rejected.")
    decided_by: Operator | None = one("decided_by_id")


def transfers_of_customer() -> Any:
    """The field of a customer."""
    return pages(
        lambda customer, asked: and_(
            models.CustomerTransfer.customer_id == customer.id,
            transfers.visible(asked.viewer, models.CustomerTransfer),
        ),
        transfers.NEWEST,
        description="Requests that the customer goes to another operator, newest first: those from or to an operator "
        "whom the viewer sees.",
    )


@strawberry.input
class TransferInput:
    customer_id: strawberry.ID
    to_operator_id: strawberry.ID = strawberry.field(
        description="An active operator of a role that may create customers, with the permission VIEW_CUSTOMERS."
    )
    transfer_invoices: bool = strawberry.field(
        default=True,
        description="Whether payments of the invoices that are open by then earn for the new operator, or go on to for "
        "the former one. What was earned before stays in any case.",
    )
    reason: str | None = strawberry.field(default=None, description="At most 500 characters.")
    idempotency_key: str | None = None


@strawberry.input
class TransferDecisionInput:
    transfer_id: strawberry.ID
    approve: bool
    note: str | None = strawberry.field(default=None, description="At most 500 characters.")
    idempotency_key: str | None = None


@strawberry.type
class TransferPayload(Payload):
    transfer: CustomerTransfer | None = None
    warnings: list[str] = strawberry.field(
        default_factory=list,
        description="What is worth knowing before agreeing: packages whose next period costs the customer something "
        "else with the new operator.",
    )
