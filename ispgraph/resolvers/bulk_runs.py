"""The same for many customers by one job: looking at a selection, asking, looking at what came of it, cancelling."""

from typing import Any

import strawberry

from ispgraph.domain import bulk_runs as domain
from ispgraph.domain import bulk_wishes, selections
from ispgraph.domain.messaging import sms
from ispgraph.domain.models import BulkAction
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import typed_id
from ispgraph.resolvers.base import SIGNED_IN, action, query
from ispgraph.schema import roots
from ispgraph.schema.bulk_runs import (
    BulkRun,
    BulkRunPayload,
    CustomersBulkActivateInput,
    CustomersBulkChangePackageInput,
    CustomersBulkMessageInput,
    CustomersBulkSuspendInput,
    CustomerSelection,
    SelectedCustomers,
    selected,
)
from ispgraph.schema.compiler.reading import page_of
from ispgraph.schema.context import Info
from ispgraph.schema.pages import Connection

Input = (
    CustomersBulkSuspendInput | CustomersBulkActivateInput | CustomersBulkChangePackageInput | CustomersBulkMessageInput
)


async def selection(info: Info, selection: CustomerSelection) -> SelectedCustomers:
    """How many customers a selection means now, before anything is done to them."""
    meant, by = selection.checked("selection"), info.context.viewer_or_refuse()
    async with info.context.read() as session:
        return selected(await selections.by_status(session, meant, by=by, at=("selection",)))


async def suspend(info: Info, input: CustomersBulkSuspendInput) -> BulkRunPayload:
    """Have a job take the services of many customers off line, as `customersSuspend` does of at most 100 at once."""
    wish = bulk_wishes.suspend(input.reason, input.note, notify=input.notify)
    return await _start(info, BulkAction.SUSPEND, wish, input)


async def activate(info: Info, input: CustomersBulkActivateInput) -> BulkRunPayload:
    """Have a job put the services of many customers on line."""
    wish = bulk_wishes.activate(input.note, notify=input.notify)
    return await _start(info, BulkAction.ACTIVATE, wish, input)


async def change_package(info: Info, input: CustomersBulkChangePackageInput) -> BulkRunPayload:
    """Have a job give the services of many customers another package. With `dryRun` first it tells what each, and all
    together, would have to pay."""
    package_id = typed_id("pkg", input.package_id, "input", "packageId")
    wish = bulk_wishes.change_package(package_id, input.effective_on, input.reason)
    return await _start(info, BulkAction.CHANGE_PACKAGE, wish, input)


async def message(info: Info, input: CustomersBulkMessageInput) -> BulkRunPayload:
    """Have a job write an SMS to many customers. A reseller's credits are reserved for each when it is its turn."""
    wish = bulk_wishes.message(sms.Wish(input.body, input.template_key), input.expected_count)
    return await _start(info, BulkAction.MESSAGE, wish, input)


async def _start(info: Info, action: BulkAction, wished: bulk_wishes.Wished, input: Input) -> BulkRunPayload:
    asked = domain.Asked(
        action=action,
        wished=wished,
        selection=input.selection.checked(*domain.SELECTION),
        expected_count=input.expected_count,
        dry_run=input.dry_run,
    )
    run: Any = await domain.start(
        info.context.session, asked, idempotency_key=input.idempotency_key, by=info.context.viewer_or_refuse()
    )
    return BulkRunPayload(bulk_run=run)


async def cancel(info: Info, bulk_run_id: strawberry.ID, idempotency_key: str | None = None) -> BulkRunPayload:
    """Leave alone whom a bulk run has not come to yet; what is done stays done. Needs the permission of its action."""
    run: Any = await domain.cancel(
        info.context.session,
        typed_id("blk", bulk_run_id, "bulkRunId"),
        idempotency_key=idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return BulkRunPayload(bulk_run=run)


async def runs(
    info: Info,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[BulkRun]:
    """What was asked for many customers by the viewer and those below, newest first."""
    page: Connection[BulkRun] = page_of(roots.BULK_RUNS, {}, first=first, after=after, last=last, before=before)
    return page


@strawberry.type
class BulkRunQueries:
    customers_selection = query(selection, Permission.VIEW_CUSTOMERS)
    bulk_runs = query(runs, Permission.VIEW_CUSTOMERS)


@strawberry.type
class BulkRunMutations:
    customers_bulk_suspend = action(suspend, Permission.SUSPEND_CUSTOMERS)
    customers_bulk_activate = action(activate, Permission.ACTIVATE_CUSTOMERS)
    customers_bulk_change_package = action(change_package, Permission.CHANGE_PACKAGE)
    customers_bulk_message = action(message, Permission.SEND_SMS)
    # The permission of what it does: the verb asks for it.
    customers_bulk_cancel = action(cancel, SIGNED_IN)
