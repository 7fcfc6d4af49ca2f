"""The collection of operations, as it stands in files: a comment on top, and a document."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphql import FieldNode, OperationDefinitionNode, parse


@dataclass(frozen=True, slots=True)
class Operation:
    """One file."""

    path: str
    """Its folder and name, without the ending."""
    title: str
    about: str
    permission: str
    first: tuple[str, ...]
    """The paths of those whose answers it takes ids from."""
    variables: dict[str, Any]
    document: str
    kind: str
    """query, mutation or subscription."""
    roots: tuple[str, ...]

    @property
    def folder(self) -> str:
        return self.path.partition("/")[0]


def read(folder: Path) -> list[Operation]:
    """All of a folder, in the order of their paths."""
    return [_read(folder, file) for file in sorted(folder.rglob("*.graphql"))]


def title(folder: str) -> str:
    """How people call a folder: `03-wizard` is Wizard."""
    return folder.partition("-")[2].replace("-", " ").capitalize()


def _read(folder: Path, file: Path) -> Operation:
    lines = file.read_text(encoding="utf-8").splitlines()
    comment = [line.removeprefix("#").removeprefix(" ") for line in lines if line.startswith("#")]
    document = "\n".join(line for line in lines if not line.startswith("#"))
    top, _, variables = "\n".join(comment).partition("\nVariables: ")
    name, about, facts = top.split("\n\n")
    known = dict(line.split(": ", 1) for line in facts.splitlines())
    (definition,) = (one for one in parse(document).definitions if isinstance(one, OperationDefinitionNode))
    selected = definition.selection_set.selections
    return Operation(
        path=file.relative_to(folder).with_suffix("").as_posix(),
        title=name,
        about=about.replace("\n", " "),
        permission=known["Permission"],
        first=tuple(known["First"].split(", ")) if "First" in known else (),
        variables=json.loads(variables or "{}"),
        document=document,
        kind=definition.operation.value,
        roots=tuple(one.name.value for one in selected if isinstance(one, FieldNode)),
    )
