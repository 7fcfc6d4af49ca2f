"""A double of Daraja: tokens, STK push, its query, and the reports to the address that was given."""

import base64
import json
import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ispgraph import clock
from ispgraph.adapters.payments.doubles import Double, Report, form_of, page

_NAIROBI = ZoneInfo("Africa/Nairobi")
_NEEDED = (
    *("BusinessShortCode", "Password", "Timestamp", "TransactionType", "Amount", "PartyA", "PartyB", "PhoneNumber"),
    *("CallBackURL", "AccountReference", "TransactionDesc"),
)
RESULTS = {
    0: "The service request is processed successfully.",
    1: "The balance is insufficient for the transaction.",
    1032: "Request cancelled by user",
    1037: "DS timeout user cannot be reached",
    2001: "The initiator information is invalid.",
}


@dataclass
class Prompt:
    """What one phone was asked."""

    checkout: str
    merchant: str
    wanted: dict[str, Any]
    result: int | None = None
    receipt: str | None = None


@dataclass
class MPesaDouble(Double):
    """One short code."""

    key: str = "double-key"
    secret: str = field(default="double-secret", repr=False)
    shortcode: str = "174379"
    passkey: str = field(default="double-passkey", repr=False)

    def __post_init__(self) -> None:
        self.prompts: dict[str, Prompt] = {}
        """By CheckoutRequestID."""
        self.tokens: dict[str, datetime] = {}
        super().__post_init__()

    def routes(self) -> list[Route]:
        """As api.safaricom.co.ke has them, and the payer's phone."""
        return [
            self.route("/oauth/v1/generate", "token", self._lend, "GET"),
            self.route("/mpesa/stkpush/v1/processrequest", "push", self._push),
            self.route("/mpesa/stkpushquery/v1/query", "query", self._query),
            self.route("/phone/{id}", "page", self._page, "GET"),
            self.route("/phone/{id}", "choice", self._choice),
        ]

    async def answer(self, checkout: str, result: int = 0, amount: str | None = None) -> None:
        """As if the payer had typed in the PIN, or whatever else `RESULTS` says; `amount`: told as what was paid."""
        prompt = self.prompts[checkout]
        prompt.result = result
        told: dict[str, Any] = {
            "MerchantRequestID": prompt.merchant,
            "CheckoutRequestID": checkout,
            "ResultCode": result,
            "ResultDesc": RESULTS[result],
        }
        if result == 0:
            prompt.receipt = secrets.token_hex(5).upper()
            stamp = int(clock.now().astimezone(_NAIROBI).strftime("%Y%m%d%H%M%S"))
            items = {
                "Amount": float(amount or prompt.wanted["Amount"]),
                "MpesaReceiptNumber": prompt.receipt,
                "TransactionDate": stamp,
                "PhoneNumber": int(prompt.wanted["PhoneNumber"]),
            }
            told["CallbackMetadata"] = {"Item": [{"Name": name, "Value": value} for name, value in items.items()]}
        await self.tell(Report(prompt.wanted["CallBackURL"], {"Body": {"stkCallback": told}}, checkout))

    def revoke(self) -> None:
        """No token that was lent is taken any more."""
        self.tokens.clear()

    def signed(self, report: Report, *, aged: float, secret: str | None) -> tuple[dict[str, str], bytes]:
        """Nothing is signed."""
        return {"Content-Type": "application/json"}, json.dumps(report.said).encode()

    def altered(self, report: Report, amount: str) -> Report:
        """`amount` in shillings."""
        said = json.loads(json.dumps(report.said))
        for item in said["Body"]["stkCallback"]["CallbackMetadata"]["Item"]:
            if item["Name"] == "Amount":
                item["Value"] = float(amount)
        return replace(report, said=said)

    async def _lend(self, request: Request) -> Response:
        login = base64.b64encode(f"{self.key}:{self.secret}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {login}":
            return Response(status_code=400)
        if request.query_params.get("grant_type") != "client_credentials":
            return _error(400, "400.008.02", "Invalid grant type passed")
        token = secrets.token_urlsafe(21)
        self.tokens[token] = clock.now() + timedelta(seconds=3599)
        return JSONResponse({"access_token": token, "expires_in": "3599"})

    async def _push(self, request: Request) -> Response:
        wanted = json.loads(await request.body())
        refused = self._stranger(request) or self._wrong(wanted)
        if refused is not None:
            return refused
        prompt = Prompt(f"ws_CO_{secrets.randbelow(10**18):018d}", f"{secrets.randbelow(10**5)}-1", wanted)
        self.prompts[prompt.checkout] = prompt
        text = "Success. Request accepted for processing"
        return JSONResponse(
            {
                "MerchantRequestID": prompt.merchant,
                "CheckoutRequestID": prompt.checkout,
                "ResponseCode": "0",
                "ResponseDescription": text,
                "CustomerMessage": text,
            }
        )

    async def _query(self, request: Request) -> Response:
        wanted = json.loads(await request.body())
        refused = self._stranger(request) or self._password(wanted)
        if refused is not None:
            return refused
        prompt = self.prompts.get(wanted.get("CheckoutRequestID"))
        if prompt is None:
            return _error(400, "400.002.02", "Bad Request - Invalid CheckoutRequestID")
        if prompt.result is None:
            return _error(500, "500.001.1001", "The transaction is being processed")
        return JSONResponse(
            {
                "ResponseCode": "0",
                "ResponseDescription": "The service request has been accepted successsfully",
                "MerchantRequestID": prompt.merchant,
                "CheckoutRequestID": prompt.checkout,
                "ResultCode": str(prompt.result),
                "ResultDesc": RESULTS[prompt.result],
            }
        )

    def _stranger(self, request: Request) -> Response | None:
        until = self.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if until is None or until < clock.now():
            return _error(404, "404.001.03", "Invalid Access Token")
        return None

    def _password(self, wanted: dict[str, Any]) -> Response | None:
        stamp = str(wanted.get("Timestamp"))
        right = base64.b64encode(f"{self.shortcode}{self.passkey}{stamp}".encode()).decode()
        if wanted.get("Password") != right:
            return _error(500, "500.001.1001", "[MerchantValidate] - Wrong credentials")
        # The real one is not so particular; here it shows whether the time is that of Nairobi.
        there = clock.now().astimezone(_NAIROBI).replace(tzinfo=None)
        if abs(datetime.strptime(stamp, "%Y%m%d%H%M%S") - there) > timedelta(minutes=5):  # noqa: DTZ007
            return _error(400, "400.002.02", "Bad Request - Invalid Timestamp")
        return None

    def _wrong(self, wanted: dict[str, Any]) -> Response | None:
        for name in _NEEDED:
            if not wanted.get(name):
                return _error(400, "400.002.02", f"Bad Request - Invalid {name}")
        amount = wanted["Amount"]
        if not isinstance(amount, int) or not 1 <= amount <= 250_000:
            return _error(400, "400.002.02", "Bad Request - Invalid Amount")
        phone = str(wanted["PhoneNumber"])
        if not (phone.isdecimal() and phone.startswith("254") and len(phone) == 12):
            return _error(400, "400.002.02", "Bad Request - Invalid PhoneNumber")
        if len(wanted["AccountReference"]) > 12:
            return _error(400, "400.002.02", "Bad Request - Invalid AccountReference")
        if len(wanted["TransactionDesc"]) > 13:
            return _error(400, "400.002.02", "Bad Request - Invalid TransactionDesc")
        return self._password(wanted)

    async def _page(self, request: Request) -> Response:
        prompt = self.prompts.get(request.path_params["id"])
        if prompt is None or prompt.result is not None:
            return Response("This phone shows nothing.", status_code=404)
        choices = {"0": "Type in the PIN", "1": "Be poor", "1032": "Cancel", "1037": "Wait too long"}
        return page("M-Pesa (double)", f"{prompt.wanted['Amount']} KES", request.url.path, choices)

    async def _choice(self, request: Request) -> Response:
        form = await form_of(request)
        await self.answer(request.path_params["id"], int(form["choice"]), form.get("amount") or None)
        return Response("Done.")


def _error(status: int, code: str, message: str) -> Response:
    said = {"requestId": f"{secrets.randbelow(10**5)}-1", "errorCode": code, "errorMessage": message}
    return JSONResponse(said, status_code=status)
