"""What a migration does to a big table without anybody having to wait for it.

Each of these works outside of the revision's transaction, may be stopped at any time, and goes on where it was when
the revision is run again.
"""

import time
from typing import Any

from alembic import op

_BATCH = 1000
_PAUSE_SECONDS = 0.02


def index(name: str, table: str, definition: str, *, unique: bool = False) -> None:
    """Make an index while rows are written: `index("ix_jobs_kind", "jobs", "(tenant_id, kind)")`.

    One of the name that was not finished is thrown away first.
    """
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        valid = connection.exec_driver_sql(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)", (name,)
        ).scalar()
        if valid:
            return
        # It waits for transactions that began earlier, and nobody waits for it.
        connection.exec_driver_sql("SET lock_timeout = 0")
        if valid is False:
            connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY {name}")
        connection.exec_driver_sql(
            f"CREATE {'UNIQUE ' if unique else ''}INDEX CONCURRENTLY {name} ON {table} {definition}"
        )
        connection.exec_driver_sql("RESET lock_timeout")


def validate(table: str, constraint: str) -> None:
    """Check the rows that were there before a constraint was added as NOT VALID, while others are written."""
    with op.get_context().autocommit_block():
        op.get_bind().exec_driver_sql(f"ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}")


def backfill(table: str, assignments: str, where: str, *, batch: int = _BATCH) -> int:
    """Change rows of all tenants, some at a time, in the order of their ids; gives how many.

    `where` must not hold any more of a row that was changed: `backfill("invoices", "due_minor = 0", "due_minor IS
    NULL")`. What is written meanwhile has to be right already, by a default or a trigger.
    """
    # S608: these are the words of a migration.
    statement = f"""
        WITH batch AS (SELECT id FROM {table} WHERE tenant_id = $1 AND id > $2 AND ({where})
                       ORDER BY id LIMIT {batch} FOR UPDATE),
             done AS (UPDATE {table} SET {assignments} FROM batch WHERE {table}.id = batch.id RETURNING batch.id)
        SELECT count(*), (array_agg(id ORDER BY id DESC))[1] FROM done"""  # noqa: S608
    changed = 0
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        tenants = list(connection.exec_driver_sql("SELECT tenant_id FROM all_tenants()").scalars())
        for tenant in tenants:
            # Row-level security binds the owner as well. Not for one transaction alone: each statement is one.
            connection.exec_driver_sql("SELECT set_config('app.tenant_id', $1, false)", (str(tenant),))
            last: Any = "00000000-0000-0000-0000-000000000000"
            while last is not None:
                many, last = connection.exec_driver_sql(statement, (tenant, last)).one()
                changed += many
                time.sleep(_PAUSE_SECONDS if many else 0)
        connection.exec_driver_sql("RESET app.tenant_id")
    return changed
