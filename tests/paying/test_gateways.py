"""The same page with the other gateways, each a server of its own: by redirect, by a form that comes back, by phone."""

import json
import re
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import update

from ispgraph.adapters.payments.bkash_double import BKashDouble
from ispgraph.adapters.payments.doubles import Double, Fault, serve
from ispgraph.adapters.payments.mpesa_double import MPesaDouble
from ispgraph.adapters.payments.paystack_double import PaystackDouble
from ispgraph.adapters.payments.sslcommerz_double import SSLCommerzDouble
from ispgraph.db import Database
from ispgraph.domain.models import Customer, GatewayPaymentState, PaymentMethod
from ispgraph.settings import Settings
from tests import factories
from tests.api import Api
from tests.billing.conftest import Till
from tests.paying.counter import account, counter

S = GatewayPaymentState
BKASH = {"app_key": "app", "app_secret": "app-secret", "username": "shop", "password": "password-of-shop"}
MPESA = {"consumer_key": "key", "consumer_secret": "secret", "shortcode": "600123", "passkey": "passkey-of-shop"}


async def east(owner: Database, database: Database, currency: str) -> Till:
    """A tenant with another currency."""
    house = await factories.house(owner, database, "east", currency=currency)
    return Till(house, await house.viewer())


@pytest.mark.long
@pytest.mark.parametrize(
    ("provider", "currency", "hidden", "double", "method"),
    [
        ("bkash", "BDT", BKASH, lambda: BKashDouble(**BKASH), PaymentMethod.MOBILE_MONEY),
        (
            "sslcommerz",
            "BDT",
            {"store_id": "s1", "store_passwd": "s1@ssl"},
            lambda: SSLCommerzDouble(store_id="s1", password="s1@ssl"),
            PaymentMethod.ONLINE,
        ),
        (
            "paystack",
            "NGN",
            {"secret_key": "sk_test_1"},
            lambda: PaystackDouble(secret="sk_test_1"),
            PaymentMethod.ONLINE,
        ),
    ],
)
async def test_there_and_back(
    api: Api,
    settings: Settings,
    owner: Database,
    database: Database,
    provider: str,
    currency: str,
    hidden: dict[str, str],
    double: Callable[[], Double],
    method: PaymentMethod,
) -> None:
    made = double()
    async with counter(api, await east(owner, database, currency), settings) as at, serve(made.app) as theirs:
        gateway = await account(at.house, provider, {**hidden, "base_url": theirs}, "Other")
        async with at.house.database.transaction(at.house.tenant.id) as session:
            await session.execute(update(Customer).values(email="ann@example.net"))
        await at.till.bill(at.customer.id, 10_050)
        path = await at.path(gateways=["Other"])
        began = await at.begin(path, gateway)
        assert began.status_code == 303, began.text
        async with httpx.AsyncClient(trust_env=False, follow_redirects=True, headers=at.browser.headers) as payer:
            shown = await payer.get(began.headers["location"])
            assert shown.status_code == 200
            back = await payer.post(shown.url, data={"choice": "pay"})
            if provider == "sslcommerz":
                # It leads back by a form that sends itself, from its own site.
                back = await payer.post(re.findall(r'action="([^"]+)"', back.text)[0], data={"status": "VALID"})
        assert "Paid. Thank you!" in back.text
        await at.work()
        (payment,) = await at.payments()
        assert (payment.amount_minor, payment.method) == (10_050, method)
        assert {delivery.status for delivery in made.deliveries} <= {200}
        assert [attempt.state for attempt in await at.attempts()] == [S.PAID]


async def test_a_phone_that_was_asked(api: Api, settings: Settings, owner: Database, database: Database) -> None:
    double = MPesaDouble(key="key", secret="secret", shortcode="600123", passkey="passkey-of-shop")
    async with counter(api, await east(owner, database, "KES"), settings) as at, serve(double.app) as theirs:
        gateway = await account(at.house, "mpesa", {**MPESA, "base_url": theirs}, "M-Pesa")
        await at.till.bill(at.customer.id, 10_050)
        path = await at.path(gateways=["mpesa"])
        wrong = await at.begin(path, gateway, mobile="12")
        assert (wrong.status_code, "not a mobile number" in wrong.text) == (400, True)
        began = await at.begin(path, gateway, mobile="+254712345678")
        assert began.status_code == 303
        there = began.url.join(began.headers["location"])
        waiting = await at.browser.get(there)
        assert "Confirm the payment on your phone" in waiting.text
        assert '<meta http-equiv="refresh"' in waiting.text
        asked = json.loads(double.asked("push")[0].body)
        # Whole shillings alone can be asked for.
        assert (asked["Amount"], asked["PhoneNumber"]) == (101, "254712345678")
        assert urlsplit(asked["CallBackURL"]).path.startswith(f"/callbacks/{at.house.tenant.id.hex}/{gateway.id.hex}/")
        (request,) = double.prompts
        await double.answer(request)
        assert {delivery.status for delivery in double.deliveries} == {200}
        assert await at.work() == 1
        (payment,) = await at.payments()
        assert (payment.amount_minor, payment.method) == (10_100, PaymentMethod.MOBILE_MONEY)
        # What the payer has on the phone, which the gateway told in its report alone.
        assert payment.reference == double.prompts[request].receipt
        assert "Paid. Thank you!" in (await at.browser.get(there)).text


async def test_a_phone_that_was_asked_although_nobody_told_us(
    api: Api, settings: Settings, owner: Database, database: Database
) -> None:
    double = MPesaDouble(key="key", secret="secret", shortcode="600123", passkey="passkey-of-shop")
    async with counter(api, await east(owner, database, "KES"), settings) as at, serve(double.app) as theirs:
        gateway = await account(at.house, "mpesa", {**MPESA, "base_url": theirs}, "M-Pesa")
        await at.till.bill(at.customer.id, 10_000)
        double.fail("push", Fault.RESET_AFTER)
        began = await at.begin(await at.path(), gateway, mobile="+254712345678")
        assert began.status_code == 303
        assert [attempt.state for attempt in await at.attempts()] == [S.IN_DOUBT]
        # The payer has paid: the report brings the name by which the gateway can be asked.
        (request,) = double.prompts
        await double.answer(request)
        assert await at.work() == 1
        assert [attempt.state for attempt in await at.attempts()] == [S.PAID]
        assert len(await at.payments()) == 1
