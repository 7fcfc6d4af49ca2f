"""Customers and their services."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import strawberry
from sqlalchemy import Integer, Select, and_, func, select

from ispgraph.domain import (
    jobs,
    macs,
    messages,
    models,
    package_changes,
    paying,
    payment_links,
    radius_rows,
    sessions,
    standings,
)
from ispgraph.domain.billing import invoices, ledger, overrides, payments
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.pages import MAXIMUM
from ispgraph.domain.permissions import Permission, Viewer, in_scope
from ispgraph.schema.allowed_actions import actions_of_customer, actions_of_service
from ispgraph.schema.base import Money, Node, node
from ispgraph.schema.billing import Invoice, LedgerEntry, Payment
from ispgraph.schema.catalogue import CustomFieldValue, Package, Zone
from ispgraph.schema.charts import usage_chart_url
from ispgraph.schema.compiler.fields import amount, column, declared, expression, many, one, pages, part, rows
from ispgraph.schema.compiler.sources import Arguments, Asked, Many
from ispgraph.schema.dunning import SuspendRule, suspend_rule
from ispgraph.schema.hosting import HostingAccount, hosting_of_customer
from ispgraph.schema.jobs import Job
from ispgraph.schema.messages import Message
from ispgraph.schema.operators import Operator
from ispgraph.schema.package_changes import PackageChange
from ispgraph.schema.pages import Connection
from ispgraph.schema.payment_links import GatewayPayment, PaymentLink
from ispgraph.schema.portals import Portal, portal_of_customer
from ispgraph.schema.profiles import BillingProfile, billing_profile
from ispgraph.schema.routers import Drift, Router, drift_of
from ispgraph.schema.scalars import EmailAddress, IpAddress, MacAddress, PhoneNumber
from ispgraph.schema.service_limits import (
    EffectivePolicy,
    FupState,
    SpeedLimit,
    TimeLimit,
    VolumeLimit,
    effective_policy,
    fup_state,
    speed_limit,
    time_limit,
    volume_limit,
)
from ispgraph.schema.sessions import Session, SessionWhere, Usage, session_values, usage_of_customer
from ispgraph.schema.tickets import Ticket, tickets_of_customer
from ispgraph.schema.timeline import TimelineConnection, timeline_of_customer
from ispgraph.schema.transfers import CustomerTransfer, transfers_of_customer

DEFAULT_TOP = 5


@strawberry.type
class Address:
    street: str
    city: str | None
    state: str | None
    postal_code: str | None
    country: str | None


@strawberry.type
class RadiusAttribute:
    list: str
    attribute: str
    op: str
    value: str


def radius_attributes(rows: Sequence[radius_rows.RadiusRow]) -> list[RadiusAttribute]:
    """Rows as the schema shows them."""
    return [RadiusAttribute(list=row.list, attribute=row.attribute, op=row.op, value=row.value) for row in rows]


def _radius(service: Any, asked: Asked) -> Select[Any]:
    names = ("list", "attribute", "op", "value")
    found = func.radius_rows(service.id, asked.now).table_valued(*names).alias("r")
    return select(*(found.c[name] for name in names))


@strawberry.type(description="What the network should hold for a service, and what is known of it.")
class NetworkState:
    state: models.ProvisioningState = column(
        "provisioning", description="Whether the network holds what it should, of `desiredVersion`."
    )
    problem: str | None = column("network_problem", description="Why it does not, and what is being done about it.")
    desired_version: int
    applied_version: int
    checked_at: datetime | None = strawberry.field(description="When the network was last asked.")
    drift: list[Drift] = rows(
        lambda service, asked: drift_of(service.drift), description="What was found other than it should be."
    )
    radius: list[RadiusAttribute] = rows(_radius)


@node("svc", models.Service, description="One package on one connection.")
class Service(Node):
    status: models.ServiceStatus
    connection_type: models.ConnectionType
    username: str | None
    ip_address: IpAddress | None
    started_at: datetime | None
    expires_at: datetime | None
    suspend_on: date | None = strawberry.field(description="The next day on which it is suspended by itself.")
    suspend_rule: SuspendRule | None = suspend_rule()
    auto_renew: bool
    package: Package = one("package_id")
    price: Money = amount(
        lambda service, asked: overrides.price_minor(service.customer_id, service.package_id, asked.now),
        description="What a period of the package costs this customer now: as agreed, or as the package says.",
    )
    mac_addresses: list[MacAddress] = expression(lambda service, asked: macs.addresses(service))
    router: Router | None = one("router_id")
    speed_limit: SpeedLimit | None = speed_limit()
    time_limit: TimeLimit | None = time_limit()
    volume_limit: VolumeLimit | None = volume_limit()
    fup: FupState | None = fup_state()
    effective_policy: EffectivePolicy = effective_policy()
    network: NetworkState = part()
    package_changes: Connection[PackageChange] = pages(
        lambda service, asked: models.PackageChange.service_id == service.id,
        package_changes.NEWEST,
        description="Every request for another package, the latest first.",
    )
    allowed_actions: list[Permission] = actions_of_service()


@node("cus", models.Customer, description="Who pays.")
class Customer(Node):
    account_number: str
    version: int
    name: str
    mobile: PhoneNumber
    email: EmailAddress | None
    company: str | None
    status: models.CustomerStatus
    status_reason: str | None
    joined_at: datetime
    updated_at: datetime
    address: Address | None = part(lambda customer, asked: customer.street.is_not(None))
    zone: Zone | None = one("zone_id")
    operator: Operator = one("operator_id")
    balance: Money = amount(
        lambda customer, asked: ledger.kept(customer, "balance_minor"),
        description="Above zero: the customer has credit. Below zero: the customer owes.",
    )
    amount_due: Money = amount(
        lambda customer, asked: ledger.kept(customer, "receivable_minor"),
        description="Sum open on finalized invoices.",
    )
    wallet: Money = amount(
        lambda customer, asked: ledger.kept(customer, "wallet_minor"),
        description="Paid, and not yet used for an invoice.",
    )
    last_payment_at: datetime | None = expression(
        lambda customer, asked: payments.last_received_at(customer),
        description="When the latest payment was received.",
    )
    device_count: int = expression(
        lambda customer, asked: sessions.open_count(customer), description="Sessions that are open now."
    )
    service: Service | None = one(
        lambda customer, service, asked: and_(service.customer_id == customer.id, service.is_primary),
        description="The primary service; most customers have exactly one.",
    )
    services: list[Service] = many("customer_id")
    billing_profile: BillingProfile = billing_profile()
    custom_fields: list[CustomFieldValue] = many("customer_id")
    invoices: Connection[Invoice] = pages(
        lambda customer, asked: models.Invoice.customer_id == customer.id,
        invoices.NEWEST,
        filters=invoices.FILTERS,
        arguments={"status": list[models.InvoiceStatus] | None},
        description="Newest first; with `status`, those in these states.",
    )
    payments: Connection[Payment] = pages(
        lambda customer, asked: models.Payment.customer_id == customer.id,
        payments.NEWEST,
        filters=payments.FILTERS,
        arguments={"status": list[models.PaymentStatus] | None},
        description="Newest first; with `status`, those in these states.",
    )
    ledger: Connection[LedgerEntry] = pages(
        lambda customer, asked: models.Posting.customer_id == customer.id,
        ledger.NEWEST,
        description="What came to be owed and what was paid, newest first.",
    )
    sessions: Connection[Session] = pages(
        lambda customer, asked: models.Session.customer_id == customer.id,
        sessions.NEWEST,
        filters=sessions.FILTERS,
        arguments={"where": SessionWhere | None},
        wanted=session_values,
        description="Accounting sessions, the latest begun first.",
    )
    usage: Usage = usage_of_customer()
    usage_percentage: float | None = expression(
        lambda customer, asked: standings.quota_percent(customer, asked.now),
        description="How much of the primary service's quota its billing period has used; null without a quota.",
    )
    live_session: Session | None = one(
        lambda customer, session, asked: sessions.is_newest_open(session, customer),
        description="The newest session that is open.",
    )
    usage_chart_url: str = usage_chart_url()
    language: str | None = strawberry.field(
        description="In which the customer is written to; null: in the language of the tenant."
    )
    sms_opt_out: bool = strawberry.field(
        description="Whether the customer wants no SMS but those that belong to what was bought."
    )
    email_opt_out: bool = strawberry.field(description="The same of e-mails.")
    portal_access: bool = strawberry.field(
        description="Whether the customer, and the admin of its portal, may sign in once they have a password."
    )
    messages: Connection[Message] = pages(
        lambda customer, asked: models.Message.customer_id == customer.id,
        messages.NEWEST,
        description="What was written to the customer, newest first.",
    )
    payment_links: Connection[PaymentLink] = pages(
        lambda customer, asked: models.PaymentLink.customer_id == customer.id,
        payment_links.NEWEST,
        description="Pages to pay on, the latest made first.",
    )
    gateway_payments: Connection[GatewayPayment] = pages(
        lambda customer, asked: models.GatewayPayment.customer_id == customer.id,
        paying.NEWEST,
        filters=paying.FILTERS,
        arguments={"state": list[models.GatewayPaymentState] | None},
        description="Attempts to pay with gateways, newest first; with `state`, those in these states.",
    )
    tickets: Connection[Ticket] = tickets_of_customer()
    hosting_accounts: list[HostingAccount] = hosting_of_customer()
    portal: Portal | None = portal_of_customer()
    timeline: TimelineConnection = timeline_of_customer()
    transfers: Connection[CustomerTransfer] = transfers_of_customer()
    jobs: Connection[Job] = pages(
        lambda customer, asked: models.Job.customer_id == customer.id,
        jobs.NEWEST,
        filters=jobs.FILTERS,
        arguments={"status": list[models.JobStatus] | None},
        description="Newest first; with `status`, those in these states.",
    )
    allowed_actions: list[Permission] = actions_of_customer()


def _top_size(_viewer: Viewer, first: int | None = None) -> Mapping[str, Any]:
    size = DEFAULT_TOP if first is None else first
    if not 0 <= size <= MAXIMUM:
        raise fail(ErrorCode.INVALID, f"first must be from 0 to {MAXIMUM}.", "first")
    return {"size": size}


@strawberry.type(description="Figures of the customers the viewer may see.")
class CustomerStats:
    total: int = strawberry.field(description="Those who are not terminated.")
    active: int
    suspended: int
    pending: int
    expired: int
    online: int = strawberry.field(description="Customers, not sessions: those with at least one that is open.")
    average_balance: Money = amount(
        "average_minor", description="Of those who are not terminated, rounded half away from zero."
    )
    top_by_balance: list[Customer] = declared(
        Many(
            lambda _, customer, asked: and_(
                in_scope(asked.viewer, customer.operator_id),
                customer.status != models.CustomerStatus.TERMINATED,
            ),
            lambda customer, asked: [ledger.kept(customer, "balance_minor").desc(), customer.id],
            Arguments({"first": int | None}, _top_size, {"size": Integer()}, {"first": DEFAULT_TOP}),
            limit=lambda customer, asked: asked.given["size"],
        ),
        "Those with the most credit, or the least debt, who are not terminated; at most 100.",
    )


def custom_value(field_id: UUID, value: object) -> CustomFieldValue:
    """An answer to a custom field that stands in no table yet."""
    answered: Any = models.CustomFieldValue(field_id=field_id, value=value)
    found: CustomFieldValue = answered
    return found
