"""What each operator of a mirrored provider has: one object, or more, of every kind that belongs to somebody."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, demo_customers, ids
from ispgraph.domain import (
    api_tokens,
    bulk_runs,
    bulk_wishes,
    customer_passwords,
    customer_records,
    grants,
    hosting,
    package_changes,
    paying,
    payment_links,
    tickets,
    transfers,
    vouchers,
)
from ispgraph.domain.billing import commission_rates, desk, operator_wallets, overrides
from ispgraph.domain.customer_sign_in import Person
from ispgraph.domain.gateway_payments import Word
from ispgraph.domain.imports import records
from ispgraph.domain.imports.layout import Layout
from ispgraph.domain.messaging import credits
from ispgraph.domain.models import (
    ApiToken,
    AuditEntry,
    BulkAction,
    BulkRun,
    CommissionRate,
    ConnectionType,
    Customer,
    CustomerImport,
    CustomerTransfer,
    Draft,
    Gateway,
    GatewayPayment,
    GatewayPaymentState,
    GatewayRefund,
    HostingAccount,
    ImportSource,
    Invoice,
    Job,
    Message,
    MessageChannel,
    MessageStatus,
    Operator,
    OperatorGrant,
    OperatorPayment,
    OperatorPaymentKind,
    Package,
    PackageChange,
    Payment,
    PaymentLink,
    PaymentMethod,
    Portal,
    Posting,
    PriceOverride,
    Role,
    Service,
    Session,
    SignIn,
    SmsCreditEntry,
    SuspendReason,
    Ticket,
    TicketCategory,
    TicketPriority,
    Voucher,
    VoucherBatch,
    WebhookDelivery,
    WebhookEndpoint,
)
from ispgraph.domain.onboarding import drafts
from ispgraph.domain.permissions import Permission, Viewer
from ispgraph.domain.portals import records as portals
from ispgraph.domain.selections import Selection
from ispgraph.domain.services import Chosen
from ispgraph.domain.webhooks import endpoints
from ispgraph.domain.webhooks.catalogue import WebhookEvent
from ispgraph.settings import Settings

_RESELLERS = (Role.OPERATOR, Role.SUB_OPERATOR)
_CUSTOMERS_HAVE = (
    *(Service, Invoice, Payment, Posting, Job, HostingAccount, Message, PaymentLink, GatewayPayment),
    *(GatewayRefund, Portal, Session, Ticket, CustomerTransfer, PriceOverride),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Whose things are to be made: an operator with customers, somebody below, and who gets a customer of theirs."""

    name: str
    owner: Operator
    mate: Operator
    receiver: Operator


@dataclass(frozen=True, slots=True)
class Ground:
    """What the whole provider has."""

    slug: str
    package: Package
    other: Package
    zone: str
    gateway: Gateway
    password_hash: str
    """Of every customer who can sign in."""


async def fill(
    session: AsyncSession, place: Place, ground: Ground, by: Mapping[UUID, Viewer], admin: Viewer, settings: Settings
) -> Customer:
    """Make everything that belongs to one operator, by the verbs that make it for anybody. The customer can sign in."""
    owner = by[place.owner.id]
    person = demo_customers.Person(f"{place.name.title()} Example", "owner", ground.package.name, ground.zone, "100")
    await demo_customers.add(session, [person], {"owner": owner}, settings.network_key)
    customer = await session.scalar(select(Customer).where(Customer.email == f"{place.name}@customers.example"))
    assert customer is not None
    await customer_passwords.set_password(session, Person(customer, None, ()), ground.password_hash, but=None)
    await _of_customer(session, customer, ground, owner, admin, settings)
    await _paid_by_gateway(session, customer, ground, admin)
    leaving = await customer_records.create(
        session,
        name=f"Leaving {place.name.title()}",
        mobile="01711009999",
        email=f"leaving-{place.name}@customers.example",
        company=None,
        address=None,
        zone_id=None,
        network_key=settings.network_key,
        idempotency_key=None,
        by=owner,
    )
    wanted = transfers.Wanted(leaving.customer.id, place.receiver.id, False, None)
    await transfers.request(session, wanted, by=admin)
    await _of_operators(session, place, ground, by, admin, settings)
    await _of_many(session, customer, owner, settings)
    await _told(session, owner, settings)
    return customer


