"""Lists of tickets: filters, orders, the search, and figures."""

from typing import Any

import asyncpg
import pytest

from ispgraph import ids
from ispgraph.domain.models import Operator, Role
from tests import subscribers
from tests.api import Api
from tests.conftest import Dsns
from tests.factories import House
from tests.tickets.conftest import At
from tests.tickets.counter import LIST, Counter, opr

STATS = """query ($from: Date!, $to: Date!) { ticketStats(from: $from, to: $to) { open inProgress pending unassigned
  byPriority { low medium high urgent } firstResponseOverdue created resolved medianFirstResponseSeconds
  medianResolutionSeconds } }"""
MARCH = {"from": "2026-03-01", "to": "2026-04-01"}


@pytest.fixture
async def clerk(house: House, desk: Counter, at: At) -> Operator:
    """Who works on some of these, of Ann and of Bob, an hour apart:

    A Ann's, urgent, open · B Bob's, the clerk's, pending · C Ann's, resolved · D Bob's, the clerk's, closed
    """
    clerk = await house.operator(Role.STAFF, name="Clerk")
    ann = await subscribers.customer(house, name="Ann")
    bob = await subscribers.customer(house, name="Bob")
    made = {}
    for hour, (name, whose, given) in enumerate(
        (
            ("A", ann, {"priority": "URGENT", "category": "TECHNICAL"}),
            ("B", bob, {"priority": "LOW", "category": "BILLING"}),
            ("C", ann, {"priority": "HIGH", "category": "GENERAL"}),
            ("D", bob, {"category": "FEATURE_REQUEST"}),
        )
    ):
        at(hours=hour)
        made[name] = (await desk.opened(whose, subject=name * 3, **given))["id"]
    at(hours=3, minutes=30)
    await desk.reply(made["B"])
    await desk.status(made["B"], "PENDING")
    await desk.status(made["C"], "RESOLVED")
    for name in "BD":
        await desk.assign(made[name], clerk)
    await desk.reply(made["D"])
    await desk.status(made["D"], "CLOSED")
    return clerk


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "DCBA"),
        ({"status": ["OPEN", "CLOSED"]}, "DA"),
        ({"status": []}, ""),
        ({"where": {"status": ["PENDING"]}}, "B"),
        ({"status": ["OPEN", "PENDING"], "where": {"status": ["PENDING", "CLOSED"]}}, "B"),
        ({"where": {"priority": ["URGENT", "MEDIUM"]}}, "DA"),
        ({"where": {"category": ["BILLING", "GENERAL"]}}, "CB"),
        ({"where": {"assigneeId": "Clerk"}}, "DB"),
        ({"where": {"assigneeId": "Clerk", "status": ["PENDING"]}}, "B"),
        ({"where": {"unassigned": True}}, "CA"),
        ({"where": {"unassigned": False}}, "DB"),
        # At half past three: A was due at one. C is due later, and was resolved.
        ({"where": {"firstResponseOverdue": True}}, "A"),
        ({"where": {"firstResponseOverdue": False}}, "DCB"),
        ({"where": {"createdFrom": "2026-03-10T07:00:00Z", "createdTo": "2026-03-10T08:00:00Z"}}, "B"),
        ({"where": {"createdFrom": "2026-03-10T07:00:00.000001Z"}}, "DC"),
        ({"orderBy": {"field": "CREATED_AT"}}, "ABCD"),
        ({"orderBy": {"field": "PRIORITY", "direction": "DESC"}}, "ACDB"),
        ({"orderBy": {"field": "FIRST_RESPONSE_DUE_AT"}}, "ACDB"),
        ({"orderBy": {"field": "UPDATED_AT", "direction": "DESC"}, "status": ["OPEN", "PENDING"]}, "BA"),
    ],
)
async def test_filters_and_orders(desk: Counter, clerk: Operator, given: dict[str, Any], expected: str) -> None:
    if given.get("where", {}).get("assigneeId"):
        given["where"]["assigneeId"] = opr(clerk)
    assert await desk.subjects(**given) == [name * 3 for name in expected]


@pytest.mark.usefixtures("clerk")
async def test_page_by_page_in_an_order(api: Api, house: House) -> None:
    for field in ("CREATED_AT", "UPDATED_AT", "PRIORITY", "FIRST_RESPONSE_DUE_AT"):
        order = {"field": field, "direction": "DESC"}
        whole = (await api.data(LIST, house.admin, orderBy=order))["tickets"]["nodes"]
        found: list[Any] = []
        cursor, more = None, True
        while more:
            page = (await api.data(LIST, house.admin, orderBy=order, first=3, after=cursor))["tickets"]
            found += page["nodes"]
            cursor, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        assert found == whole
        assert len(found) == 4


