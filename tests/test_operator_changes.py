"""Operators are edited, moved and deactivated by whoever stands above, and by nobody else."""

import asyncio
from contextlib import suppress
from typing import Any

from sqlalchemy import select

from ispgraph import ids
from ispgraph.db import Database
from ispgraph.domain import operator_changes
from ispgraph.domain.errors import DomainError, ErrorCode
from ispgraph.domain.models import (
    AuditEntry,
    Customer,
    Operator,
    Role,
    SignIn,
    Ticket,
    TicketCategory,
    TicketPriority,
    TicketStatus,
)
from ispgraph.domain.permissions import Viewer
from tests.api import Api
from tests.crowd import customer
from tests.factories import House
from tests.test_operators import Tree, codes, public, tree

UPDATE = """mutation ($input: OperatorUpdateInput!) { operatorUpdate(input: $input) {
  operator { name email role level } errors { code field } } }"""
DEACTIVATE = """mutation ($input: OperatorDeactivateInput!) { operatorDeactivate(input: $input) {
  operator { active } deactivatedCount releasedTicketCount errors { code field } } }"""
ACTIVATE = "mutation ($id: ID!) { operatorActivate(operatorId: $id) { operator { active } errors { code field } } }"
MOVE = """mutation ($id: ID!, $parent: ID!) { operatorSetParent(operatorId: $id, parentId: $parent) {
  operator { parent { id } } errors { code field } } }"""
VIEWER = "{ viewer { operator { id } } }"

assert tree, "a fixture"


async def run(api: Api, document: str, who: Operator, **variables: Any) -> dict[str, Any]:
    [answer] = (await api.data(document, who, **variables)).values()
    found: dict[str, Any] = answer
    return found


async def update(api: Api, who: Operator, target: Operator, **fields: Any) -> dict[str, Any]:
    return await run(api, UPDATE, who, input={"operatorId": public(target), **fields})


async def deactivate(api: Api, who: Operator, target: Operator, **fields: Any) -> dict[str, Any]:
    return await run(api, DEACTIVATE, who, input={"operatorId": public(target), **fields})


async def move(api: Api, who: Operator, target: Operator, parent: Operator) -> dict[str, Any]:
    return await run(api, MOVE, who, id=public(target), parent=public(parent))


async def ancestors(database: Database, tree: Tree, *names: str) -> dict[str, list[str]]:
    """The names of those above each, from the top."""
    called = {row.id: name for name, row in tree.people.items()}
    async with database.read(tree.house.tenant.id) as session:
        rows = [await session.get_one(Operator, tree.people[name].id) for name in names]
        assert [row.parent_id for row in rows] == [row.ancestors[-1] for row in rows]
        return {called[row.id]: [called[key] for key in row.ancestors] for row in rows}


async def signed_out(api: Api, who: Operator) -> bool:
    return "UNAUTHENTICATED" in str((await api(VIEWER, who)).get("errors"))


# ------------------------------------------------------------------------------------------ editing


async def test_an_operator_is_edited_by_whoever_stands_above(api: Api, tree: Tree, database: Database) -> None:
    before = {"name": tree.sub.name, "email": tree.sub.email, "role": "SUB_OPERATOR"}
    changed = await update(api, tree.reseller, tree.sub, name=" Nadia ", email="Nadia@Example.net", role="MANAGER")
    after = {"name": "Nadia", "email": "nadia@example.net", "role": "MANAGER"}
    assert changed == {"operator": after | {"level": 50}, "errors": []}
    assert codes(await update(api, tree.reseller, tree.sub, name="Nadia")) == [("NO_CHANGE", "input")]
    async with database.read(tree.house.tenant.id) as session:
        rows = select(AuditEntry).where(AuditEntry.action == "operator.update")
        [entry] = (await session.scalars(rows)).all()
    assert (entry.operator_id, entry.subject_id) == (tree.reseller.id, tree.sub.id)
    assert entry.details == {"before": before, "after": after}


