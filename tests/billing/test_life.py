"""Years of customers through the API beside an oracle of a few dictionaries: billed, paid, given back, changed,
recharged, renewed, dunned and suspended, while the clock goes on, requests come twice, and connections break. Money and
time agree after every step."""

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any, ClassVar
from uuid import UUID

import asyncpg
import pytest
import redis.asyncio
from hypothesis import HealthCheck, Phase, note, seed
from hypothesis import settings as configured
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as walk
from sqlalchemy import select

from ispgraph import clock, daily, invariants, scheduler
from ispgraph.db import Database
from ispgraph.domain.billing import runs
from ispgraph.domain.models import BillingRun, Package
from ispgraph.settings import Settings
from tests import factories
from tests.api import Api
from tests.billing import office
from tests.billing.changing import Buyer
from tests.billing.oracle import (
    DUNNING_HOUR,
    HOLIDAYS,
    PRICES,
    Subscriber,
    Time,
    boundary,
    day_of,
    minor,
    next_day,
    shown,
    taxed,
)
from tests.conftest import Dsns

BORN = datetime(2028, 1, 31, 4, 0, tzinfo=UTC)
WHO = st.integers(0, 1)
WHICH = st.integers(0, 40)
SHARE = st.fractions(0, 1, max_denominator=8)
STEPS = 150
DAY = timedelta(days=1)
AGREED = st.fixed_dictionaries(
    {},
    optional={
        "billingCycle": st.sampled_from([None, "WEEKLY", "MONTHLY", "QUARTERLY"]),
        "billingDay": st.one_of(st.none(), st.integers(1, 28)),
        "graceDays": st.one_of(st.none(), st.integers(0, 9)),
        "autoSuspend": st.booleans(),
        "autoGenerate": st.booleans(),
        "autoRenew": st.booleans(),
    },
)
"""Terms of a billing profile."""

PAID = "payment { id method amount { amount } } errors { code }"
PAY = f"mutation ($input: InvoicePaymentInput!) {{ invoiceRecordPayment(input: $input) {{ {PAID} }} }}"
ADVANCE = f"mutation ($input: AdvancePaymentInput!) {{ customerRecordAdvancePayment(input: $input) {{ {PAID} }} }}"
REFUND = f"""mutation ($id: ID!, $amount: Decimal, $key: String) {{
  paymentRefund(paymentId: $id, amount: $amount, reason: "x", idempotencyKey: $key) {{ {PAID} }} }}"""
VOID = """mutation ($id: ID!) { invoiceVoid(invoiceId: $id, reason: "x") { invoice { id } errors { code } } }"""
CREDIT = """mutation ($id: ID!, $amount: Decimal!, $key: String) {
  invoiceCredit(invoiceId: $id, amount: $amount, reason: "x", idempotencyKey: $key) {
    invoice { id total { amount } } errors { code } } }"""
BILL = """mutation ($input: GenerateBillInput!) { customerGenerateBill(input: $input) {
  invoice { id total { amount } } errors { code } } }"""
CHANGE = """mutation ($input: ChangePackageInput!) { customerChangePackage(input: $input) {
  invoice { id kind total { amount } } errors { code } } }"""
RECHARGE = f"""mutation ($input: DailyRechargeInput!) {{ customerDailyRecharge(input: $input) {{
  invoice {{ id total {{ amount }} }} {PAID} }} }}"""
SUSPEND = """mutation ($input: SuspendInput!) { customerSuspend(input: $input) { errors { code } } }"""
ACTIVATE = """mutation ($input: ActivateInput!) { customerActivate(input: $input) { errors { code } } }"""
CANCEL = """mutation ($id: ID!, $key: String) { packageChangeCancel(packageChangeId: $id, idempotencyKey: $key) {
  errors { code } } }"""
SUSPEND_DATE = """mutation ($input: SuspendDateInput!) { customerSetSuspendDate(input: $input) { errors { code } } }"""
UPDATE = (
    "mutation ($input: UpdateBillingProfileInput!) { customerUpdateBillingProfile(input: $input) { errors { code } } }"
)
BOOK = """query ($id: ID!) { node(id: $id) { ... on Customer { wallet { amount } status
  invoices(first: 100) { nodes { id kind status amountDue { amount } } } } } }"""
