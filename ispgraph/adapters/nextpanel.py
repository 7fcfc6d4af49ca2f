"""NextPanel, a panel of web hosting, over its billing API.

A key and its secret go along with every request. The key needs the level BILLING or SUPER_ADMIN, the scope Account
Management, and our address on its list. Health is answered to everybody, so it proves nothing of the key: `prove` asks
for an account.

An account is made once. The panel promises no idempotency, but two accounts cannot have one username, and each of ours
carries our own id as its `billing_id`. So after a call whose answer was lost the panel is asked for accounts with this
`billing_id`; one that cannot be asked so is asked to make the account again, and its no, 409, is read: when it names an
account with our `billing_id`, that account is ours.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from ispgraph.adapters.errors import BadReply, Refusal, Refused, TimedOut
from ispgraph.adapters.payments.wire import Reply, Wire, mapping, objects, text

HEALTH_SECONDS = 5.0
CREATE_SECONDS = 30.0
CALL_SECONDS = 10.0

_ACCOUNTS = "/api/v1/billing/accounts"
_NOBODY = "0"
"""An id that no account has."""
_COUNTS = ("total_domains", "total_databases", "total_email_accounts", "total_ssl_certificates")
_STATS = (*_COUNTS, "storage_used", "account_age_days")
_LARGEST_COUNT = 2**53
_KINDS: Mapping[int, Refusal] = {
    httpx.codes.UNAUTHORIZED: Refusal.BAD_LOGIN,
    httpx.codes.FORBIDDEN: Refusal.NOT_PERMITTED,
    httpx.codes.NOT_FOUND: Refusal.NO_SUCH_ITEM,
    httpx.codes.CONFLICT: Refusal.ALREADY_EXISTS,
    httpx.codes.BAD_REQUEST: Refusal.INVALID_VALUE,
    httpx.codes.UNPROCESSABLE_ENTITY: Refusal.INVALID_VALUE,
}
_NOT_OFFERED = (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED, httpx.codes.UNPROCESSABLE_ENTITY)


@dataclass(frozen=True, slots=True)
class Login:
    """Where a panel is, and what opens it."""

    base_url: str
    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """An account that is to be made; `billing_id` is ours, and so is `customer`."""

    billing_id: str
    customer: str
    username: str
    password: str = field(repr=False)
    email: str
    full_name: str
    phone: str
    company: str | None
    package_id: str | None
    created_at: str


@dataclass(frozen=True, slots=True)
class Search:
    """What a search by `billing_id` found. `asked` is whether the panel can be asked so."""

    asked: bool
    account_id: str | None = None


class NextPanel:
    """One panel. `client` is one of `outbound`. Every call raises AdapterError."""

    def __init__(self, client: httpx.AsyncClient, login: Login) -> None:
        self._login = {"X-API-Key": login.api_key, "X-API-Secret": login.api_secret}
        self._hidden = [login.api_key, login.api_secret]
        self._client, self._base = client, login.base_url
        self._wire = Wire(client, login.base_url, "The panel", self._hidden)

    async def health(self) -> None:
        """Whether the panel runs. That it does says nothing of our key."""
        reply = await self._ask("GET", "/api/health", HEALTH_SECONDS, login=False)
        if reply.status != httpx.codes.OK:
            raise BadReply(f"The panel answered to a look at its health with status {reply.status}")
        reply.json()

    async def prove(self) -> None:
        """Whether our key may work with accounts, shown by asking for one that is not there."""
        reply = await self._ask("GET", f"{_ACCOUNTS}/{_NOBODY}", CALL_SECONDS)
        if reply.status not in (httpx.codes.OK, httpx.codes.NOT_FOUND):
            raise self._refused(reply)
        reply.json()

    async def search(self, billing_id: str) -> Search:
        """The account with this id of ours."""
        reply = await self._ask("GET", f"{_ACCOUNTS}?billing_id={quote(billing_id, safe='')}", CALL_SECONDS)
        if reply.status in _NOT_OFFERED:
            return Search(asked=False)
        if reply.status != httpx.codes.OK:
            raise self._refused(reply)
        said = reply.json()
        listed = next(
            (said[name] for name in ("accounts", "items", "results") if isinstance(said.get(name), list)), None
        )
        if listed is None:
            return Search(asked=False)
        # A panel that does not know the parameter lists whatever it has: ours is told by its id alone.
        found = [one for one in objects(listed) if _is_ours(one, billing_id)]
        if len(found) > 1:
            raise BadReply("The panel has several accounts that carry the id of one")
        # And a list may be the first of several pages.
        whole = len(objects(listed)) == said.get("total")
        return Search(whole or bool(found), _id_of(found[0]) if found else None)

    async def create(self, wanted: Wanted) -> str:
        """Make an account, or find that it is there; the panel's id of it.

        Raises Refused ALREADY_EXISTS when somebody else has the username or the e-mail address.
        """
        asked = {
            "username": wanted.username,
            "email": wanted.email,
            "password": wanted.password,
            "full_name": wanted.full_name,
            "phone": wanted.phone,
            "company": wanted.company,
            "package_id": _package(wanted.package_id),
            "is_admin": False,
            "billing_id": wanted.billing_id,
            "metadata": {
                "created_from": "ispgraph",
                "billing_customer_id": wanted.customer,
                "account_type": "panel",
                "is_admin": False,
                "account_level": "user",
                "created_at": wanted.created_at,
            },
        }
        headers = {"Idempotency-Key": wanted.billing_id}
        # What the panel says of the input may repeat the password.
        wire = Wire(self._client, self._base, "The panel", [*self._hidden, wanted.password])
        reply = await self._ask("POST", _ACCOUNTS, CREATE_SECONDS, effect=True, send=asked, headers=headers, wire=wire)
        if reply.status == httpx.codes.CREATED:
            return _id_of(reply.json(outcome_unknown=True), outcome_unknown=True)
        if reply.status == httpx.codes.CONFLICT and (there := _named(reply, wanted.billing_id)) is not None:
            return there
        raise self._refused(reply, wire)

    async def suspend(self, account_id: str, reason: str) -> None:
        """Nobody can sign in to the account, and its sites are off; one that is suspended stays so."""
        await self._turn(account_id, "suspend", "suspended", {"reason": reason})

    async def unsuspend(self, account_id: str) -> None:
        """Undo `suspend`; an account that is not suspended stays so."""
        await self._turn(account_id, "unsuspend", "active", None)

    async def delete(self, account_id: str) -> None:
        """Delete an account with all that is in it; one that is not there is deleted."""
        reply = await self._ask("DELETE", _path(account_id), CALL_SECONDS, effect=True)
        if reply.status not in (httpx.codes.OK, httpx.codes.NO_CONTENT, httpx.codes.NOT_FOUND, httpx.codes.GONE):
            raise self._refused(reply)

    async def stats(self, account_id: str) -> dict[str, object]:
        """What an account holds, by the panel's names; what the panel does not say, or says wrong, is not there."""
        reply = await self._ask("GET", f"{_path(account_id)}/stats", CALL_SECONDS)
        if reply.status != httpx.codes.OK:
            raise self._refused(reply)
        said = reply.json()
        found: dict[str, object] = {name: said[name] for name in _STATS if _is_count(said.get(name))}
        if (last := text(said.get("last_login"))) is not None:
            found["last_login"] = last
        return found

    async def _turn(self, account_id: str, how: str, state: str, send: Mapping[str, Any] | None) -> None:
        reply = await self._ask("POST", f"{_path(account_id)}/{how}", CALL_SECONDS, effect=True, send=send or {})
        if reply.status == httpx.codes.OK:
            return
        # Of an account that is so already a panel may say that this cannot be.
        if reply.status in (httpx.codes.BAD_REQUEST, httpx.codes.CONFLICT):
            there = await self._ask("GET", _path(account_id), CALL_SECONDS)
            if there.status == httpx.codes.OK and there.json().get("status") == state:
                return
        raise self._refused(reply)

    async def _ask(
        self,
        method: str,
        path: str,
        seconds: float,
        *,
        login: bool = True,
        effect: bool = False,
        send: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        wire: Wire | None = None,
    ) -> Reply:
        heads = {**(headers or {}), **(self._login if login else {})}
        try:
            async with asyncio.timeout(seconds):
                return await (wire or self._wire).ask(method, path, effect=effect, headers=heads, send=send)
        except TimeoutError:
            raise TimedOut(f"The panel did not answer within {seconds:.0f} s", outcome_unknown=effect) from None

    def _refused(self, reply: Reply, wire: Wire | None = None) -> Refused:
        try:
            detail = reply.json().get("detail")
        except BadReply:
            detail = None
        if isinstance(detail, list):
            detail = "; ".join(str(one["msg"]) for one in objects(detail) if isinstance(one.get("msg"), str))
        if isinstance(detail, dict):
            detail = detail.get("message")
        said = detail if isinstance(detail, str) and detail else f"status {reply.status}"
        return (wire or self._wire).refused(_KINDS.get(reply.status, Refusal.OTHER), said)


