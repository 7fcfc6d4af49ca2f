"""Invoices that are not paid: the days on which something happens and why, and that it happens once."""

import asyncio
from datetime import date, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from ispgraph import daily, ids, invariants
from ispgraph.db import Database
from ispgraph.domain.billing import dunning, dunning_run
from ispgraph.domain.billing.dunning import Owed, Rules
from ispgraph.domain.models import DunningKind, DunningOutcome, DunningStep, Service
from tests import factories, subscribers
from tests.api import Api
from tests.billing.conftest import Till
from tests.billing.debtor import Debtor
from tests.billing.debtor import debtor as make
from tests.factories import House
from tests.statements import counted

DAYS = st.dates(date(2026, 1, 1), date(2028, 12, 31))
GRACE = st.integers(0, 60)
NEAR = st.integers(-3, 70)


@pytest.fixture
async def debtor(api: Api, till: Till, moved_clock: None) -> Debtor:
    return await make(api, till)


def holidays(start: date, offsets: list[int]) -> set[date]:
    return {start + timedelta(days=offset) for offset in offsets}


# -- the days, pure


@given(DAYS, GRACE, st.lists(NEAR, max_size=30))
def test_between_the_due_day_and_the_suspension_lie_as_many_days_of_grace_as_were_promised(
    due: date, grace: int, offsets: list[int]
) -> None:
    free = holidays(due, offsets)
    day = dunning.suspension_on(due, grace, free)
    between = [due + timedelta(days=n) for n in range(1, (day - due).days)]
    assert day > due
    assert day not in free
    assert sum(each not in free for each in between) == grace


@given(DAYS, GRACE, st.lists(NEAR, max_size=30), st.integers(0, 60), st.integers(0, 9))
def test_more_grace_or_more_holidays_never_bring_it_forward(
    due: date, grace: int, offsets: list[int], more: int, other: int
) -> None:
    free = holidays(due, offsets)
    day = dunning.suspension_on(due, grace, free)
    assert dunning.suspension_on(due, grace + more, free) >= day + timedelta(days=more)
    assert dunning.suspension_on(due, grace, free | {due + timedelta(days=other)}) >= day


@st.composite
def plans(draw: st.DrawFn) -> tuple[Owed, Rules]:
    issued = draw(DAYS)
    due = issued + timedelta(days=draw(st.integers(0, 30)))
    reopened = due + timedelta(days=draw(st.integers(-20, 20))) if draw(st.booleans()) else None
    days = st.lists(st.integers(1, 60), max_size=5)
    rules = Rules(
        draw(days), draw(days), draw(GRACE), holidays(due, draw(st.lists(NEAR, max_size=9))), draw(st.booleans())
    )
    return Owed(issued, due, reopened), rules


@settings(deadline=None, max_examples=60)
@given(plans(), st.data())
def test_whenever_it_runs_each_step_is_done_at_most_once_and_never_early(
    made: tuple[Owed, Rules], data: st.DataObject
) -> None:
    """Runs on random days, with outages between them, and with a service that can be suspended only on some."""
    owed, rules = made
    steps = dunning.plan(owed, rules)
    assert [step.on for step in steps] == sorted(step.on for step in steps)
    done: set[Any] = set()
    today, taken = owed.issued_on, []
    while today < owed.issued_on + timedelta(days=200):
        can = data.draw(st.booleans())
        found = dunning.due(steps, done, today, can_suspend=can)
        for step in [*found.passed, *([found.taken] if found.taken else [])]:
            assert step.on <= today
            assert step.key not in done
            done.add(step.key)
        if found.taken is not None:
            taken.append((today, found.taken))
            if found.taken.kind is DunningKind.SUSPENSION:
                assert can
            elif found.taken.days < 0:
                assert today <= owed.due_on
        today += timedelta(days=data.draw(st.integers(1, 40)))
    assert len({day for day, _ in taken}) == len(taken), "one thing a day"
    assert {step.key for step in steps if step.kind is DunningKind.REMINDER} <= done
    found = dunning.due(steps, done, today, can_suspend=True)
    waiting = [step for step in steps if step.key not in done]
    assert found.taken == (waiting[0] if waiting else None)
    assert found.passed == []


