"""The road from a job's row to a worker: dramatiq over Redis.

A row in the table of jobs is the promise; a message here only carries the word that the row is due. Messages may be
lost, doubled or late: a worker claims the row before it does anything, and the scheduler's sweep sends the word again.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from redis.backoff import NoBackoff
from redis.retry import Retry

from ispgraph import traces

RUN_JOB, RUN_LANE, DELIVER, CALL = "run_job", "run_lane", "deliver", "call"
"""The actors, by name: who sends never loads them."""
QUEUE = "jobs"

# A job whose word is under way is not sent again for so long; the claim ends this early.
_UNDER_WAY_SECONDS = 10
_SEND_SECONDS = 0.5
# A worker that says nothing for so long is dead for dramatiq, and what it had fetched goes to others.
_HEARTBEAT_MILLISECONDS = 15_000

_log = logging.getLogger(__name__)
_broker: RedisBroker | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """What somebody should claim now: a job; the lane of a router, on which its jobs take their turns; the letters of a
    tenant, the messages that it has to send; or the hook of an endpoint, to which events are to be sent."""

    tenant_id: UUID
    subject_id: UUID
    lane: bool = False
    letters: bool = False
    hook: bool = False


def connect(redis_url: str) -> None:
    """Let this program send. Nothing is opened yet. A program that never connects leaves the sending to the sweep."""
    global _broker
    client = redis.Redis.from_url(
        redis_url,
        socket_timeout=_SEND_SECONDS,
        socket_connect_timeout=_SEND_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    _broker = broker(client, [])


def disconnect() -> None:
    """Undo `connect`."""
    global _broker
    if _broker is not None:
        _broker.client.close()
        _broker = None


def broker(client: "redis.Redis", middleware: list[dramatiq.Middleware]) -> RedisBroker:
    """dramatiq's broker with our settings. Its own retries stay out: the row knows when to try again.

    Maintenance runs with every command; by default it is one in a thousand, and the messages of a killed worker
    would wait for minutes.
    """
    return RedisBroker(  # type: ignore[no-untyped-call]
        client=client,
        middleware=middleware,
        maintenance_chance=1_000_000,
        heartbeat_timeout=_HEARTBEAT_MILLISECONDS,
        namespace="ispgraph",
    )


async def push(due: Sequence[Due]) -> None:
    """Send word of these jobs and lanes, off the event loop. What cannot be sent is left to the next sweep."""
    if _broker is None or not due:
        return
    try:
        with traces.within("send word", "PRODUCER", {"messaging.batch.message_count": len(due)}):
            await asyncio.to_thread(_push, _broker, due)
    except redis.RedisError as error:
        _log.warning("%d jobs wait for the next sweep: Redis: %s", len(due), error)


async def claimed(subject_id: UUID) -> None:
    """The word has arrived: when the job or the lane is due again, it may be sent again at once."""
    if _broker is None:
        return
    try:
        await asyncio.to_thread(_broker.client.delete, _under_way(subject_id))
    except redis.RedisError as error:
        _log.warning("job or lane %s: Redis: %s", subject_id, error)


def _push(broker: RedisBroker, due: Sequence[Due]) -> None:
    # The marks live beside the messages on purpose: a Redis that loses its data loses both, and the sweep sends again.
    marks = broker.client.pipeline(transaction=False)
    for job in due:
        marks.set(_under_way(job.subject_id), 1, nx=True, ex=_UNDER_WAY_SECONDS)
    for job, fresh in zip(due, marks.execute(), strict=True):
        if fresh:
            broker.enqueue(_message(job))


def _message(due: Due) -> "dramatiq.Message[None]":
    return dramatiq.Message(
        queue_name=QUEUE,
        actor_name=CALL if due.hook else DELIVER if due.letters else RUN_LANE if due.lane else RUN_JOB,
        args=(due.tenant_id.hex, due.subject_id.hex),
        kwargs={},
        options={},
    )


def _under_way(subject_id: UUID) -> str:
    return f"ispgraph:job-under-way:{subject_id.hex}"
