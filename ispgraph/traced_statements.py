"""Statements as parts of a trace: their text, which has no values in it, and how long PostgreSQL took."""

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from ispgraph import traces
from ispgraph.traces import Told

_UNDER_WAY = "_ispgraph_span"
_LONGEST = 4096


def told(sql: str) -> Told:
    """What is said of a statement."""
    return {"db.system.name": "postgresql", "db.query.text": sql[:_LONGEST]}


def watch(engine: Engine) -> None:
    """Have the statements of this engine traced, those that belong to something that is."""
    event.listen(engine, "before_cursor_execute", _began)
    event.listen(engine, "after_cursor_execute", _ended)
    event.listen(engine, "handle_error", _failed)


def _began(_connection: Any, _cursor: Any, statement: str, _values: Any, context: Any, _many: bool) -> None:
    word = statement.split(maxsplit=1)[0].upper() if statement else ""
    setattr(context, _UNDER_WAY, traces.begin(word, told(statement)))


def _ended(_connection: Any, _cursor: Any, _statement: str, _values: Any, context: Any, _many: bool) -> None:
    if (span := getattr(context, _UNDER_WAY, None)) is not None:
        span.end()


def _failed(failure: Any) -> None:
    if (span := getattr(failure.execution_context, _UNDER_WAY, None)) is not None:
        error = failure.original_exception
        span.failed(str(getattr(error, "sqlstate", None) or type(error).__name__))
        span.end()
