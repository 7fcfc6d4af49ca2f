"""The program `check-invariants`: what must be true of the books at every moment, one SQL query per rule.

It connects as the owner, who is under row-level security like everyone, and asks tenant by tenant. A query answers
with one row per breach, and the row names the culprit. Nothing is changed.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TextIO
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.db import Database
from ispgraph.domain.models import Tenant
from ispgraph.settings import Settings, SettingsError

SHOWN = 10
"""How many culprits of a rule are named; all are counted."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`query` selects the breaches of one tenant, `:tenant`, one text column each; `:now` is the product's clock."""

    name: str
    meaning: str
    query: str


@dataclass(slots=True)
class Finding:
    """How often a rule is broken over all tenants, and by whom, as `slug: culprit`."""

    rule: Rule
    broken: int = 0
    culprits: list[str] = field(default_factory=list)


RULES = (
    Rule(
        "journals-balance",
        "the postings of every journal sum to zero",
        """SELECT journal_id::text FROM postings WHERE tenant_id = :tenant
            GROUP BY journal_id HAVING sum(amount_minor) <> 0""",
    ),
    Rule(
        "journals-have-postings",
        "no journal is empty",
        """SELECT j.id::text FROM journals j WHERE j.tenant_id = :tenant
              AND NOT EXISTS (SELECT FROM postings p WHERE p.tenant_id = j.tenant_id AND p.journal_id = j.id)""",
    ),
    Rule(
        "ledger-sums-to-zero",
        "all postings together sum to zero",
        "SELECT sum(amount_minor)::text FROM postings WHERE tenant_id = :tenant HAVING sum(amount_minor) <> 0",
    ),
    Rule(
        "invoice-sums",
        "an invoice is the sum of its lines",
        """SELECT i.id::text FROM invoices i
             LEFT JOIN invoice_lines l ON l.tenant_id = i.tenant_id AND l.invoice_id = i.id
            WHERE i.tenant_id = :tenant GROUP BY i.id
           HAVING count(l.id) = 0 OR i.subtotal_minor <> sum(l.amount_minor) OR i.tax_minor <> sum(l.tax_minor)""",
    ),
    Rule(
        "invoice-paid",
        "what is paid of an invoice is the sum of the allocations of payments, without what was released",
        """SELECT i.id::text FROM invoices i LEFT JOIN (
               SELECT a.invoice_id, sum(a.amount_minor - a.released_minor) AS minor FROM allocations a
                 JOIN payments p ON p.tenant_id = a.tenant_id AND p.id = a.payment_id
                      AND p.status IN ('COMPLETED', 'REFUNDED')
                WHERE a.tenant_id = :tenant GROUP BY a.invoice_id) paid ON paid.invoice_id = i.id
            WHERE i.tenant_id = :tenant AND i.paid_minor <> COALESCE(paid.minor, 0)""",
    ),
    Rule(
        "invoice-status",
        "the status of an invoice says how much of it is paid",
        """SELECT id::text FROM invoices WHERE tenant_id = :tenant AND status <> CASE
                  WHEN status IN ('DRAFT', 'VOID') AND paid_minor = 0 THEN status
                  WHEN paid_minor >= total_minor THEN 'PAID'
                  WHEN paid_minor > 0 THEN 'PARTIALLY_PAID' ELSE 'OPEN' END""",
    ),
    Rule(
        "payment-split",
        "a payment is what its allocations settled and what it put into the wallet; one by WALLET took from it",
        """SELECT p.id::text FROM payments p
             LEFT JOIN (SELECT payment_id, sum(amount_minor) AS minor FROM allocations
                         WHERE tenant_id = :tenant GROUP BY 1) settled ON settled.payment_id = p.id
             LEFT JOIN (SELECT j.payment_id, -sum(q.amount_minor) AS minor FROM journals j
                          JOIN postings q ON q.tenant_id = j.tenant_id AND q.journal_id = j.id
                         WHERE j.tenant_id = :tenant AND j.refund_id IS NULL AND q.account = 'WALLET' GROUP BY 1) kept
               ON kept.payment_id = p.id
            WHERE p.tenant_id = :tenant AND p.status IN ('COMPLETED', 'REFUNDED')
              AND CASE p.method WHEN 'WALLET' THEN 0 ELSE p.amount_minor END
                  <> COALESCE(settled.minor, 0) + COALESCE(kept.minor, 0)""",
    ),
    Rule(
        "billed-periods",
        "no time is charged on an invoice that is void, or not open yet",
        """SELECT p.id::text FROM billed_periods p JOIN invoices i ON i.tenant_id = p.tenant_id AND i.id = p.invoice_id
            WHERE p.tenant_id = :tenant AND p.released_at IS NULL AND i.status IN ('DRAFT', 'VOID')""",
    ),
    Rule(
        "billing-runs",
        "a run bills at least one period of each service it counts, and tells of what failed",
        """SELECT id::text FROM billing_runs WHERE tenant_id = :tenant AND (
                  LEAST(services, failed, subtotal_minor, tax_minor) < 0 OR invoices < services
                  OR jsonb_array_length(failures) <> LEAST(failed, 100) OR NOT dry_run AND lines <> '[]')""",
    ),
    Rule(
        "refunds",
        "no more of a payment was given back than it is, and one that was given back whole says so",
        """SELECT p.id::text FROM payments p
             LEFT JOIN (SELECT payment_id, sum(amount_minor) AS minor FROM refunds
                         WHERE tenant_id = :tenant GROUP BY 1) given ON given.payment_id = p.id
            WHERE p.tenant_id = :tenant AND p.status IN ('COMPLETED', 'REFUNDED') AND (
                  COALESCE(given.minor, 0) > p.amount_minor
                  OR p.method <> 'WALLET'
                  AND (p.status = 'REFUNDED') <> (COALESCE(given.minor, 0) = p.amount_minor))""",
    ),
    Rule(
        "refunds-in-the-ledger",
        "a refund left by the way its payment came",
        """SELECT r.id::text FROM refunds r JOIN payments p ON p.tenant_id = r.tenant_id AND p.id = r.payment_id
            WHERE r.tenant_id = :tenant AND p.method <> 'WALLET' AND r.amount_minor IS DISTINCT FROM (
              SELECT -sum(q.amount_minor) FROM journals j
                JOIN postings q ON q.tenant_id = j.tenant_id AND q.journal_id = j.id
               WHERE j.tenant_id = r.tenant_id AND j.refund_id = r.id AND q.account = 'CASH'
                 AND q.method = p.method)""",
    ),
    Rule(
        "allocations-within-payment",
        "no payment settles more than it is",
        """SELECT p.id::text FROM payments p JOIN allocations a ON a.tenant_id = p.tenant_id AND a.payment_id = p.id
            WHERE p.tenant_id = :tenant GROUP BY p.id HAVING sum(a.amount_minor) > p.amount_minor""",
    ),
    Rule(
        "allocations-of-own-customer",
        "a payment settles invoices of its own customer only",
        """SELECT a.id::text FROM allocations a
             JOIN payments p ON p.tenant_id = a.tenant_id AND p.id = a.payment_id
             JOIN invoices i ON i.tenant_id = a.tenant_id AND i.id = a.invoice_id
            WHERE a.tenant_id = :tenant AND p.customer_id <> i.customer_id""",
    ),
    Rule(
        "receivable",
        "what the ledger says a customer owes is what the customer's invoices say",
        """SELECT COALESCE(b.customer_id, l.customer_id)::text FROM (
               SELECT customer_id, sum(total_minor - paid_minor) AS minor FROM invoices
                WHERE tenant_id = :tenant AND status NOT IN ('DRAFT', 'VOID') GROUP BY customer_id) b
             FULL JOIN (
               SELECT customer_id, sum(amount_minor) AS minor FROM postings
                WHERE tenant_id = :tenant AND account = 'RECEIVABLE' GROUP BY customer_id) l
               ON l.customer_id = b.customer_id
            WHERE COALESCE(b.minor, 0) <> COALESCE(l.minor, 0)""",
    ),
    Rule(
        "wallets",
        "no wallet is below zero",
        """SELECT customer_id::text FROM postings WHERE tenant_id = :tenant AND account = 'WALLET'
            GROUP BY customer_id HAVING sum(amount_minor) > 0""",
    ),
    Rule(
        "balances",
        "every customer has a balance row, and it is the sums of the customer's postings",
        """SELECT c.id::text FROM customers c
             LEFT JOIN customer_balances b ON b.tenant_id = c.tenant_id AND b.customer_id = c.id
             LEFT JOIN (SELECT customer_id, sum(amount_minor) FILTER (WHERE account = 'RECEIVABLE') AS receivable,
                               -sum(amount_minor) FILTER (WHERE account = 'WALLET') AS wallet
                          FROM postings WHERE tenant_id = :tenant GROUP BY customer_id) l ON l.customer_id = c.id
            WHERE c.tenant_id = :tenant AND (b.receivable_minor, b.wallet_minor)
                  IS DISTINCT FROM (COALESCE(l.receivable, 0), COALESCE(l.wallet, 0))""",
    ),
    Rule(
        "numbers",
        "invoices and payments are numbered from 1 to the last of their series, each number once",
        """SELECT COALESCE(n.series, s.series) FROM (
               SELECT substring(number FROM '^(.*)-[0-9]+$') AS series, count(*) AS given,
                      count(DISTINCT number) AS different, max(substring(number FROM '[0-9]+$')::bigint) AS last
                 FROM (SELECT number FROM invoices WHERE tenant_id = :tenant AND number IS NOT NULL
                       UNION ALL SELECT number FROM payments WHERE tenant_id = :tenant) every GROUP BY 1) n
             FULL JOIN (SELECT series, last FROM number_series WHERE tenant_id = :tenant AND series <> 'ACCOUNT') s
               ON s.series = n.series
            WHERE (n.given, n.different, n.last) IS DISTINCT FROM (s.last, s.last, s.last)""",
    ),
    Rule(
        "account-numbers",
        "every account number that was taken belongs to a customer, or to one that was deleted",
        """SELECT (s.last - 100000)::text || ' taken' FROM number_series s
            WHERE s.tenant_id = :tenant AND s.series = 'ACCOUNT'
              AND s.last - 100000 <> (SELECT count(*) FROM customers c WHERE c.tenant_id = s.tenant_id)
                + (SELECT count(*) FROM audit_entries a
                    WHERE a.tenant_id = s.tenant_id AND a.action = 'customer.delete')""",
    ),
    Rule(
        "issue-order",
        "a later invoice number is never of an earlier day",
        """SELECT number FROM (
               SELECT number, issued_on, lag(issued_on) OVER (
                        PARTITION BY substring(number FROM '^(.*)-[0-9]+$')
                        ORDER BY substring(number FROM '[0-9]+$')::bigint) AS before
                 FROM invoices WHERE tenant_id = :tenant AND number IS NOT NULL) i
            WHERE issued_on IS NULL OR issued_on < before""",
    ),
    Rule(
        "drafts",
        "every completed draft made exactly one customer, and no two the same",
        """SELECT id::text FROM drafts WHERE tenant_id = :tenant
              AND (status = 'COMPLETED') <> (customer_id IS NOT NULL)
            UNION ALL
           SELECT customer_id::text FROM drafts WHERE tenant_id = :tenant AND customer_id IS NOT NULL
            GROUP BY customer_id HAVING count(*) > 1""",
    ),
    Rule(
        "services",
        "every service has a username and a sealed password",
        """SELECT id::text FROM services WHERE tenant_id = :tenant
              AND (username = '' OR octet_length(password) = 0)""",
    ),
    Rule(
        "active-customers",
        "every active customer has a service",
        """SELECT c.id::text FROM customers c WHERE c.tenant_id = :tenant AND c.status = 'ACTIVE'
              AND NOT EXISTS (SELECT FROM services s WHERE s.tenant_id = c.tenant_id AND s.customer_id = c.id)""",
    ),
    Rule(
        "sessions",
        "a session is open until it has stopped, and its counters never fall below what they began at",
        """SELECT id::text FROM sessions WHERE tenant_id = :tenant AND NOT (
                  state IN ('OPEN', 'STOPPED', 'STALE') AND (state = 'OPEN') = (stopped_at IS NULL)
              AND connection_type IN ('PPPOE', 'HOTSPOT', 'STATIC_IP', 'OTHER')
              AND duration_seconds >= 0 AND input_base BETWEEN 0 AND input_octets
              AND output_base BETWEEN 0 AND output_octets)""",
    ),
    Rule(
        "open-sessions",
        "the sessions that are listed as open are those that are",
        """SELECT COALESCE(s.id, o.session_id)::text
             FROM (SELECT * FROM sessions WHERE tenant_id = :tenant AND stopped_at IS NULL) s
             FULL JOIN (SELECT * FROM open_sessions WHERE tenant_id = :tenant) o
               ON (o.session_id, o.started_at, o.unique_id) = (s.id, s.started_at, s.unique_id)
            WHERE (s.customer_id, s.service_id, s.router_id, s.mac_address) IS DISTINCT FROM
                  (o.customer_id, o.service_id, o.router_id, o.mac_address) OR s.id IS NULL OR o.session_id IS NULL""",
    ),
    Rule(
        "usage",
        "usage is never below zero, and its quarters of an hour are those of UTC",
        """SELECT service_id || ' ' || day FROM usage_days WHERE tenant_id = :tenant
              AND LEAST(input_octets, output_octets, seconds) < 0
            UNION ALL
           SELECT service_id || ' ' || starts_at FROM usage_buckets WHERE tenant_id = :tenant
              AND (LEAST(input_octets, output_octets, seconds) < 0 OR extract(epoch FROM starts_at) % 900 <> 0)""",
    ),
    Rule(
        "jobs",
        "no running job has been without its lease for two minutes",
        """SELECT id::text FROM jobs WHERE tenant_id = :tenant AND status = 'RUNNING'
              AND next_attempt_at < CAST(:now AS timestamptz) - interval '120 seconds'""",
    ),
)


