"""Texts of events: whose words, in which language, and what they may name."""

from typing import Any

import pytest

from ispgraph import ids
from ispgraph.db import Database
from ispgraph.domain import messages
from ispgraph.domain.messaging import templates, texts
from ispgraph.domain.messaging.catalogue import EVENTS
from ispgraph.domain.models import Customer, Message, MessageChannel, Operator, Role
from tests import subscribers
from tests.api import Api
from tests.factories import House

FIELDS = (
    "id key channel language subject body active changed title needed urgent variables described { name description }"
)
LIST = f"{{ messageTemplates {{ {FIELDS} }} }}"
SAVE = f"""mutation ($input: MessageTemplateInput!) {{ messageTemplateSave(input: $input) {{
  template {{ {FIELDS} }} errors {{ code message field }} }} }}"""
RESET = f"""mutation ($input: MessageTemplateResetInput!) {{ messageTemplateReset(input: $input) {{
  template {{ {FIELDS} }} errors {{ code message field }} }} }}"""
NODES = f"query ($ids: [ID!]!) {{ nodes(ids: $ids) {{ id ... on MessageTemplate {{ {FIELDS} }} }} }}"
NODE = f"query ($id: ID!) {{ node(id: $id) {{ __typename id ... on MessageTemplate {{ {FIELDS} }} }} }}"
UPDATE = """mutation ($input: CustomerUpdateInput!) { customerUpdate(input: $input) {
  customer { language smsOptOut emailOptOut version } errors { code message field } } }"""


async def save(api: Api, who: Operator, **given: Any) -> dict[str, Any]:
    given = {"key": "service.activated", "channel": "SMS", "body": "On again, {customer}."} | given
    answer: dict[str, Any] = (await api.data(SAVE, who, input=given))["messageTemplateSave"]
    return answer


async def saved(api: Api, who: Operator, **given: Any) -> dict[str, Any]:
    answer = await save(api, who, **given)
    assert answer["errors"] == []
    template: dict[str, Any] = answer["template"]
    return template


async def told(database: Database, house: House, customer: Customer, event: str, **said: str) -> dict[str, Message]:
    async with database.transaction(house.tenant.id) as session:
        made = await messages.tell(session, await session.get_one(Customer, customer.id), event, by=None, **said)
    return {message.channel.value: message for message in made}


async def test_every_event_is_listed_with_the_words_of_the_product(api: Api, house: House) -> None:
    found = (await api.data(LIST, house.admin))["messageTemplates"]
    assert {(each["key"], each["channel"]) for each in found} == {
        (event.key, channel.value) for event in EVENTS.values() for channel in event.channels
    }
    wanted = "service.suspended service.activated service.suspend_soon service.expiring service.expired service.welcome"
    wanted += " invoice.issued invoice.due invoice.overdue payment.received renewal.short fup.near quota.near"
    wanted += " quota.reached time.reached package.changed ticket.replied payment_link.sent hotspot.recharged"
    assert set(wanted.split()) | {"operator.balance_low", "router.down", "router.up"} <= set(EVENTS)
    assert all((each["changed"], each["active"], each["language"]) == (False, True, "en") for each in found)
    assert all((each["subject"] is None) == (each["channel"] == "SMS") for each in found)
    first = found[0]
    assert [each["name"] for each in first["described"]] == first["variables"]
    assert (await api.data(NODE, house.admin, id=first["id"]))["node"] == {"__typename": "MessageTemplate", **first}
    assert (await api.data(NODES, house.admin, ids=[first["id"], "mtp_" + "0" * 32]))["nodes"] == [first, None]


def test_the_words_of_the_product_name_what_there_is() -> None:
    for event in EVENTS.values():
        for text in (event.text, event.subject):
            found = texts.look(text, event.variables)
            assert (found.unknown, found.lone) == ((), False), event.key
        assert event.secret <= set(event.own), event.key
        assert event.optional <= set(event.own), event.key


