"""Looking at and changing the settings of the viewer's tenant."""

from typing import Any

import strawberry

from ispgraph.domain import dunning_settings, letterheads, message_settings, tenants
from ispgraph.domain.permissions import Permission
from ispgraph.resolvers.base import action, query
from ispgraph.resolvers.once import once, told
from ispgraph.schema.context import Info
from ispgraph.schema.tenants import TenantSettings, TenantSettingsInput, TenantSettingsPayload


async def settings(info: Info) -> TenantSettings:
    """The settings in force."""
    async with info.context.read() as session:
        found: Any = await tenants.own(session, by=info.context.viewer_or_refuse())
    return found


@once()
async def update(info: Info, input: TenantSettingsInput) -> TenantSettingsPayload:
    """Change settings; they hold for what is made from now on."""
    given = told(input)
    pool, locale, head, dunning = (given.pop(name) for name in ("walled_pool", "locale", "letterhead", "dunning"))
    written, color = given.pop("messages"), given.pop("page_color")
    changes = tenants.Changes(
        **given,
        walled_pool=_blank(pool),
        locale=_blank(locale),
        page_color=_blank(color),
        letterhead=letterheads.Changes(**{name: _blank(value) for name, value in head.items()}) if head else None,
        dunning=dunning_settings.Changes(**dunning) if dunning else None,
        messages=message_settings.Changes(**_given(written)) if written else None,
    )
    changed: Any = await tenants.change(info.context.session, changes, by=info.context.viewer_or_refuse())
    return TenantSettingsPayload(settings=changed)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not strawberry.UNSET}


def _blank(value: str | None) -> str | None:
    """Null takes away, as a blank does; what was left out stays."""
    return None if value is strawberry.UNSET else value or ""


@strawberry.type
class TenantQueries:
    tenant_settings = query(settings, Permission.MANAGE_SETTINGS)


@strawberry.type
class TenantMutations:
    tenant_settings_update = action(update, Permission.MANAGE_SETTINGS)
