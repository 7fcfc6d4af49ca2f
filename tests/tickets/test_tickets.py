"""Tickets through the API: opening, answering, moving on, giving to somebody, and who may."""

import asyncio
from typing import Any

import asyncpg
import pytest
from sqlalchemy import select

from ispgraph import ids
from ispgraph.db import Database
from ispgraph.domain import tickets
from ispgraph.domain.models import AuditEntry, Role
from ispgraph.domain.tickets import LONGEST_TOLD, shortened
from ispgraph.invariants import check
from tests import subscribers
from tests.api import Api
from tests.conftest import Dsns
from tests.factories import House
from tests.statements import counted
from tests.tickets.conftest import At
from tests.tickets.counter import Counter, cus, faults, opr

DELETE = "mutation ($id: ID!) { customerDelete(customerId: $id) { errors { code message field } } }"
AS_CUSTOMER = """query ($id: ID!, $cus: ID!) { node(id: $id) { ... on Ticket { replies { body internal } } }
  customer(by: {id: $cus}) { tickets { totalCount nodes { replies { body } } } }
  tickets { nodes { replies { body } } } }"""


async def actions(house: House) -> list[tuple[str, dict[str, Any]]]:
    """The audit entries of tickets, in order, without the ids of replies."""
    async with house.database.read(house.tenant.id) as session:
        rows = select(AuditEntry).where(AuditEntry.action.startswith("ticket.")).order_by(AuditEntry.id)
        found = list(await session.scalars(rows))
    return [(row.action, {name: value for name, value in row.details.items() if name != "reply"}) for row in found]


async def test_from_the_complaint_to_the_end(house: House, desk: Counter, at: At) -> None:
    customer = await subscribers.customer(house, email="ann@example.com")
    ticket = await desk.opened(customer)
    key = ticket["id"]
    assert key.startswith("tkt_")
    assert ticket == {
        "id": key,
        "number": "TKT-2026-000001",
        "version": 1,
        "status": "OPEN",
        "subject": "No internet",
        "body": "It has been dark since noon.",
        "category": "COMPLAINT",
        "priority": "MEDIUM",
        "createdAt": "2026-03-10T06:00:00Z",
        "updatedAt": "2026-03-10T06:00:00Z",
        "firstResponseDueAt": "2026-03-10T14:00:00Z",
        "firstResponseOverdue": False,
        "firstRespondedAt": None,
        "firstResponseSeconds": None,
        "resolvedAt": None,
        "closedAt": None,
        "reopenCount": 0,
        "resolutionSeconds": None,
        "customer": {"id": cus(customer), "name": "Ann Example"},
        "assignee": None,
        "createdBy": {"id": opr(house.admin)},
        "replies": [],
    }
    at(minutes=10)
    noted = (await desk.reply(key, "Mind the dog.", internal=True))["ticket"]
    assert (noted["status"], noted["firstRespondedAt"], noted["version"]) == ("OPEN", None, 1)
    assert noted["updatedAt"] == "2026-03-10T06:10:00Z"
    assert await desk.told(customer) == []
    at(minutes=20)
    answered = (await desk.reply(key, "We are\n\nlooking {at} it."))["ticket"]
    assert (answered["status"], answered["firstResponseSeconds"]) == ("IN_PROGRESS", 1200)
    said = "North Networks: Dear Ann Example, ticket TKT-2026-000001: We are looking {at} it."
    assert sorted(await desk.told(customer)) == [("EMAIL", said), ("SMS", said)]
    at(minutes=30)
    assert (await desk.status(key, "PENDING"))["ticket"]["resolutionSeconds"] is None
    at(hours=5)
    again = (await desk.reply(key, "Is it well?"))["ticket"]
    assert (again["status"], again["firstResponseSeconds"]) == ("PENDING", 1200)
    at(hours=6)
    await desk.status(key, "IN_PROGRESS")
    at(hours=7)
    done = (await desk.status(key, "RESOLVED"))["ticket"]
    # Half an hour before the customer was waited for, and an hour after.
    assert (done["resolvedAt"], done["resolutionSeconds"]) == ("2026-03-10T13:00:00Z", 5400)
    at(hours=10)
    back = (await desk.reply(key, "It is not, after all."))["ticket"]
    assert (back["status"], back["reopenCount"], back["resolvedAt"]) == ("IN_PROGRESS", 1, None)
    assert back["resolutionSeconds"] is None
    at(hours=11)
    await desk.status(key, "RESOLVED")
    at(hours=20)
    closed = (await desk.status(key, "CLOSED"))["ticket"]
    assert (closed["resolvedAt"], closed["closedAt"]) == ("2026-03-10T17:00:00Z", "2026-03-11T02:00:00Z")
    assert (closed["resolutionSeconds"], closed["reopenCount"]) == (9000, 1)
    assert [(each["author"], each["internal"], each["body"]) for each in closed["replies"]] == [
        ("Admin Example", True, "Mind the dog."),
        ("Admin Example", False, "We are\n\nlooking {at} it."),
        ("Admin Example", False, "Is it well?"),
        ("Admin Example", False, "It is not, after all."),
    ]
    assert await desk.read(key) == closed
    number = {"ticket": "TKT-2026-000001"}
    assert await actions(house) == [
        ("ticket.create", number | {"category": "COMPLAINT", "priority": "MEDIUM"}),
        ("ticket.reply", number | {"internal": True}),
        ("ticket.reply", number | {"internal": False, "status": ["OPEN", "IN_PROGRESS"]}),
        ("ticket.set_status", number | {"status": ["IN_PROGRESS", "PENDING"]}),
        ("ticket.reply", number | {"internal": False}),
        ("ticket.set_status", number | {"status": ["PENDING", "IN_PROGRESS"]}),
        ("ticket.set_status", number | {"status": ["IN_PROGRESS", "RESOLVED"]}),
        ("ticket.reply", number | {"internal": False, "status": ["RESOLVED", "IN_PROGRESS"]}),
        ("ticket.set_status", number | {"status": ["IN_PROGRESS", "RESOLVED"]}),
        ("ticket.set_status", number | {"status": ["RESOLVED", "CLOSED"]}),
    ]


