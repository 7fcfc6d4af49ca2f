"""Tokens and the throttle, in the words of the API's errors."""

from collections.abc import Iterator
from contextlib import contextmanager

from ispgraph.db import Database
from ispgraph.domain import sign_in, throttle
from ispgraph.domain.permissions import Viewer
from ispgraph.schema.context import Context
from ispgraph.schema.errors import ApiError
from ispgraph.settings import Settings


async def authenticate(database: Database, settings: Settings, token: str) -> Viewer:
    """Whose token this is. Raises ApiError UNAUTHENTICATED when it is not valid, or not any more."""
    try:
        return await sign_in.viewer(database, settings, token)
    except sign_in.NotSignedIn as error:
        raise ApiError("UNAUTHENTICATED", "The token is not valid, or has ended. Sign in again.") from error


def caller(context: Context) -> sign_in.Caller:
    """Where a request comes from."""
    return sign_in.Caller(context.address, context.user_agent)


@contextmanager
def throttled() -> Iterator[None]:
    """While something is tried that can be guessed. Raises ApiError RATE_LIMITED with `retryAfterSeconds`."""
    try:
        yield
    except throttle.Throttled as error:
        message = "Too many attempts; wait a little."
        raise ApiError("RATE_LIMITED", message, retryAfterSeconds=error.retry_after) from error


async def start(
    context: Context, email: str, password: str, tenant: str | None
) -> sign_in.SignedIn | sign_in.Challenge:
    """Sign in. What follows in the same document is done as the operator who signed in.

    Raises DomainError, and ApiError RATE_LIMITED with `retryAfterSeconds`.
    """
    with throttled():
        found = await sign_in.start(
            context.database,
            context.redis,
            context.settings,
            email=email,
            password=password,
            tenant=tenant,
            caller=caller(context),
        )
    if isinstance(found, sign_in.SignedIn):
        context.viewer = found.viewer
    return found
