"""What graphql-eslint says of the schema and the collection of operations, by tests/clients/rules.mjs."""

from pathlib import Path

import pytest

from tests.npm import needs_clients, told
from tests.operations import FOLDER, collection
from tests.servers import ROOT

pytestmark = [pytest.mark.npm, needs_clients]

# A schema that breaks each rule once.
BAD = '''
"""What can be read."""
type Query {
  """Rows."""
  getRows: RowConnection!
  """Without arguments to go on by."""
  rows: RowConnection!
  undescribed: Int
}
"""What can be done."""
type Mutation {
  """Answers with a bare value."""
  rowDelete: Boolean!
}
"""A page."""
type RowConnection {
  """Rows."""
  edges: [RowEdge!]!
}
"""One of them."""
type RowEdge {
  """The row."""
  node: Row!
}
"""Has an id, and is no Node."""
type Row {
  """The id."""
  id: ID!
  """The name."""
  rowName: String @deprecated(reason: "Use `id`.")
  """The name."""
  Name: String @deprecated
  # Nobody can read this.
  status: Status
}
"""How it stands."""
enum Status {
  """Open."""
  OPEN
  """Open."""
  open
}
"""Nothing leads here."""
type Lost {
  """A name."""
  name: String
}
'''
WRONG_OPERATION = "query { rows { edges { node { name } } } }\nquery Again($unused: Int) { nope }"


def test_the_schema_and_the_operations_keep_the_rules() -> None:
    said = told("lint.mjs", ROOT / "schema.graphql", FOLDER)
    assert said["found"] == []
    assert said["files"] == len(collection()) + 1


def test_an_editor_finds_schema_and_operations() -> None:
    said = told("editor.mjs", ROOT)
    assert len(said["default"]["operations"]) == len(collection())
    assert {"SignIn", "Customers"} == set(said["starter"]["operations"])
    assert said["default"]["types"] == said["starter"]["types"] > 400


def test_the_rules_find_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "schema.graphql").write_text(BAD)
    (tmp_path / "operations").mkdir()
    (tmp_path / "operations/wrong.graphql").write_text(WRONG_OPERATION)
    said = told("lint.mjs", tmp_path / "schema.graphql", tmp_path / "operations")
    rules = {one["rule"].rpartition("/")[2] for one in said["found"]}
    assert rules >= {
        *("require-description", "no-hashtag-description", "naming-convention", "no-typename-prefix"),
        *("unique-enum-value-names", "require-deprecation-reason", "deprecation-says-when", "ids-are-of-nodes"),
        *("relay-connection-types", "relay-edge-types", "relay-page-info", "relay-arguments"),
        *("no-scalar-result-type-on-mutation", "no-unreachable-types"),
        *("no-anonymous-operations", "lone-executable-definition", "fields-on-correct-type", "no-unused-variables"),
    }