async def test_closed_for_good_after_thirty_days(house: House, desk: Counter, at: At) -> None:
    ticket = await desk.opened(await subscribers.customer(house))
    key = ticket["id"]
    await desk.status(key, "CLOSED")
    assert faults(await desk.reply(key)) == [("INVALID_STATE", "ticketId")]
    assert faults(await desk.update(key, priority="HIGH")) == [("INVALID_STATE", "input.ticketId")]
    assert faults(await desk.reply(key, "He called again.", internal=True)) == []
    at(days=29, hours=23)
    back = (await desk.status(key, "OPEN"))["ticket"]
    assert (back["status"], back["closedAt"], back["resolvedAt"], back["reopenCount"]) == ("OPEN", None, None, 1)
    await desk.status(key, "CLOSED")
    at(days=59, hours=23)
    refused = await desk.status(key, "OPEN")
    assert refused["errors"] == [
        {
            "code": "INVALID_STATE",
            "message": "A closed ticket can be reopened for 30 days: open a new one instead.",
            "field": ["status"],
        }
    ]
    assert (await desk.read(key) or {})["status"] == "CLOSED"


async def test_what_is_wrong_is_told_at_once_and_changes_nothing(house: House, desk: Counter) -> None:
    customer = await subscribers.customer(house)
    wrong = await desk.create(customer, subject=" ", body="\x07")
    assert faults(wrong) == [("REQUIRED", "input.subject"), ("INVALID", "input.body")]
    assert faults(await desk.create(customer, subject="x" * 201)) == [("INVALID", "input.subject")]
    assert faults(await desk.create(customer, body="x" * 10_001)) == [("INVALID", "input.body")]
    assert faults(await desk.create(customer, customerId=ids.encode("cus", ids.uuid7()))) == [
        ("NOT_FOUND", "input.customerId")
    ]
    ticket = await desk.opened(customer)
    key = ticket["id"]
    assert ticket["number"].endswith("-000001"), "those that were refused took no number"
    assert faults(await desk.reply(key, "  ")) == [("REQUIRED", "body")]
    assert faults(await desk.reply(key, "x" * 10_001)) == [("INVALID", "body")]
    assert faults(await desk.status(key, "OPEN")) == [("NO_CHANGE", "status")]
    assert faults(await desk.assign(key, None)) == [("NO_CHANGE", "operatorId")]
    assert faults(await desk.update(key, subject="")) == [("REQUIRED", "input.subject")]
    for nobody in (ids.encode("tkt", ids.uuid7()), cus(customer), "tkt_1"):
        assert faults(await desk.reply(nobody)) == [("NOT_FOUND", "ticketId")]
        assert faults(await desk.status(nobody, "CLOSED")) == [("NOT_FOUND", "ticketId")]
        assert faults(await desk.assign(nobody, None)) == [("NOT_FOUND", "ticketId")]
        assert faults(await desk.update(nobody)) == [("NOT_FOUND", "input.ticketId")]
    assert await desk.read(key) == ticket


