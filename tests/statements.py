"""Counting the statements a request costs, through sessions and through compiled reads alike."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from sqlalchemy import event

from ispgraph.db import Database


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The statements sent meanwhile, without those that only name the tenant or ask who is behind a token: the answer
    to that is believed for half a second, so it comes and goes."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "set_config" not in statement and "sign_ins" not in statement:
            seen.append(statement)

    async def read_texts(sql: str, arguments: Sequence[Any]) -> list[str | None]:
        seen.append(sql)
        return await Database.read_texts(database, sql, arguments)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    with patch.object(database, "read_texts", read_texts):
        yield seen
    event.remove(database.engine.sync_engine, "before_cursor_execute", note)
