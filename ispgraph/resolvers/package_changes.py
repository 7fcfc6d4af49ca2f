"""Another package: what it would come to, asking for it, and taking a request back."""

from datetime import date
from typing import Any

import strawberry

from ispgraph.domain import package_changes
from ispgraph.domain.billing import quotes
from ispgraph.domain.package_changes import Wish
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id, typed_id
from ispgraph.domain.services import Chosen
from ispgraph.resolvers.base import action, query
from ispgraph.resolvers.customer_actions import chosen, payload
from ispgraph.schema.base import money
from ispgraph.schema.context import Info
from ispgraph.schema.customers import radius_attributes
from ispgraph.schema.package_changes import PackageChangePayload
from ispgraph.schema.quotes import ChangePackageInput, Quote
from ispgraph.schema.services import CustomerActionPayload


async def change_package_quote(
    info: Info,
    customer_id: strawberry.ID,
    package_id: strawberry.ID,
    service_id: strawberry.ID | None = None,
    effective_on: date | None = None,
) -> Quote:
    """What another package would come to: now, or on a day to come, were everything then as it is now."""
    whose = Chosen(typed_id("cus", customer_id, "customerId"), optional_id("svc", service_id, "serviceId"), ())
    wish = Wish(typed_id("pkg", package_id, "packageId"), effective_on)
    async with info.context.read() as session:
        secret, by = info.context.settings.token_key, info.context.viewer_or_refuse()
        return shown(info, await package_changes.quote(session, whose, wish, token_key=secret, by=by))


async def change_package(info: Info, input: ChangePackageInput) -> CustomerActionPayload:
    """Give a service another package: an invoice when something is to be paid, a credit note when not. Who is on line
    gets its rates at once. On a day to come it is only asked for."""
    done = await package_changes.change(
        info.context.session,
        chosen(input),
        Wish(typed_id("pkg", input.package_id, "input", "packageId"), input.effective_on),
        quote_token=input.quote_token,
        reason=input.reason,
        idempotency_key=input.idempotency_key,
        token_keys=info.context.settings.token_keys,
        by=info.context.viewer_or_refuse(),
    )
    return payload(done)


async def cancel(
    info: Info, package_change_id: strawberry.ID, idempotency_key: str | None = None
) -> PackageChangePayload:
    """Take back a request for another package that waits for its day."""
    row: Any = await package_changes.cancel(
        info.context.session,
        typed_id("pch", package_change_id, "packageChangeId"),
        idempotency_key=idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return PackageChangePayload(package_change=row)


def shown(info: Info, found: quotes.Quote) -> Quote:
    """A quote as the schema shows it."""
    lines: Any = list(found.lines)
    return Quote(
        token=found.token,
        expires_at=found.expires_at,
        lines=lines,
        credit=money(info, found.credit_minor),
        charge=money(info, found.charge_minor),
        tax=money(info, found.amounts.tax_minor),
        total=money(info, found.amounts.total_minor),
        next_invoice_on=found.next_invoice_on,
        effective_at=found.effective_at,
        radius_before=radius_attributes(found.radius_before),
        radius_after=radius_attributes(found.radius_after),
        warnings=list(found.warnings),
    )


@strawberry.type
class PackageChangeQueries:
    change_package_quote = query(change_package_quote, Permission.CHANGE_PACKAGE)


@strawberry.type
class PackageChangeMutations:
    customer_change_package = action(change_package, Permission.CHANGE_PACKAGE)
    package_change_cancel = action(cancel, Permission.CHANGE_PACKAGE)
