"""Stripe Checkout: a page of Stripe's on which a payment is made, and signed reports of what came of it.

A payment made there is reported twice, as ``checkout.session.completed`` and as ``payment_intent.succeeded``. Only the
reports about sessions count. The page is open for between 30 minutes and 24 hours, as Stripe has it.
"""

import hashlib
import hmac
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx

from ispgraph import clock
from ispgraph.adapters.errors import BadReply, Forged, Refusal, Refused
from ispgraph.adapters.payments import amounts
from ispgraph.adapters.payments.base import (
    Intent,
    Notice,
    Returned,
    Stale,
    Started,
    State,
    Status,
    Unsupported,
)
from ispgraph.adapters.payments.wire import Reply, Wire, address, json_object, mapping, objects, reason, text
from ispgraph.domain.gateways import Opened

BASE_URL = "https://api.stripe.com"
TOLERANCE_SECONDS = 300
_VERSION = "2024-10-28.acacia"
_LONGEST = timedelta(hours=24)

# docs.stripe.com/currencies, "Zero-decimal currencies" and "Three-decimal currencies". ISK and UGX have no decimals
# any more, and are counted in hundredths all the same ("Special cases").
_PLACES = {
    **dict.fromkeys(["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV"], 0),
    **dict.fromkeys(["XAF", "XOF", "XPF"], 0),
    **dict.fromkeys(["BHD", "JOD", "KWD", "OMR", "TND"], 3),
}
_HUNDREDTHS_OF_WHOLE = {"ISK", "UGX"}

_STATES = {
    "checkout.session.completed": None,
    "checkout.session.async_payment_succeeded": None,
    "checkout.session.async_payment_failed": State.FAILED,
    "checkout.session.expired": State.EXPIRED,
}
"""The reports that count; None: as the session in it says."""

_STAMP = re.compile(r"[0-9]{1,12}")
_MOST_SIGNATURES = 16


class Stripe:
    """An account with Stripe."""

    def __init__(self, account: Opened, client: httpx.AsyncClient) -> None:
        self._key = account.settings["secret_key"]
        self._secret = account.settings["webhook_secret"]
        base = account.settings.get("base_url") or BASE_URL
        self._wire = Wire(client, base, "Stripe", (self._key, self._secret))

    async def start(self, intent: Intent) -> Started:
        """A session of Checkout. Started again with the same reference it is the same session."""
        units = _units(intent.amount_minor, intent.currency, intent.exponent)
        form = {
            "mode": "payment",
            "client_reference_id": intent.reference,
            "metadata[reference]": intent.reference,
            "payment_intent_data[metadata][reference]": intent.reference,
            "payment_intent_data[description]": intent.description,
            "line_items[0][quantity]": "1",
            "line_items[0][price_data][currency]": intent.currency.lower(),
            "line_items[0][price_data][unit_amount]": str(units),
            "line_items[0][price_data][product_data][name]": intent.description,
            # Otherwise a payer abroad may be asked for another currency than the one that is owed.
            "adaptive_pricing[enabled]": "false",
            "success_url": intent.return_url,
            "cancel_url": intent.cancel_url,
            "expires_at": str(int(_open_until(intent.expires_at).timestamp())),
        }
        if intent.customer_email:
            form["customer_email"] = intent.customer_email
        said = await self._post("/v1/checkout/sessions", form, intent.reference)
        reference, url = text(said.get("id")), address(said.get("url"))
        if reference is None or url is None:
            raise BadReply("Stripe answered without a page to pay on", outcome_unknown=True)
        return Started(reference, url, None)

    async def check(self, provider_reference: str, reference: str, *, exponent: int) -> Status:
        """How a session stands."""
        if not provider_reference:
            raise Unsupported("Stripe finds no session by our reference; to start it again finds it")
        path = f"/v1/checkout/sessions/{quote(provider_reference, safe='')}"
        reply = await self._wire.ask(
            "GET", path, effect=False, headers=self._headers(), query={"expand[]": "payment_intent"}
        )
        status = _status(self._good(reply, effect=False), exponent, None)
        if status.reference != reference:
            raise BadReply("The session at Stripe belongs to another payment")
        return status

    async def refund(
        self,
        provider_reference: str,
        receipt: str | None,
        amount_minor: int,
        currency: str,
        exponent: int,
        key: str,
        *,
        again: bool = False,
        others: Collection[str] = (),
    ) -> Returned:
        """Give back all or a part of what was paid. Stripe forgets keys after a day, so that what may be there already
        is looked for by the key in its metadata."""
        if receipt is None:
            raise Refused(Refusal.INVALID_VALUE, "the payment has no receipt of Stripe")
        if again:
            of = {"payment_intent": receipt, "limit": "100"}
            reply = await self._wire.ask("GET", "/v1/refunds", effect=False, headers=self._headers(), query=of)
            for former in objects(self._good(reply, effect=False).get("data")):
                if mapping(former.get("metadata")).get("refund") == key:
                    return self._returned(former)
        units = str(_units(amount_minor, currency, exponent))
        form = {"payment_intent": receipt, "amount": units, "metadata[refund]": key}
        return self._returned(await self._post("/v1/refunds", form, key))

    async def refund_status(self, provider_reference: str, receipt: str | None, refund_reference: str) -> Returned:
        """How a refund stands."""
        path = f"/v1/refunds/{quote(refund_reference, safe='')}"
        reply = await self._wire.ask("GET", path, effect=False, headers=self._headers())
        return self._returned(self._good(reply, effect=False))

    def _returned(self, said: Mapping[str, Any]) -> Returned:
        reference, state = text(said.get("id")), said.get("status")
        if reference is None:
            raise BadReply("Stripe answered without a refund", outcome_unknown=True)
        if state in ("failed", "canceled"):
            return Returned(reference, done=False, failed=reason(said.get("failure_reason")) or f"Stripe says {state}")
        return Returned(reference, state == "succeeded")

    def notice(
        self,
        method: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        now: datetime,
        exponent: int,
    ) -> Notice:
        """An event. The signature is over the time of sending and the body as it came."""
        sent, signatures = _signature_of({name.lower(): value for name, value in headers.items()})
        expected = hmac.new(self._secret.encode(), sent.encode() + b"." + body, hashlib.sha256).hexdigest().encode()
        if not any(hmac.compare_digest(expected, signature.encode()) for signature in signatures):
            raise Forged("The signature is not Stripe's")
        if abs(now.timestamp() - int(sent)) > TOLERANCE_SECONDS:
            raise Stale("The report was signed too long ago, or its time is ahead of ours")
        event = json_object(body)
        event_id, kind, at = text(event.get("id")), text(event.get("type")), event.get("created")
        if event_id is None or kind is None:
            raise BadReply("The report names no event")
        created = datetime.fromtimestamp(at, UTC) if isinstance(at, int) and 0 <= at < 10**11 else None
        session = mapping(mapping(event.get("data")).get("object"))
        if kind not in _STATES or session.get("mode") != "payment":
            return Notice(event_id, created, None, ask=False)
        return Notice(event_id, created, _status(session, exponent, _STATES[kind]), ask=False)

    def acknowledgement(self) -> tuple[str, bytes]:
        """Stripe looks at the status alone."""
        return "application/json", b'{"received":true}'

    def _headers(self, key: str | None = None) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self._key}", "Stripe-Version": _VERSION}
        return headers if key is None else {**headers, "Idempotency-Key": key}

    async def _post(self, path: str, form: Mapping[str, str], key: str) -> dict[str, Any]:
        reply = await self._wire.ask("POST", path, effect=True, headers=self._headers(key), form=form)
        return self._good(reply, effect=True)

    def _good(self, reply: Reply, *, effect: bool) -> dict[str, Any]:
        said = reply.json(outcome_unknown=effect)
        if reply.status < 300:
            return said
        error = mapping(said.get("error"))
        if reply.status == httpx.codes.CONFLICT or error.get("type") == "idempotency_error":
            # An earlier request with this key is there, or on its way: what came of it is not said.
            raise BadReply(self._wire.clean(error.get("message")), outcome_unknown=effect)
        raise self._wire.refused(_refusal(reply.status, error.get("code")), error.get("message"))


