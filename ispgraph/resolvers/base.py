"""What stands around every root field, written once: permission, transaction, and expected failures as data."""

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, get_type_hints

import strawberry
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain.errors import DomainError
from ispgraph.domain.permissions import Permission
from ispgraph.schema.base import errors
from ispgraph.schema.context import Context
from ispgraph.schema.errors import ApiError


class SignedIn:
    """Stands where a permission would: any signed-in operator."""


class Public:
    """Stands where a permission would: nobody need be signed in."""


SIGNED_IN: Final = SignedIn()
PUBLIC: Final = Public()
Access = Permission | SignedIn | Public
Refused = Callable[[strawberry.Info[Context, None], DomainError, dict[str, Any]], Awaitable[None]]
"""Called with the error and the arguments after a mutation was refused and rolled back."""


def action(
    function: Callable[..., Awaitable[Any]],
    access: Access,
    *,
    refused: Refused | None = None,
    transaction: bool = True,
) -> Any:
    """A mutation field: `function` in one transaction, its DomainErrors in the payload's `errors`.

    Without `transaction` the domain verb opens its own, because the tenant is not known before.
    """
    payload = get_type_hints(function, include_extras=False)["return"]

    @functools.wraps(function)
    async def resolve(info: strawberry.Info[Context, None], **arguments: Any) -> Any:
        context = info.context
        _check(context, access)
        tenant_id = context.viewer.tenant_id if context.viewer else None

        async def work(session: AsyncSession) -> Any:
            context.current_session = session
            context.loaders.forget()
            return await function(info, **arguments)

        try:
            return await (context.database.run(tenant_id, work) if transaction else function(info, **arguments))
        except DomainError as error:
            if refused is not None:
                await refused(info, error, arguments)
            return payload(errors=errors(error.faults))
        finally:
            context.current_session = None
            context.loaders.forget()

    return _field(strawberry.mutation, resolve, function, access)


def query(function: Callable[..., Awaitable[Any]], access: Access) -> Any:
    """A query field: `function` behind its permission; a DomainError is a bad request."""

    @functools.wraps(function)
    async def resolve(info: strawberry.Info[Context, None], **arguments: Any) -> Any:
        _check(info.context, access)
        try:
            return await function(info, **arguments)
        except DomainError as error:
            raise _bad_request(error) from error

    return _field(strawberry.field, resolve, function, access)


def stream(function: Callable[..., AsyncGenerator[Any, None]], access: Access) -> Any:
    """A subscription field: `function` is an async generator behind its permission."""

    @functools.wraps(function)
    async def resolve(info: strawberry.Info[Context, None], **arguments: Any) -> AsyncIterator[Any]:
        _check(info.context, access)
        try:
            async with aclosing(function(info, **arguments)) as events:
                async for event in events:
                    yield event
        except DomainError as error:
            raise _bad_request(error) from error

    return _field(strawberry.subscription, resolve, function, access)


def _field(kind: Callable[..., Any], resolve: Any, function: Callable[..., Any], access: Access) -> Any:
    resolve.__signature__ = inspect.signature(function)
    made = kind(resolver=resolve, description=inspect.getdoc(function))
    made.access = access
    return made


def _check(context: Context, access: Access) -> None:
    if not isinstance(access, Public):
        context.viewer_or_refuse(access if isinstance(access, Permission) else None)


def _bad_request(error: DomainError) -> ApiError:
    first = error.faults[0]
    return ApiError("BAD_REQUEST", first.message, field=list(first.field) if first.field else None)
