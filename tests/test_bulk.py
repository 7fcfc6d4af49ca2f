"""Suspending and activating many customers in one request, through the API."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import func, select

from ispgraph import ids
from ispgraph.db import Database
from ispgraph.domain.models import (
    AuditEntry,
    Customer,
    CustomerStatus,
    Job,
    Message,
    Operator,
    Role,
    Service,
    ServiceStatus,
)
from ispgraph.domain.permissions import DEFAULTS, Permission
from tests import subscribers
from tests.api import Api
from tests.factories import House
from tests.statements import counted

PAYLOAD = """errors { code message field } results { customerId customer { id status services { status } }
  jobs { id status ... on NetworkJob { router { id } } } errors { code message field } }"""
SUSPEND = f"mutation ($input: CustomersSuspendInput!) {{ customersSuspend(input: $input) {{ {PAYLOAD} }} }}"
ACTIVATE = f"mutation ($input: CustomersActivateInput!) {{ customersActivate(input: $input) {{ {PAYLOAD} }} }}"
ONE = "mutation ($input: SuspendInput!) { customerSuspend(input: $input) { errors { code } } }"


async def suspend(api: Api, who: Operator, keys: Sequence[str], **given: Any) -> dict[str, Any]:
    """The payload of customersSuspend; for non-payment unless said otherwise."""
    chosen = {"customerIds": list(keys), "reason": "NON_PAYMENT"} | given
    payload: dict[str, Any] = (await api.data(SUSPEND, who, input=chosen))["customersSuspend"]
    return payload


async def crowd(house: House, number: int, **fields: Any) -> list[str]:
    """The ids of so many active customers with a service each."""
    keys = []
    for _ in range(number):
        customer = await subscribers.customer(house, **fields)
        await subscribers.service(house, customer)
        keys.append(ids.encode("cus", customer.id))
    return keys


async def states(house: House) -> dict[str, int]:
    """How many services of the house there are by status, how many jobs, audit entries and messages."""
    async with house.database.read(house.tenant.id) as session:
        rows = await session.execute(select(Service.status, func.count()).group_by(Service.status))
        found = {status.value: number for status, number in rows}
        for model in (Job, AuditEntry, Message):
            found[model.__name__] = await session.scalar(select(func.count()).select_from(model)) or 0
    return found


async def test_many_are_suspended_and_activated(api: Api, house: House) -> None:
    router = await house.router()
    keys = await crowd(house, 3)
    routed = await subscribers.customer(house)
    await subscribers.service(house, routed, router_id=router.id)
    keys.insert(1, ids.encode("cus", routed.id))

    payload = await suspend(api, house.admin, keys, note="third reminder", notify=True)
    assert payload["errors"] == []
    assert [one["customerId"] for one in payload["results"]] == keys
    assert [one["customer"]["id"] for one in payload["results"]] == keys
    assert {one["customer"]["status"] for one in payload["results"]} == {"SUSPENDED"}
    assert [one["errors"] for one in payload["results"]] == [[]] * 4
    jobs = [one["jobs"] for one in payload["results"]]
    assert [len(each) for each in jobs] == [1] * 4
    assert jobs[1][0]["router"]["id"] == ids.encode("rtr", router.id)
    assert jobs[0][0]["router"] is None
    found = await states(house)
    assert (found["SUSPENDED"], found["Job"], found["Message"]) == (4, 4, 4)
    async with house.database.read(house.tenant.id) as session:
        row = await session.get_one(Customer, routed.id)
        entry = await session.scalar(select(AuditEntry).where(AuditEntry.subject_id == routed.id))
    assert row.status_reason == "Non-payment: third reminder"
    assert entry is not None
    assert (entry.action, entry.details["note"]) == ("customer.suspend", "third reminder")

    answer = await api.data(ACTIVATE, house.admin, input={"customerIds": keys})
    assert {one["customer"]["status"] for one in answer["customersActivate"]["results"]} == {"ACTIVE"}
    found = await states(house)
    assert (found["ACTIVE"], found["Job"], found["Message"]) == (4, 8, 4)


async def test_those_who_cannot_be_changed_do_not_stand_in_the_way(api: Api, house: House, other_house: House) -> None:
    keys = await crowd(house, 2)
    (foreign,) = await crowd(other_house, 1)
    none = ids.encode("cus", (await subscribers.customer(house)).id)
    expired = await subscribers.customer(house, status=CustomerStatus.EXPIRED)
    await subscribers.service(house, expired, status=ServiceStatus.EXPIRED)
    chosen = [keys[0], foreign, none, ids.encode("cus", expired.id), keys[1]]
    await suspend(api, house.admin, [keys[1]])

    payload = await suspend(api, house.admin, chosen)
    assert payload["errors"] == []
    faults = [[(error["code"], error["field"]) for error in one["errors"]] for one in payload["results"]]
    assert faults == [
        [],
        [("NOT_FOUND", ["input", "customerIds", "1"])],
        [("INVALID_STATE", ["input", "customerIds", "2"])],
        [("INVALID_STATE", ["input", "customerIds", "3"])],
        [("NO_CHANGE", ["input", "customerIds", "4"])],
    ]
    assert [one["customer"] is None for one in payload["results"]] == [False, True, True, True, True]
    assert [len(one["jobs"]) for one in payload["results"]] == [1, 0, 0, 0, 0]
    assert (await states(other_house)) == {"ACTIVE": 1, "Job": 0, "AuditEntry": 0, "Message": 0}


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        (lambda keys: [], "REQUIRED", ["input", "customerIds"]),
        (lambda keys: keys * 51, "LIMIT_EXCEEDED", ["input", "customerIds"]),
        (lambda keys: [*keys, keys[0]], "INVALID", ["input", "customerIds", "2"]),
        (lambda keys: [keys[0], "svc_1", keys[1]], "NOT_FOUND", ["input", "customerIds", "1"]),
    ],
)
async def test_what_is_wrong_with_the_list_changes_nothing(
    api: Api, house: House, change: Any, code: str, field: list[str]
) -> None:
    keys = await crowd(house, 2)
    payload = await suspend(api, house.admin, change(keys))
    assert (payload["errors"][0]["code"], payload["errors"][0]["field"]) == (code, field)
    assert payload["results"] == []
    assert await states(house) == {"ACTIVE": 2, "Job": 0, "AuditEntry": 0, "Message": 0}


async def test_a_note_that_is_too_long_is_named_once(api: Api, house: House) -> None:
    payload = await suspend(api, house.admin, await crowd(house, 2), note="x" * 201)
    assert [error["field"] for error in payload["errors"]] == [["input", "note"]]
    assert (await states(house))["ACTIVE"] == 2


async def test_the_same_key_answers_again(api: Api, house: House) -> None:
    keys = await crowd(house, 2)
    chosen = [*keys, ids.encode("cus", (await subscribers.customer(house)).id)]
    first = await suspend(api, house.admin, chosen, idempotencyKey="night of the 21st")
    again = await suspend(api, house.admin, chosen, idempotencyKey="night of the 21st")
    assert again == first
    assert (await states(house))["Job"] == 2
    other = await suspend(api, house.admin, keys, idempotencyKey="night of the 21st")
    assert other["errors"][0]["code"] == "IDEMPOTENCY_KEY_REUSED"
    both = await asyncio.gather(
        *(api.data(ACTIVATE, house.admin, input={"customerIds": keys, "idempotencyKey": "once"}) for _ in range(4))
    )
    assert all(one == both[0] for one in both)
    assert (await states(house))["Job"] == 4


async def test_permission_and_subtree(api: Api, house: House) -> None:
    reseller = await house.operator(Role.OPERATOR)
    (own,) = await crowd(house, 1, operator_id=reseller.id)
    (admins,) = await crowd(house, 1)
    payload = await suspend(api, reseller, [own, admins])
    assert [one["errors"][0]["code"] if one["errors"] else None for one in payload["results"]] == [None, "NOT_FOUND"]
    rights = sorted(DEFAULTS[Role.STAFF] - {Permission.SUSPEND_CUSTOMERS}, key=lambda each: each.value)
    staff = await house.operator(Role.STAFF, permissions=[each.value for each in rights])
    answer = await api(SUSPEND, staff, input={"customerIds": [admins], "reason": "OTHER"})
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    # Who may suspend need not be one who may see.
    blind = await house.operator(Role.STAFF, permissions=[Permission.SUSPEND_CUSTOMERS.value])
    (result,) = (await suspend(api, blind, [admins]))["results"]
    assert (result["customer"], result["errors"]) == (None, [])
    assert (await states(house))["SUSPENDED"] == 2


async def test_the_number_of_statements_does_not_follow_that_of_customers(
    api: Api, house: House, database: Database
) -> None:
    numbers = []
    for size in (2, 20):
        keys = await crowd(house, size)
        with counted(database) as statements:
            await suspend(api, house.admin, keys)
        numbers.append(len(statements))
    assert numbers[0] == numbers[1]


async def test_crowds_that_overlap_do_not_hold_each_other_up(api: Api, house: House) -> None:
    keys = await crowd(house, 12)
    crowds = [keys, keys[::-1], keys[6:] + keys[:6], keys[3:9]]
    one = api.data(ONE, house.admin, input={"customerId": keys[5], "reason": "OTHER"})
    answers, single = await asyncio.gather(asyncio.gather(*(suspend(api, house.admin, each) for each in crowds)), one)
    done = [result["customerId"] for each in answers for result in each["results"] if not result["errors"]]
    done += [keys[5]] if not single["customerSuspend"]["errors"] else []
    assert sorted(done) == sorted(keys), "each by one of them"
    found = await states(house)
    assert (found["SUSPENDED"], found["Job"]) == (12, 12)
