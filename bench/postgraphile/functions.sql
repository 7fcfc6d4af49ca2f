-- What PostGraphile cannot say with tables alone. Dropped again when a benchmark ends.
CREATE OR REPLACE FUNCTION public.search_customers(term text, wanted text) RETURNS SETOF public.customers
  LANGUAGE sql STABLE AS $$
  SELECT c.*
    FROM (SELECT key FROM public.customer_matches(ARRAY[term, NULL, NULL, NULL, NULL, NULL]) key ORDER BY key DESC) found
    JOIN public.customers c ON c.id = found.key
   WHERE c.status = wanted ORDER BY found.key DESC
$$;

CREATE OR REPLACE FUNCTION public.customers_month_bytes(c public.customers) RETURNS bigint
  LANGUAGE sql STABLE AS $$
  SELECT coalesce(sum(u.input_octets + u.output_octets), 0)::bigint FROM public.usage_days u
   WHERE u.tenant_id = c.tenant_id AND u.customer_id = c.id
     AND u.day >= current_setting('bench.month')::date AND u.day <= current_setting('bench.today')::date
$$;

-- As a relation, version 5 would read all balances for it: under row-level security its condition is no index condition.
CREATE OR REPLACE FUNCTION public.customers_balance_minor(c public.customers) RETURNS bigint
  LANGUAGE sql STABLE AS $$
  SELECT b.balance_minor FROM public.customer_balances b WHERE b.tenant_id = c.tenant_id AND b.customer_id = c.id
$$;

GRANT EXECUTE ON FUNCTION public.search_customers(text, text), public.customers_month_bytes(public.customers),
  public.customers_balance_minor(public.customers) TO ispgraph_app;

-- Version 4 would give this function and the table of tenants the same name.
COMMENT ON FUNCTION public.all_tenants() IS '@omit';
