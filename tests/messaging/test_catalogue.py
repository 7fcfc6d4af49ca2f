"""Every event of the catalogue is raised somewhere, and what is raised is in the catalogue."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ispgraph.domain.messaging.catalogue import EVENTS
from tests.servers import ROOT

TELL = {"tell": 2, "tell_operator": 2}
"""The functions by which somebody is told something, with the place of the event."""


def told(tree: ast.AST, constants: Mapping[str, str]) -> Iterator[str]:
    """The events of which somebody is told in a function or a module.

    An event that is a name stands for the texts that this name is given in the same function, whichever way, or for the
    constant of this name of some module.
    """
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            named = call.func
            if isinstance(named, ast.Attribute) and named.attr in TELL and ast.unparse(named.value) == "messages":
                event = call.args[TELL[named.attr]]
                places: list[ast.AST] = [event]
                constant = ast.unparse(event).rpartition(".")[2]
                if isinstance(event, ast.Name | ast.Attribute) and constant in constants:
                    yield constants[constant]
                elif isinstance(event, ast.Name):
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


def constants_of(trees: Iterable[ast.Module]) -> dict[str, str]:
    """The constants of modules that are events, by their names: of one name there is one."""
    found: dict[str, str] = {}
    for node in (node for tree in trees for node in tree.body if isinstance(node, ast.Assign)):
        (target,) = node.targets
        for name, value in pairs(target, node.value):
            if isinstance(name, ast.Name) and isinstance(value, ast.Constant) and value.value in EVENTS:
                assert name.id not in found, name.id
                found[name.id] = str(value.value)
    return found


def pairs(target: ast.expr, value: ast.expr) -> Iterable[tuple[ast.expr, ast.expr]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return zip(target.elts, value.elts, strict=True)
    return [(target, value)]


def test_every_event_is_raised() -> None:
    trees = [ast.parse(path.read_text()) for path in sources()]
    constants = constants_of(trees)
    found = {event for tree in trees for event in told(tree, constants)}
    assert found == set(EVENTS)


def sources() -> list[Path]:
    return sorted((ROOT / "ispgraph").rglob("*.py"))


def test_what_counts_as_raised() -> None:
    plain = 'def f():\n    messages.tell(session, row, "quota.near", by=None)\n'
    assert set(told(ast.parse(plain), {})) == {"quota.near"}
    chosen = 'def f():\n    event = "quota.near" if x else "quota.reached"\n    messages.tell(s, row, event, by=None)\n'
    assert set(told(ast.parse(chosen), {})) == {"quota.near", "quota.reached"}
    unknown = 'def f():\n    messages.tell_operator(session, row, "nobody.knows")\n'
    assert set(told(ast.parse(unknown), {})) == {"nobody.knows"}
    named = 'EVENT = "quota.near"\ndef f():\n    messages.tell(session, row, notices.EVENT, by=None)\n'
    assert set(told(ast.parse(named), constants_of([ast.parse(named)]))) == {"quota.near"}
    # Texts that are nowhere told do not count.
    idle = 'def f():\n    event = "quota.near"\n    messages.tell(session, row, "time.reached", by=None)\n'
    assert set(told(ast.parse(idle), {})) == {"time.reached"}
