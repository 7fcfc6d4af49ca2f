"""bKash, tokenised checkout without agreement: a page of theirs, after which the payment has to be executed by us.

As developer.bka.sh has it (checkout v1.2.0-beta, refunds v2). The payer's browser comes back to one address, with
``paymentID`` and ``status`` in it; nothing of that is signed, so that it is only a reason to ask. Money moves when
`check` executes the payment, and not before.
"""

import re
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx

from ispgraph import clock
from ispgraph.adapters.errors import BadReply, Refusal, Refused
from ispgraph.adapters.payments import amounts, tokens
from ispgraph.adapters.payments.base import Intent, Notice, Returned, Started, State, Status, Unsupported
from ispgraph.adapters.payments.tokens import Token
from ispgraph.adapters.payments.wire import Wire, address, objects, reason, text
from ispgraph.domain.gateways import Opened

LIVE_URL = "https://tokenized.pay.bka.sh"
SANDBOX_URL = "https://tokenized.sandbox.bka.sh"
_CHECKOUT = "/v1.2.0-beta/tokenized/checkout"
_REFUNDS = "/v2/tokenized-checkout/refund/payment"
_DONE = "0000"
_UNSURE = ("9999", "503")
_NOT_YET = ("2056", "2062", "2117")
"""Not in a state to be executed; executed already; being executed: none of them says that it failed."""
_STALE_TOKEN = "2079"  # noqa: S105
_BAD_LOGIN = ("2001", "2079", "2080", "2082")
_STATES = {
    "Completed": State.PAID,
    "Cancelled": State.CANCELLED,
    "Expired": State.EXPIRED,
    "Declined": State.FAILED,
    "Failed": State.FAILED,
}
_PAYMENT_ID = re.compile(r"[A-Za-z0-9]{1,64}")
_TOLD = {"success": State.PENDING, "failure": State.FAILED, "cancel": State.CANCELLED}


