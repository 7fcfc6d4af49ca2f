"""M-Pesa in Kenya, by Safaricom's Daraja: the payer's phone asks for the PIN (STK push), and there is no page to go to.

The report is not signed: whoever knows its address could send one. So the address holds what was asked for, under a
code that only we can make, and even then the report is only a reason to ask. Daraja's answers leave out the amount;
what was asked for can not be changed on the phone, and stands in our `provider_reference`: its id, a colon, shillings.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import httpx

from ispgraph import clock
from ispgraph.adapters.errors import BadReply, Forged, Refusal, Refused
from ispgraph.adapters.payments import amounts, tokens
from ispgraph.adapters.payments.base import (
    Intent,
    Notice,
    Returned,
    Started,
    State,
    Status,
    Unsupported,
)
from ispgraph.adapters.payments.tokens import Token
from ispgraph.adapters.payments.wire import Reply, Wire, json_object, mapping, objects, reason, text
from ispgraph.domain.gateways import Opened

LIVE_URL = "https://api.safaricom.co.ke"
SANDBOX_URL = "https://sandbox.safaricom.co.ke"
_HOME = ZoneInfo("Africa/Nairobi")
_MOBILE = re.compile(r"\+(254[17][0-9]{8})")
_HANDLE = re.compile(r"(?P<id>[\x21-\x7e]{1,200}):(?P<shillings>[0-9]{1,9})")
_REFUSED = "500.001.1001"
"""With status 500: their no to what was asked, such as a wrong passkey; or that the payer has not decided yet."""
_BAD_TOKEN = ("404.001.03", "400.003.01")
_STATES = {
    "0": State.PAID,
    "1032": State.CANCELLED,
    "1019": State.EXPIRED,
    "1037": State.EXPIRED,
    "4999": State.PENDING,
}
"""By ResultCode; every other is a failure, with a reason."""


class MPesa:
    """A short code of M-Pesa: a paybill, or with a till number one for buying goods."""

    def __init__(self, account: Opened, client: httpx.AsyncClient) -> None:
        given = account.settings
        self._key, self._secret = given["consumer_key"], given["consumer_secret"]
        self._shortcode, self._passkey = given["shortcode"], given["passkey"]
        self._till = given.get("till_number")
        self._token_key = tokens.key_of(account)
        base = given.get("base_url") or (SANDBOX_URL if account.test_mode else LIVE_URL)
        self._wire = Wire(client, base, "M-Pesa", (self._secret, self._passkey))

    async def start(self, intent: Intent) -> Started:
        """Let the phone ask. Asked twice it asks twice, so that an outcome in doubt is not for starting again."""
        if intent.currency != "KES":
            raise Refused(Refusal.INVALID_VALUE, f"M-Pesa takes KES alone, and not {intent.currency}")
        mobile = _MOBILE.fullmatch(intent.customer_mobile or "")
        if mobile is None:
            raise Refused(Refusal.INVALID_VALUE, "M-Pesa needs a Kenyan mobile number, such as +254712345678")
        shillings = amounts.whole(intent.amount_minor, intent.exponent, 0)
        wanted = {
            **self._password(),
            "TransactionType": "CustomerBuyGoodsOnline" if self._till else "CustomerPayBillOnline",
            "Amount": shillings,
            "PartyA": mobile[1],
            "PartyB": self._till or self._shortcode,
            "PhoneNumber": mobile[1],
            "CallBackURL": self._callback(intent, shillings),
            "AccountReference": intent.reference[-12:],
            "TransactionDesc": "Internet",
        }
        said = self._good(await self._post("/mpesa/stkpush/v1/processrequest", wanted, effect=True), effect=True)
        request = text(said.get("CheckoutRequestID"))
        if request is None:
            raise BadReply("M-Pesa answered without a CheckoutRequestID", outcome_unknown=True)
        return Started(_handle(request, shillings), None, "Confirm the payment on your phone with your M-Pesa PIN.")

    async def check(self, provider_reference: str, reference: str, *, exponent: int) -> Status:
        """What came of a prompt. The receipt is the id of the request: the money's own comes with the report alone."""
        found = _HANDLE.fullmatch(provider_reference)
        if found is None:
            raise Unsupported("M-Pesa finds no payment by our reference; its report names it")
        wanted = {**self._password(), "CheckoutRequestID": found["id"]}
        reply = await self._post("/mpesa/stkpushquery/v1/query", wanted, effect=False)
        said = reply.json()
        if said.get("errorCode") == _REFUSED and "process" in str(said.get("errorMessage")).lower():
            return Status(State.PENDING, provider_reference, reference, None, None, None, None)
        said = self._good(reply, effect=False)
        if said.get("CheckoutRequestID") != found["id"]:
            raise BadReply("The answer of M-Pesa is about another payment")
        return _status(said, found["id"], int(found["shillings"]), reference, exponent)

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
        """Not offered: it takes the password of a person who may reverse payments."""
        raise Unsupported("Payments by M-Pesa are reversed in the M-Pesa organisation portal")

    async def refund_status(self, provider_reference: str, receipt: str | None, refund_reference: str) -> Returned:
        """As `refund`."""
        raise Unsupported("Payments by M-Pesa are reversed in the M-Pesa organisation portal")

    def notice(
        self,
        method: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        now: datetime,
        exponent: int,
    ) -> Notice:
        """A report at the address that was given with the payment."""
        reference, shillings = query.get("reference", ""), query.get("amount", "")
        expected = self._code(reference, shillings).encode()
        if not hmac.compare_digest(expected, query.get("code", "").encode()):
            raise Forged("The report did not come to an address that we gave to M-Pesa")
        said = mapping(mapping(json_object(body).get("Body")).get("stkCallback"))
        request, code = text(said.get("CheckoutRequestID")), said.get("ResultCode")
        if request is None or not isinstance(code, int | str):
            raise BadReply("The report names no payment of M-Pesa")
        more = _named(mapping(said.get("CallbackMetadata")).get("Item"))
        status = _status({**said, **more}, request, int(shillings), reference, exponent)
        return Notice(f"{request}:{code}", _when(more.get("TransactionDate")), status, ask=True)

    def acknowledgement(self) -> tuple[str, bytes]:
        """Anything else, and they would send it again."""
        return "application/json", b'{"ResultCode":0,"ResultDesc":"Accepted"}'

    def _password(self) -> dict[str, str]:
        stamp = clock.now().astimezone(_HOME).strftime("%Y%m%d%H%M%S")
        password = base64.b64encode((self._shortcode + self._passkey + stamp).encode()).decode()
        return {"BusinessShortCode": self._shortcode, "Password": password, "Timestamp": stamp}

    def _callback(self, intent: Intent, shillings: int) -> str:
        said = {"reference": intent.reference, "amount": str(shillings)}
        added = urlencode({**said, "code": self._code(intent.reference, str(shillings))})
        parts = urlsplit(intent.callback_url)
        return urlunsplit(parts._replace(query=f"{parts.query}&{added}" if parts.query else added))

    def _code(self, reference: str, shillings: str) -> str:
        said = f"callback {reference} {shillings}".encode()
        return hmac.new(self._passkey.encode(), said, hashlib.sha256).hexdigest()

    async def _post(self, path: str, wanted: Mapping[str, Any], *, effect: bool) -> Reply:
        """One request under a token that holds. A token that is refused is replaced once: nothing was done under it."""
        for _ in range(2):
            headers = {"Authorization": f"Bearer {await self._token()}"}
            reply = await self._wire.ask(
                "POST", path, effect=effect, headers=headers, send=wanted, answers=(httpx.codes.INTERNAL_SERVER_ERROR,)
            )
            if reply.status != httpx.codes.UNAUTHORIZED and _error(reply) not in _BAD_TOKEN:
                return reply
            tokens.drop(self._token_key)
        raise self._wire.refused(Refusal.BAD_LOGIN, "the token is not accepted")

    async def _token(self) -> str:
        former = tokens.kept(self._token_key)
        if former is not None and former.fresh():
            return former.text
        login = base64.b64encode(f"{self._key}:{self._secret}".encode()).decode()
        reply = await self._wire.ask(
            "GET",
            "/oauth/v1/generate",
            effect=False,
            headers={"Authorization": f"Basic {login}"},
            query={"grant_type": "client_credentials"},
        )
        if reply.status >= 400:
            raise self._wire.refused(Refusal.BAD_LOGIN, "the consumer key or secret is wrong")
        said = reply.json()
        token, seconds = said.get("access_token"), str(said.get("expires_in"))
        if not isinstance(token, str) or not token or not re.fullmatch("[0-9]{1,6}", seconds):
            raise BadReply("M-Pesa answered without a token")
        tokens.keep(self._token_key, Token(token, clock.now() + timedelta(seconds=int(seconds))))
        return token

    def _good(self, reply: Reply, *, effect: bool) -> dict[str, Any]:
        said = reply.json(outcome_unknown=effect)
        code = said.get("errorCode")
        if reply.status >= 500 and code != _REFUSED:
            raise BadReply(f"M-Pesa answered with status {reply.status}", outcome_unknown=effect)
        if code is not None or reply.status >= 300:
            raise self._wire.refused(Refusal.INVALID_VALUE, said.get("errorMessage"))
        if str(said.get("ResponseCode")) != "0":
            raise self._wire.refused(Refusal.OTHER, said.get("ResponseDescription"))
        return said


