"""Customers that change hands: who asks, who agrees, what follows, and who earns by what afterwards."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from ispgraph import ids, invariants
from ispgraph.db import Database
from ispgraph.domain import tickets
from ispgraph.domain.models import (
    AuditEntry,
    Commission,
    Customer,
    CustomerTransfer,
    Message,
    Operator,
    Payment,
    Role,
    Ticket,
)
from tests.api import Api
from tests.billing.conftest import Till
from tests.billing.hands import Hands, cus
from tests.billing.resellers import Tree, opr
from tests.factories import House, uuid_of
from tests.statements import counted
from tests.tickets.counter import Counter
from tests.wizard import faults


@pytest.fixture
async def hands(api: Api, till: Till) -> Hands:
    return Hands(await Tree.grow(api, till))


async def sound(owner: Database) -> None:
    """check-invariants finds nothing."""
    assert [finding for finding in await invariants.check(owner) if finding.broken] == []


async def change(hands: Hands, operator: Operator, **values: Any) -> None:
    """Other columns of an operator."""
    house = hands.tree.till.house
    async with house.database.transaction(house.tenant.id) as session:
        await session.execute(update(Operator).where(Operator.id == operator.id).values(**values))


async def audited(hands: Hands, customer: Customer) -> list[tuple[Any, str, dict[str, Any]]]:
    """Who did what to a customer, in order."""
    house = hands.tree.till.house
    async with house.database.read(house.tenant.id) as session:
        rows = select(AuditEntry).where(AuditEntry.subject_id == customer.id).order_by(AuditEntry.id)
        return [(row.operator_id, row.action, row.details) for row in await session.scalars(rows)]


async def told(hands: Hands) -> list[tuple[str, str]]:
    """To whom, and what was written, sorted; of transfers alone."""
    house = hands.tree.till.house
    async with house.database.read(house.tenant.id) as session:
        rows = select(Message).where(Message.event.startswith("operator.transfer")).order_by(Message.id)
        return [(row.to, row.body) for row in await session.scalars(rows)]


# ---------------------------------------------------------------------------------------------- the whole way


async def test_both_agree_and_the_customer_changes_hands(hands: Hands, owner: Database) -> None:
    tree = hands.tree
    await change(hands, tree.sub, name="Sub North")
    await change(hands, tree.rival, name="Rival East")
    customer = await tree.customer(tree.sub)
    package = await tree.till.house.package("Home 20", price_minor=50_000)
    await tree.service(customer, package)
    cheaper = """mutation ($input: PriceOverrideInput!) { priceOverrideSet(input: $input) { errors { message } } }"""
    given = {"packageId": ids.encode("pkg", package.id), "operatorId": opr(tree.rival), "price": "450.00"}
    assert await tree.ask(cheaper, input={**given, "reason": "East is cheaper"}) == {"errors": []}
    mine = (await Counter(tree.api, tree.sub).create(customer))["ticket"]
    theirs = (await Counter(tree.api, tree.sub).create(customer))["ticket"]
    assert (await Counter(tree.api, tree.admin).assign(mine["id"], tree.seller))["errors"] == []
    assert (await Counter(tree.api, tree.admin).assign(theirs["id"], tree.admin))["errors"] == []

    asked = await hands.ask(customer, tree.rival, reason=" Moved to the east ")
    assert asked["errors"] == []
    assert asked["warnings"] == [
        "Home 20 costs USD\u00a0500.00 now, and USD\u00a0450.00 from the next period with Rival East."
    ]
    transfer = asked["transfer"]
    key = transfer["id"]
    assert transfer == {
        "id": key,
        "customerName": "Someone",
        "accountNumber": customer.account_number,
        "status": "PENDING_SOURCE",
        "reason": "Moved to the east",
        "note": None,
        "transferInvoices": True,
        "fromOperator": {"id": opr(tree.sub), "name": "Sub North"},
        "toOperator": {"id": opr(tree.rival), "name": "Rival East"},
        "requestedBy": {"id": opr(tree.admin)},
        "waitingFor": {"id": opr(tree.sub)},
        **dict.fromkeys(("sourceConfirmedAt", "sourceConfirmedBy", "targetConfirmedAt", "targetConfirmedBy")),
        **dict.fromkeys(("decidedAt", "decidedBy")),
    }
    what = f"the customer Someone ({customer.account_number})"
    way = "from Sub North to Rival East"
    please = f"{what} is to go {way}. Please agree to it or refuse. Moved to the east"
    assert await told(hands) == [(tree.sub.email, f"North Networks: Sub North, {please}")]
    # Those who see one of the two see it; whom it waits for finds it among the own.
    for who in (tree.reseller, tree.sub, tree.seller, tree.rival, tree.admin):
        assert await hands.listed(who) == [key]
    assert await hands.listed(tree.sub, mine=True) == await hands.listed(tree.rival, mine=False) == [key]
    assert await hands.listed(tree.rival, mine=True) == await hands.listed(tree.sub, mine=False) == []
    # It is the source's turn, and nobody else's.
    assert faults(await hands.decide(key, tree.rival)) == [("INVALID_STATE", "input.transferId")]
    for who in (tree.reseller, tree.admin, tree.seller):
        assert faults(await hands.decide(key, who)) == [("NOT_PERMITTED", "input.transferId")]
    assert faults(await hands.decide(key, tree.reseller, approve=False)) == [("NOT_PERMITTED", "input.transferId")]

    agreed = await hands.decide(key, tree.sub, note="Fine")
    assert (agreed["errors"], agreed["warnings"]) == ([], asked["warnings"])
    assert (agreed["transfer"]["status"], agreed["transfer"]["note"]) == ("PENDING_TARGET", "Fine")
    assert agreed["transfer"]["sourceConfirmedBy"] == {"id": opr(tree.sub)}
    assert agreed["transfer"]["waitingFor"] == {"id": opr(tree.rival)}
    assert (await told(hands))[1:] == [(tree.rival.email, f"North Networks: Rival East, {please}")]
    assert faults(await hands.decide(key, tree.sub)) == [("INVALID_STATE", "input.transferId")]
    assert await hands.listed(tree.rival, mine=True) == [key]
    # Not before it is done.
    assert await hands.read(customer, tree.rival) is None
    await _no_customer_yet(hands, key)

    done = await hands.decide(key, tree.rival)
    assert (done["errors"], done["transfer"]["status"]) == ([], "APPROVED")
    assert done["transfer"]["decidedBy"] == done["transfer"]["targetConfirmedBy"] == {"id": opr(tree.rival)}
    assert done["transfer"]["waitingFor"] is None
    now = {
        "version": 2,
        "operator": {"id": opr(tree.rival)},
        "transfers": {"nodes": [{"id": key, "status": "APPROVED"}]},
    }
    assert await hands.read(customer) == await hands.read(customer, tree.rival) == now
    assert await hands.read(customer, tree.sub) is None
    assert await hands.listed(tree.sub) == await hands.listed(tree.rival, status=["APPROVED"]) == [key]
    assert await hands.listed(tree.admin, status=["REJECTED", "PENDING_SOURCE"]) == []
    was = f"the transfer of {what} {way} was carried out. Fine"
    assert sorted((await told(hands))[2:]) == sorted(
        [
            (tree.sub.email, f"North Networks: Sub North, {was}"),
            (tree.admin.email, f"North Networks: {tree.admin.name}, {was}"),
        ]
    )
    # The seller does not see the customer any more, the admin does.
    house = tree.till.house
    async with house.database.read(house.tenant.id) as session:
        held = {row.id: row.assignee_id for row in await session.execute(select(Ticket.id, Ticket.assignee_id))}
        count = await session.scalar(select(func.count()).where(Message.customer_id == customer.id))
    assert held == {uuid_of(mine["id"]): None, uuid_of(theirs["id"]): tree.admin.id}
    assert count == 0
    entries = (await audited(hands, customer))[4:]
    assert [(who, action) for who, action, _ in entries] == [
        (tree.admin.id, "customer_transfer.request"),
        (tree.sub.id, "customer_transfer.confirm"),
        (tree.rival.id, "customer_transfer.confirm"),
        (tree.rival.id, "ticket.assign"),
        (tree.rival.id, "customer.transfer"),
    ]
    assert entries[1][2] == {"transfer": str(uuid_of(key)), "side": "source", "note": "Fine"}
    assert entries[3][2]["assignee"] == [str(tree.seller.id), None]
    assert entries[4][2] == {
        "transfer": str(uuid_of(key)),
        "operator": [str(tree.sub.id), str(tree.rival.id)],
        "transfer_invoices": True,
        "invoices_kept": 0,
        "tickets_unassigned": [mine["number"]],
    }
    for approve in (True, False):
        late = await hands.decide(key, tree.rival, approve=approve)
        assert faults(late) == [("INVALID_STATE", "input.transferId")]
    await sound(owner)


async def _no_customer_yet(hands: Hands, key: str) -> None:
    """The operator who is to get the customer reads all but the customer."""
    tree = hands.tree
    document = "query ($id: ID!) { node(id: $id) { ... on CustomerTransfer { customerName customer { id name } } } }"
    answer = await tree.api(document, tree.rival, id=key)
    assert answer["data"] == {"node": None}
    (error,) = answer["errors"]
    assert (error["message"], error["path"]) == ("There is no such customer.", ["node", "customer"])
    assert error["extensions"]["code"] == "BAD_REQUEST"
    seen = (await tree.api.data(document, tree.sub, id=key))["node"]
    assert seen["customer"]["name"] == seen["customerName"] == "Someone"


# ---------------------------------------------------------------------------------------------- who has a say


async def test_each_side_may_refuse_and_who_asked_may_take_it_back(hands: Hands, other_house: House) -> None:
    tree = hands.tree
    customer = await tree.customer(tree.sub)
    other_admin = await tree.till.house.operator(Role.ADMIN)
    manager = await tree.till.house.operator(Role.MANAGER)
    outsider = await tree.till.house.operator(Role.OPERATOR)
    for who in (tree.sub, tree.rival, tree.admin, other_admin):
        key = await hands.asked(customer, tree.rival)
        again = await hands.ask(customer, tree.reseller)
        assert faults(again) == [("TAKEN", "input.customerId")]
        assert key in again["errors"][0]["message"]
        assert faults(await hands.decide(key, manager, approve=False)) == [("NOT_PERMITTED", "input.transferId")]
        assert faults(await hands.decide(key, outsider, approve=False)) == [("NOT_FOUND", "input.transferId")]
        assert faults(await hands.decide(key, other_house.admin, False)) == [("NOT_FOUND", "input.transferId")]
        sent = len(await told(hands))
        refused = await hands.decide(key, who, approve=False, note="No")
        assert (refused["errors"], refused["transfer"]["status"]) == ([], "REJECTED")
        assert (refused["transfer"]["decidedBy"], refused["transfer"]["note"]) == ({"id": opr(who)}, "No")
        heard = {each.email for each in (tree.sub, tree.rival, tree.admin)} - {who.email}
        news = (await told(hands))[sent:]
        assert {to for to, _ in news} == heard
        assert len(news) == len(heard)
        assert all(body.endswith("was refused. No") for _, body in news)
        entry = (await audited(hands, customer))[-1]
        assert entry[:2] == (who.id, "customer_transfer.reject")
        assert entry[2]["status"] == ["PENDING_SOURCE", "REJECTED"]
    found = await hands.read(customer)
    assert found is not None
    assert (found["version"], found["operator"]) == (1, {"id": opr(tree.sub)})
    # The target refuses after the source has agreed, too.
    key = await hands.asked(customer, tree.rival)
    await hands.decide(key, tree.sub)
    assert (await hands.decide(key, tree.rival, approve=False))["transfer"]["status"] == "REJECTED"
    assert await hands.listed(other_house.admin) == []
    assert await hands.listed(outsider) == []


async def test_who_asks_and_is_a_side_has_agreed(hands: Hands) -> None:
    tree = hands.tree
    admin = tree.admin
    own, sold, idle = await tree.customer(admin), await tree.customer(tree.sub), await tree.customer(tree.rival)
    away = (await hands.ask(own, tree.sub))["transfer"]
    assert (away["status"], away["sourceConfirmedBy"]) == ("PENDING_TARGET", {"id": opr(admin)})
    assert (await hands.decide(away["id"], tree.sub))["transfer"]["status"] == "APPROVED"
    home = (await hands.ask(sold, admin))["transfer"]
    assert (home["status"], home["targetConfirmedBy"]) == ("PENDING_SOURCE", {"id": opr(admin)})
    assert (await hands.decide(home["id"], tree.sub))["transfer"]["status"] == "APPROVED"
    # For one who has left speaks the nearest one above, who is the admin here: nobody else is to agree.
    await change(hands, tree.rival, active=False)
    at_once = await hands.ask(idle, admin)
    assert (at_once["errors"], at_once["transfer"]["status"]) == ([], "APPROVED")
    found = await hands.read(idle)
    assert found is not None
    assert found["operator"] == {"id": opr(admin)}
    assert [action for _, action, _ in await audited(hands, idle)] == [
        "customer_transfer.request",
        "customer_transfer.confirm",
        "customer_transfer.confirm",
        "customer.transfer",
    ]


async def test_the_nearest_one_above_speaks_for_who_cannot(hands: Hands) -> None:
    tree = hands.tree
    customer = await tree.customer(tree.seller)
    await change(hands, tree.seller, active=False)
    await change(hands, tree.sub, permissions=[])
    key = await hands.asked(customer, tree.rival)
    assert await hands.listed(tree.reseller, mine=True) == [key]
    payload = await hands.decide(key, tree.reseller)
    assert (payload["errors"], payload["transfer"]["status"]) == ([], "PENDING_TARGET")
    # A target who leaves meanwhile gets nothing; who is above may refuse.
    await change(hands, tree.rival, active=False)
    refused = await hands.decide(key, tree.admin)
    assert faults(refused) == [("INVALID_STATE", "input.transferId")]
    assert "not active" in refused["errors"][0]["message"]
    assert (await hands.decide(key, tree.admin, approve=False))["transfer"]["status"] == "REJECTED"


async def test_what_cannot_be_asked_for(hands: Hands, other_house: House) -> None:
    tree = hands.tree
    house = tree.till.house
    customer, foreign = await tree.customer(tree.sub), Customer(id=ids.uuid7())
    accountant = await house.operator(Role.ACCOUNTANT)
    gone = await house.operator(Role.OPERATOR, active=False)
    blind = await house.operator(Role.OPERATOR, permissions=["CREATE_CUSTOMERS"])
    cases = [
        (tree.sub, {}, [("NO_CHANGE", "input.toOperatorId")]),
        (accountant, {}, [("INVALID_STATE", "input.toOperatorId")]),
        (gone, {}, [("INVALID_STATE", "input.toOperatorId")]),
        (blind, {}, [("INVALID_STATE", "input.toOperatorId")]),
        (other_house.admin, {}, [("NOT_FOUND", "input.toOperatorId")]),
        (tree.rival, {"customerId": cus(foreign)}, [("NOT_FOUND", "input.customerId")]),
        (tree.rival, {"customerId": opr(tree.rival)}, [("NOT_FOUND", "input.customerId")]),
        (tree.rival, {"toOperatorId": cus(customer)}, [("NOT_FOUND", "input.toOperatorId")]),
        (tree.rival, {"reason": "x" * 501}, [("INVALID", "input.reason")]),
        (tree.rival, {"reason": "a\u202eb"}, [("INVALID", "input.reason")]),
    ]
    for target, given, expected in cases:
        assert faults(await hands.ask(customer, target, **given)) == expected
    # The permission alone does not make an admin.
    await change(hands, tree.reseller, permissions=[*tree.reseller.permissions, "CHANGE_OPERATOR"])
    assert faults(await hands.ask(customer, tree.sub, tree.reseller)) == [("NOT_PERMITTED", "input.customerId")]
    answer = await tree.api(
        "mutation ($input: TransferInput!) { customerRequestTransfer(input: $input) { errors { code } } }",
        tree.rival,
        input={"customerId": cus(customer), "toOperatorId": opr(tree.rival)},
    )
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert await hands.listed(tree.admin) == []
    # What waits for a decision keeps the customer, and a customer who has moved otherwise stays where it is.
    key = await hands.asked(customer, tree.rival)
    kept = await tree.ask(
        "mutation ($id: ID!) { customerDelete(customerId: $id) { errors { code message field } } }", id=cus(customer)
    )
    assert [error["message"] for error in kept["errors"]] == ["A customer with 1 transfer cannot be deleted."]
    async with house.database.transaction(house.tenant.id) as session:
        await session.execute(update(Customer).where(Customer.id == customer.id).values(operator_id=tree.seller.id))
    assert faults(await hands.decide(key, tree.sub)) == [("INVALID_STATE", "input.transferId")]
    assert faults(await hands.decide(key, tree.sub, note="x" * 501)) == [("INVALID", "input.note")]
    assert (await hands.decide(key, tree.sub, approve=False))["transfer"]["status"] == "REJECTED"


async def test_a_list_costs_the_same_however_long_it_is(hands: Hands, database: Database) -> None:
    tree = hands.tree
    document = """{ customerTransfers { nodes { customerName waitingFor { name } toOperator { name }
      customer { name operator { name } } } } }"""
    costs = []
    for count in (1, 4):
        for _ in range(count):
            await hands.asked(await tree.customer(tree.sub), tree.rival)
        with counted(database) as sent:
            listed = (await tree.api.data(document, tree.sub))["customerTransfers"]["nodes"]
        assert {each["customer"]["name"] for each in listed} == {"Someone"}
        costs.append(len(sent))
    assert len(listed) == 5
    assert costs[0] == costs[1]


async def test_the_new_operator_does_not_see_the_transfers_of_others(hands: Hands) -> None:
    tree = hands.tree
    customer = await tree.customer(tree.sub)
    await hands.give(customer, tree.sub, tree.seller)
    await hands.give(customer, tree.seller, tree.rival)
    seen = [await hands.read(customer, who) for who in (tree.admin, tree.rival)]
    assert [len(each["transfers"]["nodes"]) if each else None for each in seen] == [2, 1]
    assert await hands.read(customer, tree.reseller) is None


# ---------------------------------------------------------------------------------------------- who earns


@pytest.fixture
async def paid(hands: Hands) -> Hands:
    """The reseller has 5 %, the sub-operator 10 %, the seller 2.5 %, the rival 20 %."""
    tree = hands.tree
    for operator, percent in ((tree.reseller, 5), (tree.sub, 10), (tree.seller, "2.5"), (tree.rival, 20)):
        assert faults(await tree.rate(operator, percent=percent)) == []
    return hands


async def held(hands: Hands) -> tuple[str, ...]:
    """What is in the wallets of the reseller, the sub-operator, the seller and the rival."""
    rows: Any = await hands.tree.ask("{ operators { id walletBalance { amount } } }")
    found = {row["id"]: row["walletBalance"]["amount"] for row in rows}
    tree = hands.tree
    return tuple(found[opr(each)] for each in (tree.reseller, tree.sub, tree.seller, tree.rival))


async def test_open_invoices_go_along_and_what_was_earned_stays(paid: Hands, owner: Database) -> None:
    tree, till = paid.tree, paid.tree.till
    customer = await tree.customer(tree.sub)
    invoice = await till.bill(customer.id, 10_000, rate="15")
    before = await till.pay(5_750, invoice)
    assert await held(paid) == ("2.50", "5.00", "0.00", "0.00")
    await paid.give(customer, tree.sub, tree.rival)
    assert await held(paid) == ("2.50", "5.00", "0.00", "0.00")
    after = await till.pay(5_750, invoice)
    assert await held(paid) == ("2.50", "5.00", "0.00", "10.00")
    # What is given back is taken back from who has earned by it, wherever the customer is now.
    await till.refund(before, 1_150)
    assert await held(paid) == ("2.00", "4.00", "0.00", "10.00")
    await till.refund(after, 2_300)
    assert await held(paid) == ("2.00", "4.00", "0.00", "6.00")
    # Money in the wallet earns for who has the customer when it is spent: of 11.50, 10.00 without tax.
    await till.pay(1_150, customer_id=customer.id)
    await till.spend(1_150, invoice)
    assert await held(paid) == ("2.00", "4.00", "0.00", "8.00")
    async with till.database.read(till.house.tenant.id) as session:
        collected = set(await session.scalars(select(Payment.collected_by_id)))
    assert collected == {till.by.operator_id}
    await sound(owner)


async def test_open_invoices_stay_behind_until_a_transfer_takes_them_along(paid: Hands, owner: Database) -> None:
    tree, till = paid.tree, paid.tree.till
    customer = await tree.customer(tree.sub)
    first = await till.bill(customer.id, 10_000)
    settled = await till.bill(customer.id, 1_000)
    await till.pay(1_000, settled)
    assert await held(paid) == ("0.50", "1.00", "0.00", "0.00")
    await paid.give(customer, tree.sub, tree.rival, transferInvoices=False)
    assert (await audited(paid, customer))[-1][2]["invoices_kept"] == 1
    second = await till.bill(customer.id, 10_000)
    # One payment of both, the older one first: each earns for whom it is.
    both = await till.pay(4_000 + 10_000, second, first)
    assert await held(paid) == ("5.50", "11.00", "0.00", "8.00")
    await till.refund(both)
    assert await held(paid) == ("0.50", "1.00", "0.00", "0.00")
    # On to the seller without open invoices: the first stays the sub-operator's, the second the rival's.
    await paid.give(customer, tree.rival, tree.seller, transferInvoices=False)
    assert (await audited(paid, customer))[-1][2]["invoices_kept"] == 1
    on_first = await till.pay(2_000, first)
    assert await held(paid) == ("1.50", "3.00", "0.00", "0.00")
    await till.pay(2_000, second)
    assert await held(paid) == ("1.50", "3.00", "0.00", "4.00")
    third = await till.bill(customer.id, 2_000)
    await till.pay(2_000, third)
    assert await held(paid) == ("2.50", "5.00", "0.50", "4.00")
    # And to the reseller with them: what is paid from now on is the reseller's alone.
    await paid.give(customer, tree.seller, tree.reseller, transferInvoices=True)
    await till.pay(8_000, first)
    assert await held(paid) == ("6.50", "5.00", "0.50", "4.00")
    await till.pay(8_000, second)
    assert await held(paid) == ("10.50", "5.00", "0.50", "4.00")
    await till.refund(on_first)
    assert await held(paid) == ("9.50", "3.00", "0.50", "4.00")
    await sound(owner)


# ---------------------------------------------------------------------------------------------- at the same time


async def test_only_one_of_several_at_once_decides(hands: Hands) -> None:
    tree = hands.tree
    customer = await tree.customer(tree.sub)
    for number in range(4):
        payloads = await asyncio.gather(*(hands.ask(customer, tree.rival) for _ in range(3)))
        made = [payload["transfer"]["id"] for payload in payloads if not payload["errors"]]
        assert len(made) == 1
        assert sorted(each for payload in payloads for each in faults(payload)) == [("TAKEN", "input.customerId")] * 2
        source, target = (tree.sub, tree.rival)
        await hands.decide(made[0], source)
        # Twice the same, or one who agrees against one who refuses.
        other = (target, True) if number % 2 else (source, False)
        answers = await asyncio.gather(hands.decide(made[0], target), hands.decide(made[0], *other))
        done = [answer["transfer"]["status"] for answer in answers if not answer["errors"]]
        assert len(done) == 1
        assert [faults(answer) for answer in answers if answer["errors"]] == [[("INVALID_STATE", "input.transferId")]]
        handed = [each for each in await audited(hands, customer) if each[1] == "customer.transfer"]
        found = await hands.read(customer)
        assert found is not None
        assert found["version"] == 1 + len(handed)
        assert (found["operator"] == {"id": opr(target)}) == (done == ["APPROVED"])
        async with tree.till.database.transaction(tree.till.house.tenant.id) as session:
            await session.execute(update(Customer).where(Customer.id == customer.id).values(operator_id=source.id))


async def test_an_edit_at_the_same_time_is_lost_by_neither(hands: Hands) -> None:
    tree = hands.tree
    document = """mutation ($input: CustomerUpdateInput!) { customerUpdate(input: $input) {
      customer { version } errors { code message field } } }"""
    for number in range(4):
        customer = await tree.customer(tree.sub)
        key = await hands.asked(customer, tree.rival)
        await hands.decide(key, tree.sub)
        edit = {"customerId": cus(customer), "name": f"Name {number}", "expectedVersion": 1}
        edited, approved = await asyncio.gather(tree.ask(document, input=edit), hands.decide(key, tree.rival))
        assert approved["errors"] == []
        found = await hands.read(customer)
        assert found is not None
        assert found["operator"] == {"id": opr(tree.rival)}
        if edited["errors"]:
            assert faults(edited) == [("VERSION_CONFLICT", "input.expectedVersion")]
        assert found["version"] == (2 if edited["errors"] else 3)


async def test_no_ticket_is_left_with_who_does_not_see_it(hands: Hands) -> None:
    tree, house = hands.tree, hands.tree.till.house
    customer = await tree.customer(tree.sub)
    ticket = uuid_of((await Counter(tree.api, tree.admin).create(customer))["ticket"]["id"])
    key = await hands.asked(customer, tree.rival)
    await hands.decide(key, tree.sub)
    waiting = text("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
    async with house.database.transaction(house.tenant.id) as session:
        await tickets.assign(session, ticket, tree.seller.id, by=await house.viewer())
        # Whoever decides waits until it is known who works on the ticket.
        deciding = asyncio.create_task(hands.decide(key, tree.rival))
        while not deciding.done():
            async with house.database.read(house.tenant.id) as other:
                if await other.scalar(waiting) is not None:
                    break
            await asyncio.sleep(0.01)
        assert not deciding.done()
    assert (await deciding)["errors"] == []
    async with house.database.read(house.tenant.id) as session:
        assert (await session.get_one(Ticket, ticket)).assignee_id is None
    late = await Counter(tree.api, tree.admin).assign(ids.encode("tkt", ticket), tree.seller)
    assert faults(late) == [("INVALID_STATE", "operatorId")]


async def _race(paid: Hands, owner: Database, rounds: int) -> None:
    """A customer goes to and fro while money comes in: every payment earns for one of both chains, and wholly."""
    tree, till = paid.tree, paid.tree.till
    customer = await tree.customer(tree.sub)
    chains = {(tree.reseller.id, tree.sub.id): 1_500, (tree.rival.id,): 2_000}
    expected = dict.fromkeys(chains, 0)
    for number in range(rounds):
        source, target = (tree.sub, tree.rival) if number % 2 == 0 else (tree.rival, tree.sub)
        bills = [await till.bill(customer.id, 10_000) for _ in range(2)]
        key = await paid.asked(customer, target, transferInvoices=number % 3 > 0)
        await paid.decide(key, source)
        barrier = asyncio.Barrier(3)

        async def pay(bill: Any, barrier: asyncio.Barrier = barrier) -> Payment:
            await barrier.wait()
            return await till.pay(10_000, bill)

        async def approve(key: str = key, who: Operator = target, barrier: asyncio.Barrier = barrier) -> Any:
            await barrier.wait()
            return await paid.decide(key, who)

        *_, decided = await asyncio.gather(pay(bills[0]), pay(bills[1]), approve())
        assert decided["errors"] == []
        async with till.database.read(till.house.tenant.id) as session:
            for bill in bills:
                rows = select(Commission.operator_id, Commission.amount_minor).where(Commission.invoice_id == bill.id)
                found = {row.operator_id: row.amount_minor for row in await session.execute(rows)}
                chain = next(each for each in chains if set(each) == set(found))
                assert sum(found.values()) == chains[chain]
                expected[chain] += 1
                # An invoice that stays behind earns as if nothing had happened.
                assert number % 3 > 0 or source.id in chain
    assert sum(expected.values()) == 2 * rounds
    await sound(owner)


async def test_each_payment_during_a_transfer_earns_for_one_side(paid: Hands, owner: Database) -> None:
    await _race(paid, owner, 6)


@pytest.mark.long
async def test_each_payment_during_many_transfers_earns_for_one_side(paid: Hands, owner: Database) -> None:
    await _race(paid, owner, 60)


async def test_a_decided_transfer_stays_as_it_is(hands: Hands) -> None:
    tree = hands.tree
    customer = await tree.customer(tree.admin)
    await hands.decide(await hands.asked(customer, tree.rival), tree.rival, approve=False)
    house = tree.till.house
    for statement in (
        update(CustomerTransfer).values(note="Other"),
        update(CustomerTransfer).values(status="APPROVED"),
    ):
        with pytest.raises(DBAPIError, match="customer_transfers is append-only"):
            async with house.database.transaction(house.tenant.id) as session:
                await session.execute(statement)
