"""What a migration really does to tables that were there before it, seen from inside of its own transactions.

After each statement the locks that are held and the rows that were looked at are asked of PostgreSQL, on the same
connection: what a function or a DO block does is seen as well. Statements outside of a transaction take what they take
for themselves alone and are only kept.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, event

# Few rows for each tenant, or none: changed by people, one at a time.
SMALL = frozenset(
    [
        "alembic_version",
        "announcements",
        "billing_profiles",
        "billing_runs",
        "bulk_runs",
        "commission_rates",
        "custom_fields",
        "customer_imports",
        "dunning_steps",
        "gateways",
        "hosting_servers",
        "message_templates",
        "operator_grants",
        "operators",
        "packages",
        "portal_admins",
        "portal_assets",
        "portals",
        "price_overrides",
        "routers",
        "suspend_rules",
        "tax_profiles",
        "tenant_logos",
        "tenants",
        "webhook_endpoints",
        "zones",
    ]
)

_STRONG = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
_LOCKED = f"""
SELECT c.oid::bigint FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
 WHERE l.pid = pg_backend_pid() AND l.granted AND c.relkind IN ('r', 'p') AND l.mode IN {_STRONG}"""
_SEEN = """
SELECT relid::bigint, seq_scan + COALESCE(idx_scan, 0), n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables
 WHERE schemaname = 'public'"""
_FILES = """
SELECT c.oid::bigint, c.relname::text, c.relfilenode::bigint, c.relispartition FROM pg_class c
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"""
_WORDS = """
SELECT c.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod),
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
   AND a.attnum > 0 AND NOT a.attisdropped
 UNION ALL
SELECT p.oid::regprocedure::text, pg_get_function_result(p.oid), false
  FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f'
   AND p.prorettype <> 'trigger'::regtype
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')"""
_TABLE = re.compile(r"\b(?:ALTER TABLE(?: IF EXISTS)?(?: ONLY)?|ON)\s+(?:public\.)?\"?(\w+)", re.IGNORECASE)


@dataclass(frozen=True)
class Form:
    """The tables there are, with their files, and what programs may name: column or function, its type, and whether
    whoever writes a row has to give it."""

    tables: dict[int, tuple[str, int]]
    words: dict[str, tuple[str, bool]]

    def big(self) -> dict[int, str]:
        """Those that may have many rows."""
        return {oid: name for oid, (name, _) in self.tables.items() if name not in SMALL}


@dataclass
class Observed:
    """What was seen."""

    statements: list[tuple[str, bool]] = field(default_factory=list)
    """Each with whether it was in a transaction."""
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        """One is enough of each kind."""
        if text not in self.faults:
            self.faults.append(text)


def form(rows: dict[str, list[Any]]) -> Form:
    """Made of the answers to `questions`."""
    return Form(
        {oid: (name, file) for oid, name, file, _ in rows["files"]},
        {name: (kind, required) for name, kind, required in rows["words"]},
    )


def questions() -> dict[str, str]:
    """What has to be asked for a form."""
    return {"files": _FILES, "words": _WORDS}


@contextlib.contextmanager
def watching(before: Form) -> Iterator[Observed]:
    """Watch every statement of this process that goes through SQLAlchemy."""
    observed, watcher = Observed(), _Watcher(before.big())
    watcher.observed = observed
    hooks = [
        ("before_cursor_execute", watcher.before),
        ("after_cursor_execute", watcher.after),
        ("commit", watcher.ended),
        ("rollback", watcher.ended),
    ]
    for name, act in hooks:
        event.listen(Engine, name, act)
    try:
        yield observed
    finally:
        for name, act in hooks:
            event.remove(Engine, name, act)


class _Watcher:
    def __init__(self, big: dict[int, str]) -> None:
        self.observed = Observed()
        self._big = big
        self._asking = False
        self._seen: dict[int, tuple[int, int]] | None = None
        self._written: dict[int, int] = {}

    def before(self, connection: Connection, *_: Any) -> None:
        # Counts of former transactions may not have been handed in yet.
        if not self._asking and self._seen is None and _in_transaction(connection):
            self._seen = self._look(connection)
            self._written = {oid: written for oid, (_, written) in self._seen.items()}

    def after(self, connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if self._asking:
            return
        self.observed.statements.append((statement, _in_transaction(connection)))
        if self._seen is None:
            return
        now = self._look(connection)
        locked = [self._big[oid] for (oid,) in self._ask(connection, _LOCKED) if oid in self._big]
        for oid, (scans, written) in now.items():
            name = self._big.get(oid)
            if name is None:
                continue
            if locked and scans > self._seen.get(oid, (0, 0))[0]:
                self.observed.fault(f"reads through {name} while nobody may write {locked[0]}")
            if written > self._written.get(oid, 0):
                self.observed.fault(f"changes rows of {name} in one transaction")
        self._seen = now

    def ended(self, _connection: Connection) -> None:
        self._seen = None

    def _look(self, connection: Connection) -> dict[int, tuple[int, int]]:
        return {oid: (scans, written) for oid, scans, written in self._ask(connection, _SEEN)}

    def _ask(self, connection: Connection, question: str) -> list[Any]:
        self._asking = True
        try:
            return list(connection.exec_driver_sql(question))
        finally:
            self._asking = False


def _in_transaction(connection: Connection) -> bool:
    return connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT"


def judged(observed: Observed, before: Form, after: Form, revision: str, oldest_code: str | None) -> list[str]:
    """Everything that is wrong with a migration."""
    faults = list(observed.faults)
    big = before.big()
    for oid, (name, file) in after.tables.items():
        if oid in big and file != before.tables[oid][1]:
            faults.append(f"writes {name} anew")
    if oldest_code is not None:
        if not oldest_code < revision:
            faults.append(f"says that it serves programs from {oldest_code} on: the last version has to be among them")
        return faults
    tables = {name for name, _ in before.tables.values()}
    for name, (kind, _) in before.words.items():
        if name not in after.words:
            faults.append(f"takes away {name}, and does not say from which version on that is well (oldest_code)")
        elif after.words[name][0] != kind:
            faults.append(f"makes {name} {after.words[name][0]} of {kind}, and does not say oldest_code")
    for name, (_, required) in after.words.items():
        if required and name.partition(".")[0] in tables and not before.words.get(name, ("", False))[1]:
            faults.append(f"asks for {name}, which the last version does not give")
    return faults


def of_big_tables(statements: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """Without those that are about a small table alone."""
    kept = []
    for statement, inside in statements:
        named = _TABLE.search(statement)
        if named is None or named[1] not in SMALL:
            kept.append((statement, inside))
    return kept