async def test_what_nobody_may_make_of_an_operator(api: Api, tree: Tree) -> None:
    cases: list[tuple[str, str, dict[str, str], list[tuple[str, str]]]] = [
        ("admin", "admin", {"role": "SUPER_ADMIN"}, [("NOT_PERMITTED", "input.operatorId")]),
        ("admin", "second", {"name": "X"}, [("NOT_PERMITTED", "input.operatorId")]),
        ("reseller", "reseller", {"role": "ADMIN"}, [("NOT_PERMITTED", "input.operatorId")]),
        ("reseller", "rival", {"name": "X"}, [("NOT_FOUND", "input.operatorId")]),
        ("manager", "clerk", {"name": "X"}, [("NOT_PERMITTED", "input.operatorId")]),
        ("admin", "sub", {"role": "ADMIN"}, [("NOT_PERMITTED", "input.role"), ("INVALID", "input.role")]),
        ("reseller", "sub", {"role": "OPERATOR"}, [("NOT_PERMITTED", "input.role"), ("INVALID", "input.role")]),
        ("admin", "reseller", {"role": "SUB_OPERATOR"}, [("INVALID", "input.role")]),
        ("admin", "clerk", {"role": "CUSTOMER"}, [("INVALID", "input.role")]),
        ("admin", "sub", {"email": "admin@north.example"}, [("TAKEN", "input.email")]),
        (
            "admin",
            "sub",
            {"name": " ", "email": "nonsense", "role": "STAFF"},
            [("REQUIRED", "input.name"), ("INVALID", "input.email"), ("INVALID", "input.role")],
        ),
    ]
    for who, target, fields, outcome in cases:
        changed = await update(api, tree.people[who], tree.people[target], **fields)
        assert (codes(changed), changed["operator"]) == (outcome, None), (who, target, fields)


async def test_nobody_takes_over_who_may_more(api: Api, tree: Tree) -> None:
    strong = await tree.house.operator(Role.STAFF, tree.reseller, permissions=["MANAGE_ROUTERS", "VIEW_CUSTOMERS"])
    # A forgotten password would be set anew by whoever reads the new address.
    changed = await update(api, tree.reseller, strong, email="mine@example.net")
    assert codes(changed) == [("NOT_PERMITTED", "input.operatorId")]
    assert (await update(api, tree.reseller, strong, name="Strong"))["errors"] == []


# ------------------------------------------------------------------------------------------ the tree


async def test_a_whole_subtree_moves_and_its_customers_stay_with_it(
    api: Api, tree: Tree, database: Database, house: House
) -> None:
    someone = customer(house, "Someone", operator_id=tree.clerk.id)
    await house.add(someone)
    seen = "query ($id: ID!) { customer(by: {id: $id}) { name operator { id } } }"
    shown = {"id": ids.encode("cus", someone.id)}
    assert (await api.data(seen, tree.reseller, **shown))["customer"] is not None
    moved = await move(api, tree.admin, tree.sub, tree.rival)
    assert moved == {"operator": {"parent": {"id": public(tree.rival)}}, "errors": []}
    found = await ancestors(database, tree, "sub", "clerk", "reseller", "rivals_clerk")
    assert found == {
        "sub": ["admin", "rival"],
        "clerk": ["admin", "rival", "sub"],
        "reseller": ["admin"],
        "rivals_clerk": ["admin", "rival"],
    }
    assert (await api.data(seen, tree.reseller, **shown))["customer"] is None
    assert (await api.data(seen, tree.rival, **shown))["customer"]["operator"] == {"id": public(tree.clerk)}
    async with database.read(house.tenant.id) as session:
        assert (await session.get_one(Customer, someone.id)).operator_id == tree.clerk.id
        [entry] = (await session.scalars(select(AuditEntry).where(AuditEntry.action == "operator.set_parent"))).all()
    assert entry.details == {"before": str(tree.reseller.id), "after": str(tree.rival.id), "operators": 2}


