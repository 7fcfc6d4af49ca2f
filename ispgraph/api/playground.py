"""The playground of browsers at /graphql: GraphiQL as npm has built it, or without a build one small page of our own.

No address but ours is in either: they work where there is no internet.
"""

import hashlib
import mimetypes
import secrets
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import BaseRoute, Route

_PLAIN = Path(__file__).with_name("playground.html")
BUILT = Path(__file__).parent.parent / "playground" / "built"
"""Where npm puts what it makes of ispgraph/playground."""
_HEADERS = {
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept",
}
_NOTHING_ELSE = "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# The editor makes style elements while it runs, and fonts are within the style sheets.
_BUILT_POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self' 'unsafe-inline'; "
    f"font-src 'self' data:; img-src 'self' data:; {_NOTHING_ELSE}"
)
# What a build names, it names by what is in it.
_FOR_EVER = "public, max-age=31536000, immutable"


class Playground:
    """The page, and the files that it loads."""

    def __init__(self) -> None:
        page, folder = BUILT / "index.html", BUILT / "assets"
        self._page = page.read_text(encoding="utf-8") if page.is_file() else None
        # Only what was there at the start is served: no path of a request reaches the disk.
        self._files = {path.name: path for path in folder.iterdir()} if self._page is not None else {}

    def routes(self) -> list[BaseRoute]:
        """What the page loads."""
        return [Route("/playground/assets/{name}", self._asset)]

    def page(self, request: Request) -> Response:
        """The answer to a browser."""
        if self._page is None:
            return _plain()
        tag = f'"{hashlib.sha256(self._page.encode()).hexdigest()[:32]}"'
        headers = {**_HEADERS, "Content-Security-Policy": _BUILT_POLICY, "ETag": tag, "Cache-Control": "no-cache"}
        if _has(request, tag):
            return Response(status_code=304, headers=headers)
        return HTMLResponse(self._page, headers=headers)

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        path = self._files.get(name)
        if path is None or name.endswith(".gz"):
            return Response(status_code=404)
        headers = {
            "ETag": f'"{name}"',
            "Cache-Control": _FOR_EVER,
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
        }
        if _has(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        packed = self._files.get(f"{name}.gz")
        if packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            path, headers = packed, {**headers, "Content-Encoding": "gzip"}
        return FileResponse(path, headers=headers, media_type=mimetypes.guess_type(name)[0])


def wanted(request: Request) -> bool:
    """Whether a browser asks for a page, and not for the answer to a query."""
    accepted = request.headers.get("accept", "")
    return request.method == "GET" and "text/html" in accepted and "query" not in request.query_params


def _has(request: Request, tag: str) -> bool:
    known = request.headers.get("if-none-match", "")
    return tag in {one.strip().removeprefix("W/") for one in known.split(",")}


def _plain() -> Response:
    nonce = secrets.token_urlsafe(16)
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; {_NOTHING_ELSE}"
    )
    page = _PLAIN.read_text(encoding="utf-8").replace("{{nonce}}", nonce)
    headers = {**_HEADERS, "Content-Security-Policy": policy, "Cache-Control": "no-store"}
    return HTMLResponse(page, headers=headers)
