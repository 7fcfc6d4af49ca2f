"""What must be true of the books at every moment, one SQL query per rule: see `invariants`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """`query` selects the breaches of one tenant, `:tenant`, one text column each; `:now` is the product's clock."""

    name: str
    meaning: str
    query: str


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
        "releases",
        "what an allocation has released is the sum of its releases",
        """SELECT a.id::text FROM allocations a LEFT JOIN (
               SELECT allocation_id, sum(amount_minor) AS minor FROM allocation_releases
                WHERE tenant_id = :tenant GROUP BY 1) freed ON freed.allocation_id = a.id
            WHERE a.tenant_id = :tenant AND a.released_minor <> COALESCE(freed.minor, 0)""",
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
        "given-back",
        "time was given back by a document that counts, and of an invoice that is not void",
        """SELECT p.id::text FROM billed_periods p
             JOIN invoices i ON i.tenant_id = p.tenant_id AND i.id = p.invoice_id
             JOIN invoices d ON d.tenant_id = p.tenant_id AND d.id = p.given_back_by_id
            WHERE p.tenant_id = :tenant AND (d.status IN ('DRAFT', 'VOID') OR i.status IN ('DRAFT', 'VOID')
                  OR i.customer_id <> d.customer_id)""",
    ),
    Rule(
        "credit-notes",
        "what a credit note gives went into the wallet of its customer, who had the invoice that it credits",
        """SELECT n.id::text FROM invoices n JOIN invoices i ON i.tenant_id = n.tenant_id AND i.id = n.credits_id
            WHERE n.tenant_id = :tenant AND n.kind = 'CREDIT_NOTE' AND n.status <> 'DRAFT'
              AND (n.customer_id <> i.customer_id OR i.kind <> 'INVOICE'
                   OR i.status IN ('DRAFT', 'VOID') AND n.status <> 'VOID'
                   OR (SELECT COALESCE(sum(q.amount_minor), 0) FROM journals j
                         JOIN postings q ON q.tenant_id = j.tenant_id AND q.journal_id = j.id
                        WHERE j.tenant_id = n.tenant_id AND j.invoice_id = n.id AND q.account = 'WALLET')
                      <> CASE n.status WHEN 'VOID' THEN 0 ELSE n.total_minor END)""",
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
        "refunds-undone",
        "a refund is undone, as a whole, where the gateway has refused it, and nowhere else",
        """SELECT r.id::text FROM refunds r
             LEFT JOIN gateway_refunds g ON g.tenant_id = r.tenant_id AND g.refund_id = r.id
             LEFT JOIN refunds u ON u.tenant_id = r.tenant_id AND u.undoes_id = r.id
            WHERE r.tenant_id = :tenant AND ((u.id IS NULL) <> (g.state IS DISTINCT FROM 'FAILED')
                  OR (u.payment_id, -u.amount_minor) IS DISTINCT FROM (r.payment_id, r.amount_minor)
                     AND u.id IS NOT NULL)""",
    ),
    Rule(
        "gateway-refunds",
        "a refund by a gateway is of the payment that came by it",
        """SELECT g.id::text FROM gateway_refunds g
             JOIN refunds r ON r.tenant_id = g.tenant_id AND r.id = g.refund_id
             LEFT JOIN gateway_payments a ON a.tenant_id = g.tenant_id AND a.id = g.gateway_payment_id
            WHERE g.tenant_id = :tenant AND (a.payment_id IS DISTINCT FROM r.payment_id
                  OR a.customer_id IS DISTINCT FROM g.customer_id)""",
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
                WHERE tenant_id = :tenant AND kind = 'INVOICE' AND status NOT IN ('DRAFT', 'VOID')
                GROUP BY customer_id) b
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
        "commissions",
        "what operators have earned by an invoice is by their rates, of what settles it still; and so it was booked",
        """SELECT COALESCE(e.invoice_id, b.invoice_id) || ' ' || COALESCE(e.operator_id, b.operator_id) FROM (
               SELECT s.invoice_id, s.operator_id, i.total_minor::numeric * i.total_minor * 200000 AS twice, sum(
                        CASE WHEN r.percent IS NULL THEN LEAST(r.fixed_minor, i.subtotal_minor)::numeric * 100000
                             ELSE r.percent * 1000 * i.subtotal_minor END
                        * (a.amount_minor - a.released_minor)) * GREATEST(0, i.total_minor - COALESCE((
                          SELECT -sum(n.total_minor) FROM invoices n
                           WHERE n.tenant_id = :tenant AND n.credits_id = s.invoice_id AND n.status <> 'VOID'), 0))
                        AS minor
                 FROM commission_shares s
                 JOIN allocations a ON a.tenant_id = s.tenant_id AND a.id = s.allocation_id
                 JOIN invoices i ON i.tenant_id = s.tenant_id AND i.id = s.invoice_id
                 JOIN commission_rates r ON r.tenant_id = s.tenant_id AND r.id = s.rate_id
                WHERE s.tenant_id = :tenant GROUP BY s.invoice_id, s.operator_id, i.total_minor) e
             FULL JOIN (
               SELECT invoice_id, operator_id, sum(amount_minor) AS minor FROM commissions
                WHERE tenant_id = :tenant GROUP BY invoice_id, operator_id) b
               ON (b.invoice_id, b.operator_id) = (e.invoice_id, e.operator_id)
            WHERE COALESCE(b.minor, 0) <> COALESCE(div(2 * e.minor + e.twice / 2, e.twice), 0)""",
    ),
    Rule(
        "commission-shares",
        "an allocation earns for its own invoice, by a rate of the operator's own that had begun",
        """SELECT s.id::text FROM commission_shares s
             JOIN allocations a ON a.tenant_id = s.tenant_id AND a.id = s.allocation_id
             JOIN commission_rates r ON r.tenant_id = s.tenant_id AND r.id = s.rate_id
            WHERE s.tenant_id = :tenant AND (a.invoice_id <> s.invoice_id OR r.operator_id <> s.operator_id
                  OR r.valid_from > a.created_at)""",
    ),
    Rule(
        "operator-wallets",
        "what stands in the wallets of operators is commission, or a payment of theirs",
        """SELECT COALESCE(w.journal_id, c.journal_id) || ' ' || COALESCE(w.operator_id, c.operator_id) FROM (
               SELECT journal_id, operator_id, -sum(amount_minor) AS minor FROM postings
                WHERE tenant_id = :tenant AND account = 'OPERATOR_WALLET' GROUP BY 1, 2) w
             FULL JOIN (
               SELECT journal_id, operator_id, amount_minor AS minor FROM commissions WHERE tenant_id = :tenant
                UNION ALL
               SELECT journal_id, operator_id, amount_minor FROM operator_payments WHERE tenant_id = :tenant) c
               ON (c.journal_id, c.operator_id) = (w.journal_id, w.operator_id)
            WHERE w.minor IS DISTINCT FROM c.minor""",
    ),
    Rule(
        "commission-expense",
        "what commission costs is what operators have earned",
        """SELECT p.minor || ' booked, ' || c.minor || ' earned' FROM
               (SELECT COALESCE(sum(amount_minor), 0) AS minor FROM postings
                 WHERE tenant_id = :tenant AND account = 'COMMISSION') p,
               (SELECT COALESCE(sum(amount_minor), 0) AS minor FROM commissions WHERE tenant_id = :tenant) c
            WHERE p.minor <> c.minor""",
    ),
    Rule(
        "numbers",
        "invoices, payments and tickets are numbered from 1 to the last of their series, each number once",
        """SELECT COALESCE(n.series, s.series) FROM (
               SELECT substring(number FROM '^(.*)-[0-9]+$') AS series, count(*) AS given,
                      count(DISTINCT number) AS different, max(substring(number FROM '[0-9]+$')::bigint) AS last
                 FROM (SELECT number FROM invoices WHERE tenant_id = :tenant AND number IS NOT NULL
                       UNION ALL SELECT number FROM payments WHERE tenant_id = :tenant
                       UNION ALL SELECT number FROM tickets WHERE tenant_id = :tenant) every GROUP BY 1) n
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
        "dunning",
        "nothing was done about an invoice before its day, and nobody suspended for it before it was overdue",
        """SELECT d.invoice_id || ' ' || d.kind || ' ' || d.days FROM dunning_steps d
             JOIN invoices i ON i.tenant_id = d.tenant_id AND i.id = d.invoice_id
             JOIN tenants t ON t.id = d.tenant_id
            WHERE d.tenant_id = :tenant AND (timezone(t.time_zone, d.done_at)::date < d.planned_on
                  OR d.counted_from < i.due_on OR d.kind = 'SUSPENSION' AND d.planned_on <= i.due_on)""",
    ),
    Rule(
        "suspend-rules",
        "a service with a rule by which it is suspended has a day, and no other one has",
        """SELECT COALESCE(s.id, r.service_id)::text
             FROM (SELECT * FROM services WHERE tenant_id = :tenant AND suspend_on IS NOT NULL) s
             FULL JOIN (SELECT * FROM suspend_rules WHERE tenant_id = :tenant) r ON r.service_id = s.id
            WHERE s.id IS NULL OR r.service_id IS NULL""",
    ),
    Rule(
        "sms-credits",
        "an operator has the SMS credits that the entries sum to",
        """SELECT o.id::text FROM operators o LEFT JOIN (
               SELECT operator_id, sum(credits) AS credits FROM sms_credit_entries
                WHERE tenant_id = :tenant GROUP BY 1) e ON e.operator_id = o.id
            WHERE o.tenant_id = :tenant AND o.sms_credits <> COALESCE(e.credits, 0)""",
    ),
    Rule(
        "jobs",
        "no running job has been without its lease for two minutes",
        """SELECT id::text FROM jobs WHERE tenant_id = :tenant AND status = 'RUNNING'
              AND next_attempt_at < CAST(:now AS timestamptz) - interval '120 seconds'""",
    ),
)
