"""The doubles of outside servers share no code with the adapters that speak to them: what both had from one place,
neither would find wrong."""

import ast

import pytest

from tests.servers import ROOT

ADAPTERS = ROOT / "ispgraph" / "adapters"
DOUBLES = sorted(path for path in ADAPTERS.rglob("*.py") if "double" in path.stem)
# The clock tells both the time.
SHARED = {"ispgraph.clock"}


def imported(source: str) -> set[str]:
    """The modules of the product that a module imports, wherever it does it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # What is imported from a package may be a module of it.
            packages = (ROOT / "/".join((node.module or "").split("."))).is_dir()
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if packages else {str(node.module)}
    return {name for name in found if name.partition(".")[0] in ("ispgraph", "tests")}


def alien(source: str) -> set[str]:
    """What a double may not import."""
    return {name for name in imported(source) - SHARED if "double" not in name.rpartition(".")[2]}


def test_they_are_looked_at() -> None:
    names = {path.stem for path in DOUBLES}
    assert {"double", "doubles", "twilio_double", "vonage_double", "stripe_double", "mpesa_double"} <= names


@pytest.mark.parametrize("path", DOUBLES, ids=lambda path: path.stem)
def test_a_double_shares_nothing_with_an_adapter(path) -> None:
    assert alien(path.read_text()) == set()


def test_what_would_be_found() -> None:
    for line in (
        "from ispgraph.adapters.sms import answers",
        "from ispgraph.adapters.sms.twilio import signature",
        "import ispgraph.adapters.sms.answers",
        "def late():\n    from ispgraph.adapters import errors",
        "from ispgraph import db",
    ):
        assert alien(line) != set(), line
    fine = "import json\nfrom ispgraph import clock\nfrom ispgraph.adapters.sms.double import Double\n"
    assert alien(fine + "from ispgraph.adapters.payments import doubles") == set()
