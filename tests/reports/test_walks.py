"""Reports over random books of many months agree with lists that were kept beside them, and add up to the ledger."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain.models import Account, Journal, Posting, Role
from tests import factories
from tests.api import Api
from tests.billing.test_desk import sound
from tests.factories import House
from tests.reports.walk import Walk, customer_of, money

REVENUE = "invoices invoiced { amount } voided { amount } credited { amount } net { amount }"
CASH = "payments received { amount } refunds refunded { amount } net { amount }"
TAX = "net { amount } tax { amount }"
AGES = """total { amount } notDue { amount } days1To30 { amount } days31To60 { amount } days61To90 { amount }
  over90Days { amount } invoices oldestDueOn"""
MONEY = f"""query ($from: Date!, $to: Date!, $by: ReportGranularity!) {{
  revenueReport(from: $from, to: $to, granularity: $by) {{
    total {{ {REVENUE} }} periods {{ start end figures {{ {REVENUE} }} }} }}
  taxReport(from: $from, to: $to, granularity: $by) {{
    total {{ {TAX} }} periods {{ start end figures {{ {TAX} }} }} rates {{ rate figures {{ {TAX} }} }} }}
  collectionsReport(from: $from, to: $to, granularity: $by) {{
    total {{ {CASH} }} periods {{ start end figures {{ {CASH} }} }}
    operators {{ operator {{ id }} method figures {{ {CASH} }} }} }} }}"""
OWED = f"""query ($on: Date) {{ receivablesReport(on: $on) {{ on customerCount total {{ {AGES} }}
  customers(first: 100) {{ totalCount nodes {{ customer {{ id }} owed {{ {AGES} }} }} }} }} }}"""
Counts = Callable[[UUID], bool]


def periods_of(first: date, end: date, by: str) -> list[tuple[date, date]]:
    """The days or months from a day until before another."""
    bounds = [first]
    while bounds[-1] < end:
        day = bounds[-1]
        month = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        bounds.append(min(end, day + timedelta(days=1) if by == "DAY" else month))
    return list(pairwise(bounds))


def expected(walk: Walk, first: date, end: date, by: str, counts: Counts) -> dict[str, Any]:
    """What MONEY should answer, from the lists."""
    earned = [each for each in walk.earned if counts(each[1]) and first <= walk.day(each[0]) < end]
    cash = [each for each in walk.cash if counts(each[1]) and first <= walk.day(each[0]) < end]

    def within(rows: Iterable[Any], start: date, stop: date) -> list[Any]:
        return [each for each in rows if start <= walk.day(each[0]) < stop]

    def revenue(rows: list[Any]) -> dict[str, Any]:
        charged = sum(each[4] for each in rows if each[2] == "invoiced")
        voided = sum(each[4] for each in rows if each[2] == "voided")
        return {
            "invoices": len({(each[0], each[1]) for each in rows if each[2] == "invoiced"}),
            "invoiced": money(charged),
            "voided": money(voided),
            "credited": money(0),
            "net": money(charged - voided),
        }

    def tax(rows: list[Any]) -> dict[str, Any]:
        signs = {"invoiced": 1, "voided": -1}
        net, taxed = (sum(signs[each[2]] * each[place] for each in rows) for place in (4, 5))
        return {"net": money(net), "tax": money(taxed)}

    def taken(rows: list[Any]) -> dict[str, Any]:
        amounts = [each[4] for each in rows]
        return {
            "payments": sum(amount > 0 for amount in amounts),
            "received": money(sum(amount for amount in amounts if amount > 0)),
            "refunds": sum(amount < 0 for amount in amounts),
            "refunded": money(-sum(amount for amount in amounts if amount < 0)),
            "net": money(sum(amounts)),
        }

    def report(rows: list[Any], figures: Callable[[list[Any]], Any]) -> dict[str, Any]:
        each = periods_of(first, end, by)
        shown = [
            {"start": start.isoformat(), "end": stop.isoformat(), "figures": figures(within(rows, start, stop))}
            for start, stop in each
        ]
        return {"total": figures(rows), "periods": shown}

    rates = sorted({each[3] for each in earned})
    operators = sorted({(each[2], each[3]) for each in cash}, key=lambda key: (key[0], key[1].value))
    return {
        "revenueReport": report(earned, revenue),
        "taxReport": report(earned, tax)
        | {"rates": [_rate(rate, tax([each for each in earned if each[3] == rate])) for rate in rates]},
        "collectionsReport": report(cash, taken)
        | {
            "operators": [
                {
                    "operator": {"id": ids.encode("opr", who)},
                    "method": method.value,
                    "figures": taken([each for each in cash if (each[2], each[3]) == (who, method)]),
                }
                for who, method in operators
            ]
        },
    }


def _rate(rate: Decimal, figures: dict[str, Any]) -> dict[str, Any]:
    return {"rate": f"{rate}.000", "figures": figures}


def aged(walk: Walk, owed: dict[UUID, int], on: date) -> dict[str, Any]:
    """What AGES should answer of what is due of each invoice."""
    ages = [0] * 5
    dues = {key: walk.bills[key].row.due_on or date.max for key in owed}
    for key, minor in owed.items():
        late = (on - dues[key]).days
        ages[0 if late <= 0 else min(4, (late + 29) // 30)] += minor
    names = ("notDue", "days1To30", "days31To60", "days61To90", "over90Days")
    return {
        "total": money(sum(ages)),
        **{name: money(minor) for name, minor in zip(names, ages, strict=True)},
        "invoices": len(owed),
        "oldestDueOn": min(dues.values()).isoformat() if owed else None,
    }


def expected_debt(walk: Walk, on: date, counts: Counts) -> dict[str, Any]:
    """What OWED should answer, from the lists."""
    owed = {key: minor for key, minor in walk.owed_on(on).items() if counts(walk.bills[key].row.customer_id)}
    of_customer: dict[UUID, dict[UUID, int]] = {}
    for key, minor in owed.items():
        of_customer.setdefault(walk.bills[key].row.customer_id, {})[key] = minor
    order = sorted(of_customer, key=lambda key: (sum(of_customer[key].values()), key), reverse=True)
    nodes = [{"customer": {"id": ids.encode("cus", key)}, "owed": aged(walk, of_customer[key], on)} for key in order]
    return {
        "on": on.isoformat(),
        "customerCount": len(order),
        "total": aged(walk, owed, on),
        "customers": {"totalCount": len(order), "nodes": nodes},
    }


async def ledger(house: House, account: Account, before: datetime | None = None) -> int:
    """The sum of an account, of what was booked before an instant."""
    rows = select(func.coalesce(func.sum(Posting.amount_minor), 0)).where(Posting.account == account)
    if before is not None:
        rows = rows.join(Journal, Journal.id == Posting.journal_id).where(Journal.at < before)
    async with house.database.read(house.tenant.id) as session:
        return int(await session.scalar(rows) or 0)


@pytest.mark.parametrize(
    ("seed", "zone"),
    [
        (2, "America/New_York"),
        *(
            pytest.param(seed, zone, marks=pytest.mark.long)
            for seed, zone in ((1, "Asia/Dhaka"), (3, "Australia/Lord_Howe"), (4, "Europe/London"))
        ),
    ],
)
async def test_reports_agree_with_the_lists(
    api: Api, owner: Database, database: Database, moved_clock: None, seed: int, zone: str
) -> None:
    house = await factories.house(owner, database, "north", time_zone=zone)
    reseller = await house.operator(Role.OPERATOR)
    clerk = await house.operator(Role.STAFF)
    walk = Walk(
        house=house,
        people=[await house.viewer(each) for each in (house.admin, reseller, clerk)],
        customers=[
            await customer_of(house, each, number)
            for number, each in enumerate([house.admin, house.admin, reseller, reseller, clerk])
        ],
        random=Random(seed),
        at=datetime(2024, 1, 31, 12, tzinfo=UTC),
    )
    for _ in range(45):
        await walk.step()
    await sound(owner)
    clock.set_clock((walk.at + timedelta(hours=1)).isoformat())
    first, end = date(2024, 1, 1), walk.day(walk.at) + timedelta(days=1)
    resellers = {customer.id for customer in walk.customers if customer.operator_id == reseller.id}
    for who, counts in ((house.admin, lambda key: True), (reseller, lambda key: key in resellers)):
        for start, stop, by in (
            (first, end, "MONTH"),
            (date(2024, 3, 9), date(2024, 4, 8), "DAY"),
            (date(2024, 10, 27), date(2024, 11, 4), "DAY"),
            (date(2024, 2, 29), date(2024, 3, 31), "MONTH"),
        ):
            answer = await api.data(MONEY, who, **{"from": start.isoformat(), "to": stop.isoformat(), "by": by})
            assert answer == expected(walk, start, stop, by, counts), (who.role, start, stop, by)
        middles = [walk.day(at) for at, _ in walk.states]
        for on in [*middles[::5], middles[-1], *(day - timedelta(days=1) for day in middles[2::9]), first]:
            answer = await api.data(OWED, who, on=on.isoformat())
            assert answer["receivablesReport"] == expected_debt(walk, on, counts), (who.role, on)
    # And the lists agree with the ledger.
    whole = expected(walk, first, end, "MONTH", lambda key: True)
    assert whole["revenueReport"]["total"]["net"] == money(-await ledger(house, Account.REVENUE))
    assert whole["taxReport"]["total"]["tax"] == money(-await ledger(house, Account.TAX))
    assert whole["collectionsReport"]["total"]["net"] == money(await ledger(house, Account.CASH))
    for at, state in walk.states[::7]:
        assert sum(state.values()) == await ledger(house, Account.RECEIVABLE, at + timedelta(microseconds=1))
