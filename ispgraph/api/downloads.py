"""What signed links show: files that jobs made, charts of usage, invoices, receipts and vouchers.

Nobody signs in here; the link is all there is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ispgraph.api import pictures, printing
from ispgraph.db import Database
from ispgraph.domain import files, links, usage_charts, voucher_sheets
from ispgraph.domain.billing import documents, papers
from ispgraph.settings import Settings

# Setting one takes a core for a moment; the rest of the program goes on meanwhile.
_PAPERS_AT_ONCE = 2

Find = Callable[[AsyncSession, UUID], Awaitable[papers.Paper | None]]
Answer = Callable[[Request, Mapping[str, str]], Awaitable[Response]]

_HEADERS = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# Pictures stand in pages and e-mails of others.
_SHOWN = {**_HEADERS, "Cache-Control": "private, max-age=300", "Cross-Origin-Resource-Policy": "cross-origin"}
# With a policy of content some browsers show an empty page in place of a PDF.
_PRINTED = {name: value for name, value in _HEADERS.items() if name != "Content-Security-Policy"}


def routes(database: Database, settings: Settings) -> list[Route]:
    """The routes below /downloads."""

    async def file(request: Request, _given: Mapping[str, str]) -> Response:
        tenant_id, file_id = UUID(hex=request.path_params["tenant"]), UUID(hex=request.path_params["file"])
        async with database.read(tenant_id) as session:
            found = await files.find(session, file_id)
        if found is None:
            return _gone()
        headers = {
            **_HEADERS,
            "Content-Type": found.media_type,
            # Names have no character that would have to be quoted.
            "Content-Disposition": f'attachment; filename="{found.name}"',
            "Content-Length": str(found.size),
        }
        if request.method == "HEAD":
            return Response(headers=headers)
        return StreamingResponse(files.chunks(database.read, found), headers=headers)

    async def chart(request: Request, given: Mapping[str, str]) -> Response:
        tenant_id, customer_id = UUID(hex=request.path_params["tenant"]), UUID(hex=request.path_params["customer"])
        async with database.read(tenant_id) as session:
            drawing = await usage_charts.find(session, customer_id, given)
        if drawing is None:
            return _gone()
        if request.path_params["format"] == "svg":
            return Response(pictures.svg(drawing), media_type="image/svg+xml", headers=_SHOWN)
        return Response(await asyncio.to_thread(pictures.png, drawing), media_type="image/png", headers=_SHOWN)

    turns = asyncio.Semaphore(_PAPERS_AT_ONCE)

    def paper(find: Find, name: str) -> Answer:
        async def shown(request: Request, _given: Mapping[str, str]) -> Response:
            tenant_id, row_id = UUID(hex=request.path_params["tenant"]), UUID(hex=request.path_params[name])
            async with database.read(tenant_id) as session:
                found = await find(session, row_id)
            if found is None:
                return PlainTextResponse("There is no such paper any more.\n", 404, headers=_HEADERS)
            async with turns:
                body = await asyncio.to_thread(printing.pdf, found)
            # Numbers have no character that would have to be quoted.
            headers = {**_PRINTED, "Content-Disposition": f'inline; filename="{found.number}.pdf"'}
            return Response(body, media_type="application/pdf", headers=headers)

        return shown

    async def sheet(request: Request, given: Mapping[str, str]) -> Response:
        tenant_id, batch_id = UUID(hex=request.path_params["tenant"]), UUID(hex=request.path_params["batch"])
        async with database.read(tenant_id) as session:
            found = await voucher_sheets.find(
                session, batch_id, given, network_key=settings.network_key, origin=settings.origin
            )
        if found is None:
            return PlainTextResponse("Every voucher of this sheet is used up.\n", 404, headers=_HEADERS)
        async with turns:
            body = await asyncio.to_thread(printing.sheet, found)
        headers = {**_PRINTED, "Content-Disposition": 'inline; filename="vouchers.pdf"'}
        return Response(body, media_type="application/pdf", headers=headers)

    return [
        Route("/downloads/files/{tenant}/{file}", _behind_link(settings.token_keys, file)),
        Route("/downloads/usage/{tenant}/{customer}/chart.{format}", _behind_link(settings.token_keys, chart)),
        Route(
            "/downloads/invoices/{tenant}/{invoice}.pdf",
            _behind_link(settings.token_keys, paper(documents.find_invoice, "invoice")),
        ),
        Route(
            "/downloads/receipts/{tenant}/{payment}.pdf",
            _behind_link(settings.token_keys, paper(documents.find_receipt, "payment")),
        ),
        Route("/downloads/vouchers/{tenant}/{batch}.pdf", _behind_link(settings.token_keys, sheet)),
    ]


def _behind_link(secrets: Sequence[bytes], answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """The answer, for whoever has a link that is ours and not over. Others learn nothing of what there is."""

    async def respond(request: Request) -> Response:
        try:
            given = links.verified(secrets, request.url.path, request.url.query)
        except links.BadLink:
            return PlainTextResponse("This is no link of ours.\n", 403, headers=_HEADERS)
        except links.LinkExpired:
            return _gone()
        return await answer(request, given)

    return respond


def _gone() -> Response:
    return PlainTextResponse("The time of this link is over.\n", 410, headers=_HEADERS)
