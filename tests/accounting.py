"""Sessions and usage as accounting leaves them behind: the application itself may only read them."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from ispgraph import ids
from ispgraph.db import Database
from ispgraph.domain.models import ConnectionType, Customer, Service, Session, SessionState, UsageBucket, UsageDay
from tests.factories import House


def session(of: Customer, started_at: datetime, **fields: Any) -> Session:
    """An unsaved session of a customer: open, unless `stopped_at` is given."""
    key = ids.uuid7()
    return Session(
        **{
            "id": key,
            "customer_id": of.id,
            "acct_session_id": key.hex[-8:].upper(),
            "unique_id": key.hex,
            "username": "someone",
            "connection_type": ConnectionType.PPPOE,
            "state": SessionState.STOPPED if fields.get("stopped_at") else SessionState.OPEN,
            "started_at": started_at,
            "updated_at": fields.get("stopped_at") or started_at,
        }
        | fields
    )


def usage(line: Service, used: Mapping[datetime | date, tuple[int, int, int]]) -> list[UsageDay | UsageBucket]:
    """Unsaved rows of what a service used: upload, download and seconds, by day or by quarter of an hour."""
    rows: list[UsageDay | UsageBucket] = []
    for when, (upload, download, seconds) in used.items():
        figures = {"input_octets": upload, "output_octets": download, "seconds": seconds}
        of = {"service_id": line.id, "customer_id": line.customer_id}
        rows.append(
            UsageBucket(starts_at=when, **of, **figures)
            if isinstance(when, datetime)
            else UsageDay(day=when, **of, **figures)
        )
    return rows


async def account(owner: Database, house: House, *rows: Any) -> None:
    """Insert such rows, as the owner of the tables."""
    async with owner.transaction(house.tenant.id) as session:
        for row in rows:
            row.tenant_id = house.tenant.id
            session.add(row)
