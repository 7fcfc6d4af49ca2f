"""Mutations that a key makes to happen once."""

import functools
import inspect
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from typing import Any, get_type_hints
from uuid import UUID

from ispgraph.db import Base
from ispgraph.domain import idempotency, models, secrets, visibility
from ispgraph.domain.messaging import templates
from ispgraph.schema.compiler.reading import RowOf
from ispgraph.schema.context import Context, Info

_Mutation = Callable[..., Awaitable[Any]]
_KEY = "idempotency_key"


def once(*, keeping: Collection[str] = ()) -> Callable[[_Mutation], _Mutation]:
    """Makes what a mutation's function does happen once for a key: that of its `input`, or one beside its arguments,
    which is added.

    Done before with this key and the same arguments: the first answer again, with its rows as they are by now, and
    without those that the viewer does not see any more. Of its texts those that `keeping` names are kept; others are
    secrets, which are told once.
    """

    def decorate(function: _Mutation) -> _Mutation:
        given = inspect.signature(function)
        beside = "input" not in given.parameters
        payload = get_type_hints(function)["return"]

        @functools.wraps(function)
        async def acted(info: Info, **arguments: Any) -> Any:
            context, by = info.context, info.context.viewer_or_refuse()
            key = arguments.pop(_KEY, None) if beside else arguments["input"].idempotency_key
            if key is None:
                return await function(info, **arguments)
            now, *before = [{"arguments": each} for each in _digests(context, arguments)]
            done = idempotency.Once(by, info.field_name, key, now, before)
            kept = await done.claim(context.session)
            if kept is not None:
                context.answers_again()
                return payload(**{name: await _found(context, value) for name, value in kept.items()})
            answer = await function(info, **arguments)
            await context.session.flush()
            await done.keep(context.session, _kept(answer, keeping))
            return answer

        if beside:
            key = inspect.Parameter(_KEY, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=str | None)
            parameters = [*given.parameters.values(), key]
            acted.__signature__ = given.replace(parameters=parameters)  # type: ignore[attr-defined]
            acted.__annotations__ = {**function.__annotations__, _KEY: str | None}
        return acted

    return decorate


def told(input: Any) -> dict[str, Any]:
    """What an input says, without its key."""
    return {name: value for name, value in asdict(input).items() if name != _KEY}


def _digests(context: Context, arguments: Mapping[str, Any]) -> Sequence[str]:
    """What tells these arguments from others, by each of the network keys: they may hold secrets."""
    plain = {name: told(value) if is_dataclass(value) else value for name, value in arguments.items()}
    text = json.dumps(plain, sort_keys=True, default=lambda value: [type(value).__name__, str(value)])
    return secrets.digests(context.settings.network_key, text)


def _kept(answer: Any, keeping: Collection[str]) -> dict[str, object]:
    values = {each.name: getattr(answer, each.name) for each in fields(answer) if each.name != "errors"}
    return {name: _plain(value) for name, value in values.items() if name in keeping or not _is_text(value)}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and any(map(_is_text, value)))


def _plain(value: Any) -> object:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, RowOf):
        return {"row": value.model.__name__, "id": str(value.key)}
    if isinstance(value, Base | templates.Words):
        return {"row": type(value).__name__, "id": str(value.id)}  # type: ignore[union-attr]
    assert value is None or isinstance(value, str | int), f"{value!r} cannot be kept"
    return value


async def _found(context: Context, kept: Any) -> Any:
    """What was kept, as it is by now."""
    if isinstance(kept, list):
        found = [await _found(context, each) for each in kept]
        return [each for each in found if each is not None]
    return await _row(context, kept) if isinstance(kept, dict) else kept


async def _row(context: Context, kept: Mapping[str, str]) -> Any:
    session, by, key = context.session, context.viewer_or_refuse(), UUID(kept["id"])
    if kept["row"] == templates.Words.__name__:
        return await templates.find(session, key, by=by)
    return await visibility.find(session, getattr(models, kept["row"]), key, by=by)
