"""A double of bKash: tokenised checkout without agreement (v1.2.0-beta), its page, and refunds (v2)."""

import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from ispgraph import clock
from ispgraph.adapters.payments.doubles import Double, Report, form_of, page

_V1 = "/v1.2.0-beta/tokenized/checkout"
_V2 = "/v2/tokenized-checkout/refund/payment"


@dataclass
class Deal:
    """One payment."""

    payment_id: str
    callback: str
    amount: Decimal
    invoice: str
    confirmed: bool = False
    """Whether the payer typed in code and PIN."""
    status: str = "Initiated"
    trx_id: str | None = None
    poor: bool = False
    """Whether the wallet turns out to be empty."""
    refunds: list[dict[str, str]] = field(default_factory=list)


@dataclass
class BKashDouble(Double):
    """One merchant."""

    app_key: str = "double-app"
    app_secret: str = field(default="double-app-secret", repr=False)
    username: str = "double"
    password: str = field(default="double-password", repr=False)
    lifetime: int = 3600

    def __post_init__(self) -> None:
        self.deals: dict[str, Deal] = {}
        self.tokens: dict[str, datetime] = {}
        self.renewals: set[str] = set()
        super().__post_init__()

    def routes(self) -> list[Route]:
        """As tokenized.pay.bka.sh has them."""
        return [
            self.route(f"{_V1}/token/grant", "grant", self._grant),
            self.route(f"{_V1}/token/refresh", "refresh", self._refresh),
            self.route(f"{_V1}/create", "create", self._create),
            self.route(f"{_V1}/execute", "execute", self._execute),
            self.route(f"{_V1}/payment/status", "status", self._status),
            self.route(f"{_V2}/transaction", "refund", self._refund),
            self.route(f"{_V2}/status", "refunds", self._refunds),
            self.route("/redirect/tokenized/{id}", "page", self._page, "GET"),
            self.route("/redirect/tokenized/{id}", "choice", self._choice),
        ]

    def confirm(self, payment_id: str, amount: str | None = None, *, poor: bool = False) -> None:
        """As if the payer had typed in code and PIN; the amount can not really change, and here it can."""
        deal = self.deals[payment_id]
        deal.confirmed, deal.poor = True, poor
        deal.amount = Decimal(amount) if amount else deal.amount

    def end(self, payment_id: str, status: str) -> None:
        """Cancelled, Expired or Declined."""
        self.deals[payment_id].status = status

    def revoke(self) -> None:
        """No token that was lent is taken any more."""
        self.tokens.clear()

    def signed(self, report: Report, *, aged: float, secret: str | None) -> tuple[dict[str, str], bytes]:
        """bKash reports through the browser alone."""
        raise NotImplementedError

    def altered(self, report: Report, amount: str) -> Report:
        """bKash reports through the browser alone."""
        raise NotImplementedError

    async def _grant(self, request: Request) -> Response:
        if not await self._known(request):
            return _answer("2001", "Invalid App Key")
        return self._lend()

    async def _refresh(self, request: Request) -> Response:
        said = await _said(request)
        if not await self._known(request) or said.get("refresh_token") not in self.renewals:
            return _answer("2079", "Invalid refresh token")
        return self._lend()

    async def _known(self, request: Request) -> bool:
        said = await _said(request)
        given = (request.headers.get("username"), request.headers.get("password"))
        app = (said.get("app_key"), said.get("app_secret"))
        return given == (self.username, self.password) and app == (self.app_key, self.app_secret)

    def _lend(self) -> Response:
        token, renewal = f"ey{secrets.token_urlsafe(300)}", f"ey{secrets.token_urlsafe(300)}"
        self.tokens[token] = clock.now() + timedelta(seconds=self.lifetime)
        self.renewals.add(renewal)
        lent = {"id_token": token, "token_type": "Bearer", "expires_in": self.lifetime, "refresh_token": renewal}
        return _answer("0000", "Successful", **lent)

    def _stranger(self, request: Request) -> Response | None:
        until = self.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if until is None or until < clock.now() or request.headers.get("x-app-key") != self.app_key:
            return JSONResponse({"message": "The incoming token has expired"}, status_code=401)
        return None

    async def _create(self, request: Request) -> Response:
        stranger = self._stranger(request)
        if stranger is not None:
            return stranger
        said = await _said(request)
        try:
            amount = Decimal(str(said.get("amount")))
        except InvalidOperation:
            return _answer("2006", "Invalid amount")
        if amount < 1 or -int(amount.as_tuple().exponent) > 2:
            return _answer("2006", "Invalid amount")
        if said.get("currency") != "BDT":
            return _answer("2007", "Invalid currency")
        if said.get("mode") != "0011" or said.get("intent") != "sale":
            return _answer("2008", "Invalid intent")
        invoice = str(said.get("merchantInvoiceNumber", ""))
        if not invoice or not said.get("payerReference") or not said.get("callbackURL"):
            return _answer("2065", "Mandatory field missing")
        deal = Deal(f"TR0011{secrets.token_hex(8).upper()}", str(said["callbackURL"]), amount, invoice)
        self.deals[deal.payment_id] = deal
        url = f"{str(request.base_url).rstrip('/')}/redirect/tokenized/{deal.payment_id}?hash={secrets.token_hex(20)}"
        return _answer("0000", "Successful", bkashURL=url, callbackURL=deal.callback, **self._told(deal))

    async def _execute(self, request: Request) -> Response:
        stranger = self._stranger(request)
        if stranger is not None:
            return stranger
        deal = self.deals.get(str((await _said(request)).get("paymentID")))
        if deal is None:
            return _answer("2002", "Invalid Payment ID")
        if deal.status == "Completed":
            return _answer("2062", "The payment has already been completed")
        if not deal.confirmed or deal.status != "Initiated":
            return _answer("2056", "Invalid Payment State")
        if deal.poor:
            return _answer("2023", "Insufficient Balance")
        deal.status, deal.trx_id = "Completed", secrets.token_hex(5).upper()
        return _answer("0000", "Successful", customerMsisdn="01770618575", **self._told(deal))

    async def _status(self, request: Request) -> Response:
        stranger = self._stranger(request)
        if stranger is not None:
            return stranger
        deal = self.deals.get(str((await _said(request)).get("paymentID")))
        if deal is None:
            return _answer("2002", "Invalid Payment ID")
        told = self._told(deal)
        told["merchantInvoice"] = told.pop("merchantInvoiceNumber")
        return _answer("0000", "Successful", verificationStatus="Complete" if deal.confirmed else "Incomplete", **told)

    async def _refund(self, request: Request) -> Response:
        stranger = self._stranger(request)
        if stranger is not None:
            return stranger
        said = await _said(request)
        deal = self.deals.get(str(said.get("paymentId")))
        if deal is None or deal.trx_id is None or deal.trx_id != said.get("trxId"):
            return JSONResponse({"internalCode": "2077", "errorMessageEn": "Invalid TrxID"}, status_code=400)
        amount, given = Decimal(str(said["refundAmount"])), sum(Decimal(one["refundAmount"]) for one in deal.refunds)
        if amount <= 0 or amount + given > deal.amount or len(deal.refunds) == 10:
            return JSONResponse({"internalCode": "2072", "errorMessageEn": "Refund amount not valid"}, status_code=400)
        done = {
            "refundTrxId": secrets.token_hex(5).upper(),
            "refundTransactionStatus": "Completed",
            "refundAmount": f"{amount:.2f}",
            "completedTime": _time(),
        }
        deal.refunds.append(done)
        return JSONResponse({"originalTrxId": deal.trx_id, "currency": "BDT", "sku": said.get("sku"), **done})

    async def _refunds(self, request: Request) -> Response:
        stranger = self._stranger(request)
        if stranger is not None:
            return stranger
        deal = self.deals.get(str((await _said(request)).get("paymentId")))
        if deal is None or not deal.refunds:
            return JSONResponse({"internalCode": "2077", "errorMessageEn": "Invalid TrxID"}, status_code=400)
        return JSONResponse({"originalTrxId": deal.trx_id, "refundTransactions": deal.refunds})

    async def _page(self, request: Request) -> Response:
        deal = self.deals.get(request.path_params["id"])
        if deal is None or deal.status != "Initiated":
            return Response("This payment is closed.", status_code=404)
        choices = {"pay": "Confirm", "fail": "Wrong PIN", "cancel": "Cancel"}
        return page("bKash (double)", f"{deal.amount:.2f} BDT", request.url.path, choices)

    async def _choice(self, request: Request) -> Response:
        deal, form = self.deals[request.path_params["id"]], await form_of(request)
        if deal.status != "Initiated":
            return Response("This payment is closed.", status_code=404)
        if form["choice"] == "pay":
            self.confirm(deal.payment_id, form.get("amount") or None)
        elif form["choice"] == "cancel":
            self.end(deal.payment_id, "Cancelled")
        said = {"pay": "success", "cancel": "cancel"}.get(form["choice"], "failure")
        mark = "&" if "?" in deal.callback else "?"
        back = {"paymentID": deal.payment_id, "status": said, "signature": secrets.token_urlsafe(6)}
        return RedirectResponse(f"{deal.callback}{mark}{urlencode(back)}", 302)

    def _told(self, deal: Deal) -> dict[str, Any]:
        told = {
            "paymentID": deal.payment_id,
            "amount": f"{deal.amount.normalize():f}",
            "currency": "BDT",
            "intent": "sale",
            "merchantInvoiceNumber": deal.invoice,
            "paymentCreateTime": _time(),
            "transactionStatus": deal.status,
        }
        return told | ({"trxID": deal.trx_id} if deal.trx_id else {})


def _time() -> str:
    return clock.now().strftime("%Y-%m-%dT%H:%M:%S:000 GMT+0000")


async def _said(request: Request) -> dict[str, Any]:
    said = json.loads(await request.body())
    return said if isinstance(said, dict) else {}


def _answer(code: str, message: str, **more: Any) -> Response:
    return JSONResponse({"statusCode": code, "statusMessage": message, **more})
