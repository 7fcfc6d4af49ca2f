"""What every schema type is made of: nodes with typed ids, money, and payloads that carry their errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, dataclass_transform

import strawberry

from ispgraph.db import Base
from ispgraph.domain.errors import ErrorCode, Fault
from ispgraph.schema import enums
from ispgraph.schema.compiler.fields import declared, row_of
from ispgraph.schema.compiler.sources import PREFIXES, TypedId
from ispgraph.schema.context import Info
from ispgraph.schema.money import Money, money_of

__all__ = ["KINDS", "PREFIXES", "Money", "Node", "NodeKind", "Payload", "UserError", "errors", "money", "node", "row"]

assert enums, "importing it registers the enumerations"

T = TypeVar("T", bound=type)


@strawberry.interface(description="Anything with an id that `node` can find again.")
class Node:
    id: strawberry.ID = declared(TypedId())


@dataclass(frozen=True, slots=True)
class NodeKind:
    """How ids of one kind are spelt and which rows they name."""

    prefix: str
    model: type[Base]
    type_name: str


KINDS: dict[str, NodeKind] = {}


@dataclass_transform(kw_only_default=True, field_specifiers=(strawberry.field,))
def node(
    prefix: str, model: type[Base], *, when: Callable[[Any], Any] | None = None, **options: Any
) -> Callable[[T], T]:
    """A type whose objects are rows of `model` that `node` can find; fields without a source are columns.

    Of the types that share a table, `when` tells by SQL which rows are of this one, and an `is_type_of` of its own of a
    row.
    """

    def decorate(cls: T) -> T:
        KINDS[prefix] = NodeKind(prefix, model, cls.__name__)
        PREFIXES[model] = prefix
        if "is_type_of" not in vars(cls):
            cls.is_type_of = classmethod(lambda _cls, value, _info: isinstance(value, model))  # type: ignore[attr-defined]
        return row_of(model, when=when)(strawberry.type(cls, **options))

    return decorate


@dataclass_transform(kw_only_default=True, field_specifiers=(strawberry.field,))
def row(model: type[Base], **options: Any) -> Callable[[T], T]:
    """A type whose objects are rows of `model` without an id of their own."""

    def decorate(cls: T) -> T:
        return row_of(model)(strawberry.type(cls, **options))

    return decorate


def money(info: Info, minor: int) -> Money:
    """Minor units as the tenant's money."""
    return money_of(info.context.viewer_or_refuse().currency, minor)


@strawberry.type(description="An expected failure. `field` is the path into the input, such as input, email.")
class UserError:
    code: ErrorCode
    message: str
    field: list[str] | None

    @classmethod
    def of(cls, fault: Fault) -> "UserError":
        """The public form of a domain fault."""
        return cls(code=fault.code, message=fault.message, field=list(fault.field) if fault.field else None)


@strawberry.interface(description="The answer to a mutation. With errors, nothing was changed.")
class Payload:
    errors: list[UserError] = strawberry.field(default_factory=list)


def errors(faults: Sequence[Fault]) -> list[UserError]:
    """Faults as the `errors` of a payload."""
    return [UserError.of(fault) for fault in faults]
