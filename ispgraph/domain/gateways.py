"""The accounts of a tenant with providers, and what they are opened with."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Integer, String, Uuid, func, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import audit, gateway_forms, jobs, secrets, values
from ispgraph.domain.conflicts import taken
from ispgraph.domain.errors import ErrorCode, Faults, fail, not_found
from ispgraph.domain.gateway_providers import Provider
from ispgraph.domain.lists import Filter, Key, Order
from ispgraph.domain.models import Gateway, GatewayKind, Job, Tenant
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.providers import PROVIDERS

ORDER = Order("gateways", (Key(Gateway.position, Integer()), Key(Gateway.id, Uuid())))
FILTERS = {"kind": Filter(String(), lambda value, by: type_coerce(Gateway.kind, String()) == value)}
_MOST_POSITIONS = 9999
_UNIQUE = {"uq_gateways_name": ("input", "name")}


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
    settings = {**gateway.settings, **_hidden(key, gateway)}
    provider = PROVIDERS.get(gateway.provider)
    return Opened(
        id=gateway.id,
        tenant_id=gateway.tenant_id,
        kind=gateway.kind,
        provider=gateway.provider,
        name=gateway.name,
        test_mode=gateway.test_mode,
        settings=settings if provider is None else gateway_forms.with_defaults(provider, settings),
    )


async def active(session: AsyncSession, kind: GatewayKind) -> list[Gateway]:
    """Those of the tenant that are in use, in their order."""
    found = await session.scalars(
        select(Gateway).where(Gateway.kind == kind, Gateway.active).order_by(Gateway.position, Gateway.id)
    )
    return list(found)


def secret_names(key: bytes, gateway: Gateway) -> list[str]:
    """Which secrets are set; none when they were sealed with another key, and so are lost."""
    try:
        return sorted(_hidden(key, gateway))
    except secrets.BadSecret:
        return []


def callback_url(origin: str, gateway: Gateway) -> str | None:
    """Where the provider tells us what became of things; None where it has nothing to tell."""
    if gateway.kind is GatewayKind.EMAIL:
        return None
    place = "delivery" if gateway.kind is GatewayKind.SMS else "callbacks"
    return f"{origin}/{place}/{gateway.tenant_id.hex}/{gateway.id.hex}"


def _hidden(key: bytes, gateway: Gateway) -> dict[str, str]:
    found: dict[str, str] = json.loads(
        secrets.unseal(key, gateway.secrets, secrets.gateway(gateway.tenant_id, gateway.id))
    )
    return found


# -- what operators do


@dataclass(frozen=True, slots=True)
class Terms:
    """An account as typed. Of one that exists, what is None stays; a setting that is not named stays as well, and an
    empty text takes it away."""

    kind: GatewayKind | None
    provider: str | None
    name: str | None
    settings: Sequence[tuple[str, str]] | None = field(repr=False)
    test_mode: bool | None
    active: bool | None
    position: int | None


async def save(
    session: AsyncSession,
    gateway_id: UUID | None,
    terms: Terms,
    *,
    network_key: bytes,
    private: bool,
    by: Viewer,
) -> Gateway:
    """A new account, or the one with this id on other terms; the same terms again change nothing.

    `private`: whether addresses of our own network may be meant. Raises DomainError with every fault.
    """
    gateway = None
    if gateway_id is not None:
        gateway = await session.get(Gateway, gateway_id, with_for_update=True)
        if gateway is None:
            raise not_found("gateway", "input", "id")
    if gateway is None:
        gateway = await _create(session, terms, network_key, private, by)
    else:
        await _change(session, gateway, terms, network_key, private, by)
    return gateway


async def test(session: AsyncSession, gateway_id: UUID, to: str, *, by: Viewer) -> Job:
    """Promise to send a message to an address, to see whether the account works. Raises DomainError NOT_FOUND; INVALID
    for what is no address; INVALID_STATE for an account that carries no messages."""
    gateway = await session.get(Gateway, gateway_id)
    if gateway is None:
        raise not_found("gateway", "gatewayId")
    if gateway.kind is GatewayKind.PAYMENT:
        message = "Only an account that carries messages is tested with one: try a payment link of a small invoice."
        raise fail(ErrorCode.INVALID_STATE, message, "gatewayId")
    faults = Faults()
    if gateway.kind is GatewayKind.SMS:
        address = values.checked(faults, values.phone, to, by.country, at=("to",))
    else:
        address = values.checked(faults, values.email, to, at=("to",))
    faults.raise_if_any()
    arguments: dict[str, object] = {"gateway": str(gateway.id), "to": address}
    job = await jobs.enqueue(session, jobs.GATEWAY_TEST, tenant_id=by.tenant_id, by=by.operator_id, arguments=arguments)
    audit.record(session, by=by, action="gateway.test", subject_id=gateway.id, details={"to": address})
    return job


async def _create(session: AsyncSession, terms: Terms, key: bytes, private: bool, by: Viewer) -> Gateway:
    faults = Faults("input")
    provider = PROVIDERS.get(terms.provider or "")
    if terms.kind is None:
        faults.add(ErrorCode.REQUIRED, "This is required.", "kind")
    if not terms.provider:
        faults.add(ErrorCode.REQUIRED, "This is required.", "provider")
    elif provider is None or terms.kind not in (None, provider.kind):
        faults.add(ErrorCode.INVALID, "There is no such provider of this kind.", "provider")
    elif provider.currencies and by.currency not in provider.currencies:
        money = ", ".join(provider.currencies)
        faults.add(ErrorCode.INVALID, f"{provider.label} takes {money}, and not {by.currency}.", "provider")
    name = values.checked(faults, values.text, terms.name, 100, at=("name",))
    _check_position(faults, terms.position)
    if provider is not None:
        filled = gateway_forms.fill(faults, provider, {}, terms.settings or (), private=private)
    faults.raise_if_any()
    assert provider is not None
    assert name is not None
    # One at a time in a house: each new one comes after those before.
    await session.get_one(Tenant, by.tenant_id, with_for_update={"key_share": True})
    last = await session.scalar(select(func.max(Gateway.position)).where(Gateway.kind == provider.kind))
    gateway_id, now = ids.uuid7(), clock.now()
    gateway = Gateway(
        id=gateway_id,
        tenant_id=by.tenant_id,
        kind=provider.kind,
        provider=provider.slug,
        name=name,
        settings=dict(filled.shown),
        secrets=sealed(key, by.tenant_id, gateway_id, filled.hidden),
        test_mode=terms.test_mode or False,
        active=terms.active is not False,
        position=min((last or 0) + 1, _MOST_POSITIONS) if terms.position is None else terms.position,
        created_at=now,
        updated_at=now,
    )
    session.add(gateway)
    async with taken(_UNIQUE, "There is an account of this name."):
        await session.flush()
    details = {"kind": gateway.kind.value, "provider": gateway.provider, "name": gateway.name}
    audit.record(session, by=by, action="gateway.create", subject_id=gateway.id, details=details)
    return gateway


async def _change(session: AsyncSession, gateway: Gateway, terms: Terms, key: bytes, private: bool, by: Viewer) -> None:
    faults = Faults("input")
    provider: Provider | None = PROVIDERS.get(gateway.provider)
    if provider is None:
        raise fail(ErrorCode.INVALID_STATE, "This version does not know the provider of this account.", "input", "id")
    if terms.kind not in (None, gateway.kind):
        faults.add(ErrorCode.INVALID, "The kind of an account stays: make another one.", "kind")
    if terms.provider not in (None, gateway.provider):
        faults.add(ErrorCode.INVALID, "The provider of an account stays: make another one.", "provider")
    name = gateway.name
    if terms.name is not None:
        name = values.checked(faults, values.text, terms.name, 100, at=("name",)) or name
    _check_position(faults, terms.position)
    try:
        hidden = _hidden(key, gateway)
    except secrets.BadSecret:
        # Sealed with a key that is gone: they have to be given again.
        hidden = {}
    filled = gateway_forms.fill(faults, provider, {**gateway.settings, **hidden}, terms.settings or (), private=private)
    faults.raise_if_any()
    columns: dict[str, object] = {
        "name": name,
        "settings": dict(filled.shown),
        "test_mode": gateway.test_mode if terms.test_mode is None else terms.test_mode,
        "active": gateway.active if terms.active is None else terms.active,
        "position": gateway.position if terms.position is None else terms.position,
    }
    changed = {column for column, value in columns.items() if getattr(gateway, column) != value}
    before, after = {**gateway.settings, **hidden}, {**filled.shown, **filled.hidden}
    changed |= {f"settings.{each}" for each in before.keys() | after.keys() if before.get(each) != after.get(each)}
    if not changed:
        return
    for column, value in columns.items():
        setattr(gateway, column, value)
    if filled.hidden != hidden:
        gateway.secrets = sealed(key, gateway.tenant_id, gateway.id, filled.hidden)
    gateway.updated_at = clock.now()
    async with taken(_UNIQUE, "There is an account of this name."):
        await session.flush()
    # The names alone: some of the values are secrets.
    details = {"changed": sorted(changed - {"settings"})}
    audit.record(session, by=by, action="gateway.update", subject_id=gateway.id, details=details)


def _check_position(faults: Faults, position: int | None) -> None:
    if position is not None and not 0 <= position <= _MOST_POSITIONS:
        faults.add(ErrorCode.INVALID, f"This must be from 0 to {_MOST_POSITIONS}.", "position")
