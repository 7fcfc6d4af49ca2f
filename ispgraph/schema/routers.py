"""Routers."""

from datetime import datetime
from typing import Annotated, Any

import strawberry
from sqlalchemy import Select, Text, column, false, func, select

from ispgraph.domain import models, routers
from ispgraph.domain.permissions import Permission
from ispgraph.schema.base import Node, Payload, node
from ispgraph.schema.compiler.fields import expression, rows
from ispgraph.schema.compiler.sources import Asked
from ispgraph.schema.scalars import IpAddress

JobLink = Annotated["Job", strawberry.lazy("ispgraph.schema.jobs")]  # type: ignore[name-defined]  # noqa: F821


@strawberry.type(
    description="One thing that is other than it should be. Without `expected` it should not be there, without "
    "`observed` it is not there."
)
class Drift:
    path: str = strawberry.field(description="The menu and the item, such as /ppp/secret/jane.")
    property: str | None = strawberry.field(description="Null where the whole item is meant.")
    expected: str | None
    observed: str | None


def drift_of(found: Any) -> Select[Any]:
    """A column of drift as rows of Drift."""
    names = ("path", "property", "expected", "observed")
    listed = func.jsonb_to_recordset(found).table_valued(*(column(name, Text()) for name in names))
    typed = listed.render_derived(with_types=True)
    return select(*(typed.c[name] for name in names))


def _drift(router: Any, asked: Asked) -> Select[Any]:
    found = drift_of(router.drift)
    return found if asked.viewer.may(Permission.MANAGE_ROUTERS) else found.where(false())


@node("rtr", models.Router, description="A router that is managed and, as a NAS, asks who may get on line.")
class Router(Node):
    name: str
    address: str = strawberry.field(description="An IP address or a host name, at which its API is reached.")
    api_port: int
    api_tls: bool
    mode: models.RouterMode = strawberry.field(
        description="RADIUS: it asks who may get on line. LOCAL: it keeps its users itself, and is told of each."
    )
    status: models.RouterStatus
    problem: str | None = strawberry.field(description="Why it is not ONLINE.")
    unreachable_since: datetime | None = strawberry.field(
        description="Since when it could not be reached; null while it can."
    )
    retry_at: datetime | None = strawberry.field(description="When it is tried again; until then its jobs wait.")
    last_seen_at: datetime | None
    version: str | None
    board: str | None
    serial: str | None = strawberry.field(description="Of the device that was met first at this address.")
    radius_address: IpAddress | None = strawberry.field(description="Where its RADIUS packets come from.")
    nas_identifier: str | None
    coa_port: int = strawberry.field(description="Where it listens for CoA and Disconnect.")
    octets_swapped: bool = strawberry.field(
        description="It counts the wrong way round: its input octets are what customers get. Each session keeps what "
        "was set when it began."
    )
    accounting_last_seen_at: datetime | None = strawberry.field(description="When it last sent accounting.")
    reconciled_at: datetime | None = strawberry.field(
        description="When what it holds was last compared with what it should hold."
    )
    drift: list[Drift] = rows(
        _drift, description="What that comparison found and did not put right; empty without MANAGE_ROUTERS."
    )
    pending_jobs: int = expression(
        lambda router, asked: routers.pending_jobs(router, asked.viewer),
        description="Jobs that wait for this router or run on it.",
    )
    online_sessions: int = expression(
        lambda router, asked: routers.online_sessions(router, asked.viewer),
        description="Open sessions on this router that you may see.",
    )


@strawberry.input
class RouterInput:
    name: str
    address: str = strawberry.field(description="An IP address or a host name, at which its API is reached.")
    username: str = strawberry.field(
        description="Of its API. With mode RADIUS it may be empty: then nothing is asked or changed over the API."
    )
    password: str = strawberry.field(description="Of its API. In routerUpdate an empty one keeps what is there.")
    api_port: int = 8728
    api_tls: bool = False
    tls_fingerprint: str | None = strawberry.field(
        default=None,
        description="SHA-256 of the only certificate that is accepted, as 64 hexadecimal digits, colons allowed. "
        "Without one, the system's certificate authorities are asked.",
    )
    mode: models.RouterMode = models.RouterMode.RADIUS
    radius_address: IpAddress | None = strawberry.field(
        default=None, description="Where its RADIUS packets come from; left out, `address` if that is an IP address."
    )
    radius_secret: str | None = strawberry.field(
        default=None,
        description="16 to 64 printable ASCII characters without spaces, of no other router. Left out, the one that "
        "is there stays; where there is none and the mode is RADIUS, one is made and shown once.",
    )
    coa_port: int = 3799
    nas_identifier: str | None = None
    octets_swapped: bool = strawberry.field(
        default=False,
        description="Whether it counts the wrong way round, so that download shows as upload. Holds for sessions that "
        "begin from now on.",
    )
    idempotency_key: str | None = None


@strawberry.input
class RouterReadUsersInput:
    router_id: strawberry.ID
    idempotency_key: str | None = None


@strawberry.type
class RouterPayload(Payload):
    router: Router | None = None
    jobs: list[JobLink] = strawberry.field(default_factory=list)
    radius_secret: str | None = strawberry.field(
        default=None, description="The RADIUS secret if it was made now. It is not shown again."
    )