async def _of_customer(
    session: AsyncSession, customer: Customer, ground: Ground, owner: Viewer, admin: Viewer, settings: Settings
) -> None:
    key, now = customer.id, clock.now()
    matter = tickets.NewTicket(key, "Slow", "It is slow.", TicketCategory.COMPLAINT, TicketPriority.LOW)
    await tickets.create(session, matter, idempotency_key=None, by=owner)
    link = payment_links.Wish(key, None, None, [], None, now + timedelta(days=365))
    await payment_links.send(
        session,
        link,
        network_key=settings.network_key,
        origin=settings.origin,
        idempotency_key=None,
        by=owner,
    )
    subdomain = f"{ground.slug}-{str(customer.email).partition('@')[0]}"
    await portals.save(session, portals.Wish(key, subdomain, customer.name), expected_version=None, by=owner)
    later = (now + timedelta(days=30)).date()
    await package_changes.change(
        session,
        Chosen(key, None),
        package_changes.Wish(ground.other.id, later),
        quote_token=None,
        reason=None,
        idempotency_key=None,
        token_keys=settings.token_keys,
        by=owner,
    )
    terms = overrides.Terms(ground.other.id, None, key, Decimal(5), None, None, None, "Agreed")
    await overrides.set_override(session, terms, idempotency_key=None, by=admin)
    account = hosting.Wish(f"{str(customer.email).partition('@')[0]}site", "a-Password-of-1-site")
    await hosting.promise(session, customer, account, network_key=settings.network_key, by=owner, anyhow=True)
    session.add(
        Message(
            tenant_id=customer.tenant_id,
            customer_id=key,
            channel=MessageChannel.EMAIL,
            to=str(customer.email),
            event="service.suspended",
            body="Your line is off.",
            status=MessageStatus.SENT,
            segments=0,
            created_at=now,
            created_by_id=owner.operator_id,
            sent_at=now,
        )
    )


async def _paid_by_gateway(session: AsyncSession, customer: Customer, ground: Ground, admin: Viewer) -> None:
    """Money that came by the gateway, and of which some is given back by it."""
    attempt = await paying.begin(
        session, gateway=ground.gateway, customer_id=customer.id, amount_minor=1_000, currency=admin.currency
    )
    reference = f"cs_{attempt.id.hex}"
    await paying.answered(session, attempt.id, reference, None, None)
    word = Word(GatewayPaymentState.PAID, 1_000, admin.currency, f"pi_{attempt.id.hex}")
    await paying.heard(session, attempt.id, word, reference=attempt.reference, provider_reference=reference)
    await session.flush()
    paid = await session.get_one(GatewayPayment, attempt.id, populate_existing=True)
    assert paid.payment_id is not None
    await desk.refund(session, paid.payment_id, amount=Decimal(1), reason="Paid twice", idempotency_key=None, by=admin)


async def _of_operators(
    session: AsyncSession,
    place: Place,
    ground: Ground,
    by: Mapping[UUID, Viewer],
    admin: Viewer,
    settings: Settings,
) -> None:
    now, mate, owner = clock.now(), place.mate, by[place.owner.id]
    await drafts.start(session, by=owner)
    cards = vouchers.Wish(ground.package.id, 1, None, None)
    await vouchers.create(session, cards, network_key=settings.network_key, idempotency_key=None, by=owner)
    rate = commission_rates.Rate(mate.id, None, Decimal(5), None, None)
    await commission_rates.set_rate(session, rate, idempotency_key=None, by=admin)
    given = operator_wallets.Given(OperatorPaymentKind.TOP_UP, Decimal(100), PaymentMethod.CASH, None, None)
    await operator_wallets.record(session, mate.id, given, idempotency_key=None, by=admin)
    if place.owner.role in _RESELLERS:
        await credits.add(session, place.owner.id, 50, note=None, idempotency_key=None, by=admin)
    lent = grants.Wanted(ids.encode("opr", mate.id), Permission.SEND_PAYMENT_LINK, None, now + timedelta(days=30))
    await grants.give(session, lent, by=admin)
    ends = now + timedelta(days=30)
    await api_tokens.create(session, "Panel", [Permission.VIEW_CUSTOMERS], ends, by=by[mate.id])


