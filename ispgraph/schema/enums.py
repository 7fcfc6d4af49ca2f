"""The domain's enumerations, given to GraphQL under their own names."""

import enum

import strawberry

from ispgraph.domain import models
from ispgraph.domain.customer_lists import CustomerOrderField
from ispgraph.domain.errors import ErrorCode
from ispgraph.domain.permissions import Permission
from ispgraph.domain.standings import PolicySource
from ispgraph.domain.usage import UsageGranularity


class OrderDirection(enum.Enum):
    ASC = "ASC"
    DESC = "DESC"


for _kind in (
    ErrorCode,
    Permission,
    models.BillingCycle,
    models.ConnectionType,
    models.CustomerStatus,
    models.CustomFieldType,
    models.DraftStatus,
    models.DunningKind,
    models.DunningOutcome,
    models.GatewayKind,
    models.InvoiceKind,
    models.InvoiceStatus,
    models.JobStatus,
    models.MessageChannel,
    models.MessageStatus,
    models.OperatorEntryKind,
    models.OperatorPaymentKind,
    models.PackageChangeStatus,
    models.PaymentCategory,
    models.PaymentMethod,
    models.PaymentStatus,
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
    models.WizardStep,
    CustomerOrderField,
    OrderDirection,
    PolicySource,
    UsageGranularity,
):
    strawberry.enum(_kind)
