"""What happened to a customer, from all the tables that know of it, in one order: the newest first.

Each source is read by its own index and gives no more rows than the page has; then they are merged. The order is that
of time and id. A row with a UUIDv7 of its own stands where that was made, to the millisecond, so that "older than" is a
comparison of ids; a session stands where it began.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    String,
    Text,
    Uuid,
    any_,
    bindparam,
    cast,
    func,
    literal,
    literal_column,
    null,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import BIT, JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ispgraph.domain import reveal
from ispgraph.domain.lists import Key, Order
from ispgraph.domain.models import (
    AuditEntry,
    Customer,
    Invoice,
    Job,
    Message,
    Operator,
    Payment,
    Session,
    Ticket,
)
from ispgraph.domain.models.base import Instant
from ispgraph.domain.pages import Page, Window, window
from ispgraph.domain.permissions import Permission, Viewer

ORDER = Order("timeline", (Key(literal_column("at"), Instant), Key(literal_column("id"), Uuid())))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# What another source tells as well.
_TOLD_TWICE = ("payment.record", "ticket.create", "customer.send_sms")


@dataclass(frozen=True, slots=True)
class Happening:
    """One row of a source: what it is of, and what the source knows."""

    customer_id: UUID
    source: str
    at: datetime
    id: UUID
    actor: str | None
    what: str
    told: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Source:
    """A table that knows something of a customer. `columns` are who did it, what it is, and what is told of it."""

    name: str
    model: Any
    actor: Any
    what: Any
    told: Callable[[], Mapping[str, Any]]
    customer_id: Any = None
    permission: Permission = Permission.VIEW_CUSTOMERS
    where: Callable[[Viewer], ColumnElement[bool]] = lambda by: true()

    @property
    def of(self) -> Any:
        return self.model.customer_id if self.customer_id is None else self.customer_id

    @property
    def by_start(self) -> bool:
        """Whether its rows stand where they began, not where their ids were made."""
        return self.model is Session


def _of_audit(by: Viewer) -> ColumnElement[bool]:
    kept = AuditEntry.action.not_in(_TOLD_TWICE)
    # Notes among operators are not for the customer's page, and nothing of tickets is for those who may not work on
    # them.
    if not by.may(Permission.MANAGE_TICKETS):
        return kept & ~AuditEntry.action.startswith("ticket.")
    return kept & ~((AuditEntry.action == "ticket.reply") & AuditEntry.details.contains({"internal": True}))


SOURCES: Sequence[_Source] = (
    _Source(
        "audit",
        AuditEntry,
        AuditEntry.operator_id,
        AuditEntry.action,
        lambda: {"details": AuditEntry.details},
        customer_id=AuditEntry.subject_id,
        where=_of_audit,
    ),
    _Source(
        "job",
        Job,
        Job.created_by_id,
        Job.kind,
        lambda: {
            "status": Job.status,
            "attempts": Job.attempts,
            "message": Job.message,
            "finishedAt": Job.finished_at,
        },
    ),
    _Source(
        "session",
        Session,
        null(),
        Session.username,
        lambda: {
            "state": Session.state,
            "stoppedAt": Session.stopped_at,
            "durationSeconds": Session.duration_seconds,
            "downloadBytes": cast(Session.output_octets, Text),
            "uploadBytes": cast(Session.input_octets, Text),
            "ipAddress": func.host(Session.ip_address),
            "macAddress": func.upper(cast(Session.mac_address, Text)),
            "terminateCause": Session.terminate_cause,
        },
    ),
    _Source(
        "invoice",
        Invoice,
        null(),
        func.coalesce(Invoice.number, ""),
        lambda: {
            "kind": Invoice.kind,
            "status": Invoice.status,
            "totalMinor": Invoice.total_minor,
            "paidMinor": Invoice.paid_minor,
            "dueOn": Invoice.due_on,
        },
    ),
    _Source(
        "payment",
        Payment,
        Payment.collected_by_id,
        Payment.number,
        lambda: {
            "status": Payment.status,
            "method": Payment.method,
            "amountMinor": Payment.amount_minor,
            "reference": Payment.reference,
        },
    ),
    _Source(
        "message",
        Message,
        Message.created_by_id,
        Message.event,
        lambda: {
            "channel": Message.channel,
            "to": Message.to,
            "status": Message.status,
            "error": Message.error,
            "sentAt": Message.sent_at,
            "deliveredAt": Message.delivered_at,
        },
    ),
    _Source(
        "ticket",
        Ticket,
        Ticket.created_by_id,
        Ticket.number,
        lambda: {
            "subject": Ticket.subject,
            "status": Ticket.status,
            "priority": Ticket.priority,
            "category": Ticket.category,
        },
        permission=Permission.MANAGE_TICKETS,
    ),
)


def page_window(
    *, first: int | None = None, after: str | None = None, last: int | None = None, before: str | None = None
) -> Window:
    """The arguments of a page, checked. Raises DomainError INVALID naming the argument."""
    return window(ORDER, first=first, after=after, last=last, before=before)


async def pages(
    session: AsyncSession, customer_ids: Sequence[UUID], wanted: Window, by: Viewer, make: Callable[[Happening], Any]
) -> list[Page]:
    """A page for each of these customers, who are visible, by one statement; `make` makes what its rows are to be."""
    found: dict[UUID, list[Happening]] = {key: [] for key in customer_ids}
    # Who may look at nothing of a customer can have changed it, and is told what became of it.
    rows = await session.execute(_statement(wanted, by), {"customers": list(found)}) if _readable(by) else ()
    for row in rows:
        found[row.customer_id].append(Happening(*row))
    return [_page(key, found[key], wanted, by, make) for key in customer_ids]


def _page(
    customer_id: UUID, found: list[Happening], wanted: Window, by: Viewer, make: Callable[[Happening], Any]
) -> Page:
    more, kept = len(found) > wanted.size, found[: wanted.size]
    if wanted.backwards:
        kept.reverse()

    async def count(session: AsyncSession) -> int:
        if not _readable(by):
            return 0
        return await session.scalar(_count(by), {"customers": [customer_id]}) or 0

    return Page(
        rows=[make(each) for each in kept],
        cursors=[_cursor(each) for each in kept],
        has_next=wanted.before is not None if wanted.backwards else more,
        has_previous=more if wanted.backwards else wanted.after is not None,
        count=count,
    )


def _cursor(each: Happening) -> str:
    told = json.dumps([ORDER.name, each.at.isoformat(), str(each.id)])
    return base64.urlsafe_b64encode(told.encode()).decode()


def _readable(by: Viewer) -> list[_Source]:
    # Whoever sees the customers of some zones alone got here by one of them.
    zoned = by.zones_seen is not None
    return [
        each for each in SOURCES if by.may(each.permission) or (zoned and each.permission is Permission.VIEW_CUSTOMERS)
    ]


def _statement(wanted: Window, by: Viewer) -> Select[Any]:
    customer = aliased(Customer)
    merged = union_all(*(_rows(each, customer, wanted, by) for each in _readable(by)))
    keys: tuple[ColumnElement[Any], ...] = (literal_column("at"), literal_column("id"))
    page = merged.order_by(*(key.asc() if wanted.backwards else key.desc() for key in keys)).limit(wanted.size + 1)
    happenings = page.lateral("h")
    actor = select(Operator.name).where(Operator.id == happenings.c.actor_id).scalar_subquery()
    order = [each.asc() if wanted.backwards else each.desc() for each in (happenings.c.at, happenings.c.id)]
    return (
        select(
            customer.id.label("customer_id"),
            happenings.c.source,
            happenings.c.at,
            happenings.c.id,
            actor,
            happenings.c.what,
            happenings.c.told,
        )
        .select_from(customer)
        .join(happenings, true())
        .where(customer.id == any_(bindparam("customers", type_=ARRAY(Uuid()))))
        .order_by(customer.id, *order)
    )


def _rows(source: _Source, customer: Any, wanted: Window, by: Viewer) -> Select[Any]:
    """The rows of a source that a page may hold: as many as it may have, read by the source's own index."""
    model = source.model
    told = [item for name, value in source.told().items() for item in (literal(name, String()), value)]
    rows = select(
        literal(source.name, String()).label("source"),
        (model.started_at if source.by_start else _made(model.id)).label("at"),
        model.id.label("id"),
        cast(source.actor, Uuid()).label("actor_id"),
        cast(source.what, Text).label("what"),
        func.jsonb_build_object(*told, type_=JSONB()).label("told"),
    ).where(source.of == customer.id, source.where(by))
    for border, older in ((wanted.after, True), (wanted.before, False)):
        if border is not None:
            rows = rows.where(_beyond(source, border, older))
    keys: Sequence[Any] = (model.started_at, model.id) if source.by_start else (model.id,)
    rows = rows.order_by(*(key.asc() if wanted.backwards else key.desc() for key in keys))
    return rows.limit(wanted.size + 1).correlate(customer)


