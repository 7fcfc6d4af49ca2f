"""check-invariants: quiet on sound books, and each rule finds the damage it is there for."""

import io
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal

import asyncpg
import pytest
from sqlalchemy import text, update

from ispgraph import clock, ids, invariants
from ispgraph.db import Database
from ispgraph.domain.models import (
    CommissionRate,
    ConnectionType,
    Customer,
    CustomerStatus,
    Draft,
    DraftStatus,
    Job,
    JobStatus,
    Service,
    ServiceStatus,
)
from ispgraph.settings import Settings
from tests.billing.conftest import Till
from tests.conftest import Dsns

# What is done to the books, and the rules that must notice.
DAMAGE = {
    "postings-changed": (
        "UPDATE postings SET amount_minor = amount_minor + 1 WHERE account = 'REVENUE'",
        {"journals-balance", "ledger-sums-to-zero"},
    ),
    "receivable-and-revenue-changed": (
        "UPDATE postings SET amount_minor = amount_minor * 2 WHERE journal_id IN"
        " (SELECT id FROM journals WHERE invoice_id IS NOT NULL)",
        {"receivable"},
    ),
    "posting-lost": (
        "DELETE FROM postings WHERE account = 'CASH'",
        {"journals-balance", "ledger-sums-to-zero"},
    ),
    "journal-emptied": (
        "DELETE FROM postings WHERE journal_id IN (SELECT id FROM journals WHERE payment_id IS NOT NULL)",
        {"journals-have-postings", "receivable", "payment-split"},
    ),
    "wallet-overdrawn": (
        "UPDATE postings SET amount_minor = CASE account WHEN 'WALLET' THEN 500 ELSE -500 END"
        " WHERE journal_id IN (SELECT journal_id FROM postings WHERE account = 'WALLET') AND account <> 'RECEIVABLE'",
        {"wallets", "payment-split"},
    ),
    "receivable-row-changed": ("UPDATE customer_balances SET receivable_minor = receivable_minor + 1", {"balances"}),
    "wallet-row-changed": ("UPDATE customer_balances SET wallet_minor = wallet_minor + 1", {"balances"}),
    "balance-lost": ("DELETE FROM customer_balances", {"balances"}),
    "line-changed": ("UPDATE invoice_lines SET amount_minor = amount_minor + 1", {"invoice-sums"}),
    "lines-lost": ("DELETE FROM invoice_lines", {"invoice-sums"}),
    "paid-changed": (
        "UPDATE invoices SET paid_minor = paid_minor - 1 WHERE status = 'PARTIALLY_PAID'",
        {"invoice-paid", "receivable"},
    ),
    "status-changed": ("UPDATE invoices SET status = 'OPEN' WHERE status = 'PAID'", {"invoice-status"}),
    "void-but-paid": (
        "UPDATE invoices SET status = 'VOID' WHERE status = 'PARTIALLY_PAID'",
        {"invoice-status", "receivable"},
    ),
    "time-of-a-void-invoice": (
        "INSERT INTO billed_periods SELECT p.* FROM services s, invoices i, LATERAL jsonb_populate_record("
        "NULL::billed_periods, to_jsonb(i) || jsonb_build_object('service_id', s.id, 'invoice_id', i.id, 'package_id',"
        " s.package_id, 'starts_at', now(), 'ends_at', now() + interval '1 day', 'price_minor', 1, 'tax_rate', 0,"
        " 'tax_included', false)) p WHERE i.status = 'DRAFT' LIMIT 1",
        {"billed-periods"},
    ),
    "given-back-by-a-draft": (
        "INSERT INTO billed_periods SELECT p.* FROM services s, invoices i, LATERAL jsonb_populate_record("
        "NULL::billed_periods, to_jsonb(i) || jsonb_build_object('service_id', s.id, 'invoice_id', i.id, 'package_id',"
        " s.package_id, 'starts_at', now(), 'ends_at', now() + interval '1 day', 'price_minor', 1, 'tax_rate', 0,"
        " 'tax_included', false, 'released_at', now(), 'given_back_by_id', i.id)) p WHERE i.status = 'DRAFT' LIMIT 1",
        {"given-back"},
    ),
    "credit-note-for-itself": (
        "UPDATE invoices SET kind = 'CREDIT_NOTE', credits_id = id, subtotal_minor = -subtotal_minor,"
        " tax_minor = -tax_minor, total_minor = -total_minor, paid_minor = 0 WHERE status = 'PAID'",
        {"credit-notes"},
    ),
    "run-that-tells-of-no-failure": (
        "INSERT INTO billing_runs SELECT r.* FROM jobs j, LATERAL jsonb_populate_record(NULL::billing_runs,"
        " to_jsonb(j) || jsonb_build_object('job_id', j.id, 'as_of', now(), 'dry_run', false, 'services', 2,"
        " 'invoices', 2, 'subtotal_minor', 1, 'tax_minor', 0, 'total_minor', 1, 'failed', 1, 'failures', '[]'::jsonb,"
        " 'lines', '[]'::jsonb)) r",
        {"billing-runs"},
    ),
    "payment-failed-later": ("UPDATE payments SET status = 'FAILED' WHERE amount_minor = 40", {"invoice-paid"}),
    "payment-changed": ("UPDATE payments SET amount_minor = amount_minor + 1", {"payment-split"}),
    "allocation-grown": (
        "UPDATE allocations SET amount_minor = amount_minor + 1000",
        {"allocations-within-payment", "payment-split", "invoice-paid"},
    ),
    "allocation-lost": ("DELETE FROM allocations", {"invoice-paid", "payment-split"}),
    "allocation-astray": (
        "UPDATE payments p SET customer_id = (SELECT id FROM customers c WHERE c.id <> p.customer_id LIMIT 1)",
        {"allocations-of-own-customer"},
    ),
    "released-unseen": (
        "UPDATE allocations SET released_minor = 1 WHERE released_minor = 0",
        {"invoice-paid", "releases"},
    ),
    "release-lost": ("DELETE FROM allocation_releases", {"releases"}),
    "refund-grown": ("UPDATE refunds SET amount_minor = amount_minor + 1000", {"refunds", "refunds-in-the-ledger"}),
    "refund-unsaid": ("UPDATE payments SET status = 'REFUNDED' WHERE status = 'COMPLETED'", {"refunds"}),
    "refund-by-another-way": (
        "UPDATE postings SET method = 'CARD' WHERE journal_id IN (SELECT id FROM journals WHERE refund_id IS NOT NULL)"
        " AND account = 'CASH'",
        {"refunds-in-the-ledger"},
    ),
    "refund-failed-at-no-gateway": (
        "INSERT INTO gateway_refunds (id, tenant_id, refund_id, gateway_payment_id, customer_id, state, may_be_done,"
        " tries, started_at) SELECT id, tenant_id, id, id, id, 'FAILED', false, 0, now() FROM refunds",
        {"refunds-undone", "gateway-refunds"},
    ),
    "commission-changed": (
        "UPDATE commissions SET amount_minor = amount_minor + 1",
        {"commissions", "operator-wallets", "commission-expense"},
    ),
    "commission-lost": ("DELETE FROM commissions", {"commissions", "operator-wallets", "commission-expense"}),
    "commission-share-lost": ("DELETE FROM commission_shares", {"commissions"}),
    "commission-not-taken-back": ("UPDATE allocations SET released_minor = 0", {"commissions", "invoice-paid"}),
    "commission-rate-changed": ("UPDATE commission_rates SET percent = percent + 1", {"commissions"}),
    "commission-before-its-rate": (
        "UPDATE commission_rates SET valid_from = valid_from + interval '1 day'",
        {"commission-shares"},
    ),
    "commission-astray": (
        "UPDATE postings SET operator_id = (SELECT max(id::text)::uuid FROM customers)"
        " WHERE account = 'OPERATOR_WALLET'",
        {"operator-wallets"},
    ),
    "number-skipped": ("UPDATE number_series SET last = last + 1 WHERE series LIKE 'PAY-%'", {"numbers"}),
    "number-lost": (
        "UPDATE invoices SET number = regexp_replace(number, '000001$', '000009')",
        {"numbers"},
    ),
    "series-lost": ("DELETE FROM number_series WHERE series LIKE 'INV-%'", {"numbers"}),
    "account-skipped": ("UPDATE number_series SET last = last + 1 WHERE series = 'ACCOUNT'", {"account-numbers"}),
    "issued-out-of-order": (
        "UPDATE invoices SET issued_on = issued_on + 1 WHERE number LIKE '%-000001'",
        {"issue-order"},
    ),
    "draft-made-two": (
        "INSERT INTO drafts SELECT (jsonb_populate_record(d, jsonb_build_object('id', gen_random_uuid()))).*"
        " FROM drafts d",
        {"drafts"},
    ),
    "draft-without-customer": ("UPDATE drafts SET customer_id = NULL", {"drafts"}),
    "password-lost": ("UPDATE services SET password = ''", {"services"}),
    "service-lost": (
        "UPDATE services SET customer_id = (SELECT max(id::text)::uuid FROM customers)",
        {"active-customers"},
    ),
    "session-ended-open": (
        "INSERT INTO sessions (id, tenant_id, acct_session_id, unique_id, username, connection_type, state, started_at,"
        " updated_at, duration_seconds, input_octets, output_octets)"
        " SELECT id, id, '1', '1', 'example', 'PPPOE', 'STALE', now(), now(), 0, 0, 0 FROM tenants",
        {"sessions"},
    ),
    "session-below-its-base": (
        "INSERT INTO sessions (id, tenant_id, acct_session_id, unique_id, username, connection_type, state, started_at,"
        " updated_at, duration_seconds, input_octets, output_octets, input_base)"
        " SELECT id, id, '1', '1', 'example', 'PPPOE', 'OPEN', now(), now(), 0, 5, 5, 6 FROM tenants",
        {"sessions"},
    ),
    "session-listed-after-its-end": (
        "INSERT INTO open_sessions (tenant_id, session_id, unique_id, started_at)"
        " SELECT id, id, '1', now() FROM tenants",
        {"open-sessions"},
    ),
    "usage-below-zero": (
        "INSERT INTO usage_days (tenant_id, service_id, day, customer_id, input_octets, output_octets, seconds)"
        " SELECT tenant_id, id, '2026-01-31', customer_id, 1, -1, 1 FROM services",
        {"usage"},
    ),
    "usage-between-quarters": (
        "INSERT INTO usage_buckets (tenant_id, service_id, starts_at, customer_id, input_octets, output_octets,"
        " seconds) SELECT tenant_id, id, '2026-01-31 00:01Z', customer_id, 1, 1, 1 FROM services",
        {"usage"},
    ),
    "suspended-before-the-day": (
        "INSERT INTO dunning_steps (tenant_id, invoice_id, kind, counted_from, days, planned_on, rule, outcome,"
        " done_at) SELECT tenant_id, id, 'SUSPENSION', due_on, 0, due_on + 1, '', 'SUSPENDED', now() FROM invoices"
        " WHERE due_on IS NOT NULL",
        {"dunning"},
    ),
    "credits-out-of-nowhere": ("UPDATE operators SET sms_credits = 5", {"sms-credits"}),
    "day-without-a-rule": ("UPDATE services SET suspend_on = '2026-01-31'", {"suspend-rules"}),
    "batch-without-its-voucher": (
        "INSERT INTO voucher_batches (id, tenant_id, package_id, count, made, price_minor, returned, created_at,"
        " created_by_id) SELECT id, tenant_id, id, 2, 1, 5, 0, now(), id FROM packages",
        {"voucher-batches"},
    ),
    "paid-by-no-voucher": ("UPDATE payments SET method = 'VOUCHER'", {"vouchers"}),
    "booked-as-vouchers": (
        "UPDATE postings SET account = 'VOUCHERS', method = NULL WHERE account = 'CASH'",
        {"voucher-account"},
    ),
    "lease-over": ("UPDATE jobs SET next_attempt_at = next_attempt_at - interval '200 seconds'", {"jobs"}),
}


