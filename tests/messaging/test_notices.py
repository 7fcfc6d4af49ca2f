"""What customers are told of by itself, once."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from ispgraph import clock
from ispgraph.db import Database
from ispgraph.domain import notices
from ispgraph.domain.models import Message, ServiceStatus
from tests import subscribers
from tests.factories import House


async def look(database: Database, house: House) -> list[str]:
    """What is told on a day, in the order of time."""
    async with database.transaction(house.tenant.id) as session:
        before = set(await session.scalars(select(Message.id)))
        last = None
        while (last := await notices.time_ends(session, house.tenant.id, clock.now().date(), last)) is not None:
            pass
        await session.flush()
        rows = await session.scalars(select(Message).order_by(Message.id))
        return [f"{row.event}: {row.body}" for row in rows if row.id not in before]


async def test_the_end_of_a_service_is_told_before_and_after_and_once(
    house: House, database: Database, moved_clock: None
) -> None:
    clock.set_clock("2026-06-10T06:00:00+00:00")
    ends = datetime(2026, 6, 13, 5, 30, tzinfo=UTC)
    customer = await subscribers.customer(house)
    plain = await subscribers.service(house, customer, expires_at=ends)
    renewed = {"auto_renew": True, "is_primary": False}
    await subscribers.service(house, customer, expires_at=ends, **renewed)
    await subscribers.service(house, customer, expires_at=ends, is_primary=False, status=ServiceStatus.SUSPENDED)
    await subscribers.service(house, customer, expires_at=ends + timedelta(hours=1), is_primary=False)
    await subscribers.service(house, customer, expires_at=ends - timedelta(days=9), is_primary=False)
    [told] = await look(database, house)
    assert told.startswith("service.expiring: North Networks: Dear Ann Example, your package Package ")
    assert told.endswith(" ends 2026-06-13 11:30.")
    assert await look(database, house) == []
    clock.set_clock("2026-06-13T06:00:00+00:00")
    first, second = await look(database, house)
    assert {first.split(":")[0], second.split(":")[0]} == {"service.expired", "service.expiring"}
    assert await look(database, house) == []
    # More time was bought: that end is another one.
    async with database.transaction(house.tenant.id) as session:
        (await session.get_one(type(plain), plain.id)).expires_at = ends + timedelta(days=2)
    assert [each.split(":")[0] for each in await look(database, house)] == ["service.expiring"]
