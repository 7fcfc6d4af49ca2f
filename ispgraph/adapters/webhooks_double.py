"""A receiver of webhooks, for demonstrations and tests: a real server that checks what it gets and fails on demand."""

import asyncio
import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from ispgraph.adapters.sms.double import Double


@dataclass(frozen=True, slots=True)
class Received:
    """One call, as it came."""

    id: str
    headers: dict[str, str]
    raw: bytes
    genuine: bool

    @property
    def body(self) -> dict[str, Any]:
        """The JSON."""
        found: dict[str, Any] = json.loads(self.raw)
        return found


@dataclass
class WebhookDouble(Double):
    """Answers `status` with `text`, after `seconds`; for a subject in `failing`, 500."""

    secret: str = ""
    status: int = 204
    text: str = ""
    seconds: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    received: list[Received] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    def paths(self) -> dict[str, list[str]]:
        return {"/hook": ["POST"], "/elsewhere": ["POST"]}

    async def answer(self, request: Request) -> Response:
        raw = await request.body()
        given = dict(request.headers)
        self.received.append(Received(given.get("webhook-id", ""), given, raw, self._genuine(given, raw)))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.seconds)
        self.at_once -= 1
        if json.loads(raw).get("data", {}).get("id") in self.failing:
            return PlainTextResponse("not now", 500)
        return PlainTextResponse(self.text, self.status, headers=self.headers)

    def _genuine(self, headers: dict[str, str], raw: bytes) -> bool:
        signed = f"{headers.get('webhook-id')}.{headers.get('webhook-timestamp')}.".encode() + raw
        key = base64.b64decode(self.secret.split("_")[-1])
        wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return f"v1,{wanted}" in headers.get("webhook-signature", "").split(" ")
