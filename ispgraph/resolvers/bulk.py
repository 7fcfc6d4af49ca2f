"""Suspending and activating many customers at once."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import strawberry

from ispgraph import ids
from ispgraph.domain import bulk as domain
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import typed_ids
from ispgraph.resolvers.base import action
from ispgraph.schema.base import errors
from ispgraph.schema.bulk import (
    CustomerActionResult,
    CustomersActionPayload,
    CustomersActivateInput,
    CustomersSuspendInput,
)
from ispgraph.schema.context import Info


async def suspend(info: Info, input: CustomersSuspendInput) -> CustomersActionPayload:
    """Take the services of many customers off line, with one reason, in one transaction."""
    return _payload(
        await domain.suspend(
            info.context.session,
            _chosen(input),
            reason=input.reason,
            note=input.note,
            notify=input.notify,
            idempotency_key=input.idempotency_key,
            by=info.context.viewer_or_refuse(),
        )
    )


async def activate(info: Info, input: CustomersActivateInput) -> CustomersActionPayload:
    """Put the services of many customers on line, in one transaction."""
    return _payload(
        await domain.activate(
            info.context.session,
            _chosen(input),
            note=input.note,
            notify=input.notify,
            idempotency_key=input.idempotency_key,
            by=info.context.viewer_or_refuse(),
        )
    )


def _chosen(input: CustomersSuspendInput | CustomersActivateInput) -> Sequence[UUID]:
    return typed_ids("cus", input.customer_ids, "input", "customerIds")


def _payload(results: Sequence[domain.Result]) -> CustomersActionPayload:
    return CustomersActionPayload(results=[_result(one) for one in results])


def _result(one: domain.Result) -> CustomerActionResult:
    customer: Any = one.customer
    jobs: Any = list(one.jobs)
    key = strawberry.ID(ids.encode("cus", one.customer_id))
    return CustomerActionResult(customer_id=key, customer=customer, jobs=jobs, errors=errors(one.faults))


@strawberry.type
class BulkMutations:
    customers_suspend = action(suspend, Permission.SUSPEND_CUSTOMERS)
    customers_activate = action(activate, Permission.ACTIVATE_CUSTOMERS)
