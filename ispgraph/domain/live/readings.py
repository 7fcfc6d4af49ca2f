"""A reading of what passes to and from one customer, and how readings travel from the live program to the API."""

import enum
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import orjson


class LiveUsageSource(enum.StrEnum):
    ROUTER = "ROUTER"
    ACCOUNTING = "ACCOUNTING"


class Reading(NamedTuple):
    """Of one customer. Bits per second since the reading before, bytes of the session so far; down is to the customer.

    It is as it travels, since most are read to be printed: ids are their 32 hex digits; `at` is an instant as RFC 3339
    prints it, of the reading, or of the accounting update that is shown; `source` is the value of a LiveUsageSource.
    """

    customer_id: str
    operator_id: str
    router_id: str | None
    session_id: str | None
    at: str
    online: bool
    download_bps: int
    upload_bps: int
    download_bytes: int
    upload_bytes: int
    source: str


def printed(at: datetime) -> str:
    """An instant as it stands in readings."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def topic(tenant_id: UUID) -> str:
    """Where a tenant's readings are published."""
    return f"live:{tenant_id.hex}"


def encoded(readings: Iterable[Reading]) -> str:
    """Readings as one message."""
    return orjson.dumps([tuple(each) for each in readings]).decode()


def decoded(text: str) -> Iterator[Reading]:
    """The readings of a message."""
    return map(Reading._make, orjson.loads(text))