async def test_corrections_with_the_version_that_was_seen(house: House, desk: Counter, at: At) -> None:
    ticket = await desk.opened(await subscribers.customer(house))
    key = ticket["id"]
    made = (await desk.update(key, subject=" Slow ", category="TECHNICAL", priority="URGENT", expectedVersion=1))[
        "ticket"
    ]
    assert [made[name] for name in ("subject", "category", "priority", "version")] == ["Slow", "TECHNICAL", "URGENT", 2]
    assert made["firstResponseDueAt"] == "2026-03-10T07:00:00Z"
    assert faults(await desk.update(key, priority="LOW", expectedVersion=1)) == [
        ("VERSION_CONFLICT", "input.expectedVersion")
    ]
    same = (await desk.update(key, subject="Slow", priority="URGENT"))["ticket"]
    assert same == made
    at(minutes=61)
    assert (await desk.read(key) or {})["firstResponseOverdue"] is True
    answered = (await desk.reply(key))["ticket"]
    assert (answered["firstResponseOverdue"], answered["firstResponseSeconds"]) == (False, 3660)
    # Once it was answered, another priority does not say that it should have been answered later.
    assert (await desk.update(key, priority="LOW"))["ticket"]["firstResponseDueAt"] == "2026-03-10T07:00:00Z"
    assert [details for action, details in await actions(house) if action == "ticket.update"] == [
        {
            "ticket": "TKT-2026-000001",
            "subject": ["No internet", "Slow"],
            "category": ["COMPLAINT", "TECHNICAL"],
            "priority": ["MEDIUM", "URGENT"],
        },
        {"ticket": "TKT-2026-000001", "priority": ["URGENT", "LOW"]},
    ]


async def test_given_to_those_who_can_work_on_it(api: Api, house: House, other_house: House, desk: Counter) -> None:
    reseller, rival = await house.operator(Role.OPERATOR), await house.operator(Role.OPERATOR)
    seller = await house.operator(Role.STAFF, reseller, name="Seller")
    clerk = await house.operator(Role.STAFF, name="Clerk")
    blind = await house.operator(Role.STAFF, permissions=["MANAGE_TICKETS"])
    accountant = await house.operator(Role.ACCOUNTANT)
    gone = await house.operator(Role.STAFF, active=False)
    ticket = await desk.opened(await subscribers.customer(house, operator_id=reseller.id))
    key = ticket["id"]
    for fit in (clerk, reseller, seller):
        payload = await desk.assign(key, fit)
        assert payload["errors"] == []
        assert payload["ticket"]["assignee"]["id"] == opr(fit)
    assert faults(await desk.assign(key, seller)) == [("NO_CHANGE", "operatorId")]
    for unfit in (rival, blind, accountant, gone):
        assert faults(await desk.assign(key, unfit)) == [("INVALID_STATE", "operatorId")], unfit.name
    assert faults(await desk.assign(key, other_house.admin)) == [("NOT_FOUND", "operatorId")]
    # A reseller gives it to those below, not to the provider's staff, of whom it knows nothing.
    assert faults(await Counter(api, reseller).assign(key, clerk)) == [("NOT_FOUND", "operatorId")]
    assert (await Counter(api, reseller).assign(key, None))["ticket"]["assignee"] is None
    assert (await Counter(api, seller).assign(key, seller))["ticket"]["version"] == 6
    changes = [details["assignee"] for action, details in await actions(house) if action == "ticket.assign"]
    assert changes[:2] == [[None, str(clerk.id)], [str(clerk.id), str(reseller.id)]]
    assert changes[-2:] == [[str(seller.id), None], [None, str(seller.id)]]


