"""What was read, as it is looked at."""

from ispgraph.domain.imports.rows import Plan, Problem, Row


def given(each: Row | Plan | Problem) -> dict[str, str]:
    """The values that were given."""
    assert not isinstance(each, Problem), each
    return {column: value for column, value in each.values.items() if value}
