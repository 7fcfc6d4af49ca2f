"""The wallets of operators: paid in, paid out, put right, and the statement that tells all of it."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select, update

from ispgraph import clock, ids, invariants
from ispgraph.db import Database
from ispgraph.domain.models import Account, AuditEntry, Customer, OperatorPayment, Posting, Role
from ispgraph.domain.permissions import DEFAULTS
from tests.api import Api
from tests.billing.conftest import Till
from tests.billing.resellers import ADJUST, RECORD, STATEMENT, Tree, opr
from tests.factories import House
from tests.statements import counted
from tests.wizard import faults


@pytest.fixture
async def tree(api: Api, till: Till) -> Tree:
    return await Tree.grow(api, till)


async def sound(owner: Database) -> None:
    """check-invariants finds nothing."""
    assert [finding for finding in await invariants.check(owner) if finding.broken] == []


async def test_paid_in_paid_out_and_put_right(tree: Tree, owner: Database) -> None:
    paid = await tree.move(tree.sub, "TOP_UP", "100", reference=" slip 9 ", notes="by hand")
    assert paid["errors"] == []
    assert {**paid["payment"], "id": ""} == {
        "id": "",
        "kind": "TOP_UP",
        "amount": {"amount": "100.00"},
        "method": "CASH",
        "reference": "slip 9",
        "notes": "by hand",
        "recordedBy": {"id": opr(tree.admin)},
    }
    assert paid["operator"] == {"walletBalance": {"amount": "100.00"}}
    out = await tree.move(tree.sub, "PAYOUT", "60.25", method="BANK_TRANSFER")
    assert (out["payment"]["amount"], out["operator"]["walletBalance"]) == ({"amount": "-60.25"}, {"amount": "39.75"})
    refused = await tree.move(tree.sub, "PAYOUT", "39.76")
    assert faults(refused) == [("INSUFFICIENT_FUNDS", "input.amount")]
    assert refused["errors"][0]["message"] == "At most 39.75 USD can be taken from this wallet."
    assert faults(await tree.adjust(tree.sub, "-39.76")) == [("INSUFFICIENT_FUNDS", "input.amount")]
    assert (await tree.adjust(tree.sub, "0.25", "Rounded"))["operator"] == {"walletBalance": {"amount": "40.00"}}
    assert (await tree.adjust(tree.sub, "-40", "Lost"))["operator"] == {"walletBalance": {"amount": "0.00"}}
    async with tree.till.database.read(tree.till.house.tenant.id) as session:
        rows = (await session.scalars(select(Posting).order_by(Posting.id))).all()
        actions = (await session.scalars(select(AuditEntry.action).order_by(AuditEntry.id))).all()
    method = {row.method.value for row in rows if row.method}
    assert ([(row.account, row.amount_minor) for row in rows], method) == (
        [
            (Account.OPERATOR_WALLET, -10_000),
            (Account.CASH, 10_000),
            (Account.OPERATOR_WALLET, 6_025),
            (Account.CASH, -6_025),
            (Account.OPERATOR_WALLET, -25),
            (Account.ADJUSTMENT, 25),
            (Account.OPERATOR_WALLET, 4_000),
            (Account.ADJUSTMENT, -4_000),
        ],
        {"CASH", "BANK_TRANSFER"},
    )
    assert actions == ["operator.record_payment"] * 2 + ["operator.adjust_wallet"] * 2
    await sound(owner)


async def test_what_was_paid_out_can_be_taken_back_below_zero(tree: Tree, owner: Database) -> None:
    await tree.rate(tree.sub, percent="10")
    invoice = await tree.till.bill((await tree.customer(tree.sub)).id, 10_000)
    payment = await tree.till.pay(10_000, invoice)
    await tree.move(tree.sub, "PAYOUT", "10")
    await tree.till.refund(payment)
    assert await tree.wallets() == ("0.00", "-10.00", "0.00")
    refused = await tree.move(tree.sub, "PAYOUT", "1")
    assert refused["errors"][0]["message"] == "At most 0.00 USD can be taken from this wallet."
    assert (await tree.move(tree.sub, "TOP_UP", "4"))["operator"] == {"walletBalance": {"amount": "-6.00"}}
    assert (await tree.adjust(tree.sub, "6"))["operator"] == {"walletBalance": {"amount": "0.00"}}
    await sound(owner)


async def test_of_payouts_at_once_no_more_leaves_than_there_is(tree: Tree, owner: Database) -> None:
    await tree.move(tree.sub, "TOP_UP", "30")
    done = await asyncio.gather(*(tree.move(tree.sub, "PAYOUT", "10") for _ in range(8)))
    assert sorted(faults(each) for each in done) == [[]] * 3 + [[("INSUFFICIENT_FUNDS", "input.amount")]] * 5
    assert await tree.wallets() == ("0.00", "0.00", "0.00")
    await sound(owner)


async def test_the_same_key_moves_money_once(tree: Tree, owner: Database) -> None:
    done = await asyncio.gather(*(tree.move(tree.sub, "TOP_UP", "5", idempotencyKey="k") for _ in range(6)))
    done.append(await tree.move(tree.sub, "TOP_UP", "5.00", idempotencyKey="k"))
    assert {each["payment"]["id"] for each in done} == {done[0]["payment"]["id"]}
    for again in (
        tree.move(tree.sub, "TOP_UP", "6", idempotencyKey="k"),
        tree.move(tree.sub, "PAYOUT", "5", idempotencyKey="k"),
        tree.move(tree.seller, "TOP_UP", "5", idempotencyKey="k"),
    ):
        assert faults(await again) == [("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")]
    for _ in range(2):
        assert (await tree.adjust(tree.sub, "-1", idempotencyKey="k"))["operator"]["walletBalance"] == {
            "amount": "4.00"
        }
    await sound(owner)


BAD: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"amount": "0"}, [("INVALID", "input.amount")]),
    ({"amount": "-0"}, [("INVALID", "input.amount")]),
    ({"amount": "-5"}, [("INVALID", "input.amount")]),
    ({"amount": "0.001"}, [("INVALID", "input.amount")]),
    ({"amount": "999999999999999999"}, [("INVALID", "input.amount")]),
    ({"kind": "ADJUSTMENT"}, [("INVALID", "input.kind")]),
    ({"method": "WALLET"}, [("INVALID", "input.method")]),
    ({"method": "VOUCHER"}, [("INVALID", "input.method")]),
    ({"reference": "x" * 256}, [("INVALID", "input.reference")]),
    ({"notes": "x" * 501}, [("INVALID", "input.notes")]),
    ({"notes": "a\u202eb"}, [("INVALID", "input.notes")]),
    ({"operatorId": "opr_" + "0" * 32}, [("NOT_FOUND", "input.operatorId")]),
    ({"operatorId": "cus_" + "0" * 32}, [("NOT_FOUND", "input.operatorId")]),
    ({"idempotencyKey": "x" * 256}, [("INVALID", "input.idempotencyKey")]),
    (
        {"amount": "-1", "kind": "ADJUSTMENT", "method": "WALLET"},
        [("INVALID", "input.kind"), ("INVALID", "input.amount"), ("INVALID", "input.method")],
    ),
]
BAD_ADJUSTMENTS = [
    ({"amount": "0"}, [("INVALID", "input.amount")]),
    ({"amount": "0.005"}, [("INVALID", "input.amount")]),
    ({"reason": " "}, [("REQUIRED", "input.reason")]),
    ({"reason": "x" * 256, "amount": "0.00"}, [("INVALID", "input.amount"), ("INVALID", "input.reason")]),
    ({"amount": "-0.01"}, [("INSUFFICIENT_FUNDS", "input.amount")]),
]


async def test_what_is_refused_names_what_is_wrong_and_changes_nothing(tree: Tree) -> None:
    for given, expected in BAD:
        assert faults(await tree.move(tree.sub, **{"kind": "TOP_UP", "amount": "5"} | given)) == expected, given
    for given, expected in BAD_ADJUSTMENTS:
        assert faults(await tree.adjust(tree.sub, **{"amount": "5"} | given)) == expected, given
    for text in ("NaN", "1e309", "1,000", "١", "", "--1"):
        for document, given in (
            (RECORD, {"kind": "TOP_UP", "method": "CASH"}),
            (ADJUST, {"reason": "x"}),
        ):
            answer = await tree.api(document, tree.admin, input={"operatorId": opr(tree.sub), "amount": text, **given})
            assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    async with tree.till.database.read(tree.till.house.tenant.id) as session:
        for model in (Posting, OperatorPayment, AuditEntry):
            assert await session.scalar(select(func.count()).select_from(model)) == 0


async def test_who_may_move_money(tree: Tree, other_house: House) -> None:
    everything = sorted(permission.value for permission in DEFAULTS[Role.ADMIN])
    mighty = await tree.till.house.operator(Role.OPERATOR, permissions=everything)
    below = await tree.till.house.operator(Role.SUB_OPERATOR, mighty)
    for target, code in ((below, "NOT_PERMITTED"), (mighty, "NOT_PERMITTED"), (tree.sub, "NOT_FOUND")):
        assert faults(await tree.move(target, "TOP_UP", "5", who=mighty)) == [(code, "input.operatorId")]
        assert faults(await tree.adjust(target, "5", who=mighty)) == [(code, "input.operatorId")]
    assert faults(await tree.move(tree.admin, "TOP_UP", "5")) == [("NOT_PERMITTED", "input.operatorId")]
    assert faults(await tree.move(other_house.admin, "TOP_UP", "5")) == [("NOT_FOUND", "input.operatorId")]
    asked = {"operatorId": opr(tree.sub), "amount": "1"}
    for document, given in ((RECORD, {"kind": "TOP_UP", "method": "CASH"}), (ADJUST, {"reason": "x"})):
        answer = await tree.api(document, await tree.till.house.operator(Role.STAFF), input=asked | given)
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"


# ---------------------------------------------------------------------------------------------- the statement


def told(statement: dict[str, Any]) -> list[tuple[str, str | None, str | None, str]]:
    """The entries: description, into the wallet, out of it, and what it held then."""
    return [
        (
            row["description"],
            row["credit"] and row["credit"]["amount"],
            row["debit"] and row["debit"]["amount"],
            row["balance"]["amount"],
        )
        for row in statement["entries"]["nodes"]
    ]


def sums(statement: dict[str, Any]) -> tuple[str, ...]:
    """From when to when, and the totals of the time between."""
    totals = [statement[name]["amount"] for name in ("opening", "credited", "debited", "closing")]
    return (statement["from"], statement["to"], *totals)


async def test_a_statement_by_months(tree: Tree, owner: Database, moved_clock: None) -> None:
    clock.set_clock("2027-01-31T17:59:59Z")  # one second before February in Dhaka
    await tree.rate(tree.sub, percent="10")
    customer = await tree.customer(tree.sub)
    invoice = await tree.till.bill(customer.id, 20_000, rate="15")
    first = await tree.till.pay(11_500, invoice)
    clock.set_clock("2027-01-31T18:00:00Z")
    second = await tree.till.pay(11_500, invoice)
    await tree.till.refund(first, 5_750)
    clock.set_clock("2027-02-28T17:59:59Z")
    await tree.move(tree.sub, "PAYOUT", "12", reference="TX 1")
    await tree.adjust(tree.sub, "0.50", "Goodwill")
    clock.set_clock("2027-02-28T18:00:00Z")
    await tree.move(tree.sub, "TOP_UP", "7")

    january = await tree.ask(STATEMENT, id=opr(tree.sub), **{"from": "2027-01-01", "to": "2027-01-31"})
    assert sums(january) == ("2027-01-01", "2027-01-31", "0.00", "10.00", "0.00", "10.00")
    assert told(january) == [(f"Commission on {invoice.number}", "10.00", None, "10.00")]
    february = await tree.ask(STATEMENT, tree.sub, **{"from": "2027-02-01", "to": "2027-02-28"})
    assert sums(february) == ("2027-02-01", "2027-02-28", "10.00", "10.50", "17.00", "3.50")
    assert told(february) == [
        ("Adjustment: Goodwill", "0.50", None, "3.50"),
        ("Payout: TX 1", None, "12.00", "3.00"),
        (f"Commission on {invoice.number} taken back", None, "5.00", "15.00"),
        (f"Commission on {invoice.number}", "10.00", None, "20.00"),
    ]
    nodes = february["entries"]["nodes"]
    assert [row["kind"] for row in nodes] == ["ADJUSTMENT", "PAYOUT", "COMMISSION", "COMMISSION"]
    assert [(row["invoice"] or {}).get("number") for row in nodes] == [None, None, invoice.number, invoice.number]
    assert [(row["payment"] or {}).get("number") for row in nodes] == [None, None, first.number, second.number]
    # By default the month at hand, of the viewer.
    march = await tree.ask(STATEMENT, tree.sub)
    assert sums(march) == ("2027-03-01", "2027-03-01", "3.50", "7.00", "0.00", "10.50")
    whole = {"from": "2020-02-29", "to": "2030-01-01"}
    page = await tree.ask(STATEMENT, id=opr(tree.sub), first=4, **whole)
    assert sums(page) == (*whole.values(), "0.00", "27.50", "17.00", "10.50")
    assert (page["entries"]["totalCount"], page["entries"]["pageInfo"]["hasNextPage"]) == (6, True)
    after = page["entries"]["pageInfo"]["endCursor"]
    rest = await tree.ask(STATEMENT, id=opr(tree.sub), after=after, **whole)
    assert [row[3] for row in told(page) + told(rest)] == ["10.50", "3.50", "3.00", "15.00", "20.00", "10.00"]
    await sound(owner)


async def test_whose_statement_one_sees(tree: Tree, other_house: House) -> None:
    everything = sorted(permission.value for permission in DEFAULTS[Role.ADMIN])
    accountant = await tree.till.house.operator(Role.ACCOUNTANT)
    clerk = await tree.till.house.operator(Role.STAFF)
    nosy = await tree.till.house.operator(Role.STAFF, tree.reseller, permissions=everything)
    people = (tree.admin, tree.reseller, tree.sub, tree.seller, tree.rival)
    for who, seen in (
        (tree.admin, people),
        (accountant, people),
        (tree.reseller, (tree.reseller, tree.sub, tree.seller, nosy)),
        (tree.sub, (tree.sub, tree.seller)),
        (tree.seller, (tree.seller,)),
        (tree.rival, (tree.rival,)),
        (clerk, (clerk,)),
        (nosy, (nosy,)),
        (other_house.admin, ()),
    ):
        for each in (*people, clerk, nosy):
            found = (await tree.api.data(STATEMENT, who, id=opr(each)))["operatorStatement"]
            if each in seen or who in (tree.admin, accountant):
                assert found["operator"] == {"id": opr(each)}
            else:
                assert found is None, (who.role, each.role)


async def test_a_customer_who_went_elsewhere_is_not_shown(tree: Tree) -> None:
    await tree.rate(tree.sub, percent="10")
    customer = await tree.customer(tree.sub)
    invoice = await tree.till.bill(customer.id, 1_000)
    await tree.till.pay(1_000, invoice)
    async with tree.till.database.transaction(tree.till.house.tenant.id) as session:
        await session.execute(update(Customer).where(Customer.id == customer.id).values(operator_id=tree.rival.id))
    for who, number in ((tree.admin, invoice.number), (tree.sub, None)):
        (row,) = (await tree.ask(STATEMENT, who, id=opr(tree.sub)))["entries"]["nodes"]
        assert (row["invoice"] or {}).get("number") == number
        assert (row["payment"] is None) == (number is None)
        assert row["credit"] == {"amount": "1.00"}
    # What is settled from now on is the rival's.
    await tree.rate(tree.rival, percent="20")
    await tree.till.pay(1_000, await tree.till.bill(customer.id, 1_000))
    assert await tree.wallets() == ("0.00", "1.00", "0.00")


@pytest.mark.parametrize(
    "given",
    [
        {"from": "2027-02-01", "to": "2027-01-31"},
        {"to": "9999-12-31"},
        {"id": "cus_" + "0" * 32},
        {"first": 101},
        {"after": "nonsense"},
    ],
)
async def test_statements_that_are_none(tree: Tree, given: dict[str, Any]) -> None:
    answer = await tree.api(STATEMENT, tree.admin, **given)
    assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST"


async def test_a_statement_before_there_was_time(tree: Tree) -> None:
    found = await tree.ask(STATEMENT, id=opr(tree.sub), **{"from": "1900-01-01", "to": "1900-12-31"})
    assert sums(found)[2:] == ("0.00",) * 4


async def test_statements_do_not_grow_with_entries(tree: Tree, database: Database) -> None:
    await tree.rate(tree.sub, percent="10")
    customer = await tree.customer(tree.sub)
    counts = []
    for _ in range(2):
        for _ in range(3):
            await tree.till.pay(100, await tree.till.bill(customer.id, 100))
        await tree.ask(STATEMENT, id=opr(tree.sub))
        with counted(database) as seen:
            await tree.ask(STATEMENT, id=opr(tree.sub))
        counts.append(len(seen))
    # Who may, the totals, the operator, the page.
    assert counts == [4, 4]


async def test_a_payment_is_found_again_by_its_id(tree: Tree) -> None:
    key = (await tree.move(tree.sub, "TOP_UP", "5"))["payment"]["id"]
    assert ids.parse(key)[0] == "opp"
    document = "query ($id: ID!) { node(id: $id) { ... on OperatorPayment { amount { amount } } } }"
    for who, shown in ((tree.admin, True), (tree.reseller, True), (tree.sub, True), (tree.seller, False)):
        data = await tree.api.data(document, who, id=key)
        assert data["node"] == ({"amount": {"amount": "5.00"}} if shown else None)
