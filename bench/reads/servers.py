"""The servers that are compared: how each is started, and what it is asked."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from uuid import UUID

from bench.place import ROOT, Place
from bench.processes import Running, python
from bench.reads import questions
from ispgraph.up.ports import free_port
from ispgraph.up.postgres import APP_ROLE, DATABASE

POOL = 8
_POSTGRAPHILE = ROOT / "bench" / "postgraphile"


@dataclass(frozen=True, slots=True)
class Kind:
    """A server in the table. `postgraphile` speaks its own words and has no sign-in: its tenant is a setting."""

    name: str
    title: str
    command: Sequence[str]
    variables: Mapping[str, str]
    postgraphile: bool = False
    traced: bool = False
    """It sends traces to somebody who throws them away; measured only when asked for by name."""


_SOME = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.05"}
KINDS = (
    Kind("limit", "limit: SQL to JSON by hand", python("bench.reads.limit"), {}),
    Kind("ours", "ispgraph", python("ispgraph", "api"), {}),
    Kind("traced", "ispgraph, each traced", python("ispgraph", "api"), {}, traced=True),
    Kind("sampled", "ispgraph, 1 in 20 traced", python("ispgraph", "api"), _SOME, traced=True),
    Kind("plain", "ispgraph, compiler off", python("ispgraph", "api"), {"ISPGRAPH_COMPILED_READS": "off"}),
    Kind("stock", "Strawberry, ORM, DataLoaders", python("bench.reads.stock"), {}),
    Kind("five", "PostGraphile 5", ["node", "five/server.mjs"], {"GRAPHILE_ENV": "production"}, postgraphile=True),
    Kind("four", "PostGraphile 4", ["node", "four/server.mjs"], {}, postgraphile=True),
)


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs: where, as which process, and the requests for it."""

    kind: Kind
    port: int
    process: Running
    head: str
    bodies: Mapping[str, list[str]]


@contextmanager
def running(
    place: Place, names: Sequence[str], terms: Sequence[str], redis_url: str, say: Callable[[str], None]
) -> Iterator[list[Served]]:
    """The servers of these names, listening, to be asked for these terms. One that cannot be run here is left out, and
    said so."""
    customers = some_customers(place)
    kinds = [kind for kind in KINDS if kind.name in names]
    with ExitStack() as stack:
        if any(kind.postgraphile for kind in kinds):
            if shutil.which("node") is None or not all(
                (_POSTGRAPHILE / one / "node_modules").exists() for one in ("five", "four")
            ):
                say("PostGraphile is left out: it needs Node.js, and `npm ci` in bench/postgraphile/five and four")
                kinds = [kind for kind in kinds if not kind.postgraphile]
            else:
                stack.enter_context(_functions(place))
        if any(kind.traced for kind in kinds):
            endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": stack.enter_context(_receiver())}
            kinds = [replace(kind, variables={**kind.variables, **endpoint}) if kind.traced else kind for kind in kinds]
        served = []
        for kind in kinds:
            one = _prepare(place, kind, redis_url, terms, customers)
            one.process.start()
            stack.callback(one.process.stop)
            served.append(one)
        yield served


def some_customers(place: Place, count: int = 2000) -> list[UUID]:
    """Customers of the first tenant, the same ones each time, in no order."""
    tenant_id = place.description.tenant_id
    rows = place.postgres.execute(
        f"SELECT id FROM customers WHERE tenant_id = '{tenant_id}' ORDER BY md5(id::text) LIMIT {count}", DATABASE
    )
    return [UUID(row) for row in rows.splitlines()]


def _prepare(place: Place, kind: Kind, redis_url: str, terms: Sequence[str], customers: Sequence[UUID]) -> Served:
    port, known = free_port(), place.description
    environment = place.environment(redis_url, pool=POOL, port=port) | kind.variables
    if kind.postgraphile:
        first, today = questions.month(known.until)
        settings = {"app.tenant_id": known.tenant_id, "bench.month": first, "bench.today": today}
        environment |= {
            "NODE_ENV": "production",
            "DATABASE_URL": place.dsn(APP_ROLE),
            "PORT": str(port),
            "PG_SETTINGS": json.dumps(settings),
            "TZ": "UTC",
        }
    log = place.directory / f"{kind.name}.log"
    command = [shutil.which(kind.command[0]) or kind.command[0], *kind.command[1:]]
    process = Running(kind.title, command, environment, log, _POSTGRAPHILE if kind.postgraphile else ROOT)
    head = (
        "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: application/json\r\n"
        + ("" if kind.postgraphile else f"Authorization: Bearer {place.token()}\r\n")
    )
    bodies = {
        query: questions.bodies(query, terms, customers, known.until, postgraphile=kind.postgraphile)
        for query in questions.QUERIES
    }
    return Served(kind, port, process, head, bodies)


class _Discards(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _receiver() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Discards)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@contextmanager
def _functions(place: Place) -> Iterator[None]:
    """What PostGraphile needs in the schema, while it is measured."""
    place.postgres.execute((_POSTGRAPHILE / "functions.sql").read_text(), DATABASE)
    try:
        yield
    finally:
        made = "search_customers(text, text), customers_month_bytes(customers), customers_balance_minor(customers)"
        place.postgres.execute(f"DROP FUNCTION {made}; COMMENT ON FUNCTION all_tenants() IS NULL", DATABASE)
