"""The domain's enumerations, given to GraphQL under their own names."""

import strawberry

from ispgraph.domain import models
from ispgraph.domain.errors import ErrorCode
from ispgraph.domain.permissions import Permission

for _kind in (
    ErrorCode,
    Permission,
    models.BillingCycle,
    models.ConnectionType,
    models.CustomerStatus,
    models.CustomFieldType,
    models.DraftStatus,
    models.InvoiceStatus,
    models.JobStatus,
    models.PaymentCategory,
    models.PaymentMethod,
    models.PaymentStatus,
    models.ResetPeriod,
    models.Role,
    models.RouterStatus,
    models.ServiceStatus,
    models.StepOutcome,
    models.StepProtocol,
    models.WizardStep,
):
    strawberry.enum(_kind)
