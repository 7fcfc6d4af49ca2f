"""How many statements a document costs: the same for two rows as for twelve."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from ispgraph.db import Database
from tests.api import Api
from tests.factories import House
from tests.wizard import Wizard

DRAFTS = """{ customerDrafts(first: 50) { totalCount nodes { id status package { name price { amount } } zone { name }
  createdBy { name parent { name } } lastModifiedBy { email } log { step by } connection { type router { name } }
  customFields { value } } } }"""
CATALOGUE = """{ packages { id name customerCount } zones { name customerCount parent { name } }
  routers { name pendingJobs } operators { name walletBalance { amount } parent { name } } }"""
CUSTOMERS = """query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Customer { name balance { amount } wallet { amount }
  lastPaymentAt zone { name } operator { name } services { username macAddresses package { name } } } } }"""


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The statements sent meanwhile, without those that only name the tenant."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "set_config" not in statement:
            seen.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine.sync_engine, "before_cursor_execute", note)


@pytest.mark.parametrize(("document", "bound"), [(DRAFTS, 10), (CATALOGUE, 9)])
async def test_statements_do_not_grow_with_rows(
    api: Api, house: House, database: Database, document: str, bound: int
) -> None:
    numbers = []
    for batch in (range(2), range(2, 12)):
        for number in batch:
            package = await house.package(f"Package {number}")
            await house.zone(f"Zone {number}", code=f"Z{number}")
            await house.router(None)
            await (await Wizard.begin(api, house.admin)).fill(package, number=number)
        await api.data(document, house.admin)
        with counted(database) as seen:
            await api.data(document, house.admin)
        numbers.append(len(seen))
    assert numbers[0] == numbers[1] <= bound, seen


async def test_customers_by_id_share_their_related_rows(api: Api, house: House, database: Database) -> None:
    package = await house.package()
    ids = []
    for number in range(6):
        made = await (await (await Wizard.begin(api, house.admin)).fill(package, number=number)).confirm()
        ids.append(made["customer"]["id"])
    numbers = []
    for some in (ids[:2], ids):
        await api.data(CUSTOMERS, house.admin, ids=some)
        with counted(database) as seen:
            await api.data(CUSTOMERS, house.admin, ids=some)
        # One statement for each object asked for by id, and one for each relation.
        numbers.append(len(seen) - len(some))
    assert numbers[0] == numbers[1] <= 8, seen
