"""The page on which a customer pays: whoever has its address sees what is owed, and can pay it. No script is needed."""

import secrets
from datetime import timedelta
from typing import TypeVar

from redis.asyncio import Redis
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from ispgraph import clock
from ispgraph import page_markup as markup
from ispgraph.api.forms import address_of, form_of
from ispgraph.checkout import Checkout
from ispgraph.db import Database
from ispgraph.domain import gateway_payments as rules
from ispgraph.domain import links, paying, payment_links, payment_page, values, visits
from ispgraph.domain.gateway_payments import OPEN
from ispgraph.domain.models import Gateway, GatewayPayment, GatewayPaymentState, PaymentLinkStatus
from ispgraph.domain.payment_links import Seen
from ispgraph.settings import Settings

T = TypeVar("T")

_GUESSES = "payment links"
_FORM_LASTS = timedelta(hours=12)
_ATTEMPTS, _WITHIN = 6, timedelta(minutes=10)
_ASK_EVERY, _ASK_SECONDS = timedelta(seconds=4), 8.0
# How often a page that waits looks again, by how long it has waited.
_REFRESH = ((timedelta(minutes=3), 5), (timedelta(minutes=20), 20))


class Pages:
    """The pages below /pay."""

    def __init__(self, database: Database, redis: Redis, settings: Settings, till: Checkout) -> None:
        self._database = database
        self._redis = redis
        self._settings = settings
        self._till = till
        schemes = "https:" if settings.origin.startswith("https:") else "https: http:"
        # Browsers hold the redirect that follows on a form to its policy: it leads to the gateway's page.
        self._policy = (
            "default-src 'none'; style-src {style}; img-src data:; base-uri 'none'; "
            f"form-action 'self' {schemes}; frame-ancestors 'none'"
        )
        self._headers = {
            "Cache-Control": "no-store",
            "Content-Security-Policy": self._policy.format(style="'none'"),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "X-Robots-Tag": "noindex, nofollow",
        }

    async def show(self, request: Request) -> Response:
        """What is owed, or that it is paid."""
        seen = await self._seen(request)
        if seen is None:
            return await self._gone(request)
        if visits.by_person(request.method, request.headers) and await visits.first_look(
            self._redis, seen.link.id.hex, address_of(request), request.headers.get("user-agent", "")
        ):
            await self._database.run(seen.tenant.id, lambda session: payment_links.opened(session, seen.link.id))
        return await self._pay_page(seen)

    async def pay(self, request: Request) -> Response:
        """Begin an attempt, and lead to where it goes on."""
        seen = await self._seen(request)
        form = await form_of(request)
        if seen is None or form is None:
            return await self._gone(request)
        key = self._form_key(seen, form)
        gateway = None if key is None else await self._chosen(seen, form.get("gateway", ""))
        if key is None or gateway is None:
            return await self._pay_page(seen, "old_form", 400)
        mobile = None
        if form.get("mobile", "").strip():
            try:
                mobile = values.phone(form["mobile"], seen.tenant.country)
            except values.Unfit:
                return await self._pay_page(seen, "bad_mobile", 400)
        attempt = await self._begin(seen, gateway, key)
        if attempt is None:
            return await self._pay_page(seen, "too_often", 429)
        if isinstance(attempt, Seen):
            return await self._pay_page(attempt)
        attempt = await self._started(request, attempt, mobile)
        if attempt.state is GatewayPaymentState.FAILED:
            return await self._pay_page(seen, "failed", 502)
        if attempt.redirect_url and attempt.state in OPEN:
            return RedirectResponse(attempt.redirect_url, 303, headers=self._headers)
        token = request.path_params["token"]
        return RedirectResponse(f"{token}/return/{attempt.reference}", 303, headers=self._headers)

    async def back(self, request: Request) -> Response:
        """How an attempt stands: asked of the gateway while somebody waits for it."""
        found = await self._attempt(request)
        if found is None:
            return await self._gone(request)
        seen, attempt = found
        tenant_id, key = seen.tenant.id, attempt.id
        if attempt.state in OPEN and request.method != "HEAD":
            may = await self._database.run(tenant_id, lambda session: paying.claim_check(session, key, _ASK_EVERY))
            if may:
                attempt = await self._till.ask(tenant_id, key, most=_ASK_SECONDS)
        return await self._progress_page(seen, attempt, request.path_params["token"])

    async def tell(self, request: Request) -> Response:
        """What a payer says of a transfer; or a gateway that leads back by a form, which is shown the same page."""
        found = await self._attempt(request)
        form = await form_of(request)
        if found is None or form is None:
            return await self._gone(request)
        seen, attempt = found
        if "note" not in form or self._form_key(seen, form) is None:
            return RedirectResponse(attempt.reference, 303, headers=self._headers)
        try:
            note = values.text(form["note"], 200)
        except values.Unfit:
            return await self._progress_page(seen, attempt, request.path_params["token"], "bad_note", 400)
        await self._database.run(seen.tenant.id, lambda session: paying.said_paid(session, attempt.id, note))
        return RedirectResponse(attempt.reference, 303, headers=self._headers)

    # -- parts

    async def _found(self, request: Request) -> Seen | None:
        """The link of a request whatever its state, unless too much was guessed from there."""
        token = request.path_params["token"]
        if await visits.guesses_too_much(self._redis, _GUESSES, address_of(request)):
            return None
        async with self._database.read(None) as session:
            tenant_id = await payment_links.tenant_of(session, token)
        if tenant_id is None:
            return None
        async with self._database.read(tenant_id) as session:
            return await payment_links.find(session, token)

    async def _seen(self, request: Request) -> Seen | None:
        seen = await self._found(request)
        there = (PaymentLinkStatus.ACTIVE, PaymentLinkStatus.PAID)
        if seen is None or seen.status not in there or seen.link.cancelled_at is not None:
            return None
        return seen if seen.link.expires_at > clock.now() else None

    async def _attempt(self, request: Request) -> tuple[Seen, GatewayPayment] | None:
        """An attempt of a link, which may be over by now: who has begun to pay sees how it ends."""
        seen = await self._found(request)
        if seen is None:
            return None
        async with self._database.read(seen.tenant.id) as session:
            attempt = await paying.find(session, seen.link.id, request.path_params["reference"])
        return None if attempt is None else (seen, attempt)

    async def _chosen(self, seen: Seen, gateway: str) -> Gateway | None:
        async with self._database.read(seen.tenant.id) as session:
            offered = await payment_links.offered(session, seen.tenant, seen.link.gateway_ids)
        return next((row for row in offered if row.id.hex == gateway), None)

    async def _begin(self, seen: Seen, gateway: Gateway, key: str) -> GatewayPayment | Seen | None:
        """An attempt over what is due now; how the link stands where nothing is; None after too many."""
        token_hash = seen.link.token_hash
        async with self._database.transaction(seen.tenant.id) as session:
            now = await payment_links.found_by(session, token_hash, lock=True)
            if now is None or now.due_minor <= 0 or now.status is not PaymentLinkStatus.ACTIVE:
                return seen if now is None else now
            before = await paying.of_form(session, now.link.id, key)
            if before is not None:
                return before
            if await paying.recent(session, now.link.id, _WITHIN) >= _ATTEMPTS:
                return None
            return await paying.begin(
                session,
                gateway=gateway,
                customer_id=now.customer.id,
                amount_minor=rules.askable_minor(gateway.provider, now.due_minor, now.tenant.currency),
                currency=now.tenant.currency,
                link_id=now.link.id,
                invoice_id=now.link.invoice_id,
                form_key=key,
            )

    async def _started(self, request: Request, attempt: GatewayPayment, mobile: str | None) -> GatewayPayment:
        if attempt.state is not GatewayPaymentState.STARTED:
            return attempt
        here = payment_links.address(self._settings.origin, request.path_params["token"])
        back = f"{here}/return/{attempt.reference}"
        return await self._till.start(attempt.tenant_id, attempt.id, back_url=back, cancel_url=back, mobile=mobile)

    async def _pay_page(self, seen: Seen, problem: str | None = None, status: int = 200) -> Response:
        async with self._database.read(seen.tenant.id) as session:
            paid = None
            if seen.status is PaymentLinkStatus.PAID:
                paid = await payment_page.last_paid(session, seen.link.id)
            bill = await payment_page.bill(session, seen)
            offered = await payment_links.offered(session, seen.tenant, seen.link.gateway_ids)
        if paid is not None:
            return await self._progress_page(seen, paid, "")
        if seen.due_minor <= 0 or seen.status is not PaymentLinkStatus.ACTIVE:
            return self._html(markup.nothing_page(bill))
        page = markup.pay_page(bill, payment_page.choices(offered), self._form_token(seen), problem)
        return self._html(page, status)

    async def _progress_page(
        self, seen: Seen, attempt: GatewayPayment, token: str, problem: str | None = None, status: int = 200
    ) -> Response:
        """`token` is that of the page's own address; empty where it stands in place of the link's page."""
        async with self._database.read(seen.tenant.id) as session:
            progress = await payment_page.progress(session, seen, attempt, token_key=self._settings.token_key)
        waited = clock.now() - attempt.started_at
        refresh = next((seconds for until, seconds in _REFRESH if waited < until), None)
        page = markup.progress_page(
            progress,
            self._form_token(seen),
            refresh=refresh if attempt.state in OPEN and not progress.account else None,
            back=f"../../{token}",
            receipt=f"{'../../..' if token else '..'}{progress.receipt_path}" if progress.receipt_path else None,
            problem=problem,
        )
        return self._html(page, status)

    def _form_token(self, seen: Seen) -> str:
        given, until = {"nonce": secrets.token_hex(16)}, clock.now() + _FORM_LASTS
        return links.signed(self._settings.token_key, _form_path(seen), given, until).partition("?")[2]

    def _form_key(self, seen: Seen, form: dict[str, str]) -> str | None:
        """What tells a form of ours, made for this link, from others; None for what is none."""
        try:
            return links.verified(self._settings.token_keys, _form_path(seen), form.get("form", "")).get("nonce")
        except (links.BadLink, links.LinkExpired):
            return None

    def _html(self, page: markup.Page, status: int = 200) -> Response:
        policy = self._policy.format(style=f"'sha256-{page.style_hash}'")
        return HTMLResponse(page.html, status, headers=self._headers | {"Content-Security-Policy": policy})

    async def _gone(self, request: Request) -> Response:
        await visits.guessed(self._redis, _GUESSES, address_of(request))
        return self._html(markup.gone_page(), 404)


def routes(database: Database, redis: Redis, settings: Settings, till: Checkout) -> list[Route]:
    """The routes below /pay."""
    pages = Pages(database, redis, settings, till)
    return [
        Route("/pay/{token}", pages.show, methods=["GET"]),
        Route("/pay/{token}", pages.pay, methods=["POST"]),
        Route("/pay/{token}/return/{reference}", pages.back, methods=["GET"]),
        Route("/pay/{token}/return/{reference}", pages.tell, methods=["POST"]),
    ]


def _form_path(seen: Seen) -> str:
    return f"/pay/{seen.link.id.hex}"
