"""What the viewer may do to customers and services, as fields of them."""

from typing import Any

import strawberry

from ispgraph.domain import allowed_actions, models
from ispgraph.domain.permissions import Permission
from ispgraph.schema.context import Info

_OF_CUSTOMER = """Which of the detail actions the viewer may run on this customer now: the permission is held, also for
a while or in the customer's zone, and the state of the customer and of the service that is taken when none is named
(the primary one) allows it. For the other services ask `Service.allowedActions`. A form that is filled in badly is
refused all the same, and so is what another has done meanwhile. Each permission stands for one mutation:
ACTIVATE_CUSTOMERS customerActivate, SUSPEND_CUSTOMERS customerSuspend, DISCONNECT_CUSTOMERS customerDisconnect,
CHANGE_PACKAGE customerChangePackage, EDIT_SPEED_LIMIT customerSetSpeedLimit, EDIT_TIME_LIMIT customerSetTimeLimit,
EDIT_VOLUME_LIMIT customerSetVolumeLimit, ACTIVATE_FUP customerActivateFup, REMOVE_MAC_BIND customerRemoveMacBinding,
GENERATE_BILLS customerGenerateBill (over an amount), EDIT_BILLING_PROFILE customerUpdateBillingProfile,
RECORD_PAYMENTS customerRecordAdvancePayment, REFUND_PAYMENTS customerAdjustBalance, SEND_SMS customerSendSms,
SEND_PAYMENT_LINK customerSendPaymentLink, CHANGE_OPERATOR customerRequestTransfer, EDIT_SUSPEND_DATE
customerSetSuspendDate, DAILY_RECHARGE customerDailyRecharge, HOTSPOT_RECHARGE customerHotspotRecharge,
EDIT_CUSTOMERS customerUpdate, DELETE_CUSTOMERS customerDelete, MANAGE_TICKETS ticketCreate, EXPORT_DATA
customerExportSessions, REVEAL_SECRETS customerRevealNetworkPassword. In alphabetical order."""
_OF_SERVICE = """The same as `Customer.allowedActions`, of this service when its id is given: what is about the customer
as a whole, such as RECORD_PAYMENTS, is not among it."""


async def _of_customer(root: strawberry.Parent[models.Customer], info: Info) -> list[Permission]:
    by = info.context.viewer_or_refuse()
    name = ("allowed_actions", models.Customer)
    loader = info.context.loaders.batched(
        name, lambda session, keys: allowed_actions.of_customers(session, keys, by=by)
    )
    found: list[Permission] = await loader.load(root.id)
    return found


async def _of_service(root: strawberry.Parent[models.Service], info: Info) -> list[Permission]:
    by = info.context.viewer_or_refuse()
    name = ("allowed_actions", models.Service)
    loader = info.context.loaders.batched(name, lambda session, keys: allowed_actions.of_services(session, keys, by=by))
    found: list[Permission] = await loader.load(root.id)
    return found


def actions_of_customer() -> Any:
    """The field of a customer."""
    return strawberry.field(resolver=_of_customer, description=_OF_CUSTOMER)


def actions_of_service() -> Any:
    """The field of a service."""
    return strawberry.field(resolver=_of_service, description=_OF_SERVICE)
