"""Refunds that the gateway carries out that took the money.

The books go first: the refund is booked, and the gateway promised to be asked, in one transaction. From then on the
money is not the customer's to spend, so that what the gateway does can always stand. The other way round the wallet
could be empty, or the payment given back by somebody else, when the gateway has paid. What the gateway refuses is
undone by entries that are added, once.

The gateway is asked under one key, and asked again for as long as it does not answer. Where it may have done something
although no good answer came, a later no decides nothing: an operator finds out, and says what is true.

Whoever changes one holds its customer's lock first, then its own. Nothing here asks a gateway.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, String, any_, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import audit, customers, idempotency, jobs, values
from ispgraph.domain import gateway_payments as rules
from ispgraph.domain.billing import corrections, dunning_run
from ispgraph.domain.errors import ErrorCode, Faults, fail, not_found
from ispgraph.domain.lists import Filter
from ispgraph.domain.models import (
    Customer,
    Gateway,
    GatewayPayment,
    GatewayRefund,
    GatewayRefundState,
    Job,
    JobStatus,
    Payment,
    Refund,
)
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Viewer

NEWEST = newest_first("gateway-refunds", GatewayRefund.id)
FILTERS = {
    "state": Filter(ARRAY(String()), lambda value, by: type_coerce(GatewayRefund.state, String()) == any_(value))
}
CONFIRM, REJECT = "gatewayRefundConfirm", "gatewayRefundReject"
CHUNK = 100
OPEN = (GatewayRefundState.PENDING, GatewayRefundState.ACCEPTED)
"""Where the gateway is asked again by itself."""
GIVE_UP = timedelta(days=3)
GIVE_UP_ACCEPTED = timedelta(days=30)
_STARTS = timedelta(minutes=2)
_ALONE = timedelta(minutes=2)
"""How long after somebody has begun to ask nobody else does, unless there was an answer: longer than one is waited for,
so that what the gateway does late is there to be found."""


@dataclass(frozen=True, slots=True)
class Way:
    """By which gateway a payment came."""

    attempt: GatewayPayment
    gateway: Gateway


@dataclass(frozen=True, slots=True)
class Try:
    """What the gateway has to be asked."""

    refund: GatewayRefund
    attempt: GatewayPayment
    gateway: Gateway
    amount_minor: int
    again: bool
    """Whether it may have done it already, although no good answer came."""
    others: Sequence[str]
    """The gateway's names of the other refunds of the payment."""


async def way(session: AsyncSession, payment: Payment, *, wanted: bool | None) -> Way | None:
    """By which gateway this payment is to be given back: the one it came by, if that offers it and nobody said that it
    was done otherwise. `payment` is locked.

    Raises DomainError INVALID when the gateway is wanted and there is none, or it does not give back; INVALID_STATE
    while another refund of the payment waits for its answer: of two on their way nobody could tell which was done.
    """
    rows = select(GatewayPayment, Gateway).join(Gateway, Gateway.id == GatewayPayment.gateway_id)
    rows = rows.where(GatewayPayment.customer_id == payment.customer_id, GatewayPayment.payment_id == payment.id)
    found = (await session.execute(rows)).one_or_none()
    if wanted is False or (found is None and not wanted):
        return None
    if found is None:
        raise fail(ErrorCode.INVALID, "This payment did not come by a gateway.", "atGateway")
    attempt, gateway = found
    if not rules.gives_back(gateway.provider):
        if not wanted:
            return None
        message = f"{gateway.name} gives nothing back by itself: do it in its own panel, and then record it here."
        raise fail(ErrorCode.INVALID, message, "atGateway")
    waiting = select(GatewayRefund.id).where(GatewayRefund.gateway_payment_id == attempt.id)
    if await session.scalar(waiting.where(GatewayRefund.state == GatewayRefundState.PENDING).limit(1)) is not None:
        message = f"Another refund of this payment waits for an answer of {gateway.name}."
        raise fail(ErrorCode.INVALID_STATE, message, "paymentId")
    return Way(attempt, gateway)


