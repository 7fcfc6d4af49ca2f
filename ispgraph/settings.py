"""One frozen Settings object, read from the environment once at the start of a program."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

_KEY = re.compile(r"[0-9a-f]{64}")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-_\[\]:]+(/[A-Za-z0-9.\-_~/]*)?")


class SettingsError(Exception):
    """A setting is missing or malformed; the message names the environment variable."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a program needs to know about where it runs.

    Database URLs are plain ``postgresql://`` DSNs, one per role. Keys are 32 bytes, and `network_key` may be several of
    them one behind the other, of which the first seals and all open; keys stay out of ``repr``.
    """

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    token_key: bytes = field(repr=False)
    network_key: bytes = field(repr=False)
    direct_database_url: str | None = field(default=None, repr=False)
    """The same database, past the pooler through which `database_url` leads."""
    prepared_statements: bool = True
    """Whether the server keeps statements for us: not behind a pooler that knows nothing of them."""
    replica_database_url: str | None = field(default=None, repr=False)
    """A copy that PostgreSQL keeps up, for reading."""
    replica_lag_seconds: int = 5
    """How far the replica may be behind and is still read."""
    owner_database_url: str | None = field(default=None, repr=False)
    radius_database_url: str | None = field(default=None, repr=False)
    backup_database_url: str | None = field(default=None, repr=False)
    """As a role that reads past row-level security: for backups alone."""
    host: str = "127.0.0.1"
    port: int = 8000
    radius_host: str = "127.0.0.1"
    radius_auth_port: int = 1812
    radius_acct_port: int = 1813
    radius_interim_port: int = 1823
    """Of 127.0.0.1, where FreeRADIUS passes Interims on to `ispgraph interims`."""
    introspection: str = "operators"
    token_seconds: int = 900
    session_seconds: int = 43200
    database_pool: int = 10
    compiled_reads: bool = True
    public_url: str = ""
    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    former_token_keys: tuple[bytes, ...] = field(default=(), repr=False)
    """What signed before `token_key`, and is still believed."""
    audit_keys: tuple[bytes, ...] = field(default=(), repr=False)
    """What seals audit entries, and after it what sealed them before; empty: made of the token keys."""
    private_gateways: bool = False
    """Whether providers of messages and payments may be at addresses of our own network."""
    cost_per_second: int = 0
    """Points of cost that a token gets back in a second; 0: no budgets are kept."""
    tenant_cost_per_second: int = 0
    """The same of all tokens of a tenant together."""
    trusted_documents: str = ""
    """The file with the manifest of trusted documents."""
    trusted_only: str = "nobody"
    """Who may send no others: nobody, customers or everybody."""
    sockets_per_operator: int = 1000
    """Sockets and event streams that one operator may have open in one process."""
    private_webhooks: bool = False
    """Whether webhooks may go to addresses of our own network, and without TLS: for development."""
    storage_dir: str = ""
    """Where uploaded files are kept, unless a bucket is named."""
    s3_endpoint: str = ""
    """Of a server that speaks S3; empty: Amazon's, of the region."""
    s3_region: str = "us-east-1"
    s3_bucket: str = ""
    s3_access_key: str = field(default="", repr=False)
    s3_secret_key: str = field(default="", repr=False)
    portal_url: str = ""
    """Where the portals of branded customers are, with {subdomain} in it; empty: pages of this API."""
    log: str = "text"
    """text or json."""
    drain_seconds: int = 0
    """How long the API, told to stop, still takes requests while /readyz says 503."""
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0
    """Where a program shows its figures to Prometheus; 0: nowhere."""
    gateway_seconds: float = 20
    """How long a payment gateway is waited for."""
    traces: bool = False
    """Whether somebody receives traces; where, and all else about them, OpenTelemetry's own settings say."""

    @property
    def token_keys(self) -> tuple[bytes, ...]:
        """Whose signatures are believed; the first one signs."""
        return (self.token_key, *self.former_token_keys)

    @property
    def origin(self) -> str:
        """Where people reach the API: what links begin with, without a slash at the end."""
        if self.public_url:
            return self.public_url
        reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{self.port}"

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read ``ISPGRAPH_*`` variables. Raises SettingsError naming the first bad one."""
        source = os.environ if env is None else env
        own_cost, tenant_cost = _budgets(source)
        token_keys = _keys(source, "ISPGRAPH_TOKEN_KEY")
        if not token_keys:
            raise SettingsError("ISPGRAPH_TOKEN_KEY is not set")
        network_keys = _keys(source, "ISPGRAPH_NETWORK_KEY")
        if not network_keys:
            raise SettingsError("ISPGRAPH_NETWORK_KEY is not set")
        return cls(
            database_url=_required(source, "ISPGRAPH_DATABASE_URL"),
            redis_url=_required(source, "ISPGRAPH_REDIS_URL"),
            token_key=token_keys[0],
            former_token_keys=token_keys[1:],
            network_key=b"".join(network_keys),
            direct_database_url=source.get("ISPGRAPH_DIRECT_DATABASE_URL") or None,
            prepared_statements=_prepared(source),
            replica_database_url=source.get("ISPGRAPH_REPLICA_DATABASE_URL") or None,
            replica_lag_seconds=_number(source, "ISPGRAPH_REPLICA_LAG_SECONDS", 5, 3600),
            owner_database_url=source.get("ISPGRAPH_OWNER_DATABASE_URL"),
            radius_database_url=source.get("ISPGRAPH_RADIUS_DATABASE_URL"),
            backup_database_url=source.get("ISPGRAPH_BACKUP_DATABASE_URL"),
            host=source.get("ISPGRAPH_HOST", "127.0.0.1"),
            port=_number(source, "ISPGRAPH_PORT", 8000, 65535),
            radius_host=source.get("ISPGRAPH_RADIUS_HOST", "127.0.0.1"),
            radius_auth_port=_number(source, "ISPGRAPH_RADIUS_AUTH_PORT", 1812, 65535),
            radius_acct_port=_number(source, "ISPGRAPH_RADIUS_ACCT_PORT", 1813, 65535),
            radius_interim_port=_number(source, "ISPGRAPH_RADIUS_INTERIM_PORT", 1823, 65535),
            introspection=_one_of(source, "ISPGRAPH_INTROSPECTION", "operators", "open"),
            token_seconds=_number(source, "ISPGRAPH_TOKEN_SECONDS", 900, 86400),
            session_seconds=_number(source, "ISPGRAPH_SESSION_SECONDS", 43200, 30 * 86400),
            database_pool=_number(source, "ISPGRAPH_DATABASE_POOL", 10, 1000),
            compiled_reads=_one_of(source, "ISPGRAPH_COMPILED_READS", "on", "off") == "on",
            public_url=_origin(source, "ISPGRAPH_PUBLIC_URL"),
            allowed_origins=_list(source, "ISPGRAPH_ALLOWED_ORIGINS"),
            trusted_proxies=_list(source, "ISPGRAPH_TRUSTED_PROXIES"),
            audit_keys=_keys(source, "ISPGRAPH_AUDIT_KEY"),
            private_gateways=_one_of(source, "ISPGRAPH_PRIVATE_GATEWAYS", "off", "on") == "on",
            private_webhooks=_one_of(source, "ISPGRAPH_PRIVATE_WEBHOOKS", "off", "on") == "on",
            trusted_documents=source.get("ISPGRAPH_TRUSTED_DOCUMENTS", ""),
            trusted_only=_trusted_only(source),
            sockets_per_operator=_number(source, "ISPGRAPH_SOCKETS_PER_OPERATOR", 1000, 10**6),
            cost_per_second=own_cost,
            tenant_cost_per_second=tenant_cost,
            **_storage(source),
            portal_url=_portal_url(source),
            log=_one_of(source, "ISPGRAPH_LOG", "text", "json"),
            metrics_host=source.get("ISPGRAPH_METRICS_HOST", "127.0.0.1"),
            metrics_port=_number(source, "ISPGRAPH_METRICS_PORT", 0, 65535),
            gateway_seconds=_number(source, "ISPGRAPH_GATEWAY_SECONDS", 20, 60),
            traces=_traces(source),
            drain_seconds=_number(source, "ISPGRAPH_DRAIN_SECONDS", 0, 60),
        )


def _traces(source: Mapping[str, str]) -> bool:
    received = source.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or source.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    off = source.get("OTEL_SDK_DISABLED", "").lower() == "true" or source.get("OTEL_TRACES_EXPORTER") == "none"
    if not received or off:
        return False
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if source.get(name, "http/protobuf") != "http/protobuf":
            raise SettingsError(f"{name} must be 'http/protobuf'")
    return True


def _prepared(source: Mapping[str, str]) -> bool:
    words = ("off", "on") if source.get("ISPGRAPH_DIRECT_DATABASE_URL") else ("on", "off")
    return _one_of(source, "ISPGRAPH_PREPARED_STATEMENTS", *words) == "on"


def _storage(source: Mapping[str, str]) -> dict[str, str]:
    bucket = source.get("ISPGRAPH_S3_BUCKET", "")
    found = {
        "storage_dir": source.get("ISPGRAPH_STORAGE_DIR", ""),
        "s3_endpoint": _origin(source, "ISPGRAPH_S3_ENDPOINT"),
        "s3_region": source.get("ISPGRAPH_S3_REGION", "us-east-1"),
        "s3_bucket": bucket,
    }
    if bucket:
        found["s3_access_key"] = _required(source, "ISPGRAPH_S3_ACCESS_KEY")
        found["s3_secret_key"] = _required(source, "ISPGRAPH_S3_SECRET_KEY")
    return found


def _budgets(source: Mapping[str, str]) -> tuple[int, int]:
    if source.get("ISPGRAPH_COST_PER_SECOND") == "0":
        return 0, 0
    own = _number(source, "ISPGRAPH_COST_PER_SECOND", 1_000_000, 10**9)
    tenant = _number(source, "ISPGRAPH_TENANT_COST_PER_SECOND", 5 * own, 10**10)
    return own, tenant


def _trusted_only(source: Mapping[str, str]) -> str:
    value = _one_of(source, "ISPGRAPH_TRUSTED_ONLY", "nobody", "customers", "everybody")
    if value != "nobody" and not source.get("ISPGRAPH_TRUSTED_DOCUMENTS"):
        raise SettingsError("ISPGRAPH_TRUSTED_ONLY needs ISPGRAPH_TRUSTED_DOCUMENTS")
    return value


def _portal_url(source: Mapping[str, str]) -> str:
    value = source.get("ISPGRAPH_PORTAL_URL", "").rstrip("/")
    if value and (value.count("{subdomain}") != 1 or not _ORIGIN.fullmatch(value.replace("{subdomain}", "a"))):
        raise SettingsError("ISPGRAPH_PORTAL_URL must look like https://{subdomain}.portal.isp.example")
    return value


def _one_of(source: Mapping[str, str], name: str, default: str, *others: str) -> str:
    value, words = source.get(name, default), (default, *others)
    if value not in words:
        *first, last = map(repr, words)
        raise SettingsError(f"{name} must be {', '.join(first)} or {last}")
    return value


def _list(source: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(filter(None, (item.strip() for item in source.get(name, "").split(","))))


def _origin(source: Mapping[str, str], name: str) -> str:
    value = source.get(name, "").rstrip("/")
    if value and not _ORIGIN.fullmatch(value):
        raise SettingsError(f"{name} must look like https://api.isp.example")
    return value


def _required(source: Mapping[str, str], name: str) -> str:
    value = source.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set")
    return value


def _keys(source: Mapping[str, str], name: str) -> tuple[bytes, ...]:
    keys = _list(source, name)
    if not all(map(_KEY.fullmatch, keys)):
        raise SettingsError(f"{name} must be 64 lower-case hexadecimal digits, or several such keys with commas")
    return tuple(bytes.fromhex(key) for key in keys)


def _number(source: Mapping[str, str], name: str, default: int, maximum: int) -> int:
    text = source.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= maximum:
        raise SettingsError(f"{name} must be a whole number from 1 to {maximum}")
    return int(text)