@pytest.mark.usefixtures("clerk")
async def test_of_one_customer(api: Api, house: House, desk: Counter) -> None:
    everyone = (await api.data("{ customers { nodes { id name } } }", house.admin))["customers"]["nodes"]
    (bob,) = [each["id"] for each in everyone if each["name"] == "Bob"]
    assert await desk.subjects(where={"customerId": bob}) == ["DDD", "BBB"]
    document = """query ($id: ID!) { customer(by: {id: $id}) { all: tickets { totalCount nodes { subject } }
      some: tickets(status: [PENDING], first: 1) { totalCount nodes { subject status } } } }"""
    answer = (await api.data(document, house.admin, id=bob))["customer"]
    assert answer["all"] == {"totalCount": 2, "nodes": [{"subject": "DDD"}, {"subject": "BBB"}]}
    assert answer["some"] == {"totalCount": 1, "nodes": [{"subject": "BBB", "status": "PENDING"}]}


async def test_the_search(house: House, desk: Counter, at: At) -> None:
    customer = await subscribers.customer(house)
    for subject in ("Router 50% broken", "router_1 is slow", "Bill of ঢাকা", "Back\\slash"):
        await desk.opened(customer, subject=subject)
    for search, expected in {
        "ROUTER": ["router_1 is slow", "Router 50% broken"],
        "50%": ["Router 50% broken"],
        "r_1": ["router_1 is slow"],
        "k\\s": ["Back\\slash"],
        "ঢাকা": ["Bill of ঢাকা"],
        "tkt-2026-000002": ["router_1 is slow"],
        "TKT-2026-00000": ["Back\\slash", "Bill of ঢাকা", "router_1 is slow", "Router 50% broken"],
        "000003": ["Bill of ঢাকা"],
        "3": ["Bill of ঢাকা"],
        "2026": [],
        "nothing like it": [],
        "  ": ["Back\\slash", "Bill of ঢাকা", "router_1 is slow", "Router 50% broken"],
    }.items():
        assert await desk.subjects(search=search) == expected, search
    assert await desk.subjects(search="router", status=["CLOSED"]) == []


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"search": "ab"}, "search"),
        ({"search": "x" * 101}, "search"),
        ({"where": {"assigneeId": "opr_1"}}, "where.assigneeId"),
        ({"where": {"customerId": "opr_" + "0" * 32}}, "where.customerId"),
        ({"where": {"assigneeId": "opr_" + "0" * 32, "unassigned": True}}, "where.unassigned"),
        ({"where": {"createdFrom": "2026-03-10T07:00:00Z", "createdTo": "2026-03-10T07:00:00Z"}}, "where.createdTo"),
        ({"first": 101}, "first"),
        ({"after": "x"}, "after"),
    ],
)
async def test_what_is_wrong_is_named(api: Api, house: House, given: dict[str, Any], field: str) -> None:
    (error,) = (await api(LIST, house.admin, **given))["errors"]
    assert error["extensions"]["code"] == "BAD_REQUEST"
    assert ".".join(error["extensions"]["field"]) == field


@pytest.mark.usefixtures("clerk")
async def test_figures(api: Api, house: House, desk: Counter, at: At) -> None:
    found = (await api.data(STATS, house.admin, **MARCH))["ticketStats"]
    assert found == {
        "open": 1,
        "inProgress": 0,
        "pending": 1,
        "byPriority": {"low": 1, "medium": 0, "high": 0, "urgent": 1},
        "unassigned": 1,
        "firstResponseOverdue": 1,
        "created": 4,
        "resolved": 2,
        # B after two hours and a half, D after half an hour.
        "medianFirstResponseSeconds": 5400,
        # C after an hour and a half, D after half an hour.
        "medianResolutionSeconds": 3600,
    }
    # Of another time only what is under way now; and who takes part in nothing sees nothing.
    april = (await api.data(STATS, house.admin, **{"from": "2026-04-01", "to": "2026-05-01"}))["ticketStats"]
    nothing = {"created": 0, "resolved": 0, "medianFirstResponseSeconds": None, "medianResolutionSeconds": None}
    assert april == found | nothing
    rival = await house.operator(Role.OPERATOR)
    other = (await api.data(STATS, rival, **MARCH))["ticketStats"]
    assert other["byPriority"] == {"low": 0, "medium": 0, "high": 0, "urgent": 0}
    assert other | nothing == other
    # The calendar is the tenant's: 10 March ends at 18:00 UTC in Dhaka.
    at(hours=12, minutes=1)
    await desk.opened(await subscribers.customer(house), subject="E")
    # What is answered and resolved counts on the day of that, not on the day of the opening.
    (first,) = (await api.data(LIST, house.admin, search="AAA"))["tickets"]["nodes"]
    await desk.reply(first["id"])
    await desk.status(first["id"], "RESOLVED")
    for day, *expected in (("2026-03-10", 4, 2, 5400, 3600), ("2026-03-11", 1, 1, 43_260, 43_260)):
        span = {"from": day, "to": f"2026-03-{int(day[-2:]) + 1}"}
        found = (await api.data(STATS, house.admin, **span))["ticketStats"]
        names = ("created", "resolved", "medianFirstResponseSeconds", "medianResolutionSeconds")
        assert [found[name] for name in names] == expected
    refused = await api(STATS, house.admin, **{"from": "2026-03-11", "to": "2026-03-11"})
    assert refused["errors"][0]["extensions"] == {"code": "BAD_REQUEST", "field": ["from"]}


