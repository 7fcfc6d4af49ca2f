"""What stands around every root field, written once: permission, transaction, and expected failures as data."""

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import replace
from typing import Any, Final, get_type_hints

import strawberry
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import metrics, traces
from ispgraph.domain.errors import DomainError, Fault
from ispgraph.domain.permissions import Permission, Within
from ispgraph.schema import self_care
from ispgraph.schema.base import errors
from ispgraph.schema.context import Context, forbidden
from ispgraph.schema.errors import ApiError


class SignedIn:
    """Stands where a permission would: any operator who has signed in."""


class Public:
    """Stands where a permission would: nobody need be signed in."""


class Customers:
    """Stands where a permission would: customers alone. What else they may, `schema.self_care` says."""


SIGNED_IN: Final = SignedIn()
PUBLIC: Final = Public()
CUSTOMERS: Final = Customers()
Access = Permission | SignedIn | Public | Customers
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
        with traces.within(f"mutation {info.field_name}") as span:
            answer = await acted(info, **arguments)
            span.tell(traces.outcome(answer))
            return answer

    async def acted(info: strawberry.Info[Context, None], **arguments: Any) -> Any:
        context, outcome = info.context, "ERROR"
        try:
            with _permitted(info, access) as within:
                if not transaction:
                    _require_everywhere(within, access)
                    answer = await function(info, **arguments)
                    outcome = "REFUSED" if answer.errors else "DONE"
                    return answer
                tenant_id = context.viewer.tenant_id if context.viewer else None

                async def work(session: AsyncSession) -> Any:
                    context.current_session = session
                    context.loaders.forget()
                    done = await function(info, **arguments)
                    _require_asked(within, access)
                    return done

                answer = await context.database.run(tenant_id, work)
                outcome = "DONE"
                return answer
        except DomainError as error:
            outcome = "REFUSED"
            for code in {fault.code.value for fault in error.faults}:
                metrics.REFUSALS.labels(info.field_name, code).inc()
            if refused is not None:
                await refused(info, error, arguments)
            return payload(errors=errors([_where_it_is(fault, arguments) for fault in error.faults]))
        finally:
            metrics.MUTATIONS.labels(info.field_name, outcome).inc()
            context.current_session = None
            context.loaders.forget()

    return _field(strawberry.mutation, resolve, function, access)


def _where_it_is(fault: Fault, arguments: Mapping[str, Any]) -> Fault:
    """The domain takes an idempotency key for a part of the input; some mutations have it beside their arguments."""
    beside = fault.field == ("input", "idempotencyKey") and "input" not in arguments
    return replace(fault, field=("idempotencyKey",)) if beside else fault


def query(function: Callable[..., Awaitable[Any]], access: Access, *, narrowed: bool = False) -> Any:
    """A query field: `function` behind its permission; a DomainError is a bad request.

    `narrowed`: what it reads is by itself of the customers of those zones where the permission is held in some alone.
    """

    @functools.wraps(function)
    async def resolve(info: strawberry.Info[Context, None], **arguments: Any) -> Any:
        try:
            with traces.within(f"query {info.field_name}"), _permitted(info, access) as within:
                found = await function(info, **arguments)
                if not narrowed:
                    _require_asked(within, access)
                return found
        except DomainError as error:
            raise _bad_request(error) from error

    return _field(strawberry.field, resolve, function, access)


def stream(function: Callable[..., AsyncGenerator[Any, None]], access: Access) -> Any:
    """A subscription field: `function` is an async generator behind its permission."""

    @functools.wraps(function)
    async def resolve(info: strawberry.Info[Context, None], **arguments: Any) -> AsyncIterator[Any]:
        with _permitted(info, access) as within:
            _require_everywhere(within, access)
        try:
            async with aclosing(function(info, **arguments)) as events:
                async for event in events:
                    yield event
        except DomainError as error:
            raise _bad_request(error) from error

    return _field(strawberry.subscription, resolve, function, access)


def _field(kind: Callable[..., Any], resolve: Any, function: Callable[..., Any], access: Access) -> Any:
    resolve.__signature__ = inspect.signature(function)
    made = kind(resolver=resolve, description=f"{inspect.getdoc(function)}\n\nPermission: {told(access)}.")
    made.access = access
    return made


def told(access: Access) -> str:
    """Who may, as descriptions and the collection of operations say it."""
    if isinstance(access, Permission):
        return access.value
    return {SignedIn: "any signed-in operator", Public: "none", Customers: "a signed-in customer"}[type(access)]


def _permitted(info: strawberry.Info[Context, None], access: Access) -> AbstractContextManager[Within | None]:
    context = info.context
    if isinstance(access, Public):
        return nullcontext()
    if context.viewer_or_refuse().customer_id is not None:
        self_care.require(info)
        return nullcontext()
    if isinstance(access, Customers):
        raise ApiError("FORBIDDEN", "This is for customers.")
    return context.permitted(access if isinstance(access, Permission) else None)


def _require_asked(within: Within | None, access: Access) -> None:
    """What is done by a permission that is held in some zones was done to customers, and they were looked at."""
    if within is not None and not within.asked:
        _require_everywhere(within, access)


def _require_everywhere(within: Within | None, access: Access) -> None:
    if within is not None:
        assert isinstance(access, Permission)
        raise forbidden(access)


def _bad_request(error: DomainError) -> ApiError:
    first = error.faults[0]
    return ApiError("BAD_REQUEST", first.message, field=list(first.field) if first.field else None)
