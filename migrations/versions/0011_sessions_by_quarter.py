"""Sessions lie by the quarter of the year in which they began, and those that are open are known by a small table.

What is written and what is mostly read is then in the newest partitions, whose indexes fit into memory however many
sessions there were, and the end of a session, like all that is heard of it, touches no index at all.

There is no default partition, for with one PostgreSQL would not read them one after the other: what began before the
first quarter (a router's clock may stand at 1970) is in sessions_before, what begins after the last in sessions_after.
The view sessions_now is the partition of the present quarter: ordinary packets need not even know of the others.
Months would cost what is read by hundreds of thousands of customers more than quarters do: see bench/README.md.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)

# Statements are separated by empty lines.
FUNCTIONS = """
CREATE FUNCTION session_is_open() RETURNS trigger
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, public AS $$
BEGIN
  -- A session has begun, goes on, has ended, or is no more.
  IF TG_OP <> 'DELETE' AND NEW.stopped_at IS NULL THEN
    INSERT INTO open_sessions (
      tenant_id, session_id, unique_id, started_at, customer_id, service_id, router_id, mac_address)
    VALUES (NEW.tenant_id, NEW.id, NEW.unique_id, NEW.started_at, NEW.customer_id, NEW.service_id, NEW.router_id,
            NEW.mac_address);
  ELSE
    DELETE FROM open_sessions o WHERE o.tenant_id = OLD.tenant_id AND o.session_id = OLD.id;
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION sessions_quarters(p_at timestamptz) RETURNS integer
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, public SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE
  begins timestamptz;
  ends timestamptz;
  made integer := 0;
BEGIN
  -- Makes the partitions of the quarter of p_at and of the two after it, at most ten at once; how many were missing.
  PERFORM sessions_turn(p_at);
  SELECT substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \\(''([^'']+)''\\)')::timestamptz INTO begins
    FROM pg_class c WHERE c.oid = 'sessions_after'::regclass;
  IF begins >= date_trunc('quarter', p_at) + interval '9 months' THEN
    RETURN 0;
  END IF;
  LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE;
  ALTER TABLE sessions DETACH PARTITION sessions_after;
  WHILE begins < date_trunc('quarter', p_at) + interval '9 months' AND made < 10 LOOP
    ends := begins + interval '3 months';
    EXECUTE format('CREATE TABLE public.%I PARTITION OF sessions FOR VALUES FROM (%L) TO (%L) WITH (fillfactor = 70)',
                   sessions_quarter(begins), begins, ends);
    -- Nothing has happened to what somebody's clock had put ahead.
    IF EXISTS (SELECT FROM sessions_after a WHERE a.started_at < ends) THEN
      EXECUTE format('ALTER TABLE %I DISABLE TRIGGER USER', sessions_quarter(begins));
      EXECUTE format('INSERT INTO %I SELECT * FROM sessions_after a WHERE a.started_at < %L', sessions_quarter(begins),
                     ends);
      EXECUTE format('ALTER TABLE %I ENABLE TRIGGER USER', sessions_quarter(begins));
      DELETE FROM sessions_after a WHERE a.started_at < ends;
    END IF;
    begins := ends;
    made := made + 1;
  END LOOP;
  EXECUTE format('ALTER TABLE sessions ATTACH PARTITION sessions_after FOR VALUES FROM (%L) TO (MAXVALUE)', begins);
  PERFORM sessions_turn(p_at);
  RETURN made;
END $$;

CREATE FUNCTION sessions_turn(p_at timestamptz) RETURNS void
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, public AS $$
DECLARE
  quarter text := sessions_quarter(p_at);
BEGIN
  -- Makes the quarter of p_at the present one, if there is such a partition. The columns beside those of the table are
  -- not for writing.
  IF to_regclass(quarter) IS NOT NULL
     AND pg_get_viewdef(to_regclass('sessions_now')) LIKE '%FROM ' || quarter || ' %' IS NOT TRUE THEN
    EXECUTE format('CREATE OR REPLACE VIEW public.sessions_now AS SELECT s.*, s.xmin AS written FROM %I s', quarter);
  END IF;
END $$;

CREATE FUNCTION sessions_quarter(p_begins timestamptz) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
  -- The name of a partition.
  SELECT to_char(p_begins AT TIME ZONE 'UTC', '"sessions_"YYYY"_q"Q')
