"""Writes the directory that FreeRADIUS 3.2 runs as it is: ``freeradius -f -d DIR``."""

import grp
import ipaddress
import os
import pwd
from pathlib import Path

from sqlalchemy.engine import make_url

from ispgraph.radius import interims as passing
from ispgraph.settings import Settings, SettingsError
from ispgraph.written import ConfigurationError, claim, own, put

_TEMPLATES = Path(__file__).with_name("freeradius")
_NAMES = (
    *("radiusd.conf", "modules.conf", "sql.conf", "secrets.conf", "clients.conf", "site.conf", "account.conf"),
    "access_reject",
)
_PASSING_ON = ("passed_on.conf", "proxy.conf")
_MARK = ".written-by-ispgraph"
_LIBRARIES = "/usr/lib/freeradius"
# Seconds. A database that hangs must not hold the few threads of the server.
_CONNECT_SECONDS = 3
_STATEMENT_MILLISECONDS = 3000


def write(
    directory: Path,
    settings: Settings,
    *,
    host: str | None = None,
    auth_port: int | None = None,
    acct_port: int | None = None,
    user: str | None = None,
    interims: bool = False,
) -> None:
    """Write, or write anew, a complete configuration that listens on ``host`` at two ports (default: settings).

    ``interims`` has Interims passed on to `ispgraph interims` on the same machine. ``user`` is whom the server turns
    into when root starts it: by default ``freerad`` when we are root and it exists. The files hold the database
    password and the network key; only that user can read them. Raises ConfigurationError for a directory with other
    things in it, SettingsError without ISPGRAPH_RADIUS_DATABASE_URL.
    """
    account = _account(user)
    address = ipaddress.ip_address(host or settings.radius_host)
    words = {
        "DIRECTORY": _quoted(str(directory.resolve())),
        "LIBDIR": _LIBRARIES,
        "USER": _user_lines(account),
        **{word: _quoted(value) for word, value in _connection(settings).items()},
        "FAMILY": f"ipv{address.version}addr",
        "HOST": str(address),
        "AUTHPORT": str(auth_port or settings.radius_auth_port),
        "ACCTPORT": str(acct_port or settings.radius_acct_port),
        "PROXY": "yes" if interims else "no",
        "INTERIMPORT": str(settings.radius_interim_port),
        "INTERIMSECRET": passing.secrets(settings)[0].decode(),
    }
    claim(directory, _MARK)
    for place in (directory, directory / "run", directory / "log"):
        place.mkdir(exist_ok=True)
        place.chmod(0o750)
        own(place, account)
    for name in (*_NAMES, *_PASSING_ON):
        off = name in _PASSING_ON and not interims
        text = "# Interims are stored by this server itself.\n" if off else (_TEMPLATES / name).read_text()
        for word, value in words.items():
            text = text.replace(f"@{word}@", value)
        put(directory / name, text, account)


def _connection(settings: Settings) -> dict[str, str]:
    """How libpq reaches the database as the RADIUS role; the secrets apart from what FreeRADIUS prints to its log."""
    if settings.radius_database_url is None:
        raise SettingsError("ISPGRAPH_RADIUS_DATABASE_URL is not set")
    url = make_url(settings.radius_database_url)
    open_parts: dict[str, object] = {"host": url.host, "port": url.port, "dbname": url.database, "user": url.username}
    open_parts |= {key: value for key, value in url.query.items() if isinstance(value, str)}
    open_parts["connect_timeout"] = _CONNECT_SECONDS
    return {
        "CONNECTION": " ".join(f"{key}='{_libpq(str(value))}'" for key, value in open_parts.items() if value),
        "PASSWORD": url.password or "",
        "OPTIONS": f"-c ispgraph.network_key={settings.network_key.hex()} -c timezone=UTC "
        f"-c statement_timeout={_STATEMENT_MILLISECONDS}",
    }


def _account(user: str | None) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(user or "freerad") if user or os.geteuid() == 0 else None
    except KeyError:
        if user:
            raise ConfigurationError(f"there is no user {user}") from None
        return None


def _user_lines(account: pwd.struct_passwd | None) -> str:
    if account is None:
        return ""
    return f"\tuser = {account.pw_name}\n\tgroup = {grp.getgrgid(account.pw_gid).gr_name}\n"


def _libpq(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _quoted(value: str) -> str:
    return _safe(value).replace("\\", "\\\\").replace('"', '\\"')


def _safe(value: str) -> str:
    # FreeRADIUS would put the value of a variable in place of ${…}, and has no way to write it otherwise.
    if "${" in value or any(ord(character) < 32 for character in value):
        raise ConfigurationError("a value for the FreeRADIUS configuration has '${' or a control character in it")
    return value
