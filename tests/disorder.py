"""With ISPGRAPH_TEST_DISORDER=1, rows that a statement does not put in order come the other way round.

PostgreSQL promises no order without ORDER BY, and mostly keeps that of writing: who counts on it finds out here. It
concerns the tests' own statements and those of the product, where both are in one process; not what is aggregated
inside of a statement.
"""

import re
from typing import Any

from asyncpg.connection import Connection
from asyncpg.prepared_stmt import PreparedStatement

# A literal, a remark, or parentheses without others in them: an ORDER BY in there is not that of the result.
_INSIDE = re.compile(r"'[^']*'|--[^\n]*|\([^()]*\)")
# A plan is a text, line by line.
_ORDERED = re.compile(r"\border\s+by\b|^\s*explain\b", re.IGNORECASE)


def ordered(sql: str) -> bool:
    """Whether the statement says in which order its rows come."""
    found = 1
    while found:
        sql, found = _INSIDE.subn(" ", sql)
    return bool(_ORDERED.search(sql))


def spread() -> None:
    """From here on, in this process."""
    execute, fetch = Connection._execute, PreparedStatement.fetch

    async def executed(self: Any, query: str, args: Any, limit: int, timeout: float | None, **options: Any) -> Any:
        if options.get("return_status") or ordered(query):
            return await execute(self, query, args, limit, timeout, **options)
        rows = (await execute(self, query, args, 0, timeout, **options))[::-1]
        return rows[:limit] if limit else rows

    async def fetched(self: Any, *args: Any, timeout: float | None = None) -> Any:
        rows = await fetch(self, *args, timeout=timeout)
        return rows if ordered(self.get_query()) else rows[::-1]

    Connection._execute = executed
    PreparedStatement.fetch = fetched
