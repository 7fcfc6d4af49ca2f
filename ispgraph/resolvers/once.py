"""Mutations that a key makes to happen once, where one row is all that they answer with."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from uuid import UUID

from ispgraph.domain import idempotency
from ispgraph.schema.compiler.reading import RowOf
from ispgraph.schema.context import Info


class Row(Protocol):
    """What has an id."""

    @property
    def id(self) -> UUID:
        """Of the row."""


async def once(
    info: Info,
    model: type[Any],
    act: Callable[[], Awaitable[Row]],
    *,
    operation: str,
    key: str | None,
    given: Mapping[str, object],
) -> Any:
    """The row that `act` made or changed. Done before with this key and the same input: the row as it is by now, or
    null when the viewer does not see it any more. Secrets that were told once are not told again.
    """

    async def answer() -> Mapping[str, object]:
        return {"id": str((await act()).id)}

    by = info.context.viewer_or_refuse()
    kept = await idempotency.once(info.context.session, answer, by=by, operation=operation, key=key, given=given)
    return RowOf(model, UUID(str(kept["id"])), if_visible=True)
