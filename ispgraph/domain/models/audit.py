"""What makes the record of who did what hard to change behind our back: see `domain.audit_chain`."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.db import Base
from ispgraph.domain.models.base import Instant, refers


class AuditLink(Base):
    """One link of a tenant's chain: an audit entry, sealed together with all that were sealed before it. Rows are only
    ever added."""

    __tablename__ = "audit_links"
    __table_args__ = (
        refers("entry_id", "audit_entries"),
        UniqueConstraint("tenant_id", "entry_id"),
        CheckConstraint("sequence > 0", name="sequence"),
        CheckConstraint("octet_length(content) = 32 AND octet_length(hash) = 32", name="sizes"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """1, 2, 3 and so on without a gap."""
    entry_id: Mapped[UUID]
    sealed_at: Mapped[datetime] = mapped_column(Instant)
    key_name: Mapped[str] = mapped_column(String(16))
    """Which key it was sealed with; tells nothing about the key."""
    content: Mapped[bytes]
    hash: Mapped[bytes]


class AuditUnsealed(Base):
    """That an audit entry waits for its link. A trigger of `audit_entries` adds these rows, so no keys of its own hold
    them to what they name."""

    __tablename__ = "audit_unsealed"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    entry_id: Mapped[UUID] = mapped_column(primary_key=True)
