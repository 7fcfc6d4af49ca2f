"""Wallets put right by hand: what an adjustment writes, and that no wallet is overdrawn by any number at once."""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from ispgraph import ids, invariants
from ispgraph.db import Database
from ispgraph.domain import money
from ispgraph.domain.billing import adjustments, ledger
from ispgraph.domain.errors import DomainError, ErrorCode
from ispgraph.domain.models import Account, AuditEntry, Customer, Journal, Operator, Posting, Role
from ispgraph.domain.permissions import DEFAULTS
from tests import factories
from tests.api import Api
from tests.billing.conftest import Till
from tests.conftest import Dsns
from tests.factories import House
from tests.wizard import faults

ADJUST = """mutation ($input: AdjustBalanceInput!) { customerAdjustBalance(input: $input) {
  errors { code message field } customer { id version wallet { amount } balance { amount }
  ledger { nodes { account description debit { amount } credit { amount } balance { amount } } } } } }"""


@dataclass
class Hand:
    """One operator's hand on one customer's wallet."""

    api: Api
    operator: Operator
    customer: Customer

    async def adjust(self, amount: object, reason: str = "Goodwill", **given: Any) -> dict[str, Any]:
        """The payload of customerAdjustBalance."""
        named = {"customerId": ids.encode("cus", self.customer.id), "amount": amount, "reason": reason, **given}
        payload: dict[str, Any] = (await self.api.data(ADJUST, self.operator, input=named))["customerAdjustBalance"]
        return payload


@pytest.fixture
async def hand(api: Api, till: Till) -> Hand:
    """The admin's hand on the wallet of a new customer."""
    return Hand(api, till.house.admin, await till.customer())


async def held(till: Till, customer: Customer) -> ledger.Balance:
    """The customer's balance by the ledger."""
    async with till.database.read(till.house.tenant.id) as session:
        return (await ledger.balances(session, [customer.id]))[customer.id]


async def movements(till: Till) -> list[tuple[str, int]]:
    """Accounts and amounts of every posting, in order."""
    async with till.database.read(till.house.tenant.id) as session:
        rows = await session.scalars(select(Posting).order_by(Posting.id))
        return [(row.account.value, row.amount_minor) for row in rows]


async def test_in_and_out_of_the_wallet(till: Till, hand: Hand, owner: Database) -> None:
    payload = await hand.adjust("12.50", " Two days without service ")
    assert payload["errors"] == []
    assert payload["customer"]["wallet"] == payload["customer"]["balance"] == {"amount": "12.50"}
    payload = await hand.adjust("-12.5", "Given to the wrong customer")
    assert payload["errors"] == []
    assert payload["customer"]["wallet"] == payload["customer"]["balance"] == {"amount": "0.00"}
    assert payload["customer"]["version"] == 1
    assert payload["customer"]["ledger"]["nodes"] == [
        {
            "account": "WALLET",
            "description": "Adjustment: Given to the wrong customer",
            "debit": {"amount": "12.50"},
            "credit": None,
            "balance": {"amount": "0.00"},
        },
        {
            "account": "WALLET",
            "description": "Adjustment: Two days without service",
            "debit": None,
            "credit": {"amount": "12.50"},
            "balance": {"amount": "12.50"},
        },
    ]
    assert await movements(till) == [("WALLET", -1250), ("ADJUSTMENT", 1250), ("WALLET", 1250), ("ADJUSTMENT", -1250)]
    async with till.database.read(till.house.tenant.id) as session:
        journals = (await session.scalars(select(Journal).order_by(Journal.id))).all()
        entries = (await session.scalars(select(AuditEntry).order_by(AuditEntry.id))).all()
    assert {journal.by_id for journal in journals} == {till.house.admin.id}
    assert [(entry.action, entry.subject_id, entry.details) for entry in entries] == [
        (
            "customer.adjust_balance",
            hand.customer.id,
            {"journal": str(journal.id), "amount_minor": minor, "reason": journal.description.split(": ")[1]},
        )
        for journal, minor in zip(journals, (1250, -1250), strict=True)
    ]
    assert [finding for finding in await invariants.check(owner) if finding.broken] == []


