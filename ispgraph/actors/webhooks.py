"""Telling endpoints of what happened. The rows are the promise: there are no jobs of it.

Each endpoint has a task of the event loop, not a thread: however slow or dead some are, the others do not wait.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from uuid import UUID

import redis.asyncio
from sqlalchemy.exc import SQLAlchemyError

from ispgraph import clock, traces
from ispgraph import jobs as queue
from ispgraph.adapters import outbound, webhooks
from ispgraph.adapters.errors import AdapterError
from ispgraph.db import Database
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.webhooks import deliveries, payloads
from ispgraph.domain.webhooks.deliveries import Answer, Parcel
from ispgraph.resolvers.build import build
from ispgraph.schema.context import Context
from ispgraph.schema.errors import ApiSchema
from ispgraph.schema.webhooks import executed
from ispgraph.settings import Settings

# Endpoints at once in one worker; more wait for the next sweep.
_MOST = 200
# A call and a document have shorter deadlines of their own: this one is for what nobody foresaw.
_LONGEST_SECONDS = 40.0
_DOCUMENT_SECONDS = 15.0
# After so many the turn of an endpoint is over, so that one with a hundred thousand does not hold up the others.
_MOST_BATCHES = 50

_log = logging.getLogger(__name__)


class WebhookCaller:
    """Calls endpoints, in one event loop. Any number may do so at once, here and elsewhere."""

    def __init__(self, database: Database, settings: Settings, schema: Callable[[], ApiSchema] = build) -> None:
        self._database = database
        self._settings = settings
        self._build = schema
        self._schema: asyncio.Task[ApiSchema] | None = None
        self._client: outbound.Client | None = None
        self._redis: redis.asyncio.Redis | None = None
        self._turns: dict[UUID, asyncio.Task[None]] = {}
        self._stopping = False

    async def call(self, tenant: str, endpoint: str) -> None:
        """Begin to send what is due to an endpoint, unless that is under way here."""
        tenant_id, endpoint_id = UUID(hex=tenant), UUID(hex=endpoint)
        await queue.claimed(endpoint_id)
        if self._stopping or endpoint_id in self._turns or len(self._turns) >= _MOST:
            return
        task = asyncio.create_task(self._turn(tenant_id, endpoint_id))
        self._turns[endpoint_id] = task
        task.add_done_callback(lambda _: self._turns.pop(endpoint_id, None))

    async def idle(self) -> None:
        """Wait until nothing is under way here."""
        while self._turns:
            await asyncio.wait([*self._turns.values()])

    def stop(self) -> None:
        """Begin nothing any more; what is being sent goes on. What that does not end is sent again by another."""
        self._stopping = True

    async def close(self) -> None:
        """End the connections."""
        self.stop()
        await self.idle()
        if self._client is not None:
            await self._client.aclose()
            self._client = None
        if self._redis is not None:
            await self._redis.aclose()
            self._redis = None

    async def _turn(self, tenant_id: UUID, endpoint_id: UUID) -> None:
        try:
            for _ in range(_MOST_BATCHES):
                if self._stopping:
                    return
                take = partial(deliveries.take, endpoint_id=endpoint_id, key=self._settings.network_key)
                with traces.span("call webhook", "CONSUMER", parent=traces.ROOT) as span:
                    parcels = await self._database.run(tenant_id, take)
                    span.tell({"messaging.batch.message_count": len(parcels)})
                    if not parcels:
                        return
                    await asyncio.gather(*(self._send(parcel) for parcel in parcels))
        except (SQLAlchemyError, OSError) as error:
            _log.warning("webhook endpoint %s: the database is away (%s)", endpoint_id, type(error).__name__)
        except Exception:
            _log.exception("webhook endpoint %s", endpoint_id)

    async def _send(self, parcel: Parcel) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                body = parcel.body or await self._body(parcel)
                if body is None:
                    return
                began = time.monotonic()
                reply = await self._call(parcel, body)
        except AdapterError as error:
            await self._missed(parcel, Answer(None, None, error.text, _since(began)))
        except (SQLAlchemyError, OSError):
            raise
        except Exception as error:
            # The text may hold what nobody should read.
            _log.exception("webhook delivery %s", parcel.id)
            told = f"Unexpected error ({type(error).__name__}); the worker's log has the details."
            await self._missed(parcel, Answer(None, None, told, _since(began)))
        else:
            answer = Answer(reply.status, reply.body, None, _since(began))
            if reply.taken:
                await self._database.run(parcel.tenant_id, lambda each: deliveries.delivered(each, parcel, answer))
            elif reply.gone:
                await self._database.run(parcel.tenant_id, lambda each: deliveries.gone(each, parcel, answer))
            else:
                await self._missed(parcel, answer, reply)

    async def _call(self, parcel: Parcel, body: str) -> webhooks.Reply:
        if self._client is None:
            self._client = webhooks.client(private=self._settings.private_webhooks)
        return await webhooks.call(
            self._client,
            parcel.url,
            message_id=payloads.message_id(parcel),
            at=int(clock.now().timestamp()),
            secrets=parcel.secrets,
            body=body,
        )

    async def _missed(self, parcel: Parcel, answer: Answer, reply: webhooks.Reply | None = None) -> None:
        wait = reply.wait if reply is not None else None
        await self._database.run(parcel.tenant_id, partial(deliveries.missed, parcel=parcel, answer=answer, wait=wait))

    async def _body(self, parcel: Parcel) -> str | None:
        """What every attempt will send, kept before the first; None when nothing is to be sent."""
        async with self._database.read(parcel.tenant_id) as session:
            by = await payloads.owner(session, parcel)
        if by is None:
            reason = "The owner of the endpoint may not see this."
            await self._database.run(parcel.tenant_id, lambda each: deliveries.withhold(each, parcel, reason))
            return None
        body = payloads.body(parcel, payloads.usual(parcel))
        if parcel.document is not None:
            body = await self._carried_out(parcel, parcel.document, by)
        kept = await self._database.run(parcel.tenant_id, lambda each: deliveries.keep_body(each, parcel, body))
        return body if kept else None

    async def _carried_out(self, parcel: Parcel, document: str, by: Viewer) -> str:
        """The payload by a document. What goes wrong with it is told beside the usual payload: nothing is lost."""
        if self._schema is None:
            # Making it takes a second, in which calls go on.
            self._schema = asyncio.create_task(asyncio.to_thread(self._build))
        if self._redis is None:
            self._redis = redis.asyncio.from_url(self._settings.redis_url)
        context = Context(database=self._database, redis=self._redis, settings=self._settings, viewer=by)
        schema = await asyncio.shield(self._schema)
        try:
            async with asyncio.timeout(_DOCUMENT_SECONDS):
                data, errors = await executed(schema, document, parcel.subject, context)
        except TimeoutError:
            data, errors = None, [{"message": "The document took too long."}]
        body = payloads.body(parcel, payloads.usual(parcel) if data is None else data, errors)
        if len(body.encode()) <= payloads.LARGEST:
            return body
        told = [{"message": f"The document makes more than {payloads.LARGEST} bytes."}]
        return payloads.body(parcel, payloads.usual(parcel), told)


def _since(began: float) -> int:
    return int((time.monotonic() - began) * 1000)
