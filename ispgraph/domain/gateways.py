"""The accounts of a tenant with providers, and what they are opened with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import secrets
from ispgraph.domain.models import Gateway, GatewayKind


@dataclass(frozen=True, slots=True)
class Opened:
    """An account with its secrets in clear: for an adapter, never for a log, a job or an answer."""

    id: UUID
    tenant_id: UUID
    kind: GatewayKind
    provider: str
    name: str
    test_mode: bool
    settings: Mapping[str, str] = field(repr=False)
    """Both what may be shown and what may not, by the provider's names; what was left empty is not there."""


def sealed(key: bytes, tenant_id: UUID, gateway_id: UUID, values: Mapping[str, str]) -> bytes:
    """Secrets as they are stored. `key` is the network key of the settings."""
    return secrets.seal(key, json.dumps(dict(values), sort_keys=True), secrets.gateway(tenant_id, gateway_id))


def opened(key: bytes, gateway: Gateway) -> Opened:
    """An account, ready for its adapter. Raises secrets.BadSecret when it was sealed with another key."""
    hidden = json.loads(secrets.unseal(key, gateway.secrets, secrets.gateway(gateway.tenant_id, gateway.id)))
    return Opened(
        id=gateway.id,
        tenant_id=gateway.tenant_id,
        kind=gateway.kind,
        provider=gateway.provider,
        name=gateway.name,
        test_mode=gateway.test_mode,
        settings={**gateway.settings, **hidden},
    )


async def active(session: AsyncSession, kind: GatewayKind) -> list[Gateway]:
    """Those of the tenant that are in use, in their order."""
    found = await session.scalars(
        select(Gateway).where(Gateway.kind == kind, Gateway.active).order_by(Gateway.position, Gateway.id)
    )
    return list(found)
