"""What operators may do besides their own permissions, and what else than a password lets them in."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.models.base import Instant, TenantRow, moment, of_tenant, refers


class OperatorGrant(TenantRow):
    """A permission that an operator has beside its own ones: for a while, in one zone, or both."""

    __tablename__ = "operator_grants"
    __table_args__ = of_tenant(
        refers("operator_id", "operators"),
        refers("zone_id", "zones"),
        refers("granted_by_id", "operators"),
        refers("ended_by_id", "operators"),
        CheckConstraint("expires_at > created_at", name="expires_at"),
        Index(
            "uq_operator_grants_open",
            *("tenant_id", "operator_id", "permission", "zone_id"),
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    operator_id: Mapped[UUID]
    permission: Mapped[str] = mapped_column(String(40))
    zone_id: Mapped[UUID | None]
    """Where customers must be for it to count; None: wherever they are."""
    expires_at: Mapped[datetime | None] = mapped_column(Instant)
    created_at: Mapped[datetime] = moment()
    granted_by_id: Mapped[UUID]
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    """When it was taken back, or another one took its place."""
    ended_by_id: Mapped[UUID | None]


class ApiToken(TenantRow):
    """A long-lived token of a program that acts for an operator. Only its digest is kept."""

    __tablename__ = "api_tokens"
    __table_args__ = of_tenant(
        refers("operator_id", "operators"),
        CheckConstraint("octet_length(digest) = 32", name="digest"),
        Index("ix_api_tokens_operator", "tenant_id", "operator_id", "id"),
    )

    operator_id: Mapped[UUID]
    name: Mapped[str] = mapped_column(String(120))
    prefix: Mapped[str] = mapped_column(String(20))
    """How it begins, to tell it from others."""
    digest: Mapped[bytes]
    """SHA-256 of the whole token."""
    permissions: Mapped[list[str]] = mapped_column(ARRAY(String(40)))
    """What it may at most: those of them count that the operator has."""
    expires_at: Mapped[datetime] = mapped_column(Instant)
    created_at: Mapped[datetime] = moment()
    last_used_at: Mapped[datetime | None] = mapped_column(Instant)
    """To the minute."""
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)


class SecondFactor(TenantRow):
    """The one-time passwords of an operator (RFC 6238), and the recovery codes in their place."""

    __tablename__ = "second_factors"
    __table_args__ = of_tenant(refers("operator_id", "operators"), UniqueConstraint("tenant_id", "operator_id"))

    operator_id: Mapped[UUID]
    secret: Mapped[bytes]
    """Sealed."""
    created_at: Mapped[datetime] = moment()
    confirmed_at: Mapped[datetime | None] = mapped_column(Instant)
    """When it was proved that a device knows the secret; it does not count before."""
    last_step: Mapped[int] = mapped_column(BigInteger, default=0)
    """The time step of the last code that was taken: no code is taken twice."""
    recovery: Mapped[list[bytes]] = mapped_column(ARRAY(LargeBinary), default=list)
    """Digests of the recovery codes that were not used yet."""
    recovery_pepper: Mapped[bytes | None]
    """What they are made with, sealed. None: they are older, and made with the network key itself."""


class PasswordReset(TenantRow):
    """A request to set a password anew, by a code that was sent by e-mail. Only its digest is kept."""

    __tablename__ = "password_resets"
    __table_args__ = of_tenant(
        refers("operator_id", "operators"), Index("ix_password_resets_operator", "tenant_id", "operator_id", "id")
    )

    operator_id: Mapped[UUID]
    digest: Mapped[bytes]
    created_at: Mapped[datetime] = moment()
    expires_at: Mapped[datetime] = mapped_column(Instant)
    used_at: Mapped[datetime | None] = mapped_column(Instant)
    """When it was used, or became void."""
