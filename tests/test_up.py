"""`ispgraph up`: starts, heals, stops, resumes, and says clearly what is wrong.

The programs are stand-ins where only the launcher is looked at; test_the_product runs the real ones.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest
import redis

from ispgraph.up.directory import DataDirectory
from ispgraph.up.ports import free_port
from ispgraph.up.process import UpError
from ispgraph.up.supervisor import delay_after
from tests import stand_in

pytestmark = pytest.mark.slow

LAUNCH = """
import sys
from pathlib import Path
from ispgraph.up import launch
from ispgraph.up.process import UpError
stand_in, data, port, demo = sys.argv[1:]
options = launch.Options(Path(data), port=int(port), demo=demo == "demo", command=(sys.executable, stand_in))
try:
    launch.up(options, lambda text: print(text, flush=True))
except UpError as error:
    print(f"ispgraph: {error}", file=sys.stderr)
    sys.exit(2)
"""

POWERS = """select count(*) from pg_roles where rolname like 'ispgraph%'
and (rolsuper or rolbypassrls or rolcreatedb or rolcreaterole or rolreplication)"""


class Run:
    """One launcher in a session of its own, so that everything it leaves behind can be found."""

    def __init__(self, command: list[str], data: Path) -> None:
        self.data = data
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def up(self, seconds: float = 120) -> dict[str, Any]:
        """Wait for up.json."""
        until(lambda: (self.data / "up.json").exists() or self.process.poll() is not None, seconds)
        assert self.process.poll() is None, self.process.communicate()
        content: dict[str, Any] = json.loads((self.data / "up.json").read_text())
        return content

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)

    def output(self) -> tuple[str, str]:
        return self.process.communicate(timeout=30)

    def left(self) -> list[str]:
        """Processes of this run: of its session, or working inside its data directory (PostgreSQL's own sessions)."""
        return [
            f"{found.pid} {found.last}"
            for found in processes()
            if found.session == self.process.pid or found.place.startswith(str(self.data))
        ]

    def pid(self, word: str) -> int:
        """The process of this session whose last argument is ``word``, or whose program is called so; 0 for none."""
        ours = (found for found in processes() if found.session == self.process.pid)
        return next((found.pid for found in ours if word in (found.last, found.program)), 0)


class Found(NamedTuple):
    pid: int
    session: int
    last: str
    program: str
    place: str


def processes() -> Iterator[Found]:
    """Everything that runs, with its last argument, its program and where it works."""
    for entry in Path("/proc").iterdir():
        # Any may end while it is looked at; those of the kernel have no program.
        with contextlib.suppress(ValueError, OSError):
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            last = (entry / "cmdline").read_text().rstrip("\0").split("\0")[-1]
            program = Path(os.readlink(entry / "exe")).name
            if fields[0] != "Z":
                yield Found(int(entry.name), int(fields[3]), last, program, os.readlink(entry / "cwd"))


def kill_all(runs: list[Run]) -> None:
    for run in runs:
        run.process.kill()
        run.process.communicate()
    until(lambda: not any(run.left() for run in runs))


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for something outside this process that tells nobody when it happens."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def launch(data: Path) -> Iterator[Callable[..., Run]]:
    """Starts the launcher over stand-ins."""
    runs: list[Run] = []

    def start(*, demo: bool = False, port: int | None = None, at: Path = data) -> Run:
        arguments = [stand_in.__file__, str(at), str(port or free_port()), "demo" if demo else "-"]
        runs.append(Run([sys.executable, "-c", LAUNCH, *arguments], at))
        return runs[-1]

    yield start
    kill_all(runs)


def query(dsn: str, sql: str) -> Any:
    async def ask() -> Any:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(ask())


def published(data: Path) -> Any:
    with contextlib.suppress(FileNotFoundError):
        return json.loads((data / "up.json").read_text())


def works(action: Callable[[], object]) -> bool:
    try:
        action()
    except (OSError, asyncpg.PostgresError, redis.RedisError):
        return False
    return True


def ping(up: dict[str, Any]) -> None:
    with redis.Redis.from_url(up["redis"]) as client:
        client.ping()


def health(up: dict[str, Any]) -> str:
    address = up["graphql"].removesuffix("/graphql") + "/healthz"
    with urllib.request.urlopen(address, timeout=5) as answer:
        text: str = answer.read().decode()
        return text


def test_up_json_says_where_everything_is_and_only_the_owner_reads_it(launch: Callable[..., Run], data: Path) -> None:
    run = launch(demo=True)
    up = run.up()

    assert set(up) == {
        *("graphql", "websocket", "playground", "database", "owner_database", "redis", "radius", "operators", "lab"),
        "hosting",
    }
    assert (list(up["lab"]), list(up["hosting"])) == (["control"], ["panel", "control"])
    assert up["websocket"] == up["graphql"].replace("http:", "ws:")
    assert set(up["radius"]) == {"host", "auth_port", "acct_port", "secret"}
    assert up["operators"] == [{"email": "a@b", "password": "p", "role": "ADMIN", "tenant": "t"}]
    assert query(up["database"], "select current_user::text") == "ispgraph_app"
    assert query(up["owner_database"], "select current_user::text") == "ispgraph_owner"
    ping(up)
    assert query(up["database"], POWERS) == 0
    assert query(up["database"], "select has_database_privilege('ispgraph', 'create')") is False
    assert query(up["database"], "show synchronous_commit") == "on"
    for name in ("up.json", "secrets.json", "ports.json"):
        assert (data / name).stat().st_mode & 0o777 == 0o600, name
    assert run.stop() == 0
    assert "a@b" in run.output()[0]


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything_and_a_second_start_resumes(launch: Callable[..., Run], number: int) -> None:
    run = launch()
    up = run.up()
    query(up["owner_database"], "create table kept as select 1 as one")
    with redis.Redis.from_url(up["redis"]) as client:
        client.set("kept", "two")

    assert run.stop(number) == 0
    assert run.left() == []
    assert not (run.data / "up.json").exists()

    again = launch().up()
    assert again["database"] == up["database"]
    assert again["redis"] == up["redis"]
    assert query(again["owner_database"], "select one from kept") == 1
    with redis.Redis.from_url(again["redis"]) as client:
        assert client.get("kept") == b"two"


@pytest.mark.long
def test_killed_children_come_back(launch: Callable[..., Run]) -> None:
    run = launch()
    up = run.up()
    query(up["owner_database"], "create table kept as select 1 as one")
    children = ("api", "worker", "scheduler", "live", "radius", "postgres", "valkey-server")
    for name in children:
        before = run.pid(name)
        assert before, "kill(0) would end this test run"
        os.kill(before, signal.SIGKILL)
        until(lambda name=name, before=before: run.pid(name) not in (0, before))  # type: ignore[misc]

    until(lambda: works(lambda: health(up)))
    until(lambda: works(lambda: query(up["owner_database"], "select one from kept")))
    until(lambda: works(lambda: ping(up)))
    assert run.stop() == 0
    assert run.output()[0].count("killed by signal 9; starting it again") == len(children)
    assert run.left() == []


@pytest.mark.long
def test_a_killed_launcher_leaves_nothing_and_the_next_start_waits_for_the_leftovers(
    launch: Callable[..., Run],
) -> None:
    run = launch()
    up = run.up()
    query(up["owner_database"], "create table kept as select 1 as one")
    run.process.kill()
    run.process.wait()

    again = launch()
    until(lambda: published(run.data) not in (None, up))
    assert query(again.up()["owner_database"], "select one from kept") == 1
    again.stop()
    until(lambda: not run.left())


def test_a_second_up_on_the_same_data_names_the_first(launch: Callable[..., Run]) -> None:
    first = launch()
    first.up()
    second = launch()
    assert second.process.wait(20) == 2
    message = second.output()[1]
    assert f"process {first.process.pid}" in message
    assert "Traceback" not in message
    assert works(lambda: health(first.up()))


def test_a_busy_port_is_named(launch: Callable[..., Run]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        run = launch(port=port)
        assert run.process.wait(20) == 2
        message = run.output()[1]
    assert f"port {port}" in message
    assert "another program uses it" in message
    assert "Traceback" not in message


@pytest.mark.long
def test_a_kept_port_that_was_taken_meanwhile_is_replaced(launch: Callable[..., Run], data: Path) -> None:
    run = launch()
    run.up()
    run.stop()
    taken = json.loads((data / "ports.json").read_text())["valkey"]
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", taken))
        other.listen()
        again = launch()
        again.up()
        assert json.loads((data / "ports.json").read_text())["valkey"] != taken


def test_a_foreign_directory_is_left_alone(launch: Callable[..., Run], data: Path) -> None:
    data.mkdir()
    (data / "thesis.txt").write_text("mine")
    run = launch()
    assert run.process.wait(20) == 2
    assert "was not made by ispgraph" in run.output()[1]
    assert [path.name for path in data.iterdir()] == ["thesis.txt"]


def test_a_directory_of_a_newer_version_is_refused(data: Path) -> None:
    data.mkdir()
    (data / "ispgraph.json").write_text('{"format": 99}')
    with pytest.raises(UpError, match="has format 99"):
        DataDirectory(data).prepare()


def test_a_place_that_cannot_be_written_is_named(launch: Callable[..., Run], data: Path) -> None:
    data.parent.joinpath("file").write_text("")
    run = launch(at=data.parent / "file" / "data")
    assert run.process.wait(20) == 2
    message = run.output()[1]
    assert "cannot write to the data directory" in message
    assert "Traceback" not in message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must change to another account")
def test_as_root_the_server_runs_as_someone_else_even_where_only_root_may_go(
    launch: Callable[..., Run], data: Path
) -> None:
    data.parent.chmod(0o700)
    run = launch()
    up = run.up()
    place = Path((data / "postgres.place").read_text().strip())
    try:
        assert Path(f"/proc/{run.pid('postgres')}").stat().st_uid != 0
        assert query(up["database"], "select 1") == 1
        assert run.stop() == 0
    finally:
        run.stop()
        shutil.rmtree(place)


def test_a_program_that_keeps_dying_is_started_ever_more_slowly() -> None:
    delays: list[float | None] = [None]
    for _ in range(8):
        delays.append(delay_after(delays[-1], lived=1))
    assert delays[1:] == [0, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]
    assert delay_after(5, lived=31) == 0


@pytest.fixture
def product(data: Path) -> Iterator[Callable[[], Run]]:
    """Starts the real programs as a user does."""
    runs: list[Run] = []

    def start() -> Run:
        command = [sys.executable, "-m", "ispgraph", "up", "--demo"]
        runs.append(Run([*command, "--data", str(data), "--port", str(free_port())], data))
        return runs[-1]

    yield start
    kill_all(runs)


@pytest.mark.long
def test_the_product_starts_is_sound_stops_and_resumes(product: Callable[[], Run]) -> None:
    run = product()
    up = run.up()
    assert health(up)
    assert {operator["role"] for operator in up["operators"]} >= {"ADMIN", "STAFF"}
    assert up["radius"]["secret"]
    command = [sys.executable, "-m", "ispgraph", "check-invariants", "--data", str(run.data)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert run.stop() == 0
    assert run.left() == []

    again = product()
    assert again.up()["operators"] == up["operators"]
    assert again.stop(signal.SIGINT) == 0


def test_a_command_without_servers_says_what_to_do(data: Path) -> None:
    command = [sys.executable, "-m", "ispgraph", "check-invariants", "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "start `ispgraph up` first" in done.stderr
    assert "Traceback" not in done.stderr