def _path(account_id: str) -> str:
    return f"{_ACCOUNTS}/{quote(account_id, safe='')}"


def _package(given: str | None) -> int | str | None:
    """The panel numbers its packages."""
    return int(given) if given is not None and given.isdecimal() else given


def _id_of(said: Mapping[str, Any], *, outcome_unknown: bool = False) -> str:
    found = said.get("id")
    if isinstance(found, int) and not isinstance(found, bool) and 0 < found < _LARGEST_COUNT:
        return str(found)
    if (word := text(found)) is not None and len(word) <= 100:
        return word
    raise BadReply("The panel gave no id of the account", outcome_unknown=outcome_unknown)


def _is_ours(said: Mapping[str, Any], billing_id: str) -> bool:
    return said.get("billing_id") == billing_id


def _named(reply: Reply, billing_id: str) -> str | None:
    """The id of the account that a conflict is with, when that is ours."""
    try:
        said = reply.json()
    except BadReply:
        return None
    for one in (said, mapping(said.get("account")), mapping(said.get("detail")), mapping(said.get("existing"))):
        if _is_ours(one, billing_id):
            return _id_of(one)
    return None


def _is_count(said: object) -> bool:
    return isinstance(said, int) and not isinstance(said, bool) and 0 <= said < _LARGEST_COUNT
