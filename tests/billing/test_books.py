"""A random walk of billing and paying beside a model of a few dictionaries: they agree after every step."""

import asyncio
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from ispgraph import invariants
from ispgraph.db import Database
from ispgraph.domain.billing import ledger
from ispgraph.domain.models import Invoice
from tests import factories
from tests.billing.conftest import Till
from tests.conftest import Dsns

AMOUNTS = st.integers(0, 1_000) | st.integers(0, 9 * 10**12)


@dataclass
class Model:
    """What should be true, without a ledger: what is open of each invoice by age, and the wallet of each customer."""

    due: dict[UUID, dict[UUID, int]] = field(default_factory=dict)
    wallet: dict[UUID, int] = field(default_factory=dict)

    def pay(self, customer: UUID, amount: int, bills: list[UUID]) -> None:
        """Oldest first; the rest is credit."""
        for bill in [bill for bill in self.due[customer] if bill in bills]:
            part = min(amount, self.due[customer][bill])
            self.due[customer][bill] -= part
            amount -= part
        self.wallet[customer] += amount


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
        due = self.model.due[invoice.customer_id][invoice.id]
        amount = {"full": due, "part": due // 2, "over": due + extra}[how] or 1
        self.do(self.till.pay(amount, invoice))
        self.model.pay(invoice.customer_id, amount, [invoice.id])

    @rule(who=st.integers(0, 1), amount=AMOUNTS.map(lambda amount: amount + 1))
    def pay_everything_open(self, who: int, amount: int) -> None:
        customer = self.customers[who]
        bills = list(self.model.due[customer])
        rows = [Invoice(id=bill, customer_id=customer) for bill in reversed(bills)]
        self.do(self.till.pay(amount, *rows, customer_id=customer))
        self.model.pay(customer, amount, bills)

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
        async with self.app.read(self.till.house.tenant.id) as session:
            balances = await ledger.balances(session, self.customers)
            rows = [await session.get_one(Invoice, bill) for bill in bills]
        return balances, await invariants.check(self.owner), {r.id: r.total_minor - r.paid_minor for r in rows}

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
    for table in ("postings", "journals", "allocations", "payments", "invoice_lines", "invoices", "customers"):
        await connection.execute(f"DELETE FROM {table}")
    await connection.execute("DELETE FROM number_series; DELETE FROM sign_ins; DELETE FROM operators")
    await connection.execute("DELETE FROM tenants")
    await connection.close()


def test_books_stay_true(dsns: Dsns) -> None:
    machine = type("BooksOfThisTest", (Books,), {"dsns": dsns})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
