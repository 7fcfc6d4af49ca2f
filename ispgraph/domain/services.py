"""What customers buy: one package on one connection. Suspending a service, activating it, and ending its sessions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import (
    action_rules,
    audit,
    customers,
    hosting,
    idempotency,
    messages,
    notices,
    service_periods,
    sessions,
)
from ispgraph.domain.errors import DomainError, ErrorCode, Faults, fail, not_found
from ispgraph.domain.models import (
    ConnectionType,
    Customer,
    CustomerStatus,
    Invoice,
    Job,
    OpenSession,
    Payment,
    Router,
    Service,
    ServiceStatus,
    Session,
    SuspendReason,
)
from ispgraph.domain.network import changes
from ispgraph.domain.onboarding import answers
from ispgraph.domain.permissions import Viewer

ACTIVATE, SUSPEND, DISCONNECT = "customerActivate", "customerSuspend", "customerDisconnect"
LONGEST_NOTE = 200

_REASONS = {
    SuspendReason.NON_PAYMENT: "Non-payment",
    SuspendReason.VIOLATION: "Violation of the terms",
    SuspendReason.MAINTENANCE: "Maintenance",
    SuspendReason.CUSTOMER_REQUEST: "Customer request",
    SuspendReason.OTHER: "Other reason",
}
# The status of a customer is the first of these that one of the services has. In this order no service's access to the
# network depends on another's: a customer with an expired service may see the walled garden, a pending one may not.
_FOREMOST = (
    ServiceStatus.ACTIVE,
    ServiceStatus.SUSPENDED,
    ServiceStatus.EXPIRED,
    ServiceStatus.PENDING,
    ServiceStatus.TERMINATED,
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Whose service is meant, and which: None for the primary one, or the only one."""

    customer_id: UUID
    service_id: UUID | None
    above: tuple[str, ...] = ("input",)
    """The path to where both were given."""

    @property
    def field(self) -> tuple[str, ...]:
        """The path to what chose the service."""
        return (*self.above, "customerId" if self.service_id is None else "serviceId")


@dataclass(frozen=True, slots=True)
class Done:
    """What an action changed, the jobs that carry it into the network, what follows that one may not expect, and the
    money that it moved."""

    customer: Customer
    jobs: Sequence[Job]
    warnings: Sequence[str] = ()
    invoice: Invoice | None = None
    payment: Payment | None = None


def status_of_customer(statuses: Collection[ServiceStatus]) -> CustomerStatus:
    """The status of a customer with services of these statuses, at least one."""
    foremost = next(status for status in _FOREMOST if status in statuses)
    return CustomerStatus(foremost.value)


async def suspend(
    session: AsyncSession,
    chosen: Chosen,
    *,
    reason: SuspendReason,
    note: str | None,
    notify: bool,
    idempotency_key: str | None,
    by: Viewer,
) -> Done:
    """Take an active service off line until it is activated; the customer's other services stay as they are.

    The note, at most 200 characters, is for operators. With `notify` the customer is told the reason. Raises
    DomainError NO_CHANGE for a service that is suspended already, INVALID_STATE for one that is not active.
    """
    told = note_of(note)
    given = {"reason": reason.value, "note": told, "notify": notify}
    if (first := await done_before(session, SUSPEND, idempotency_key, chosen, given, by)) is not None:
        return first
    customer, service, services = await locked(session, chosen, by)
    await take_off_line(session, customer, service, services, chosen, reason=reason, told=told, notify=notify, by=by)
    jobs = await changes.changed(session, service, by=by.operator_id)
    return await kept(session, SUSPEND, idempotency_key, Done(customer, jobs), by)


async def take_off_line(
    session: AsyncSession,
    customer: Customer,
    service: Service,
    services: Sequence[Service],
    chosen: Chosen,
    *,
    reason: SuspendReason,
    told: str | None,
    notify: bool,
    by: Viewer | None,
) -> None:
    """Suspend a service of a locked customer, locked with the others; the network is still to be told of it.
    `by` is None where the product itself does it."""
    action_rules.require(action_rules.suspend(service), *chosen.field)
    before = _state(customer, service)
    service.status = ServiceStatus.SUSPENDED
    service.suspend_reason = reason
    service.suspended_at = clock.now()
    label = _REASONS[reason]
    _follow(customer, services, f"{label}: {told}" if told else label)
    _record(session, "customer.suspend", customer, service, before, told, by)
    await hosting.follow(session, customer, services)
    if notify:
        because = "" if reason is SuspendReason.OTHER else f"Reason: {label}."
        await messages.tell(session, customer, "service.suspended", by=by, reason=because)


