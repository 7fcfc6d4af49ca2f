"""What a document selects below a field, collected once: response keys with their sources, for each possible type."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLUnionType,
    InlineFragmentNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
)
from graphql.execution.collect_fields import FieldDetails, collect_subfields
from graphql.execution.values import get_argument_values
from strawberry.types.field import StrawberryField

from ispgraph.schema.compiler.arguments import DEFINITION, ConvertArguments, converter
from ispgraph.schema.compiler.sources import MODELS, Source, source_of

_LONGEST_KEY = 63
_TYPE_NAME = "__typename"


def model_of(kind: Any) -> Any:
    """The table of the rows of a type; of a union, that of its types, which share one."""
    member = kind.types[0] if isinstance(kind, GraphQLUnionType) else kind
    return MODELS[member.extensions[DEFINITION].origin]


class NotCompiled(Exception):
    """The selection is for graphql-core to carry out."""


@dataclass(slots=True)
class Selected:
    """One response key of an object. Without `definition` it is `__typename`; without `source` computed in Python."""

    key: str
    details: list[FieldDetails]
    definition: GraphQLField | None = None
    source: Source | None = None
    name: str = ""
    kind: GraphQLNamedType | None = None
    listed: bool = False
    below: Mapping[str, "Selection"] = field(default_factory=dict)
    site: int | None = None


@dataclass(slots=True)
class Selection:
    """What is selected of objects of one type."""

    cls: Any
    type: GraphQLObjectType
    fields: list[Selected]

    @property
    def computed(self) -> bool:
        """Whether a field of this very object is computed in Python."""
        return any(each.definition is not None and each.source is None for each in self.fields)


@dataclass(slots=True)
class Site:
    """A field with arguments. Those without variables are the same for every request."""

    definition: GraphQLField
    source: Source
    node: FieldNode
    convert: ConvertArguments
    constant: Mapping[str, Any] | None = None

    def arguments(self, executor: Any) -> Mapping[str, Any]:
        """The arguments of this request, as a resolver would get them. Raises GraphQLError."""
        if self.constant is not None:
            return self.constant
        found = self._read(executor)
        if not any(isinstance(node, VariableNode) for node in _values(self.node)):
            self.constant = found
        return found

    def _read(self, executor: Any) -> Mapping[str, Any]:
        return self.convert(get_argument_values(self.definition, self.node, executor.variable_values))


class Collector:
    """Collects the selections below one field of one operation."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self.sites: list[Site] = []
        self.computed = False

    def below(self, kind: GraphQLNamedType, details: list[FieldDetails], model: Any = None) -> Mapping[str, Selection]:
        """The selection for each object type that `kind` may be; with `model`, only for those whose rows are in it.

        Raises NotCompiled.
        """
        schema = self._executor.schema
        possible = schema.get_possible_types(kind) if is_abstract_type(kind) else [kind]
        if model is not None:
            possible = [each for each in possible if MODELS.get(each.extensions[DEFINITION].origin) is model]
        return {each.name: self._selection(each, details) for each in possible}

    def _selection(self, kind: Any, details: list[FieldDetails]) -> Selection:
        executor = self._executor
        collected = collect_subfields(
            executor.schema, executor.fragments, executor.variable_values, executor.operation, kind, details
        )
        definition = kind.extensions.get(DEFINITION)
        if definition is None:
            raise NotCompiled(kind.name)
        fields = [self._field(kind, key, found) for key, found in collected.grouped_field_set.items()]
        made = Selection(definition.origin, kind, fields)
        self.computed = self.computed or made.computed
        if made.computed and made.cls not in MODELS:
            raise NotCompiled(f"{kind.name} has no row for what Python computes")
        return made

    def _field(self, parent: Any, key: str, details: list[FieldDetails]) -> Selected:
        node = details[0].node
        if len(key.encode()) > _LONGEST_KEY:
            raise NotCompiled(f"{key} is longer than a column's name may be")
        if node.name.value == _TYPE_NAME:
            return Selected(key, details)
        definition: GraphQLField = parent.fields[node.name.value]
        declared: StrawberryField = definition.extensions[DEFINITION]
        source = source_of(declared)
        kind = get_named_type(definition.type)
        listed = is_list_type(get_nullable_type(definition.type))
        made = Selected(key, details, definition, source, declared.python_name, kind, listed)
        if source is None:
            return made
        if getattr(source, "arguments", None) is not None:
            made.site = len(self.sites)
            convert = converter(declared, self._executor.schema._strawberry_schema)
            self.sites.append(Site(definition, source, node, convert))
        if not is_leaf_type(kind):
            made.below = self.below(kind, details)
        return made


def deciding_variables(nodes: Sequence[FieldNode], fragments: Mapping[str, Any]) -> frozenset[str]:
    """The variables that stand in `@skip` and `@include` below these nodes."""
    found: set[str] = set()
    seen: set[str] = set()
    pending: list[SelectionSetNode | None] = [node.selection_set for node in nodes]
    while pending:
        selection_set = pending.pop()
        for selection in selection_set.selections if selection_set else ():
            for directive in selection.directives or ():
                values = (argument.value for argument in directive.arguments or ())
                found.update(value.name.value for value in values if isinstance(value, VariableNode))
            if isinstance(selection, FragmentSpreadNode):
                name = selection.name.value
                if name not in seen:
                    seen.add(name)
                    fragment = fragments[name].definition
                    pending.append(fragment.selection_set)
            elif isinstance(selection, FieldNode | InlineFragmentNode):
                pending.append(selection.selection_set)
    return frozenset(found)


def _values(node: FieldNode) -> Iterator[Any]:
    pending: list[Any] = [argument.value for argument in node.arguments or ()]
    while pending:
        value = pending.pop()
        yield value
        pending.extend(getattr(value, "values", None) or ())
        pending.extend(each.value for each in getattr(value, "fields", None) or ())
