"""Showing a network password to an operator: on record before it is seen, and not too often."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import action_rules, audit, secrets, services
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.models import AuditEntry
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.services import Chosen

ACTION = "customer.reveal_network_password"
MOST = 20
WITHIN = timedelta(minutes=10)
# "show" in ASCII: the first half of the lock that one reading of an operator has.
_LOCK = 0x73686F77


async def network_password(
    session: AsyncSession, customer_id: UUID, service_id: UUID | None, *, key: bytes, by: Viewer
) -> str:
    """The password of a service, the primary one where none is named, once this is on record. `key` is the network key.

    Raises DomainError LIMIT_EXCEEDED for an operator who has read MOST of them WITHIN a short time, and INVALID_STATE
    for a service that has none.
    """
    customer, service, _ = await services.seen(session, Chosen(customer_id, service_id, ()), by)
    # One at a time: those who ask at once are counted as well.
    await session.execute(select(func.pg_advisory_xact_lock(_LOCK, func.hashtext(str(by.operator_id)))))
    since = clock.now() - WITHIN
    of_late = select(func.count()).where(
        AuditEntry.operator_id == by.operator_id,
        AuditEntry.action == ACTION,
        AuditEntry.id > ids.lowest(since),
        AuditEntry.at > since,
    )
    if (await session.scalar(of_late) or 0) >= MOST:
        minutes = int(WITHIN.total_seconds()) // 60
        message = f"At most {MOST} passwords are shown to an operator within {minutes} minutes: wait a little."
        raise fail(ErrorCode.LIMIT_EXCEEDED, message)
    action_rules.require(action_rules.reveal_password(service), "serviceId" if service_id else "customerId")
    assert service.password is not None
    password = secrets.unseal(key, service.password, secrets.service_password(by.tenant_id, service.id))
    details = {"service": str(service.id), "username": service.username}
    audit.record(session, by=by, action=ACTION, subject_id=customer.id, details=details)
    return password