@pytest.fixture
async def books(till: Till) -> Till:
    """Two customers, one with a service from a draft; invoices paid in full, in part, and too much, a
    refund, commission for the admin; a running job."""
    customer, other = await till.customer(), await till.customer()
    rate = CommissionRate(
        operator_id=till.house.admin.id, percent=Decimal("12.5"), valid_from=till.house.tenant.created_at
    )
    await till.house.add(rate)
    bills = [await till.bill(customer.id, 100, rate="10"), await till.bill(customer.id, 200)]
    await till.pay(310, *bills)
    await till.pay(40, await till.bill(other.id, 300))
    await till.pay(50, customer_id=customer.id)
    await till.refund(await till.pay(70, await till.bill(other.id, 60)), 30)
    async with till.database.transaction(till.house.tenant.id) as session:
        await till.draft(session, other.id, 10)
    package = await till.house.package()
    service = Service(
        customer_id=customer.id,
        package_id=package.id,
        connection_type=ConnectionType.PPPOE,
        status=ServiceStatus.ACTIVE,
        username="someone",
        password=b"sealed",
    )
    draft = Draft(
        status=DraftStatus.COMPLETED,
        customer_id=customer.id,
        created_by_id=till.house.admin.id,
        modified_by_id=till.house.admin.id,
        expires_at=clock.now(),
    )
    lease = {"lease": ids.uuid7(), "next_attempt_at": clock.now() - timedelta(seconds=60)}
    await till.house.add(service, draft, Job(kind="test", status=JobStatus.RUNNING, **lease))
    async with till.database.transaction(till.house.tenant.id) as session:
        await session.execute(update(Customer).where(Customer.id == customer.id).values(status=CustomerStatus.ACTIVE))
    return till


