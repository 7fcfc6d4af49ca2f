"""A database with rows in it that a test migrates, as the owner role, in a thread."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.config import Config

from ispgraph import mirror
from ispgraph.migrate import configuration
from ispgraph.settings import Settings
from tests.conftest import Dsns
from tests.upgrades import observed
from tests.upgrades.observed import Form


async def filled(settings: Settings) -> None:
    """Rows in most tables: two fictional providers."""
    await mirror.seed(settings)


async def migrating(dsns: Dsns, act: Callable[..., object], *arguments: Any, config: Config | None = None) -> None:
    """Run a command of Alembic; in a thread, for the migrations bring an event loop of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISPGRAPH_OWNER_DATABASE_URL", dsns.owner)
        await asyncio.to_thread(act, config or configuration(), *arguments)


async def upgraded(dsns: Dsns, revision: str, config: Config | None = None) -> None:
    """To this revision."""
    await migrating(dsns, command.upgrade, revision, config=config)


async def form(dsns: Dsns) -> Form:
    """What the database is like."""
    connection = await asyncpg.connect(dsns.superuser)
    try:
        return observed.form({name: await connection.fetch(sql) for name, sql in observed.questions().items()})
    finally:
        await connection.close()


def with_more(place: Path, **toys: str) -> Config:
    """The migrations of the product and some of a test's own behind them, by revision: what `upgrade` does, and
    what stands before it."""
    config = configuration()
    versions = Path(config.get_main_option("script_location") or "") / "versions"
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", f"{versions}{os.pathsep}{place}".replace("%", "%%"))
    place.mkdir(exist_ok=True)
    for name, text in toys.items():
        (place / f"{name}.py").write_text(text)
    return config
