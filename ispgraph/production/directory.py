"""Writes the directory from which the programs are run in production: containers or units of systemd, and monitoring.

What is in it is ours and written anew each time, but for the files with passwords and keys (`*.env`): those are made
once. A key that is made anew would lose everything that the former one has sealed.
"""

import re
import secrets
import shutil
import sys
from pathlib import Path

import ispgraph
from ispgraph import revisions
from ispgraph.written import ConfigurationError, claim, put

_FILES = Path(__file__).with_name("files")
_MARK = ".production-files-of-ispgraph"
_LOCK = "requirements.lock"
_SECRETS = ("ispgraph.env", "owner.env", "radius.env", "database.env", "redis.env")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.\-]*|\[[0-9a-fA-F:]+\]")
_PATH = re.compile(r"[A-Za-z0-9@._+/\-]+")
"""What neither systemd nor a URL reads as anything else."""
_OPEN, _SHUT = 0o644, 0o600


def write(directory: Path, *, database_host: str, redis_host: str, program: Path | None = None) -> list[str]:
    """Write the files, and answer the names of those with secrets that were there already and were kept.

    `program` is what the units start: by default the command that runs now. Raises ConfigurationError.
    """
    for name in (database_host, redis_host):
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"{name} is not the name or address of a host")
    place = directory.resolve()
    words = {"DIRECTORY": str(place), "PROGRAM": str(program or _command())}
    for path in words.values():
        if not _PATH.fullmatch(path):
            raise ConfigurationError(f"{path} has characters in it that a unit of systemd cannot name")
    words["HARDENING"] = (_FILES / "hardening.conf").read_text().rstrip()
    claim(place, _MARK)
    present = {name for name in _SECRETS if (place / name).exists()}
    if present and present != set(_SECRETS):
        missing = ", ".join(sorted(set(_SECRETS) - present))
        raise ConfigurationError(f"{place} has lost {missing}: put back what was kept, or begin in an empty directory")
    (place / "systemd").mkdir(exist_ok=True)
    for source in sorted((_FILES / "systemd").iterdir()):
        put(place / "systemd" / source.name, _filled(source.read_text(), words), mode=_OPEN)
    for name in ("Dockerfile", "compose.yaml", "roles.sql", "prometheus.yml", "prometheus-units.yml", "alerts.yml"):
        put(place / name, (_FILES / name).read_text(), mode=_OPEN)
    put(
        place / "pgbouncer.ini",
        _filled((_FILES / "pgbouncer.ini").read_text(), {"DATABASEHOST": database_host}),
        mode=_OPEN,
    )
    put(place / "grafana.json", (_FILES / "grafana.json").read_text(), mode=_OPEN)
    put(place / ".dockerignore", (_FILES / "dockerignore").read_text(), mode=_OPEN)
    _copy_product(place / "image")
    if not present:
        fresh = {name: secrets.token_hex(20) for name in ("SUPERUSER", "OWNER", "APP", "RADIUS", "BACKUP", "REDIS")}
        fresh |= {name: secrets.token_hex(32) for name in ("TOKENKEY", "NETWORKKEY", "AUDITKEY")}
        fresh |= {"DATABASEHOST": database_host, "REDISHOST": redis_host}
        for name in _SECRETS:
            put(place / name, _filled((_FILES / name).read_text(), fresh), mode=_SHUT)
    return sorted(present)


def _copy_product(image: Path) -> None:
    """The product as it runs here, and the packages it needs by their hashes: what the image is made of."""
    package = Path(ispgraph.__file__).parent
    lock = next((path for path in (package / _LOCK, package.parent / _LOCK) if path.is_file()), None)
    if lock is None:
        raise ConfigurationError(f"{_LOCK} is missing: install ispgraph from its wheel or a checkout")
    shutil.rmtree(image, ignore_errors=True)
    image.mkdir()
    shutil.copyfile(lock, image / _LOCK)
    # What the playground was built with is no part of it, and thousands of files.
    passing = shutil.ignore_patterns("__pycache__", "*.pyc", "node_modules")
    shutil.copytree(package, image / "ispgraph", ignore=passing)
    shutil.copytree(revisions.directory(), image / "ispgraph" / "migrations", ignore=passing, dirs_exist_ok=True)
    for path in (image, *image.rglob("*")):
        path.chmod(0o755 if path.is_dir() else _OPEN)


def _command() -> Path:
    found = Path(sys.executable).parent / "ispgraph"
    if not found.is_file():
        raise ConfigurationError(f"{found} is missing: name the command that the units start with --program")
    return found


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text
