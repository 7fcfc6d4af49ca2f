"""Documents made from the schema and from what was decided about customers, so that no field is left out."""

import enum
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_composite_type,
    is_leaf_type,
)

from ispgraph.schema.self_care import DECISIONS, ROOTS
from tests.api import schema

Path = tuple[str, ...]


class Sample(enum.Enum):
    """A literal of each scalar that an argument may be."""

    ID = '"cus_00000000000000000000000000000000"'
    String = '"word"'
    Int = "1"
    BigInt = '"1"'
    Boolean = "true"
    Float = "1.5"
    Decimal = '"1"'
    Date = '"2026-01-01"'
    DateTime = '"2026-01-01T00:00:00Z"'
    Time = '"10:00"'
    EmailAddress = '"a@example.net"'
    PhoneNumber = '"+8801712345678"'
    IpAddress = '"192.0.2.1"'
    MacAddress = '"02:00:00:00:00:01"'
    CurrencyCode = '"USD"'
    JSON = '"word"'
    Upload = "$file"
    """A variable, which comes beside the document."""


def core() -> GraphQLSchema:
    """graphql-core's schema."""
    return schema()._schema


def literal(kind: Any) -> str:
    """A value that a field may be given."""
    if isinstance(kind, GraphQLNonNull):
        return literal(kind.of_type)
    if isinstance(kind, GraphQLList):
        return f"[{literal(kind.of_type)}]"
    if isinstance(kind, GraphQLEnumType):
        return next(iter(kind.values))
    if isinstance(kind, GraphQLInputObjectType):
        given = [f"{name}: {literal(each.type)}" for name, each in kind.fields.items() if _needed(each)]
        return f"{{{', '.join(given)}}}"
    return Sample[kind.name].value


def _needed(each: Any) -> bool:
    return isinstance(each.type, GraphQLNonNull) and each.default_value.__class__.__name__ == "UndefinedType"


def call(name: str, field: Any) -> str:
    """A field with the arguments that it needs, and nothing of what it answers but its type."""
    given = [f"{key}: {literal(each.type)}" for key, each in field.args.items() if _needed(each)]
    arguments = f"({', '.join(given)})" if given else ""
    return f"{name}{arguments}{' { __typename }' if is_composite_type(get_named_type(field.type)) else ''}"


def ways() -> Mapping[str, Path]:
    """By which shown fields of a customer each type is reached: the shortest way."""
    found: dict[str, Path] = {"Customer": ()}
    pending = deque(["Customer"])
    while pending:
        kind = pending.popleft()
        for name in sorted(DECISIONS[kind].shown):
            below = get_named_type(_object(kind).fields[name].type)
            if is_composite_type(below) and below.name not in found:
                found[below.name] = (*found[kind], name)
                pending.append(below.name)
    return found


def everything(kind: str, depth: int) -> str:
    """What is shown of a type, and so far below it."""
    parts = []
    for name in sorted(DECISIONS[kind].shown):
        below = get_named_type(_object(kind).fields[name].type)
        if is_leaf_type(below):
            parts.append(name)
        elif depth > 0:
            parts.append(f"{name} {{ {everything(below.name, depth - 1)} }}")
    return " ".join(["__typename", *parts])


def along(path: Path, last: str) -> str:
    """A selection at the end of a way."""
    for name in reversed(path):
        last = f"{name} {{ {last} }}"
    return last


def hidden() -> Iterator[tuple[str, str, str]]:
    """Type, field and document of each field that customers do not see."""
    for kind, path in ways().items():
        for name in sorted(DECISIONS[kind].hidden):
            field = _object(kind).fields[name]
            yield kind, name, f"{{ viewer {{ customer {{ {along(path, call(name, field))} }} }} }}"


def reached() -> set[str]:
    """Every type that customers can reach from what they may use."""
    found: set[str] = set()
    roots = {"Query": core().query_type, "Mutation": core().mutation_type, "Subscription": core().subscription_type}
    pending = [
        get_named_type(root.fields[name].type).name for key, root in roots.items() if root for name in ROOTS[key]
    ]
    while pending:
        kind = pending.pop()
        if kind in found:
            continue
        found.add(kind)
        decision = DECISIONS.get(kind)
        for name in decision.shown if decision else ():
            below = get_named_type(_object(kind).fields[name].type)
            if is_composite_type(below):
                pending.append(below.name)
    return found


def _object(kind: str) -> GraphQLObjectType:
    found: Any = core().type_map[kind]
    return found
