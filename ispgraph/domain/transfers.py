"""Customers that change hands: asked for by the provider, agreed on by both operators, carried out at once.

It is for the source, who has the customer, to agree first, and for the target then; either may refuse at any time. For
an operator who is not active, or may not see customers, the nearest one above speaks. Whoever asks for a transfer and
speaks for a side has agreed for it by that.

Whoever asks or decides locks the customer first and the transfer then, so of two at once the second sees what the first
has done.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Boolean, ColumnElement, String, Uuid, any_, case, exists, func, or_, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ispgraph import clock, ids
from ispgraph.domain import action_rules, audit, customers, handovers, messages, operators, values
from ispgraph.domain.action_rules import Refusal
from ispgraph.domain.errors import DomainError, ErrorCode, Faults, fail, not_found
from ispgraph.domain.lists import Filter
from ispgraph.domain.models import Customer, CustomerTransfer, Operator, Role, TransferStatus
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import DEFAULTS, LEVELS, Permission, Viewer, in_scope

LONGEST_REASON = 500
PENDING = (TransferStatus.PENDING_SOURCE, TransferStatus.PENDING_TARGET)
ROLES = frozenset(role for role, usual in DEFAULTS.items() if Permission.CREATE_CUSTOMERS in usual)
"""Of operators who may have customers."""
_ASKED, _DECIDED = "operator.transfer_asked", "operator.transfer_decided"
_AT = ("input", "transferId")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A transfer as typed."""

    customer_id: UUID
    to_operator_id: UUID
    transfer_invoices: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class Transferred:
    """A transfer as it stands now, with what those should know who decide."""

    transfer: CustomerTransfer
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Parties:
    """Who speaks for each side now, if anybody does."""

    source: Operator | None
    target: Operator | None


def visible(by: Viewer, row: Any) -> ColumnElement[bool]:
    """Transfers from or to an operator of the viewer's subtree."""
    return or_(in_scope(by, row.from_operator_id), in_scope(by, row.to_operator_id))


def party_id(operator_id: Any) -> ColumnElement[Any]:
    """Who speaks for an operator: the nearest, from itself upwards, who is active and may see customers."""
    side, party = aliased(Operator), aliased(Operator)
    may = party.permissions.contains([Permission.VIEW_CUSTOMERS.value])
    return (
        select(party.id)
        .select_from(side)
        .join(party, or_(party.id == side.id, party.id == any_(side.ancestors)))
        .where(side.id == operator_id, party.active, may)
        .order_by(func.cardinality(party.ancestors).desc())
        .limit(1)
        .correlate_except(side, party)
        .scalar_subquery()
    )


def awaited_id(row: Any) -> ColumnElement[Any]:
    """Who is to agree next to a transfer that is not decided."""
    return case(
        (row.status == TransferStatus.PENDING_SOURCE, party_id(row.from_operator_id)),
        (row.status == TransferStatus.PENDING_TARGET, party_id(row.to_operator_id)),
    )


NEWEST = newest_first("customer-transfers", CustomerTransfer.id)
FILTERS = {
    "status": Filter(ARRAY(String()), lambda value, by: type_coerce(CustomerTransfer.status, String()) == any_(value)),
    "customer": Filter(Uuid(), lambda value, by: CustomerTransfer.customer_id == value),
    "mine": Filter(
        Boolean(),
        lambda value, by: func.coalesce(awaited_id(CustomerTransfer) == by.operator_id, False) == value,
    ),
}


async def seen_customers(session: AsyncSession, keys: Sequence[UUID], *, by: Viewer) -> list[bool]:
    """Whether the viewer may see each of these customers."""
    rows = customers.visible(by).where(Customer.id.in_(keys)).with_only_columns(Customer.id)
    seen = set(await session.scalars(rows)) if by.may(Permission.VIEW_CUSTOMERS) else set()
    return [key in seen for key in keys]


def refusal(by: Viewer) -> Refusal | None:
    """Why a viewer may ask for no transfer at all."""
    if by.level > LEVELS[Role.ADMIN]:
        return Refusal(ErrorCode.NOT_PERMITTED, "Only an admin of the provider may ask for a transfer.")
    if not by.may(Permission.VIEW_CUSTOMERS):
        return Refusal(ErrorCode.NOT_FOUND, "There is no such customer.")
    return None


def is_asked_for(customer: Any) -> ColumnElement[bool]:
    """Whether a transfer of the customer is not decided yet: there is one at a time."""
    row = aliased(CustomerTransfer)
    return exists().where(row.customer_id == customer.id, row.status.in_(PENDING)).correlate_except(row)