def test_a_plan_in_words() -> None:
    rules = Rules([3], [1, 3], 3, {date(2027, 3, 17)}, suspends=True)
    steps = dunning.plan(Owed(date(2027, 3, 7), date(2027, 3, 14)), rules)
    assert [(step.kind.value, str(step.on), step.rule) for step in steps] == [
        ("REMINDER", "2027-03-11", "due 14 March - 3 days"),
        ("REMINDER", "2027-03-15", "due 14 March + 1 day"),
        ("REMINDER", "2027-03-17", "due 14 March + 3 days"),
        (
            "SUSPENSION",
            "2027-03-19",
            "due 14 March + 3 days of grace + 1 holiday (17 March), and the day after",
        ),
    ]
    # On the day on which it is issued, or before, nobody is reminded of it.
    soon = dunning.plan(Owed(date(2027, 3, 11), date(2027, 3, 14)), Rules([1, 2, 3, 4], [], 0, set(), suspends=False))
    assert [str(step.on) for step in soon] == ["2027-03-12", "2027-03-13"]
    again = Owed(date(2027, 3, 7), date(2027, 3, 14), date(2027, 4, 2))
    assert [(str(step.on), step.rule) for step in dunning.plan(again, rules)][1:] == [
        ("2027-04-03", "owed again by a refund on 2 April + 1 day"),
        ("2027-04-05", "owed again by a refund on 2 April + 3 days"),
        ("2027-04-06", "owed again by a refund on 2 April + 3 days of grace, and the day after"),
    ]


async def test_the_database_counts_days_of_grace_as_python_does(database: Database) -> None:
    """`nextSuspensionOn` is the one, what really happens is the other."""
    query = text("SELECT dunning_suspension_on(:day, :grace, :free)")
    asked: list[tuple[date, int, list[date]]] = []

    @settings(max_examples=300, suppress_health_check=list(HealthCheck), database=None)
    @given(DAYS, GRACE, st.lists(NEAR, max_size=40))
    def collect(day: date, grace: int, offsets: list[int]) -> None:
        asked.append((day, grace, sorted(holidays(day, offsets))))

    collect()
    async with database.read(None) as session:
        for day, grace, free in asked:
            found = await session.scalar(query, {"day": day, "grace": grace, "free": free})
            assert found == dunning.suspension_on(day, grace, free), (day, grace, free)


# -- day by day


async def test_a_fortnight_of_an_invoice_that_is_not_paid(debtor: Debtor, owner: Database) -> None:
    """Due 14 March 2027; 3 days of grace, of which one would be a holiday."""
    await debtor.settings(holidays=["2027-03-17", "2027-03-17"])
    debtor.go("2027-03-07")
    await debtor.bill(50_000)
    assert (await debtor.profile())["nextSuspensionOn"] == "2027-03-19"
    assert [(step["on"], step["kind"], step["doneAt"]) for step in (await invoice(debtor))["dunning"]] == [
        ("2027-03-11", "REMINDER", None),
        ("2027-03-15", "REMINDER", None),
        ("2027-03-17", "REMINDER", None),
        ("2027-03-19", "SUSPENSION", None),
    ]
    happened = {}
    for number in range(8, 23):
        if told := await debtor.day(f"2027-03-{number:02}"):
            happened[number] = told
    assert happened == {
        8: ["invoice.issued"],
        11: ["invoice.due"],
        15: ["invoice.overdue"],
        17: ["invoice.overdue"],
        19: ["service.suspended", "SUSPENDED"],
    }
    bodies = [message.body.split(", ", 1)[1] for message in await debtor.messages()]
    assert bodies == [
        "invoice INV-2027-000001 over USD 500.00 is due on 14 March 2027.",
        "invoice INV-2027-000001 is due on 14 March 2027. To be paid: USD 500.00.",
        "invoice INV-2027-000001 was due on 14 March 2027. To be paid: USD 500.00. Your internet service will be "
        "suspended on 19 March 2027.",
        "invoice INV-2027-000001 was due on 14 March 2027. To be paid: USD 500.00. Your internet service will be "
        "suspended on 19 March 2027.",
        "your internet service is suspended. Reason: Non-payment.",
    ]
    shown = await debtor.shown()
    assert (shown["status"], shown["statusReason"]) == ("SUSPENDED", "Non-payment: Invoice INV-2027-000001")
    assert shown["billingProfile"]["nextSuspensionOn"] is None
    assert [step["outcome"] for step in (await invoice(debtor))["dunning"]] == ["SENT", "SENT", "SENT", "SUSPENDED"]
    # 10:00 in Dhaka: the reminders go out from 09:00 on.
    assert (await invoice(debtor))["dunning"][0]["doneAt"].startswith("2027-03-11T04:00:0")
    jobs = await debtor.jobs()
    assert [(job.kind, job.created_by_id) for job in jobs] == [("service.provision", None)]
    entry = (await debtor.audited())[-1]
    assert (entry.action, entry.operator_id) == ("customer.suspend", None)

    # What is paid in part leaves it as it is; the rest puts it on line, through the network.
    debtor.go("2027-03-23")
    await debtor.pay("499.99")
    assert await debtor.status() == "SUSPENDED"
    await debtor.pay("0.01")
    assert await debtor.status() == "ACTIVE"
    assert len(await debtor.jobs()) == 2
    assert (await debtor.messages())[-1].event == "service.activated"
    assert (await debtor.audited())[-2].action == "customer.activate"
    for number in range(24, 31):
        assert await debtor.day(f"2027-03-{number:02}") == []
    assert [finding.rule.name for finding in await invariants.check(owner) if finding.broken] == []