async def test_places_where_nobody_may_be_put(api: Api, tree: Tree, database: Database) -> None:
    for who, target, parent, outcome in [
        ("admin", "admin", "manager", ("NOT_PERMITTED", "operatorId")),
        ("admin", "second", "admin", ("NOT_PERMITTED", "operatorId")),
        ("reseller", "reseller", "sub", ("NOT_PERMITTED", "operatorId")),
        ("reseller", "sub", "rival", ("NOT_FOUND", "parentId")),
        ("reseller", "rival", "sub", ("NOT_FOUND", "operatorId")),
        ("admin", "sub", "second", ("NOT_PERMITTED", "parentId")),
        ("admin", "reseller", "clerk", ("INVALID", "parentId")),
        ("admin", "sub", "sub", ("INVALID", "parentId")),
        ("admin", "reseller", "rival", ("INVALID", "parentId")),
        ("admin", "sub", "rivals_clerk", ("INVALID", "parentId")),
        ("admin", "sub", "reseller", ("NO_CHANGE", "parentId")),
    ]:
        moved = await move(api, tree.people[who], tree.people[target], tree.people[parent])
        assert codes(moved) == [outcome], (who, target, parent)
    found = await ancestors(database, tree, "sub", "clerk", "reseller")
    assert found == {"sub": ["admin", "reseller"], "clerk": ["admin", "reseller", "sub"], "reseller": ["admin"]}


async def test_moves_and_creations_at_once_leave_a_tree(tree: Tree, database: Database, house: House) -> None:
    """Every change of the tree waits for the others: none writes what it read before another."""
    by = await house.viewer()
    deep = await house.operator(Role.MANAGER, tree.sub, name="deep")
    low = await house.operator(Role.ACCOUNTANT, deep, name="low")
    tree.people |= {"deep": deep, "low": low}

    async def go(who: Operator, parent: Operator) -> None:
        async def work(session: Any) -> None:
            await operator_changes.move(session, public(who), public(parent), by=by)

        with suppress(DomainError):
            await database.run(house.tenant.id, work)

    for first in (tree.rival, tree.reseller):
        await asyncio.gather(
            go(tree.sub, first), go(deep, tree.manager), go(deep, tree.sub), go(low, tree.clerk), go(low, deep),
            go(tree.sub, tree.admin), go(low, tree.rival), go(deep, tree.rival),
        )  # fmt: skip
    async with database.read(house.tenant.id) as session:
        rows = {row.id: row for row in await session.scalars(select(Operator))}
    for row in rows.values():
        above, at = [], row
        while at.parent_id is not None:
            above.append(at.parent_id)
            at = rows[at.parent_id]
            assert at.level <= row.level
        assert row.ancestors == above[::-1], row.name


# ------------------------------------------------------------------------------------------ deactivation


def ticket(house: House, of: Customer, assignee: Operator, number: str, status: TicketStatus) -> Ticket:
    at = house.tenant.created_at
    done = status in (TicketStatus.RESOLVED, TicketStatus.CLOSED)
    return Ticket(
        number=number,
        customer_id=of.id,
        subject="Slow",
        body="It is slow.",
        category=TicketCategory.TECHNICAL,
        priority=TicketPriority.MEDIUM,
        status=status,
        status_since=at,
        assignee_id=assignee.id,
        created_at=at,
        updated_at=at,
        first_response_due_at=at,
        resolved_at=at if done else None,
    )