def _beyond(source: _Source, border: tuple[Any, ...], older: bool) -> ColumnElement[bool]:
    row: Any = source.model.id
    place: Any = literal(_bound(*border), Uuid())
    if source.by_start:
        row = tuple_(Session.started_at, Session.id)
        place = tuple_(literal(border[0], Instant), literal(border[1], Uuid()))
    beyond: ColumnElement[bool] = row < place if older else row > place
    return beyond


def _bound(at: datetime, key: UUID) -> UUID:
    """The UUID that parts those of rows older than this place from those of newer ones."""
    milliseconds, rest = divmod((at - _EPOCH) // timedelta(microseconds=1), 1000)
    milliseconds = max(milliseconds, 0)
    if not rest and key.int >> 80 <= milliseconds:
        return max(key, UUID(int=milliseconds << 80))
    return UUID(int=(milliseconds + 1) << 80)


def _made(key: Any) -> ColumnElement[Any]:
    """When a UUIDv7 was made; of any other UUID something that Python knows as well."""
    digits = func.left(func.replace(cast(key, Text), "-", ""), 12)
    number = cast(cast(literal("x", Text()).concat(digits), BIT(48)), BigInteger)
    milliseconds = func.least(number, literal_column("253402300799999"), type_=BigInteger())
    made: ColumnElement[Any] = literal_column("timestamptz 'epoch'", Instant) + milliseconds * literal_column(
        "interval '1 millisecond'"
    )
    return made


def _count(by: Viewer) -> Select[Any]:
    mine = any_(bindparam("customers", type_=ARRAY(Uuid())))
    counts = [
        select(func.count()).select_from(each.model).where(each.of == mine, each.where(by)).scalar_subquery()
        for each in _readable(by)
    ]
    return select(cast(sum(counts[1:], counts[0]), Integer))


def is_secret(happening: Happening) -> bool:
    """Whether a secret was read."""
    return happening.source == "audit" and happening.what == reveal.ACTION
