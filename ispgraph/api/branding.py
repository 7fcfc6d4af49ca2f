"""What anybody may see of a portal, by its subdomain: its looks as JSON, its pictures, and who is invited to it.

Nobody signs in here. A portal that is not active is not there, like one that never was.
"""

import hashlib
import html
import json
import re
from uuid import UUID

from redis.asyncio import Redis
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from ispgraph.adapters.errors import AdapterError
from ispgraph.adapters.storage import Missing, open_storage
from ispgraph.db import Database
from ispgraph.domain import links, visits
from ispgraph.domain.models import AssetKind, Portal, PortalFile
from ispgraph.domain.portals import admins, assets, branding, pictures
from ispgraph.domain.portals.branding import Shown
from ispgraph.settings import Settings

_GUESSES = "portal invitations"
_SUBDOMAIN = re.compile(r"[a-z0-9-]{3,63}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_SAFE = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# The portal's own pages are on another host.
_OPEN = {**_SAFE, "Access-Control-Allow-Origin": "*"}
_LOOKS = {**_OPEN, "Cache-Control": "public, max-age=1800"}
_PICTURE = {**_OPEN, "Cache-Control": "public, max-age=31536000, immutable"}
_PREVIEW = {**_SAFE, "Cache-Control": "private, no-store"}
_PRIVATE = {**_PREVIEW, "X-Robots-Tag": "noindex, nofollow"}


class Branding:
    """The pages below /portals."""

    def __init__(self, database: Database, redis: Redis, settings: Settings) -> None:
        self._database = database
        self._redis = redis
        self._settings = settings

    async def looks(self, request: Request) -> Response:
        """How a portal looks; for half an hour nobody needs to ask again."""
        found = await self._portal(request.path_params["subdomain"])
        if found is None:
            return _nothing()
        async with self._database.read(found.tenant_id) as session:
            shown = await branding.shown(session, found)
        body = json.dumps(self._described(shown), ensure_ascii=False, separators=(",", ":")).encode()
        tag = f'"{hashlib.sha256(body).hexdigest()}"'
        return _tagged(request, tag, Response(body, media_type="application/json", headers=_LOOKS))

    async def picture(self, request: Request) -> Response:
        """A picture of a portal; of one that is not active for whoever has a signed link."""
        preview = bool(request.url.query)
        if preview and not self._believed(request):
            return _nothing()
        subdomain, name = request.path_params["subdomain"], request.path_params["name"]
        found = await self._portal(subdomain, active=not preview)
        if found is None:
            return _nothing()
        async with self._database.read(found.tenant_id) as session:
            file = await branding.file_of(session, found, name)
        if file is None:
            return _nothing()
        headers = _PREVIEW if preview else _PICTURE
        tag = f'"{file.digest}"'
        if _matches(request, tag):
            return Response(status_code=304, headers={**headers, "ETag": tag})
        return await self._body(file, {**headers, "ETag": tag})

    async def invitation(self, request: Request) -> Response:
        """Whom an invitation is for, and until when it is good."""
        client = request.client.host if request.client else None
        if await visits.guesses_too_much(self._redis, _GUESSES, client):
            return _page("There is no such invitation", ["Ask whoever sent it for another one."], 404)
        subdomain, given = request.path_params["subdomain"], request.path_params["token"]
        found = await self._portal(subdomain, active=False)
        invited = None
        if found is not None and _TOKEN.fullmatch(given):
            async with self._database.read(found.tenant_id) as session:
                invited = await admins.invitation(session, found.id, given)
        if invited is None:
            await visits.guessed(self._redis, _GUESSES, client)
            return _page("There is no such invitation", ["Ask whoever sent it for another one."], 404)
        lines = [
            f"{invited.name} ({invited.email}) is invited to look after this portal.",
            f"The invitation is good until {invited.expires_at:%Y-%m-%d %H:%M} UTC.",
        ]
        return _page(invited.portal, lines)

    # -- parts

    async def _portal(self, subdomain: str, *, active: bool = True) -> Portal | None:
        if not _SUBDOMAIN.fullmatch(subdomain):
            return None
        async with self._database.read(None) as session:
            tenant_id: UUID | None = await branding.tenant_of(session, subdomain)
        if tenant_id is None:
            return None
        async with self._database.read(tenant_id) as session:
            return await branding.find(session, subdomain, active=active)

    def _described(self, shown: Shown) -> dict[str, object]:
        portal = shown.portal
        there = {asset.kind: (asset, file) for asset, file in shown.assets}
        told: dict[str, object] = {
            "subdomain": portal.subdomain,
            "displayName": portal.display_name,
            "subtitle": portal.subtitle,
            "theme": portal.theme,
        }
        for kind in AssetKind:
            asset, file = there.get(kind, (None, None))
            told[kind.value.lower()] = (
                asset
                and file
                and {
                    "url": self._settings.origin + branding.path(portal.subdomain, file),
                    "width": asset.width,
                    "height": asset.height,
                    "contentType": asset.content_type,
                }
            )
        return told

    def _believed(self, request: Request) -> bool:
        try:
            links.verified(self._settings.token_keys, request.url.path, request.url.query)
        except (links.BadLink, links.LinkExpired):
            return False
        return True

    async def _body(self, file: PortalFile, headers: dict[str, str]) -> Response:
        storage = open_storage(self._settings)
        if storage is None:
            return _nothing()
        try:
            body = await storage.get(assets.key_of(file))
        except Missing:
            return _nothing()
        except AdapterError as error:
            away = {**_PREVIEW, "Retry-After": "10"}
            return JSONResponse({"error": str(error)}, 503, headers=away)
        return Response(body, media_type=pictures.CONTENT_TYPE, headers=headers)


def routes(database: Database, redis: Redis, settings: Settings) -> list[Route]:
    """The routes below /portals."""
    made = Branding(database, redis, settings)
    return [
        Route("/portals/{subdomain}", made.looks),
        Route("/portals/{subdomain}/invitation/{token}", made.invitation),
        Route("/portals/{subdomain}/{name}", made.picture),
    ]


def _tagged(request: Request, tag: str, answer: Response) -> Response:
    if _matches(request, tag):
        return Response(status_code=304, headers={**_LOOKS, "ETag": tag})
    answer.headers["ETag"] = tag
    return answer


def _matches(request: Request, tag: str) -> bool:
    """Whether the client has this already (RFC 9110 section 13.1.2: a weak comparison)."""
    given = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    return "*" in given or tag in given


def _nothing() -> Response:
    return JSONResponse({"error": "There is no such portal."}, 404, headers={**_OPEN, "Cache-Control": "no-store"})


def _page(title: str, lines: list[str], status: int = 200) -> Response:
    told = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title></head><body><h1>{html.escape(title)}</h1>{told}</body></html>"
    )
    return HTMLResponse(page, status, headers=_PRIVATE)
