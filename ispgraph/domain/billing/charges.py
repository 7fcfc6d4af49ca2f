"""Invoices for the periods of many services at once: the set-based twin of `bills.issue`.

One statement makes drafts with their lines, and claims the time; another numbers, opens and posts them. What a period
costs, and the words that say so, come from the SQL functions that say what `periods`, `proration`, `tax` and `money`
say.

Only an ACTIVE service is billed: who gets nothing is asked for nothing, so suspended time is not charged, nor made up
for later, and a service whose time is over because nobody renewed it is not renewed against its owner's will.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import money
from ispgraph.domain.billing import numbers, payments, periods
from ispgraph.domain.models import Invoice, Tenant
from ispgraph.domain.permissions import Viewer

MOST_PERIODS = 36
"""So many missed periods of one service are made up for at once."""
CHARGED = "A part of its time was charged before: what is left of that period was not."
TOO_LARGE = "The amount is too large."

DUE = """s.status = 'ACTIVE' AND s.expires_at <= :as_of AND b.auto_generate IS NOT FALSE
           AND 'ONE_TIME' NOT IN (k.billing_cycle, COALESCE(b.billing_cycle, k.billing_cycle))"""
"""Which services are billed: `s` is one, `k` its package, `b` the billing profile of its customer, if there is one, and
`:as_of` the moment by which its time has come to an end."""
AGREED = """CASE WHEN EXISTS (SELECT FROM price_overrides v WHERE v.tenant_id = s.tenant_id AND v.package_id = k.id)
                THEN package_price(s.customer_id, k.id, :at) ELSE k.price_minor END"""
"""What a period of the package costs the customer at the moment `:at`, in minor units: see `overrides`."""
PRICE = """CASE WHEN b.billing_cycle IS NULL THEN a.minor ELSE (
               SELECT billing_price(a.minor, CASE a.minor WHEN k.price_minor THEN k.daily_rate_minor END, z.months,
                                    z.days, y.months, y.days) FROM billing_cycle(k.billing_cycle, k.validity_days) z)
               END"""
"""What a period of the cycle `y` costs when that much, `a.minor`, is agreed for one of the package's own: see `cycles`
and `prices`."""

OF_SERVICES = """services s
      JOIN customers c ON c.tenant_id = s.tenant_id AND c.id = s.customer_id
      JOIN packages k ON k.tenant_id = s.tenant_id AND k.id = s.package_id
      LEFT JOIN billing_profiles b ON b.tenant_id = s.tenant_id AND b.customer_id = s.customer_id
     """
"""Services with what they are charged by."""
CYCLE = """billing_cycle(COALESCE(b.billing_cycle, k.billing_cycle),
                                        CASE COALESCE(b.billing_cycle, k.billing_cycle)
                                        WHEN k.billing_cycle THEN k.validity_days WHEN 'DAILY' THEN 1 ELSE 30 END)"""
"""How long a period is."""
_LIST = text(f"""
    SELECT s.id, LEAST({MOST_PERIODS}, 1 + floor(extract(epoch FROM :as_of - s.expires_at) / 86400
             / (28 * y.months + y.days)))::integer AS periods
      FROM {OF_SERVICES} CROSS JOIN LATERAL {CYCLE} y
     WHERE s.tenant_id = :tenant AND s.id > :after AND {DUE} ORDER BY s.id LIMIT :most""")  # noqa: S608
_STILL = text(f"""
    SELECT s.id FROM {OF_SERVICES}
     WHERE s.tenant_id = :tenant AND s.id = ANY (CAST(:services AS uuid[])) AND {DUE}""")  # noqa: S608
_COUNT = text(f"SELECT count(*) FROM {OF_SERVICES} WHERE s.tenant_id = :tenant AND {DUE}")  # noqa: S608

# What each period of each service costs. `LOCKED` is left out where nothing is written. The array is joined by its
# subscripts, on a thousand of which PostgreSQL counts: `= ANY (…)` and `unnest` let a plan that is kept for all arrays
# count on ten, and from the sixth chunk on go through thousands of rows for each of thousands.
_LOCKED = "FOR NO KEY UPDATE OF c, s SKIP LOCKED"
_PRICED = """
  due AS MATERIALIZED (
    SELECT s.id AS service_id, s.customer_id, s.package_id, s.expires_at, k.name, {price}::bigint AS price,
           COALESCE(s.billing_anchor, s.expires_at) AS anchor, COALESCE(own.rate, usual.rate, t.tax_rate) AS rate,
           t.tax_inclusive AS included, t.time_zone AS zone, t.currency, y.months, y.days
      FROM {services} JOIN generate_subscripts(CAST(:services AS uuid[]), 1) g
        ON s.id = (CAST(:services AS uuid[]))[g]
      JOIN tenants t ON t.id = s.tenant_id
      LEFT JOIN tax_profiles own ON own.tenant_id = k.tenant_id AND own.id = k.tax_profile_id
      LEFT JOIN tax_profiles usual ON usual.tenant_id = t.id AND usual.is_default
     CROSS JOIN LATERAL {cycle} y
     CROSS JOIN LATERAL (SELECT {agreed} AS minor) a
     WHERE s.tenant_id = :tenant AND {due}
     ORDER BY s.id {locked}),
  fit AS (
    SELECT *, price + CASE WHEN included THEN 0 ELSE billing_tax(price, rate, false) END <= {limit} AS fits FROM due),
  counted AS MATERIALIZED (
    SELECT d.*, row_number() OVER (ORDER BY d.service_id, m.starts) AS n, m.starts, m.ends, m.whole, m.days_left,
           m.days AS of_days, CASE WHEN m.whole THEN d.price ELSE billing_part(d.price, m.days_left, m.days) END AS part
      FROM fit d
     CROSS JOIN LATERAL billing_missed(d.anchor, d.zone, d.months, d.days, d.expires_at, :as_of, {most}) m
     WHERE d.fits),
  priced AS MATERIALIZED (
    SELECT p.*, billing_net(p.part, p.rate, p.included)::bigint AS net,
           billing_tax(p.part, p.rate, p.included)::bigint AS tax, {id} AS invoice_id FROM counted p)"""
_WORDS = """
    CROSS JOIN LATERAL (SELECT billing_cycle_words(p.months, p.days) AS cycle, p.days_left || ' of '
                               || billing_days_words(p.of_days) AS rest) w
    CROSS JOIN LATERAL (
      SELECT p.name || ', ' || CASE WHEN p.whole THEN w.cycle ELSE w.rest END || ', '
             || billing_span(p.starts AT TIME ZONE p.zone, p.ends AT TIME ZONE p.zone) AS description,
             CASE WHEN p.whole THEN w.cycle || ' at ' ELSE w.rest || ' of ' END
             || billing_shown(p.price, :exponent, p.currency) || ', ' || billing_taxed_words(p.rate, p.included) || '.'
             AS explanation) e"""


def _id(number: str) -> str:
    """A UUIDv7 of the instant `:ms` for each row: in the order of `number`, which is below 2**26."""
    counted = f"to_hex(28672 + ({number} >> 14)) || to_hex(32768 + ({number} & 16383))"
    return f"(lpad(to_hex(CAST(:ms AS bigint)), 12, '0') || {counted} || right(gen_random_uuid()::text, 12))::uuid"


def _priced(locked: str) -> str:
    return _PRICED.format(
        services=OF_SERVICES,
        price=PRICE,
        agreed=AGREED,
        cycle=CYCLE,
        due=DUE,
        locked=locked,
        limit=money.LIMIT_MINOR,
        most=MOST_PERIODS,
        id=_id("p.n"),
    )


_CHARGE = text(f"""
  WITH {_priced(_LOCKED)},
  charged AS (
    INSERT INTO billed_periods (id, tenant_id, service_id, invoice_id, package_id, starts_at, ends_at, price_minor,
                                tax_rate, tax_included)
    SELECT {_id("p.n")}, :tenant, p.service_id, p.invoice_id, p.package_id, p.starts, p.ends, p.part, p.rate, p.included
      FROM priced p ON CONFLICT DO NOTHING RETURNING invoice_id),
  made AS (
    INSERT INTO invoices (id, tenant_id, customer_id, service_id, status, period_start, period_end, subtotal_minor,
                          tax_minor, total_minor, paid_minor, created_at)
    SELECT p.invoice_id, :tenant, p.customer_id, p.service_id, 'DRAFT', p.starts, p.ends, p.net, p.tax, p.net + p.tax,
           0, :at FROM priced p JOIN charged USING (invoice_id)),
  lined AS (
    INSERT INTO invoice_lines (id, tenant_id, invoice_id, position, description, quantity, unit_price_minor,
                               amount_minor, tax_rate, tax_minor, tax_included, explanation)
    SELECT {_id("p.n")}, :tenant, p.invoice_id, 1, e.description, 1, p.part, p.net, p.rate, p.tax, p.included,
           e.explanation FROM priced p JOIN charged USING (invoice_id) {_WORDS}),
  moved AS (
    -- Of 31 January the end on 28 February says nothing: what the periods are counted from is kept.
    UPDATE services s SET expires_at = m.ends, billing_anchor = COALESCE(s.billing_anchor, s.expires_at)
      FROM (SELECT service_id, max(ends) AS ends FROM priced GROUP BY service_id) m
     WHERE s.tenant_id = :tenant AND s.id = m.service_id AND s.id = ANY (CAST(:services AS uuid[])))
  SELECT array_agg(c.invoice_id ORDER BY p.n) FILTER (WHERE c.invoice_id IS NOT NULL) AS invoices,
         array_agg(DISTINCT f.service_id) AS seen, array_agg(DISTINCT f.service_id) FILTER (WHERE NOT f.fits) AS large,
         array_agg(DISTINCT f.service_id) FILTER (WHERE f.fits AND c.invoice_id IS NULL) AS charged_before,
         count(DISTINCT f.service_id) FILTER (WHERE c.invoice_id IS NOT NULL) AS services,
         COALESCE(sum(p.net) FILTER (WHERE c.invoice_id IS NOT NULL), 0)::bigint AS subtotal,
         COALESCE(sum(p.tax) FILTER (WHERE c.invoice_id IS NOT NULL), 0)::bigint AS tax
    FROM fit f LEFT JOIN priced p USING (service_id) LEFT JOIN charged c USING (invoice_id)""")  # noqa: S608
# Said again where it follows: else a planner without statistics may read all invoices there are.
_THESE = "i.id = ANY (CAST(:invoices AS uuid[]))"
_OPEN = text(f"""
  WITH bill AS MATERIALIZED (
    SELECT i.id, i.customer_id, i.subtotal_minor, i.tax_minor, i.total_minor, u.n, :series || '-' || lpad(
             (:first + u.n - 1)::text, GREATEST(6, length((:first + u.n - 1)::text)), '0') AS number
      FROM generate_subscripts(CAST(:invoices AS uuid[]), 1) u (n)
      JOIN invoices i ON i.tenant_id = :tenant AND i.id = (CAST(:invoices AS uuid[]))[u.n]),
  opened AS (
    UPDATE invoices i SET number = b.number, issued_on = :issued_on, due_on = :due_on,
           status = CASE b.total_minor WHEN 0 THEN 'PAID' ELSE 'OPEN' END
      FROM bill b WHERE i.tenant_id = :tenant AND i.id = b.id AND {_THESE}),
  journal AS MATERIALIZED (SELECT b.*, {_id("b.n")} AS journal_id FROM bill b WHERE b.total_minor > 0),
  written AS (
    INSERT INTO journals (id, tenant_id, at, description, invoice_id, by_id)
    SELECT j.journal_id, :tenant, :at, 'Invoice ' || j.number, j.id, :by FROM journal j)
  INSERT INTO postings (id, tenant_id, journal_id, account, customer_id, amount_minor)
  SELECT {_id("(4 * j.n + v.n)")}, :tenant, j.journal_id, v.account, v.customer_id, v.minor FROM journal j
   CROSS JOIN LATERAL (VALUES (1, 'RECEIVABLE', j.customer_id, j.total_minor),
     (2, 'REVENUE', NULL, -j.subtotal_minor), (3, 'TAX', NULL, -j.tax_minor)) v (n, account, customer_id, minor)
   WHERE v.minor <> 0""")  # noqa: S608
_WALLETS = text(f"""
    SELECT i.customer_id, array_agg(i.id) AS invoices FROM invoices i
      JOIN customer_balances b ON b.tenant_id = i.tenant_id AND b.customer_id = i.customer_id AND b.wallet_minor > 0
     WHERE i.tenant_id = :tenant AND {_THESE} AND i.total_minor > 0
     GROUP BY i.customer_id ORDER BY i.customer_id""")  # noqa: S608
_TRY = text(f"""
  WITH {_priced("")}
  SELECT count(p.n) AS invoices, count(DISTINCT p.service_id) AS services, COALESCE(sum(p.net), 0)::bigint AS subtotal,
         COALESCE(sum(p.tax), 0)::bigint AS tax,
         array_agg(DISTINCT f.service_id) FILTER (WHERE NOT f.fits) AS large,
         COALESCE((SELECT json_agg(json_build_object(
             'service', l.service_id, 'customer', l.customer_id, 'description', l.description,
             'explanation', l.explanation, 'period_start', l.starts, 'period_end', l.ends, 'subtotal_minor', l.net,
             'tax_minor', l.tax, 'total_minor', l.net + l.tax) ORDER BY l.n)
           FROM (SELECT p.*, e.* FROM priced p {_WORDS} ORDER BY p.n LIMIT :shown) l), '[]') AS lines
    FROM fit f LEFT JOIN priced p USING (service_id)""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class Due:
    """A service that is due, and about how many periods of it are."""

    service_id: UUID
    periods: int


