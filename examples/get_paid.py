"""Getting paid: a link by SMS and e-mail, a page on the phone, three gateways, and every way in which they misbehave.

    ispgraph up --demo               in one terminal
    python examples/get_paid.py      in another        (--up names an up.json elsewhere, --screenshots a directory)

Three customers of the demo who are on line are billed. The first is suspended for it, and pays with Stripe: the link
comes by SMS and by e-mail, a program that looks at it first does not count as opening it, the page is opened in a
browser as narrow as a phone, and the browser is lost on the way back. Reports of the payment are forged, old, of
another amount, come three times and in the wrong order: the invoice is paid once, the service is on again, and the
device is on line. The second pays with SSLCommerz, which reports three times before the payer is back. The third pays
with bKash, which loses its answer after the money has moved. Last the links are tried by somebody who has no right to.

The gateways, the message centre and the mail server are doubles that run inside of this program: real servers, on this
machine alone. It needs what `tests/requirements.lock` names, and Debian's chromium. It exits with 0 only if everything
came out as expected.
"""

import asyncio
import re
import secrets
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import httpx
from aiosmtpd.controller import Controller
from demo import Isp, Network, expect, run
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from ispgraph.adapters.payments.bkash_double import BKashDouble
from ispgraph.adapters.payments.doubles import Fault
from ispgraph.adapters.payments.doubles import serve as serve_gateway
from ispgraph.adapters.payments.sslcommerz_double import SSLCommerzDouble
from ispgraph.adapters.payments.stripe_double import StripeDouble
from ispgraph.adapters.sms.double import serve as serve_sms
from ispgraph.adapters.sms.http_double import HttpDouble

PATIENCE = 90.0
PHONE: ViewportSize = {"width": 390, "height": 844}
BOT = {"User-Agent": "WhatsApp/2.23.20.0"}

SAVE = """mutation Save($input: GatewayInput!) { gatewaySave(input: $input) {
  gateway { id callbackUrl } errors { message field } } }"""
KNOWN = "query Known($kind: GatewayKind!) { gateways(kind: $kind, first: 50) { nodes { id name active } } }"
FIND = "query Find($by: CustomerBy!) { customer(by: $by) { id name email mobile service { status } } }"
BILL = """mutation Bill($input: GenerateBillInput!) { customerGenerateBill(input: $input) {
  invoice { id number total { amount } amountDue { amount } } errors { message field } } }"""
SUSPEND = """mutation Suspend($input: SuspendInput!) { customerSuspend(input: $input) {
  jobs { id } errors { message field } } }"""
SEND = """mutation Send($input: SendPaymentLinkInput!) { customerSendPaymentLink(input: $input) {
  link { id url status gateways amount { amount } } messages { id channel } errors { message field } } }"""
LINK = """query Link($id: ID!) { node(id: $id) { ... on PaymentLink { status openCount amount { amount } } } }"""
INVOICE = """query Invoice($id: ID!) { node(id: $id) { ... on Invoice {
  status amountDue { amount } total { amount } } } }"""
CUSTOMER = """query Customer($id: ID!) { node(id: $id) { ... on Customer { service { status }
  wallet { amount } payments(first: 20) { nodes { id method reference amount { amount } } }
  gatewayPayments(first: 20) { nodes { state gateway receipt received { amount } } }
  messages(first: 10) { nodes { id channel status } }
  jobs(first: 5) { nodes { id kind status } } } } }"""


@dataclass
class Mailbox:
    """What came for whom."""

    letters: list[tuple[str, str]] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """As aiosmtpd calls it."""
        read = message_from_bytes(envelope.content, policy=policy.default)
        part = read.get_body(preferencelist=("plain",))
        self.letters.append((envelope.rcpt_tos[0], part.get_content() if part else ""))
        return "250 taken"


