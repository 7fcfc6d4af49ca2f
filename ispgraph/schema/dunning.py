"""What is done about invoices that are not paid, and days on which services are suspended."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import strawberry
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import models
from ispgraph.domain.billing import debts
from ispgraph.schema.compiler.fields import declared
from ispgraph.schema.compiler.sources import Rows
from ispgraph.schema.context import Info


@strawberry.type(description="One thing done, or to be done, about an invoice that is not paid.")
class DunningStep:
    on: date = strawberry.field(description="The day planned for it. A settled invoice has no plans any more.")
    kind: models.DunningKind
    rule: str = strawberry.field(
        description='Which rule made the day, such as "due 14 March + 3 days of grace + 1 holiday (17 March), and the '
        'day after".'
    )
    done_at: datetime | None
    outcome: models.DunningOutcome | None = strawberry.field(
        description="PASSED_OVER: the day went by while no program ran, or something stronger took its place."
    )


async def _dunning(root: strawberry.Parent[models.Invoice], info: Info) -> list[DunningStep]:
    tenant_id = info.context.viewer_or_refuse().tenant_id

    async def load(session: AsyncSession, keys: Sequence[UUID]) -> list[list[debts.Shown]]:
        tenant = await session.get_one(models.Tenant, tenant_id)
        found = await debts.shown(session, keys, tenant)
        return [found[key] for key in keys]

    shown: Any = await info.context.loaders.batched(("dunning",), load).load(root.id)
    found: list[DunningStep] = shown
    return found


def dunning() -> Any:
    """The field `dunning` of an invoice."""
    description = "Reminders and the suspension, done and planned, by days. Nothing is planned where nothing is due."
    return strawberry.field(resolver=_dunning, description=description)


@strawberry.type(description="The rule behind `suspendOn`.")
class SuspendRule:
    recurring_day_of_month: int | None = strawberry.field(description="Null: once.")
    remind_days_before: int | None


def _suspend_rule(service: Any) -> Select[Any]:
    rule = models.SuspendRule
    rows: Any = select(rule.recurring_day.label("recurring_day_of_month"), rule.remind_days_before)
    found: Select[Any] = rows.where(rule.tenant_id == service.tenant_id, rule.service_id == service.id)
    return found


def suspend_rule() -> Any:
    """The field `suspendRule` of a service."""
    return declared(Rows(lambda service, asked: _suspend_rule(service), single=True), "Null where no day is set.")


@strawberry.input(
    description="A day to come, or a day of every month, in place of what was set before; with neither, none is set."
)
class SuspendDateInput:
    customer_id: strawberry.ID
    service_id: strawberry.ID | None = strawberry.field(
        default=None, description="Left out: the primary service, or the only one."
    )
    suspend_on: date | None = strawberry.field(default=None, description="In the tenant's zone; after today.")
    recurring_day_of_month: int | None = strawberry.field(default=None, description="From 1 to 28.")
    remind_days_before: int | None = strawberry.field(
        default=None, description="From 1 to 30. The customer is told that the service will be suspended."
    )
    idempotency_key: str | None = None
