"""A house with accounts at gateways, served over HTTP as payers and gateways meet it."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from sqlalchemy import select

from ispgraph import ids, scheduler
from ispgraph.actors.registry import ACTIONS
from ispgraph.actors.run import Runner
from ispgraph.adapters.payments.doubles import serve
from ispgraph.adapters.payments.stripe_double import StripeDouble
from ispgraph.domain import gateways, jobs
from ispgraph.domain.models import (
    Customer,
    Gateway,
    GatewayEvent,
    GatewayKind,
    GatewayPayment,
    Invoice,
    Job,
    JobStatus,
    Payment,
    PaymentLink,
)
from ispgraph.settings import Settings
from tests.api import Api
from tests.billing.conftest import Till
from tests.factories import NETWORK_KEY, House

PHONE = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Mobile"
SEND = """mutation ($input: SendPaymentLinkInput!) { customerSendPaymentLink(input: $input) {
  link { id url amount { amount currency } invoice { number } status expiresAt openCount lastOpenedAt gateways }
  messages { channel to body status } errors { code message field } } }"""


async def account(house: House, provider: str, hidden: dict[str, str], name: str, **more: Any) -> Gateway:
    """An account of the house."""
    key = ids.uuid7()
    sealed = gateways.sealed(NETWORK_KEY, house.tenant.id, key, hidden)
    row = Gateway(id=key, kind=GatewayKind.PAYMENT, provider=provider, name=name, secrets=sealed, **more)
    await house.add(row)
    return row


@dataclass
class Counter:
    """One customer with bills, an account at Stripe's double, and the product in between, over HTTP."""

    api: Api
    till: Till
    settings: Settings
    double: StripeDouble
    stripe: Gateway
    customer: Customer
    home: str
    browser: httpx.AsyncClient

    @property
    def house(self) -> House:
        return self.till.house

    async def link(self, **given: Any) -> dict[str, Any]:
        """A link in the graph."""
        wish = {"customerId": ids.encode("cus", self.customer.id), "channels": [], **given}
        payload = (await self.api.data(SEND, self.house.admin, input=wish))["customerSendPaymentLink"]
        assert payload["errors"] == [], payload
        found: dict[str, Any] = payload["link"]
        return found

    async def path(self, **given: Any) -> str:
        """The path of a new link."""
        return urlsplit((await self.link(**given))["url"]).path

    async def begin(self, path: str, gateway: Gateway | None = None, **more: str) -> httpx.Response:
        """Open the page and choose a gateway: where that leads."""
        page = await self.browser.get(path)
        assert page.status_code == 200, page.text
        return await self.browser.post(path, data=fields(page.text, gateway or self.stripe) | more)

    async def session(self, path: str) -> str:
        """The same, with Stripe; the id of its session."""
        answer = await self.begin(path)
        assert answer.status_code == 303, answer.text
        return urlsplit(answer.headers["location"]).path.rpartition("/")[2]

    async def attempts(self) -> list[GatewayPayment]:
        return await self.rows(select(GatewayPayment).order_by(GatewayPayment.id))

    async def payments(self) -> list[Payment]:
        return await self.rows(select(Payment).order_by(Payment.id))

    async def events(self) -> list[GatewayEvent]:
        return await self.rows(select(GatewayEvent).order_by(GatewayEvent.id))

    async def again(self, invoice: Invoice) -> Invoice:
        return (await self.till.again([invoice]))[0]

    async def opened(self) -> int:
        (link,) = await self.rows(select(PaymentLink))
        count: int = link.open_count
        return count

    async def rows(self, statement: Any) -> list[Any]:
        async with self.house.database.read(self.house.tenant.id) as session:
            return list(await session.scalars(statement))

    async def work(self) -> int:
        """Carry out the jobs that ask gateways, as a worker does; how many there were."""
        kinds = (jobs.GATEWAY_CHECK, jobs.GATEWAY_REFUND)
        waiting = select(Job).where(Job.kind.in_(kinds), Job.status == JobStatus.QUEUED)
        due = await self.rows(waiting)
        runner = Runner(self.house.database, self.settings, ACTIONS)
        for job in due:
            await runner.run_job(self.house.tenant.id.hex, job.id.hex)
        return len(due)

    async def janitor(self) -> int:
        """What the scheduler does, and then a worker; how many were asked about."""
        await scheduler.ask_gateways(self.house.database)
        return await self.work()


@asynccontextmanager
async def counter(api: Api, till: Till, settings: Settings) -> AsyncIterator[Counter]:
    """The counter of a house, with a bill of 100.00."""
    double = StripeDouble(key="sk_test_of_north", signing=["whsec_of_north"])
    async with serve(api.app) as home, serve(double.app) as theirs:
        # What the links say is where it listens.
        object.__setattr__(settings, "public_url", home)
        object.__setattr__(settings, "private_gateways", True)
        secrets = {"secret_key": double.key, "webhook_secret": double.signing[0], "base_url": theirs}
        stripe = await account(till.house, "stripe", secrets, "Card")
        double.endpoints = [f"{home}/callbacks/{till.house.tenant.id.hex}/{stripe.id.hex}"]
        async with httpx.AsyncClient(
            base_url=home, headers={"User-Agent": PHONE}, trust_env=False, timeout=30
        ) as browser:
            yield Counter(api, till, settings, double, stripe, await till.customer(), home, browser)


def fields(page: str, gateway: Gateway) -> dict[str, str]:
    """What the form of a gateway sends."""
    form = re.search(r'name="form" value="([^"]+)"', page)
    assert form is not None, page
    assert gateway.id.hex in page
    return {"form": form[1].replace("&amp;", "&"), "gateway": gateway.id.hex}
