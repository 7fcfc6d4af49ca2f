"""Looking at and changing the settings of the viewer's tenant."""

from dataclasses import asdict
from typing import Any

import strawberry

from ispgraph.domain import tenants
from ispgraph.domain.permissions import Permission
from ispgraph.resolvers.base import action, query
from ispgraph.schema.context import Info
from ispgraph.schema.tenants import TenantSettings, TenantSettingsInput, TenantSettingsPayload


async def settings(info: Info) -> TenantSettings:
    """The settings in force."""
    async with info.context.read() as session:
        found: Any = await tenants.own(session, by=info.context.viewer_or_refuse())
    return found


async def update(info: Info, input: TenantSettingsInput) -> TenantSettingsPayload:
    """Change settings; they hold for what is made from now on."""
    given = asdict(input)
    pool = given.pop("walled_pool")
    changes = tenants.Changes(**given, walled_pool=None if pool is strawberry.UNSET else pool or "")
    changed: Any = await tenants.change(info.context.session, changes, by=info.context.viewer_or_refuse())
    return TenantSettingsPayload(settings=changed)


@strawberry.type
class TenantQueries:
    tenant_settings = query(settings, Permission.MANAGE_SETTINGS)


@strawberry.type
class TenantMutations:
    tenant_settings_update = action(update, Permission.MANAGE_SETTINGS)
