"""What confirming a draft would do, and what still stands in its way. Confirming asks the same questions again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import custom_fields, usernames
from ispgraph.domain.billing import periods, tax
from ispgraph.domain.errors import ErrorCode, Fault, Faults
from ispgraph.domain.models import (
    ConnectionType,
    CustomField,
    Draft,
    InvoiceStatus,
    Package,
    Router,
    Tenant,
    WizardStep,
    Zone,
)
from ispgraph.domain.onboarding import answers, drafts

REQUIRED_STEPS = (
    WizardStep.BASICS,
    WizardStep.CONNECTION,
    WizardStep.PACKAGE,
    WizardStep.ADDRESS,
    WizardStep.PAYMENT,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """The first invoice and what becomes of the first payment, in minor units; instants of the first period."""

    subtotal_minor: int
    tax_rate: Decimal
    tax_minor: int
    paid_minor: int
    period_start: datetime
    period_end: datetime
    active: bool

    @property
    def total_minor(self) -> int:
        return self.subtotal_minor + self.tax_minor

    @property
    def wallet_minor(self) -> int:
        return max(0, self.paid_minor - self.total_minor)

    @property
    def invoice_status(self) -> InvoiceStatus:
        if self.paid_minor >= self.total_minor:
            return InvoiceStatus.PAID
        return InvoiceStatus.PARTIALLY_PAID if self.paid_minor else InvoiceStatus.OPEN


@dataclass(frozen=True, slots=True)
class Review:
    """The answer to "what would happen": `missing` is empty when the draft can be confirmed."""

    missing: Sequence[Fault]
    username: str | None
    plan: Plan
    expires_at: datetime | None
    radius: Sequence[tuple[str, str, str, str]]
    """List, attribute, operator and value of each RADIUS row; the password is never among them."""


def plan(draft: Draft, package: Package, tenant: Tenant, at: datetime) -> Plan:
    """Price, tax and period of the package from this instant on."""
    payment = draft.payment or {}
    paid = payment.get("amount_minor", 0)
    assert isinstance(paid, int)
    end = periods.end_of(at, days=package.validity_days, time_zone=tenant.time_zone)
    return Plan(
        subtotal_minor=package.price_minor,
        tax_rate=tenant.tax_rate,
        tax_minor=tax.exclusive(package.price_minor, tenant.tax_rate),
        paid_minor=paid,
        period_start=at,
        period_end=end,
        active=not tenant.pending_until_paid or paid > 0 or package.price_minor == 0,
    )


async def faults_of(session: AsyncSession, draft: Draft, package: Package | None) -> list[Fault]:
    """Everything that keeps the draft from being confirmed now. Paths lead into the draft."""
    faults = Faults("draft")
    done = set(draft.completed_steps)
    for step in REQUIRED_STEPS:
        if step.value not in done:
            faults.add(ErrorCode.DRAFT_INCOMPLETE, f"The step {step.value} is not done.", _field(step))
    fields = (await session.scalars(select(CustomField).order_by(CustomField.id))).all()
    if WizardStep.CUSTOM_FIELDS.value not in done and any(field.required for field in fields):
        name = WizardStep.CUSTOM_FIELDS.value
        faults.add(ErrorCode.DRAFT_INCOMPLETE, f"The step {name} is not done.", "customFields")
    elif draft.custom_fields is not None:
        again = Faults("draft", "customFields")
        custom_fields.validate(again, fields, list(draft.custom_fields.items()))
        faults.found += again.found
    await _connection_faults(session, faults, draft, package)
    if draft.basics is not None:
        await answers.email_is_free(session, faults, draft.basics["email"], "basics", "email")
        if draft.basics["email"] is None and (await session.get_one(Tenant, draft.tenant_id)).email_required:
            faults.add(ErrorCode.REQUIRED, "An e-mail address is required.", "basics", "email")
    if draft.zone_id is not None and await session.get(Zone, draft.zone_id) is None:
        faults.add(ErrorCode.NOT_FOUND, "The zone is gone.", "zone")
    return faults.found


async def review(session: AsyncSession, draft: Draft) -> Review | None:
    """None until a package is chosen: there is nothing to reckon before."""
    if draft.package_id is None or draft.status not in drafts.UNFINISHED:
        return None
    package = await session.get_one(Package, draft.package_id)
    tenant = await session.get_one(Tenant, draft.tenant_id)
    planned = plan(draft, package, tenant, clock.now())
    username = await usernames.free(session, wished_username(draft)) if draft.basics and draft.connection else None
    expires_at = planned.period_end if planned.active else None
    return Review(
        missing=await faults_of(session, draft, package),
        username=username,
        plan=planned,
        expires_at=expires_at,
        radius=await _radius(session, draft, package, username, expires_at) if username else (),
    )


def wished_username(draft: Draft) -> str:
    """What the operator asked for, or what the name gives."""
    assert draft.basics is not None
    assert draft.connection is not None
    return str(draft.connection["username"] or usernames.proposed(str(draft.basics["name"])))


async def _connection_faults(session: AsyncSession, faults: Faults, draft: Draft, package: Package | None) -> None:
    if package is not None:
        if not package.active:
            faults.add(ErrorCode.INVALID_STATE, f"The package {package.name} is not sold any more.", "package")
        if package.price_minor != draft.package_price_minor:
            message = f"The price of {package.name} has changed since it was chosen: save the package step again."
            faults.add(ErrorCode.QUOTE_STALE, message, "package")
    if draft.connection is not None:
        access = answers.Access(
            type=ConnectionType(draft.connection["type"]),
            mac_address=_text(draft.connection["mac_address"]),
            ip_address=_text(draft.connection["ip_address"]),
        )
        await answers.address_is_free(session, faults, access, "connection")
        if package is not None:
            answers.fits(faults, package, access.type, "package")
    if draft.router_id is not None and await session.get(Router, draft.router_id) is None:
        faults.add(ErrorCode.NOT_FOUND, "The router is gone.", "connection", "router")


async def _radius(
    session: AsyncSession, draft: Draft, package: Package, username: str, expires_at: datetime | None
) -> list[tuple[str, str, str, str]]:
    connection = draft.connection or {}
    rows = await session.execute(
        text("""
        SELECT list, attribute, op, value FROM radius_policy_rows(
          p_connection_type => :kind, p_profile => :profile, p_ip_address => CAST(:ip AS inet),
          p_subnet => CAST(:subnet AS cidr), p_upload_kbps => :up, p_download_kbps => :down,
          p_data_quota_bytes => :quota, p_time_quota_seconds => :time_quota, p_expires_at => :expires,
          p_at => :at)"""),
        {
            "kind": connection["type"],
            "profile": connection["profile"],
            "ip": connection["ip_address"],
            "subnet": connection["subnet"],
            "up": package.upload_kbps,
            "down": package.download_kbps,
            "quota": package.data_quota_bytes,
            "time_quota": package.time_quota_seconds,
            "expires": expires_at,
            "at": clock.now(),
        },
    )
    return [(row.list, row.attribute, row.op, row.value) for row in rows]


def _field(step: WizardStep) -> str:
    return {WizardStep.CUSTOM_FIELDS: "customFields"}.get(step, step.value.lower())


def _text(value: object) -> str | None:
    return None if value is None else str(value)


async def of_draft(session: AsyncSession, draft_id: UUID) -> Review | None:
    """The review of a draft by id."""
    return await review(session, await session.get_one(Draft, draft_id))
