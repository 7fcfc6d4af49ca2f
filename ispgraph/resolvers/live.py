"""What goes on just now: readings of customers, sessions that open and close, customers and routers that change."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any
from uuid import UUID

import strawberry

from ispgraph.domain import customers, models, visibility
from ispgraph.domain.errors import ErrorCode, fail, not_found
from ispgraph.domain.live import changes
from ispgraph.domain.live.feed import Watch
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import typed_id
from ispgraph.resolvers.base import SIGNED_IN, stream
from ispgraph.schema.context import Info
from ispgraph.schema.customers import Customer
from ispgraph.schema.live import LiveUsage, printer
from ispgraph.schema.routers import Router
from ispgraph.schema.sessions import Session

SHORTEST, LONGEST = 1, 60
USAGE_SECONDS, ALL_SECONDS = 2, 5
# Of one subscription that graphql-core has to print; what comes on top displaces the oldest.
_QUEUE = 20

Begin = Callable[[Any, Callable[[Any], Any], Callable[[Any], None]], Awaitable[Watch]]


async def usage(
    info: Info, customer_id: strawberry.ID, interval_seconds: int | None = USAGE_SECONDS
) -> AsyncGenerator[LiveUsage, None]:
    """Readings of one customer, at most one per `intervalSeconds` (1 to 60). The first arrives at once."""
    wanted = typed_id("cus", customer_id, "customerId")
    seconds = _interval(interval_seconds, USAGE_SECONDS)
    by, feed = info.context.viewer_or_refuse(), info.context.live_feed()
    await _find(info, wanted)
    begin: Begin = lambda key, print_, take: feed.customer(by, wanted, seconds, key, print_, take)  # noqa: E731
    async for reading in _readings(info, begin):
        yield reading


async def usage_all(
    info: Info, router_id: strawberry.ID | None = None, interval_seconds: int | None = ALL_SECONDS
) -> AsyncGenerator[list[LiveUsage], None]:
    """Every reading of every customer the viewer may see, in batches of at most 500; of one router, or of all.

    One batch arrives at once, and then what has come in each interval.
    """
    wanted = typed_id("rtr", router_id, "routerId") if router_id is not None else None
    seconds = _interval(interval_seconds, ALL_SECONDS)
    by, feed = info.context.viewer_or_refuse(), info.context.live_feed()
    if wanted is not None:
        async with info.context.read() as session:
            if await visibility.find(session, models.Router, wanted, by=by) is None:
                raise not_found("router", "routerId")
    begin: Begin = lambda key, print_, take: feed.crowd(by, wanted, seconds, key, print_, take)  # noqa: E731
    async for batch in _readings(info, begin):
        yield batch


async def session_changed(info: Info, customer_id: strawberry.ID | None = None) -> AsyncGenerator[Session, None]:
    """Sessions opening and closing; with `customerId` those of one customer, first those that are open."""
    by, feed = info.context.viewer_or_refuse(), info.context.live_feed()
    wanted = typed_id("cus", customer_id, "customerId") if customer_id is not None else by.customer_id
    if wanted is not None:
        await _find(info, wanted)
    with feed.authority.hold(by, Permission.VIEW_CUSTOMERS, wanted) as held:
        async for row in changes.sessions(info.context.read, wanted, held):
            info.context.loaders.forget()
            event: Any = row
            yield event


async def customer_changed(info: Info, customer_id: strawberry.ID) -> AsyncGenerator[Customer, None]:
    """A customer as it is, and again whenever anything of it, of its services or of its balance changes."""
    wanted = typed_id("cus", customer_id, "customerId")
    await _find(info, wanted)
    by, feed = info.context.viewer_or_refuse(), info.context.live_feed()
    with feed.authority.hold(by, Permission.VIEW_CUSTOMERS, wanted) as held:
        async for row in changes.customer(info.context.read, wanted, held):
            info.context.loaders.forget()
            event: Any = row
            yield event


async def router_status_changed(info: Info) -> AsyncGenerator[Router, None]:
    """Every router as it is, and again each whose status changes."""
    by, feed = info.context.viewer_or_refuse(), info.context.live_feed()
    with feed.authority.hold(by, None) as held:
        async for row in changes.routers(info.context.read, held):
            info.context.loaders.forget()
            event: Any = row
            yield event


def _interval(seconds: int | None, usual: int) -> int:
    if seconds is None:
        return usual
    if not SHORTEST <= seconds <= LONGEST:
        raise fail(ErrorCode.INVALID, f"intervalSeconds must be from {SHORTEST} to {LONGEST}.", "intervalSeconds")
    return seconds


async def _find(info: Info, customer_id: UUID) -> None:
    by = info.context.viewer_or_refuse()
    async with info.context.read() as session:
        if await customers.find(session, customer_id, by=by) is None:
            raise not_found("customer", "customerId")


async def _readings(info: Info, begin: Begin) -> AsyncGenerator[Any, None]:
    """What is watched, until the right to be told ends. Where the selection can be printed once for all, it goes past
    graphql-core to the connection, and nothing is left for here."""
    carrier, made = info.context.carrier, printer(info)
    if carrier is not None and made is not None:
        watch = await begin(*made, carrier.push)
        carrier.keep(watch.ended, watch.close)
        return
    queue: asyncio.Queue[Any] = asyncio.Queue(_QUEUE)

    def take(what: Any) -> None:
        if queue.full():
            queue.get_nowait()
        queue.put_nowait(what)

    watch = await begin(_plain, _plain, take)
    try:
        watch.ended.add_done_callback(lambda _: take(None))
        while (found := await queue.get()) is not None:
            info.context.loaders.forget()
            yield found
    finally:
        watch.close()


def _plain(what: Any) -> Any:
    return what


@strawberry.type
class LiveSubscriptions:
    live_usage = stream(usage, Permission.VIEW_CUSTOMERS)
    live_usage_all = stream(usage_all, Permission.VIEW_CUSTOMERS)
    session_changed = stream(session_changed, Permission.VIEW_CUSTOMERS)
    customer_changed = stream(customer_changed, Permission.VIEW_CUSTOMERS)
    # As the routers themselves: whoever is signed in.
    router_status_changed = stream(router_status_changed, SIGNED_IN)
