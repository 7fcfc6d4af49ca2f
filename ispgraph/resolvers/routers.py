"""Routers."""

from typing import Any

import strawberry

from ispgraph.domain import routers
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import typed_id
from ispgraph.domain.router_terms import Terms
from ispgraph.resolvers.base import SIGNED_IN, action, query
from ispgraph.resolvers.once import once, told
from ispgraph.schema import roots
from ispgraph.schema.compiler.reading import reading
from ispgraph.schema.context import Info
from ispgraph.schema.routers import Router, RouterInput, RouterPayload, RouterReadUsersInput


async def list_routers(info: Info) -> list[Router]:
    """Routers by name."""
    found: list[Router] = reading(roots.ROUTERS)
    return found


@once()
async def add_router(info: Info, input: RouterInput) -> RouterPayload:
    """Manage one more router. It is tested at once, and its users can log in within a minute."""
    saved = await routers.add(
        info.context.session,
        _terms(input),
        network_key=info.context.settings.network_key,
        by=info.context.viewer_or_refuse(),
    )
    return _payload(saved)


@once()
async def update_router(info: Info, router_id: strawberry.ID, input: RouterInput) -> RouterPayload:
    """Replace what is known of a router; only secrets that are left out stay.

    After a change of its mode or addresses, what it holds is compared with what it should hold, and nothing changed.
    """
    saved = await routers.update(
        info.context.session,
        typed_id("rtr", router_id, "routerId"),
        _terms(input),
        network_key=info.context.settings.network_key,
        by=info.context.viewer_or_refuse(),
    )
    return _payload(saved)


@once()
async def test_router(info: Info, router_id: strawberry.ID) -> RouterPayload:
    """Ask a router over its API how it is; the steps of the job say what it answered."""
    key = typed_id("rtr", router_id, "routerId")
    return _payload(await routers.test(info.context.session, key, by=info.context.viewer_or_refuse()))


@once()
async def reconcile_router(info: Info, router_id: strawberry.ID, dry_run: bool = True) -> RouterPayload:
    """Compare what a router holds with what it should hold; without `dryRun`, put it right."""
    saved = await routers.reconcile(
        info.context.session,
        typed_id("rtr", router_id, "routerId"),
        dry_run=dry_run,
        by=info.context.viewer_or_refuse(),
    )
    return _payload(saved)


@once()
async def read_users(info: Info, input: RouterReadUsersInput) -> RouterPayload:
    """Read the users that a router keeps itself, PPP secrets and hotspot users with their profiles, and change nothing.

    When the job has succeeded, its `fileId` names what was read, for an import of customers. Errors: NOT_FOUND, and
    NOT_CONFIGURED for a router without a login to its API, at routerId.
    """
    saved = await routers.read_users(
        info.context.session,
        typed_id("rtr", input.router_id, "input", "routerId"),
        by=info.context.viewer_or_refuse(),
    )
    return _payload(saved)


def _terms(given: RouterInput) -> Terms:
    return Terms(**told(given))


def _payload(saved: routers.Saved) -> RouterPayload:
    router: Any = saved.router
    jobs: list[Any] = list(saved.jobs)
    return RouterPayload(router=router, jobs=jobs, radius_secret=saved.radius_secret)


@strawberry.type
class RouterQueries:
    routers: list[Router] = query(list_routers, SIGNED_IN)


@strawberry.type
class RouterMutations:
    router_add: RouterPayload = action(add_router, Permission.MANAGE_ROUTERS)
    router_update: RouterPayload = action(update_router, Permission.MANAGE_ROUTERS)
    router_test: RouterPayload = action(test_router, Permission.MANAGE_ROUTERS)
    router_reconcile: RouterPayload = action(reconcile_router, Permission.MANAGE_ROUTERS)
    router_read_users: RouterPayload = action(read_users, Permission.MANAGE_ROUTERS)
