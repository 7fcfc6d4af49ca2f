"""What happens to an invoice that is not paid, and on which day: reminders, then suspension. Pure.

Days are those of the tenant's calendar. An invoice is overdue from the day after its due day. The days of grace come
next, on which the service goes on; a holiday is none of them, and nobody is suspended on one. So the suspension is on
the first day that is no holiday after so many days of grace. An invoice that a refund has made owed again is counted
from the day of the refund. Of an invoice on which no money is expected nothing is planned.

The SQL function `dunning_suspension_on` says the same as `suspension_on`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from ispgraph.domain.billing import periods
from ispgraph.domain.models import DunningKind

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Rules:
    """The tenant's settings, with what the customer's billing profile says otherwise."""

    before: Sequence[int]
    """How many days before the due day the customer is reminded."""
    after: Sequence[int]
    grace_days: int
    holidays: Collection[date]
    suspends: bool


@dataclass(frozen=True, slots=True)
class Owed:
    """An open invoice. `reopened_on`: the day of the last refund by which it was owed again."""

    issued_on: date
    due_on: date
    reopened_on: date | None = None

    @property
    def counted_from(self) -> date:
        """The last day on which it was not overdue."""
        return max(self.due_on, self.reopened_on or self.due_on)

    @property
    def words(self) -> str:
        """Why it is counted from there: "due 14 March"."""
        if self.counted_from > self.due_on:
            return f"owed again by a refund on {periods.day_in_words(self.counted_from)}"
        return f"due {periods.day_in_words(self.due_on)}"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to be done on a day, and the rule that made the day, in words."""

    kind: DunningKind
    counted_from: date
    days: int
    """From there, below zero before it; 0 for the suspension."""
    on: date
    rule: str

    @property
    def key(self) -> tuple[DunningKind, date, int]:
        """What it is known by once it is done, whatever the settings are by then."""
        return (self.kind, self.counted_from, self.days)


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done now: at most one of the steps that are `taken`, and those that are passed over for good."""

    taken: Step | None
    passed: Sequence[Step]


def suspension_on(counted_from: date, grace_days: int, holidays: Collection[date]) -> date:
    """The day on which whoever has not paid by then is suspended."""
    return _suspension(counted_from, grace_days, holidays)[0]


def _suspension(counted_from: date, grace_days: int, holidays: Collection[date]) -> tuple[date, list[date]]:
    """And the holidays on the way."""
    day, left, skipped = counted_from + _DAY, grace_days, []
    while left or day in holidays:
        if day in holidays:
            skipped.append(day)
        else:
            left -= 1
        day += _DAY
    return day, skipped


def plan(owed: Owed, rules: Rules) -> list[Step]:
    """Every step of an open invoice, the earliest first. A reminder of the due day comes after the day of issue."""
    found = [
        _reminder(owed.due_on, -days, f"due {periods.day_in_words(owed.due_on)} - {periods.in_days(days)}")
        for days in set(rules.before)
        if owed.due_on - days * _DAY > owed.issued_on
    ]
    found += [
        _reminder(owed.counted_from, days, f"{owed.words} + {periods.in_days(days)}") for days in set(rules.after)
    ]
    if rules.suspends:
        day, skipped = _suspension(owed.counted_from, rules.grace_days, rules.holidays)
        rule = f"{_grace(owed, rules)}{_holidays(skipped)}, and the day after"
        found.append(Step(DunningKind.SUSPENSION, owed.counted_from, 0, day, rule))
    return sorted(found, key=lambda step: (step.on, step.kind is DunningKind.SUSPENSION, step.days))


def due(
    steps: Sequence[Step], done: Collection[tuple[DunningKind, date, int]], today: date, *, can_suspend: bool
) -> Due:
    """What of a plan is to be done today, after however many days on which nothing ran.

    Of reminders only the latest goes out, one of the due day only up to that day, and none where the service is
    suspended at once. Without `can_suspend` there is nothing that could be suspended now; the step waits.
    """
    ripe = [step for step in steps if step.on <= today and step.key not in done]
    reminders = [step for step in ripe if step.kind is DunningKind.REMINDER]
    suspension = next((step for step in ripe if step.kind is DunningKind.SUSPENSION), None)
    if suspension is not None and can_suspend:
        return Due(suspension, reminders)
    latest = reminders[-1] if reminders else None
    if latest is not None and latest.days < 0 and today > latest.counted_from:
        latest = None
    return Due(latest, [step for step in reminders if step is not latest])


def _reminder(counted_from: date, days: int, rule: str) -> Step:
    return Step(DunningKind.REMINDER, counted_from, days, counted_from + days * _DAY, rule)


def _grace(owed: Owed, rules: Rules) -> str:
    return f"{owed.words} + {periods.in_days(rules.grace_days)} of grace"


def _holidays(skipped: Sequence[date]) -> str:
    if not skipped:
        return ""
    count = "1 holiday" if len(skipped) == 1 else f"{len(skipped)} holidays"
    return f" + {count} ({', '.join(periods.day_in_words(day) for day in skipped)})"
