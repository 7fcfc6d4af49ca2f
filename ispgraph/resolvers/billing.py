"""Looking at invoices across customers."""

import strawberry

from ispgraph import clock
from ispgraph.domain import models
from ispgraph.domain.billing import periods
from ispgraph.domain.permissions import Permission
from ispgraph.resolvers.base import query
from ispgraph.schema import roots
from ispgraph.schema.billing import Invoice
from ispgraph.schema.compiler.reading import page_of
from ispgraph.schema.context import Info
from ispgraph.schema.pages import Connection


async def invoices(
    info: Info,
    status: list[models.InvoiceStatus] | None = None,
    overdue: bool | None = None,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[Invoice]:
    """Invoices of the viewer's customers, newest first; with `status`, those in these states; with `overdue`, those
    that are, or are not, past their due day in the tenant's time zone with money still due."""
    viewer = info.context.viewer_or_refuse()
    today = periods.local_date(clock.now(), viewer.time_zone)
    wanted = {
        "status": status,
        "overdue": today if overdue is True else None,
        "not_overdue": today if overdue is False else None,
    }
    found: Connection[Invoice] = page_of(roots.INVOICES, wanted, first=first, after=after, last=last, before=before)
    return found


@strawberry.type
class BillingQueries:
    invoices = query(invoices, Permission.VIEW_CUSTOMERS)
