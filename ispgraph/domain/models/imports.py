"""Customers taken over from another system: the file, what became of each of its rows, and who came from where."""

import enum
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, String, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.models.base import Instant, TenantRow, moment, names, of_tenant, refers
from ispgraph.domain.models.catalogue import ConnectionType
from ispgraph.domain.models.customers import CustomerStatus


class ImportSource(enum.Enum):
    """What kind of file customers are taken over from."""

    CSV = "CSV"
    XLSX = "XLSX"
    PHPNUXBILL = "PHPNUXBILL"
    DALORADIUS = "DALORADIUS"
    ROUTER = "ROUTER"


class ImportStatus(enum.Enum):
    CHECKING = "CHECKING"
    CHECKED = "CHECKED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    UNDOING = "UNDOING"
    UNDONE = "UNDONE"
    FAILED = "FAILED"
    """The file could not be read."""


class ImportOutcome(enum.Enum):
    """What becomes of a row."""

    FAULTY = "FAULTY"
    CONFLICT = "CONFLICT"
    """Another customer has something that only one can have."""
    UNCHANGED = "UNCHANGED"
    """It was taken over before."""
    NEW = "NEW"
    CREATED = "CREATED"
    REMOVED = "REMOVED"
    TERMINATED = "TERMINATED"
    KEPT = "KEPT"
    """Something was done to the customer since, so it stays."""


class CustomerImport(TenantRow):
    """One file of customers. Nothing of it is made before somebody has seen what would be."""

    __tablename__ = "customer_imports"
    __table_args__ = of_tenant(
        refers("created_by_id", "operators"),
        refers("operator_id", "operators"),
        refers("package_id", "packages"),
        refers("zone_id", "zones"),
        refers("router_id", "routers"),
        Index("ix_customer_imports_created_by", "tenant_id", "created_by_id", "id"),
    )

    source: Mapped[ImportSource] = mapped_column(names(ImportSource))
    label: Mapped[str] = mapped_column(String(60))
    """Which system it came from: a customer of it is taken over once, whichever file names it."""
    status: Mapped[ImportStatus] = mapped_column(names(ImportStatus), default=ImportStatus.CHECKING)
    problem: Mapped[str | None] = mapped_column(Text)
    """Why it is FAILED."""
    layout: Mapped[dict[str, object]] = mapped_column(JSONB)
    """How the file is read: columns, encoding, and what the rows leave open."""
    read_as: Mapped[str | None] = mapped_column(String(60))
    plans: Mapped[list[dict[str, object]]] = mapped_column(JSONB, default=list)
    """The packages that the source sells, and what becomes of them."""
    told_customers: Mapped[int | None]
    """What the source's own tables count, apart from what was read as rows; NULL of a sheet."""
    told_active: Mapped[int | None]
    told_balance_minor: Mapped[int | None] = mapped_column(BigInteger)
    operator_id: Mapped[UUID]
    package_id: Mapped[UUID | None]
    zone_id: Mapped[UUID | None]
    router_id: Mapped[UUID | None]
    created_by_id: Mapped[UUID]
    created_at: Mapped[datetime] = moment()
    checked_at: Mapped[datetime | None] = mapped_column(Instant)
    run_at: Mapped[datetime | None] = mapped_column(Instant)
    undone_at: Mapped[datetime | None] = mapped_column(Instant)


class ImportChunk(TenantRow):
    """A part of a file that is still to be read, sealed: such files hold passwords. Gone once the file was read."""

    __tablename__ = "import_chunks"
    __table_args__ = of_tenant(
        refers("import_id", "customer_imports"), UniqueConstraint("tenant_id", "import_id", "number")
    )

    import_id: Mapped[UUID]
    number: Mapped[int]
    body: Mapped[bytes]


class ImportRow(TenantRow):
    """A row of a file as it was read, and what became of it. `password` is sealed, and gone with the last step."""

    __tablename__ = "import_rows"
    __table_args__ = of_tenant(
        refers("import_id", "customer_imports"),
        refers("package_id", "packages"),
        refers("zone_id", "zones"),
        refers("customer_id", "customers"),
        UniqueConstraint("tenant_id", "import_id", "number"),
        Index("ix_import_rows_outcome", "tenant_id", "import_id", "outcome", "number"),
        Index("ix_import_rows_customer", "tenant_id", "customer_id", postgresql_where="customer_id IS NOT NULL"),
    )

    import_id: Mapped[UUID]
    number: Mapped[int]
    outcome: Mapped[ImportOutcome] = mapped_column(names(ImportOutcome))
    faults: Mapped[list[dict[str, str | None]]] = mapped_column(JSONB, default=list)
    source_key: Mapped[str | None] = mapped_column(String(255))
    name: Mapped[str | None] = mapped_column(String(255))
    mobile: Mapped[str | None] = mapped_column(String(20))
    email: Mapped[str | None] = mapped_column(String(320))
    account_number: Mapped[str | None] = mapped_column(String(24))
    username: Mapped[str | None] = mapped_column(String(64))
    password: Mapped[bytes | None]
    ip_address: Mapped[str | None] = mapped_column(String(45))
    mac_address: Mapped[str | None] = mapped_column(String(17))
    connection_type: Mapped[ConnectionType | None] = mapped_column(names(ConnectionType))
    status: Mapped[CustomerStatus | None] = mapped_column(names(CustomerStatus))
    balance_minor: Mapped[int | None] = mapped_column(BigInteger)
    package_name: Mapped[str | None] = mapped_column(String(100))
    package_id: Mapped[UUID | None]
    zone_name: Mapped[str | None] = mapped_column(String(255))
    zone_id: Mapped[UUID | None]
    details: Mapped[dict[str, str | None]] = mapped_column(JSONB, default=dict)
    """What nothing is looked for by: address, instants, note."""
    customer_id: Mapped[UUID | None]
    made: Mapped[dict[str, str] | None] = mapped_column(JSONB(none_as_null=True))
    """What was made beside the customer, as ids, for whoever takes it back."""


class CustomerOrigin(TenantRow):
    """Which customer of another system a customer was: nobody is taken over twice."""

    __tablename__ = "customer_origins"
    __table_args__ = of_tenant(
        refers("customer_id", "customers"),
        UniqueConstraint("tenant_id", "label", "source_key"),
        Index("ix_customer_origins_customer", "tenant_id", "customer_id"),
    )

    label: Mapped[str] = mapped_column(String(60))
    source_key: Mapped[str] = mapped_column(String(255))
    customer_id: Mapped[UUID]
