"""Measures pages, searches and counts: `python -m bench.paging [--dir DIR] [--rounds 21]`.

Everything of one table is asked in turn, round by round; the figures are medians in milliseconds.
"""

import argparse
import asyncio
import http.client
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import Select, literal, select, tuple_
from sqlalchemy.dialects import postgresql

from bench.names import COMMON, FIRST, SELECTIVE
from bench.place import DIRECTORY, ROOT, Place
from bench.processes import Running, python
from ispgraph.domain import pages as pages_
from ispgraph.domain.customer_lists import ORDERS, CustomerOrderField, wanted
from ispgraph.domain.models import Customer, Role
from ispgraph.domain.permissions import Viewer
from ispgraph.up.ports import free_port

PAGE = 50
_SEARCH_INDEXES = ("ix_customers_search", "ix_services_search")

_PAGE = """query Page($after: String, $first: Int!, $order: CustomerOrder!) {
  customers(first: $first, after: $after, orderBy: $order) {
    nodes { id name status } pageInfo { endCursor hasNextPage }
  }
}"""
_FIRST_PAGE = "{ customers(first: 50) { nodes { id name status } } }"
_SEARCH = "query Search($search: String!) { customers(search: $search, first: 50) { nodes { id name status } } }"
_COUNTS = {
    "all": "{ customers(first: 1) { totalCount } }",
    "of one status": "{ customers(where: {status: [ACTIVE]}, first: 1) { totalCount } }",
    "of a search for one in 40": f'{{ customers(search: "{COMMON[0]}", first: 1) {{ totalCount }} }}',
    "figures above the list": "{ customerStats { total active suspended online averageBalance { amount } } }",
}

Ask = Callable[[], Awaitable[float]]
"""Asks once, and tells how many seconds it took."""


@dataclass
class Row:
    """One line of a table: something to ask, and how long it took each time."""

    name: str
    ask: Ask
    times: list[float] = field(default_factory=list)


