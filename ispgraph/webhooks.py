"""What payment gateways report, at an address of its own for each account.

A report is verified as it came, byte by byte, before anything else, and answered when what follows from it is
committed. Who is not known here, or has not signed, learns nothing: the answer is the same whatever was wrong.
"""

import hashlib
import logging
from collections.abc import Mapping
from uuid import UUID

from redis.asyncio import Redis
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ispgraph import checkout
from ispgraph.adapters.errors import AdapterError
from ispgraph.adapters.payments.base import Notice
from ispgraph.api.body import up_to
from ispgraph.checkout import Checkout
from ispgraph.db import Database
from ispgraph.domain import paying, secrets, visits
from ispgraph.domain.models import Gateway

BODY_BYTES = 64 * 1024
_GUESSES = "callbacks"
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

_log = logging.getLogger(__name__)


def routes(database: Database, redis: Redis, till: Checkout) -> list[Route]:
    """The routes below /callbacks."""

    async def report(request: Request) -> Response:
        address = request.client.host if request.client else None
        if await visits.guesses_too_much(redis, _GUESSES, address):
            return _refused(429)
        found = await _verified(database, till, request)
        if found is None:
            await visits.guessed(redis, _GUESSES, address)
            return _refused(400)
        row, told, (kind, answer) = found
        verdict = await database.run(row.tenant_id, lambda session: paying.reported(session, row, told))
        _log.info("gateway %s reports %s: %s", row.id, told.event_id, verdict.value if verdict else "again")
        return Response(answer, media_type=kind, headers=_HEADERS)

    methods = ["GET", "POST"]
    return [
        Route("/callbacks/{tenant}/{gateway}", report, methods=methods),
        Route("/callbacks/{tenant}/{gateway}/{reference}", report, methods=methods),
    ]


async def _verified(
    database: Database, till: Checkout, request: Request
) -> tuple[Gateway, paying.Report, tuple[str, bytes]] | None:
    body = await _body(request)
    try:
        tenant_id, gateway_id = UUID(hex=request.path_params["tenant"]), UUID(hex=request.path_params["gateway"])
    except ValueError:
        return None
    known = None if body is None else await checkout.account(database, tenant_id, gateway_id)
    if known is None or body is None:
        return None
    row, tenant = known
    query, headers = dict(request.query_params), _joined(request)
    try:
        notice, answer = till.notice(row, request.method, query, headers, body, tenant.currency)
    except (AdapterError, secrets.BadSecret) as error:
        _log.warning("gateway %s: a report was refused: %s", row.id, error)
        return None
    return row, _report(notice, body, request.path_params.get("reference")), answer


def _report(notice: Notice, body: bytes, meant: str | None) -> paying.Report:
    status = notice.status
    return paying.Report(
        event_id=notice.event_id,
        at=notice.at,
        word=None if status is None else checkout.word_of(status),
        reference=None if status is None else status.reference,
        provider_reference=None if status is None else status.provider_reference,
        ask=notice.ask,
        digest=hashlib.sha256(body).digest(),
        meant=meant,
    )


def _joined(request: Request) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, value in request.headers.items():
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


async def _body(request: Request) -> bytes | None:
    """The body; None when it is too long, or was broken off."""
    try:
        return await up_to(request, BODY_BYTES)
    except ClientDisconnect:
        return None


def _refused(status: int) -> Response:
    return Response("Not accepted.\n", status, media_type="text/plain", headers={**_HEADERS, "Connection": "close"})