def _status(said: Mapping[str, Any], request: str, shillings: int, reference: str, exponent: int) -> Status:
    """What was asked for is what was paid, unless they say otherwise."""
    state = _STATES.get(str(said.get("ResultCode")), State.FAILED)
    paid = state is State.PAID
    amount = said.get("Amount", shillings)
    return Status(
        state=state,
        provider_reference=_handle(request, shillings),
        reference=reference,
        amount_minor=amounts.read(amount, exponent) if paid else None,
        currency="KES" if paid else None,
        receipt=(text(said.get("MpesaReceiptNumber")) or request) if paid else None,
        reason=None if paid or state is State.PENDING else reason(said.get("ResultDesc")),
    )


def _handle(request: str, shillings: int) -> str:
    return f"{request}:{shillings}"


def _named(items: object) -> dict[str, Any]:
    """The values of a report that say something about money; what is of another kind is left out."""
    kinds: dict[str, tuple[type, ...]] = {
        "Amount": (int, Decimal),
        "MpesaReceiptNumber": (str,),
        "TransactionDate": (int, str),
    }
    found = {}
    for item in objects(items):
        name, value = item.get("Name"), item.get("Value")
        if isinstance(name, str) and name in kinds and isinstance(value, kinds[name]):
            found[name] = value
    return found


def _when(said: object) -> datetime | None:
    try:
        return datetime.strptime(str(said), "%Y%m%d%H%M%S").replace(tzinfo=_HOME)
    except ValueError:
        return None


def _error(reply: Reply) -> object:
    return reply.json().get("errorCode") if reply.status >= 400 and reply.body[:1] == b"{" else None
