"""An API that is told to stop has the balancer send requests elsewhere, and takes those that come until then."""

import asyncio

import httpx

from tests.live_api import LiveApi
from tests.test_http import TOKEN

QUERY = {"query": "{ hello }"}


async def test_it_says_so_first_and_ends_afterwards() -> None:
    with LiveApi(drain=2) as api:
        address = f"http://127.0.0.1:{api.port}"
        async with httpx.AsyncClient(base_url=address, timeout=5) as client:
            assert "connection" not in (await client.post("/graphql", json=QUERY)).headers
            listening = client.stream(
                "POST",
                "/graphql",
                json={"query": "subscription { forever }"},
                headers={"accept": "text/event-stream", **TOKEN},
            )
            async with listening as events:
                assert events.headers["content-type"].startswith("text/event-stream")
                api.server.should_exit = True
                async with asyncio.timeout(1.5):
                    while (told := await client.get("/readyz")).status_code != 503:
                        await asyncio.sleep(0.01)
                assert told.json() == {"ok": False, "stopping": True}
                # Requests are answered still, on connections that end with them; listeners go on.
                answer = await client.post("/graphql", json=QUERY)
                assert answer.json() == {"data": {"hello": "world"}}
                assert answer.headers["connection"] == "close"
                assert not api.app.state.stopping.is_set()
                async with asyncio.timeout(5):
                    async for _ in events.aiter_raw():
                        pass
                assert api.app.state.stopping.is_set()


async def test_told_twice_it_waits_no_longer() -> None:
    with LiveApi(drain=60) as api:
        api.server.should_exit = True
        async with asyncio.timeout(5):
            # An event of another thread's loop: it can be looked at, not waited for.
            while not api.app.state.draining.is_set():
                await asyncio.sleep(0.01)
        api.server.force_exit = True
        async with asyncio.timeout(5):
            await api.stopping()
