"""What the pages say: of each type, of each root field, of each task."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    Undefined,
    ast_from_value,
    get_named_type,
    is_required_argument,
    parse,
    print_ast,
)

from ispgraph.reference.collection import Operation, title
from ispgraph.reference.markup import ROOTS, Markup, code, page, rows
from ispgraph.schema.costs import WEIGHTS, Pricing

KINDS = (
    (GraphQLObjectType, "object"),
    (GraphQLInterfaceType, "interface"),
    (GraphQLInputObjectType, "input"),
    (GraphQLEnumType, "enumeration"),
    (GraphQLUnionType, "union"),
)
_EVENTS = re.compile(r"\n*^Events: (.+)\.$", re.M)
_CODES = re.compile(r"\n*^Error codes: (.+)\.$", re.M)
_PERMISSION = re.compile(r"\n*^Permission: (.+?)\.( Customers too.*)?$", re.M)

_FIRST = """<p>One GraphQL schema for customers, packages, invoices, payments and the network. Search above finds every
name in it, or begin with a task.</p>
<h2>How to ask</h2>
<p>Send a document by POST to <code>/graphql</code>, as JSON with <code>query</code> and <code>variables</code>, and the
token of <a href="mutation/signIn.html"><code>signIn</code></a> as <code>Authorization: Bearer …</code>. Subscriptions
come over a WebSocket at the same address, by graphql-transport-ws, or as server-sent events.</p>
<p>What a person can cause stands in <code>errors</code> of a mutation's answer, each with an
<a href="type/ErrorCode.html"><code>ErrorCode</code></a> and the path to its field; then nothing was changed. Everything
else is an error of GraphQL itself, with <code>extensions.code</code>: UNAUTHENTICATED, FORBIDDEN, RATE_LIMITED,
COST_EXCEEDED, BAD_REQUEST or INTERNAL.</p>
<p>Each field costs a point, as often as the page that it stands in may have rows; some cost more, and say so.</p>
<h2 id="tasks">Tasks</h2>
<ul class="tiles">AREAS</ul>
<h2>Everything</h2>
<ul class="tiles">PARTS</ul>"""


class Pages:
    """All pages of a schema, by their path."""

    def __init__(self, schema: GraphQLSchema, operations: list[Operation]) -> None:
        self._schema, self._operations = schema, operations
        self._markup = Markup(schema)
        self._by_root: dict[str, list[Operation]] = defaultdict(list)
        for one in operations:
            for root in one.roots:
                self._by_root[root].append(one)
        self._used = self._uses()

    def all(self) -> Iterator[tuple[str, str]]:
        yield "index.html", self._first()
        for folder in dict.fromkeys(one.folder for one in self._operations):
            yield f"task/{folder}.html", self._tasks(folder)
        for root, folder in ROOTS.items():
            fields = self._root(root)
            plural = f"{folder.capitalize().removesuffix('y')}{'ies' if folder.endswith('y') else 's'}"
            yield f"{plural.lower()}.html", self._list(plural, folder, fields)
            for name, field in fields.items():
                yield f"{folder}/{name}.html", self._field(folder, name, field)
        yield "types.html", self._types()
        for name in self.types():
            yield f"type/{name}.html", self._type(name, self._schema.type_map[name])

    def names(self) -> list[tuple[str, str, str, str]]:
        """What the search finds: (name, what it is, where, its first words)."""
        found = []
        for root, folder in ROOTS.items():
            found += [(n, folder, f"{folder}/{n}.html", _brief(f.description)) for n, f in self._root(root).items()]
        for name in self.types():
            kind: Any = self._schema.type_map[name]
            found.append((name, _kind(kind), f"type/{name}.html", _brief(kind.description)))
            if name not in ROOTS:
                for part, what in (("fields", "field"), ("values", "value")):
                    for member, definition in getattr(kind, part, {}).items():
                        where = f"type/{name}.html#{member}"
                        found.append((f"{name}.{member}", what, where, _brief(definition.description)))
        found += [
            (one.title, f"task, {title(one.folder)}", f"task/{one.folder}.html#{_anchor(one)}", one.about[:90])
            for one in self._operations
        ]
        return found

    def types(self) -> list[str]:
        return sorted(name for name in self._schema.type_map if not name.startswith("__"))

    def _root(self, root: str) -> dict[str, Any]:
        fields: dict[str, Any] = self._schema.type_map[root].fields  # type: ignore[attr-defined]
        return dict(sorted(fields.items()))

    def _first(self) -> str:
        tasks = "".join(
            f'<li><a href="task/{folder}.html">{escape(title(folder))}</a> '
            f"<small>{sum(one.folder == folder for one in self._operations)}</small></li>"
            for folder in dict.fromkeys(one.folder for one in self._operations)
        )
        counts = (
            ("queries", len(self._root("Query"))),
            ("mutations", len(self._root("Mutation"))),
            ("subscriptions", len(self._root("Subscription"))),
            ("types", len(self.types())),
        )
        parts = "".join(
            f'<li><a href="{name}.html">{name.capitalize()}</a> <small>{n}</small></li>' for name, n in counts
        )
        head = _FIRST.replace("AREAS", tasks).replace("PARTS", parts)
        return page("Reference", head, up="")

    def _tasks(self, folder: str) -> str:
        ours = [one for one in self._operations if one.folder == folder]
        contents = "".join(f'<li><a href="#{_anchor(one)}">{escape(one.title)}</a></li>' for one in ours)
        parts = "".join(self._task(one, "../") for one in ours)
        crumbs = '<a href="../index.html#tasks">Tasks</a>'
        return page(title(folder), f'<ul class="contents">{contents}</ul>{parts}', up="../", crumbs=crumbs)

    def _task(self, one: Operation, up: str) -> str:
        known = {other.path: other for other in self._operations}
        first = ", ".join(
            f'<a href="{up}task/{known[path].folder}.html#{_anchor(known[path])}">{escape(known[path].title)}</a>'
            for path in one.first
        )
        roots = ", ".join(f'<a href="{up}{one.kind}/{root}.html"><code>{root}</code></a>' for root in one.roots)
        facts = [
            ("Uses", roots),
            ("Permission", self._permission(one.permission, up)),
            ("Cost", f"{self._cost(one):,} points"),
            *([("First", first)] if first else []),
        ]
        given = code(json.dumps(one.variables, indent=2, ensure_ascii=False), f"Variables of {one.title}")
        return f"""<section><h2 id="{_anchor(one)}">{escape(one.title)}</h2>
{self._markup.words(one.about, up)}{_facts(facts)}
{code(one.document, f"Document of {one.title}")}{f"<h3>Variables</h3>{given}" if one.variables else ""}</section>"""

    def _cost(self, one: Operation) -> int:
        document = parse(one.document)
        name = next(d.name.value for d in document.definitions if getattr(d, "name", None))  # type: ignore[attr-defined]
        return Pricing(self._schema, document).cost(name, one.variables)

    def _permission(self, told: str, up: str) -> str:
        permissions = self._schema.type_map.get("Permission")
        values = permissions.values if isinstance(permissions, GraphQLEnumType) else {}
        return ", ".join(
            f'<a href="{up}type/Permission.html#{one}"><code>{one}</code></a>' if one in values else escape(one)
            for one in told.split(", ")
        )

    def _list(self, plural: str, folder: str, fields: dict[str, Any]) -> str:
        found = [
            (
                name,
                f'<a href="{folder}/{name}.html"><code>{name}</code></a>',
                f"<p>{escape(_brief(field.description))}</p>",
            )
            for name, field in fields.items()
        ]
        return page(plural, rows(found), up="")

    def _field(self, folder: str, name: str, field: Any) -> str:
        up, text = "../", field.description or ""
        told = _PERMISSION.search(text)
        facts = [("Answers", self._markup.type(field.type, up))]
        if told:
            too = "; customers too, for what is their own" if told[2] else ""
            facts.append(("Permission", self._permission(told[1], up) + too))
        weight = WEIGHTS.get(f"{folder.capitalize()}.{name}", 1)
        facts.append(("Cost", f"{weight:,} point{'' if weight == 1 else 's'}, and what is selected below it"))
        codes = _CODES.search(text)
        if codes:
            links = (f'<a href="{up}type/ErrorCode.html#{one}"><code>{one}</code></a>' for one in codes[1].split(", "))
            facts.append(("Errors", ", ".join(links)))
        heard = _EVENTS.search(text)
        if heard:
            links = (
                f'<a href="{up}type/WebhookEvent.html#{one}"><code>{one}</code></a>' for one in heard[1].split(", ")
            )
            facts.append(("Events", ", ".join(links)))
        if field.deprecation_reason:
            facts.append(("Deprecated", escape(field.deprecation_reason)))
        body = self._markup.words(_EVENTS.sub("", _CODES.sub("", _PERMISSION.sub("", text))), up) + _facts(facts)
        if field.args:
            body += f"<h2>Arguments</h2>{rows([self._argument(n, a, up) for n, a in field.args.items()])}"
        for argument, given in field.args.items():
            kind = get_named_type(given.type)
            if argument == "input" and isinstance(kind, GraphQLInputObjectType):
                members = [self._member(kind.name, n, one, up) for n, one in kind.fields.items()]
                body += f"<h2>Fields of {self._markup.named(kind.name, up)}</h2>{rows(members)}"
        examples = "".join(self._example(one, up) for one in self._by_root[name])
        if examples:
            body += f"<h2>Examples</h2>{examples}"
        plural = "queries" if folder == "query" else f"{folder}s"
        crumbs = f'<a href="{up}{plural}.html">{plural.capitalize()}</a>'
        return page(name, body, up=up, crumbs=crumbs)

    def _example(self, one: Operation, up: str) -> str:
        where = f"{up}task/{one.folder}.html#{_anchor(one)}"
        alone = " open" if len(self._by_root[one.roots[0]]) == 1 else ""
        return f"""<details{alone}><summary>{escape(one.title)}</summary>
