"""Vonage's SMS API, as its documentation tells of it."""

import hashlib
import hmac
import re
from dataclasses import dataclass

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ispgraph.adapters.sms.double import Double, Taken, form_of, in_seven_bits

_NUMBER = re.compile(r"[1-9][0-9]{6,14}")


@dataclass
class VonageDouble(Double):
    """An account that signs its callbacks. `throttled` makes it refuse whatever comes."""

    api_key: str = "abcd1234"
    api_secret: str = "secret-of-the-double"  # noqa: S105
    signature_secret: str = "signature-of-the-double"  # noqa: S105
    signature_method: str = "sha256"
    throttled: bool = False

    def paths(self) -> dict[str, list[str]]:
        return {"/sms/json": ["POST"]}

    async def answer(self, request: Request) -> Response:
        form = await form_of(request)
        if self.throttled:
            return _error("1", "Throughput Rate Exceeded")
        for name in ("api_key", "api_secret", "from", "to", "text"):
            if not form.get(name):
                return _error("2", f"Missing {name} param")
        if (form["api_key"], form["api_secret"]) != (self.api_key, self.api_secret):
            return _error("4", "Bad Credentials")
        if not _NUMBER.fullmatch(form["to"]):
            return _error("3", "Invalid value for parameter: to")
        if form.get("type") != "unicode" and not in_seven_bits(form["text"]):
            return _error("3", "Invalid value for parameter: text")
        one, joined = (70, 67) if form.get("type") == "unicode" else (160, 153)
        count = 1 if len(form["text"]) <= one else -(-len(form["text"]) // joined)
        taken = self.take(form["to"], form["text"], form["from"], f"0B{len(self.taken):014X}", form)
        parts = [
            {"to": form["to"], "message-id": f"{taken.id[:-1]}{part}" if part else taken.id, "status": "0"}
            for part in range(count)
        ]
        return JSONResponse({"message-count": str(count), "messages": parts})

    async def report(self, taken: Taken, status: str, code: str = "0", secret: str = "") -> int:
        """Call back about a message, signed; the status of the answer."""
        address, _, query = taken.given["callback"].partition("?")
        said = {
            "msisdn": taken.to,
            "to": taken.sender,
            "messageId": taken.id,
            "status": status,
            "err-code": code,
            "client-ref": taken.given["client-ref"],
            "api-key": self.api_key,
            "message-timestamp": "2026-01-01 12:00:00",
            "timestamp": "1767268800",
            "nonce": "a&b=c",
        }
        said["sig"] = _signed(secret or self.signature_secret, said, self.signature_method)
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"{address}?{query}&{httpx.QueryParams(said)}")).status_code


_RESERVED = str.maketrans("&=", "__")


def _signed(secret: str, said: dict[str, str], method: str) -> str:
    """As "Signing messages" says: by name, with what separates replaced; HMAC, or the MD5 of it with the secret."""
    text = "".join("&" + name + "=" + value.translate(_RESERVED) for name, value in sorted(said.items()))
    if method == "md5hash":
        return hashlib.md5((text + secret).encode()).hexdigest()  # noqa: S324
    return hmac.new(secret.encode(), text.encode(), method).hexdigest()


def _error(status: str, text: str) -> Response:
    return JSONResponse({"message-count": "1", "messages": [{"status": status, "error-text": text}]})
