"""Bills that a person asks for, and billing runs."""

from typing import Any

import strawberry

from ispgraph.domain.billing import manual
from ispgraph.domain.billing import runs as domain
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id
from ispgraph.resolvers.base import action, query
from ispgraph.resolvers.customer_actions import chosen
from ispgraph.schema import roots
from ispgraph.schema.bills import BillingRun, BillingRunInput, BillingRunPayload, GenerateBillInput
from ispgraph.schema.compiler.reading import page_of
from ispgraph.schema.context import Info
from ispgraph.schema.pages import Connection
from ispgraph.schema.payments import InvoicePayload


async def generate(info: Info, input: GenerateBillInput) -> InvoicePayload:
    """Bill the next period of a service, or time that was not billed, or an amount. The wallet pays what it can."""
    wanted = manual.Wanted(
        package_id=optional_id("pkg", input.package_id, "input", "packageId"),
        amount=input.amount,
        period_start=input.period_start,
        period_end=input.period_end,
        prorate=input.prorate,
        due_on=input.due_on,
        description=input.description,
        tax_rate=input.tax_rate,
    )
    invoice, customer = await manual.generate(
        info.context.session,
        chosen(input),
        wanted,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    shown: Any = invoice
    owner: Any = customer
    return InvoicePayload(invoice=shown, customer=owner)


async def start(info: Info, input: BillingRunInput) -> BillingRunPayload:
    """Bill every service whose time has come to an end, for each period that was missed, or try what that would do.

    A job does it; a period is billed once, however often this is asked for.
    """
    run: Any = await domain.start(
        info.context.session,
        dry_run=input.dry_run,
        as_of=input.as_of,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return BillingRunPayload(run=run)


async def runs(
    info: Info,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[BillingRun]:
    """Billing runs, newest first; for those who see all customers."""
    page: Connection[BillingRun] = page_of(roots.BILLING_RUNS, {}, first=first, after=after, last=last, before=before)
    return page


@strawberry.type
class BillQueries:
    billing_runs = query(runs, Permission.GENERATE_BILLS)


@strawberry.type
class BillMutations:
    customer_generate_bill = action(generate, Permission.GENERATE_BILLS)
    billing_run_start = action(start, Permission.GENERATE_BILLS)