class BKash:
    """A merchant's account with bKash."""

    def __init__(self, account: Opened, client: httpx.AsyncClient) -> None:
        given = account.settings
        self._app_key, self._app_secret = given["app_key"], given["app_secret"]
        self._login = {"username": given["username"], "password": given["password"]}
        self._token_key = tokens.key_of(account)
        base = given.get("base_url") or (SANDBOX_URL if account.test_mode else LIVE_URL)
        self._wire = Wire(client, base, "bKash", (self._app_key, self._app_secret, given["password"]))

    async def start(self, intent: Intent) -> Started:
        """A payment that waits on bKash's page."""
        _only_taka(intent.currency)
        wanted = {
            "mode": "0011",
            "payerReference": intent.reference,
            "callbackURL": intent.return_url,
            "amount": amounts.written(intent.amount_minor, intent.exponent, 2),
            "currency": "BDT",
            "intent": "sale",
            "merchantInvoiceNumber": intent.reference,
        }
        said = self._good(await self._post(f"{_CHECKOUT}/create", wanted, effect=True))
        payment, page = text(said.get("paymentID")), address(said.get("bkashURL"))
        if payment is None or page is None:
            raise BadReply("bKash answered without a page to pay on", outcome_unknown=True)
        return Started(payment, page, None)

    async def check(self, provider_reference: str, reference: str, *, exponent: int) -> Status:
        """How a payment stands; one that its payer has confirmed is executed first."""
        if not provider_reference:
            raise Unsupported("bKash finds no payment by our reference; nobody was shown its page")
        wanted = {"paymentID": provider_reference}
        before = self._good(await self._post(f"{_CHECKOUT}/payment/status", wanted, effect=False))
        status = _status(before, provider_reference, reference, exponent)
        if status.state is not State.PENDING or before.get("verificationStatus") == "Incomplete":
            return status
        done = await self._post(f"{_CHECKOUT}/execute", wanted, effect=True)
        if _code(done) == _DONE:
            return _status(done, provider_reference, reference, exponent)
        if _code(done) in _UNSURE or _code(done) is None:
            raise BadReply(self._wire.clean(_why(done)) or "bKash did not say what it did", outcome_unknown=True)
        after = self._good(await self._post(f"{_CHECKOUT}/payment/status", wanted, effect=False))
        status = _status(after, provider_reference, reference, exponent)
        if status.state is State.PENDING and _code(done) not in _NOT_YET:
            return Status(State.FAILED, provider_reference, reference, None, None, None, reason(_why(done)))
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
        """Give back all or a part, at once. bKash knows no keys: a refund of the same amount that is none of the others
        is the one whose answer was lost, or else somebody made it by hand, and it is ALREADY_EXISTS."""
        _only_taka(currency)
        if receipt is None:
            raise Refused(Refusal.INVALID_VALUE, "the payment has no receipt of bKash")
        of = {"paymentId": provider_reference, "trxId": receipt}
        known = await self._post(f"{_REFUNDS}/status", of, effect=False)
        if "refundTransactions" not in known and (_code(known) in _UNSURE or _code(known) is None):
            raise BadReply(self._wire.clean(_why(known)) or "bKash does not say what was given back")
        for former in objects(known.get("refundTransactions")):
            name = text(former.get("refundTrxId"))
            if name is None or name in others or amounts.read(former.get("refundAmount"), exponent) != amount_minor:
                continue
            if not again:
                raise self._wire.refused(Refusal.ALREADY_EXISTS, f"given back as {name}")
            return _returned(former, name)
        wanted = {
            **of,
            "refundAmount": amounts.written(amount_minor, exponent, 2),
            "sku": key[:255],
            "reason": "Refund",
        }
        said = await self._post(f"{_REFUNDS}/transaction", wanted, effect=True)
        reference = text(said.get("refundTrxId"))
        if reference is None:
            self._good(said, outcome_unknown=True)
            raise BadReply("bKash answered without a refund", outcome_unknown=True)
        return _returned(said, reference)

    async def refund_status(self, provider_reference: str, receipt: str | None, refund_reference: str) -> Returned:
        """How a refund stands."""
        of = {"paymentId": provider_reference, "trxId": receipt or ""}
        known = await self._post(f"{_REFUNDS}/status", of, effect=False)
        for former in objects(known.get("refundTransactions")):
            if former.get("refundTrxId") == refund_reference:
                return _returned(former, refund_reference)
        raise BadReply("bKash does not list the refund")

    def notice(
        self,
        method: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        now: datetime,
        exponent: int,
    ) -> Notice:
        """What the payer's browser brings along. Anyone could bring it."""
        payment, said = query.get("paymentID", ""), query.get("status")
        if not _PAYMENT_ID.fullmatch(payment) or said not in _TOLD:
            raise BadReply("The report names no payment of bKash")
        status = Status(_TOLD[said], payment, None, None, None, None, None)
        return Notice(f"{payment}:{said}", None, status, ask=True)

    def acknowledgement(self) -> tuple[str, bytes]:
        """Nobody reads it: the report comes with a browser."""
        return "text/plain", b"OK"

    async def _post(self, path: str, wanted: Mapping[str, str], *, effect: bool) -> dict[str, Any]:
        """One request under a token that holds. A token that is refused is replaced once: nothing was done under it."""
        for last in (False, True):
            headers = {"Authorization": await self._token(), "X-APP-Key": self._app_key, "Accept": "application/json"}
            reply = await self._wire.ask("POST", path, effect=effect, headers=headers, send=wanted)
            refused = reply.status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
            said = {} if refused else reply.json(outcome_unknown=effect)
            if not refused and _code(said) != _STALE_TOKEN:
                return said
            tokens.drop(self._token_key)
            if last:
                break
        raise self._wire.refused(Refusal.BAD_LOGIN, _why(said) or "the token is not accepted")

    async def _token(self) -> str:
        former = tokens.kept(self._token_key)
        if former is not None and former.fresh():
            return former.text
        app = {"app_key": self._app_key, "app_secret": self._app_secret}
        if former is not None and former.renewal is not None:
            tokens.drop(self._token_key)
            said = await self._lent("refresh", {**app, "refresh_token": former.renewal})
            if _code(said) == _DONE:
                return self._kept(said)
        said = await self._lent("grant", app)
        if _code(said) != _DONE:
            raise self._wire.refused(Refusal.BAD_LOGIN, _why(said))
        return self._kept(said)

    async def _lent(self, how: str, wanted: Mapping[str, str]) -> dict[str, Any]:
        path = f"{_CHECKOUT}/token/{how}"
        return (await self._wire.ask("POST", path, effect=False, headers=self._login, send=wanted)).json()

    def _kept(self, said: Mapping[str, Any]) -> str:
        token, seconds = said.get("id_token"), said.get("expires_in")
        if not isinstance(token, str) or not token or not isinstance(seconds, int):
            raise BadReply("bKash answered without a token")
        renewal = said.get("refresh_token")
        until = clock.now() + timedelta(seconds=min(max(seconds, 0), 86_400))
        tokens.keep(self._token_key, Token(token, until, renewal if isinstance(renewal, str) else None))
        return token

    def _good(self, said: dict[str, Any], *, outcome_unknown: bool = False) -> dict[str, Any]:
        code = _code(said)
        if code == _DONE:
            return said
        if code in _UNSURE or code is None:
            raise BadReply(self._wire.clean(_why(said)) or "bKash answered nothing", outcome_unknown=outcome_unknown)
        kind = Refusal.BAD_LOGIN if code in _BAD_LOGIN else Refusal.INVALID_VALUE
        raise self._wire.refused(kind, _why(said))


def _status(said: Mapping[str, Any], payment: str, reference: str, exponent: int) -> Status:
    named = said.get("merchantInvoiceNumber") or said.get("merchantInvoice")
    if said.get("paymentID") != payment or named not in (None, reference):
        raise BadReply("The answer of bKash is about another payment")
    state = _STATES.get(str(said.get("transactionStatus")), State.PENDING)
    paid = state is State.PAID
    receipt = text(said.get("trxID"))
    if paid and receipt is None:
        raise BadReply("bKash says that it is paid, and gives no trxID")
    return Status(
        state=state,
        provider_reference=payment,
        reference=reference,
        amount_minor=amounts.read(said.get("amount"), exponent),
        currency=text(said.get("currency")),
        receipt=receipt if paid else None,
        reason=None,
    )


def _returned(said: Mapping[str, Any], reference: str) -> Returned:
    return Returned(reference, said.get("refundTransactionStatus") == "Completed")


def _code(said: Mapping[str, Any]) -> str | None:
    """v1 and v2 name it differently."""
    return text(said.get("statusCode")) or text(said.get("internalCode")) or text(said.get("errorCode"))


def _why(said: Mapping[str, Any]) -> str:
    names = ("statusMessage", "errorMessage", "errorMessageEn", "message")
    return next((str(said[name]) for name in names if said.get(name)), "")


def _only_taka(currency: str) -> None:
    if currency != "BDT":
        raise Refused(Refusal.INVALID_VALUE, f"bKash takes BDT alone, and not {currency}")