async def test_nobody_else_sees_or_touches_it(api: Api, house: House, other_house: House, desk: Counter) -> None:
    reseller, rival = await house.operator(Role.OPERATOR), await house.operator(Role.OPERATOR)
    blind = await house.operator(Role.STAFF, permissions=["MANAGE_TICKETS"])
    customer = await subscribers.customer(house, operator_id=reseller.id)
    ticket = await Counter(api, reseller).opened(customer)
    key = ticket["id"]
    assert await desk.subjects() == ["No internet"]
    for stranger in (rival, blind, other_house.admin):
        other = Counter(api, stranger)
        assert await other.read(key) is None
        assert await other.subjects() == []
        assert await other.subjects(search="internet") == []
        assert faults(await other.create(customer)) == [("NOT_FOUND", "input.customerId")]
        assert faults(await other.reply(key)) == [("NOT_FOUND", "ticketId")]
        assert faults(await other.status(key, "CLOSED")) == [("NOT_FOUND", "ticketId")]
        assert faults(await other.assign(key, stranger)) == [("NOT_FOUND", "ticketId")]
        assert faults(await other.update(key, priority="LOW")) == [("NOT_FOUND", "input.ticketId")]
    assert await Counter(api, reseller).read(key) == ticket
    # Without the permission there are no tickets on the page of a customer, and the mutations are refused.
    accountant = await house.operator(Role.ACCOUNTANT)
    assert await Counter(api, accountant).read(key) is None
    page = "query ($id: ID!) { customer(by: {id: $id}) { tickets { totalCount nodes { id } } } }"
    answer = await api.data(page, accountant, id=cus(customer))
    assert answer["customer"]["tickets"] == {"totalCount": 0, "nodes": []}
    refused = await api("{ tickets { totalCount } }", accountant)
    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_notes_are_for_operators_alone(api: Api, house: House, desk: Counter) -> None:
    customer = await subscribers.customer(house, email="ann@example.com")
    key = (await desk.opened(customer))["id"]
    await desk.reply(key, "A difficult one.", internal=True)
    await desk.reply(key, "Good day.")
    portal = await house.operator(Role.CUSTOMER, permissions=["VIEW_CUSTOMERS", "MANAGE_TICKETS"])
    answer = await api.data(AS_CUSTOMER, portal, id=key, cus=cus(customer))
    assert answer["node"] == {"replies": [{"body": "Good day.", "internal": False}]}
    seen = {"replies": [{"body": "Good day."}]}
    assert answer["customer"]["tickets"] == {"totalCount": 1, "nodes": [seen]}
    assert answer["tickets"] == {"nodes": [seen]}
    assert all("difficult" not in body for _, body in await desk.told(customer))


async def test_the_same_key_does_it_once(house: House, desk: Counter) -> None:
    customer = await subscribers.customer(house)
    made = await asyncio.gather(*(desk.create(customer, idempotencyKey="k") for _ in range(5)))
    (key,) = {payload["ticket"]["id"] for payload in made}
    assert await desk.subjects() == ["No internet"]
    assert faults(await desk.create(customer, idempotencyKey="k", body="Another.")) == [
        ("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")
    ]
    said = await asyncio.gather(*(desk.reply(key, "Good day.", idempotencyKey="k") for _ in range(5)))
    assert [payload["errors"] for payload in said] == [[]] * 5
    assert len((await desk.read(key) or {})["replies"]) == 1
    assert len(await desk.told(customer)) == 1
    assert faults(await desk.reply(key, "Good day.", internal=True, idempotencyKey="k")) == [
        ("IDEMPOTENCY_KEY_REUSED", "idempotencyKey")
    ]


