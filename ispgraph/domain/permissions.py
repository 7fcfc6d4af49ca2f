"""Who may do what: one vocabulary of permissions, the levels of the roles, and whose customers a viewer sees."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Uuid, any_, false, literal, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, aliased

from ispgraph.domain.models import Operator, Role


class Permission(enum.Enum):
    VIEW_CUSTOMERS = "VIEW_CUSTOMERS"
    CREATE_CUSTOMERS = "CREATE_CUSTOMERS"
    EDIT_CUSTOMERS = "EDIT_CUSTOMERS"
    DELETE_CUSTOMERS = "DELETE_CUSTOMERS"
    ACTIVATE_CUSTOMERS = "ACTIVATE_CUSTOMERS"
    SUSPEND_CUSTOMERS = "SUSPEND_CUSTOMERS"
    DISCONNECT_CUSTOMERS = "DISCONNECT_CUSTOMERS"
    CHANGE_PACKAGE = "CHANGE_PACKAGE"
    EDIT_SPEED_LIMIT = "EDIT_SPEED_LIMIT"
    EDIT_TIME_LIMIT = "EDIT_TIME_LIMIT"
    EDIT_VOLUME_LIMIT = "EDIT_VOLUME_LIMIT"
    ACTIVATE_FUP = "ACTIVATE_FUP"
    REMOVE_MAC_BIND = "REMOVE_MAC_BIND"
    GENERATE_BILLS = "GENERATE_BILLS"
    EDIT_BILLING_PROFILE = "EDIT_BILLING_PROFILE"
    RECORD_PAYMENTS = "RECORD_PAYMENTS"
    REFUND_PAYMENTS = "REFUND_PAYMENTS"
    SEND_SMS = "SEND_SMS"
    SEND_PAYMENT_LINK = "SEND_PAYMENT_LINK"
    CHANGE_OPERATOR = "CHANGE_OPERATOR"
    EDIT_SUSPEND_DATE = "EDIT_SUSPEND_DATE"
    DAILY_RECHARGE = "DAILY_RECHARGE"
    HOTSPOT_RECHARGE = "HOTSPOT_RECHARGE"
    MANAGE_PACKAGES = "MANAGE_PACKAGES"
    MANAGE_ROUTERS = "MANAGE_ROUTERS"
    MANAGE_ZONES = "MANAGE_ZONES"
    MANAGE_OPERATORS = "MANAGE_OPERATORS"
    MANAGE_VOUCHERS = "MANAGE_VOUCHERS"
    MANAGE_TICKETS = "MANAGE_TICKETS"
    MANAGE_HOSTING = "MANAGE_HOSTING"
    MANAGE_SETTINGS = "MANAGE_SETTINGS"
    VIEW_REPORTS = "VIEW_REPORTS"
    EXPORT_DATA = "EXPORT_DATA"
    VIEW_AUDIT_LOG = "VIEW_AUDIT_LOG"
    REVEAL_SECRETS = "REVEAL_SECRETS"


LEVELS: Mapping[Role, int] = {
    Role.SUPER_ADMIN: 0,
    Role.ADMIN: 20,
    Role.OPERATOR: 30,
    Role.SUB_OPERATOR: 40,
    Role.MANAGER: 50,
    Role.ACCOUNTANT: 70,
    Role.STAFF: 80,
    Role.CUSTOMER: 100,
}

_P = Permission
_DESK = {_P.VIEW_CUSTOMERS, _P.CREATE_CUSTOMERS, _P.EDIT_CUSTOMERS, _P.RECORD_PAYMENTS, _P.SEND_SMS, _P.MANAGE_TICKETS}
_CARE = _DESK | {
    _P.ACTIVATE_CUSTOMERS,
    _P.SUSPEND_CUSTOMERS,
    _P.CHANGE_PACKAGE,
    _P.REMOVE_MAC_BIND,
    _P.SEND_PAYMENT_LINK,
    _P.HOTSPOT_RECHARGE,
    _P.DAILY_RECHARGE,
}
_RESELLER = _CARE | {_P.VIEW_REPORTS, _P.MANAGE_OPERATORS, _P.MANAGE_VOUCHERS, _P.DISCONNECT_CUSTOMERS}

# What an operator of a role has when nothing else is said at creation.
DEFAULTS: Mapping[Role, frozenset[Permission]] = {
    Role.SUPER_ADMIN: frozenset(Permission),
    Role.ADMIN: frozenset(Permission),
    Role.OPERATOR: frozenset(_RESELLER),
    Role.SUB_OPERATOR: frozenset(_RESELLER - {_P.MANAGE_OPERATORS, _P.MANAGE_VOUCHERS}),
    Role.MANAGER: frozenset(
        _RESELLER
        | {_P.GENERATE_BILLS, _P.EDIT_BILLING_PROFILE, _P.EDIT_SUSPEND_DATE, _P.MANAGE_ZONES, _P.EXPORT_DATA}
        | {_P.EDIT_SPEED_LIMIT, _P.EDIT_TIME_LIMIT, _P.EDIT_VOLUME_LIMIT, _P.ACTIVATE_FUP}
    ),
    Role.ACCOUNTANT: frozenset(
        {_P.VIEW_CUSTOMERS, _P.RECORD_PAYMENTS, _P.REFUND_PAYMENTS, _P.GENERATE_BILLS, _P.EDIT_BILLING_PROFILE}
        | {_P.VIEW_REPORTS, _P.EXPORT_DATA, _P.SEND_PAYMENT_LINK}
    ),
    Role.STAFF: frozenset(_DESK),
    Role.CUSTOMER: frozenset(),
}

# What can be granted for the customers of one zone: all of it is done to one customer at a time, but for looking at
# them, which shows those of the zone and what belongs to them; lists that are not of one customer stay closed.
IN_ZONES: frozenset[Permission] = frozenset(
    {
        _P.VIEW_CUSTOMERS,
        *(_P.EDIT_CUSTOMERS, _P.DELETE_CUSTOMERS, _P.ACTIVATE_CUSTOMERS, _P.SUSPEND_CUSTOMERS),
        *(_P.DISCONNECT_CUSTOMERS, _P.CHANGE_PACKAGE, _P.EDIT_SPEED_LIMIT, _P.EDIT_TIME_LIMIT, _P.EDIT_VOLUME_LIMIT),
        *(_P.ACTIVATE_FUP, _P.REMOVE_MAC_BIND, _P.GENERATE_BILLS, _P.EDIT_BILLING_PROFILE, _P.RECORD_PAYMENTS),
        *(_P.REFUND_PAYMENTS, _P.SEND_SMS, _P.SEND_PAYMENT_LINK, _P.EDIT_SUSPEND_DATE, _P.DAILY_RECHARGE),
        *(_P.HOTSPOT_RECHARGE, _P.REVEAL_SECRETS),
    }
)

_RESELLER_ROLES = (Role.OPERATOR, Role.SUB_OPERATOR)


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who has signed in, of one request, as of its beginning: an operator, or a customer.

    A customer has no permission, and as `operator_id` and `scope_id` the id of the customer, which no operator has: a
    rule about operators lets a customer see nothing unless it says otherwise.
    """

    tenant_id: UUID
    operator_id: UUID
    name: str
    role: Role
    level: int
    permissions: frozenset[Permission]
    scope_id: UUID | None
    """The reseller whose subtree is all this viewer sees; None sees the whole tenant."""
    session_id: UUID
    expires_at: datetime
    currency: str
    country: str
    time_zone: str
    lent: frozenset[Permission] = frozenset()
    """Those of the permissions that are held for a while only: they cannot be passed on."""
    zoned: frozenset[tuple[Permission, UUID]] = frozenset()
    """Permissions that are held for the customers of a zone alone, with the zone; not among `permissions`."""
    zones_seen: Any = None
    """Where VIEW_CUSTOMERS is held in zones alone, these: a tuple, or a parameter that stands for it; else None."""
    acting_id: UUID | None = None
    """Who has signed in in the operator's place, from above."""
    by_token: bool = False
    """Whether it is a program with an API token."""
    customer_id: UUID | None = None
    """The customer who has signed in; None: an operator."""
    admin_id: UUID | None = None
    """Who has signed in for the customer: the admin of its portal; None: the customer."""
    usage_detail_days: int = 0
    """For how long the tenant knows usage by the hour; 0: for ever."""
    within: "Within | None" = field(default=None, compare=False)
    """Set while something is done by a permission that is held in zones alone."""

    def may(self, permission: Permission) -> bool:
        """Whether the permission is held, wherever the customer is."""
        return permission in self.permissions

    def zones_of(self, permission: Permission) -> frozenset[UUID]:
        """The zones for whose customers alone the permission is held."""
        return frozenset(zone for held, zone in self.zoned if held is permission)

    @property
    def lasting(self) -> frozenset[Permission]:
        """What is held without end wherever the customer is, and so can be given to others."""
        return self.permissions - self.lent