$$;

CREATE FUNCTION sessions_forget(p_before timestamptz) RETURNS SETOF text
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, public SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE
  quarter text;
  ends timestamptz;
BEGIN
  -- Drops the quarters that had ended at p_before, the oldest first, with all their sessions; their names. Stops at one
  -- of which a session is open, and at the present. Usage stays. For the owner of the tables alone.
  LOOP
    SELECT c.relname, substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \\(''([^'']+)''\\)')::timestamptz
      INTO quarter, ends
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = 'sessions'::regclass AND c.relname ~ '^sessions_[0-9]{4}_q[1-4]$'
     ORDER BY c.relname LIMIT 1;
    EXIT WHEN quarter IS NULL OR ends > p_before
      OR pg_get_viewdef('sessions_now'::regclass) LIKE '%FROM ' || quarter || ' %'
      OR EXISTS (
      SELECT FROM open_sessions o WHERE o.started_at >= ends - interval '3 months' AND o.started_at < ends);
    LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('DROP TABLE %I', quarter);
    ALTER TABLE sessions DETACH PARTITION sessions_before;
    EXECUTE format('ALTER TABLE sessions ATTACH PARTITION sessions_before FOR VALUES FROM (MINVALUE) TO (%L)', ends);
    RETURN NEXT quarter;
  END LOOP;
END $$;
"""

NEW_FUNCTIONS = {
    "session_is_open()": None,
    "sessions_quarter(timestamptz)": None,
    "sessions_turn(timestamptz)": None,
    "sessions_quarters(timestamptz)": "ispgraph_app",
    "sessions_forget(timestamptz)": None,
}

# A plan made for the values at hand opens one partition alone, but takes longer to make than the packet does; one for
# any values is made once, and finds the one partition when it is run.
_GENERIC = ("SET search_path = pg_catalog, public AS $$", "SET search_path = pg_catalog, public\n  {} AS $$")
_PLANNED_ONCE = (_GENERIC[0], _GENERIC[1].format("SET plan_cache_mode = force_generic_plan"))
# Whatever PostgreSQL believes of the tables: any other way to join would read every partition.
_BY_KEY = (
    _GENERIC[0],
    _GENERIC[1].format(
        "SET plan_cache_mode = force_generic_plan\n"
        "  SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off"
    ),
)
_OF_PLACE = "s.tenant_id = tenant AND s.id = place.session_id AND s.started_at = place.started_at"
_OF_OPEN = "s.tenant_id = tenant AND s.id = o.session_id AND s.started_at = o.started_at"

# By revision and function: what stands there now, each passage once in the text, and what takes its place.
CHANGES: dict[tuple[str, str], list[tuple[str, str]]] = {
    ("0006", "radius_session_gone"): [
        _PLANNED_ONCE,
        (
            """
   WHERE s.tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid AND s.id = p_session
     AND s.stopped_at IS NULL AND s.updated_at <= p_at;""",
            """
   WHERE s.tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid AND s.id = p_session
     AND s.started_at = (SELECT o.started_at FROM open_sessions o
                          WHERE o.tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid
                            AND o.session_id = p_session)
     AND s.stopped_at IS NULL AND s.updated_at <= p_at;""",
        ),
    ],
    ("0007", "radius_accounting"): [
        _PLANNED_ONCE,
        ("SELECT s.id, s.xmin, s.service_id,", "SELECT s.id, s.written, s.service_id,"),
        (
            """
      FROM sessions s
     WHERE s.tenant_id = tenant AND s.unique_id = key AND s.state = 'OPEN' AND NOT s.octets_swapped
""",
            """
      FROM sessions_now s
     WHERE s.tenant_id = tenant AND s.router_id = router AND s.acct_session_id = p_session_id
       AND s.unique_id = key AND s.state = 'OPEN' AND NOT s.octets_swapped
""",
        ),
        (
            "UPDATE sessions s SET updated_at = happened, duration_seconds",
            "UPDATE sessions_now s SET updated_at = happened, duration_seconds",
        ),
        ("AND s.id = session AND s.xmin = version", "AND s.id = session AND s.written = version"),
        (
            """
  c_interim CONSTANT integer := 3;
