"""The directory that the product writes for FreeRADIUS, and FreeRADIUS on it in bad weather."""

import os
import pwd
import re
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ispgraph.radius import configuration
from ispgraph.radius.configuration import ConfigurationError
from ispgraph.settings import Settings, SettingsError
from tests.radius import running, world
from tests.radius.client import ACCEPT, Login
from tests.radius.conftest import Network, Server, close_database, needs_freeradius, open_database

ALICE = Login("alice", world.PASSWORD)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can get to, as pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="ispgraph-radius-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@contextmanager
def _being(user: str | None, place: Path) -> Iterator[None]:
    """Act as another user, who owns the place, for a while."""
    if user is None:
        yield
        return
    entry = pwd.getpwnam(user)
    os.chown(place, entry.pw_uid, entry.pw_gid)
    os.setegid(entry.pw_gid)
    os.seteuid(entry.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def bare(**changes: object) -> Settings:
    """Settings that name no server."""
    fields: dict[str, object] = {
        "database_url": "",
        "redis_url": "",
        "token_key": bytes(32),
        "network_key": bytes(range(32)),
        "radius_database_url": "postgresql://ispgraph_radius:se%27cr%5Cet%22@db.example:6432/isp?sslmode=require",
    }
    return Settings(**(fields | changes))  # type: ignore[arg-type]


def text(directory: Path, name: str) -> str:
    """One written file."""
    return (directory / name).read_text()


def test_only_the_server_can_read_it(place: Path) -> None:
    configuration.write(place / "raddb", bare())
    for path in (place / "raddb").iterdir():
        assert not stat.S_IMODE(path.stat().st_mode) & (0o027 if path.is_dir() else 0o077), path
        if os.geteuid() == 0 and not path.name.startswith("."):
            assert path.stat().st_uid == pwd.getpwnam("freerad").pw_uid if running.FREERADIUS.exists() else True


def test_secrets_stand_in_one_file(place: Path) -> None:
    configuration.write(place / "raddb", bare())
    key = bytes(range(32)).hex()
    holding = {path.name for path in (place / "raddb").iterdir() if path.is_file() and key in path.read_text()}
    assert holding == {"secrets.conf"}
    assert 'PGPASSWORD = "se\'cr\\\\et\\""' in text(place / "raddb", "secrets.conf")


def test_no_placeholder_is_left(place: Path) -> None:
    configuration.write(place / "raddb", bare())
    for path in (place / "raddb").glob("*.conf"):
        assert not re.search("@[A-Z]+@", path.read_text()), path


def test_where_it_listens_and_connects(place: Path) -> None:
    configuration.write(place / "raddb", bare(radius_auth_port=1645), host="::1", auth_port=21812, acct_port=21813)
    site, sql = text(place / "raddb", "site.conf"), text(place / "raddb", "sql.conf")
    assert "ipv6addr = ::1" in site
    assert [line.split()[2] for line in site.splitlines() if line.startswith("\t\tport")] == ["21812", "21813"]
    assert site.index("type = auth") < site.index("21812") < site.index("type = acct") < site.index("21813")
    assert "host='db.example' port='6432' dbname='isp' user='ispgraph_radius' sslmode='require'" in sql


def test_its_own_directory_is_written_anew(place: Path) -> None:
    configuration.write(place / "raddb", bare(), auth_port=2001)
    configuration.write(place / "raddb", bare(), auth_port=2002)
    assert "port = 2002" in text(place / "raddb", "site.conf")


def test_another_directory_is_left_alone(place: Path) -> None:
    (place / "radiusd.conf").write_text("mine")
    with pytest.raises(ConfigurationError, match="did not write"):
        configuration.write(place, bare())
    assert [path.name for path in place.iterdir()] == ["radiusd.conf"]
    with pytest.raises(ConfigurationError, match="not a directory"):
        configuration.write(place / "radiusd.conf", bare())


@pytest.mark.parametrize("password", ["${ENV}", "two%0Alines"])
def test_what_freeradius_would_misread_is_refused(place: Path, password: str) -> None:
    with pytest.raises(ConfigurationError):
        configuration.write(place / "raddb", bare(radius_database_url=f"postgresql://r:{password}@h/d"))
    assert not (place / "raddb").exists()


def test_the_role_must_be_named(place: Path) -> None:
    with pytest.raises(SettingsError, match="ISPGRAPH_RADIUS_DATABASE_URL"):
        configuration.write(place / "raddb", bare(radius_database_url=None))


@needs_freeradius[0]
@needs_freeradius[1]
class TestRunning:
    """With the real server."""

    def test_unprivileged(self, place: Path, network: Network) -> None:
        """Written and run by an ordinary user."""
        settings, directory = network.settings(), place / "raddb"
        user = "nobody" if os.geteuid() == 0 else None
        with _being(user, place):
            configuration.write(directory, settings)
        assert "user =" not in text(directory, "radiusd.conf")
        with running.run_freeradius(directory, settings, user=user) as started:
            assert Server("freeradius", network, started).log_in(ALICE).code == ACCEPT

    def test_as_the_readme_says(self, place: Path, network: Network) -> None:
        """`freeradius -f -d DIR` and nothing else: what it says goes into the directory's own log."""
        settings, directory = network.settings(), place / "raddb"
        configuration.write(directory, settings)
        process = subprocess.Popen([str(running.FREERADIUS), "-f", "-d", str(directory)], env={})
        try:
            log = directory / "log" / "radius.log"
            deadline = time.monotonic() + 20
            while not (log.exists() and "Ready to process requests" in log.read_text()):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            address = (settings.radius_host, settings.radius_auth_port)
            started = running.Running(address, address, process)
            assert Server("freeradius", network, started).log_in(ALICE).code == ACCEPT
            assert "Login OK" in log.read_text()
        finally:
            process.terminate()
            process.wait(10)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can turn into another user")
    def test_root_turns_into_its_user(self, network: Network) -> None:
        with running.freeradius(network.settings()) as started:
            owner = Path(f"/proc/{started.process.pid}").stat().st_uid
            assert owner == pwd.getpwnam("freerad").pw_uid

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can turn into another user")
    def test_started_as_its_user(self, place: Path, network: Network) -> None:
        """As `setpriv --reuid=freerad` or a unit with User= does it."""
        settings = network.settings()
        configuration.write(place / "raddb", settings)
        with running.run_freeradius(place / "raddb", settings, user="freerad") as started:
            assert Server("freeradius", network, started).log_in(ALICE).code == ACCEPT

    def test_another_network_key_lets_nobody_in(self, network: Network) -> None:
        with running.freeradius(network.settings(network_key=bytes(32))) as started:
            assert Server("freeradius", network, started).log_in(ALICE, wait=0.7) is None

    def test_no_network_key_lets_nobody_in(self, place: Path, network: Network) -> None:
        settings = network.settings()
        configuration.write(place / "raddb", settings)
        secrets = place / "raddb" / "secrets.conf"
        secrets.write_text(secrets.read_text().replace("-c ispgraph.network_key=", "-c ispgraph.other="))
        with running.run_freeradius(place / "raddb", settings) as started:
            assert Server("freeradius", network, started).log_in(ALICE, wait=0.7) is None

    def test_a_database_that_is_away_is_met_with_silence_and_found_again(self, network: Network) -> None:
        with running.freeradius(network.settings()) as started:
            server = Server("freeradius", network, started)
            assert server.log_in(ALICE).code == ACCEPT
            close_database(network.name)
            assert server.log_in(ALICE, wait=1.0) is None
            open_database(network.name)
            assert next(filter(None, (server.log_in(ALICE, wait=1.0) for _ in range(15)))).code == ACCEPT

    def test_it_starts_without_the_database(self, network: Network) -> None:
        close_database(network.name)
        with running.freeradius(network.settings()) as started:
            server = Server("freeradius", network, started)
            assert server.log_in(ALICE, wait=1.0) is None
            open_database(network.name)
            assert next(filter(None, (server.log_in(ALICE, wait=1.0) for _ in range(15)))).code == ACCEPT

    def test_a_drill_moves_its_time(self, place: Path, network: Network) -> None:
        settings = network.settings()
        configuration.write(place / "raddb", settings)
        secrets = place / "raddb" / "secrets.conf"
        later = "-c ispgraph.clock_offset=864001 -c timezone=UTC"
        secrets.write_text(secrets.read_text().replace("-c timezone=UTC", later))
        with running.run_freeradius(place / "raddb", settings) as started:
            answer = Server("freeradius", network, started).log_in(ALICE)
            assert answer.attributes["Reply-Message"] == ["Account expired"]

    def test_it_listens_at_its_two_ports_only(self, network: Network) -> None:
        settings = network.settings()
        with running.freeradius(settings) as started:
            sockets = subprocess.run(
                ["/bin/sh", "-c", f"ls -l /proc/{started.process.pid}/fd"], capture_output=True, text=True, check=True
            ).stdout
            inodes = {line.rsplit("[", 1)[1].rstrip("]") for line in sockets.splitlines() if "socket:[" in line}
            rows = [row.split() for row in Path("/proc/net/udp").read_text().splitlines()[1:]]
            ports = {int(row[1].split(":")[1], 16) for row in rows if row[9] in inodes}
        assert ports == {settings.radius_auth_port, settings.radius_acct_port}
