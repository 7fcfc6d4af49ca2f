"""Days on which services are to be suspended: set, looked at, reminded of, and come."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispgraph import daily, invariants
from ispgraph.db import Database
from ispgraph.domain import suspend_dates
from ispgraph.domain.models import Role, ServiceStatus
from tests.api import Api
from tests.billing.conftest import Till
from tests.billing.debtor import SUSPEND_DATE, Debtor
from tests.billing.debtor import debtor as make
from tests.factories import House

IMPACT = """query ($id: ID!, $on: Date!) { suspendDateImpact(customerId: $id, suspendOn: $on) {
  nextInvoiceOn nextSuspensionOn proration { amount } requiresConfirmation explanation } }"""
ACTIVATE = "mutation ($input: ActivateInput!) { customerActivate(input: $input) { errors { code } } }"


@pytest.fixture
async def debtor(api: Api, till: Till, moved_clock: None) -> Debtor:
    found = await make(api, till)
    found.go("2027-01-20")
    return found


async def when(debtor: Debtor) -> tuple[str | None, Any]:
    """The next day, and the rule behind it."""
    service = (await debtor.shown())["service"]
    return service["suspendOn"], service["suspendRule"]


@given(st.dates(date(2020, 1, 1), date(2040, 1, 1)), st.integers(1, 28))
def test_the_next_day_is_the_first_one_after_today(today: date, day: int) -> None:
    found = suspend_dates.next_day(today, day)
    assert today < found <= today + timedelta(days=31)
    assert found.day == day


async def test_once_with_a_reminder(debtor: Debtor, owner: Database) -> None:
    payload = await debtor.suspend_on(suspendOn="2027-02-10", remindDaysBefore=4)
    assert payload["errors"] == []
    assert payload["jobs"] == [], "nothing happens yet"
    assert payload["customer"]["service"] == {
        "suspendOn": "2027-02-10",
        "suspendRule": {"recurringDayOfMonth": None, "remindDaysBefore": 4},
    }
    assert (await debtor.profile())["nextSuspensionOn"] == "2027-02-10"
    assert (await debtor.audited())[-1].action == "customer.set_suspend_date"
    happened = {}
    for number in range(1, 20):
        if told := await debtor.day(f"2027-02-{number:02}"):
            happened[number] = told
    assert happened == {6: ["service.suspend_soon"], 10: ["service.suspended", "SUSPENDED"]}
    assert (await debtor.messages())[0].body.endswith("your internet service will be suspended on 10 February 2027.")
    shown = await debtor.shown()
    assert (shown["status"], shown["statusReason"]) == (
        "SUSPENDED",
        "Other reason: The day set for it has come: 2027-02-10",
    )
    assert await when(debtor) == (None, None)
    [job] = await debtor.jobs()
    assert (job.kind, job.created_by_id) == ("service.provision", None)
    entry = (await debtor.audited())[-1]
    assert (entry.action, entry.operator_id) == ("customer.suspend", None)
    assert [finding.rule.name for finding in await invariants.check(owner) if finding.broken] == []


async def test_every_month(debtor: Debtor) -> None:
    await debtor.suspend_on(recurringDayOfMonth=28, remindDaysBefore=1)
    happened = {}
    for day in ("01-26", "01-27", "01-28", "01-29", "02-26", "02-27", "02-28", "03-01", "03-27", "03-28", "03-29"):
        if told := await debtor.day(f"2027-{day}"):
            happened[day] = told
        if day == "01-29":
            await debtor.api.data(ACTIVATE, debtor.house.admin, input={"customerId": debtor.id})
    # In February nobody puts it on line again before March has come to its 28th day, and nothing is left to do then.
    assert happened == {
        "01-27": ["service.suspend_soon"],
        "01-28": ["service.suspended", "SUSPENDED"],
        "02-27": ["service.suspend_soon"],
        "02-28": ["service.suspended", "SUSPENDED"],
    }
    assert (await when(debtor))[0] == "2027-04-28"
    await debtor.api.data(ACTIVATE, debtor.house.admin, input={"customerId": debtor.id})
    assert await debtor.day("2027-04-28") == ["service.suspended", "SUSPENDED"]
    assert (await debtor.shown())["statusReason"] == (
        "Other reason: The day set for it has come: 2027-04-28, as on day 28 of every month"
    )


async def test_months_without_a_scheduler_are_made_up_for_once(debtor: Debtor) -> None:
    await debtor.suspend_on(recurringDayOfMonth=5, remindDaysBefore=2)
    assert await debtor.day("2027-06-20") == ["service.suspended", "SUSPENDED"]
    assert (await when(debtor))[0] == "2027-07-05"
    assert len(await debtor.jobs()) == 1


async def test_another_day_takes_the_place_and_none_takes_it_away(debtor: Debtor) -> None:
    await debtor.suspend_on(suspendOn="2027-02-10", remindDaysBefore=4)
    await debtor.day("2027-02-06")
    await debtor.suspend_on(suspendOn="2027-02-12", remindDaysBefore=5)
    assert await debtor.day("2027-02-07") == ["service.suspend_soon"], "of the new day"
    assert await debtor.day("2027-02-10") == []
    assert (await debtor.suspend_on())["errors"] == []
    assert await when(debtor) == (None, None)
    assert await debtor.day("2027-02-12") == []
    assert [(error["code"], error["field"]) for error in (await debtor.suspend_on())["errors"]] == [
        ("NO_CHANGE", ["input", "customerId"])
    ]


async def test_four_schedulers_at_once(debtor: Debtor) -> None:
    await debtor.suspend_on(suspendOn="2027-02-10", remindDaysBefore=4)
    for day, count in (("2027-02-06", 1), ("2027-02-10", 2)):
        debtor.go(day)
        gate = asyncio.Barrier(4)

        async def run(gate: asyncio.Barrier = gate) -> None:
            await gate.wait()
            await daily.in_chunks(debtor.house.database, {}, {})

        await asyncio.gather(*(run() for _ in range(4)))
        assert len(await debtor.messages()) == count
    assert len(await debtor.jobs()) == 1


async def test_what_it_would_bring(debtor: Debtor, api: Api, till: Till) -> None:
    paid = await make(api, till, expires_at=datetime(2027, 3, 10, tzinfo=UTC))
    found = (await api.data(IMPACT, paid.house.admin, id=paid.id, on="2027-03-01"))["suspendDateImpact"]
    name = found["explanation"].split(" is paid for")[0].split("back. ")[1]
    assert found == {
        "nextInvoiceOn": "2027-03-10",
        "nextSuspensionOn": "2027-03-01",
        "proration": {"amount": "0.00"},
        "requiresConfirmation": False,
        "explanation": f"Nothing is charged and nothing is given back. {name} is paid for until 10 March 2027: 9 days "
        "of it are not used. The next invoice is made on 2027-03-10 all the same.",
    }
    await paid.bill(10_000)
    found = (await api.data(IMPACT, paid.house.admin, id=paid.id, on="2027-03-01"))["suspendDateImpact"]
    assert found["nextSuspensionOn"] == "2027-01-31", "for the invoice, if that is not paid"
    answer = await api(IMPACT, paid.house.admin, id=paid.id, on="2027-01-20")
    assert answer["errors"][0]["extensions"]["field"] == ["suspendOn"]


NO_RULES: list[tuple[dict[str, Any], str, str]] = [
    ({"suspendOn": "2027-01-19"}, "INVALID", "suspendOn"),
    ({"suspendOn": "2027-01-20"}, "INVALID", "suspendOn"),
    ({"suspendOn": "9999-12-31"}, "INVALID", "suspendOn"),
    ({"suspendOn": "2027-02-01", "recurringDayOfMonth": 3}, "INVALID", "recurringDayOfMonth"),
    ({"recurringDayOfMonth": 0}, "INVALID", "recurringDayOfMonth"),
    ({"recurringDayOfMonth": 29}, "INVALID", "recurringDayOfMonth"),
    ({"recurringDayOfMonth": 5, "remindDaysBefore": 0}, "INVALID", "remindDaysBefore"),
    ({"suspendOn": "2027-02-01", "remindDaysBefore": 31}, "INVALID", "remindDaysBefore"),
    ({"remindDaysBefore": 3}, "REQUIRED", "suspendOn"),
]


async def test_what_is_no_rule(debtor: Debtor) -> None:
    await debtor.suspend_on(suspendOn="2027-02-10")
    for bad, code, field in NO_RULES:
        payload = await debtor.suspend_on(**bad)
        assert [(error["code"], error["field"]) for error in payload["errors"]] == [(code, ["input", field])], bad
    assert (await when(debtor))[0] == "2027-02-10"


async def test_who_may_set_it_and_for_what(debtor: Debtor, other_house: House, api: Api, till: Till) -> None:
    asked = {"customerId": debtor.id, "suspendOn": "2027-02-10"}
    clerk = await debtor.house.operator(Role.STAFF)
    for document, variables in ((SUSPEND_DATE, {"input": asked}), (IMPACT, {"id": debtor.id, "on": "2027-02-10"})):
        answer = await api(document, clerk, **variables)
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    payload = (await api.data(SUSPEND_DATE, other_house.admin, input=asked))["customerSetSuspendDate"]
    assert [error["code"] for error in payload["errors"]] == ["NOT_FOUND"]
    gone = await make(api, till, status=ServiceStatus.TERMINATED)
    assert [error["code"] for error in (await gone.suspend_on(suspendOn="2027-02-10"))["errors"]] == ["INVALID_STATE"]
    keyed = asked | {"idempotencyKey": "k"}
    for _ in range(2):
        payload = (await api.data(SUSPEND_DATE, debtor.house.admin, input=keyed))["customerSetSuspendDate"]
        assert payload["errors"] == []
    assert len([row for row in await debtor.audited() if row.action == "customer.set_suspend_date"]) == 1
    payload = (await api.data(SUSPEND_DATE, debtor.house.admin, input=keyed | {"suspendOn": "2027-02-11"}))[
        "customerSetSuspendDate"
    ]
    assert [error["code"] for error in payload["errors"]] == ["IDEMPOTENCY_KEY_REUSED"]
