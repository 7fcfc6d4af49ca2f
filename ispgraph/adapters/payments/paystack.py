"""Paystack: a page of theirs to pay on, and reports that are signed with our secret key (HMAC-SHA512 of the body).

A report carries no time of sending, so that its age can not be judged: it is the same for ever, and counts once.
"""

import hashlib
import hmac
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from ispgraph.adapters.errors import BadReply, Forged, Refusal, Refused
from ispgraph.adapters.payments import amounts
from ispgraph.adapters.payments.base import Intent, Notice, Returned, Started, State, Status
from ispgraph.adapters.payments.wire import Reply, Wire, address, json_object, mapping, objects, reason, text
from ispgraph.domain.gateways import Opened

BASE_URL = "https://api.paystack.co"
_CURRENCIES = ("NGN", "GHS", "ZAR", "KES", "USD")
_PLACES = 2
_STATES = {"success": State.PAID, "failed": State.FAILED, "reversed": State.FAILED}
"""Whatever else they say (abandoned, ongoing, pending, processing, queued) may still become something."""


class Paystack:
    """A business at Paystack."""

    def __init__(self, account: Opened, client: httpx.AsyncClient) -> None:
        self._secret = account.settings["secret_key"]
        self._wire = Wire(client, account.settings.get("base_url") or BASE_URL, "Paystack", (self._secret,))

    async def start(self, intent: Intent) -> Started:
        """A transaction under our reference. Once the answer is lost the page is lost too: Paystack takes it once."""
        wanted = {
            # They do not go without one.
            "email": intent.customer_email or "nobody@example.com",
            "amount": _units(intent.amount_minor, intent.currency, intent.exponent),
            "currency": intent.currency,
            "reference": intent.reference,
            "callback_url": intent.return_url,
            "metadata": {"cancel_action": intent.cancel_url, "description": intent.description},
        }
        reply = await self._wire.ask(
            "POST", "/transaction/initialize", effect=True, headers=self._headers(), send=wanted
        )
        said = mapping(self._good(reply, effect=True))
        page = address(said.get("authorization_url"))
        if said.get("reference") != intent.reference or page is None:
            raise BadReply("Paystack answered without a page to pay on", outcome_unknown=True)
        return Started(intent.reference, page, None)

    async def check(self, provider_reference: str, reference: str, *, exponent: int) -> Status:
        """How a transaction stands; it is found by our reference."""
        path = f"/transaction/verify/{quote(reference, safe='')}"
        reply = await self._wire.ask("GET", path, effect=False, headers=self._headers())
        status = _status(mapping(self._good(reply, effect=False)), exponent)
        if status.reference != reference:
            raise BadReply("The answer of Paystack is about another payment")
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
        """Ask for money to be given back. Paystack knows no keys: it is kept in the note, and looked for first."""
        if receipt is None:
            raise Refused(Refusal.INVALID_VALUE, "the payment has no receipt of Paystack")
        of = {"transaction": receipt, "perPage": "100"}
        reply = await self._wire.ask("GET", "/refund", effect=False, headers=self._headers(), query=of)
        known = self._good(reply, effect=False)
        note = f"Refund {key}"
        for former in objects(known):
            if former.get("merchant_note") == note:
                return _returned(former)
        wanted = {
            "transaction": receipt,
            "amount": _units(amount_minor, currency, exponent),
            "currency": currency,
            "merchant_note": note,
        }
        reply = await self._wire.ask("POST", "/refund", effect=True, headers=self._headers(), send=wanted)
        return _returned(mapping(self._good(reply, effect=True)))

    async def refund_status(self, provider_reference: str, receipt: str | None, refund_reference: str) -> Returned:
        """How a refund stands."""
        path = f"/refund/{quote(refund_reference, safe='')}"
        reply = await self._wire.ask("GET", path, effect=False, headers=self._headers())
        return _returned(mapping(self._good(reply, effect=False)))

    def notice(
        self,
        method: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        now: datetime,
        exponent: int,
    ) -> Notice:
        """An event."""
        given = {name.lower(): value for name, value in headers.items()}.get("x-paystack-signature", "")
        expected = hmac.new(self._secret.encode(), body, hashlib.sha512).hexdigest()
        if not hmac.compare_digest(expected.encode(), given.encode()):
            raise Forged("The signature is not Paystack's")
        event = json_object(body)
        kind, about = text(event.get("event")), mapping(event.get("data"))
        number = _number(about.get("id"))
        if kind is None:
            raise BadReply("The report names no event")
        if kind != "charge.success" or number is None:
            # Of events that we do not act on not all have an id.
            return Notice(f"{kind}:{hashlib.sha256(body).hexdigest()}", None, None, ask=False)
        return Notice(f"{kind}:{number}", _when(about.get("paid_at")), _status(about, exponent), ask=False)

    def acknowledgement(self) -> tuple[str, bytes]:
        """Paystack looks at the status alone."""
        return "application/json", b'{"received":true}'

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._secret}"}

    def _good(self, reply: Reply, *, effect: bool) -> object:
        said = reply.json(outcome_unknown=effect)
        if reply.status < 300 and said.get("status") is True:
            return said.get("data")
        raise self._wire.refused(_refusal(reply.status, said), said.get("message"))


def _units(minor: int, currency: str, exponent: int) -> int:
    if currency not in _CURRENCIES:
        raise Refused(Refusal.INVALID_VALUE, f"Paystack takes {', '.join(_CURRENCIES)}, and not {currency}")
    return amounts.whole(minor, exponent, _PLACES)


def _status(said: Mapping[str, Any], exponent: int) -> Status:
    state = _STATES.get(str(said.get("status")), State.PENDING)
    paid = state is State.PAID
    receipt = _number(said.get("id"))
    if paid and receipt is None:
        raise BadReply("Paystack says that it is paid, and gives no id")
    reference = text(said.get("reference"))
    return Status(
        state=state,
        provider_reference=reference,
        reference=reference,
        amount_minor=amounts.from_whole(said.get("amount"), _PLACES, exponent),
        currency=text(said.get("currency")),
        receipt=receipt if paid else None,
        reason=reason(said.get("gateway_response")) if state is State.FAILED else None,
    )


def _returned(said: Mapping[str, Any]) -> Returned:
    reference = _number(said.get("id"))
    if reference is None:
        raise BadReply("Paystack answered without a refund", outcome_unknown=True)
    if said.get("status") == "failed":
        return Returned(reference, done=False, failed="The refund failed at Paystack")
    return Returned(reference, said.get("status") == "processed")


def _number(said: object) -> str | None:
    return str(said) if isinstance(said, int) and not isinstance(said, bool) and 0 < said < 10**18 else None


def _when(said: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(said))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def _refusal(status: int, said: Mapping[str, Any]) -> Refusal:
    if status == httpx.codes.UNAUTHORIZED:
        return Refusal.BAD_LOGIN
    message = str(said.get("message")).lower()
    if "duplicate" in message:
        return Refusal.ALREADY_EXISTS
    return Refusal.NO_SUCH_ITEM if status == httpx.codes.NOT_FOUND or "not found" in message else Refusal.INVALID_VALUE
