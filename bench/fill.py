"""The rows of a data set, as SQL that makes them in sets: every figure follows from a row's number and the seed.

Rows are put in as a running house would get them, in the order of time, so that the rows of one customer lie scattered
over the pages of a table. Statements run as superuser with triggers off; what triggers keep is filled here as well.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from bench.names import FIRST, SYLLABLES

MONTHS = 12
DAYS = 31
SESSION_DAYS = 45
TAX_PERCENT = 5
ZONE = "Asia/Dhaka"

# (name, down kbit/s, up kbit/s, price in minor units)
PACKAGES = [
    ("Home 10", 10_000, 5_000, 50_000),
    ("Home 20", 20_000, 10_000, 80_000),
    ("Home 40", 40_000, 20_000, 110_000),
    ("Home 60", 60_000, 30_000, 140_000),
    ("Office 100", 100_000, 50_000, 250_000),
    ("Night Owl 30", 30_000, 15_000, 60_000),
]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to make. `until` is the instant at which the data ends."""

    customers: int
    sessions: int
    seed: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """One statement that fills `table` (or a table of the scaffolding)."""

    table: str
    sql: str


def functions(plan: Plan) -> str:
    """The scaffolding: a schema with a random function and a maker of ids, both fixed by the seed."""
    return f"""
    DROP SCHEMA IF EXISTS bench CASCADE;
    CREATE SCHEMA bench;
    -- A number from 0 to 2^31-1 for the n-th row of a kind.
    CREATE FUNCTION bench.chance(kind text, n bigint) RETURNS bigint IMMUTABLE PARALLEL SAFE LANGUAGE sql AS $$
      SELECT hashint8extended(n, hashtextextended(kind, {plan.seed})) & 2147483647
    $$;
    -- A UUIDv7 of an instant, the same one each time.
    CREATE FUNCTION bench.id(kind text, n bigint, at timestamptz) RETURNS uuid STABLE PARALLEL SAFE LANGUAGE sql
    AS $$
      SELECT overlay(overlay(
        lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
          || left(md5(kind || n::text || ':{plan.seed}'), 20)
        placing '7' from 13 for 1) placing '8' from 17 for 1)::uuid
    $$;
    CREATE FUNCTION bench.pick(texts text[], n bigint) RETURNS text IMMUTABLE PARALLEL SAFE LANGUAGE sql AS $$
      SELECT texts[1 + n % cardinality(texts)]
    $$;
    """


def _instant(value: datetime) -> str:
    return f"timestamptz '{value.isoformat()}'"


def _texts(values: list[str]) -> str:
    return "ARRAY[" + ", ".join(f"'{value}'" for value in values) + "]"


