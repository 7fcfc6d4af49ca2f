"""The menus of a router: which properties there are, what they take, and what they refer to.

``menus.json`` gives each property as words: its kind (see kinds.py), then what it takes (``a|b`` choices, ``1..8`` a
range, ``/ppp/profile`` the menu whose names it may be, other words names allowed besides), ``!`` required, ``ro`` set
by the router alone, ``sensitive`` for who may see passwords, ``since:7.15`` the version it came with, and at the end
``=value``, what is printed when nothing was set.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from sys import intern
from typing import Any

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Property:
    """``default`` is what is printed when nothing was set; None means that the property is then absent."""

    name: str
    kind: str
    default: str | None = None
    of: tuple[str, ...] = ()
    reference: str | None = None
    required: bool = False
    read_only: bool = False
    sensitive: bool = False
    since: Version = (0,)


@dataclass(frozen=True, slots=True)
class Menu:
    """``single`` menus hold exactly one item, such as /system/identity. ``indexed`` are properties found fast.

    ``drop_dynamic`` menus let clients remove dynamic items, ``protected`` are names that cannot be removed, ``items``
    are there from the start.
    """

    path: str
    commands: frozenset[str]
    properties: Mapping[str, Property]
    noun: str
    unique: tuple[str, ...]
    indexed: tuple[str, ...]
    duplicate: str
    single: bool
    ordered: bool
    drop_dynamic: bool
    protected: tuple[str, ...]
    items: Sequence[Mapping[str, str]]


@cache
def menus() -> Mapping[str, Menu]:
    """All menus by path."""
    raw = json.loads(Path(__file__).with_name("menus.json").read_text())
    return {path: _menu(path, body) for path, body in raw.items()}


@cache
def referring(path: str) -> tuple[tuple[str, str], ...]:
    """Menus and properties whose values are names of items of this menu."""
    return tuple(
        (menu.path, known.name)
        for menu in menus().values()
        for known in menu.properties.values()
        if known.reference == path
    )


def _menu(path: str, body: dict[str, Any]) -> Menu:
    unique = tuple(body.get("unique", "").split())
    return Menu(
        path=path,
        commands=frozenset(["print", "getall", "listen", *body["commands"].split()]),
        properties={intern(name): _property(intern(name), text) for name, text in body["properties"].items()},
        noun=body.get("noun", "item"),
        unique=unique,
        indexed=tuple(dict.fromkeys([*unique[:1], *body.get("indexed", "").split()])),
        duplicate=body.get("duplicate", "failure: already have such entry"),
        single=body.get("single", False),
        ordered=body.get("ordered", False),
        drop_dynamic=body.get("drop_dynamic", False),
        protected=tuple(body.get("protected", "").split()),
        items=body.get("items", []),
    )


def _property(name: str, text: str) -> Property:
    words, equals, default = text.partition("=")
    kind, *rest = words.split()
    of: tuple[str, ...] = ()
    reference: str | None = None
    since: Version = (0,)
    for word in rest:
        if word.startswith("/"):
            reference = word
        elif word.startswith("since:"):
            since = tuple(int(part) for part in word.removeprefix("since:").split("."))
        elif "|" in word:
            of = tuple(word.split("|"))
        elif ".." in word:
            of = tuple(word.split(".."))
        elif word not in ("!", "ro", "sensitive"):
            of = (*of, word)
    return Property(
        name=name,
        kind=kind,
        default=default if equals else None,
        of=of,
        reference=reference,
        required="!" in rest,
        read_only="ro" in rest,
        sensitive="sensitive" in rest,
        since=since,
    )
