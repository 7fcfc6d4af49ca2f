"""Jobs through the API: lists, one job, trying again, cancelling, and following over a WebSocket."""

import json
from collections.abc import Iterator

import pytest
import redis.asyncio
import websockets
from sqlalchemy import update

from ispgraph import ids, pubsub
from ispgraph import jobs as queue
from ispgraph.domain import jobs
from ispgraph.domain.models import Job, JobStatus, NetworkStep, Role, StepOutcome, StepProtocol
from ispgraph.settings import Settings
from ispgraph.up.ports import free_port
from tests import probe, subscribers
from tests.api import Api
from tests.factories import House
from tests.programs import Program

RETRY = "mutation ($id: ID!) { jobRetry(jobId: $id) { job { status attempts message } errors { code field } } }"
CANCEL = "mutation ($id: ID!) { jobCancel(jobId: $id) { job { status message finishedAt } errors { code field } } }"


@pytest.fixture(autouse=True)
def connected(redis_url: str, valkey: redis.asyncio.Redis) -> Iterator[None]:
    queue.connect(redis_url)
    pubsub.connect(redis_url)
    yield
    queue.disconnect()
    pubsub.disconnect()


async def enqueued(house: House, kind: str = probe.MARK, **fields) -> Job:
    async with house.database.transaction(house.tenant.id) as session:
        return await jobs.enqueue(session, kind, tenant_id=house.tenant.id, **fields)


async def as_status(house: House, job: Job, status: JobStatus) -> None:
    async with house.database.transaction(house.tenant.id) as session:
        await session.execute(update(Job).where(Job.id == job.id).values(status=status))


def public(job: Job) -> str:
    return ids.encode("job", job.id)


async def test_jobs_come_newest_first_by_status_and_in_pages(api: Api, house: House):
    made = [await enqueued(house) for _ in range(3)]
    await as_status(house, made[1], JobStatus.FAILED)
    document = """query ($status: [JobStatus!], $after: String) {
      jobs(status: $status, first: 2, after: $after) {
        nodes { id kind status nextAttemptAt } totalCount pageInfo { hasNextPage endCursor } } }"""

    page = (await api.data(document, house.admin))["jobs"]
    assert [row["id"] for row in page["nodes"]] == [public(made[2]), public(made[1])]
    assert [row["nextAttemptAt"] is None for row in page["nodes"]] == [False, True]
    assert (page["totalCount"], page["pageInfo"]["hasNextPage"]) == (3, True)

    rest = (await api.data(document, house.admin, after=page["pageInfo"]["endCursor"]))["jobs"]
    assert [row["id"] for row in rest["nodes"]] == [public(made[0])]
    failed = (await api.data(document, house.admin, status=["FAILED"]))["jobs"]
    assert [row["id"] for row in failed["nodes"]] == [public(made[1])]


async def test_a_job_shows_its_customer_router_and_steps(api: Api, house: House):
    customer, router = await subscribers.customer(house), await house.router()
    job = await enqueued(house, jobs.PROVISION, customer_id=customer.id, router_id=router.id)
    await house.add(
        NetworkStep(job_id=job.id, protocol=StepProtocol.RADIUS_SQL, outcome=StepOutcome.VERIFIED, detail="fine")
    )
    document = """query ($id: ID!) { job(id: $id) { __typename kind status ... on NetworkJob {
      customer { id } router { id } steps { protocol outcome detail errorCause roundTripMs } } }
      node(id: $id) { id } }"""

    found = await api.data(document, house.admin, id=public(job))

    assert found["job"] == {
        "__typename": "NetworkJob",
        "kind": "service.provision",
        "status": "QUEUED",
        "customer": {"id": ids.encode("cus", customer.id)},
        "router": {"id": ids.encode("rtr", router.id)},
        "steps": [
            {"protocol": "RADIUS_SQL", "outcome": "VERIFIED", "detail": "fine", "errorCause": None, "roundTripMs": None}
        ],
    }
    assert found["node"] == {"id": public(job)}


async def test_a_job_is_cancelled_and_tried_again(api: Api, house: House):
    job = await enqueued(house)

    cancelled = (await api.data(CANCEL, house.admin, id=public(job)))["jobCancel"]
    assert (cancelled["job"]["status"], cancelled["errors"]) == ("CANCELLED", [])
    again = (await api.data(RETRY, house.admin, id=public(job)))["jobRetry"]
    assert again == {"job": {"status": "QUEUED", "attempts": 0, "message": None}, "errors": []}
    refused = (await api.data(RETRY, house.admin, id=public(job)))["jobRetry"]
    assert refused == {"job": None, "errors": [{"code": "INVALID_STATE", "field": ["jobId"]}]}


