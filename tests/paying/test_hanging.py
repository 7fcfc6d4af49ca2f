"""Gateways that hang, fail, or are silent after they were paid, as a payer meets them: the page answers, nothing is
lost, nothing doubled, and the janitor settles it.

The deadlines are short where something hangs. Should a machine be so slow that it comes before the gateway has heard of
anything, all that is asserted holds as well.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import httpx
import pytest

from ispgraph import clock, invariants
from ispgraph.adapters.payments.bkash_double import BKashDouble
from ispgraph.adapters.payments.doubles import Double, Fault, serve
from ispgraph.db import Database
from ispgraph.domain.models import GatewayPaymentState, InvoiceStatus
from ispgraph.settings import Settings
from tests.api import Api
from tests.paying.counter import Counter, account, counter
from tests.paying.test_gateways import BKASH, east

S = GatewayPaymentState
WAITING = "Waiting for your payment"


@contextmanager
def failing(at: Counter, double: Double, operation: str, fault: Fault) -> Iterator[None]:
    """What the next request meets there."""
    patient = at.settings.gateway_seconds
    object.__setattr__(at.settings, "gateway_seconds", 0.7 if fault in (Fault.HANG, Fault.HANG_AFTER) else patient)
    double.fail(operation, fault)
    yield
    double.heal()
    object.__setattr__(at.settings, "gateway_seconds", patient)


async def waiting(at: Counter, answer: httpx.Response) -> str:
    """The page to which an answer leads says that it waits; where it is."""
    assert answer.status_code == 303, answer.text
    there = str(answer.url.join(answer.headers["location"]))
    assert there.startswith(at.home)
    page = await at.browser.get(there)
    assert (page.status_code, WAITING in page.text) == (200, True)
    return there


@pytest.mark.long
async def test_a_card_gateway_that_hangs(counter: Counter, owner: Database, moved_clock: None) -> None:
    at = counter
    invoice = await at.till.bill(at.customer.id, 10_000)
    path = await at.path()
    at.double.hold = True
    for fault in (Fault.HANG, Fault.HANG_AFTER):
        with failing(at, at.double, "create", fault):
            await waiting(at, await at.begin(path))
    assert [attempt.state for attempt in await at.attempts()] == [S.IN_DOUBT] * 2
    # The payer chooses again, and pays; nobody tells of it, and who is asked does not answer.
    session = await at.session(path)
    await at.double.pay(session)
    (*_, attempt) = await at.attempts()
    there = f"{path}/return/{attempt.reference}"
    for number, fault in enumerate((Fault.HANG, Fault.ERROR, Fault.RESET), start=1):
        with failing(at, at.double, "retrieve", fault):
            page = await at.browser.get(there)
        assert (page.status_code, WAITING in page.text) == (200, True)
        clock.set_clock(f"+{number * 5}")
    assert await at.payments() == []
    clock.set_clock(f"+{timedelta(hours=1).total_seconds()}")
    assert await at.janitor() == 3
    assert "Paid. Thank you!" in (await at.browser.get(there)).text
    assert [each.state for each in await at.attempts()] == [S.IN_DOUBT, S.IN_DOUBT, S.PAID]
    clock.set_clock(f"+{timedelta(days=5).total_seconds()}")
    await at.janitor()
    assert [each.state for each in await at.attempts()] == [S.EXPIRED, S.EXPIRED, S.PAID]
    assert [payment.amount_minor for payment in await at.payments()] == [10_000]
    assert (await at.again(invoice)).status is InvoiceStatus.PAID
    assert [found.rule.name for found in await invariants.check(owner) if found.broken] == []


@pytest.mark.long
@pytest.mark.parametrize("fault", [Fault.HANG, Fault.HANG_AFTER, Fault.RESET_AFTER])
async def test_a_gateway_that_is_silent_when_money_moves(
    api: Api, settings: Settings, owner: Database, database: Database, moved_clock: None, fault: Fault
) -> None:
    double = BKashDouble(**BKASH)
    async with counter(api, await east(owner, database, "BDT"), settings) as at, serve(double.app) as theirs:
        gateway = await account(at.house, "bkash", {**BKASH, "base_url": theirs}, "bKash")
        invoice = await at.till.bill(at.customer.id, 10_000)
        began = await at.begin(await at.path(), gateway)
        async with httpx.AsyncClient(trust_env=False, headers=at.browser.headers, timeout=30) as payer:
            with failing(at, double, "execute", fault):
                # The payer confirms there, comes back, and the money moves only when we ask for it.
                there = await payer.post(began.headers["location"], data={"choice": "pay"})
                back = await payer.get(there.headers["location"])
            assert (back.status_code, WAITING in back.text) == (200, True)
            assert await at.payments() == []
            clock.set_clock(f"+{timedelta(minutes=10).total_seconds()}")
            assert await at.janitor() == 1
            assert "Paid. Thank you!" in (await payer.get(there.headers["location"])).text
        clock.set_clock(f"+{timedelta(days=1).total_seconds()}")
        assert await at.janitor() == 0
        (payment,) = await at.payments()
        (deal,) = double.deals.values()
        assert (payment.reference, payment.amount_minor) == (deal.trx_id, 10_000)
        assert (await at.again(invoice)).status is InvoiceStatus.PAID
        assert [found.rule.name for found in await invariants.check(owner) if found.broken] == []
