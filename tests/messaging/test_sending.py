"""Messages on their way: taken once, tried again only where nothing was sent, and what gateways tell of them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from ispgraph import clock, delivery_reports, ids
from ispgraph import jobs as queue
from ispgraph.actors.postman import Postman
from ispgraph.adapters.sms.double import Weather, serve
from ispgraph.adapters.sms.http_double import HttpDouble
from ispgraph.db import Database
from ispgraph.domain import messages
from ispgraph.domain.messaging import sending
from ispgraph.domain.models import (
    CreditKind,
    Customer,
    DeliveryReport,
    GatewayKind,
    Message,
    MessageStatus,
    Operator,
    Role,
    SmsCreditEntry,
)
from ispgraph.scheduler import deliver as sweep
from ispgraph.settings import Settings
from tests import subscribers
from tests.api import Api
from tests.factories import House
from tests.messaging import post


@pytest.fixture
async def double() -> HttpDouble:
    return HttpDouble(api_key=post.KEY)


@pytest.fixture
async def base(double: HttpDouble) -> AsyncIterator[str]:
    async with serve(double) as url:
        yield url


@pytest.fixture
async def postman(database: Database, settings: Settings) -> AsyncIterator[Postman]:
    made = Postman(database, settings)
    yield made
    await made.close()


async def reseller_with_customer(house: House, count: int = 10) -> tuple[Operator, Customer]:
    reseller = await house.operator(Role.OPERATOR, sms_credits=count)
    await house.add(SmsCreditEntry(operator_id=reseller.id, kind=CreditKind.ADDED, credits=count, balance=count))
    return reseller, await subscribers.customer(house, operator_id=reseller.id)


async def credits_of(database: Database, house: House, reseller: Operator) -> int:
    """What is left, which is what the book says."""
    async with database.read(house.tenant.id) as session:
        assert await post.unbooked(session, house) == []
        return (await session.get_one(Operator, reseller.id)).sms_credits


async def test_a_message_is_sent_once_and_reported(
    api: Api, house: House, database: Database, double: HttpDouble, base: str, postman: Postman
) -> None:
    gateway = await post.gateway(house, base)
    reseller, customer = await reseller_with_customer(house)
    made = (await post.send(api, reseller, customer, body="Hello {customer}"))["message"]
    await asyncio.gather(*(post.deliver(postman, house) for _ in range(5)))
    [taken] = double.taken
    assert (taken.to, taken.body) == ("8801712345678", "Hello Ann Example")
    row = await post.message(database, house, made["id"])
    assert (row.status, row.provider_reference, row.gateway_id) == (MessageStatus.SENT, taken.id, gateway.id)
    assert row.sent_at is not None
    assert await credits_of(database, house, reseller) == 9
    address = str(taken.given["callback"])
    assert f"/delivery/{house.tenant.id.hex}/{gateway.id.hex}?" in address
    answer = await api.get(f"{address}&id={taken.id}&status=DELIVRD")
    assert answer.status_code == 200
    row = await post.message(database, house, made["id"])
    assert row.status is MessageStatus.DELIVERED
    assert row.delivered_at is not None
    # What comes late, out of order or twice changes nothing any more.
    for state in ("ACCEPTED", "UNDELIV", "DELIVRD"):
        assert (await api.get(f"{address}&id={taken.id}&status={state}")).status_code == 200
    later = await post.message(database, house, made["id"])
    assert (later.status, later.delivered_at, later.error) == (MessageStatus.DELIVERED, row.delivered_at, None)


async def test_what_could_not_be_delivered_says_why_and_stays_charged(
    api: Api, house: House, database: Database, double: HttpDouble, base: str, postman: Postman
) -> None:
    await post.gateway(house, base)
    reseller, customer = await reseller_with_customer(house)
    made = (await post.send(api, reseller, customer))["message"]
    await post.deliver(postman, house)
    address = str(double.taken[0].given["callback"])
    await api.get(f"{address}&ref={double.taken[0].given['ref']}&status=UNDELIV&error=absent")
    row = await post.message(database, house, made["id"])
    assert (row.status, row.error) == (MessageStatus.FAILED, "absent")
    assert await credits_of(database, house, reseller) == 9


async def test_a_report_may_come_before_the_answer(
    api: Api, house: House, database: Database, double: HttpDouble, base: str
) -> None:
    gateway = await post.gateway(house, base)
    customer = await subscribers.customer(house)
    made = [(await post.send(api, house.admin, customer))["message"]["id"] for _ in range(2)]
    async with database.transaction(house.tenant.id) as session:
        parcels, more = await sending.take(session, bytes(range(32)))
    assert ([parcel.message_id for parcel in parcels], more) == ([ids.decode("msg", key) for key in made], False)
    path = f"/delivery/{house.tenant.id.hex}/{gateway.id.hex}?key=shared%20secret"
    # One by our reference, which is known, one by a reference of theirs, which is not yet.
    await api.get(f"{path}&ref={parcels[0].reference}&status=DELIVRD")
    await api.get(f"{path}&id=T2&status=UNDELIV&error=blocked")
    for number, parcel in enumerate(parcels, 1):
        async with database.transaction(house.tenant.id) as session:
            await sending.sent(session, parcel, f"T{number}", 1)
    first, second = [await post.message(database, house, key) for key in made]
    assert (first.status, first.provider_reference) == (MessageStatus.DELIVERED, "T1")
    assert (second.status, second.error) == (MessageStatus.FAILED, "blocked")
    async with database.read(house.tenant.id) as session:
        assert list(await session.scalars(select(DeliveryReport))) == []


async def test_forged_reports_change_nothing_and_tell_nothing(
    api: Api, house: House, other_house: House, database: Database, double: HttpDouble, base: str, postman: Postman
) -> None:
    gateway = await post.gateway(house, base)
    theirs = await post.gateway(other_house, base)
    customer = await subscribers.customer(house)
    made = (await post.send(api, house.admin, customer))["message"]
    await post.deliver(postman, house)
    said = f"id={double.taken[0].id}&status=DELIVRD"
    good = f"/delivery/{house.tenant.id.hex}/{gateway.id.hex}"
    wrong = [
        f"{good}?{said}",
        f"{good}?key=other&{said}",
        f"/delivery/{house.tenant.id.hex}/{theirs.id.hex}?key=shared%20secret&{said}",
        f"/delivery/{other_house.tenant.id.hex}/{gateway.id.hex}?key=shared%20secret&{said}",
        f"/delivery/{house.tenant.id.hex}/nothing?key=shared%20secret&{said}",
        f"{good}?key=shared%20secret&status=DELIVRD",
    ]
    answers = [await api.get(url) for url in wrong]
    assert {(answer.status_code, answer.text) for answer in answers} == {(404, "Not found.\n")}
    # Another tenant's gateway tells of its own messages only.
    assert (
        await api.get(f"/delivery/{other_house.tenant.id.hex}/{theirs.id.hex}?key=shared%20secret&{said}")
    ).is_success
    assert (await post.message(database, house, made["id"])).status is MessageStatus.SENT
    large = await api.get(f"{good}?key=shared%20secret", "POST", b"x" * (delivery_reports.BODY_BYTES + 1))
    assert large.status_code == 413


async def test_who_guesses_is_shut_out_for_a_while(api: Api, house: House, base: str) -> None:
    gateway = await post.gateway(house, base)
    path = f"/delivery/{house.tenant.id.hex}/{gateway.id.hex}"
    answers = [(await api.get(f"{path}?key={number}")).status_code for number in range(delivery_reports.BAD_FREE + 1)]
    assert answers == [404] * delivery_reports.BAD_FREE + [429]
    assert (await api.get(f"{path}?key=shared%20secret&id=1&status=DELIVRD")).status_code == 429


async def test_what_the_gateway_refuses_fails_and_costs_nothing(
    api: Api, house: House, database: Database, double: HttpDouble, base: str, postman: Postman
) -> None:
    await post.gateway(house, base)
    double.api_key = "another"
    reseller, customer = await reseller_with_customer(house)
    made = (await post.send(api, reseller, customer))["message"]
    assert await credits_of(database, house, reseller) == 9
    await post.deliver(postman, house)
    row = await post.message(database, house, made["id"])
    assert row.status is MessageStatus.FAILED
    assert "Invalid API key" in (row.error or "")
    assert post.KEY not in (row.error or "")
    assert await credits_of(database, house, reseller) == 10


async def test_a_gateway_that_is_away_is_tried_again_until_it_is_back(
    api: Api, house: House, database: Database, double: HttpDouble, postman: Postman, moved_clock: None
) -> None:
    gateway = await post.gateway(house)
    reseller, customer = await reseller_with_customer(house)
    made = (await post.send(api, reseller, customer))["message"]
    await post.deliver(postman, house)
    row = await post.message(database, house, made["id"])
    assert (row.status, row.attempts, row.in_flight) == (MessageStatus.QUEUED, 1, False)
    assert row.error is not None
    # Not before its time.
    await post.deliver(postman, house)
    assert (await post.message(database, house, made["id"])).attempts == 1
    async with serve(double) as url:
        async with database.transaction(house.tenant.id) as session:
            held = await session.get_one(type(gateway), gateway.id)
            held.settings, held.updated_at = {**held.settings, "url": f"{url}/sms/send"}, clock.now()
        clock.set_clock((clock.now() + timedelta(seconds=11)).isoformat())
        await post.deliver(postman, house)
    row = await post.message(database, house, made["id"])
    assert (row.status, row.attempts, row.error) == (MessageStatus.SENT, 2, None)
    assert await credits_of(database, house, reseller) == 9


async def test_a_gateway_that_stays_away_fails_the_message(
    api: Api, house: House, database: Database, postman: Postman, moved_clock: None
) -> None:
    await post.gateway(house)
    reseller, customer = await reseller_with_customer(house)
    made = (await post.send(api, reseller, customer))["message"]
    for _ in range(8):
        await post.deliver(postman, house)
        clock.set_clock((clock.now() + timedelta(hours=3, seconds=1)).isoformat())
    row = await post.message(database, house, made["id"])
    assert (row.status, row.attempts) == (MessageStatus.FAILED, 7)
    assert await credits_of(database, house, reseller) == 10


@pytest.mark.parametrize("weather", [Weather.RESET_AFTER, Weather.BROKEN])
async def test_what_may_have_been_sent_is_not_sent_again(
    api: Api,
    house: House,
    database: Database,
    double: HttpDouble,
    base: str,
    postman: Postman,
    weather: Weather,
    moved_clock: None,
) -> None:
    await post.gateway(house, base)
    reseller, customer = await reseller_with_customer(house)
    made = (await post.send(api, reseller, customer))["message"]
    double.weather = weather
    await post.deliver(postman, house)
    clock.set_clock((clock.now() + timedelta(days=1)).isoformat())
    await post.deliver(postman, house)
    assert len(double.asked) == 1
    row = await post.message(database, house, made["id"])
    assert row.status is MessageStatus.FAILED
    assert (row.error or "").startswith("It is not known whether it was sent")
    assert await credits_of(database, house, reseller) == 9
    if double.taken:
        # The gateway knows better.
        await api.get(f"{double.taken[0].given['callback']}&ref={double.taken[0].given['ref']}&status=DELIVRD")
        assert (await post.message(database, house, made["id"])).status is MessageStatus.DELIVERED


async def test_what_a_dead_worker_had_taken_is_not_sent_again(
    api: Api, house: House, database: Database, double: HttpDouble, base: str, postman: Postman, moved_clock: None
) -> None:
    await post.gateway(house, base)
    customer = await subscribers.customer(house)
    made = (await post.send(api, house.admin, customer))["message"]
    async with database.transaction(house.tenant.id) as session:
        [parcel], _ = await sending.take(session, bytes(range(32)))
    await post.deliver(postman, house)
    assert (await post.message(database, house, made["id"])).status is MessageStatus.QUEUED
    clock.set_clock((clock.now() + sending.LOST).isoformat())
    await post.deliver(postman, house)
    row = await post.message(database, house, made["id"])
    assert (row.status, double.taken) == (MessageStatus.FAILED, [])
    # It was slow, not dead: what it learnt counts.
    async with database.transaction(house.tenant.id) as session:
        await sending.sent(session, parcel, "T1", None)
    assert (await post.message(database, house, made["id"])).status is MessageStatus.SENT


async def test_without_a_gateway_nothing_waits(house: House, database: Database, postman: Postman) -> None:
    customer = await subscribers.customer(house, email="ann@example.com")
    async with database.transaction(house.tenant.id) as session:
        made = await messages.tell(session, customer, "service.activated", by=None)
    assert len(made) == 2
    await post.deliver(postman, house)
    async with database.read(house.tenant.id) as session:
        found = {row.channel.value: (row.status, row.error) for row in await session.scalars(select(Message))}
    assert found["SMS"] == (MessageStatus.FAILED, "There is no gateway for SMS in use.")
    assert found["EMAIL"] == (MessageStatus.FAILED, "There is no gateway for e-mail in use.")


async def test_a_gateway_that_is_not_in_use_sends_nothing(
    house: House, database: Database, double: HttpDouble, base: str, postman: Postman
) -> None:
    await post.gateway(house, base, active=False)
    await post.gateway(house, base, kind=GatewayKind.EMAIL)
    customer = await subscribers.customer(house)
    async with database.transaction(house.tenant.id) as session:
        await messages.tell(session, customer, "service.activated", by=None)
    await post.deliver(postman, house)
    assert double.taken == []


async def test_a_password_is_sent_and_never_kept(
    api: Api, house: House, database: Database, dsns: object, double: HttpDouble, base: str, postman: Postman
) -> None:
    await post.gateway(house, base)
    customer = await subscribers.customer(house)
    service = await subscribers.service(house, customer, username="ann-1")
    async with database.transaction(house.tenant.id) as session:
        [made] = await messages.tell(
            session, customer, "service.welcome", by=None, package="Home", username="ann-1", password="unused"
        )
    await post.deliver(postman, house)
    assert double.taken[0].body.endswith("Username: ann-1 Password: secret")
    row = await post.message(database, house, ids.encode("msg", made.id))
    assert (row.status, row.service_id) == (MessageStatus.SENT, service.id)
    async with database.read(house.tenant.id) as session:
        whole = (await session.scalars(text("SELECT m::text FROM messages m"))).one()
    assert row.body.endswith("Username: ann-1 Password: ********")
    assert "secret" not in whole


async def test_the_scheduler_sends_word_of_tenants_with_something_to_send(
    api: Api, house: House, other_house: House, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[queue.Due] = []

    async def push(due: list[queue.Due]) -> None:
        told.extend(due)

    monkeypatch.setattr(queue, "push", push)
    await sweep(database)
    assert told == []
    await post.gateway(house)
    await post.send(api, house.admin, await subscribers.customer(house))
    await sweep(database)
    assert told == [queue.Due(house.tenant.id, house.tenant.id, letters=True)]


async def test_parts_that_the_gateway_counts_are_settled(api: Api, house: House, database: Database) -> None:
    await post.gateway(house)
    reseller, customer = await reseller_with_customer(house, 5)
    for given, left in ((3, 2), (1, 1)):
        await post.send(api, reseller, customer)
        async with database.transaction(house.tenant.id) as session:
            [parcel], _ = await sending.take(session, bytes(range(32)))
        async with database.transaction(house.tenant.id) as session:
            await sending.sent(session, parcel, None, given)
        assert await credits_of(database, house, reseller) == left
    # More than there is: nothing is left, and nobody owes.
    await post.send(api, reseller, customer)
    async with database.transaction(house.tenant.id) as session:
        [parcel], _ = await sending.take(session, bytes(range(32)))
        await sending.sent(session, parcel, None, 9)
    assert await credits_of(database, house, reseller) == 0
