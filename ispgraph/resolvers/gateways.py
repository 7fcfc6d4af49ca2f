"""Accounts with those who carry messages and take money."""

from typing import Any

import strawberry

from ispgraph.domain import gateways, models
from ispgraph.domain.permissions import Permission
from ispgraph.domain.providers import PROVIDERS
from ispgraph.domain.references import optional_id, typed_id
from ispgraph.resolvers.base import action, query
from ispgraph.resolvers.once import once
from ispgraph.schema import roots
from ispgraph.schema.compiler.reading import page_of
from ispgraph.schema.context import Info
from ispgraph.schema.gateways import Gateway, GatewayInput, GatewayPayload, GatewayProvider, GatewayProviderSetting
from ispgraph.schema.jobs import JobPayload
from ispgraph.schema.pages import Connection


async def list_gateways(
    info: Info,
    kind: models.GatewayKind | None = None,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[Gateway]:
    """Accounts with providers, by position, also those that are not active."""
    page: Connection[Gateway] = page_of(
        roots.GATEWAYS, {"kind": kind}, descending=False, first=first, after=after, last=last, before=before
    )
    return page


async def list_providers(info: Info, kind: models.GatewayKind | None = None) -> list[GatewayProvider]:
    """Whom an account can be with, and what each asks for."""
    return [
        GatewayProvider(
            slug=each.slug,
            kind=each.kind,
            label=each.label,
            currencies=list(each.currencies),
            settings=[
                GatewayProviderSetting(
                    name=setting.name,
                    label=setting.label,
                    secret=setting.secret,
                    required=setting.required and not setting.default,
                    default=setting.default or None,
                    choices=list(setting.choices),
                    note=setting.note or None,
                )
                for setting in each.settings
            ],
        )
        for each in PROVIDERS.values()
        if kind in (None, each.kind)
    ]


@once()
async def save(info: Info, input: GatewayInput) -> GatewayPayload:
    """Make an account with a provider known, or change one. Secrets that are left out are kept."""
    settings = info.context.settings
    row: Any = await gateways.save(
        info.context.session,
        optional_id("gwy", input.id, "input", "id"),
        gateways.Terms(
            kind=input.kind,
            provider=input.provider,
            name=input.name,
            settings=None if input.settings is None else [(each.name, each.value) for each in input.settings],
            test_mode=input.test_mode,
            active=input.active,
            position=input.position,
        ),
        network_key=settings.network_key,
        private=settings.private_gateways,
        by=info.context.viewer_or_refuse(),
    )
    return GatewayPayload(gateway=row)


@once()
async def send_test(info: Info, gateway_id: strawberry.ID, to: str) -> JobPayload:
    """Send one message by an account to a telephone number or an e-mail address, whether it is active or not. How that
    went is in the job's message."""
    job: Any = await gateways.test(
        info.context.session,
        typed_id("gwy", gateway_id, "gatewayId"),
        to,
        by=info.context.viewer_or_refuse(),
    )
    return JobPayload(job=job)


@strawberry.type
class GatewayQueries:
    gateways = query(list_gateways, Permission.MANAGE_SETTINGS)
    gateway_providers = query(list_providers, Permission.MANAGE_SETTINGS)


@strawberry.type
class GatewayMutations:
    gateway_save = action(save, Permission.MANAGE_SETTINGS)
    gateway_test = action(send_test, Permission.MANAGE_SETTINGS)