""",
            """
  c_interim CONSTANT integer := 3;
  -- So long a packet may have been kept, beyond what it says of that itself: an end that is told after this is that of
  -- another session, unless the session is open. Every look at sessions says when they began, so that it is a look at
  -- one partition or two.
  c_kept CONSTANT interval := interval '31 days';
  earliest timestamptz;
  latest timestamptz;
  place open_sessions;
""",
        ),
        (
            """
    -- Looked for a second time behind a lock,""",
            """
    latest := happened - make_interval(secs => LEAST(2147483647, COALESCE(p_session_time, 0))) + c_kept;
    earliest := CASE WHEN p_session_time IS NULL AND p_status <> c_start THEN '-infinity'
                     ELSE latest - 2 * c_kept END;
    -- Looked for a second time behind a lock,""",
        ),
        (
            """
         WHERE s.tenant_id = tenant AND s.unique_id = key FOR NO KEY UPDATE;
""",
            f"""
         WHERE s.tenant_id = tenant AND s.router_id = router AND s.acct_session_id = p_session_id
           AND s.started_at BETWEEN earliest AND latest AND s.unique_id = key FOR NO KEY UPDATE;
        IF known.id IS NULL THEN
          SELECT o.* INTO place FROM open_sessions o WHERE o.tenant_id = tenant AND o.unique_id = key;
          IF FOUND THEN
            SELECT s.* INTO known FROM sessions s WHERE {_OF_PLACE} FOR NO KEY UPDATE;
          END IF;
        END IF;
""",
        ),
        (
            """s.acct_session_id = p_session_id AND s.class IS NULL
           AND lower(s.username) = lower(p_username)
""",
            """s.acct_session_id = p_session_id AND s.class IS NULL
           AND s.started_at BETWEEN earliest AND latest AND lower(s.username) = lower(p_username)
""",
        ),
        (
            """
      IF p_status <> c_stop THEN
        UPDATE sessions s SET state = 'STALE', stopped_at = s.updated_at, terminate_cause = 'Lost-Carrier'
         WHERE s.tenant_id = tenant AND s.router_id = router AND s.mac_address = device AND s.stopped_at IS NULL
           AND lower(s.username) = lower(p_username) AND s.started_at <= known.started_at AND s.id <> known.id;
""",
            f"""
      IF p_status <> c_stop THEN
        FOR place IN
          SELECT o.* FROM open_sessions o
           WHERE o.tenant_id = tenant AND o.router_id = router AND o.mac_address = device
             AND o.started_at <= known.started_at AND o.session_id <> known.id ORDER BY o.session_id
        LOOP
          UPDATE sessions s SET state = 'STALE', stopped_at = s.updated_at, terminate_cause = 'Lost-Carrier'
           WHERE {_OF_PLACE} AND s.stopped_at IS NULL AND lower(s.username) = lower(p_username);
        END LOOP;
""",
        ),
        (
            """
       WHERE s.tenant_id = tenant AND s.id = known.id;
""",
            """
       WHERE s.tenant_id = tenant AND s.id = known.id AND s.started_at = known.started_at;
""",
        ),
        (
            """
    UPDATE sessions s SET state = 'STOPPED', stopped_at = s.updated_at, terminate_cause = 'NAS-Reboot'
     WHERE s.tenant_id = tenant AND s.router_id = router AND s.stopped_at IS NULL AND s.started_at < happened;
""",
            f"""
    FOR place IN
      SELECT o.* FROM open_sessions o
       WHERE o.tenant_id = tenant AND o.router_id = router AND o.started_at < happened ORDER BY o.session_id
    LOOP
      UPDATE sessions s SET state = 'STOPPED', stopped_at = s.updated_at, terminate_cause = 'NAS-Reboot'
       WHERE {_OF_PLACE} AND s.stopped_at IS NULL;
    END LOOP;
""",
        ),
    ],
    ("0007", "radius_accounting_batch"): [
        _BY_KEY,
        (
            """
  keys text[];
""",
            """
  keys text[];
  -- When the first and the last of the sessions at hand began.
  oldest timestamptz;
  newest timestamptz;
""",
        ),
        (
            """
    PERFORM FROM sessions s
      WHERE s.tenant_id = tenant AND s.unique_id = ANY (keys) AND s.stopped_at IS NULL
      ORDER BY s.id FOR NO KEY UPDATE;
