"""Billing profiles, and days on which services are to be suspended."""

from datetime import date
from typing import Any

import strawberry

from ispgraph.domain import suspend_dates
from ispgraph.domain.billing import profile_changes
from ispgraph.domain.billing.profiles import Impact
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import typed_id
from ispgraph.resolvers.base import action, query
from ispgraph.resolvers.customer_actions import chosen, payload
from ispgraph.schema.base import money
from ispgraph.schema.context import Info
from ispgraph.schema.customer_inputs import CustomerPayload
from ispgraph.schema.dunning import SuspendDateInput
from ispgraph.schema.profiles import BillingProfileImpact, BillingProfileInput, UpdateBillingProfileInput
from ispgraph.schema.services import CustomerActionPayload

_TRUE_OR_FALSE = ("auto_generate", "auto_suspend", "auto_renew")


async def impact(info: Info, customer_id: strawberry.ID, input: BillingProfileInput) -> BillingProfileImpact:
    """What a change of the billing profile would bring; nothing is changed."""
    key = typed_id("cus", customer_id, "customerId")
    async with info.context.read() as session:
        found = await profile_changes.impact(session, key, _given(input), by=info.context.viewer_or_refuse())
    return _shown(info, found)


async def suspend_impact(info: Info, customer_id: strawberry.ID, suspend_on: date) -> BillingProfileImpact:
    """What it would bring to have the primary service suspended on a day to come; nothing is changed."""
    key = typed_id("cus", customer_id, "customerId")
    async with info.context.read() as session:
        found = await profile_changes.suspend_date_impact(session, key, suspend_on, by=info.context.viewer_or_refuse())
    return _shown(info, found)


async def update(info: Info, input: UpdateBillingProfileInput) -> CustomerPayload:
    """Change how a customer is billed. What changes much has to be confirmed."""
    row: Any = await profile_changes.update(
        info.context.session,
        typed_id("cus", input.customer_id, "input", "customerId"),
        _given(input.profile),
        confirmed=input.confirm_impact,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return CustomerPayload(customer=row)


async def set_suspend_date(info: Info, input: SuspendDateInput) -> CustomerActionPayload:
    """Have a service suspended on a day to come, or on a day of every month; it is activated by hand again."""
    done = await suspend_dates.set_date(
        info.context.session,
        chosen(input),
        suspend_dates.Wanted(input.suspend_on, input.recurring_day_of_month, input.remind_days_before),
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return payload(done)


def _given(input: BillingProfileInput) -> profile_changes.Given:
    given = {name: value for name, value in vars(input).items() if value is not strawberry.UNSET}
    return {name: value for name, value in given.items() if value is not None or name not in _TRUE_OR_FALSE}


def _shown(info: Info, found: Impact) -> BillingProfileImpact:
    return BillingProfileImpact(
        next_invoice_on=found.next_invoice_on,
        next_suspension_on=found.next_suspension_on,
        proration=money(info, found.proration_minor),
        requires_confirmation=found.requires_confirmation,
        explanation=found.explanation,
    )


@strawberry.type
class ProfileQueries:
    billing_profile_impact = query(impact, Permission.EDIT_BILLING_PROFILE)
    suspend_date_impact = query(suspend_impact, Permission.EDIT_SUSPEND_DATE)


@strawberry.type
class ProfileMutations:
    customer_update_billing_profile = action(update, Permission.EDIT_BILLING_PROFILE)
    customer_set_suspend_date = action(set_suspend_date, Permission.EDIT_SUSPEND_DATE)
