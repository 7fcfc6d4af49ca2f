"""A random walk of billing, paying, giving and taking back beside a model of a few dictionaries: they agree after
every step."""

import asyncio
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from ispgraph import invariants
from ispgraph.db import Database
from ispgraph.domain.billing import ledger
from ispgraph.domain.errors import DomainError
from ispgraph.domain.models import Invoice, InvoiceStatus, Payment
from tests import factories
from tests.billing.conftest import Till
from tests.conftest import Dsns

AMOUNTS = st.integers(0, 1_000) | st.integers(0, 9 * 10**12)


@dataclass
class Paid:
    """A payment as the model knows it: what is left of it, and what of that settles which invoice, the last first."""

    customer: UUID
    left: int
    shares: list[tuple[UUID, int]]
    by_wallet: bool = False


@dataclass
class Model:
    """What should be true, without a ledger: what is open of each invoice by age, the wallet of each customer, and
    what became of each payment."""

    due: dict[UUID, dict[UUID, int]] = field(default_factory=dict)
    wallet: dict[UUID, int] = field(default_factory=dict)
    payments: dict[UUID, Paid] = field(default_factory=dict)
    void: set[UUID] = field(default_factory=set)

    def pay(self, payment: UUID, customer: UUID, amount: int, bills: list[UUID]) -> None:
        """Oldest first; the rest is credit."""
        paid = self.payments[payment] = Paid(customer, amount, [])
        self.wallet[customer] += amount - self._settle(paid, amount, bills)

    def spend(self, payment: UUID, customer: UUID, amount: int, bills: list[UUID]) -> None:
        """The same with what the wallet holds."""
        paid = self.payments[payment] = Paid(customer, amount, [], by_wallet=True)
        self.wallet[customer] -= self._settle(paid, amount, bills)

    def _settle(self, paid: Paid, amount: int, bills: list[UUID]) -> int:
        left = amount
        for bill in [bill for bill in self.due[paid.customer] if bill in bills]:
            part = min(left, self.due[paid.customer][bill])
            self.due[paid.customer][bill] -= part
            left -= part
            if part:
                paid.shares.insert(0, (bill, part))
        return amount - left

    def take_back(self, customer: UUID, bill: UUID) -> None:
        """A void: whatever had settled it is in the wallet."""
        for paid in self.payments.values():
            self.wallet[customer] += sum(part for settled, part in paid.shares if settled == bill)
            paid.shares = [share for share in paid.shares if share[0] != bill]
            if paid.by_wallet and not paid.shares:
                paid.left = 0
        del self.due[customer][bill]
        self.void.add(bill)

    def possible(self, payment: UUID) -> int:
        """What of a payment can be given back."""
        paid = self.payments[payment]
        settled = sum(part for _, part in paid.shares)
        return settled + (0 if paid.by_wallet else min(paid.left - settled, self.wallet[paid.customer]))

    def give_back(self, payment: UUID, amount: int) -> None:
        """A refund: first what is in the wallet, then the last settled."""
        paid = self.payments[payment]
        settled = sum(part for _, part in paid.shares)
        kept = 0 if paid.by_wallet else min(amount, paid.left - settled, self.wallet[paid.customer])
        paid.left -= amount
        self.wallet[paid.customer] += amount if paid.by_wallet else -kept
        amount -= kept
        shares = []
        for bill, part in paid.shares:
            taken = min(amount, part)
            amount -= taken
            self.due[paid.customer][bill] += taken
            if part > taken:
                shares.append((bill, part - taken))
        paid.shares = shares


