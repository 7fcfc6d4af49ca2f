"""The API through its front door: the ASGI application, over HTTP, with tokens as operators have them."""

import json
from collections.abc import MutableMapping
from functools import cache
from typing import Any

import httpx
from redis.asyncio import Redis

from ispgraph import delivery_reports, pages, password_pages, webhooks
from ispgraph.api import branding, captive, create_api, downloads
from ispgraph.checkout import Checkout
from ispgraph.db import Database
from ispgraph.domain import tokens
from ispgraph.domain.models import Operator
from ispgraph.resolvers.build import build
from ispgraph.resolvers.context import ContextFactory
from ispgraph.schema.errors import ApiSchema
from ispgraph.settings import Settings
from tests import factories


@cache
def schema() -> ApiSchema:
    """The built schema; a type can stand in one schema of a process only."""
    return build(suggestions=True)


class Api:
    """A client of an API that runs in the test's own event loop."""

    def __init__(self, database: Database, redis: Redis, settings: Settings) -> None:
        self.till = Checkout(database, settings)
        routes = [
            *downloads.routes(database, settings),
            *delivery_reports.routes(database, redis, settings),
            *pages.routes(database, redis, settings, self.till),
            *password_pages.routes(database, redis),
            *webhooks.routes(database, redis, self.till),
            *captive.routes(database, redis, settings),
            *branding.routes(database, settings),
        ]
        self.app = create_api(schema(), settings, ContextFactory(database, redis, settings), routes=routes)
        self._database = database
        self._tokens: dict[Any, str] = {}
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://test", timeout=60)

    async def __call__(
        self, document: str, who: Operator | None = None, /, *, token: str | None = None, **variables: Any
    ) -> dict[str, Any]:
        """The whole answer, errors included, as `who` or with a token as given."""
        bearer = token if token is not None else await self.token(who) if who is not None else None
        found: dict[str, Any] = json.loads(await self._post({"query": document, "variables": variables}, bearer))
        return found

    async def _post(self, sent: object, bearer: str | None) -> bytes:
        """The body of an answer, from the application itself: a client around it would take a tenth of every test."""
        headers = [(b"host", b"test"), (b"content-type", b"application/json"), (b"accept", b"*/*")]
        if bearer is not None:
            headers.append((b"authorization", f"Bearer {bearer}".encode()))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "method": "POST",
            "path": "/graphql",
            "raw_path": b"/graphql",
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 123),
            "server": ("test", 80),
        }
        request = {"type": "http.request", "body": json.dumps(sent).encode(), "more_body": False}
        answer: list[bytes] = []

        async def receive() -> dict[str, Any]:
            return request

        async def send(event: MutableMapping[str, Any]) -> None:
            answer.append(event.get("body", b""))

        await self.app(scope, receive, send)
        return b"".join(answer)

    @property
    def client(self) -> httpx.AsyncClient:
        """What the requests go by."""
        return self._http

    async def get(self, url: str, method: str = "GET", content: bytes | None = None) -> httpx.Response:
        """What a link shows; only its path and query are looked at."""
        return await self._http.request(method, httpx.URL(url).raw_path.decode(), content=content)

    async def submit(self, path: str, **fields: str) -> httpx.Response:
        """What a page answers to its form; names with dashes are written with underscores."""
        sent = {name.replace("_", "-"): value for name, value in fields.items()}
        return await self._http.post(path, data=sent)

    async def data(self, document: str, who: Operator | None = None, /, **variables: Any) -> dict[str, Any]:
        """The data of an answer without errors."""
        answer = await self(document, who, **variables)
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    async def token(self, who: Operator) -> str:
        """A token of a sign-in of this operator; the same one each time. It outlives a clock moved by weeks."""
        if who.id not in self._tokens:
            sign_in = await factories.sign_in(self._database, who)
            self._tokens[who.id] = tokens.issue(
                factories.TOKEN_KEY,
                tokens.Claims(who.tenant_id, who.id, sign_in.id, who.token_version, sign_in.expires_at),
            )
        return self._tokens[who.id]

    def share(self, other: "Api") -> None:
        """Use the sign-ins of another client, who would see ours as well."""
        self._tokens = other._tokens

    def sign_in_again(self) -> None:
        """Have everyone sign in anew: a sign-in ends when the clock is moved by months."""
        self._tokens.clear()

    async def close(self) -> None:
        """Close the client."""
        await self._http.aclose()
        await self.till.aclose()