@dataclass
class World:
    """The API, and everybody outside of it."""

    isp: Isp
    network: Network
    browser: Browser
    screenshots: Path | None
    sms: HttpDouble = field(default_factory=HttpDouble)
    mail: Mailbox = field(default_factory=Mailbox)
    stripe: StripeDouble = field(default_factory=StripeDouble)
    sslcommerz: SSLCommerzDouble = field(default_factory=SSLCommerzDouble)
    bkash: BKashDouble = field(default_factory=BKashDouble)
    callbacks: dict[str, str] = field(default_factory=dict)

    @asynccontextmanager
    async def phone(self) -> AsyncIterator[Page]:
        """A browser as narrow as a phone, without JavaScript."""
        context = await self.browser.new_context(viewport=PHONE, java_script_enabled=False, is_mobile=True)
        try:
            yield await context.new_page()
        finally:
            await context.close()

    async def picture(self, page: Page, name: str) -> None:
        """Keep how a page looks, if somebody wants to see it."""
        if self.screenshots is not None:
            self.screenshots.mkdir(parents=True, exist_ok=True)
            await page.screenshot(path=self.screenshots / f"{name}.png", full_page=True)

    async def mutate(self, document: str, **given: Any) -> dict[str, Any]:
        """A mutation that must not be refused: its payload."""
        (payload,) = (await self.isp.ask(document, input=given)).values()
        if payload["errors"]:
            raise SystemExit(f"unexpected: {payload['errors']}")
        found: dict[str, Any] = payload
        return found

    async def node(self, document: str, key: str) -> dict[str, Any]:
        """One object."""
        found: dict[str, Any] = (await self.isp.ask(document, id=key))["node"]
        return found

    async def paid(self, customer: str, invoice: dict[str, Any], gateway: str) -> None:
        """Say whether an invoice was paid, exactly once, with a gateway."""

        async def settled() -> bool:
            return bool((await self.node(INVOICE, invoice["id"]))["status"] == "PAID")

        expect(await eventually(settled), f"{invoice['number']} is paid")
        state = await self.node(CUSTOMER, customer)
        came = [
            row for row in state["gatewayPayments"]["nodes"] if row["gateway"] == gateway and row["state"] == "PAID"
        ]
        receipts = {row["receipt"] for row in came}
        booked = [row for row in state["payments"]["nodes"] if row["reference"] in receipts]
        amounts = [row["amount"]["amount"] for row in booked[:1]]
        expect(len(booked) == len(receipts) and amounts == [invoice["amountDue"]["amount"]], "once, by what was due")


async def eventually(true: Callable[[], Awaitable[bool]]) -> bool:
    """Whether something becomes true in time."""
    for _ in range(int(PATIENCE / 0.5)):
        if await true():
            return True
        await asyncio.sleep(0.5)
    return False


async def gateway(world: World, kind: str, provider: str, name: str, **settings: str) -> str:
    """An account of the demo with a double, a new one or the one of the last time; where it reports to."""
    known = (await world.isp.ask(KNOWN, kind=kind))["gateways"]["nodes"]
    former = next((row["id"] for row in known if row["name"] == name), None)
    values = [{"name": key, "value": value} for key, value in settings.items()]
    given: dict[str, Any] = {"settings": values, "active": True, "position": 0}
    given |= {"id": former} if former else {"kind": kind, "provider": provider, "name": name}
    saved = await world.mutate(SAVE, **given)
    return str(saved["gateway"]["callbackUrl"])


async def billed(world: World, customer: str, amount: str) -> dict[str, Any]:
    """An invoice, of which so much is left to pay when the wallet has paid what it can."""
    held = Decimal((await world.node(CUSTOMER, customer))["wallet"]["amount"])
    given = {"customerId": customer, "amount": str(held + Decimal(amount)), "description": "Fictional equipment"}
    found: dict[str, Any] = (await world.mutate(BILL, **given))["invoice"]
    return found


async def link(world: World, customer: dict[str, Any], invoice: dict[str, Any]) -> dict[str, Any]:
    """A link that came by SMS, and by e-mail to whoever has an address."""
    channels = ["SMS", "EMAIL"] if customer["email"] else ["SMS"]
    given = {"customerId": customer["id"], "invoiceId": invoice["id"], "channels": channels}
    made: dict[str, Any] = (await world.mutate(SEND, **given))["link"]

    async def came() -> bool:
        by_sms = any(made["url"] in each.body for each in world.sms.taken)
        by_mail = any(made["url"] in text for _, text in world.mail.letters)
        return by_sms and (by_mail or not customer["email"])

    expect(await eventually(came), f"{customer['name']} has the link by {' and '.join(channels)}")
    return made


