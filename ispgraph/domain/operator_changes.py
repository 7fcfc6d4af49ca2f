"""Changing operators: their names, addresses and roles, where they stand in the tree, and whether they may sign in.

Whoever changes the tree has it locked, so that what is read of it still holds when the change is written. Customers,
wallets and prices stay with their operator, wherever that one stands.
"""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import any_, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Uuid

from ispgraph import clock
from ispgraph.domain import audit, operators, values, viewers
from ispgraph.domain.conflicts import taken
from ispgraph.domain.errors import ErrorCode, Faults, fail, not_found
from ispgraph.domain.models import ApiToken, Operator, PasswordReset, Role, SignIn, Ticket, TicketStatus
from ispgraph.domain.permissions import LEVELS, Permission, Viewer
from ispgraph.domain.references import typed_id

_TAKEN = "Another operator has this e-mail address."
_OPEN = (TicketStatus.OPEN, TicketStatus.PENDING, TicketStatus.IN_PROGRESS)


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to become of an operator; None leaves it as it is."""

    name: str | None
    email: str | None
    role: Role | None


@dataclass(frozen=True, slots=True)
class Left:
    """Who was deactivated, the one meant first, and how many open tickets have nobody now."""

    operators: list[Operator]
    tickets: int


async def change(session: AsyncSession, operator_id: str, wanted: Changes, *, by: Viewer) -> Operator:
    """Change the name, the e-mail address or the role of an operator below the viewer.

    Another role leaves the permissions as they are. Raises DomainError with all that is wrong: NO_CHANGE for nothing,
    TAKEN for an address, NOT_PERMITTED for a rank not below the viewer's, or for the address of somebody who may do
    what the viewer may not, INVALID for a rank that does not fit those above and below.
    """
    await operators.lock_tree(session, by)
    row = await operators.lock_below(session, operator_id, "input", "operatorId", by=by)
    faults = Faults("input")
    name = row.name
    if wanted.name is not None:
        name = values.checked(faults, values.text, wanted.name, 120, at=("name",)) or name
    email = row.email
    if wanted.email is not None:
        email = values.checked(faults, values.email, wanted.email, at=("email",)) or email
    if email != row.email:
        await _check_address(session, faults, row, email, by)
    role = wanted.role or row.role
    if role is not row.role:
        await _check_role(session, faults, row, role, by)
    faults.raise_if_any()
    before = _state(row)
    row.name, row.email, row.role, row.level = name, email, role, LEVELS[role]
    if _state(row) == before:
        raise fail(ErrorCode.NO_CHANGE, "Nothing would change.", "input")
    if row.email != before["email"]:
        await void_resets(session, [row.id])
    async with taken({"uq_operators_tenant_id_email": ("input", "email")}, _TAKEN):
        await session.flush()
    if row.role.value != before["role"]:
        await end_acting(session, [row.id])
    details = {"before": before, "after": _state(row)}
    audit.record(session, by=by, action="operator.update", subject_id=row.id, details=details)
    viewers.forget_after_commit(session)
    return row


async def deactivate(session: AsyncSession, operator_id: str, *, with_subordinates: bool, by: Viewer) -> Left:
    """Shut an operator below the viewer out, at once: sign-ins, sockets and API tokens end.

    Whoever stands below goes on as before, unless they are shut out as well. Customers, drafts and wallets stay;
    open tickets go back to nobody. Raises DomainError INVALID_STATE for one who is not active, and for the last
    active administrator.
    """
    await operators.lock_tree(session, by)
    row = await operators.lock_below(session, operator_id, "input", "operatorId", by=by)
    if not row.active:
        raise fail(ErrorCode.INVALID_STATE, "This operator is not active.", "input", "operatorId")
    gone = [row]
    if with_subordinates:
        below = select(Operator).where(any_(Operator.ancestors) == row.id, Operator.active).order_by(Operator.id)
        gone += (await session.scalars(below.with_for_update())).all()
    keys = [each.id for each in gone]
    others = select(Operator.id).where(Operator.active, Operator.role == Role.ADMIN, Operator.id.not_in(keys)).limit(1)
    if Role.ADMIN in {each.role for each in gone} and await session.scalar(others) is None:
        raise fail(ErrorCode.INVALID_STATE, "This is the last active administrator.", "input", "operatorId")
    for each in gone:
        each.active = False
    await shut_out(session, keys)
    now = clock.now()
    tokens = update(ApiToken).where(ApiToken.operator_id.in_(keys), ApiToken.revoked_at.is_(None))
    await session.execute(tokens.values(revoked_at=now))
    await void_resets(session, keys)
    dropped = (
        update(Ticket)
        .where(Ticket.assignee_id.in_(keys), Ticket.status.in_(_OPEN))
        .values(assignee_id=None, version=Ticket.version + 1, updated_at=now)
    )
    tickets = (await session.execute(dropped.returning(Ticket.number, Ticket.customer_id))).all()
    for number, customer_id in tickets:
        details = {"ticket": number, "because_of": str(row.id)}
        audit.record(session, by=by, action="ticket.assign", subject_id=customer_id, details=details)
    for each in gone:
        told = {"because_of": str(row.id)} if each is not row else {"tickets": [number for number, _ in tickets]}
        audit.record(session, by=by, action="operator.deactivate", subject_id=each.id, details=told)
    return Left(gone, len(tickets))


async def activate(session: AsyncSession, operator_id: str, *, by: Viewer) -> Operator:
    """Let an operator below the viewer sign in again. API tokens that were revoked stay so.

    Raises DomainError NO_CHANGE for one who is active.
    """
    await operators.lock_tree(session, by)
    row = await operators.lock_below(session, operator_id, "operatorId", by=by)
    if row.active:
        raise fail(ErrorCode.NO_CHANGE, "This operator is active already.", "operatorId")
    row.active = True
    audit.record(session, by=by, action="operator.activate", subject_id=row.id)
    await session.flush()
    return row


async def move(session: AsyncSession, operator_id: str, parent_id: str, *, by: Viewer) -> Operator:
    """Put an operator below the viewer, with all who stand below, below another one, or right below the viewer.

    The customers of all of them stay with them. Raises DomainError: NOT_FOUND, NOT_PERMITTED for a place that is not
    below the viewer, INVALID for a parent who does not rank above or stands below the operator, INVALID_STATE for one
    who is not active, NO_CHANGE.
    """
    await operators.lock_tree(session, by)
    row = await operators.lock_below(session, operator_id, "operatorId", by=by)
    at = ("parentId",)
    parents = select(Operator).where(Operator.id == typed_id("opr", parent_id, *at), operators.visible(by))
    parent = await session.scalar(parents.execution_options(populate_existing=True))
    if parent is None:
        raise not_found("operator", *at)
    if parent.id != by.operator_id and not operators.commands(by, parent):
        raise fail(ErrorCode.NOT_PERMITTED, "You may place operators below yourself only.", *at)
    if parent.id == row.id or row.id in parent.ancestors:
        raise fail(ErrorCode.INVALID, "The parent stands below this operator.", *at)
    if parent.level >= row.level:
        raise fail(ErrorCode.INVALID, "The parent must rank above the operator.", *at)
    if not parent.active:
        raise fail(ErrorCode.INVALID_STATE, "The parent is not active.", *at)
    if parent.id == row.parent_id:
        raise fail(ErrorCode.NO_CHANGE, "This is the parent already.", *at)
    before, above = row.parent_id, [*parent.ancestors, parent.id]
    kept = len(row.ancestors)
    below = or_(Operator.id == row.id, any_(Operator.ancestors) == row.id)
    # What stands above the one who moves is another from now on; what stands between that one and each is the same.
    rest = Operator.ancestors[kept + 1 : func.cardinality(Operator.ancestors)]
    prefix = literal(above, ARRAY(Uuid()))
    moved = (
        update(Operator)
        .where(below)
        .values(ancestors=func.array_cat(prefix, rest, type_=ARRAY(Uuid())))
        .execution_options(synchronize_session=False)
    )
    keys = (await session.scalars(moved.returning(Operator.id))).all()
    row.parent_id = parent.id
    await session.flush()
    await session.refresh(row)
    await end_acting(session, keys)
    details = {"before": str(before) if before else None, "after": str(parent.id), "operators": len(keys)}
    audit.record(session, by=by, action="operator.set_parent", subject_id=row.id, details=details)
    viewers.forget_after_commit(session)
    return row


async def shut_out(session: AsyncSession, operator_ids: Collection[UUID], *, but: UUID | None = None) -> None:
    """End every sign-in of operators, and every one that they have in another's place: all but one, when named."""
    again = update(Operator).where(Operator.id.in_(operator_ids)).values(token_version=Operator.token_version + 1)
    await session.execute(again)
    theirs = or_(SignIn.operator_id.in_(operator_ids), SignIn.acting_id.in_(operator_ids))
    ended = update(SignIn).where(theirs, SignIn.ended_at.is_(None))
    if but is not None:
        ended = ended.where(SignIn.id != but)
    await session.execute(ended.values(ended_at=clock.now()))
    viewers.forget_after_commit(session)