async def request(session: AsyncSession, wanted: Wanted, *, by: Viewer) -> Transferred:
    """Ask that a customer goes to another operator. Where nobody else is to agree it is carried out at once.

    Raises DomainError NOT_FOUND, NOT_PERMITTED for who is no admin, TAKEN while another transfer of the customer is not
    decided, NO_CHANGE for the operator who has the customer, INVALID_STATE for one who cannot have any.
    """
    reason = _text(wanted.reason, "reason")
    action_rules.require(refusal(by), "input", "customerId")
    customer = await customers.lock(session, wanted.customer_id, by=by)
    # Under the lock of the customer; the database has a unique index besides.
    pending = select(CustomerTransfer).where(
        CustomerTransfer.customer_id == customer.id, CustomerTransfer.status.in_(PENDING)
    )
    if (first := await session.scalar(pending)) is not None:
        message = f"A transfer of this customer is not decided yet: {ids.encode('trf', first.id)}."
        raise fail(ErrorCode.TAKEN, message, "input", "customerId")
    target = await _target(session, wanted.to_operator_id, customer, by)
    now = clock.now()
    row = CustomerTransfer(
        id=ids.uuid7(),
        tenant_id=by.tenant_id,
        customer_id=customer.id,
        customer_name=customer.name,
        account_number=customer.account_number,
        from_operator_id=customer.operator_id,
        to_operator_id=target.id,
        transfer_invoices=wanted.transfer_invoices,
        reason=reason,
        status=TransferStatus.PENDING_SOURCE,
        created_at=now,
        requested_by_id=by.operator_id,
    )
    parties = await _parties(session, row)
    details = {
        "transfer": str(row.id),
        "operator": [str(row.from_operator_id), str(target.id)],
        "transfer_invoices": row.transfer_invoices,
        "reason": reason,
    }
    audit.record(session, by=by, action="customer_transfer.request", subject_id=customer.id, details=details)
    return await _agreed(session, row, customer, target, parties, None, by)


async def decide(
    session: AsyncSession, transfer_id: UUID, *, approve: bool, note: str | None, by: Viewer
) -> Transferred:
    """Agree to a transfer on behalf of a side, or refuse it; who asked for it, and an admin, may take it back so.

    Raises DomainError NOT_FOUND, NOT_PERMITTED for who has no say in it, and INVALID_STATE when it is decided already,
    when the other side is to agree first, and when it can no longer be carried out.
    """
    said = _text(note, "note")
    found = select(CustomerTransfer).where(CustomerTransfer.id == transfer_id, visible(by, CustomerTransfer))
    seen = await session.scalar(found) if by.may(Permission.VIEW_CUSTOMERS) else None
    if seen is None:
        raise not_found("transfer", *_AT)
    # The target does not see the customer before it has it.
    held = select(Customer).where(Customer.id == seen.customer_id).with_for_update(key_share=True)
    customer = (await session.scalars(held.execution_options(populate_existing=True))).one()
    own = select(CustomerTransfer).where(CustomerTransfer.id == seen.id).with_for_update(key_share=True)
    row = (await session.scalars(own.execution_options(populate_existing=True))).one()
    if row.status not in PENDING:
        raise fail(ErrorCode.INVALID_STATE, f"This transfer is decided: it is {row.status.value}.", *_AT)
    parties = await _parties(session, row)
    if not approve:
        _may_refuse(row, parties, by)
        return await _refused(session, row, parties, said, by)
    target = await _approvable(session, row, customer, parties, by)
    return await _agreed(session, row, customer, target, parties, said, by)


def _text(raw: str | None, field: str) -> str | None:
    if raw is None or not raw.strip():
        return None
    faults = Faults("input")
    found = values.checked(faults, values.text, raw, LONGEST_REASON, at=(field,), lines=True)
    faults.raise_if_any()
    return found


async def _target(session: AsyncSession, operator_id: UUID, customer: Customer, by: Viewer) -> Operator:
    at = ("input", "toOperatorId")
    target = await session.scalar(select(Operator).where(Operator.id == operator_id, operators.visible(by)))
    if target is None:
        raise not_found("operator", *at)
    if target.id == customer.operator_id:
        raise fail(ErrorCode.NO_CHANGE, "This operator has the customer already.", *at)
    if (fault := _unfit(target)) is not None:
        raise fail(ErrorCode.INVALID_STATE, fault, *at)
    return target


def _unfit(target: Operator) -> str | None:
    """Why an operator cannot be given a customer."""
    if not target.active:
        return "This operator is not active."
    if target.role not in ROLES or Permission.VIEW_CUSTOMERS.value not in target.permissions:
        return "This operator cannot have customers: not of a role that does, or without the permission to see them."
    return None


async def _parties(session: AsyncSession, row: CustomerTransfer) -> _Parties:
    keys = (await session.execute(select(party_id(row.from_operator_id), party_id(row.to_operator_id)))).one()
    source, target = [None if key is None else await session.get_one(Operator, key) for key in keys]
    return _Parties(source, target)