def scaffold(plan: Plan, first: UUID, second: UUID) -> list[Step]:
    """Tables without a log that the rest is made from: customers, bills (an invoice with its payment), shares.

    Customer `n` (from 0) belongs to the tenant `second` when n % 10 = 9, else to `first`.
    """
    until = _instant(plan.until)
    return [
        Step(
            "bench.customers",
            f"""
    CREATE UNLOGGED TABLE bench.customers AS
    SELECT n, tenant_id, row_number() OVER (PARTITION BY tenant_id ORDER BY n) AS rank,
           bench.id('customer', n, joined_at) AS id, bench.id('service', n, joined_at) AS service_id, joined_at,
           initcap(bench.pick({_texts(FIRST)}, bench.chance('first', n))) AS first_name,
           initcap(bench.pick({_texts(SYLLABLES)}, bench.chance('second', n))
             || bench.pick({_texts(SYLLABLES)}, bench.chance('third', n))
             || CASE WHEN n % 3 = 0 THEN bench.pick({_texts(SYLLABLES)}, bench.chance('fourth', n)) ELSE '' END)
             AS last_name,
           CASE WHEN chance < 92 THEN 'ACTIVE' WHEN chance < 96 THEN 'SUSPENDED' WHEN chance < 99 THEN 'EXPIRED'
                ELSE 'TERMINATED' END AS status,
           CASE WHEN n % 20 = 3 THEN 'STATIC_IP' WHEN n % 10 = 4 THEN 'HOTSPOT' ELSE 'PPPOE' END AS connection_type,
           -- How the last month was paid: EXACT, LATE (two payments for the month before), PART, AHEAD.
           CASE WHEN pays < 75 THEN 'EXACT' WHEN pays < 85 THEN 'LATE' WHEN pays < 92 THEN 'PART' ELSE 'AHEAD' END
             AS habit,
           {until} - make_interval(days => (1 + bench.chance('anchor', n) % 28)::int,
                                   secs => bench.chance('minute', n) % 36000) AS last_billed_at
      FROM (SELECT n, CASE WHEN n % 10 = 9 THEN '{second}'::uuid ELSE '{first}'::uuid END AS tenant_id,
                   {until} - interval '400 days' - interval '700 days' * (1 - n::float8 / {plan.customers})
                     AS joined_at,
                   bench.chance('status', n) % 100 AS chance, bench.chance('pays', n) % 100 AS pays
              FROM generate_series(0, {plan.customers - 1}) n) c
    """,
        ),
        Step("bench.customers", "ANALYZE bench.customers"),
        Step(
            "bench.bills",
            f"""
    CREATE UNLOGGED TABLE bench.bills AS
    SELECT b.*, bench.id('invoice', k, at) AS invoice_id, bench.id('payment', k, paid_at) AS payment_id,
           net + net * {TAX_PERCENT} / 100 AS total,
           row_number() OVER (PARTITION BY tenant_id, date_part('year', at AT TIME ZONE '{ZONE}') ORDER BY at, k)
             AS invoice_number,
           row_number() OVER (PARTITION BY tenant_id, date_part('year', paid_at AT TIME ZONE '{ZONE}')
                              ORDER BY paid_at, k) AS payment_number
      FROM (SELECT c.tenant_id, c.n, c.id AS customer_id, c.service_id, c.habit, month,
                   c.n::bigint * {MONTHS} + month AS k,
                   p.id AS package_id, p.name AS package_name, p.price_minor AS net,
                   c.last_billed_at - make_interval(months => {MONTHS} - month) AS at,
                   c.last_billed_at - make_interval(months => {MONTHS} - month)
                     + make_interval(mins => (1 + bench.chance('paid', c.n * 100 + month) % 1400)::int) AS paid_at
              FROM bench.customers c
              JOIN (SELECT *, row_number() OVER (PARTITION BY tenant_id ORDER BY id) - 1 AS place,
                           count(*) OVER (PARTITION BY tenant_id) AS places FROM packages) p
                ON p.tenant_id = c.tenant_id AND p.place = bench.chance('package', c.n) % p.places
             CROSS JOIN generate_series(1, {MONTHS}) month) b
     ORDER BY at, k
    """,
        ),
        Step("bench.bills", "ANALYZE bench.bills"),
        # What of the payment settles this invoice, and what another invoice or the wallet gets.
        Step(
            "bench.shares",
            f"""
    CREATE UNLOGGED TABLE bench.shares AS
    SELECT *, CASE WHEN habit = 'LATE' AND month = {MONTHS - 1} THEN total
                   WHEN habit = 'LATE' AND month = {MONTHS} THEN 0 ELSE settles END AS paid,
           CASE WHEN habit = 'AHEAD' AND month = {MONTHS} THEN 20000 ELSE 0 END AS kept
      FROM (SELECT *, CASE WHEN habit = 'LATE' AND month = {MONTHS - 1} THEN total / 2
                           WHEN habit = 'LATE' AND month = {MONTHS} THEN total - total / 2
                           WHEN habit = 'PART' AND month = {MONTHS} THEN total * 2 / 5 ELSE total END AS settles,
                   CASE WHEN habit = 'LATE' AND month = {MONTHS} THEN
                     bench.id('invoice', k - 1, at - interval '1 month') ELSE invoice_id END AS settled_id,
                   bench.pick({_texts(["CASH", "MOBILE_MONEY", "CASH", "BANK_TRANSFER", "MOBILE_MONEY", "CARD"])},
                              bench.chance('method', k)) AS method
              FROM bench.bills ORDER BY at, k) b
    """,
        ),
        Step("bench.shares", "ANALYZE bench.shares"),
    ]


