"""Drafting and opening; numbers without gaps; nothing changes afterwards."""

import asyncio
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.db import Database
from ispgraph.domain.billing import invoices, ledger, numbers
from ispgraph.domain.errors import DomainError, ErrorCode
from ispgraph.domain.models import Account, Invoice, InvoiceLine, InvoiceStatus, Journal, Posting
from tests import factories
from tests.billing.conftest import Till
from tests.factories import House

OPENERS = 16


async def test_an_open_invoice_is_numbered_dated_and_summed(till: Till, moved_clock: None) -> None:
    # 20:00 UTC on New Year's Eve is next year in Dhaka
    clock.set_clock("2026-12-31T20:00:00Z")
    invoice = await till.bill((await till.customer()).id, 333, 1_000, rate="7.5")
    [stored] = await till.again([invoice])
    assert (stored.number, stored.issued_on, stored.due_on) == ("INV-2027-000001", date(2027, 1, 1), date(2027, 1, 8))
    assert (stored.subtotal_minor, stored.tax_minor, stored.total_minor) == (1_333, 100, 1_433)
    assert stored.status is InvoiceStatus.OPEN
    async with till.database.read(till.house.tenant.id) as session:
        lines = (await session.scalars(select(InvoiceLine).order_by(InvoiceLine.position))).all()
    assert [(row.position, row.amount_minor, row.tax_minor) for row in lines] == [(1, 333, 25), (2, 1_000, 75)]


async def test_nothing_to_pay_is_paid_at_once_and_not_posted(till: Till) -> None:
    invoice = await till.bill((await till.customer()).id, 0)
    assert (invoice.status, invoice.number is None) == (InvoiceStatus.PAID, False)
    async with till.database.read(till.house.tenant.id) as session:
        assert await session.scalar(select(func.count()).select_from(Journal)) == 0


async def test_only_a_draft_opens_and_only_once(till: Till) -> None:
    customer = await till.customer()
    async with till.database.transaction(till.house.tenant.id) as session:
        draft = await till.draft(session, customer.id, 100)
    barrier = asyncio.Barrier(2)

    async def opened() -> Invoice:
        async with till.database.transaction(till.house.tenant.id) as session:
            mine = await session.get_one(Invoice, draft.id)
            await barrier.wait()
            return await invoices.open(session, mine, tenant=till.house.tenant, at=clock.now(), by=till.by)

    first, second = await asyncio.gather(opened(), opened(), return_exceptions=True)
    refused = first if isinstance(first, BaseException) else second
    assert isinstance(refused, DomainError)
    assert refused.faults[0].code is ErrorCode.INVALID_STATE
    async with till.database.read(till.house.tenant.id) as session:
        assert (await ledger.balances(session, [customer.id]))[customer.id].receivable_minor == 100


async def test_a_draft_without_lines_or_below_zero_is_a_bug(till: Till) -> None:
    customer = await till.customer()
    async with till.database.transaction(till.house.tenant.id) as session:
        with pytest.raises(ValueError, match="lines"):
            await till.draft(session, customer.id)
        with pytest.raises(ValueError, match="below zero"):
            await till.draft(session, customer.id, -1)


async def test_many_openers_and_rollbacks_leave_no_gap(till: Till) -> None:
    # Given 16 writers, of which every third changes its mind after taking a number
    customer = await till.customer()
    wide = Database(till.database.engine.url.render_as_string(hide_password=False), pool_size=OPENERS)
    barrier = asyncio.Barrier(OPENERS)

    async def opener(turn: int) -> None:
        await barrier.wait()
        for attempt in range(3):
            try:
                async with wide.transaction(till.house.tenant.id) as session:
                    draft = await till.draft(session, customer.id, 100)
                    await invoices.open(session, draft, tenant=till.house.tenant, at=clock.now(), by=till.by)
                    if (turn + attempt) % 3 == 0:
                        raise _ChangedMind
            except _ChangedMind:
                continue

    await asyncio.gather(*(opener(turn) for turn in range(OPENERS)))
    await wide.dispose()
    async with till.database.read(till.house.tenant.id) as session:
        found = (await session.scalars(select(Invoice.number).order_by(Invoice.number))).all()
    assert len(found) == 2 * OPENERS
    assert [int(str(number)[-6:]) for number in found] == list(range(1, 2 * OPENERS + 1))


class _ChangedMind(Exception):
    pass


