"""What every name of the schema means, where the code next to it does not say so.

A description next to a field wins, so that what is particular to it stands there. What is left stands here: words that
mean the same wherever they are used (`recurring`), and tables by type. The tests want every name described and every
word here used.
"""

from collections.abc import Iterator
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
)

from ispgraph.schema import self_care
from ispgraph.schema.words import access, choices, customers, money, network, onboarding, roots, states, talking
from ispgraph.schema.words.errors import ERRORS
from ispgraph.schema.words.events import EVENTS
from ispgraph.schema.words.recurring import RECURRING

MODULES = (access, choices, customers, money, network, onboarding, roots, states, talking)
_KEY = "idempotencyKey"
# By type; the words of the type itself stand at "".
WORDS = {name: words for module in MODULES for name, words in module.WORDS.items()}


def describe(schema: GraphQLSchema) -> set[str]:
    """Give a description to whatever has none. Answers which words were of use, as `Type.name` or `name`."""
    used: set[str] = set()
    served = _served(schema)
    for name, kind in schema.type_map.items():
        if name.startswith("__"):
            continue
        own = WORDS.get(name, {})
        if not kind.description:
            kind.description = _word(own, name, "", used) or _made(kind, served.get(name, []))
        for place, thing in _members(kind):
            if thing.description:
                continue
            thing.description = _word(own, name, place, used)
            if thing.description is None and not isinstance(kind, GraphQLEnumType):
                thing.description = _recurring(name, place, used)
    for root, fields in self_care.ROOTS.items():
        for field in fields:
            of_root: Any = schema.type_map[root]
            of_root.fields[field].description += " Customers too, for what is their own."
    for mutation, told in EVENTS.items():
        assert schema.mutation_type is not None
        schema.mutation_type.fields[mutation].description += f"\n\nEvents: {', '.join(told.split())}."
    for mutation, codes in error_codes(schema).items():
        assert schema.mutation_type is not None
        schema.mutation_type.fields[mutation].description += f"\n\nError codes: {', '.join(codes)}."
    return used


def error_codes(schema: GraphQLSchema) -> dict[str, list[str]]:
    """With which codes each mutation may be refused, in its `errors` or in those of its parts."""
    found = {}
    for name, field in schema.mutation_type.fields.items() if schema.mutation_type else ():
        inputs = [get_named_type(argument.type) for argument in field.args.values()]
        keyed = _KEY in field.args or any(_KEY in getattr(kind, "fields", ()) for kind in inputs)
        codes = {*ERRORS.get(name, "").split(), *(("IDEMPOTENCY_KEY_REUSED", "INVALID") if keyed else ())}
        if codes:
            found[name] = sorted(codes)
    return found


def members(schema: GraphQLSchema) -> Iterator[tuple[str, Any]]:
    """Everything that has a description, by its name; arguments as `Type.field(argument)`."""
    for name, kind in schema.type_map.items():
        if not name.startswith("__"):
            yield name, kind
            for place, thing in _members(kind):
                yield f"{name}.{place}", thing


def _members(kind: GraphQLNamedType) -> Iterator[tuple[str, Any]]:
    if isinstance(kind, GraphQLEnumType):
        yield from kind.values.items()
    elif isinstance(kind, GraphQLInputObjectType):
        yield from kind.fields.items()
    elif isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
        for name, field in kind.fields.items():
            yield name, field
            for argument, definition in field.args.items():
                yield f"{name}({argument})", definition


def _word(own: dict[str, str], name: str, place: str, used: set[str]) -> str | None:
    if place in own:
        used.add(f"{name}.{place}")
    return own.get(place)


def _recurring(name: str, place: str, used: set[str]) -> str | None:
    plain = place.rstrip(")").rpartition("(")[2]
    narrows = place.endswith(")") or name.endswith("Where")
    for word in (f"({plain})", plain) if narrows else (plain,):
        if word in RECURRING:
            used.add(word)
            return RECURRING[word]
    return None


def _made(kind: GraphQLNamedType, roots: list[str]) -> str | None:
    """Of what exists for one or a few operations: which they are."""
    if kind.name.endswith("Edge"):
        return "One row of a page."
    if not roots:
        return None
    listed = ", ".join(f"`{root}`" for root in roots)
    return f"What {listed} takes." if isinstance(kind, GraphQLInputObjectType) else f"The answer of {listed}."


def _served(schema: GraphQLSchema) -> dict[str, list[str]]:
    """Which operations take or answer a type."""
    found: dict[str, list[str]] = {}
    for root in (schema.query_type, schema.mutation_type, schema.subscription_type):
        for name, field in root.fields.items() if root else ():
            for kind in {
                get_named_type(field.type).name,
                *(get_named_type(one.type).name for one in field.args.values()),
            }:
                found.setdefault(kind, []).append(name)
    return found
