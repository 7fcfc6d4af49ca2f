"""What every schema type is made of: nodes with typed ids, money, and payloads that carry their errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar, dataclass_transform

import strawberry

from ispgraph import ids
from ispgraph.db import Base
from ispgraph.domain import money as amounts
from ispgraph.domain.errors import ErrorCode, Fault
from ispgraph.schema import enums
from ispgraph.schema.context import Info
from ispgraph.schema.scalars import CurrencyCode

assert enums, "importing it registers the enumerations"

T = TypeVar("T", bound=type)


@strawberry.interface(description="Anything with an id that `node` can find again.")
class Node:
    @strawberry.field
    def id(root: strawberry.Parent[Any], info: Info) -> strawberry.ID:
        return strawberry.ID(ids.encode(PREFIXES[type(root)], root.id))


@dataclass(frozen=True, slots=True)
class NodeKind:
    """How ids of one kind are spelt and which rows they name."""

    prefix: str
    model: type[Base]
    type_name: str


KINDS: dict[str, NodeKind] = {}
PREFIXES: dict[type, str] = {}


@dataclass_transform(field_specifiers=(strawberry.field,))
def node(prefix: str, model: type[Base], **options: Any) -> Callable[[T], T]:
    """A type whose objects are rows of `model`; its fields are read from the row by name."""

    def decorate(cls: T) -> T:
        KINDS[prefix] = NodeKind(prefix, model, cls.__name__)
        PREFIXES[model] = prefix
        cls.is_type_of = classmethod(lambda _cls, value, _info: isinstance(value, model))  # type: ignore[attr-defined]
        return strawberry.type(cls, **options)

    return decorate


@strawberry.type
class Money:
    amount: Decimal
    currency: CurrencyCode


def money(info: Info, minor: int) -> Money:
    """Minor units as the tenant's money."""
    currency = info.context.viewer_or_refuse().currency
    return Money(amount=amounts.to_decimal(minor, currency), currency=CurrencyCode(currency))


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
