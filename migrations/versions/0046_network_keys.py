"""The network key can be changed: for a while the connection has several, and what any of them sealed is opened.

Recovery codes get a key of their own to be digested with, for nobody could digest them anew. A job remembers the trace
of what promised it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None

UNSEAL = """
CREATE OR REPLACE FUNCTION radius_unseal(p_blob bytea, p_bound_to text) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
  digits text := current_setting('ispgraph.network_key', true);
  body bytea := substr(p_blob, 1, length(p_blob) - 32);
  key bytea;
BEGIN
  -- A regular expression would take longer to look at the key than it takes to open the blob.
  IF (digits <> '' AND length(digits) % 64 = 0 AND translate(digits, '0123456789abcdef', '') = '') IS NOT TRUE THEN
    RAISE EXCEPTION 'this connection has no network key' USING ERRCODE = 'invalid_password';
  END IF;
  IF length(p_blob) >= 65 AND get_byte(p_blob, 0) = 1 THEN
    -- One key, or while it is being changed several, one behind the other.
    FOR n IN 0 .. length(digits) / 64 - 1 LOOP
      key := decode(substr(digits, 64 * n + 1, 64), 'hex');
      IF substr(p_blob, length(p_blob) - 31) = public.hmac(body || convert_to(p_bound_to, 'UTF8'),
                                                           public.hmac('mac'::bytea, key, 'sha256'), 'sha256') THEN
        RETURN convert_from(public.decrypt_iv(substr(body, 18), public.hmac('enc'::bytea, key, 'sha256'),
                                              substr(body, 2, 16), 'aes-cbc/pad:pkcs'), 'UTF8');
      END IF;
    END LOOP;
  END IF;
  RAISE EXCEPTION 'a sealed secret does not open with this network key' USING ERRCODE = 'invalid_password';
END $$
"""
# What is sealed of a voucher stays the same code; nothing else of it changes with that.
_ENDS_ONCE = """
CREATE OR REPLACE FUNCTION voucher_ends_once() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public
AS $$
DECLARE
  changes text[] := CASE WHEN current_setting('ispgraph.resealing', true) = 'yes' THEN ARRAY['code', 'lookup']
                         ELSE ARRAY['redeemed_at', 'redeemed_by_id', 'payment_id', 'cancelled_at'] END;
BEGIN
  IF (current_setting('ispgraph.resealing', true) = 'yes') IS NOT TRUE
     AND (OLD.redeemed_at IS NOT NULL OR OLD.cancelled_at IS NOT NULL) THEN
    RAISE EXCEPTION 'a voucher that was redeemed or cancelled stays so' USING ERRCODE = 'restrict_violation';
  END IF;
  IF to_jsonb(NEW) - changes <> to_jsonb(OLD) - changes THEN
    RAISE EXCEPTION 'a voucher stays what it is' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$
"""


def upgrade() -> None:
    op.execute(UNSEAL)
    op.execute(_ENDS_ONCE)
    op.add_column("second_factors", sa.Column("recovery_pepper", sa.LargeBinary(), nullable=True))
    op.add_column("jobs", sa.Column("traceparent", sa.String(55), nullable=True))
    op.execute("GRANT UPDATE (recovery_pepper) ON second_factors TO ispgraph_app")
    for table in ("import_chunks", "file_chunks"):
        op.execute(f"GRANT UPDATE (body) ON {table} TO ispgraph_app")


def downgrade() -> None:
    for table in ("import_chunks", "file_chunks"):
        op.execute(f"REVOKE UPDATE (body) ON {table} FROM ispgraph_app")
    op.drop_column("jobs", "traceparent")
    op.drop_column("second_factors", "recovery_pepper")
    folder = op.get_context().script
    assert folder is not None
    for revision, part, name in (("0028", "FUNCTIONS", "voucher_ends_once"), ("0019", "REPLACED", "radius_unseal")):
        texts = getattr(folder.get_revision(revision).module, part).strip().split("\n\n")
        made = (f"CREATE FUNCTION {name}(", f"CREATE OR REPLACE FUNCTION {name}(")
        (former,) = [each for each in texts if each.startswith(made)]
        op.execute(former.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1))