SEEN = """
  SELECT s.customer_id, COALESCE(b.wallet_minor, 0) AS wallet, s.status, s.suspend_reason, s.expires_at, k.name,
         s.billing_anchor, s.suspend_on,
         (SELECT array_agg(ARRAY[i.id::text, i.total_minor::text, (i.total_minor - i.paid_minor)::text,
                                 i.period_start::text, i.period_end::text] ORDER BY i.id)
            FROM invoices i WHERE i.customer_id = s.customer_id AND i.kind = 'INVOICE' AND i.status <> 'VOID') AS due,
         (SELECT array_agg(ARRAY[m.event, m.n::text]) FROM (SELECT event, count(*) AS n FROM messages
           WHERE customer_id = s.customer_id AND channel = 'SMS' GROUP BY event) m) AS told,
         (SELECT array_agg(ROW(p.starts_at, p.ends_at, p.price_minor) ORDER BY p.starts_at) FROM billed_periods p
           WHERE p.service_id = s.id AND p.released_at IS NULL) AS charged
    FROM services s JOIN packages k ON k.id = s.package_id
    LEFT JOIN customer_balances b ON b.customer_id = s.customer_id WHERE s.tenant_id = $1"""
TOLD = (
    "service.suspended",
    "service.activated",
    "service.suspend_soon",
    "invoice.due",
    "invoice.overdue",
    "renewal.short",
)
"""The messages that are counted."""


@dataclass
class Seen:
    """How a customer stands in the database."""

    wallet: int
    stopped: str | None
    ends: datetime
    anchor: datetime
    package: str
    suspend_on: Any
    totals: dict[str, int]
    due: dict[str, int]
    told: dict[str, int]
    charged: list[Time] = field(default_factory=list)

    @classmethod
    def of(cls, row: Any) -> "Seen":
        bills = [(f"inv_{UUID(key).hex}", int(total), int(due)) for key, total, due, *_ in row["due"] or []]
        return cls(
            row["wallet"],
            row["suspend_reason"] if row["status"] == "SUSPENDED" else None,
            row["expires_at"],
            row["billing_anchor"],
            row["name"],
            row["suspend_on"],
            {key: total for key, total, _ in bills},
            {key: due for key, _, due in bills},
            {event: int(count) for event, count in row["told"] or [] if event in TOLD},
            [(start, end, price) for start, end, price in row["charged"] or []],
        )


class World:
    """What all the lives of a test share: servers, connections, and the number of steps that were taken."""

    def __init__(self, dsns: Dsns, given: Settings) -> None:
        self.runner = asyncio.Runner()
        self.dsns, self.given = dsns, given
        self.steps = 0

    async def begin(self) -> None:
        self.app, self.owner = Database(self.dsns.app, pool_size=4), Database(self.dsns.owner, pool_size=2)
        self.valkey = redis.asyncio.from_url(self.given.redis_url)
        self.api = Api(self.app, self.valkey, self.given)
        self.eye = await asyncpg.connect(self.dsns.superuser)

    async def end(self) -> None:
        await self.api.close()
        await self.valkey.aclose()
        await self.app.dispose()
        await self.owner.dispose()
        await self.eye.close()

    async def forget(self) -> None:
        """check-invariants looks at every tenant: without this each life would check all lives before it."""
        tables = await self.eye.fetch(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " WHERE a.attname = 'tenant_id' AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
        )
        gone = "; ".join(f"DELETE FROM {row[0]}" for row in tables)
        await self.eye.execute(
            f"SET session_replication_role = replica; {gone}; DELETE FROM tenants; RESET session_replication_role"
        )


@dataclass(frozen=True)
class Action:
    """Something that can happen, and what is drawn for it."""

    verb: Callable[..., None]
    drawn: dict[str, st.SearchStrategy[Any]]


ACTIONS: list[Action] = []


