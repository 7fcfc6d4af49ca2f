"""Confirming a draft: customer, service, first invoice, first payment and ledger, all of it or nothing."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import audit, customer_records, idempotency, messages, notices, passwords, secrets, usernames
from ispgraph.domain.billing import bills, payments
from ispgraph.domain.conflicts import taken
from ispgraph.domain.errors import DomainError, ErrorCode, Fault
from ispgraph.domain.models import (
    ConnectionType,
    Customer,
    CustomerStatus,
    CustomFieldValue,
    Draft,
    DraftStatus,
    Invoice,
    Job,
    Package,
    Payment,
    PaymentCategory,
    PaymentMethod,
    Service,
    ServiceMac,
    ServiceStatus,
    Tenant,
    WizardStep,
)
from ispgraph.domain.network import changes
from ispgraph.domain.onboarding import drafts, review
from ispgraph.domain.permissions import Permission, Viewer

OPERATION = "customerDraftConfirm"

# Unique constraints that a concurrent creation may win, and the answer that lost.
_RACES = {
    "uq_customers_tenant_id_email": ("draft", "basics", "email"),
    "uq_service_macs_login": ("draft", "connection", "macAddress"),
    "uq_services_tenant_id_username": ("draft", "connection", "username"),
    "uq_services_ip_address": ("draft", "connection", "ipAddress"),
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """Shown once: afterwards the network password is sealed and the other one only a hash."""

    username: str
    password: str
    login_name: str
    login_password: str


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What confirming made; without credentials when it is told again."""

    draft: Draft
    customer: Customer
    invoice: Invoice
    payment: Payment | None
    job: Job | None
    credentials: Credentials | None


async def confirm(
    session: AsyncSession, draft_id: UUID, *, idempotency_key: str | None, network_key: bytes, by: Viewer
) -> Confirmed:
    """Make the customer of a draft. A draft makes one customer: confirming again answers with the same.

    Raises DomainError with everything that stands in the way, DRAFT_INCOMPLETE among others.
    """
    given = {"draft": draft_id}
    first = await idempotency.claim(session, by=by, operation=OPERATION, key=idempotency_key, given=given)
    if first is not None:
        return await _again(session, await drafts.lock(session, draft_id, by=by))
    draft = await drafts.lock(session, draft_id, by=by)
    if draft.status is DraftStatus.COMPLETED:
        made = await _again(session, draft)
    else:
        made = await _make(session, draft, network_key, by)
    answer = {"draft": str(draft_id)}
    await idempotency.keep(session, by=by, operation=OPERATION, key=idempotency_key, answer=answer)
    return made


async def _make(session: AsyncSession, draft: Draft, network_key: bytes, by: Viewer) -> Confirmed:
    at = clock.now()
    drafts.require_unfinished(draft, at)
    tenant = await session.get_one(Tenant, by.tenant_id, with_for_update={"read": True})
    package = await session.get(Package, draft.package_id, with_for_update={"read": True}) if draft.package_id else None
    faults = await review.faults_of(session, draft, package)
    if (draft.payment or {}).get("amount_minor") and not by.may(Permission.RECORD_PAYMENTS):
        faults.append(Fault(ErrorCode.NOT_PERMITTED, "You may not take payments.", ("draft", "payment")))
    if faults:
        raise DomainError(faults)
    assert package is not None
    planned = await review.plan(session, draft, package, tenant, at)
    login_password = secrets.generate_password(12)
    login_hash = await passwords.hashed(login_password)
    username = await usernames.reserve(session, tenant.id, review.wished_username(draft))
    customer = await _customer(session, tenant, draft, planned, at)
    customer.password_hash = login_hash
    service, password = _service(draft, customer, package, username, planned, network_key)
    async with taken(_RACES):
        session.add(customer)
        await session.flush()
        session.add(service)
        await session.flush()
        session.add_all(_belongings(draft, customer, service))
        await session.flush()
    invoice = await _invoice(session, tenant, service, planned, at, by)
    payment = await _payment(session, draft, tenant, customer, invoice, planned, at, by)
    job, *_ = await changes.promised(session, service, by=by.operator_id)
    _complete(session, draft, customer, invoice, payment, job, by)
    if payment is not None:
        await notices.payment_received(session, tenant, customer, payment, by=by)
    if planned.active:
        name = package.name
        await messages.tell(session, customer, "service.welcome", by=by, package=name, username=username)
    await session.flush()
    credentials = Credentials(username, password, customer.account_number, login_password)
    return Confirmed(draft, customer, invoice, payment, job, credentials)


