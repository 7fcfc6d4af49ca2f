"""From the link to the receipt: over HTTP, with a gateway that is a server."""

import asyncio
from datetime import timedelta

import pytest

from ispgraph import clock
from ispgraph.adapters.payments.doubles import Fault
from ispgraph.domain.models import (
    GatewayPaymentState,
    GatewayVerdict,
    InvoiceStatus,
    PaymentMethod,
    ServiceStatus,
    SuspendReason,
)
from tests import subscribers
from tests.paying.counter import Counter, fields

S = GatewayPaymentState


async def test_a_customer_pays_and_is_on_line_again(counter: Counter) -> None:
    house = counter.house
    service = await subscribers.service(
        house,
        counter.customer,
        status=ServiceStatus.SUSPENDED,
        suspend_reason=SuspendReason.NON_PAYMENT,
        suspended_at=clock.now(),
    )
    invoice = await counter.till.bill(counter.customer.id, 10_000)
    path = await counter.path(invoiceId=f"inv_{invoice.id.hex}")
    page = await counter.browser.get(path)
    assert "100.00" in page.text.replace("\xa0", " ")
    assert invoice.number is not None
    assert invoice.number in page.text

    began = await counter.begin(path)
    assert began.status_code == 303
    there = await counter.browser.post(began.headers["location"], data={"choice": "pay"}, follow_redirects=True)

    # The report came before the payer did.
    assert "Paid. Thank you!" in there.text
    assert str(there.url).startswith(f"{counter.home}{path}/return/")
    (attempt,) = await counter.attempts()
    (payment,) = await counter.payments()
    assert (attempt.state, attempt.payment_id, attempt.received_minor) == (S.PAID, payment.id, 10_000)
    assert (payment.method, payment.reference) == (PaymentMethod.ONLINE, attempt.receipt)
    assert (await counter.again(invoice)).status is InvoiceStatus.PAID
    async with house.database.read(house.tenant.id) as session:
        assert (await session.get_one(type(service), service.id)).status is ServiceStatus.ACTIVE
    receipt = there.text.partition('href="')[2].partition('"')[0].replace("&amp;", "&")
    paper = await counter.browser.get(there.url.join(receipt))
    assert paper.content.startswith(b"%PDF")
    # The link's own page shows the same from now on.
    assert "Paid. Thank you!" in (await counter.browser.get(path)).text
    assert [event.verdict for event in await counter.events()] == [GatewayVerdict.NOTED, GatewayVerdict.APPLIED]


async def test_a_report_three_times_and_out_of_order_is_one_payment(counter: Counter) -> None:
    invoice = await counter.till.bill(counter.customer.id, 10_000)
    counter.double.hold = True
    session = await counter.session(await counter.path())
    await counter.double.pay(session)
    await counter.double.expire(session)
    intent, done, expired = counter.double.reports
    for report in (expired, done, done, intent, expired, done):
        await counter.double.send(report)
    assert {delivery.status for delivery in counter.double.deliveries} == {200}
    assert len(await counter.payments()) == 1
    assert (await counter.again(invoice)).status is InvoiceStatus.PAID
    assert [attempt.state for attempt in await counter.attempts()] == [S.PAID]
    assert len(await counter.events()) == 3


async def test_twenty_identical_reports_at_once_are_one_payment(counter: Counter) -> None:
    await counter.till.bill(counter.customer.id, 10_000)
    counter.double.hold = True
    session = await counter.session(await counter.path())
    await counter.double.pay(session)
    done = counter.double.reports[1]
    headers, body = counter.double.signed(done, aged=0, secret=None)
    sent = await asyncio.gather(*(counter.browser.post(done.url, headers=headers, content=body) for _ in range(20)))
    assert {answer.status_code for answer in sent} == {200}
    (payment,) = await counter.payments()
    assert payment.amount_minor == 10_000
    assert len(await counter.events()) == 1


async def test_a_report_of_another_amount_is_not_believed(counter: Counter) -> None:
    invoice = await counter.till.bill(counter.customer.id, 10_000)
    counter.double.hold = True
    session = await counter.session(await counter.path())
    await counter.double.pay(session)
    done = counter.double.reports[1]
    # Signed by the gateway's secret, and yet not what it says when it is asked.
    await counter.double.send(done, amount="1")
    assert await counter.payments() == []
    assert [event.verdict for event in await counter.events()] == [GatewayVerdict.ASKED]
    assert await counter.work() == 1
    (payment,) = await counter.payments()
    assert payment.amount_minor == 10_000
    assert (await counter.again(invoice)).status is InvoiceStatus.PAID


async def test_what_really_came_is_applied_whatever_was_asked_for(counter: Counter) -> None:
    invoice = await counter.till.bill(counter.customer.id, 10_000)
    session = await counter.session(await counter.path())
    await counter.double.pay(session, amount=4_000)
    assert await counter.work() == 1
    (attempt,) = await counter.attempts()
    assert (attempt.state, attempt.received_minor) == (S.PAID, 4_000)
    assert attempt.reason == "40.00 USD came, 100.00 USD was asked for."
    assert (await counter.again(invoice)).status is InvoiceStatus.PARTIALLY_PAID


