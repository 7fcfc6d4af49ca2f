"""Where it is sold: the parts of the area served."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import audit, values
from ispgraph.domain.conflicts import taken
from ispgraph.domain.errors import ErrorCode, Faults
from ispgraph.domain.models import Customer, CustomerStatus, Zone
from ispgraph.domain.permissions import Viewer, in_scope

_UNIQUE = {"uq_zones_tenant_id_name": ("input", "name"), "uq_zones_tenant_id_code": ("input", "code")}


def customer_count(zone: Any, by: Viewer) -> ColumnElement[int]:
    """How many customers in the viewer's scope live in a zone; those who left do not count."""
    return (
        select(func.count())
        .select_from(Customer)
        .where(Customer.zone_id == zone.id, Customer.status != CustomerStatus.TERMINATED)
        .where(in_scope(by, Customer.operator_id))
        .scalar_subquery()
    )


async def create(session: AsyncSession, *, name: str, code: str | None, parent_id: UUID | None, by: Viewer) -> Zone:
    """A new zone, on its own or within another."""
    faults = Faults("input")
    called = values.checked(faults, values.text, name, 100, at=("name",))
    short = None
    if code is not None and code.strip():
        short = values.checked(faults, values.text, code, 20, at=("code",))
    if called is not None and await session.scalar(select(Zone.id).where(Zone.name == called)):
        faults.add(ErrorCode.TAKEN, "There is a zone of this name.", "name")
    if short is not None and await session.scalar(select(Zone.id).where(Zone.code == short)):
        faults.add(ErrorCode.TAKEN, "There is a zone with this code.", "code")
    if parent_id is not None and await session.get(Zone, parent_id) is None:
        faults.add(ErrorCode.NOT_FOUND, "There is no such zone.", "parentId")
    faults.raise_if_any()
    zone = Zone(tenant_id=by.tenant_id, name=called, code=short, parent_id=parent_id)
    session.add(zone)
    async with taken(_UNIQUE):
        await session.flush()
    audit.record(session, by=by, action="zone.create", subject_id=zone.id, details={"name": zone.name})
    return zone
