"""Reading the record of who did what: what narrows a list of entries, and what they are about."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, String, Text, Uuid, and_, case, func, literal_column

from ispgraph import ids
from ispgraph.domain import values
from ispgraph.domain.errors import ErrorCode, Faults
from ispgraph.domain.lists import Filter
from ispgraph.domain.models import AuditEntry
from ispgraph.domain.models.base import Instant
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Viewer, in_scope

LONGEST_ACTION = 60
# No transaction takes longer.
_LONGEST = timedelta(hours=1)
# After every action that begins with some text.
_HIGHEST = chr(0x10FFFF)

# Of which kind the subject of an action is, by the word before the point: the prefix of its id.
_OF_CUSTOMERS = ("customer", "ticket", "invoice", "payment", "payment_link", "price_override", "portal")
SUBJECTS: Mapping[str, str] = {
    **dict.fromkeys(_OF_CUSTOMERS, "cus"),
    "billing": "run",
    "bulk": "blk",
    "custom_field": "cfd",
    "customer_import": "imp",
    "customers": "job",
    "draft": "dft",
    "gateway": "gwy",
    "job": "job",
    "operator": "opr",
    "package": "pkg",
    "report": "job",
    "router": "rtr",
    "tax_profile": "tax",
    "tenant": "ten",
    "voucher": "vou",
    "voucher_batch": "vbt",
    "webhook": "whe",
    "zone": "zon",
}
# And where that is another one than the word says.
_EXCEPTIONS: Mapping[str, str] = {
    **dict.fromkeys(("draft.confirm", "gateway.doubt", "gateway.confirm", "gateway.reject"), "cus"),
}

NEWEST = newest_first("audit-log", AuditEntry.id)


def visible(by: Viewer, entry: Any = AuditEntry) -> ColumnElement[bool]:
    """Of a reseller's tree only what somebody of it did; what the product did by itself is for those who see all."""
    return in_scope(by, entry.operator_id)


def subject_prefix(entry: Any) -> ColumnElement[str | None]:
    """The prefix of the subject's id; NULL where the kind is not known."""
    noun = func.split_part(entry.action, literal_column("'.'"), literal_column("1"))
    exceptions = [(entry.action == _literal(action), _literal(prefix)) for action, prefix in _EXCEPTIONS.items()]
    return case(*exceptions, *((noun == _literal(word), _literal(prefix)) for word, prefix in SUBJECTS.items()))


def _literal(word: str) -> ColumnElement[str]:
    return literal_column(f"'{word}'", String())


def _begins(value: ColumnElement[Any]) -> ColumnElement[bool]:
    # As bytes are compared: an index serves it, and LIKE would have to wait for the policy.
    action = AuditEntry.action
    begins: ColumnElement[bool] = and_(
        action.op("~>=~", is_comparison=True)(value),
        action.op("~<~", is_comparison=True)(func.textcat(value, _literal(_HIGHEST))),
    )
    return begins


FILTERS: Mapping[str, Filter] = {
    "operator_id": Filter(Uuid(), lambda value, by: AuditEntry.operator_id == value),
    "action": Filter(Text(), lambda value, by: _begins(value)),
    "subject_id": Filter(Uuid(), lambda value, by: AuditEntry.subject_id == value),
    "customer_id": Filter(Uuid(), lambda value, by: AuditEntry.subject_id == value),
    "made_from": Filter(Instant, lambda value, by: AuditEntry.at >= value),
    # Ids are in the order of time, and made after the instant of their entry, if only just: with these the list is read
    # where it has to be.
    "id_from": Filter(Uuid(), lambda value, by: AuditEntry.id >= value),
    "made_to": Filter(Instant, lambda value, by: AuditEntry.at < value),
    "id_to": Filter(Uuid(), lambda value, by: AuditEntry.id < value),
}
"""What a list can be narrowed by."""


@dataclass(frozen=True, slots=True)
class AuditWhere:
    """What a person wants to see; None is no condition. `made_from` belongs to the stretch of time, `made_to` not."""

    operator_id: UUID | None = None
    action: str | None = None
    subject_id: UUID | None = None
    customer_id: UUID | None = None
    made_from: datetime | None = None
    made_to: datetime | None = None


def wanted(where: AuditWhere) -> dict[str, Any]:
    """The values of the FILTERS in use. Raises DomainError INVALID naming the field of `where`."""
    faults = Faults("where")
    action = where.action
    if action is not None:
        action = values.checked(faults, values.text, action, LONGEST_ACTION, at=("action",))
    if where.made_from is not None and where.made_to is not None and where.made_to <= where.made_from:
        faults.add(ErrorCode.INVALID, "`to` must be later than `from`.", "to")
    faults.raise_if_any()
    asked = {
        "operator_id": where.operator_id,
        "action": action,
        "subject_id": where.subject_id,
        "customer_id": where.customer_id,
        "made_from": where.made_from,
        "id_from": None if where.made_from is None else ids.lowest(where.made_from),
        "made_to": where.made_to,
        "id_to": None if where.made_to is None else _soon_after(where.made_to),
    }
    return {name: value for name, value in asked.items() if value is not None}


def _soon_after(at: datetime) -> UUID | None:
    try:
        return ids.lowest(at + _LONGEST)
    except OverflowError:
        return None