class Within:
    """Customers of these zones alone are meant. Whoever loads a customer asks `holds`; what is done without anybody
    having asked is refused at the end: see `resolvers.base`."""

    def __init__(self, zones: frozenset[UUID]) -> None:
        self._zones = zones
        self.asked = False

    def holds(self, zone_id: UUID | None) -> bool:
        """Whether a customer of this zone is meant."""
        self.asked = True
        return zone_id in self._zones


def scope_of(operator: Operator, ancestors: Mapping[UUID, Role]) -> UUID | None:
    """The nearest reseller at or above an operator. `ancestors` gives the roles of those above."""
    if operator.role in _RESELLER_ROLES:
        return operator.id
    for ancestor in reversed(operator.ancestors):
        if ancestors[ancestor] in _RESELLER_ROLES:
            return ancestor
    return None


class Scoped(Protocol):
    """Whoever sees a part of a tenant: a viewer, or a job on behalf of one."""

    @property
    def scope_id(self) -> UUID | None:
        """As `Viewer.scope_id`."""


def in_scope(viewer: Scoped, operator_id: InstrumentedAttribute[UUID]) -> ColumnElement[bool]:
    """Rows whose responsible operator stands in the viewer's subtree: the one rule for customers, drafts and jobs."""
    if viewer.scope_id is None:
        return true()
    operator = aliased(Operator)
    return operator_id.in_(select(operator.id).where(manageable(viewer, operator)))


def in_zones_seen(viewer: Viewer, zone_id: Any) -> ColumnElement[bool]:
    """Whether a customer of this zone is one of those whom a viewer sees who sees the customers of some zones alone."""
    if viewer.zones_seen is None:
        return false()
    zones = viewer.zones_seen
    if isinstance(zones, tuple):
        zones = literal(list(zones), ARRAY(Uuid()))
    found: ColumnElement[bool] = zone_id == any_(zones)
    return found


def manageable(viewer: Scoped, operator: Any = Operator) -> ColumnElement[bool]:
    """Operators in the viewer's subtree, the viewer's reseller included."""
    if viewer.scope_id is None:
        return true()
    return or_(operator.id == viewer.scope_id, any_(operator.ancestors) == viewer.scope_id)
