"""What a tenant decides about invoices that are not paid: when customers are reminded, and how long services go on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time

from ispgraph.domain.errors import ErrorCode, Faults
from ispgraph.domain.models.dunning import MOST_GRACE_DAYS

MOST_REMINDERS = 5
FURTHEST_DAYS = 60
MOST_HOLIDAYS = 366


@dataclass(frozen=True, slots=True)
class Changes:
    """New settings; None leaves a setting as it is, an empty list says that there are none."""

    remind_days_before: Sequence[int] | None = None
    remind_days_after: Sequence[int] | None = None
    grace_days: int | None = None
    holidays: Sequence[date] | None = None
    at: time | None = None


def checked(faults: Faults, changes: Changes) -> dict[str, object]:
    """What was given, as columns of the tenant, sorted; of no use once a fault was found."""
    found: dict[str, object] = {}
    reminders = {
        "dunning_before": (changes.remind_days_before, "remindDaysBefore"),
        "dunning_after": (changes.remind_days_after, "remindDaysAfter"),
    }
    for column, (days, field) in reminders.items():
        if days is not None:
            found[column] = _days(faults, days, field)
    if changes.grace_days is not None:
        if not 0 <= changes.grace_days <= MOST_GRACE_DAYS:
            faults.add(ErrorCode.INVALID, f"This must be from 0 to {MOST_GRACE_DAYS}.", "dunning", "graceDays")
        found["dunning_grace_days"] = changes.grace_days
    if changes.holidays is not None:
        if len(changes.holidays) > MOST_HOLIDAYS:
            faults.add(ErrorCode.LIMIT_EXCEEDED, f"At most {MOST_HOLIDAYS} holidays.", "dunning", "holidays")
        found["dunning_holidays"] = sorted(set(changes.holidays))
    if changes.at is not None:
        found["dunning_at"] = changes.at.replace(second=0, microsecond=0)
    return found


def _days(faults: Faults, days: Sequence[int], field: str) -> list[int]:
    if len(days) > MOST_REMINDERS:
        faults.add(ErrorCode.LIMIT_EXCEEDED, f"At most {MOST_REMINDERS} reminders.", "dunning", field)
    if not all(1 <= day <= FURTHEST_DAYS for day in days):
        faults.add(ErrorCode.INVALID, f"A reminder is 1 to {FURTHEST_DAYS} days away.", "dunning", field)
    return sorted(set(days))
