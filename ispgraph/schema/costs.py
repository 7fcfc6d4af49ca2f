"""The static cost of an operation; `limits` has the model in words.

Only the page sizes depend on the request, so a price is worked out once for each set of page sizes and kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_introspection_type,
    is_list_type,
)

PAGE = 20
LARGEST_PAGE = 100
UNPAGED_LIST = 5
_KEPT_PRICES = 32
_PAGE_ARGUMENTS = ("first", "last")
_ID_LIST = "ids"
# What costs the database more than a value does: a review asks it a dozen questions for each draft, counts of a whole
# tenant read all of its rows. Counts below one row read that row's alone.
WEIGHTS = {
    "AuditEntryConnection.totalCount": 1900,
    "Customer.allowedActions": 20,
    "Customer.timeline": 10,
    "CustomerConnection.totalCount": 1900,
    "CustomerDraft.review": 60,
    "InvoiceConnection.totalCount": 50,
    "JobConnection.totalCount": 50,
    "NetworkState.radius": 20,
    "Package.customerCount": 200,
    "Query.collectionsReport": 5000,
    "Query.customerStats": 1800,
    "Query.receivablesReport": 5000,
    "Query.revenueReport": 5000,
    "Query.subscriberReport": 5000,
    "Query.taxReport": 5000,
    "ReceivablesReport.customers": 1900,
    "Router.onlineSessions": 100,
    "Service.allowedActions": 10,
    "TaxReport.rates": 5000,
    "TimelineConnection.totalCount": 50,
    "Zone.customerCount": 50,
}


def describe(schema: GraphQLSchema) -> None:
    """Say beside each field that has a weight what it costs."""
    for place, weight in WEIGHTS.items():
        kind, _, name = place.partition(".")
        field: Any = schema.type_map[kind].fields[name]  # type: ignore[attr-defined]
        told = f"Costs {weight:,} points."
        field.description = f"{field.description}\n\n{told}" if field.description else told


class Pricing:
    """Prices the operations of one valid document."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        definitions = document.definitions
        self._fragments = {node.name.value: node for node in definitions if isinstance(node, FragmentDefinitionNode)}
        self._operations = {
            node.name.value if node.name else None: node
            for node in definitions
            if isinstance(node, OperationDefinitionNode)
        }
        self._sizing = _sizing_variables(document)
        self._prices: dict[tuple[Any, ...], int] = {}

    def cost(self, operation_name: str | None, variables: Mapping[str, Any]) -> int:
        """The cost of an operation with these (uncoerced) variables."""
        operation = self._operations[operation_name]
        sizes = {name: _size(variables.get(name)) for name in self._sizing if name in variables}
        for definition in operation.variable_definitions or ():
            name = definition.variable.name.value
            if name in self._sizing and name not in sizes:
                sizes[name] = _literal_size(definition.default_value)
        key = (operation_name, *sorted(sizes.items(), key=lambda item: item[0]))
        if key not in self._prices:
            if len(self._prices) >= _KEPT_PRICES:
                self._prices.clear()
            root = self._schema.get_root_type(operation.operation)
            assert root is not None
            self._prices[key] = _Price(self._schema, self._fragments, sizes).of(operation.selection_set, root, PAGE)
        return self._prices[key]


@dataclass(frozen=True, slots=True)
class _Shape:
    """How the type of a field multiplies what stands below it."""

    named: GraphQLNamedType
    is_list: bool
    is_paged: bool
    by_ids: bool


class _Price:
    """One calculation; each fragment is priced once for each page size it stands under."""

    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        sizes: Mapping[str, int | None],
    ) -> None:
        self._schema = schema
        self._fragments = fragments
        self._sizes = sizes
        self._known: dict[tuple[str, int], int] = {}

    def of(self, selection_set: SelectionSetNode | None, parent: GraphQLNamedType, page: int) -> int:
        """The cost of a selection on `parent`; `page` is the page size that leads here, for connections."""
        total = 0
        for selection in selection_set.selections if selection_set else ():
            if isinstance(selection, FieldNode):
                total += self._of_field(selection, parent, page)
            elif isinstance(selection, InlineFragmentNode):
                total += self.of(selection.selection_set, self._condition(selection, parent), page)
            elif isinstance(selection, FragmentSpreadNode):
                total += self._of_fragment(selection.name.value, page)
        return total

    def _condition(self, node: InlineFragmentNode, parent: GraphQLNamedType) -> GraphQLNamedType:
        if node.type_condition is None:
            return parent
        return self._schema.type_map[node.type_condition.name.value]

    def _of_fragment(self, name: str, page: int) -> int:
        key = (name, page)
        if key not in self._known:
            fragment = self._fragments[name]
            kind = self._schema.type_map[fragment.type_condition.name.value]
            self._known[key] = self.of(fragment.selection_set, kind, page)
        return self._known[key]

    def _of_field(self, node: FieldNode, parent: GraphQLNamedType, page: int) -> int:
        weight = WEIGHTS.get(f"{parent.name}.{node.name.value}", 1)
        if node.selection_set is None:
            return weight
        definition: GraphQLField | None = self._schema.get_field(parent, node.name.value)  # type: ignore[arg-type]
        assert definition is not None, "validated documents only"
        shape = _shape(definition)
        if is_introspection_type(shape.named):
            return 1 + self.of(node.selection_set, shape.named, page)
        own = self._page(node, shape)
        if parent.name.endswith("Connection") and shape.is_list:
            return 1 + page * self.of(node.selection_set, shape.named, PAGE)
        if shape.is_list:
            return weight + own * self.of(node.selection_set, shape.named, PAGE)
        return weight + self.of(node.selection_set, shape.named, own)

    def _page(self, node: FieldNode, shape: _Shape) -> int:
        arguments = {argument.name.value: argument.value for argument in node.arguments or ()}
        if shape.by_ids and _ID_LIST in arguments:
            return self._bounded(arguments[_ID_LIST])
        given = [self._bounded(arguments[name]) for name in _PAGE_ARGUMENTS if name in arguments]
        if given:
            return max(given)
        return PAGE if shape.is_paged or not shape.is_list else UNPAGED_LIST

    def _bounded(self, value: ValueNode) -> int:
        size = self._sizes.get(value.name.value) if isinstance(value, VariableNode) else _literal_size(value)
        return PAGE if size is None else max(1, min(size, LARGEST_PAGE))


def _shape(definition: GraphQLField) -> _Shape:
    return _Shape(
        named=get_named_type(definition.type),
        is_list=is_list_type(get_nullable_type(definition.type)),
        is_paged=any(name in definition.args for name in _PAGE_ARGUMENTS),
        by_ids=_ID_LIST in definition.args,
    )


def _size(value: Any) -> int | None:
    if isinstance(value, list):
        return len(value)
    return value if isinstance(value, int) else None


def _literal_size(value: ValueNode | None) -> int | None:
    if isinstance(value, IntValueNode):
        return int(value.value)
    return len(value.values) if isinstance(value, ListValueNode) else None


def _sizing_variables(document: DocumentNode) -> frozenset[str]:
    """The names of the variables that stand where a page size or a list of ids does."""
    found: set[str] = set()
    pending: list[Any] = [node.selection_set for node in document.definitions if hasattr(node, "selection_set")]
    while pending:
        selection_set = pending.pop()
        for selection in selection_set.selections if selection_set else ():
            for argument in getattr(selection, "arguments", None) or ():
                if argument.name.value in (*_PAGE_ARGUMENTS, _ID_LIST) and isinstance(argument.value, VariableNode):
                    found.add(argument.value.name.value)
            pending.append(getattr(selection, "selection_set", None))
    return frozenset(found)
