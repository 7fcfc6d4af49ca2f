"""Any way through the statuses of a ticket, beside an account of it that is kept by hand."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import subscribers
from tests.factories import House
from tests.tickets.conftest import START, At
from tests.tickets.counter import Counter, faults

# What may follow what, written out apart from the product.
MOVES = {
    "OPEN": {"IN_PROGRESS", "PENDING", "RESOLVED", "CLOSED"},
    "IN_PROGRESS": {"OPEN", "PENDING", "RESOLVED", "CLOSED"},
    "PENDING": {"OPEN", "IN_PROGRESS", "RESOLVED", "CLOSED"},
    "RESOLVED": {"OPEN", "IN_PROGRESS", "CLOSED"},
    "CLOSED": {"OPEN", "IN_PROGRESS"},
}
AFTER_ANSWER = {"OPEN": "IN_PROGRESS", "IN_PROGRESS": "IN_PROGRESS", "PENDING": "PENDING", "RESOLVED": "IN_PROGRESS"}
STEP = st.tuples(
    st.sampled_from([*MOVES, *MOVES, "answer", "answer", "note"]),
    # Minutes until then: mostly few, sometimes so many that what is closed stays closed.
    st.sampled_from([0, 1, 7, 90, 30 * 24 * 60 - 1, 30 * 24 * 60]),
)


@dataclass
class Account:
    """What a ticket should be, by the minute."""

    status: str = "OPEN"
    reopened: int = 0
    ours: int = 0
    answered: int | None = None
    resolved: int | None = None
    closed: int | None = None
    changes: int = 0

    def move(self, status: str, now: int) -> None:
        """To another status."""
        if status in ("RESOLVED", "CLOSED"):
            self.resolved = now if self.resolved is None else self.resolved
        else:
            self.reopened += self.status in ("RESOLVED", "CLOSED")
            self.resolved = None
        self.closed = now if status == "CLOSED" else None
        self.status, self.changes = status, self.changes + 1

    def take(self, step: str, now: int) -> str | None:
        """What a step does, or the code with which it is refused."""
        if step == "note":
            return None
        if step == "answer":
            if self.status == "CLOSED":
                return "INVALID_STATE"
            if AFTER_ANSWER[self.status] != self.status:
                self.move(AFTER_ANSWER[self.status], now)
            self.answered = now if self.answered is None else self.answered
            return None
        if step == self.status:
            return "NO_CHANGE"
        late = self.closed is not None and now - self.closed >= 30 * 24 * 60
        if step not in MOVES[self.status] or late:
            return "INVALID_STATE"
        self.move(step, now)
        return None


def shown(minutes: int | None) -> str | None:
    """An instant as the API prints it."""
    return None if minutes is None else (START + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEP, min_size=3, max_size=8))
async def test_every_way_is_as_the_account_says(
    house: House, desk: Counter, at: At, steps: list[tuple[str, int]]
) -> None:
    at()
    ticket = await desk.opened(await subscribers.customer(house))
    account, now = Account(), 0
    for step, later in steps:
        if account.status in ("OPEN", "IN_PROGRESS"):
            account.ours += later
        now += later
        at(minutes=now)
        before: Any = await desk.read(ticket["id"])
        refused = account.take(step, now)
        if step in MOVES:
            payload = await desk.status(ticket["id"], step)
        else:
            payload = await desk.reply(ticket["id"], internal=step == "note")
        assert [code for code, _ in faults(payload)] == ([] if refused is None else [refused]), (step, steps)
        after: Any = await desk.read(ticket["id"])
        if refused is not None:
            assert after == before
        assert [after[name] for name in ("status", "reopenCount", "version")] == [
            account.status,
            account.reopened,
            1 + account.changes,
        ]
        instants = [after[name] for name in ("firstRespondedAt", "resolvedAt", "closedAt")]
        assert instants == [shown(account.answered), shown(account.resolved), shown(account.closed)]
        done = account.status in ("RESOLVED", "CLOSED")
        assert after["resolutionSeconds"] == (account.ours * 60 if done else None)
