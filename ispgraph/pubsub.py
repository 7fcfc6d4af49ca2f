"""Events between the programs of one house, over Redis.

An event says that something may have changed and where; whoever listens reads the rows again. So an event may be lost
(Redis promises nothing) and nothing goes wrong as long as the listener also looks by itself now and then.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import redis
import redis.asyncio
from redis.asyncio.client import PubSub
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.db import after_commit

_TIMEOUT_SECONDS = 0.5
_RECONNECT_SECONDS = 0.5
_READ_SECONDS = 5
# Of one listener. A listener that is this far behind loses the oldest: it reads rows, not events.
_QUEUE_LENGTH = 100
_PENDING = "ispgraph.events"

_log = logging.getLogger(__name__)

Queue = asyncio.Queue[tuple[str, str]]
Receive = Callable[[str, str], None]
"""Takes a topic and a payload, at once: all other listeners wait for it."""


class Hub:
    """All listeners of one program behind one Redis connection, open while anybody listens."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._receivers: dict[str, set[Receive]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._channel: PubSub | None = None
        self._connected = asyncio.Event()

    async def join(self, receive: Receive, topics: tuple[str, ...]) -> None:
        """Hand over events of these topics from now on, or from when Redis is there."""
        fresh = [topic for topic in topics if topic not in self._receivers]
        for topic in topics:
            self._receivers.setdefault(topic, set()).add(receive)
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        if self._channel is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    await self._connected.wait()
        elif fresh:
            # When the connection just went away, the reader subscribes to everything on the next one.
            with suppress(RedisError, OSError):
                await self._channel.subscribe(*fresh)

    async def leave(self, receive: Receive, topics: tuple[str, ...]) -> None:
        """Hand over no more; the last to leave closes the connection."""
        for topic in topics:
            self._receivers[topic].discard(receive)
        idle = [topic for topic in topics if not self._receivers[topic]]
        for topic in idle:
            del self._receivers[topic]
        reader = self._reader
        if not self._receivers and reader is not None:
            self._reader = None
            reader.cancel()
            await asyncio.wait([reader])
        elif self._channel is not None and idle:
            with suppress(RedisError, OSError):
                await self._channel.unsubscribe(*idle)

    async def _read(self) -> None:
        while True:
            client = redis.asyncio.from_url(
                self._url, socket_connect_timeout=_TIMEOUT_SECONDS, retry=redis.asyncio.retry.Retry(NoBackoff(), 0)
            )
            try:
                async with client, client.pubsub(ignore_subscribe_messages=True) as channel:
                    await self._listen(channel)
            except (RedisError, OSError) as error:
                _log.warning("events are late: Redis: %s", error)
            finally:
                self._channel = None
                self._connected.clear()
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen(self, channel: PubSub) -> None:
        topics = set(self._receivers)
        await channel.subscribe(*topics)
        self._channel = channel
        if missed := set(self._receivers) - topics:
            await channel.subscribe(*missed)
        self._connected.set()
        while True:
            message = await channel.get_message(timeout=_READ_SECONDS)
            if message is not None:
                self._deliver(message["channel"].decode(), message["data"].decode())

    def _deliver(self, topic: str, payload: str) -> None:
        for receive in tuple(self._receivers.get(topic, ())):
            receive(topic, payload)


_hub: Hub | None = None
_client: "redis.Redis | None" = None


def connect(redis_url: str) -> None:
    """Let this program publish and subscribe. Nothing is opened yet. Without it events go nowhere."""
    global _hub, _client
    _hub = Hub(redis_url)
    _client = redis.Redis.from_url(
        redis_url,
        socket_timeout=_TIMEOUT_SECONDS,
        socket_connect_timeout=_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def disconnect() -> None:
    """Undo `connect`. Subscriptions should have ended before."""
    global _hub, _client
    if _client is not None:
        _client.close()
    _hub = _client = None


def publish(session: AsyncSession, topic: str, payload: str) -> None:
    """Tell the listeners of a topic once this transaction has committed; never when it rolls back."""
    # A dictionary for its keys: each once, in their order.
    pending: dict[tuple[str, str], None] | None = session.info.get(_PENDING)
    if pending is None:
        pending = session.info[_PENDING] = {}

        async def committed() -> None:
            await send([*session.info.pop(_PENDING)])

        after_commit(session, committed)
    pending[topic, payload] = None


@asynccontextmanager
async def subscribe(*topics: str) -> AsyncIterator[Queue]:
    """A queue that receives (topic, payload) while the block runs. Payloads are what `publish` was given."""
    queue: Queue = asyncio.Queue(_QUEUE_LENGTH)

    def receive(topic: str, payload: str) -> None:
        if queue.full():
            queue.get_nowait()
        queue.put_nowait((topic, payload))

    async with listen(receive, *topics):
        yield queue


@asynccontextmanager
async def listen(receive: Receive, *topics: str) -> AsyncIterator[None]:
    """Have `receive` called for each event of these topics while the block runs."""
    hub = _hub
    if hub is None:
        yield
        return
    try:
        await hub.join(receive, topics)
        yield
    finally:
        await hub.leave(receive, topics)


async def next_events(queue: Queue, seconds: float) -> None:
    """Wait for an event, at most so long, and swallow what else has come by then."""
    # Not wait_for: before Python 3.12 it may swallow a cancellation that meets an event.
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await queue.get()
    while not queue.empty():
        queue.get_nowait()


async def send(events: list[tuple[str, str]]) -> None:
    """Tell listeners of (topic, payload) now: of what stands in no transaction. What Redis does not take is lost."""
    if _client is None:
        return
    try:
        await asyncio.to_thread(_publish, _client, events)
    except RedisError as error:
        _log.warning("%d events were lost: Redis: %s", len(events), error)


def _publish(client: "redis.Redis", events: list[tuple[str, str]]) -> None:
    pipeline = client.pipeline(transaction=False)
    for topic, payload in events:
        pipeline.publish(topic, payload)
    pipeline.execute()
