"""Words, types and pages as HTML. Nothing here names another host."""

import re
from html import escape
from typing import Any

from graphql import GraphQLList, GraphQLNonNull, GraphQLSchema, is_specified_scalar_type

ROOTS = {"Query": "query", "Mutation": "mutation", "Subscription": "subscription"}
_CODE = re.compile(r"`([^`]+)`")


class Markup:
    """Links to what the schema has; `up` leads from a page to the first page."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._types = {name for name in schema.type_map if not name.startswith("__")}
        self._roots = {
            field: f"{folder}/{field}.html"
            for root, folder in ROOTS.items()
            for field in schema.type_map[root].fields  # type: ignore[attr-defined]
        }
        self._built_in = {name for name, kind in schema.type_map.items() if is_specified_scalar_type(kind)}

    def words(self, text: str | None, up: str) -> str:
        """Paragraphs, with what stands in backticks as code, and as a link where it names something."""
        parts = re.split(r"\n\s*\n", (text or "").strip())
        return "".join(f"<p>{self._line(' '.join(part.split()), up)}</p>" for part in parts if part)

    def _line(self, text: str, up: str) -> str:
        pieces = _CODE.split(text)
        return "".join(self._code(piece, up) if odd % 2 else escape(piece) for odd, piece in enumerate(pieces))

    def _code(self, text: str, up: str) -> str:
        if text in self._types:
            return self.named(text, up)
        if text in self._roots:
            return f'<a href="{up}{self._roots[text]}"><code>{escape(text)}</code></a>'
        return f"<code>{escape(text)}</code>"

    def named(self, name: str, up: str) -> str:
        """A type by its name."""
        return f'<a href="{up}type/{name}.html"><code>{name}</code></a>'

    def type(self, kind: Any, up: str) -> str:
        """A type as the schema writes it, such as [Customer!]!, with the name as a link."""
        if isinstance(kind, GraphQLNonNull):
            return f"{self.type(kind.of_type, up)}<b>!</b>"
        if isinstance(kind, GraphQLList):
            return f"<b>[</b>{self.type(kind.of_type, up)}<b>]</b>"
        return self.named(kind.name, up)


def page(title: str, body: str, *, up: str, crumbs: str = "") -> str:
    """One whole page."""
    links = (("Tasks", "index.html#tasks"), ("Queries", "queries.html"), ("Mutations", "mutations.html"))
    more = (("Subscriptions", "subscriptions.html"), ("Types", "types.html"))
    menu = "".join(f'<li><a href="{up}{where}">{name}</a></li>' for name, where in (*links, *more))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)} – ispgraph reference</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{up}style.css">
<script src="{up}names.js" defer></script>
<script src="{up}search.js" defer></script>
</head>
<body data-up="{up}">
<a class="skip" href="#content">To the content</a>
<header>
<a class="home" href="{up}index.html">ispgraph</a>
<form role="search" class="search">
<label for="search">Search</label>
<input id="search" type="search" autocomplete="off" spellcheck="false" placeholder="customer, SUSPENDED, …"
 role="combobox" aria-expanded="false" aria-controls="found" aria-autocomplete="list">
<ul id="found" role="listbox" aria-label="What was found" hidden></ul>
</form>
<nav aria-label="Parts"><ul>{menu}</ul></nav>
</header>
<main id="content">
{f'<p class="crumbs">{crumbs}</p>' if crumbs else ""}
<h1>{escape(title)}</h1>
{body}
</main>
</body>
</html>
"""


def code(text: str, label: str) -> str:
    """Text to be copied; it can be reached and moved by the keyboard where it is wider than the page."""
    return f'<pre tabindex="0" aria-label="{escape(label)}"><code>{escape(text.strip())}</code></pre>'


def rows(found: list[tuple[str, str, str]]) -> str:
    """Members: (anchor, heading, words). Not a table, which a phone has no room for."""
    told = (f'<dt id="{anchor}">{head}</dt><dd>{words}</dd>' for anchor, head, words in found)
    return f'<dl class="members">{"".join(told)}</dl>'
