"""Where gateways on HTTP tell what became of messages. Nobody signs in: each account says what proves it.

Whatever is wrong with a report gets one and the same answer, which tells nothing of what there is.
"""

import logging
from functools import partial
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ispgraph.adapters import outbound
from ispgraph.adapters.carriers import open_carrier
from ispgraph.adapters.errors import AdapterError
from ispgraph.api.body import up_to
from ispgraph.db import Database
from ispgraph.domain.messaging import sending
from ispgraph.domain.models import MessageStatus
from ispgraph.domain.secrets import BadSecret
from ispgraph.settings import Settings

BODY_BYTES = 64 * 1024
# From one address so many bad reports are looked at in a minute.
BAD_FREE = 60
_MINUTE = 60

_log = logging.getLogger(__name__)


def routes(database: Database, redis: Redis, settings: Settings) -> list[Route]:
    """The route below /delivery."""

    async def respond(request: Request) -> Response:
        address = request.client.host if request.client else "unknown"
        if await _throttled(redis, address):
            return PlainTextResponse("Too many.\n", 429, headers={"Retry-After": str(_MINUTE)})
        body = await up_to(request, BODY_BYTES)
        if body is None:
            return PlainTextResponse("Too large.\n", 413, headers={"Connection": "close"})
        taken = await _take(database, settings, request, body)
        if not taken:
            await _count(redis, address)
            return PlainTextResponse("Not found.\n", 404)
        return PlainTextResponse("OK\n")

    return [Route("/delivery/{tenant}/{gateway}", respond, methods=["GET", "POST"])]


async def _take(database: Database, settings: Settings, request: Request, body: bytes) -> bool:
    """Whether the report was a gateway's; then it is kept."""
    try:
        tenant_id, gateway_id = (UUID(hex=request.path_params[name]) for name in ("tenant", "gateway"))
    except ValueError:
        return False
    try:
        async with database.read(tenant_id) as session:
            account = await sending.account(session, gateway_id, settings.network_key)
        if account is None:
            return False
        # Nothing is called: what is verified is at hand.
        async with outbound.client(private=settings.private_gateways) as client:
            carrier = open_carrier(account, client)
            query = dict(request.query_params)
            headers = {name.lower(): value for name, value in request.headers.items()}
            reports = carrier.reported(request.method, query, headers, body)
            await carrier.close()
    except (AdapterError, BadSecret) as error:
        _log.warning("gateway %s: a report was not believed: %s", gateway_id, type(error).__name__)
        return False
    for report in reports:
        told = sending.Told(report.provider_reference, report.reference, MessageStatus[report.fate.name], report.reason)
        await database.run(tenant_id, partial(sending.reported, gateway_id=gateway_id, told=told))
    return True


def _key(address: str) -> str:
    return f"ispgraph:bad-reports:{address}"


async def _throttled(redis: Redis, address: str) -> bool:
    try:
        return int(await redis.get(_key(address)) or 0) >= BAD_FREE
    except RedisError:
        # Reports are not lost for want of a brake.
        return False


async def _count(redis: Redis, address: str) -> None:
    try:
        if await redis.incr(_key(address)) == 1:
            await redis.expire(_key(address), _MINUTE)
    except RedisError as error:
        _log.warning("a bad report was not counted: Redis: %s", error)