async def test_words_of_ones_own_are_used_and_taken_back(api: Api, house: House, database: Database) -> None:
    customer = await subscribers.customer(house, email="ann@example.com")
    template = await saved(api, house.admin)
    assert (template["changed"], template["body"]) == (True, "On again, {customer}.")
    again = await saved(api, house.admin, body="On again, {customer}!")
    assert again["id"] == template["id"]
    made = await told(database, house, customer, "service.activated")
    assert made["SMS"].body == "On again, Ann Example!"
    assert made["EMAIL"].body == "North Networks: Dear Ann Example, your internet service is active."
    reset = {"key": "service.activated", "channel": "SMS"}
    answer = (await api.data(RESET, house.admin, input=reset))["messageTemplateReset"]
    assert (answer["errors"], answer["template"]["changed"]) == ([], False)
    assert answer["template"]["id"] == template["id"]
    assert (await told(database, house, customer, "service.activated"))["SMS"].body == made["EMAIL"].body
    [error] = (await api.data(RESET, house.admin, input=reset))["messageTemplateReset"]["errors"]
    assert (error["code"], error["field"]) == ("NO_CHANGE", ["input", "key"])


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"body": "{customer} {password}"}, "INVALID", "body"),
        ({"body": "{customer.name}"}, "INVALID", "body"),
        ({"body": "{0}"}, "INVALID", "body"),
        ({"body": "one { alone"}, "INVALID", "body"),
        ({"body": " "}, "REQUIRED", "body"),
        ({"body": "x" * 1531}, "INVALID", "body"),
        ({"body": "bell \u0007"}, "INVALID", "body"),
        ({"key": "service.exploded"}, "NOT_FOUND", "key"),
        ({"key": "own.With Blank"}, "NOT_FOUND", "key"),
        ({"key": "own.news", "channel": "EMAIL"}, "INVALID", "channel"),
        ({"key": "router.up", "body": "x"}, "INVALID", "channel"),
        ({"key": "own.news", "body": "{reason}"}, "INVALID", "body"),
        ({"language": "klingon"}, "INVALID", "language"),
        ({"subject": "Hello"}, "INVALID", "subject"),
        ({"channel": "EMAIL", "subject": "{nothing}"}, "INVALID", "subject"),
        ({"channel": "EMAIL", "subject": "two\nlines"}, "INVALID", "subject"),
        ({"key": "service.welcome", "channel": "EMAIL", "subject": "{password}", "body": "x"}, "INVALID", "subject"),
    ],
)
async def test_bad_words_are_refused(api: Api, house: House, given: dict[str, str], code: str, field: str) -> None:
    answer = await save(api, house.admin, **given)
    assert [(error["code"], error["field"]) for error in answer["errors"]] == [(code, ["input", field])]
    assert all(not each["changed"] for each in (await api.data(LIST, house.admin))["messageTemplates"])


async def test_a_language_with_and_without_its_country(api: Api, house: House, database: Database) -> None:
    customer = await subscribers.customer(house, language="pt-BR")
    await saved(api, house.admin, language="bn", body="bn")
    assert (await told(database, house, customer, "service.activated"))["SMS"].language == "en"
    await saved(api, house.admin, language="pt", body="pt")
    assert (await told(database, house, customer, "service.activated"))["SMS"].body == "pt"
    await saved(api, house.admin, language="pt-BR", body="pt-BR")
    assert (await told(database, house, customer, "service.activated"))["SMS"].language == "pt-BR"
    assert templates.languages("pt-BR", "bn") == ["pt-BR", "pt", "bn", "en"]
    other = await subscribers.customer(house)
    assert (await told(database, house, other, "service.activated"))["SMS"].language == "en"
    settings = (
        "mutation ($m: MessageSettingsInput!) { tenantSettingsUpdate(input: { messages: $m }) { errors { code } } }"
    )
    await api.data(settings, house.admin, m={"language": "bn"})
    assert (await told(database, house, other, "service.activated"))["SMS"].body == "bn"


async def test_an_event_that_is_switched_off_is_not_told(api: Api, house: House, database: Database) -> None:
    customer = await subscribers.customer(house, email="ann@example.com")
    await saved(api, house.admin, active=False)
    assert set(await told(database, house, customer, "service.activated")) == {"EMAIL"}


