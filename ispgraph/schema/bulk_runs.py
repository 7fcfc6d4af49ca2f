"""The same for many customers by one job: what is taken, what it is, and what came of each customer."""

from datetime import date, datetime
from typing import Any

import strawberry
from sqlalchemy import and_

from ispgraph.domain import bulk_runs, models, selections, visibility
from ispgraph.domain.billing import runs
from ispgraph.domain.errors import ErrorCode
from ispgraph.domain.references import typed_ids
from ispgraph.schema.base import Money, Node, Payload, node, row
from ispgraph.schema.compiler.fields import amount as amount_of
from ispgraph.schema.compiler.fields import expression, one, pages
from ispgraph.schema.customer_lists import CustomerWhere, checked_below
from ispgraph.schema.customers import Customer
from ispgraph.schema.jobs import Job
from ispgraph.schema.operators import Operator
from ispgraph.schema.pages import Connection
from ispgraph.schema.services import NOTE, NOTIFY

_EXPECTED = (
    "How many customers are meant, as `customersSelection` or the `totalCount` of the list tells. VERSION_CONFLICT "
    "when the selection has another size by now: nothing is changed."
)
_DRY = "Only say what would come of each; nothing is changed and nobody is told."


@strawberry.input(
    description="Many customers: named, or as the list `customers` is narrowed. Who is meant is frozen when "
    f"something is asked for them; at most {bulk_runs.MOST}."
)
class CustomerSelection:
    customer_ids: list[strawberry.ID] | None = strawberry.field(
        default=None,
        description=f"At most {selections.MOST_NAMED}, each once. NOT_FOUND for each that is not there. Not together "
        "with `where` or `search`.",
    )
    where: CustomerWhere | None = strawberry.field(default=None, description="Empty: all whom the viewer may see.")
    search: str | None = strawberry.field(default=None, description="As of `customers`.")

    def checked(self, *at: str) -> selections.Selection:
        """With ids as they stand in tables. Raises DomainError."""
        named = None if self.customer_ids is None else typed_ids("cus", self.customer_ids, *at, "customerIds")
        return selections.Selection(named, checked_below(self.where, *at), self.search)


@strawberry.type
class CustomersOfStatus:
    status: models.CustomerStatus
    count: int


@strawberry.type(description="Whom a selection means now.")
class SelectedCustomers:
    count: int = strawberry.field(description="What to give as `expectedCount`.")
    statuses: list[CustomersOfStatus] = strawberry.field(description="How many of them are in each state they are in.")


@strawberry.input
class CustomersBulkSuspendInput:
    selection: CustomerSelection
    expected_count: int = strawberry.field(description=_EXPECTED)
    reason: models.SuspendReason
    note: str | None = strawberry.field(default=None, description=NOTE)
    notify: bool = strawberry.field(default=False, description=NOTIFY)
    dry_run: bool = strawberry.field(default=False, description=_DRY)
    idempotency_key: str | None = None


@strawberry.input
class CustomersBulkActivateInput:
    selection: CustomerSelection
    expected_count: int = strawberry.field(description=_EXPECTED)
    note: str | None = strawberry.field(default=None, description=NOTE)
    notify: bool = strawberry.field(default=False, description=NOTIFY)
    dry_run: bool = strawberry.field(default=False, description=_DRY)
    idempotency_key: str | None = None


@strawberry.input(description="Each at the price and with the proration of its customer, as customerChangePackage.")
class CustomersBulkChangePackageInput:
    selection: CustomerSelection
    expected_count: int = strawberry.field(description=_EXPECTED)
    package_id: strawberry.ID
    effective_on: date | None = strawberry.field(
        default=None,
        description="Left out or today: now. A later day, at most a year ahead: when it begins in the tenant's time "
        "zone, on the terms of that day.",
    )
    reason: str | None = strawberry.field(default=None, description="For operators, at most 500 characters.")
    dry_run: bool = strawberry.field(
        default=False, description=f"{_DRY} What each, and all together, would have to pay is told."
    )
    idempotency_key: str | None = None


@strawberry.input(description="An SMS to each, as customerSendSms: nobody who does not want any gets one.")
class CustomersBulkMessageInput:
    selection: CustomerSelection
    expected_count: int = strawberry.field(description=_EXPECTED)
    body: str | None = strawberry.field(
        default=None, description="Free text, at most 1530 characters; it may name variables. Or else a template's key."
    )
    template_key: str | None = None
    dry_run: bool = strawberry.field(
        default=False, description=f"{_DRY} How many parts, and credits of a reseller, it would take is told."
    )
    idempotency_key: str | None = None


@row(models.BulkRow, description="One customer of a bulk run.")
class BulkRow:
    customer: Customer | None = one(
        lambda one_of, customer, asked: and_(
            customer.id == one_of.customer_id, visibility.condition(asked.viewer, models.Customer, customer)
        ),
        description="Null when the viewer may not see the customer any more.",
    )
    outcome: models.BulkOutcome = strawberry.field(
        description="WAITING until it is the customer's turn, for good when the run was cancelled. DONE; of a dry run: "
        "would be. UNCHANGED when it was so already."
    )
    code: ErrorCode | None = strawberry.field(description="Why nothing was changed, as the single action would say.")
    message: str | None = strawberry.field(description="The same for people.")
    total: Money | None = amount_of(
        "total_minor",
        description="Of another package: above zero to be paid, below zero given back. Null when nothing is due, and "
        "where it waits for its day.",
    )
    segments: int | None = strawberry.field(description="Of a message: in how many parts it goes out.")
    ended_at: datetime | None


@node(
    "blk",
    models.BulkRun,
    description="The same done to each of many customers by one job. The figures grow while it works; one that is "
    "broken off goes on where it was, and comes to nobody twice.",
)
class BulkRun(Node):
    action: models.BulkAction
    dry_run: bool = strawberry.field(description="Nothing was changed: the figures say what would have been.")
    job: Job = one("job_id")
    status: models.JobStatus = expression(lambda run, asked: runs.of_its_job(run, models.Job.status))
    started_by: Operator = one("started_by_id")
    created_at: datetime
    cancelled_at: datetime | None
    count: int = strawberry.field(description="How many customers were selected.")
    done: int
    unchanged: int = strawberry.field(description="With how many it was so already.")
    failed: int = strawberry.field(description="How many could not be changed; their rows say why.")
    charged: Money = amount_of(
        "charged_minor", description="Of another package: what is to be paid, all together, tax included."
    )
    credited: Money = amount_of(
        "credited_minor", description="Of another package: what is given back, all together, tax included."
    )
    segments: int = strawberry.field(
        description="Of messages: how many parts they have all together; a reseller pays a credit for each."
    )
    rows: Connection[BulkRow] = pages(
        lambda run, asked: models.BulkRow.run_id == run.id,
        bulk_runs.ROWS,
        filters=bulk_runs.ROW_FILTERS,
        arguments={"outcome": list[models.BulkOutcome] | None},
        description="What came of each customer, in the order of the selection; with `outcome`, those of these.",
    )


@strawberry.type
class BulkRunPayload(Payload):
    bulk_run: BulkRun | None = None


def selected(found: selections.Counts) -> SelectedCustomers:
    """Counts as the schema shows them."""
    statuses: list[Any] = [CustomersOfStatus(status=status, count=number) for status, number in found.items()]
    return SelectedCustomers(count=sum(found.values()), statuses=statuses)
