"""What clients use goes only after a release that said so."""

import tomllib
from pathlib import Path

import pytest
from graphql import build_schema
from typer.testing import CliRunner

from ispgraph import cli
from ispgraph.schema_changes import compare, read
from tests.servers import ROOT

RELEASED = ROOT / "tests/released"

OLD = """
type Query {
  rows(first: Int = 20, old: Int @deprecated(reason: "x"), kept: Int): [Row]
  gone: Gone @deprecated(reason: "Nobody needs it. Removed in 2.0.")
}
type Gone { name: String }
interface Node { id: ID! }
type Fixed implements Node { id: ID! at: Int }
type Passing implements Node { id: ID! at: Int @deprecated(reason: "x") }
type Row implements Node { id: ID! name: String old: String @deprecated(reason: "x") state: State }
enum State { OPEN CLOSED HALF @deprecated(reason: "x") }
input Change { name: String old: String @deprecated(reason: "x") }
type Mutation { change(input: Change!): Row }
"""


def number(file: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in file.stem.split("."))


def test_nothing_goes_that_the_last_release_did_not_deprecate() -> None:
    last = max(RELEASED.glob("*.graphql"), key=number)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert number(last) <= tuple(int(part) for part in version.split("."))
    assert compare(read(last), read(ROOT / "schema.graphql")).refused == ()


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (" name: String old", " old", "Field Row.name was removed."),
        ("CLOSED HALF", "HALF", "Enum value State.CLOSED was removed."),
        (", kept: Int", "", "Argument Query.rows(kept:) was removed."),
        ("kept: Int", "kept: Int, must: Int!", "A required argument Query.rows(must:) was added."),
        ("input Change { name: String ", "input Change { ", "Field Change.name was removed."),
        ("input Change { name", "input Change { must: Int! name", "A required field Change.must was added."),
        (" name: String old", " name: Int old", "Field Row.name changed type from String to Int."),
        ("first: Int = 20", "first: Int = 10", "Query.rows(first:) has changed defaultValue from 20 to 10."),
        ("type Mutation { change(input: Change!): Row }", "", "Mutation was removed."),
        ("type Fixed implements Node { id: ID! at: Int }", "", "Fixed was removed."),
    ],
)
def test_what_breaks_clients_is_refused(before: str, after: str, told: str) -> None:
    assert before in OLD
    verdict = compare(build_schema(OLD), build_schema(OLD.replace(before, after, 1)))
    assert told in verdict.refused


def test_what_was_deprecated_may_go_and_what_is_new_is_noticed() -> None:
    new = """
    type Query { rows(first: Int = 20, kept: Int, more: Int): [Row] }
    interface Node { id: ID! }
    type Fixed implements Node { id: ID! at: Int }
    type Row implements Node { id: ID! name: String state: State added: Int }
    enum State { OPEN CLOSED NEW }
    input Change { name: String }
    type Mutation { change(input: Change!): Row }
    """
    verdict = compare(build_schema(OLD), build_schema(new))
    assert verdict.refused == ()
    assert set(verdict.announced) == {
        "Gone was removed.",
        "Passing was removed.",
        "Field Query.gone was removed.",
        "Argument Query.rows(old:) was removed.",
        "Field Row.old was removed.",
        "Enum value State.HALF was removed.",
        "Field Change.old was removed.",
    }
    assert set(verdict.noticed) == {
        "An optional argument Query.rows(more:) was added.",
        "Enum value State.NEW was added.",
    }


def test_the_command_says_so_by_its_status(tmp_path: Path) -> None:
    old, new = tmp_path / "old.graphql", tmp_path / "new.graphql"
    old.write_text(OLD)
    new.write_text(OLD.replace("CLOSED ", ""))
    done = CliRunner().invoke(cli.app, ["check-schema", str(old), str(new)])
    assert (done.exit_code, done.stdout.splitlines()[0]) == (1, "refused    Enum value State.CLOSED was removed.")
    assert CliRunner().invoke(cli.app, ["check-schema", str(old), str(old)]).exit_code == 0
    new.write_text("this is none")
    assert "Syntax Error" in str(CliRunner().invoke(cli.app, ["check-schema", str(old), str(new)]).exception)