async def test_who_does_not_want_messages_gets_what_belongs_to_the_service(
    api: Api, house: House, database: Database
) -> None:
    customer = await subscribers.customer(house, email="ann@example.com")
    near = {"percent": "80", "quota": "50 GB", "package": "Home", "until": "tomorrow"}
    assert set(await told(database, house, customer, "quota.near", **near)) == {"SMS", "EMAIL"}
    change = {"customerId": ids.encode("cus", customer.id), "smsOptOut": True, "language": "bn-bd"}
    answer = (await api.data(UPDATE, house.admin, input=change))["customerUpdate"]
    assert answer["customer"] == {"language": "bn-BD", "smsOptOut": True, "emailOptOut": False, "version": 2}
    assert set(await told(database, house, customer, "quota.near", **near)) == {"EMAIL"}
    assert set(await told(database, house, customer, "service.activated")) == {"SMS", "EMAIL"}
    await api.data(UPDATE, house.admin, input=change | {"emailOptOut": True})
    assert await told(database, house, customer, "quota.near", **near) == {}
    bad = (await api.data(UPDATE, house.admin, input=change | {"language": "??"}))["customerUpdate"]["errors"]
    assert [error["field"] for error in bad] == [["input", "language"]]


async def test_of_several_with_one_name_the_first_is_queued(
    house: House, other_house: House, database: Database
) -> None:
    customer = await subscribers.customer(house, email="ann@example.com")
    for expected in (2, 0):
        async with database.transaction(house.tenant.id) as session:
            made = await messages.tell(session, customer, "service.activated", by=None, once="on/1")
        assert len(made) == expected
    async with database.transaction(house.tenant.id) as session:
        assert len(await messages.tell(session, customer, "service.activated", by=None, once="on/2")) == 2
        assert len(await messages.tell(session, customer, "service.activated", by=None)) == 2
    neighbour = await subscribers.customer(other_house)
    async with database.transaction(other_house.tenant.id) as session:
        assert len(await messages.tell(session, neighbour, "service.activated", by=None, once="on/1")) == 1


async def test_what_a_value_says_is_never_read_again(house: House, database: Database) -> None:
    customer = await subscribers.customer(house, name="{{{tenant}}} {reason}\u00a0x")
    message = (await told(database, house, customer, "service.suspended", reason="{customer}"))["SMS"]
    assert message.body.endswith("Dear {{{tenant}}} {reason} x, your internet service is suspended. {customer}")
    with pytest.raises(KeyError):
        await told(database, house, customer, "invoice.due")


def test_braces_and_blanks() -> None:
    assert texts.said("{{a}}  {a}\n\n {b} ", {"a": "1", "b": ""}) == "{a} 1"
    assert texts.short("x" * 1531) == "x" * 1527 + "..."


async def test_only_who_may_save_and_see(api: Api, house: House, other_house: House) -> None:
    await saved(api, house.admin, body="ours")
    staff, blind = await house.operator(Role.STAFF), await house.operator(Role.STAFF, permissions=[])
    refused = await api(SAVE, staff, input={"key": "service.activated", "channel": "SMS", "body": "x"})
    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert (await api(LIST, blind))["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    ours = next(each for each in (await api.data(LIST, staff))["messageTemplates"] if each["changed"])
    assert ours["body"] == "ours"
    for who in (blind, other_house.admin):
        assert (await api.data(NODE, who, id=ours["id"]))["node"] is None
    assert not any(each["changed"] for each in (await api.data(LIST, other_house.admin))["messageTemplates"])


async def test_e_mails_have_a_subject(api: Api, house: House, database: Database) -> None:
    customer = await subscribers.customer(house, email="ann@example.com")
    message = await told(database, house, customer, "invoice.issued", number="INV-1", amount="USD 5.00", day="1 June")
    assert (message["EMAIL"].subject, message["SMS"].subject) == ("North Networks: invoice INV-1", None)
    await saved(api, house.admin, key="invoice.issued", channel="EMAIL", subject="Bill {number}", body="{amount}")
    message = await told(database, house, customer, "invoice.issued", number="INV-1", amount="USD 5.00", day="1 June")
    assert (message["EMAIL"].subject, message["EMAIL"].body) == ("Bill INV-1", "USD 5.00")
    assert message["EMAIL"].channel is MessageChannel.EMAIL
