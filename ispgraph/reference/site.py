"""Writes the pages, and what they load, into a directory."""

import json
from pathlib import Path

from graphql import GraphQLSchema

from ispgraph.reference import collection
from ispgraph.reference.pages import Pages
from ispgraph.resolvers.build import build

_LOADED = ("style.css", "search.js")


class SiteError(Exception):
    """The directory is not one of ours, or there are no operations."""


def write(directory: Path, operations: Path | None) -> int:
    """Write everything; how many pages. A directory that this has written before is written anew. Raises SiteError."""
    if operations is not None and not any(operations.rglob("*.graphql")):
        raise SiteError(f"{operations}: no operations are there")
    mark = directory / "names.js"
    if directory.exists() and any(directory.iterdir()) and not mark.is_file():
        raise SiteError(f"{directory} is neither empty nor what this command has written")
    return _write(directory, build()._schema, operations)


def _write(directory: Path, schema: GraphQLSchema, operations: Path | None) -> int:
    pages = Pages(schema, [] if operations is None else collection.read(operations))
    count = 0
    for path, text in pages.all():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        count += 1
    names = json.dumps(pages.names(), ensure_ascii=False, separators=(",", ":"))
    (directory / "names.js").write_text(f"const NAMES = {names};\n", encoding="utf-8")
    for name in _LOADED:
        (directory / name).write_bytes(Path(__file__).with_name(name).read_bytes())
    return count
