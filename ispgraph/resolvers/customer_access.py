"""Customers sign in, and so do those who look after their portals; how they get a password, and what they prefer."""

from typing import Any

import strawberry

from ispgraph.domain import customer_passwords, customer_records, customer_sign_in, customers
from ispgraph.domain.customer_sign_in import Named
from ispgraph.domain.permissions import Permission
from ispgraph.domain.portals import admins
from ispgraph.domain.references import typed_id
from ispgraph.resolvers.authentication import caller, throttled
from ispgraph.resolvers.base import CUSTOMERS, PUBLIC, action
from ispgraph.resolvers.once import once
from ispgraph.resolvers.operators import signed_in_payload
from ispgraph.schema import self_care
from ispgraph.schema.access import PasswordPayload
from ispgraph.schema.context import Info
from ispgraph.schema.customer_access import (
    CustomerAccessInput,
    CustomerInviteInput,
    CustomerInvitePayload,
    CustomerPasswordRequestInput,
    CustomerSignInInput,
    PortalInvitationInput,
    PreferencesInput,
    PreferencesPayload,
)
from ispgraph.schema.customer_inputs import CustomerPayload
from ispgraph.schema.operators import SignInPayload


async def start(info: Info, input: CustomerSignInInput) -> SignInPayload:
    """Sign in as a customer, or as the admin of a customer's portal, who may do the same.

    One and the same INVALID stands for an unknown name, a wrong password, and a customer who may not sign in.
    """
    self_care.require_below(info)
    context = info.context
    with throttled():
        found = await customer_sign_in.start(
            context.database,
            context.redis,
            context.settings,
            named=Named(input.login, input.tenant, input.portal),
            password=input.password,
            caller=caller(context),
        )
    context.viewer = found.viewer
    return signed_in_payload(found)


async def request_password(info: Info, input: CustomerPasswordRequestInput) -> PasswordPayload:
    """Have a code sent with which a password can be set by `passwordReset` within an hour: a first one, or one in place
    of one that was forgotten. The answer is the same whether anybody is known by this name."""
    context = info.context
    with throttled():
        await customer_passwords.request(
            context.database,
            context.redis,
            context.settings,
            named=Named(input.login, input.tenant, input.portal),
            caller=caller(context),
        )
    return PasswordPayload(done=True)


@once()
async def invite(info: Info, input: CustomerInviteInput) -> CustomerInvitePayload:
    """Write to a customer how to set a password, within seven days. Codes that were sent before are void.

    Errors: INVALID_STATE for a customer who is terminated or may not sign in; INVALID at channels for one who cannot be
    reached so; LIMIT_EXCEEDED after ten codes within a day.
    """
    row: Any
    written: Any
    row, written = await customer_passwords.invite(
        info.context.session,
        info.context.settings,
        typed_id("cus", input.customer_id, "input", "customerId"),
        input.channels,
        by=info.context.viewer_or_refuse(),
    )
    return CustomerInvitePayload(customer=row, messages=list(written))


@once()
async def set_access(info: Info, input: CustomerAccessInput) -> CustomerPayload:
    """Let a customer, and the admin of its portal, sign in; or end that: all of their sign-ins end at once.

    Errors: NO_CHANGE.
    """
    by, session = info.context.viewer_or_refuse(), info.context.session
    customer = await customers.lock(session, typed_id("cus", input.customer_id, "input", "customerId"), by=by)
    await customer_sign_in.set_access(session, customer, input.allowed, by=by)
    row: Any = customer
    return CustomerPayload(customer=row)


@once()
async def update_preferences(info: Info, input: PreferencesInput) -> PreferencesPayload:
    """In which language the customer who has signed in is written to, and what of."""
    by = info.context.viewer_or_refuse()
    assert by.customer_id is not None
    names = ("language", "sms_opt_out", "email_opt_out")
    given: Any = {name: getattr(input, name) for name in names if getattr(input, name) is not strawberry.UNSET}
    row: Any = await customer_records.update(info.context.session, by.customer_id, given, expected_version=None, by=by)
    return PreferencesPayload(customer=row)


async def accept_invitation(info: Info, input: PortalInvitationInput) -> PasswordPayload:
    """Accept the invitation to look after a portal by setting a password, with which `customerSignIn` lets in.

    An invitation can be accepted once, within seven days; a later one makes it void.
    """
    await admins.accept(info.context.database, subdomain=input.subdomain, given=input.token, new=input.new_password)
    return PasswordPayload(done=True)


@strawberry.type
class CustomerAccessMutations:
    customer_sign_in = action(start, PUBLIC, transaction=False)
    customer_password_request = action(request_password, PUBLIC, transaction=False)
    customer_invite = action(invite, Permission.EDIT_CUSTOMERS)
    customer_set_access = action(set_access, Permission.EDIT_CUSTOMERS)
    preferences_update = action(update_preferences, CUSTOMERS)
    portal_accept_invitation = action(accept_invitation, PUBLIC, transaction=False)