def small(plan: Plan) -> list[Step]:
    """Customers with what there is one of for each: service, device, balance."""
    until = _instant(plan.until)
    keys = (
        "hmac('enc', decode(current_setting('bench.network_key'), 'hex'), 'sha256') AS enc, "
        "hmac('mac', decode(current_setting('bench.network_key'), 'hex'), 'sha256') AS mac"
    )
    return [
        Step(
            "customers",
            """
    INSERT INTO customers (id, tenant_id, account_number, version, name, mobile, email, street, city, country, zone_id,
                           operator_id, status, status_reason, joined_at, updated_at)
    SELECT c.id, c.tenant_id, (100000 + rank)::text, 1, first_name || ' ' || last_name,
           '+8801' || 3 + bench.chance('network', n) % 7 || lpad((bench.chance('mobile', n) % 100000000)::text, 8, '0'),
           lower(first_name || '.' || last_name) || n || '@example.net',
           1 + bench.chance('house', n) % 300 || ' ' || bench.pick(ARRAY['Mill', 'Station', 'Lake', 'Garden'], n)
             || ' Road', 'Example Town', 'Bangladesh', z.id, o.id, c.status,
           CASE WHEN c.status = 'SUSPENDED' THEN 'NON_PAYMENT' END, joined_at, joined_at
      FROM bench.customers c
      JOIN (SELECT tenant_id, id, row_number() OVER (PARTITION BY tenant_id ORDER BY id) - 1 AS place,
                   count(*) OVER (PARTITION BY tenant_id) AS places FROM zones) z
        ON z.tenant_id = c.tenant_id AND z.place = bench.chance('zone', n) % z.places
      JOIN operators o ON o.tenant_id = c.tenant_id AND o.email = CASE
             WHEN n % 10 = 9 THEN 'admin@other.bench.example'
             WHEN n % 100 = 7 THEN 'reseller@bench.example' WHEN n % 100 = 57 THEN 'shop@bench.example'
             WHEN n % 50 = 13 THEN 'reseller-2@bench.example' ELSE 'staff@bench.example' END
     ORDER BY n
    """,
        ),
        # Sealed as `ispgraph.domain.secrets` does, so that RADIUS can open them.
        Step(
            "services",
            f"""
    INSERT INTO services (id, tenant_id, customer_id, package_id, router_id, is_primary, connection_type, status,
                          username, password, ip_address, started_at, expires_at, auto_renew, desired_version,
                          applied_version, checked_at, created_at, provisioning, drift)
    SELECT service_id, tenant_id, id, package_id, router_id, true, connection_type, status, username,
           body || hmac(body || convert_to('service:' || tenant_id || ':' || service_id, 'UTF8'), mac, 'sha256'),
           CASE WHEN connection_type = 'STATIC_IP' THEN inet '100.64.0.0' + n END, joined_at,
           last_billed_at + CASE WHEN status = 'ACTIVE' THEN interval '1 month' ELSE interval '-1 month' END, true,
           1, 1, {until}, joined_at, 'APPLIED', '[]'
      FROM (SELECT c.*, b.package_id, r.id AS router_id, mac, lower(first_name || last_name) || c.n AS username,
                   '\\x01'::bytea || iv || encrypt_iv(convert_to('pass-' || c.n, 'UTF8'), enc, iv, 'aes-cbc/pad:pkcs')
                     AS body
              FROM (SELECT *, decode(md5('iv' || n || ':{plan.seed}'), 'hex') AS iv FROM bench.customers) c
              JOIN bench.bills b ON b.n = c.n AND b.month = {MONTHS}
              JOIN (SELECT tenant_id, id, row_number() OVER (PARTITION BY tenant_id ORDER BY id) - 1 AS place,
                           count(*) OVER (PARTITION BY tenant_id) AS places FROM routers) r
                ON r.tenant_id = c.tenant_id AND r.place = bench.chance('router', c.n) % r.places
             CROSS JOIN (SELECT {keys}) k) s
     ORDER BY n
    """,
        ),
        Step(
            "service_macs",
            """
    INSERT INTO service_macs (id, tenant_id, service_id, mac)
    SELECT bench.id('mac', n, joined_at), tenant_id, service_id, trunc('02:00:00:00:00:00'::macaddr)
             | ('02:00:' || regexp_replace(lpad(to_hex(n), 8, '0'), '(..)(..)(..)(..)', '\\1:\\2:\\3:\\4'))::macaddr
      FROM bench.customers WHERE connection_type = 'HOTSPOT' ORDER BY n
    """,
        ),
        Step(
            "customer_balances",
            """
    INSERT INTO customer_balances (tenant_id, customer_id, receivable_minor, wallet_minor)
    SELECT tenant_id, customer_id, sum(total - paid), sum(kept) FROM bench.shares GROUP BY n, tenant_id, customer_id
     ORDER BY n
    """,
        ),
    ]


