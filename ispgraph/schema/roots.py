"""What the root fields read. Each source is made once; resolvers supply the values."""

from typing import Any

from sqlalchemy import ARRAY, Boolean, ColumnElement, String, Uuid, and_, any_, select, true, type_coerce

from ispgraph.domain import (
    api_tokens,
    audit_log,
    bulk_runs,
    customer_lists,
    gateway_refunds,
    gateways,
    jobs,
    messages,
    models,
    operators,
    packages,
    paying,
    payment_links,
    receipts,
    sign_in,
    ticket_lists,
    transfers,
    vouchers,
)
from ispgraph.domain.billing import commission_rates, invoices, operator_wallets, overrides, runs
from ispgraph.domain.customers import belonging, seen
from ispgraph.domain.imports import records as imports
from ispgraph.domain.messaging import credits
from ispgraph.domain.onboarding import drafts
from ispgraph.domain.portals import records as portals
from ispgraph.domain.webhooks import deliveries as webhook_deliveries
from ispgraph.domain.webhooks import endpoints as webhook_endpoints
from ispgraph.schema.compiler.sources import Asked, Many, One, Pages, Rows, kinds_of, values_of


def _customer(customer: Any, asked: Asked) -> ColumnElement[bool]:
    given = asked.given
    wanted = [seen(asked.viewer, customer)]
    if "id" in given:
        wanted.append(customer.id == given["id"])
    if "account_number" in given:
        wanted.append(customer.account_number == given["account_number"])
    if "username" in given:
        services = select(models.Service.customer_id).where(models.Service.username == given["username"])
        wanted.append(customer.id.in_(services))
    return and_(*wanted)


def _operator(operator: Any, asked: Asked) -> ColumnElement[bool]:
    given = asked.given
    of_role = type_coerce(operator.role, String()) == any_(given["role"]) if "role" in given else true()
    return and_(operators.visible(asked.viewer, operator), of_role)


def _token(token: Any, asked: Asked) -> ColumnElement[bool]:
    wanted = [api_tokens.visible(asked.viewer, token), api_tokens.in_force(token, asked.now)]
    return and_(*wanted, token.operator_id == asked.given["operator"])


def _draft(asked: Asked) -> ColumnElement[bool]:
    given, draft = asked.given, models.Draft
    wanted = [drafts.visible(asked.viewer), drafts.status_at(draft, asked.now) == any_(given["status"])]
    if "mine" in given:
        wanted.append(draft.created_by_id == asked.viewer.operator_id)
    return and_(*wanted)


def _payment_link(asked: Asked) -> ColumnElement[bool]:
    given, link = asked.given, models.PaymentLink
    wanted = [belonging(asked.viewer, link.customer_id)]
    if "status" in given:
        wanted.append(payment_links.status_of(link, asked.now) == any_(given["status"]))
    if "customer" in given:
        wanted.append(link.customer_id == given["customer"])
    return and_(*wanted)


def _portal(asked: Asked) -> ColumnElement[bool]:
    given, portal = asked.given, models.Portal
    wanted = [portals.visible(asked.viewer), portals.status_at(portal, asked.now) == any_(given["status"])]
    if "mine" in given:
        wanted.append(portal.created_by_id == asked.viewer.operator_id)
    return and_(*wanted)


def _voucher(asked: Asked) -> ColumnElement[bool]:
    given, voucher = asked.given, models.Voucher
    wanted = [vouchers.in_batches(asked.viewer, voucher)]
    if "status" in given:
        wanted.append(vouchers.is_any(voucher, asked.now, given["status"]))
    if "batch" in given:
        wanted.append(voucher.batch_id == given["batch"])
    return and_(*wanted)


