"""Customers see all of their own, and nothing of anybody else's: compiled and not, by field and by id."""

import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from ispgraph import ids
from ispgraph.db import Database
from ispgraph.domain.models import Customer, CustomerStatus, PackageChange, Service
from ispgraph.schema.base import KINDS
from tests.compiled import world
from tests.compiled.conftest import Both
from tests.compiled.world import Land
from tests.conftest import Dsns
from tests.self_care.graph import everything
from tests.self_care.home import token_of

ID = re.compile(r'"([a-z]{3}_[0-9a-f]{32})"')
# What every customer of a tenant may see.
COMMON = {"pkg", "tax", "ten"}


def documents() -> list[str]:
    """Everything that is shown of a customer, part by part: all of it at once would cost too much."""
    deep = f"services {{ packageChanges {{ nodes {{ {everything('PackageChange', 1)} }} }} }}"
    below = everything("Customer", 2)
    parts, depth, start = [], 0, 0
    for place, character in enumerate(below):
        depth += (character == "{") - (character == "}")
        if character == "}" and depth == 0:
            parts.append(below[start : place + 1])
            start = place + 1
    return [f"{{ viewer {{ customer {{ id {part} }} }} }}" for part in [*parts, below[start:], deep]]


async def owner_of(database: Database, land: Land, public: str) -> UUID | None:
    """Whose a row is."""
    prefix, key = ids.parse(public)
    model: Any = KINDS[prefix].model
    async with database.read(land.house.tenant.id) as session:
        row = await session.get_one(model, key)
        if isinstance(row, PackageChange):
            row = await session.get_one(Service, row.service_id)
    found: UUID | None = row.id if isinstance(row, Customer) else row.customer_id
    return found


async def test_a_customer_sees_its_own_and_nothing_else(
    both: Both, owner: Database, database: Database, dsns: Dsns, stopped_clock: Callable[[], None]
) -> None:
    land = await world.build(owner, database, dsns.superuser, "north")
    stopped_clock()
    async with database.read(land.house.tenant.id) as session:
        rows = select(Customer).where(Customer.status != CustomerStatus.TERMINATED).order_by(Customer.account_number)
        people = list(await session.scalars(rows))
    names = {each.account_number for each in people}
    asked, seen, owners = documents(), set[str](), dict[str, UUID | None]()
    for person in people[:3]:
        token = await token_of(database, person)
        for document in asked:
            one, other = [await api(document, token=token) for api in (both.compiled, both.loaded)]
            assert "errors" not in one, (document, one["errors"])
            text = json.dumps(one, ensure_ascii=False)
            assert one["data"] == other["data"], document
            assert not [name for name in names - {person.account_number} if name in text], document
            for public in set(ID.findall(text)):
                prefix = public.partition("_")[0]
                seen.add(prefix)
                if prefix not in COMMON:
                    if public not in owners:
                        owners[public] = await owner_of(database, land, public)
                    assert owners[public] == person.id, (document, public)
    assert seen >= {"cus", "svc", "inv", "pay", "led", "ses", "msg", "pln", "gpy", "tkt", "hac", "prt", "pch", "pkg"}


# The matrix asks the same of everything in it, in compiled reads.
@pytest.mark.long
async def test_by_their_ids_only_the_own_rows_are_found(
    both: Both, owner: Database, database: Database, dsns: Dsns, stopped_clock: Callable[[], None]
) -> None:
    land = await world.build(owner, database, dsns.superuser, "north")
    south = await world.build(owner, database, dsns.superuser, "south")
    stopped_clock()
    async with database.read(land.house.tenant.id) as session:
        rows = select(Customer).where(Customer.status == CustomerStatus.ACTIVE).order_by(Customer.account_number)
        person = next(iter(await session.scalars(rows)))
    token = await token_of(database, person)
    publics = [public for group in land.ids.values() for public in group]
    foreign = [public for group in south.ids.values() for public in group]
    found: set[str] = set()
    document = "query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"
    for start in range(0, len(publics) + len(foreign), 100):
        some = [*publics, *foreign][start : start + 100]
        answers = [
            (await api(document, token=token, ids=some))["data"]["nodes"] for api in (both.compiled, both.loaded)
        ]
        assert answers[0] == answers[1]
        found.update(each["id"] for each in answers[0] if each is not None)
    assert not found & set(foreign)
    for public in found:
        prefix = public.partition("_")[0]
        assert prefix in COMMON or await owner_of(database, land, public) == person.id, public
    prefixes = {public.partition("_")[0] for public in found}
    assert prefixes >= {"cus", "svc", "inv", "pay", "led", "tkt", "pkg", "ten"}
    assert not prefixes & {"opr", "rtr", "zon", "job", "aud", "sgn", "gra", "vou", "hsv", "cfd", "gwy", "trf", "dft"}
    # By its other names a neighbour is not found either.
    me = ids.encode("cus", person.id)
    by = "query ($by: CustomerBy!) { customer(by: $by) { id } }"
    for wish in (
        *({"id": public} for public in [*land.ids["cus"][:6], south.ids["cus"][0]]),
        *({"accountNumber": number} for number in land.account_numbers[:6]),
        *({"username": name} for name in land.usernames[:6]),
    ):
        for api in (both.compiled, both.loaded):
            answer = await api(by, token=token, by=wish)
            assert "errors" not in answer
            assert answer["data"]["customer"] in (None, {"id": me})
    assert (await both.compiled(by, token=token, by={"accountNumber": person.account_number}))["data"] == {
        "customer": {"id": me}
    }
