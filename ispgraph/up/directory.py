"""The data directory of ``ispgraph up``: what is kept in it, and who may use it now.

::

    ispgraph.json   marker with the format of the directory
    lock            held by the launcher; holds its process id
    children.lock   held by every child too: free only when the last process is gone
    secrets.json    passwords and keys, made once (mode 0600)
    ports.json      the ports chosen at the first start
    postgres/ valkey/ log/
    up.json         where everything listens; there only while it runs (mode 0600)
"""

import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ispgraph.up.ports import is_free, server_port
from ispgraph.up.postgres import APP_ROLE, DATABASE, OWNER_ROLE, RADIUS_ROLE, SUPERUSER
from ispgraph.up.process import UpError

FORMAT = 1
_LEFTOVER_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Secrets:
    """Passwords (URL-safe text) and keys (64 hexadecimal digits), made once for a directory."""

    superuser: str = field(repr=False)
    owner: str = field(repr=False)
    app: str = field(repr=False)
    radius: str = field(repr=False)
    redis: str = field(repr=False)
    token_key: str = field(repr=False)
    network_key: str = field(repr=False)

    @classmethod
    def fresh(cls) -> "Secrets":
        passwords = {name: secrets.token_hex(20) for name in ("superuser", "owner", "app", "radius", "redis")}
        return cls(**passwords, token_key=secrets.token_hex(32), network_key=secrets.token_hex(32))


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the embedded servers, the RADIUS responder and the simulated network listen."""

    postgres: int
    valkey: int
    radius_auth: int
    radius_acct: int
    lab: int = 0
    """0 where it was never needed, as the next two."""
    panel: int = 0
    panel_control: int = 0

    @classmethod
    def fresh(cls, radius_host: str) -> "Ports":
        usual = all(is_free(port, socket.SOCK_DGRAM, radius_host) for port in (1812, 1813))
        auth, acct = (1812, 1813) if usual else _two(socket.SOCK_DGRAM, radius_host)
        return cls(*_two(socket.SOCK_STREAM, "127.0.0.1"), radius_auth=auth, radius_acct=acct).settled(radius_host)

    def settled(self, radius_host: str) -> "Ports":
        """The same ports, but another in place of each that someone else took meanwhile."""
        tcp = {name: getattr(self, name) for name in ("postgres", "valkey")}
        udp = {name: getattr(self, name) for name in ("radius_auth", "radius_acct")}
        changed = {name: server_port() for name, port in tcp.items() if not is_free(port)}
        for name, port in udp.items():
            if not is_free(port, socket.SOCK_DGRAM, radius_host):
                changed[name] = server_port(socket.SOCK_DGRAM, radius_host)
        for name in ("lab", "panel", "panel_control"):
            port = getattr(self, name)
            while not port or port in tcp.values() or not is_free(port):
                port = changed[name] = server_port()
            tcp[name] = port
        return replace(self, **changed)


def _two(kind: socket.SocketKind, host: str) -> tuple[int, int]:
    first = server_port(kind, host)
    second = server_port(kind, host)
    while second == first:
        second = server_port(kind, host)
    return first, second


class DataDirectory:
    """A directory of ours, made when it is not there. Raises UpError for anything a person must put right."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._held: list[int] = []

    def prepare(self) -> None:
        """Make the directory, or recognise it; refuse a foreign one and one of a newer format."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            marker = self.path / "ispgraph.json"
            if marker.exists():
                self._check_format(marker)
            else:
                if any(self.path.iterdir()):
                    raise UpError(
                        f"{self.path} is not empty and was not made by ispgraph.\n"
                        "Name another directory with --data, or an empty one."
                    )
                # Root's servers run under another account, which must get through to its own directory.
                self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
                _write(marker, {"format": FORMAT})
            (self.path / "log").mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise UpError(f"cannot write to the data directory {self.path}: {error.strerror}") from error

    def _check_format(self, marker: Path) -> None:
        found = _read(marker).get("format")
        if found != FORMAT:
            raise UpError(f"{self.path} has format {found}; this version of ispgraph reads format {FORMAT}.")

    def lock(self) -> int:
        """Take the directory for this process; answers the descriptor that children must inherit.

        Children of a killed launcher may need a moment to go: they hold the second lock, and it is waited for.
        """
        own = self._open_lock("lock")
        if not _try(own):
            holder = (self.path / "lock").read_text().strip()
            raise UpError(f"ispgraph up is running on {self.path} already (process {holder or 'unknown'}).")
        os.ftruncate(own, 0)
        os.write(own, f"{os.getpid()}\n".encode())
        children = self._open_lock("children.lock")
        deadline = time.monotonic() + _LEFTOVER_SECONDS
        while not _try(children):
            if time.monotonic() > deadline:
                raise UpError(f"processes of an earlier run still use {self.path}; end them and try again.")
            time.sleep(0.05)
        return children

    def _open_lock(self, name: str) -> int:
        try:
            descriptor = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UpError(f"cannot write to the data directory {self.path}: {error.strerror}") from error
        self._held.append(descriptor)
        return descriptor

    def release(self) -> None:
        """Give the directory back: the end of the process would do it too."""
        while self._held:
            os.close(self._held.pop())

    def secrets(self) -> Secrets:
        """The secrets, made at the first call."""
        path = self.path / "secrets.json"
        if path.exists():
            return Secrets(**_read(path))
        made = Secrets.fresh()
        _write(path, asdict(made))
        return made

    def settle_ports(self, radius_host: str) -> Ports:
        """The ports of the last start where they are still free, kept for the next one."""
        path = self.path / "ports.json"
        ports = Ports(**_read(path)).settled(radius_host) if path.exists() else Ports.fresh(radius_host)
        _write(path, asdict(ports))
        return ports

    def environment(self) -> dict[str, str]:
        """The ``ISPGRAPH_*`` variables that reach what runs on this directory. Raises UpError when nothing ever did."""
        try:
            found, ports = Secrets(**_read(self.path / "secrets.json")), Ports(**_read(self.path / "ports.json"))
        except FileNotFoundError as error:
            raise UpError(f"{self.path} is not a data directory: start `ispgraph up` first.") from error
        except OSError as error:
            raise UpError(f"cannot read the data directory {self.path}: {error.strerror}") from error
        # Of no program that runs: only whoever makes a backup reads past row-level security.
        superuser = f"postgresql://{SUPERUSER}:{found.superuser}@127.0.0.1:{ports.postgres}/{DATABASE}"
        return environment(found, ports) | {"ISPGRAPH_BACKUP_DATABASE_URL": superuser}

    def log(self, name: str) -> Path:
        """The log of one program."""
        return self.path / "log" / f"{name}.log"

    def rotate_logs(self, names: Iterable[str]) -> None:
        """Begin new logs and keep those of the last run beside them (``.1``)."""
        for name in names:
            log = self.log(name)
            if log.exists():
                log.replace(log.with_suffix(".log.1"))

    def publish(self, content: dict[str, Any]) -> Path:
        """Write up.json, whole or not at all."""
        path = self.path / "up.json"
        _write(path, content)
        return path

    def withdraw(self) -> None:
        """Remove up.json."""
        (self.path / "up.json").unlink(missing_ok=True)


def environment(found: Secrets, ports: Ports) -> dict[str, str]:
    """The settings that name the embedded servers."""
    server = f"127.0.0.1:{ports.postgres}/{DATABASE}"
    return {
        "ISPGRAPH_DATABASE_URL": f"postgresql://{APP_ROLE}:{found.app}@{server}",
        "ISPGRAPH_OWNER_DATABASE_URL": f"postgresql://{OWNER_ROLE}:{found.owner}@{server}",
        "ISPGRAPH_RADIUS_DATABASE_URL": f"postgresql://{RADIUS_ROLE}:{found.radius}@{server}",
        "ISPGRAPH_REDIS_URL": f"redis://:{found.redis}@127.0.0.1:{ports.valkey}/0",
        "ISPGRAPH_TOKEN_KEY": found.token_key,
        "ISPGRAPH_NETWORK_KEY": found.network_key,
        "ISPGRAPH_RADIUS_AUTH_PORT": str(ports.radius_auth),
        "ISPGRAPH_RADIUS_ACCT_PORT": str(ports.radius_acct),
        "ISPGRAPH_LAB_PORT": str(ports.lab),
        "ISPGRAPH_PANEL_PORT": str(ports.panel),
        "ISPGRAPH_PANEL_CONTROL_PORT": str(ports.panel_control),
    }


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise UpError(f"{path} is damaged; restore it from a backup.") from error
    if not isinstance(content, dict):
        raise UpError(f"{path} is damaged; restore it from a backup.")
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
