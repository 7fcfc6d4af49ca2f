"""Routers: adding one, changing what is known of it, and asking for it to be looked at.

Nothing here talks to a router. What a person says about one is stored, secrets sealed, and jobs are promised.
"""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, false, func, literal_column, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import audit, customers, jobs, router_terms
from ispgraph.domain.conflicts import taken
from ispgraph.domain.errors import ErrorCode, fail, not_found
from ispgraph.domain.models import Job, OpenSession, Router, RouterStatus
from ispgraph.domain.permissions import Permission, Viewer
from ispgraph.domain.router_terms import Terms

_NO_LOGIN = "Give this router a username and a password for its API first, by routerUpdate."
# Where to reach it and who asks whom: after a change of these, what the router holds is looked at again.
_PLACE = frozenset({"mode", "address", "api_port", "api_tls", "radius_address"})


@dataclass(frozen=True, slots=True)
class Saved:
    """A router with the jobs that follow, and the RADIUS secret that was made for it: shown now or never."""

    router: Router
    jobs: list[Job]
    radius_secret: str | None = field(default=None, repr=False)


def pending_jobs(router: Any, by: Viewer) -> ColumnElement[int]:
    """How many jobs that the viewer may see wait for or run on a router."""
    return (
        select(func.count())
        .select_from(Job)
        .where(Job.router_id == router.id, Job.status.in_(jobs.UNFINISHED), jobs.visible(by))
        .scalar_subquery()
    )


def online_sessions(router: Any, by: Viewer) -> ColumnElement[int]:
    """How many open sessions that the viewer may see are on a router: those of their customers."""
    found = select(func.count()).select_from(OpenSession).where(OpenSession.router_id == router.id)
    if not by.may(Permission.VIEW_CUSTOMERS):
        found = found.where(false())
    elif by.scope_id is not None:
        # What stands in an OR is not made a join, for which each router would read all customers again: they are read
        # once, and looked up.
        found = found.where(or_(customers.belonging(by, OpenSession.customer_id), literal_column("false")))
    return found.scalar_subquery()


async def add(session: AsyncSession, terms: Terms, *, network_key: bytes, by: Viewer) -> Saved:
    """A new router, tested at once where there is a login to its API. Without a RADIUS secret it gets one.

    Raises DomainError with every fault; TAKEN when a router of whichever tenant has this RADIUS address.
    """
    router = Router(id=ids.uuid7(), tenant_id=by.tenant_id)
    columns, made = await router_terms.columns(session, router, terms, network_key)
    now = clock.now()
    for name, value in columns.items():
        setattr(router, name, value)
    router.check_at = router.created_at = now
    session.add(router)
    async with taken(router_terms.unique(terms)):
        await session.flush()
    audit.record(session, by=by, action="router.add", subject_id=router.id, details={"name": router.name})
    promised = [await _enqueue(session, router, jobs.TEST, by)] if _has_login(router) else []
    return Saved(router, promised, made)


async def update(
    session: AsyncSession,
    router_id: UUID,
    terms: Terms,
    *,
    network_key: bytes,
    by: Viewer,
) -> Saved:
    """The router on new terms, all of them but secrets that are left empty; the same terms again change nothing.

    A router that is to ask RADIUS and has no secret gets one. Raises DomainError with every fault.
    """
    router = await session.get(Router, router_id, with_for_update=True)
    if router is None:
        raise not_found("router", "routerId")
    columns, made = await router_terms.columns(session, router, terms, network_key)
    changes = {name: value for name, value in columns.items() if getattr(router, name) != value}
    if not changes:
        return Saved(router, [])
    for name, value in changes.items():
        setattr(router, name, value)
    _expect(router, another="address" in changes)
    async with taken(router_terms.unique(terms)):
        await session.flush()
    # The names alone: some of the values are secrets, and who may read the one may not read the other.
    audit.record(session, by=by, action="router.update", subject_id=router.id, details={"changed": sorted(changes)})
    promised = []
    if _PLACE & changes.keys() and _has_login(router):
        promised.append(await _enqueue(session, router, jobs.RECONCILE, by, {"dryRun": True}))
    return Saved(router, promised, made)


async def test(session: AsyncSession, router_id: UUID, *, by: Viewer) -> Saved:
    """Promise a test of a router, of what we were told to reach it by. Raises NOT_FOUND, NOT_CONFIGURED."""
    router = await _known(session, router_id)
    if not _has_login(router) and router.radius_secret is None:
        raise fail(ErrorCode.NOT_CONFIGURED, _NO_LOGIN, "routerId")
    # Somebody waits for the answer: it is tried at once, though it was out of reach a moment ago.
    router.retry_at = None
    audit.record(session, by=by, action="router.test", subject_id=router.id)
    return Saved(router, [await _enqueue(session, router, jobs.TEST, by)])


async def reconcile(session: AsyncSession, router_id: UUID, *, dry_run: bool, by: Viewer) -> Saved:
    """Promise to compare what a router holds with what it should, and, without `dry_run`, to put it right.

    Raises NOT_FOUND, NOT_CONFIGURED.
    """
    router = await _known(session, router_id)
    if not _has_login(router):
        raise fail(ErrorCode.NOT_CONFIGURED, _NO_LOGIN, "routerId")
    audit.record(session, by=by, action="router.reconcile", subject_id=router.id, details={"dry_run": dry_run})
    return Saved(router, [await _enqueue(session, router, jobs.RECONCILE, by, {"dryRun": dry_run})])


async def read_users(session: AsyncSession, router_id: UUID, *, by: Viewer) -> Saved:
    """Promise to read the users that a router keeps itself, for an import. Raises NOT_FOUND, NOT_CONFIGURED."""
    router = await session.get(Router, router_id)
    if router is None:
        raise not_found("router", "input", "routerId")
    if not _has_login(router):
        raise fail(ErrorCode.NOT_CONFIGURED, _NO_LOGIN, "input", "routerId")
    audit.record(session, by=by, action="router.readUsers", subject_id=router.id)
    return Saved(router, [await _enqueue(session, router, jobs.READ_USERS, by)])


# -- saving


def _expect(router: Router, *, another: bool) -> None:
    """Look at the router at once, whatever was known of it; with `another`, a device that was not met before."""
    router.check_at = clock.now()
    router.failures = 0
    router.retry_at = router.unreachable_since = None
    if another:
        router.serial = router.board = router.version = router.problem = None
        router.status = RouterStatus.UNKNOWN


def _has_login(router: Router) -> bool:
    return router.api_username is not None and router.api_password is not None


async def _known(session: AsyncSession, router_id: UUID) -> Router:
    router = await session.get(Router, router_id)
    if router is None:
        raise not_found("router", "routerId")
    return router


async def _enqueue(
    session: AsyncSession, router: Router, kind: str, by: Viewer, arguments: dict[str, object] | None = None
) -> Job:
    return await jobs.enqueue(
        session, kind, tenant_id=router.tenant_id, router_id=router.id, by=by.operator_id, arguments=arguments
    )
