"""What a resolver answers with instead of rows: a description of what is to be read, for the compiler to carry out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from ispgraph.domain.pages import window
from ispgraph.schema.compiler.sources import Many, One, Pages, Part, Prepared, Rows, used


@dataclass(frozen=True, slots=True)
class Reading:
    """A source without a row to start from, and the values it is read with.

    The source is made once and used for every request: what differs stands in `prepared`.
    """

    source: One | Many | Pages | Part | Rows
    prepared: Prepared = field(default_factory=lambda: Prepared({}))


@dataclass(frozen=True, slots=True)
class RowOf:
    """The row of a table with this id. With `if_visible`, only when the viewer may see it."""

    model: Any
    key: UUID
    if_visible: bool = False


def reading(source: One | Many | Part | Rows, **values: Any) -> Any:
    """A row, a list or an object, read with those of the values that are not None."""
    return Reading(source, Prepared(used(values)))


def page_of(source: Pages, values: Mapping[str, Any], *, descending: bool = True, **page: Any) -> Any:
    """A page of a list with those of the values that are not None. Raises DomainError for bad page arguments."""
    return Reading(source, Prepared(used(values), window(source.order, descending=descending, **page)))