async def test_money_in_another_currency_waits_for_an_operator(counter: Counter) -> None:
    await counter.till.bill(counter.customer.id, 10_000)
    session = await counter.session(await counter.path())
    counter.double.sessions[session]["currency"] = "eur"
    await counter.double.pay(session)
    await counter.work()
    (attempt,) = await counter.attempts()
    assert (attempt.state, attempt.payment_id) == (S.IN_DOUBT, None)
    assert attempt.reason == "Money came in EUR, and USD was asked for."
    assert await counter.payments() == []
    assert await counter.janitor() == 0


async def test_late_money_is_applied_all_the_same(counter: Counter, moved_clock: None) -> None:
    await counter.till.bill(counter.customer.id, 10_000)
    counter.double.hold = True
    session = await counter.session(await counter.path())
    await counter.double.pay(session)
    await counter.double.expire(session)
    await counter.double.send(counter.double.reports[2])
    assert [attempt.state for attempt in await counter.attempts()] == [S.EXPIRED]
    clock.set_clock(f"+{timedelta(days=40).total_seconds()}")
    await counter.double.send(counter.double.reports[1])
    assert [attempt.state for attempt in await counter.attempts()] == [S.PAID]
    assert len(await counter.payments()) == 1


async def test_a_start_that_came_to_nothing_can_be_tried_again(counter: Counter) -> None:
    await counter.till.bill(counter.customer.id, 10_000)
    path = await counter.path()
    faults = (Fault.ERROR_AFTER, Fault.RESET_AFTER, Fault.ERROR)
    for fault in faults:
        counter.double.fail("create", fault)
        answer = await counter.begin(path)
        assert answer.status_code == 303
        waiting = await counter.browser.get(str(answer.url.join(answer.headers["location"])))
        assert "Waiting for your payment" in waiting.text
    assert [attempt.state for attempt in await counter.attempts()] == [S.IN_DOUBT] * 3
    session = await counter.session(path)
    await counter.double.pay(session)
    assert [attempt.state for attempt in await counter.attempts()] == [*[S.IN_DOUBT] * 3, S.PAID]
    assert len(await counter.payments()) == 1


async def test_what_the_gateway_refuses_was_not_begun(counter: Counter) -> None:
    await counter.till.bill(counter.customer.id, 20)
    path = await counter.path()
    answer = await counter.begin(path)
    assert answer.status_code == 502
    assert "could not be started" in answer.text
    (attempt,) = await counter.attempts()
    assert attempt.state is S.FAILED
    assert attempt.reason is not None
    assert "at least 50 cents" in attempt.reason


async def test_the_janitor_finds_what_nobody_reported(counter: Counter, moved_clock: None) -> None:
    invoice = await counter.till.bill(counter.customer.id, 10_000)
    counter.double.hold = True
    session = await counter.session(await counter.path())
    assert await counter.janitor() == 0
    await counter.double.pay(session)
    clock.set_clock("+90")
    counter.double.fail("retrieve", Fault.ERROR, Fault.RESET_AFTER)
    for checks, later in ((1, "+240"), (2, "+600")):
        assert await counter.janitor() == 1
        (attempt,) = await counter.attempts()
        assert (attempt.state, attempt.checks) == (S.PENDING, checks)
        assert attempt.reason is not None
        assert await counter.janitor() == 0
        clock.set_clock(later)
    assert await counter.janitor() == 1
    assert [each.state for each in await counter.attempts()] == [S.PAID]
    assert (await counter.again(invoice)).status is InvoiceStatus.PAID
    # A report that comes after all brings no second payment.
    await counter.double.send(counter.double.reports[1])
    assert len(await counter.payments()) == 1


@pytest.mark.long
async def test_the_janitor_gives_up_after_days_of_asking(counter: Counter, moved_clock: None) -> None:
    await counter.till.bill(counter.customer.id, 10_000)
    session = await counter.session(await counter.path())
    asked = 0
    for hour in range(1, 24 * 5, 7):
        clock.set_clock(f"+{hour * 3600}")
        asked += await counter.janitor()
    assert [attempt.state for attempt in await counter.attempts()] == [S.EXPIRED]
    assert 8 <= asked <= 12
    # Asked again by hand, what came after that is found.
    await counter.double.pay(session)
    assert [attempt.state for attempt in await counter.attempts()] == [S.PAID]


async def test_two_clicks_are_one_attempt(counter: Counter) -> None:
    await counter.till.bill(counter.customer.id, 10_000)
    path = await counter.path()
    page = (await counter.browser.get(path)).text

    data = fields(page, counter.stripe)
    first, second = await asyncio.gather(*(counter.browser.post(path, data=data) for _ in range(2)))
    assert {first.status_code, second.status_code} == {303}
    assert len(await counter.attempts()) == 1
    assert len(counter.double.sessions) == 1
