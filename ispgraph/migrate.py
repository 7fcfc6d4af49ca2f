"""Brings a database to the newest revision. Alembic takes over a second to import: only this program loads it.

The programs may go on meanwhile. Every revision is a transaction of its own that waits a second at most for a lock,
since whoever comes after it waits with it; what it did not get is tried again after a while.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from ispgraph import revisions
from ispgraph.db import sqlstate
from ispgraph.revisions import Found, directory
from ispgraph.settings import SettingsError

_REST_SECONDS = (2.0, 5.0)
# For so long a lock is tried to get: a backup holds what it reads for as long as it takes.
PATIENCE_SECONDS = 600.0
# Not got in time; the victim of a deadlock.
_AGAIN = {"55P03", "40P01"}

Say = Callable[[str], None]


class MigrateError(SettingsError):
    """Migrating would do harm, or cannot be done."""


@dataclass(frozen=True, slots=True)
class Step:
    """A revision that the database has not got yet.

    `oldest_code` is set where it takes something away: programs of older revisions cannot go on after it.
    """

    revision: str
    title: str
    oldest_code: str | None


def configuration() -> Config:
    """Alembic's configuration. The database is named by ISPGRAPH_OWNER_DATABASE_URL alone."""
    config = Config()
    # A percent sign in a path would be read as interpolation.
    config.set_main_option("script_location", str(directory()).replace("%", "%%"))
    return config


def plan(owner_url: str | None) -> list[Step]:
    """What `upgrade` would do, in order. Raises MigrateError when the database is not of this product's making."""
    return _steps(_look(_required(owner_url)))


def upgrade(
    owner_url: str | None, *, contract: bool = False, patience: float = PATIENCE_SECONDS, say: Say = lambda _: None
) -> None:
    """Upgrade to the newest revision; a database that is ahead is left as it is, if this version can work with it.

    `contract`: no program runs, so that what programs of former versions use may be taken away in one go with what
    comes in its place. Raises SettingsError without the URL of the owner role, and MigrateError.
    """
    found = _look(_required(owner_url))
    steps = _steps(found)
    if not steps and found.revision != revisions.newest():
        say(f"the database is at revision {found.revision}, ahead of this version: nothing to do")
        return
    if found.revision is not None and not contract:
        _refuse_haste(found.revision, steps)
    config = configuration()
    config.attributes["say"] = say
    until = time.monotonic() + patience
    while True:
        try:
            command.upgrade(config, "head")
            return
        except DBAPIError as error:
            if sqlstate(error) not in _AGAIN:
                raise
            if time.monotonic() > until:
                raise MigrateError(
                    "a lock could not be had in all this time: something reads or changes the same tables for long. "
                    "What was done stays done: run `ispgraph migrate` again when that has ended"
                ) from error
        rest = random.uniform(*_REST_SECONDS)  # noqa: S311  jitter, not a secret
        say(f"others use the table; again in {rest:.1f} s")
        time.sleep(rest)


def _required(owner_url: str | None) -> str:
    if not owner_url:
        raise SettingsError("ISPGRAPH_OWNER_DATABASE_URL is not set: migrations run as the role that owns the tables")
    return owner_url


def _look(owner_url: str) -> Found:
    try:
        return asyncio.run(revisions.look(owner_url))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise MigrateError(f"PostgreSQL: {error or type(error).__name__}") from error


def _steps(found: Found) -> list[Step]:
    if found.revision is not None and found.revision not in revisions.known():
        revisions.judge(found)
        return []
    scripts = ScriptDirectory.from_config(configuration())
    pending = list(scripts.iterate_revisions("head", found.revision or "base"))
    return [
        Step(each.revision, (each.doc or "").partition("\n")[0], getattr(each.module, "oldest_code", None))
        for each in reversed(pending)
    ]


def _refuse_haste(present: str, steps: list[Step]) -> None:
    """What a migration takes away, the programs of the version that is installed may still use."""
    for step in steps:
        if step.oldest_code is not None and step.oldest_code > present:
            raise MigrateError(
                f"revision {step.revision} takes away what programs older than {step.oldest_code} use, and the "
                f"database is at {present}: upgrade to a version in between first, or stop all programs and "
                "run `ispgraph migrate --contract`"
            )
