"""Asking for a mutation again with the same idempotency key: how to put one in, and what must not have changed."""

import copy
from dataclasses import replace
from typing import Any

from graphql import (
    ArgumentNode,
    FieldNode,
    GraphQLSchema,
    NameNode,
    ObjectFieldNode,
    OperationDefinitionNode,
    StringValueNode,
    VariableNode,
    Visitor,
    get_named_type,
    parse,
    print_ast,
    visit,
)
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_KEY = "idempotencyKey"
_TABLES = """select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1"""


def keyed(schema: GraphQLSchema, document: str, variables: dict[str, Any], key: str) -> tuple[str, dict[str, Any]]:
    """The mutations of a document and its variables, with the key wherever one is taken."""
    given = copy.deepcopy(variables)
    value, name = StringValueNode(value=key), NameNode(value=_KEY)
    assert schema.mutation_type is not None
    mutations = schema.mutation_type.fields

    class Keys(Visitor):
        def enter_field(self, field: FieldNode, _key: Any, _parent: Any, _path: Any, around: list[Any]) -> Any:
            if not isinstance(around[-2], OperationDefinitionNode):
                return None
            arguments = mutations[field.name.value].args
            if _KEY in arguments:
                own = [each.value for each in field.arguments or () if each.name.value == _KEY]
                if own and isinstance(own[0], VariableNode):
                    given[own[0].name.value] = key
                    return None
                others = [each for each in field.arguments or () if each.name.value != _KEY]
                return replace(field, arguments=(*others, ArgumentNode(name=name, value=value)))
            if "input" in arguments and _KEY in get_named_type(arguments["input"].type).fields:
                return replace(field, arguments=tuple(map(filled, field.arguments)))
            return None

    def filled(argument: ArgumentNode) -> ArgumentNode:
        if argument.name.value != "input":
            return argument
        if isinstance(argument.value, VariableNode):
            given[argument.value.name.value][_KEY] = key
            return argument
        others = [each for each in argument.value.fields if each.name.value != _KEY]
        fields = (*others, ObjectFieldNode(name=name, value=value))
        return replace(argument, value=replace(argument.value, fields=fields))

    return print_ast(visit(parse(document), Keys())), given


async def contents(session: AsyncSession) -> dict[str, Any]:
    """What is in each table, in a number: of whatever the session sees."""
    names = (await session.scalars(text(_TABLES))).all()
    each = (f"select '{name}', count(*), sum(hashtextextended(row::text, 0)) from {name} row" for name in names)
    rows = await session.execute(text(" union all ".join(each)))
    return {name: (count, total) for name, count, total in rows}
