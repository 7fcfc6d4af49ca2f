"""Whether those who listen may still be told: asked every second or two, for all listeners of a process together.

What a viewer may was settled when the subscription began. Afterwards a permission may be taken away, an operator
deactivated or given other superiors, and a customer moved to another reseller.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Select, Uuid, bindparam, column, func, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.db import Database
from ispgraph.domain.models import Customer, Operator
from ispgraph.domain.permissions import Permission, Viewer

RECHECK_SECONDS = 1.5

_IDS: ARRAY[Any] = ARRAY(Uuid)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Standing:
    """What of an operator a subscription depends on."""

    active: bool
    role: str
    permissions: frozenset[str]
    above: tuple[UUID, ...]


class Held:
    """One listener's right to be told, watched until `close`, or the end of the block. `ended` is done with it."""

    __slots__ = ("_authority", "above", "customer_id", "ended", "permission", "viewer")

    def __init__(
        self, authority: "Authority", viewer: Viewer, permission: Permission | None, customer_id: UUID | None
    ) -> None:
        self.viewer = viewer
        self.permission = permission
        self.customer_id = customer_id
        self.above: tuple[UUID, ...] | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._authority = authority

    def __enter__(self) -> "Held":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Watch it no more."""
        self._authority.drop(self)


class Subtrees:
    """Who stands above whom among the operators of a tenant, as last read."""

    def __init__(self) -> None:
        self._above: dict[UUID, tuple[UUID, ...]] = {}

    def take(self, rows: Mapping[UUID, _Standing]) -> None:
        self._above = {key: row.above for key, row in rows.items()}

    def holds(self, scope_id: UUID | None, operator_id: UUID) -> bool:
        """Whether customers of an operator are within a scope."""
        return scope_id is None or scope_id == operator_id or scope_id in self._above.get(operator_id, ())


class Authority:
    """The rights of all who listen in one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: dict[UUID, set[Held]] = {}
        self._subtrees: dict[UUID, Subtrees] = {}
        # Of the customers that are watched, as last read: only what has changed is read again.
        self._owners: dict[UUID, dict[UUID, UUID | None]] = {}
        self._watch: asyncio.Task[None] | None = None

    def hold(self, viewer: Viewer, permission: Permission | None, customer_id: UUID | None = None) -> Held:
        """A right that is watched from now on. Without a permission: of any operator who may sign in."""
        held = Held(self, viewer, permission, customer_id)
        self._held.setdefault(viewer.tenant_id, set()).add(held)
        if self._watch is None:
            self._watch = asyncio.create_task(self._recheck())
        return held

    def drop(self, held: Held) -> None:
        """Watch it no more."""
        tenant_id = held.viewer.tenant_id
        group = self._held.get(tenant_id, set())
        group.discard(held)
        if not group and self._held.pop(tenant_id, None) is not None:
            self._subtrees.pop(tenant_id, None)
            self._owners.pop(tenant_id, None)
        if not self._held and self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def subtrees(self, tenant_id: UUID) -> Subtrees:
        """Who stands above whom in a tenant; kept up to date while anybody listens there."""
        if tenant_id not in self._subtrees:
            async with self._database.read(tenant_id) as session:
                rows = await _operators(session)
            self._subtrees.setdefault(tenant_id, Subtrees()).take(rows)
        return self._subtrees[tenant_id]

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            for tenant_id in list(self._held):
                try:
                    await self._look(tenant_id)
                except (SQLAlchemyError, OSError) as error:
                    # A database that is away for a while ends nothing; tokens still expire.
                    _log.warning("who listens is not looked after: %s", type(error).__name__)

    async def _look(self, tenant_id: UUID) -> None:
        held = set(self._held.get(tenant_id, ()))
        known = self._owners.get(tenant_id, {})
        owners = {each.customer_id: known.get(each.customer_id) for each in held if each.customer_id is not None}
        async with self._database.read(tenant_id) as session:
            operators = await _operators(session)
            if owners:
                asked = {"customers": list(owners), "owners": list(owners.values())}
                owners.update(tuple(row) for row in await session.execute(_other_owners(), asked))
        if tenant_id not in self._held:
            return
        self._owners[tenant_id] = owners
        self._subtrees.setdefault(tenant_id, Subtrees()).take(operators)
        for each in held:
            if not each.ended.done() and not self._still(each, operators, owners):
                each.ended.set_result(None)

    def _still(self, held: Held, operators: Mapping[UUID, _Standing], owners: Mapping[UUID, UUID | None]) -> bool:
        viewer = held.viewer
        if viewer.customer_id is not None:
            # Itself alone, for as long as its sign-in goes on: whoever holds the connection sees to that.
            return held.customer_id == viewer.customer_id
        now = operators.get(viewer.operator_id)
        if now is None or not now.active or now.role != viewer.role.value:
            return False
        if held.above is None:
            held.above = now.above
        if now.above != held.above:
            return False
        if held.permission is not None and held.permission.value not in now.permissions:
            return False
        if held.customer_id is None:
            return True
        owner = owners.get(held.customer_id)
        return owner is not None and self._subtrees[viewer.tenant_id].holds(viewer.scope_id, owner)


async def _operators(session: AsyncSession) -> dict[UUID, _Standing]:
    rows = select(Operator.id, Operator.active, Operator.role, Operator.permissions, Operator.ancestors)
    return {
        row.id: _Standing(row.active, row.role.value, frozenset(row.permissions), tuple(row.ancestors))
        for row in await session.execute(rows)
    }


@cache
def _other_owners() -> Select[Any]:
    """Customers with their owners now, None if there is no such customer, where these are others than were known."""
    known = (
        func.unnest(bindparam("customers", type_=_IDS), bindparam("owners", type_=_IDS))
        .table_valued(column("customer_id", Uuid), column("owner_id", Uuid))
        .render_derived()
    )
    return (
        select(known.c.customer_id, Customer.operator_id)
        .select_from(known)
        .join(Customer, Customer.id == known.c.customer_id, isouter=True)
        .where(or_(Customer.id.is_(None), Customer.operator_id.is_distinct_from(known.c.owner_id)))
    )
