"""A provider with routers and customers, and every program of the product as a process of its own; `bench.network`
measures it. PostgreSQL keeps its durability: what the product acknowledges is on disk."""

import asyncio
import os
import secrets as randomness
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from bench.place import ROOT
from bench.processes import Running, cpu_seconds, python
from ispgraph import clock, ids
from ispgraph.domain import secrets, tokens
from ispgraph.domain.models import (
    BillingCycle,
    ConnectionType,
    Customer,
    CustomerStatus,
    Operator,
    Package,
    ProvisioningState,
    Role,
    Router,
    Service,
    ServiceStatus,
    SignIn,
    Tenant,
)
from ispgraph.domain.permissions import DEFAULTS, LEVELS
from ispgraph.up.ports import free_port
from ispgraph.up.postgres import APP_ROLE, DATABASE, OWNER_ROLE, RADIUS_ROLE, Postgres
from ispgraph.up.valkey import Valkey

LOGIN = "ispgraph"
_ROLES = (OWNER_ROLE, APP_ROLE, RADIUS_ROLE)
_OPTIONS = {"shared_buffers": "512MB", "max_wal_size": "4GB", "shared_preload_libraries": "pg_stat_statements"}
_AT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Line:
    """A customer with one service behind a router. `username` is also the name of the device in the lab."""

    customer_id: UUID
    username: str
    password: str = field(repr=False)
    router: int


@dataclass(frozen=True, slots=True)
class Site:
    """A router, its secrets in clear."""

    id: UUID
    name: str
    address: str
    password: str = field(repr=False)
    secret: str = field(repr=False)