@dataclass(frozen=True, slots=True)
class Charged:
    """What was billed of some services, or would be; `seen` are those that were looked at: others are held by somebody
    else. `failures` says of a service why not all of it could be billed; `lines` is for a trial alone."""

    services: int = 0
    invoices: int = 0
    subtotal_minor: int = 0
    tax_minor: int = 0
    seen: frozenset[UUID] = frozenset()
    failures: Sequence[tuple[UUID, str]] = ()
    lines: Sequence[dict[str, Any]] = field(default=(), repr=False)


async def due(session: AsyncSession, tenant_id: UUID, as_of: datetime, after: UUID, most: int) -> list[Due]:
    """The services that are due after one, by their ids."""
    given = {"tenant": tenant_id, "as_of": as_of, "after": after, "most": most}
    return [Due(row.id, row.periods) for row in await session.execute(_LIST, given)]


async def count(session: AsyncSession, tenant_id: UUID, as_of: datetime) -> int:
    """How many services are due."""
    return await session.scalar(_COUNT, {"tenant": tenant_id, "as_of": as_of}) or 0


async def still_due(
    session: AsyncSession, tenant_id: UUID, as_of: datetime, services: Sequence[UUID]
) -> frozenset[UUID]:
    """Which of these services are due."""
    given = {"tenant": tenant_id, "as_of": as_of, "services": list(services)}
    return frozenset(await session.scalars(_STILL, given))


