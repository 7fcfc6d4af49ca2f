"""The wallets of operators: what they earn goes in, what they pay in and are paid; and the statement of all of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, String, and_, any_, cast, func, or_, select, true, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ispgraph import clock, ids
from ispgraph.domain import amounts, audit, idempotency, money, operators, values
from ispgraph.domain.billing import ledger, periods
from ispgraph.domain.errors import ErrorCode, Faults, fail
from ispgraph.domain.models import (
    Account,
    Operator,
    OperatorEntryKind,
    OperatorPayment,
    OperatorPaymentKind,
    PaymentMethod,
    Posting,
)
from ispgraph.domain.models.base import names
from ispgraph.domain.onboarding import answers
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Permission, Viewer

RECORD, ADJUST = "operatorRecordPayment", "operatorAdjustWallet"
NEWEST = newest_first("operator-wallet", Posting.id)
_NO_MONEY = (PaymentMethod.WALLET, PaymentMethod.VOUCHER)
_WORDS = {
    OperatorPaymentKind.TOP_UP: "Top-up",
    OperatorPaymentKind.PAYOUT: "Payout",
    OperatorPaymentKind.ADJUSTMENT: "Adjustment",
}
_LAST_DAY = date(9998, 12, 31)


@dataclass(frozen=True, slots=True)
class Given:
    """Money that an operator pays in or is paid, as typed."""

    kind: OperatorPaymentKind
    amount: Decimal
    method: PaymentMethod
    reference: str | None
    notes: str | None


@dataclass(frozen=True, slots=True)
class _Booking:
    """The same, or an adjustment, judged: what goes into the wallet, in minor units."""

    kind: OperatorPaymentKind
    into_minor: int
    method: PaymentMethod | None
    reference: str | None
    notes: str | None

    @property
    def details(self) -> dict[str, object]:
        """For the record, and to tell whether a request is the same again."""
        return {
            "kind": self.kind.value,
            "amount_minor": self.into_minor,
            "method": None if self.method is None else self.method.value,
            "reference": self.reference,
            "notes": self.notes,
        }


@dataclass(frozen=True, slots=True)
class Statement:
    """A wallet from the first day to the last, which belongs to it; amounts in minor units.

    `since` and `until` are the ids between which its entries are. An entry belongs to the moment at which it was
    booked, which is the one in its id: so the balance that each leaves runs from `opening_minor` to `closing_minor`.
    """

    operator_id: UUID
    first: date
    last: date
    since: UUID
    until: UUID
    opening_minor: int
    credited_minor: int
    debited_minor: int

    @property
    def closing_minor(self) -> int:
        """What the wallet held at the end."""
        return self.opening_minor + self.credited_minor - self.debited_minor


def readable(by: Viewer, operator_id: Any) -> ColumnElement[bool]:
    """Whose wallet and rates a viewer may look into: the own one and those of the operators below; those of all with
    the permission VIEW_REPORTS and the whole tenant in view."""
    if by.scope_id is None and by.may(Permission.VIEW_REPORTS):
        return true()
    operator = aliased(Operator)
    mine = or_(operator.id == by.operator_id, any_(operator.ancestors) == by.operator_id)
    return or_(operator_id == by.operator_id, operator_id.in_(select(operator.id).where(mine)))


async def record(
    session: AsyncSession, operator_id: UUID, given: Given, *, idempotency_key: str | None, by: Viewer
) -> OperatorPayment:
    """Money that an operator pays in, or is paid.

    Raises DomainError INSUFFICIENT_FUNDS when more would be paid than the wallet holds.
    """
    faults = Faults("input")
    if given.kind is OperatorPaymentKind.ADJUSTMENT:
        faults.add(ErrorCode.INVALID, "A wallet is put right by operatorAdjustWallet.", "kind")
    minor = amounts.minor(faults, given.amount, by.currency, "amount")
    if minor is not None and minor <= 0:
        faults.add(ErrorCode.INVALID, "The amount must be more than zero.", "amount")
    if given.method in _NO_MONEY:
        faults.add(ErrorCode.INVALID, "An operator pays, and is paid, by a method that moves money.", "method")
    reference = answers.optional(faults, given.reference, 255, "reference")
    notes = answers.optional(faults, given.notes, 500, "notes")
    faults.raise_if_any()
    assert minor is not None
    into = -minor if given.kind is OperatorPaymentKind.PAYOUT else minor
    booking = _Booking(given.kind, into, given.method, reference, notes)
    return await _once(session, RECORD, operator_id, booking, idempotency_key, by)


async def adjust(
    session: AsyncSession, operator_id: UUID, *, amount: Decimal, reason: str, idempotency_key: str | None, by: Viewer
) -> OperatorPayment:
    """Put an amount above zero into a wallet, or take one below zero out of it, where no money changes hands.

    Raises DomainError INSUFFICIENT_FUNDS when more would be taken than the wallet has.
    """
    faults = Faults("input")
    minor = amounts.minor(faults, amount, by.currency, "amount")
    if minor == 0:
        faults.add(ErrorCode.INVALID, "An adjustment is above zero, or below.", "amount")
    told = values.checked(faults, values.text, reason, 255, at=("reason",))
    faults.raise_if_any()
    assert minor is not None
    booking = _Booking(OperatorPaymentKind.ADJUSTMENT, minor, None, None, told)
    return await _once(session, ADJUST, operator_id, booking, idempotency_key, by)


async def _once(
    session: AsyncSession, operation: str, operator_id: UUID, booking: _Booking, key: str | None, by: Viewer
) -> OperatorPayment:
    about = {"operator": operator_id, **booking.details}
    first = await idempotency.claim(session, by=by, operation=operation, key=key, given=about)
    # Of two payouts at once the second sees what the first has left.
    operator = await operators.lock_paid(session, operator_id, by=by)
    if first is not None:
        return await session.get_one(OperatorPayment, UUID(str(first["payment"])))
    await _require_room(session, operator, booking.into_minor, by.currency)
    row = await _book(session, operator, booking, by)
    action = "operator.record_payment" if operation == RECORD else "operator.adjust_wallet"
    audit.record(session, by=by, action=action, subject_id=operator.id, details=booking.details)
    await idempotency.keep(session, by=by, operation=operation, key=key, answer={"payment": str(row.id)})
    return row


async def set_credit_limit(session: AsyncSession, operator_id: UUID, amount: Decimal, *, by: Viewer) -> Operator:
    """Let the wallet of a reseller go so far below zero by what is bought from it; zero for not at all. A debt that is
    there stays as it is.

    Raises DomainError as `operators.lock_paid`, INVALID for an amount below zero, NO_CHANGE.
    """
    faults = Faults("input")
    minor = amounts.minor(faults, amount, by.currency, "amount")
    if minor is not None and minor < 0:
        faults.add(ErrorCode.INVALID, "A credit limit is zero or more.", "amount")
    faults.raise_if_any()
    operator = await operators.lock_paid(session, operator_id, by=by)
    before = operator.credit_limit_minor or 0
    if minor == before:
        raise fail(ErrorCode.NO_CHANGE, "This is the credit limit already.", "input", "amount")
    operator.credit_limit_minor = minor
    await session.flush()
    details = {"before_minor": before, "after_minor": minor}
    audit.record(session, by=by, action="operator.set_credit_limit", subject_id=operator.id, details=details)
    return operator


async def for_vouchers(
    session: AsyncSession, operator_id: UUID, into_minor: int, *, told: str, by: Viewer, at: tuple[str, ...]
) -> None:
    """Vouchers that a reseller has made are paid for from the wallet, below zero, or were given back, above.

    Raises DomainError INSUFFICIENT_FUNDS at the path `at` when they cost more than the wallet holds and the reseller
    has as credit.
    """
    rows = select(Operator).where(Operator.id == operator_id).with_for_update(key_share=True)
    operator = (await session.scalars(rows.execution_options(populate_existing=True))).one()
    if into_minor == 0:
        return
    await _require_room(session, operator, into_minor, by.currency, at, operator.credit_limit_minor or 0)
    booking = _Booking(OperatorPaymentKind.ADJUSTMENT, into_minor, None, None, told)
    await _book(session, operator, booking, by, Account.VOUCHERS)


async def _book(
    session: AsyncSession, operator: Operator, booking: _Booking, by: Viewer, against: Account | None = None
) -> OperatorPayment:
    at, into = clock.now(), booking.into_minor
    told = booking.reference or booking.notes
    against = against or (Account.ADJUSTMENT if booking.method is None else Account.CASH)
    journal = await ledger.post(
        session,
        tenant_id=operator.tenant_id,
        description=_WORDS[booking.kind] + (f": {told}" if told else ""),
        postings=[
            ledger.Entry(Account.OPERATOR_WALLET, -into, operator_id=operator.id),
            ledger.Entry(against, into, method=booking.method),
        ],
        at=at,
        by=by,
    )
    row = OperatorPayment(
        tenant_id=operator.tenant_id,
        operator_id=operator.id,
        kind=booking.kind,
        amount_minor=into,
        method=booking.method,
        reference=booking.reference,
        notes=booking.notes,
        journal_id=journal.id,
        at=at,
        by_id=by.operator_id,
    )
    session.add(row)
    await session.flush()
    return row


async def _require_room(
    session: AsyncSession,
    operator: Operator,
    into_minor: int,
    currency: str,
    at: tuple[str, ...] = ("input", "amount"),
    credit_minor: int = 0,
) -> None:
    held = int(await session.scalar(select(operators.wallet_minor(Operator)).where(Operator.id == operator.id)) or 0)
    if into_minor < 0 and held + into_minor < -credit_minor:
        available = money.shown(max(held + credit_minor, 0), currency)
        message = f"At most {available} can be taken from this wallet."
        raise fail(ErrorCode.INSUFFICIENT_FUNDS, message, *at)
    if held + into_minor > money.LIMIT_MINOR:
        raise fail(ErrorCode.INVALID, "The wallet would hold too much.", *at)


# -- the statement


async def statement(
    session: AsyncSession, operator_id: UUID, first: date | None, last: date | None, *, by: Viewer
) -> Statement | None:
    """The statement of an operator's wallet: from the beginning of the month and until today when not said otherwise.

    None for an operator whose wallet the viewer may not see. Raises DomainError INVALID for days in wrong order.
    """
    rows = select(Operator.id).where(Operator.id == operator_id, operators.visible(by), readable(by, Operator.id))
    if await session.scalar(rows) is None:
        return None
    today = periods.local_date(clock.now(), by.time_zone)
    until = last or max(today, first or today)
    since = first or until.replace(day=1)
    if since > until or until > _LAST_DAY:
        raise fail(ErrorCode.INVALID, "The last day comes after the first, and before the year 9999.", "to")
    low, high = (ids.lowest(_midnight(day, by.time_zone)) for day in (since, until + timedelta(days=1)))
    within = Posting.id >= low
    sums = select(
        func.coalesce(func.sum(-Posting.amount_minor).filter(Posting.id < low), 0),
        func.coalesce(func.sum(-Posting.amount_minor).filter(within, Posting.amount_minor < 0), 0),
        func.coalesce(func.sum(Posting.amount_minor).filter(within, Posting.amount_minor > 0), 0),
    ).where(Posting.operator_id == operator_id, Posting.id < high)
    opening, credited, debited = (await session.execute(sums)).one()
    return Statement(operator_id, since, until, low, high, int(opening), int(credited), int(debited))


def _midnight(day: date, zone: str) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))


def entry(within: Mapping[str, Any]) -> ColumnElement[bool]:
    """The postings to the wallet of `operator` with ids from `since` to below `until`."""
    times = and_(Posting.id >= within["since"], Posting.id < within["until"])
    return and_(Posting.operator_id == within["operator"], times)


def running_balance_minor(posting: Any) -> ColumnElement[int]:
    """What the operator's wallet held just after a posting."""
    earlier = aliased(Posting)
    return (
        select(-func.sum(earlier.amount_minor))
        .where(earlier.operator_id == posting.operator_id, earlier.id <= posting.id)
        .scalar_subquery()
    )


def kind(posting: Any) -> ColumnElement[Any]:
    """What an entry of an operator's wallet is."""
    paid = select(cast(OperatorPayment.kind, String)).where(OperatorPayment.journal_id == posting.journal_id)
    found = func.coalesce(paid.correlate_except(OperatorPayment).scalar_subquery(), OperatorEntryKind.COMMISSION.value)
    known: Any = names(OperatorEntryKind, checked=False)
    return type_coerce(found, known)
