"""Corrections of a customer's wallet by hand, where no money changes hands: goodwill, and putting mistakes right."""

from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import amounts, audit, customers, idempotency, money, values
from ispgraph.domain.billing import ledger
from ispgraph.domain.errors import ErrorCode, Faults, fail
from ispgraph.domain.models import Account, Customer
from ispgraph.domain.permissions import Viewer

OPERATION = "customerAdjustBalance"


async def adjust(
    session: AsyncSession, customer_id: UUID, *, amount: Decimal, reason: str, idempotency_key: str | None, by: Viewer
) -> Customer:
    """Put an amount above zero into the wallet, or take one below zero out of it; the reason stands in the ledger.

    Raises DomainError INVALID when more would be taken than the wallet holds.
    """
    faults = Faults("input")
    minor = _minor(faults, amount, by.currency)
    told = values.checked(faults, values.text, reason, 255, at=("reason",))
    faults.raise_if_any()
    given = {"customer": customer_id, "minor": minor, "reason": told}
    answer = await idempotency.claim(session, by=by, operation=OPERATION, key=idempotency_key, given=given)
    if answer is not None:
        return await customers.lock(session, customer_id, by=by)
    # Under the lock of the customer, so that of two debits at once the second sees what the first has left.
    customer = await customers.lock(session, customer_id, by=by)
    held = (await ledger.balances(session, [customer_id]))[customer_id].wallet_minor
    _require_room(held, minor, by.currency)
    journal = await ledger.post(
        session,
        tenant_id=customer.tenant_id,
        description=f"Adjustment: {told}",
        postings=[
            ledger.Entry(Account.WALLET, -minor, customer_id=customer_id),
            ledger.Entry(Account.ADJUSTMENT, minor),
        ],
        at=clock.now(),
        by=by,
    )
    details = {"journal": str(journal.id), "amount_minor": minor, "reason": told}
    audit.record(session, by=by, action="customer.adjust_balance", subject_id=customer_id, details=details)
    kept = {"journal": str(journal.id)}
    await idempotency.keep(session, by=by, operation=OPERATION, key=idempotency_key, answer=kept)
    return customer


def _minor(faults: Faults, amount: Decimal, currency: str) -> int:
    minor = amounts.minor(faults, amount, currency, "amount")
    if minor == 0:
        faults.add(ErrorCode.INVALID, "An adjustment is above zero, or below.", "amount")
    return minor or 0


def _require_room(held_minor: int, minor: int, currency: str) -> None:
    if held_minor + minor < 0:
        available = money.shown(held_minor, currency)
        raise fail(
            ErrorCode.INSUFFICIENT_FUNDS, f"At most {available} can be taken from this wallet.", "input", "amount"
        )
    if held_minor + minor > money.LIMIT_MINOR:
        raise fail(ErrorCode.INVALID, "The wallet would hold too much.", "input", "amount")