def action(**drawn: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Hypothesis would leave out most rules in each life; here a life is of all of them."""

    def listed(verb: Callable[..., None]) -> Callable[..., None]:
        ACTIONS.append(Action(verb, drawn))
        return verb

    return listed


class Life(RuleBasedStateMachine):
    """Each run is a tenant of its own in the database of the test, with two customers and two packages."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.now = BORN
        self.asked = False
        self.turn = self.steps = 0
        self.buyers: list[Buyer] = []
        self.people: list[Subscriber] = []
        self.seen: list[Seen] = []
        self.dunned: set[date] = set()
        self.last: tuple[str, dict[str, Any], Any] | None = None

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Hypothesis is synchronous, the product is not."""
        return self.world.runner.run(work)

    @initialize()
    def begin(self) -> None:
        self.do(self._begin())

    async def _begin(self) -> None:
        world = self.world
        self.api = world.api
        self.house = await factories.house(
            world.owner,
            world.app,
            f"life-{secrets.token_hex(4)}",
            tax_rate="7.5",
            dunning_holidays=sorted(HOLIDAYS),
        )
        self.packages = [await self.house.package(f"P{price}", price_minor=price) for price in PRICES]
        for number in range(2):
            born = BORN.isoformat()
            buyer = await Buyer.enrolled(self.api, self.house, self.packages[0], at=born, pays="10.00", number=number)
            self.buyers.append(buyer)
        await self._look()
        for seen in self.seen:
            ((invoice, total),) = seen.totals.items()
            assert total == taxed(PRICES[0])
            ((start, end, _),) = seen.charged
            assert end == boundary(start, (1, 0), 1)
            person = Subscriber(end, start)
            person.issued(invoice, total, BORN)
            person.money.settle(None, 1_000, [invoice])
            self.people.append(person)

    async def _look(self) -> None:
        rows = {row["customer_id"]: row for row in await self.world.eye.fetch(SEEN, self.house.tenant.id)}
        self.seen = [Seen.of(rows[factories.uuid_of(buyer.customer)]) for buyer in self.buyers]

    def ask(self, document: str, refusals: set[str], **variables: Any) -> dict[str, Any] | None:
        """A mutation's payload; None when it is refused, by one of these codes, and nothing was changed."""
        self.tick()
        data = self.do(self.api.data(document, self.house.admin, **variables))
        (payload,) = data.values()
        codes = {error["code"] for error in payload["errors"]}
        assert codes <= refusals, (document, variables, payload)
        found: dict[str, Any] | None = None if codes else payload
        if found is not None and "key" in str(variables).lower():
            self.last = (document, variables, data)
        return found

    def tick(self) -> None:
        """No two requests are of the same time: ids are in the order of time, and so are invoices of one day."""
        self.asked = True
        self.now += timedelta(seconds=20)
        clock.set_clock(self.now.isoformat())

    def key(self) -> str:
        """An idempotency key."""
        return secrets.token_hex(8)

    def pick(self, rows: Any, which: int) -> Any:
        """One of them, or None."""
        every = list(rows)
        return every[which % len(every)] if every else None

    def new(self, who: int) -> list[tuple[str, int]]:
        """Invoices that the oracle does not know yet, with their totals, the oldest first."""
        known = self.people[who].papers
        return [(key, total) for key, total in self.seen[who].totals.items() if key not in known]

    @rule(which=st.integers(0, 99), data=st.data())
    def step(self, which: int, data: st.DataObject) -> None:
        """One action. As each begins at another, also the simplest life, of zeros alone, is one of all actions."""
        self.turn += 1
        every = ACTIONS[(which + self.turn) % len(ACTIONS)]
        drawn = {name: data.draw(strategy) for name, strategy in every.drawn.items()}
        note(f"{every.verb.__name__}({drawn})")
        every.verb(self, **drawn)

    # -- money

    @action(who=WHO, which=WHICH, how=st.sampled_from(["full", "part", "over", "zero", "wallet", "wallet part"]))
    def pay(self, who: int, which: int, how: str) -> None:
        person = self.people[who]
        money = person.money
        invoice = self.pick([key for key, due in money.due.items() if due] or money.due, which)
        if invoice is None:
            return
        due = money.due[invoice]
        amount = {"full": due, "part": due // 3, "over": due + 777, "zero": 0, "wallet": due, "wallet part": due // 2}[
            how
        ]
        method = "WALLET" if "wallet" in how else "CASH"
        asked = {"invoiceId": invoice, "amount": shown(amount), "method": method, "idempotencyKey": self.key()}
        short = method == "WALLET" and money.wallet < amount
        refusals = (
            {"INVALID"}
            if amount == 0
            else {"INVALID_STATE"}
            if due == 0
            else {"INSUFFICIENT_FUNDS"}
            if short
            else set()
        )
        if paid := self.ask(PAY, refusals, input=asked):
            assert refusals == set()
            if method == "WALLET":
                money.from_wallet(amount, [invoice])
            else:
                money.paid(paid["payment"]["id"], amount, invoice)
            person.relieved(self.now)

    @action(who=WHO, amount=st.integers(1, 12_000))
    def advance(self, who: int, amount: int) -> None:
        asked = {"customerId": self.buyers[who].customer, "amount": shown(amount), "method": "CARD"}
        paid = self.ask(ADVANCE, set(), input={**asked, "idempotencyKey": self.key()})
        assert paid is not None
        self.people[who].money.paid(paid["payment"]["id"], amount)
        self.people[who].relieved(self.now)

    @action(who=WHO, which=WHICH, share=SHARE)
    def refund(self, who: int, which: int, share: Fraction) -> None:
        person = self.people[who]
        payment = self.pick(person.money.left, which)
        if payment is None:
            return
        amount = int(person.money.left[payment] * share) or 1
        possible = person.money.possible(payment)
        refusals = {"INSUFFICIENT_FUNDS", "INVALID", "INVALID_STATE"} if amount > possible else set()
        if self.ask(REFUND, refusals, id=payment, amount=shown(amount), key=self.key()):
            assert amount <= possible
            person.refunded(payment, amount, self.now)

    @action(who=WHO, which=WHICH)
    def void(self, who: int, which: int) -> None:
        person = self.people[who]
        invoice = self.pick(person.money.due, which)
        if invoice is None:
            return
        before = self.seen[who].charged
        # What was given back of it since stands in the way.
        if self.ask(VOID, {"INVALID_STATE"}, id=invoice):
            person.voided(invoice)
            person.relieved(self.now)
            self.do(self._look())
            person.gaps += [(row[0], row[1]) for row in before if row not in self.seen[who].charged]

    @action(who=WHO, which=WHICH, share=SHARE)
    def credit(self, who: int, which: int, share: Fraction) -> None:
        person = self.people[who]
        invoice = self.pick(person.money.due, which)
        if invoice is None:
            return
        amount = int(self.seen[who].totals[invoice] * share) or 1
        refusals = {"INVALID", "INVALID_STATE"}
        if made := self.ask(CREDIT, refusals, id=invoice, amount=shown(amount), key=self.key()):
            assert minor(made["invoice"]["total"]["amount"]) == -amount
            person.money.credited(amount)
            person.relieved(self.now)

    @action(who=WHO, amount=st.integers(1, 9_000))
    def bill_an_amount(self, who: int, amount: int) -> None:
        asked = {"customerId": self.buyers[who].customer, "amount": shown(amount), "description": "Cable"}
        made = self.ask(BILL, set(), input={**asked, "idempotencyKey": self.key()})
        assert made is not None
        total = minor(made["invoice"]["total"]["amount"])
        assert total == taxed(amount)
        self.people[who].billed(made["invoice"]["id"], total, self.now)
        self.people[who].freed(self.now)

    # -- time

    @action(who=WHO, which=st.integers(0, 1), ahead=st.one_of(st.just(0), st.integers(1, 9)))
    def change_package(self, who: int, which: int, ahead: int) -> None:
        person = self.people[who]
        asked = {"customerId": self.buyers[who].customer, "packageId": _pkg(self.packages[which])}
        if ahead:
            asked["effectiveOn"] = str(day_of(self.now + timedelta(seconds=20)) + ahead * DAY)
        done = self.ask(CHANGE, {"NO_CHANGE"}, input={**asked, "idempotencyKey": self.key()})
        assert (done is None) == (person.package == which)
        if done is None:
            return
        if ahead:
            assert done["invoice"] is None
            person.planned = (day_of(self.now) + ahead * DAY, which)
            return
        person.planned = None
        total = person.changed(which, self.now, self.seen[who].charged)
        invoice = done["invoice"]
        assert total == (minor(invoice["total"]["amount"]) if invoice else 0)
        if total < 0:
            person.money.credited(-total)
        elif invoice:
            person.billed(invoice["id"], total, self.now)
        person.freed(self.now)

    @action()
    def think_better_of_a_change(self) -> None:
        who, planned = next(((n, one.planned) for n, one in enumerate(self.people) if one.planned), (0, None))
        if planned is None:
            return
        requests = self.do(self.buyers[who].history())["packageChanges"]["nodes"]
        (waiting,) = [row for row in requests if row["status"] == "SCHEDULED"]
        assert waiting["toPackage"]["name"] == self.packages[planned[1]].name
        assert self.ask(CANCEL, set(), id=waiting["id"], key=self.key())
        self.people[who].planned = None

    @action(who=WHO, count=st.integers(1, 9), method=st.sampled_from(["CASH", "WALLET"]))
    def recharge(self, who: int, count: int, method: str) -> None:
        person = self.people[who]
        asked = {"customerId": self.buyers[who].customer, "days": count, "method": method}
        refusals = {"INSUFFICIENT_FUNDS"} if method == "WALLET" else set()
        if any(end > max(person.ends, self.now) for _, end, _ in self.seen[who].charged):
            # Time that is charged already stands in the way.
            refusals.add("INVALID_STATE")
        done = self.ask(RECHARGE, refusals, input={**asked, "idempotencyKey": self.key()})
        if done is None:
            return
        total = person.recharged(count, self.now)
        invoice = done["invoice"]["id"]
        assert minor(done["invoice"]["total"]["amount"]) == total
        person.issued(invoice, total, self.now)
        if method == "WALLET":
            assert person.money.wallet >= total
            person.money.from_wallet(total, [invoice])
        else:
            # What is paid for days is for these days.
            person.money.left[done["payment"]["id"]] = total
            person.money.settle(done["payment"]["id"], total, [invoice])
        person.freed(self.now)

    @action(ahead=st.booleans(), broken=st.sampled_from([None, None, None, 0, 4, 9, 15]))
    def run(self, *, ahead: bool, broken: int | None) -> None:
        self.tick()
        before = [set(seen.charged) for seen in self.seen]
        as_of = self.now + (runs.AHEAD if ahead else timedelta())
        wanted = [person.run(as_of, seen.charged) for person, seen in zip(self.people, self.seen, strict=True)]
        if broken is not None:
            self.do(self._while_connections_break(lambda: self._bill(ahead=ahead), broken / 1000))
        self.do(self._bill(ahead=ahead))
        self.do(self._look())
        for who, person in enumerate(self.people):
            assert set(self.seen[who].charged) - before[who] == set(wanted[who])
            new = self.new(who)
            assert [total for _, total in new] == [taxed(price) for _, _, price in wanted[who]]
            for invoice, total in new:
                person.issued(invoice, total, self.now)
            # The new ones of one customer are paid by the wallet together, the oldest first.
            person.money.from_wallet(person.money.wallet, [invoice for invoice, _ in new])

    async def _bill(self, *, ahead: bool) -> None:
        if not ahead:
            await office.bill(self.house)
            return
        async with self.house.database.transaction(self.house.tenant.id) as session:
            await runs.daily(session, self.house.tenant.id)
        async with self.house.database.read(self.house.tenant.id) as session:
            run = (await session.scalars(select(BillingRun).order_by(BillingRun.id.desc()).limit(1))).one()
        await office.carry_out(self.house, run)

    def _carry_out_changes(self) -> None:
        self.tick()
        self.do(scheduler.change_packages(self.world.app))
        before = [seen.charged for seen in self.seen]
        self.do(self._look())
        for who, person in enumerate(self.people):
            if person.planned is None or person.planned[0] > day_of(self.now):
                continue
            (_, which), person.planned = person.planned, None
            if which == person.package:
                # Asked for when it was another.
                continue
            total = person.changed(which, self.now, before[who])
            assert [found for _, found in self.new(who)] == ([total] if total > 0 else [])
            if total < 0:
                person.money.credited(-total)
            for invoice, _ in self.new(who):
                person.billed(invoice, total, self.now)
            person.freed(self.now)

    @action()
    def a_minute(self) -> None:
        self._carry_out_changes()
        self.tick()
        self.do(scheduler.renew(self.world.app))
        costs = [person.renewed(self.now, seen.charged) for person, seen in zip(self.people, self.seen, strict=True)]
        self.do(self._look())
        for who, person in enumerate(self.people):
            assert [total for _, total in self.new(who)] == ([] if costs[who] is None else [costs[who]])
            for invoice, total in self.new(who):
                person.billed(invoice, total, self.now)

    # -- on line and off

    @action()
    def dun(self) -> None:
        self.tick()
        there = self.now + timedelta(hours=6)
        day = there.date() - (DAY if there.hour < DUNNING_HOUR else timedelta())
        done: daily.Done = {}
        places: daily.Places = {}
        while not any(task == daily.DUNNING for _, task in done):
            self.do(daily.in_chunks(self.world.app, done, places))
        if day not in self.dunned:
            self.dunned.add(day)
            for person in self.people:
                person.dun(day, self.now)

    @action(who=WHO, reason=st.sampled_from(["CUSTOMER_REQUEST", "NON_PAYMENT"]))
    def suspend(self, who: int, reason: str) -> None:
        person = self.people[who]
        done = self.ask(SUSPEND, {"NO_CHANGE"}, input={"customerId": self.buyers[who].customer, "reason": reason})
        assert (done is None) == (person.stopped is not None)
        if done is not None:
            person.stop(reason)

    @action(who=WHO)
    def activate(self, who: int) -> None:
        person = self.people[who]
        self.tick()
        refusal = "INVALID_STATE" if person.ends <= self.now else None if person.stopped else "NO_CHANGE"
        asked = {"customerId": self.buyers[who].customer}
        (payload,) = self.do(self.api.data(ACTIVATE, self.house.admin, input=asked)).values()
        assert [error["code"] for error in payload["errors"]] == ([refusal] if refusal else [])
        if refusal is None:
            person.stopped = None

    @action(
        who=WHO,
        given=st.one_of(
            st.fixed_dictionaries({"suspendOn": st.integers(1, 20)}, optional={"remindDaysBefore": st.integers(1, 9)}),
            st.fixed_dictionaries(
                {"recurringDayOfMonth": st.integers(1, 28)}, optional={"remindDaysBefore": st.integers(1, 9)}
            ),
            st.just({}),
        ),
    )
    def set_suspend_date(self, who: int, given: dict[str, Any]) -> None:
        person = self.people[who]
        on, asked = None, {"customerId": self.buyers[who].customer, **given}
        if "suspendOn" in given:
            on = day_of(self.now + timedelta(seconds=20)) + given["suspendOn"] * DAY
            asked["suspendOn"] = str(on)
        done = self.ask(SUSPEND_DATE, {"NO_CHANGE"}, input={**asked, "idempotencyKey": self.key()})
        assert (done is None) == (given == {} and person.suspend_on is None)
        person.every, person.remind, person.reminded = (
            given.get("recurringDayOfMonth"),
            given.get("remindDaysBefore"),
            False,
        )
        person.suspend_on = next_day(day_of(self.now), person.every) if person.every else on

    @action(who=WHO, given=AGREED)
    def agree(self, who: int, given: dict[str, Any]) -> None:
        person = self.people[who]
        cycle = given.get("billingCycle", person.cycle)
        day = given.get("billingDay", person.billing_day)
        refused = given.get("billingDay") is not None and cycle == "WEEKLY"
        asked = {"customerId": self.buyers[who].customer, "profile": given, "confirmImpact": True}
        done = self.ask(UPDATE, {"INVALID"}, input={**asked, "idempotencyKey": self.key()})
        assert (done is None) == refused
        if done is None:
            return
        person.agree(cycle, day)
        person.grace = given.get("graceDays", person.grace)
        person.suspends = given.get("autoSuspend", person.suspends)
        person.generates = given.get("autoGenerate", person.generates)
        person.renews = given.get("autoRenew", person.renews)
        person.freed(self.now)

    @action(on=st.one_of(st.integers(0, 2), st.integers(0, 45)), minutes=st.integers(0, 1439))
    def time_goes_on(self, on: int, minutes: int) -> None:
        self.asked = True
        self.now += timedelta(days=on, minutes=minutes)
        self.api.sign_in_again()

    @action(count=st.integers(2, 8))
    def days_pass(self, count: int) -> None:
        """One after the other, each with what the scheduler does on it."""
        for _ in range(count):
            self.now += DAY
            for verb in (self.dun, self.a_minute):
                verb()
                self._all_agrees()
        self.run(ahead=True, broken=None)
        self.api.sign_in_again()

    # -- bad weather

    @action()
    def ask_again(self) -> None:
        if self.last is None:
            return
        self.asked = True
        document, variables, answer = self.last
        again = self.do(self.api.data(document, self.house.admin, **variables))
        assert _ids(again) == _ids(answer)

    @action(who=WHO, amount=st.integers(1, 5_000), after=st.integers(0, 25))
    def connections_break(self, who: int, amount: int, after: int) -> None:
        asked = {"customerId": self.buyers[who].customer, "amount": shown(amount), "method": "CASH"}
        asked["idempotencyKey"] = self.key()
        self.tick()
        at = self.now
        self.do(
            self._while_connections_break(lambda: self.api.data(ADVANCE, self.house.admin, input=asked), after / 1000)
        )
        # Whatever became of it, asking again makes it so, once.
        paid = self.ask(ADVANCE, set(), input=asked)
        assert paid is not None
        self.people[who].money.paid(paid["payment"]["id"], amount)
        self.people[who].relieved(at)

    async def _while_connections_break(self, work: Callable[[], Awaitable[Any]], after: float) -> None:
        """Begin something, break all connections, and try again until it is done."""
        begun = asyncio.ensure_future(work())
        await asyncio.sleep(after)
        await self.world.eye.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'ispgraph_app' AND datname = current_database()"
        )
        with suppress(Exception):
            await begun
        # The first that meets a broken connection is told to try again.
        for _ in range(20):
            with suppress(Exception):
                await work()
                break

    # -- what is compared

    @invariant()
    def everything_agrees(self) -> None:
        if len(self.people) < 2 or not self.asked:
            return
        self.asked = False
        self.steps += 1
        self.world.steps += 1
        self._all_agrees()
        if self.steps % 10 == 0:
            self.do(self._graph_says_so())
        if self.steps % 25 == 0:
            found = self.do(invariants.check(self.world.owner))
            assert [(each.rule.name, each.culprits) for each in found if each.broken] == []

    def _all_agrees(self) -> None:
        self.do(self._look())
        for who, (person, seen) in enumerate(zip(self.people, self.seen, strict=True)):
            assert seen.wallet == person.money.wallet
            assert seen.due == person.money.due
            person.adopt(seen.ends)
            assert (seen.ends, seen.anchor) == (person.ends, person.anchor)
            assert seen.package == self.packages[person.package].name
            assert (seen.stopped, seen.suspend_on) == (person.stopped, person.suspend_on)
            assert seen.told == {event: count for event, count in person.told.items() if count}, person
            self._time_is_charged_once_and_none_is_missed(who)

    def _time_is_charged_once_and_none_is_missed(self, who: int) -> None:
        for (_, end, _), (start, _, _) in itertools.pairwise(self.seen[who].charged):
            assert end <= start
            assert end == start or self.people[who].excused(end, start), (end, start, self.people[who].gaps)

    async def _graph_says_so(self) -> None:
        clock.set_clock(self.now.isoformat())
        for buyer, person in zip(self.buyers, self.people, strict=True):
            book = (await self.api.data(BOOK, self.house.admin, id=buyer.customer))["node"]
            assert minor(book["wallet"]["amount"]) == person.money.wallet
            assert book["status"] == ("SUSPENDED" if person.stopped else "ACTIVE")
            bills = [row for row in book["invoices"]["nodes"] if row["kind"] == "INVOICE" and row["status"] != "VOID"]
            due = {row["id"]: minor(row["amountDue"]["amount"]) for row in bills}
            # More than a page of invoices is not looked at.
            assert due == {key: person.money.due[key] for key in due}
            assert len(due) == len(person.money.due) or len(book["invoices"]["nodes"]) == 100

    def teardown(self) -> None:
        clock.set_clock("")
        self.do(self.world.forget())


