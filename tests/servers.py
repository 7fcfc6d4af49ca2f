"""The servers the tests run on: one PostgreSQL and one Valkey for the whole run, databases made of one template."""

import asyncio
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import asyncpg

from ispgraph.up.ports import free_port
from ispgraph.up.postgres import Postgres
from ispgraph.up.valkey import Valkey

ROOT = Path(__file__).parent.parent
TEMPLATE = "template_ispgraph"
PASSWORDS = {role: secrets.token_hex(8) for role in ("ispgraph_owner", "ispgraph_app", "ispgraph_radius")}
# A crash of the machine may lose the test data; a crash of a server may not, so full_page_writes stays.
_FAST = {"fsync": "off", "synchronous_commit": "off", "autovacuum": "off", "max_connections": "300"}
# A test opens half a dozen connections, and each would hash the password of its role 4096 times.
_FAST |= {"scram_iterations": "1"}
# A database is hundreds of small files: where there is room they are made in memory, in a third of the time.
_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 6 * 2**30


class Servers:
    """Started once by the process that controls the run; its workers are told through the environment."""

    def __init__(self) -> None:
        roomy = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES
        self._directory = tempfile.TemporaryDirectory(prefix="ispgraph-tests-", dir=_MEMORY if roomy else None)
        place = Path(self._directory.name)
        place.chmod(0o755)
        self._password = secrets.token_hex(8)
        self.postgres = Postgres(place, free_port(), self._password, options=_FAST)
        self.valkey = Valkey(place, free_port(), secrets.token_hex(8), persistent=False)

    def start(self) -> None:
        """Start both, migrate the template, and leave word in the environment."""
        self.postgres.initialise()
        self.postgres.start()
        self.valkey.initialise()
        self.valkey.start()
        self.postgres.provision(PASSWORDS, TEMPLATE)
        asyncio.run(self._hash_again())
        migrate(self.postgres.dsn("ispgraph_owner", PASSWORDS["ispgraph_owner"], TEMPLATE))
        os.environ["ISPGRAPH_TEST_POSTGRES"] = self.postgres.superuser_dsn("postgres")
        os.environ["ISPGRAPH_TEST_REDIS"] = self.valkey.url()
        for role, password in PASSWORDS.items():
            os.environ[f"ISPGRAPH_TEST_{role.upper()}"] = password

    async def _hash_again(self) -> None:
        """The superuser's password was hashed before the settings held."""
        connection = await asyncpg.connect(self.postgres.superuser_dsn("postgres"))
        await connection.execute(f"ALTER ROLE CURRENT_USER PASSWORD '{self._password}'")
        await connection.close()

    def stop(self) -> None:
        """Stop both and delete their data."""
        self.valkey.stop()
        self.postgres.stop()
        self._directory.cleanup()


def migrate(owner_dsn: str, *arguments: str) -> None:
    """Run alembic as the owner; by default to the newest revision. Fails with alembic's own words."""
    done = subprocess.run(
        [sys.executable, "-m", "alembic", *(arguments or ("upgrade", "head"))],
        cwd=ROOT,
        env={**os.environ, "ISPGRAPH_OWNER_DATABASE_URL": owner_dsn},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
