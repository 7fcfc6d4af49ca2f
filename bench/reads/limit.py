"""The limit: what the two queries cost when SQL written by hand makes the JSON, behind the product's own HTTP server
and authentication. It understands no GraphQL: the name of the operation picks the statement."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import redis.asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ispgraph import clock, ids
from ispgraph.api.server import Server
from ispgraph.db import Database
from ispgraph.resolvers.context import ContextFactory
from ispgraph.settings import Settings

# The tenant is set in the statement that reads: the reference to x.t keeps the reading behind the setting. What the
# search found is sorted first, so that customers are looked up until the page is full and not all of them.
_LIST = """
SELECT (SELECT COALESCE(json_agg(r), '[]')::text FROM (
  SELECT 'cus_' || encode(uuid_send(c.id), 'hex') AS id, c.name, c.status,
    (SELECT row_to_json(s) FROM (
       SELECT (SELECT row_to_json(p) FROM (SELECT p.name FROM packages p WHERE p.id = s.package_id) p) AS package
         FROM services s WHERE s.customer_id = c.id AND s.is_primary) s) AS service,
    (SELECT row_to_json(b) FROM (
       SELECT (balance_minor * 0.01)::text AS amount FROM customer_balances WHERE customer_id = c.id) b) AS balance,
    (SELECT row_to_json(n) FROM (SELECT COALESCE(json_agg(i), '[]') AS nodes FROM (
       SELECT number, (SELECT row_to_json(m) FROM (SELECT (total_minor * 0.01)::text AS amount) m) AS total, status
         FROM invoices WHERE customer_id = c.id ORDER BY id DESC LIMIT 3) i) n) AS invoices,
    (SELECT row_to_json(n) FROM (SELECT COALESCE(json_agg(s), '[]') AS nodes FROM (
       SELECT started_at AS "startedAt", output_octets::text AS "downloadBytes", input_octets::text AS "uploadBytes"
         FROM sessions WHERE customer_id = c.id ORDER BY started_at DESC, id DESC LIMIT 5) s) n) AS sessions,
    (SELECT row_to_json(u) FROM (
       SELECT COALESCE(sum(output_octets + input_octets), 0)::text AS "totalBytes" FROM usage_days
        WHERE customer_id = c.id AND day >= $3 AND day <= $4) u) AS usage
    FROM (SELECT key FROM customer_matches(ARRAY[$2::text, NULL, NULL, NULL, NULL, NULL]) key ORDER BY key DESC) found
    JOIN customers c ON c.id = found.key
   WHERE c.status = 'ACTIVE' ORDER BY found.key DESC LIMIT 50) r WHERE x.t IS NOT NULL)
  FROM (SELECT set_config('app.tenant_id', $1, true) t OFFSET 0) x
"""

_DETAIL = """
SELECT (SELECT row_to_json(r)::text FROM (
  SELECT 'cus_' || encode(uuid_send(c.id), 'hex') AS id, c.name, c.status,
    (SELECT row_to_json(b) FROM (
       SELECT (balance_minor * 0.01)::text AS amount FROM customer_balances WHERE customer_id = c.id) b) AS balance,
    (SELECT row_to_json(s) FROM (
       SELECT (SELECT row_to_json(p) FROM (SELECT p.name FROM packages p WHERE p.id = s.package_id) p) AS package
         FROM services s WHERE s.customer_id = c.id AND s.is_primary) s) AS service,
    (SELECT row_to_json(n) FROM (SELECT COALESCE(json_agg(i), '[]') AS nodes FROM (
       SELECT number, status, (SELECT row_to_json(m) FROM (SELECT (total_minor * 0.01)::text AS amount) m) AS total,
              (SELECT COALESCE(json_agg(p), '[]') FROM (
                 SELECT p.number, p.method,
                        (SELECT row_to_json(m) FROM (SELECT (p.amount_minor * 0.01)::text AS amount) m) AS amount
                   FROM payments p
                  WHERE p.id IN (SELECT a.payment_id FROM allocations a WHERE a.invoice_id = i.id)
                  ORDER BY p.id) p) AS payments
         FROM invoices i WHERE customer_id = c.id ORDER BY id DESC LIMIT 12) i) n) AS invoices,
    (SELECT row_to_json(n) FROM (SELECT COALESCE(json_agg(s), '[]') AS nodes FROM (
       SELECT started_at AS "startedAt", stopped_at AS "stoppedAt", output_octets::text AS "downloadBytes",
              input_octets::text AS "uploadBytes", terminate_cause AS "terminateCause"
         FROM sessions WHERE customer_id = c.id ORDER BY started_at DESC, id DESC LIMIT 30) s) n) AS sessions,
    (SELECT row_to_json(n) FROM (SELECT COALESCE(json_agg(u), '[]') AS points FROM (
       SELECT day::timestamp AT TIME ZONE $5 AS start, output_octets::text AS "downloadBytes",
              input_octets::text AS "uploadBytes" FROM usage_days
        WHERE customer_id = c.id AND day >= $3 AND day < $4 ORDER BY day) u) n) AS usage
    FROM customers c WHERE c.id = $2) r WHERE x.t IS NOT NULL)
  FROM (SELECT set_config('app.tenant_id', $1, true) t OFFSET 0) x
"""


def create_app(settings: Settings) -> Starlette:
    """One route that answers both queries."""
    database = Database(settings.database_url, pool_size=2)
    client = redis.asyncio.from_url(settings.redis_url)
    identify = ContextFactory(database, client, settings)
    pool: Any = None

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        nonlocal pool
        pool = await asyncpg.create_pool(
            settings.database_url,
            min_size=settings.database_pool,
            max_size=settings.database_pool,
            # Nothing that a statement leaves behind outlives its transaction, so there is nothing to reset.
            reset=_as_it_is,
            server_settings={"timezone": "UTC", "statement_timeout": "10s"},
        )
        yield
        await pool.close()
        await client.aclose()
        await database.dispose()

    async def answer(request: Request) -> Response:
        asked = json.loads(await request.body())
        viewer = (await identify(request, None)).viewer
        assert viewer is not None
        variables, tenant = asked["variables"], str(viewer.tenant_id)
        if asked["operationName"] == "List":
            today = clock.now().astimezone(ZoneInfo(viewer.time_zone)).date()
            text = await pool.fetchval(_LIST, tenant, variables["search"], today.replace(day=1), today)
            body = f'{{"data":{{"customers":{{"nodes":{text}}}}}}}'
        else:
            zone = ZoneInfo(viewer.time_zone)
            since, to = (datetime.fromisoformat(variables[name]).astimezone(zone).date() for name in ("from", "to"))
            key = ids.decode("cus", variables["id"])
            text = await pool.fetchval(_DETAIL, tenant, key, since, to, viewer.time_zone)
            body = f'{{"data":{{"customer":{text or "null"}}}}}'
        headers = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
        return Response(body.encode(), headers=headers)

    app = Starlette(routes=[Route("/graphql", answer, methods=["POST"])], lifespan=lifespan)
    app.state.stopping = asyncio.Event()
    return app


async def _as_it_is(_connection: Any) -> None:
    return None


def main(settings: Settings) -> None:
    """Serve until SIGTERM."""
    Server(create_app(settings), settings.host, settings.port).serve_program()


if __name__ == "__main__":
    main(Settings.from_env())
