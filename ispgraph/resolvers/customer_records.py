"""Making, correcting and removing customers, and putting their wallets right."""

from typing import Any

import strawberry

from ispgraph import ids
from ispgraph.domain import customer_records
from ispgraph.domain.billing import adjustments
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id, typed_id
from ispgraph.resolvers.base import action
from ispgraph.resolvers.hosting import wish_of
from ispgraph.resolvers.once import once
from ispgraph.schema.context import Info
from ispgraph.schema.customer_inputs import (
    AdjustBalanceInput,
    CustomerCreateInput,
    CustomerCreatePayload,
    CustomerPayload,
    CustomerUpdateInput,
    DeletePayload,
)


async def create(info: Info, input: CustomerCreateInput) -> CustomerCreatePayload:
    """Make a customer without a service; the wizard makes one with everything. With `hosting` an account is promised as
    well; the customer stands whatever becomes of it."""
    made: Any = await customer_records.create(
        info.context.session,
        name=input.name,
        mobile=input.mobile,
        email=input.email,
        company=input.company,
        address=input.address.answer() if input.address else None,
        zone_id=optional_id("zon", input.zone_id, "input", "zoneId"),
        hosting=wish_of(input.hosting) if input.hosting else None,
        network_key=info.context.settings.network_key,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return CustomerCreatePayload(customer=made.customer, hosting_account=made.account, jobs=list(made.jobs))


@once()
async def update(info: Info, input: CustomerUpdateInput) -> CustomerPayload:
    """Correct what is known of a customer."""
    row: Any = await customer_records.update(
        info.context.session,
        typed_id("cus", input.customer_id, "input", "customerId"),
        _changes(input),
        expected_version=input.expected_version,
        by=info.context.viewer_or_refuse(),
    )
    return CustomerPayload(customer=row)


def _changes(input: CustomerUpdateInput) -> customer_records.Changes:
    names = (
        *("name", "mobile", "email", "company", "address", "zone_id", "custom_fields"),
        *("language", "sms_opt_out", "email_opt_out"),
    )
    given: Any = {name: getattr(input, name) for name in names if getattr(input, name) is not strawberry.UNSET}
    if "zone_id" in given:
        given["zone_id"] = optional_id("zon", given["zone_id"], "input", "zoneId")
    if given.get("address"):
        given["address"] = given["address"].answer()
    if "custom_fields" in given:
        given["custom_fields"] = [(item.key, item.value) for item in given["custom_fields"] or ()]
    return given


@once(keeping=("deleted_id",))
async def delete(info: Info, customer_id: strawberry.ID) -> DeletePayload:
    """Delete a customer without invoices, payments, ledger entries, sessions, jobs and tickets; others are
    terminated."""
    key = typed_id("cus", customer_id, "customerId")
    await customer_records.remove(info.context.session, key, by=info.context.viewer_or_refuse())
    return DeletePayload(deleted_id=strawberry.ID(ids.encode("cus", key)))


async def adjust_balance(info: Info, input: AdjustBalanceInput) -> CustomerPayload:
    """Put something into a customer's wallet or take it out, without money changing hands.

    Needs the permission to give money back, REFUND_PAYMENTS.
    """
    row: Any = await adjustments.adjust(
        info.context.session,
        typed_id("cus", input.customer_id, "input", "customerId"),
        amount=input.amount,
        reason=input.reason,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return CustomerPayload(customer=row)


@strawberry.type
class CustomerMutations:
    customer_create = action(create, Permission.CREATE_CUSTOMERS)
    customer_update = action(update, Permission.EDIT_CUSTOMERS)
    customer_delete = action(delete, Permission.DELETE_CUSTOMERS)
    customer_adjust_balance = action(adjust_balance, Permission.REFUND_PAYMENTS)