async def charge(
    session: AsyncSession, tenant: Tenant, services: Sequence[UUID], *, as_of: datetime, at: datetime, by: UUID | None
) -> Charged:
    """Bill every period of these services that came to an end by `as_of`, `at` this moment; wallets pay what they can.

    Those that are no longer due, or that somebody else is changing, are passed over. The customers are locked before
    their services, as everywhere, and then the counters of numbers to the end of the transaction. Whoever is off line
    because the time was over is noticed by the watch of the service, which tells the network; for others nothing
    changes there. `by` is an operator.
    """
    given = _given(tenant, services, as_of, at)
    row = (await session.execute(_CHARGE, given)).one()
    failures = [(key, TOO_LARGE) for key in row.large or ()] + [(key, CHARGED) for key in row.charged_before or ()]
    if row.invoices:
        await open_all(session, tenant, row.invoices, at=at, by=by)
        await _from_wallets(session, tenant, row.invoices, at)
    return Charged(row.services, len(row.invoices or ()), row.subtotal, row.tax, frozenset(row.seen or ()), failures)


async def attempt(
    session: AsyncSession, tenant: Tenant, services: Sequence[UUID], *, as_of: datetime, at: datetime, shown: int
) -> Charged:
    """What `charge` would do, with the first `shown` lines; nothing is written."""
    given = _given(tenant, services, as_of, at) | {"shown": shown}
    row = (await session.execute(_TRY, given)).one()
    failures = [(key, TOO_LARGE) for key in row.large or ()]
    return Charged(row.services, row.invoices, row.subtotal, row.tax, frozenset(services), failures, row.lines)