<p>{escape(one.about)} <a href="{where}">{escape(title(one.folder))}</a>; {self._cost(one):,} points.</p>
{code(one.document, f"Document of {one.title}")}</details>"""

    def _argument(self, name: str, argument: Any, up: str) -> tuple[str, str, str]:
        needed = ' <span class="tag">required</span>' if is_required_argument(argument) else ""
        head = f"<code>{name}</code>: {self._markup.type(argument.type, up)}{_default(argument)}{needed}"
        return f"arg-{name}", head, self._markup.words(argument.description, up) + _deprecated(argument)

    def _types(self) -> str:
        parts = []
        for _, kind in (*KINDS, (None, "scalar")):
            ours = [name for name in self.types() if _kind(self._schema.type_map[name]) == kind]
            found = [(n, self._markup.named(n, ""), f"<p>{escape(self._brief_of(n))}</p>") for n in ours]
            if ours:
                parts.append(f"<h2>{kind.capitalize()}s</h2>{rows(found)}")
        return page("Types", "".join(parts), up="")

    def _brief_of(self, name: str) -> str:
        return _brief(self._schema.type_map[name].description)

    def _type(self, name: str, kind: Any) -> str:
        up = "../"
        facts = [("Kind", _kind(kind))]
        if getattr(kind, "interfaces", ()):
            facts.append(("Implements", ", ".join(self._markup.named(one.name, up) for one in kind.interfaces)))
        if isinstance(kind, GraphQLInterfaceType | GraphQLUnionType):
            possible = sorted(one.name for one in self._schema.get_possible_types(kind))
            facts.append(("Kinds of it", ", ".join(self._markup.named(one, up) for one in possible)))
        body = self._markup.words(kind.description, up) + _facts(facts)
        if isinstance(kind, GraphQLEnumType):
            values = [
                (value, f"<code>{value}</code>", self._markup.words(one.description, up) + _deprecated(one))
                for value, one in kind.values.items()
            ]
            body += f"<h2>Values</h2>{rows(values)}"
        elif isinstance(kind, GraphQLInputObjectType | GraphQLObjectType | GraphQLInterfaceType):
            body += f"<h2>Fields</h2>{rows([self._member(name, n, one, up) for n, one in kind.fields.items()])}"
        used = self._used.get(name, [])
        if used:
            body += f'<h2>Where it is used</h2><ul class="used">{"".join(f"<li>{one}</li>" for one in used)}</ul>'
        return page(name, body, up=up, crumbs=f'<a href="{up}types.html">Types</a>')

    def _member(self, owner: str, name: str, field: Any, up: str) -> tuple[str, str, str]:
        linked = f"<code>{name}</code>"
        if owner in ROOTS:
            linked = f'<a href="{up}{ROOTS[owner]}/{name}.html">{linked}</a>'
        words = self._markup.words(field.description, up) + _deprecated(field)
        arguments = getattr(field, "args", {})
        if arguments and owner not in ROOTS:
            inner = (
                f"<dt><code>{n}</code>: {self._markup.type(a.type, up)}{_default(a)}</dt>"
                f"<dd>{self._markup.words(a.description, up)}</dd>"
                for n, a in arguments.items()
            )
            words += f'<details><summary>Arguments</summary><dl class="arguments">{"".join(inner)}</dl></details>'
        return name, f"{linked}: {self._markup.type(field.type, up)}{_default(field)}", words

    def _uses(self) -> dict[str, list[str]]:
        """Of each type, links to the fields and arguments that have it."""
        found: dict[str, list[str]] = defaultdict(list)
        for owner in self.types():
            for name, field in getattr(self._schema.type_map[owner], "fields", {}).items():
                folder = ROOTS.get(owner)
                where = f"../{folder}/{name}.html" if folder else f"../type/{owner}.html#{name}"
                told = name if folder else f"{owner}.{name}"
                mentioned = [field, *getattr(field, "args", {}).values()]
                for kind in dict.fromkeys(get_named_type(one.type).name for one in mentioned):
                    found[kind].append(f'<a href="{where}"><code>{told}</code></a>')
        return found


def _kind(kind: Any) -> str:
    return next((name for type_, name in KINDS if isinstance(kind, type_)), "scalar")


def _anchor(one: Operation) -> str:
    return one.path.partition("/")[2]


def _brief(text: str | None) -> str:
    """The first sentence, for lists."""
    first = (text or "").strip().split("\n\n")[0].replace("\n", " ").replace("`", "")
    return re.split(r"(?<=[.;:]) ", first)[0].removesuffix(";")[:160]


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    told = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    return f'<dl class="facts">{told}</dl>'


def _default(thing: Any) -> str:
    value = getattr(thing, "default_value", Undefined)
    if value is Undefined or value is None:
        return ""
    node = ast_from_value(value, thing.type)
    return f" = <code>{escape(print_ast(node))}</code>" if node else ""


def _deprecated(thing: Any) -> str:
    reason = getattr(thing, "deprecation_reason", None)
    return f'<p><span class="tag">deprecated</span> {escape(reason)}</p>' if reason else ""