def _is(operator: Operator | None, by: Viewer) -> bool:
    return operator is not None and operator.id == by.operator_id


def _may_refuse(row: CustomerTransfer, parties: _Parties, by: Viewer) -> None:
    has_a_say = _is(parties.source, by) or _is(parties.target, by) or row.requested_by_id == by.operator_id
    if not has_a_say and by.level > LEVELS[Role.ADMIN]:
        raise _no_say()


def _no_say() -> DomainError:
    return fail(ErrorCode.NOT_PERMITTED, "This transfer is for the two operators to decide.", *_AT)


async def _approvable(
    session: AsyncSession, row: CustomerTransfer, customer: Customer, parties: _Parties, by: Viewer
) -> Operator:
    """The operator who gets the customer, if it is for the viewer to agree now, and can still be carried out."""
    awaited = parties.source if row.status is TransferStatus.PENDING_SOURCE else parties.target
    if not _is(awaited, by):
        if _is(parties.source, by) or _is(parties.target, by):
            raise fail(ErrorCode.INVALID_STATE, "The other side is to agree to this transfer now.", *_AT)
        raise _no_say()
    if customer.operator_id != row.from_operator_id:
        message = "The customer has another operator by now: refuse this transfer, and ask for it anew."
        raise fail(ErrorCode.INVALID_STATE, message, *_AT)
    rows = select(Operator).where(Operator.id == row.to_operator_id).execution_options(populate_existing=True)
    target = (await session.scalars(rows)).one()
    if (fault := _unfit(target)) is not None:
        raise fail(ErrorCode.INVALID_STATE, f"{fault} Refuse this transfer.", *_AT)
    return target


async def _agreed(
    session: AsyncSession,
    row: CustomerTransfer,
    customer: Customer,
    target: Operator,
    parties: _Parties,
    note: str | None,
    by: Viewer,
) -> Transferred:
    """Note that the viewer agrees for each side that it speaks for; with the second the customer changes hands."""
    # Nothing is read between here and the status: the row is written once, with all that belongs together.
    warnings = await handovers.warnings(session, customer, target)
    now, sides = clock.now(), []
    if row.source_confirmed_at is None and _is(parties.source, by):
        row.source_confirmed_at, row.source_confirmed_by_id = now, by.operator_id
        sides.append("source")
    if row.target_confirmed_at is None and _is(parties.target, by):
        row.target_confirmed_at, row.target_confirmed_by_id = now, by.operator_id
        sides.append("target")
    session.add(row)
    row.note = note or row.note
    for side in sides:
        details = {"transfer": str(row.id), "side": side, "note": note}
        audit.record(session, by=by, action="customer_transfer.confirm", subject_id=customer.id, details=details)
    if row.source_confirmed_at is None:
        awaited = parties.source
    elif row.target_confirmed_at is None:
        row.status, awaited = TransferStatus.PENDING_TARGET, parties.target
    else:
        row.status, row.decided_at, row.decided_by_id = TransferStatus.APPROVED, now, by.operator_id
        await session.flush()
        await handovers.carry_out(session, row, customer, by=by)
        await _tell_all(session, row, parties, "carried out", by)
        return Transferred(row, warnings)
    await session.flush()
    if awaited is not None and awaited.id != by.operator_id:
        await messages.tell_operator(session, awaited, _ASKED, reason=row.reason or "", **await _said(session, row))
    return Transferred(row, warnings)


async def _refused(
    session: AsyncSession, row: CustomerTransfer, parties: _Parties, note: str | None, by: Viewer
) -> Transferred:
    details = {"transfer": str(row.id), "status": [row.status.value, TransferStatus.REJECTED.value], "note": note}
    row.status, row.decided_at, row.decided_by_id = TransferStatus.REJECTED, clock.now(), by.operator_id
    row.note = note or row.note
    await session.flush()
    audit.record(session, by=by, action="customer_transfer.reject", subject_id=row.customer_id, details=details)
    await _tell_all(session, row, parties, "refused", by)
    return Transferred(row)


async def _tell_all(session: AsyncSession, row: CustomerTransfer, parties: _Parties, outcome: str, by: Viewer) -> None:
    """Tell both sides, and who asked, except for who has decided."""
    asked = await session.get_one(Operator, row.requested_by_id)
    told = {each.id: each for each in (parties.source, parties.target, asked) if each is not None and each.active}
    told.pop(by.operator_id, None)
    said = await _said(session, row)
    for operator in told.values():
        await messages.tell_operator(session, operator, _DECIDED, outcome=outcome, note=row.note or "", **said)


async def _said(session: AsyncSession, row: CustomerTransfer) -> dict[str, str]:
    source, target = [await session.get_one(Operator, key) for key in (row.from_operator_id, row.to_operator_id)]
    return {
        "customer": row.customer_name,
        "account": row.account_number,
        "source": source.name,
        "target": target.name,
    }
