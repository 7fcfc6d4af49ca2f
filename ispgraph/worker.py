"""The program that carries out jobs."""

import asyncio
import signal
import threading
from collections.abc import Mapping
from contextlib import suppress

import dramatiq
import redis
import uvloop
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.middleware.asyncio import AsyncIO

from ispgraph import jobs as queue
from ispgraph import logs, metrics, pubsub, replica, revisions, traces
from ispgraph.actors.lanes import LaneRunner
from ispgraph.actors.postman import Postman
from ispgraph.actors.registry import ACTIONS, Action
from ispgraph.actors.run import Runner
from ispgraph.actors.webhooks import WebhookCaller
from ispgraph.db import Database
from ispgraph.settings import Settings

_THREADS = 8
# How long an idle worker sleeps between two looks at the queue.
_IDLE_MILLISECONDS = 200
# After SIGTERM: so long jobs may go on, then they are given back, and then the process ends whatever happens.
_FINISH_SECONDS = 4.0
_GIVE_BACK_SECONDS = 3.0
_END_MILLISECONDS = 8_000


def main(settings: Settings, actions: Mapping[str, Action] = ACTIONS) -> None:
    """Work until SIGTERM or SIGINT. Prints `ready`. Jobs that have not ended 4 s after the signal are given back."""
    logs.configure("worker", settings)
    revisions.require(settings.database_url)
    metrics.serve(settings)
    with traces.running("worker", settings):
        _work(settings, actions)


def _work(settings: Settings, actions: Mapping[str, Action]) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    queue.connect(settings.redis_url)
    pubsub.connect(settings.redis_url)
    replica.connect(settings)
    # Every job may need one connection for its work and one for its lease.
    database = Database.of(settings, pool_size=2 * _THREADS)
    runner, lanes = Runner(database, settings, actions), LaneRunner(database, settings)
    postman, caller = Postman(database, settings), WebhookCaller(database, settings)
    # The loop that dramatiq makes for itself: with this one a turn costs the worker a third less.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    broker = queue.broker(redis.Redis.from_url(settings.redis_url), [AsyncIO()])
    dramatiq.actor(actor_name=queue.RUN_JOB, queue_name=queue.QUEUE, broker=broker)(runner.run_job)
    dramatiq.actor(actor_name=queue.RUN_LANE, queue_name=queue.QUEUE, broker=broker)(lanes.run_lane)
    dramatiq.actor(actor_name=queue.DELIVER, queue_name=queue.QUEUE, broker=broker)(postman.deliver)
    dramatiq.actor(actor_name=queue.CALL, queue_name=queue.QUEUE, broker=broker)(caller.call)
    worker = dramatiq.Worker(broker, worker_threads=_THREADS, worker_timeout=_IDLE_MILLISECONDS)
    worker.start()
    print("ready", flush=True)  # noqa: T201  the word that whoever started us waits for
    stop.wait()
    _end(worker, runner, lanes, postman, caller)


def _end(worker: dramatiq.Worker, runner: Runner, lanes: LaneRunner, postman: Postman, caller: WebhookCaller) -> None:
    thread = get_event_loop_thread()
    if thread is not None:
        loop: asyncio.AbstractEventLoop = thread.loop
        loop.call_soon_threadsafe(loop.call_later, _FINISH_SECONDS, runner.stop)
        loop.call_soon_threadsafe(postman.stop)
        loop.call_soon_threadsafe(caller.stop)
        # Turns on routers are no threads of dramatiq's: it would stop the loop under them.
        given_back = asyncio.run_coroutine_threadsafe(lanes.finish(_FINISH_SECONDS), loop)
        with suppress(TimeoutError):
            given_back.result(_FINISH_SECONDS + _GIVE_BACK_SECONDS)
    worker.stop(timeout=_END_MILLISECONDS)
