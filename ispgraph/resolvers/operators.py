"""Signing in and out, who is signed in, and the operators below."""

from dataclasses import asdict
from typing import Any

import strawberry

from ispgraph.db import after_commit
from ispgraph.domain import operators as domain
from ispgraph.domain import sign_in
from ispgraph.domain.models import Role
from ispgraph.domain.permissions import Permission
from ispgraph.resolvers import authentication
from ispgraph.resolvers.base import PUBLIC, SIGNED_IN, action, query
from ispgraph.schema import roots
from ispgraph.schema.compiler.reading import reading
from ispgraph.schema.context import Info
from ispgraph.schema.operators import Operator, OperatorInput, OperatorPayload, SignInInput, SignInPayload, Viewer


async def viewer(info: Info) -> Viewer:
    """Who is signed in."""
    found: Any = info.context.viewer_or_refuse()
    return found


async def operators(info: Info, role: list[Role] | None = None) -> list[Operator]:
    """The operators the viewer may see, highest rank first; of some roles, or of all."""
    found: list[Operator] = reading(roots.OPERATORS, role=role)
    return found


async def start(info: Info, input: SignInInput) -> SignInPayload:
    """Sign in with e-mail address and password."""
    return _payload(await authentication.start(info.context, input.email, input.password, input.tenant))


async def renew(info: Info) -> SignInPayload:
    """A new token for the same sign-in, before the old one ends."""
    context = info.context
    return _payload(await sign_in.renew(context.session, context.settings, by=context.viewer_or_refuse()))


async def end(info: Info) -> SignInPayload:
    """Sign out: every token of this sign-in ends, everywhere within a second."""
    context = info.context

    async def leave() -> None:
        context.viewer = None

    await sign_in.end(context.session, by=context.viewer_or_refuse())
    after_commit(context.session, leave)
    return SignInPayload()


async def create(info: Info, input: OperatorInput) -> OperatorPayload:
    """Create an operator below the viewer."""
    made: Any = await domain.create(
        info.context.session, domain.NewOperator(**asdict(input)), by=info.context.viewer_or_refuse()
    )
    return OperatorPayload(operator=made)


async def set_permissions(info: Info, operator_id: strawberry.ID, permissions: list[Permission]) -> OperatorPayload:
    """Replace the permissions of an operator below the viewer."""
    changed: Any = await domain.set_permissions(
        info.context.session, operator_id, permissions, by=info.context.viewer_or_refuse()
    )
    return OperatorPayload(operator=changed)


def _payload(signed_in: sign_in.SignedIn) -> SignInPayload:
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