async def begun(world: World, page: Page, url: str, name: str) -> None:
    """Open a link, and go on to a gateway."""
    await page.goto(url)
    await world.picture(page, f"{name}-1-owed")
    await page.get_by_role("button", name=re.compile(name)).click()
    await world.picture(page, f"{name}-2-gateway")


async def receipt(world: World, page: Page, name: str) -> None:
    """Say whether a page shows that it is paid."""
    for _ in range(40):
        if await page.get_by_role("heading", name=re.compile("paid|thank", re.I)).count():
            break
        await asyncio.sleep(0.5)
        await page.reload()
    heading = (await page.locator("h1").first.inner_text()).strip()
    expect(await page.get_by_role("link", name=re.compile("receipt", re.I)).count() == 1, f"the page says: {heading}")
    await world.picture(page, f"{name}-3-receipt")


async def by_stripe(world: World, username: str) -> None:
    """Suspended, and on line again."""
    print(f"\n{username} is suspended, and pays with Stripe")
    customer = (await world.isp.ask(FIND, by={"username": username}))["customer"]
    invoice = await billed(world, customer["id"], "1250.00")
    await world.mutate(SUSPEND, customerId=customer["id"], reason="NON_PAYMENT")

    async def off() -> bool:
        device = await world.network.get(f"/subscribers/{username}")
        return bool(device["state"] != "online" or device["address_lists"])

    expect(await eventually(off), "off line")
    made = await link(world, customer, invoice)
    async with httpx.AsyncClient(trust_env=False) as bot:
        expect((await bot.get(made["url"], headers=BOT)).status_code == 200, "a program looks at the link first")
    expect((await world.node(LINK, made["id"]))["openCount"] == 0, "which does not count")
    world.stripe.hold = True
    async with world.phone() as page:
        await begun(world, page, made["url"], "Stripe")
        expect((await world.node(LINK, made["id"]))["openCount"] == 1, "opened once, by a person")
        session = next(reversed(world.stripe.sessions))
        seen = len(world.stripe.reports)
        await world.stripe.pay(session)
        early, late = world.stripe.reports[seen:]
        forged = await world.stripe.send(late, secret="whsec_somebody_else")
        old = await world.stripe.send(late, aged=3600)
        expect([each.status for each in forged + old] == [400, 400], "a forged report and an old one are not accepted")
        expect((await world.node(INVOICE, invoice["id"]))["status"] == "OPEN", "and change nothing")
        wrong = await world.stripe.send(late, amount="100")
        expect(wrong[0].status == 200, "one of another amount is looked into")
        for report in (late, early, late, late):
            await world.stripe.send(report)
        await world.paid(customer["id"], invoice, "Stripe")
        await page.goto(made["url"])
        await receipt(world, page, "Stripe")
    world.stripe.hold = False

    async def on() -> bool:
        state = await world.node(CUSTOMER, customer["id"])
        job = next(iter(state["jobs"]["nodes"]), None)
        done = job is not None and job["status"] == "SUCCEEDED"
        return state["service"]["status"] == "ACTIVE" and done

    expect(await eventually(on), "the service is active, and the router's job is done")

    async def back() -> bool:
        device = await world.network.get(f"/subscribers/{username}")
        return bool(device["state"] == "online" and not device["address_lists"])

    await world.network.tell(f"/subscribers/{username}/dial")
    expect(await eventually(back), "the device is on line")


async def by_sslcommerz(world: World, username: str) -> None:
    """The report comes before the payer does."""
    print(f"\n{username} pays with SSLCommerz")
    customer = (await world.isp.ask(FIND, by={"username": username}))["customer"]
    invoice = await billed(world, customer["id"], "480.50")
    made = await link(world, customer, invoice)
    world.sslcommerz.times = 3
    async with world.phone() as page:
        await begun(world, page, made["url"], "SSLCommerz")
        await page.get_by_role("button", name=re.compile("^Pay")).first.click()
        await world.paid(customer["id"], invoice, "SSLCommerz")
        await page.get_by_role("button", name="Back to the shop").click()
        await receipt(world, page, "SSLCommerz")
    answers = {each.status for each in world.sslcommerz.deliveries[-3:]}
    expect(answers == {200}, "it was reported three times, and taken once")


