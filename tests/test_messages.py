"""Messages to customers: what is queued, who sees it, and how long it is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispgraph import clock, ids
from ispgraph.domain.messaging.texts import segments
from ispgraph.domain.models import Customer, Operator, Role
from tests import subscribers
from tests.api import Api
from tests.factories import House

MESSAGES = """messages(first: $first, after: $after) { totalCount pageInfo { hasNextPage endCursor }
  nodes { id channel to body status segments error createdAt sentAt deliveredAt } }"""
READ = f"query ($id: ID!, $first: Int, $after: String) {{ customer(by: {{ id: $id }}) {{ {MESSAGES} }} }}"
NODE = "query ($id: ID!) { node(id: $id) { id ... on Message { channel to body } } }"
SUSPEND = "mutation ($input: SuspendInput!) { customerSuspend(input: $input) { errors { code field } } }"
ACTIVATE = "mutation ($input: ActivateInput!) { customerActivate(input: $input) { errors { code field } } }"

# 3GPP TS 23.038, written out apart from the product: one unit each, and two.
PLAIN = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ÄÖÑÜ§¿äöñüà"
PLAIN += "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
DOUBLE = "\f^{}\\[~]|€"


async def told(api: Api, operator: Operator, customer: Customer, **given: Any) -> None:
    """Suspend, and tell the customer."""
    key = ids.encode("cus", customer.id)
    variables = {"customerId": key, "reason": "NON_PAYMENT", "notify": True, **given}
    assert (await api.data(SUSPEND, operator, input=variables))["customerSuspend"]["errors"] == []


async def read(api: Api, operator: Operator, customer: Customer, **page: Any) -> dict[str, Any]:
    """A page of the customer's messages."""
    answer = await api.data(READ, operator, id=ids.encode("cus", customer.id), **page)
    messages: dict[str, Any] = answer["customer"]["messages"]
    return messages


async def test_by_every_way_there_is(api: Api, house: House) -> None:
    customer = await subscribers.customer(house, name="Jane {reason} Example", email="jane@example.com")
    await subscribers.service(house, customer, started_at=clock.now())
    await told(api, house.admin, customer, note="third reminder")
    page = await read(api, house.admin, customer)
    said = "North Networks: Dear Jane {reason} Example, your internet service is suspended. Reason: Non-payment."
    nothing_yet = {"status": "QUEUED", "error": None, "sentAt": None, "deliveredAt": None, "body": said}
    email, sms = page["nodes"]
    for message in (email, sms):
        assert message.pop("createdAt") is not None
        assert message.pop("id").startswith("msg_")
    assert email == nothing_yet | {"channel": "EMAIL", "to": "jane@example.com", "segments": 0}
    assert sms == nothing_yet | {"channel": "SMS", "to": "+8801712345678", "segments": 1}
    await api.data(ACTIVATE, house.admin, input={"customerId": ids.encode("cus", customer.id), "notify": True})
    page = await read(api, house.admin, customer)
    assert page["totalCount"] == 4
    assert page["nodes"][0]["body"] == "North Networks: Dear Jane {reason} Example, your internet service is active."


async def test_without_an_address_and_without_a_reason(api: Api, house: House) -> None:
    customer = await subscribers.customer(house, name="জেন উদাহরণ")
    await subscribers.service(house, customer)
    await told(api, house.admin, customer, reason="OTHER", note="not for the customer")
    (message,) = (await read(api, house.admin, customer))["nodes"]
    assert message["body"] == "North Networks: Dear জেন উদাহরণ, your internet service is suspended."
    assert (message["channel"], message["segments"]) == ("SMS", 1)


async def test_newest_first_page_by_page(api: Api, house: House) -> None:
    customer = await subscribers.customer(house, email="jane@example.com")
    for number in range(3):
        service = await subscribers.service(house, customer, is_primary=False, username=f"u{number}")
        await told(api, house.admin, customer, serviceId=ids.encode("svc", service.id))
    everything = [message["id"] for message in (await read(api, house.admin, customer))["nodes"]]
    assert len(everything) == 6
    assert everything == sorted(everything, reverse=True)
    first = await read(api, house.admin, customer, first=4)
    rest = await read(api, house.admin, customer, first=4, after=first["pageInfo"]["endCursor"])
    assert (first["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasNextPage"]) == (True, False)
    assert [message["id"] for message in (*first["nodes"], *rest["nodes"])] == everything


async def test_only_to_those_who_see_the_customer(api: Api, house: House, other_house: House) -> None:
    reseller, rival = await house.operator(Role.OPERATOR), await house.operator(Role.OPERATOR)
    blind = await house.operator(Role.STAFF, permissions=[])
    customer = await subscribers.customer(house, operator_id=reseller.id)
    await subscribers.service(house, customer)
    await told(api, reseller, customer)
    (message,) = (await read(api, reseller, customer))["nodes"]
    for sees in (reseller, house.admin):
        assert (await api.data(NODE, sees, id=message["id"]))["node"]["to"] == customer.mobile
    for stranger in (rival, blind, other_house.admin):
        assert (await api.data(NODE, stranger, id=message["id"]))["node"] is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        # 152 and an escape: its two halves stay together in the second part.
        ("a" * 152 + "€" + "a" * 152, 3),
        ("a" * 152 + "€" + "a" * 151, 2),
        ("ঢ" * 70, 1),
        ("ঢ" * 71, 2),
        ("ঢ" * 134, 2),
        ("ঢ" * 135, 3),
        ("a" * 69 + "ç", 1),
        ("a" * 70 + "ç", 2),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        # 33 pairs fill 66 of 67 units: the 34th begins another part.
        ("😀" * 67, 3),
        ("`", 1),
        ("a" * 70 + "`", 2),
    ],
)
def test_lengths(text: str, expected: int) -> None:
    assert segments(text) == expected


@given(st.text(st.sampled_from(PLAIN + DOUBLE), max_size=700))
def test_parts_of_seven_bits(text: str) -> None:
    check(text, sum(2 if character in DOUBLE else 1 for character in text), 160, 153)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), st.sampled_from("ঢ😀ç`\u200b"))
def test_parts_of_sixteen_bits(text: str, foreign: str) -> None:
    check(text + foreign, len((text + foreign).encode("utf-16-le")) // 2, 70, 67)


def check(text: str, units: int, alone: int, joined: int) -> None:
    """As many parts as the units need, and at most what is lost where a character of two units did not fit."""
    found = segments(text)
    if units <= alone:
        assert found == 1
    else:
        assert -(-units // joined) <= found <= -(-units // (joined - 1))
    assert segments(text + text) >= found
