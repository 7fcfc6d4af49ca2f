"""Saving one step of a draft: check the whole step, then keep its answers. Any order, any number of times."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import custom_fields, secrets
from ispgraph.domain.billing import overrides
from ispgraph.domain.errors import ErrorCode, Faults
from ispgraph.domain.models import (
    ConnectionType,
    CustomField,
    Draft,
    Package,
    PaymentMethod,
    Router,
    Tenant,
    WizardStep,
    Zone,
)
from ispgraph.domain.onboarding import answers, drafts
from ispgraph.domain.permissions import Permission, Viewer


async def set_basics(
    session: AsyncSession,
    draft_id: UUID,
    *,
    name: str,
    mobile: str,
    email: str | None,
    expected_version: int | None,
    by: Viewer,
) -> Draft:
    """Step 1: name, mobile and e-mail."""
    draft = await _open(session, draft_id, expected_version, by)
    faults = Faults("input")
    tenant = await session.get_one(Tenant, by.tenant_id)
    answered = await answers.basics(session, faults, tenant, name=name, mobile=mobile, email=email)
    faults.raise_if_any()
    draft.basics = answered
    return await _saved(session, draft, WizardStep.BASICS, by)


async def set_connection(
    session: AsyncSession,
    draft_id: UUID,
    *,
    given: Mapping[ConnectionType, answers.Answer],
    router_id: UUID | None,
    network_key: bytes,
    expected_version: int | None,
    by: Viewer,
) -> Draft:
    """Step 2: how the customer connects. The password is sealed before it is kept."""
    draft = await _open(session, draft_id, expected_version, by)
    faults = Faults("input")
    access = await answers.connection(session, faults, given)
    if router_id is not None and await session.get(Router, router_id) is None:
        faults.add(ErrorCode.NOT_FOUND, "There is no such router.", "routerId")
    if access is not None and draft.package_id is not None:
        answers.fits(faults, await session.get_one(Package, draft.package_id), access.type)
    faults.raise_if_any()
    assert access is not None, "no fault was found"
    draft.connection = {
        "type": access.type.value,
        "username": access.username,
        "profile": access.profile,
        "mac_address": access.mac_address,
        "device_type": access.device_type,
        "ip_address": access.ip_address,
        "subnet": access.subnet,
        "configuration": access.configuration,
    }
    bound_to = secrets.draft_password(draft.tenant_id, draft.id)
    draft.password = secrets.seal(network_key, access.password, bound_to) if access.password else None
    draft.router_id = router_id
    return await _saved(session, draft, WizardStep.CONNECTION, by)


async def set_package(
    session: AsyncSession, draft_id: UUID, *, package_id: UUID, expected_version: int | None, by: Viewer
) -> Draft:
    """Step 3: what is sold. The price is kept as it was shown: a later change must be accepted anew."""
    draft = await _open(session, draft_id, expected_version, by)
    faults = Faults("input")
    package = await session.get(Package, package_id)
    if package is None:
        faults.add(ErrorCode.NOT_FOUND, "There is no such package.", "packageId")
    elif not package.active:
        faults.add(ErrorCode.INVALID_STATE, f"The package {package.name} is not sold any more.", "packageId")
    elif draft.connection is not None:
        answers.fits(faults, package, ConnectionType(draft.connection["type"]), "packageId")
    faults.raise_if_any()
    assert package is not None, "no fault was found"
    draft.package_id = package.id
    draft.package_price_minor = await overrides.agreed_minor(
        session, package, operator_id=draft.created_by_id, customer_id=None, at=clock.now()
    )
    return await _saved(session, draft, WizardStep.PACKAGE, by)


async def set_address(
    session: AsyncSession,
    draft_id: UUID,
    *,
    address: Mapping[str, str | None],
    zone_id: UUID | None,
    expected_version: int | None,
    by: Viewer,
) -> Draft:
    """Step 4: where the customer lives, and in which zone."""
    draft = await _open(session, draft_id, expected_version, by)
    faults = Faults("input")
    answered = answers.address(faults, address)
    if zone_id is not None and await session.get(Zone, zone_id) is None:
        faults.add(ErrorCode.NOT_FOUND, "There is no such zone.", "zoneId")
    faults.raise_if_any()
    draft.address = answered
    draft.zone_id = zone_id
    return await _saved(session, draft, WizardStep.ADDRESS, by)


async def set_custom_fields(
    session: AsyncSession,
    draft_id: UUID,
    *,
    given: Sequence[tuple[str, object]],
    expected_version: int | None,
    by: Viewer,
) -> Draft:
    """Step 5: the tenant's own questions, as pairs of key and value."""
    draft = await _open(session, draft_id, expected_version, by)
    faults = Faults("input")
    fields = (await session.scalars(select(CustomField).order_by(CustomField.id))).all()
    answered = custom_fields.validate(faults, fields, given)
    faults.raise_if_any()
    draft.custom_fields = answered
    return await _saved(session, draft, WizardStep.CUSTOM_FIELDS, by)


async def set_payment(
    session: AsyncSession,
    draft_id: UUID,
    *,
    amount: Decimal,
    method: PaymentMethod,
    reference: str | None,
    notes: str | None,
    expected_version: int | None,
    by: Viewer,
) -> Draft:
    """Step 6: what is paid now."""
    draft = await _open(session, draft_id, expected_version, by)
    faults = Faults("input")
    tenant = await session.get_one(Tenant, by.tenant_id)
    answered = answers.payment(faults, tenant, amount=amount, method=method, reference=reference, notes=notes)
    if answered["amount_minor"] and not by.may(Permission.RECORD_PAYMENTS):
        faults.add(ErrorCode.NOT_PERMITTED, "You may not take payments.", "amount")
    faults.raise_if_any()
    draft.payment = answered
    return await _saved(session, draft, WizardStep.PAYMENT, by)


async def _open(session: AsyncSession, draft_id: UUID, expected_version: int | None, by: Viewer) -> Draft:
    draft = await drafts.lock(session, draft_id, by=by, expected_version=expected_version)
    drafts.require_unfinished(draft, clock.now())
    return draft


async def _saved(session: AsyncSession, draft: Draft, step: WizardStep, by: Viewer) -> Draft:
    drafts.saved(session, draft, step, by=by)
    await session.flush()
    return draft
