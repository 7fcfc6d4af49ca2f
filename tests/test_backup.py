"""A backup holds everything but the keys, and a restoration gives it back whole or does not begin."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url
from sqlalchemy.engine import URL

from ispgraph import backup, clock, restore, sealing
from ispgraph.backup import BackupError
from ispgraph.db import Database
from ispgraph.domain.audit_chain import Keys
from ispgraph.domain.models import Customer
from ispgraph.settings import Settings, SettingsError
from ispgraph.up.ports import free_port
from tests.accounting import account, session
from tests.api import Api
from tests.databases import Dsns
from tests.factories import PASSWORD, House, uuid_of
from tests.servers import ROOT
from tests.subscribers import customer
from tests.wizard import Wizard

SIGN_IN = """mutation ($input: SignInInput!) { signIn(input: $input) { token errors { code } } }"""
FOUND = """query { customers(first: 5) { totalCount nodes { id name balance { amount }
  invoices(first: 3) { nodes { number status } } } } }"""
REVEAL = """mutation ($id: ID!) { customerRevealNetworkPassword(customerId: $id) { secret errors { code } } }"""
EMPTY = "SELECT set_config('session_replication_role', 'replica', false)"
PUBLIC = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"


def at(dsn: str, **parts: Any) -> str:
    url: URL = make_url(dsn).set(**parts)
    return url.render_as_string(hide_password=False)


@pytest.fixture
async def keeping(dsns: Dsns, settings: Settings) -> AsyncIterator[Settings]:
    """Settings with a role that reads past row-level security, can write nothing, and is no superuser."""
    name, password = f"backup_{secrets.token_hex(4)}", secrets.token_hex(8)
    admin = await asyncpg.connect(dsns.superuser)
    await admin.execute(f"CREATE ROLE {name} LOGIN BYPASSRLS PASSWORD '{password}'")
    await admin.execute(f"GRANT pg_read_all_data TO {name}")
    await admin.execute(f"GRANT CONNECT ON DATABASE {make_url(dsns.superuser).database} TO {name}")
    yield replace(settings, backup_database_url=at(dsns.superuser, username=name, password=password))
    await admin.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
    await admin.close()


@pytest.fixture
async def new(dsns: Dsns, settings: Settings) -> AsyncIterator[Settings]:
    """Settings that name a new database, made as docs/running.md says."""
    name = f"restored_{secrets.token_hex(6)}"
    admin = await asyncpg.connect(dsns.superuser)
    await admin.execute(f"CREATE DATABASE {name} OWNER ispgraph_owner TEMPLATE template0 ENCODING 'UTF8'")
    await admin.execute(f"REVOKE ALL ON DATABASE {name} FROM public")
    await admin.execute(f"GRANT CONNECT ON DATABASE {name} TO ispgraph_app, ispgraph_radius")
    yield replace(
        settings,
        database_url=at(dsns.app, database=name),
        owner_database_url=at(dsns.owner, database=name),
        radius_database_url=at(dsns.radius, database=name),
    )
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


async def fill(house: House, other: House, owner: Database, database: Database, api: Api, settings: Settings) -> str:
    """Something of everything: money, sessions, secrets, audit entries sealed, of two tenants. A customer's id."""
    made = []
    for each in (house, other):
        wizard = await (await Wizard.begin(api, each.admin)).fill(await each.package(), pays="200.50")
        payload = await wizard.confirm()
        assert payload["errors"] == []
        made.append(str(payload["customer"]["id"]))
        who = Customer(id=uuid_of(made[-1]))
        await account(owner, each, session(who, clock.now() - timedelta(days=200)), session(who, clock.now()))
    await sealing.seal(database, Keys.of(settings))
    return made[0]


