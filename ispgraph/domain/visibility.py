"""One rule per kind of row for who may see it: `node`, ids in arguments and subscriptions all ask here."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import customers, jobs, operators
from ispgraph.domain.models import (
    Customer,
    CustomField,
    Draft,
    Invoice,
    Job,
    Operator,
    Package,
    Payment,
    Posting,
    Router,
    Service,
    Tenant,
    Zone,
)
from ispgraph.domain.onboarding import drafts
from ispgraph.domain.permissions import Permission, Viewer

Rule = tuple[Permission | None, Callable[[Viewer], Select[Any]]]


def _belongs(model: Any) -> Callable[[Viewer], Select[Any]]:
    return lambda by: select(model).where(customers.belonging(by, model.customer_id))


def _anyone(model: Any) -> Callable[[Viewer], Select[Any]]:
    return lambda by: select(model)


# The permission a kind demands (None: every operator), and the rows of it that a viewer may see.
RULES: Mapping[type[Any], Rule] = {
    Customer: (Permission.VIEW_CUSTOMERS, customers.visible),
    Service: (Permission.VIEW_CUSTOMERS, _belongs(Service)),
    Invoice: (Permission.VIEW_CUSTOMERS, _belongs(Invoice)),
    Payment: (Permission.VIEW_CUSTOMERS, _belongs(Payment)),
    Posting: (
        Permission.VIEW_CUSTOMERS,
        lambda by: select(Posting).where(
            Posting.customer_id.is_not(None), customers.belonging(by, Posting.customer_id)
        ),
    ),
    Job: (Permission.VIEW_CUSTOMERS, lambda by: select(Job).where(jobs.visible(by))),
    Draft: (Permission.CREATE_CUSTOMERS, drafts.visible),
    Operator: (None, lambda by: select(Operator).where(operators.visible(by))),
    Tenant: (None, lambda by: select(Tenant).where(Tenant.id == by.tenant_id)),
    Package: (None, _anyone(Package)),
    Zone: (None, _anyone(Zone)),
    Router: (None, _anyone(Router)),
    CustomField: (None, _anyone(CustomField)),
}


async def find(session: AsyncSession, model: type[Any], key: UUID, *, by: Viewer) -> Any:
    """The row of this kind with this id if the viewer may see it, else None."""
    permission, rows = RULES[model]
    if permission is not None and not by.may(permission):
        return None
    return await session.scalar(rows(by).where(model.id == key))
