"""One trace from a request to the router: the mutation, its statements, the job, and the commands it gave."""

import json
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from ispgraph import clock, ids, traced_statements
from ispgraph.actors.run import Run, Runner
from ispgraph.domain import jobs
from ispgraph.domain.models import Job
from tests.network.world import ACTION, PASSWORD, World
from tests.receiver import Receiver, traced

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{CALLER}-01"
NOTE = "his neighbour told us, 01711223344"


async def post(world: World, query: str, headers: list[tuple[str, str]], **variables: object) -> dict[str, object]:
    bearer = await world.api.token(world.house.admin)
    answer = await world.api.client.post(
        "/graphql",
        json={"query": query, "variables": variables},
        headers=[("authorization", f"Bearer {bearer}"), *headers],
    )
    found: dict[str, object] = answer.json()
    return found


async def test_a_request_leads_to_the_router(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.router()
    line = await world.line()
    with traced(monkeypatch, replace(world.settings, traces=True)) as receiver:
        traced_statements.watch(world.database.engine.sync_engine)
        action = ACTION.replace("mutation(", "mutation Off(", 1) % ("Suspend", "Suspend")
        given = {"customerId": line.id, "reason": "OTHER", "note": NOTE}
        answer = await post(world, action, [("traceparent", GIVEN)], input=given)
        promised = [job["id"] for job in answer["data"]["customerSuspend"]["jobs"]]  # type: ignore[index]
        await world.succeeded(promised)
        # A literal in a document is a value as well, and so is the name of an operation that is none.
        await post(world, '{ customers(search: "Example Line 1") { nodes { name } } }', [])
        await post(world, "query Wrong { me: viewer { operator { nothing } } }", [("traceparent", "00-junk")])
        twice = [("traceparent", GIVEN), ("traceparent", GIVEN.replace("c-", "d-"))]
        await post(world, "query Twice { viewer { __typename } }", twice)
    mine = [span for span in receiver.spans if span.trace == TRACE]
    names = {span.name for span in mine}
    assert {"mutation Off", "mutation customerSuspend", "transaction", "pool", "INSERT", "UPDATE"} <= names
    [request] = receiver.named("mutation Off")
    assert (request.parent, request.kind, request.service) == (CALLER, 2, "ispgraph-test")
    assert request.told["ispgraph.cost"] > 0
    assert request.told["ispgraph.code"] == "OK"
    [command] = [span for span in mine if span.name == "radius Disconnect-Request"]
    assert command.told["ispgraph.outcome"] == "ACK"
    assert receiver.above(command)[0].startswith("job service.")
    assert receiver.above(command)[-2:] == ["mutation customerSuspend", "mutation Off"]
    routed = [span for span in mine if span.name.startswith("routeros /")]
    assert routed
    assert all("mutation Off" in receiver.above(span) for span in routed)
    # The turn on the router is of all who wait for it, and knows of each of them.
    [job] = [span for span in mine if span.name.startswith("job service.")]
    assert len(job.links) == 1
    assert job.links[0] in {span.trace for span in receiver.named("router turn")}
    # What nobody could understand, or was said twice, is not followed.
    assert TRACE not in {span.trace for name in ("query Twice", "query") for span in receiver.named(name)}
    assert receiver.named("query Twice")
    _nothing_is_told(receiver, world)


def _nothing_is_told(receiver: Receiver, world: World) -> None:
    told = json.dumps([[span.name, span.told] for span in receiver.spans])
    secret = [PASSWORD, NOTE, "Example Line", "router password", "a shared secret", "01711", world.house.admin.email]
    found = [word for word in secret if word in told]
    assert found == []
    assert "Bearer" not in told
    assert all(not span.events for span in receiver.spans)


async def test_a_job_whose_worker_died_stays_in_its_trace(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def act(run: Run) -> None:
        seen.append(run.job.kind)
        raise ValueError("a text with somebody's name in it")

    tenant = world.house.tenant.id
    world.working.clear()
    with traced(monkeypatch, replace(world.settings, traces=True)) as receiver:
        traced_statements.watch(world.database.engine.sync_engine)
        answer = await post(
            world,
            "mutation Ask { customersExport(input: {format: CSV}) { job { id } errors { message } } }",
            [("traceparent", GIVEN)],
        )
        key = ids.decode("job", answer["data"]["customersExport"]["job"]["id"])  # type: ignore[index]
        async with world.database.transaction(tenant) as session:
            killed = await jobs.claim(session, key)
            assert killed is not None
            assert killed.traceparent is not None
            killed.next_attempt_at = clock.now() - timedelta(seconds=1)
        await Runner(world.database, world.settings, {killed.kind: act}).run_job(tenant.hex, key.hex)
    [again] = [span for span in receiver.spans if span.name == f"job {killed.kind}"]
    assert (again.trace, again.told["ispgraph.job.attempt"], again.told["ispgraph.outcome"]) == (TRACE, 2, "AGAIN")
    assert seen == [killed.kind]
    assert "somebody" not in json.dumps([span.told for span in receiver.spans])
    async with world.database.read(tenant) as session:
        assert (await session.scalar(select(Job.traceparent).where(Job.id == UUID(hex=key.hex)))) == killed.traceparent
