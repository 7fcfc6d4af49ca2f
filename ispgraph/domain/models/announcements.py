"""What has changed and is watched, on its way to those who watch."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.db import Base
from ispgraph.domain.models.base import Instant


class Announcement(Base):
    """Made by triggers, and taken away by `announced()` at once. The row 0 says until when somebody does.

    Without a foreign key, which would cost more than the row: whoever makes one has just written the row it is about.
    """

    __tablename__ = "announcements"
    __table_args__ = ({"prefixes": ["UNLOGGED"]},)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    tenant_id: Mapped[UUID]
    words: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Instant, server_default=text("clock_timestamp()"))
