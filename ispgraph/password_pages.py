"""The pages that e-mails and short messages lead to where there is no front end: people set a password there, by a code
that was sent to them, or by an invitation to look after a portal. No script is needed."""

import re
from uuid import UUID

from redis.asyncio import Redis
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from ispgraph import password_markup as markup
from ispgraph.api.forms import address_of, form_of
from ispgraph.db import Database
from ispgraph.domain import customer_passwords, password_codes, visits
from ispgraph.domain.errors import DomainError
from ispgraph.domain.portals import admins, branding
from ispgraph.domain.portals.admins import Invitation
from ispgraph.page_markup import Page

_CODES, _INVITATIONS = "password codes", "portal invitations"
_SUBDOMAIN = re.compile(r"[a-z0-9-]{3,63}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_POLICY = "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
_HEADERS = {
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}


class PasswordPages:
    """The pages below /password, and the invitations below /portals."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = database
        self._redis = redis

    async def ask(self, request: Request) -> Response:
        """A form; whether the code is good is only told to whoever sends it off."""
        return _html(markup.password_page(request.path_params.get("code")))

    async def set_password(self, request: Request) -> Response:
        """Set a password by a code, of an operator or a customer."""
        if await visits.guesses_too_much(self._redis, _CODES, address_of(request)):
            return _html(markup.busy_page(), 429)
        form = await form_of(request) or {}
        code, new = form.get("code", ""), form.get("password", "")
        if new != form.get("again"):
            return _html(markup.password_page(code or None, [markup.DIFFERENT]), 400)
        try:
            await customer_passwords.reset(self._database, code=code, new=new)
        except DomainError as error:
            if any(fault.field == ("input", "code") for fault in error.faults):
                await visits.guessed(self._redis, _CODES, address_of(request))
                return _html(markup.password_page(None, [markup.WRONG_CODE]), 400)
            return _html(markup.password_page(code, _told(error)), 400)
        return _html(markup.done_page("Your password is set"))

    async def invitation(self, request: Request) -> Response:
        """Whom an invitation is for, until when it is good, and a form to accept it."""
        invited = await self._invited(request)
        return await self._gone(request) if invited is None else _html(_invitation(invited))

    async def accept(self, request: Request) -> Response:
        """Accept an invitation by a password."""
        invited = await self._invited(request)
        form = await form_of(request) or {}
        if invited is None:
            return await self._gone(request)
        new = form.get("password", "")
        if new != form.get("again"):
            return _html(_invitation(invited, [markup.DIFFERENT]), 400)
        subdomain, token = request.path_params["subdomain"], request.path_params["token"]
        try:
            await admins.accept(self._database, subdomain=subdomain, given=token, new=new)
        except DomainError as error:
            if any(fault.field == ("input", "token") for fault in error.faults):
                return await self._gone(request)
            return _html(_invitation(invited, _told(error)), 400)
        return _html(markup.done_page(f"You look after {invited.portal} now"))

    async def _invited(self, request: Request) -> Invitation | None:
        subdomain, token = request.path_params["subdomain"], request.path_params["token"]
        if await visits.guesses_too_much(self._redis, _INVITATIONS, address_of(request)):
            return None
        if not _SUBDOMAIN.fullmatch(subdomain) or not _TOKEN.fullmatch(token):
            return None
        async with self._database.read(None) as session:
            tenant_id: UUID | None = await branding.tenant_of(session, subdomain)
        if tenant_id is None:
            return None
        async with self._database.read(tenant_id) as session:
            portal = await branding.find(session, subdomain, active=False)
            return None if portal is None else await admins.invitation(session, portal.id, token)

    async def _gone(self, request: Request) -> Response:
        await visits.guessed(self._redis, _INVITATIONS, address_of(request))
        return _html(markup.gone_page(), 404)


def routes(database: Database, redis: Redis) -> list[Route]:
    """The routes below /password, and that of invitations."""
    made = PasswordPages(database, redis)
    invitation = "/portals/{subdomain}/invitation/{token}"
    return [
        Route(password_codes.PAGE, made.ask, methods=["GET"]),
        Route(password_codes.PAGE, made.set_password, methods=["POST"]),
        Route(f"{password_codes.PAGE}/{{code}}", made.ask, methods=["GET"]),
        Route(f"{password_codes.PAGE}/{{code}}", made.set_password, methods=["POST"]),
        Route(invitation, made.invitation, methods=["GET"]),
        Route(invitation, made.accept, methods=["POST"]),
    ]


def _invitation(invited: Invitation, problems: list[str] | None = None) -> Page:
    lines = [
        f"{invited.name} ({invited.email}) is invited to look after this portal.",
        f"The invitation is good until {invited.expires_at:%Y-%m-%d %H:%M} UTC.",
    ]
    return markup.invitation_page(invited.portal, lines, problems or [])


def _told(error: DomainError) -> list[str]:
    return [fault.message for fault in error.faults]


def _html(page: Page, status: int = 200) -> Response:
    policy = _POLICY.format(style=page.style_hash)
    return HTMLResponse(page.html, status, headers=_HEADERS | {"Content-Security-Policy": policy})
