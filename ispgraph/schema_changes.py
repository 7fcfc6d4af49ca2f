"""Whether one schema may follow another: what clients use goes only after a release that said so by @deprecated."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphql import (
    BreakingChange,
    BreakingChangeType,
    DangerousChangeType,
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    find_breaking_changes,
    find_dangerous_changes,
    get_named_type,
)

_REMOVALS = {
    BreakingChangeType.FIELD_REMOVED,
    BreakingChangeType.ARG_REMOVED,
    BreakingChangeType.VALUE_REMOVED_FROM_ENUM,
}
_NAMED = re.compile(r"(\w+\.\w+(?:\(\w+:\))?) was removed")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What lies between two schemas."""

    refused: tuple[str, ...]
    """What breaks clients that were right until now."""
    announced: tuple[str, ...]
    """What goes after it was deprecated."""
    noticed: tuple[str, ...]
    """What breaks no document, but may surprise a program: a new value of an enumeration, for one."""


def compare(old: GraphQLSchema, new: GraphQLSchema) -> Verdict:
    """`new` beside the schema of the release before."""
    deprecated = set(_deprecated(old))
    refused: list[str] = []
    announced: list[str] = []
    noticed: list[str] = []
    for change in find_breaking_changes(old, new):
        (announced if _was_announced(change, old, deprecated) else refused).append(change.description)
    for danger in find_dangerous_changes(old, new):
        # The same document does something else from now on: to its author that is no smaller change than a removal.
        silent = danger.type is DangerousChangeType.ARG_DEFAULT_VALUE_CHANGE
        (refused if silent else noticed).append(danger.description)
    return Verdict(tuple(refused), tuple(announced), tuple(noticed))


def _was_announced(change: BreakingChange, old: GraphQLSchema, deprecated: set[str]) -> bool:
    if change.type in _REMOVALS:
        named = _NAMED.search(change.description)
        return named is not None and named[1] in deprecated
    if change.type is BreakingChangeType.TYPE_REMOVED:
        gone = change.description.removesuffix(" was removed.")
        leading = [place for place, kind in _places(old) if kind == gone and not place.startswith(f"{gone}.")]
        # Types cannot be deprecated. One goes with all that leads to it, or with all that it has of its own: to a root,
        # or to one kind of an interface, nothing leads.
        of_its_own = _of_its_own(old.type_map[gone])
        return any(
            places and all(place in deprecated or place.partition("(")[0] in deprecated for place in places)
            for places in (leading, of_its_own)
        )
    return False


def _of_its_own(kind: GraphQLNamedType) -> list[str]:
    if not isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
        return []
    inherited = {name for interface in kind.interfaces for name in interface.fields}
    return [f"{kind.name}.{name}" for name in kind.fields if name not in inherited]


def _deprecated(schema: GraphQLSchema) -> Iterator[str]:
    for place, thing in _members(schema):
        if thing.deprecation_reason is not None:
            yield place


def _places(schema: GraphQLSchema) -> Iterator[tuple[str, str]]:
    """Each member that has a type, and the name of that."""
    for place, thing in _members(schema):
        if hasattr(thing, "type"):
            yield place, get_named_type(thing.type).name


def _members(schema: GraphQLSchema) -> Iterator[tuple[str, Any]]:
    """Fields, arguments, input fields and values, named as graphql-core names them."""
    for name, kind in schema.type_map.items():
        if isinstance(kind, GraphQLEnumType):
            for value, definition in kind.values.items():
                yield f"{name}.{value}", definition
        elif isinstance(kind, GraphQLInputObjectType):
            for field, entry in kind.fields.items():
                yield f"{name}.{field}", entry
        elif isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            for field, member in kind.fields.items():
                yield f"{name}.{field}", member
                for argument, given in member.args.items():
                    yield f"{name}.{field}({argument}:)", given


class SchemaError(Exception):
    """A file that holds no schema."""


def read(file: Path) -> GraphQLSchema:
    """The schema in a file of GraphQL's definition language. Raises SchemaError."""
    try:
        return build_schema(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, GraphQLError, TypeError) as error:
        raise SchemaError(f"{file}: {str(error).splitlines()[0]}") from error


def main(old: Path, new: Path) -> int:
    """Say what lies between two files; status 1 when something is refused."""
    verdict = compare(read(old), read(new))
    for word, lines in (("refused", verdict.refused), ("announced", verdict.announced), ("noticed", verdict.noticed)):
        for line in lines:
            sys.stdout.write(f"{word:<10} {line}\n")
    counts = f"{len(verdict.refused)} refused, {len(verdict.announced)} announced, {len(verdict.noticed)} noticed"
    sys.stdout.write(f"{counts}\n")
    return 1 if verdict.refused else 0