def _open_until(wanted: datetime) -> datetime:
    """No longer than Stripe keeps a page open. By the hour: the same request sent again has to be the same."""
    latest = clock.now() + _LONGEST
    return wanted if wanted <= latest else latest.replace(minute=0, second=0, microsecond=0)


def _units(minor: int, currency: str, exponent: int) -> int:
    """As Stripe counts. Raises Refused for an amount that it does not take."""
    places = _PLACES.get(currency, 2)
    if currency in _HUNDREDTHS_OF_WHOLE:
        return amounts.whole(minor, exponent, 0) * 100
    # The third decimal has to be 0 with Stripe.
    return amounts.whole(minor, exponent, 2) * 10 if places == 3 else amounts.whole(minor, exponent, places)


def _status(session: Mapping[str, Any], exponent: int, told: State | None) -> Status:
    currency = (text(session.get("currency")) or "").upper()
    payment = session.get("payment_intent")
    paid = session.get("payment_status") == "paid"
    return Status(
        state=told or _state(session),
        provider_reference=text(session.get("id")),
        reference=text(session.get("client_reference_id")),
        amount_minor=amounts.from_whole(session.get("amount_total"), _PLACES.get(currency, 2), exponent),
        currency=currency or None,
        receipt=(text(payment) or text(mapping(payment).get("id"))) if paid else None,
        reason=None if paid else reason(mapping(mapping(payment).get("last_payment_error")).get("message")),
    )


def _state(session: Mapping[str, Any]) -> State:
    if session.get("payment_status") == "paid":
        return State.PAID
    if session.get("status") == "expired":
        return State.EXPIRED
    # What takes days (a bank debit) leaves the session complete and unpaid, for good if it fails.
    failed = mapping(session.get("payment_intent")).get("status") in ("requires_payment_method", "canceled")
    return State.FAILED if failed and session.get("status") == "complete" else State.PENDING


def _signature_of(headers: Mapping[str, str]) -> tuple[str, list[str]]:
    """When it was signed, and every signature of the scheme in use: two while a secret is being replaced."""
    stamps, signatures = [], []
    for part in headers.get("stripe-signature", "").split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            stamps.append(value)
        elif name == "v1":
            signatures.append(value)
    if len(stamps) != 1 or not _STAMP.fullmatch(stamps[0]) or not signatures or len(signatures) > _MOST_SIGNATURES:
        raise Forged("The report is not signed")
    return stamps[0], signatures


def _refusal(status: int, code: object) -> Refusal:
    if code == "charge_already_refunded":
        return Refusal.ALREADY_EXISTS
    kinds = {401: Refusal.BAD_LOGIN, 403: Refusal.NOT_PERMITTED, 404: Refusal.NO_SUCH_ITEM, 400: Refusal.INVALID_VALUE}
    return kinds.get(status, Refusal.OTHER)