class Books(RuleBasedStateMachine):
    """Each run is a tenant of its own in the database of the test."""

    dsns: Dsns
    invoices = Bundle("invoices")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.customers: list[UUID] = []

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Hypothesis is synchronous, the product is not."""
        return self.runner.run(work)

    @initialize()
    def open_the_till(self) -> None:
        self.app, self.owner = Database(self.dsns.app, pool_size=2), Database(self.dsns.owner, pool_size=2)
        self.do(self._open())

    async def _open(self) -> None:
        house = await factories.house(self.owner, self.app, f"books-{secrets.token_hex(4)}")
        self.till = Till(house, await house.viewer())
        self.customers = [(await self.till.customer()).id for _ in range(2)]
        self.model.due = {customer: {} for customer in self.customers}
        self.model.wallet = dict.fromkeys(self.customers, 0)

    @rule(target=invoices, who=st.integers(0, 1), prices=st.lists(AMOUNTS, min_size=1, max_size=3))
    def bill(self, who: int, prices: list[int]) -> Invoice:
        invoice: Invoice = self.do(self.till.bill(self.customers[who], *prices, rate="7.5"))
        self.model.due[self.customers[who]][invoice.id] = invoice.total_minor
        assert invoice.subtotal_minor == sum(prices)
        return invoice

    @rule(invoice=invoices, how=st.sampled_from(["full", "part", "over"]), extra=AMOUNTS)
    def pay(self, invoice: Invoice, how: str, extra: int) -> None:
        if invoice.id in self.model.void:
            return
        due = self.model.due[invoice.customer_id][invoice.id]
        amount = {"full": due, "part": due // 2, "over": due + extra}[how] or 1
        payment = self.do(self.till.pay(amount, invoice))
        self.model.pay(payment.id, invoice.customer_id, amount, [invoice.id])

    @rule(who=st.integers(0, 1), amount=AMOUNTS.map(lambda amount: amount + 1))
    def pay_everything_open(self, who: int, amount: int) -> None:
        customer = self.customers[who]
        bills = list(self.model.due[customer])
        rows = [Invoice(id=bill, customer_id=customer) for bill in reversed(bills)]
        payment = self.do(self.till.pay(amount, *rows, customer_id=customer))
        self.model.pay(payment.id, customer, amount, bills)

    @rule(invoice=invoices, most=AMOUNTS)
    def spend_from_the_wallet(self, invoice: Invoice, most: int) -> None:
        if invoice.id in self.model.void:
            return
        customer = invoice.customer_id
        payment = self.do(self.till.spend(most, invoice))
        amount = min(most, self.model.wallet[customer], self.model.due[customer][invoice.id])
        assert (payment.amount_minor if payment else 0) == amount
        if payment:
            self.model.spend(payment.id, customer, amount, [invoice.id])

    @rule(invoice=invoices)
    def void(self, invoice: Invoice) -> None:
        if invoice.id in self.model.void:
            with pytest.raises(DomainError):
                self.do(self.till.void(invoice))
            return
        self.do(self.till.void(invoice))
        self.model.take_back(invoice.customer_id, invoice.id)

    @rule(which=st.integers(0, 10), share=st.fractions(0, 1))
    def refund(self, which: int, share: Fraction) -> None:
        if not self.model.payments:
            return
        key = list(self.model.payments)[which % len(self.model.payments)]
        left, possible = self.model.payments[key].left, self.model.possible(key)
        amount = int(left * share) or 1
        if amount > possible:
            with pytest.raises(DomainError):
                self.do(self.till.refund(Payment(id=key), amount))
            return
        self.do(self.till.refund(Payment(id=key), amount))
        self.model.give_back(key, amount)

    @invariant()
    def the_books_agree_with_the_model(self) -> None:
        if not self.customers:
            return
        balances, findings, due = self.do(self._look())
        for customer in self.customers:
            expected = ledger.Balance(self.model.wallet[customer], sum(self.model.due[customer].values()))
            assert balances[customer] == expected
        assert due == {bill: minor for bills in self.model.due.values() for bill, minor in bills.items()}
        assert [finding for finding in findings if finding.broken] == []

    async def _look(self) -> tuple[dict[UUID, ledger.Balance], list[invariants.Finding], dict[UUID, int]]:
        bills = [bill for bills in self.model.due.values() for bill in bills]
        bills += self.model.void
        async with self.app.read(self.till.house.tenant.id) as session:
            balances = await ledger.balances(session, self.customers)
            rows = [await session.get_one(Invoice, bill) for bill in bills]
        due = {row.id: row.total_minor - row.paid_minor for row in rows if row.status is not InvoiceStatus.VOID}
        return balances, await invariants.check(self.owner), due

    def teardown(self) -> None:
        if self.customers:
            self.do(self.app.dispose())
            self.do(self.owner.dispose())
            self.do(_empty(self.dsns.superuser))
        self.runner.close()


async def _empty(dsn: str) -> None:
    # check-invariants looks at every tenant: without this each run would check all runs before it.
    connection = await asyncpg.connect(dsn)
    await connection.execute("SET session_replication_role = replica")
    for table in (
        "postings",
        "journals",
        "refunds",
        "allocations",
        "payments",
        "invoice_lines",
        "invoices",
        "customers",
    ):
        await connection.execute(f"DELETE FROM {table}")
    await connection.execute("DELETE FROM number_series; DELETE FROM sign_ins; DELETE FROM operators")
    await connection.execute("DELETE FROM tenants")
    await connection.close()


def test_books_stay_true(dsns: Dsns) -> None:
    machine = type("BooksOfThisTest", (Books,), {"dsns": dsns})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=5, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
