"""Billing runs: every missed period once, in order, whoever bills and however often it is broken off."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text, update

from ispgraph import clock, daily, invariants
from ispgraph.actors.registry import ACTIONS
from ispgraph.actors.run import Runner
from ispgraph.db import Database
from ispgraph.domain import jobs, watches
from ispgraph.domain.billing import charges, periods, proration, runs
from ispgraph.domain.errors import DomainError
from ispgraph.domain.models import (
    BilledPeriod,
    BillingCycle,
    BillingRun,
    ConnectionType,
    InvoiceStatus,
    Job,
    JobStatus,
    Journal,
    Package,
    Payment,
    Posting,
    Service,
    ServiceStatus,
    SuspendReason,
    TaxProfile,
    Tenant,
)
from ispgraph.settings import Settings
from tests import factories
from tests.billing import office
from tests.billing.conftest import Till
from tests.factories import House

pytestmark = pytest.mark.usefixtures("moved_clock")
NOON = "2027-03-10T06:00:00Z"  # 12:00 in Dhaka
END = datetime(2027, 3, 10, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def noon(moved_clock: None) -> None:
    clock.set_clock(NOON)


async def sound(owner: Database) -> None:
    """No rule of the books is broken."""
    assert [finding for finding in await invariants.check(owner) if finding.broken] == []


async def test_each_missed_period_is_billed_once_and_in_order(house: House, owner: Database) -> None:
    service = await office.service(house, datetime(2026, 10, 31, 18, 30, tzinfo=UTC))  # 1 November, 00:30 in Dhaka
    run = await office.bill(house)
    told = [(invoice.number, line.description) for invoice, line in await office.billed(house)]
    name = told[0][1].split(",")[0]
    assert told == [
        ("INV-2027-000001", f"{name}, 1 month, 1 November to 1 December 2026"),
        ("INV-2027-000002", f"{name}, 1 month, 1 December 2026 to 1 January 2027"),
        ("INV-2027-000003", f"{name}, 1 month, 1 January to 1 February 2027"),
        ("INV-2027-000004", f"{name}, 1 month, 1 February to 1 March 2027"),
        ("INV-2027-000005", f"{name}, 1 month, 1 March to 1 April 2027"),
    ]
    now = await office.again(house, service)
    assert now.expires_at == datetime(2027, 3, 31, 18, 30, tzinfo=UTC)
    assert now.billing_anchor == service.expires_at
    assert (run.services, run.invoices, run.total_minor, run.failed) == (1, 5, 250_000, 0)
    await sound(owner)


async def test_an_invoice_is_what_a_person_would_have_made(house: House, owner: Database) -> None:
    async with owner.transaction(house.tenant.id) as session:
        values = {"tax_rate": Decimal("7.5"), "invoice_due_days": 10}
        await session.execute(update(Tenant).where(Tenant.id == house.tenant.id).values(values))
    await office.service(house, END)
    await office.bill(house)
    ((invoice, line),) = await office.billed(house)
    assert (invoice.status, invoice.issued_on, invoice.due_on) == (
        InvoiceStatus.OPEN,
        date(2027, 3, 10),
        date(2027, 3, 20),
    )
    assert (invoice.period_start, invoice.period_end) == (END, datetime(2027, 4, 10, 5, tzinfo=UTC))
    assert (invoice.subtotal_minor, invoice.tax_minor, invoice.total_minor) == (50_000, 3_750, 53_750)
    assert (line.position, line.quantity, line.explanation) == (1, 1, "1 month at 500.00 USD, and 7.5 % tax.")
    async with house.database.read(house.tenant.id) as session:
        (period,) = await session.scalars(select(BilledPeriod))
        (journal,) = await session.scalars(select(Journal))
        rows = await session.execute(select(Posting.account, Posting.amount_minor, Posting.customer_id))
        posted = {account.value: (minor, owner_id) for account, minor, owner_id in rows}
    assert (period.invoice_id, period.starts_at, period.ends_at) == (invoice.id, END, invoice.period_end)
    assert (period.price_minor, period.tax_rate, period.tax_included) == (50_000, Decimal("7.5"), False)
    assert (journal.invoice_id, journal.description, journal.at) == (
        invoice.id,
        "Invoice INV-2027-000001",
        invoice.created_at,
    )
    assert posted == {
        "RECEIVABLE": (53_750, invoice.customer_id),
        "REVENUE": (-50_000, None),
        "TAX": (-3_750, None),
    }


async def test_a_second_run_writes_nothing(house: House) -> None:
    for number in range(3):
        await office.service(house, END - timedelta(days=40 * number))
    await office.bill(house)
    before = await office.everything(house)
    assert len(before["invoices"]) == 6
    run = await office.bill(house)
    assert (run.services, run.invoices, run.total_minor, run.failed) == (0, 0, 0, 0)
    assert await office.everything(house) == before


async def test_a_trial_writes_nothing_and_says_what_a_run_will_do(house: House) -> None:
    for number in range(4):
        await office.service(house, END - timedelta(days=40 * number))
    before = await office.everything(house)
    tried = await office.bill(house, dry_run=True)
    assert await office.everything(house) == before
    done = await office.bill(house)
    figures = [(run.services, run.invoices, run.subtotal_minor, run.tax_minor) for run in (tried, done)]
    assert figures[0] == figures[1] == (4, 11, 550_000, 0)
    told = [(line["service"], line["description"], line["explanation"], line["total_minor"]) for line in tried.lines]
    made = [
        (str(invoice.service_id), line.description, line.explanation, invoice.total_minor)
        for invoice, line in await office.billed(house)
    ]
    assert told == made
    assert done.lines == []


async def test_who_is_billed(house: House, owner: Database) -> None:
    monthly = await house.package("Monthly")
    once = await house.package("Once", billing_cycle=BillingCycle.ONE_TIME)
    active = set()
    for status in ServiceStatus:
        for reason in SuspendReason if status is ServiceStatus.SUSPENDED else (None,):
            service = await office.service(house, END, monthly, status=status, suspend_reason=reason)
            if status is ServiceStatus.ACTIVE:
                active.add(service.id)
    await office.service(house, END, once)
    await office.service(house, datetime(2027, 3, 10, 7, tzinfo=UTC), monthly)
    await office.service(house, None, monthly)
    active.add((await office.service(house, datetime(2027, 3, 10, 6, tzinfo=UTC), monthly)).id)
    await office.bill(house)
    assert {invoice.service_id for invoice, _ in await office.billed(house)} == active
    await sound(owner)


async def test_of_many_missed_periods_so_many_are_made_up_for_at_once(house: House) -> None:
    daily = await house.package("Daily", billing_cycle=BillingCycle.DAILY, validity_days=1)
    service = await office.service(house, END - timedelta(days=40), daily)
    found = [(await office.bill(house)).invoices for _ in range(3)]
    assert found == [36, 5, 0]
    assert (await office.again(house, service)).expires_at == END + timedelta(days=1)


async def test_the_rest_of_a_period_is_charged_by_its_days(house: House, owner: Database) -> None:
    anchor = datetime(2027, 1, 31, 18, tzinfo=UTC)  # 1 February in Dhaka
    service = await office.service(house, datetime(2027, 2, 20, 18, tzinfo=UTC), billing_anchor=anchor)
    late = await office.service(house, datetime(2027, 3, 10, 2, tzinfo=UTC), billing_anchor=END - timedelta(days=28))
    clock.set_clock("2027-04-01T00:00:00Z")
    await office.bill(house)
    async with house.database.read(house.tenant.id) as session:
        package = await session.get_one(Package, service.package_id)
    sold = _sold(package, house.tenant, Decimal(0))
    whole = periods.period(anchor, sold.cycle, 0, "Asia/Dhaka")
    wanted = proration.charge(sold, whole, datetime(2027, 2, 20, 18, tzinfo=UTC), "Asia/Dhaka")
    (_, line), *rest = await office.billed(house, service.id)
    assert (line.description, line.explanation, line.amount_minor) == (
        wanted.description,
        wanted.explanation,
        wanted.amount_minor,
    )
    assert line.amount_minor == 14_286
    assert [line.amount_minor for _, line in rest] == [50_000, 50_000]
    # It was paid until some hours before a boundary, so no day of that period is left: it goes with the next.
    ((invoice, line),) = await office.billed(house, late.id)
    assert (invoice.period_start, invoice.period_end) == (late.expires_at, datetime(2027, 4, 10, 5, tzinfo=UTC))
    assert line.description.endswith(", 1 month, 10 March to 10 April 2027")
    assert line.amount_minor == 50_000
    await sound(owner)


def _sold(package: Package, tenant: Tenant, rate: Decimal) -> proration.Sold:
    return proration.Sold(
        name=package.name,
        cycle=periods.cycle_of(package.billing_cycle, package.validity_days),
        price_minor=package.price_minor,
        currency=tenant.currency,
        tax_rate=rate,
        tax_included=tenant.tax_inclusive,
    )


@pytest.mark.parametrize(("currency", "inclusive"), [("JPY", True), ("USD", False), ("KWD", True)])
async def test_every_cycle_is_billed_in_the_words_of_python(
    owner: Database, database: Database, currency: str, inclusive: bool
) -> None:
    house = await factories.house(
        owner, database, "words", currency=currency, time_zone="Europe/Berlin", tax_inclusive=inclusive
    )
    rates = [Decimal("19"), Decimal("12.345"), Decimal("0"), Decimal("7.5"), Decimal("100")]
    profiles = [TaxProfile(name=f"Rate {rate}", rate=rate, is_default=rate == 0) for rate in rates]
    await house.add(*profiles)
    made = {}
    number = 0
    for cycle in BillingCycle:
        for days in (1, 30, 31, 365):
            number += 1
            profile = profiles[number % 5]
            package = await house.package(
                f"Päckchen {number}",
                billing_cycle=cycle,
                validity_days=days,
                price_minor=100_001 * number,
                tax_profile_id=None if profile.is_default else profile.id,
            )
            # 27 March 2027 at 22:30; the clocks change in the night to the 28th.
            service = await office.service(house, datetime(2027, 3, 27, 21, 30, tzinfo=UTC), package)
            made[service.id] = (package, service, profile.rate)
    clock.set_clock("2027-03-30T06:00:00Z")
    await office.bill(house)
    seen = set()
    for invoice, line in await office.billed(house):
        assert invoice.service_id is not None
        package, service, rate = made[invoice.service_id]
        sold = _sold(package, house.tenant, rate)
        assert invoice.period_start is not None
        assert service.expires_at is not None
        count = periods.number_at(service.expires_at, sold.cycle, invoice.period_start, "Europe/Berlin")
        period = periods.period(service.expires_at, sold.cycle, count, "Europe/Berlin")
        wanted = proration.whole(sold, period, "Europe/Berlin")
        assert (invoice.period_start, invoice.period_end) == (period.start, period.end)
        assert (line.description, line.explanation) == (wanted.description, wanted.explanation)
        assert (line.amount_minor, line.tax_minor) == (wanted.amount_minor, wanted.tax_minor)
        assert (invoice.subtotal_minor, invoice.tax_minor) == (line.amount_minor, line.tax_minor)
        seen.add(invoice.service_id)
    assert seen == {key for key, (package, *_) in made.items() if package.billing_cycle is not BillingCycle.ONE_TIME}
    await sound(owner)


async def test_what_is_free_is_paid_and_not_posted(house: House, owner: Database) -> None:
    free = await house.package("Free", price_minor=0)
    await office.service(house, END, free)
    await office.bill(house)
    ((invoice, _),) = await office.billed(house)
    assert (invoice.status, invoice.number, invoice.total_minor) == (InvoiceStatus.PAID, "INV-2027-000001", 0)
    async with house.database.read(house.tenant.id) as session:
        assert (await session.scalars(select(Journal))).all() == []
    await sound(owner)


async def test_wallets_pay_as_far_as_they_go(till: Till, owner: Database) -> None:
    paid = {}
    for held in (0, 20_000, 50_000, 130_000):
        customer = await till.customer()
        service = await office.service(till.house, END - timedelta(days=40), customer=customer)
        paid[service.id] = held
        if held:
            await till.pay(held, customer_id=customer.id)
    await office.bill(till.house)
    found: dict[int, list[tuple[InvoiceStatus, int]]] = {}
    for invoice, _ in await office.billed(till.house):
        assert invoice.service_id is not None
        found.setdefault(paid[invoice.service_id], []).append((invoice.status, invoice.paid_minor))
    whole, none = (InvoiceStatus.PAID, 50_000), (InvoiceStatus.OPEN, 0)
    assert found == {
        0: [none, none],
        20_000: [(InvoiceStatus.PARTIALLY_PAID, 20_000), none],
        50_000: [whole, none],
        130_000: [whole, whole],
    }
    async with till.database.read(till.house.tenant.id) as session:
        numbers = [row.number for row in await session.scalars(select(Payment).order_by(Payment.number))]
    assert numbers == [f"PAY-2027-{number:06d}" for number in range(1, 7)]
    await sound(owner)


async def test_the_day_of_issue_is_never_before_that_of_the_number_before(till: Till, owner: Database) -> None:
    clock.set_clock("2027-03-11T06:00:00Z")
    await till.bill((await till.customer()).id, 100)
    clock.set_clock(NOON)
    await office.service(till.house, END, customer=await till.customer())
    await office.bill(till.house)
    assert [invoice.issued_on for invoice, _ in await office.billed(till.house)] == [date(2027, 3, 11)] * 2
    await sound(owner)


async def test_who_cannot_be_billed_stops_nobody(house: House, owner: Database) -> None:
    async with owner.transaction(house.tenant.id) as session:
        await session.execute(update(Tenant).where(Tenant.id == house.tenant.id).values(tax_rate=20))
    dear = await house.package("Dear", price_minor=9 * 10**15)
    huge = await house.package("Huge", price_minor=9 * 10**18)
    good = [await office.service(house, END) for _ in range(5)]
    bad = [await office.service(house, END, package) for package in (dear, huge)]
    # Nothing that the product does makes such an end; somebody may have written it.
    odd = await office.service(house, END)
    async with house.database.transaction(house.tenant.id) as session:
        await session.execute(text("UPDATE services SET billing_anchor = 'infinity' WHERE id = :id"), {"id": odd.id})
    run = await office.bill(house)
    reasons = {each["service"]: each["reason"] for each in run.failures}
    assert reasons.pop(str(odd.id)).startswith("PostgreSQL refused it: ")
    assert {str(each.id): charges.TOO_LARGE for each in bad} == reasons
    assert (run.failed, run.invoices) == (3, 5)
    assert {invoice.service_id for invoice, _ in await office.billed(house)} == {each.id for each in good}
    await sound(owner)


async def test_time_that_was_charged_before_is_not_charged_again(till: Till, owner: Database) -> None:
    service = await office.service(till.house, END, customer=await till.customer())
    await office.bill(till.house)
    async with till.database.transaction(till.house.tenant.id) as session:
        row = await session.get_one(Service, service.id)
        row.expires_at = END
    run = await office.bill(till.house)
    assert (run.services, run.invoices, run.failed) == (0, 0, 1)
    assert run.failures == [{"service": str(service.id), "reason": charges.CHARGED}]
    assert (await office.again(till.house, service)).expires_at == datetime(2027, 4, 10, 5, tzinfo=UTC)
    assert len(await office.billed(till.house)) == 1
    await sound(owner)


async def test_what_somebody_holds_is_left_to_the_next_run(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_WAIT", timedelta(milliseconds=10))
    held = await office.service(house, END)
    await office.service(house, END)
    async with house.database.transaction(house.tenant.id) as session:
        await session.execute(text("SELECT FROM customers WHERE id = :id FOR NO KEY UPDATE"), {"id": held.customer_id})
        run = await office.bill(house)
        assert (run.services, run.failures) == (1, [{"service": str(held.id), "reason": runs.HELD}])
    assert (await office.bill(house)).services == 1


@pytest.mark.parametrize("rounds", [5, pytest.param(100, marks=pytest.mark.long)])
async def test_of_four_at_once_each_bills_what_the_others_have_not(
    house: House, owner: Database, monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    monkeypatch.setattr(runs, "CHUNK", 2)
    monkeypatch.setattr(runs, "_WAIT", timedelta(milliseconds=10))
    package = await house.package("Daily", billing_cycle=BillingCycle.DAILY, validity_days=1)
    services = [await office.service(house, END, package) for _ in range(6)]
    for number in range(rounds):
        clock.set_clock(f"{(END + timedelta(days=number, hours=1)).isoformat()}")
        barrier = asyncio.Barrier(4)
        begun = [await office.begin(house) for _ in range(4)]

        async def one(run: BillingRun, barrier: asyncio.Barrier = barrier) -> BillingRun:
            await barrier.wait()
            return await office.carry_out(house, run)

        done = await asyncio.gather(*(one(run) for run in begun))
        assert (sum(run.services for run in done), sum(run.failed for run in done)) == (6, 0)
    made = await office.billed(house)
    assert len(made) == 6 * rounds
    assert [invoice.number for invoice, _ in made] == [f"INV-2027-{n:06d}" for n in range(1, 6 * rounds + 1)]
    for service in services:
        mine = sorted((row.period_start, row.period_end) for row, _ in made if row.service_id == service.id)
        assert mine == [(END + timedelta(days=n), END + timedelta(days=n + 1)) for n in range(rounds)]
    await sound(owner)


async def test_a_run_that_is_broken_off_goes_on(
    house: House, settings: Settings, owner: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "CHUNK", 3)
    for _ in range(8):
        await office.service(house, END)
    run = await office.begin(house)
    real, calls = charges.charge, 0

    async def dies(*given: object, **named: object) -> charges.Charged:
        nonlocal calls
        calls += 1
        done = await real(*given, **named)  # type: ignore[arg-type]
        if calls == 2:
            raise ZeroDivisionError("killed")
        return done

    monkeypatch.setattr(charges, "charge", dies)
    runner = Runner(house.database, settings, ACTIONS)
    await runner.run_job(house.tenant.id.hex, run.job_id.hex)
    async with house.database.read(house.tenant.id) as session:
        half = await session.get_one(BillingRun, run.id)
        job = await session.get_one(Job, run.job_id)
    assert (half.invoices, job.status, job.progress_done, job.progress_total) == (3, JobStatus.QUEUED, 3, 8)
    clock.set_clock("2027-03-10T07:00:00Z")
    await runner.run_job(house.tenant.id.hex, run.job_id.hex)
    async with house.database.read(house.tenant.id) as session:
        whole = await session.get_one(BillingRun, run.id)
        job = await session.get_one(Job, run.job_id)
    assert (whole.services, whole.invoices, whole.total_minor, whole.failed) == (8, 8, 400_000, 0)
    assert (job.status, job.message) == (JobStatus.SUCCEEDED, "8 services were billed: 8 invoices, 4000.00 USD.")
    assert len(await office.billed(house)) == 8
    await sound(owner)


async def test_each_day_every_tenant_has_one_run_of_what_ends_before_the_next(
    house: House, other_house: House, settings: Settings, owner: Database
) -> None:
    soon = await office.service(house, datetime(2027, 3, 11, 5, tzinfo=UTC))
    later = await office.service(house, datetime(2027, 3, 11, 20, 30, tzinfo=UTC))
    tasks = tuple(task for task in daily.DAILY if task.task == "billing.run")
    await asyncio.gather(*(daily.run_due(house.database, tasks, {}) for _ in range(4)))
    clock.set_clock("2027-03-10T18:59:00Z")
    await daily.run_due(house.database, tasks, {})
    for each in (house, other_house):
        async with house.database.read(each.tenant.id) as session:
            (run,) = await session.scalars(select(BillingRun))
        assert (run.dry_run, run.started_by_id) == (False, None)
        await Runner(house.database, settings, ACTIONS).run_job(each.tenant.id.hex, run.job_id.hex)
    assert [invoice.service_id for invoice, _ in await office.billed(house)] == [soon.id]
    clock.set_clock("2027-03-10T19:01:00Z")  # 01:01 of the next day in Dhaka
    await daily.run_due(house.database, tasks, {})
    async with house.database.read(house.tenant.id) as session:
        _, run = await session.scalars(select(BillingRun).order_by(BillingRun.id))
    await Runner(house.database, settings, ACTIONS).run_job(house.tenant.id.hex, run.job_id.hex)
    assert [invoice.service_id for invoice, _ in await office.billed(house)] == [soon.id, later.id]


async def test_a_day_to_come_can_only_be_tried(house: House) -> None:
    await office.service(house, END + timedelta(days=20))
    with pytest.raises(DomainError, match="still to come"):
        await office.bill(house, as_of=date(2027, 3, 30))
    assert (await office.bill(house, as_of=date(2027, 3, 29), dry_run=True)).invoices == 0
    assert (await office.bill(house, as_of=date(2027, 3, 30), dry_run=True)).invoices == 1
    clock.set_clock("2027-04-02T00:00:00Z")
    assert (await office.bill(house, as_of=date(2027, 3, 29))).invoices == 0
    assert (await office.bill(house, as_of=date(2027, 3, 30))).invoices == 1


async def test_who_was_off_line_because_time_was_over_comes_back_by_the_watch(house: House) -> None:
    router = await house.router()
    service = await office.service(
        house, END, router_id=router.id, connection_type=ConnectionType.STATIC_IP, ip_address="10.0.0.9"
    )
    async with house.database.transaction(house.tenant.id) as session:
        await watches.look(session)
    await office.bill(house)
    async with house.database.transaction(house.tenant.id) as session:
        looked = await watches.look(session)
    assert [(job.kind, job.service_id) for job in looked.jobs] == [(jobs.PROVISION, service.id)]
    before = await office.again(house, service)
    clock.set_clock("2027-04-10T04:00:00Z")
    await office.bill(house, as_of=None)
    async with house.database.transaction(house.tenant.id) as session:
        assert (await watches.look(session)).jobs == []
    assert (await office.again(house, service)).desired_version == before.desired_version
