"""Bounds on documents, found in one memoised pass, and the caches of parsed and validated documents.

The pass looks at each node once and at each fragment spread once: a fragment's depth and root fields are worked out a
single time however often it is spread, so a document of nested fragments costs what its text costs. Missing and cyclic
fragments count as empty here; graphql-core's validation, which runs next, has the proper words for them.

Cost model. Each field costs 1. What stands below a list is multiplied: by the page size where the list is a page (the
`first` or `last` argument, default 20, at most 100; the number of `ids` for lookups by id), by 5 for any other list.
A few fields cost more (`costs.WEIGHTS`): counts of a whole tenant, the review of a draft.
`edges` and `nodes` of a connection share the page size of the field that leads to the connection. Introspection is not
multiplied. `@skip` and `@include` are taken as not skipping. A page of 50 customers with 10 fields, 3 invoices and
5 sessions of 10 fields each costs 2 + 50 * (10 + 2 + 3 * 10 + 2 + 5 * 10) = 4,702 of the 50,000 an operator has.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FloatValueNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    Node,
    ObjectValueNode,
    OperationDefinitionNode,
    StringValueNode,
    ValueNode,
    parse,
    specified_rules,
    validate,
)
from strawberry.extensions import SchemaExtension
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule

from ispgraph import traces
from ispgraph.schema.costs import Pricing
from ispgraph.schema.errors import ApiError, may_introspect

TOKENS = 1000
COMMENTS = 500
SOURCE_LENGTH = 256 * 1024
DEPTH = 12
INTROSPECTION_DEPTH = 24
VALUE_DEPTH = 16
NUMBER_LENGTH = 40
ALIASES = 30
OPERATIONS = 10
ROOT_FIELDS = 10
SIGN_INS = 1
DIRECTIVES = 20
DIRECTIVES_PER_NODE = 3
FRAGMENTS = 50
REPEATS = 50
VALIDATION_ERRORS = 10
COST_SIGNED_IN = 50_000
COST_ANONYMOUS = 2_000
CACHED_DOCUMENTS = 500
CACHED_LENGTH = 16 * 1024

_RULES = (*specified_rules, MaybeNullValidationRule)
_INTROSPECTION = ("__schema", "__type")


def _check(limit: str, bound: int, found: int) -> None:
    if found > bound:
        # Nested fragments can multiply to numbers that no client could read.
        seen = min(found, 10**9)
        message = f"The document exceeds the limit on {limit}: {seen} found, at most {bound} allowed."
        raise ApiError("BAD_REQUEST", message, limit=limit, bound=bound, found=seen)


def has_bad_text(text: str) -> bool:
    """Whether a text holds what no database column can: NUL, or half of a surrogate pair."""
    return "\0" in text or (not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text))


@dataclass(frozen=True, slots=True)
class _Spread:
    name: str
    depth: int
    introspective: bool
    at_root: bool


@dataclass(slots=True)
class _Outline:
    """What one operation or fragment holds by itself: depths, root fields, and the spreads still to be added."""

    depth: int = 0
    introspection_depth: int = 0
    roots: Counter[str] = field(default_factory=Counter)
    spreads: list[_Spread] = field(default_factory=list)


class Survey:
    """The pass over one document. `visited` is the number of nodes and spreads it looked at."""

    def __init__(self, document: DocumentNode) -> None:
        """Raises ApiError BAD_REQUEST at the first limit that is exceeded."""
        self.visited = 0
        self._aliases = 0
        self._directives = 0
        definitions = document.definitions
        fragments = [node for node in definitions if isinstance(node, FragmentDefinitionNode)]
        _check("fragments", FRAGMENTS, len(fragments))
        self._fragments = {node.name.value: self._outline(node) for node in fragments}
        operations = [node for node in definitions if isinstance(node, OperationDefinitionNode)]
        _check("operations", OPERATIONS, len(operations))
        self._totals: dict[str, _Outline] = {}
        self.introspective = False
        for operation in operations:
            for variable in operation.variable_definitions or ():
                self._look_at_directives(variable)
                self._look_at_value(variable.default_value)
            self._judge(self._total(self._outline(operation), frozenset()))

    def _judge(self, total: _Outline) -> None:
        _check("depth", DEPTH, total.depth)
        _check("introspection depth", INTROSPECTION_DEPTH, total.introspection_depth)
        _check("root fields", ROOT_FIELDS, total.roots.total())
        _check("signIn fields", SIGN_INS, total.roots["signIn"])
        self.introspective = self.introspective or any(total.roots[name] for name in _INTROSPECTION)

    def _total(self, own: _Outline, open_names: frozenset[str]) -> _Outline:
        """The outline with everything that its fragments add; recursion is as deep as fragments nest, at most 50."""
        total = _Outline(own.depth, own.introspection_depth, Counter(own.roots))
        for spread in own.spreads:
            self.visited += 1
            added = self._fragment(spread.name, open_names)
            if added is None:
                continue
            below = spread.depth + added.depth
            if spread.introspective:
                total.introspection_depth = max(total.introspection_depth, below)
            else:
                total.depth = max(total.depth, below)
            total.introspection_depth = max(
                total.introspection_depth, added.introspection_depth and spread.depth + added.introspection_depth
            )
            if spread.at_root:
                total.roots.update(added.roots)
        return total

    def _fragment(self, name: str, open_names: frozenset[str]) -> _Outline | None:
        if name in open_names or name not in self._fragments:
            return None
        if name not in self._totals:
            self._totals[name] = self._total(self._fragments[name], open_names | {name})
        return self._totals[name]

    def _outline(self, definition: OperationDefinitionNode | FragmentDefinitionNode) -> _Outline:
        outline = _Outline()
        repeats: Counter[tuple[str, ...]] = Counter()
        self._look_at_directives(definition)
        pending: list[tuple[Node, int, bool, tuple[str, ...]]] = [(definition, 0, False, ())]
        while pending:
            node, depth, introspective, path = pending.pop()
            selection_set = getattr(node, "selection_set", None)
            for selection in selection_set.selections if selection_set else ():
                self.visited += 1
                self._look_at_directives(selection)
                if isinstance(selection, InlineFragmentNode):
                    pending.append((selection, depth, introspective, path))
                    continue
                name = self._name(selection)
                repeats[(*path, name)] += 1
                _check("repeats of one field", REPEATS, repeats[(*path, name)])
                if isinstance(selection, FragmentSpreadNode):
                    outline.spreads.append(_Spread(selection.name.value, depth, introspective, not depth))
                elif isinstance(selection, FieldNode):
                    below = introspective or selection.name.value in _INTROSPECTION
                    self._look_at_field(selection, depth, below, outline)
                    pending.append((selection, depth + 1, below, (*path, name)))
        return outline

    @staticmethod
    def _name(selection: Node) -> str:
        if isinstance(selection, FieldNode):
            return (selection.alias or selection.name).value
        return f"...{selection.name.value}" if isinstance(selection, FragmentSpreadNode) else ""

    def _look_at_field(self, node: FieldNode, depth: int, introspective: bool, outline: _Outline) -> None:
        if introspective:
            outline.introspection_depth = max(outline.introspection_depth, depth + 1)
            _check("introspection depth", INTROSPECTION_DEPTH, depth + 1)
        else:
            outline.depth = max(outline.depth, depth + 1)
            # A fragment may belong to introspection, so a definition alone is held to the larger bound.
            _check("depth", INTROSPECTION_DEPTH, depth + 1)
        if not depth:
            outline.roots[node.name.value] += 1
        if node.alias:
            self._aliases += 1
            _check("aliases", ALIASES, self._aliases)
        for argument in node.arguments or ():
            self._look_at_value(argument.value)

    def _look_at_directives(self, node: Node) -> None:
        directives: tuple[DirectiveNode, ...] = getattr(node, "directives", None) or ()
        _check("directives on one place", DIRECTIVES_PER_NODE, len(directives))
        self._directives += len(directives)
        _check("directives", DIRECTIVES, self._directives)
        for directive in directives:
            for argument in directive.arguments or ():
                self._look_at_value(argument.value)

    def _look_at_value(self, value: ValueNode | None) -> None:
        pending = [(value, 0)] if value else []
        while pending:
            node, depth = pending.pop()
            self.visited += 1
            _check("nesting of values", VALUE_DEPTH, depth)
            if isinstance(node, StringValueNode) and has_bad_text(node.value):
                raise ApiError("BAD_REQUEST", "Text may not hold NUL or unpaired surrogates.")
            if isinstance(node, IntValueNode | FloatValueNode) and len(node.value) > NUMBER_LENGTH:
                raise ApiError("BAD_REQUEST", f"A number may have at most {NUMBER_LENGTH} characters.")
            if isinstance(node, ListValueNode):
                pending.extend((item, depth + 1) for item in node.values)
            elif isinstance(node, ObjectValueNode):
                pending.extend((item.value, depth + 1) for item in node.fields)


@dataclass(slots=True)
class Checked:
    """A parsed document with everything that is known of it whoever sends it."""

    document: DocumentNode
    operations: int
    introspective: bool
    errors: list[GraphQLError]
    pricing: Pricing | None


class Documents:
    """The last documents seen by one schema, parsed and validated; bounded in number and in length of text."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._checked: OrderedDict[str, Checked] = OrderedDict()

    def check(self, text: str) -> Checked:
        """The document of a text. Raises GraphQLError when it cannot be parsed."""
        known = self._checked.get(text)
        if known is not None:
            self._checked.move_to_end(text)
            return known
        fresh = self._judge(text)
        if len(text) <= CACHED_LENGTH:
            self._checked[text] = fresh
            if len(self._checked) > CACHED_DOCUMENTS:
                self._checked.popitem(last=False)
        return fresh

    def _judge(self, text: str) -> Checked:
        document = parse(text, max_lexical_tokens=TOKENS, max_comments=COMMENTS, max_source_length=SOURCE_LENGTH)
        operations = sum(isinstance(node, OperationDefinitionNode) for node in document.definitions)
        try:
            survey = Survey(document)
        except ApiError as error:
            return Checked(document, operations, False, [error], None)
        errors = validate(self._schema, document, _RULES, max_errors=VALIDATION_ERRORS)
        pricing = None if errors else Pricing(self._schema, document)
        return Checked(document, operations, survey.introspective, errors, pricing)


