"""Which revisions of the database this version of the programs can work with.

Each program looks when it starts. It needs what its own newest migration has made; a database that is ahead of it is
one in the middle of an upgrade, and is well, unless a migration has since taken away what this version still uses.
Alembic takes over a second to import: the programs read the names of its files instead.
"""

import asyncio
import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import asyncpg
from sqlalchemy.engine import make_url

from ispgraph.settings import SettingsError

_CONNECT_SECONDS = 5.0

_log = logging.getLogger(__name__)


class WrongRevision(SettingsError):
    """The database and this version do not go together."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a database says about itself.

    `oldest_code` is the newest revision of the oldest version whose programs still work; None where no migration
    has said so yet.
    """

    revision: str | None
    oldest_code: str | None


def directory() -> Path:
    """Where the migrations are: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


@cache
def known() -> tuple[str, ...]:
    """Every revision of this version, the oldest first; names of files begin with them."""
    return tuple(sorted(path.name.partition("_")[0] for path in (directory() / "versions").glob("[0-9]*_*.py")))


def newest() -> str:
    """The revision that this version brings a database to."""
    return known()[-1]


async def look(url: str) -> Found:
    """Ask a database, as whatever role. Raises OSError and asyncpg.PostgresError when it cannot be asked."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    # Behind a pooler statements are not prepared by name.
    connection = await asyncpg.connect(plain, timeout=_CONNECT_SECONDS, statement_cache_size=0)
    try:
        # As text, for a database from before 0050 has no such column.
        row = await connection.fetchrow(
            "SELECT version_num, to_jsonb(v) ->> 'oldest_code' AS oldest_code FROM alembic_version v"
        )
    except asyncpg.UndefinedTableError:
        row = None
    finally:
        await connection.close(timeout=_CONNECT_SECONDS)
    return Found(None, None) if row is None else Found(row["version_num"], row["oldest_code"])


def require(url: str) -> None:
    """Raise WrongRevision when a program of this version must not work on the database.

    One that is away is no reason: programs wait for it.
    """
    try:
        found = asyncio.run(look(url))
    except asyncpg.InsufficientPrivilegeError:
        # Nobody but the owner could read the revision before 0050.
        raise WrongRevision(_too_old("an older revision")) from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        _log.warning("the revision of the database is not known: %s", error or type(error).__name__)
        return
    judge(found)
    if found.revision != newest():
        _log.warning("the database is at revision %s, ahead of this version (%s)", found.revision, newest())


def judge(found: Found) -> None:
    """Raise WrongRevision unless this version works with what was found."""
    if found.revision == newest():
        return
    if found.revision is None:
        raise WrongRevision(_too_old("no revision: it is empty"))
    if found.revision in known():
        raise WrongRevision(_too_old(f"revision {found.revision}"))
    if found.oldest_code is not None and found.oldest_code > newest():
        raise WrongRevision(
            f"the database is at revision {found.revision}, and serves programs from revision {found.oldest_code} on; "
            f"this version is of revision {newest()}. Run a newer version"
        )


def _too_old(what: str) -> str:
    return f"the database is at {what}, and this version needs {newest()}. Run `ispgraph migrate` first"
