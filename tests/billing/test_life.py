"""Years of customers through the API beside an oracle of a few dictionaries: billed, paid, given back, changed,
recharged, suspended, while the clock goes on, requests come twice, and connections break. Money and time agree after
every step."""

import asyncio
import itertools
import secrets
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import asyncpg
import pytest
import redis.asyncio
from hypothesis import HealthCheck, Phase
from hypothesis import settings as configured
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as walk

from ispgraph import clock, invariants
from ispgraph.db import Database
from ispgraph.settings import Settings
from tests import factories
from tests.api import Api
from tests.billing import office
from tests.billing.changing import Buyer
from tests.conftest import Dsns

BORN = datetime(2028, 1, 31, 4, 0, tzinfo=UTC)
TAX = Fraction(75, 1000)
WHO = st.integers(0, 1)
WHICH = st.integers(0, 40)
SHARE = st.fractions(0, 1, max_denominator=8)
STEPS = 40
SOME = timedelta(seconds=10)

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
  invoice { id kind total { amount } lines { amount { amount } } } errors { code } } }"""
RECHARGE = f"""mutation ($input: DailyRechargeInput!) {{ customerDailyRecharge(input: $input) {{
  invoice {{ id total {{ amount }} }} {PAID} }} }}"""
SUSPEND = """mutation ($input: SuspendInput!) { customerSuspend(input: $input) { errors { code } } }"""
ACTIVATE = """mutation ($input: ActivateInput!) { customerActivate(input: $input) { errors { code } } }"""
BOOK = """query ($id: ID!) { node(id: $id) { ... on Customer { wallet { amount } status
  service { status expiresAt package { name } }
  invoices(first: 100) { nodes { id kind status total { amount } amountDue { amount } } } } } }"""


def minor(amount: str) -> int:
    """Of "12.50"."""
    return round(Fraction(amount) * 100)


def shown(amount: int) -> str:
    """The reverse."""
    return f"{amount // 100}.{amount % 100:02d}"


@dataclass
class Money:
    """What one customer has with us, by the oracle: invoices by age with what is due, and what settled them."""

    wallet: int = 0
    due: dict[str, int] = field(default_factory=dict)
    shares: list[list[Any]] = field(default_factory=list)
    """[payment or None for the wallet, invoice, amount], the last settled first."""
    left: dict[str, int] = field(default_factory=dict)
    """By payment with money: what of it was not given back."""

    def settle(self, payment: str | None, amount: int, invoices: list[str]) -> int:
        """Oldest first; what is left over."""
        for invoice in invoices:
            part = min(amount, self.due[invoice])
            if part:
                self.due[invoice] -= part
                self.shares.insert(0, [payment, invoice, part])
                amount -= part
        return amount

    def from_wallet(self, most: int, invoices: list[str]) -> None:
        """So much of the wallet at most."""
        most = min(most, self.wallet)
        self.wallet -= most - self.settle(None, most, invoices)

    def billed(self, invoice: str, total: int) -> None:
        """A new invoice, which the wallet pays as far as it goes."""
        self.due[invoice] = total
        self.from_wallet(self.wallet, [invoice])

    def paid(self, payment: str, amount: int, first: str | None = None) -> None:
        """Money comes in."""
        self.left[payment] = amount
        order = ([first] if first else []) + [invoice for invoice in self.due if invoice != first]
        self.wallet += self.settle(payment, amount, order)

    def credited(self, total: int) -> None:
        """A credit note goes into the wallet, and from there to what is open."""
        self.wallet += total
        self.from_wallet(total, list(self.due))

    def possible(self, payment: str) -> int:
        """What of a payment can be given back."""
        settled = sum(part for by, _, part in self.shares if by == payment)
        return settled + min(self.left[payment] - settled, self.wallet)

    def refunded(self, payment: str, amount: int) -> None:
        """What is in the wallet first, then what was settled last."""
        settled = sum(part for by, _, part in self.shares if by == payment)
        kept = min(amount, self.left[payment] - settled, self.wallet)
        self.left[payment] -= amount
        self.wallet -= kept
        amount -= kept
        for share in [share for share in self.shares if share[0] == payment]:
            taken = min(amount, share[2])
            share[2] -= taken
            self.due[share[1]] += taken
            amount -= taken
        self.shares = [share for share in self.shares if share[2]]

    def voided(self, invoice: str) -> None:
        """What had settled it is in the wallet."""
        self.wallet += sum(part for _, settled, part in self.shares if settled == invoice)
        self.shares = [share for share in self.shares if share[1] != invoice]
        del self.due[invoice]


class Life(RuleBasedStateMachine):
    """Each run is a tenant of its own in the database of the test, with two customers and two packages."""

    dsns: Dsns
    given: Settings

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.now = BORN
        self.steps = 0
        self.buyers: list[Buyer] = []
        self.money: list[Money] = []
        self.gaps: list[list[tuple[datetime, datetime]]] = [[], []]
        self.last: tuple[str, dict[str, Any], Any] | None = None

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Hypothesis is synchronous, the product is not."""
        return self.runner.run(work)

    @initialize()
    def begin(self) -> None:
        self.do(self._begin())

    async def _begin(self) -> None:
        self.app, self.owner = Database(self.dsns.app, pool_size=4), Database(self.dsns.owner, pool_size=2)
        self.valkey = redis.asyncio.from_url(self.given.redis_url)
        self.api = Api(self.app, self.valkey, self.given)
        self.house = await factories.house(self.owner, self.app, f"life-{secrets.token_hex(4)}", tax_rate="7.5")
        self.packages = [await self.house.package(f"P{price}", price_minor=price) for price in (3_000, 4_700)]
        for number in range(2):
            born = BORN.isoformat()
            buyer = await Buyer.enrolled(self.api, self.house, self.packages[0], at=born, pays="10.00", number=number)
            self.buyers.append(buyer)
            self.money.append(Money())
            ((invoice, total),) = [(row["id"], minor(row["total"]["amount"])) for row in await self._invoices(number)]
            self.money[number].due[invoice] = total - 1_000
            self.money[number].shares.append([None, invoice, 1_000])

    async def _book(self, who: int) -> dict[str, Any]:
        clock.set_clock(self.now.isoformat())
        found: dict[str, Any] = (await self.api.data(BOOK, self.house.admin, id=self.buyers[who].customer))["node"]
        return found

    async def _invoices(self, who: int) -> list[dict[str, Any]]:
        """The invoices of a customer, the oldest first; credit notes are none."""
        nodes = (await self._book(who))["invoices"]["nodes"]
        return [row for row in reversed(nodes) if row["kind"] == "INVOICE" and row["status"] != "VOID"]

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
        self.now += timedelta(seconds=20)
        clock.set_clock(self.now.isoformat())

    def key(self) -> str:
        """An idempotency key."""
        return secrets.token_hex(8)

    def pick(self, rows: Any, which: int) -> Any:
        """One of them, or None."""
        every = list(rows)
        return every[which % len(every)] if every else None

    # -- money

    @rule(who=WHO, which=WHICH, how=st.sampled_from(["full", "part", "over", "zero"]))
    def pay(self, who: int, which: int, how: str) -> None:
        money = self.money[who]
        invoice = self.pick(money.due, which)
        if invoice is None:
            return
        due = money.due[invoice]
        amount = {"full": due, "part": due // 3, "over": due + 777, "zero": 0}[how]
        asked = {"invoiceId": invoice, "amount": shown(amount), "method": "CASH", "idempotencyKey": self.key()}
        refusals = {"INVALID"} if amount == 0 else {"INVALID_STATE"} if due == 0 else set()
        if paid := self.ask(PAY, refusals, input=asked):
            assert refusals == set()
            money.paid(paid["payment"]["id"], amount, invoice)

    @rule(who=WHO, amount=st.integers(1, 12_000))
    def advance(self, who: int, amount: int) -> None:
        asked = {"customerId": self.buyers[who].customer, "amount": shown(amount), "method": "CARD"}
        paid = self.ask(ADVANCE, set(), input={**asked, "idempotencyKey": self.key()})
        assert paid is not None
        self.money[who].paid(paid["payment"]["id"], amount)

    @rule(who=WHO, which=WHICH, share=SHARE)
    def refund(self, who: int, which: int, share: Fraction) -> None:
        money = self.money[who]
        payment = self.pick(money.left, which)
        if payment is None:
            return
        amount = int(money.left[payment] * share) or 1
        possible = money.possible(payment)
        refusals = {"INSUFFICIENT_FUNDS", "INVALID", "INVALID_STATE"} if amount > possible else set()
        if self.ask(REFUND, refusals, id=payment, amount=shown(amount), key=self.key()):
            assert amount <= possible
            money.refunded(payment, amount)

    @rule(who=WHO, which=WHICH)
    def void(self, who: int, which: int) -> None:
        invoice = self.pick(self.money[who].due, which)
        if invoice is None:
            return
        before = self.do(self._charged(who))
        # What was given back of it since stands in the way.
        if self.ask(VOID, {"INVALID_STATE"}, id=invoice):
            self.money[who].voided(invoice)
            after = self.do(self._charged(who))
            self.gaps[who] += [(row[0], row[1]) for row in before if row not in after]

    @rule(who=WHO, which=WHICH, share=SHARE)
    def credit(self, who: int, which: int, share: Fraction) -> None:
        invoice = self.pick(self.money[who].due, which)
        if invoice is None:
            return
        total = next(minor(row["total"]["amount"]) for row in self.do(self._invoices(who)) if row["id"] == invoice)
        amount = int(total * share) or 1
        refusals = {"INVALID", "INVALID_STATE"}
        if made := self.ask(CREDIT, refusals, id=invoice, amount=shown(amount), key=self.key()):
            assert minor(made["invoice"]["total"]["amount"]) == -amount
            self.money[who].credited(amount)

    @rule(who=WHO, amount=st.integers(1, 9_000))
    def bill_an_amount(self, who: int, amount: int) -> None:
        asked = {"customerId": self.buyers[who].customer, "amount": shown(amount), "description": "Cable"}
        made = self.ask(BILL, set(), input={**asked, "idempotencyKey": self.key()})
        assert made is not None
        total = minor(made["invoice"]["total"]["amount"])
        assert total == amount + int(amount * TAX + Fraction(1, 2))
        self.money[who].billed(made["invoice"]["id"], total)

    # -- time

    @rule(who=WHO, which=st.integers(0, 1))
    def change_package(self, who: int, which: int) -> None:
        rows, book = self.do(self._charged(who)), self.do(self._book(who))
        ends = datetime.fromisoformat(book["service"]["expiresAt"])
        asked = {"customerId": self.buyers[who].customer, "packageId": _pkg(self.packages[which])}
        done = self.ask(CHANGE, {"NO_CHANGE"}, input={**asked, "idempotencyKey": self.key()})
        same = book["service"]["package"]["name"] == self.packages[which].name
        assert (done is None) == same
        if done is None:
            return
        if ends < self.now:
            self.gaps[who].append((ends, self.now))
        given_back = sum(price * _days_left(start, end, self.now) for start, end, price in rows)
        charged = Fraction(self.packages[which].price_minor)
        if ends > self.now:
            charged = charged * (ends.date() - self.now.date()).days / 30
        wanted = (charged - given_back) * (1 + TAX)
        invoice = done["invoice"]
        total = minor(invoice["total"]["amount"]) if invoice else 0
        # A month has 28 to 31 days; every line is rounded once, and so is its tax.
        assert abs(total - wanted) <= charged / 10 * (1 + TAX) + 2 * (len(rows) + 3)
        if total < 0:
            self.money[who].credited(-total)
        elif invoice:
            self.money[who].billed(invoice["id"], total)

    @rule(who=WHO, days=st.integers(1, 9), method=st.sampled_from(["CASH", "WALLET"]))
    def recharge(self, who: int, days: int, method: str) -> None:
        money = self.money[who]
        ends = datetime.fromisoformat(self.do(self._book(who))["service"]["expiresAt"])
        asked = {"customerId": self.buyers[who].customer, "days": days, "method": method}
        refusals = {"INSUFFICIENT_FUNDS"} if method == "WALLET" else set()
        done = self.ask(RECHARGE, refusals | {"INVALID_STATE"}, input={**asked, "idempotencyKey": self.key()})
        if done is None:
            return
        total = minor(done["invoice"]["total"]["amount"])
        money.due[done["invoice"]["id"]] = total
        if method == "WALLET":
            assert money.wallet >= total
            money.from_wallet(total, [done["invoice"]["id"]])
        else:
            # What is paid for days is for these days.
            money.left[done["payment"]["id"]] = total
            money.settle(done["payment"]["id"], total, [done["invoice"]["id"]])
        if ends < self.now:
            self.gaps[who].append((ends, self.now))

    @rule()
    def run(self) -> None:
        known = [set(money.due) for money in self.money]
        self.tick()
        self.do(office.bill(self.house))
        for who, money in enumerate(self.money):
            for row in self.do(self._invoices(who)):
                if row["id"] not in known[who]:
                    money.due[row["id"]] = minor(row["total"]["amount"])
            # The new ones of one customer are paid by the wallet together, the oldest first.
            money.from_wallet(money.wallet, [invoice for invoice in money.due if invoice not in known[who]])
            service = self.do(self._book(who))["service"]
            assert service["status"] != "ACTIVE" or datetime.fromisoformat(service["expiresAt"]) > self.now

    @rule(who=WHO)
    def suspend(self, who: int) -> None:
        asked = {"customerId": self.buyers[who].customer, "reason": "CUSTOMER_REQUEST"}
        self.ask(SUSPEND, {"INVALID_STATE", "NO_CHANGE"}, input=asked)

    @rule(who=WHO)
    def activate(self, who: int) -> None:
        self.ask(ACTIVATE, {"INVALID_STATE", "NO_CHANGE"}, input={"customerId": self.buyers[who].customer})

    @rule(days=st.integers(0, 45), minutes=st.integers(0, 1439))
    def time_goes_on(self, days: int, minutes: int) -> None:
        self.now += timedelta(days=days, minutes=minutes)
        self.api.sign_in_again()

    # -- bad weather

    @precondition(lambda self: self.last is not None)
    @rule()
    def ask_again(self) -> None:
        assert self.last is not None
        document, variables, answer = self.last
        again = self.do(self.api.data(document, self.house.admin, **variables))
        assert _ids(again) == _ids(answer)

    @rule(who=WHO, amount=st.integers(1, 5_000), after=st.integers(0, 25))
    def connections_break(self, who: int, amount: int, after: int) -> None:
        asked = {"customerId": self.buyers[who].customer, "amount": shown(amount), "method": "CASH"}
        asked["idempotencyKey"] = self.key()
        self.tick()
        self.do(self._broken(asked, after / 1000))
        # Whatever became of it, asking again makes it so, once.
        paid = self.ask(ADVANCE, set(), input=asked)
        assert paid is not None
        self.money[who].paid(paid["payment"]["id"], amount)

    async def _broken(self, asked: dict[str, Any], after: float) -> None:
        request = asyncio.create_task(self.api(ADVANCE, self.house.admin, input=asked))
        await asyncio.sleep(after)
        connection = await asyncpg.connect(self.dsns.superuser)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'ispgraph_app' AND datname = current_database()"
        )
        await connection.close()
        with suppress(Exception):
            await request
        # The first that meets a broken connection is told to try again.
        for _ in range(20):
            if "errors" not in await self.api(ADVANCE, self.house.admin, input=asked):
                break

    # -- what is compared

    @invariant()
    def money_agrees(self) -> None:
        if len(self.money) < 2:
            return
        for who, money in enumerate(self.money):
            book = self.do(self._book(who))
            assert minor(book["wallet"]["amount"]) == money.wallet
            due = {row["id"]: minor(row["amountDue"]["amount"]) for row in self.do(self._invoices(who))}
            # More than a page of invoices is not looked at.
            assert due == {key: money.due[key] for key in due}
            assert len(due) == len(money.due) or len(book["invoices"]["nodes"]) == 100

    @invariant()
    def time_is_charged_once_and_none_is_missed(self) -> None:
        if len(self.money) < 2:
            return
        for who in range(2):
            rows = self.do(self._charged(who))
            for (_, end, _), (start, _, _) in itertools.pairwise(rows):
                assert end <= start
                assert end == start or self._excused(who, end, start), (end, start, self.gaps[who])

    def _excused(self, who: int, since: datetime, until: datetime) -> bool:
        """Whether time that is not charged was taken back, or lay fallow; to some seconds, which a request takes."""
        for start, end in sorted(self.gaps[who]):
            if start <= since + SOME and since < end:
                since = end
        return since + SOME >= until

    @invariant()
    def the_books_are_sound(self) -> None:
        self.steps += 1
        if len(self.money) == 2 and self.steps % 8 == 0:
            found = self.do(invariants.check(self.owner))
            assert [(each.rule.name, each.culprits) for each in found if each.broken] == []

    async def _charged(self, who: int) -> list[tuple[datetime, datetime, int]]:
        """The time of a customer that is charged, with its price."""
        connection = await asyncpg.connect(self.dsns.superuser)
        rows = await connection.fetch(
            "SELECT p.starts_at, p.ends_at, p.price_minor FROM billed_periods p JOIN services s ON s.id = p.service_id"
            " WHERE p.released_at IS NULL AND s.customer_id = $1 ORDER BY 1",
            factories.uuid_of(self.buyers[who].customer),
        )
        await connection.close()
        return [(row[0], row[1], row[2]) for row in rows]

    def teardown(self) -> None:
        clock.set_clock("")
        if self.buyers:
            self.do(self._end())
        self.runner.close()

    async def _end(self) -> None:
        await self.api.close()
        await self.valkey.aclose()
        await self.app.dispose()
        await self.owner.dispose()
        connection = await asyncpg.connect(self.dsns.superuser)
        tables = await connection.fetch(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " WHERE a.attname = 'tenant_id' AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
        )
        # check-invariants looks at every tenant: without this each run would check all runs before it.
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("; ".join(f"DELETE FROM {row[0]}" for row in tables) + "; DELETE FROM tenants")
        await connection.close()


def _pkg(package: Any) -> str:
    return f"pkg_{package.id.hex}"


def _days_left(start: datetime, end: datetime, at: datetime) -> Fraction:
    """Which part of a time is still to come, by days."""
    of = (end.date() - start.date()).days
    return Fraction(min(max((end.date() - at.date()).days, 0), of), of) if of else Fraction(0)


def _ids(found: Any) -> list[str]:
    """The ids in an answer: what a thing was then and what it is now may differ."""
    if isinstance(found, dict):
        own = [found["id"]] if "id" in found else []
        return own + [key for each in found.values() for key in _ids(each)]
    return [key for each in found for key in _ids(each)] if isinstance(found, list) else []


@pytest.mark.parametrize("examples", [2, *(pytest.param(24 + n, marks=pytest.mark.long) for n in range(2))])
def test_years_of_customers_agree_with_an_oracle(dsns: Dsns, settings: Settings, examples: int) -> None:
    machine = type(f"Life{examples}", (Life,), {"dsns": dsns, "given": settings})
    walk(
        machine,
        settings=configured(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=True,
            # A failure is told as it came: to make it smaller would take minutes.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