async def program(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a person gives it."""
    urls = {
        "ISPGRAPH_DATABASE_URL": settings.database_url,
        "ISPGRAPH_OWNER_DATABASE_URL": settings.owner_database_url,
        "ISPGRAPH_BACKUP_DATABASE_URL": settings.backup_database_url,
        "ISPGRAPH_REDIS_URL": settings.redis_url,
        "ISPGRAPH_TOKEN_KEY": settings.token_key.hex(),
        "ISPGRAPH_NETWORK_KEY": settings.network_key.hex(),
    }
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "ispgraph", *arguments],
        cwd=ROOT,
        env={**os.environ, **{name: value for name, value in urls.items() if value is not None}},
        capture_output=True,
        text=True,
        check=False,
    )


async def rows(superuser: str) -> dict[str, int]:
    connection = await asyncpg.connect(superuser)
    try:
        return await backup.count(connection)
    finally:
        await connection.close()


@pytest.mark.long
async def test_everything_comes_back(
    house: House,
    other_house: House,
    owner: Database,
    database: Database,
    api: Api,
    dsns: Dsns,
    keeping: Settings,
    new: Settings,
    valkey: Any,
    tmp_path: Path,
) -> None:
    jane_id = await fill(house, other_house, owner, database, api, keeping)
    before = await rows(dsns.superuser)
    filled = {name.split("_2")[0] for name, many in before.items() if many}
    assert {"customers", "sessions", "postings", "audit_links", "invoices", "allocations", "tenants"} <= filled, filled
    file = tmp_path / "isp.backup"
    done = await program(keeping, "backup", str(file))
    assert done.returncode == 0, done.stderr
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "isp.backup": 0o600,
        "isp.backup.json": 0o600,
    }
    kept = file.read_bytes() + backup.beside(file).read_bytes()
    for key in (keeping.network_key, keeping.token_key):
        assert key not in kept
        assert key.hex().encode() not in kept
    manifest = json.loads(backup.beside(file).read_text())
    assert manifest["tables"] == before
    assert [(chain["tenant"], chain["sequence"] > 0) for chain in manifest["chains"]] == [
        *(("north", True), ("south", True))
    ]
    # A file is never written over.
    assert "is there already" in (await program(keeping, "backup", str(file))).stderr
    assert file.read_bytes() + backup.beside(file).read_bytes() == kept

    # Disaster: all rows are gone.
    admin = await asyncpg.connect(dsns.superuser)
    await admin.execute(EMPTY)
    await admin.execute("DELETE FROM customers; DELETE FROM invoices; DELETE FROM tenants")
    await admin.close()

    restored = await program(new, "restore", str(file))
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert "BROKEN" not in restored.stdout
    assert "north" in restored.stdout
    superuser = at(dsns.superuser, database=make_url(new.database_url).database)
    assert await rows(superuser) == before

    pool = Database(new.database_url, pool_size=5)
    there = Api(pool, valkey, new)
    try:
        who = {"email": house.admin.email, "password": PASSWORD, "tenant": "north"}
        assert (await there.data(SIGN_IN, input=who))["signIn"]["errors"] == []
        found = (await there.data(FOUND, house.admin))["customers"]
        assert found["totalCount"] == 1, "of this tenant alone"
        (jane,) = found["nodes"]
        assert (jane["id"], jane["balance"]["amount"]) == (jane_id, "-299.50")
        assert [invoice["status"] for invoice in jane["invoices"]["nodes"]] == ["PARTIALLY_PAID"]
        secret = (await there.data(REVEAL, house.admin, id=jane_id))["customerRevealNetworkPassword"]
        assert secret == {"secret": "a-Password-1", "errors": []}
        async with pool.read(None) as walled:
            connection = await walled.connection()
            assert (await connection.exec_driver_sql("SELECT count(*) FROM customers")).scalar_one() == 0
    finally:
        await there.close()
        await pool.dispose()
    # It is no new database any more.
    again = await program(new, "restore", str(file))
    assert (again.returncode, "is not empty" in again.stderr) == (2, True), again.stderr


async def test_what_does_not_fit_is_refused_before_anything_is_touched(
    house: House, database: Database, keeping: Settings, new: Settings, dsns: Dsns, tmp_path: Path
) -> None:
    await customer(house)
    file = tmp_path / "isp.backup"
    await asyncio.to_thread(backup.main, keeping, file)
    whole, manifest = file.read_bytes(), json.loads(backup.beside(file).read_text())

    async def refused(words: str, error: type[Exception] = BackupError, **changed: Any) -> None:
        with pytest.raises(error, match=words):
            await asyncio.to_thread(restore.main, replace(new, **changed), file)

    file.write_bytes(whole[:-1])
    await refused(r"damaged: it has \d+ of \d+ bytes")
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    await refused("damaged: its sum")
    file.write_bytes(whole)
    await refused("NETWORK_KEY", network_key=bytes(32))
    await refused("same new database", database_url=dsns.app)
    await refused("OWNER_DATABASE_URL", SettingsError, owner_database_url=None)
    await refused("does not own", owner_database_url=new.database_url)
    for changed, words in (
        ({"revision": "9999"}, "does not know"),
        ({"server": 99}, "the server is older"),
        ({"audit_keys": ["0123456789abcdef"]}, "lacks keys"),
        ({"format": 2}, "format 2"),
        ({"more": 1}, "is not what"),
    ):
        backup.beside(file).write_text(json.dumps(manifest | changed))
        await refused(words)
    backup.beside(file).unlink()
    await refused("is missing")
    connection = await asyncpg.connect(at(dsns.superuser, database=make_url(new.database_url).database))
    try:
        assert await connection.fetchval(PUBLIC) == 0
    finally:
        await connection.close()


async def test_rows_that_are_missing_are_said(
    house: House, database: Database, keeping: Settings, new: Settings, tmp_path: Path
) -> None:
    await house.zone()
    file = tmp_path / "isp.backup"
    await asyncio.to_thread(backup.main, keeping, file)
    manifest = json.loads(backup.beside(file).read_text())
    manifest["tables"]["zones"] += 1
    manifest["chains"] = [{"tenant": "north", "sequence": 7, "hash": "00" * 32}]
    backup.beside(file).write_text(json.dumps(manifest))
    done = await program(new, "restore", str(file))
    assert done.returncode == 1, done.stderr
    assert "zones: 1 rows, 2 when it was backed up" in done.stdout
    assert "its end was cut off" in done.stdout


async def test_a_role_that_sees_no_rows_makes_no_backup(house: House, keeping: Settings, tmp_path: Path) -> None:
    file = tmp_path / "isp.backup"
    for url in (keeping.database_url, keeping.owner_database_url):
        with pytest.raises(BackupError, match="row-level security holds back"):
            await asyncio.to_thread(backup.main, replace(keeping, backup_database_url=url), file)
    with pytest.raises(SettingsError, match="BACKUP_DATABASE_URL is not set"):
        await asyncio.to_thread(backup.main, replace(keeping, backup_database_url=None), file)
    away = at(keeping.database_url, port=free_port())
    with pytest.raises(BackupError, match="out of reach"):
        await asyncio.to_thread(backup.main, replace(keeping, backup_database_url=away), file)
    with pytest.raises(BackupError, match="cannot write"):
        await asyncio.to_thread(backup.main, keeping, tmp_path / "nowhere" / "isp.backup")
    assert list(tmp_path.iterdir()) == []
