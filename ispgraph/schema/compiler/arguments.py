"""Arguments as resolvers get them, by converters that are made once for each field.

Strawberry works out the types of arguments again for every request, down to the last field of an input. What is made
here does the same from what it found out once; where it does not know a type, it leaves the arguments to Strawberry.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING
from typing import Any

from strawberry.types.arguments import convert_arguments
from strawberry.types.base import StrawberryList, StrawberryMaybe, StrawberryOptional, has_object_definition
from strawberry.types.field import StrawberryField
from strawberry.types.info import Info
from strawberry.types.lazy_type import LazyType

DEFINITION = "strawberry-definition"
"""Under this key graphql-core's objects keep the Strawberry objects they were made from."""
Convert = Callable[[Any], Any]
ConvertArguments = Callable[[Mapping[str, Any]], dict[str, Any]]


class _Unknown(Exception):
    """A type that is left to Strawberry."""


def converter(declared: StrawberryField, schema: Any) -> ConvertArguments:
    """Makes keyword arguments of what graphql-core has coerced for a field."""
    try:
        known = {
            schema.config.name_converter.from_argument(argument): (argument.python_name, _of(argument.type, schema))
            for argument in declared.arguments
        }
    except _Unknown:
        registry = schema.schema_converter.scalar_registry
        return lambda given: convert_arguments(dict(given), declared.arguments, registry, schema.config)

    def convert(given: Mapping[str, Any]) -> dict[str, Any]:
        converted = {}
        for name, value in given.items():
            python_name, of = known[name]
            converted[python_name] = value if of is None or value is None else of(value)
        return converted

    return convert


def resolve_directly(schema: Any) -> None:
    """Let the query fields call their resolvers with arguments from converters, past Strawberry's own way there."""
    for definition in schema._schema.query_type.fields.values():
        declared: StrawberryField = definition.extensions[DEFINITION]
        assert declared.base_resolver is not None, f"{declared.python_name} has a resolver"
        definition.resolve = _direct(declared, declared.base_resolver.wrapped_func, converter(declared, schema))


def _direct(declared: StrawberryField, call: Any, convert: ConvertArguments) -> Callable[..., Any]:
    def resolve(_source: Any, info: Any, **given: Any) -> Any:
        return call(Info(_raw_info=info, _field=declared), **convert(given))

    return resolve


def _of(kind: Any, schema: Any) -> Convert | None:
    """What converts a value of a type that is not null; None where there is nothing to convert."""
    if isinstance(kind, StrawberryMaybe):
        raise _Unknown
    if isinstance(kind, StrawberryOptional):
        return _of(kind.of_type, schema)
    if isinstance(kind, LazyType):
        return _of(kind.resolve_type(), schema)
    if isinstance(kind, StrawberryList):
        item = _of(kind.of_type, schema)
        if item is None:
            # A copy: graphql-core gives the same default to every request.
            return list
        return lambda values: [None if value is None else item(value) for value in values]
    if has_object_definition(kind):
        return _of_input(kind, schema)
    return None


def _of_input(kind: Any, schema: Any) -> Convert:
    definition = kind.__strawberry_definition__
    if not definition.is_input or getattr(definition, "from_input", None) is not None:
        raise _Unknown
    defaults = {
        each.python_name: None
        for each in definition.fields
        if each.default_value is MISSING and each.default_factory is MISSING
    }
    members = {
        schema.config.name_converter.from_field(each): (
            each.python_name,
            _of(each.resolve_type(type_definition=definition), schema),
        )
        for each in definition.fields
    }

    def convert(given: Mapping[str, Any]) -> Any:
        values: dict[str, Any] = dict(defaults)
        for name, value in given.items():
            python_name, of = members[name]
            values[python_name] = value if of is None or value is None else of(value)
        return kind(**values)

    return convert