""",
            f"""
    SELECT min(o.started_at), max(o.started_at) INTO oldest, newest
      FROM (SELECT o.session_id, o.started_at FROM open_sessions o
             WHERE o.tenant_id = tenant AND o.unique_id = ANY (keys) ORDER BY o.session_id OFFSET 0) o,
           LATERAL (SELECT FROM sessions s WHERE {_OF_OPEN} AND s.stopped_at IS NULL FOR NO KEY UPDATE) s;
""",
        ),
        (
            """
        LEFT JOIN sessions s ON s.tenant_id = tenant AND s.unique_id = t.key AND s.stopped_at IS NULL,
""",
            f"""
        LEFT JOIN open_sessions o ON o.tenant_id = tenant AND o.unique_id = t.key
                                 AND o.started_at BETWEEN oldest AND newest
        LEFT JOIN LATERAL (
          SELECT s.* FROM sessions s WHERE {_OF_OPEN} AND s.stopped_at IS NULL OFFSET 0) s ON true,
""",
        ),
        (
            """
             GROUP BY t.session) m
     WHERE s.tenant_id = tenant AND s.id = m.session;
""",
            f"""
             GROUP BY t.session) m
      JOIN open_sessions o ON o.tenant_id = tenant AND o.session_id = m.session
     WHERE {_OF_OPEN} AND s.started_at BETWEEN oldest AND newest;
""",
        ),
    ],
    ("0007", "radius_sessions_silent"): [
        _BY_KEY,
        (
            """
  ended integer;
BEGIN
""",
            """
  ended integer;
  oldest timestamptz := (SELECT min(o.started_at) FROM open_sessions o WHERE o.tenant_id = tenant);
BEGIN
""",
        ),
        (
            """
      FROM sessions s
     WHERE s.tenant_id = tenant AND s.stopped_at IS NULL AND s.acct_session_id ~""",
            f"""
      FROM open_sessions o JOIN sessions s ON {_OF_OPEN}
     WHERE o.tenant_id = tenant AND s.started_at >= oldest AND s.stopped_at IS NULL AND s.acct_session_id ~""",
        ),
        (
            """
    SELECT s.id, b.router_id IS NOT NULL AS rebooted
      FROM sessions s
""",
            f"""
    SELECT s.id, s.started_at, b.router_id IS NOT NULL AS rebooted
      FROM open_sessions o JOIN sessions s ON {_OF_OPEN}