async def check(database: Database) -> list[Finding]:
    """Try every rule on every tenant. `database` is the owner's."""
    findings = [Finding(rule) for rule in RULES]
    now = clock.now()
    async with database.read(None) as session:
        tenants = (await session.execute(select(Tenant.id, Tenant.slug).order_by(Tenant.slug))).all()
    for tenant_id, slug in tenants:
        async with database.read(tenant_id) as session:
            await session.execute(text("SET LOCAL statement_timeout = '10min'"))
            for finding in findings:
                _note(finding, slug, await breaches(session, finding.rule, tenant_id, now))
    return findings


async def breaches(session: AsyncSession, rule: Rule, tenant_id: UUID, now: datetime) -> Sequence[str]:
    """The culprits of one rule in one tenant."""
    values = {"tenant": tenant_id} | ({"now": now} if ":now" in rule.query else {})
    return (await session.scalars(text(rule.query), values)).all()


def _note(finding: Finding, slug: str, culprits: Sequence[str]) -> None:
    finding.broken += len(culprits)
    room = SHOWN - len(finding.culprits)
    finding.culprits += [f"{slug}: {culprit}" for culprit in culprits[:room]]


def report(findings: Sequence[Finding], as_json: bool, out: TextIO) -> None:
    """One line for each rule, and under a broken one its first culprits; or all of it as one JSON object."""
    if as_json:
        rules = [
            {"name": f.rule.name, "meaning": f.rule.meaning, "broken": f.broken, "culprits": f.culprits}
            for f in findings
        ]
        out.write(json.dumps({"ok": not any(f.broken for f in findings), "rules": rules}, indent=2) + "\n")
        return
    for finding in findings:
        state = f"BROKEN {finding.broken}" if finding.broken else "ok"
        out.write(f"{finding.rule.name:28} {state:10} {finding.rule.meaning}\n")
        for culprit in finding.culprits:
            out.write(f"    {culprit}\n")


async def _checked(url: str) -> list[Finding]:
    database = Database(url, pool_size=1)
    try:
        return await check(database)
    finally:
        await database.dispose()


def main(settings: Settings, as_json: bool) -> int:
    """Check, report on standard output, and give the exit status: 1 when any rule is broken.

    Raises SettingsError without the owner's database.
    """
    if settings.owner_database_url is None:
        raise SettingsError("ISPGRAPH_OWNER_DATABASE_URL is not set")
    findings = asyncio.run(_checked(settings.owner_database_url))
    report(findings, as_json, sys.stdout)
    return 1 if any(finding.broken for finding in findings) else 0
