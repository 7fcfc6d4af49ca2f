"""What people decide about attempts to pay: that a transfer has come or has not, and that the gateway be asked."""

from decimal import Decimal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import audit, customers, idempotency, paying, values
from ispgraph.domain.billing import desk
from ispgraph.domain.errors import ErrorCode, Faults, fail, not_found
from ispgraph.domain.gateway_payments import BANK_TRANSFER
from ispgraph.domain.models import Customer, Gateway, GatewayPayment, GatewayPaymentState
from ispgraph.domain.onboarding import answers
from ispgraph.domain.permissions import Viewer

CONFIRM, REJECT = "gatewayPaymentConfirm", "gatewayPaymentReject"


async def confirm(
    session: AsyncSession,
    attempt_id: UUID,
    *,
    amount: Decimal | None,
    receipt: str | None,
    idempotency_key: str | None,
    by: Viewer,
) -> tuple[GatewayPayment, Customer]:
    """The money of a bank transfer, or of an attempt in doubt, has come: `amount`, or what was asked for. It is applied
    as money at the desk is. `receipt` is the bank's number of it, which counts once for ever; without one our own
    reference does.

    Raises DomainError INVALID_STATE for what is paid, and for what the gateway itself has to say; TAKEN for a receipt
    that was confirmed before.
    """
    faults = Faults("input")
    minor = None if amount is None else desk.above_zero(faults, amount, by.currency, "amount")
    named = answers.optional(faults, receipt, 100, "receipt")
    faults.raise_if_any()
    given = {"payment": attempt_id, "minor": minor, "receipt": named}
    first = await idempotency.claim(session, by=by, operation=CONFIRM, key=idempotency_key, given=given)
    if first is not None:
        return await _again(session, first, by)
    attempt = await _undecided(session, attempt_id, by)
    number = named or attempt.receipt or attempt.reference
    if await paying.receipt_taken(session, attempt, number):
        raise fail(ErrorCode.TAKEN, "Money with this receipt was confirmed before.", "input", "receipt")
    await paying.apply(session, attempt, minor or attempt.amount_minor, number, by=by)
    attempt.reason = f"Confirmed by {by.name}."
    return await _kept(session, CONFIRM, idempotency_key, attempt, {"receipt": number}, by)


async def reject(
    session: AsyncSession, attempt_id: UUID, *, reason: str, idempotency_key: str | None, by: Viewer
) -> tuple[GatewayPayment, Customer]:
    """No money has come of it. Raises DomainError INVALID_STATE as `confirm`."""
    faults = Faults("input")
    told = values.checked(faults, values.text, reason, 200, at=("reason",))
    faults.raise_if_any()
    given = {"payment": attempt_id, "reason": told}
    first = await idempotency.claim(session, by=by, operation=REJECT, key=idempotency_key, given=given)
    if first is not None:
        return await _again(session, first, by)
    attempt = await _undecided(session, attempt_id, by)
    attempt.state, attempt.reason = GatewayPaymentState.FAILED, told
    attempt.settled_at, attempt.next_check_at = clock.now(), None
    return await _kept(session, REJECT, idempotency_key, attempt, {"reason": told}, by)


async def ask(session: AsyncSession, attempt_id: UUID, *, by: Viewer) -> GatewayPayment:
    """Have the gateway asked now how it stands, also about what was given up. Raises DomainError INVALID_STATE for what
    is paid, and where there is nobody to ask."""
    attempt, provider = await _seen(session, attempt_id, by, "gatewayPaymentId")
    if provider == BANK_TRANSFER:
        message = "Nobody can be asked about a bank transfer: look at the account, and confirm it."
        raise fail(ErrorCode.INVALID_STATE, message, "gatewayPaymentId")
    if attempt.state is GatewayPaymentState.PAID:
        raise fail(ErrorCode.INVALID_STATE, "This is paid.", "gatewayPaymentId")
    await paying.promise_check(session, attempt, by.operator_id)
    await session.flush()
    return attempt


async def _undecided(session: AsyncSession, attempt_id: UUID, by: Viewer) -> GatewayPayment:
    where = ("input", "gatewayPaymentId")
    attempt, provider = await _seen(session, attempt_id, by, *where)
    if attempt.state is GatewayPaymentState.PAID:
        raise fail(ErrorCode.INVALID_STATE, "This is paid.", *where)
    if provider != BANK_TRANSFER and attempt.state is not GatewayPaymentState.IN_DOUBT:
        message = "The gateway itself says whether this is paid: only what is in doubt can be decided."
        raise fail(ErrorCode.INVALID_STATE, message, *where)
    return attempt


async def _seen(session: AsyncSession, attempt_id: UUID, by: Viewer, *field: str) -> tuple[GatewayPayment, str]:
    """A visible attempt, locked, and its provider."""
    visible = customers.belonging(by, GatewayPayment.customer_id)
    rows = select(GatewayPayment).where(GatewayPayment.id == attempt_id, visible).with_for_update(key_share=True)
    attempt = await session.scalar(rows)
    if attempt is None:
        raise not_found("online payment", *field)
    return attempt, (await session.get_one(Gateway, attempt.gateway_id)).provider


async def _kept(
    session: AsyncSession, operation: str, key: str | None, attempt: GatewayPayment, more: dict[str, object], by: Viewer
) -> tuple[GatewayPayment, Customer]:
    action = "gateway.confirm" if operation == CONFIRM else "gateway.reject"
    details = {"reference": attempt.reference, **more}
    audit.record(session, by=by, action=action, subject_id=attempt.customer_id, details=details)
    answer = {"gateway_payment": str(attempt.id)}
    await idempotency.keep(session, by=by, operation=operation, key=key, answer=answer)
    await session.flush()
    return attempt, await session.get_one(Customer, attempt.customer_id)


async def _again(session: AsyncSession, first: dict[str, object], by: Viewer) -> tuple[GatewayPayment, Customer]:
    attempt, _ = await _seen(session, UUID(str(first["gateway_payment"])), by, "input", "gatewayPaymentId")
    return attempt, await session.get_one(Customer, attempt.customer_id)
