"""A double of Stripe: Checkout sessions, refunds and signed events, from docs.stripe.com/api."""

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

_NO_DECIMALS = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf"
_THREE_DECIMALS = "bhd jod kwd omr tnd"


@dataclass
class StripeDouble(Double):
    """One account. `endpoints` are where its events go; each has the secrets that are in use at the same time."""

    key: str = field(default="sk_test_double", repr=False)
    endpoints: list[str] = field(default_factory=list)
    signing: list[str] = field(default_factory=lambda: ["whsec_double"], repr=False)
    refunding: str = "succeeded"
    """What becomes of refunds: succeeded, pending or failed."""

    def __post_init__(self) -> None:
        self.sessions: dict[str, dict[str, Any]] = {}
        self.payments: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self._answered: dict[str, tuple[bytes, Response]] = {}
        super().__post_init__()

    def routes(self) -> list[Route]:
        """As api.stripe.com has them, and the page of checkout.stripe.com."""
        return [
            self.route("/v1/checkout/sessions", "create", self._create),
            self.route("/v1/checkout/sessions/{id}", "retrieve", self._retrieve, "GET"),
            self.route("/v1/refunds", "refund", self._refund),
            self.route("/v1/refunds", "refunds", self._refunds, "GET"),
            self.route("/v1/refunds/{id}", "refund-status", self._one_refund, "GET"),
            self.route("/c/pay/{id}", "page", self._page, "GET"),
            self.route("/c/pay/{id}", "choice", self._choice),
        ]

    async def pay(self, session_id: str, amount: int | None = None) -> None:
        """As if a card had been charged; `amount`, in Stripe's units, in place of what was asked for."""
        session = self.sessions[session_id]
        session["amount_total"] = session["amount_total"] if amount is None else amount
        payment = self._payment(session, "succeeded")
        session |= {"status": "complete", "payment_status": "paid", "payment_intent": payment["id"]}
        await self._event("payment_intent.succeeded", payment, session_id)
        await self._event("checkout.session.completed", session, session_id)

    async def promise(self, session_id: str) -> None:
        """As if a bank debit was ordered, which takes days: complete, and not paid."""
        session = self.sessions[session_id]
        payment = self._payment(session, "processing")
        session |= {"status": "complete", "payment_intent": payment["id"]}
        await self._event("checkout.session.completed", session, session_id)

    async def settle(self, session_id: str, *, good: bool) -> None:
        """What came of the bank debit."""
        session = self.sessions[session_id]
        payment = self.payments[session["payment_intent"]]
        if good:
            payment["status"] = "succeeded"
            session["payment_status"] = "paid"
            await self._event("checkout.session.async_payment_succeeded", session, session_id)
            return
        payment["status"] = "requires_payment_method"
        payment["last_payment_error"] = {"code": "payment_intent_payment_attempt_failed", "message": "Debit refused."}
        await self._event("checkout.session.async_payment_failed", session, session_id)

    async def expire(self, session_id: str) -> None:
        """As if nobody had paid in time."""
        self.sessions[session_id] |= {"status": "expired", "url": None}
        await self._event("checkout.session.expired", self.sessions[session_id], session_id)

    def forget_keys(self) -> None:
        """As after a day."""
        self._answered.clear()

    def signed(self, report: Report, *, aged: float, secret: str | None) -> tuple[dict[str, str], bytes]:
        """``t=…,v1=…`` with one v1 for each secret, and a v0 that means nothing."""
        body = json.dumps(report.said, indent=2).encode()
        stamp = str(int(clock.now().timestamp() - aged))
        signatures = [
            hmac.digest(one.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hex()
            for one in ([secret] if secret else self.signing)
        ]
        header = ",".join(
            [f"t={stamp}", *(f"v1={signature}" for signature in signatures), f"v0={secrets.token_hex(32)}"]
        )
        return {"Stripe-Signature": header, "Content-Type": "application/json; charset=utf-8"}, body

    def altered(self, report: Report, amount: str) -> Report:
        """`amount` in Stripe's units."""
        event = json.loads(json.dumps(report.said))
        event["data"]["object"]["amount_total"] = int(amount)
        return replace(report, said=event)

    async def _create(self, request: Request) -> Response:
        refused = self._login(request)
        if refused is not None:
            return refused
        key, body = request.headers.get("idempotency-key", ""), await request.body()
        if key in self._answered:
            return self._again(key, body)
        form = await form_of(request)
        problem = _wrong(form)
        if problem is not None:
            return problem
        session_id = f"cs_test_{secrets.token_urlsafe(40)}"
        session = {
            "id": session_id,
            "object": "checkout.session",
            "amount_total": int(form["line_items[0][price_data][unit_amount]"]),
            "cancel_url": form.get("cancel_url"),
            "client_reference_id": form.get("client_reference_id"),
            "created": int(clock.now().timestamp()),
            "currency": form["line_items[0][price_data][currency]"],
            "expires_at": int(form.get("expires_at", clock.now().timestamp() + 86400)),
            "livemode": False,
            "metadata": {"reference": form.get("metadata[reference]")},
            "mode": form["mode"],
            "payment_intent": None,
            "payment_status": "unpaid",
            "status": "open",
            "success_url": form["success_url"],
            "url": f"{str(request.base_url).rstrip('/')}/c/pay/{session_id}#fidkdWxOYHwnPyd1blpxYHZxWjA0",
        }
        self.sessions[session_id] = session
        answer = JSONResponse(session)
        if key:
            self._answered[key] = (body, answer)
        return answer

    async def _retrieve(self, request: Request) -> Response:
        refused = self._login(request)
        if refused is not None:
            return refused
        session = self.sessions.get(request.path_params["id"])
        if session is None:
            return _error(404, "resource_missing", f"No such checkout.session: '{request.path_params['id']}'")
        payment = session["payment_intent"]
        if payment and "payment_intent" in request.query_params.getlist("expand[]"):
            return JSONResponse({**session, "payment_intent": self.payments[payment]})
        return JSONResponse(session)

    async def _refund(self, request: Request) -> Response:
        refused = self._login(request)
        if refused is not None:
            return refused
        key, body = request.headers.get("idempotency-key", ""), await request.body()
        if key in self._answered:
            return self._again(key, body)
        form = await form_of(request)
        payment = self.payments.get(form.get("payment_intent", ""))
        if payment is None or payment["status"] != "succeeded":
            return _error(404, "resource_missing", f"No such payment_intent: '{form.get('payment_intent')}'")
        amount, left = int(form["amount"]), payment["amount"] - payment["refunded"]
        if not left:
            return _error(400, "charge_already_refunded", "Charge has already been refunded.")
        if amount > left:
            text = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
            return _error(400, "amount_too_large", text)
        payment["refunded"] += amount
        refund = {
            "id": f"re_{secrets.token_hex(12)}",
            "object": "refund",
            "amount": amount,
            "payment_intent": payment["id"],
            "metadata": {"refund": form["metadata[refund]"]} if "metadata[refund]" in form else {},
            "status": self.refunding,
            "failure_reason": "expired_or_canceled_card" if self.refunding == "failed" else None,
        }
        self.refunds[str(refund["id"])] = refund
        answer = JSONResponse(refund)
        if key:
            self._answered[key] = (body, answer)
        return answer

    async def _refunds(self, request: Request) -> Response:
        refused = self._login(request)
        if refused is not None:
            return refused
        of = request.query_params.get("payment_intent")
        found = [one for one in self.refunds.values() if of in (None, one["payment_intent"])]
        return JSONResponse({"object": "list", "data": found[::-1], "has_more": False})

    async def _one_refund(self, request: Request) -> Response:
        refused = self._login(request)
        if refused is not None:
            return refused
        refund = self.refunds.get(request.path_params["id"])
        if refund is None:
            return _error(404, "resource_missing", f"No such refund: '{request.path_params['id']}'")
        return JSONResponse(refund)

    async def _page(self, request: Request) -> Response:
        session = self.sessions.get(request.path_params["id"])
        if session is None or session["status"] != "open":
            return Response("This checkout session has timed out or is complete.", status_code=410)
        amount = f"{session['amount_total']} {session['currency']}"
        choices = {"pay": "Pay", "debit": "Pay by bank debit", "cancel": "Back"}
        return page("Stripe Checkout (double)", amount, request.url.path, choices)

    async def _choice(self, request: Request) -> Response:
        form, session_id = await form_of(request), request.path_params["id"]
        session = self.sessions[session_id]
        if session["status"] != "open":
            return Response("This checkout session has timed out or is complete.", status_code=410)
        if form["choice"] == "cancel":
            return RedirectResponse(session["cancel_url"], 303)
        if form["choice"] == "debit":
            await self.promise(session_id)
        else:
            await self.pay(session_id, int(form["amount"]) if form.get("amount") else None)
        return RedirectResponse(session["success_url"], 303)

    def _login(self, request: Request) -> Response | None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if given == self.key:
            return None
        return _error(401, None, f"Invalid API Key provided: {given}")

    def _again(self, key: str, body: bytes) -> Response:
        former, answer = self._answered[key]
        if former == body:
            return Response(answer.body, headers={"Idempotent-Replayed": "true"}, media_type="application/json")
        text = f"Keys for idempotent requests can only be used with the parameters they were first used with: {key}"
        return JSONResponse({"error": {"type": "idempotency_error", "message": text}}, status_code=400)

    def _payment(self, session: dict[str, Any], status: str) -> dict[str, Any]:
        payment = {
            "id": f"pi_{secrets.token_hex(12)}",
            "object": "payment_intent",
            "amount": session["amount_total"],
            "currency": session["currency"],
            "last_payment_error": None,
            "metadata": session["metadata"],
            "refunded": 0,
            "status": status,
        }
        self.payments[payment["id"]] = payment
        return payment

    async def _event(self, kind: str, about: dict[str, Any], session_id: str) -> None:
        event = {
            "id": f"evt_{secrets.token_hex(12)}",
            "object": "event",
            "api_version": "2024-10-28.acacia",
            "created": int(clock.now().timestamp()),
            "data": {"object": dict(about)},
            "livemode": False,
            "type": kind,
        }
        for url in self.endpoints:
            await self.tell(Report(url, event, session_id))


def _wrong(form: dict[str, str]) -> Response | None:
    for name in ("mode", "success_url", "line_items[0][price_data][product_data][name]"):
        if not form.get(name):
            return _error(400, "parameter_missing", f"Missing required param: {name}.", name)
    currency = form.get("line_items[0][price_data][currency]", "")
    if len(currency) != 3 or not currency.islower():
        return _error(400, None, f"Invalid currency: {currency}.", "line_items[0][price_data][currency]")
    units = form.get("line_items[0][price_data][unit_amount]", "")
    if not units.isdecimal():
        return _error(400, "parameter_invalid_integer", f"Invalid integer: {units}")
    step = 100 if currency in ("isk", "ugx") else 10 if currency in _THREE_DECIMALS.split() else 1
    if int(units) % step:
        return _error(400, "invalid_charge_amount", f"Invalid amount. It must be evenly divisible by {step}.")
    least = 1 if currency in _NO_DECIMALS.split() else 50
    if int(units) < least:
        return _error(400, "amount_too_small", "The Checkout Session's total amount must convert to at least 50 cents.")
    open_for = int(form.get("expires_at", clock.now().timestamp() + 3600)) - clock.now().timestamp()
    if not 1790 < open_for <= 86410:
        text = "The `expires_at` timestamp must be at least 30 minutes and at most 24 hours from now."
        return _error(400, None, text, "expires_at")
    return None


def _error(status: int, code: str | None, message: str, param: str | None = None) -> Response:
    error = {"type": "invalid_request_error", "code": code, "message": message, "param": param}
    return JSONResponse({"error": {name: value for name, value in error.items() if value}}, status_code=status)
