"""Finished statements, kept by what they depend on, and the values that go into them."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from graphql import FieldNode, GraphQLNamedType
from graphql.execution.collect_fields import FieldDetails
from sqlalchemy import ARRAY, Select, Text, Uuid, cast, func, literal_column, select, true
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from ispgraph.domain.permissions import Viewer
from ispgraph.schema.compiler.forms import parameter
from ispgraph.schema.compiler.selection import Collector, Selection, Site, deciding_variables
from ispgraph.schema.compiler.sources import Prepared, Source, plain
from ispgraph.schema.compiler.statement import Statement, Visible

_DIALECT: Any = PGDialect_asyncpg()  # type: ignore[no-untyped-call]
_KEPT_FIELDS = 500
_KEPT_TREES = 16
_KEPT_PLANS = 64
_KEPT_IN_ALL = 4000

Get = Callable[["Values"], Any]


@dataclass(frozen=True, slots=True)
class Values:
    """What the parameters of a plan stand for in one request."""

    viewer: Viewer
    now: datetime
    prepared: Sequence[Prepared] = ()
    ids: Sequence[UUID] = ()


@dataclass(slots=True)
class Plan:
    """One statement with the getters of its parameters, in order. `keeps` holds what its key is the address of."""

    sql: str
    getters: list[Get]
    keeps: Any = None

    def arguments(self, values: Values) -> list[Any]:
        """The arguments for the driver."""
        return [get(values) for get in self.getters]


@dataclass(slots=True)
class Tree:
    """What is selected below one field, for one setting of the variables that decide about it."""

    below: Mapping[str, Selection]
    sites: list[Site]
    computed: bool
    plans: dict[Any, Plan] = field(default_factory=dict)


@dataclass(slots=True)
class _Field:
    nodes: Sequence[FieldNode]
    deciding: tuple[str, ...]
    trees: dict[Any, Tree] = field(default_factory=dict)


class Plans:
    """The plans of one schema. Documents are parsed once and kept, so a field is known by its nodes."""

    def __init__(self) -> None:
        self._fields: OrderedDict[tuple[int, ...], _Field] = OrderedDict()
        self._made = 0

    def plan(self, tree: Tree, key: Any, make: Callable[[], Plan]) -> Plan:
        """The plan of a tree under a key, made when it is not there. Raises NotCompiled."""
        found = tree.plans.get(key)
        if found is None:
            if len(tree.plans) >= _KEPT_PLANS:
                tree.plans.clear()
            found = tree.plans[key] = make()
            self._count()
        return found

    def tree(self, executor: Any, kind: GraphQLNamedType, details: list[FieldDetails], model: Any) -> Tree:
        """What is selected of `kind` below these nodes; with `model`, of those of its types that are rows of it.

        Raises NotCompiled.
        """
        key = tuple(id(each.node) for each in details)
        known = self._fields.get(key)
        if known is None:
            nodes = [each.node for each in details]
            known = self._fields[key] = _Field(nodes, tuple(sorted(deciding_variables(nodes, executor.fragments))))
            if len(self._fields) > _KEPT_FIELDS:
                self._fields.popitem(last=False)
        else:
            self._fields.move_to_end(key)
        given = executor.variable_values.coerced
        setting = (kind.name, model, *(given.get(name) for name in known.deciding))
        found = known.trees.get(setting)
        if found is None:
            if len(known.trees) >= _KEPT_TREES:
                known.trees.clear()
            collector = Collector(executor)
            below = collector.below(kind, details, model)
            found = known.trees[setting] = Tree(below, collector.sites, collector.computed)
            self._count()
        return found

    def _count(self) -> None:
        # Some ten kilobytes each: when there are very many, somebody makes them up, and all may be made again.
        self._made += 1
        if self._made > _KEPT_IN_ALL:
            self._fields.clear()
            self._made = 0


def of_root(tree: Tree, source: Source, viewer: Viewer, prepared: Sequence[Prepared]) -> Plan:
    """The plan of a field that starts from nothing. The last of `prepared` are the arguments of the field itself."""
    statement = Statement(viewer, prepared)
    made = statement.root(source, len(prepared) - 1, tree.below)
    tenant = _tenant()
    answer = select(made).where(tenant.c.t.is_not(None)).correlate(tenant).scalar_subquery()
    return _finish(select(answer).select_from(tenant), source)


def of_ids(tree: Tree, visible: Visible | None, viewer: Viewer, prepared: Sequence[Prepared]) -> Plan:
    """The plan of rows by id: a row of the answer for each id, in their order, null where there is none."""
    statement = Statement(viewer, prepared)
    keys = func.unnest(parameter("ids", ARRAY(Uuid()))).table_valued("id", with_ordinality="n").render_derived(name="k")
    made = statement.by_id(tree.below, keys, visible)
    tenant = _tenant()
    answer = select(made).where(tenant.c.t.is_not(None)).correlate(tenant, keys).scalar_subquery()
    joined = tenant.join(keys, true())
    return _finish(select(answer).select_from(joined).order_by(keys.c.n), visible)


def _tenant() -> Any:
    """Sets the tenant within the statement itself, for nothing but it. What refers to `t` runs afterwards."""
    text = cast(parameter("viewer_tenant_id", Uuid()), Text)
    setting = func.set_config(literal_column("'app.tenant_id'"), text, true())
    return select(setting.label("t")).offset(literal_column("0")).subquery("x")


def _finish(statement: Select[Any], keeps: Any) -> Plan:
    compiled: Any = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    processors = compiled._bind_processors
    names = compiled.positiontup or ()
    return Plan(compiled.string, [_getter(name, compiled.params[name], processors.get(name)) for name in names], keeps)


def _getter(name: str, constant: Any, process: Callable[[Any], Any] | None) -> Get:
    if constant is not None:
        value = _processed(plain(constant), process)
        return lambda values: value
    if name == "now":
        return lambda values: values.now
    if name == "ids":
        return lambda values: values.ids
    place, _, member = name.partition("_")
    if place == "viewer":
        return lambda values: getattr(values.viewer, member)
    number = int(place.removeprefix("s"))
    return lambda values: _processed(values.prepared[number].value(member), process)


def _processed(value: Any, process: Callable[[Any], Any] | None) -> Any:
    return value if process is None or isinstance(value, str) else process(value)