def _given(tenant: Tenant, services: Sequence[UUID], as_of: datetime, at: datetime) -> dict[str, object]:
    return {
        "tenant": tenant.id,
        "services": list(services),
        "as_of": as_of,
        "at": at,
        "ms": int(at.timestamp() * 1000),
        "exponent": money.exponent(tenant.currency),
    }


async def open_all(
    session: AsyncSession, tenant: Tenant, drafts: Sequence[UUID], *, at: datetime, by: UUID | None
) -> None:
    """`invoices.open` for many drafts, numbered in the order in which they are given; `by` is an operator."""
    today = periods.local_date(at, tenant.time_zone)
    series = numbers.invoice_series(today.year)
    first = await numbers.take_many(session, tenant.id, series, len(drafts))
    before = select(Invoice.issued_on).where(Invoice.number == numbers.invoice_number(today.year, first - 1))
    issued_on = max(today, await session.scalar(before) or today)
    given = {
        "tenant": tenant.id,
        "invoices": list(drafts),
        "series": series,
        "first": first,
        "issued_on": issued_on,
        "due_on": issued_on + timedelta(days=tenant.invoice_due_days),
        "at": at,
        "ms": int(at.timestamp() * 1000),
        "by": by,
    }
    await session.execute(_OPEN, given)


async def _from_wallets(session: AsyncSession, tenant: Tenant, opened: Sequence[UUID], at: datetime) -> None:
    rows = (await session.execute(_WALLETS, {"tenant": tenant.id, "invoices": list(opened)})).all()
    for customer_id, keys in rows:
        bills = (await session.scalars(select(Invoice).where(Invoice.id.in_(keys)))).all()
        nobody: Viewer | None = None
        await payments.from_wallet(session, tenant=tenant, customer_id=customer_id, invoices=bills, at=at, by=nobody)
