"""Random documents answered by compiled statements and by graphql-core: the same bytes, the same errors."""

import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from graphql import GraphQLError

from ispgraph.db import Database
from ispgraph.domain.errors import DomainError
from ispgraph.domain.models import Operator
from tests.api import schema
from tests.compiled import world
from tests.compiled.conftest import Both, shown
from tests.compiled.documents import Document, Documents, Pool, each_alone
from tests.conftest import Dsns
from tests.statements import counted


@dataclass
class Tally:
    """How documents were answered."""

    documents: int = 0
    """Each time one is answered in both ways."""
    good: int = 0
    plain: int = 0
    unread: int = 0
    """Answered without errors, though an argument in it is wrong: it is of a list that turned out to be none's."""
    refused: int = 0
    failures: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)


def said(answer: dict[str, Any]) -> tuple[str, list[str]]:
    """The data, keys in their order, and the errors without what differs each time."""
    errors = []
    for error in answer.get("errors", []):
        extensions = {name: value for name, value in error.get("extensions", {}).items() if name != "traceId"}
        path = error.get("path")
        if path and answer.get("data") is None:
            # Of several items whose failure takes everything away, one is named, whichever failed first.
            path = ["*" if isinstance(step, int) else step for step in path]
        errors.append(json.dumps({**error, "path": path, "extensions": extensions}))
    return json.dumps(shown(answer.get("data")), ensure_ascii=False), sorted(errors)


def raced(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two roots failed that take everything away, and another one came first in each way."""
    (first, *rest), (second, *more) = (answer.get("errors") or [{}] for answer in (one, other))
    codes = {error.get("extensions", {}).get("code") for error in (first, second)}
    roots = [(error.get("path") or [None])[0] for error in (first, second)]
    nothing = one.get("data") is None and other.get("data") is None
    return nothing and not rest and not more and codes == {"BAD_REQUEST"} and None not in roots and len(set(roots)) == 2


def apart(one: str, other: str) -> str:
    """Two texts from a little before where they part."""
    place = next((i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), 0)
    begin = max(0, place - 200)
    return f"compiled: …{one[begin : place + 300]}\n  loaded: …{other[begin : place + 300]}"


async def compare(both: Both, document: Document, who: Operator, tally: Tally, pool: Pool) -> None:
    """Answer one document in both ways."""
    tally.documents += 1
    both.refused.clear()
    with counted(both.compiled_database) as statements:
        answer = await both.compiled(document.text, who, **document.variables)
    with counted(both.loaded_database) as loading:
        other = await both.loaded(document.text, who, **document.variables)
    if said(answer) != said(other) and not raced(answer, other):
        tally.failures.append(
            f"--- {who.name}\n{document.text}\n{json.dumps(document.variables, ensure_ascii=False)}\n"
            f"{apart(str(said(answer)), str(said(other)))}"
        )
    codes = {error.get("extensions", {}).get("code") for error in answer.get("errors", [])}
    if not codes <= {"BAD_REQUEST", "FORBIDDEN", "COST_EXCEEDED"}:
        tally.failures.append(f"--- {who.name}: {answer['errors']}\n{document.text}\n{document.variables}")
    assert not any("set_config" in statement for statement in loading), "the other side is not compiled"
    tally.refused += "data" not in answer or answer["data"] is None
    if "errors" not in answer:
        tally.good += 1
        pool.harvest(answer["data"])
        if document.plain:
            tally.plain += 1
            wrong = [error for error in both.refused if isinstance(error, DomainError | GraphQLError)]
            tally.unread += bool(wrong)
            if not wrong and not compiled(statements):
                # The document before may have failed while rows were on their way, and they arrived now: once.
                with counted(both.compiled_database) as statements:
                    await both.compiled(document.text, who, **document.variables)
            if wrong != both.refused or not (wrong or compiled(statements)):
                tally.loaded.append(f"{both.refused} {statements}\n{document.text}")


def compiled(statements: list[str]) -> bool:
    """Whether all of them are of the compiler."""
    return all("set_config" in statement for statement in statements)


TENANTS = (("north", "USD", "Asia/Dhaka"), ("south", "KWD", "America/Caracas"), ("east", "JPY", "UTC"))


def pool_of(land: world.Land, other: world.Land) -> Pool:
    """What arguments of questions to a tenant are taken from."""
    foreign = [key for keys in other.ids.values() for key in keys[:3]]
    return Pool(land.ids, foreign, land.account_numbers, land.usernames)


async def run(both: Both, dsns: Dsns, owner: Database, stop: Callable[[], None], seed: int, count: int) -> Tally:
    """So many documents by several operators of three tenants."""
    lands = [await world.build(owner, both.loaded_database, dsns.superuser, *each) for each in TENANTS]
    stop()
    north, south, east = lands
    pool = pool_of(north, south)
    elsewhere = [pool_of(land, south) for land in (south, east)]
    known = north.operators
    staff = [known[name] for name in ("admin", "admin", "reseller", "sub", "seller", "clerk", "accountant", "blind")]
    admins = [land.operators["admin"] for land in (south, east)]
    random, tally = Random(seed), Tally()
    makers = {
        id(each): Documents(schema()._schema, each, seed + place) for place, each in enumerate((pool, *elsewhere))
    }
    for number in itertools.count():
        if tally.documents >= count:
            break
        chosen, askers = pool, [random.choice(staff)]
        if number % 8 == 7:
            place = random.randrange(2)
            chosen, askers = elsewhere[place], [admins[place]]
        elif number % 8 == 3:
            # One document by people of several rights, currencies and time zones: none may get another's plan.
            askers = [*random.sample(staff[1:], 2), *admins]
        document = makers[id(chosen)].make()
        for who in askers:
            await compare(both, document, who, tally, chosen)
        await asyncio.sleep(0)
    return tally


def judge(tally: Tally) -> None:
    """That nothing differed, and that it was the compiler that was compared."""
    assert not tally.failures, f"{len(tally.failures)} differ:\n" + "\n".join(tally.failures[:3])
    assert tally.good > 0.5 * tally.documents, tally
    assert tally.plain > 0.5 * tally.good, tally
    assert not tally.loaded, f"{len(tally.loaded)} are not compiled:\n" + "\n".join(tally.loaded[:3])
    assert tally.unread < 0.02 * tally.plain, tally


@pytest.mark.long
async def test_each_field_alone(both: Both, dsns: Dsns, owner: Database, stopped_clock: Callable[[], None]) -> None:
    north = await world.build(owner, both.loaded_database, dsns.superuser, *TENANTS[0])
    stopped_clock()
    tally = Tally()
    for document in each_alone(schema()._schema):
        await compare(both, document, north.operators["admin"], tally, pool_of(north, north))
    judge(tally)
    assert tally.good == tally.documents > 300, tally


async def test_both_ways_say_the_same(
    both: Both, dsns: Dsns, owner: Database, stopped_clock: Callable[[], None]
) -> None:
    judge(await run(both, dsns, owner, stopped_clock, seed=1, count=200))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 104))
async def test_both_ways_say_the_same_to_thousands(
    both: Both, dsns: Dsns, owner: Database, stopped_clock: Callable[[], None], seed: int
) -> None:
    judge(await run(both, dsns, owner, stopped_clock, seed=seed, count=500))
