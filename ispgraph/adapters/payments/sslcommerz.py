"""SSLCommerz: a page of theirs to pay on by card, wallet or bank, and a report (IPN) of what came of it.

As developer.sslcommerz.com/doc/v4 has it. The report is signed with MD5 over the fields that it lists itself, so it is
never believed: what counts is what the validation API answers. The payer's browser comes back by POST.
"""

import hashlib
import hmac
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import httpx

from ispgraph.adapters.errors import BadReply, Forged, Refusal, Refused
from ispgraph.adapters.payments import amounts
from ispgraph.adapters.payments.base import Intent, Notice, Returned, Started, State, Status
from ispgraph.adapters.payments.wire import Reply, Wire, address, objects, reason, text
from ispgraph.domain.gateways import Opened

LIVE_URL = "https://securepay.sslcommerz.com"
SANDBOX_URL = "https://sandbox.sslcommerz.com"
_TRANSACTIONS = "/validator/api/merchantTransIDvalidationAPI.php"
_VALIDATION = "/validator/api/validationserverAPI.php"
_HOME = ZoneInfo("Asia/Dhaka")
_LONGEST_ID = 30
_PAID = ("VALID", "VALIDATED")
_STATES = {
    **dict.fromkeys(_PAID, State.PAID),
    "FAILED": State.FAILED,
    "CANCELLED": State.CANCELLED,
    "EXPIRED": State.EXPIRED,
}
"""Whatever else they say (PENDING, PROCESSING, UNATTEMPTED) may still become something."""


class SSLCommerz:
    """A store at SSLCommerz."""

    def __init__(self, account: Opened, client: httpx.AsyncClient) -> None:
        self._store = account.settings["store_id"]
        self._password = account.settings["store_passwd"]
        base = account.settings.get("base_url") or (SANDBOX_URL if account.test_mode else LIVE_URL)
        self._wire = Wire(client, base, "SSLCommerz", (self._password,))

    async def start(self, intent: Intent) -> Started:
        """A session of the hosted page."""
        form = {
            **self._login(),
            "total_amount": amounts.written(intent.amount_minor, intent.exponent, 2),
            "currency": intent.currency,
            "tran_id": _short(intent.reference),
            "value_a": intent.reference,
            "success_url": intent.return_url,
            "fail_url": intent.return_url,
            "cancel_url": intent.cancel_url,
            "ipn_url": intent.callback_url,
            # What has to be there, and is not known or does not matter here.
            "cus_name": intent.customer_name[:50],
            "cus_email": (intent.customer_email or "nobody@example.com")[:50],
            "cus_phone": (intent.customer_mobile or "-")[:20],
            "cus_add1": "-",
            "cus_city": "-",
            "cus_postcode": "-",
            "cus_country": "Bangladesh",
            "shipping_method": "NO",
            "num_of_item": "1",
            "product_name": intent.description[:255],
            "product_category": "Internet access",
            "product_profile": "non-physical-goods",
        }
        said = self._good(await self._wire.ask("POST", "/gwprocess/v4/api.php", effect=True, form=form), effect=True)
        if said.get("status") != "SUCCESS":
            raise self._wire.refused(_refusal(said.get("failedreason")), said.get("failedreason"))
        session, page = text(said.get("sessionkey")), address(said.get("GatewayPageURL"))
        if session is None or page is None:
            raise BadReply("SSLCommerz answered without a page to pay on", outcome_unknown=True)
        return Started(session, page, None)

    async def check(self, provider_reference: str, reference: str, *, exponent: int) -> Status:
        """What came of a transaction. `provider_reference` may be empty: it is found by ours."""
        found = await self._ask(_TRANSACTIONS, {"tran_id": _short(reference)}, effect=False)
        tried = objects(found.get("element"))
        paid = next((one for one in tried if one.get("status") in _PAID), None)
        if paid is None:
            return self._unpaid(tried, provider_reference, reference)
        said = await self._ask(_VALIDATION, {"val_id": str(paid.get("val_id")), "v": "1"}, effect=False)
        if said.get("tran_id") != _short(reference):
            raise BadReply("The validation at SSLCommerz is of another payment")
        if said.get("status") not in _PAID:
            raise BadReply(f"SSLCommerz lists a payment as paid that it does not validate: {said.get('status')!r}")
        return _status(said, reference, provider_reference or None, exponent)

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
        """Ask for money to be given back, which the bank does later. Amounts are in taka, whatever was paid in."""
        if receipt is None:
            raise Refused(Refusal.INVALID_VALUE, "the payment has no receipt of SSLCommerz")
        if currency != "BDT":
            raise Refused(Refusal.INVALID_VALUE, "SSLCommerz gives back in BDT alone: refund it in their panel")
        wanted = {
            "bank_tran_id": receipt,
            "refund_trans_id": _short(key),
            "refe_id": _short(key),
            "refund_amount": amounts.written(amount_minor, exponent, 2),
            "refund_remarks": "Refund",
        }
        said = await self._ask(_TRANSACTIONS, wanted, effect=True)
        reference = text(said.get("refund_ref_id"))
        # "processing" is the answer to the same request sent again.
        if said.get("status") not in ("success", "processing") or reference is None:
            raise self._wire.refused(Refusal.OTHER, said.get("errorReason"))
        return Returned(reference, done=False)

    async def refund_status(self, provider_reference: str, receipt: str | None, refund_reference: str) -> Returned:
        """What the bank has made of it."""
        said = await self._ask(_TRANSACTIONS, {"refund_ref_id": refund_reference}, effect=False)
        if said.get("status") == "cancelled":
            failed = reason(said.get("errorReason")) or "The refund was cancelled at SSLCommerz"
            return Returned(refund_reference, done=False, failed=failed)
        return Returned(refund_reference, said.get("status") == "refunded")

    def notice(
        self,
        method: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        now: datetime,
        exponent: int,
    ) -> Notice:
        """An IPN. Only the fields that are signed are read."""
        signed, signature = self._signed(body)
        said = signed.get("value_a", "")
        reference = text(said if _short(said) == signed["tran_id"] else signed["tran_id"])
        return Notice(signature, _when(signed.get("tran_date")), _status(signed, reference, None, exponent), ask=True)

    def acknowledgement(self) -> tuple[str, bytes]:
        """They look at the status alone."""
        return "text/plain", b"OK"

    def _login(self) -> dict[str, str]:
        return {"store_id": self._store, "store_passwd": self._password}

    async def _ask(self, path: str, query: Mapping[str, str], *, effect: bool) -> dict[str, Any]:
        wanted = {**query, **self._login(), "format": "json"}
        said = self._good(await self._wire.ask("GET", path, effect=effect, query=wanted), effect=effect)
        if said.get("APIConnect") != "DONE":
            kind = Refusal.BAD_LOGIN if said.get("APIConnect") in ("FAILED", "INACTIVE") else Refusal.INVALID_VALUE
            raise self._wire.refused(kind, said.get("errorReason") or said.get("APIConnect"))
        return said

    def _good(self, reply: Reply, *, effect: bool) -> dict[str, Any]:
        if reply.status >= 300:
            raise self._wire.refused(Refusal.OTHER, f"status {reply.status}")
        return reply.json(outcome_unknown=effect)

    def _unpaid(self, tried: list[Mapping[str, Any]], provider_reference: str, reference: str) -> Status:
        last = tried[-1] if tried else {}
        state = _STATES.get(str(last.get("status")), State.PENDING)
        return Status(state, provider_reference or None, reference, None, None, None, reason(last.get("error")))

    def _signed(self, body: bytes) -> tuple[dict[str, str], str]:
        """The fields under the signature, and the signature. Raises Forged."""
        try:
            pairs = parse_qsl(body.decode(), keep_blank_values=True)
        except ValueError:
            raise Forged("The report is no form") from None
        fields = dict(pairs)
        listed = fields.get("verify_key", "").split(",")
        signed = {name: fields[name] for name in listed if name in fields}
        signature = fields.get("verify_sign", "")
        hidden = hashlib.md5(self._password.encode(), usedforsecurity=False).hexdigest()
        written = "&".join(f"{name}={value}" for name, value in sorted({**signed, "store_passwd": hidden}.items()))
        expected = hashlib.md5(written.encode(), usedforsecurity=False).hexdigest()
        if len(fields) != len(pairs) or not hmac.compare_digest(expected.encode(), signature.encode()):
            raise Forged("The signature is not SSLCommerz'")
        if not {"tran_id", "status"} <= signed.keys():
            raise Forged("The signature does not cover what is reported")
        if signed.get("store_id", self._store) != self._store:
            raise Forged("The report is for another store")
        return signed, signature


