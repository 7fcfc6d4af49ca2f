"""The domain's enumerations, given to GraphQL under their own names."""

import enum

import strawberry

from ispgraph.domain import models
from ispgraph.domain.customer_exports import CustomerColumn
from ispgraph.domain.customer_lists import CustomerOrderField
from ispgraph.domain.errors import ErrorCode
from ispgraph.domain.messaging.texts import Encoding
from ispgraph.domain.permissions import Permission
from ispgraph.domain.standings import PolicySource
from ispgraph.domain.ticket_lists import TicketOrderField
from ispgraph.domain.usage import UsageGranularity


class OrderDirection(enum.Enum):
    ASC = "ASC"
    DESC = "DESC"


for _kind in (
    ErrorCode,
    Permission,
    models.AssetKind,
    models.AssetStatus,
    models.BillingCycle,
    models.BulkAction,
    models.BulkOutcome,
    models.ConnectionType,
    models.CustomerStatus,
    models.CustomFieldType,
    models.DeliveryStatus,
    models.DraftStatus,
    models.DunningKind,
    models.DunningOutcome,
    models.GatewayPaymentState,
    models.GatewayRefundState,
    models.GatewayKind,
    models.ImportOutcome,
    models.ImportSource,
    models.ImportStatus,
    models.InvoiceKind,
    models.InvoiceStatus,
    models.JobStatus,
    models.MessageChannel,
    models.MessageStatus,
    Encoding,
    models.CreditKind,
    models.OperatorEntryKind,
    models.OperatorPaymentKind,
    models.PackageChangeStatus,
    models.PaymentCategory,
    models.PaymentLinkStatus,
    models.PaymentMethod,
    models.PaymentStatus,
    models.PortalStep,
    models.ProvisioningState,
    models.ResetPeriod,
    models.Role,
    models.RouterMode,
    models.RouterStatus,
    models.ServiceStatus,
    models.SessionState,
    models.StepOutcome,
    models.StepProtocol,
    models.SuspendReason,
    models.Suspension,
    models.TicketCategory,
    models.TicketPriority,
    models.TicketStatus,
    models.TransferStatus,
    models.VoucherStatus,
    models.WebhookStatus,
    models.WizardStep,
    CustomerColumn,
    CustomerOrderField,
    OrderDirection,
    PolicySource,
    TicketOrderField,
    UsageGranularity,
):
    strawberry.enum(_kind)