class Api:
    """The product over one connection that stays open."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def __call__(self, query: str, **variables: Any) -> Any:
        """The data of an answer. Raises RuntimeError for one with errors."""
        answer = json.loads(self._send(query, variables))
        if "errors" in answer:
            raise RuntimeError(f"{query}: {answer['errors'][:2]}")
        return answer["data"]

    def asking(self, query: str, **variables: Any) -> Ask:
        """A question, asked when it is wanted."""

        async def ask() -> float:
            begun = time.perf_counter()
            body = self._send(query, variables)
            seconds = time.perf_counter() - begun
            if b'"errors"' in body:
                raise RuntimeError(f"{query}: {body[:300]!r}")
            return seconds

        return ask

    def _send(self, query: str, variables: dict[str, Any]) -> bytes:
        body = json.dumps({"query": query, "variables": variables})
        self._connection.request("POST", "/graphql", body, self._headers)
        return self._connection.getresponse().read()


async def _measure(rows: Sequence[Row], rounds: int) -> None:
    chance = random.Random(1)
    for number in range(-1, rounds):
        # In another order each time: whoever follows a long question finds the caches of the processor cold.
        for row in chance.sample(rows, len(rows)):
            seconds = await row.ask()
            if number >= 0:  # the first round only warms up
                row.times.append(seconds * 1000)


def _table(title: str, rows: Sequence[Row]) -> str:
    base = median(rows[0].times)
    lines = [f"{title:58} {'ms':>8} {'ratio':>8}"]
    lines += [f"{row.name:58} {median(row.times):8.2f} {median(row.times) / base:8.2f}" for row in rows]
    return "\n".join(lines) + "\n"


def _listed(order: CustomerOrderField) -> Select[Any]:
    found: Select[Any] = select(Customer.id, Customer.name, Customer.status)
    return ORDERS[order].joined(found).order_by(*_keys(order)).limit(PAGE)


def _keys(order: CustomerOrderField) -> list[Any]:
    return [key.expression for key in ORDERS[order].keys]


def _text(statement: Select[Any]) -> str:
    return str(statement.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}))


def _border(order: CustomerOrderField, rows: int, *columns: Any) -> str:
    """What stands in the row before a page, which begins behind so many rows."""
    found = ORDERS[order].joined(select(*columns).select_from(Customer)).order_by(*_keys(order))
    return _text(found.limit(1).offset(rows - 1))


async def _after(app: asyncpg.Connection, order: CustomerOrderField, rows: int) -> str:
    """A page by keyset in SQL, behind so many rows."""
    if rows == 0:
        return _text(_listed(order))
    values = await app.fetchrow(_border(order, rows, *_keys(order)))
    kinds = [key.kind for key in ORDERS[order].keys]
    given = tuple_(*(literal(value, kind) for value, kind in zip(values, kinds, strict=True)))
    return _text(_listed(order).where(tuple_(*_keys(order)) > given))


async def pages(api: Api, app: asyncpg.Connection, deep: int, rounds: int, say: Callable[[str], None]) -> None:
    """Pages by keyset through the API; and, in plain SQL at the same depths, by keyset and by OFFSET."""
    count = await app.fetchval("SELECT count(*) FROM customers")
    places = (("page 1", 0), (f"at row {deep:,}", deep), ("last page", count - PAGE))
    for order in CustomerOrderField:
        by_api = []
        for name, rows in places:
            cursor = pages_.cursor(ORDERS[order], _keys(order))
            after = await app.fetchval(_border(order, rows, cursor)) if rows else None
            given = {"field": order.value, "direction": "ASC"}
            if len(api(_PAGE, after=after, first=PAGE, order=given)["customers"]["nodes"]) != PAGE:
                raise RuntimeError(f"{name} by {order.value} has not {PAGE} rows")
            by_api.append(Row(f"through the API, {name}", api.asking(_PAGE, after=after, first=PAGE, order=given)))
        by_key = [Row(f"keyset in SQL, {name}", _sql(app, await _after(app, order, rows))) for name, rows in places]
        by_offset = [
            Row(f"OFFSET in SQL, {name}", _sql(app, _text(_listed(order).offset(rows)))) for name, rows in places[1:]
        ]
        await _measure([*by_api, *by_key, *by_offset], rounds)
        say(_table(f"by {order.value}, of {count:,} rows", by_api) + _table("", [*by_key, *by_offset]))


def _sql(connection: asyncpg.Connection, text: str) -> Ask:
    async def ask() -> float:
        begun = time.perf_counter()
        await connection.fetch(text)
        return time.perf_counter() - begun

    return ask


def _viewer(place: Place) -> Viewer:
    known = place.description
    return Viewer(
        tenant_id=UUID(known.tenant_id),
        operator_id=UUID(known.operator_id),
        name="Bench",
        role=Role.ADMIN,
        level=20,
        permissions=frozenset(),
        scope_id=None,
        session_id=UUID(known.sign_in_id),
        expires_at=known.until,
        currency="BDT",
        country="BD",
        time_zone="Asia/Dhaka",
    )


async def searches(place: Place, api: Api, rounds: int, say: Callable[[str], None]) -> None:
    """Searches through the API; and the function behind them with and without the trigram indexes."""
    superuser = await asyncpg.connect(place.dsn("superuser"))
    tenant = place.description.tenant_id
    rare = await superuser.fetchrow(
        "SELECT email, mobile FROM customers WHERE tenant_id = $1 ORDER BY id OFFSET 777 LIMIT 1", UUID(tenant)
    )
    terms = {
        "a first name": COMMON[0],
        "part of a surname": SELECTIVE[0],
        "three digits": "712",
        "a mobile": rare["mobile"][-8:],
        "an e-mail address": rare["email"].partition("@")[0],
        "nothing there": FIRST[0] + FIRST[1] + FIRST[2],
    }
    by_api = [Row("no search: page 1", api.asking(_FIRST_PAGE))]
    by_api += [Row(f"{name}: {term!r}", api.asking(_SEARCH, search=term)) for name, term in terms.items()]
    await _measure(by_api, rounds)
    say(_table("a page of 50 through the API", by_api))
    viewer = _viewer(place)
    for name, term in terms.items():
        forms = wanted(None, term, by=viewer)["search"]
        found: dict[str, Any] = {}
        with_index = Row("the search alone, with trigram indexes", _function(superuser, tenant, forms, found))
        without = Row("the same without them", _function(superuser, tenant, forms, found, dropped=True))
        await _measure([with_index, without], max(3, rounds // 3))
        say(_table(f"{name}: {term!r}, {found['count']:,} customers", [with_index, without]))
    await superuser.close()


def _function(
    connection: asyncpg.Connection, tenant: str, forms: list[str | None], found: dict[str, Any], dropped: bool = False
) -> Ask:
    """Asks customer_matches; dropping an index and rolling it back is not in the time."""

    async def ask() -> float:
        transaction = connection.transaction()
        await transaction.start()
        try:
            if dropped:
                await connection.execute(f"DROP INDEX {', '.join(_SEARCH_INDEXES)}")
            await connection.execute("SELECT set_config('app.tenant_id', $1, true)", tenant)
            begun = time.perf_counter()
            rows = await connection.fetch("SELECT customer_matches($1::text[])", forms)
            found["count"] = len(rows)
            return time.perf_counter() - begun
        finally:
            await transaction.rollback()

    return ask


async def counts(api: Api, rounds: int, say: Callable[[str], None]) -> None:
    """What counting costs beside a page."""
    rows = [Row("page 1 of 50", api.asking(_FIRST_PAGE))]
    rows += [Row(f"count {name}", api.asking(query)) for name, query in _COUNTS.items()]
    await _measure(rows, rounds)
    say(_table("counts through the API", rows))


async def _run(place: Place, api: Api, rounds: int, only: Sequence[str], say: Callable[[str], None]) -> None:
    if "pages" in only:
        app = await asyncpg.connect(place.dsn())
        # For the whole session: nobody else uses this connection.
        await app.execute("SELECT set_config('app.tenant_id', $1, false)", place.description.tenant_id)
        await pages(api, app, place.description.customers // 2, rounds, say)
        await app.close()
    if "searches" in only:
        await searches(place, api, rounds, say)
    if "counts" in only:
        await counts(api, rounds, say)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.paging", description=__doc__)
    parser.add_argument("--dir", type=Path, default=DIRECTORY)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--only", default="pages,searches,counts")
    given = parser.parse_args()
    place = Place.open(given.dir.absolute())
    with place.running(), place.valkey() as redis_url:
        port = free_port()
        environment = place.environment(redis_url, port=port)
        server = Running("ispgraph", python("ispgraph", "api"), environment, place.directory / "ours.log", ROOT)
        server.start()
        try:
            api, only = Api(port, place.token()), given.only.split(",")
            asyncio.run(_run(place, api, given.rounds, only, lambda line: print(line, flush=True)))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
