"""What happened to a customer, in one list."""

from datetime import datetime
from typing import Any

import strawberry

from ispgraph.domain import models, pages, timeline, timeline_words
from ispgraph.schema.context import Info
from ispgraph.schema.pages import PageInfo
from ispgraph.schema.scalars import JSON


@strawberry.type(description="Something that happened to a customer.")
class TimelineEntry:
    at: datetime = strawberry.field(description="When it was recorded; of a session, when it began.")
    kind: str = strawberry.field(
        description="CHANGE (of the customer's data), ACTION, SECRET_READ, JOB, SESSION, INVOICE, PAYMENT, MESSAGE or "
        "TICKET; there may be more of them one day."
    )
    summary: str = strawberry.field(description="A sentence in English.")
    actor: str | None = strawberry.field(
        description="The operator's name; null for the product, the customer and the network."
    )
    before: JSON | None = strawberry.field(description="Of a change: what there was.")
    after: JSON | None = strawberry.field(
        description="Of a change: what there is since; otherwise what is known, of a job or an invoice as it is now."
    )


@strawberry.type
class TimelineEdge:
    cursor: str
    node: TimelineEntry


@strawberry.type(
    description="A page of a list: 20 rows, unless `first` or `last` asks for another number up to 100. Cursors are of "
    "one list in one order."
)
class TimelineConnection:
    @strawberry.field
    def edges(root: strawberry.Parent[pages.Page]) -> list[TimelineEdge]:
        return [TimelineEdge(cursor=cursor, node=row) for cursor, row in zip(root.cursors, root.rows, strict=True)]

    @strawberry.field
    def nodes(root: strawberry.Parent[pages.Page]) -> list[TimelineEntry]:
        return list(root.rows)

    @strawberry.field
    def page_info(root: strawberry.Parent[pages.Page]) -> PageInfo:
        return PageInfo(
            has_next_page=root.has_next,
            has_previous_page=root.has_previous,
            start_cursor=root.cursors[0] if root.cursors else None,
            end_cursor=root.cursors[-1] if root.cursors else None,
        )

    @strawberry.field(description="How many rows the whole list has.")
    async def total_count(root: strawberry.Parent[pages.Page], info: Info) -> int:
        async with info.context.read() as session:
            return await root.count(session)


async def of_customer(
    root: strawberry.Parent[models.Customer],
    info: Info,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> TimelineConnection:
    """What happened to the customer, the newest first: changes with before and after, actions, jobs with their
    outcomes, sessions, invoices, payments, messages, readings of secrets, and, with the permission MANAGE_TICKETS,
    tickets without the notes of operators."""
    viewer = info.context.viewer_or_refuse()
    wanted = timeline.page_window(first=first, after=after, last=last, before=before)

    def shown(happening: timeline.Happening) -> TimelineEntry:
        words = timeline_words.words(happening, viewer.currency)
        before, after = _json(words.before), _json(words.after)
        return TimelineEntry(
            at=happening.at, kind=words.kind, summary=words.summary, actor=happening.actor, before=before, after=after
        )

    loader = info.context.loaders.batched(
        ("timeline", wanted), lambda session, keys: timeline.pages(session, keys, wanted, viewer, shown)
    )
    found: TimelineConnection = await loader.load(root.id)
    return found


def _json(value: Any) -> JSON | None:
    return None if value is None else JSON(value)


def timeline_of_customer() -> Any:
    """The field of a customer."""
    return strawberry.field(resolver=of_customer, description=of_customer.__doc__)
