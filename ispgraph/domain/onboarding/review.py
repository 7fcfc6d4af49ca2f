"""What confirming a draft would do, and what still stands in its way. Confirming asks the same questions again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import custom_fields, radius_rows, usernames
from ispgraph.domain.billing import invoices, overrides, periods, proration
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
from ispgraph.domain.radius_rows import RadiusRow

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

    sold: proration.Sold
    line: invoices.Line
    paid_minor: int
    period: periods.Period
    active: bool

    @property
    def total_minor(self) -> int:
        """Of the invoice, with tax."""
        return invoices.amounts([self.line]).total_minor

    @property
    def wallet_minor(self) -> int:
        """What is left of the payment."""
        return max(0, self.paid_minor - self.total_minor)

    @property
    def invoice_status(self) -> InvoiceStatus:
        """Of the invoice, once the payment is on it."""
        return invoices.settled_status(self.total_minor, self.paid_minor)

    @property
    def expires_at(self) -> datetime | None:
        """Of the service; a pending one has not begun."""
        return self.period.end if self.active else None


@dataclass(frozen=True, slots=True)
class Review:
    """The answer to "what would happen": `missing` is empty when the draft can be confirmed."""

    missing: Sequence[Fault]
    username: str | None
    plan: Plan
    radius: Sequence[RadiusRow]


async def plan(session: AsyncSession, draft: Draft, package: Package, tenant: Tenant, at: datetime) -> Plan:
    """Price, tax and period of the package from this instant on."""
    payment = draft.payment or {}
    paid = payment.get("amount_minor", 0)
    assert isinstance(paid, int)
    sold = await overrides.sold(session, package, tenant, operator_id=draft.created_by_id, customer_id=None, at=at)
    period = periods.period(at, sold.cycle, 0, tenant.time_zone)
    return Plan(
        sold=sold,
        line=proration.whole(sold, period, tenant.time_zone),
        paid_minor=paid,
        period=period,
        active=not tenant.pending_until_paid or paid > 0 or sold.price_minor == 0,
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
    planned = await plan(session, draft, package, tenant, clock.now())
    username = await usernames.free(session, wished_username(draft)) if draft.basics and draft.connection else None
    return Review(
        missing=await faults_of(session, draft, package),
        username=username,
        plan=planned,
        radius=await _radius(session, draft, package, planned.expires_at) if username else (),
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
        price = await overrides.agreed_minor(
            session, package, operator_id=draft.created_by_id, customer_id=None, at=clock.now()
        )
        if price != draft.package_price_minor:
            message = f"The price of {package.name} has changed since it was chosen: save the package step again."
            faults.add(ErrorCode.QUOTE_STALE, message, "package")
    if draft.connection is not None:
        access = answers.Access(
            type=ConnectionType(draft.connection["type"]),
            mac_address=stored_text(draft.connection["mac_address"]),
            ip_address=stored_text(draft.connection["ip_address"]),
        )
        await answers.address_is_free(session, faults, access, "connection")
        if package is not None:
            answers.fits(faults, package, access.type, "package")
    if draft.router_id is not None and await session.get(Router, draft.router_id) is None:
        faults.add(ErrorCode.NOT_FOUND, "The router is gone.", "connection", "router")


async def _radius(
    session: AsyncSession, draft: Draft, package: Package, expires_at: datetime | None
) -> Sequence[RadiusRow]:
    given = draft.connection or {}
    profile, ip_address, subnet = (stored_text(given[name]) for name in ("profile", "ip_address", "subnet"))
    return await radius_rows.of_plan(
        session, package, profile=profile, ip_address=ip_address, subnet=subnet, expires_at=expires_at
    )


def _field(step: WizardStep) -> str:
    return {WizardStep.CUSTOM_FIELDS: "customFields"}.get(step, step.value.lower())


def stored_text(value: object) -> str | None:
    """A text out of a draft's JSON answers, or None."""
    return None if value is None else str(value)


async def of_draft(session: AsyncSession, draft_id: UUID) -> Review | None:
    """The review of a draft by id."""
    return await review(session, await session.get_one(Draft, draft_id))
