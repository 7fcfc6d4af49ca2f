"""Packages of which parts of a day are sold; when operators were told of a router that does not answer."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("packages", sa.Column("allow_partial_day", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("routers", sa.Column("told_down_at", postgresql.TIMESTAMP(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("routers", "told_down_at")
    op.drop_column("packages", "allow_partial_day")
