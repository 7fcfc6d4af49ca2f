"""Operators: who sees whom, who may create whom, and with which permissions."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, any_, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ispgraph.domain import audit, passwords, values, viewers
from ispgraph.domain.conflicts import taken
from ispgraph.domain.errors import DomainError, ErrorCode, Faults, fail, not_found
from ispgraph.domain.models import Operator, Posting, Role
from ispgraph.domain.permissions import DEFAULTS, LEVELS, Permission, Viewer, manageable
from ispgraph.domain.references import typed_id

_TAKEN = "An operator with this e-mail address exists already."
# From this level up one commands the whole tenant, whoever created whom.
_WHOLE_TENANT = LEVELS[Role.ADMIN]


@dataclass(frozen=True, slots=True)
class NewOperator:
    """An operator to be, as typed. `parent_id` is a public id; None puts it right below its creator."""

    name: str
    email: str
    password: str
    role: Role
    parent_id: str | None = None
    permissions: Collection[Permission] | None = None


def visible(viewer: Viewer, operator: Any = Operator) -> ColumnElement[bool]:
    """The operators a viewer may see: those of its reseller's subtree; to a customer only itself."""
    if viewer.role is Role.CUSTOMER:
        own: ColumnElement[bool] = operator.id == viewer.operator_id
        return own
    return manageable(viewer, operator)


def of_visible(viewer: Viewer, row: Any) -> ColumnElement[bool]:
    """Rows of the operators whom a viewer may see."""
    operator = aliased(Operator)
    found: ColumnElement[bool] = row.operator_id.in_(select(operator.id).where(visible(viewer, operator)))
    return found


def wallet_minor(operator: Any) -> ColumnElement[int]:
    """What an operator's wallet holds, in minor units: the credit balance of its ledger account."""
    return (
        select(func.coalesce(func.sum(-Posting.amount_minor), 0))
        .where(Posting.operator_id == operator.id)
        .scalar_subquery()
    )


async def lock_paid(session: AsyncSession, operator_id: UUID, *, by: Viewer) -> Operator:
    """An operator below the viewer to whom the provider's money may be promised or given, locked to the end of the
    transaction. Raises DomainError NOT_FOUND, or NOT_PERMITTED; a reseller gives nothing of what is the provider's.
    """
    rows = select(Operator).where(Operator.id == operator_id, visible(by)).with_for_update(key_share=True)
    row = await session.scalar(rows.execution_options(populate_existing=True))
    if row is None:
        raise not_found("operator", "input", "operatorId")
    if by.scope_id is not None:
        message = "Commission and the wallets of operators are the provider's matter, not a reseller's."
        raise fail(ErrorCode.NOT_PERMITTED, message, "input", "operatorId")
    if not commands(by, row):
        raise fail(ErrorCode.NOT_PERMITTED, "You may manage operators below you only.", "input", "operatorId")
    return row


async def create(session: AsyncSession, new: NewOperator, *, by: Viewer) -> Operator:
    """Create an operator of a lower rank than the viewer's, below the viewer. All faults are raised at once."""
    faults = Faults("input")
    name = values.checked(faults, values.text, new.name, 120, at=("name",))
    email = values.checked(faults, values.email, new.email, at=("email",))
    password = values.checked(faults, passwords.fit, new.password, email, at=("password",))
    if email is not None and await session.scalar(select(Operator.id).where(Operator.email == email)):
        faults.add(ErrorCode.TAKEN, _TAKEN, "email")
    if LEVELS[new.role] <= by.level:
        faults.add(ErrorCode.NOT_PERMITTED, "You may create operators of a lower rank than yours only.", "role")
    if new.role is Role.CUSTOMER:
        faults.add(ErrorCode.INVALID, "A customer is not an operator.", "role")
    permissions = _granted(faults, new, by)
    await lock_tree(session, by)
    parent = await _parent(session, faults, new, by)
    faults.raise_if_any()
    assert name is not None
    assert email is not None
    assert password is not None
    assert parent is not None
    row = Operator(
        tenant_id=by.tenant_id,
        name=name,
        email=email,
        password_hash=await passwords.hashed(password),
        role=new.role,
        level=LEVELS[new.role],
        parent_id=parent.id,
        ancestors=[*parent.ancestors, parent.id],
        permissions=spelt(permissions),
    )
    session.add(row)
    await flush_new(session)
    details = {"role": row.role.value, "parent": str(parent.id), "permissions": row.permissions}
    audit.record(session, by=by, action="operator.create", subject_id=row.id, details=details)
    return row