async def end_acting(session: AsyncSession, operator_ids: Collection[UUID]) -> None:
    """End what others have signed in to in the place of operators, or these in the place of others."""
    theirs = or_(SignIn.operator_id.in_(operator_ids), SignIn.acting_id.in_(operator_ids))
    ended = update(SignIn).where(theirs, SignIn.acting_id.is_not(None), SignIn.ended_at.is_(None))
    await session.execute(ended.values(ended_at=clock.now()))
    viewers.forget_after_commit(session)


async def void_resets(session: AsyncSession, operator_ids: Collection[UUID]) -> None:
    """Codes that were sent to set a password anew are of no use from now on."""
    open_ones = update(PasswordReset).where(
        PasswordReset.operator_id.in_(operator_ids), PasswordReset.used_at.is_(None)
    )
    await session.execute(open_ones.values(used_at=clock.now()))


def require_superior(row: Operator, by: Viewer, *at: str) -> None:
    """Whoever takes over the account of another gains nothing by it. Raises DomainError NOT_PERMITTED."""
    more = set(map(Permission, row.permissions)) - by.lasting
    if more:
        message = f"This operator may do what you may not: {', '.join(operators.spelt(more))}."
        raise fail(ErrorCode.NOT_PERMITTED, message, *at)


async def _check_address(session: AsyncSession, faults: Faults, row: Operator, email: str, by: Viewer) -> None:
    # A forgotten password is set anew by whoever reads this address.
    require_superior(row, by, "input", "operatorId")
    if await session.scalar(select(Operator.id).where(Operator.email == email, Operator.id != row.id)):
        faults.add(ErrorCode.TAKEN, _TAKEN, "email")


async def _check_role(session: AsyncSession, faults: Faults, row: Operator, role: Role, by: Viewer) -> None:
    level = LEVELS[role]
    if level <= by.level:
        faults.add(ErrorCode.NOT_PERMITTED, "You may give a lower rank than yours only.", "role")
    if Role.CUSTOMER in (role, row.role):
        faults.add(ErrorCode.INVALID, "A customer is not an operator.", "role")
    above = await session.scalar(select(Operator.level).where(Operator.id == row.parent_id))
    if above is not None and above >= level:
        faults.add(ErrorCode.INVALID, "Whoever stands right above must rank higher.", "role")
    below = await session.scalar(select(func.min(Operator.level)).where(Operator.parent_id == row.id))
    if below is not None and below <= level:
        faults.add(ErrorCode.INVALID, "Whoever stands right below must rank lower.", "role")
    others = select(Operator.id).where(Operator.active, Operator.role == Role.ADMIN, Operator.id != row.id).limit(1)
    if row.role is Role.ADMIN and row.active and await session.scalar(others) is None:
        faults.add(ErrorCode.INVALID_STATE, "This is the last active administrator.", "role")


def _state(row: Operator) -> dict[str, object]:
    return {"name": row.name, "email": row.email, "role": row.role.value}
