"""Random documents over the whole schema: valid ones mostly, with arguments that are sometimes wrong.

Everything follows from the seed. A document is `plain` when nothing in it is computed in Python, so that every one of
its root fields is to be one compiled statement.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_required_argument,
)

from ispgraph.domain import customer_lists, ticket_lists
from ispgraph.schema.compiler.arguments import DEFINITION
from ispgraph.schema.compiler.sources import source_of

# Response keys that an SQL statement might take for names of its own.
ALIASES = ("a", "id", "name", "node", "n", "t", "x", "k", "key0", "cursor", "parent_id", "value", "customers_1", "f0")
ALIASES += ("anon_1", "anon_2", "anon_3", "anon_4", "anon_5", "anon_6", "order", "select", "__a", "A", "aB", "json_agg")
PREFIXED = {
    "id": (
        *("cus", "inv", "pay", "ses", "led", "job", "dft", "opr", "ten", "pkg", "zon", "rtr", "cfd", "svc", "msg"),
        *("crt", "opp", "pov", "pch", "run", "tkt", "vbt", "vou", "pln", "gpy", "grf", "sce", "hsv"),
        *("hac", "prt", "aud", "trf"),
    ),
    "serviceId": ("svc",),
    "packageId": ("pkg",),
    "zoneId": ("zon",),
    "operatorId": ("opr",),
    "assigneeId": ("opr",),
    "customerId": ("cus",),
    "routerId": ("rtr",),
    "batchId": ("vbt",),
}
OF_FIELD = {"job": "job", "customerDraft": "dft", "CustomerBy": "cus"}
LISTS = {"customerDrafts": "drafts", "commissionRates": "commission-rates", "priceOverrides": "price-overrides"}
LISTS |= {"entries": "operator-wallet", "packageChanges": "package_changes", "voucherBatches": "voucher-batches"}
LISTS |= {"portalDrafts": "portals"}
LISTS |= {"auditLog": "audit-log"}
LISTS |= {"paymentLinks": "payment-links", "gatewayPayments": "gateway-payments", "smsCreditEntries": "sms-credits"}
LISTS |= {"gatewayRefunds": "gateway-refunds"}
LISTS |= {"customerTransfers": "customer-transfers", "transfers": "customer-transfers"}
LOADED = ("viewer", "tenant_settings", "revenue_report", "tax_report", "collections_report", "receivables_report")
LOADED += ("subscriber_report", "operator_statement", "billing_profile_impact", "suspend_date_impact")
LOADED += ("change_package_quote", "daily_recharge_quote", "ticket_stats")
LOADED += ("message_templates", "message_preview", "customers_selection", "rate_limit")
"""Roots that Python answers."""
ORDERED = {
    "customers": {field.value: order.name for field, order in customer_lists.ORDERS.items()},
    "tickets": {field.value: order.name for field, order in ticket_lists.ORDERS.items()},
}
SEARCHES = ("example", "01700000", "+8801", "ঢাকা", "😀 emo", "%_su", "\\slash", "user-1", "aa:bb:cc:00", "10.1.2.3")
SEARCHES += ("INV-2026", "N0001", "person1@", "  plain  ", '"q"', "x' OR '1'='1", "nobody at all", "2001:db8::1")
SEARCHES += ("TKT-2026-0", "7", "matter")
DAYS = ("2026-05-31", "2026-06-01", "2026-06-15", "2026-07-01", "2025-12-01", "2024-02-29", "1999-01-01")
DAYS += ("2026-06-16", "2026-07-31", "2028-02-29", "1900-01-01", "9999-12-31")
INSTANTS = ("2026-06-15T12:10:30.123456Z", "2026-06-01T00:00:00Z", "2026-05-20T06:00:00+06:00", "2026-07-01T00:00:00Z")
INSTANTS += ("2025-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z")
DECIMALS = ("0", "-1", "12.50", "-1000.5", "0.001", "999999999999", "1000000000000000000")
SIZES = (0, 1, 2, 3, 5, 7, 20)
BAD_SIZES = (-1, 101, 2**31 - 1)
BAD_CURSORS = ("", "x", "W10", "WyJjdXN0b21lcnMiXQ", "WyJjdXN0b21lcnMiLCAiYWJjIl0", "é", "A" * 3000)
BAD_IDS = ("", "cus", "cus_1", "cus_" + "0" * 32, "xxx_" + "0" * 32, "0" * 32, "CUS_" + "f" * 32, '" or 1=1')


@dataclass
class Pool:
    """What arguments are taken from: ids by prefix, and cursors that were answered, by the list they are of."""

    ids: Mapping[str, Sequence[str]]
    foreign_ids: Sequence[str]
    account_numbers: Sequence[str]
    usernames: Sequence[str]
    cursors: dict[str, list[str]] = field(default_factory=dict)

    def harvest(self, value: Any) -> None:
        """Keep the cursors of an answer."""
        if isinstance(value, list):
            for item in value:
                self.harvest(item)
        elif isinstance(value, dict):
            for item in value.values():
                self.harvest(item)
        elif isinstance(value, str) and value.startswith("WyJ"):
            kept = self.cursors.setdefault(_list_of(value), [])
            if len(kept) < 200:
                kept.append(value)


@dataclass
class Document:
    """A document with its variables."""

    text: str
    variables: dict[str, Any]
    plain: bool
    broken: bool
    """Whether something wrong was put into it on purpose."""


@dataclass
class _Scope:
    """The response keys of one selection set, with what each stands for, so that duplicates can be merged."""

    keys: dict[str, tuple[tuple[str, ...], "_Scope"]] = field(default_factory=dict)


@dataclass
class _Fragment:
    kind: str
    scope: _Scope
    height: int


class Documents:
    """Makes documents of a schema from a seed."""

    def __init__(self, schema: GraphQLSchema, pool: Pool, seed: int) -> None:
        self._schema = schema
        self._pool = pool
        self._random = Random(seed)

    def make(self) -> Document:
        """The next document."""
        return _Making(self._schema, self._pool, self._random).document()


def each_alone(schema: GraphQLSchema) -> Iterator[Document]:
    """A document for each field of each type, by the shortest way that leads there without arguments.

    Chance takes long to ask for a small field deep below; this asks for each, of several rows.
    """
    query = schema.query_type
    assert query is not None
    ways: list[tuple[Any, str, bool]] = [(query, "%s", True)]
    seen = {query.name}
    for kind, way, plain in ways:
        for name, definition in kind.fields.items():
            if any(is_required_argument(argument) for argument in definition.args.values()):
                continue
            declared = definition.extensions.get(DEFINITION)
            by_sql = declared.python_name not in LOADED if kind is query else source_of(declared) is not None
            inner = get_named_type(definition.type)
            if is_leaf_type(inner):
                yield Document(way % f"{{ {name} }}", {}, plain and by_sql, broken=False)
                continue
            name = f"{name}(first: 4)" if "first" in definition.args else name
            yield Document(way % f"{{ {name} {{ __typename }} }}", {}, plain and by_sql, broken=False)
            for possible in schema.get_possible_types(inner) if is_abstract_type(inner) else [inner]:
                if possible.name not in seen:
                    seen.add(possible.name)
                    typed = "%s" if possible is inner else f"{{ ... on {possible.name} %s }}"
                    ways.append((possible, way % f"{{ {name} {typed} }}", plain and by_sql))


class _Making:
    def __init__(self, schema: GraphQLSchema, pool: Pool, random: Random) -> None:
        self._schema, self._pool, self._random = schema, pool, random
        self._variables: list[str] = []
        self._values: dict[str, Any] = {}
        self._fragments: list[str] = []
        self._known: list[_Fragment] = []
        self._nodes = random.choice((6, 15, 40, 70, 90))
        self._aliases = random.choice((0, 3, 25))
        self._directives = random.choice((0, 0, 6))
        self._mistakes = 1 if random.random() < 0.2 else 0
        self._broken = self._loads = False
        self._list = ""

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def document(self) -> Document:
        """One query with its fragments."""
        query = self._schema.query_type
        assert query is not None
        selected = self._selection(query, _Scope(), depth=1, room=40_000.0, count=self._random.choice((1, 1, 1, 2, 3)))
        fragments = self._used_fragments(selected)
        body = "\n".join([selected, *fragments])
        used = [each for each in self._variables if re.search(re.escape(each.partition(":")[0]) + r"\b", body)]
        names = [each.partition(":")[0][1:] for each in used]
        head = f"query ({', '.join(used)}) " if used else self._random.choice(("", "query Q "))
        values = {name: value for name, value in self._values.items() if name in names}
        return Document(head + body, values, not self._loads, self._broken)

    def _used_fragments(self, selected: str) -> list[str]:
        """The fragments that are spread somewhere. Each comes after those it spreads itself."""
        texts, kept = [selected], []
        for number, fragment in reversed(list(enumerate(self._fragments))):
            if any(re.search(rf"\.\.\.F{number}\b", text) for text in texts):
                kept.append(fragment)
                texts.append(fragment)
        return kept

    def _selection(self, kind: Any, scope: _Scope, *, depth: int, room: float, count: int | None = None) -> str:
        count = count or self._random.choice((1, 2, 3, 4, 6))
        parts = []
        if depth > 1 and not scope.keys:
            parts += self._known_fragment(kind, scope, depth)
        for _ in range(count):
            parts.append(self._one(kind, scope, depth, room / count))
        kept = [part for part in parts if part]
        return "{ " + " ".join(kept or ["__typename"]) + " }"

    def _known_fragment(self, kind: Any, scope: _Scope, depth: int) -> list[str]:
        fits = [number for number, each in enumerate(self._known) if each.kind == kind.name]
        fits = [number for number in fits if self._known[number].height + depth <= 11]
        if not fits or self._chance(0.5):
            return []
        number = self._random.choice(fits)
        scope.keys.update(self._known[number].scope.keys)
        return [f"...F{number}"]

    def _one(self, kind: Any, scope: _Scope, depth: int, room: float) -> str:
        dice = self._random.random()
        if depth > 1:
            if is_abstract_type(kind) and dice < 0.7:
                return self._typed(self._random.choice(self._schema.get_possible_types(kind)), scope, depth, room)
            if dice < 0.06:
                return f"...{self._directive()} {self._selection(kind, scope, depth=depth, room=room, count=2)}"
            if dice < 0.12:
                return self._typed(self._random.choice([kind, *kind.interfaces]), scope, depth, room)
            if dice < 0.18:
                return self._new_fragment(kind, scope, depth, room)
            if dice < 0.24:
                return f"__typename{self._directive()}"
        if not hasattr(kind, "fields"):
            return "__typename"
        return self._field(kind, scope, depth, room)

    def _typed(self, kind: Any, scope: _Scope, depth: int, room: float) -> str:
        selected = self._selection(kind, scope, depth=depth, room=room)
        return f"... on {kind.name}{self._directive()} {selected}"

    def _new_fragment(self, kind: Any, scope: _Scope, depth: int, room: float) -> str:
        inner = _Scope()
        before = len(self._fragments)
        selected = self._selection(kind, inner, depth=depth, room=room, count=2)
        if any(key in scope.keys for key in inner.keys):
            return ""
        assert len(self._fragments) >= before
        scope.keys.update(inner.keys)
        number = len(self._known)
        self._known.append(_Fragment(kind.name, inner, 12 - depth))
        self._fragments.append(f"fragment F{number} on {kind.name} {selected}")
        return f"...F{number}{self._directive()}"

    # -- fields

    def _field(self, kind: Any, scope: _Scope, depth: int, room: float) -> str:
        self._nodes -= 1
        leaf_only = depth >= 11 or room < 8 or self._nodes <= 0
        names = [name for name, each in kind.fields.items() if not leaf_only or is_leaf_type(get_named_type(each.type))]
        if kind is self._schema.query_type:
            # However many roots Python answers, it is the others that are compared.
            if self._chance(0.5):
                names = [n for n in names if kind.fields[n].extensions[DEFINITION].python_name not in LOADED]
            names = [name for name in names if name != "nodes"] + [
                "customers",
                "customers",
                "node",
                "nodes",
                "invoices",
            ]
        if not names:
            return "__typename"
        name = self._random.choice(names)
        if name == "review" and self._chance(0.8):
            return ""
        definition: GraphQLField = kind.fields[name]
        sizes: dict[str, int] = {}
        arguments, said = self._arguments(name, definition, sizes, room)
        key = self._key(kind, name, said, scope)
        if key is None:
            return ""
        self._note(kind, definition)
        alias = "" if key == name else f"{key}: "
        named = get_named_type(definition.type)
        below = ""
        if not is_leaf_type(named):
            inner = scope.keys[key][1]
            below = " " + self._selection(named, inner, depth=depth + 1, room=self._left(definition, sizes, room))
        once = f"{alias}{name}{arguments}{self._directive()}{below}"
        if self._chance(0.06):
            # The same once more, with another selection: graphql-core merges the two.
            twice = below
            if below:
                inner = scope.keys[key][1]
                room = self._left(definition, sizes, room) / 4
                twice = " " + self._selection(named, inner, depth=depth + 1, room=room, count=2)
            once += f" {alias}{name}{arguments}{twice}"
        return once

    def _note(self, kind: Any, definition: GraphQLField) -> None:
        declared = definition.extensions.get(DEFINITION)
        root = kind is self._schema.query_type
        if root:
            self._loads = self._loads or declared.python_name in LOADED
        elif declared is not None and source_of(declared) is None:
            self._loads = True

    def _key(self, kind: Any, name: str, said: str, scope: _Scope) -> str | None:
        """A response key that is free in the selection set, or stands for the same there."""
        meaning = (kind.name, name, said)
        key = name
        if self._aliases and self._chance(0.3):
            key = self._random.choice((*ALIASES, f"{name}{self._random.randrange(9)}"))
            if self._chance(0.02):
                key = "long" + "g" * self._random.choice((58, 59, 60, 80))
                # Longer than a column's name may be.
                self._loads = self._loads or len(key) > 63
        if key in scope.keys and scope.keys[key][0] != meaning:
            key = f"{kind.name.lower()}{len(scope.keys)}_{name}"
            if key in scope.keys:
                return None
        if key != name:
            if self._aliases <= 0:
                return None
            self._aliases -= 1
        scope.keys.setdefault(key, (meaning, _Scope()))
        return key

    def _left(self, definition: GraphQLField, sizes: Mapping[str, int], room: float) -> float:
        paged = any(name in definition.args for name in ("first", "last"))
        if sizes:
            return room / max(1, *sizes.values())
        if paged and not is_list_type(get_nullable_type(definition.type)):
            return room / 20
        return room / 5 if is_list_type(get_nullable_type(definition.type)) else room

    def _directive(self) -> str:
        if self._directives <= 0 or not self._chance(0.2):
            return ""
        self._directives -= 1
        name, shown = self._random.choice((("skip", False), ("include", True)))
        value = shown if self._chance(0.7) else not shown
        if self._chance(0.6):
            return f" @{name}(if: {self._variable('Boolean!', value)})"
        return f" @{name}(if: {json.dumps(value)})"

    # -- arguments

    def _arguments(
        self, field_name: str, definition: GraphQLField, sizes: dict[str, int], room: float
    ) -> tuple[str, str]:
        """The arguments as written, and as a text that tells whether two fields may be merged."""
        given: dict[str, str] = {}
        self._list = LISTS.get(field_name, field_name)
        # The order of a list first: cursors are of one order.
        for name, argument in sorted(definition.args.items(), key=lambda item: item[0] != "orderBy"):
            required = is_non_null_type(argument.type)
            if not required and not self._chance(0.35):
                continue
            if name in ("after", "before") and not self._pool.cursors.get(self._list) and not self._mistake(0.3):
                continue
            if name == "last" and "first" in given and not self._mistake(0.1):
                continue
            value = self._value(argument.type, field_name, name, room)
            if name in ("first", "last") and isinstance(value, int):
                sizes[name] = max(1, value)
            if name == "orderBy":
                self._list = ORDERED[field_name].get(value["field"], field_name)
            if name == "ids":
                sizes[name] = max(1, len(value))
            written = self._written(value, argument.type)
            if written is not None:
                given[name] = written
        text = "".join(f"{name}: {value} " for name, value in given.items())
        return (f"({text.strip()})" if text else ""), text

    def _written(self, value: Any, kind: Any, *, nested: bool = False) -> str | None:
        """A value as a literal, or as a variable that holds it or has it as its default."""
        dice = self._random.random()
        if dice < 0.35:
            return self._variable(str(kind), value, _literal(value, kind))
        if dice < 0.4 and not is_non_null_type(kind):
            return "null"
        named = get_nullable_type(kind)
        if isinstance(named, GraphQLInputObjectType) and isinstance(value, dict):
            parts = []
            for name, each in value.items():
                written = self._written(each, named.fields[name].type, nested=True)
                if written is not None:
                    parts.append(f"{name}: {written}")
            return "{" + ", ".join(parts) + "}"
        return _literal(value, kind)

    def _variable(self, kind: str, value: Any, literal: str | None = None) -> str:
        name = f"$v{len(self._variables)}"
        dice = self._random.random()
        if literal is not None and dice < 0.3:
            # The default is used, unless a value is given as well.
            self._variables.append(
                f"{name}: {kind.removesuffix('!')} = {literal}" if kind.endswith("!") else f"{name}: {kind} = {literal}"
            )
            if dice < 0.1:
                self._values[name[1:]] = value
            return name
        self._variables.append(f"{name}: {kind}")
        if literal is None or kind.endswith("!") or dice < 0.95:
            self._values[name[1:]] = value
        return name

    def _mistake(self, share: float) -> bool:
        if self._mistakes <= 0 or not self._chance(share):
            return False
        self._mistakes -= 1
        self._broken = True
        return True

    def _value(self, kind: Any, field_name: str, name: str, room: float) -> Any:
        kind = get_nullable_type(kind)
        if is_list_type(kind):
            size = self._random.choice((1, 1, 2, 4, 0)) if name != "ids" else self._random.choice((0, 1, 3, 12))
            if name == "ids" and self._mistake(0.2):
                size = 101
            return [self._value(kind.of_type, field_name, "id", room) for _ in range(size)]
        if isinstance(kind, GraphQLInputObjectType):
            return self._object(kind, room)
        if isinstance(kind, GraphQLEnumType):
            if self._mistake(0.1):
                return "NO_SUCH_VALUE"
            return self._random.choice(list(kind.values))
        makers: dict[str, Callable[[], Any]] = {
            "ID": lambda: self._id(OF_FIELD.get(field_name), name),
            "Int": lambda: self._size(room),
            "Boolean": lambda: self._chance(0.5),
            "Decimal": lambda: self._random.choice(DECIMALS),
            "DateTime": lambda: "2026-02-30T00:00:00Z" if self._mistake(0.2) else self._random.choice(INSTANTS),
            "Date": lambda: "2026-02-30" if self._mistake(0.2) else self._random.choice(DAYS),
            "EmailAddress": lambda: self._text(name),
            "PhoneNumber": lambda: self._text(name),
            "String": lambda: self._text(name),
        }
        return makers[kind.name]()

    def _object(self, kind: GraphQLInputObjectType, room: float) -> dict[str, Any]:
        names = list(kind.fields)
        if kind.name == "CustomerBy":
            chosen = self._random.sample(names, 2 if self._mistake(0.2) else 1)
        else:
            chosen = [name for name in names if is_non_null_type(kind.fields[name].type) or self._chance(0.2)]
        return {name: self._value(kind.fields[name].type, kind.name, name, room) for name in chosen}

    def _size(self, room: float) -> int:
        if self._mistake(0.3):
            return self._random.choice(BAD_SIZES)
        return self._random.choice([size for size in SIZES if size <= max(1, room / 4)])

    def _id(self, prefix: str | None, name: str) -> str:
        if self._mistake(0.3):
            return self._random.choice((*BAD_IDS, *self._pool.foreign_ids))
        if self._pool.foreign_ids and self._chance(0.04):
            return self._random.choice(self._pool.foreign_ids)
        prefixes = (prefix,) if prefix else PREFIXED.get(name, ("cus",))
        return self._random.choice(self._pool.ids[self._random.choice(prefixes)])

    def _text(self, name: str) -> str:
        if name in ("after", "before"):
            known = self._pool.cursors.get(self._list, [])
            if self._mistake(0.4) or not known:
                others = [cursor for cursors in self._pool.cursors.values() for cursor in cursors[:3]]
                return self._random.choice((*BAD_CURSORS, *others))
            return self._random.choice(known)
        if name == "accountNumber":
            return self._random.choice((*self._pool.account_numbers, "nobody"))
        if name == "username":
            return self._random.choice((*self._pool.usernames, "NOBODY"))
        return "ab" if self._mistake(0.2) else self._random.choice(SEARCHES)


def _list_of(cursor: str) -> str:
    """The name of the list in a cursor."""
    found: str = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))[0]
    return found


def _literal(value: Any, kind: Any) -> str:
    """A value as GraphQL writes it."""
    named = get_nullable_type(kind)
    if value is None:
        return "null"
    if is_list_type(named):
        return "[" + ", ".join(_literal(item, named.of_type) for item in value) + "]"
    if isinstance(named, GraphQLInputObjectType):
        parts = (f"{name}: {_literal(item, named.fields[name].type)}" for name, item in value.items())
        return "{" + ", ".join(parts) + "}"
    if isinstance(named, GraphQLEnumType):
        return str(value)
    return json.dumps(value, ensure_ascii=False)
