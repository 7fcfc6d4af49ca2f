"""SMS that operators write, and what they cost."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain.messaging import credits
from ispgraph.domain.models import AuditEntry, Customer, GatewayKind, Message, Operator, Role
from tests import subscribers
from tests.api import Api
from tests.factories import House
from tests.messaging import post

PREVIEW = """query ($input: MessagePreviewInput!) { messagePreview(input: $input) {
  to subject body language unknownVariables segments encoding credits } }"""
ADD = """mutation ($input: AddSmsCreditsInput!) { operatorAddSmsCredits(input: $input) {
  operator { smsCredits } errors { code message field } } }"""
ENTRIES = """query ($operatorId: ID) { smsCreditEntries(operatorId: $operatorId) { totalCount
  nodes { id kind credits balance note operator { name } message { body } createdBy { name } } } }"""
MESSAGES = """query ($status: [MessageStatus!], $channel: MessageChannel, $customerId: ID) {
  messages(status: $status, channel: $channel, customerId: $customerId) { totalCount nodes { to event body } } }"""
TEMPLATE = (
    """mutation ($input: MessageTemplateInput!) { messageTemplateSave(input: $input) { errors { code field } } }"""
)


async def add(api: Api, who: Operator, operator: Operator, count: int, **given: Any) -> dict[str, Any]:
    variables = {"operatorId": ids.encode("opr", operator.id), "credits": count, **given}
    answer: dict[str, Any] = (await api.data(ADD, who, input=variables))["operatorAddSmsCredits"]
    return answer


async def balance(database: Database, house: House, operator: Operator) -> int:
    """What an operator has, which is what the book says."""
    async with database.read(house.tenant.id) as session:
        assert await post.unbooked(session, house) == []
        return (await session.get_one(Operator, operator.id)).sms_credits


async def preview(api: Api, who: Operator, customer: Customer, **given: Any) -> dict[str, Any]:
    variables = {"customerId": ids.encode("cus", customer.id), **given}
    answer: dict[str, Any] = (await api.data(PREVIEW, who, input=variables))["messagePreview"]
    return answer


async def test_a_text_with_what_is_known_of_the_customer(api: Api, house: House, database: Database) -> None:
    await post.gateway(house)
    customer = await subscribers.customer(house, name="Ann")
    service = await subscribers.service(house, customer, expires_at=clock.now() + timedelta(days=3))
    body = "{tenant} {customer} {account} {balance} {due} {username}"
    payload = await post.send(api, house.admin, customer, body=body)
    assert payload["errors"] == []
    said = f"North Networks Ann {customer.account_number} USD 0.00 USD 0.00 {service.username}"
    made = payload["message"]
    assert made.pop("id").startswith("msg_")
    assert made.pop("to") == customer.mobile
    assert made == {"status": "QUEUED", "body": said, "segments": 1, "error": None, "event": "sms"}
    async with database.read(house.tenant.id) as session:
        [entry] = await session.scalars(select(AuditEntry).where(AuditEntry.action == "customer.send_sms"))
    assert (entry.subject_id, entry.operator_id) == (customer.id, house.admin.id)


async def test_a_text_that_is_kept(api: Api, house: House) -> None:
    await post.gateway(house)
    customer = await subscribers.customer(house, language="bn")
    for language, body in (("en", "Outage, {customer}"), ("bn", "বিভ্রাট, {customer}")):
        given = {"key": "own.outage", "channel": "SMS", "language": language, "body": body}
        assert (await api.data(TEMPLATE, house.admin, input=given))["messageTemplateSave"]["errors"] == []
    payload = await post.send(api, house.admin, customer, templateKey="own.outage")
    assert (payload["message"]["body"], payload["message"]["event"]) == ("বিভ্রাট, Ann Example", "own.outage")
    shown = await preview(api, house.admin, customer, templateKey="own.outage")
    assert (shown["encoding"], shown["segments"], shown["language"]) == ("UCS_2", 1, "bn")


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"body": "{reason}"}, "INVALID", "body"),
        ({"body": "a { b"}, "INVALID", "body"),
        ({"body": "  "}, "REQUIRED", "body"),
        ({"body": "x" * 1531}, "INVALID", "body"),
        ({"body": "{customer}" + "x" * 1520}, "LIMIT_EXCEEDED", "body"),
        ({"body": "x", "templateKey": "own.outage"}, "REQUIRED", "body"),
        ({"body": None}, "REQUIRED", "body"),
        ({"templateKey": "own.nothing"}, "NOT_FOUND", "templateKey"),
        ({"templateKey": "service.suspend_soon"}, "INVALID", "templateKey"),
        # There is no service of which something could be said.
        ({"body": "{package}"}, "INVALID", "body"),
        ({"body": "x", "customerId": "cus_" + "0" * 32}, "NOT_FOUND", "customerId"),
    ],
)
async def test_bad_texts_are_refused(
    api: Api, house: House, database: Database, given: dict[str, Any], code: str, field: str
) -> None:
    await post.gateway(house)
    customer = await subscribers.customer(house)
    payload = await post.send(api, house.admin, customer, **given)
    assert [(error["code"], error["field"]) for error in payload["errors"]] == [(code, ["input", field])]
    async with database.read(house.tenant.id) as session:
        assert list(await session.scalars(select(Message))) == []


async def test_without_a_gateway_it_is_not_configured(api: Api, house: House, other_house: House) -> None:
    customer = await subscribers.customer(house)
    await post.gateway(other_house)
    await post.gateway(house, active=False)
    await post.gateway(house, kind=GatewayKind.EMAIL)
    payload = await post.send(api, house.admin, customer)
    assert [error["code"] for error in payload["errors"]] == ["NOT_CONFIGURED"]
    await post.gateway(house)
    assert (await post.send(api, house.admin, customer))["errors"] == []
    off = "mutation { tenantSettingsUpdate(input: { messages: { smsEnabled: false } }) { errors { code } } }"
    await api.data(off, house.admin)
    assert [error["code"] for error in (await post.send(api, house.admin, customer))["errors"]] == ["NOT_CONFIGURED"]


async def test_who_is_not_to_be_written_to(api: Api, house: House) -> None:
    await post.gateway(house)
    silent = await subscribers.customer(house, sms_opt_out=True)
    assert [error["code"] for error in (await post.send(api, house.admin, silent))["errors"]] == ["INVALID_STATE"]
    wrong = await subscribers.customer(house, mobile="+880")
    [error] = (await post.send(api, house.admin, wrong))["errors"]
    assert (error["code"], error["field"]) == ("INVALID", ["input", "customerId"])
    rival = await house.operator(Role.OPERATOR, sms_credits=9)
    ours = await subscribers.customer(house)
    assert [error["code"] for error in (await post.send(api, rival, ours))["errors"]] == ["NOT_FOUND"]
    accountant = await house.operator(Role.ACCOUNTANT)
    refused = await api(post.SEND, accountant, input={"customerId": ids.encode("cus", ours.id), "body": "x"})
    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_the_same_key_sends_once(api: Api, house: House, database: Database) -> None:
    await post.gateway(house)
    reseller = await house.operator(Role.OPERATOR)
    await add(api, house.admin, reseller, 5)
    customer = await subscribers.customer(house, operator_id=reseller.id)
    payloads = [await post.send(api, reseller, customer, idempotencyKey="k") for _ in range(3)]
    assert len({payload["message"]["id"] for payload in payloads}) == 1
    assert await balance(database, house, reseller) == 4
    other = await post.send(api, reseller, customer, idempotencyKey="k", body="Another")
    assert [error["code"] for error in other["errors"]] == ["IDEMPOTENCY_KEY_REUSED"]


@pytest.mark.parametrize(
    ("body", "segments", "encoding"),
    [("a" * 160, 1, "GSM_7"), ("a" * 161, 2, "GSM_7"), ("ঢ" * 70, 1, "UCS_2"), ("ঢ" * 71, 2, "UCS_2")],
)
async def test_a_preview_counts_and_sends_nothing(
    api: Api, house: House, database: Database, body: str, segments: int, encoding: str
) -> None:
    reseller = await house.operator(Role.OPERATOR)
    customer = await subscribers.customer(house, operator_id=reseller.id, email="ann@example.com")
    shown = await preview(api, reseller, customer, body=body)
    assert shown == {
        "to": customer.mobile,
        "subject": None,
        "body": body,
        "language": "en",
        "unknownVariables": [],
        "segments": segments,
        "encoding": encoding,
        "credits": segments,
    }
    assert (await preview(api, house.admin, customer, body=body))["credits"] == 0
    async with database.read(house.tenant.id) as session:
        assert list(await session.scalars(select(Message))) == []


async def test_a_preview_of_an_event_says_what_is_not_known(api: Api, house: House) -> None:
    customer = await subscribers.customer(house, email="ann@example.com")
    await subscribers.service(house, customer, username="ann-1")
    shown = await preview(api, house.admin, customer, templateKey="invoice.due", channel="EMAIL")
    assert shown["unknownVariables"] == ["number", "day", "amount"]
    assert shown["body"].startswith("North Networks: Dear Ann Example, invoice {number} is due on {day}.")
    assert (shown["to"], shown["subject"], shown["segments"]) == (
        "ann@example.com",
        "North Networks: invoice {number} is due",
        0,
    )
    login = await preview(api, house.admin, customer, templateKey="service.welcome")
    assert login["body"].endswith("Username: ann-1 Password: ********")


async def test_fifty_at_once_with_credits_for_three(api: Api, house: House, database: Database) -> None:
    await post.gateway(house)
    reseller = await house.operator(Role.OPERATOR)
    await add(api, house.admin, reseller, 3)
    customer = await subscribers.customer(house, operator_id=reseller.id)
    payloads = await asyncio.gather(*(post.send(api, reseller, customer, body=f"Number {n}") for n in range(50)))
    codes = [error["code"] for payload in payloads for error in payload["errors"]]
    assert codes == ["INSUFFICIENT_FUNDS"] * 47
    assert sum(payload["message"] is not None for payload in payloads) == 3
    assert await balance(database, house, reseller) == 0
    async with database.read(house.tenant.id) as session:
        sent = [row for row in await session.scalars(select(Message)) if row.event == "sms"]
    assert len(sent) == 3


async def test_a_long_text_costs_its_parts_or_is_not_sent(api: Api, house: House, database: Database) -> None:
    await post.gateway(house)
    reseller = await house.operator(Role.OPERATOR)
    await add(api, house.admin, reseller, 3)
    staff = await house.operator(Role.STAFF, reseller)
    customer = await subscribers.customer(house, operator_id=reseller.id)
    [error] = (await post.send(api, reseller, customer, body="ঢ" * 202))["errors"]
    assert (error["code"], error["message"]) == ("INSUFFICIENT_FUNDS", "This takes 4 SMS credits, and 3 are left.")
    # Staff of a reseller send at its cost.
    assert (await post.send(api, staff, customer, body="ঢ" * 201))["errors"] == []
    assert await balance(database, house, reseller) == 0


async def test_the_providers_own_operators_need_no_credits(api: Api, house: House, database: Database) -> None:
    await post.gateway(house)
    reseller = await house.operator(Role.OPERATOR)
    customer = await subscribers.customer(house, operator_id=reseller.id)
    for who in (house.admin, await house.operator(Role.STAFF)):
        assert (await post.send(api, who, customer))["errors"] == []
    assert await balance(database, house, reseller) == 0


async def test_credits_go_downwards_and_a_reseller_gives_its_own(api: Api, house: House, database: Database) -> None:
    reseller = await house.operator(Role.OPERATOR)
    below = await house.operator(Role.SUB_OPERATOR, reseller)
    beside = await house.operator(Role.OPERATOR)
    staff = await house.operator(Role.STAFF, reseller)
    assert (await add(api, house.admin, reseller, 10, note="June"))["operator"] == {"smsCredits": 10}
    assert (await add(api, reseller, below, 4))["operator"] == {"smsCredits": 4}
    assert await balance(database, house, reseller) == 6
    refusals = [
        (await add(api, reseller, below, 7), "INSUFFICIENT_FUNDS", "credits"),
        (await add(api, reseller, reseller, 1), "NOT_PERMITTED", "operatorId"),
        (await add(api, reseller, beside, 1), "NOT_FOUND", "operatorId"),
        (await add(api, reseller, staff, 1), "INVALID", "operatorId"),
        (await add(api, house.admin, house.admin, 1), "NOT_PERMITTED", "operatorId"),
        (await add(api, house.admin, below, -5), "INSUFFICIENT_FUNDS", "credits"),
        (await add(api, house.admin, below, 0), "INVALID", "credits"),
        (await add(api, house.admin, below, 1_000_001), "INVALID", "credits"),
    ]
    assert [[(error["code"], error["field"][-1]) for error in answer["errors"]] for answer, _, _ in refusals] == [
        [(code, field)] for _, code, field in refusals
    ]
    refused = await api(ADD, below, input={"operatorId": ids.encode("opr", reseller.id), "credits": 1})
    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    # Taken back, it is the reseller's again.
    assert (await add(api, reseller, below, -3))["operator"] == {"smsCredits": 1}
    assert await balance(database, house, reseller) == 9
    page = (await api.data(ENTRIES, reseller))["smsCreditEntries"]
    first = page["nodes"][-1]
    assert (first["credits"], first["balance"], first["note"]) == (10, 10, "June")
    assert page["totalCount"] == 5
    own = (await api.data(ENTRIES, house.admin, operatorId=ids.encode("opr", below.id)))["smsCreditEntries"]
    assert [(entry["kind"], entry["credits"]) for entry in own["nodes"]] == [("ADDED", -3), ("ADDED", 4)]
    assert (await api.data(ENTRIES, beside))["smsCreditEntries"]["totalCount"] == 0


async def test_the_same_key_adds_once(api: Api, house: House, database: Database) -> None:
    reseller = await house.operator(Role.OPERATOR)
    for _ in range(2):
        assert (await add(api, house.admin, reseller, 10, idempotencyKey="k"))["operator"] == {"smsCredits": 10}
    assert await balance(database, house, reseller) == 10


async def test_who_has_few_left_is_told_once_a_day(
    api: Api, house: House, database: Database, moved_clock: None
) -> None:
    await post.gateway(house)
    reseller = await house.operator(Role.OPERATOR, email="reseller@north.example")
    await add(api, house.admin, reseller, credits.LOW + 1)
    customer = await subscribers.customer(house, operator_id=reseller.id)

    async def told() -> list[tuple[str, str]]:
        page = (await api.data(MESSAGES, reseller, channel="EMAIL"))["messages"]
        return [(each["to"], each["body"]) for each in page["nodes"]]

    await post.send(api, reseller, customer)
    assert await told() == []
    for _ in range(3):
        await post.send(api, reseller, customer)
    said = f"North Networks: Operator Example, {credits.LOW - 1} SMS credits are left."
    assert await told() == [("reseller@north.example", said)]
    clock.set_clock((clock.now() + timedelta(hours=24)).isoformat())
    await post.send(api, reseller, customer)
    assert len(await told()) == 2


async def test_a_list_of_messages(api: Api, house: House, other_house: House) -> None:
    await post.gateway(house)
    reseller = await house.operator(Role.OPERATOR, sms_credits=5)
    theirs = await subscribers.customer(house, operator_id=reseller.id, mobile="+8801812345678")
    ours = await subscribers.customer(house)
    for customer in (theirs, ours):
        await post.send(api, house.admin, customer)
    page = (await api.data(MESSAGES, house.admin))["messages"]
    assert [each["to"] for each in page["nodes"]] == [ours.mobile, theirs.mobile]
    for given, count in (
        ({"status": ["QUEUED"]}, 2),
        ({"status": ["SENT", "FAILED"]}, 0),
        ({"channel": "SMS"}, 2),
        ({"channel": "EMAIL"}, 0),
        ({"customerId": ids.encode("cus", ours.id)}, 1),
    ):
        assert (await api.data(MESSAGES, house.admin, **given))["messages"]["totalCount"] == count, given
    assert [each["to"] for each in (await api.data(MESSAGES, reseller))["messages"]["nodes"]] == [theirs.mobile]
    assert (await api.data(MESSAGES, other_house.admin))["messages"]["totalCount"] == 0


async def test_entries_are_for_ever(house: House, database: Database, api: Api) -> None:
    reseller = await house.operator(Role.OPERATOR)
    await add(api, house.admin, reseller, 5)
    async with database.read(house.tenant.id) as session:
        for statement in ("UPDATE sms_credit_entries SET credits = 9", "DELETE FROM sms_credit_entries"):
            with pytest.raises(Exception, match="permission denied"):
                await session.execute(text(statement))
            await session.rollback()
