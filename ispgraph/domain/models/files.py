"""Files that people download. In the database, so that every program of every machine has them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.db import Base
from ispgraph.domain.models.base import Instant, TenantRow, moment, of_tenant, refers


class File(TenantRow):
    """What a job made, in chunks; nobody is given it before `ready_at`."""

    __tablename__ = "files"
    __table_args__ = of_tenant(
        refers("job_id", "jobs"),
        Index("ix_files_job", "tenant_id", "job_id"),
        CheckConstraint("size >= 0", name="size"),
    )

    job_id: Mapped[UUID]
    name: Mapped[str] = mapped_column(String(200))
    media_type: Mapped[str] = mapped_column(String(100))
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    """In bytes, of all the chunks."""
    created_at: Mapped[datetime] = moment()
    ready_at: Mapped[datetime | None] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)


class FileChunk(Base):
    """A part of a file; `number` counts from 0."""

    __tablename__ = "file_chunks"
    __table_args__ = (refers("file_id", "files"),)

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    file_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    body: Mapped[bytes]