async def set_permissions(
    session: AsyncSession, operator_id: str, permissions: Collection[Permission], *, by: Viewer
) -> Operator:
    """Replace the permissions of an operator below the viewer, in effect with the operator's next request."""
    row = await lock_below(session, operator_id, "operatorId", by=by)
    if not by.lasting.issuperset(permissions):
        raise fail(ErrorCode.NOT_PERMITTED, beyond(permissions, by), "permissions")
    before, row.permissions = row.permissions, spelt(permissions)
    details = {"before": before, "after": row.permissions}
    audit.record(session, by=by, action="operator.set_permissions", subject_id=row.id, details=details)
    viewers.forget_after_commit(session)
    return row


async def lock_tree(session: AsyncSession, by: Viewer) -> None:
    """Keep the tree of the tenant's operators as it is seen from now on: who stands where, and who is active."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"operators:{by.tenant_id}", 0))))


async def lock_below(session: AsyncSession, operator_id: str, *at: str, by: Viewer) -> Operator:
    """The operator below the viewer with this public id, locked to the end of the transaction.

    Raises DomainError at the path `at`: NOT_FOUND, or NOT_PERMITTED for one who is visible but not below.
    """
    key = typed_id("opr", operator_id, *at)
    rows = select(Operator).where(Operator.id == key, visible(by)).with_for_update()
    row = await session.scalar(rows.execution_options(populate_existing=True))
    if row is None:
        raise not_found("operator", *at)
    if not commands(by, row):
        raise fail(ErrorCode.NOT_PERMITTED, "You may manage operators below you only.", *at)
    return row


def spelt(permissions: Iterable[Permission]) -> list[str]:
    """Permissions as they are stored: by name, each once, in alphabetical order."""
    return sorted({permission.value for permission in permissions})


async def flush_new(session: AsyncSession) -> None:
    """Write a new operator. Raises DomainError TAKEN when another took the e-mail address meanwhile."""
    async with taken({"uq_operators_tenant_id_email": ("input", "email")}, _TAKEN):
        await session.flush()


def _granted(faults: Faults, new: NewOperator, by: Viewer) -> Collection[Permission]:
    if new.permissions is None:
        return DEFAULTS[new.role] & by.lasting
    if not by.lasting.issuperset(new.permissions):
        faults.add(ErrorCode.NOT_PERMITTED, beyond(new.permissions, by), "permissions")
    return new.permissions


async def _parent(session: AsyncSession, faults: Faults, new: NewOperator, by: Viewer) -> Operator | None:
    try:
        key = by.operator_id if new.parent_id is None else typed_id("opr", new.parent_id, "input", "parentId")
    except DomainError as error:
        faults.found.extend(error.faults)
        return None
    parent = await session.scalar(select(Operator).where(Operator.id == key, visible(by)))
    if parent is None:
        faults.add(ErrorCode.NOT_FOUND, "There is no such operator.", "parentId")
    elif parent.id != by.operator_id and not commands(by, parent):
        faults.add(ErrorCode.NOT_PERMITTED, "You may place operators below yourself only.", "parentId")
    elif parent.level >= LEVELS[new.role] and LEVELS[new.role] > by.level:
        faults.add(ErrorCode.INVALID, "The parent must rank above the new operator.", "parentId")
    elif not parent.active:
        faults.add(ErrorCode.INVALID_STATE, "The parent is not active.", "parentId")
    return parent


def commands(viewer: Viewer, operator: Operator) -> bool:
    """Whether an operator stands below the viewer."""
    whole = viewer.level <= _WHOLE_TENANT
    return operator.level > viewer.level and (whole or viewer.operator_id in operator.ancestors)


def own_or_below(by: Viewer, operator_id: Any) -> ColumnElement[bool]:
    """What is the viewer's own, or, with the permission MANAGE_OPERATORS, of an operator below."""
    own: ColumnElement[bool] = operator_id == by.operator_id
    if not by.may(Permission.MANAGE_OPERATORS):
        return own
    operator = aliased(Operator)
    placed = true() if by.level <= _WHOLE_TENANT else any_(operator.ancestors) == by.operator_id
    return or_(own, operator_id.in_(select(operator.id).where(operator.level > by.level, placed)))


def beyond(permissions: Collection[Permission], by: Viewer) -> str:
    """What to say of permissions that somebody would give and does not hold for good."""
    missing = ", ".join(spelt(set(permissions) - by.lasting))
    return f"You cannot give what you do not have, or have for a while only: {missing}."