async def promise(session: AsyncSession, by_way: Way, refund: Refund, *, by: Viewer) -> GatewayRefund:
    """Have the gateway give back what was booked just now."""
    row = GatewayRefund(
        tenant_id=refund.tenant_id,
        refund_id=refund.id,
        gateway_payment_id=by_way.attempt.id,
        customer_id=by_way.attempt.customer_id,
        reason=f"{by_way.gateway.name} is still to be asked.",
        next_try_at=clock.now() + _STARTS,
    )
    session.add(row)
    await session.flush()
    await _promise_try(session, row, by.operator_id)
    return row


async def begin(session: AsyncSession, refund_id: UUID) -> Try | None:
    """What is to be asked now; None when the gateway has nothing more to say, or somebody else is asking. From here on
    the gateway may have done it, whatever becomes of who asks."""
    row, now = await _locked(session, refund_id), clock.now()
    if row.state not in OPEN and row.state is not GatewayRefundState.IN_DOUBT:
        return None
    if row.asking_until is not None and row.asking_until > now:
        return None
    row.asking_until = now + _ALONE
    attempt = await session.get_one(GatewayPayment, row.gateway_payment_id)
    others = select(GatewayRefund.provider_reference).where(
        GatewayRefund.gateway_payment_id == attempt.id,
        GatewayRefund.id != row.id,
        GatewayRefund.provider_reference.is_not(None),
    )
    found = Try(
        refund=row,
        attempt=attempt,
        gateway=await session.get_one(Gateway, attempt.gateway_id),
        amount_minor=(await session.get_one(Refund, row.refund_id)).amount_minor,
        again=row.may_be_done,
        others=[name for name in await session.scalars(others) if name is not None],
    )
    row.tries += 1
    if row.provider_reference is None:
        row.may_be_done = True
    if row.state in OPEN:
        row.next_try_at = now + rules.wait(row.tries)
    return found


async def given(session: AsyncSession, refund_id: UUID, reference: str, *, done: bool) -> GatewayRefund:
    """The gateway has given it back, or has taken it on."""
    row = await _locked(session, refund_id)
    row.asking_until = None
    if row.state in OPEN or row.state is GatewayRefundState.IN_DOUBT:
        row.provider_reference = reference[:255]
        if done:
            _settle(row, GatewayRefundState.DONE, None)
        else:
            row.state, row.reason = GatewayRefundState.ACCEPTED, "The gateway has taken it on, and does it later."
            row.next_try_at = clock.now() + rules.wait(row.tries)
            if _late(row):
                _doubt(session, row, "The gateway took it on long ago, and does not say that it was done.")
    return row


async def refused(session: AsyncSession, asked: Try, reason: str, *, for_sure: bool) -> GatewayRefund:
    """The gateway has said no. Where that says for sure that nothing was given back it is undone; else an operator
    decides."""
    row = await _with_customer(session, asked.refund.id)
    if row.state not in OPEN and row.state is not GatewayRefundState.IN_DOUBT:
        return row
    # This request did nothing; a former one may have.
    row.may_be_done, row.asking_until = asked.again, None
    if for_sure:
        await _undo(session, row, reason, by=None)
    elif row.state in OPEN:
        _doubt(session, row, reason)
    else:
        row.reason = reason
    return row


async def unanswered(session: AsyncSession, asked: Try, reason: str, *, unknown: bool) -> GatewayRefund:
    """The gateway did not answer: it is asked again, later each time, for some days. `unknown`: it may have done it."""
    row = await _locked(session, asked.refund.id)
    if not unknown:
        row.asking_until = None
        row.may_be_done = asked.again and row.provider_reference is None
    if row.state in OPEN or row.state is GatewayRefundState.IN_DOUBT:
        row.reason = reason
    if row.state in OPEN:
        row.next_try_at = clock.now() + rules.wait(row.tries)
        if _late(row):
            _doubt(session, row, reason)
    return row


