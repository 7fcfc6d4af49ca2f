"""Reading typed ids that came from outside."""

from collections.abc import Sequence
from uuid import UUID

from ispgraph import ids
from ispgraph.domain.errors import DomainError, ErrorCode, Faults, fail, not_found

_NAMES = {
    "atk": "API token",
    "blk": "bulk run",
    "cfd": "custom field",
    "cus": "customer",
    "dft": "draft",
    "fil": "file",
    "gra": "grant",
    "gpy": "online payment",
    "grf": "refund",
    "gwy": "gateway",
    "hac": "hosting account",
    "hsv": "hosting server",
    "imp": "import",
    "inv": "invoice",
    "job": "job",
    "opr": "operator",
    "pay": "payment",
    "pch": "package change",
    "pkg": "package",
    "pln": "payment link",
    "pov": "price override",
    "prt": "portal",
    "rtr": "router",
    "ses": "session",
    "sgn": "sign-in",
    "svc": "service",
    "tax": "tax profile",
    "tkt": "ticket",
    "trf": "transfer",
    "vbt": "voucher batch",
    "vou": "voucher",
    "whd": "webhook delivery",
    "whe": "webhook endpoint",
    "zon": "zone",
}


def typed_id(prefix: str, text: str, *field: str) -> UUID:
    """The UUID in a public id of one type. Anything else names nothing: DomainError NOT_FOUND at `field`."""
    try:
        return ids.decode(prefix, text)
    except ids.BadId as error:
        raise not_found(_NAMES[prefix], *field) from error


def typed_ids(prefix: str, texts: Sequence[str], *field: str) -> Sequence[UUID]:
    """As typed_id for each: all that name nothing are told at once, by their places in the list."""
    found, wrong = [], Faults(*field)
    for place, text in enumerate(texts):
        try:
            found.append(typed_id(prefix, text, str(place)))
        except DomainError as error:
            wrong.add(error.faults[0].code, error.faults[0].message, str(place))
    wrong.raise_if_any()
    return found


def optional_id(prefix: str, text: str | None, *field: str) -> UUID | None:
    """As typed_id; None stays None."""
    return None if text is None else typed_id(prefix, text, *field)


def any_id(text: str, *field: str) -> UUID:
    """The UUID in a public id of whatever type. Raises DomainError INVALID at `field` for what is none."""
    try:
        return ids.parse(text)[1]
    except ids.BadId as error:
        raise fail(ErrorCode.INVALID, "This is not an id.", *field) from error
