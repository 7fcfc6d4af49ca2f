"""A gateway on HTTP such as small aggregators run: a form or JSON by POST, answered in JSON, or one GET, answered in
a line of text. It reports deliveries to the address it was given."""

import re
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import urlencode

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ispgraph.adapters.sms.double import Double, Taken, form_of

_NUMBER = re.compile(r"[1-9][0-9]{9,14}")
_LONGEST = 1530
_STATUS_OF = {1001: 401, 1002: 400, 1003: 400, 1004: 409}


@dataclass
class HttpDouble(Double):
    """Give it the key that it wants to see."""

    api_key: str = "key-of-the-double"

    def __post_init__(self) -> None:
        self._numbers = count(100001)

    def paths(self) -> dict[str, list[str]]:
        return {"/sms/send": ["POST"], "/smsapi": ["GET"]}

    async def answer(self, request: Request) -> Response:
        if request.method == "GET":
            given: dict[str, Any] = dict(request.query_params)
        elif "json" in request.headers.get("content-type", ""):
            given = await request.json()
        else:
            given = dict(await form_of(request))
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        code, text = self._judge(given, str(given.get("api_key") or bearer))
        if request.method == "GET":
            # As so many do: a success of HTTP, whatever became of it.
            return PlainTextResponse(f"OK: {text}" if code == 0 else f"ERROR {code}: {text}")
        if code:
            return JSONResponse({"status": "error", "code": code, "message": text}, _STATUS_OF[code])
        return JSONResponse({"status": "success", "code": 0, "data": {"message_id": text}})

    async def report(self, taken: Taken, state: str, reason: str = "") -> int:
        """Tell whoever sent a message what became of it; the status of the answer."""
        address, _, query = str(taken.given["callback"]).partition("?")
        said = urlencode({"id": taken.id, "ref": taken.given.get("ref", ""), "status": state, "error": reason})
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"{address}?{query}&{said}")).status_code

    def _judge(self, given: dict[str, Any], key: str) -> tuple[int, str]:
        if key != self.api_key:
            return 1001, f"Invalid API key {key}"
        if not _NUMBER.fullmatch(str(given.get("msisdn", ""))):
            return 1002, "Invalid number"
        body = str(given.get("message", ""))
        if not 0 < len(body) <= _LONGEST:
            return 1003, "Empty or too long message"
        if given.get("ref") in {each.given.get("ref") for each in self.taken} - {None}:
            return 1004, "Duplicate reference"
        return 0, self.take(given["msisdn"], body, str(given.get("sender", "")), str(next(self._numbers)), given).id
