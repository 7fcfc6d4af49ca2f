"""A reading of what passes to and from one customer, and how readings travel from the live program to the API."""

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import orjson


class LiveUsageSource(enum.Enum):
    ROUTER = "ROUTER"
    ACCOUNTING = "ACCOUNTING"


@dataclass(frozen=True, slots=True)
class Reading:
    """Of one customer. Bits per second since the reading before, bytes of the session so far; down is to the customer.

    `at` is an instant as RFC 3339 prints it: of the reading, or of the accounting update that is shown.
    """

    customer_id: UUID
    operator_id: UUID
    router_id: UUID | None
    session_id: UUID | None
    at: str
    online: bool
    download_bps: int
    upload_bps: int
    download_bytes: int
    upload_bytes: int
    source: LiveUsageSource


def printed(at: datetime) -> str:
    """An instant as it stands in readings."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def topic(tenant_id: UUID) -> str:
    """Where a tenant's readings are published."""
    return f"live:{tenant_id.hex}"


def encoded(readings: Iterable[Reading]) -> str:
    """Readings as one message."""
    return orjson.dumps([_row(each) for each in readings]).decode()


def decoded(text: str) -> Iterator[Reading]:
    """The readings of a message."""
    for customer, operator, router, session, at, online, down, up, down_bytes, up_bytes, source in orjson.loads(text):
        yield Reading(
            UUID(hex=customer),
            UUID(hex=operator),
            UUID(hex=router) if router else None,
            UUID(hex=session) if session else None,
            at,
            online,
            down,
            up,
            down_bytes,
            up_bytes,
            LiveUsageSource(source),
        )


def _row(each: Reading) -> tuple[object, ...]:
    return (
        each.customer_id.hex,
        each.operator_id.hex,
        each.router_id.hex if each.router_id else None,
        each.session_id.hex if each.session_id else None,
        each.at,
        each.online,
        each.download_bps,
        each.upload_bps,
        each.download_bytes,
        each.upload_bytes,
        each.source.value,
    )