def documents_of(schema: Any) -> Documents:
    """The documents that one schema has seen."""
    found: Documents | None = schema.__dict__.get("ispgraph_documents")
    return found or schema.__dict__.setdefault("ispgraph_documents", Documents(schema._schema))


class DocumentLimits(SchemaExtension):
    """Parses, bounds, validates and prices every operation, on HTTP, WebSocket and event streams alike."""

    _documents: Documents
    _checked: Checked

    def on_parse(self) -> Iterator[None]:
        """Take the document from the cache, or parse it. A GraphQLError raised here becomes the answer."""
        context = self.execution_context
        if context.query:
            self._checked = documents_of(context.schema).check(context.query)
            context.graphql_document = self._checked.document
        yield

    def on_validate(self) -> Iterator[None]:
        """Put what was found into the context; an empty list tells Strawberry that validation has been done."""
        context = self.execution_context
        context.pre_execution_errors = list(self._checked.errors) or self._refusals(context)
        yield

    def _refusals(self, context: Any) -> list[GraphQLError]:
        checked = self._checked
        if checked.operations > 1 and context._provided_operation_name is None:
            return [ApiError("BAD_REQUEST", "operationName must say which of the operations to run.")]
        if checked.introspective and not may_introspect(context.context):
            return [ApiError("BAD_REQUEST", "Introspection needs a signed-in operator.")]
        signed_in = context.context is None or context.context.viewer is not None
        bound = COST_SIGNED_IN if signed_in else COST_ANONYMOUS
        pricing, variables = checked.pricing, context.variables or {}
        cost = pricing.cost(context.operation_name, variables) if pricing else 0
        if hasattr(context.context, "cost"):
            context.context.cost = cost
        if traces.on():
            kind, name = context.operation_type.value.lower(), context.operation_name
            named = {"graphql.operation.name": name} if name else {}
            traces.tell(
                {"graphql.operation.type": kind, "ispgraph.cost": cost, **named}, f"{kind} {name or ''}".strip()
            )
        return _beyond(cost, bound)


def _beyond(cost: int, bound: int) -> list[GraphQLError]:
    if cost <= bound:
        return []
    message = f"The operation costs {cost}, at most {bound} is allowed. Ask for smaller pages or fewer fields."
    return [ApiError("COST_EXCEEDED", message, bound=bound, cost=cost)]


EXTENSIONS: list[type[SchemaExtension]] = [DocumentLimits]
"""For `ApiSchema(extensions=EXTENSIONS)`."""
