"""Commission along the tree of operators, with every figure written out, and against an oracle in fractions."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from ispgraph import clock, ids, invariants
from ispgraph.db import Database
from ispgraph.domain.billing import commissions, payments
from ispgraph.domain.errors import DomainError
from ispgraph.domain.models import (
    Account,
    AuditEntry,
    Customer,
    Invoice,
    Journal,
    Operator,
    Payment,
    Posting,
    Role,
)
from ispgraph.domain.permissions import DEFAULTS
from tests.api import Api
from tests.billing.conftest import Till
from tests.billing.resellers import END_RATE, RATES, Tree, opr
from tests.factories import House
from tests.statements import counted
from tests.wizard import faults

NOTHING = ("0.00", "0.00", "0.00")


@pytest.fixture
async def tree(api: Api, till: Till) -> Tree:
    return await Tree.grow(api, till)


@pytest.fixture
async def paid_tree(tree: Tree) -> Tree:
    """The reseller has 5 %, the sub-operator 10 %, the seller 2.5 %."""
    for operator, percent in ((tree.reseller, 5), (tree.sub, 10), (tree.seller, "2.5")):
        assert faults(await tree.rate(operator, percent=percent)) == []
    return tree


async def sound(owner: Database) -> None:
    """check-invariants finds nothing."""
    assert [finding for finding in await invariants.check(owner) if finding.broken] == []


# ---------------------------------------------------------------------------------------------- by the book


async def test_each_earns_by_an_own_rate_of_what_is_paid_without_tax(paid_tree: Tree, owner: Database) -> None:
    tree, till = paid_tree, paid_tree.till
    customer = await tree.customer(tree.seller)
    invoice = await till.bill(customer.id, 10_000, rate="15")
    assert await tree.wallets() == NOTHING
    first = await till.pay(5_750, invoice)
    # Half of 115.00, of which 50.00 are without tax.
    assert await tree.wallets() == ("2.50", "5.00", "1.25")
    rest = await till.pay(7_000, invoice)
    # 57.50 settle the rest; 12.50 are in the wallet and earn nothing yet.
    assert await tree.wallets() == ("5.00", "10.00", "2.50")
    await till.refund(first, 1_150)
    assert await tree.wallets() == ("4.50", "9.00", "2.25")
    await till.refund(rest, 1_250)
    assert await tree.wallets() == ("4.50", "9.00", "2.25")
    await till.refund(rest)
    assert await tree.wallets() == ("2.00", "4.00", "1.00")
    await till.void(invoice)
    assert await tree.wallets() == NOTHING
    await sound(owner)


async def test_what_a_credit_note_gives_back_earns_where_it_is_spent(paid_tree: Tree, owner: Database) -> None:
    tree, till = paid_tree, paid_tree.till
    customer = await tree.customer(tree.seller)
    invoice = await till.bill(customer.id, 10_000, rate="15")
    await till.pay(11_500, invoice)
    assert await tree.wallets() == ("5.00", "10.00", "2.50")
    document = """mutation ($id: ID!) { invoiceCredit(invoiceId: $id, amount: "57.50", reason: "An outage") {
      invoice { id } errors { message } } }"""
    given = await tree.api.data(document, till.house.admin, id=ids.encode("inv", invoice.id))
    assert given["invoiceCredit"]["errors"] == []
    assert await tree.wallets() == ("2.50", "5.00", "1.25")
    await sound(owner)
    await till.spend(5_750, await till.bill(customer.id, 5_000, rate="15"))
    assert await tree.wallets() == ("5.00", "10.00", "2.50")
    await sound(owner)
    await sound(owner)


async def test_the_ledger_says_who_earned_what_by_which_payment(paid_tree: Tree) -> None:
    tree, till = paid_tree, paid_tree.till
    invoice = await till.bill((await tree.customer(tree.sub)).id, 20_000)
    payment = await till.pay(20_000, invoice)
    refund = await till.refund(payment, 10_000)
    async with till.database.read(till.house.tenant.id) as session:
        rows = await session.execute(
            select(Journal.description, Posting.account, Posting.operator_id, Posting.amount_minor)
            .join(Posting, Posting.journal_id == Journal.id)
            .where(Journal.description.startswith("Commission"))
            .order_by(Journal.id, Posting.amount_minor)
        )
        found = [tuple(row) for row in rows]
        journals = await session.scalars(
            select(Journal).where(Journal.description.startswith("Commission")).order_by(Journal.id)
        )
        causes = [(row.invoice_id, row.payment_id, row.refund_id, row.by_id) for row in journals]
    on, back = f"Commission on {invoice.number}", f"Commission on {invoice.number} taken back"
    assert found == [
        (on, Account.OPERATOR_WALLET, tree.sub.id, -2_000),
        (on, Account.OPERATOR_WALLET, tree.reseller.id, -1_000),
        (on, Account.COMMISSION, None, 3_000),
        (back, Account.COMMISSION, None, -1_500),
        (back, Account.OPERATOR_WALLET, tree.reseller.id, 500),
        (back, Account.OPERATOR_WALLET, tree.sub.id, 1_000),
    ]
    who = till.by.operator_id
    assert causes == [(invoice.id, payment.id, None, who), (invoice.id, payment.id, refund.id, who)]


async def test_money_of_the_wallet_earns_when_it_is_spent_and_once(paid_tree: Tree, owner: Database) -> None:
    tree, till = paid_tree, paid_tree.till
    customer = await tree.customer(tree.seller)
    await till.pay(30_000, customer_id=customer.id)
    assert await tree.wallets() == NOTHING
    first, second = await till.bill(customer.id, 10_000), await till.bill(customer.id, 20_000)
    await till.spend(30_000, first)
    assert await tree.wallets() == ("5.00", "10.00", "2.50")
    # Taken back it is in the wallet again, and earns by what it settles then.
    await till.void(first)
    assert await tree.wallets() == NOTHING
    spent = await till.spend(30_000, second)
    assert spent is not None
    assert await tree.wallets() == ("10.00", "20.00", "5.00")
    await till.refund(spent, 5_000)
    assert await tree.wallets() == ("7.50", "15.00", "3.75")
    await sound(owner)


async def test_one_payment_for_many_invoices(paid_tree: Tree, owner: Database) -> None:
    tree, till = paid_tree, paid_tree.till
    customer = await tree.customer(tree.seller)
    bills = [await till.bill(customer.id, price, rate="20") for price in (1_000, 2_000, 3_000)]
    await till.pay(6_600, *bills)
    # 10.00, 20.00 and 25.00 without tax.
    assert await tree.wallets() == ("2.75", "5.50", "1.38")
    await till.void(bills[1])
    assert await tree.wallets() == ("1.75", "3.50", "0.88")
    await sound(owner)


async def test_small_parts_come_to_the_same(paid_tree: Tree, owner: Database) -> None:
    tree, till = paid_tree, paid_tree.till
    invoice = await till.bill((await tree.customer(tree.seller)).id, 100, rate="10")
    parts = [await till.pay(10, invoice) for _ in range(11)]
    # 0.05, 0.10 and 0.025 of 1.00, though no part earns the seller half a unit.
    assert await tree.wallets() == ("0.05", "0.10", "0.03")
    for part in parts[:10]:
        await till.refund(part)
    # Of 0.0909… without tax.
    assert await tree.wallets() == ("0.00", "0.01", "0.00")
    await till.refund(parts[10])
    assert await tree.wallets() == NOTHING
    await sound(owner)


async def test_the_rate_for_the_package_goes_before_the_general_one(tree: Tree, owner: Database) -> None:
    house = tree.till.house
    small, large = await house.package("Small"), await house.package("Large")
    customer = await tree.customer(tree.sub)
    lines = [await tree.service(customer, package, primary=package is small) for package in (small, large)]
    await tree.rate(tree.sub, percent="10")
    await tree.rate(tree.sub, packageId=ids.encode("pkg", large.id), percent="12.345")
    await tree.rate(tree.reseller, packageId=ids.encode("pkg", large.id), fixed="3.00")
    await tree.till.pay(10_000, await tree.bill(lines[0], 10_000))
    assert await tree.wallets() == ("0.00", "10.00", "0.00")
    await tree.till.pay(10_000, await tree.bill(lines[1], 10_000))
    assert await tree.wallets() == ("3.00", "22.35", "0.00")
    ended = await tree.ask(END_RATE, input={"operatorId": opr(tree.sub), "packageId": ids.encode("pkg", large.id)})
    assert faults(ended) == []
    await tree.till.pay(10_000, await tree.bill(lines[1], 10_000))
    assert await tree.wallets() == ("6.00", "32.35", "0.00")
    await tree.rate(tree.sub, packageId=ids.encode("pkg", large.id), percent="0")
    await tree.till.pay(10_000, await tree.bill(lines[1], 10_000))
    assert await tree.wallets() == ("9.00", "32.35", "0.00")
    await sound(owner)


async def test_a_fixed_amount_is_earned_as_the_invoice_of_a_service_is_paid(tree: Tree, owner: Database) -> None:
    customer = await tree.customer(tree.sub)
    line = await tree.service(customer, await tree.till.house.package())
    await tree.rate(tree.sub, fixed="9.99")
    invoice = await tree.bill(line, 10_000, rate="15")
    payment = await tree.till.pay(5_750, invoice)
    assert await tree.wallets() == ("0.00", "5.00", "0.00")
    await tree.till.pay(5_750, invoice)
    assert await tree.wallets() == ("0.00", "9.99", "0.00")
    await tree.till.refund(payment, 3_833)
    # Two thirds are paid still: 6.66018 of 9.99.
    assert await tree.wallets() == ("0.00", "6.66", "0.00")
    # Not of what is no service, and never more than there is without tax.
    await tree.till.pay(10_000, await tree.till.bill(customer.id, 10_000))
    assert await tree.wallets() == ("0.00", "6.66", "0.00")
    await tree.till.pay(575, await tree.bill(line, 500, rate="15"))
    assert await tree.wallets() == ("0.00", "11.66", "0.00")
    await sound(owner)


async def test_a_rate_holds_from_its_moment_on(tree: Tree, owner: Database, moved_clock: None) -> None:
    clock.set_clock("2027-01-10T12:00:00Z")
    await tree.rate(tree.sub, percent="10")
    await tree.rate(tree.sub, percent="20", validFrom="2027-02-01T00:00:00+06:00")
    customer = await tree.customer(tree.sub)
    invoice = await tree.till.bill(customer.id, 30_000)
    early = await tree.till.pay(10_000, invoice)
    clock.set_clock("2027-01-31T17:59:59Z")
    await tree.till.pay(10_000, invoice)
    assert await tree.wallets() == ("0.00", "20.00", "0.00")
    clock.set_clock("2027-01-31T18:00:00Z")
    late = await tree.till.pay(10_000, invoice)
    assert await tree.wallets() == ("0.00", "40.00", "0.00")
    # What is given back takes what it had earned, by the rate of its own day.
    await tree.till.refund(early)
    assert await tree.wallets() == ("0.00", "30.00", "0.00")
    await tree.till.refund(late)
    assert await tree.wallets() == ("0.00", "10.00", "0.00")
    seen = (await tree.ask(RATES, operator=opr(tree.sub)))["nodes"]
    assert [(row["percent"], row["inForce"]) for row in seen] == [("20", True), ("10", False)]
    await sound(owner)


async def test_of_two_rates_from_the_same_moment_the_later_said_counts(tree: Tree, moved_clock: None) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(hours=24)).isoformat()
    for percent in ("40", "30", "20"):
        await tree.rate(tree.sub, percent=percent, validFrom=tomorrow)
    clock.set_clock("+90000")
    await tree.till.pay(100, await tree.till.bill((await tree.customer(tree.sub)).id, 100))
    assert await tree.wallets() == ("0.00", "0.20", "0.00")


async def test_without_rates_nothing_is_earned(tree: Tree, owner: Database) -> None:
    await tree.rate(tree.rival, percent="50")
    await tree.till.pay(1_000, await tree.till.bill((await tree.customer(tree.seller)).id, 1_000))
    async with tree.till.database.read(tree.till.house.tenant.id) as session:
        accounts = set(await session.scalars(select(Posting.account)))
    assert accounts == {Account.RECEIVABLE, Account.REVENUE, Account.CASH}
    await sound(owner)


async def test_many_payments_at_once(paid_tree: Tree, owner: Database) -> None:
    """As a run that settles the invoices of many customers has it."""
    tree, till = paid_tree, paid_tree.till
    customers = [await tree.customer(who) for who in (tree.seller, tree.sub, tree.reseller, tree.rival)]
    taken = []
    async with till.database.transaction(till.house.tenant.id) as session:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(commissions, "accrue", _later)
            for customer in customers:
                taken.append(await till.take(session, 1_000, await till.bill(customer.id, 1_000)))
        with counted(till.database) as seen:
            await commissions.accrue(session, taken, by=None)
    # Not one more for each payment.
    assert len(seen) <= 9, seen
    assert await tree.wallets() == ("1.50", "2.00", "0.25")
    await sound(owner)


async def _later(*_arguments: Any, **_named: Any) -> None:
    return None


# ---------------------------------------------------------------------------------------- against an oracle

_STEP = st.one_of(
    st.tuples(st.just("pay"), st.integers(1, 5_000), st.sampled_from([0, 1])),
    st.tuples(st.just("spend"), st.integers(1, 5_000), st.sampled_from([0, 1])),
    st.tuples(st.just("refund"), st.integers(1, 5_000), st.integers(0, 9)),
    st.tuples(st.just("void"), st.just(0), st.sampled_from([0, 0, 0, 1])),
    st.tuples(st.just("rate"), st.integers(0, 100_000), st.sampled_from([0, 1, 2])),
    st.tuples(st.just("fixed"), st.integers(1, 3_000), st.sampled_from([0, 1, 2])),
)


def _half_up(exact: Decimal) -> int:
    return int(exact.quantize(Decimal(1), ROUND_HALF_UP))


class Oracle:
    """What each has earned, worked out anew from the allocations in the database and the rates noted beside them."""

    def __init__(self) -> None:
        self.rates: dict[Any, Decimal | int] = {}
        self.noted: dict[Any, dict[Any, Decimal | int]] = {}

    async def wallets(self, till: Till, chain: list[Operator]) -> list[int]:
        async with till.database.read(till.house.tenant.id) as session:
            rows = (
                await session.execute(
                    select(payments.Allocation, Invoice).join(Invoice, Invoice.id == payments.Allocation.invoice_id)
                )
            ).all()
        for row, _ in rows:
            self.noted.setdefault(row.id, dict(self.rates))
        sums = [0] * len(chain)
        for place, operator in enumerate(chain):
            by_invoice: dict[Any, Decimal] = {}
            for row, invoice in rows:
                rate = self.noted[row.id].get(operator.id)
                if rate is None:
                    continue
                part = Decimal(row.amount_minor - row.released_minor) / invoice.total_minor
                whole = (
                    rate * invoice.subtotal_minor / 100
                    if isinstance(rate, Decimal)
                    else Decimal(min(rate, invoice.subtotal_minor))
                )
                by_invoice[invoice.id] = by_invoice.get(invoice.id, Decimal(0)) + part * whole
            sums[place] = sum(_half_up(round(exact, 20)) for exact in by_invoice.values())
        return sums


_SHARES = st.lists(
    st.builds(
        commissions.Share,
        left_minor=st.integers(0, 10**6),
        percent=st.none() | st.decimals(0, 100, places=3),
        fixed_minor=st.none() | st.integers(1, 10**6),
    ),
    max_size=6,
)


@given(shares=_SHARES, net=st.integers(0, 10**6), tax=st.integers(0, 10**6))
def test_what_is_earned_is_rounded_once(shares: list[commissions.Share], net: int, tax: int) -> None:
    total = max(net + tax, 1)
    with localcontext() as context:
        context.prec = 80
        exact = Decimal(0)
        for share in shares:
            rate = Decimal(min(share.fixed_minor, net)) if share.fixed_minor is not None else None
            rate = (share.percent or 0) * net / Decimal(100) if rate is None else rate
            exact += rate * share.left_minor / total
        assert abs(commissions.earned_minor(shares, net, total) - exact) <= Decimal("0.5")
    whole = [commissions.Share(total, share.percent, share.fixed_minor) for share in shares[:1]]
    halves = [
        commissions.Share(part, share.percent, share.fixed_minor)
        for share in shares[:1]
        for part in (total // 2, total - total // 2)
    ]
    assert commissions.earned_minor(whole, net, total) == commissions.earned_minor(halves, net, total)


@pytest.mark.long
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    prices=st.tuples(st.integers(1, 5_000), st.integers(1, 5_000)),
    tax=st.sampled_from(["0", "7.5", "15", "33.333"]),
    steps=st.lists(_STEP, min_size=4, max_size=9),
)
async def test_accrual_and_reversal_are_exact(
    api: Api, till: Till, owner: Database, prices: tuple[int, int], tax: str, steps: list[tuple[str, int, int]]
) -> None:
    tree = await Tree.grow(api, till)
    chain = [tree.reseller, tree.sub, tree.seller]
    customer = await tree.customer(tree.seller)
    line = await tree.service(customer, await till.house.package(f"Package {ids.uuid7()}"))
    bills = [await tree.bill(line, price, tax) for price in prices]
    oracle, taken = Oracle(), []
    for operator, percent in zip(chain, ("5", "12.345", "0.5"), strict=True):
        await tree.rate(operator, percent=percent)
        oracle.rates[operator.id] = Decimal(percent)
    with localcontext() as context:
        context.prec = 60
        for verb, amount, which in steps:
            if verb == "rate":
                percent = Decimal(amount) / 1_000
                await tree.rate(chain[which], percent=str(percent))
                oracle.rates[chain[which].id] = percent
            elif verb == "fixed":
                await tree.rate(chain[which], fixed=str(Decimal(amount) / 100))
                oracle.rates[chain[which].id] = amount
            else:
                taken += await _attempt(tree, customer, bills, taken, verb, amount, which)
            expected = await oracle.wallets(till, chain)
            assert [int(Decimal(held) * 100) for held in await tree.wallets()] == expected
        for invoice in bills:
            await _refused(lambda invoice=invoice: till.void(invoice))
    assert await tree.wallets() == NOTHING
    await sound(owner)


async def _attempt(
    tree: Tree, customer: Customer, bills: list[Invoice], taken: list[Payment], verb: str, amount: int, which: int
) -> list[Payment]:
    """Do it, or be refused; the payment that came of it, if one did."""
    till = tree.till
    if verb == "pay":
        live = [row for row in await till.again(bills) if row.status.value in ("OPEN", "PARTIALLY_PAID")]
        return [await till.pay(amount, *live[which : which + 1], customer_id=customer.id)]
    if verb == "spend":
        live = [row for row in await till.again(bills) if row.status.value in ("OPEN", "PARTIALLY_PAID")]
        spent = await till.spend(amount, *live) if live else None
        return [spent] if spent else []
    if verb == "refund" and taken:
        await _refused(lambda: till.refund(taken[which % len(taken)], amount))
    if verb == "void":
        await _refused(lambda: till.void(bills[which]))
    return []


async def _refused(work: Callable[[], Any]) -> None:
    """Whatever is not possible just now is left."""
    with contextlib.suppress(DomainError):
        await work()


# -------------------------------------------------------------------------------------------------- at once


async def test_two_payments_at_once_earn_once_for_each(paid_tree: Tree, owner: Database) -> None:
    tree, till = paid_tree, paid_tree.till
    customer = await tree.customer(tree.seller)
    for _ in range(3):
        invoice = await till.bill(customer.id, 1_001, rate="15")
        barrier = asyncio.Barrier(2)

        async def pay(invoice: Invoice = invoice, barrier: asyncio.Barrier = barrier) -> None:
            async with till.database.transaction(till.house.tenant.id) as session:
                stale = await session.get_one(Invoice, invoice.id)
                await barrier.wait()
                await till.take(session, 700, stale)

        await asyncio.gather(pay(), pay())
        await till.void(invoice)
    assert await tree.wallets() == NOTHING
    await sound(owner)


# ---------------------------------------------------------------------------------------- who may say what


async def test_who_may_set_rates(tree: Tree, other_house: House) -> None:
    everything = sorted(permission.value for permission in DEFAULTS[Role.ADMIN])
    mighty = await tree.till.house.operator(Role.OPERATOR, permissions=everything)
    below = await tree.till.house.operator(Role.SUB_OPERATOR, mighty)
    # Commission is the provider's money: a reseller grants none, neither below nor to oneself.
    assert faults(await tree.rate(below, mighty, percent="10")) == [("NOT_PERMITTED", "input.operatorId")]
    assert faults(await tree.rate(mighty, mighty, percent="10")) == [("NOT_PERMITTED", "input.operatorId")]
    assert faults(await tree.rate(tree.rival, mighty, percent="10")) == [("NOT_FOUND", "input.operatorId")]
    assert faults(await tree.rate(other_house.admin, percent="10")) == [("NOT_FOUND", "input.operatorId")]
    assert faults(await tree.rate(tree.admin, percent="10")) == [("NOT_PERMITTED", "input.operatorId")]
    manager = await tree.till.house.operator(Role.MANAGER, permissions=everything)
    assert faults(await tree.rate(tree.sub, manager, percent="10")) == [("NOT_PERMITTED", "input.operatorId")]
    answer = await tree.api(
        "mutation ($i: CommissionRateInput!) { commissionRateSet(input: $i) { errors { code } } }",
        await tree.till.house.operator(Role.ACCOUNTANT),
        i={"operatorId": opr(tree.sub), "percent": 1},
    )
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert (await tree.ask(RATES))["totalCount"] == 0


BAD_RATES: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({}, [("INVALID", "input.percent")]),
    ({"percent": "5", "fixed": "1"}, [("INVALID", "input.percent")]),
    ({"percent": "-1"}, [("INVALID", "input.percent")]),
    ({"percent": "-0.001"}, [("INVALID", "input.percent")]),
    ({"percent": "100.001"}, [("INVALID", "input.percent")]),
    ({"percent": "1.0005"}, [("INVALID", "input.percent")]),
    ({"fixed": "0"}, [("INVALID", "input.fixed")]),
    ({"fixed": "-0"}, [("INVALID", "input.fixed")]),
    ({"fixed": "-1"}, [("INVALID", "input.fixed")]),
    ({"fixed": "0.001"}, [("INVALID", "input.fixed")]),
    ({"fixed": "999999999999999999"}, [("INVALID", "input.fixed")]),
    ({"percent": "5", "validFrom": "2020-01-01T00:00:00Z"}, [("INVALID", "input.validFrom")]),
    ({"percent": "5", "packageId": "pkg_" + "0" * 32}, [("NOT_FOUND", "input.packageId")]),
    ({"percent": "5", "packageId": "tax_" + "0" * 32}, [("NOT_FOUND", "input.packageId")]),
    ({"percent": "5", "operatorId": "opr_" + "0" * 32}, [("NOT_FOUND", "input.operatorId")]),
    ({"percent": "5", "operatorId": "nonsense"}, [("NOT_FOUND", "input.operatorId")]),
    (
        {"percent": "101", "fixed": "-1", "packageId": "pkg_" + "0" * 32},
        [
            ("INVALID", "input.percent"),
            ("INVALID", "input.percent"),
            ("INVALID", "input.fixed"),
            ("NOT_FOUND", "input.packageId"),
        ],
    ),
    ({"percent": "5", "idempotencyKey": ""}, [("INVALID", "input.idempotencyKey")]),
]


async def test_rates_that_are_none_are_named(tree: Tree) -> None:
    for given_, expected in BAD_RATES:
        assert faults(await tree.rate(tree.sub, **given_)) == expected, given_
    for text in ("NaN", "1e309", "1E+5", "Infinity", "1,5", "٥", "", " ", "0x5", "5 %"):
        for name in ("percent", "fixed"):
            answer = await tree.api(
                "mutation ($i: CommissionRateInput!) { commissionRateSet(input: $i) { errors { code } } }",
                tree.admin,
                i={"operatorId": opr(tree.sub), name: text},
            )
            assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST", (name, text)
    assert faults(await tree.ask(END_RATE, input={"operatorId": opr(tree.sub)})) == [
        ("INVALID_STATE", "input.packageId")
    ]
    assert (await tree.ask(RATES))["totalCount"] == 0


async def test_a_rate_is_said_once_for_a_key_and_is_on_record(tree: Tree, moved_clock: None) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    first = await tree.rate(tree.sub, percent="5", validFrom=soon, idempotencyKey="a")
    clock.set_clock("+7200")
    # By now it would be in the past.
    again = await tree.rate(tree.sub, percent="5.0", validFrom=soon, idempotencyKey="a")
    assert again["commissionRate"]["id"] == first["commissionRate"]["id"]
    clock.set_clock("")
    assert faults(await tree.rate(tree.sub, percent="6", validFrom=soon, idempotencyKey="a")) == [
        ("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")
    ]
    await tree.rate(tree.sub, fixed="1.20")
    await tree.ask(END_RATE, input={"operatorId": opr(tree.sub), "idempotencyKey": "b"})
    assert faults(await tree.ask(END_RATE, input={"operatorId": opr(tree.sub), "idempotencyKey": "b"})) == []
    assert faults(await tree.ask(END_RATE, input={"operatorId": opr(tree.sub)})) == [
        ("INVALID_STATE", "input.packageId")
    ]
    async with tree.till.database.read(tree.till.house.tenant.id) as session:
        entries = (await session.scalars(select(AuditEntry).order_by(AuditEntry.id))).all()
    assert [(row.action, row.subject_id, row.details["percent"], row.details["fixed_minor"]) for row in entries] == [
        ("commission_rate.set", tree.sub.id, "5", None),
        ("commission_rate.set", tree.sub.id, None, 120),
        ("commission_rate.end", tree.sub.id, None, None),
    ]


async def test_one_sees_the_rates_of_oneself_and_of_those_below(paid_tree: Tree, other_house: House) -> None:
    tree = paid_tree
    await tree.rate(tree.rival, percent="1")
    chain = {opr(tree.reseller): "5", opr(tree.sub): "10", opr(tree.seller): "2.5", opr(tree.rival): "1"}
    accountant = await tree.till.house.operator(Role.ACCOUNTANT)
    clerk = await tree.till.house.operator(Role.STAFF)
    for who, seen in (
        (tree.admin, [tree.reseller, tree.sub, tree.seller, tree.rival]),
        (accountant, [tree.reseller, tree.sub, tree.seller, tree.rival]),
        (tree.reseller, [tree.reseller, tree.sub, tree.seller]),
        (tree.sub, [tree.sub, tree.seller]),
        (tree.seller, [tree.seller]),
        (clerk, []),
        (other_house.admin, []),
    ):
        nodes = (await tree.ask(RATES, who))["nodes"]
        assert {row["operator"]["id"]: row["percent"] for row in nodes} == {
            opr(each): chain[opr(each)] for each in seen
        }
    found = await tree.ask(RATES, tree.reseller, operator=opr(tree.sub), first=1)
    assert (found["totalCount"], found["nodes"][0]["percent"]) == (1, "10")
    assert (await tree.ask(RATES, tree.reseller, operator=opr(tree.rival)))["nodes"] == []
