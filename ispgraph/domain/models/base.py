"""What every tenant table has in common."""

import enum
from typing import Any
from uuid import UUID

from sqlalchemy import Enum, ForeignKey, ForeignKeyConstraint, UniqueConstraint
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph import clock, ids
from ispgraph.db import Base

Instant = TIMESTAMP(timezone=True)


class TenantRow(Base):
    """A row of one tenant. The pair (tenant_id, id) is what other tables refer to, so that no foreign key can
    cross tenants: PostgreSQL checks foreign keys without asking row-level security."""

    __abstract__ = True

    id: Mapped[UUID] = mapped_column(primary_key=True, default=ids.uuid7)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), index=False)


def of_tenant(*extra: Any) -> tuple[Any, ...]:
    """`__table_args__` of a tenant table: what composite foreign keys point at, and `extra`."""
    return (UniqueConstraint("tenant_id", "id"), *extra)


def refers(column: str, table: str) -> ForeignKeyConstraint:
    """A foreign key that stays within the tenant."""
    return ForeignKeyConstraint(["tenant_id", column], [f"{table}.tenant_id", f"{table}.id"])


def names(kind: type[enum.Enum], length: int = 20, *, checked: bool = True) -> Enum:
    """An enumeration stored as text with a check, so that a new member is an ordinary migration."""
    return Enum(kind, native_enum=False, create_constraint=checked, length=length, name=kind.__name__.lower())


def moment(**options: Any) -> Any:
    """A column that holds when the row was made, by the product's clock."""
    return mapped_column(Instant, default=clock.now, **options)
