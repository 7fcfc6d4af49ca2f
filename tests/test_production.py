"""The files for production: they name what is there, nothing that is not, and what they start runs."""

import asyncio
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import typer.main
import yaml

from bench.servers import installed
from ispgraph import metrics
from ispgraph.api.server import DRAIN_SECONDS
from ispgraph.cli import app
from ispgraph.db import Database
from ispgraph.production import directory as production
from ispgraph.up.ports import free_port, is_free
from ispgraph.up.postgres import Postgres
from ispgraph.up.valkey import Valkey
from ispgraph.written import ConfigurationError
from tests.servers import ROOT

COMMANDS = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
ENVIRONMENTS = ("ispgraph.env", "owner.env", "radius.env", "database.env", "redis.env")
SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",), "gauge": ("",)}


@pytest.fixture
def written(data: Path) -> Path:
    """A directory as `ispgraph production-files` writes it."""
    assert production.write(data, database_host="database", redis_host="redis", program=_program(data)) == []
    return data


def _program(data: Path) -> Path:
    path = data.parent / "ispgraph"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m ispgraph "$@"\n')
    path.chmod(0o755)
    return path


def variables(path: Path) -> dict[str, str]:
    """What an environment file sets."""
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if line and line[0] != "#")


def test_every_setting_is_there_and_nothing_else(written: Path) -> None:
    text = "".join((written / name).read_text() for name in ("ispgraph.env", "owner.env", "radius.env"))
    named = re.findall(r"^#?(ISPGRAPH_[A-Z0-9_]+)=", text, re.M)
    known = set(re.findall(r'"(ISPGRAPH_[A-Z0-9_]+)"', (ROOT / "ispgraph/settings.py").read_text()))
    assert len(known) > 25
    assert sorted(named) == sorted(known), "each once"
    assert "@" not in re.sub(r"[0-9a-f]{40}@", "", text), "a word was not filled in"


def test_secrets_are_made_once_and_are_nobody_elses(written: Path) -> None:
    before = {name: (written / name).read_text() for name in ENVIRONMENTS}
    (written / "compose.yaml").write_text("changed")
    assert production.write(written, database_host="other", redis_host="other") == sorted(ENVIRONMENTS)
    assert {name: (written / name).read_text() for name in ENVIRONMENTS} == before
    assert "services:" in (written / "compose.yaml").read_text()
    found: list[str] = []
    for path in written.rglob("*"):
        if path.is_file() and not path.is_relative_to(written / "image"):
            secret = path.name in before
            assert (stat.S_IMODE(path.stat().st_mode) == 0o600) is (secret or path.name.startswith(".prod")), path
            text = path.read_text()
            found += set(re.findall(r"[0-9a-f]{40,}", text)) if path.name == "ispgraph.env" else []
            assert secret or not re.search(r"[0-9a-f]{40}", text), path
    keys = [variables(written / "ispgraph.env")[f"ISPGRAPH_{name}_KEY"] for name in ("TOKEN", "NETWORK", "AUDIT")]
    assert len(set(keys)) == 3
    # Half of them lost: new ones would not fit what is sealed.
    (written / "owner.env").unlink()
    with pytest.raises(ConfigurationError, match=r"has lost owner\.env"):
        production.write(written, database_host="database", redis_host="redis")


def test_a_directory_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(ConfigurationError, match="holds files that ispgraph did not write"):
        production.write(tmp_path, database_host="database", redis_host="redis")
    for host in ("a b", "host:5432", "$(x)", ""):
        with pytest.raises(ConfigurationError, match="host"):
            production.write(tmp_path / "new", database_host=host, redis_host="redis")
    with pytest.raises(ConfigurationError, match="characters"):
        production.write(tmp_path / "with space", database_host="database", redis_host="redis")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def names_of_figures() -> set[str]:
    """Every name under which the programs show something."""
    kept = [getattr(metrics, name) for name in dir(metrics)] + list(metrics.FIGURES.values())
    found = set()
    for figure in kept:
        if hasattr(figure, "_type") and hasattr(figure, "_name"):
            found |= {figure._name + suffix for suffix in SUFFIXES[figure._type]}
    return found


