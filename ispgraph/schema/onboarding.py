"""The wizard: drafts, their steps, and what confirming gives."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import strawberry
from sqlalchemy import Select, and_, select

from ispgraph.domain import models, visibility
from ispgraph.domain.onboarding import drafts
from ispgraph.domain.onboarding import review as reviews
from ispgraph.schema.base import Money, Node, Payload, UserError, errors, money, node
from ispgraph.schema.billing import Invoice, InvoiceLine, Payment
from ispgraph.schema.catalogue import CustomFieldInput, CustomFieldValue, Package, Zone
from ispgraph.schema.compiler.fields import expression, one, rows
from ispgraph.schema.compiler.sources import Asked
from ispgraph.schema.context import Info
from ispgraph.schema.customers import Address, Customer, RadiusAttribute, custom_value, radius_attributes
from ispgraph.schema.jobs import Job
from ispgraph.schema.operators import Operator
from ispgraph.schema.routers import Router
from ispgraph.schema.scalars import EmailAddress, IpAddress, IpNetwork, MacAddress, PhoneNumber

LOG_ENTRIES = 200


@strawberry.type
class DraftBasics:
    name: str
    mobile: PhoneNumber
    email: EmailAddress | None


@strawberry.type
class DraftAccess:
    type: models.ConnectionType
    username: str | None
    password_set: bool
    profile: str | None
    mac_address: MacAddress | None
    device_type: str | None
    ip_address: IpAddress | None
    subnet: IpNetwork | None
    configuration: str | None
    router: Router | None


@strawberry.type
class DraftPayment:
    amount: Money
    method: models.PaymentMethod
    reference: str | None
    notes: str | None


@strawberry.type(
    description="What confirming would do: the account, the first invoice, the RADIUS rows; what is missing."
)
class DraftReview:
    ready: bool
    missing: list[UserError]
    username: str | None
    lines: list[InvoiceLine]
    invoice_total: Money
    invoice_status_after: models.InvoiceStatus
    wallet_after: Money
    expires_at: datetime | None
    radius: list[RadiusAttribute]


@strawberry.type
class DraftLogEntry:
    step: models.WizardStep
    succeeded: bool
    error: str | None
    at: datetime
    by: str


def _log(draft: Any, asked: Asked) -> Select[Any]:
    entry, who = models.DraftLogEntry, models.Operator
    last = (
        select(entry.id, entry.step, entry.succeeded, entry.error, entry.at, who.name.label("by"))
        .join(who, who.id == entry.by_id)
        .where(entry.draft_id == draft.id)
        .order_by(entry.id.desc())
        .limit(LOG_ENTRIES)
        .correlate(draft)
        .subquery()
    )
    return select(last).order_by(last.c.id)


@node("dft", models.Draft, description="An unfinished creation. It is forgotten 24 hours after the last touch.")
class CustomerDraft(Node):
    version: int
    current_step: models.WizardStep
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    status: models.DraftStatus = expression(lambda draft, asked: drafts.status_at(draft, asked.now))
    name: str | None = expression(lambda draft, asked: draft.basics["name"].astext)
    completed_steps: list[models.WizardStep]
    progress_percent: int = expression(lambda draft, asked: drafts.progress(draft))
    package: Package | None = one("package_id")
    zone: Zone | None = one("zone_id")
    created_by: Operator = one("created_by_id")
    last_modified_by: Operator = one("modified_by_id")
    log: list[DraftLogEntry] = rows(
        _log, description="Every attempt at a step, the refused ones too, oldest first; the last 200."
    )
    customer: Customer | None = one(
        lambda draft, customer, asked: and_(
            customer.id == draft.customer_id, visibility.condition(asked.viewer, models.Customer, customer)
        )
    )

    @strawberry.field
    def basics(root: strawberry.Parent[models.Draft]) -> DraftBasics | None:
        given: Any = root.basics
        return DraftBasics(**given) if given else None

    @strawberry.field
    async def connection(root: strawberry.Parent[models.Draft], info: Info) -> DraftAccess | None:
        given: Any = root.connection
        if not given:
            return None
        router: Any = await info.context.loaders.one(models.Router, root.router_id)
        kind = models.ConnectionType(given["type"])
        return DraftAccess(**{**given, "type": kind}, password_set=root.password is not None, router=router)

    @strawberry.field
    def address(root: strawberry.Parent[models.Draft]) -> Address | None:
        given: Any = root.address
        if not given:
            return None
        return Address(
            street=given["street"],
            city=given["city"],
            state=given["state"],
            postal_code=given["postalCode"],
            country=given["country"],
        )

    @strawberry.field
    def custom_fields(root: strawberry.Parent[models.Draft]) -> list[CustomFieldValue]:
        return [custom_value(UUID(key), value) for key, value in (root.custom_fields or {}).items()]

    @strawberry.field
    def payment(root: strawberry.Parent[models.Draft], info: Info) -> DraftPayment | None:
        given: Any = root.payment
        if not given:
            return None
        return DraftPayment(
            amount=money(info, given["amount_minor"]),
            method=models.PaymentMethod(given["method"]),
            reference=given["reference"],
            notes=given["notes"],
        )

    @strawberry.field
    async def review(root: strawberry.Parent[models.Draft], info: Info) -> DraftReview | None:
        async with info.context.read() as session:
            found = await reviews.of_draft(session, root.id)
        return _review(info, found) if found else None


def _review(info: Info, found: reviews.Review) -> DraftReview:
    line: Any = found.plan.line
    return DraftReview(
        ready=not found.missing,
        missing=errors(found.missing),
        username=found.username,
        lines=[line],
        invoice_total=money(info, found.plan.total_minor),
        invoice_status_after=found.plan.invoice_status,
        wallet_after=money(info, found.plan.wallet_minor),
        expires_at=found.plan.expires_at,
        radius=radius_attributes(found.radius),
    )


_VERSION = strawberry.field(
    default=None, description="The version the form was filled from: VERSION_CONFLICT when somebody has saved since."
)


@strawberry.input
class StepInput:
    draft_id: strawberry.ID
    idempotency_key: str | None = None


@strawberry.input
class DraftBasicsInput:
    draft_id: strawberry.ID
    name: str
    mobile: PhoneNumber
    email: EmailAddress | None = None
    expected_version: int | None = _VERSION
    idempotency_key: str | None = None


@strawberry.input
class PppoeInput:
    username: str = strawberry.field(description="Empty: made from the name. Taken: a number is added.")
    password: str
    profile: str | None = None


@strawberry.input
class HotspotInput:
    mac_address: MacAddress
    device_type: str | None = None


@strawberry.input
class StaticIpInput:
    ip_address: IpAddress
    subnet: IpNetwork | None = None


@strawberry.input
class OtherConnectionInput:
    configuration: str


@strawberry.input(description="Exactly one of pppoe, hotspot, staticIp and other.")
class DraftConnectionInput:
    draft_id: strawberry.ID
    pppoe: PppoeInput | None = None
    hotspot: HotspotInput | None = None
    static_ip: StaticIpInput | None = None
    other: OtherConnectionInput | None = None
    router_id: strawberry.ID | None = None
    expected_version: int | None = _VERSION
    idempotency_key: str | None = None


@strawberry.input
class DraftPackageInput:
    draft_id: strawberry.ID
    package_id: strawberry.ID
    expected_version: int | None = _VERSION
    idempotency_key: str | None = None


@strawberry.input
class AddressInput:
    street: str
    city: str | None = None
    state: str | None = None
    postal_code: str | None = None
    country: str | None = None

    def answer(self) -> dict[str, str | None]:
        """What was typed, by the names of the fields."""
        return {
            "street": self.street,
            "city": self.city,
            "state": self.state,
            "postalCode": self.postal_code,
            "country": self.country,
        }


@strawberry.input
class DraftAddressInput:
    draft_id: strawberry.ID
    address: AddressInput
    zone_id: strawberry.ID | None = None
    expected_version: int | None = _VERSION
    idempotency_key: str | None = None


@strawberry.input
class DraftCustomFieldsInput:
    draft_id: strawberry.ID
    values: list[CustomFieldInput]
    expected_version: int | None = _VERSION
    idempotency_key: str | None = None


@strawberry.input
class DraftPaymentInput:
    draft_id: strawberry.ID
    amount: Decimal
    method: models.PaymentMethod = models.PaymentMethod.CASH
    reference: str | None = None
    notes: str | None = None
    expected_version: int | None = _VERSION
    idempotency_key: str | None = None


@strawberry.input
class DraftConfirmInput:
    draft_id: strawberry.ID
    idempotency_key: str | None = None


@strawberry.type
class CustomerDraftPayload(Payload):
    draft: CustomerDraft | None = None


@strawberry.type(description="Shown once.")
class Credentials:
    username: str = strawberry.field(description="Of the network: PPPoE, hotspot.")
    password: str
    login_name: str | None = strawberry.field(default=None, description="Of the customer portal: the account number.")
    login_password: str | None = None


@strawberry.type
class CustomerDraftConfirmPayload(Payload):
    draft: CustomerDraft | None = None
    customer: Customer | None = None
    invoice: Invoice | None = None
    payment: Payment | None = None
    credentials: Credentials | None = strawberry.field(
        default=None, description="Null when the draft had been confirmed before."
    )
    jobs: list[Job] = strawberry.field(default_factory=list)