async def look(session: AsyncSession) -> int:
    """Promise to ask about those whose time has come; how many. Two who look at once take different ones."""
    rows = select(GatewayRefund).where(GatewayRefund.next_try_at <= clock.now())
    rows = rows.order_by(GatewayRefund.next_try_at).limit(CHUNK).with_for_update(skip_locked=True)
    found = (await session.scalars(rows)).all()
    for row in found:
        row.next_try_at = clock.now() + rules.wait(row.tries)
        await _promise_try(session, row, None)
    return len(found)


def gateway_name(refund: Any) -> ColumnElement[str]:
    """What the gateway of a refund is called."""
    rows = select(Gateway.name).join(GatewayPayment, GatewayPayment.gateway_id == Gateway.id)
    found = rows.where(GatewayPayment.tenant_id == refund.tenant_id, GatewayPayment.id == refund.gateway_payment_id)
    return found.correlate_except(Gateway, GatewayPayment).scalar_subquery()


# -- what people decide


async def confirm(
    session: AsyncSession, refund_id: UUID, *, idempotency_key: str | None, by: Viewer
) -> tuple[GatewayRefund, Customer]:
    """The money of a refund in doubt has gone back: the books stand as they are. Raises DomainError INVALID_STATE for
    one that is not in doubt."""
    first = await idempotency.claim(session, by=by, operation=CONFIRM, key=idempotency_key, given={"refund": refund_id})
    if first is not None:
        return await _seen(session, refund_id, by)
    row, customer = await _in_doubt(session, refund_id, by)
    _settle(row, GatewayRefundState.DONE, f"Confirmed by {by.name}.")
    return await _kept(session, CONFIRM, idempotency_key, row, customer, by)


async def reject(
    session: AsyncSession, refund_id: UUID, *, reason: str, idempotency_key: str | None, by: Viewer
) -> tuple[GatewayRefund, Customer]:
    """No money of a refund in doubt has gone back: it is undone in the books. Raises as `confirm`."""
    faults = Faults()
    told = values.checked(faults, values.text, reason, 200, at=("reason",))
    faults.raise_if_any()
    assert told is not None
    about = {"refund": refund_id, "reason": told}
    first = await idempotency.claim(session, by=by, operation=REJECT, key=idempotency_key, given=about)
    if first is not None:
        return await _seen(session, refund_id, by)
    row, customer = await _in_doubt(session, refund_id, by)
    await _undo(session, row, told, by=by)
    return await _kept(session, REJECT, idempotency_key, row, customer, by)


async def ask(session: AsyncSession, refund_id: UUID, *, by: Viewer) -> tuple[GatewayRefund, Customer]:
    """Have the gateway asked now, also where that was given up. Raises INVALID_STATE for what is settled, and while the
    gateway is being asked."""
    row, customer = await _seen(session, refund_id, by)
    if row.state not in OPEN and row.state is not GatewayRefundState.IN_DOUBT:
        raise fail(ErrorCode.INVALID_STATE, "The gateway has nothing more to say about this.", "gatewayRefundId")
    if row.asking_until is not None and row.asking_until > clock.now():
        message = "The gateway is being asked, or has just not answered: try again in two minutes."
        raise fail(ErrorCode.INVALID_STATE, message, "gatewayRefundId")
    await _promise_try(session, row, by.operator_id)
    await session.flush()
    return row, customer


async def _in_doubt(session: AsyncSession, refund_id: UUID, by: Viewer) -> tuple[GatewayRefund, Customer]:
    row, customer = await _seen(session, refund_id, by)
    if row.state is not GatewayRefundState.IN_DOUBT:
        message = "The gateway itself says what becomes of this: only what is in doubt can be decided."
        raise fail(ErrorCode.INVALID_STATE, message, "gatewayRefundId")
    return row, customer