def test_monitoring_asks_for_what_is_shown(written: Path) -> None:
    shown = names_of_figures()
    assert {"ispgraph_mutations_total", "ispgraph_request_seconds_bucket", "ispgraph_jobs_due"} <= shown
    dashboard = json.loads((written / "grafana.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    rules = [rule for group in _yaml(written / "alerts.yml")["groups"] for rule in group["rules"]]
    on_the_board = _figures(asked)
    in_alerts = _figures(rule["expr"] for rule in rules)
    assert on_the_board | in_alerts <= shown
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in shown}
    assert {re.sub("_(bucket|count|sum)$", "", name) for name in on_the_board} == families
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
    for name in ("prometheus.yml", "prometheus-units.yml"):
        assert _yaml(written / name)["rule_files"] == ["alerts.yml"]


def _figures(expressions: Any) -> set[str]:
    return set(re.findall(r"ispgraph_[a-z_]+", " ".join(expressions)))


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_the_containers_run_what_there_is(written: Path) -> None:
    compose = _yaml(written / "compose.yaml")
    services = compose["services"]
    ours = {name: service for name, service in services.items() if "build" in service}
    assert set(ours) == {"migrate", "api", "worker", "scheduler", "live", "radius"}
    dockerfile = (written / "Dockerfile").read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\w+)$", dockerfile, re.M))
    drain = int(re.findall(r"stop_grace_period: (\d+)s", (written / "compose.yaml").read_text())[0])
    assert drain >= DRAIN_SECONDS + 5
    for name, service in ours.items():
        command = service["command"][0]
        told = re.search(r"-m ispgraph (\S+)", command)
        assert (told.group(1) if told else command) in COMMANDS, name
        assert service["build"]["target"] in stages
        assert service["read_only"] is True
        assert service["stop_grace_period"] == "20s"
        assert name == "migrate" or service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    # Who gets which secrets.
    assert {name: set(service["env_file"]) for name, service in services.items() if "env_file" in service} == {
        **{name: {"ispgraph.env"} for name in ("api", "worker", "scheduler", "live")},
        "migrate": {"ispgraph.env", "owner.env"},
        "radius": {"ispgraph.env", "radius.env"},
        "database": {"database.env"},
        "redis": {"redis.env"},
    }
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(published) == {"api", "radius"}
    assert all(re.match(r"\$\{\w+:-127\.0\.0\.1\}:", port) for ports in published.values() for port in ports)
    # No address of a registry, and each file that is mounted or copied is there.
    images = [service["image"] for service in services.values()] + re.findall(r"BASE=(\S+)", dockerfile)
    assert not any(re.match(r"[^/]*[.:][^/]*/", image) for image in images)
    used = re.findall(r"- \./(\S+?):", (written / "compose.yaml").read_text())
    used += re.findall(r"^COPY (image/\S+) ", dockerfile, re.M)
    assert len(used) == 5
    assert all((written / path).exists() for path in used)


def test_the_image_holds_the_whole_product(written: Path) -> None:
    image = written / "image"
    assert (image / "requirements.lock").read_text() == (ROOT / "requirements.lock").read_text()
    for source, copy in ((ROOT / "ispgraph", image / "ispgraph"), (ROOT / "migrations", image / "ispgraph/migrations")):
        files = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
        used = [path for path in files if not {"__pycache__", "node_modules"} & set(path.parts)]
        missing = [path for path in used if not (copy / path).is_file()]
        assert (bool(used), missing) == (True, [])
    # What it is built with is not in it.
    assert not [*image.rglob("*.pyc"), *image.rglob("node_modules")]
    for name in ("Dockerfile", "compose.yaml"):
        assert "PASSWORD=" not in (written / name).read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
def test_systemd_takes_the_units(written: Path) -> None:
    units = sorted((written / "systemd").iterdir())
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    # Of units of the machine itself it may complain; of ours it must not.
    assert not re.search("ispgraph", done.stdout + done.stderr), done.stderr
    text = {unit.name: unit.read_text() for unit in units}
    started = {name: re.findall(r"^ExecStart=\S+ (\S+)$", unit, re.M) for name, unit in text.items()}
    assert {command for commands in started.values() for command in commands} <= COMMANDS
    assert sum(map(len, started.values())) == 7
    targets = re.findall(r'"127\.0\.0\.1:(\d+)"', (written / "prometheus-units.yml").read_text())
    ports = {
        re.sub("%i", instance, port)
        for name, unit in text.items()
        for port in re.findall(r"ISPGRAPH_METRICS_PORT=(\S+)", unit)
        for instance in (re.findall(name.replace(".", r"(\w+)\."), text["ispgraph.target"]) if "@" in name else [""])
    }
    assert ports == set(targets)
    for name, unit in text.items():
        assert "@" not in unit.replace("@system-service", "").replace("@1", "").replace("@2", "").replace("@3", "")
        assert (
            name in ("ispgraph.target", "ispgraph-migrate.service")
            or int(re.findall(r"TimeoutStopSec=(\d+)", unit)[0]) >= DRAIN_SECONDS + 5
        )


