"""One rule per kind of row for who may see it: `node`, ids in arguments and subscriptions all ask here."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, false, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ispgraph.domain import (
    api_tokens,
    audit_log,
    bulk_runs,
    customers,
    grants,
    jobs,
    messages,
    operators,
    sign_in,
    ticket_lists,
    transfers,
    vouchers,
)
from ispgraph.domain.billing import operator_wallets, overrides, runs
from ispgraph.domain.imports import records
from ispgraph.domain.models import (
    ApiToken,
    AuditEntry,
    BillingRun,
    BulkRun,
    CommissionRate,
    Customer,
    CustomerImport,
    CustomerTransfer,
    CustomField,
    Draft,
    Gateway,
    GatewayPayment,
    GatewayRefund,
    HostingAccount,
    HostingServer,
    Invoice,
    Job,
    Message,
    Operator,
    OperatorGrant,
    OperatorPayment,
    Package,
    PackageChange,
    Payment,
    PaymentLink,
    Portal,
    Posting,
    PriceOverride,
    Router,
    Service,
    Session,
    SignIn,
    SmsCreditEntry,
    TaxProfile,
    Tenant,
    Ticket,
    Voucher,
    VoucherBatch,
    WebhookDelivery,
    WebhookEndpoint,
    Zone,
)
from ispgraph.domain.onboarding import drafts
from ispgraph.domain.permissions import Permission, Viewer, in_zones_seen
from ispgraph.domain.webhooks import deliveries, endpoints

Rule = tuple[Permission | None, Callable[[Viewer, Any], ColumnElement[bool]]]


def _of_customer(by: Viewer, row: Any) -> ColumnElement[bool]:
    return customers.belonging(by, row.customer_id)


def _of_service(by: Viewer, row: Any) -> ColumnElement[bool]:
    of_customers = select(Service.id).where(customers.belonging(by, Service.customer_id))
    found: ColumnElement[bool] = row.service_id.in_(of_customers)
    return found


def _anyone(_by: Viewer, _row: Any) -> ColumnElement[bool]:
    return true()


# The permission a kind demands (None: every operator), and which rows of it (by class or alias) a viewer may see.
RULES: Mapping[type[Any], Rule] = {
    Customer: (Permission.VIEW_CUSTOMERS, customers.seen),
    Service: (Permission.VIEW_CUSTOMERS, _of_customer),
    PackageChange: (Permission.VIEW_CUSTOMERS, _of_service),
    Session: (Permission.VIEW_CUSTOMERS, _of_customer),
    Invoice: (Permission.VIEW_CUSTOMERS, _of_customer),
    Payment: (Permission.VIEW_CUSTOMERS, _of_customer),
    PaymentLink: (Permission.VIEW_CUSTOMERS, _of_customer),
    GatewayRefund: (Permission.VIEW_CUSTOMERS, _of_customer),
    GatewayPayment: (Permission.VIEW_CUSTOMERS, _of_customer),
    Posting: (
        Permission.VIEW_CUSTOMERS,
        lambda by, row: and_(row.customer_id.is_not(None), customers.belonging(by, row.customer_id)),
    ),
    Message: (Permission.VIEW_CUSTOMERS, messages.visible),
    HostingAccount: (Permission.VIEW_CUSTOMERS, _of_customer),
    HostingServer: (Permission.MANAGE_HOSTING, _anyone),
    Portal: (Permission.VIEW_CUSTOMERS, _of_customer),
    Ticket: (Permission.MANAGE_TICKETS, ticket_lists.visible),
    CustomerTransfer: (Permission.VIEW_CUSTOMERS, transfers.visible),
    Job: (Permission.VIEW_CUSTOMERS, jobs.visible),
    AuditEntry: (Permission.VIEW_AUDIT_LOG, audit_log.visible),
    BillingRun: (Permission.GENERATE_BILLS, runs.visible),
    BulkRun: (Permission.VIEW_CUSTOMERS, bulk_runs.visible),
    Draft: (Permission.CREATE_CUSTOMERS, drafts.visible),
    CustomerImport: (Permission.CREATE_CUSTOMERS, records.visible),
    Operator: (None, operators.visible),
    OperatorGrant: (None, grants.visible),
    ApiToken: (None, api_tokens.visible),
    SignIn: (None, sign_in.visible),
    SmsCreditEntry: (None, operators.of_visible),
    OperatorPayment: (None, lambda by, row: operator_wallets.readable(by, row.operator_id)),
    CommissionRate: (None, lambda by, row: operator_wallets.readable(by, row.operator_id)),
    PriceOverride: (Permission.VIEW_CUSTOMERS, overrides.visible),
    Voucher: (None, vouchers.visible_voucher),
    VoucherBatch: (Permission.MANAGE_VOUCHERS, vouchers.visible),
    Tenant: (None, lambda by, row: row.id == by.tenant_id),
    Package: (None, _anyone),
    TaxProfile: (None, _anyone),
    Zone: (None, _anyone),
    Router: (None, _anyone),
    CustomField: (None, _anyone),
    Gateway: (Permission.MANAGE_SETTINGS, _anyone),
    WebhookEndpoint: (Permission.MANAGE_SETTINGS, endpoints.visible),
    WebhookDelivery: (Permission.MANAGE_SETTINGS, deliveries.visible),
}


# Of which kinds customers see rows, by the same rules; what of them, `schema.self_care` says.
OF_CUSTOMERS: frozenset[type[Any]] = frozenset(
    {
        *(Customer, Service, PackageChange, Session, Invoice, Payment, PaymentLink, GatewayPayment, Posting, Message),
        *(HostingAccount, Portal, Ticket, Tenant, Package),
    }
)


# Kinds whose rows belong to a customer: those of the customers of a zone can be seen by whoever sees these alone.
_IN_ZONES = (
    *(Service, Session, Invoice, Payment, PaymentLink, GatewayRefund, GatewayPayment, Posting, Message),
    *(HostingAccount, Portal, Job),
)


def _of_zones(by: Viewer, model: type[Any], row: Any) -> ColumnElement[bool]:
    """Whether a row is of a customer of the zones in which alone the viewer sees customers."""
    if model is Customer:
        return true()
    customer = aliased(Customer)
    owned = select(customer.id).where(in_zones_seen(by, customer.zone_id))
    if model is PackageChange:
        service = aliased(Service)
        found: ColumnElement[bool] = row.service_id.in_(select(service.id).where(service.customer_id.in_(owned)))
    else:
        found = row.customer_id.in_(owned) if model in _IN_ZONES else false()
    return found


def condition(by: Viewer, model: type[Any], row: Any) -> ColumnElement[bool]:
    """Whether the viewer may see a row of this kind: the permission and the rule."""
    permission, visible = RULES[model]
    if by.customer_id is not None:
        return visible(by, row) if model in OF_CUSTOMERS else false()
    if permission is None or by.may(permission):
        return visible(by, row)
    if permission is Permission.VIEW_CUSTOMERS and by.zones_seen is not None:
        return and_(visible(by, row), _of_zones(by, model, row))
    return false()


async def find(session: AsyncSession, model: type[Any], key: UUID, *, by: Viewer) -> Any:
    """The row of this kind with this id if the viewer may see it, else None."""
    return await session.scalar(select(model).where(model.id == key, condition(by, model, model)))
