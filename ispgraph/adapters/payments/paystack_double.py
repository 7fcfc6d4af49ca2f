"""A double of Paystack: transactions, their page, refunds, and signed events to the address set in the dashboard."""

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from ispgraph import clock
from ispgraph.adapters.payments.doubles import Double, Report, form_of, page


@dataclass
class PaystackDouble(Double):
    """One business. `webhook` is where its events go."""

    secret: str = field(default="sk_test_double", repr=False)
    webhook: str | None = None
    currencies: tuple[str, ...] = ("NGN", "GHS", "ZAR", "KES", "USD")

    def __post_init__(self) -> None:
        self.transactions: dict[str, dict[str, Any]] = {}
        """By reference."""
        self.refunds: list[dict[str, Any]] = []
        super().__post_init__()

    def routes(self) -> list[Route]:
        """As api.paystack.co has them, and the page of checkout.paystack.com."""
        return [
            self.route("/transaction/initialize", "initialize", self._initialize),
            self.route("/transaction/verify/{reference}", "verify", self._verify, "GET"),
            self.route("/refund", "refund", self._refund),
            self.route("/refund", "refunds", self._refunds, "GET"),
            self.route("/refund/{id}", "refund-status", self._one_refund, "GET"),
            self.route("/checkout/{code}", "page", self._page, "GET"),
            self.route("/checkout/{code}", "choice", self._choice),
        ]

    async def pay(self, reference: str, amount: int | None = None) -> None:
        """As if the payer had paid; `amount`, in the smallest units, in place of what was asked for."""
        paid = self.transactions[reference]
        paid |= {"status": "success", "gateway_response": "Successful", "paid_at": _time()}
        paid["amount"] = paid["amount"] if amount is None else amount
        await self._event("charge.success", paid)

    def fail_payment(self, reference: str, why: str = "Declined") -> None:
        """As if the bank had said no: there is no event for that."""
        self.transactions[reference] |= {"status": "failed", "gateway_response": why}

    def signed(self, report: Report, *, aged: float, secret: str | None) -> tuple[dict[str, str], bytes]:
        """There is no time in the signature, so that `aged` means nothing."""
        body = json.dumps(report.said).encode()
        signature = hmac.digest((secret or self.secret).encode(), body, hashlib.sha512).hex()
        return {"Content-Type": "application/json", "x-paystack-signature": signature}, body

    def altered(self, report: Report, amount: str) -> Report:
        """`amount` in the smallest units."""
        return replace(report, said={**report.said, "data": {**report.said["data"], "amount": int(amount)}})

    async def _initialize(self, request: Request) -> Response:
        stranger = self._stranger(request)
        if stranger is not None:
            return stranger
        wanted = json.loads(await request.body())
        reference, amount = wanted.get("reference") or secrets.token_hex(8), wanted.get("amount")
        if "@" not in str(wanted.get("email")):
            return _no(400, "Invalid Email Address Passed")
        if wanted.get("currency") not in self.currencies:
            return _no(403, "Currency not supported by merchant")
        if not isinstance(amount, int) or amount < 100:
            return _no(400, "Invalid Amount Sent")
        if not reference.replace("-", "").replace(".", "").replace("=", "").isalnum():
            return _no(400, "Invalid characters in transaction reference")
        if reference in self.transactions:
            return _no(400, "Duplicate Transaction Reference")
        code = secrets.token_hex(8)
        self.transactions[reference] = {
            "id": 4_000_000_000 + secrets.randbelow(10**9),
            "domain": "test",
            "status": "abandoned",
            "reference": reference,
            "amount": amount,
            "requested_amount": amount,
            "currency": wanted["currency"],
            "gateway_response": "The transaction was not completed",
            "paid_at": None,
            "created_at": _time(),
            "metadata": wanted.get("metadata"),
            "code": code,
            "callback_url": wanted.get("callback_url"),
        }
        url = f"{str(request.base_url).rstrip('/')}/checkout/{code}"
        return _yes(
            "Authorization URL created", {"authorization_url": url, "access_code": code, "reference": reference}
        )

    async def _verify(self, request: Request) -> Response:
        stranger = self._stranger(request)
        if stranger is not None:
            return stranger
        found = self.transactions.get(request.path_params["reference"])
        if found is None:
            return _no(400, "Transaction reference not found.")
        return _yes("Verification successful", _told(found))

    async def _refund(self, request: Request) -> Response:
        stranger = self._stranger(request)
        if stranger is not None:
            return stranger
        wanted = json.loads(await request.body())
        found = self._paid(wanted.get("transaction"))
        if found is None:
            return _no(404, "Transaction not found")
        amount = wanted.get("amount", found["amount"])
        given = sum(one["amount"] for one in self.refunds if one["transaction"] == found["id"])
        if given == found["amount"]:
            return _no(400, "Transaction has been fully reversed")
        if amount + given > found["amount"]:
            return _no(400, "Refund amount cannot be more than transaction amount")
        refund = {
            "id": 10_000_000 + len(self.refunds),
            "transaction": found["id"],
            "amount": amount,
            "currency": found["currency"],
            "status": "pending",
            "merchant_note": wanted.get("merchant_note"),
        }
        self.refunds.append(refund)
        told = {**refund, "transaction": _told(found)}
        return _yes("Refund has been queued for processing", told)

    async def _refunds(self, request: Request) -> Response:
        stranger = self._stranger(request)
        if stranger is not None:
            return stranger
        of = request.query_params.get("transaction")
        found = [one for one in self.refunds if of in (None, str(one["transaction"]))]
        return _yes("Refunds retrieved", found)

    async def _one_refund(self, request: Request) -> Response:
        stranger = self._stranger(request)
        if stranger is not None:
            return stranger
        found = [one for one in self.refunds if str(one["id"]) == request.path_params["id"]]
        return _yes("Refund retrieved", found[0]) if found else _no(404, "Refund not found")

    async def _page(self, request: Request) -> Response:
        found = self._shown(request)
        if found is None or found["status"] != "abandoned":
            return Response("This transaction is closed.", status_code=404)
        choices = {"pay": "Pay", "cancel": "Cancel"}
        return page("Paystack (double)", f"{found['amount']} {found['currency']}", request.url.path, choices)

    async def _choice(self, request: Request) -> Response:
        found, form = self._shown(request), await form_of(request)
        if found is None or found["status"] != "abandoned":
            return Response("This transaction is closed.", status_code=404)
        if form["choice"] == "cancel":
            return RedirectResponse(found["metadata"]["cancel_action"], 302)
        await self.pay(found["reference"], int(form["amount"]) if form.get("amount") else None)
        mark = "&" if "?" in found["callback_url"] else "?"
        back = f"trxref={found['reference']}&reference={found['reference']}"
        return RedirectResponse(f"{found['callback_url']}{mark}{back}", 302)

    def _stranger(self, request: Request) -> Response | None:
        if request.headers.get("authorization") == f"Bearer {self.secret}":
            return None
        return _no(401, f"Invalid key: {request.headers.get('authorization')}")

    def _shown(self, request: Request) -> dict[str, Any] | None:
        return next((one for one in self.transactions.values() if one["code"] == request.path_params["code"]), None)

    def _paid(self, named: object) -> dict[str, Any] | None:
        for one in self.transactions.values():
            if str(named) in (one["reference"], str(one["id"])) and one["status"] == "success":
                return one
        return None

    async def _event(self, kind: str, about: dict[str, Any]) -> None:
        if self.webhook is not None:
            await self.tell(Report(self.webhook, {"event": kind, "data": _told(about)}, about["reference"]))


def _told(transaction: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in transaction.items() if name not in ("code", "callback_url")}


def _time() -> str:
    return clock.now().strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _yes(message: str, said: object) -> Response:
    return JSONResponse({"status": True, "message": message, "data": said})


def _no(status: int, message: str) -> Response:
    return JSONResponse({"status": False, "message": message}, status_code=status)