async def _seen(session: AsyncSession, refund_id: UUID, by: Viewer) -> tuple[GatewayRefund, Customer]:
    """A visible refund and its customer, both locked."""
    visible = customers.belonging(by, GatewayRefund.customer_id)
    owner = await session.scalar(select(GatewayRefund.customer_id).where(GatewayRefund.id == refund_id, visible))
    if owner is None:
        raise not_found("refund", "gatewayRefundId")
    customer = await customers.lock(session, owner, by=by, at=("gatewayRefundId",))
    return await _locked(session, refund_id), customer


async def _kept(
    session: AsyncSession, operation: str, key: str | None, row: GatewayRefund, customer: Customer, by: Viewer
) -> tuple[GatewayRefund, Customer]:
    action = "refund.confirm" if operation == CONFIRM else "refund.reject"
    details = {"gateway_refund": str(row.id), "reason": row.reason}
    audit.record(session, by=by, action=action, subject_id=customer.id, details=details)
    await idempotency.keep(session, by=by, operation=operation, key=key, answer={"gateway_refund": str(row.id)})
    await session.flush()
    return row, customer


# -- rows


async def _undo(session: AsyncSession, row: GatewayRefund, reason: str, *, by: Viewer | None) -> None:
    """Undo a refund in the books; it and its customer are locked."""
    _settle(row, GatewayRefundState.FAILED, reason)
    refund = await session.get_one(Refund, row.refund_id)
    payment = await session.get_one(
        Payment, refund.payment_id, with_for_update={"key_share": True}, populate_existing=True
    )
    await corrections.undo(session, refund, payment, reason=reason, at=clock.now(), by=by)
    details = {"payment": payment.number, "amount_minor": refund.amount_minor, "reason": reason}
    whose = row.tenant_id
    audit.record(session, by=by, tenant_id=whose, action="refund.undone", subject_id=row.customer_id, details=details)
    await dunning_run.relieve(session, await session.get_one(Customer, row.customer_id), by=by)


def _settle(row: GatewayRefund, state: GatewayRefundState, reason: str | None) -> None:
    row.state, row.reason = state, reason
    row.settled_at, row.next_try_at = clock.now(), None


def _doubt(session: AsyncSession, row: GatewayRefund, reason: str) -> None:
    row.state, row.reason, row.next_try_at = GatewayRefundState.IN_DOUBT, reason, None
    details = {"gateway_refund": str(row.id), "reason": reason}
    audit.noticed(session, row.tenant_id, "refund.doubt", row.customer_id, details)


def _late(row: GatewayRefund) -> bool:
    longest = GIVE_UP_ACCEPTED if row.state is GatewayRefundState.ACCEPTED else GIVE_UP
    return clock.now() - row.started_at > longest


async def _promise_try(session: AsyncSession, row: GatewayRefund, by: UUID | None) -> None:
    if row.job_id is not None:
        waiting = await session.get(Job, row.job_id, populate_existing=True)
        if waiting is not None and waiting.status is JobStatus.QUEUED:
            return
    job = await jobs.enqueue(
        session,
        jobs.GATEWAY_REFUND,
        tenant_id=row.tenant_id,
        customer_id=row.customer_id,
        by=by,
        arguments={"gateway_refund": str(row.id)},
    )
    row.job_id = job.id


async def _with_customer(session: AsyncSession, refund_id: UUID) -> GatewayRefund:
    owner = select(GatewayRefund.customer_id).where(GatewayRefund.id == refund_id).scalar_subquery()
    await session.execute(select(Customer.id).where(Customer.id == owner).with_for_update(key_share=True))
    return await _locked(session, refund_id)


async def _locked(session: AsyncSession, refund_id: UUID) -> GatewayRefund:
    return await session.get_one(GatewayRefund, refund_id, with_for_update={"key_share": True}, populate_existing=True)
