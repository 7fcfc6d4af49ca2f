"""The balance row of a customer follows the postings by itself, whoever posts, and nobody else can write it."""

import asyncio
import random
from uuid import UUID

import pytest
from sqlalchemy import delete, select, text
from sqlalchemy.exc import ProgrammingError

from ispgraph import ids, invariants
from ispgraph.db import Database
from ispgraph.domain.models import Customer, CustomerBalance, Journal
from tests.billing.conftest import Till
from tests.factories import House

Row = tuple[int, int, int]


async def rows(till: Till) -> dict[UUID, Row]:
    """Receivable, wallet and balance of every customer of the house."""
    async with till.database.read(till.house.tenant.id) as session:
        found = await session.scalars(select(CustomerBalance))
        return {row.customer_id: (row.receivable_minor, row.wallet_minor, row.balance_minor) for row in found}


async def post(till: Till, *moves: tuple[UUID, int]) -> None:
    """One journal, in one statement, that moves so much into the customers' wallets."""
    journal = Journal(id=ids.uuid7(), description="Moves")
    await till.house.add(journal)
    async with till.database.transaction(till.house.tenant.id) as session:
        await session.execute(
            text("""INSERT INTO postings (id, tenant_id, journal_id, account, customer_id, amount_minor)
                    SELECT gen_random_uuid(), :tenant, :journal, account, customer_id, minor
                      FROM (SELECT 'WALLET', m.customer_id, -m.minor
                              FROM unnest(CAST(:customers AS uuid[]), CAST(:minors AS bigint[])) m (customer_id, minor)
                             UNION ALL SELECT 'ADJUSTMENT', NULL, :total) a (account, customer_id, minor)"""),
            {
                "tenant": till.house.tenant.id,
                "journal": journal.id,
                "customers": [customer for customer, _ in moves],
                "minors": [minor for _, minor in moves],
                "total": sum(minor for _, minor in moves),
            },
        )


async def test_a_customer_begins_with_nothing(till: Till) -> None:
    customer = await till.customer()
    assert await rows(till) == {customer.id: (0, 0, 0)}


async def test_invoices_and_payments_move_the_balance(till: Till) -> None:
    customer, bystander = await till.customer(), await till.customer()
    bill = await till.bill(customer.id, 100, rate="10")
    assert (await rows(till))[customer.id] == (110, 0, -110)
    await till.pay(60, bill)
    assert (await rows(till))[customer.id] == (50, 0, -50)
    await till.pay(80, bill)
    assert (await rows(till))[customer.id] == (0, 30, 30)
    assert (await rows(till))[bystander.id] == (0, 0, 0)


async def test_a_rolled_back_payment_leaves_no_trace(till: Till) -> None:
    customer = await till.customer()
    async with till.database.transaction(till.house.tenant.id) as session:
        await till.take(session, 500, customer_id=customer.id)
        await session.rollback()
    assert (await rows(till))[customer.id] == (0, 0, 0)


async def test_many_postings_in_one_statement(till: Till) -> None:
    one, two, bystander = [(await till.customer()).id for _ in range(3)]
    await post(till, (one, 5), (two, -7), (one, 6), (one, -1))
    assert await rows(till) == {one: (0, 10, 10), two: (0, -7, -7), bystander: (0, 0, 0)}


async def test_payments_at_once_are_all_counted(till: Till) -> None:
    customer = await till.customer()
    bill = await till.bill(customer.id, 1000)
    amounts = range(100, 116)
    settling = {amount: [bill] if amount % 2 else [] for amount in amounts}
    await asyncio.gather(*(till.pay(amount, *settling[amount], customer_id=customer.id) for amount in amounts))
    receivable, wallet, balance = (await rows(till))[customer.id]
    assert balance == wallet - receivable == sum(amounts) - 1000


async def test_journals_over_the_same_customers_do_not_lock_each_other_out(till: Till, owner: Database) -> None:
    customers = [(await till.customer()).id for _ in range(4)]
    # Each journal names the customers in an order of its own; their balances are taken in one.
    orders = [random.sample(customers, len(customers)) for _ in range(12)]
    await asyncio.gather(*(post(till, *((customer, 5) for customer in order)) for order in orders))
    assert set((await rows(till)).values()) == {(0, 60, 60)}
    assert [finding for finding in await invariants.check(owner) if finding.broken] == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE customer_balances SET wallet_minor = 1000000",
        "DELETE FROM customer_balances",
        "TRUNCATE customer_balances",
        "INSERT INTO customer_balances (tenant_id, customer_id, receivable_minor, wallet_minor)"
        " SELECT tenant_id, id, 0, 5 FROM customers",
    ],
)
async def test_the_application_cannot_write_balances(till: Till, statement: str) -> None:
    await till.customer()
    with pytest.raises(ProgrammingError, match="permission denied"):
        async with till.database.transaction(till.house.tenant.id) as session:
            await session.execute(text(statement))


async def test_another_tenants_balances_are_not_there(till: Till, other_house: House) -> None:
    await till.customer()
    async with till.database.read(other_house.tenant.id) as session:
        assert (await session.scalars(select(CustomerBalance))).all() == []


async def test_the_balance_goes_with_the_customer(till: Till) -> None:
    customer, kept = await till.customer(), await till.customer()
    async with till.database.transaction(till.house.tenant.id) as session:
        await session.execute(delete(Customer).where(Customer.id == customer.id))
    assert set(await rows(till)) == {kept.id}
