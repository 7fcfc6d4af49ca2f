"""The menus of a router: which properties there are, what they take, and what they refer to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Property:
    """``default`` is what is printed when nothing was set; None means that the property is then absent."""

    name: str
    type: str = "text"
    default: str | None = None
    of: tuple[str, ...] = ()
    reference: str | None = None
    required: bool = False
    read_only: bool = False
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class Menu:
    """``single`` menus hold exactly one item, such as /system/identity. ``indexed`` are properties found fast."""

    path: str
    commands: frozenset[str]
    properties: Mapping[str, Property]
    unique: tuple[str, ...]
    indexed: tuple[str, ...]
    duplicate: str
    single: bool
    drop_dynamic: bool
    noun: str


@cache
def menus() -> Mapping[str, Menu]:
    """All menus by path."""
    raw = json.loads(Path(__file__).with_name("menus.json").read_text())
    return {path: _menu(path, body) for path, body in raw.items()}


def _menu(path: str, body: dict[str, object]) -> Menu:
    raise NotImplementedError