def billing(plan: Plan) -> list[Step]:
    """Invoices with one line each, payments with their allocations."""
    return [
        Step(
            "invoices",
            f"""
    INSERT INTO invoices (id, tenant_id, customer_id, service_id, number, status, issued_on, due_on, period_start,
                          period_end, subtotal_minor, tax_minor, total_minor, paid_minor, created_at)
    SELECT invoice_id, tenant_id, customer_id, service_id,
           'INV-' || to_char(at AT TIME ZONE '{ZONE}', 'YYYY') || '-'
             || lpad(invoice_number::text, greatest(6, length(invoice_number::text)), '0'),
           CASE WHEN paid >= total THEN 'PAID' WHEN paid > 0 THEN 'PARTIALLY_PAID' ELSE 'OPEN' END,
           (at AT TIME ZONE '{ZONE}')::date, (at AT TIME ZONE '{ZONE}')::date + 7, at, at + interval '1 month',
           net, total - net, total, paid, at
      FROM bench.shares
    """,
        ),
        Step(
            "invoice_lines",
            f"""
    INSERT INTO invoice_lines (id, tenant_id, invoice_id, position, description, quantity, unit_price_minor,
                               amount_minor, tax_rate, tax_minor)
    SELECT bench.id('line', k, at), tenant_id, invoice_id, 1, package_name || ', one month', 1, net, net,
           {TAX_PERCENT}, total - net
      FROM bench.shares
    """,
        ),
        Step(
            "payments",
            f"""
    INSERT INTO payments (id, tenant_id, customer_id, number, amount_minor, method, status, category, reference,
                          received_at, collected_by_id)
    SELECT payment_id, s.tenant_id, customer_id,
           'PAY-' || to_char(paid_at AT TIME ZONE '{ZONE}', 'YYYY') || '-'
             || lpad(payment_number::text, greatest(6, length(payment_number::text)), '0'),
           settles + kept, method, 'COMPLETED', 'SERVICE', CASE WHEN method <> 'CASH' THEN 'ref-' || k END,
           paid_at, o.id
      FROM bench.shares s
      JOIN operators o ON o.tenant_id = s.tenant_id AND o.email IN ('staff@bench.example', 'admin@other.bench.example')
     ORDER BY paid_at, k
    """,
        ),
        Step(
            "allocations",
            """
    INSERT INTO allocations (id, tenant_id, payment_id, invoice_id, amount_minor, created_at)
    SELECT bench.id('allocation', k, paid_at), tenant_id, payment_id, settled_id, settles, paid_at
      FROM bench.shares ORDER BY paid_at, k
    """,
        ),
        Step(
            "number_series",
            """
    INSERT INTO number_series (tenant_id, series, last)
    SELECT tenant_id, 'ACCOUNT', 100000 + count(*) FROM bench.customers GROUP BY tenant_id
    UNION ALL
    SELECT tenant_id, left(number, 8), count(*) FROM invoices GROUP BY 1, 2
    UNION ALL
    SELECT tenant_id, left(number, 8), count(*) FROM payments GROUP BY 1, 2
    """,
        ),
    ]


def ledger(plan: Plan) -> list[Step]:
    """A balanced journal for each invoice and each payment, and their postings."""
    return [
        Step(
            "journals",
            """
    INSERT INTO journals (id, tenant_id, at, description, invoice_id, payment_id)
    SELECT * FROM (
      SELECT bench.id('issued', k, at), tenant_id, at, 'Invoice of ' || package_name, invoice_id, NULL::uuid
        FROM bench.shares
      UNION ALL
      SELECT bench.id('received', k, paid_at), tenant_id, paid_at, 'Payment by ' || method, NULL, payment_id
        FROM bench.shares) j (id, tenant_id, at, description, invoice_id, payment_id)
     ORDER BY at, id
    """,
        ),
        Step(
            "postings",
            """
    INSERT INTO postings (id, tenant_id, journal_id, account, customer_id, method, amount_minor)
    SELECT bench.id(account, k, at), tenant_id, journal_id, account,
           CASE WHEN account IN ('RECEIVABLE', 'WALLET') THEN customer_id END,
           CASE WHEN account = 'CASH' THEN method END, amount
      FROM (
        SELECT k * 2 AS k, at, tenant_id, bench.id('issued', k, at) AS journal_id, customer_id, method, p.*
          FROM bench.shares CROSS JOIN LATERAL (
            VALUES ('RECEIVABLE', total), ('REVENUE', -net), ('TAX', net - total)) p (account, amount)
        UNION ALL
        SELECT k * 2 + 1, paid_at, tenant_id, bench.id('received', k, paid_at), customer_id, method, p.*
          FROM bench.shares CROSS JOIN LATERAL (
            VALUES ('CASH', settles + kept), ('RECEIVABLE', -settles), ('WALLET', -kept)) p (account, amount)) p
     WHERE amount <> 0
     ORDER BY at, k
    """,
        ),
    ]


