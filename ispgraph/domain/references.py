"""Reading typed ids that came from outside."""

from uuid import UUID

from ispgraph import ids
from ispgraph.domain.errors import not_found

_NAMES = {
    "cfd": "custom field",
    "cus": "customer",
    "dft": "draft",
    "inv": "invoice",
    "job": "job",
    "opr": "operator",
    "pay": "payment",
    "pkg": "package",
    "rtr": "router",
    "ses": "session",
    "svc": "service",
    "zon": "zone",
}


def typed_id(prefix: str, text: str, *field: str) -> UUID:
    """The UUID in a public id of one type. Anything else names nothing: DomainError NOT_FOUND at `field`."""
    try:
        return ids.decode(prefix, text)
    except ids.BadId as error:
        raise not_found(_NAMES[prefix], *field) from error


def optional_id(prefix: str, text: str | None, *field: str) -> UUID | None:
    """As typed_id; None stays None."""
    return None if text is None else typed_id(prefix, text, *field)
