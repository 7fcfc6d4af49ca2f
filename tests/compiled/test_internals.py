"""What the compiler needs of the insides of graphql-core, Strawberry, SQLAlchemy and asyncpg.

These are private to them. A version that moved them fails here by name, before it answers anybody wrongly.
"""

import asyncio
import inspect
from typing import Any

import asyncpg
import orjson
import pytest
import strawberry
from graphql import GraphQLError, build_schema, execute_sync, parse
from graphql.execution import collect_fields, values
from graphql.execution.executor import CollectedErrors, Executor
from graphql.pyutils import Path
from sqlalchemy import Integer, String, Uuid, bindparam, func, literal, literal_column, select
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.types import arguments as strawberry_arguments
from strawberry.types.base import StrawberryList, StrawberryMaybe, StrawberryOptional
from strawberry.types.field import StrawberryField
from strawberry.types.info import Info
from strawberry.types.lazy_type import LazyType

from ispgraph.schema.compiler.arguments import DEFINITION
from ispgraph.schema.compiler.executor import CompiledExecutor
from ispgraph.schema.context import Loaders
from tests.api import schema


def parameters(function: Any) -> list[str]:
    """The names of the parameters of a function."""
    return list(inspect.signature(function).parameters)


SIGNATURES = [
    (Executor.complete_value, "self return_type field_details_list info path result position_context"),
    (Executor.execute_field, "self parent_type source field_details_list path position_context"),
    (
        collect_fields.collect_subfields,
        "schema fragments variable_values operation return_type field_details_list hide_suggestions",
    ),
    (values.get_argument_values, "type_def node variable_values fragment_variable_values hide_suggestions"),
    (CollectedErrors.__init__, "self"),
    (CollectedErrors.add, "self error path"),
    (strawberry_arguments.convert_arguments, "value arguments scalar_registry config info"),
]


@pytest.mark.parametrize(("function", "expected"), SIGNATURES, ids=lambda case: getattr(case, "__qualname__", ""))
def test_functions_take_what_they_are_given(function: Any, expected: str) -> None:
    assert parameters(function) == expected.split(), f"{function.__qualname__} has changed"


def test_the_executor_is_graphql_cores() -> None:
    assert issubclass(StrawberryGraphQLCoreExecutionContext, Executor)
    assert CompiledExecutor.complete_value is not Executor.complete_value
    # The only one that is overridden; nothing between the two has another.
    between = [each for each in CompiledExecutor.__mro__ if "complete_value" in vars(each)]
    assert between == [CompiledExecutor, Executor]


def test_fields_are_collected_as_they_were() -> None:
    assert collect_fields.FieldDetails._fields[0] == "node"
    assert "grouped_field_set" in collect_fields.CollectedFields._fields
    assert Path._fields == ("prev", "key", "typename")


def test_an_executor_has_what_is_read_of_it() -> None:
    """Seen in a request: `complete_value` is asked for every field, with an executor that knows its operation."""
    seen: dict[str, Any] = {}

    class Spy(Executor[Any]):
        def complete_value(self, *given: Any) -> Any:
            return_type, details, info, path, _result, _position = given
            seen.setdefault(str(path.key), (self, return_type, details, info))
            return super().complete_value(*given)

    text = "query ($a: Boolean = true) { one { ...F two @include(if: $a) } } fragment F on One { two }"
    made = build_schema("type Query { one: One! } type One { two: Int }")
    result: Any = execute_sync(made, parse(text), {"one": {"two": 2}}, executor_class=Spy)
    assert result.data == {"one": {"two": 2}}
    spy, return_type, details, info = seen["one"]
    for name in ("schema", "fragments", "variable_values", "operation", "context_value", "collected_errors"):
        assert hasattr(spy, name), name
    assert spy.is_awaitable(2) is False
    assert str(return_type) == "One!"
    assert (info.field_name, str(info.parent_type)) == ("one", "Query")
    assert [each.node.name.value for each in details] == ["one"]
    assert spy.variable_values.coerced == {"a": True}
    assert spy.fragments["F"].definition.name.value == "F"
    collected = collect_fields.collect_subfields(
        spy.schema,
        spy.fragments,
        spy.variable_values,
        spy.operation,
        made.type_map["One"],
        details,  # type: ignore[arg-type]
    )
    assert {key: len(found) for key, found in collected.grouped_field_set.items()} == {"two": 2}
    errors = CollectedErrors()
    errors.add(GraphQLError("no", path=["one"]), Path(None, "one", "Query"))
    assert [error.message for error in errors.errors] == ["no"]


