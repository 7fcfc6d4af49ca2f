"""Live readings, and the printing of what a subscription selects of them: made once, shared by all who select the same.

A selection of plain values becomes a template and a getter for each value, and graphql-core does nothing for an event.
What selects more, such as the session, is for graphql-core and the compiler to carry out.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any
from uuid import UUID

import strawberry
from graphql import FieldNode, FragmentSpreadNode, InlineFragmentNode, SelectionSetNode, VariableNode

from ispgraph import ids
from ispgraph.domain import models
from ispgraph.domain.live.readings import LiveUsageSource, Reading
from ispgraph.schema.compiler.reading import RowOf
from ispgraph.schema.context import Info
from ispgraph.schema.scalars import BigInt, DateTime
from ispgraph.schema.sessions import Session

Root = strawberry.Parent[Reading]
Printer = Callable[[Any], bytes]

strawberry.enum(LiveUsageSource)

# How a field is printed: with the place of its value in a Reading, or without.
_FORMATS: dict[str, tuple[str, int | None]] = {
    "__typename": ('"LiveUsage"', None),
    "customerId": ('"cus_%s"', Reading._fields.index("customer_id")),
    "at": ('"%s"', Reading._fields.index("at")),
    "online": ("{online}", None),
    "downloadBps": ('"%d"', Reading._fields.index("download_bps")),
    "uploadBps": ('"%d"', Reading._fields.index("upload_bps")),
    "downloadBytes": ('"%d"', Reading._fields.index("download_bytes")),
    "uploadBytes": ('"%d"', Reading._fields.index("upload_bytes")),
    "source": ('"%s"', Reading._fields.index("source")),
}
_KEPT = 1000


def _customer_id(root: Root) -> strawberry.ID:
    return strawberry.ID(ids.encode("cus", UUID(hex=root.customer_id)))


def _source(root: Root) -> LiveUsageSource:
    return LiveUsageSource(root.source)


async def _session(root: Root) -> Session | None:
    found: Any = None
    if root.session_id is not None:
        found = RowOf(models.Session, UUID(hex=root.session_id), if_visible=True)
    return found


@strawberry.type(
    description="One live reading. `source` says whether the router was asked or the last accounting update is shown."
)
class LiveUsage:
    customer_id: strawberry.ID = strawberry.field(resolver=_customer_id)
    at: DateTime = strawberry.field(description="When the router was read, or accounting last told of the session.")
    online: bool = strawberry.field(
        description="Whether there is a session; of a static address, whether anything passed since the last reading."
    )
    session: Session | None = strawberry.field(resolver=_session, description="The newest that is open.")
    download_bps: BigInt = strawberry.field(
        description="Bits per second to the customer since the last reading, or the last accounting update but one."
    )
    upload_bps: BigInt
    download_bytes: BigInt = strawberry.field(description="Since the session began.")
    upload_bytes: BigInt
    source: LiveUsageSource = strawberry.field(resolver=_source)


def printer(info: Info) -> tuple[Any, Printer] | None:
    """What prints a reading, or a list of them, as the subscription selects it, with a key of what it prints.

    None when the selection has to be resolved.
    """
    raw = info._raw_info
    try:
        root = str(raw.path.key)
        selected = tuple(dict(_selected(raw, [node.selection_set for node in raw.field_nodes])).items())
    except KeyError:
        return None
    key = (root, raw.field_name, selected)
    if (known := _printers.get(key)) is None:
        if len(_printers) >= _KEPT:
            _printers.clear()
        known = _printers[key] = (key, compiled(root, selected, listed=raw.field_name == "liveUsageAll"))
    return known


# With the key itself, so that all who select the same have it in common.
_printers: dict[Any, tuple[Any, Printer]] = {}


def compiled(root: str, selected: Sequence[tuple[str, str]], *, listed: bool) -> Printer:
    """What prints a reading, or a list of them, as the response map with this root key; `selected` are response keys
    with names of fields."""
    # Keys are names of GraphQL: nothing in them has to be escaped.
    members = ",".join(f'"{key}":{_FORMATS[name][0]}' for key, name in selected)
    templates = tuple(f"{{{members.replace('{online}', value)}}}" for value in ("false", "true"))
    values = _values([place for _, name in selected if (place := _FORMATS[name][1]) is not None])
    head, tail = f'{{"data":{{"{root}":', "}}"
    if listed:
        return lambda readings: (
            f"{head}[{','.join([templates[each.online] % values(each) for each in readings])}]{tail}".encode()
        )
    whole = tuple(head + template + tail for template in templates)
    return lambda reading: (whole[reading.online] % values(reading)).encode()


def _values(places: Sequence[int]) -> Callable[[Any], tuple[Any, ...]]:
    """What takes these places of a Reading; a getter of one gives no tuple."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda reading: tuple(reading[place] for place in places)


def _selected(raw: Any, sets: Sequence[SelectionSetNode | None]) -> Iterator[tuple[str, str]]:
    """Response keys with the fields they stand for. Raises KeyError for a field that is no plain value."""
    for selection_set in sets:
        for node in selection_set.selections if selection_set else ():
            if not _included(raw, node):
                continue
            if isinstance(node, FieldNode):
                if node.name.value not in _FORMATS:
                    raise KeyError(node.name.value)
                yield (node.alias or node.name).value, node.name.value
            elif isinstance(node, InlineFragmentNode):
                yield from _selected(raw, [node.selection_set])
            elif isinstance(node, FragmentSpreadNode):
                yield from _selected(raw, [raw.fragments[node.name.value].selection_set])


def _included(raw: Any, node: Any) -> bool:
    for directive in node.directives or ():
        (argument,) = directive.arguments
        value = argument.value
        given = raw.variable_values[value.name.value] if isinstance(value, VariableNode) else value.value
        if given == (directive.name.value == "skip"):
            return False
    return True
