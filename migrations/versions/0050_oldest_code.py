"""Which programs the database serves: the oldest version that works with it, for all to read when they start."""

from alembic import op

revision = "0050"
down_revision = "0046"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE alembic_version ADD COLUMN oldest_code varchar(32)")
    op.execute("GRANT SELECT ON alembic_version TO ispgraph_app, ispgraph_radius")


def downgrade() -> None:
    op.execute("REVOKE SELECT ON alembic_version FROM ispgraph_app, ispgraph_radius")
    op.execute("ALTER TABLE alembic_version DROP COLUMN oldest_code")