async def activate(
    session: AsyncSession,
    chosen: Chosen,
    *,
    note: str | None,
    notify: bool,
    idempotency_key: str | None,
    by: Viewer,
) -> Done:
    """Put a suspended service back on line, or begin a pending one.

    Raises DomainError NO_CHANGE for a service that is active, INVALID_STATE for one whose time is over or that was
    terminated.
    """
    told = note_of(note)
    given = {"note": told, "notify": notify}
    if (first := await done_before(session, ACTIVATE, idempotency_key, chosen, given, by)) is not None:
        return first
    customer, service, services = await locked(session, chosen, by)
    await put_on_line(session, customer, service, services, chosen, told=told, notify=notify, by=by)
    jobs = await changes.changed(session, service, by=by.operator_id)
    return await kept(session, ACTIVATE, idempotency_key, Done(customer, jobs), by)


async def put_on_line(
    session: AsyncSession,
    customer: Customer,
    service: Service,
    services: Sequence[Service],
    chosen: Chosen,
    *,
    told: str | None,
    notify: bool,
    by: Viewer | None,
) -> None:
    """Activate a service of a locked customer, locked with the others; the network is still to be told of it.
    `by` is None where the product itself does it."""
    now = clock.now()
    action_rules.require(action_rules.activate(service, now), *chosen.field)
    before = _state(customer, service)
    if begins := service.started_at is None:
        await service_periods.begin(session, service, now)
    service.status = ServiceStatus.ACTIVE
    service.suspend_reason = None
    service.suspended_at = None
    _follow(customer, services, None)
    _record(session, "customer.activate", customer, service, before, told, by)
    await hosting.follow(session, customer, services)
    if notify:
        await notices.on_line(session, customer, service, begins=begins, by=by)


def resumed(customer: Customer, service: Service, services: Sequence[Service]) -> bool:
    """Time was given to a service: one whose time was over is active again. Locked as in `put_on_line`."""
    if service.status is not ServiceStatus.EXPIRED:
        return False
    service.status = ServiceStatus.ACTIVE
    _follow(customer, services, None)
    return True


async def disconnect(
    session: AsyncSession, chosen: Chosen, *, session_id: UUID | None, idempotency_key: str | None, by: Viewer
) -> Done:
    """End one open session, or all those of a service; who may be on line can dial again at once.

    A static address has no sessions: its router cuts its connections. Raises DomainError INVALID_STATE when there is
    nothing to end.
    """
    given = {"session": session_id}
    if (first := await done_before(session, DISCONNECT, idempotency_key, chosen, given, by)) is not None:
        return first
    customer = await customers.lock(session, chosen.customer_id, by=by)
    if session_id is None:
        service = meant(await _services(session, customer), chosen)
        ended = await _open_sessions(session, service, chosen)
    else:
        service, only = await _session(session, customer, chosen, session_id)
        ended = [only]
    jobs = await changes.disconnected(session, service, ended, by=by.operator_id)
    details = {"service": str(service.id), "sessions": [str(row.id) for row in ended]}
    audit.record(session, by=by, action="customer.disconnect", subject_id=customer.id, details=details)
    return await kept(session, DISCONNECT, idempotency_key, Done(customer, jobs), by)


# -- finding what is meant


async def locked(session: AsyncSession, chosen: Chosen, by: Viewer) -> tuple[Customer, Service, Sequence[Service]]:
    """The customer, the service meant, and all the services: locked."""
    customer = await customers.lock(session, chosen.customer_id, by=by)
    services = await _services(session, customer)
    return customer, meant(services, chosen), services


async def seen(session: AsyncSession, chosen: Chosen, by: Viewer) -> tuple[Customer, Service, Sequence[Service]]:
    """The same, for whoever only looks."""
    customer = await customers.find(session, chosen.customer_id, by=by)
    if customer is None:
        raise not_found("customer", *chosen.above, "customerId")
    rows = select(Service).where(Service.customer_id == customer.id).order_by(Service.id)
    services = (await session.scalars(rows)).all()
    return customer, meant(services, chosen), services


async def _services(session: AsyncSession, customer: Customer) -> Sequence[Service]:
    return (await services_of(session, [customer.id]))[customer.id]


async def services_of(session: AsyncSession, customer_ids: Collection[UUID]) -> Mapping[UUID, Sequence[Service]]:
    """The services of locked customers, locked too: they stay as they are seen, while accounting may still add rows
    that refer to them."""
    rows = select(Service).where(Service.customer_id.in_(customer_ids)).order_by(Service.id)
    found: dict[UUID, list[Service]] = {key: [] for key in customer_ids}
    held = rows.with_for_update(key_share=True).execution_options(populate_existing=True)
    for service in await session.scalars(held):
        found[service.customer_id].append(service)
    return found


def meant(services: Sequence[Service], chosen: Chosen) -> Service:
    """The service that was chosen of a customer's: the primary one or the only one where none was named."""
    if chosen.service_id is not None:
        named = next((row for row in services if row.id == chosen.service_id), None)
        if named is None:
            raise not_found("service", *chosen.field)
        return named
    if not services:
        raise fail(ErrorCode.INVALID_STATE, "This customer has no service.", *chosen.field)
    primary = next((row for row in services if row.is_primary), None)
    if primary is None and len(services) > 1:
        raise fail(ErrorCode.REQUIRED, "This customer has several services: say which.", *chosen.above, "serviceId")
    return primary or services[0]