async def test_a_debt_is_left_alone(till: Till, hand: Hand) -> None:
    await till.bill(hand.customer.id, 10_000)
    payload = await hand.adjust("30")
    assert payload["customer"]["wallet"] == {"amount": "30.00"}
    assert payload["customer"]["balance"] == {"amount": "-70.00"}
    assert await held(till, hand.customer) == ledger.Balance(3_000, 10_000)


@pytest.mark.parametrize(
    ("amount", "reason", "expected"),
    [
        ("0", "x", [("INVALID", "input.amount")]),
        ("0.00", "", [("INVALID", "input.amount"), ("REQUIRED", "input.reason")]),
        ("1.005", "x" * 256, [("INVALID", "input.amount"), ("INVALID", "input.reason")]),
        ("5", " \t ", [("REQUIRED", "input.reason")]),
        ("5", "a\u202eb", [("INVALID", "input.reason")]),
        ("-20.01", "x", [("INSUFFICIENT_FUNDS", "input.amount")]),
        ("90000000000000", "x", [("INVALID", "input.amount")]),
        ("90000000000000.01", "x", [("INVALID", "input.amount")]),
        ("-90000000000000", "x", [("INSUFFICIENT_FUNDS", "input.amount")]),
    ],
)
async def test_what_is_refused_changes_nothing(
    till: Till, hand: Hand, amount: str, reason: str, expected: list[tuple[str, str]]
) -> None:
    await till.pay(2_000, customer_id=hand.customer.id)
    before = await movements(till)
    payload = await hand.adjust(amount, reason, idempotencyKey="k")
    assert (faults(payload), payload["customer"]) == (expected, None)
    if amount.startswith("-"):
        assert payload["errors"][0]["message"] == "At most 20.00 USD can be taken from this wallet."
    assert await movements(till) == before
    # A refused attempt has not used the key up
    assert (await hand.adjust("-20", "x" * 255, idempotencyKey="k"))["customer"]["wallet"] == {"amount": "0.00"}


async def test_the_currency_says_how_many_decimals(api: Api, owner: Database, database: Database) -> None:
    house = await factories.house(owner, database, "yen", currency="JPY")
    hand = Hand(api, house.admin, await Till(house, await house.viewer()).customer())
    assert faults(await hand.adjust("0.5")) == [("INVALID", "input.amount")]
    assert (await hand.adjust(150))["customer"]["wallet"] == {"amount": "150"}
    refused = await hand.adjust(-151)
    assert refused["errors"][0]["message"] == "At most 150 JPY can be taken from this wallet."


async def test_the_same_key_moves_money_once(till: Till, hand: Hand) -> None:
    answers = await asyncio.gather(*(hand.adjust("5", idempotencyKey="k") for _ in range(8)))
    answers.append(await hand.adjust("5.00", " Goodwill ", idempotencyKey="k"))
    assert [answer["errors"] for answer in answers] == [[]] * 9
    assert {answer["customer"]["wallet"]["amount"] for answer in answers} == {"5.00"}
    other = Hand(hand.api, hand.operator, await till.customer())
    for again in (hand.adjust("6", idempotencyKey="k"), hand.adjust("5", "Else", idempotencyKey="k")):
        assert faults(await again) == [("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")]
    assert faults(await other.adjust("5", idempotencyKey="k")) == [("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")]
    assert await movements(till) == [("WALLET", -500), ("ADJUSTMENT", 500)]


async def test_twenty_debits_of_a_wallet_that_covers_five(till: Till, hand: Hand, owner: Database) -> None:
    await till.pay(5_000, customer_id=hand.customer.id)
    answers = await asyncio.gather(*(hand.adjust("-10", f"Debit {n}") for n in range(20)))
    refused = [faults(answer) for answer in answers if answer["errors"]]
    assert refused == [[("INSUFFICIENT_FUNDS", "input.amount")]] * 15
    assert await held(till, hand.customer) == ledger.Balance(0, 0)
    assert [finding for finding in await invariants.check(owner) if finding.broken] == []