class House:
    """Everything that runs for one benchmark, in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._passwords = {role: randomness.token_hex(16) for role in _ROLES}
        self.postgres = Postgres(directory, free_port(), randomness.token_hex(16), options=_OPTIONS)
        self.valkey = Valkey(directory, free_port(), randomness.token_hex(16))
        self.api_port, self.lab_port = free_port(), free_port()
        self.auth_port, self.acct_port = (free_port(socket.SOCK_DGRAM) for _ in range(2))
        self.token_key, self.network_key = randomness.token_bytes(32), randomness.token_bytes(32)
        self.tenant_id, self._operator_id, self._sign_in_id = ids.uuid7(), ids.uuid7(), ids.uuid7()
        self.sites: list[Site] = []
        self.lines: list[Line] = []
        self.programs: dict[str, Running] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What the programs are told."""
        dsn = {role: self.postgres.dsn(role, password) for role, password in self._passwords.items()}
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LC_ALL": "C.UTF-8",
            "ISPGRAPH_DATABASE_URL": dsn[APP_ROLE],
            "ISPGRAPH_OWNER_DATABASE_URL": dsn[OWNER_ROLE],
            "ISPGRAPH_RADIUS_DATABASE_URL": dsn[RADIUS_ROLE],
            "ISPGRAPH_REDIS_URL": self.valkey.url(),
            "ISPGRAPH_TOKEN_KEY": self.token_key.hex(),
            "ISPGRAPH_NETWORK_KEY": self.network_key.hex(),
            "ISPGRAPH_PORT": str(self.api_port),
            "ISPGRAPH_RADIUS_AUTH_PORT": str(self.auth_port),
            "ISPGRAPH_RADIUS_ACCT_PORT": str(self.acct_port),
            "ISPGRAPH_LAB_PORT": str(self.lab_port),
        }

    @contextmanager
    def running(self, customers: int, routers: int) -> Iterator[None]:
        """PostgreSQL with the rows, Valkey and the lab run inside. The product's programs do not yet: see `start`."""
        with ExitStack() as stack:
            self.postgres.initialise()
            self.postgres.start()
            stack.callback(self.postgres.stop, 60)
            self.valkey.initialise()
            self.valkey.start()
            stack.callback(self.valkey.stop)
            self.postgres.provision(self._passwords)
            command = [sys.executable, "-m", "alembic", "upgrade", "head"]
            environment = {**os.environ, **self.environment}
            subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
            self.postgres.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements", DATABASE)
            asyncio.run(self._fill(customers, routers))
            stack.callback(self.stop)
            self._run("lab")
            yield

    def start(self) -> None:
        """Start the product's programs; the routers are looked at for the first time."""
        for name in ("radius", "api", "worker", "scheduler"):
            self._run(name)

    def _run(self, name: str) -> None:
        log = self.directory / f"{name}.log"
        program = Running(name, python("ispgraph", name), self.environment, log, ROOT)
        program.start()
        self.programs[name] = program

    def stop(self) -> None:
        """Stop every program, the last started first."""
        while self.programs:
            self.programs.popitem()[1].stop()

    def cpu(self) -> dict[str, float]:
        """Seconds of processor time that each process has used until now."""
        found = {name: cpu_seconds(program.pid) for name, program in self.programs.items()}
        for name, pid in (("postgres", self.postgres.pid), ("valkey", self.valkey.pid)):
            found[name] = cpu_seconds(pid) if pid is not None else 0.0
        return found

    def token(self) -> str:
        """Of the tenant's admin, good for a day."""
        claims = tokens.Claims(
            tenant_id=self.tenant_id,
            operator_id=self._operator_id,
            session_id=self._sign_in_id,
            version=1,
            expires_at=(clock.now() + timedelta(days=1)).replace(microsecond=0),
        )
        return tokens.issue(self.token_key, claims)

    async def connect(self) -> "asyncpg.Connection[Any]":
        """A connection that sees everything, and on which the functions of the tenant work."""
        connection = await asyncpg.connect(self.postgres.superuser_dsn(DATABASE))
        await connection.execute("SELECT set_config('app.tenant_id', $1, false)", str(self.tenant_id))
        return connection

    def router_order(self, site: Site, number: int) -> dict[str, Any]:
        """A router, as the lab takes it."""
        return {
            "name": site.name,
            "address": site.address,
            "users": [{"name": LOGIN, "password": site.password, "group": "full"}],
            "radius": {
                "server": "127.0.0.1",
                "auth_port": self.auth_port,
                "acct_port": self.acct_port,
                "secret": site.secret,
            },
            "pools": [{"name": "pool", "ranges": f"10.{number}.0.2-10.{number}.15.254"}],
        }

    async def know_ports(self, ports: dict[str, tuple[int, int]]) -> None:
        """Keep where the routers of these names listen: the ports of API and CoA."""
        connection = await self.connect()
        rows = [(name, *found) for name, found in ports.items()]
        await connection.executemany("UPDATE routers SET api_port = $2, coa_port = $3 WHERE name = $1", rows)
        await connection.close()

    async def _fill(self, customers: int, routers: int) -> None:
        engine = create_async_engine(
            self.postgres.superuser_dsn(DATABASE).replace("postgresql:", "postgresql+asyncpg:")
        )
        now = clock.now()
        tenant = Tenant(
            id=self.tenant_id, slug="bench", name="Bench Net", currency="USD", country="US", time_zone="UTC"
        )
        admin = Operator(
            id=self._operator_id,
            tenant_id=tenant.id,
            name="Ada Bench",
            email="admin@bench.example",
            password_hash="unused",
            role=Role.ADMIN,
            level=LEVELS[Role.ADMIN],
            ancestors=[],
            permissions=sorted(permission.value for permission in DEFAULTS[Role.ADMIN]),
        )
        signed_in = SignIn(
            id=self._sign_in_id,
            tenant_id=tenant.id,
            operator_id=admin.id,
            token_version=1,
            created_at=now,
            expires_at=now + _AT,
        )
        package = Package(
            id=ids.uuid7(),
            tenant_id=tenant.id,
            name="Home 10",
            connection_types=[ConnectionType.PPPOE.value],
            download_kbps=10_000,
            upload_kbps=5_000,
            price_minor=2_000,
            billing_cycle=BillingCycle.MONTHLY,
            validity_days=30,
        )
        made = [self._router(number) for number in range(routers)]
        async with AsyncSession(engine) as session, session.begin():
            # A superuser needs no tenant, but the triggers, which run as the owner, do.
            await session.execute(text("SELECT set_config('app.tenant_id', :key, true)"), {"key": str(tenant.id)})
            for rows in ([tenant], [admin], [signed_in, package, *made]):
                session.add_all(rows)
                await session.flush()
            pairs = [self._line(number, routers, made, package.id) for number in range(customers)]
            session.add_all([customer for customer, _ in pairs])
            await session.flush()
            session.add_all([service for _, service in pairs])
        await engine.dispose()

    def _router(self, number: int) -> Router:
        key, address = ids.uuid7(), f"127.1.0.{number + 1}"
        site = Site(key, f"bench-{number + 1}", address, randomness.token_hex(12), randomness.token_hex(12))
        self.sites.append(site)
        return Router(
            id=key,
            tenant_id=self.tenant_id,
            name=site.name,
            address=address,
            radius_address=address,
            radius_secret=secrets.seal(self.network_key, site.secret, secrets.router_radius(self.tenant_id, key)),
            api_username=LOGIN,
            api_password=secrets.seal(self.network_key, site.password, secrets.router_api(self.tenant_id, key)),
        )

    def _line(self, number: int, routers: int, made: list[Router], package_id: UUID) -> tuple[Customer, Service]:
        customer = Customer(
            id=ids.uuid7(),
            tenant_id=self.tenant_id,
            account_number=f"{number + 1:06d}",
            name=f"Example Line {number + 1}",
            mobile=f"+1202555{number:04d}",
            operator_id=self._operator_id,
            status=CustomerStatus.ACTIVE,
        )
        line = Line(customer.id, f"line{number + 1}", randomness.token_hex(8), number % routers)
        self.lines.append(line)
        key = ids.uuid7()
        bound_to = secrets.service_password(self.tenant_id, key)
        service = Service(
            id=key,
            tenant_id=self.tenant_id,
            customer_id=customer.id,
            package_id=package_id,
            connection_type=ConnectionType.PPPOE,
            status=ServiceStatus.ACTIVE,
            username=line.username,
            password=secrets.seal(self.network_key, line.password, bound_to),
            router_id=made[line.router].id,
            provisioning=ProvisioningState.APPLIED,
            desired_version=1,
            applied_version=1,
        )
        return customer, service
