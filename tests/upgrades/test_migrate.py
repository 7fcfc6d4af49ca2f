"""The command `migrate` beside running programs, and what programs say to a database that is not theirs."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from sqlalchemy import make_url

from ispgraph import migrate, revisions
from ispgraph.migrate import MigrateError
from ispgraph.revisions import Found, WrongRevision
from ispgraph.settings import Settings, SettingsError
from tests.conftest import Dsns
from tests.upgrades.databases import migrating, with_more

ROOT = Path(__file__).parent.parent.parent
ADDED = "0050"
BEFORE = revisions.known()[revisions.known().index(ADDED) - 1]

TOY = """
from alembic import op
revision = "9000"
down_revision = "{behind}"
oldest_code = "{oldest}"
def upgrade():
    op.execute("SELECT 1")
"""


async def ispgraph(settings: Settings, *words: str) -> tuple[int | None, str]:
    """The command as a person starts it: exit status, and what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ispgraph", *words),
        cwd=ROOT,
        env={
            **os.environ,
            "ISPGRAPH_DATABASE_URL": settings.database_url,
            "ISPGRAPH_OWNER_DATABASE_URL": settings.owner_database_url or "",
            "ISPGRAPH_RADIUS_DATABASE_URL": settings.radius_database_url or "",
            "ISPGRAPH_REDIS_URL": settings.redis_url,
            "ISPGRAPH_TOKEN_KEY": settings.token_key.hex(),
            "ISPGRAPH_NETWORK_KEY": settings.network_key.hex(),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, said.decode()


@pytest.fixture
async def empty() -> AsyncIterator[str]:
    """A database that the owner has just been given: its URL."""
    name = f"migrated_{secrets.token_hex(6)}"
    admin = await asyncpg.connect(os.environ["ISPGRAPH_TEST_POSTGRES"])
    await admin.execute(f"CREATE DATABASE {name} OWNER ispgraph_owner TEMPLATE template0")
    url = make_url(os.environ["ISPGRAPH_TEST_POSTGRES"]).set(database=name, username="ispgraph_owner")
    yield url.set(password=os.environ["ISPGRAPH_TEST_ISPGRAPH_OWNER"]).render_as_string(hide_password=False)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


async def test_two_at_once_are_as_one(empty: str, settings: Settings) -> None:
    environment = {**os.environ, "ISPGRAPH_OWNER_DATABASE_URL": empty, "ISPGRAPH_DATABASE_URL": settings.database_url}
    environment |= {"ISPGRAPH_REDIS_URL": settings.redis_url, "ISPGRAPH_TOKEN_KEY": settings.token_key.hex()}
    environment |= {"ISPGRAPH_NETWORK_KEY": settings.network_key.hex()}
    both = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ispgraph", "migrate"),
            cwd=ROOT,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        for _ in range(2)
    ]
    said = [(await asyncio.wait_for(each.communicate(), 120))[0].decode() for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    # Each revision was carried out by one of them.
    lines = sorted(line.partition(" ")[0] for text in said for line in text.splitlines())
    assert lines == list(revisions.known())
    assert await revisions.look(empty) == Found(revisions.newest(), None)


async def test_it_does_not_wait_in_the_way_of_others(dsns: Dsns, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody reads for long what is to be changed: whoever comes later is held up for a second, no longer."""
    await migrating(dsns, command.downgrade, BEFORE)
    reader, other = await asyncpg.connect(dsns.superuser), await asyncpg.connect(dsns.superuser)
    reading = reader.transaction()
    await reading.start()
    await reader.execute("SELECT * FROM alembic_version")
    monkeypatch.setenv("ISPGRAPH_OWNER_DATABASE_URL", dsns.owner)
    monkeypatch.setattr(migrate, "_REST_SECONDS", (0.3, 0.5))
    said: list[str] = []
    running = asyncio.create_task(asyncio.to_thread(migrate.upgrade, dsns.owner, say=said.append))
    loop = asyncio.get_running_loop()
    longest = 0.0
    while sum("again in" in each for each in said) < 2:
        began = loop.time()
        await other.execute("SELECT * FROM alembic_version")
        longest = max(longest, loop.time() - began)
        assert not running.done()
        await asyncio.sleep(0.01)
    assert 0.3 < longest < 3, "it stood in the way, for a moment"
    await reading.rollback()
    await asyncio.wait_for(running, 30)
    assert f"{ADDED} Which programs" in "\n".join(said)
    assert (await revisions.look(dsns.app)).revision == revisions.newest()

    await migrating(dsns, command.downgrade, BEFORE)
    await reading_again(reader)
    with pytest.raises(MigrateError, match="a lock could not be had"):
        await asyncio.to_thread(migrate.upgrade, dsns.owner, patience=0.1)
    assert (await revisions.look(dsns.owner)).revision == BEFORE
    await reader.close()
    await other.close()


async def reading_again(reader: "asyncpg.Connection[asyncpg.Record]") -> None:
    """In a transaction that nobody ends."""
    await reader.execute("BEGIN; SELECT * FROM alembic_version")


async def test_a_plan_and_a_refusal_of_haste(
    dsns: Dsns, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await ispgraph(settings, "migrate", "--check") == (0, "")
    await migrating(dsns, command.downgrade, BEFORE)
    status, said = await ispgraph(settings, "migrate", "--check")
    assert (status, said.partition(",")[0]) == (
        1,
        f"{ADDED} Which programs the database serves: the oldest version that works with it",
    )
    status, said = await ispgraph(settings, "migrate", "--plan")
    assert (status, said[:4]) == (0, ADDED)
    assert (await revisions.look(dsns.owner)).revision == BEFORE, "nothing was done"

    # What is taken away may only go when the last version no longer uses it.
    config = with_more(tmp_path, toy=TOY.format(behind=revisions.newest(), oldest=ADDED))
    monkeypatch.setattr(migrate, "configuration", lambda: config)
    monkeypatch.setenv("ISPGRAPH_OWNER_DATABASE_URL", dsns.owner)
    with pytest.raises(MigrateError, match=f"9000 takes away what programs older than {ADDED} use"):
        await asyncio.to_thread(migrate.upgrade, dsns.owner)
    assert (await revisions.look(dsns.owner)).revision == BEFORE
    assert (await asyncio.to_thread(migrate.plan, dsns.owner))[-1].oldest_code == ADDED
    await asyncio.to_thread(lambda: migrate.upgrade(dsns.owner, contract=True))
    assert await revisions.look(dsns.app) == Found("9000", ADDED)
    with pytest.raises(SettingsError, match="ISPGRAPH_OWNER_DATABASE_URL"):
        migrate.upgrade(None)


@pytest.mark.long
async def test_programs_refuse_a_database_that_is_not_theirs(
    dsns: Dsns, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    # Ahead, and well: an upgrade is going on, or was taken back.
    owner = await asyncpg.connect(dsns.owner)
    await owner.execute("UPDATE alembic_version SET version_num = '9999', oldest_code = $1", revisions.newest())
    await asyncio.to_thread(revisions.require, dsns.app)
    assert "ahead of this version" in caplog.text
    status, said = await ispgraph(settings, "migrate")
    assert (status, said) == (0, "the database is at revision 9999, ahead of this version: nothing to do\n")

    # Ahead, and something that this version uses is gone.
    await owner.execute("UPDATE alembic_version SET oldest_code = '9998'")
    for program in ("worker", "radius"):
        status, said = await ispgraph(settings, program)
        assert status == 2
        assert "serves programs from revision 9998 on" in said
    assert (await ispgraph(settings, "migrate"))[0] == 2

    # Behind.
    await owner.execute("UPDATE alembic_version SET version_num = $1, oldest_code = NULL", BEFORE)
    for program in ("api", "scheduler", "live"):
        status, said = await ispgraph(settings, program)
        assert (status, said) == (
            2,
            f"ispgraph: the database is at revision {BEFORE}, and this version needs {revisions.newest()}. "
            "Run `ispgraph migrate` first\n",
        )
    await owner.execute("REVOKE SELECT ON alembic_version FROM ispgraph_app")
    with pytest.raises(WrongRevision, match="an older revision"):
        await asyncio.to_thread(revisions.require, dsns.app)
    await owner.execute("DROP TABLE alembic_version")
    with pytest.raises(WrongRevision, match="it is empty"):
        await asyncio.to_thread(revisions.require, dsns.app)
    await owner.close()
    # Away: whoever waits for it waits as before.
    away = make_url(dsns.app).set(port=1).render_as_string(hide_password=False)
    await asyncio.to_thread(revisions.require, away)
