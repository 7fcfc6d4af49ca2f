"""What `disorder` takes for an order."""

import pytest

from tests.disorder import ordered


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT a FROM t", False),
        ("SELECT a FROM t\nORDER  BY a", True),
        ("SELECT a FROM t WHERE b IN (SELECT c FROM u ORDER BY c LIMIT (1))", False),
        ("SELECT json_agg(a ORDER BY (b)), 'it''s (in) ORDER BY' FROM t -- ORDER BY a", False),
        ("SELECT row_number() OVER (ORDER BY a) AS n FROM t order by n", True),
        ("UPDATE t SET a = 1 RETURNING b", False),
        ("EXPLAIN SELECT a FROM t", True),
    ],
)
def test_what_stands_inside_does_not_put_rows_in_order(sql: str, says: bool) -> None:
    assert ordered(sql) == says
