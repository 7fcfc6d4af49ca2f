"""``ispgraph up``: everything on one machine, in the order in which things need each other."""

import http.client
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ispgraph.up.directory import DataDirectory, Ports, Secrets, environment
from ispgraph.up.ports import listen_problem
from ispgraph.up.postgres import APP_ROLE, OWNER_ROLE, RADIUS_ROLE, Postgres
from ispgraph.up.process import Program, UpError
from ispgraph.up.supervisor import Charge, StopRequested, Supervisor
from ispgraph.up.valkey import Valkey

PROGRAMS = ("api", "worker", "scheduler", "live", "radius")
# Only beside the demo.
_LAB, _PANEL = "lab", "panel"
_STOP_ORDER = ("api", "scheduler", "worker", "live", _LAB, _PANEL, "radius", "valkey", "postgres")
_START_SECONDS = 60.0
_LAB_ADDRESS = "127.0.0.11"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for. ``command`` starts one of our programs when its name is appended."""

    data: Path
    host: str = "127.0.0.1"
    port: int = 8000
    demo: bool = False
    command: tuple[str, ...] = (sys.executable, "-m", "ispgraph")


@dataclass(frozen=True, slots=True)
class _Demo:
    operators: list[dict[str, str]]
    radius_secret: str | None


def up(options: Options, say: Callable[[str], None]) -> None:
    """Run everything until SIGINT, SIGTERM or SIGHUP; then stop it all. Raises UpError."""
    directory = DataDirectory(options.data)
    directory.prepare()
    inherited = directory.lock()
    try:
        problem = listen_problem(options.port, options.host)
        if problem is not None:
            raise UpError(f"cannot listen on {options.host} port {options.port}: {problem}.\nName another with --port.")
        directory.withdraw()
        try:
            launch = _Launch(options, directory, inherited, say)
        except OSError as error:
            raise UpError(f"cannot use {error.filename}: {error.strerror}") from error
        launch.run()
    finally:
        directory.release()


class _Launch:
    def __init__(self, options: Options, directory: DataDirectory, inherited: int, say: Callable[[str], None]) -> None:
        self._options = options
        self._directory = directory
        self._inherited = (inherited,)
        self._say = say
        self._secrets: Secrets = directory.secrets()
        self._ports: Ports = directory.settle_ports(options.host)
        self._environment = self._child_environment()
        self._supervisor = Supervisor(say)
        directory.rotate_logs(("postgres", "valkey", "migrate", "demo", _LAB, _PANEL, *PROGRAMS))

    def run(self) -> None:
        with self._supervisor.signals():
            try:
                self._start()
                self._supervisor.run()
            except StopRequested:
                self._say("stopping")
            finally:
                self._directory.withdraw()
                self._supervisor.stop(_STOP_ORDER)

    def _start(self) -> None:
        valkey, postgres = self._servers()
        self._supervisor.wait_ready([valkey, postgres], _START_SECONDS)
        self._postgres.provision(
            {OWNER_ROLE: self._secrets.owner, APP_ROLE: self._secrets.app, RADIUS_ROLE: self._secrets.radius}
        )
        # None of our programs runs yet.
        self._supervisor.run_once(self._program("migrate", "--contract"))
        charges = [Charge(self._program(name), self._serves if name == "api" else None) for name in PROGRAMS]
        beside = [Charge(self._program(name)) for name in self._beside]
        for charge in beside:
            self._supervisor.start(charge)
        for charge in charges:
            self._supervisor.start(charge)
        self._supervisor.wait_ready(beside, _START_SECONDS)
        # While the programs import what they need: this takes as long, and a laptop has more than one core.
        demo = self._fill() if self._options.demo else _Demo([], None)
        self._supervisor.wait_ready(charges, _START_SECONDS)
        path = self._directory.publish(self._description(demo))
        self._announce(demo, path)

    def _servers(self) -> tuple[Charge, Charge]:
        path, log, inherited = self._directory.path, self._directory.log, self._inherited
        cache = Valkey(path, self._ports.valkey, self._secrets.redis, log=log("valkey"), inherited=inherited)
        cache.initialise()
        valkey = Charge(cache.program(), lambda _pid: cache.is_ready())
        self._supervisor.start(valkey)
        self._postgres = Postgres(
            path, self._ports.postgres, self._secrets.superuser, log=log("postgres"), inherited=inherited
        )
        self._postgres.initialise()
        postgres = Charge(self._postgres.program(), self._postgres.is_ready)
        self._supervisor.start(postgres)
        return valkey, postgres

    def _fill(self) -> _Demo:
        with tempfile.TemporaryFile() as output:
            self._supervisor.run_once(self._program("demo"), output.fileno())
            output.seek(0)
            answer = json.loads(output.read())
        return _Demo(answer["operators"], answer["radius_secret"])

    def _program(self, name: str, *options: str) -> Program:
        return Program(
            name=name,
            command=(*self._options.command, name, *options),
            environment=self._environment,
            log=self._directory.log(name),
            directory=Path.cwd(),
            inherited=self._inherited,
        )

    def _child_environment(self) -> Mapping[str, str]:
        # Other settings (a clock, the length of a session) pass through from the caller. The playground of a
        # machine of one's own may see the schema before signing in.
        return {
            "ISPGRAPH_INTROSPECTION": "open",
            "ISPGRAPH_STORAGE_DIR": str((self._directory.path / "storage").absolute()),
            # What the demo sends and takes goes to doubles on this machine.
            **(
                dict.fromkeys(("ISPGRAPH_PRIVATE_GATEWAYS", "ISPGRAPH_PRIVATE_WEBHOOKS"), "on")
                if self._options.demo
                else {}
            ),
            **os.environ,
            **environment(self._secrets, self._ports),
            **({"ISPGRAPH_LAB_URL": self._lab_url} if self._has_lab else {}),
            **({"ISPGRAPH_PANEL_URL": self._panel_url} if self._options.demo else {}),
            "ISPGRAPH_PANEL_FILE": str((self._directory.path / "panel.json").absolute()),
            "ISPGRAPH_HOST": self._options.host,
            "ISPGRAPH_PORT": str(self._options.port),
            "ISPGRAPH_RADIUS_HOST": self._options.host,
            "PYTHONUNBUFFERED": "1",  # "ready" must reach the log when it is said
        }

    @property
    def _has_lab(self) -> bool:
        # Each simulated router has an address of its own; not every system has the whole of 127.0.0.0/8.
        return self._options.demo and listen_problem(0, _LAB_ADDRESS) is None

    @property
    def _lab_url(self) -> str:
        return f"http://127.0.0.1:{self._ports.lab}"

    @property
    def _beside(self) -> list[str]:
        """What runs beside the demo."""
        return [*([_LAB] if self._has_lab else []), *([_PANEL] if self._options.demo else [])]

    @property
    def _panel_url(self) -> str:
        return f"http://127.0.0.1:{self._ports.panel}"

    def _serves(self, _pid: int) -> bool:
        connection = http.client.HTTPConnection(_reachable(self._options.host), self._options.port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _description(self, demo: _Demo) -> dict[str, Any]:
        host = _reachable(self._options.host)
        origin = f"{f'[{host}]' if ':' in host else host}:{self._options.port}"
        return {
            "graphql": f"http://{origin}/graphql",
            "websocket": f"ws://{origin}/graphql",
            "playground": f"http://{origin}/graphql",
            "database": self._environment["ISPGRAPH_DATABASE_URL"],
            "owner_database": self._environment["ISPGRAPH_OWNER_DATABASE_URL"],
            "redis": self._environment["ISPGRAPH_REDIS_URL"],
            "radius": {
                "host": host,
                "auth_port": self._ports.radius_auth,
                "acct_port": self._ports.radius_acct,
                "secret": demo.radius_secret,
            },
            "operators": demo.operators,
            **({"lab": {"control": self._lab_url}} if self._has_lab else {}),
            **({"hosting": self._hosting()} if self._options.demo else {}),
        }

    def _hosting(self) -> dict[str, str]:
        return {"panel": self._panel_url, "control": f"http://127.0.0.1:{self._ports.panel_control}"}

    def _announce(self, demo: _Demo, path: Path) -> None:
        description = self._description(demo)
        self._say(f"playground  {description['playground']}")
        if demo.operators:
            first = next((one for one in demo.operators if one["role"].upper() == "ADMIN"), demo.operators[0])
            self._say(f"sign in     {first['email']} with {first['password']} (tenant {first['tenant']})")
        else:
            self._say(
                f"operators   ispgraph create-operator --data {self._options.data} --tenant my-isp "
                "--email you@isp.example --name You --role ADMIN"
            )
        self._say(f"details     {path}")
        self._say("Ctrl-C stops everything")


def _reachable(host: str) -> str:
    """The address by which this machine itself reaches a server that listens on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
