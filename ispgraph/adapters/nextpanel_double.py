"""A double of NextPanel: its billing API, with accounts that are really kept, and its failures.

It can be told to leave things out that a panel may not have: the search by `billing_id`, and the account in a conflict.
"""

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ispgraph import clock
from ispgraph.adapters.payments.doubles import Double

_BASE = "/api/v1/billing/accounts"
_NEEDED = ("username", "email", "password", "full_name")
_WEAK = "Not enough permissions: the API key lacks super-admin privilege for account management"

Answer = Callable[[Request], Awaitable[Response]]


@dataclass
class Hosted:
    """One account on the panel."""

    id: int
    said: dict[str, Any] = field(repr=False)
    status: str = "active"
    reason: str | None = None

    @property
    def shown(self) -> dict[str, Any]:
        """As the panel answers it."""
        names = ("username", "email", "full_name", "company", "package_id", "billing_id", "metadata")
        return {"id": self.id, "status": self.status, **{name: self.said.get(name) for name in names}}


@dataclass
class NextPanelDouble(Double):
    """One panel with one key."""

    api_key: str = "npk_double"
    api_secret: str = field(default="nps_double", repr=False)
    weak: bool = False
    """Whether the key may do nothing with accounts."""
    searchable: bool = True
    """Whether accounts can be found by `billing_id`."""
    telling: bool = True
    """Whether a conflict names the account it is with."""
    stern: bool = False
    """Whether to suspend what is suspended is an error."""

    def __post_init__(self) -> None:
        self.accounts: dict[int, Hosted] = {}
        self._last = 100
        super().__post_init__()

    def routes(self) -> list[Route]:
        """As the panel has them."""
        return [
            self.route("/api/health", "health", self._health, "GET"),
            self.route(_BASE, "create", self._known(self._create)),
            self.route(_BASE, "search", self._known(self._search), "GET"),
            self.route(f"{_BASE}/{{id}}", "read", self._known(self._read), "GET"),
            self.route(f"{_BASE}/{{id}}", "delete", self._known(self._delete), "DELETE"),
            self.route(f"{_BASE}/{{id}}/suspend", "suspend", self._known(self._suspend)),
            self.route(f"{_BASE}/{{id}}/unsuspend", "unsuspend", self._known(self._unsuspend)),
            self.route(f"{_BASE}/{{id}}/stats", "stats", self._known(self._stats), "GET"),
        ]

    def named(self, username: str) -> list[Hosted]:
        """The accounts of this name: at most one, if nobody has made a mistake."""
        return [one for one in self.accounts.values() if one.said["username"] == username]

    def put(self, username: str, **said: Any) -> Hosted:
        """An account that somebody made in the panel itself."""
        self._last += 1
        made = Hosted(self._last, {"username": username, "email": f"{username}@elsewhere.example", **said})
        self.accounts[made.id] = made
        return made

    def restore(self, accounts: Iterable[Hosted]) -> None:
        """Accounts that it had before it was started again."""
        self.accounts = {one.id: one for one in accounts}
        self._last = max([self._last, *self.accounts])

    def _known(self, answer: Answer) -> Answer:
        async def checked(request: Request) -> Response:
            if request.headers.get("x-api-key") != self.api_key or not self.api_key.startswith("npk_"):
                return _no("Invalid API key", 401)
            if request.headers.get("x-api-secret") != self.api_secret:
                return _no("Invalid API secret", 401)
            return _no(_WEAK, 403) if self.weak else await answer(request)

        return checked

    async def _health(self, _request: Request) -> Response:
        return JSONResponse({"status": "healthy"})

    async def _create(self, request: Request) -> Response:
        said = json.loads(await request.body())
        missing = [name for name in _NEEDED if not said.get(name)]
        if missing:
            return JSONResponse(
                {"detail": [{"loc": ["body", name], "msg": f"{name} is required"} for name in missing]}, 422
            )
        if len(said["password"]) < 8:
            return _no(f"The password {said['password']} is too short", 400)
        for name in ("username", "email"):
            for one in self.accounts.values():
                if one.said[name] == said[name]:
                    with_it = {"account": one.shown} if self.telling else {}
                    return JSONResponse({"detail": f"{name.title()} already exists", **with_it}, 409)
        made = self.put(said["username"])
        made.said = said
        return JSONResponse(made.shown, 201)

    async def _search(self, request: Request) -> Response:
        wanted = request.query_params.get("billing_id")
        if not self.searchable:
            return _no("Method Not Allowed", 405)
        found = [one.shown for one in self.accounts.values() if one.said.get("billing_id") == wanted]
        return JSONResponse({"accounts": found, "total": len(found)})

    async def _read(self, request: Request) -> Response:
        one = self._one(request)
        return _missing() if one is None else JSONResponse(one.shown)

    async def _delete(self, request: Request) -> Response:
        one = self._one(request)
        if one is None:
            return _missing()
        del self.accounts[one.id]
        return JSONResponse({"message": "Account deleted"})

    async def _suspend(self, request: Request) -> Response:
        return self._turn(request, "suspended", str(json.loads(await request.body()).get("reason")))

    async def _unsuspend(self, request: Request) -> Response:
        return self._turn(request, "active", None)

    def _turn(self, request: Request, status: str, reason: str | None) -> Response:
        one = self._one(request)
        if one is None:
            return _missing()
        if self.stern and one.status == status:
            return _no(f"Account is already {status}", 400)
        one.status, one.reason = status, reason
        return JSONResponse(one.shown)

    async def _stats(self, request: Request) -> Response:
        one = self._one(request)
        if one is None:
            return _missing()
        return JSONResponse(
            {
                "user_id": one.id,
                "username": one.said["username"],
                "email": one.said["email"],
                "total_domains": 3,
                "total_databases": 2,
                "total_email_accounts": 10,
                "total_ssl_certificates": 1,
                "storage_used": 5_000_000_000,
                "last_login": clock.now().isoformat(),
                "account_age_days": 30,
            }
        )

    def _one(self, request: Request) -> Hosted | None:
        key = request.path_params["id"]
        return self.accounts.get(int(key)) if key.isdecimal() else None


def _no(detail: str, status: int) -> Response:
    return JSONResponse({"detail": detail}, status)


def _missing() -> Response:
    return _no("Account not found", 404)
