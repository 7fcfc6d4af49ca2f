"""How a ticket goes on: which status may follow which, and by when somebody is to answer. Pure.

Who works on a ticket moves it freely between OPEN, IN_PROGRESS and PENDING, and ends it by RESOLVED (the customer may
object) or CLOSED (the end). Both are left only by reopening, to OPEN or IN_PROGRESS; CLOSED for some days only.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.models import TicketPriority, TicketStatus

OPEN, PENDING, IN_PROGRESS = TicketStatus.OPEN, TicketStatus.PENDING, TicketStatus.IN_PROGRESS
RESOLVED, CLOSED = TicketStatus.RESOLVED, TicketStatus.CLOSED

UNDER_WAY = frozenset({OPEN, PENDING, IN_PROGRESS})
OURS = frozenset({OPEN, IN_PROGRESS})
"""While it is in one of these, the time is ours: in PENDING we wait for the customer."""
REOPENED = frozenset({OPEN, IN_PROGRESS})
REOPENS_WITHIN = timedelta(days=30)

FIRST_RESPONSE: Mapping[TicketPriority, timedelta] = {
    TicketPriority.URGENT: timedelta(hours=1),
    TicketPriority.HIGH: timedelta(hours=4),
    TicketPriority.MEDIUM: timedelta(hours=8),
    TicketPriority.LOW: timedelta(hours=24),
}
"""How long after it was opened a ticket is to have its first answer, by the clock, day and night."""


def require(status: TicketStatus, wanted: TicketStatus, closed_at: datetime | None, now: datetime, *field: str) -> None:
    """Raises DomainError at the path `field`: NO_CHANGE for the same status, INVALID_STATE for one that may not
    follow."""
    if wanted is status:
        raise fail(ErrorCode.NO_CHANGE, f"This ticket is {status.value} already.", *field)
    if status in UNDER_WAY or wanted in REOPENED | ({CLOSED} if status is RESOLVED else set()):
        if closed_at is None or now < closed_at + REOPENS_WITHIN:
            return
        message = f"A closed ticket can be reopened for {REOPENS_WITHIN.days} days: open a new one instead."
        raise fail(ErrorCode.INVALID_STATE, message, *field)
    also = " or closed" if status is RESOLVED else ""
    message = f"A {status.value} ticket can only be reopened (OPEN or IN_PROGRESS){also}."
    raise fail(ErrorCode.INVALID_STATE, message, *field)


def said(status: TicketStatus, *field: str) -> TicketStatus:
    """The status after the customer has written: what waited for that, or was resolved, is open again. Raises
    DomainError INVALID_STATE at the path `field` for a closed one."""
    if status is CLOSED:
        raise fail(ErrorCode.INVALID_STATE, "This ticket is closed: open a new one.", *field)
    return status if status in OURS else OPEN


def answered(status: TicketStatus, *field: str) -> TicketStatus:
    """The status after an answer to the customer: whoever answers has taken the ticket on, and one that was resolved
    is not. Raises DomainError INVALID_STATE at the path `field` for a closed one."""
    if status is CLOSED:
        raise fail(ErrorCode.INVALID_STATE, "This ticket is closed: reopen it before you answer.", *field)
    return status if status is PENDING else IN_PROGRESS
