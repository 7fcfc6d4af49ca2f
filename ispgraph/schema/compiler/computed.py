"""Filling in what Python computes below a compiled field, by graphql-core, with the row as it always gets it."""

import asyncio
from collections.abc import Mapping
from copy import copy
from typing import Any
from uuid import UUID

import orjson
from graphql.execution.executor import CollectedErrors
from graphql.pyutils import Path

from ispgraph.schema.compiler.selection import NotCompiled, Selected, Selection
from ispgraph.schema.compiler.sources import MODELS
from ispgraph.schema.compiler.statement import ROW_ID

_Place = tuple[dict[str, Any], Selection, Path]


async def fill(executor: Any, below: Mapping[str, Selection], text: str, path: Path, position: Any) -> Any:
    """The value of a field with its computed fields. Raises GraphQLError when one that may not be null has failed."""
    value = orjson.loads(text)
    places: list[_Place] = []
    _find(value, below, path, places)
    loaders = executor.context_value.loaders
    rows = await asyncio.gather(
        *(loaders.one(MODELS[selection.cls], UUID(hex=item.pop(ROW_ID))) for item, selection, _ in places)
    )
    trial = copy(executor)
    trial.collected_errors = CollectedErrors()
    await asyncio.gather(
        *(
            _compute(trial, row, item, selection, each, place, position)
            for row, (item, selection, place) in zip(rows, places, strict=True)
            for each in selection.fields
            if each.definition is not None and each.source is None
        )
    )
    for error in trial.collected_errors.errors:
        executor.collected_errors.add(error, _path(error.path))
    return value


async def _compute(
    executor: Any, row: Any, item: dict[str, Any], selection: Selection, each: Selected, path: Path, position: Any
) -> None:
    place = Path(path, each.key, selection.type.name)
    value = executor.execute_field(selection.type, row, each.details, place, position)
    item[each.key] = await value if executor.is_awaitable(value) else value


def _find(value: Any, below: Mapping[str, Selection], path: Path, places: list[_Place]) -> None:
    """Every object of which a field is computed."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            _find(item, below, Path(path, index, None), places)
    elif isinstance(value, dict):
        if len(below) != 1:
            raise NotCompiled("computed fields of objects of several types")
        selection = next(iter(below.values()))
        if selection.computed:
            places.append((value, selection, path))
        for each in selection.fields:
            if each.below:
                _find(value[each.key], each.below, Path(path, each.key, selection.type.name), places)


def _path(keys: Any) -> Path | None:
    path: Path | None = None
    for key in keys or ():
        path = Path(path, key, None)
    return path
