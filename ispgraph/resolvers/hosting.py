"""Hosting servers, and the accounts of customers on them."""

from typing import Any

import strawberry

from ispgraph import ids
from ispgraph.domain import hosting, hosting_servers
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id, typed_id
from ispgraph.resolvers.base import action, query
from ispgraph.resolvers.once import once
from ispgraph.schema import roots
from ispgraph.schema.compiler.reading import reading
from ispgraph.schema.context import Info
from ispgraph.schema.customer_inputs import DeletePayload
from ispgraph.schema.hosting import (
    HostingInput,
    HostingPayload,
    HostingProvisionInput,
    HostingServer,
    HostingServerInput,
    HostingServerUpdateInput,
)


async def servers(info: Info) -> list[HostingServer]:
    """The hosting servers of the house, by name."""
    found: list[HostingServer] = reading(roots.HOSTING_SERVERS)
    return found


@once()
async def add(info: Info, input: HostingServerInput) -> HostingPayload:
    """Make a server known, and test it in the background: it is online when it has taken the key and the secret."""
    row, job = await hosting_servers.add(
        info.context.session, hosting_servers.Terms(**_terms(input)), by=info.context.viewer_or_refuse(), **_keys(info)
    )
    return _payload(server=row, jobs=[job])


@once()
async def update(info: Info, input: HostingServerUpdateInput) -> HostingPayload:
    """Change a server, or take it out of use; with another address or key it is tested in the background."""
    row, jobs = await hosting_servers.update(
        info.context.session,
        typed_id("hsv", input.server_id, "input", "serverId"),
        hosting_servers.Terms(**_terms(input), active=input.active),
        by=info.context.viewer_or_refuse(),
        **_keys(info),
    )
    return _payload(server=row, jobs=jobs)


@once()
async def test(info: Info, server_id: strawberry.ID) -> HostingPayload:
    """Ask a server, in the background, whether it runs and whether our key may work with accounts: its health alone
    proves nothing. What came of it is in the job's message, and in the server."""
    key = typed_id("hsv", server_id, "serverId")
    row, job = await hosting_servers.test(info.context.session, key, by=info.context.viewer_or_refuse())
    return _payload(server=row, jobs=[job])


@once(keeping=("deleted_id",))
async def remove(info: Info, server_id: strawberry.ID) -> DeletePayload:
    """Forget a server on which there are no accounts and never were; INVALID_STATE for others."""
    key = typed_id("hsv", server_id, "serverId")
    await hosting_servers.remove(info.context.session, key, by=info.context.viewer_or_refuse())
    return DeletePayload(deleted_id=strawberry.ID(ids.encode("hsv", key)))


async def provision(info: Info, input: HostingProvisionInput) -> HostingPayload:
    """Make an account for a customer, in the background. LIMIT_EXCEEDED when no server has a place for it."""
    done = await hosting.provision(
        info.context.session,
        typed_id("cus", input.customer_id, "input", "customerId"),
        wish_of(input.hosting),
        idempotency_key=input.idempotency_key,
        network_key=info.context.settings.network_key,
        by=info.context.viewer_or_refuse(),
    )
    return _done(done)


@once()
async def retry(info: Info, account_id: strawberry.ID) -> HostingPayload:
    """Try at once what failed or waits. LIMIT_EXCEEDED for an account that still finds no place."""
    key = typed_id("hac", account_id, "accountId")
    return _done(await hosting.retry(info.context.session, key, by=info.context.viewer_or_refuse()))


@once()
async def suspend(info: Info, account_id: strawberry.ID, reason: str | None = None) -> HostingPayload:
    """Suspend an account until `hostingUnsuspend`. The reason, at most 255 characters, is told to the panel."""
    key = typed_id("hac", account_id, "accountId")
    return _done(await hosting.suspend(info.context.session, key, reason, by=info.context.viewer_or_refuse()))


@once()
async def unsuspend(info: Info, account_id: strawberry.ID) -> HostingPayload:
    """Put an account back on line, also one that was suspended because of debts."""
    key = typed_id("hac", account_id, "accountId")
    return _done(await hosting.unsuspend(info.context.session, key, by=info.context.viewer_or_refuse()))


@once()
async def delete(info: Info, account_id: strawberry.ID) -> HostingPayload:
    """Delete an account with all that is in it. That cannot be undone."""
    key = typed_id("hac", account_id, "accountId")
    return _done(await hosting.delete(info.context.session, key, by=info.context.viewer_or_refuse()))


@once()
async def refresh_stats(info: Info, account_id: strawberry.ID) -> HostingPayload:
    """Ask the panel, in the background, what an account holds."""
    key = typed_id("hac", account_id, "accountId")
    return _done(await hosting.refresh(info.context.session, key, by=info.context.viewer_or_refuse()))


def wish_of(input: HostingInput) -> hosting.Wish:
    """The account that is wanted."""
    server_id = optional_id("hsv", input.server_id, "input", "hosting", "serverId")
    return hosting.Wish(input.username, input.password, server_id, input.package_id)


def _terms(input: HostingServerInput | HostingServerUpdateInput) -> dict[str, Any]:
    names = ("name", "base_url", "api_key", "api_secret", "capacity")
    return {name: getattr(input, name) for name in names}


def _keys(info: Info) -> dict[str, Any]:
    settings = info.context.settings
    return {"network_key": settings.network_key, "private": settings.private_gateways}


def _done(done: hosting.Promised) -> HostingPayload:
    return _payload(account=done.account, jobs=done.jobs)


def _payload(**given: Any) -> HostingPayload:
    return HostingPayload(**{**given, "jobs": list(given["jobs"])})


@strawberry.type
class HostingQueries:
    hosting_servers = query(servers, Permission.MANAGE_HOSTING)


@strawberry.type
class HostingMutations:
    hosting_server_add = action(add, Permission.MANAGE_HOSTING)
    hosting_server_update = action(update, Permission.MANAGE_HOSTING)
    hosting_server_test = action(test, Permission.MANAGE_HOSTING)
    hosting_server_delete = action(remove, Permission.MANAGE_HOSTING)
    hosting_provision = action(provision, Permission.MANAGE_HOSTING)
    hosting_retry = action(retry, Permission.MANAGE_HOSTING)
    hosting_suspend = action(suspend, Permission.MANAGE_HOSTING)
    hosting_unsuspend = action(unsuspend, Permission.MANAGE_HOSTING)
    hosting_delete = action(delete, Permission.MANAGE_HOSTING)
    hosting_refresh_stats = action(refresh_stats, Permission.MANAGE_HOSTING)
