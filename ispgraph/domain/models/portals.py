"""Portals of branded customers: their looks, pictures, admin, and what was tried on the way."""

import enum
from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String, Text, UniqueConstraint, false
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.models.base import Instant, TenantRow, moment, names, of_tenant, refers
from ispgraph.domain.models.customers import DraftStatus


class AssetKind(enum.Enum):
    LOGO = "LOGO"
    BACKGROUND = "BACKGROUND"
    ICON = "ICON"


class AssetStatus(enum.Enum):
    """How the last attempt at a picture stands."""

    PENDING = "PENDING"
    """None was made, or one that did not come to its end."""
    UPLOADED = "UPLOADED"
    FAILED = "FAILED"


class PortalStep(enum.Enum):
    BRANDING = "BRANDING"
    ASSETS = "ASSETS"
    ADMIN = "ADMIN"


class Portal(TenantRow):
    """The portal of one customer. Until `finished_at` it is unfinished, and forgotten when nobody goes on with it."""

    __tablename__ = "portals"
    __table_args__ = of_tenant(
        refers("customer_id", "customers"),
        refers("created_by_id", "operators"),
        refers("modified_by_id", "operators"),
        UniqueConstraint("tenant_id", "customer_id"),
        # Over the whole installation: a subdomain is the name of a host.
        Index("uq_portals_lookalike", "lookalike", unique=True),
        Index("uq_portals_subdomain", "subdomain", unique=True),
        Index("ix_portals_unfinished", "tenant_id", "expires_at", postgresql_where="finished_at IS NULL"),
        CheckConstraint("finished_at IS NOT NULL OR NOT active", name="active"),
    )

    customer_id: Mapped[UUID]
    version: Mapped[int] = mapped_column(default=1)
    subdomain: Mapped[str] = mapped_column(String(63))
    lookalike: Mapped[str] = mapped_column(String(63))
    """What the subdomain looks like at a glance: two that look the same are not both given."""
    display_name: Mapped[str] = mapped_column(String(100))
    subtitle: Mapped[str | None] = mapped_column(String(200))
    theme: Mapped[str | None] = mapped_column(String(40))
    active: Mapped[bool] = mapped_column(default=False, server_default=false())
    held: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether it stays inactive when its last step is done."""
    status: Mapped[DraftStatus] = mapped_column(names(DraftStatus), default=DraftStatus.DRAFT)
    """But for EXPIRED, which is known by `expires_at`."""
    completed_steps: Mapped[list[str]] = mapped_column(ARRAY(String(20)), default=list)
    created_at: Mapped[datetime] = moment()
    created_by_id: Mapped[UUID]
    updated_at: Mapped[datetime] = moment()
    modified_by_id: Mapped[UUID]
    expires_at: Mapped[datetime] = mapped_column(Instant)
    """Of an unfinished one: when its creator is told that it was left."""
    told_at: Mapped[datetime | None] = mapped_column(Instant)
    """When that was done."""
    finished_at: Mapped[datetime | None] = mapped_column(Instant)
    """When all steps were done, or it was active first."""


class PortalFile(TenantRow):
    """A file in the storage, known here before it is there and until it is gone from there."""

    __tablename__ = "portal_files"
    __table_args__ = of_tenant(
        refers("portal_id", "portals"),
        Index("ix_portal_files_portal", "tenant_id", "portal_id", "kind", "digest"),
        Index("ix_portal_files_unused", "tenant_id", "unused_since", postgresql_where="unused_since IS NOT NULL"),
    )

    portal_id: Mapped[UUID | None]
    """None when the portal is gone."""
    kind: Mapped[AssetKind] = mapped_column(names(AssetKind))
    digest: Mapped[str] = mapped_column(String(64))
    """SHA-256 in hexadecimal."""
    created_at: Mapped[datetime] = moment()
    unused_since: Mapped[datetime | None] = mapped_column(Instant)
    """None while a portal shows it."""


class PortalAsset(TenantRow):
    """One picture of a portal. What it measures is of the file that is shown, the last one that was taken."""

    __tablename__ = "portal_assets"
    __table_args__ = of_tenant(
        refers("portal_id", "portals"),
        refers("file_id", "portal_files"),
        UniqueConstraint("tenant_id", "portal_id", "kind"),
        CheckConstraint(
            "num_nulls(file_id, width, height, size_bytes, content_type, uploaded_at) IN (0, 6)", name="whole"
        ),
    )

    portal_id: Mapped[UUID]
    kind: Mapped[AssetKind] = mapped_column(names(AssetKind))
    status: Mapped[AssetStatus] = mapped_column(names(AssetStatus), default=AssetStatus.PENDING)
    attempts: Mapped[int] = mapped_column(default=0)
    failures: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(Text)
    """Why the last attempt failed."""
    file_id: Mapped[UUID | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    size_bytes: Mapped[int | None]
    content_type: Mapped[str | None] = mapped_column(String(100))
    uploaded_at: Mapped[datetime | None] = mapped_column(Instant)


class PortalAdmin(TenantRow):
    """Who looks after a portal on the customer's side, and the invitation to that."""

    __tablename__ = "portal_admins"
    __table_args__ = of_tenant(
        refers("portal_id", "portals"),
        refers("created_by_id", "operators"),
        UniqueConstraint("tenant_id", "portal_id"),
        UniqueConstraint("tenant_id", "email"),
        Index("ix_portal_admins_invitation", "tenant_id", "invitation_hash"),
    )

    portal_id: Mapped[UUID]
    name: Mapped[str] = mapped_column(String(255))
    email: Mapped[str] = mapped_column(String(320))
    created_at: Mapped[datetime] = moment()
    created_by_id: Mapped[UUID]
    invitations: Mapped[int] = mapped_column(default=0)
    """How many were made; only the last one is good."""
    invitation_hash: Mapped[bytes | None]
    invitation_sent_at: Mapped[datetime | None] = mapped_column(Instant)
    invitation_expires_at: Mapped[datetime | None] = mapped_column(Instant)
    accepted_at: Mapped[datetime | None] = mapped_column(Instant)
    """When an invitation was accepted first."""
    password_hash: Mapped[str | None] = mapped_column(String(200))
    """None until an invitation was accepted."""
    token_version: Mapped[int] = mapped_column(default=1, server_default="1")
    """Counted up to end every sign-in."""


class PortalLogEntry(TenantRow):
    """One attempt at one step of a portal, kept also when it failed."""

    __tablename__ = "portal_log"
    __table_args__ = of_tenant(
        refers("portal_id", "portals"),
        refers("by_id", "operators"),
        Index("ix_portal_log_portal", "tenant_id", "portal_id", "id"),
    )

    portal_id: Mapped[UUID]
    step: Mapped[PortalStep] = mapped_column(names(PortalStep))
    kind: Mapped[AssetKind | None] = mapped_column(names(AssetKind))
    succeeded: Mapped[bool]
    error: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime] = moment()
    by_id: Mapped[UUID]
