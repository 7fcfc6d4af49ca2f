"""The whole schema: every resolver file's table of contents, put together."""

import sys
from dataclasses import replace
from typing import Any

import strawberry
from graphql import Visitor, parse, print_ast, visit
from strawberry.schema.config import StrawberryConfig

from ispgraph.resolvers.access import AccessMutations, AccessQueries
from ispgraph.resolvers.audit import AuditQueries
from ispgraph.resolvers.billing import BillingQueries
from ispgraph.resolvers.bills import BillMutations, BillQueries
from ispgraph.resolvers.budgets import BudgetQueries
from ispgraph.resolvers.bulk import BulkMutations
from ispgraph.resolvers.bulk_runs import BulkRunMutations, BulkRunQueries
from ispgraph.resolvers.catalogue import CatalogueMutations, CatalogueQueries
from ispgraph.resolvers.commissions import CommissionMutations, CommissionQueries
from ispgraph.resolvers.customer_access import CustomerAccessMutations
from ispgraph.resolvers.customer_records import CustomerMutations
from ispgraph.resolvers.customers import CustomerQueries
from ispgraph.resolvers.exports import ExportMutations
from ispgraph.resolvers.gateway_refunds import GatewayRefundMutations, GatewayRefundQueries
from ispgraph.resolvers.gateways import GatewayMutations, GatewayQueries
from ispgraph.resolvers.hosting import HostingMutations, HostingQueries
from ispgraph.resolvers.hotspot import HotspotMutations
from ispgraph.resolvers.imports import ImportMutations, ImportQueries
from ispgraph.resolvers.jobs import JobMutations, JobQueries, JobSubscriptions
from ispgraph.resolvers.limits import LimitMutations
from ispgraph.resolvers.live import LiveSubscriptions
from ispgraph.resolvers.messages import MessageMutations, MessageQueries
from ispgraph.resolvers.node import NodeQueries
from ispgraph.resolvers.onboarding import OnboardingMutations, OnboardingQueries
from ispgraph.resolvers.operators import OperatorMutations, OperatorQueries
from ispgraph.resolvers.overrides import OverrideMutations, OverrideQueries
from ispgraph.resolvers.package_changes import PackageChangeMutations, PackageChangeQueries
from ispgraph.resolvers.payment_links import PaymentLinkMutations, PaymentLinkQueries
from ispgraph.resolvers.payments import PaymentMutations
from ispgraph.resolvers.portals import PortalMutations, PortalQueries
from ispgraph.resolvers.profiles import ProfileMutations, ProfileQueries
from ispgraph.resolvers.recharges import RechargeMutations, RechargeQueries
from ispgraph.resolvers.reports import ReportMutations, ReportQueries
from ispgraph.resolvers.reveal import RevealMutations
from ispgraph.resolvers.routers import RouterMutations, RouterQueries
from ispgraph.resolvers.services import ServiceMutations
from ispgraph.resolvers.tenants import TenantMutations, TenantQueries
from ispgraph.resolvers.tickets import TicketMutations, TicketQueries
from ispgraph.resolvers.transfers import TransferMutations, TransferQueries
from ispgraph.resolvers.vouchers import VoucherMutations, VoucherQueries
from ispgraph.resolvers.webhooks import WebhookMutations, WebhookQueries
from ispgraph.schema import costs, words
from ispgraph.schema.base import KINDS
from ispgraph.schema.budgets import CostBudgets
from ispgraph.schema.compiler.arguments import resolve_directly
from ispgraph.schema.compiler.executor import CompiledExecutor
from ispgraph.schema.errors import ApiSchema
from ispgraph.schema.gateway_refunds import GatewayRefundJob
from ispgraph.schema.gateways import GatewayJob
from ispgraph.schema.imports import ImportJob
from ispgraph.schema.jobs import BillingJob, BulkJob, ExportJob, GatewayPaymentJob, NetworkJob, VoucherJob
from ispgraph.schema.limits import EXTENSIONS
from ispgraph.schema.portals import StorageJob
from ispgraph.schema.scalars import SCALAR_MAP


@strawberry.type
class Query(
    OperatorQueries,
    AccessQueries,
    NodeQueries,
    CustomerQueries,
    OnboardingQueries,
    CatalogueQueries,
    RouterQueries,
    BillingQueries,
    ProfileQueries,
    ReportQueries,
    CommissionQueries,
    OverrideQueries,
    PackageChangeQueries,
    RechargeQueries,
    PaymentLinkQueries,
    GatewayRefundQueries,
    BillQueries,
    BulkRunQueries,
    VoucherQueries,
    ImportQueries,
    JobQueries,
    MessageQueries,
    TenantQueries,
    TicketQueries,
    PortalQueries,
    TransferQueries,
    GatewayQueries,
    HostingQueries,
    AuditQueries,
    WebhookQueries,
    BudgetQueries,
):
    pass


@strawberry.type
class Mutation(
    BillMutations,
    OperatorMutations,
    AccessMutations,
    CustomerMutations,
    CustomerAccessMutations,
    ServiceMutations,
    BulkMutations,
    BulkRunMutations,
    LimitMutations,
    ExportMutations,
    OnboardingMutations,
    CatalogueMutations,
    PaymentMutations,
    ProfileMutations,
    ReportMutations,
    CommissionMutations,
    OverrideMutations,
    PackageChangeMutations,
    RechargeMutations,
    PaymentLinkMutations,
    GatewayRefundMutations,
    HotspotMutations,
    VoucherMutations,
    RouterMutations,
    ImportMutations,
    JobMutations,
    MessageMutations,
    TenantMutations,
    TicketMutations,
    PortalMutations,
    TransferMutations,
    GatewayMutations,
    HostingMutations,
    RevealMutations,
    WebhookMutations,
):
    pass


@strawberry.type
class Subscription(JobSubscriptions, LiveSubscriptions):
    pass


def build(*, suggestions: bool = False) -> ApiSchema:
    """The schema. Field suggestions in errors tell names, so they go with open introspection only."""
    assert KINDS, "the types are registered by now"
    schema = ApiSchema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[
            NetworkJob,
            ExportJob,
            ImportJob,
            BillingJob,
            BulkJob,
            GatewayPaymentJob,
            GatewayRefundJob,
            GatewayJob,
            VoucherJob,
            StorageJob,
        ],
        extensions=[*EXTENSIONS, CostBudgets],
        execution_context_class=CompiledExecutor,
        config=StrawberryConfig(scalar_map=SCALAR_MAP, disable_field_suggestions=not suggestions),
    )
    resolve_directly(schema)
    words.describe(schema._schema)
    costs.describe(schema._schema)
    return schema


def main(*, bare: bool = False) -> None:
    """Print the schema as it stands in schema.graphql, or without descriptions."""
    text = build().as_str()
    sys.stdout.write((print_ast(visit(parse(text), _Bare())) if bare else text) + "\n")


class _Bare(Visitor):
    """Takes descriptions away."""

    def enter(self, node: Any, *_: Any) -> Any:
        return replace(node, description=None) if getattr(node, "description", None) is not None else None
