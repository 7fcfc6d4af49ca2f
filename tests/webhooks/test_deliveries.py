"""What endpoints are sent, in which order, and what becomes of it when they do not take it."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from ispgraph import clock
from ispgraph.actors.webhooks import WebhookCaller
from ispgraph.adapters import webhooks
from ispgraph.adapters.sms.double import Weather, serve
from ispgraph.adapters.webhooks_double import WebhookDouble
from ispgraph.db import Database
from ispgraph.domain import retention
from ispgraph.domain.models import AuditEntry, Message, Operator, Role, WebhookDelivery
from ispgraph.domain.webhooks import deliveries
from ispgraph.settings import Settings
from tests import subscribers
from tests.api import Api, schema
from tests.factories import House
from tests.webhooks.hooks import REDELIVER, Hooks, count, cus, faults, kinds

STATUSES = ("CUSTOMER_SUSPENDED", "CUSTOMER_ACTIVATED")
pytestmark = pytest.mark.usefixtures("moved_clock")


def later(**time: float) -> None:
    """Move the clock on from now."""
    clock.set_clock((clock.now() + timedelta(**time)).isoformat())


async def customer_of(house: House) -> Any:
    found = await subscribers.customer(house)
    await subscribers.service(house, found)
    return found


async def test_an_event_is_sent_once_signed_as_the_specification_says(
    hooks: Hooks, double: WebhookDouble, base: str, house: House
) -> None:
    endpoint = await hooks.endpoint(double, base, *STATUSES)
    customer = await customer_of(house)
    double.text = "thank you\n" + "x" * 5000
    double.status = 200
    await hooks.suspend(customer)
    await hooks.sweep()
    await hooks.sweep()
    [call] = double.received
    assert call.genuine
    body = call.body
    at = body.pop("timestamp")
    assert at.endswith("Z")
    assert body == {
        "id": call.id,
        "type": "customer.suspended",
        "data": {"id": cus(customer), "customerId": cus(customer), "status": "SUSPENDED", "formerStatus": "ACTIVE"},
    }
    # The reference implementation is the referee.
    referee = Webhook(double.secret)
    assert referee.verify(call.raw, call.headers)["id"] == call.id
    with pytest.raises(WebhookVerificationError):
        referee.verify(call.raw + b" ", call.headers)
    with pytest.raises(WebhookVerificationError):
        referee.verify(call.raw, call.headers | {"webhook-id": "evt_other"})
    [row] = await hooks.log(endpoint=endpoint)
    assert (row["status"], row["messageId"], row["attemptCount"]) == ("DELIVERED", call.id, 1)
    assert (row["responseStatus"], row["nextAttemptAt"], row["payload"]) == (200, None, call.raw.decode())
    assert row["responseBody"].startswith("thank you")
    assert len(row["responseBody"]) <= 1024
    assert [each["responseStatus"] for each in row["attempts"]] == [200]
    assert (await hooks.shown(endpoint))["deliveredAt"] is not None


async def test_a_document_makes_the_payload_with_what_its_owner_may_see(
    hooks: Hooks, double: WebhookDouble, base: str, house: House, database: Database
) -> None:
    document = """query ($subject: ID!) { node(id: $subject) { ... on Customer {
      id status balance { amount currency } service { package { name } } } }
      viewer { operator { name } } }"""
    settings_only = ["MANAGE_SETTINGS", "VIEW_CUSTOMERS"]
    clerk = await house.operator(Role.MANAGER, permissions=settings_only)
    endpoint = await hooks.endpoint(double, base, "CUSTOMER_SUSPENDED", document=document, who=clerk)
    customer = await customer_of(house)
    await hooks.suspend(customer)
    await hooks.sweep()
    [call] = double.received
    node = call.body["data"]["node"]
    assert (node["id"], node["status"], node["balance"]["currency"]) == (cus(customer), "SUSPENDED", "USD")
    assert call.body["data"]["viewer"]["operator"]["name"] == clerk.name
    assert "errors" not in call.body
    # Where the owner may not see what the document asks for, errors say so beside what is always told.
    await hooks.save(clerk, id=endpoint, document="{ auditLog(first: 1) { nodes { id } } }")
    await hooks.activate(customer)
    await hooks.suspend(customer)
    await hooks.sweep()
    assert double.received[1].body["data"]["status"] == "SUSPENDED"
    assert [each["extensions"]["code"] for each in double.received[1].body["errors"]] == ["FORBIDDEN"]
    # A permission that is taken away counts at once: nothing is sent any more.
    async with database.transaction(house.tenant.id) as session:
        await session.execute(update(Operator).where(Operator.id == clerk.id).values(permissions=["MANAGE_SETTINGS"]))
    await hooks.activate(customer)
    await hooks.suspend(customer)
    await hooks.sweep()
    assert len(double.received) == 2
    assert [each["status"] for each in await hooks.log()] == ["DELIVERED", "DELIVERED", "WITHHELD"]


async def test_a_reseller_is_told_of_its_own_customers(
    hooks: Hooks, double: WebhookDouble, base: str, house: House
) -> None:
    reseller = await house.operator(Role.OPERATOR, permissions=["MANAGE_SETTINGS", "VIEW_CUSTOMERS"])
    rival = await house.operator(Role.OPERATOR, permissions=["MANAGE_SETTINGS", "VIEW_CUSTOMERS"])
    endpoint = await hooks.endpoint(double, base, "CUSTOMER_SUSPENDED", who=reseller)
    own, others = await customer_of(house), await customer_of(house)
    async with house.database.transaction(house.tenant.id) as session:
        await session.execute(update(type(own)).where(type(own).id == own.id).values(operator_id=reseller.id))
    for customer in (own, others):
        await hooks.suspend(customer)
    await hooks.sweep()
    assert [each.body["data"]["id"] for each in double.received] == [cus(own)]
    assert {each["status"] for each in await hooks.log(reseller, endpoint=endpoint)} == {"DELIVERED", "WITHHELD"}
    assert await hooks.log(rival) == []


async def test_of_one_object_later_events_wait_and_others_do_not(
    hooks: Hooks, double: WebhookDouble, base: str, house: House
) -> None:
    endpoint = await hooks.endpoint(double, base, *STATUSES)
    first, second = await customer_of(house), await customer_of(house)
    double.failing = {cus(first)}
    await hooks.suspend(first)
    await hooks.activate(first)
    await hooks.suspend(second)
    await hooks.sweep()
    assert sorted(each.body["data"]["id"] == cus(first) for each in double.received) == [False, True]
    [waiting, behind] = await hooks.log(subject=cus(first))
    assert (waiting["status"], waiting["attemptCount"], waiting["responseBody"]) == ("PENDING", 1, "not now")
    assert (behind["status"], behind["attemptCount"]) == ("PENDING", 0)
    # The second attempt comes after about 5 seconds, as it was, under the same id; then the other.
    later(seconds=3)
    await hooks.sweep()
    assert len(double.received) == 2
    double.failing = set()
    double.received.clear()
    later(seconds=4)
    await hooks.sweep()
    assert kinds(double.received) == ["customer.suspended", "customer.activated"]
    assert (double.received[0].id, double.received[0].raw.decode()) == (waiting["messageId"], waiting["payload"])
    assert [each["status"] for each in await hooks.log(endpoint=endpoint)] == ["DELIVERED"] * 3


async def test_it_is_tried_for_days_and_given_up(
    hooks: Hooks, double: WebhookDouble, base: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "_JITTER", 0.0)
    endpoint = await hooks.endpoint(double, base, *STATUSES)
    customer = await customer_of(house)
    # A redirection is no success, and is not followed.
    double.status, double.headers = 307, {"location": f"{base}/elsewhere"}
    await hooks.suspend(customer)
    await hooks.activate(customer)
    began = clock.now()
    waits = []
    for _ in range(12):
        await hooks.sweep()
        row = (await hooks.log(endpoint=endpoint))[0]
        if row["status"] != "PENDING":
            break
        before = clock.now()
        clock.set_clock(row["nextAttemptAt"])
        waits.append(round((clock.now() - before).total_seconds()))
        later(milliseconds=5)
    assert waits == [round(each.total_seconds()) for each in deliveries.SCHEDULE]
    assert timedelta(days=3) < clock.now() - began < timedelta(days=3, hours=6)
    assert double.asked == ["POST /hook"] * 10
    assert (row["status"], row["error"], row["attemptCount"]) == ("GIVEN_UP", "It answered 307.", 10)
    assert [each["responseStatus"] for each in row["attempts"]] == [307] * 10
    # What stood behind it has its turn, once the endpoint has rested.
    later(minutes=5)
    await hooks.sweep()
    assert kinds(double.received)[-1] == "customer.activated"
    assert len({each.id for each in double.received[:-1]}) == 1


async def test_an_endpoint_that_takes_nothing_for_days_is_paused_and_operators_are_told(
    hooks: Hooks, double: WebhookDouble, base: str, house: House, database: Database
) -> None:
    endpoint = await hooks.endpoint(double, base, *STATUSES)
    customers = [await customer_of(house) for _ in range(2)]
    await house.operator(Role.STAFF)
    double.status = 503
    await hooks.suspend(customers[0])
    await hooks.sweep()
    assert (await hooks.shown(endpoint))["failures"] == 1
    later(days=4, hours=23)
    await hooks.sweep()
    assert (await hooks.shown(endpoint))["status"] == "ACTIVE"
    later(hours=2)
    await hooks.suspend(customers[1])
    await hooks.sweep()
    shown = await hooks.shown(endpoint)
    assert (shown["status"], shown["problem"]) == ("PAUSED", "Paused: it has taken nothing for days. It answered 503.")
    async with database.read(house.tenant.id) as session:
        rows = (await session.scalars(select(Message).where(Message.event == "webhook.paused"))).all()
        entries = (await session.scalars(select(AuditEntry).where(AuditEntry.action == "webhook.paused"))).all()
    assert [row.to for row in rows] == [house.admin.email]
    assert len(entries) == 1
    # What happens meanwhile waits, and goes out in order when it is resumed.
    asked = len(double.asked)
    await hooks.activate(customers[0])
    await hooks.sweep()
    assert len(double.asked) == asked
    double.status = 200
    double.received.clear()
    assert faults(await hooks.on("Resume", endpoint)) == []
    assert faults(await hooks.on("Resume", endpoint)) == [("INVALID_STATE", "endpointId")]
    later(days=1, hours=6)
    await hooks.sweep()
    of_first = [each for each in double.received if each.body["data"]["id"] == cus(customers[0])]
    assert kinds(of_first) == ["customer.suspended", "customer.activated"]
    assert (await hooks.shown(endpoint))["failures"] == 0


async def test_gone_means_gone(
    hooks: Hooks, double: WebhookDouble, base: str, house: House, database: Database
) -> None:
    endpoint = await hooks.endpoint(double, base, *STATUSES)
    customer = await customer_of(house)
    double.status = 410
    await hooks.suspend(customer)
    await hooks.activate(customer)
    await hooks.sweep()
    assert (await hooks.shown(endpoint))["status"] == "DISABLED"
    rows = await hooks.log(endpoint=endpoint)
    assert [each["status"] for each in rows] == ["GIVEN_UP", "GIVEN_UP"]
    assert len(double.asked) == 1
    async with database.read(house.tenant.id) as session:
        told = (await session.scalars(select(Message.event).where(Message.operator_id == house.admin.id))).all()
    assert told == ["webhook.disabled"]
    # And nothing more is kept for it, until somebody resumes it.
    await hooks.suspend(customer)
    assert len(await hooks.log(endpoint=endpoint)) == 2
    assert faults(await hooks.run(REDELIVER, id=rows[0]["id"])) == [("INVALID_STATE", "deliveryId")]
    await hooks.on("Resume", endpoint)
    await hooks.activate(customer)
    assert len(await hooks.log(endpoint=endpoint)) == 3


async def test_a_slow_endpoint_holds_up_nobody_else_and_gets_few_calls_at_once(
    hooks: Hooks, double: WebhookDouble, base: str, house: House, database: Database
) -> None:
    slow, quick = double, WebhookDouble()
    slow.weather = Weather.HANGS
    async with serve(quick) as other:
        await hooks.endpoint(slow, base, "CUSTOMER_SUSPENDED")
        await hooks.endpoint(quick, other, "CUSTOMER_SUSPENDED", name="Books")
        quick.seconds = 0.05
        for _ in range(6):
            await hooks.suspend(await customer_of(house))
        sweeping = asyncio.create_task(hooks.sweep())
        async with asyncio.timeout(10):
            while len(quick.received) < 6:
                await asyncio.sleep(0.02)
        assert len(slow.asked) == deliveries.AT_ONCE
        assert 1 < quick.most_at_once <= deliveries.AT_ONCE
        assert not sweeping.done()
        slow.ended.set()
        await sweeping


async def test_many_failures_make_it_rest(hooks: Hooks, double: WebhookDouble, base: str, house: House) -> None:
    double.status = 500
    endpoint = await hooks.endpoint(double, base, "CUSTOMER_SUSPENDED")
    for _ in range(12):
        await hooks.suspend(await customer_of(house))
    await hooks.sweep()
    # Two rounds of four: then it is left alone, however much waits.
    assert (await hooks.shown(endpoint))["failures"] == len(double.asked) == 8
    await hooks.sweep()
    assert len(double.asked) == 8
    later(minutes=1)
    await hooks.sweep()
    assert len(double.asked) == 9
    double.status = 200
    later(minutes=6)
    await hooks.sweep()
    assert len(double.asked) == 9 + 12


async def test_a_worker_that_dies_in_the_middle_is_made_up_for_under_the_same_id(
    hooks: Hooks, double: WebhookDouble, base: str, house: House, database: Database, settings: Settings
) -> None:
    endpoint = await hooks.endpoint(double, base, "CUSTOMER_SUSPENDED")
    customer = await customer_of(house)
    double.weather = Weather.HANGS_AFTER
    await hooks.suspend(customer)
    dying = WebhookCaller(database, settings, schema)
    async with database.read(None) as session:
        [(tenant_id, endpoint_id)] = await deliveries.due_endpoints(session, 10)
    await dying.call(tenant_id.hex, endpoint_id.hex)
    async with asyncio.timeout(10):
        while not double.received:
            await asyncio.sleep(0.01)
    [turn] = dying._turns.values()
    turn.cancel()
    await asyncio.wait([turn])
    double.ended.set()
    double.weather = Weather.CALM
    await hooks.sweep()
    assert len(double.received) == 1, "somebody may still have it"
    later(seconds=61)
    await hooks.sweep()
    first, second = double.received
    assert (first.id, first.raw, first.genuine) == (second.id, second.raw, second.genuine)
    [row] = await hooks.log(endpoint=endpoint)
    assert (row["status"], row["attemptCount"]) == ("DELIVERED", 2)


@pytest.mark.parametrize(
    ("weather", "error"),
    [(Weather.RESET_AFTER, "closed the connection"), (Weather.HANGS, "did not answer in time")],
)
async def test_bad_weather_is_told_and_tried_again(
    hooks: Hooks, double: WebhookDouble, base: str, house: House, settings: Settings, weather: Weather, error: str
) -> None:
    hooks.caller._client = webhooks.client(private=True, seconds=0.4)
    await hooks.endpoint(double, base, "CUSTOMER_SUSPENDED")
    double.weather = weather
    await hooks.suspend(await customer_of(house))
    await hooks.sweep()
    [row] = await hooks.log()
    if weather is Weather.RESET_AFTER:
        # A status has come by then, but nothing that could be relied on.
        assert (row["status"], row["attemptCount"]) == ("PENDING", 1)
    assert error in row["error"]
    assert row["responseStatus"] is None
    double.ended.set()
    double.weather = Weather.CALM
    later(seconds=7)
    await hooks.sweep()
    assert [each["status"] for each in await hooks.log()] == ["DELIVERED"]


async def test_trying_an_endpoint_sending_again_and_forgetting(
    hooks: Hooks, double: WebhookDouble, base: str, house: House, database: Database
) -> None:
    endpoint = await hooks.endpoint(double, base, "INVOICE_PAID")
    document = """mutation ($id: ID!) { webhookEndpointTest(endpointId: $id, idempotencyKey: "k") {
      delivery { id status event } errors { code } } }"""
    tried = [await hooks.run(document, id=endpoint) for _ in range(2)]
    assert tried[0] == tried[1]
    assert tried[0]["delivery"]["event"] == "WEBHOOK_TEST"
    delivery = tried[0]["delivery"]["id"]
    assert faults(await hooks.run(REDELIVER, id=delivery)) == [("INVALID_STATE", "deliveryId")]
    await hooks.sweep()
    assert kinds(double.received) == ["webhook.test"]
    for _ in range(2):
        again = await hooks.run(REDELIVER, id=delivery, key="once")
        assert again["delivery"]["status"] == "PENDING"
    await hooks.sweep()
    assert len({each.id for each in double.received}) == 1
    assert len(double.received) == 2
    await hooks.on("Pause", endpoint)
    assert faults(await hooks.on("Test", endpoint, "errors { code field }")) == [("INVALID_STATE", "endpointId")]
    # After 30 days it is forgotten.
    later(days=31)
    async with database.transaction(house.tenant.id) as session:
        await retention.prune(session, house.tenant.id)
    assert await count(database, house.tenant.id) == 0


async def test_what_is_rolled_back_was_never_said(
    hooks: Hooks, double: WebhookDouble, base: str, house: House, database: Database
) -> None:
    await hooks.endpoint(double, base, *STATUSES)
    customer = await customer_of(house)
    async with database.read(house.tenant.id) as session:
        await session.execute(update(type(customer)).values(status="SUSPENDED"))
        assert (await session.scalars(select(WebhookDelivery.event))).all() == ["CUSTOMER_SUSPENDED"]
    assert await hooks.log() == []


async def test_nobody_else_sees_or_changes_them(
    hooks: Hooks, double: WebhookDouble, base: str, api: Api, house: House, other_house: House
) -> None:
    endpoint = await hooks.endpoint(double, base, *STATUSES)
    customer = await customer_of(house)
    await hooks.suspend(customer)
    [row] = await hooks.log()
    staff = await house.operator(Role.STAFF)
    for verb in ("Delete", "Pause", "Resume", "RotateSecret", "Test"):
        found = await hooks.on(verb, endpoint, "errors { code field }", other_house.admin)
        assert faults(found) == [("NOT_FOUND", "endpointId")], verb
        refused = await api(
            f'mutation {{ webhookEndpoint{verb}(endpointId: "{endpoint}") {{ errors {{ code }} }} }}', staff
        )
        assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert faults(await hooks.run(REDELIVER, other_house.admin, id=row["id"])) == [("NOT_FOUND", "deliveryId")]
    changed = await hooks.save(other_house.admin, id=endpoint, name="Mine")
    assert faults(changed) == [("NOT_FOUND", "input.id")]
    for public in (endpoint, row["id"]):
        document = "query ($id: ID!) { node(id: $id) { id } }"
        assert await hooks.run(document, other_house.admin, id=public) is None
        assert (await hooks.run(document, id=public))["id"] == public
    assert await hooks.log(other_house.admin, endpoint=endpoint) == []
    # Their events are not ours either.
    await hooks.sweep()
    double.received.clear()
    theirs = await subscribers.customer(other_house)
    async with house.database.transaction(other_house.tenant.id) as session:
        await session.execute(update(type(theirs)).values(status="SUSPENDED"))
    await hooks.sweep()
    assert double.received == []