def _short(reference: str) -> str:
    """Their ids have at most 30 characters; a longer one of ours is replaced by its hash."""
    if len(reference) <= _LONGEST_ID:
        return reference
    return hashlib.sha256(reference.encode()).hexdigest()[:_LONGEST_ID]


def _status(said: Mapping[str, Any], reference: str | None, session: str | None, exponent: int) -> Status:
    """Amount and currency as they were asked for; ``amount`` itself is what that was in taka."""
    state = _STATES.get(str(said.get("status")), State.PENDING)
    paid = state is State.PAID
    amount, currency = said.get("currency_amount"), text(said.get("currency_type"))
    if not amount or currency is None:
        amount, currency = said.get("amount"), text(said.get("currency"))
    return Status(
        state=state,
        provider_reference=session,
        reference=reference,
        amount_minor=amounts.read(amount, exponent) if paid else None,
        currency=currency,
        receipt=text(said.get("bank_tran_id")) if paid else None,
        reason=_risk(said) if paid else reason(said.get("error")),
    )


def _risk(said: Mapping[str, Any]) -> str | None:
    """SSLCommerz takes a payment that it finds risky, and advises to look at it first."""
    return f"Risk: {reason(said.get('risk_title')) or 'yes'}" if str(said.get("risk_level")) == "1" else None


def _when(said: str | None) -> datetime | None:
    try:
        return datetime.strptime(said or "", "%Y-%m-%d %H:%M:%S").replace(tzinfo=_HOME)
    except ValueError:
        return None


def _refusal(why: object) -> Refusal:
    return Refusal.BAD_LOGIN if "Store" in str(why) else Refusal.INVALID_VALUE
