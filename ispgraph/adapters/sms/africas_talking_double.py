"""Africa's Talking, as its documentation tells of it."""

import re
from dataclasses import dataclass

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ispgraph.adapters.sms.double import Double, Taken, form_of

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")


@dataclass
class AfricasTalkingDouble(Double):
    """An account with its senders and so much money."""

    username: str = "sandbox"
    api_key: str = "key-of-the-double"
    senders: tuple[str, ...] = ("NORTH",)
    credit: int = 1000

    def paths(self) -> dict[str, list[str]]:
        return {"/version1/messaging": ["POST"]}

    async def answer(self, request: Request) -> Response:
        form = await form_of(request)
        if request.headers.get("apikey") != self.api_key or form.get("username") != self.username:
            return PlainTextResponse("The supplied authentication is invalid", 401)
        if not form.get("message"):
            return PlainTextResponse("Request is missing required form field 'message'", 400)
        sender = form.get("from", "AFRICASTKNG")
        if sender not in (*self.senders, "AFRICASTKNG"):
            return _answer("InvalidSenderId", [])
        to = form.get("to", "")
        person = {"number": to, "cost": "0", "messageId": "None"}
        if not _E164.fullmatch(to):
            return _answer("Sent to 0/1 Total Cost: 0", [person | {"statusCode": 403, "status": "InvalidPhoneNumber"}])
        if self.credit < 1:
            return _answer("Sent to 0/1 Total Cost: 0", [person | {"statusCode": 405, "status": "InsufficientBalance"}])
        self.credit -= 1
        taken = self.take(to, form["message"], sender, f"ATXid_{len(self.taken):032x}", form)
        sent = {"statusCode": 101, "status": "Success", "messageId": taken.id, "cost": "KES 0.8000", "messageParts": 1}
        return _answer("Sent to 1/1 Total Cost: KES 0.8000", [person | sent])

    async def report(self, url: str, taken: Taken, status: str, reason: str = "") -> int:
        """Tell the address of the dashboard what became of a message; the status of the answer."""
        form = {"id": taken.id, "status": status, "phoneNumber": taken.to, "networkCode": "63902"}
        if reason:
            form["failureReason"] = reason
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.post(url, data=form)).status_code


def _answer(message: str, recipients: list[dict[str, object]]) -> Response:
    return JSONResponse({"SMSMessageData": {"Message": message, "Recipients": recipients}}, 201)