def usage(plan: Plan) -> list[Step]:
    """Sessions, and the days of usage. The number of sessions differs between customers and is exact in sum."""
    until, share = _instant(plan.until), plan.sessions // plan.customers // 2
    count = f"""((n + 1)::bigint * {plan.sessions} / {plan.customers} - n::bigint * {plan.sessions} / {plan.customers}
                 + CASE WHEN n % 2 = 0 AND n + 1 < {plan.customers} THEN 1 WHEN n % 2 = 0 THEN 0 ELSE -1 END
                   * (bench.chance('sessions', n / 2) % {share + 1}))::int"""
    return [
        Step(
            "sessions",
            f"""
    INSERT INTO sessions (id, tenant_id, customer_id, service_id, router_id, acct_session_id, unique_id, username,
                          connection_type, state, started_at, updated_at, stopped_at, duration_seconds, input_octets,
                          output_octets, ip_address, mac_address, nas_address, terminate_cause)
    SELECT bench.id('session', k, started_at), tenant_id, customer_id, service_id, router_id,
           '8' || lpad(to_hex(k), 7, '0'), md5('session' || k), username, connection_type,
           CASE WHEN is_open THEN 'OPEN' ELSE 'STOPPED' END, started_at,
           CASE WHEN is_open THEN {until} - make_interval(secs => k % 300) ELSE stopped_at END,
           CASE WHEN NOT is_open THEN stopped_at END,
           extract(epoch FROM stopped_at - started_at)::int,
           (extract(epoch FROM stopped_at - started_at) * (1000 + bench.chance('up', k) % 20000))::bigint,
           (extract(epoch FROM stopped_at - started_at) * (8000 + bench.chance('down', k) % 200000))::bigint,
           COALESCE(ip_address, inet '10.128.0.0' + n), NULL, radius_address,
           CASE WHEN NOT is_open THEN bench.pick(
             ARRAY['User-Request', 'Lost-Carrier', 'User-Request', 'Session-Timeout', 'Idle-Timeout'], k) END
      FROM (SELECT c.*, s.username, s.router_id, s.ip_address, r.radius_address, c.id AS customer_id,
                   c.n::bigint * 1000 + number AS k, c.n % 5 < 2 AND number = count AS is_open,
                   begun AS started_at,
                   CASE WHEN c.n % 5 < 2 AND number = count THEN date_trunc('second', {until})
                        ELSE begun + gap * (0.2 + 0.3 * bench.chance('long', c.n * 1000 + number) / 2147483648) END
                     AS stopped_at
              FROM (SELECT *, {count} AS count FROM bench.customers) c
              JOIN services s ON s.id = c.service_id
              JOIN routers r ON r.id = s.router_id
             CROSS JOIN LATERAL (SELECT interval '{SESSION_DAYS} days' / greatest(count, 1) AS gap) g
             CROSS JOIN LATERAL generate_series(1, count) number
             CROSS JOIN LATERAL (SELECT date_trunc('second', {until} - gap * (count - number + 1)
                       + gap * (0.5 * bench.chance('begun', c.n * 1000 + number) / 2147483648)) AS begun) b) s
     ORDER BY started_at, k
    """,
        ),
        Step(
            "open_sessions",
            """
    INSERT INTO open_sessions
    SELECT tenant_id, id, unique_id, started_at, customer_id, service_id, router_id, mac_address
      FROM sessions WHERE stopped_at IS NULL
    """,
        ),
        Step(
            "usage_days",
            f"""
    INSERT INTO usage_days (tenant_id, service_id, day, customer_id, input_octets, output_octets, seconds)
    SELECT tenant_id, service_id, ({until} AT TIME ZONE '{ZONE}')::date - back, id,
           bench.chance('day up', n * 100 + back), bench.chance('day down', n * 100 + back) * 8,
           3600 + bench.chance('day', n * 100 + back) % 80000
      FROM generate_series({DAYS - 1}, 0, -1) back CROSS JOIN bench.customers
     ORDER BY back DESC, n
    """,
        ),
    ]
