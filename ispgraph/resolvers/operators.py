"""Signing in and out, who is signed in, and the operators below."""

from typing import Any

import strawberry

from ispgraph.db import after_commit
from ispgraph.domain import customer_sign_in, grants, operator_changes, sign_in
from ispgraph.domain import operators as domain
from ispgraph.domain.models import Role
from ispgraph.domain.permissions import Permission
from ispgraph.resolvers import authentication
from ispgraph.resolvers.base import PUBLIC, SIGNED_IN, action, query
from ispgraph.resolvers.once import once, told
from ispgraph.schema import roots
from ispgraph.schema.access import OperatorGrantPayload
from ispgraph.schema.compiler.reading import reading
from ispgraph.schema.context import Info
from ispgraph.schema.operators import (
    Operator,
    OperatorDeactivateInput,
    OperatorDeactivatePayload,
    OperatorGrantInput,
    OperatorInput,
    OperatorPayload,
    OperatorUpdateInput,
    SignInInput,
    SignInPayload,
    Viewer,
)


async def viewer(info: Info) -> Viewer:
    """Who is signed in."""
    found: Any = info.context.viewer_or_refuse()
    return found


async def operators(info: Info, role: list[Role] | None = None) -> list[Operator]:
    """The operators the viewer may see, highest rank first; of some roles, or of all."""
    found: list[Operator] = reading(roots.OPERATORS, role=role)
    return found


async def start(info: Info, input: SignInInput) -> SignInPayload:
    """Sign in with e-mail address and password; an operator with a second factor goes on with `signInConfirm`."""
    found = await authentication.start(info.context, input.email, input.password, input.tenant)
    if isinstance(found, sign_in.Challenge):
        return SignInPayload(challenge=found.token, expires_at=found.expires_at)
    return signed_in_payload(found)


async def renew(info: Info) -> SignInPayload:
    """A new token for the same sign-in, before the old one ends."""
    context, by = info.context, info.context.viewer_or_refuse()
    renewing = sign_in.renew if by.customer_id is None else customer_sign_in.renew
    return signed_in_payload(await renewing(context.session, context.settings, by=by))


async def end(info: Info) -> SignInPayload:
    """Sign out: every token of this sign-in ends, everywhere within a second."""
    context = info.context

    async def leave() -> None:
        context.viewer = None

    by = context.viewer_or_refuse()
    ending = sign_in.end if by.customer_id is None else customer_sign_in.end
    await ending(context.session, by=by)
    after_commit(context.session, leave)
    return SignInPayload()


@once()
async def create(info: Info, input: OperatorInput) -> OperatorPayload:
    """Create an operator below the viewer."""
    row: Any = await domain.create(
        info.context.session, domain.NewOperator(**told(input)), by=info.context.viewer_or_refuse()
    )
    return OperatorPayload(operator=row)


@once()
async def set_permissions(info: Info, operator_id: strawberry.ID, permissions: list[Permission]) -> OperatorPayload:
    """Replace the permissions of an operator below the viewer."""
    session, by = info.context.session, info.context.viewer_or_refuse()
    row: Any = await domain.set_permissions(session, operator_id, permissions, by=by)
    return OperatorPayload(operator=row)


@once()
async def update(info: Info, input: OperatorUpdateInput) -> OperatorPayload:
    """Change the name, the e-mail address or the role of an operator below the viewer."""
    session, by = info.context.session, info.context.viewer_or_refuse()
    changes = operator_changes.Changes(input.name, input.email, input.role)
    row: Any = await operator_changes.change(session, input.operator_id, changes, by=by)
    return OperatorPayload(operator=row)


@once()
async def deactivate(info: Info, input: OperatorDeactivateInput) -> OperatorDeactivatePayload:
    """Shut an operator below the viewer out: sign-ins, connections and API tokens end at once.

    Customers, drafts, wallets and prices stay as they are; open tickets go back to nobody. The last active
    administrator cannot be deactivated.
    """
    session, by = info.context.session, info.context.viewer_or_refuse()
    left = await operator_changes.deactivate(
        session, input.operator_id, with_subordinates=input.with_subordinates, by=by
    )
    row: Any = left.operators[0]
    return OperatorDeactivatePayload(
        operator=row, deactivated_count=len(left.operators), released_ticket_count=left.tickets
    )


@once()
async def activate(info: Info, operator_id: strawberry.ID) -> OperatorPayload:
    """Let a deactivated operator below the viewer sign in again; API tokens stay revoked."""
    session, by = info.context.session, info.context.viewer_or_refuse()
    row: Any = await operator_changes.activate(session, operator_id, by=by)
    return OperatorPayload(operator=row)


@once()
async def set_parent(info: Info, operator_id: strawberry.ID, parent_id: strawberry.ID) -> OperatorPayload:
    """Put an operator below the viewer, with all who stand below, below another operator, or right below the viewer.

    Their customers stay with them.
    """
    session, by = info.context.session, info.context.viewer_or_refuse()
    row: Any = await operator_changes.move(session, operator_id, parent_id, by=by)
    return OperatorPayload(operator=row)


@once()
async def grant(info: Info, input: OperatorGrantInput) -> OperatorGrantPayload:
    """Grant an operator below the viewer a permission for a while, for one zone, or both, in place of a grant of the
    same. Only what the viewer has for good can be given."""
    session, by = info.context.session, info.context.viewer_or_refuse()
    wanted = grants.Wanted(input.operator_id, input.permission, input.zone_id, input.expires_at)
    row: Any = await grants.give(session, wanted, by=by)
    return OperatorGrantPayload(grant=row)


@once()
async def revoke_grant(info: Info, grant_id: strawberry.ID) -> OperatorGrantPayload:
    """Take a grant back before it ends."""
    row: Any = await grants.take_back(info.context.session, grant_id, by=info.context.viewer_or_refuse())
    return OperatorGrantPayload(grant=row)


def signed_in_payload(signed_in: sign_in.SignedIn) -> SignInPayload:
    """A token, and whose it is."""
    found: Any = signed_in.viewer
    return SignInPayload(token=signed_in.token, expires_at=signed_in.expires_at, viewer=found)


@strawberry.type
class OperatorQueries:
    viewer = query(viewer, SIGNED_IN)
    operators = query(operators, SIGNED_IN)


@strawberry.type
class OperatorMutations:
    sign_in = action(start, PUBLIC, transaction=False)
    token_renew = action(renew, SIGNED_IN)
    sign_out = action(end, SIGNED_IN)
    operator_create = action(create, Permission.MANAGE_OPERATORS)
    operator_set_permissions = action(set_permissions, Permission.MANAGE_OPERATORS)
    operator_update = action(update, Permission.MANAGE_OPERATORS)
    operator_deactivate = action(deactivate, Permission.MANAGE_OPERATORS)
    operator_activate = action(activate, Permission.MANAGE_OPERATORS)
    operator_set_parent = action(set_parent, Permission.MANAGE_OPERATORS)
    operator_grant = action(grant, Permission.MANAGE_OPERATORS)
    operator_revoke_grant = action(revoke_grant, Permission.MANAGE_OPERATORS)