async def _of_many(session: AsyncSession, customer: Customer, owner: Viewer, settings: Settings) -> None:
    """What is done to many customers at once: something that would be done, and a file that is to be looked at."""
    wish = bulk_wishes.suspend(SuspendReason.OTHER, None, notify=False)
    asked = bulk_runs.Asked(BulkAction.SUSPEND, wish, Selection([customer.id]), 1, dry_run=True)
    await bulk_runs.start(session, asked, idempotency_key=None, by=owner)
    file = records.Wish(
        source=ImportSource.CSV,
        file_id=None,
        label="Former",
        layout=Layout({}, None, None),
        connection_type=ConnectionType.PPPOE,
        expires_at=None,
        mobile=None,
        package_id=None,
        zone_id=None,
        router_id=None,
        operator_id=None,
        create_packages=False,
        generate_passwords=True,
        day_first=None,
        decimal_comma=False,
    )
    body = b"external_id,name\n1,Former Example\n"
    await records.begin(session, file, body, network_key=settings.network_key, idempotency_key=None, by=owner)


async def _told(session: AsyncSession, owner: Viewer, settings: Settings) -> None:
    """An address that is told of what hardly happens, and something that is to be sent to it."""
    terms = endpoints.Terms("Books", "https://books.example/hook", [WebhookEvent.VOUCHER_REDEEMED], None)
    saved = await endpoints.save(
        session, None, terms, idempotency_key=None, network_key=settings.network_key, private=False, by=owner
    )
    await endpoints.test(session, saved.row.id, idempotency_key=None, by=owner)


async def of_customer(session: AsyncSession, customer_id: UUID) -> dict[type[Any], Sequence[UUID]]:
    """What there is of a customer, by kind, the oldest first."""
    of_services = select(Service.id).where(Service.customer_id == customer_id)
    return await _found(
        session,
        {
            Customer: Customer.id == customer_id,
            PackageChange: PackageChange.service_id.in_(of_services),
            **{each: each.customer_id == customer_id for each in _CUSTOMERS_HAVE},
        },
    )


async def of_place(session: AsyncSession, place: Place) -> dict[type[Any], Sequence[UUID]]:
    """What there is of an operator, by kind, the oldest first."""
    people = (place.owner.id, place.mate.id)
    owned = select(Customer.id).where(Customer.operator_id == place.owner.id)
    of_services = select(Service.id).where(Service.customer_id.in_(owned))
    batches = select(VoucherBatch.id).where(VoucherBatch.created_by_id == place.owner.id)
    hooks = select(WebhookEndpoint.id).where(WebhookEndpoint.owner_id == place.owner.id)
    operators_have = (OperatorGrant, ApiToken, SignIn, CommissionRate, OperatorPayment, SmsCreditEntry, AuditEntry)
    which: dict[type[Any], ColumnElement[bool]] = {
        Operator: Operator.id.in_(people),
        Customer: Customer.operator_id == place.owner.id,
        PackageChange: PackageChange.service_id.in_(of_services),
        Draft: Draft.created_by_id == place.owner.id,
        VoucherBatch: VoucherBatch.created_by_id == place.owner.id,
        Voucher: Voucher.batch_id.in_(batches),
        BulkRun: BulkRun.started_by_id == place.owner.id,
        CustomerImport: CustomerImport.created_by_id == place.owner.id,
        WebhookEndpoint: WebhookEndpoint.owner_id == place.owner.id,
        WebhookDelivery: WebhookDelivery.endpoint_id.in_(hooks),
        **{each: each.customer_id.in_(owned) for each in _CUSTOMERS_HAVE},
        **{each: each.operator_id.in_(people) for each in operators_have},
    }
    which[AuditEntry] = or_(which[AuditEntry], AuditEntry.subject_id.in_(owned))
    return await _found(session, which)


async def _found(
    session: AsyncSession, which: Mapping[type[Any], ColumnElement[bool]]
) -> dict[type[Any], Sequence[UUID]]:
    found = {}
    for model, condition in which.items():
        found[model] = (await session.scalars(select(model.id).where(condition).order_by(model.id))).all()
    return found