async def test_whose_wallets_and_by_whom(api: Api, till: Till, house: House, other_house: House, hand: Hand) -> None:
    every = sorted(permission.value for permission in DEFAULTS[Role.ADMIN])
    sellers = [await house.operator(Role.OPERATOR, permissions=every) for _ in range(2)]
    for stranger in (*sellers, other_house.admin):
        payload = await Hand(api, stranger, hand.customer).adjust("5")
        assert faults(payload) == [("NOT_FOUND", "input.customerId")]
    assert faults(await Hand(api, house.admin, Customer(id=ids.uuid7())).adjust("5")) == [
        ("NOT_FOUND", "input.customerId")
    ]
    others = [name for name in every if name != "REFUND_PAYMENTS"]
    named = {"customerId": ids.encode("cus", hand.customer.id), "amount": "5", "reason": "x"}
    answer = await api(ADJUST, await house.operator(Role.MANAGER, permissions=others), input=named)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    assert await movements(till) == []
    accountant = await house.operator(Role.ACCOUNTANT)
    assert (await Hand(api, accountant, hand.customer).adjust("5"))["errors"] == []


AMOUNTS = st.integers(-50_000, 50_000) | st.integers(-money.LIMIT_MINOR - 1, money.LIMIT_MINOR + 1)


def test_wallets_follow_a_model(dsns: Dsns) -> None:
    # One runner for all examples: a pool belongs to its event loop
    with asyncio.Runner() as runner:
        app, owner = Database(dsns.app, pool_size=2), Database(dsns.owner, pool_size=1)
        house = runner.run(factories.house(owner, app, f"books-{secrets.token_hex(4)}"))
        till = Till(house, runner.run(house.viewer()))

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(AMOUNTS, min_size=1, max_size=12))
        @example([money.LIMIT_MINOR, 1, -money.LIMIT_MINOR, -1, 1])
        def walk(amounts: list[int]) -> None:
            runner.run(_walk(till, amounts))

        walk()
        findings = runner.run(invariants.check(owner))
        runner.run(app.dispose())
        runner.run(owner.dispose())
    assert [finding for finding in findings if finding.broken] == []


async def _walk(till: Till, amounts: list[int]) -> None:
    customer, wallet, moved = await till.customer(), 0, []
    for minor in amounts:
        refused = await _refused(till, customer, minor)
        if abs(minor) <= money.LIMIT_MINOR and 0 <= wallet + minor <= money.LIMIT_MINOR and minor != 0:
            assert refused == []
            wallet += minor
            moved.append(minor)
        else:
            lacking = abs(minor) <= money.LIMIT_MINOR and wallet + minor < 0
            code = ErrorCode.INSUFFICIENT_FUNDS if lacking else ErrorCode.INVALID
            assert refused == [(code, ("input", "amount"))]
    assert await held(till, customer) == ledger.Balance(wallet, 0)
    async with till.database.read(till.house.tenant.id) as session:
        rows = select(Posting).where(Posting.customer_id == customer.id).order_by(Posting.id)
        postings = (await session.scalars(rows)).all()
        balanced = select(Posting.amount_minor).where(
            Posting.journal_id.in_([posting.journal_id for posting in postings]), Posting.account == Account.ADJUSTMENT
        )
        assert [-posting.amount_minor for posting in postings] == moved
        assert sum(await session.scalars(balanced)) == wallet


async def _refused(till: Till, customer: Customer, minor: int) -> list[tuple[ErrorCode, tuple[str, ...] | None]]:
    try:
        async with till.database.transaction(till.house.tenant.id) as session:
            await adjustments.adjust(
                session,
                customer.id,
                amount=money.to_decimal(minor, "USD"),
                reason=f"By {minor}",
                idempotency_key=None,
                by=till.by,
            )
    except DomainError as error:
        return [(fault.code, fault.field) for fault in error.faults]
    return []
