"""The program `backup`: the whole database in one file, and beside it what a restoration is held to.

The file is `pg_dump`'s custom format. Beside it `FILE.json` holds its length and sum, how many rows each table had, and
where each chain of audit entries ended, all of the same snapshot. No key is in either: without them what is sealed in
the file cannot be read.

It is read as a role that row-level security does not hold back. As any other, `pg_dump` would refuse, or leave out what
belongs to tenants without a word.
"""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import asyncpg

from ispgraph import clock, postgres_tools
from ispgraph.domain import secrets
from ispgraph.domain.audit_chain import START
from ispgraph.postgres_tools import ToolError
from ispgraph.settings import Settings, SettingsError
from ispgraph.written import put

FORMAT = 1
_CHUNK = 2**20
_TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'public' AND c.relkind = 'r' ORDER BY 1"""
_ENDS = """
SELECT t.slug AS tenant, coalesce(l.sequence, 0) AS sequence, coalesce(l.hash, $1) AS hash
  FROM tenants t LEFT JOIN LATERAL (
       SELECT sequence, hash FROM audit_links WHERE tenant_id = t.id ORDER BY sequence DESC LIMIT 1) l ON true
 ORDER BY 1"""


class BackupError(Exception):
    """What a person can put right; the message says what."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is written beside the file. `chains` is as `verify-audit --json` prints it, for its `--expect`."""

    format: int
    made_at: str
    server: int
    tool: int
    revision: str
    size: int
    sha256: str
    network_key: str
    """Which key sealed what is in the file, or which keys, with commas; tells nothing about them."""
    audit_keys: list[str]
    tables: Mapping[str, int]
    chains: list[dict[str, Any]]

    @classmethod
    def read(cls, file: Path) -> Self:
        """That of a file. Raises BackupError when it is missing or of another format."""
        path = beside(file)
        try:
            content = json.loads(path.read_text())
            if content["format"] != FORMAT:
                raise BackupError(f"{path} has format {content['format']}; this version of ispgraph reads {FORMAT}")
            return cls(**content)
        except FileNotFoundError:
            raise BackupError(f"{path} is missing: a backup is complete with both files") from None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BackupError(f"{path} cannot be read: it is not what `ispgraph backup` wrote") from error


def beside(file: Path) -> Path:
    """Where the manifest of a file is."""
    return file.with_name(f"{file.name}.json")


def fingerprints(network_key: bytes) -> list[str]:
    """What tells each of the keys from others."""
    return [found[:16] for found in secrets.digests(network_key, "ispgraph backup")]


def main(settings: Settings, file: Path) -> None:
    """Write `file` and what belongs beside it. Raises BackupError, ToolError or SettingsError, and leaves nothing."""
    if settings.backup_database_url is None:
        raise SettingsError(
            "ISPGRAPH_BACKUP_DATABASE_URL is not set: a role that row-level security does not hold back"
        )
    for path in (file, beside(file)):
        if path.exists():
            raise BackupError(f"{path} is there already")
    partial = file.with_name(f".{file.name}.partial")
    try:
        manifest = asyncio.run(_write(settings, settings.backup_database_url, partial))
        partial.replace(file)
        # Last: a file without it is not complete.
        put(beside(file), json.dumps(asdict(manifest), indent=1) + "\n")
    except OSError as error:
        raise BackupError(f"cannot write {file}: {error.strerror or error}") from error
    except asyncpg.PostgresError as error:
        raise BackupError(f"PostgreSQL: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    sys.stdout.write(f"{file}: {sum(manifest.tables.values())} rows of {len(manifest.tables)} tables\n")


async def _write(settings: Settings, url: str, partial: Path) -> Manifest:
    try:
        connection = await asyncpg.connect(url, timeout=10, server_settings={"application_name": "ispgraph backup"})
    except OSError as error:
        raise BackupError(f"PostgreSQL of ISPGRAPH_BACKUP_DATABASE_URL is out of reach: {error}") from error
    try:
        if not await connection.fetchval("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"):
            raise BackupError(
                "ISPGRAPH_BACKUP_DATABASE_URL names a role that row-level security holds back: rows would be missing.\n"
                "docs/running.md, Roles of the database, says how to make ispgraph_backup."
            )
        server = connection.get_server_version().major
        tool = postgres_tools.find("pg_dump", server)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
            tables = await count(connection)
            ends = [
                {"tenant": row["tenant"], "sequence": row["sequence"], "hash": row["hash"].hex()}
                for row in await connection.fetch(_ENDS, START)
            ]
            keys = await connection.fetch("SELECT DISTINCT key_name FROM audit_links ORDER BY 1")
            revision = await connection.fetchval("SELECT version_num FROM alembic_version")
            size, digest = await asyncio.to_thread(_dump, tool, url, snapshot, partial)
    finally:
        await connection.close(timeout=5)
    return Manifest(
        format=FORMAT,
        made_at=clock.now().isoformat(),
        server=server,
        tool=postgres_tools.version(tool),
        revision=revision,
        size=size,
        sha256=digest,
        network_key=",".join(fingerprints(settings.network_key)),
        audit_keys=[row["key_name"] for row in keys],
        tables=tables,
        chains=ends,
    )


async def count(connection: "asyncpg.Connection[Any]") -> dict[str, int]:
    """How many rows each table has that this role sees."""
    names = [row["relname"] for row in await connection.fetch(_TABLES)]
    return {name: await connection.fetchval(f'SELECT count(*) FROM public."{name}"') for name in names}  # noqa: S608


def _dump(tool: Path, url: str, snapshot: str, partial: Path) -> tuple[int, str]:
    partial.unlink(missing_ok=True)
    sum_, size = hashlib.sha256(), 0
    command = [str(tool), "--format=custom", "--no-password", f"--snapshot={snapshot}", "--lock-wait-timeout=60s"]
    with (
        os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
        subprocess.Popen(
            command, env=postgres_tools.environment(url), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as child,
    ):
        assert child.stdout is not None
        assert child.stderr is not None
        while chunk := child.stdout.read(_CHUNK):
            file.write(chunk)
            sum_.update(chunk)
            size += len(chunk)
        words = child.stderr.read().decode(errors="replace").strip()
        if child.wait() != 0:
            raise ToolError(f"pg_dump: {words[-2000:]}")
        file.flush()
        os.fsync(file.fileno())
    return size, sum_.hexdigest()