def test_the_schema_leads_to_strawberrys_declarations() -> None:
    made = schema()
    customer = made._schema.type_map["Customer"]
    definition = customer.extensions[DEFINITION]
    assert definition.origin.__name__ == "Customer"
    declared: Any = customer.fields["customFields"].extensions[DEFINITION]  # type: ignore[attr-defined]
    assert isinstance(declared, StrawberryField)
    assert declared.python_name == "custom_fields"
    assert declared.base_resolver is not None
    assert "source" in declared.metadata
    assert made._schema._strawberry_schema is made  # type: ignore[attr-defined]
    converter = made.schema_converter
    assert converter.scalar_registry
    root: Any = made._schema.query_type.fields["customers"].extensions[DEFINITION]  # type: ignore[union-attr]
    assert root.base_resolver.wrapped_func
    assert [each.python_name for each in root.arguments][:3] == ["where", "search", "order_by"]
    assert made.config.name_converter.from_argument(root.arguments[2]) == "orderBy"


def test_strawberrys_types_of_arguments_are_those_we_know() -> None:
    for kind in (StrawberryOptional, StrawberryList):
        assert "of_type" in parameters(kind.__init__)
    assert inspect.isclass(StrawberryMaybe)
    assert hasattr(LazyType, "resolve_type")
    assert {"_raw_info", "_field"} <= set(parameters(Info.__init__))

    @strawberry.input
    class Given:
        one: int = 1
        two: list[int] | None = None

    definition = Given.__strawberry_definition__  # type: ignore[attr-defined]
    assert definition.is_input
    names = [(each.python_name, each.default_value) for each in definition.fields]
    assert names == [("one", 1), ("two", None)]
    assert all(hasattr(each, "default_factory") and hasattr(each, "resolve_type") for each in definition.fields)


def test_sqlalchemy_says_which_argument_is_where() -> None:
    dialect: Any = PGDialect_asyncpg()  # type: ignore[no-untyped-call]
    statement = select(
        func.f(bindparam("b", None, type_=Uuid()), literal("x", String())), bindparam("a", None, type_=Integer())
    ).where(bindparam("b", None, type_=Uuid()) == literal_column("1"))
    compiled: Any = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    assert compiled.positiontup is not None
    names = list(compiled.positiontup)
    # Numbered, so that a parameter which stands twice is one argument.
    assert sorted(names) == ["a", "b", *(name for name in names if name.startswith("param"))]
    assert {name: compiled.params[name] for name in ("a", "b")} == {"a": None, "b": None}
    assert [compiled.params[name] for name in names if name.startswith("param")] == ["x"]
    for number in range(1, len(names) + 1):
        assert f"${number}" in compiled.string
    assert compiled._bind_processors.get("no such name") is None


def test_asyncpg_tells_what_is_stale() -> None:
    for name in (
        "ConnectionDoesNotExistError",
        "InterfaceError",
        "InternalClientError",
        "InvalidCachedStatementError",
        "OutdatedSchemaCacheError",
        "AdminShutdownError",
    ):
        assert issubclass(getattr(asyncpg, name), Exception), name
    assert {"reset", "statement_cache_size", "max_cacheable_statement_size"} <= {
        *parameters(asyncpg.create_pool),
        *parameters(asyncpg.connect),
    }


def test_orjson_splices_text_as_it_is() -> None:
    assert orjson.dumps({"a": [orjson.Fragment('{"b":1.0}')]}) == b'{"a":[{"b":1.0}]}'


async def test_a_row_that_two_wait_for_comes_although_one_is_cancelled():
    asked: list[list[int]] = []

    async def load(keys: list[int]) -> list[int]:
        asked.append(keys)
        await asyncio.sleep(0.01)
        return [key * 2 for key in keys]

    loader = Loaders(lambda: None).loader(("numbers",), load)
    one, other = (asyncio.ensure_future(loader.load(21)) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    assert await other == 42
    assert asked == [[21]]
