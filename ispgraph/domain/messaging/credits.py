"""SMS credits: what resellers may send, in parts of messages. The provider's own operators need none.

Every change is an entry of a book that only grows; `operators.sms_credits` is their sum, and the database keeps it
from falling below zero, however many send at once.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Uuid, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import audit, idempotency, messages, operators, values
from ispgraph.domain.errors import ErrorCode, Faults, fail, not_found
from ispgraph.domain.lists import Filter
from ispgraph.domain.models import CreditKind, Message, Operator, Role, SmsCreditEntry
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Viewer

ADD = "operatorAddSmsCredits"
NEWEST = newest_first("sms-credits", SmsCreditEntry.id)
FILTERS = {"operator": Filter(Uuid(), lambda value, by: SmsCreditEntry.operator_id == value)}
LOW = 100
"""Below so many an operator is told, at most once a day."""
_TOLD_AGAIN = timedelta(hours=24)
_MOST = 1_000_000
_RESELLERS = (Role.OPERATOR, Role.SUB_OPERATOR)


async def reserve(session: AsyncSession, message: Message, *, by: Viewer) -> None:
    """Take what a message will cost from the reseller the viewer belongs to; from nobody where there is none.

    Raises DomainError INSUFFICIENT_FUNDS when that is more than there is.
    """
    if by.scope_id is None:
        return
    await session.flush()
    taken = update(Operator).where(Operator.id == by.scope_id, Operator.sms_credits >= message.segments)
    balance = await session.scalar(
        taken.values(sms_credits=Operator.sms_credits - message.segments)
        .returning(Operator.sms_credits)
        .execution_options(synchronize_session=False)
    )
    if balance is None:
        there = await session.scalar(select(Operator.sms_credits).where(Operator.id == by.scope_id))
        text = f"This takes {message.segments} SMS credits, and {there} are left."
        raise fail(ErrorCode.INSUFFICIENT_FUNDS, text, "input", "customerId")
    message.charged_id, message.reserved = by.scope_id, message.segments
    _enter(session, message, CreditKind.RESERVED, -message.segments, balance)
    await _tell_low(session, by.scope_id, balance)


async def there(session: AsyncSession, *, by: Viewer) -> bool:
    """Whether there are credits for one part of a message, or none are wanted."""
    if by.scope_id is None:
        return True
    return bool(await session.scalar(select(Operator.sms_credits).where(Operator.id == by.scope_id)))


async def require(session: AsyncSession, count: int, *, by: Viewer) -> None:
    """Whether there is a credit for each of so many messages, of which none is reserved yet.

    Raises DomainError INSUFFICIENT_FUNDS when not.
    """
    if by.scope_id is None:
        return
    there = await session.scalar(select(Operator.sms_credits).where(Operator.id == by.scope_id)) or 0
    if there < count:
        text = f"This takes at least {count} SMS credits, and {there} are left."
        raise fail(ErrorCode.INSUFFICIENT_FUNDS, text, "input", "selection")


async def settle(session: AsyncSession, message: Message, segments: int) -> None:
    """The gateway took a message in so many parts: what it costs more or less than was thought is put right, as far as
    there are credits."""
    if message.charged_id is None or segments == message.reserved:
        return
    row = await _locked(session, message.charged_id)
    change = max(message.reserved - segments, -row.sms_credits)
    if change:
        row.sms_credits += change
        message.reserved -= change
        _enter(session, message, CreditKind.SETTLED, change, row.sms_credits)


async def give_back(session: AsyncSession, message: Message) -> None:
    """A message was not sent: what was reserved for it is there again."""
    if message.charged_id is None or message.reserved == 0:
        return
    row = await _locked(session, message.charged_id)
    row.sms_credits += message.reserved
    _enter(session, message, CreditKind.RETURNED, message.reserved, row.sms_credits)
    message.reserved = 0


async def add(
    session: AsyncSession, operator_id: UUID, count: int, *, note: str | None, idempotency_key: str | None, by: Viewer
) -> Operator:
    """Give credits to a reseller below the viewer, or take some back (below zero). A reseller gives of its own."""
    given = {"operator": operator_id, "credits": count, "note": note}
    if await idempotency.claim(session, by=by, operation=ADD, key=idempotency_key, given=given) is not None:
        return await session.get_one(Operator, operator_id)
    faults = Faults("input")
    if count == 0 or not -_MOST <= count <= _MOST:
        faults.add(ErrorCode.INVALID, f"This must be from -{_MOST} to {_MOST}, and not 0.", "credits")
    told = None if note is None or not note.strip() else values.checked(faults, values.text, note, 255, at=("note",))
    found = await session.scalar(select(Operator).where(Operator.id == operator_id, operators.visible(by)))
    if found is None:
        raise not_found("operator", "input", "operatorId")
    if not operators.commands(by, found):
        faults.add(ErrorCode.NOT_PERMITTED, "You may give credits to operators below you only.", "operatorId")
    elif found.role not in _RESELLERS:
        faults.add(ErrorCode.INVALID, "Only resellers need credits: others send at the provider's cost.", "operatorId")
    faults.raise_if_any()
    giver = by.scope_id
    # Always in the same order, so that two who give to each other's operators cannot wait for each other.
    rows = {key: await _locked(session, key) for key in sorted({operator_id, giver or operator_id})}
    changes = {operator_id: count} if giver is None else {operator_id: count, giver: -count}
    for key, change in changes.items():
        row = rows[key]
        if row.sms_credits + change < 0:
            text = f"{row.name} has {row.sms_credits} SMS credits."
            raise fail(ErrorCode.INSUFFICIENT_FUNDS, text, "input", "credits")
        row.sms_credits += change
        session.add(
            SmsCreditEntry(
                tenant_id=by.tenant_id,
                operator_id=key,
                kind=CreditKind.ADDED,
                credits=change,
                balance=row.sms_credits,
                note=told,
                created_by_id=by.operator_id,
            )
        )
    row = rows[operator_id]
    details = {"credits": count, "balance": row.sms_credits, "note": told}
    audit.record(session, by=by, action="operator.add_sms_credits", subject_id=operator_id, details=details)
    kept = {"operator": str(operator_id)}
    await idempotency.keep(session, by=by, operation=ADD, key=idempotency_key, answer=kept)
    return row


async def _locked(session: AsyncSession, operator_id: UUID) -> Operator:
    rows = select(Operator).where(Operator.id == operator_id).with_for_update(key_share=True)
    return (await session.scalars(rows.execution_options(populate_existing=True))).one()


async def _tell_low(session: AsyncSession, operator_id: UUID, balance: int) -> None:
    if balance >= LOW:
        return
    now = clock.now()
    row = (await session.scalars(select(Operator).where(Operator.id == operator_id))).one()
    if row.credits_told_at is None or row.credits_told_at <= now - _TOLD_AGAIN:
        row.credits_told_at = now
        await messages.tell_operator(session, row, "operator.balance_low", credits=str(balance))


def _enter(session: AsyncSession, message: Message, kind: CreditKind, change: int, balance: int) -> None:
    session.add(
        SmsCreditEntry(
            tenant_id=message.tenant_id,
            operator_id=message.charged_id,
            kind=kind,
            credits=change,
            balance=balance,
            message_id=message.id,
            created_by_id=message.created_by_id,
        )
    )