async def _open_sessions(session: AsyncSession, service: Service, chosen: Chosen) -> list[Session]:
    rows = sessions.opened(OpenSession.service_id == service.id)
    found = list(await session.scalars(rows.order_by(Session.id)))
    if not action_rules.can_disconnect(service, on_line=bool(found)):
        raise await _nothing_to_end(session, service, chosen)
    return found


async def _nothing_to_end(session: AsyncSession, service: Service, chosen: Chosen) -> DomainError:
    if service.connection_type is ConnectionType.STATIC_IP:
        message = "A static address has no sessions, and no router is named that could cut its connections."
        return fail(ErrorCode.INVALID_STATE, message, *chosen.field)
    message = "This service has no open session."
    router = await session.get(Router, service.router_id) if service.router_id is not None else None
    if router is not None and router.accounting_last_seen_at is None:
        message += f" Its router {router.name} has never sent accounting: sessions on it are not known."
    return fail(ErrorCode.INVALID_STATE, message, *chosen.field)


async def _session(
    session: AsyncSession, customer: Customer, chosen: Chosen, session_id: UUID
) -> tuple[Service, Session]:
    """The open session meant, and its service."""
    row = await session.scalar(select(Session).where(Session.id == session_id, Session.customer_id == customer.id))
    services = await _services(session, customer)
    service = meant(services, chosen) if chosen.service_id is not None else None
    if row is None or row.service_id is None or (service is not None and row.service_id != service.id):
        raise not_found("session", "input", "sessionId")
    if row.stopped_at is not None:
        raise fail(ErrorCode.INVALID_STATE, "This session has ended already.", "input", "sessionId")
    return service or meant(services, Chosen(customer.id, row.service_id)), row


# -- what every change has in common


def note_of(note: str | None) -> str | None:
    """What an operator wrote about a change, trimmed. Raises DomainError INVALID at input, note."""
    faults = Faults("input")
    told = answers.optional(faults, note, LONGEST_NOTE, "note")
    faults.raise_if_any()
    return told


def _follow(customer: Customer, services: Sequence[Service], reason: str | None) -> None:
    """Let the customer's status follow that of the services. `reason` is kept unless the customer is active."""
    customer.status = status_of_customer({service.status for service in services})
    customer.status_reason = None if customer.status is CustomerStatus.ACTIVE else reason
    customer.version += 1
    customer.updated_at = clock.now()


def _state(customer: Customer, service: Service) -> dict[str, object]:
    at = service.suspended_at
    return {
        "status": service.status.value,
        "suspend_reason": service.suspend_reason.value if service.suspend_reason else None,
        "suspended_at": at.isoformat() if at else None,
        "customer_status": customer.status.value,
        "status_reason": customer.status_reason,
    }


def _record(
    session: AsyncSession,
    action: str,
    customer: Customer,
    service: Service,
    before: Mapping[str, object],
    note: str | None,
    by: Viewer | None,
) -> None:
    after = _state(customer, service)
    details = {"service": str(service.id), "before": before, "after": after, "note": note}
    audit.record(session, by=by, action=action, subject_id=customer.id, details=details, tenant_id=customer.tenant_id)


async def done_before(
    session: AsyncSession, operation: str, key: str | None, chosen: Chosen, given: Mapping[str, object], by: Viewer
) -> Done | None:
    """What the same key and input did before; None when there is no key, or it is ours from now on."""
    meant = {"customer": chosen.customer_id, "service": chosen.service_id}
    answer = await idempotency.claim(session, by=by, operation=operation, key=key, given={**given, **meant})
    if answer is None:
        return None
    customer = await customers.find(session, UUID(str(answer["customer"])), by=by)
    if customer is None:
        raise not_found("customer", "input", "customerId")
    kept: Any = answer
    jobs = select(Job).where(Job.id.in_(UUID(job) for job in kept["jobs"])).order_by(Job.id)
    invoice, payment = kept.get("invoice"), kept.get("payment")
    return Done(
        customer,
        list(await session.scalars(jobs)),
        kept.get("warnings", []),
        await session.get(Invoice, UUID(invoice)) if invoice else None,
        await session.get(Payment, UUID(payment)) if payment else None,
    )


async def kept(session: AsyncSession, operation: str, key: str | None, done: Done, by: Viewer) -> Done:
    """The same, which the key answers with from now on."""
    jobs = [str(job.id) for job in done.jobs]
    answer: dict[str, object] = {"customer": str(done.customer.id), "jobs": jobs, "warnings": list(done.warnings)}
    answer |= {name: str(row.id) for name, row in (("invoice", done.invoice), ("payment", done.payment)) if row}
    await idempotency.keep(session, by=by, operation=operation, key=key, answer=answer)
    return done