@pytest.mark.parametrize("verb", [RETRY, CANCEL])
async def test_refusals(api: Api, house: House, other_house: House, verb: str):
    job = await enqueued(house)
    for who, wanted, code in (
        (other_house.admin, public(job), "NOT_FOUND"),
        (await house.operator(Role.SUB_OPERATOR), public(job), "NOT_FOUND"),
        (house.admin, ids.encode("cus", job.id), "NOT_FOUND"),
        (await house.operator(Role.STAFF), public(job), "NOT_PERMITTED"),
    ):
        (payload,) = (await api.data(verb, who, id=wanted)).values()
        assert (payload["job"], [error["code"] for error in payload["errors"]]) == (None, [code])
    unknown = await api(verb, id=public(job))
    assert unknown["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


class Socket:
    """One graphql-transport-ws connection."""

    def __init__(self, url: str, token: str) -> None:
        self._connecting = websockets.connect(url, subprotocols=["graphql-transport-ws"])
        self._token = token

    async def __aenter__(self) -> "Socket":
        self._socket = await self._connecting
        await self._send({"type": "connection_init", "payload": {"Authorization": f"Bearer {self._token}"}})
        assert (await self._receive())["type"] == "connection_ack"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._socket.close()

    async def subscribe(self, document: str, **variables: str) -> None:
        payload = {"query": document, "variables": variables}
        await self._send({"id": "1", "type": "subscribe", "payload": payload})

    async def next(self) -> dict:
        message = await self._receive()
        return message["payload"] if message["type"] in ("next", "error") else message

    async def _send(self, message: dict) -> None:
        await self._socket.send(json.dumps(message))

    async def _receive(self) -> dict:
        while (message := json.loads(await self._socket.recv()))["type"] == "ping":
            await self._send({"type": "pong"})
        return message


@pytest.fixture
async def live_url(settings: Settings) -> Iterator[str]:
    """The API as a program of its own."""
    port = free_port()
    program = Program("app", settings, ISPGRAPH_PORT=str(port))
    await program.ready()
    yield f"ws://127.0.0.1:{port}/graphql"
    program.kill()


FOLLOW_JOB = "subscription ($id: ID!) { jobUpdated(jobId: $id) { id status attempts } }"
FOLLOW_CUSTOMER = """subscription ($id: ID!) {
  jobUpdated(customerId: $id) { id status message ... on NetworkJob { steps { outcome } } } }"""


@pytest.mark.slow
async def test_jobs_are_followed_over_a_websocket(api: Api, house: House, settings, valkey, live_url):
    customer = await subscribers.customer(house)
    service = await subscribers.service(house, customer)
    gated = await enqueued(house, probe.GATED)
    worker = Program("tests.probe", settings)
    token = await api.token(house.admin)
    try:
        async with Socket(live_url, token) as one, Socket(live_url, token) as many:
            await one.subscribe(FOLLOW_JOB, id=public(gated))
            assert (await one.next())["data"]["jobUpdated"] == {"id": public(gated), "status": "QUEUED", "attempts": 0}
            await worker.ready()
            assert (await one.next())["data"]["jobUpdated"]["status"] == "RUNNING"
            await valkey.set(probe.GATE, 1)
            assert (await one.next())["data"]["jobUpdated"]["status"] == "SUCCEEDED"
            assert (await one.next())["type"] == "complete"

            await valkey.delete(probe.GATE)
            waiting = await enqueued(house, probe.GATED, customer_id=customer.id)
            await many.subscribe(FOLLOW_CUSTOMER, id=ids.encode("cus", customer.id))
            assert (await many.next())["data"]["jobUpdated"]["id"] == public(waiting)
            fresh = await enqueued(house, jobs.PROVISION, customer_id=customer.id, service_id=service.id)
            while (event := (await many.next())["data"]["jobUpdated"])["status"] != "SUCCEEDED":
                assert event["id"] in (public(waiting), public(fresh))
            assert (event["id"], event["steps"]) == (public(fresh), [{"outcome": "VERIFIED"}])
    finally:
        worker.kill()


@pytest.mark.slow
async def test_following_is_refused(api: Api, house: House, other_house: House, live_url):
    job = await enqueued(house)
    async with Socket(live_url, await api.token(other_house.admin)) as socket:
        await socket.subscribe(FOLLOW_JOB, id=public(job))
        refused = await socket.next()
    assert "no such job" in json.dumps(refused)

    async with Socket(live_url, await api.token(house.admin)) as socket:
        await socket.subscribe("subscription { jobUpdated { id } }")
        refused = await socket.next()
    assert "jobId or customerId" in json.dumps(refused)
