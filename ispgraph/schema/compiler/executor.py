"""Where graphql-core meets the compiler: a value that describes a reading is completed by one SQL statement.

What this needs of graphql-core is private there (`complete_value`, `execute_field`, the executor's attributes), which
is why its version is pinned and `tests/compiled/test_internals.py` looks at it.
"""

import functools
import inspect
from typing import Any

import orjson
from graphql import GraphQLError, OperationType, get_nullable_type, is_abstract_type, is_non_null_type
from graphql import get_named_type as named
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from ispgraph import clock, replica
from ispgraph.db import Base, Database
from ispgraph.domain import visibility
from ispgraph.domain.errors import DomainError
from ispgraph.schema.compiler import computed, loading, plans
from ispgraph.schema.compiler.arguments import DEFINITION
from ispgraph.schema.compiler.plans import Plans, Tree, Values
from ispgraph.schema.compiler.reading import Reading, RowOf
from ispgraph.schema.compiler.selection import NotCompiled
from ispgraph.schema.compiler.sources import MODELS, PREFIXES, Prepared, prepare

_PAYLOAD = "Payload"


class CompiledExecutor(StrawberryGraphQLCoreExecutionContext):
    """graphql-core's executor, but for readings and for rows of nodes."""

    def complete_value(
        self, return_type: Any, field_details_list: Any, info: Any, path: Any, result: Any, position_context: Any
    ) -> Any:
        """As graphql-core's; a reading becomes an awaitable of its JSON.

        So does a row of a node. In a payload it is shown to those who may view it: who may change something may do so
        without seeing all of it.
        """
        if isinstance(result, Base) and _is_node(return_type, result):
            in_payload = any(each.name == _PAYLOAD for each in info.parent_type.interfaces)
            if in_payload or self.context_value.settings.compiled_reads:
                may_be_null = in_payload and not is_non_null_type(info.return_type)
                result = RowOf(type(result), result.id, if_visible=may_be_null)  # type: ignore[attr-defined]
        if not isinstance(result, Reading | RowOf):
            return super().complete_value(return_type, field_details_list, info, path, result, position_context)
        return self._complete(return_type, field_details_list, info, path, result, position_context)

    async def _complete(
        self, return_type: Any, details: Any, info: Any, path: Any, result: Reading | RowOf, position: Any
    ) -> Any:
        kind = get_nullable_type(return_type)
        try:
            if not self.context_value.settings.compiled_reads:
                raise NotCompiled("switched off")
            value = await self._compiled(kind, details, path, result, position)
        except (NotCompiled, DomainError, GraphQLError):
            # Whatever is out of the ordinary, graphql-core does by its own rules: errors find their place and their
            # nulls the way out.
            loaded = await self._load(kind, result)
            value = super().complete_value(kind, details, info, path, loaded, position)
            value = await value if inspect.isawaitable(value) else value
        if value is None and is_non_null_type(return_type):
            raise TypeError(f"Cannot return null for non-nullable field {info.parent_type}.{info.field_name}.")
        return value

    async def _compiled(self, kind: Any, details: Any, path: Any, result: Reading | RowOf, position: Any) -> Any:
        context = self.context_value
        viewer = context.viewer_or_refuse()
        model = result.model if isinstance(result, RowOf) else None
        kept = _plans(self.schema)
        tree = kept.tree(self, named(kind), details, model)
        prepared = [prepare(site.source, viewer, site.arguments(self)) for site in tree.sites]
        if isinstance(result, RowOf):
            text = await self._row(kept, tree, result, prepared)
        else:
            prepared.append(result.prepared)
            key = (id(result.source), *_rights(viewer), *(each.shape for each in prepared))
            plan = kept.plan(tree, key, lambda: plans.of_root(tree, result.source, viewer, prepared))
            arguments = plan.arguments(Values(viewer, clock.now(), prepared))
            text = (await self._texts(viewer, plan.sql, arguments))[0]
        if text is None:
            return None
        return await computed.fill(self, tree.below, text, path, position) if tree.computed else orjson.Fragment(text)

    async def _row(self, kept: Plans, tree: Tree, result: RowOf, prepared: list[Prepared]) -> str | None:
        """A row by its id, together with all that are asked for the same way at the same time."""
        context = self.context_value
        viewer = context.viewer_or_refuse()
        visible = functools.partial(_visible, result.model) if result.if_visible else None
        key = (result.if_visible, *_rights(viewer), *(each.shape for each in prepared))
        plan = kept.plan(tree, key, lambda: plans.of_ids(tree, visible, viewer, prepared))
        name = (id(plan), repr(prepared))

        async def batch(keys: list[Any]) -> list[str | None]:
            arguments = plan.arguments(Values(viewer, clock.now(), prepared, keys))
            return await self._texts(viewer, plan.sql, arguments)

        text: str | None = await context.loaders.loader(name, batch).load(result.key)
        return text

    async def _texts(self, viewer: Any, sql: str, arguments: Any) -> list[str | None]:
        """What a statement reads. What follows from a change, as payloads and events do, is read where it was made."""
        database: Database = self.context_value.database
        if self.operation.operation is not OperationType.QUERY:
            return await database.read_texts(sql, arguments)
        return await replica.read_texts(database, viewer.tenant_id, sql, arguments)

    async def _load(self, kind: Any, result: Reading | RowOf) -> Any:
        context = self.context_value
        if isinstance(result, Reading):
            return await loading.start(result, named(kind), context)
        if not result.if_visible:
            return await context.loaders.one(result.model, result.key)
        async with context.read() as session:
            return await visibility.find(session, result.model, result.key, by=context.viewer_or_refuse())


def _visible(model: Any, viewer: Any, row: Any) -> Any:
    return visibility.condition(viewer, model, row)


def _is_node(return_type: Any, row: Base) -> bool:
    """Whether a row stands where the schema has nodes of its table: it is in the database, under its id."""
    if type(row) not in PREFIXES:
        return False
    kind = named(return_type)
    return is_abstract_type(kind) or MODELS.get(kind.extensions[DEFINITION].origin) is type(row)


def _plans(schema: Any) -> Plans:
    owner = schema._strawberry_schema.__dict__
    kept: Plans | None = owner.get("ispgraph_plans")
    if kept is None:
        kept = owner["ispgraph_plans"] = Plans()
    return kept


def _rights(viewer: Any) -> tuple[Any, ...]:
    """What of the viewer a statement depends on."""
    own, scoped, zoned = viewer.customer_id is not None, viewer.scope_id is None, viewer.zones_seen is None
    return (own, scoped, zoned, viewer.role, viewer.currency, viewer.permissions, viewer.time_zone)
