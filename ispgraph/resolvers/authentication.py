"""Tokens and the throttle, in the words of the API's errors."""

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


async def start(context: Context, email: str, password: str, tenant: str | None) -> sign_in.SignedIn:
    """Sign in. What follows in the same document is done as the operator who signed in.

    Raises DomainError, and ApiError RATE_LIMITED with `retryAfterSeconds`.
    """
    caller = sign_in.Caller(context.address, context.user_agent)
    try:
        found = await sign_in.start(
            context.database,
            context.redis,
            context.settings,
            email=email,
            password=password,
            tenant=tenant,
            caller=caller,
        )
    except throttle.Throttled as error:
        message = "Too many attempts to sign in; wait a little."
        raise ApiError("RATE_LIMITED", message, retryAfterSeconds=error.retry_after) from error
    context.viewer = found.viewer
    return found
