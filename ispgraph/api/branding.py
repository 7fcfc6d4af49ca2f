"""What anybody may see of a portal, by its subdomain: its looks as JSON, and its pictures.

Nobody signs in here. A portal that is not active is not there, like one that never was.
"""

import hashlib
import json
import re
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ispgraph.adapters.errors import AdapterError
from ispgraph.adapters.storage import Missing, open_storage
from ispgraph.db import Database
from ispgraph.domain import links
from ispgraph.domain.models import AssetKind, Portal, PortalFile
from ispgraph.domain.portals import assets, branding, pictures
from ispgraph.domain.portals.branding import Shown
from ispgraph.settings import Settings

_SUBDOMAIN = re.compile(r"[a-z0-9-]{3,63}")
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


class Branding:
    """The pages below /portals."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
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


def routes(database: Database, settings: Settings) -> list[Route]:
    """The routes below /portals."""
    made = Branding(database, settings)
    return [
        Route("/portals/{subdomain}", made.looks),
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