async def invoice(debtor: Debtor, place: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = (await debtor.shown())["invoices"]["nodes"][place]
    return found


async def test_what_was_missed_is_not_made_up_for_in_a_heap(debtor: Debtor) -> None:
    debtor.go("2027-03-07")
    await debtor.bill(50_000)
    # Nothing ran from the 8th to the 16th: of three reminders the last is worth sending.
    assert await debtor.day("2027-03-16") == ["invoice.overdue"]
    assert [(step.days, step.outcome) for step in await debtor.steps()] == [
        (-3, DunningOutcome.PASSED_OVER),
        (1, DunningOutcome.SENT),
    ]
    # Nor from the 17th to the 29th: the suspension takes the place of the reminder.
    assert await debtor.day("2027-03-30") == ["service.suspended", "SUSPENDED"]
    assert [(step.days, step.outcome) for step in await debtor.steps()][2:] == [
        (3, DunningOutcome.PASSED_OVER),
        (0, DunningOutcome.SUSPENDED),
    ]
    assert await debtor.day("2027-03-31") == []
    assert len(await debtor.jobs()) == 1


async def test_a_reminder_of_the_due_day_is_of_no_use_after_it(debtor: Debtor) -> None:
    await debtor.settings(remindDaysAfter=[], graceDays=30)
    debtor.go("2027-03-07")
    await debtor.bill(50_000)
    assert await debtor.day("2027-03-16") == []
    assert [step.outcome for step in await debtor.steps()] == [DunningOutcome.PASSED_OVER]


async def test_whoever_is_never_suspended_is_reminded_all_the_same(debtor: Debtor) -> None:
    debtor.go("2027-03-07")
    assert (await debtor.update(autoSuspend=False, confirm=True))["errors"] == []
    await debtor.update(contactName="Accounts", contactEmail="Accounts@Example.net", contactMobile="01811223344")
    await debtor.bill(50_000)
    assert (await debtor.profile())["nextSuspensionOn"] is None
    assert await debtor.day("2027-03-17") == ["invoice.overdue"]
    assert await debtor.day("2027-06-01") == []
    assert await debtor.status() == "ACTIVE"
    [message] = await debtor.messages()
    assert message.to == "+8801811223344"
    assert message.body == (
        "North Networks: Dear Accounts, invoice INV-2027-000001 was due on 14 March 2027. To be paid: USD 500.00."
    )


async def test_a_part_paid_a_void_and_a_refund_within_the_grace(debtor: Debtor) -> None:
    debtor.go("2027-03-07")
    first, second = await debtor.bill(10_000), await debtor.bill(20_000)
    assert await debtor.day("2027-03-15") == ["invoice.overdue", "invoice.overdue"]
    payment = await debtor.pay("100.00")
    # Of one that is paid nothing is planned any more; what was done stays there to be seen.
    assert [step["outcome"] for step in (await invoice(debtor, 1))["dunning"]] == ["PASSED_OVER", "SENT"]
    await debtor.till.void(second)
    assert await debtor.day("2027-03-17") == []
    # Given back on the 17th: the grace is counted from there, and the reminders are too.
    document = 'mutation ($id: ID!) { paymentRefund(paymentId: $id, reason: "Bounced") { errors { message } } }'
    assert (await debtor.api.data(document, debtor.house.admin, id=payment))["paymentRefund"]["errors"] == []
    assert (await debtor.profile())["nextSuspensionOn"] == "2027-03-21"
    assert await debtor.day("2027-03-18") == ["invoice.overdue"]
    assert await debtor.day("2027-03-20") == ["invoice.overdue"]
    assert await debtor.day("2027-03-21") == ["service.suspended", "SUSPENDED"]
    assert (await invoice(debtor, 1))["dunning"][-1]["rule"] == (
        "owed again by a refund on 17 March + 3 days of grace, and the day after"
    )
    # An invoice that is taken back frees as a payment does.
    document = 'mutation ($id: ID!) { invoiceVoid(invoiceId: $id, reason: "Wrong") { errors { message } } }'
    answer = await debtor.api.data(document, debtor.house.admin, id=ids.encode("inv", first.id))
    assert answer["invoiceVoid"]["errors"] == []
    assert await debtor.status() == "ACTIVE"


async def test_what_is_owed_again_by_a_refund_suspends_again(debtor: Debtor) -> None:
    debtor.go("2027-03-07")
    await debtor.bill(10_000)
    assert "SUSPENDED" in await debtor.day("2027-03-18")
    payment = await debtor.pay("100.00")
    assert await debtor.status() == "ACTIVE"
    document = 'mutation ($id: ID!) { paymentRefund(paymentId: $id, reason: "Bounced") { errors { message } } }'
    await debtor.api.data(document, debtor.house.admin, id=payment)
    assert (await debtor.profile())["nextSuspensionOn"] == "2027-03-22"
    assert await debtor.day("2027-03-21") == ["invoice.overdue"]
    assert await debtor.day("2027-03-22") == ["service.suspended", "SUSPENDED"]


async def test_a_refund_of_a_part_gives_no_new_grace(debtor: Debtor) -> None:
    debtor.go("2027-03-07")
    await debtor.bill(10_000)
    debtor.go("2027-03-16")
    payment = await debtor.pay("99.99")
    document = 'mutation ($id: ID!) { paymentRefund(paymentId: $id, reason: "Bounced") { errors { message } } }'
    await debtor.api.data(document, debtor.house.admin, id=payment)
    assert (await debtor.profile())["nextSuspensionOn"] == "2027-03-18"
    assert await debtor.day("2027-03-18") == ["service.suspended", "SUSPENDED"]


ACT = """mutation ($activate: ActivateInput!) { customerActivate(input: $activate) { errors { code message } } }"""
SUSPEND = """mutation ($input: SuspendInput!) { customerSuspend(input: $input) { errors { code message } } }"""


async def test_whoever_is_put_on_line_by_hand_has_time_for_all_that_was_overdue(debtor: Debtor) -> None:
    debtor.go("2027-03-07")
    await debtor.bill(10_000)
    debtor.go("2027-03-09")
    await debtor.bill(10_000)
    assert "SUSPENDED" in await debtor.day("2027-03-18")
    # The second runs out of grace on the 20th, while the service is off line for the first.
    await debtor.day("2027-03-20")
    await debtor.api.data(ACT, debtor.house.admin, activate={"customerId": debtor.id})
    for day in ("2027-03-21", "2027-03-25", "2027-04-25"):
        await debtor.day(day)
    assert await debtor.status() == "ACTIVE"
    debtor.go("2027-04-25")
    await debtor.bill(10_000)
    assert "SUSPENDED" in await debtor.day("2027-05-06")
    # All three are past their grace, so one or two of them are not enough.
    await debtor.pay("200.00")
    assert await debtor.status() == "SUSPENDED"
    await debtor.pay("100.00")
    assert await debtor.status() == "ACTIVE"


@pytest.mark.parametrize("reason", ["VIOLATION", "NON_PAYMENT"])
async def test_a_payment_frees_from_the_reason_that_it_takes_away(debtor: Debtor, reason: str) -> None:
    debtor.go("2027-03-07")
    await debtor.bill(10_000)
    await debtor.api.data(SUSPEND, debtor.house.admin, input={"customerId": debtor.id, "reason": reason})
    # The step waits for a service that is off line for something else.
    await debtor.day("2027-03-18")
    suspensions = [step for step in await debtor.steps() if step.kind is DunningKind.SUSPENSION]
    assert len(suspensions) == (reason == "NON_PAYMENT")
    await debtor.pay("100.00")
    assert await debtor.status() == ("ACTIVE" if reason == "NON_PAYMENT" else "SUSPENDED")


async def test_whose_time_is_over_is_not_put_on_line_by_paying(debtor: Debtor) -> None:
    debtor.go("2028-11-15")
    await debtor.bill(10_000)
    assert "SUSPENDED" in await debtor.day("2028-11-26")
    debtor.go("2028-12-02")
    await debtor.pay("100.00")
    assert await debtor.status() == "SUSPENDED"


async def test_a_debt_that_is_gone_by_another_way_frees_on_the_next_day(debtor: Debtor) -> None:
    debtor.go("2027-03-07")
    bill = await debtor.bill(10_000)
    assert "SUSPENDED" in await debtor.day("2027-03-18")
    await debtor.till.pay(10_000, bill)
    assert await debtor.status() == "SUSPENDED", "nobody has looked yet"
    assert await debtor.day("2027-03-19") == ["service.activated", "ACTIVE"]
    # More grace for all frees as well.
    await debtor.bill(10_000)
    assert "SUSPENDED" in await debtor.day("2027-03-30")
    assert await debtor.day("2027-03-31") == []
    await debtor.settings(graceDays=10)
    assert await debtor.day("2027-04-01") == ["service.activated", "ACTIVE"]


async def test_whom_an_operator_has_suspended_is_freed_by_a_payment_alone(debtor: Debtor) -> None:
    debtor.go("2027-03-07")
    await debtor.api.data(SUSPEND, debtor.house.admin, input={"customerId": debtor.id, "reason": "NON_PAYMENT"})
    assert await debtor.day("2027-03-18") == []


async def test_an_invoice_of_one_service_leaves_the_other_alone(debtor: Debtor) -> None:
    other = await subscribers.service(debtor.house, debtor.customer, is_primary=False)

    async def states() -> list[str]:
        async with debtor.house.database.read(debtor.house.tenant.id) as session:
            return [(await session.get_one(Service, key)).status.value for key in (debtor.service.id, other.id)]

    debtor.go("2027-03-07")
    await debtor.bill(10_000)
    debtor.go("2027-03-08")
    await debtor.bill(20_000, service=other)
    await debtor.day("2027-03-18")
    assert await states() == ["SUSPENDED", "ACTIVE"]
    await debtor.day("2027-03-19")
    assert await states() == ["SUSPENDED", "SUSPENDED"]
    await debtor.pay("100.00")
    assert await states() == ["ACTIVE", "SUSPENDED"]
    await debtor.pay("200.00")
    assert await states() == ["ACTIVE", "ACTIVE"]
    # What belongs to no service, such as a late fee, is asked of the primary one.
    await debtor.till.bill(debtor.customer.id, 500)
    await debtor.day("2027-03-30")
    assert await states() == ["SUSPENDED", "ACTIVE"]


async def test_it_runs_at_the_time_of_each_tenant(debtor: Debtor, owner: Database, api: Api) -> None:
    house = await factories.house(owner, debtor.house.database, "west", time_zone="America/New_York")
    far = await make(api, Till(house, await house.viewer()))
    await far.settings(at="18:30:59")
    for each in (debtor, far):
        each.go("2027-03-07")
        await each.bill(10_000)
    seen = []
    # 12 March in Dhaka is half a day before 12 March in New York.
    for day, at in (("11", "08:59"), ("11", "09:01"), ("12", "05:29"), ("12", "05:31")):
        debtor.go(f"2027-03-{day}", at)
        await debtor.run()
        seen.append((len(await debtor.messages()), len(await far.messages())))
    assert seen == [(0, 0), (1, 0), (1, 0), (1, 1)]


# -- at once, and after a crash


async def test_two_schedulers_at_once_do_everything_once(api: Api, till: Till, moved_clock: None) -> None:
    debtors = [await make(api, till) for _ in range(4)]
    for round_ in range(2):
        debtors[0].go(f"2027-0{round_ + 1}-07")
        for each in debtors:
            await each.bill(10_000)
        debtors[0].go(f"2027-0{round_ + 1}-18")
        messages, jobs = len(await debtors[0].messages()), len(await debtors[0].jobs())
        gate = asyncio.Barrier(4)

        async def run(gate: asyncio.Barrier = gate) -> None:
            await gate.wait()
            await daily.in_chunks(till.house.database, {}, {})

        await asyncio.gather(*(run() for _ in range(4)))
        for each in debtors:
            assert await each.status() == "SUSPENDED"
            assert (len(await each.messages()), len(await each.jobs())) == (messages + 1, jobs + 1)
            await each.pay("100.00")


async def test_of_schedulers_at_once_none_stumbles_over_the_other(debtor: Debtor) -> None:
    """With customers who have no service that would be locked."""
    debtor.go("2027-03-07")
    others = [await debtor.till.customer() for _ in range(5)]
    for each in others:
        await debtor.till.bill(each.id, 10_000)
    debtor.go("2027-03-11")
    gate = asyncio.Barrier(4)
    day = date(2027, 3, 11)

    async def run() -> None:
        await gate.wait()
        work = partial(dunning_run.chunk, tenant_id=debtor.house.tenant.id, day=day, after=None)
        await debtor.house.database.run(debtor.house.tenant.id, work)

    await asyncio.gather(*(run() for _ in range(4)))
    assert len(await debtor.steps()) == len(others)


async def test_a_cashier_and_a_scheduler_at_once(debtor: Debtor) -> None:
    """Whoever comes first: in the end the debt is paid and the service is on line."""
    for round_ in range(6):
        debtor.go(f"2027-{round_ + 1:02}-07")
        await debtor.bill(10_000)
        debtor.go(f"2027-{round_ + 1:02}-18")
        gate = asyncio.Barrier(2)

        async def run(gate: asyncio.Barrier = gate) -> None:
            await gate.wait()
            await debtor.run()

        async def pay(gate: asyncio.Barrier = gate) -> None:
            await gate.wait()
            await debtor.pay("100.00")

        await asyncio.gather(run(), pay())
        assert await debtor.status() == "ACTIVE"


async def test_what_a_crash_has_left_is_done_by_the_next(
    api: Api, till: Till, moved_clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    debtors = [await make(api, till) for _ in range(3)]
    debtors[0].go("2027-03-07")
    for each in debtors:
        await each.bill(10_000)
    debtors[0].go("2027-03-18")
    monkeypatch.setattr(dunning_run, "CHUNK", 1)
    act, calls = dunning_run._act, []

    async def broken(*arguments: Any) -> None:
        calls.append(arguments)
        await act(*arguments)
        if len(calls) == 2:
            raise ZeroDivisionError

    monkeypatch.setattr(dunning_run, "_act", broken)
    await debtors[0].run()
    assert sorted([await each.status() for each in debtors]) == ["ACTIVE", "ACTIVE", "SUSPENDED"]
    await debtors[0].run()
    for each in debtors:
        assert await each.status() == "SUSPENDED"
        assert (len(await each.messages()), len(await each.jobs())) == (1, 1)


async def test_many_are_looked_at_some_at_a_time(
    api: Api, till: Till, moved_clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whatever else the scheduler does has not to wait."""
    debtors = [await make(api, till) for _ in range(5)]
    debtors[0].go("2027-03-07")
    for each in debtors:
        await each.bill(10_000)
    debtors[0].go("2027-03-18")
    monkeypatch.setattr(dunning_run, "CHUNK", 1)
    monkeypatch.setattr(daily, "_CHUNKS", 2)
    places: daily.Places = {}
    done: daily.Done = {}
    seen = []
    for _ in range(7):
        await daily.in_chunks(till.house.database, done, places)
        ended = (till.house.tenant.id, daily.DUNNING) in done
        seen.append(([await each.status() for each in debtors].count("SUSPENDED"), ended))
    assert seen == [(1, False), (3, False), (5, False), (5, False), (5, False), (5, True), (5, True)]
    assert places == {}


async def test_the_steps_of_many_invoices_cost_as_many_statements_as_those_of_two(debtor: Debtor) -> None:
    counts = []
    debtor.go("2027-03-07")
    for _ in range(2):
        for _ in range(2):
            await debtor.bill(10_000)
        await debtor.shown()
        with counted(debtor.house.database) as seen:
            await debtor.shown()
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 8, seen


async def test_what_was_done_can_be_neither_changed_nor_done_again(debtor: Debtor) -> None:
    debtor.go("2027-03-07")
    await debtor.bill(10_000)
    await debtor.day("2027-03-11")
    [step] = await debtor.steps()
    for statement in ("UPDATE dunning_steps SET days = 7", "DELETE FROM dunning_steps"):
        with pytest.raises(DBAPIError, match=r"denied|append"):
            async with debtor.house.database.transaction(debtor.house.tenant.id) as session:
                await session.execute(text(statement))
    columns = {column.key: getattr(step, column.key) for column in DunningStep.__table__.columns}
    with pytest.raises(IntegrityError, match="pk_dunning_steps"):
        await debtor.house.add(DunningStep(**columns))


# -- settings


async def test_the_settings_of_a_tenant(debtor: Debtor, other_house: House) -> None:
    payload = await debtor.settings(
        remindDaysBefore=[7, 1, 7], remindDaysAfter=[], graceDays=0, holidays=["2027-12-25", "2027-04-14"], at="07:45"
    )
    assert payload == {
        "errors": [],
        "settings": {
            "dunning": {
                "remindDaysBefore": [1, 7],
                "remindDaysAfter": [],
                "graceDays": 0,
                "holidays": ["2027-04-14", "2027-12-25"],
                "at": "07:45:00",
            }
        },
    }
    payload = await debtor.settings(graceDays=5)
    assert payload["settings"]["dunning"]["remindDaysBefore"] == [1, 7], "what is left out stays"
    document = "{ tenantSettings { dunning { remindDaysBefore remindDaysAfter graceDays holidays at } } }"
    assert (await debtor.api.data(document, other_house.admin))["tenantSettings"]["dunning"] == {
        "remindDaysBefore": [3],
        "remindDaysAfter": [1, 3],
        "graceDays": 3,
        "holidays": [],
        "at": "09:00:00",
    }


BAD_SETTINGS: list[tuple[dict[str, Any], str, str]] = [
    ({"remindDaysBefore": [0]}, "INVALID", "remindDaysBefore"),
    ({"remindDaysBefore": [-1, 3]}, "INVALID", "remindDaysBefore"),
    ({"remindDaysAfter": [61]}, "INVALID", "remindDaysAfter"),
    ({"remindDaysAfter": [1, 2, 3, 4, 5, 6]}, "LIMIT_EXCEEDED", "remindDaysAfter"),
    ({"graceDays": -1}, "INVALID", "graceDays"),
    ({"graceDays": 61}, "INVALID", "graceDays"),
    ({"holidays": [str(date(2027, 1, 1) + timedelta(days=n)) for n in range(367)]}, "LIMIT_EXCEEDED", "holidays"),
]


async def test_bad_settings(debtor: Debtor) -> None:
    for bad, code, field in BAD_SETTINGS:
        payload = await debtor.settings(**{"graceDays": 9} | bad)
        found = [(error["code"], error["field"]) for error in payload["errors"]]
        assert found == [(code, ["input", "dunning", field])], bad
    document = "{ tenantSettings { dunning { graceDays } } }"
    shown = await debtor.api.data(document, debtor.house.admin)
    assert shown["tenantSettings"]["dunning"]["graceDays"] == 3
