"""Every event of the catalogue is raised somewhere, and what is raised is in the catalogue."""

import ast
from collections.abc import Iterator
from pathlib import Path

from ispgraph.domain.messaging.catalogue import EVENTS
from tests.servers import ROOT

TELL = {"tell": 2, "tell_operator": 2}
"""The functions by which somebody is told something, with the place of the event."""


def told(tree: ast.AST) -> Iterator[str]:
    """The events of which somebody is told in a function or a module.

    An event that is a name stands for the texts that this name is given in the same function, whichever way.
    """
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            named = call.func
            if isinstance(named, ast.Attribute) and named.attr in TELL and ast.unparse(named.value) == "messages":
                event = call.args[TELL[named.attr]]
                places: list[ast.AST] = [event]
                if isinstance(event, ast.Name):
                    places = [node.value for node in ast.walk(function) if assigns(node, event.id)]
                for place in places:
                    yield from (
                        each.value
                        for each in ast.walk(place)
                        if isinstance(each, ast.Constant) and isinstance(each.value, str) and each.value in EVENTS
                    )
                    if isinstance(place, ast.Constant):
                        yield str(place.value)


def assigns(node: ast.AST, name: str) -> bool:
    if not isinstance(node, ast.Assign):
        return False
    return any(isinstance(each, ast.Name) and each.id == name for target in node.targets for each in ast.walk(target))


def test_every_event_is_raised() -> None:
    found = {event for path in sources() for event in told(ast.parse(path.read_text()))}
    assert found == set(EVENTS)


def sources() -> list[Path]:
    return sorted((ROOT / "ispgraph").rglob("*.py"))


def test_what_counts_as_raised() -> None:
    plain = 'def f():\n    messages.tell(session, row, "quota.near", by=None)\n'
    assert set(told(ast.parse(plain))) == {"quota.near"}
    chosen = 'def f():\n    event = "quota.near" if x else "quota.reached"\n    messages.tell(s, row, event, by=None)\n'
    assert set(told(ast.parse(chosen))) == {"quota.near", "quota.reached"}
    unknown = 'def f():\n    messages.tell_operator(session, row, "nobody.knows")\n'
    assert set(told(ast.parse(unknown))) == {"nobody.knows"}
    # Texts that are nowhere told do not count.
    idle = 'def f():\n    event = "quota.near"\n    messages.tell(session, row, "time.reached", by=None)\n'
    assert set(told(ast.parse(idle))) == {"time.reached"}