async def test_at_once(house: House, owner: Database, desk: Counter) -> None:
    customer = await subscribers.customer(house)
    await subscribers.service(house, customer)
    made = await asyncio.gather(*(desk.opened(customer, subject=f"Matter {number}") for number in range(8)))
    year = made[0]["number"].split("-")[1]
    assert sorted(ticket["number"] for ticket in made) == [f"TKT-{year}-{number:06d}" for number in range(1, 9)]
    key = made[0]["id"]
    # Both stand, and the ticket was taken on once.
    await asyncio.gather(*(desk.reply(key, f"Answer {number}.") for number in range(6)))
    ticket = await desk.read(key) or {}
    assert sorted(each["body"] for each in ticket["replies"]) == [f"Answer {number}." for number in range(6)]
    assert (ticket["status"], ticket["version"]) == ("IN_PROGRESS", 2)
    # Of several who resolve it one does.
    done = await asyncio.gather(*(desk.status(key, "RESOLVED") for _ in range(6)))
    assert sorted(map(str, map(faults, done))) == [str([("NO_CHANGE", "status")])] * 5 + ["[]"]
    # An answer and a closing: either comes first, and what stands then is one after the other.
    said, closed = await asyncio.gather(desk.reply(key, "Well?"), desk.status(key, "CLOSED"))
    ticket = await desk.read(key) or {}
    assert faults(closed) == []
    assert (ticket["status"], len(ticket["replies"])) == ("CLOSED", 6 + (not said["errors"]))
    assert ticket["reopenCount"] == (not said["errors"])
    assert [finding.rule.name for finding in await check(owner) if finding.broken] == []


async def test_only_so_many_replies(house: House, desk: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "MOST_REPLIES", 2)
    key = (await desk.opened(await subscribers.customer(house)))["id"]
    assert faults(await desk.reply(key)) == faults(await desk.reply(key, internal=True)) == []
    assert faults(await desk.reply(key)) == [("LIMIT_EXCEEDED", "ticketId")]
    assert len((await desk.read(key) or {})["replies"]) == 2


async def test_a_customer_with_a_ticket_stays(api: Api, house: House, desk: Counter) -> None:
    customer = await subscribers.customer(house)
    await desk.opened(customer)
    found = (await api.data(DELETE, house.admin, id=cus(customer)))["customerDelete"]
    assert found["errors"] == [
        {"code": "INVALID_STATE", "message": "A customer with 1 ticket cannot be deleted.", "field": ["customerId"]}
    ]


async def test_the_database_keeps_what_was_said(dsns: Dsns, house: House, desk: Counter) -> None:
    ticket = await desk.opened(await subscribers.customer(house))
    await desk.reply(ticket["id"])
    statements = {
        "UPDATE ticket_replies SET body = 'other'": "append-only",
        "UPDATE ticket_replies SET internal = true": "append-only",
        "DELETE FROM ticket_replies": "append-only",
        "DELETE FROM tickets": "append-only",
        "TRUNCATE tickets, ticket_replies": "append-only",
        "UPDATE tickets SET number = 'TKT-1'": None,
        "UPDATE tickets SET body = 'other'": None,
    }
    for dsn in (dsns.app, dsns.owner):
        connection = await asyncpg.connect(dsn)
        await connection.execute("SELECT set_config('app.tenant_id', $1, false)", str(house.tenant.id))
        for statement, told in statements.items():
            if dsn == dsns.app:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
            elif told:
                with pytest.raises(asyncpg.RestrictViolationError, match=told):
                    await connection.execute(statement)
        await connection.close()


async def test_one_statement_however_many(api: Api, house: House, database: Database, desk: Counter) -> None:
    document = """query ($id: ID!) { tickets(first: 50) { totalCount nodes { number firstResponseOverdue
      firstResponseSeconds resolutionSeconds customer { name } assignee { name } replies { author body } } }
      customer(by: {id: $id}) { tickets(status: [OPEN, IN_PROGRESS]) { totalCount
      nodes { subject replies { at } } } } }"""
    customer = await subscribers.customer(house)
    numbers = []
    for batch in (2, 6):
        for _ in range(batch):
            key = (await desk.opened(customer))["id"]
            await desk.reply(key)
            await desk.assign(key, house.admin)
        await api.data(document, house.admin, id=cus(customer))
        with counted(database) as seen:
            answer = await api.data(document, house.admin, id=cus(customer))
        numbers.append(len(seen))
    assert answer["tickets"]["totalCount"] == answer["customer"]["tickets"]["totalCount"] == 8
    assert numbers == [2, 2], "one for each root field"


def test_how_much_of_an_answer_is_told() -> None:
    assert shortened(" a\n\n b\tc ") == "a b c"
    assert shortened("x" * LONGEST_TOLD) == "x" * LONGEST_TOLD
    assert shortened("x" * (LONGEST_TOLD + 1)) == "x" * (LONGEST_TOLD - 3) + "..."
    told = shortened("word " * 100)
    assert told == "word " * 38 + "word..."
    assert len(told) <= LONGEST_TOLD
