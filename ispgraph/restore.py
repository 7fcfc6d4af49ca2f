"""The program `restore`: a backup in a new database, held to what was written beside it.

All that can be known beforehand is looked at first: the file is whole, it fits this version, the keys at hand are those
with which it was sealed, the database is empty. Afterwards every table has its rows, the books balance, and the chains
of audit entries end where they did.
"""

import asyncio
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import asyncpg
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy.engine import make_url

from ispgraph import invariants, migrate, postgres_tools, verify_audit
from ispgraph.backup import BackupError, Manifest, count, fingerprints
from ispgraph.db import Database
from ispgraph.domain.audit_chain import Keys
from ispgraph.settings import Settings, SettingsError
from ispgraph.verify_audit import Anchor

_ROLES = ("ispgraph_app", "ispgraph_radius")
_EMPTY = """
SELECT NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace)
   AND NOT EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'public'::regnamespace)"""


def main(settings: Settings, file: Path) -> int:
    """Restore, check, and give the exit status: 1 when the database is there but something in it is wrong.

    Raises BackupError before anything is touched when the file or the database cannot be used.
    """
    owner = _owner(settings)
    manifest = Manifest.read(file)
    _check_file(file, manifest)
    _check_keys(settings, manifest)
    tool = postgres_tools.find("pg_restore", manifest.tool)
    postgres_tools.run(tool, "--list", str(file))
    try:
        asyncio.run(_check_database(owner, manifest))
    except (OSError, asyncpg.PostgresError) as error:
        raise BackupError(f"PostgreSQL: {error}") from error
    return _restored(settings, owner, file, manifest, tool)


def _owner(settings: Settings) -> str:
    if settings.owner_database_url is None:
        raise SettingsError("ISPGRAPH_OWNER_DATABASE_URL is not set")
    owner, app = make_url(settings.owner_database_url), make_url(settings.database_url)
    if (owner.host, owner.port or 5432, owner.database) != (app.host, app.port or 5432, app.database):
        raise BackupError("ISPGRAPH_OWNER_DATABASE_URL and ISPGRAPH_DATABASE_URL must name the same new database")
    return settings.owner_database_url


def _check_file(file: Path, manifest: Manifest) -> None:
    try:
        size = file.stat().st_size
        if size != manifest.size:
            raise BackupError(f"{file} is damaged: it has {size} of {manifest.size} bytes")
        with file.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != manifest.sha256:
                raise BackupError(f"{file} is damaged: its sum is not the one of the file that was written")
    except OSError as error:
        raise BackupError(f"cannot read {file}: {error.strerror}") from error
    try:
        ScriptDirectory.from_config(migrate.configuration()).get_revision(manifest.revision)
    except CommandError as error:
        raise BackupError(
            f"the backup is of revision {manifest.revision}, which this ispgraph does not know"
        ) from error


def _check_keys(settings: Settings, manifest: Manifest) -> None:
    if not set(manifest.network_key.split(",")) <= set(fingerprints(settings.network_key)):
        raise BackupError("ISPGRAPH_NETWORK_KEY is not the key that sealed the passwords in this backup, or lacks one")
    missing = set(manifest.audit_keys) - set(Keys.of(settings).by_name)
    if missing:
        names = ", ".join(sorted(missing))
        raise BackupError(f"ISPGRAPH_AUDIT_KEY lacks keys that sealed audit entries in this backup: {names}")


async def _check_database(owner: str, manifest: Manifest) -> None:
    connection = await asyncpg.connect(owner, timeout=10)
    try:
        if connection.get_server_version().major < manifest.server:
            raise BackupError(f"the backup is of PostgreSQL {manifest.server}, and the server is older")
        found: Any = await connection.fetchrow(
            "SELECT datname, pg_get_userbyid(datdba) = current_user AS owned, pg_encoding_to_char(encoding) AS encoding"
            "  FROM pg_database WHERE datname = current_database()"
        )
        if not found["owned"]:
            raise BackupError(f"ISPGRAPH_OWNER_DATABASE_URL names a role that does not own {found['datname']}")
        if found["encoding"] != "UTF8":
            raise BackupError(f"{found['datname']} is encoded in {found['encoding']}, not in UTF8")
        if not await connection.fetchval(_EMPTY):
            raise BackupError(f"{found['datname']} is not empty: a backup is restored in a new database")
        there = await connection.fetch("SELECT rolname FROM pg_roles WHERE rolname = any($1::text[])", list(_ROLES))
        if len(there) < len(_ROLES):
            raise BackupError("the roles are missing: docs/running.md, Roles of the database, says how they are made")
    finally:
        await connection.close(timeout=5)


def _restored(settings: Settings, owner: str, file: Path, manifest: Manifest, tool: Path) -> int:
    # Row-level security is switched on at the very end, by the last section: until then the owner sees every row.
    for section in ("pre-data", "data"):
        _fill(tool, owner, file, section)
    lost = asyncio.run(_lost(owner, manifest))
    for line in lost:
        sys.stdout.write(f"{line}\n")
    _fill(tool, owner, file, "post-data")
    asyncio.run(_analyze(owner))
    os.environ["ISPGRAPH_OWNER_DATABASE_URL"] = owner  # where migrations/env.py reads it
    migrate.upgrade(owner)
    broken = invariants.main(settings, as_json=False)
    torn = asyncio.run(_audited(settings, manifest))
    return 1 if lost or broken or torn else 0


def _fill(tool: Path, owner: str, file: Path, section: str) -> None:
    options = ("--no-owner", "--exit-on-error", "--single-transaction", "--no-password", f"--section={section}")
    database = make_url(owner).database or ""
    try:
        postgres_tools.run(tool, *options, f"--dbname={database}", str(file), url=owner)
    except postgres_tools.ToolError as error:
        raise BackupError(f"{error}\n{database} is half restored: drop it, and begin with a new one") from error


async def _lost(owner: str, manifest: Manifest) -> list[str]:
    connection = await asyncpg.connect(owner, timeout=10)
    try:
        found = await count(connection)
    finally:
        await connection.close(timeout=5)
    return [
        f"{name}: {found.get(name, 0)} rows, {manifest.tables.get(name, 0)} when it was backed up"
        for name in sorted(found.keys() | manifest.tables.keys())
        if found.get(name) != manifest.tables.get(name)
    ]


async def _analyze(owner: str) -> None:
    connection = await asyncpg.connect(owner, timeout=10)
    try:
        await connection.execute("ANALYZE")
    finally:
        await connection.close(timeout=5)


async def _audited(settings: Settings, manifest: Manifest) -> bool:
    expected = {each["tenant"]: Anchor(each["sequence"], each["hash"]) for each in manifest.chains}
    database = Database.of(settings, pool_size=1)
    try:
        chains = await verify_audit.check(database, Keys.of(settings), None, expected)
    finally:
        await database.dispose()
    verify_audit.report(chains, False, sys.stdout)
    return any(chain.problem for chain in chains)