async def _customer(
    session: AsyncSession, tenant: Tenant, draft: Draft, planned: review.Plan, at: datetime
) -> Customer:
    return await customer_records.enrolled(
        session,
        tenant,
        basics=draft.basics or {},
        address=draft.address,
        zone_id=draft.zone_id,
        # Whoever began it: a reseller's customer stays the reseller's when the office finishes the draft.
        operator_id=draft.created_by_id,
        status=CustomerStatus.ACTIVE if planned.active else CustomerStatus.PENDING,
        at=at,
    )


def _service(
    draft: Draft, customer: Customer, package: Package, username: str, planned: review.Plan, network_key: bytes
) -> tuple[Service, str]:
    connection = draft.connection or {}
    if draft.password is None:
        password = secrets.generate_password()
    else:
        bound_to = secrets.draft_password(draft.tenant_id, draft.id)
        password = secrets.unseal(network_key, draft.password, bound_to)
    key = ids.uuid7()
    service = Service(
        id=key,
        tenant_id=draft.tenant_id,
        customer_id=customer.id,
        package_id=package.id,
        router_id=draft.router_id,
        connection_type=ConnectionType(connection["type"]),
        status=ServiceStatus.ACTIVE if planned.active else ServiceStatus.PENDING,
        username=username,
        password=secrets.seal(network_key, password, secrets.service_password(draft.tenant_id, key)),
        profile=connection["profile"],
        device_type=connection["device_type"],
        ip_address=connection["ip_address"],
        subnet=connection["subnet"],
        configuration=connection["configuration"],
        started_at=planned.period.start if planned.active else None,
        expires_at=planned.expires_at,
        billing_anchor=planned.period.start,
    )
    return service, password


def _belongings(draft: Draft, customer: Customer, service: Service) -> list[ServiceMac | CustomFieldValue]:
    """The rows that hang on the customer and the service: devices and custom answers."""
    rows: list[ServiceMac | CustomFieldValue] = [
        CustomFieldValue(tenant_id=draft.tenant_id, customer_id=customer.id, field_id=UUID(key), value=value)
        for key, value in (draft.custom_fields or {}).items()
        if value is not None
    ]
    if mac := (draft.connection or {})["mac_address"]:
        rows.append(ServiceMac(tenant_id=draft.tenant_id, service_id=service.id, mac=mac, logs_in=True))
    return rows


async def _invoice(
    session: AsyncSession,
    tenant: Tenant,
    service: Service,
    planned: review.Plan,
    at: datetime,
    by: Viewer,
) -> Invoice:
    return await bills.issue(
        session,
        tenant=tenant,
        service=service,
        lines=[planned.line],
        period=planned.period,
        charged=planned.sold,
        at=at,
        by=by,
    )


async def _payment(
    session: AsyncSession,
    draft: Draft,
    tenant: Tenant,
    customer: Customer,
    invoice: Invoice,
    planned: review.Plan,
    at: datetime,
    by: Viewer,
) -> Payment | None:
    if planned.paid_minor == 0:
        return None
    given = draft.payment or {}
    return await payments.record(
        session,
        tenant=tenant,
        customer_id=customer.id,
        amount_minor=planned.paid_minor,
        method=PaymentMethod(given["method"]),
        category=PaymentCategory.SERVICE,
        reference=review.stored_text(given["reference"]),
        notes=review.stored_text(given["notes"]),
        at=at,
        by=by,
        invoices=[invoice],
    )


def _complete(
    session: AsyncSession,
    draft: Draft,
    customer: Customer,
    invoice: Invoice,
    payment: Payment | None,
    job: Job | None,
    by: Viewer,
) -> None:
    drafts.saved(session, draft, WizardStep.REVIEW, by=by)
    draft.status = DraftStatus.COMPLETED
    draft.customer_id = customer.id
    draft.password = None
    made = {"customer": customer, "invoice": invoice, "payment": payment, "job": job}
    draft.outcome = {name: str(row.id) for name, row in made.items() if row is not None}
    audit.record(session, by=by, action="draft.confirm", subject_id=customer.id, details=draft.outcome)


async def _again(session: AsyncSession, draft: Draft) -> Confirmed:
    outcome = draft.outcome or {}
    payment, job = outcome.get("payment"), outcome.get("job")
    return Confirmed(
        draft=draft,
        customer=await session.get_one(Customer, UUID(str(outcome["customer"]))),
        invoice=await session.get_one(Invoice, UUID(str(outcome["invoice"]))),
        payment=await session.get_one(Payment, UUID(str(payment))) if payment else None,
        job=await session.get_one(Job, UUID(str(job))) if job else None,
        credentials=None,
    )