async def test_a_clock_that_went_back_does_not_break_the_order_of_issue(till: Till, moved_clock: None) -> None:
    customer = await till.customer()
    clock.set_clock("2026-05-02T00:00:00Z")
    await till.bill(customer.id, 100)
    clock.set_clock("2026-05-01T00:00:00Z")
    later = await till.bill(customer.id, 100)
    assert (later.number, later.issued_on) == ("INV-2026-000002", date(2026, 5, 2))


async def test_series_are_of_one_tenant(till: Till, other_house: House) -> None:
    await till.bill((await till.customer()).id, 100)
    other = Till(other_house, await other_house.viewer())
    invoice = await other.bill((await other.customer()).id, 100)
    assert str(invoice.number).endswith("-000001")
    assert numbers.invoice_number(2026, 1_234_567) == "INV-2026-1234567"


async def test_accounts_begin_at_100001(till: Till) -> None:
    assert [(await till.customer()).account_number for _ in range(2)] == ["100001", "100002"]


FINAL = [
    "UPDATE invoices SET total_minor = 1, subtotal_minor = 1",
    "UPDATE invoices SET notes = 'x'",
    "UPDATE invoices SET due_on = due_on + 1",
    "UPDATE invoices SET status = 'DRAFT', number = NULL",
    "DELETE FROM invoices",
    "TRUNCATE invoices CASCADE",
    'INSERT INTO invoice_lines SELECT (jsonb_populate_record(l, \'{"id":"00000000-0000-7000-8000-000000000001"}\')).*'
    " FROM invoice_lines l",
    "UPDATE invoice_lines SET amount_minor = 1",
    "DELETE FROM invoice_lines",
    "UPDATE payments SET amount_minor = 1",
    "UPDATE payments SET notes = 'x'",
    "DELETE FROM payments",
    "TRUNCATE payments CASCADE",
    *(
        f"{change} {table}{rest}"
        for table, column in (
            ("journals", "description = 'x'"),
            ("postings", "amount_minor = amount_minor + 1"),
            ("allocations", "amount_minor = amount_minor + 1"),
        )
        for change, rest in (("UPDATE", f" SET {column}"), ("DELETE FROM", ""), ("TRUNCATE", " CASCADE"))
    ),
]


@pytest.mark.parametrize("role", ["app", "owner"])
async def test_what_is_booked_stays_booked(role: str, database: Database, owner: Database, till: Till) -> None:
    await till.pay(60, await till.bill((await till.customer()).id, 100))
    for statement in FINAL:
        with pytest.raises(DBAPIError) as refused:
            async with (database if role == "app" else owner).transaction(till.house.tenant.id) as session:
                await session.execute(text(statement))
        # insufficient_privilege (the application has no grant), or restrict_violation (the trigger, for the owner)
        state = getattr(refused.value.orig, "sqlstate", None)
        assert state in (("42501", "23001") if role == "app" else ("23001",)), statement


async def test_a_journal_out_of_balance_does_not_commit(till: Till) -> None:
    customer = await till.customer()
    entries = [ledger.Entry(Account.RECEIVABLE, 5, customer_id=customer.id), ledger.Entry(Account.REVENUE, -5)]

    async def tamper() -> None:
        async with till.database.transaction(till.house.tenant.id) as session:
            journal = await _post(session, till, entries)
            session.add(
                Posting(tenant_id=journal.tenant_id, journal_id=journal.id, account=Account.REVENUE, amount_minor=1)
            )

    with pytest.raises(DBAPIError, match="out of balance"):
        await tamper()
    async with till.database.read(till.house.tenant.id) as session:
        assert await session.scalar(select(func.count()).select_from(Journal)) == 0


@pytest.mark.parametrize("amounts", [[], [0], [5], [5, -4]])
async def test_posting_checks_the_sum_itself(till: Till, amounts: list[int]) -> None:
    async with till.database.transaction(till.house.tenant.id) as session:
        with pytest.raises(ValueError, match="not a balanced journal"):
            await _post(session, till, [ledger.Entry(Account.REVENUE, amount) for amount in amounts])


async def _post(session: AsyncSession, till: Till, entries: list[ledger.Entry]) -> Journal:
    return await ledger.post(
        session, tenant_id=till.house.tenant.id, description="Test", postings=entries, at=clock.now(), by=None
    )


async def test_a_currency_without_decimals_bills_in_whole_units(owner: Database, database: Database) -> None:
    house = await factories.house(owner, database, "tokyo", currency="JPY", tax_rate=Decimal(10))
    till = Till(house, await house.viewer())
    invoice = await till.bill((await till.customer()).id, 1_005, rate="10")
    assert invoice.total_minor == 1_106
