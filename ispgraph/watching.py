"""Who watches what: told by the processes of the API to the live programs, over Redis.

Each process keeps one key with all that its viewers watch, and a beat that ends by itself soon after the process. A
Redis that loses everything learns it again with the next beat.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import orjson
import redis.asyncio
from redis.exceptions import RedisError

TOPIC = "live-watching"
"""Where it is told that somebody watches something else than before."""
BEAT_SECONDS = 2.0
_BEATS_LAST = 6
_KEPT_SECONDS = 120
_GATHER_SECONDS = 0.03
_PROCESSES = "ispgraph:live:processes"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Wanted:
    """What is watched in one tenant: seconds between two readings, by customer, and by router for all who are on it;
    None is every router."""

    customers: dict[UUID, int] = field(default_factory=dict)
    routers: dict[UUID | None, int] = field(default_factory=dict)

    def add(self, other: "Wanted") -> None:
        """Have what both want: the shorter time where both want the same."""
        for customer, seconds in other.customers.items():
            self.customers[customer] = min(seconds, self.customers.get(customer, seconds))
        for router, seconds in other.routers.items():
            self.routers[router] = min(seconds, self.routers.get(router, seconds))


WantedByTenant = Mapping[UUID, Wanted]


class Register:
    """What this process wants, kept in Redis from when it first wants anything. It is asked for what that is when it
    is told: while a thousand viewers come, a few times in all."""

    def __init__(self, client: "redis.asyncio.Redis", wanted: Callable[[], WantedByTenant]) -> None:
        self._client = client
        self._name = uuid4().hex
        self._version = 0
        self._wanted = wanted
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    def changed(self) -> None:
        """Something else is wanted than before."""
        self._version += 1
        self._changed.set()
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Want nothing any more."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None
        with contextlib.suppress(RedisError, OSError):
            await self._client.delete(_beat(self._name), _content(self._name))

    async def _keep(self) -> None:
        told = -1
        while True:
            version = self._version
            try:
                told = await self._tell(version, anew=told != version)
            except (RedisError, OSError) as error:
                _log.warning("the live programs do not hear from us: Redis: %s", error)
                told = -1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._changed.wait()
                    # Of a panel that opens many at once, all are told together.
                    await asyncio.sleep(_GATHER_SECONDS)
            self._changed.clear()

    async def _tell(self, version: int, *, anew: bool) -> int:
        pipeline = self._client.pipeline(transaction=False)
        if anew:
            pipeline.set(_content(self._name), _encoded(self._wanted()), ex=_KEPT_SECONDS)
        else:
            pipeline.expire(_content(self._name), _KEPT_SECONDS)
        pipeline.set(_beat(self._name), version, ex=_BEATS_LAST)
        pipeline.sadd(_PROCESSES, self._name)
        if anew:
            pipeline.publish(TOPIC, self._name)
        kept = (await pipeline.execute())[0]
        return version if kept else -1


class Watchers:
    """What all processes want together, as the live programs read it."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        self._client = client
        self._known: dict[str, tuple[str, WantedByTenant]] = {}

    async def read(self) -> WantedByTenant:
        """By tenant. Raises RedisError, OSError."""
        found_names: Any = await self._client.smembers(_PROCESSES)
        names = sorted(name.decode() for name in found_names)
        beats: Any = await self._client.mget([_beat(name) for name in names]) if names else []
        alive = {name: beat.decode() for name, beat in zip(names, beats, strict=True) if beat is not None}
        if gone := set(names) - alive.keys():
            await self._client.srem(_PROCESSES, *gone)
        self._known = {name: known for name, known in self._known.items() if name in alive}
        for name, version in alive.items():
            if self._known.get(name, ("", {}))[0] != version:
                text: Any = await self._client.get(_content(name))
                if text is not None:
                    self._known[name] = (version, _decoded(text))
        found: dict[UUID, Wanted] = {}
        for _, wanted in self._known.values():
            for tenant, each in wanted.items():
                found.setdefault(tenant, Wanted()).add(each)
        return found


def _beat(name: str) -> str:
    return f"ispgraph:live:beat:{name}"


def _content(name: str) -> str:
    return f"ispgraph:live:watch:{name}"


def _encoded(wanted: WantedByTenant) -> bytes:
    return orjson.dumps(
        {
            tenant.hex: {
                "customers": {key.hex: seconds for key, seconds in each.customers.items()},
                "routers": {key.hex if key else "": seconds for key, seconds in each.routers.items()},
            }
            for tenant, each in wanted.items()
        }
    )


def _decoded(text: bytes) -> WantedByTenant:
    return {
        UUID(hex=tenant): Wanted(
            {UUID(hex=key): seconds for key, seconds in each["customers"].items()},
            {UUID(hex=key) if key else None: seconds for key, seconds in each["routers"].items()},
        )
        for tenant, each in orjson.loads(text).items()
    }