def _pkg(package: Package) -> str:
    return f"pkg_{package.id.hex}"


def _ids(found: Any) -> list[str]:
    """The ids in an answer: what a thing was then and what it is now may differ."""
    if isinstance(found, dict):
        own = [found["id"]] if "id" in found else []
        return own + [key for each in found.values() for key in _ids(each)]
    return [key for each in found for key in _ids(each)] if isinstance(found, list) else []


@pytest.mark.parametrize(
    ("number", "lives"), [(0, 2), *(pytest.param(n, 20, marks=pytest.mark.long) for n in range(1, 6))]
)
def test_years_of_customers_agree_with_an_oracle(dsns: Dsns, settings: Settings, number: int, lives: int) -> None:
    world = World(dsns, settings)
    world.runner.run(world.begin())
    try:
        # After ten lives Hypothesis would begin to repeat what was.
        for begun in range(0, lives, 10):
            # To be the same each time would make the same of all of them: it is the seed that tells them apart.
            walk(
                seed(100 * number + begun)(type(f"Life{number}", (Life,), {"world": world})),
                settings=configured(
                    max_examples=min(lives, 10),
                    stateful_step_count=STEPS,
                    deadline=None,
                    database=None,
                    # A failure is told as it came: to make it smaller would take minutes.
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                ),
            )
    finally:
        world.runner.run(world.end())
        world.runner.close()
    assert world.steps >= (2_000 if number else 100)
