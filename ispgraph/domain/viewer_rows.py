"""The statements that say who is behind a token: an operator, a customer or a program, with all that they may."""

from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    Executable,
    Uuid,
    and_,
    any_,
    bindparam,
    false,
    func,
    null,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import aliased

from ispgraph.domain.models import (
    ApiToken,
    Customer,
    CustomerSignIn,
    CustomerStatus,
    Operator,
    OperatorGrant,
    PortalAdmin,
    SignIn,
    Tenant,
)
from ispgraph.domain.permissions import Permission

_NOW: Any = bindparam("now", type_=SignIn.expires_at.type)


def _granted(now: Any) -> Any:
    """What an operator was granted that counts at this instant, as JSON: permission, zone, and when it ends."""
    grant = OperatorGrant
    return (
        select(
            func.coalesce(
                func.jsonb_agg(func.jsonb_build_array(grant.permission, grant.zone_id, grant.expires_at)),
                func.jsonb_build_array(),
                type_=JSONB,
            )
        )
        .where(
            grant.tenant_id == Operator.tenant_id,
            grant.operator_id == Operator.id,
            grant.ended_at.is_(None),
            or_(grant.expires_at.is_(None), grant.expires_at > now),
        )
        .correlate(Operator)
        .scalar_subquery()
    )


def _about() -> tuple[Any, ...]:
    """What of an operator and its tenant is read for a viewer."""
    higher = aliased(Operator)
    above = (
        select(func.coalesce(func.jsonb_object_agg(higher.id, higher.role), func.jsonb_build_object(), type_=JSONB))
        .where(higher.tenant_id == Operator.tenant_id, higher.id == any_(Operator.ancestors))
        .correlate(Operator)
        .scalar_subquery()
    )
    return (
        Operator.id,
        Operator.tenant_id,
        Operator.name,
        Operator.role,
        Operator.level,
        Operator.permissions,
        Operator.ancestors,
        Operator.token_version,
        Tenant.currency,
        Tenant.country,
        Tenant.time_zone,
        Tenant.usage_detail_days,
        above.label("above"),
        _granted(_NOW).label("granted"),
    )


@cache
def signed_in() -> Executable:
    """Operators behind sign-ins that go on, as columns: a row is read for each who listens, every second."""
    acting = aliased(Operator)
    in_place = (acting.tenant_id == SignIn.tenant_id) & (acting.id == SignIn.acting_id)
    return (
        select(
            SignIn.id.label("sign_in_id"),
            SignIn.acting_id,
            false().label("by_token"),
            # Who acts for another may not do more than before.
            acting.permissions.label("at_most"),
            *_about(),
        )
        .join(Operator, (SignIn.tenant_id == Operator.tenant_id) & (SignIn.operator_id == Operator.id))
        .join(Tenant, Tenant.id == Operator.tenant_id)
        .outerjoin(acting, in_place)
        .where(
            SignIn.id == any_(bindparam("sign_ins", type_=ARRAY(Uuid))),
            SignIn.ended_at.is_(None),
            SignIn.expires_at > _NOW,
            SignIn.token_version == Operator.token_version,
            Operator.active,
            or_(
                SignIn.acting_id.is_(None),
                and_(
                    acting.active,
                    acting.token_version == SignIn.acting_version,
                    any_(acting.permissions) == Permission.MANAGE_OPERATORS.value,
                ),
            ),
        )
    )


@cache
def customers() -> Executable:
    """Customers behind sign-ins that go on, as columns."""
    version = func.coalesce(PortalAdmin.token_version, Customer.token_version)
    of_tenant = Customer.tenant_id == CustomerSignIn.tenant_id
    return (
        select(
            CustomerSignIn.id.label("sign_in_id"),
            CustomerSignIn.admin_id,
            Customer.id,
            Customer.tenant_id,
            func.coalesce(PortalAdmin.name, Customer.name).label("name"),
            version.label("token_version"),
            Tenant.currency,
            Tenant.country,
            Tenant.time_zone,
            Tenant.usage_detail_days,
        )
        .join(Customer, of_tenant & (Customer.id == CustomerSignIn.customer_id))
        .join(Tenant, Tenant.id == Customer.tenant_id)
        .outerjoin(
            PortalAdmin,
            (PortalAdmin.tenant_id == CustomerSignIn.tenant_id) & (PortalAdmin.id == CustomerSignIn.admin_id),
        )
        .where(
            CustomerSignIn.id == any_(bindparam("sign_ins", type_=ARRAY(Uuid))),
            CustomerSignIn.ended_at.is_(None),
            CustomerSignIn.expires_at > _NOW,
            CustomerSignIn.token_version == version,
            Customer.status != CustomerStatus.TERMINATED,
            Customer.portal_access,
        )
    )


@cache
def program() -> Executable:
    """The operator behind the token of a program, as columns."""
    return (
        select(
            ApiToken.digest,
            ApiToken.last_used_at,
            ApiToken.expires_at.label("ends_at"),
            null().label("acting_id"),
            true().label("by_token"),
            ApiToken.permissions.label("at_most"),
            *_about(),
        )
        .join(Operator, (ApiToken.tenant_id == Operator.tenant_id) & (ApiToken.operator_id == Operator.id))
        .join(Tenant, Tenant.id == Operator.tenant_id)
        .where(
            ApiToken.id == bindparam("token", type_=Uuid()),
            ApiToken.revoked_at.is_(None),
            ApiToken.expires_at > _NOW,
            Operator.active,
        )
    )


@cache
def at_work() -> Executable:
    """An operator as columns, whoever has signed in."""
    return (
        select(null().label("acting_id"), false().label("by_token"), null().label("at_most"), *_about())
        .join(Tenant, Tenant.id == Operator.tenant_id)
        .where(Operator.id == bindparam("operator", type_=Uuid()), Operator.active)
    )