async def test_a_deactivated_operator_is_out_at_once(api: Api, tree: Tree, database: Database, house: House) -> None:
    someone = customer(house, "Someone", operator_id=tree.sub.id)
    await house.add(someone)
    await house.add(
        ticket(house, someone, tree.sub, "T-1", TicketStatus.IN_PROGRESS),
        ticket(house, someone, tree.sub, "T-2", TicketStatus.RESOLVED),
        ticket(house, someone, tree.clerk, "T-3", TicketStatus.OPEN),
    )
    assert not await signed_out(api, tree.sub)
    assert not await signed_out(api, tree.clerk)
    gone = await deactivate(api, tree.reseller, tree.sub)
    assert gone == {"operator": {"active": False}, "deactivatedCount": 1, "releasedTicketCount": 1, "errors": []}
    assert await signed_out(api, tree.sub)
    assert not await signed_out(api, tree.clerk), "who stands below goes on"
    async with database.read(house.tenant.id) as session:
        left = {row.number: row.assignee_id for row in await session.scalars(select(Ticket))}
        assert left == {"T-1": None, "T-2": tree.sub.id, "T-3": tree.clerk.id}
        assert (await session.get_one(Customer, someone.id)).operator_id == tree.sub.id
        rows = select(SignIn.ended_at).where(SignIn.operator_id == tree.sub.id)
        assert None not in (await session.scalars(rows)).all()
        told = {(entry.action, entry.subject_id) for entry in await session.scalars(select(AuditEntry))}
        assert told >= {("operator.deactivate", tree.sub.id), ("ticket.assign", someone.id)}
    assert codes(await deactivate(api, tree.reseller, tree.sub)) == [("INVALID_STATE", "input.operatorId")]
    # Nobody is put below them, and they come back without what they had open.
    created = await run(
        api,
        "mutation ($input: OperatorInput!) { operatorCreate(input: $input) { errors { code field } } }",
        tree.reseller,
        input={"name": "N", "email": "n@example.net", "password": "long enough!", "role": "STAFF",
               "parentId": public(tree.sub)},
    )  # fmt: skip
    assert codes(created) == [("INVALID_STATE", "input.parentId")]
    assert codes(await move(api, tree.admin, tree.rivals_clerk, tree.sub)) == [("INVALID_STATE", "parentId")]
    assert await run(api, ACTIVATE, tree.reseller, id=public(tree.sub)) == {
        "operator": {"active": True}, "errors": []
    }  # fmt: skip
    assert await signed_out(api, tree.sub)
    assert codes(await run(api, ACTIVATE, tree.reseller, id=public(tree.sub))) == [("NO_CHANGE", "operatorId")]


async def test_a_reseller_goes_with_all_below(api: Api, tree: Tree) -> None:
    gone = await deactivate(api, tree.admin, tree.reseller, withSubordinates=True)
    assert (gone["errors"], gone["deactivatedCount"]) == ([], 3)
    assert [await signed_out(api, tree.people[name]) for name in ("reseller", "sub", "clerk", "rival")] == [
        True, True, True, False
    ]  # fmt: skip


async def test_who_may_not_deactivate_whom(api: Api, tree: Tree) -> None:
    for who, target, code in [
        ("admin", "admin", "NOT_PERMITTED"),
        ("admin", "second", "NOT_PERMITTED"),
        ("reseller", "reseller", "NOT_PERMITTED"),
        ("reseller", "admin", "NOT_FOUND"),
        ("reseller", "rivals_clerk", "NOT_FOUND"),
        ("manager", "reseller", "NOT_PERMITTED"),
    ]:
        refused = await deactivate(api, tree.people[who], tree.people[target])
        assert codes(refused) == [(code, "input.operatorId")], (who, target)
        assert not await signed_out(api, tree.people[target])


async def test_one_administrator_stays(tree: Tree, database: Database, house: House) -> None:
    """Two who command both administrators, each about to deactivate one of them: only one of the two does."""
    top = await house.operator(Role.SUPER_ADMIN, parent=None, name="top")
    by: Viewer = await house.viewer(top)

    async def go(who: Operator) -> operator_changes.Left:
        return await database.run(
            house.tenant.id,
            lambda session: operator_changes.deactivate(session, public(who), with_subordinates=False, by=by),
        )

    outcomes = await asyncio.gather(go(tree.admin), go(tree.second), return_exceptions=True)
    faults = [outcome.faults[0].code for outcome in outcomes if isinstance(outcome, DomainError)]
    assert faults == [ErrorCode.INVALID_STATE]
    async with database.read(house.tenant.id) as session:
        kept = (await session.scalars(select(Operator).where(Operator.role == Role.ADMIN, Operator.active))).all()
    assert len(kept) == 1
