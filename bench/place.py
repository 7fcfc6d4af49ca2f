"""A directory with a PostgreSQL of its own that benchmarks keep: how it is set up, started and reached."""

import hashlib
import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from ispgraph import clock
from ispgraph.domain import tokens
from ispgraph.settings import Settings
from ispgraph.up.ports import free_port
from ispgraph.up.postgres import APP_ROLE, DATABASE, OWNER_ROLE, RADIUS_ROLE, Postgres
from ispgraph.up.valkey import Valkey

ROOT = Path(__file__).parent.parent
DIRECTORY = Path("/tmp/bench-data")

# What an operator of a database of this size would set, but for durability: nothing here has to survive a crash.
OPTIONS = {
    "shared_buffers": "2GB",
    "effective_cache_size": "6GB",
    "work_mem": "32MB",
    "maintenance_work_mem": "512MB",
    "random_page_cost": "1.1",
    "max_connections": "150",
    "autovacuum": "off",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "shared_preload_libraries": "pg_stat_statements",
}


@dataclass(frozen=True, slots=True)
class Description:
    """What a data set was made from, and what a benchmark needs to reach it. Kept in bench.json (mode 0600).

    `until` is the instant at which the data ends: every program is run with its clock set to it.
    """

    customers: int
    sessions: int
    seed: int
    until: datetime
    passwords: dict[str, str] = field(repr=False)
    token_key: str = field(repr=False)
    network_key: str = field(repr=False)
    tenant_id: str = ""
    operator_id: str = ""
    sign_in_id: str = ""
    other_tenant_id: str = ""
    migrations: str = ""

    @classmethod
    def fresh(cls, customers: int, sessions: int, seed: int, until: datetime) -> "Description":
        names = ("superuser", OWNER_ROLE, APP_ROLE, RADIUS_ROLE)
        passwords = {name: secrets.token_hex(16) for name in names}
        return cls(customers, sessions, seed, until, passwords, secrets.token_hex(32), secrets.token_hex(32))


def fingerprint() -> str:
    """What the migrations are now, in a few characters."""
    texts = [path.read_bytes() for path in sorted((ROOT / "migrations" / "versions").glob("*.py"))]
    return hashlib.sha256(b"".join(texts)).hexdigest()[:16]


class NotReady(Exception):
    """There is no finished data set in the directory; the message says how to make one."""


class Place:
    """A directory with a data set, finished or being made."""

    def __init__(self, directory: Path, description: Description) -> None:
        self.directory = directory
        self.description = description
        self.postgres = Postgres(directory, free_port(), description.passwords["superuser"], options=OPTIONS)

    @classmethod
    def open(cls, directory: Path) -> "Place":
        """The finished data set of a directory. Raises NotReady."""
        try:
            content = json.loads((directory / "bench.json").read_text())
        except FileNotFoundError:
            raise NotReady(f"no data set in {directory}: run `python -m bench.data --dir {directory}` first") from None
        content["until"] = datetime.fromisoformat(content["until"])
        place = cls(directory, Description(**content))
        if place.description.migrations != fingerprint():
            sys.stderr.write(f"warning: the migrations have changed since {directory} was made\n")
        return place

    def finish(self, **known: str) -> None:
        """Write bench.json: from now on the directory can be opened."""
        self.description = replace(self.description, **known)
        content = asdict(self.description) | {"until": self.description.until.isoformat()}
        path = self.directory / "bench.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(content, indent=2) + "\n")

    @contextmanager
    def running(self) -> Iterator[None]:
        """PostgreSQL runs inside; the clock of this process stands where the data ends."""
        clock.set_clock(self.description.until.isoformat())
        self.postgres.initialise()
        self.postgres.start()
        try:
            self._count_statements("none")
            yield
        finally:
            self.postgres.stop(60)

    def _count_statements(self, which: str) -> None:
        self.postgres.execute(f"ALTER SYSTEM SET pg_stat_statements.track = '{which}'; SELECT pg_reload_conf()")

    @contextmanager
    def counted(self) -> Iterator[list[int]]:
        """Counts the statements that clients send inside as the application's role, transactions included; the list
        holds the number afterwards. Counting costs time, so it is off while anything is timed."""
        self.postgres.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements", DATABASE)
        self._count_statements("top")
        time.sleep(0.3)  # every backend reads the setting at its next statement, once it was told
        self.postgres.execute("SELECT pg_stat_statements_reset()", DATABASE)
        found: list[int] = []
        try:
            yield found
        finally:
            calls = f"SELECT COALESCE(sum(calls), 0) FROM pg_stat_statements WHERE userid = '{APP_ROLE}'::regrole"
            found.append(int(self.postgres.execute(calls, DATABASE)))
            self._count_statements("none")
            time.sleep(0.3)

    @contextmanager
    def valkey(self) -> Iterator[str]:
        """A Valkey in memory, by its URL."""
        server = Valkey(self.directory, free_port(), secrets.token_hex(8), persistent=False)
        server.initialise()
        server.start()
        try:
            yield server.url()
        finally:
            server.stop()

    def dsn(self, role: str = APP_ROLE) -> str:
        """The URL of the database as one of the three roles, or as `superuser`."""
        if role == "superuser":
            return self.postgres.superuser_dsn(DATABASE)
        return self.postgres.dsn(role, self.description.passwords[role])

    def settings(self, redis_url: str, *, pool: int = 8, port: int = 8000) -> Settings:
        """What the product's programs are told."""
        return Settings.from_env(self.environment(redis_url, pool=pool, port=port))

    def environment(self, redis_url: str, *, pool: int = 8, port: int = 8000) -> dict[str, str]:
        """The same as variables, with nothing of the caller's but the search path."""
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LC_ALL": "C.UTF-8",
            "ISPGRAPH_DATABASE_URL": self.dsn(APP_ROLE),
            "ISPGRAPH_OWNER_DATABASE_URL": self.dsn(OWNER_ROLE),
            "ISPGRAPH_REDIS_URL": redis_url,
            "ISPGRAPH_TOKEN_KEY": self.description.token_key,
            "ISPGRAPH_NETWORK_KEY": self.description.network_key,
            "ISPGRAPH_DATABASE_POOL": str(pool),
            "ISPGRAPH_PORT": str(port),
            # Kept as ever, and never spent: one token asks as fast as the machine can answer.
            "ISPGRAPH_COST_PER_SECOND": "1000000000",
            "ISPGRAPH_SOCKETS_PER_OPERATOR": "1000000",
            "ISPGRAPH_CLOCK": self.description.until.isoformat(),
        }

    def token(self) -> str:
        """A real token of the first tenant's admin; it lasts a day."""
        known = self.description
        claims = tokens.Claims(
            tenant_id=UUID(known.tenant_id),
            operator_id=UUID(known.operator_id),
            session_id=UUID(known.sign_in_id),
            version=1,
            expires_at=(known.until + timedelta(days=1)).astimezone(UTC).replace(microsecond=0),
        )
        return tokens.issue(bytes.fromhex(known.token_key), claims)