async def by_bkash(world: World, username: str) -> None:
    """The answer is lost after the money has moved."""
    print(f"\n{username} pays with bKash, whose answer is lost")
    customer = (await world.isp.ask(FIND, by={"username": username}))["customer"]
    invoice = await billed(world, customer["id"], "99.00")
    made = await link(world, customer, invoice)
    world.bkash.fail("execute", Fault.RESET_AFTER)
    async with world.phone() as page:
        await begun(world, page, made["url"], "bKash")
        await page.get_by_role("button", name=re.compile("^(Pay|Confirm)")).first.click()
        await receipt(world, page, "bKash")
    await world.paid(customer["id"], invoice, "bKash")


async def without_right(world: World, made: dict[str, Any]) -> None:
    """What guessers learn."""
    print("\nSomebody guesses")
    async with httpx.AsyncClient(trust_env=False) as guesser:
        home, token = made["url"].rsplit("/", 1)
        answers = [await guesser.get(f"{home}/{guess}") for guess in (secrets.token_urlsafe(32), token[:-1], "x")]
        expect({each.status_code for each in answers} == {404}, "no such page")
        expect(len({each.text for each in answers}) == 1, "and every answer is the same")
        forged = await guesser.post(world.callbacks["Stripe"], content=b'{"id": "evt_1"}')
        elsewhere = world.callbacks["Stripe"].rsplit("/", 1)[0] + "/" + secrets.token_hex(16)
        unknown = await guesser.post(elsewhere, content=b'{"id": "evt_1"}')
        same = (forged.status_code, forged.content) == (unknown.status_code, unknown.content)
        expect(forged.status_code == 400 and same, "a report without a signature is answered as one to nobody")


async def served(world: World, stack: AsyncExitStack) -> None:
    """Start the doubles, and tell the product of them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mail = Controller(world.mail, hostname="127.0.0.1", port=port)
    mail.start()
    stack.callback(mail.stop)
    sender = "Demo Fibre <billing@demo.example>"
    await gateway(world, "EMAIL", "smtp", "Mail", host="127.0.0.1", port=str(port), security="none", sender=sender)
    sms = await stack.enter_async_context(serve_sms(world.sms))
    await gateway(
        world,
        "SMS",
        "http",
        "Message centre",
        url=f"{sms}/sms/send",
        template="api_key={token}&msisdn={number}&message={body}&ref={reference}&callback={report_url}",
        token=world.sms.api_key,
        success_rule="json",
        success_path="status",
        success_value="success",
        reference_path="data.message_id",
        error_path="message",
    )
    stripe, sslcommerz, bkash = world.stripe, world.sslcommerz, world.bkash
    accounts = {
        "Stripe": {"secret_key": stripe.key, "webhook_secret": stripe.signing[0]},
        "SSLCommerz": {"store_id": sslcommerz.store_id, "store_passwd": sslcommerz.password},
        "bKash": {
            "app_key": bkash.app_key,
            "app_secret": bkash.app_secret,
            "username": bkash.username,
            "password": bkash.password,
        },
    }
    for name, double in (("Stripe", stripe), ("SSLCommerz", sslcommerz), ("bKash", bkash)):
        url = await stack.enter_async_context(serve_gateway(double.app))
        slug = name.lower()
        world.callbacks[name] = await gateway(world, "PAYMENT", slug, name, base_url=url, **accounts[name])
    stripe.endpoints = [world.callbacks["Stripe"]]


async def tour(up: dict[str, Any]) -> None:
    """All of it."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("this needs Debian's chromium")
    async with AsyncExitStack() as stack:
        isp, network = Isp(up), Network(up["lab"]["control"])
        await isp.sign_in()
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        stack.push_async_callback(browser.close)
        world = World(isp, network, browser, up["screenshots"])
        await served(world, stack)
        names = [one["name"] for one in await network.on_line()][:3]
        await by_stripe(world, names[0])
        await by_sslcommerz(world, names[1])
        await by_bkash(world, names[2])
        customer = (await isp.ask(FIND, by={"username": names[2]}))["customer"]
        await without_right(world, await link(world, customer, await billed(world, customer["id"], "10.00")))


if __name__ == "__main__":
    sys.exit(run(tour, __doc__ or "", "screenshots"))