CUSTOMER = One(
    lambda _, customer, asked: _customer(customer, asked),
    unique=True,
    arguments=values_of(id=Uuid(), account_number=String(), username=String()),
)
CUSTOMERS = {
    field: Pages(
        lambda _, asked: seen(asked.viewer),
        order,
        customer_lists.FILTERS,
        values_of(**kinds_of(customer_lists.FILTERS)),
    )
    for field, order in customer_lists.ORDERS.items()
}
CUSTOMER_STATS = Rows(lambda _, asked: customer_lists.figures(asked.viewer), single=True)
INVOICES = Pages(
    lambda _, asked: belonging(asked.viewer, models.Invoice.customer_id),
    invoices.NEWEST,
    invoices.FILTERS,
    values_of(**kinds_of(invoices.FILTERS)),
)
GATEWAY_PAYMENTS = Pages(
    lambda _, asked: belonging(asked.viewer, models.GatewayPayment.customer_id),
    paying.NEWEST,
    receipts.FILTERS,
    values_of(**kinds_of(receipts.FILTERS)),
)
GATEWAY_REFUNDS = Pages(
    lambda _, asked: belonging(asked.viewer, models.GatewayRefund.customer_id),
    gateway_refunds.NEWEST,
    gateway_refunds.FILTERS,
    values_of(**kinds_of(gateway_refunds.FILTERS)),
)
PAYMENT_LINKS = Pages(
    lambda _, asked: _payment_link(asked),
    payment_links.NEWEST,
    {},
    values_of(status=ARRAY(String()), customer=Uuid()),
)
BILLING_RUNS = Pages(lambda _, asked: runs.visible(asked.viewer), runs.NEWEST, {}, values_of())
BULK_RUNS = Pages(lambda _, asked: bulk_runs.visible(asked.viewer, models.BulkRun), bulk_runs.NEWEST, {}, values_of())
DRAFTS = Pages(lambda _, asked: _draft(asked), drafts.NEWEST, {}, values_of(status=ARRAY(String()), mine=Boolean()))
PORTALS = Pages(lambda _, asked: _portal(asked), portals.NEWEST, {}, values_of(status=ARRAY(String()), mine=Boolean()))
JOBS = Pages(
    lambda _, asked: jobs.visible(asked.viewer), jobs.NEWEST, jobs.FILTERS, values_of(**kinds_of(jobs.FILTERS))
)
AUDIT_LOG = Pages(
    lambda _, asked: audit_log.visible(asked.viewer),
    audit_log.NEWEST,
    audit_log.FILTERS,
    values_of(**kinds_of(audit_log.FILTERS)),
)
MESSAGES = Pages(
    lambda _, asked: messages.visible(asked.viewer),
    messages.NEWEST,
    messages.FILTERS,
    values_of(**kinds_of(messages.FILTERS)),
)
SMS_CREDIT_ENTRIES = Pages(
    lambda _, asked: operators.of_visible(asked.viewer, models.SmsCreditEntry),
    credits.NEWEST,
    credits.FILTERS,
    values_of(**kinds_of(credits.FILTERS)),
)
GATEWAYS = Pages(lambda _, asked: true(), gateways.ORDER, gateways.FILTERS, values_of(**kinds_of(gateways.FILTERS)))
PACKAGES = Many(
    lambda _, package, asked: packages.on_offer(package, asked.given),
    lambda package, asked: [package.price_minor, package.name, package.id],
    values_of(active_only=Boolean(), connection_type=String()),
)
TAX_PROFILES = Many(lambda _, profile, asked: true(), lambda profile, asked: [profile.name, profile.id])
HOSTING_SERVERS = Many(lambda _, server, asked: true(), lambda server, asked: [server.name, server.id])
ZONES = Many(lambda _, zone, asked: true(), lambda zone, asked: [zone.name, zone.id])
ROUTERS = Many(lambda _, router, asked: true(), lambda router, asked: [router.name, router.id])
OPERATORS = Many(
    lambda _, operator, asked: _operator(operator, asked),
    lambda operator, asked: [operator.level, operator.name, operator.id],
    values_of(role=ARRAY(String())),
)
API_TOKENS = Many(
    lambda _, token, asked: _token(token, asked),
    lambda token, asked: [token.id.desc()],
    values_of(operator=Uuid()),
)
SIGN_INS = Pages(
    lambda _, asked: sign_in.visible(asked.viewer, models.SignIn),
    sign_in.NEWEST,
    sign_in.FILTERS,
    values_of(**kinds_of(sign_in.FILTERS)),
)
COMMISSION_RATES = Pages(
    lambda _, asked: operator_wallets.readable(asked.viewer, models.CommissionRate.operator_id),
    commission_rates.NEWEST,
    commission_rates.FILTERS,
    values_of(**kinds_of(commission_rates.FILTERS)),
)
OPERATOR_ENTRIES = Pages(
    lambda _, asked: operator_wallets.entry(asked.given),
    operator_wallets.NEWEST,
    {},
    values_of(operator=Uuid(), since=Uuid(), until=Uuid()),
)
PRICE_OVERRIDES = Pages(
    lambda _, asked: overrides.visible(asked.viewer, models.PriceOverride),
    overrides.NEWEST,
    overrides.FILTERS,
    values_of(**kinds_of(overrides.FILTERS)),
)
VOUCHERS = Pages(lambda _, asked: _voucher(asked), vouchers.NEWEST, {}, values_of(status=ARRAY(String()), batch=Uuid()))
VOUCHER_BATCHES = Pages(
    lambda _, asked: vouchers.visible(asked.viewer, models.VoucherBatch), vouchers.NEWEST_BATCHES, {}, values_of()
)
CUSTOMER_IMPORTS = Pages(lambda _, asked: imports.visible(asked.viewer), imports.NEWEST, {}, values_of())
CUSTOM_FIELDS = Many(lambda _, field, asked: true(), lambda field, asked: [field.id])
TICKETS = {
    field: Pages(
        lambda _, asked: ticket_lists.visible(asked.viewer, models.Ticket),
        order,
        ticket_lists.FILTERS,
        values_of(**kinds_of(ticket_lists.FILTERS)),
    )
    for field, order in ticket_lists.ORDERS.items()
}
CUSTOMER_TRANSFERS = Pages(
    lambda _, asked: transfers.visible(asked.viewer, models.CustomerTransfer),
    transfers.NEWEST,
    transfers.FILTERS,
    values_of(**kinds_of(transfers.FILTERS)),
)
WEBHOOK_ENDPOINTS = Pages(
    lambda _, asked: webhook_endpoints.visible(asked.viewer, models.WebhookEndpoint),
    webhook_endpoints.NEWEST,
    webhook_endpoints.FILTERS,
    values_of(**kinds_of(webhook_endpoints.FILTERS)),
)
WEBHOOK_DELIVERIES = Pages(
    lambda _, asked: webhook_deliveries.visible(asked.viewer, models.WebhookDelivery),
    webhook_deliveries.ORDER,
    webhook_deliveries.FILTERS,
    values_of(**kinds_of(webhook_deliveries.FILTERS)),
)