async def test_the_search_answers_only_for_the_tenant_at_hand(
    api: Api, dsns: Dsns, house: House, other_house: House, desk: Counter
) -> None:
    ticket = await desk.opened(await subscribers.customer(house))
    connection = await asyncpg.connect(dsns.app)
    forms = ["internet", ticket["number"], "000001"]
    for which in range(3):
        given = [form if place == which else None for place, form in enumerate(forms)]
        answers = []
        for tenant in (str(house.tenant.id), str(other_house.tenant.id), ""):
            await connection.execute("SELECT set_config('app.tenant_id', $1, false)", tenant)
            rows = await connection.fetch("SELECT ticket_matches($1::text[])", given)
            answers.append([ids.encode("tkt", row[0]) for row in rows])
        # Of the function itself: a list would hide what it let through.
        assert answers == [[ticket["id"]], [], []]
    await connection.close()


async def test_many_are_found_by_indexes(dsns: Dsns, house: House) -> None:
    customer = await subscribers.customer(house)
    fill = await asyncpg.connect(dsns.superuser)
    await fill.execute(
        """INSERT INTO tickets (id, tenant_id, number, customer_id, subject, body, category, priority, status,
             status_since, version, created_at, updated_at, first_response_due_at, resolved_at, reopen_count, handled)
           SELECT gen_random_uuid(), $1, 'TKT-2026-' || lpad(n::text, 6, '0'), $2, 'Matter ' || md5(n::text), 'x',
                  'GENERAL', 'LOW', CASE WHEN n % 100 = 0 THEN 'OPEN' ELSE 'RESOLVED' END, now(), 1, now(),
                  now() - n * interval '1 minute', now() - n * interval '1 hour',
                  CASE WHEN n % 100 = 0 THEN NULL ELSE now() END, 0, '0'
             FROM generate_series(1, 5000) n""",
        house.tenant.id,
        customer.id,
    )
    await fill.execute("ANALYZE tickets")
    await fill.close()
    connection = await asyncpg.connect(dsns.app)
    plans = {
        "ORDER BY updated_at DESC, id DESC LIMIT 21": "ix_tickets_updated",
        "ORDER BY priority_rank DESC, id DESC LIMIT 21": "ix_tickets_priority",
        "ORDER BY first_response_due_at, id LIMIT 21": "ix_tickets_response_due",
        "WHERE status = ANY('{OPEN}'::text[]) ORDER BY id DESC LIMIT 21": "ix_tickets_status",
        f"WHERE customer_id = '{ids.uuid7()}' ORDER BY id DESC LIMIT 21": "ix_tickets_customer",
        f"WHERE assignee_id = '{ids.uuid7()}' ORDER BY id DESC LIMIT 21": "ix_tickets_assignee",
        "WHERE first_responded_at IS NULL AND resolved_at IS NULL AND first_response_due_at < now()": "unanswered",
    }
    async with connection.transaction():
        await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(house.tenant.id))
        for rest, index in plans.items():
            plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN SELECT id FROM tickets {rest}"))
            assert index in plan, plan
            assert "Seq Scan" not in plan, plan
    await connection.close()
    # What the function of the search does, as its owner.
    owner = await asyncpg.connect(dsns.owner)
    async with owner.transaction():
        tenant = f"tenant_id = '{house.tenant.id}'"
        for condition in ("subject_key LIKE '%c4ca4238%'", "number LIKE 'TKT-2026-00123%'", "number LIKE '%-001234'"):
            rows = await owner.fetch(f"EXPLAIN SELECT id FROM tickets WHERE {tenant} AND {condition}")
            assert any("ix_tickets_search" in row[0] for row in rows), (condition, rows)
    await owner.close()
