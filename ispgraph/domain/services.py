"""What customers buy: figures of one service."""

from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from ispgraph.domain.models import ServiceMac


def mac_addresses(service: Any) -> ColumnElement[Any]:
    """The hardware addresses of a service's devices, as an array of texts."""
    text = func.upper(cast(ServiceMac.mac, Text))
    found = func.array_agg(aggregate_order_by(text, ServiceMac.id))
    return (
        select(func.coalesce(found, literal_column("'{}'::text[]")))
        .where(ServiceMac.service_id == service.id)
        .scalar_subquery()
    )
