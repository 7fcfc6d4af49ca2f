"""Races for what must be unique: the loser hears TAKEN, as if it had come later."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from sqlalchemy.exc import IntegrityError

from ispgraph.domain.errors import ErrorCode, fail


@asynccontextmanager
async def taken(
    constraints: Mapping[str, tuple[str, ...]], message: str = "This is already taken."
) -> AsyncIterator[None]:
    """Around a flush: the violation of a unique constraint named here is the fault TAKEN at the path given for it.

    The transaction is lost all the same. Any other violation passes: it is a bug.
    """
    try:
        yield
    except IntegrityError as error:
        path = constraints.get(_constraint(error))
        if path is None:
            raise
        raise fail(ErrorCode.TAKEN, message, *path) from error


def _constraint(error: IntegrityError) -> str:
    # SQLAlchemy's exception wraps asyncpg's, which alone knows the name.
    driver = error.orig and error.orig.__cause__
    return str(getattr(driver, "constraint_name", None))
