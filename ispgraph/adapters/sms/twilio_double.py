"""Twilio's messages, as its documentation tells of them."""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ispgraph.adapters.sms.double import Double, Taken, form_of, in_seven_bits

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_LONGEST = 1600


@dataclass
class TwilioDouble(Double):
    """An account with the numbers it may send from."""

    account_sid: str = "AC" + "0" * 32
    auth_token: str = "token-of-the-double"  # noqa: S105
    numbers: tuple[str, ...] = ("+15005550006",)

    def paths(self) -> dict[str, list[str]]:
        return {"/2010-04-01/Accounts/{sid}/Messages.json": ["POST"]}

    async def answer(self, request: Request) -> Response:
        login = base64.b64encode(f"{self.account_sid}:{self.auth_token}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {login}" or request.path_params["sid"] != self.account_sid:
            return _error(401, 20003, "Authenticate")
        form = await form_of(request)
        to, sender, body = (form.get(name, "") for name in ("To", "From", "Body"))
        if not _E164.fullmatch(to):
            return _error(400, 21211, f"Invalid 'To' Phone Number: {to[:6]}XXXX")
        if sender not in self.numbers:
            return _error(400, 21606, f"The 'From' phone number {sender} is not a valid, SMS-capable phone number")
        if not body:
            return _error(400, 21602, "Message body is required.")
        if len(body) > _LONGEST:
            return _error(400, 21617, "The concatenated message body exceeds the 1600 character limit")
        taken = self.take(to, body, sender, f"SM{len(self.taken):032x}", form)
        single = 160 if in_seven_bits(body) else 70
        said = {"sid": taken.id, "status": "queued", "to": to, "from": sender, "body": body, "error_code": None}
        return JSONResponse(said | {"num_segments": str(-(-len(body) // single))}, 201)

    async def report(self, taken: Taken, status: str, error: int | None = None, token: str = "") -> int:
        """Call the status callback of a message, signed; the status of the answer."""
        url = taken.given["StatusCallback"]
        form: dict[str, Any] = {
            "AccountSid": self.account_sid,
            "MessageSid": taken.id,
            "MessageStatus": status,
            "SmsStatus": status,
            "To": taken.to,
            "From": taken.sender,
        }
        if error is not None:
            form["ErrorCode"] = str(error)
        headers = {
            "X-Twilio-Signature": _signed(token or self.auth_token, url, form),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.post(url, content=urlencode(form), headers=headers)).status_code


def _signed(token: str, url: str, form: dict[str, Any]) -> str:
    """As "Validating Signatures from Twilio" says: the address, then each name and value by name; HMAC-SHA1, Base64."""
    mac = hmac.new(token.encode(), url.encode(), hashlib.sha1)
    for name in sorted(form):
        mac.update(f"{name}{form[name]}".encode())
    return base64.b64encode(mac.digest()).decode()


def _error(status: int, code: int, message: str) -> Response:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return JSONResponse({"code": code, "message": message, "more_info": more, "status": status}, status)
