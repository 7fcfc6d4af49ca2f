"""What must be true of vouchers at every moment: as `invariant_rules`."""

from ispgraph.invariant_rules import Rule

RULES = (
    Rule(
        "voucher-batches",
        "a batch has the vouchers that it says, and what was given back of it was cancelled",
        """SELECT b.id::text FROM voucher_batches b LEFT JOIN (
               SELECT batch_id, count(*) AS made, count(cancelled_at) AS cancelled, max(number) AS last
                 FROM vouchers WHERE tenant_id = :tenant GROUP BY 1) v ON v.batch_id = b.id
            WHERE b.tenant_id = :tenant AND ((b.made, b.made) <> (COALESCE(v.made, 0), COALESCE(v.last, 0))
                  OR b.returned <> COALESCE(v.cancelled, 0)
                     + CASE WHEN b.cancelled_at IS NULL THEN 0 ELSE b.count - b.made END)""",
    ),
    Rule(
        "vouchers",
        "a voucher that was redeemed has paid what it is worth for whoever redeemed it, and no other payment is by one",
        """SELECT COALESCE(v.id, p.id)::text FROM (
               SELECT v.*, b.price_minor FROM vouchers v
                 JOIN voucher_batches b ON b.tenant_id = v.tenant_id AND b.id = v.batch_id
                WHERE v.tenant_id = :tenant AND v.redeemed_at IS NOT NULL) v
             FULL JOIN (SELECT * FROM payments WHERE tenant_id = :tenant AND method = 'VOUCHER') p
               ON p.id = v.payment_id
            WHERE CASE WHEN v.price_minor = 0 THEN p.id IS NOT NULL
                       ELSE (v.price_minor, v.redeemed_by_id, 'COMPLETED')
                            IS DISTINCT FROM (p.amount_minor, p.customer_id, p.status) END""",
    ),
    Rule(
        "voucher-account",
        "the account of vouchers holds what was redeemed, less what was paid for and not given back",
        """SELECT q.minor || ' booked, ' || (r.minor - s.minor) || ' due' FROM
               (SELECT COALESCE(sum(amount_minor), 0) AS minor FROM postings
                 WHERE tenant_id = :tenant AND account = 'VOUCHERS') q,
               (SELECT COALESCE(sum(b.price_minor), 0) AS minor FROM vouchers v
                  JOIN voucher_batches b ON b.tenant_id = v.tenant_id AND b.id = v.batch_id
                 WHERE v.tenant_id = :tenant AND v.redeemed_at IS NOT NULL) r,
               (SELECT COALESCE(sum(price_minor * CASE WHEN paid_by_id IS NULL THEN sold ELSE count - returned END), 0)
                       AS minor FROM voucher_batches WHERE tenant_id = :tenant) s
            WHERE q.minor <> r.minor - s.minor""",
    ),
)
