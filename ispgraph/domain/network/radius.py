"""What the network should do for a service, and whether it would."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import radius_rows
from ispgraph.domain.jobs import Permanent
from ispgraph.domain.models import (
    Customer,
    CustomerStatus,
    Job,
    NetworkStep,
    Service,
    ServiceStatus,
    StepOutcome,
    StepProtocol,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether RADIUS would answer a login as the service's state asks, and what it would say."""

    agrees: bool
    detail: str


async def provision(session: AsyncSession, job: Job) -> Verdict:
    """Bring the network to the service's latest state, and record the step in the job.

    RADIUS rows are computed from the service itself, so there is nothing to copy: what is left to do is to ask what a
    login would meet now. The service is locked, so that the version that was looked at is the version recorded.
    Raises Permanent when the job names no service.
    """
    if job.service_id is None:
        raise Permanent("The job names no service.")
    service = await session.get_one(Service, job.service_id, with_for_update=True)
    customer = await session.get_one(Customer, service.customer_id)
    verdict = await _ask_radius(session, service, customer)
    now = clock.now()
    session.add(
        NetworkStep(
            tenant_id=job.tenant_id,
            job_id=job.id,
            at=now,
            protocol=StepProtocol.RADIUS_SQL,
            outcome=StepOutcome.VERIFIED if verdict.agrees else StepOutcome.REFUSED,
            detail=verdict.detail,
        )
    )
    service.checked_at = now
    if verdict.agrees:
        service.applied_version = service.desired_version
    return verdict


async def _ask_radius(session: AsyncSession, service: Service, customer: Customer) -> Verdict:
    found = await radius_rows.of_service(session, service.id)
    if not found:
        return Verdict(False, "RADIUS has no rows for this service.")
    rows = {(row.list, row.attribute): row.value for row in found}
    refused = ("check", "Auth-Type") in rows
    if refused:
        said = f"RADIUS refuses a login: {rows.get(('reply', 'Reply-Message'), 'no reason given')}."
    else:
        replies = [f"{name}={value}" for (where, name), value in rows.items() if where == "reply"]
        said = f"RADIUS accepts a login: {', '.join(replies)}."
    return Verdict(refused != _wanted_online(service, customer), said)


def _wanted_online(service: Service, customer: Customer) -> bool:
    if service.status is not ServiceStatus.ACTIVE or customer.status is not CustomerStatus.ACTIVE:
        return False
    return service.expires_at is None or service.expires_at > clock.now()
