"""A customer's timeline: everything in one order, by pages both ways, with a bounded number of statements."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain.models import (
    AuditEntry,
    Customer,
    Invoice,
    InvoiceStatus,
    Job,
    JobStatus,
    Message,
    MessageChannel,
    MessageStatus,
    Operator,
    Payment,
    PaymentCategory,
    PaymentMethod,
    PaymentStatus,
    Role,
    Zone,
)
from tests import accounting
from tests.api import Api
from tests.crowd import customer
from tests.factories import House
from tests.statements import counted
from tests.tickets.counter import Counter, cus

ENTRY = "at kind summary actor before after"
PAGE = f"""query ($id: ID!, $first: Int, $after: String, $last: Int, $before: String) {{ customer(by: {{id: $id}}) {{
  timeline(first: $first, after: $after, last: $last, before: $before) {{ totalCount
    pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} edges {{ cursor node {{ {ENTRY} }} }} }} }} }}"""
NODES = f"query ($id: ID!) {{ customer(by: {{id: $id}}) {{ timeline {{ nodes {{ {ENTRY} }} }} }} }}"
MANY = "{ customers(first: 50) { nodes { name timeline(first: 3) { nodes { summary } } } } }"
UPDATE = """mutation ($input: CustomerUpdateInput!) { customerUpdate(input: $input) { errors { message } } }"""
START = datetime(2026, 3, 10, 6, 0, tzinfo=UTC)


async def told(api: Api, who: Operator, whom: Customer, **page: Any) -> dict[str, Any]:
    answer = await api.data(PAGE, who, id=cus(whom), **page)
    found: dict[str, Any] = answer["customer"]["timeline"]
    return found


async def summaries(api: Api, who: Operator, whom: Customer) -> list[str]:
    answer = await api.data(NODES, who, id=cus(whom))
    return [entry["summary"] for entry in answer["customer"]["timeline"]["nodes"]]


async def furnish(house: House, owner: Database, someone: Customer, number: int) -> None:
    """So many rows of each source, in the course of a day, and sessions in between, some within one millisecond."""
    rows: list[Any] = []
    mark = someone.id.int % 10**9
    for n in range(number):
        at = START + timedelta(hours=n)
        key = ids.lowest(at).int | 7 << 76 | 2 << 62
        names = iter(UUID(int=key + mark * 10 + place) for place in range(5))
        rows += [
            Invoice(
                id=next(names),
                customer_id=someone.id,
                number=f"INV-{mark}-{n}",
                status=InvoiceStatus.OPEN,
                subtotal_minor=100,
                tax_minor=0,
                total_minor=100,
                created_at=at,
            ),
            Payment(
                id=next(names),
                customer_id=someone.id,
                number=f"PAY-{mark}-{n}",
                amount_minor=12_345,
                method=PaymentMethod.CASH,
                status=PaymentStatus.COMPLETED,
                category=PaymentCategory.OTHER,
                collected_by_id=house.admin.id,
                received_at=at,
            ),
            Message(
                id=next(names),
                customer_id=someone.id,
                channel=MessageChannel.SMS,
                to="+8801700000000",
                event="service.suspended",
                body="secret words",
                status=MessageStatus.DELIVERED,
                segments=1,
            ),
            Job(id=next(names), customer_id=someone.id, kind="service.apply", status=JobStatus.FAILED, message="no"),
            AuditEntry(id=next(names), action="customer.suspend", subject_id=someone.id, at=at, details={}),
        ]
    await house.add(*rows)
    for n in range(number):
        # At the millisecond of the others, a little after it, and between the hours.
        for late in (timedelta(0), timedelta(microseconds=1), timedelta(minutes=30)):
            began = START + timedelta(hours=n) + late
            await accounting.account(owner, house, accounting.session(someone, began))


async def test_pages_both_ways_make_the_whole_list(api: Api, house: House, owner: Database) -> None:
    await house.add(someone := customer(house, "Someone"), other := customer(house, "Other"))
    await furnish(house, owner, someone, 3)
    await furnish_another(house, other)
    whole = await told(api, house.admin, someone, first=100)
    entries = [edge["node"] for edge in whole["edges"]]
    assert len(entries) == whole["totalCount"] == 3 * 8
    instants = [datetime.fromisoformat(entry["at"]) for entry in entries]
    assert instants == sorted(instants, reverse=True)
    assert {entry["kind"] for entry in entries} == {"INVOICE", "PAYMENT", "MESSAGE", "JOB", "ACTION", "SESSION"}
    assert (whole["pageInfo"]["hasNextPage"], whole["pageInfo"]["hasPreviousPage"]) == (False, False)
    assert whole["pageInfo"]["endCursor"] == whole["edges"][-1]["cursor"]
    for size in (1, 5):
        forwards: list[Any] = []
        backwards: list[Any] = []
        page: dict[str, Any] = {"first": size}
        while True:
            found = await told(api, house.admin, someone, **page)
            forwards += found["edges"]
            assert found["pageInfo"]["hasPreviousPage"] == ("after" in page)
            if not found["pageInfo"]["hasNextPage"]:
                break
            page = {"first": size, "after": found["pageInfo"]["endCursor"]}
        page = {"last": size}
        while True:
            found = await told(api, house.admin, someone, **page)
            backwards = found["edges"] + backwards
            if not found["pageInfo"]["hasPreviousPage"]:
                break
            page = {"last": size, "before": found["pageInfo"]["startCursor"]}
        assert forwards == whole["edges"], size
        assert backwards == whole["edges"], size
    inner = await told(
        api, house.admin, someone, after=whole["edges"][4]["cursor"], before=whole["edges"][20]["cursor"], first=50
    )
    assert inner["edges"] == whole["edges"][5:20]


async def furnish_another(house: House, other: Customer) -> None:
    await house.add(AuditEntry(action="customer.suspend", subject_id=other.id, at=clock.now(), details={}))


async def test_a_page_is_one_statement_however_many_rows_and_customers(
    api: Api, house: House, owner: Database, database: Database
) -> None:
    counts = []
    for batch in (range(2), range(2, 9)):
        for n in batch:
            await house.add(someone := customer(house, f"Someone {n}"))
            await furnish(house, owner, someone, n)
        for document, variables in ((NODES, {"id": cus(someone)}), (PAGE, {"id": cus(someone)}), (MANY, {})):
            await api.data(document, house.admin, **variables)
            with counted(database) as seen:
                answer = await api.data(document, house.admin, **variables)
            counts.append(len(seen))
    # The customers, the same as rows, and the page; and the number of all.
    assert counts == [3, 4, 3] * 2, seen
    lengths = {node["name"]: len(node["timeline"]["nodes"]) for node in answer["customers"]["nodes"]}
    assert lengths == {"Someone 0": 0} | {f"Someone {n}": 3 for n in range(1, 9)}


async def test_a_change_says_what_was_before_and_after(api: Api, house: House) -> None:
    await house.add(someone := customer(house, "Someone", company=None))
    await house.add(area := Zone(name="East"))
    changes = {
        "customerId": cus(someone),
        "name": "Somebody",
        "company": "Example Ltd",
        "zoneId": ids.encode("zon", area.id),
    }
    assert (await api.data(UPDATE, house.admin, input=changes))["customerUpdate"]["errors"] == []
    (edge,) = (await told(api, house.admin, someone))["edges"]
    entry = edge["node"]
    assert entry.pop("at") is not None
    assert entry == {
        "kind": "CHANGE",
        "summary": "Changed: name, company, zone id",
        "actor": house.admin.name,
        "before": {"name": "Someone", "company": None, "zone_id": None},
        "after": {"name": "Somebody", "company": "Example Ltd", "zone_id": str(area.id)},
    }


async def test_only_who_works_on_tickets_sees_them_and_nobody_sees_notes(api: Api, house: House) -> None:
    await house.add(someone := customer(house, "Someone"))
    clerk = await house.operator(Role.STAFF)
    accountant = await house.operator(Role.ACCOUNTANT)
    desk = Counter(api, clerk)
    ticket = await desk.opened(someone, subject="No light")
    await desk.reply(ticket["id"], "We are coming.")
    await desk.reply(ticket["id"], "He was rude.", internal=True)
    await desk.status(ticket["id"], "RESOLVED")
    seen = await summaries(api, clerk, someone)
    number = ticket["number"]
    assert [each for each in seen if "Ticket" in each] == [
        f"Ticket: set status ({number})",
        f"Ticket: reply ({number})",
        f"Ticket {number}: No light",
    ]
    others = await summaries(api, accountant, someone)
    assert [each for each in others if "Ticket" in each] == []
    assert (await told(api, accountant, someone))["totalCount"] == len(others) == len(seen) - 3


async def test_who_may_not_see_the_customer_sees_nothing(api: Api, house: House, other_house: House) -> None:
    await house.add(someone := customer(house, "Someone"))
    await furnish_another(house, someone)
    reseller = await house.operator(Role.OPERATOR)
    for who in (reseller, other_house.admin):
        assert await api.data(NODES, who, id=cus(someone)) == {"customer": None}


@pytest.mark.parametrize("page", [{"first": 101}, {"last": -1}, {"after": "x"}, {"first": 1, "last": 1}])
async def test_a_bad_page_is_named(api: Api, house: House, page: dict[str, Any]) -> None:
    await house.add(someone := customer(house, "Someone"))
    response = await api(PAGE, house.admin, id=cus(someone), **page)
    error = response["errors"][0]
    assert error["extensions"]["code"] == "BAD_REQUEST"
    assert error["extensions"]["field"] == [list(page)[-1]]
