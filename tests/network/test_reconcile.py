"""What a router holds beside what it should: found, and put right within bounds."""

from datetime import timedelta
from typing import Any

import pytest

from ispgraph.actors import drift
from ispgraph.domain.models import ConnectionType, JobStatus
from ispgraph.lab.accounting import Weather
from ispgraph.lab.nas import Nas
from tests.network.world import PASSWORD, World, until

QUEUE = "/queue/simple"


def queues(nas: Nas) -> dict[str, Any]:
    """The rates of a router's simple queues, by name."""
    table = nas.router.table(QUEUE)
    return {item.values["name"]: table.get(item, "max-limit") for item in table}


async def test_what_differs_is_found_and_put_right(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drift, "_SILENT", timedelta(0))
    nas = await world.router()
    changed = await world.line(kind=ConnectionType.STATIC_IP, ip_address="10.70.0.1")
    await world.line(kind=ConnectionType.STATIC_IP, ip_address="10.70.0.2")
    for action in (world.suspend, world.activate):
        await world.succeeded(await action(changed))
    table = nas.router.table(QUEUE)
    (queue,) = table.find(name="ispgraph-line1")
    table.change(queue, {"max-limit": "1000000/1000000"})
    nas.router.create(QUEUE, {"name": "old", "target": "10.70.0.99/32", "comment": "ispgraph:svc_gone"})
    nas.router.create(QUEUE, {"name": "somebody's", "target": "10.70.0.98/32", "comment": "by hand"})
    nas.router.create("/ppp/secret", {"name": "guest", "password": PASSWORD, "remote-address": "pool"})
    lost = await world.line()
    nas.accounting.weather.append(Weather("lose", of=frozenset({"Stop"}), next=1))
    lost.device.hang_up()
    guest = await world.line(online=False, username="guest")
    await world.change(type(guest.service), guest.service.id, username="another")
    guest.device.switch_on()
    await until(lambda: guest.device.state == "online")
    before = queues(nas)

    (job,) = await world.router_job("Reconcile", "north")

    assert job.status is JobStatus.SUCCEEDED
    assert job.message == "1 changed, 1 extra, 1 foreign session, 1 missing, 1 stale session."
    assert queues(nas) == before
    assert len(await world.open_sessions("line3")) == 1
    found = (await world.row("north")).drift
    assert {"path": QUEUE, "property": None, "expected": None, "observed": "old"} in found
    assert {"path": QUEUE, "property": None, "expected": "ispgraph-line2", "observed": None} in found
    rate = {"property": "max-limit", "expected": "5000k/20000k", "observed": "1000000/1000000"}
    assert {"path": QUEUE} | rate in found
    assert {"path": "/ppp/active", "property": None, "expected": "line3", "observed": None} in found
    assert {"path": "/ppp/active", "property": None, "expected": None, "observed": "guest"} in found
    assert len(found) == 5

    (job,) = await world.router_job("Reconcile", "north", dryRun=False)

    assert job.status is JobStatus.SUCCEEDED
    assert (job.progress_done, job.progress_total) == (2, 5)
    right = "5000000/20000000"
    await until(lambda: queues(nas) == {"ispgraph-line1": right, "ispgraph-line2": right, "somebody's": "0/0"})
    assert await world.open_sessions("line3") == []
    assert (await world.network(changed))["drift"] == []
    # Whoever is on line by somebody else's doing is told of, and left alone.
    assert guest.device.state == "online"
    assert [row["observed"] for row in (await world.row("north")).drift] == ["guest"]
    (job,) = await world.router_job("Reconcile", "north")
    assert job.message == "1 foreign session."


async def test_too_much_is_not_touched(world: World):
    nas = await world.router()
    for number in range(21):
        values = {"name": f"old{number}", "target": f"10.70.1.{number}/32", "comment": f"ispgraph:svc_{number}"}
        nas.router.create(QUEUE, values)

    (job,) = await world.router_job("Reconcile", "north", dryRun=False)

    assert job.status is JobStatus.FAILED
    assert job.message == "21 differences are more than 20: nothing was changed. Is this the right router?"
    assert len(queues(nas)) == 21
    assert len((await world.row("north")).drift) == 21

    (last, *_) = nas.router.table(QUEUE)
    nas.router.table(QUEUE).remove(last)
    (job,) = await world.router_job("Reconcile", "north", dryRun=False)
    assert job.status is JobStatus.SUCCEEDED
    assert queues(nas) == {}
    assert (await world.row("north")).drift == []


async def test_one_tenth_of_many_may_differ(world: World):
    nas = await world.router()
    for number in range(30):
        await world.line(kind=ConnectionType.STATIC_IP, ip_address=f"10.70.2.{number + 1}")

    (job,) = await world.router_job("Reconcile", "north", dryRun=False)

    # Thirty of thirty.
    assert job.status is JobStatus.FAILED
    assert queues(nas) == {}


async def test_a_router_out_of_reach_is_compared_when_it_is_back(world: World):
    nas = await world.router()
    nas.router.create(QUEUE, {"name": "old", "target": "10.70.0.99/32", "comment": "ispgraph:svc_gone"})
    nas.router.faults.set(lose_answers=[f"{QUEUE}/remove"])

    (job,) = await world.router_job("Reconcile", "north", dryRun=False)

    assert job.status is JobStatus.SUCCEEDED
    assert job.message == "Nothing differs."
    assert queues(nas) == {}
