"""The collection of examples/operations: what stands in each file, and how one follows another."""

import json
import re
import secrets
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.servers import ROOT

FOLDER = ROOT / "examples/operations"
_ID = re.compile(r"[a-z]{3}_[0-9a-f]{32}")
_WANTED = re.compile(r"([a-z]{3})_…( before)?")


@dataclass(frozen=True)
class Operation:
    """One file: its comment on top, taken apart, and its document."""

    path: str
    title: str
    about: str
    permission: str
    first: tuple[str, ...]
    variables: dict[str, Any]
    document: str


@cache
def collection() -> dict[str, Operation]:
    """All of them, by path without the ending."""
    return {one.path: one for one in map(_read, sorted(FOLDER.rglob("*.graphql")))}


def _read(file: Path) -> Operation:
    text = file.read_text(encoding="utf-8")
    comment = [line.removeprefix("#").removeprefix(" ") for line in text.splitlines() if line.startswith("#")]
    top, _, variables = "\n".join(comment).partition("\nVariables: ")
    title, about, facts = top.split("\n\n")
    known = dict(line.split(": ", 1) for line in facts.splitlines())
    return Operation(
        path=file.relative_to(FOLDER).with_suffix("").as_posix(),
        title=title,
        about=about,
        permission=known.pop("Permission"),
        first=tuple(known.pop("First", "").split(", ")) if "First" in known else (),
        variables=json.loads(variables or "{}"),
        document=text,
    )


class Memory:
    """The ids of the answers so far: the last of each kind is what the next operation is about."""

    def __init__(self) -> None:
        self._ids: dict[str, list[str]] = {}

    def remember(self, answer: Any) -> None:
        """Of each kind of id the one that stands highest in an answer."""
        found: dict[str, str] = {}
        for value in _outermost_first(answer):
            found.setdefault(value[:3], value)
        for kind, value in found.items():
            self._ids[kind] = [value, *(one for one in self._ids.get(kind, []) if one != value)]

    def fill(self, value: Any) -> Any:
        """Variables with what is remembered in place of `cus_…`; any other `…` is a few characters that are new."""
        if isinstance(value, dict):
            return {name: self.fill(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self.fill(one) for one in value]
        if not isinstance(value, str):
            return value
        wanted = _WANTED.fullmatch(value)
        if wanted is None:
            return value.replace("…", secrets.token_hex(4))
        known = self._ids.get(wanted[1], [])
        return known[1 if wanted[2] else 0] if len(known) > (1 if wanted[2] else 0) else value


def _outermost_first(answer: Any) -> Iterator[str]:
    waiting = deque([answer])
    while waiting:
        value = waiting.popleft()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str) and _ID.fullmatch(value):
            yield value