@pytest.fixture
def servers(data: Path) -> Iterator[tuple[Path, Postgres]]:
    """PostgreSQL as it is when its container is new, and Valkey as its container starts it; and the files."""
    place = data.parent
    postgres, valkey_port = Postgres(place, free_port(), "superuser", options={"fsync": "off"}), free_port()
    production.write(data, database_host="127.0.0.1", redis_host="127.0.0.1", program=_program(data))
    for name in ("ispgraph.env", "owner.env", "radius.env"):
        text = (data / name).read_text()
        text = text.replace(":5432/", f":{postgres.port}/").replace(":6379/", f":{valkey_port}/")
        (data / name).write_text(text.replace("/var/lib/ispgraph", str(place / "files")))
    shell, flag, script = _yaml(data / "compose.yaml")["services"]["redis"]["command"]
    server = Valkey(place, valkey_port, "unused").program().command[0]
    script = script.replace("$$", "$").replace("dir /data\n", "")
    script = script.replace("valkey-server", f"{server} --port {valkey_port} --dir {place}")
    redis = subprocess.Popen([shell, flag, script], env={**os.environ, **variables(data / "redis.env")}, cwd=place)
    postgres.initialise()
    postgres.start()
    yield data, postgres
    postgres.stop()
    # What is told to stop is the server itself: it writes what it has, and ends well.
    redis.terminate()
    assert redis.wait(20) == 0


@pytest.mark.long
def test_what_was_written_runs(servers: tuple[Path, Postgres]) -> None:
    written, postgres = servers
    tree = postgres.program().command[0].removesuffix("postgres")
    for _ in range(2):  # again: nothing but the passwords is set
        done = subprocess.run(
            [f"{tree}psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", written / "roles.sql", postgres.superuser_dsn()],
            env={**os.environ, **variables(written / "database.env")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(written / "image")}
    environment |= variables(written / "ispgraph.env")
    program, owned = str(written.parent / "ispgraph"), variables(written / "owner.env")
    migrated = subprocess.run(
        [program, "migrate"],
        env=environment | owned,
        cwd=written,
        capture_output=True,
        text=True,
        check=False,
    )
    assert migrated.returncode == 0, migrated.stderr
    file = written.parent / "first.backup"
    kept = subprocess.run([program, "backup", file], env=environment | owned, cwd=written, check=False)
    assert (kept.returncode, file.is_file()) == (0, True)
    port, eye = free_port(), free_port()
    environment |= {"ISPGRAPH_PORT": str(port), "ISPGRAPH_METRICS_PORT": str(eye)}
    child = subprocess.Popen([program, "api"], env=environment, cwd=written, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        probe = re.findall(r'CMD \[".*", "-c", "(.*)"\]', (written / "Dockerfile").read_text())[0]
        subprocess.run([sys.executable, "-c", probe], env={**os.environ, "ISPGRAPH_PORT": str(port)}, check=True)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
            assert json.load(answer) == {"ok": True}
    finally:
        child.terminate()
        assert child.wait(DRAIN_SECONDS + 5) == 0
        assert child.stdout is not None
        child.stdout.close()


@pytest.mark.pgbouncer
@pytest.mark.skipif(installed("pgbouncer") is None, reason="pgbouncer is not installed")
async def test_the_pooler_leads_to_the_database(servers: tuple[Path, Postgres]) -> None:
    written, postgres = servers
    port, text = free_port(), (written / "pgbouncer.ini").read_text()
    place = written.parent / "pooler"
    place.mkdir(mode=0o755)
    moved = {"port=5432": f"port={postgres.port}", "listen_port = 6432": f"listen_port = {port}"}
    for found, put in moved.items():
        assert text.count(found) == 1
        text = text.replace(found, put)
    postgres.provision(dict.fromkeys(("ispgraph_owner", "ispgraph_app", "ispgraph_radius"), "a-password"))
    (place / "pgbouncer.ini").write_text(f"{text}unix_socket_dir =\n")
    (place / "users.txt").write_text('"ispgraph_app" "a-password"\n')
    child = subprocess.Popen([str(installed("pgbouncer")), "-u", "nobody", "pgbouncer.ini"], cwd=place)
    try:
        url = f"postgresql://ispgraph_app:a-password@127.0.0.1:{port}/ispgraph"
        database = Database(url, shared=True, prepared=False)
        async with asyncio.timeout(30):
            while is_free(port):
                await asyncio.sleep(0.05)
        assert await database.read_texts("select current_user::text", []) == ["ispgraph_app"]
        async with database.transaction(None) as session:
            assert await session.scalar(sqlalchemy.text("show statement_timeout")) == "10s"
        await database.dispose()
    finally:
        child.terminate()
        child.wait(10)
