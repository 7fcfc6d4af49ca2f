"""Pages of lists through the API: every row once and in order, however rows come and go between the pages."""

import base64
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from ispgraph import ids
from ispgraph.db import Database
from ispgraph.domain.customer_lists import CustomerOrderField
from ispgraph.domain.models import Customer, CustomerStatus, Invoice, Job, Operator, Package
from ispgraph.settings import Settings
from tests import accounting
from tests.api import Api
from tests.billing.conftest import Till
from tests.conftest import Dsns
from tests.crowd import customer, service
from tests.factories import House
from tests.wizard import Wizard

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
FOREVER = datetime.max.replace(tzinfo=UTC)
# Equal names, names that differ in case alone, letters of one to four bytes, and what JSON has to escape.
NAMES = ["Ann", "ann", "Ann", "Émile", "émile", "Zoë", "রহিম উদ্দিন", "😀 Net", 'a "b" \\c', "😀" * 255]

DOCUMENT = """query ($first: Int, $after: String, $last: Int, $before: String) { %(opening)s
  page: %(field)s { edges { cursor node { id } } nodes { id }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } }
  plain: %(field)s { nodes { id } } %(closing)s }"""


@pytest.fixture(
    params=[pytest.param(True, id="compiled"), pytest.param(False, id="field by field", marks=pytest.mark.long)]
)
def settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Lists are read by the compiler, and without it by loaders: by the same rules."""
    return replace(settings, compiled_reads=request.param)


@dataclass
class Listing:
    """One list of the API, as one operator reads it."""

    api: Api
    who: Operator
    field: str
    arguments: str = ""
    below: UUID | None = None
    """The customer it is a list of."""

    def document(self) -> str:
        """The query for a page, asked for whole and for its nodes alone."""
        page = "first: $first, after: $after, last: $last, before: $before"
        parts = {"field": f"{self.field}({self.arguments} {page})", "opening": "", "closing": ""}
        if self.below is not None:
            opening = f'customer(by: {{id: "{ids.encode("cus", self.below)}"}}) {{'
            parts |= {"opening": opening, "closing": "}"}
        return DOCUMENT % parts

    async def page(self, **arguments: Any) -> dict[str, Any]:
        """A page: its rows as UUIDs, with its pageInfo."""
        data = await self.api.data(self.document(), self.who, **arguments)
        shown = data if self.below is None else data["customer"]
        page, edges = shown["page"], shown["page"]["edges"]
        nodes = [edge["node"] for edge in edges]
        assert page["nodes"] == nodes
        assert shown["plain"]["nodes"] == nodes
        info = page["pageInfo"]
        assert info["startCursor"] == (edges[0]["cursor"] if edges else None)
        assert info["endCursor"] == (edges[-1]["cursor"] if edges else None)
        return {**info, "rows": [ids.parse(node["id"])[1] for node in nodes], "edges": edges}

    async def refusal(self, **arguments: Any) -> tuple[str, list[str], str]:
        """Code, field and message of each of the answers to a page that cannot be; they are the same."""
        errors = (await self.api(self.document(), self.who, **arguments))["errors"]
        found = {json.dumps([error["extensions"], error["message"]]) for error in errors}
        [(extensions, message)] = map(json.loads, found)
        assert set(extensions) == {"code", "field"}
        return extensions["code"], extensions["field"], message

    async def walk(
        self, size: Callable[[], int], between: Callable[[], Awaitable[None]] | None = None, *, backwards: bool = False
    ) -> list[UUID]:
        """All rows in the order of the list, page by page from one end."""
        seen: list[UUID] = []
        border: str | None = None
        while True:
            wanted = size()
            if not backwards:
                found = await self.page(first=wanted, after=border)
                assert found["hasPreviousPage"] is (border is not None)
                seen, on, border = seen + found["rows"], found["hasNextPage"], found["endCursor"]
            else:
                found = await self.page(last=wanted, before=border)
                assert found["hasNextPage"] is (border is not None)
                seen, on, border = found["rows"] + seen, found["hasPreviousPage"], found["startCursor"]
            if not on:
                return seen
            assert len(found["rows"]) == wanted
            if between is not None:
                await between()


def in_order(field: CustomerOrderField, *, descending: bool = False) -> str:
    """The argument that sorts customers."""
    return f"orderBy: {{field: {field.name}, direction: {'DESC' if descending else 'ASC'}}},"


@dataclass
class Crowd:
    """Customers that come and go, with what each order sorts them by."""

    house: House
    package: Package
    chance: random.Random
    keys: dict[UUID, dict[CustomerOrderField, tuple[Any, ...]]]
    guests: list[UUID]
    """Those who may go again."""

    async def join(self, *, guest: bool) -> Customer:
        """One more customer, with or without a service, at a random place in every order."""
        chance = self.chance
        row = customer(
            self.house,
            chance.choice(NAMES),
            id=UUID(int=chance.getrandbits(128)),
            account_number=f"{chance.randrange(10)}-{uuid4().hex[:8]}",
            status=chance.choice(list(CustomerStatus)),
        )
        await self.house.add(row)
        expires = None
        if chance.random() < 0.6:
            expires = chance.choice([NOW, NOW + timedelta(microseconds=1), NOW + timedelta(days=9), None])
            await self.house.add(service(row, self.package.id, expires_at=expires))
        by = CustomerOrderField
        self.keys[row.id] = {
            by.CREATED_AT: (),
            by.NAME: (row.name.lower(),),
            by.ACCOUNT_NUMBER: (row.account_number,),
            by.EXPIRES_AT: (expires or FOREVER,),
            by.BALANCE: (0,),
            by.STATUS: (row.status.value,),
        }
        if guest:
            self.guests.append(row.id)
        return row

    async def change(self, connection: "asyncpg.Connection[Any]") -> None:
        """Somebody comes, or somebody goes."""
        if self.guests and self.chance.random() < 0.5:
            gone = self.guests.pop(self.chance.randrange(len(self.guests)))
            await connection.execute("DELETE FROM services WHERE customer_id = $1", gone)
            await connection.execute("DELETE FROM customers WHERE id = $1", gone)
        else:
            await self.join(guest=True)

    def sorted(self, rows: list[UUID], by: CustomerOrderField, *, descending: bool) -> list[UUID]:
        """The rows as they are to stand in a list."""
        return sorted(rows, key=lambda row: (*self.keys[row][by], row.int), reverse=descending)


@pytest.fixture
async def crowd(house: House) -> Crowd:
    """25 customers who stay."""
    made = Crowd(house, await house.package(), random.Random(20260615), {}, [])
    till = Till(house, await house.viewer())
    for number in range(25):
        row = await made.join(guest=False)
        balance = (-300, 0, 0, 700)[number % 4]
        if balance < 0:
            await till.bill(row.id, -balance)
        elif balance:
            await till.pay(balance, customer_id=row.id)
        made.keys[row.id][CustomerOrderField.BALANCE] = (balance,)
    return made


async def test_customers_come_and_go_while_somebody_turns_the_pages(api: Api, crowd: Crowd, dsns: Dsns) -> None:
    connection = await asyncpg.connect(dsns.superuser)
    who, chance, stay = crowd.house.admin, crowd.chance, set(crowd.keys)
    for by in CustomerOrderField:
        for descending in (False, True):
            listing = Listing(api, who, "customers", in_order(by, descending=descending))
            for backwards in (False, True):
                # While nothing changes, in one page and in many.
                there = crowd.sorted([*stay, *crowd.guests], by, descending=descending)
                assert (await listing.page(first=100))["rows"] == there, (by, descending)
                assert await listing.walk(lambda: 9, backwards=backwards) == there, (by, descending, backwards)
                # And while rows come and go on both sides of the border.
                seen = await listing.walk(
                    lambda: chance.randint(1, 8), lambda: crowd.change(connection), backwards=backwards
                )
                assert seen == crowd.sorted(list(set(seen)), by, descending=descending), (by, descending, backwards)
                assert stay <= set(seen)
    await connection.close()


async def test_what_is_searched_and_filtered_is_paged_alike(api: Api, crowd: Crowd) -> None:
    for search, status in (("019000", "[ACTIVE, PENDING, EXPIRED]"), ("ann", "[ACTIVE, SUSPENDED, TERMINATED]")):
        for by in CustomerOrderField:
            wanted = f'{in_order(by)} search: "{search}", where: {{status: {status}}},'
            listing = Listing(api, crowd.house.admin, "customers", wanted)
            whole = (await listing.page(first=100))["rows"]
            assert 2 < len(whole) < 20
            statuses = {crowd.keys[row][CustomerOrderField.STATUS][0] for row in whole}
            assert statuses <= set(status.strip("[]").split(", "))
            assert whole == crowd.sorted(whole, by, descending=False)
            assert await listing.walk(lambda: 2) == await listing.walk(lambda: 3, backwards=True) == whole


async def test_lists_below_a_customer_grow_while_somebody_turns_the_pages(
    api: Api, owner: Database, house: House, dsns: Dsns
) -> None:
    till, chance = Till(house, await house.viewer()), random.Random(7)
    ann, bob = await till.customer(), await till.customer()
    connection = await asyncpg.connect(dsns.superuser)
    guests: list[tuple[str, UUID]] = []

    async def money() -> None:
        for row in (ann, bob):
            await till.pay(5, await till.bill(row.id, 10))

    async def session(guest: bool) -> None:
        # Several begin at the same time.
        rows = [accounting.session(row, NOW + chance.randrange(4) * timedelta(seconds=1)) for row in (ann, bob)]
        for row in rows:
            row.id = UUID(int=chance.getrandbits(128))
        guests.extend(("sessions", row.id) for row in rows if guest)
        await accounting.account(owner, house, *rows)

    async def draft_and_job(guest: bool) -> None:
        for row in (ann, bob):
            figures = {"subtotal_minor": 1, "tax_minor": 0, "total_minor": 1}
            draft = Invoice(id=UUID(int=chance.getrandbits(128)), customer_id=row.id, **figures)
            job = Job(id=UUID(int=chance.getrandbits(128)), kind="service.provision", customer_id=row.id)
            await house.add(draft, job)
            if guest:
                guests.extend((("invoices", draft.id), ("jobs", job.id)))

    async def change() -> None:
        if guests and chance.random() < 0.5:
            table, key = guests.pop(chance.randrange(len(guests)))
            await connection.execute(f"DELETE FROM {table} WHERE id = $1", key)
        else:
            await chance.choice([money, lambda: session(True), lambda: draft_and_job(True)])()

    for _ in range(9):
        await money()
        await session(False)
        await draft_and_job(False)
    for field in ("invoices", "payments", "ledger", "sessions", "jobs"):
        for below in (ann.id, None) if field in ("invoices", "jobs") else (ann.id,):
            listing = Listing(api, house.admin, field, below=below)
            for backwards in (False, True):
                before = await listing.walk(lambda: 4, backwards=backwards)
                assert before == (await listing.page(first=100))["rows"] == (await listing.page(last=100))["rows"]
                stay = set(before) - {key for _, key in guests}
                assert len(stay) >= 9
                seen = await listing.walk(lambda: chance.randint(1, 5), change, backwards=backwards)
                assert len(seen) == len(set(seen))
                assert stay <= set(seen)
                if field != "sessions":
                    assert seen == sorted(seen, key=lambda key: key.int, reverse=True)
                else:
                    rows = await connection.fetch("SELECT id, started_at FROM sessions WHERE id = ANY($1)", seen)
                    begun = {row["id"]: row["started_at"] for row in rows}
                    left = [key for key in seen if key in begun]
                    assert left == sorted(left, key=lambda key: (begun[key], key.int), reverse=True)
    await connection.close()


async def test_both_ends_of_a_list(api: Api, house: House) -> None:
    listing = Listing(api, house.admin, "customers", in_order(CustomerOrderField.NAME))
    nothing = {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None}
    assert await listing.page() == await listing.page(last=3) == {**nothing, "rows": [], "edges": []}
    rows = [customer(house, name) for name in ("A", "B", "C", "D", "E")]
    await house.add(*rows)
    a, b, c, d, e = (row.id for row in rows)
    edges = (await listing.page())["edges"]
    cursors = dict(zip((a, b, c, d, e), (edge["cursor"] for edge in edges), strict=True))
    assert len(set(cursors.values())) == 5

    async def shown(**arguments: Any) -> tuple[list[UUID], bool, bool]:
        page = await listing.page(**arguments)
        assert [edge["cursor"] for edge in page["edges"]] == [cursors[row] for row in page["rows"]]
        return page["rows"], page["hasPreviousPage"], page["hasNextPage"]

    assert await shown(first=5) == await shown(last=5) == await shown() == ([a, b, c, d, e], False, False)
    assert await shown(first=4) == ([a, b, c, d], False, True)
    assert await shown(last=4) == ([b, c, d, e], True, False)
    assert await shown(first=2, after=cursors[b]) == ([c, d], True, True)
    assert await shown(first=3, after=cursors[b]) == ([c, d, e], True, False)
    assert await shown(last=2, before=cursors[d]) == ([b, c], True, True)
    assert await shown(last=3, before=cursors[d]) == ([a, b, c], False, True)
    assert await shown(first=2, after=cursors[e]) == ([], True, False)
    assert await shown(last=2, before=cursors[a]) == ([], False, True)
    # Between two borders.
    assert await shown(first=9, after=cursors[a], before=cursors[e]) == ([b, c, d], True, False)
    assert await shown(first=1, after=cursors[a], before=cursors[e]) == ([b], True, True)
    assert await shown(last=1, after=cursors[a], before=cursors[e]) == ([d], True, True)
    assert (await shown(first=9, after=cursors[d], before=cursors[b]))[0] == []
    assert (await shown(last=9, after=cursors[d], before=cursors[b]))[0] == []
    # Nothing of the list, and whether there is something.
    assert await shown(first=0) == ([], False, True)
    assert await shown(last=0) == ([], True, False)
    assert await shown(first=0, after=cursors[e]) == ([], True, False)
    assert await shown(last=0, before=cursors[a]) == ([], False, True)
    # A border whose row is gone, or whose row has moved, is still a place in the list.
    async with house.database.transaction(house.tenant.id) as session:
        await session.delete(await session.get_one(Customer, b))
        (await session.get_one(Customer, d)).name = "AA"
    assert (await shown(after=cursors[b]))[0] == [c, e]
    assert (await listing.page(before=cursors[d]))["rows"] == [a, d, c]


async def test_sizes_that_are_no_page(api: Api, house: House) -> None:
    listing = Listing(api, house.admin, "customers")
    for arguments, field in (
        ({"first": 101}, "first"),
        ({"first": -1}, "first"),
        ({"last": 101}, "last"),
        ({"last": -1}, "last"),
        ({"first": 1, "last": 1}, "last"),
        ({"first": 0, "last": 0}, "last"),
    ):
        code, at, _ = await listing.refusal(**arguments)
        assert (code, at) == ("BAD_REQUEST", [field]), arguments


# ---------------------------------------------------------------- cursors


def encoded(value: Any) -> str:
    """A cursor as clients must never make one."""
    text = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def decoded(cursor: str) -> list[str]:
    """What stands in a cursor."""
    found: list[str] = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    return found


async def test_a_cursor_of_another_list_is_refused(api: Api, house: House) -> None:
    till = Till(house, await house.viewer())
    ann = await till.customer()
    await till.pay(5, await till.bill(ann.id, 10))
    await house.add(Job(kind="service.provision", customer_id=ann.id))
    await Wizard.begin(api, house.admin)
    listings = {
        **{
            f"customers by {by.name}": Listing(api, house.admin, "customers", in_order(by)) for by in CustomerOrderField
        },
        **{name: Listing(api, house.admin, name, below=ann.id) for name in ("payments", "ledger", "sessions")},
        **{name: Listing(api, house.admin, name) for name in ("invoices", "jobs")},
    }
    cursors = {name: (await listing.page())["endCursor"] for name, listing in listings.items() if name != "sessions"}
    drafts = await api.data("{ customerDrafts { pageInfo { endCursor } } }", house.admin)
    cursors["drafts"] = drafts["customerDrafts"]["pageInfo"]["endCursor"]
    assert None not in cursors.values()
    for name, cursor in cursors.items():
        for other, listing in listings.items():
            if other == name:
                await listing.page(after=cursor)
                continue
            for border in ("after", "before"):
                code, at, message = await listing.refusal(**{border: cursor})
                assert (code, at) == ("BAD_REQUEST", [border]), (name, other)
                assert message == f"{border} is not a cursor of this list."


async def test_a_cursor_that_was_tampered_with_is_refused(api: Api, house: House) -> None:
    rows = [customer(house, "Ann"), customer(house, "Bob")]
    await house.add(*rows)
    await house.add(service(rows[0], (await house.package()).id, expires_at=NOW))
    by = CustomerOrderField
    key = str(rows[0].id)
    bad: dict[CustomerOrderField, list[Any]] = {
        by.NAME: [
            *([], ["customers:name"], ["customers:name", "ann"], ["customers:name", "ann", key, key]),
            *(["customers:name", 5, key], ["customers:name", None, key], ["customers:name", ["ann"], key]),
            *(["customers:name", "ann", 5], ["customers:name", "ann", "5"], ["customers:name", "ann", None]),
            *(["customers:name", "a\0b", key], ["customers:name", "\ud800", key], ["customers:name", "ann", key + "0"]),
            *(["customers", "ann", key], [["customers:name"], "ann", key], [None, "ann", key]),
            *("customers:name", 5, None, True, {"customers:name": 1}, b"", b"\xff\xfe", b"[", b"[" * 1400, b"NaN"),
        ],
        by.CREATED_AT: [["customers", "infinity"], ["customers", {}], ["customers", ""], ["customers", 1.5]],
        by.BALANCE: [
            *(["customers:balance", value, key] for value in ("1.5", "infinity", "", "x", 7, 1.5, True, "9" * 1500)),
            *(["customers:balance", str(2**63), key], ["customers:balance", str(-(2**63) - 1), key]),
        ],
        by.EXPIRES_AT: [
            *(["customers:expiry", value, key] for value in ("", "soon", "-infinity", "Infinity", "nan", 0, None)),
            *(["customers:expiry", value, key] for value in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")),
            *(["customers:expiry", value, key] for value in ("2026-13-01 00:00:00+00", "294276-12-31 00:00:00+00")),
        ],
    }
    for field, values in bad.items():
        listing = Listing(api, house.admin, "customers", in_order(field))
        real = (await listing.page(first=1))["endCursor"]
        texts = [encoded(value) for value in values]
        texts += ["", " ", "x", "%%%", "ä", real[:-3], real + "AAAA", real + "!", f" {real}", real.upper()]
        texts += ["A" * 2001, real + "=" * 2000, real[:4] + "\n" + real[4:], "=" * 8]
        for text in texts:
            for border in ("after", "before"):
                code, at, message = await listing.refusal(**{border: text})
                assert (code, at) == ("BAD_REQUEST", [border]), (field, text)
                assert message == f"{border} is not a cursor of this list."


async def test_a_cursor_of_those_without_an_end_goes_on_among_them(api: Api, house: House) -> None:
    rows = [customer(house, "Same") for _ in range(6)]
    await house.add(*rows)
    package = await house.package()
    await house.add(service(rows[0], package.id, expires_at=NOW), service(rows[1], package.id))
    order = [rows[0].id, *sorted((row.id for row in rows[1:]), key=lambda key: key.int)]
    upwards = Listing(api, house.admin, "customers", in_order(CustomerOrderField.EXPIRES_AT))
    downwards = Listing(api, house.admin, "customers", in_order(CustomerOrderField.EXPIRES_AT, descending=True))
    edges = (await upwards.page())["edges"]
    assert [decoded(edge["cursor"])[1] for edge in edges] == ["2026-06-15 12:00:00+00"] + ["infinity"] * 5
    for place, edge in enumerate(edges):
        cursor = edge["cursor"]
        assert (await upwards.page(after=cursor))["rows"] == order[place + 1 :]
        assert (await upwards.page(before=cursor))["rows"] == order[:place]
        assert (await downwards.page(after=cursor))["rows"] == order[:place][::-1]
        assert (await downwards.page(last=100, before=cursor))["rows"] == order[place + 1 :][::-1]


async def test_a_cursor_of_another_tenant_shows_nothing_of_it(api: Api, house: House, other_house: House) -> None:
    ours, theirs = customer(house, "Mine"), customer(other_house, "Aaron")
    await house.add(ours)
    await other_house.add(theirs)
    for field in (CustomerOrderField.NAME, CustomerOrderField.CREATED_AT):
        arguments = in_order(field)
        cursor = (await Listing(api, other_house.admin, "customers", arguments).page())["endCursor"]
        listing = Listing(api, house.admin, "customers", arguments)
        shown = (await listing.page(after=cursor))["rows"] + (await listing.page(before=cursor))["rows"]
        assert shown == [ours.id]