@pytest.fixture
async def superuser(dsns: Dsns) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection that no trigger and no policy stops."""
    connection = await asyncpg.connect(dsns.superuser)
    await connection.execute("SET session_replication_role = replica")
    yield connection
    await connection.close()


async def test_sound_books_pass(owner: Database, books: Till) -> None:
    assert books.house.tenant.slug == "north"
    assert [finding for finding in await invariants.check(owner) if finding.broken] == []


async def test_damage_is_found(dsns: Dsns, books: Till) -> None:
    # Each damage is done and looked at in a transaction that no trigger stops, and that is rolled back
    surgeon = Database(dsns.superuser, pool_size=1)
    tenant_id = books.house.tenant.id
    missed: dict[str, set[str]] = {}
    for name, (statement, rules) in DAMAGE.items():
        async with surgeon.read(tenant_id) as session:
            await session.execute(text("SET LOCAL session_replication_role = replica"))
            done = await session.execute(text(f"WITH done AS ({statement} RETURNING 1) SELECT count(*) FROM done"))
            assert done.scalar_one(), name
            found = [
                rule.name
                for rule in invariants.RULES
                if await invariants.breaches(session, rule, tenant_id, clock.now())
            ]
        missed |= {name: rules - set(found)} if rules - set(found) else {}
    await surgeon.dispose()
    assert missed == {}


def test_every_rule_has_its_damage() -> None:
    assert set().union(*(rules for _, rules in DAMAGE.values())) == {rule.name for rule in invariants.RULES}


@pytest.mark.usefixtures("books")
async def test_the_report_names_the_culprits(
    owner: Database, superuser: "asyncpg.Connection[asyncpg.Record]", till: Till
) -> None:
    paid = await till.bill((await till.customer()).id, 0)
    await superuser.execute("UPDATE invoices SET status = 'OPEN' WHERE id = $1", paid.id)
    findings = await invariants.check(owner)
    plain, machine = io.StringIO(), io.StringIO()
    invariants.report(findings, False, plain)
    invariants.report(findings, True, machine)
    lines = plain.getvalue().splitlines()
    assert len(lines) == len(invariants.RULES) + 1
    assert f"    north: {paid.id}" in lines
    told = json.loads(machine.getvalue())
    assert told["ok"] is False
    assert [(rule["name"], rule["broken"]) for rule in told["rules"] if rule["broken"]] == [("invoice-status", 1)]


@pytest.mark.usefixtures("books")
async def test_another_tenants_damage_is_found_as_well(
    owner: Database, superuser: "asyncpg.Connection[asyncpg.Record]", other_house: object
) -> None:
    assert other_house
    await superuser.execute("INSERT INTO number_series SELECT id, 'PAY-2020', 1 FROM tenants WHERE slug = 'south'")
    [finding] = [finding for finding in await invariants.check(owner) if finding.broken]
    assert finding.culprits == ["south: PAY-2020"]


def test_the_program_needs_the_owner(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert invariants.main(settings, True) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