""",
        ),
        (
            """
     WHERE s.tenant_id = tenant AND s.stopped_at IS NULL AND (
""",
            """
     WHERE o.tenant_id = tenant AND s.started_at >= oldest AND s.stopped_at IS NULL AND (
""",
        ),
        (
            "WHERE s.tenant_id = tenant AND s.id = gone.id AND s.stopped_at IS NULL;",
            """WHERE s.tenant_id = tenant AND s.id = gone.id AND s.started_at = gone.started_at
     AND s.started_at >= oldest AND s.stopped_at IS NULL;""",
        ),
    ],
    ("0008", "limits_running"): [
        ("LANGUAGE sql STABLE", "LANGUAGE plpgsql STABLE"),
        _PLANNED_ONCE,
        (
            """
  SELECT COALESCE(sum(""",
            """
BEGIN
  IF NOT EXISTS (SELECT FROM open_sessions o WHERE o.tenant_id = p_tenant AND o.service_id = p_service) THEN
    RETURN 0;
  END IF;
  RETURN (SELECT COALESCE(sum(""",
        ),
        (
            """
    FROM sessions s WHERE s.tenant_id = p_tenant AND s.service_id = p_service AND s.stopped_at IS NULL
""",
            """
    FROM open_sessions o, LATERAL (
           SELECT s.updated_at FROM sessions s
            WHERE s.tenant_id = p_tenant AND s.id = o.session_id AND s.started_at = o.started_at
              AND s.stopped_at IS NULL OFFSET 0) s
   WHERE o.tenant_id = p_tenant AND o.service_id = p_service);
END """,
        ),
    ],
    ("0008", "watch_services"): [
        (
            "THEN o.policy || o.rate <> radius_policy_of(s.id, p_at) END)",
            """THEN (
                   SELECT t.policy || t.rate FROM sessions t
                    WHERE t.tenant_id = o.tenant_id AND t.id = o.session_id AND t.started_at = o.started_at)
                 <> radius_policy_of(s.id, p_at) END)""",
        ),
        (
            "FROM sessions o WHERE o.tenant_id = s.tenant_id AND o.service_id = s.id AND o.stopped_at IS NULL) e",
            "FROM open_sessions o WHERE o.tenant_id = s.tenant_id AND o.service_id = s.id) e",
        ),
    ],
    ("0010", "session_of_device"): [
        (
            """
        SELECT s.router_id FROM sessions s
         WHERE s.tenant_id = NEW.tenant_id AND s.service_id = NEW.service_id AND s.stopped_at IS NULL
           AND s.mac_address""",
            """
        SELECT s.router_id FROM open_sessions s
         WHERE s.tenant_id = NEW.tenant_id AND s.service_id = NEW.service_id
           AND s.mac_address""",
        ),
    ],
}

KEYS = """
ALTER TABLE sessions ADD CONSTRAINT pk_sessions PRIMARY KEY (id, started_at);
CREATE INDEX ix_sessions_customer ON sessions (tenant_id, customer_id, started_at, id);
CREATE INDEX ix_sessions_router ON sessions (tenant_id, router_id, acct_session_id, started_at)"""
FORMER_KEYS = """
ALTER TABLE sessions ADD CONSTRAINT pk_sessions PRIMARY KEY (id);
ALTER TABLE sessions ADD CONSTRAINT uq_sessions_tenant_id_id UNIQUE (tenant_id, id);
ALTER TABLE sessions ADD CONSTRAINT uq_sessions_tenant_id_unique_id UNIQUE (tenant_id, unique_id);
CREATE INDEX ix_sessions_customer ON sessions (tenant_id, customer_id, started_at, id);
CREATE INDEX ix_sessions_open ON sessions (tenant_id, customer_id) WHERE stopped_at IS NULL;
CREATE INDEX ix_sessions_service_open ON sessions (tenant_id, service_id) WHERE stopped_at IS NULL;
CREATE INDEX ix_sessions_router_open ON sessions (tenant_id, router_id, mac_address) WHERE stopped_at IS NULL;
CREATE INDEX ix_sessions_classless ON sessions (tenant_id, router_id, acct_session_id, started_at)
  WHERE class IS NULL"""
# Twenty years at most: what says that it is older goes before them.
_PARTITIONS = """
DO $$
DECLARE
  begins timestamptz;
BEGIN
  SELECT date_trunc('quarter', GREATEST(LEAST(min(s.started_at), radius_now()), radius_now() - interval '20 years'),
                    'UTC')
    INTO begins FROM sessions_moved s;
  EXECUTE format('CREATE TABLE sessions_before PARTITION OF sessions FOR VALUES FROM (MINVALUE) TO (%L) '
                 'WITH (fillfactor = 70)', begins);
  EXECUTE format('CREATE TABLE sessions_after PARTITION OF sessions FOR VALUES FROM (%L) TO (MAXVALUE) '
                 'WITH (fillfactor = 70)', begins);
  WHILE sessions_quarters(radius_now()) > 0 LOOP
  END LOOP;
END $$"""


def upgrade() -> None:
    op.create_table(
        "open_sessions",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("unique_id", sa.String(64), nullable=False),
        sa.Column("started_at", _INSTANT, nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=True),
        sa.Column("service_id", sa.Uuid(), nullable=True),
        sa.Column("router_id", sa.Uuid(), nullable=True),
        sa.Column("mac_address", postgresql.MACADDR(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "session_id", name=op.f("pk_open_sessions")),
        sa.UniqueConstraint("tenant_id", "unique_id", name=op.f("uq_open_sessions_tenant_id_unique_id")),
    )
    for name, columns in (
        ("customer", ["tenant_id", "customer_id", "started_at", "session_id"]),
        ("service", ["tenant_id", "service_id"]),
        ("router", ["tenant_id", "router_id", "mac_address"]),
    ):
        op.create_index(f"ix_open_sessions_{name}", "open_sessions", columns)
    # A quarter with whatever was doubted in it must be able to go.
    op.drop_constraint(op.f("fk_usage_quarantine_tenant_id_session_id"), "usage_quarantine", type_="foreignkey")
    for function in FUNCTIONS.strip().split("\n\n"):
        op.execute(function)
    _grant(NEW_FUNCTIONS)
    _make_anew(KEYS, " PARTITION BY RANGE (started_at)", _PARTITIONS)
    op.execute(
        """INSERT INTO open_sessions
           SELECT tenant_id, id, unique_id, started_at, customer_id, service_id, router_id, mac_address
             FROM sessions WHERE stopped_at IS NULL"""
    )
    _protect("sessions", "open_sessions")
    op.execute("CREATE POLICY owner_lookup ON open_sessions FOR SELECT TO ispgraph_owner USING (true)")
    op.execute("GRANT SELECT ON open_sessions TO ispgraph_app")
    for name, when in {
        "opened": "INSERT ON sessions FOR EACH ROW WHEN (NEW.stopped_at IS NULL)",
        "ended": "UPDATE OF stopped_at ON sessions FOR EACH ROW "
        "WHEN ((OLD.stopped_at IS NULL) <> (NEW.stopped_at IS NULL))",
        "removed": "DELETE ON sessions FOR EACH ROW WHEN (OLD.stopped_at IS NULL)",
    }.items():
        op.execute(f"CREATE TRIGGER open_sessions_{name} AFTER {when} EXECUTE FUNCTION session_is_open()")
    for (made_by, name), passages in CHANGES.items():
        op.execute(_changed(_former(made_by, name), passages))


def downgrade() -> None:
    for made_by, name in CHANGES:
        op.execute(_former(made_by, name))
    for name in ("opened", "ended", "removed"):
        op.execute(f"DROP TRIGGER open_sessions_{name} ON sessions")
    op.execute("DROP VIEW sessions_now")
    _make_anew(FORMER_KEYS, " WITH (fillfactor = 70)")
    _protect("sessions")
    op.create_foreign_key(
        op.f("fk_usage_quarantine_tenant_id_session_id"),
        "usage_quarantine",
        "sessions",
        ["tenant_id", "session_id"],
        ["tenant_id", "id"],
    )
    for signature in NEW_FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature}")
    op.drop_table("open_sessions")


def _make_anew(keys: str, kind: str, partitions: str | None = None) -> None:
    """Makes `sessions` anew with the rows, foreign keys and triggers that it has; without policies."""
    connection = op.get_bind()
    foreign = connection.execute(
        sa.text(
            """SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
                WHERE conrelid = 'sessions'::regclass AND contype = 'f' ORDER BY conname"""
        )
    ).all()
    triggers = connection.scalars(
        sa.text(
            """SELECT pg_get_triggerdef(oid) FROM pg_trigger
                WHERE tgrelid = 'sessions'::regclass AND NOT tgisinternal ORDER BY tgname"""
        )
    ).all()
    # The owner is under row-level security as well, and would see nobody's rows.
    op.execute("ALTER TABLE sessions NO FORCE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE sessions RENAME TO sessions_moved")
    op.execute(f"CREATE TABLE sessions (LIKE sessions_moved INCLUDING DEFAULTS INCLUDING CONSTRAINTS){kind}")
    if partitions:
        op.execute(partitions)
    op.execute("INSERT INTO sessions SELECT * FROM sessions_moved ORDER BY started_at, id")
    op.execute("DROP TABLE sessions_moved")
    for statement in keys.strip().split(";\n"):
        op.execute(statement)
    for name, definition in foreign:
        op.execute(f"ALTER TABLE sessions ADD CONSTRAINT {name} {definition}")
    for definition in triggers:
        op.execute(definition)
    op.execute("GRANT SELECT, UPDATE (rate) ON sessions TO ispgraph_app")


def _protect(*tables: str) -> None:
    own = f"tenant_id = {CURRENT_TENANT}"
    for table in tables:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")


def _grant(grants: dict[str, str | None]) -> None:
    for signature, role in grants.items():
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        if role:
            op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {role}")


def _former(made_by: str, name: str) -> str:
    """A function as an earlier revision made it, to be made in its place."""
    folder = op.get_context().script
    assert folder is not None
    made: str = folder.get_revision(made_by).module.FUNCTIONS
    (former,) = [text for text in made.strip().split("\n\n") if text.startswith(f"CREATE FUNCTION {name}(")]
    return former.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)


def _changed(function: str, passages: list[tuple[str, str]]) -> str:
    for former, latter in passages:
        assert function.count(former) == 1, former
        function = function.replace(former, latter)
    return function
