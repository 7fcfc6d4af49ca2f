"""The programs themselves: a worker that is killed while an endpoint has its call, and the next one."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from ispgraph import clock
from ispgraph.adapters.sms.double import Weather
from ispgraph.adapters.webhooks_double import WebhookDouble
from ispgraph.settings import Settings
from tests import subscribers
from tests.factories import House
from tests.programs import Program
from tests.webhooks.hooks import Hooks, cus

DOCUMENT = "query ($subject: ID!) { node(id: $subject) { ... on Customer { name status } } }"


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


async def running(settings: Settings, **environment: str) -> list[Program]:
    made = [
        Program(module, settings, ISPGRAPH_PRIVATE_WEBHOOKS="on", **environment) for module in ("worker", "scheduler")
    ]
    for program in made:
        await program.ready()
    return made


@pytest.mark.long
async def test_what_a_killed_worker_was_sending_is_sent_again_as_it_was(
    hooks: Hooks, double: WebhookDouble, base: str, house: House, settings: Settings
) -> None:
    endpoint = await hooks.endpoint(double, base, "CUSTOMER_SUSPENDED", document=DOCUMENT)
    customer = await subscribers.customer(house)
    await subscribers.service(house, customer)
    double.weather = Weather.HANGS_AFTER
    programs = await running(settings)
    try:
        await hooks.suspend(customer)
        await until(lambda: len(double.received) == 1)
        for program in programs:
            program.kill()
        double.ended.set()
        double.weather = Weather.CALM
        # What the object is by now makes no other payload of it.
        await hooks.activate(customer)
        programs = await running(settings, ISPGRAPH_CLOCK=(clock.now() + timedelta(seconds=61)).isoformat())
        await until(lambda: len(double.received) == 2)
        first, second = double.received
        assert (first.id, first.raw, first.genuine) == (second.id, second.raw, second.genuine)
        assert first.genuine
        assert second.body["data"] == {"node": {"name": customer.name, "status": "SUSPENDED"}}
        async with asyncio.timeout(30):
            while (await hooks.log(endpoint=endpoint))[0]["status"] != "DELIVERED":
                await asyncio.sleep(0.1)
        [row] = await hooks.log(endpoint=endpoint)
        assert (row["attemptCount"], row["subjectId"]) == (2, cus(customer))
    finally:
        for program in programs:
            program.kill()
