"""Directories that we write for other programs: taken only when empty or ours, and secrets never open to others."""

import os
import pwd
from pathlib import Path


class ConfigurationError(Exception):
    """The directory cannot be written; the message says why."""


def claim(directory: Path, mark: str) -> None:
    """Make the directory, or take it again: `mark` is the name of the file by which we know it.

    Raises ConfigurationError for a directory with anything else in it.
    """
    if directory.exists():
        if not directory.is_dir():
            raise ConfigurationError(f"{directory} is not a directory")
        if any(directory.iterdir()) and not (directory / mark).exists():
            raise ConfigurationError(f"{directory} holds files that ispgraph did not write; name an empty directory")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / mark).touch(0o600)
    except OSError as error:
        raise ConfigurationError(f"cannot write to {directory}: {error.strerror}") from error


def put(path: Path, text: str, account: pwd.struct_passwd | None = None, mode: int = 0o600) -> None:
    """Write a file whole, durably, or not at all; for `account` to own when we are root."""
    # Made unreadable first, filled and handed over afterwards: the secrets are never open to others.
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    own(partial, account)
    partial.chmod(mode)
    partial.replace(path)


def own(path: Path, account: pwd.struct_passwd | None) -> None:
    """Hand a path over to an account, which only root can."""
    if account is not None and os.geteuid() == 0:
        os.chown(path, account.pw_uid, account.pw_gid)
