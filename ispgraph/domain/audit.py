"""The record of who did what. Entries are only ever added; grants and a trigger see to that."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain.models import AuditEntry
from ispgraph.domain.permissions import Viewer


def record(
    session: AsyncSession,
    *,
    by: Viewer | None,
    action: str,
    subject_id: UUID | None,
    details: Mapping[str, object] | None = None,
    tenant_id: UUID | None = None,
) -> None:
    """Add an entry to the transaction at hand. `action` reads noun.verb; details are JSON and hold no secrets.

    `by` is None where the product itself has acted, for the tenant that is named. Of one who has signed in in the
    place of another the entry names both: `acting` in the details did it. Where a customer has, `by` in the details
    says so.
    """
    acting = {"acting": str(by.acting_id)} if by is not None and by.acting_id is not None else {}
    if by is not None and by.customer_id is not None:
        acting = {"by": "customer" if by.admin_id is None else f"portal admin {by.admin_id}"}
    session.add(
        AuditEntry(
            tenant_id=by.tenant_id if by else tenant_id,
            at=clock.now(),
            operator_id=by.operator_id if by and by.customer_id is None else None,
            action=action,
            subject_id=subject_id,
            details={**(details or {}), **acting},
        )
    )


def noticed(
    session: AsyncSession, tenant_id: UUID, action: str, subject_id: UUID, details: Mapping[str, object]
) -> None:
    """As `record`, for what the product does by itself."""
    session.add(
        AuditEntry(tenant_id=tenant_id, at=clock.now(), action=action, subject_id=subject_id, details=dict(details))
    )


def on_behalf(
    session: AsyncSession,
    tenant_id: UUID,
    operator_id: UUID,
    action: str,
    subject_id: UUID,
    details: Mapping[str, object],
) -> None:
    """As `record`, for what a job does that an operator has asked for."""
    session.add(
        AuditEntry(
            tenant_id=tenant_id,
            at=clock.now(),
            operator_id=operator_id,
            action=action,
            subject_id=subject_id,
            details=dict(details),
        )
    )
