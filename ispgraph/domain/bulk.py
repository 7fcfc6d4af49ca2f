"""Suspending and activating many customers in one transaction: each as if alone; who cannot be changed is named."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import customers, hosting, idempotency, services
from ispgraph.domain.errors import DomainError, ErrorCode, Fault, Faults, not_found
from ispgraph.domain.models import Customer, Job, Service, SuspendReason
from ispgraph.domain.network import changes
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.services import Chosen

MOST = 100
SUSPEND, ACTIVATE = "customersSuspend", "customersActivate"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one customer: the customer, or why nothing was changed."""

    customer_id: UUID
    customer: Customer | None = None
    jobs: Sequence[Job] = ()
    faults: Sequence[Fault] = ()


class Change(Protocol):
    """Changes a service of a locked customer, locked with the others. Raises DomainError before anything is changed."""

    async def __call__(
        self, customer: Customer, service: Service, others: Sequence[Service], chosen: Chosen
    ) -> None: ...


async def suspend(
    session: AsyncSession,
    customer_ids: Sequence[UUID],
    *,
    reason: SuspendReason,
    note: str | None,
    notify: bool,
    idempotency_key: str | None,
    by: Viewer,
) -> Sequence[Result]:
    """`services.suspend` for each of these customers, at most 100, in their order."""
    told = services.note_of(note)
    change = suspending(session, reason=reason, told=told, notify=notify, by=by)
    given = {"reason": reason.value, "note": told, "notify": notify}
    return await _each(session, SUSPEND, customer_ids, change, given, idempotency_key, by)


async def activate(
    session: AsyncSession,
    customer_ids: Sequence[UUID],
    *,
    note: str | None,
    notify: bool,
    idempotency_key: str | None,
    by: Viewer,
) -> Sequence[Result]:
    """`services.activate` for each of these customers, at most 100, in their order."""
    told = services.note_of(note)
    change = activating(session, told=told, notify=notify, by=by)
    given = {"note": told, "notify": notify}
    return await _each(session, ACTIVATE, customer_ids, change, given, idempotency_key, by)


def suspending(session: AsyncSession, *, reason: SuspendReason, told: str | None, notify: bool, by: Viewer) -> Change:
    """What suspends one."""

    async def change(customer: Customer, service: Service, others: Sequence[Service], chosen: Chosen) -> None:
        await services.take_off_line(
            session, customer, service, others, chosen, reason=reason, told=told, notify=notify, by=by
        )

    return change


def activating(session: AsyncSession, *, told: str | None, notify: bool, by: Viewer) -> Change:
    """What activates one."""

    async def change(customer: Customer, service: Service, others: Sequence[Service], chosen: Chosen) -> None:
        await services.put_on_line(session, customer, service, others, chosen, told=told, notify=notify, by=by)

    return change


async def _each(
    session: AsyncSession,
    operation: str,
    customer_ids: Sequence[UUID],
    change: Change,
    given: Mapping[str, object],
    key: str | None,
    by: Viewer,
) -> Sequence[Result]:
    _check(customer_ids)
    meant = {**given, "customers": customer_ids}
    answer = await idempotency.claim(session, by=by, operation=operation, key=key, given=meant)
    if answer is not None:
        return await _again(session, answer, by)
    results = await change_all(session, customer_ids, change, ("input", "customerIds"), by)
    kept = {"results": [_as_kept(result) for result in results]}
    await idempotency.keep(session, by=by, operation=operation, key=key, answer=kept)
    return results


async def change_all(
    session: AsyncSession, customer_ids: Sequence[UUID], change: Change, at: tuple[str, ...], by: Viewer
) -> Sequence[Result]:
    """Change each of these customers whom the viewer may see. What is wrong with one is told at its place below `at`,
    and does not stand in the way of the others."""
    # In the order of their ids, as everybody who locks several.
    rows = customers.visible(by).where(Customer.id.in_(customer_ids)).order_by(Customer.id)
    found = {row.id: row for row in await session.scalars(rows.with_for_update(of=Customer, key_share=True))}
    owned = await services.services_of(session, list(found))
    await hosting.look_ahead(session, found)
    changed: dict[UUID, Service] = {}
    faults: dict[UUID, Sequence[Fault]] = {}
    for place, customer_id in enumerate(customer_ids):
        try:
            if (customer := found.get(customer_id)) is None:
                raise not_found("customer")
            customers.require_zone(customer, by)
            chosen = Chosen(customer_id, None)
            service = services.meant(owned[customer_id], chosen)
            await change(customer, service, owned[customer_id], chosen)
            changed[customer_id] = service
        except DomainError as error:
            faults[customer_id] = [Fault(fault.code, fault.message, (*at, str(place))) for fault in error.faults]
    jobs = await changes.all_changed(session, list(changed.values()), by=by.operator_id)
    return [
        Result(customer_id, found[customer_id], jobs[changed[customer_id].id])
        if customer_id in changed
        else Result(customer_id, faults=faults[customer_id])
        for customer_id in customer_ids
    ]


def _check(customer_ids: Sequence[UUID]) -> None:
    wrong = Faults("input", "customerIds")
    if not customer_ids:
        wrong.add(ErrorCode.REQUIRED, "Name at least one customer.")
    if len(customer_ids) > MOST:
        wrong.add(ErrorCode.LIMIT_EXCEEDED, f"At most {MOST} customers at once.")
    first = {key: place for place, key in reversed(list(enumerate(customer_ids)))}
    for place, key in enumerate(customer_ids[:MOST]):
        if first[key] != place:
            wrong.add(ErrorCode.INVALID, "This customer is named twice.", str(place))
    wrong.raise_if_any()


def _as_kept(result: Result) -> dict[str, object]:
    return {
        "customer": str(result.customer_id),
        "jobs": [str(job.id) for job in result.jobs],
        "faults": [[fault.code.value, fault.message, fault.field] for fault in result.faults],
    }


async def _again(session: AsyncSession, answer: Mapping[str, Any], by: Viewer) -> Sequence[Result]:
    """What the same key and input did before, with the rows as they are now."""
    kept = answer["results"]
    keys = [UUID(one["customer"]) for one in kept]
    found = {row.id: row for row in await session.scalars(customers.visible(by).where(Customer.id.in_(keys)))}
    wanted = [UUID(job) for one in kept for job in one["jobs"]]
    jobs = {str(row.id): row for row in await session.scalars(select(Job).where(Job.id.in_(wanted)))}
    return [
        Result(
            key,
            found.get(key) if not one["faults"] else None,
            [jobs[job] for job in one["jobs"]],
            [Fault(ErrorCode(code), message, tuple(field)) for code, message, field in one["faults"]],
        )
        for key, one in zip(keys, kept, strict=True)
    ]
