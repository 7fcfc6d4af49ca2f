"""What must come of everything that is done to a customer: the money, the time that is charged, and the patience with
a debtor. Dictionaries, dates and fractions; nothing of the product is used here.

It is a tenant in Dhaka, where clocks never change, with 7.5 % of tax on top.
"""

from bisect import bisect_right
from calendar import monthrange
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any

TAX = Fraction(75, 1000)
PRICES = (3_000, 4_700)
"""Of the packages, a month each."""
DUE_DAYS, GRACE_DAYS, BEFORE, AFTER = 7, 3, (3,), (1, 3)
HOLIDAYS = frozenset(
    date(year, month, day) for year in range(2028, 2032) for month in range(1, 13) for day in (1, 5, 10, 16, 21, 27)
)
DUNNING_HOUR = 9
MOST_PERIODS = 36
HOUR, DAY, SOME = timedelta(hours=1), timedelta(days=1), timedelta(seconds=60)
_EAST = timedelta(hours=6)
_DAYS = {1: 30, 3: 90}
CYCLES = {None: (1, 0), "WEEKLY": (0, 7), "MONTHLY": (1, 0), "QUARTERLY": (3, 0)}
"""Months and days of a period, by what a billing profile says."""

Time = tuple[datetime, datetime, int]
"""Time that is charged: from, until, the price without tax."""


def minor(amount: str) -> int:
    """Of "12.50"."""
    return round(Fraction(amount) * 100)


def shown(amount: int) -> str:
    """The reverse."""
    return f"{amount // 100}.{amount % 100:02d}"


def half_up(value: Fraction) -> int:
    """The nearest whole number."""
    return -half_up(-value) if value < 0 else int(value + Fraction(1, 2))


def taxed(net: int) -> int:
    """With its tax."""
    return net + half_up(TAX * net)


def day_of(at: datetime) -> date:
    """In Dhaka."""
    return (at + _EAST).date()


def days(start: datetime, end: datetime) -> int:
    """Midnights between."""
    return (day_of(end) - day_of(start)).days


def boundary(anchor: datetime, cycle: tuple[int, int], number: int) -> datetime:
    """Where the period with this number begins."""
    there = anchor + _EAST
    year, month = divmod(there.year * 12 + there.month - 1 + cycle[0] * number, 12)
    last = monthrange(year, month + 1)[1]
    there = there.replace(year=year, month=month + 1, day=min(there.day, last))
    return there + cycle[1] * number * DAY - _EAST


def number_at(anchor: datetime, cycle: tuple[int, int], at: datetime) -> int:
    """Of the period around an instant."""
    first = round((at - anchor) / DAY / (30 * cycle[0] + cycle[1])) - 4
    return first + bisect_right(range(8), at, key=lambda n: boundary(anchor, cycle, first + n)) - 1


def next_day(today: date, day: int) -> date:
    """The first such day of a month after a day."""
    found = today + DAY
    while found.day != day:
        found += DAY
    return found


def suspension_on(counted_from: date, grace: int) -> date:
    """So many days that are no holidays lie between."""
    day = counted_from
    while grace >= 0:
        day += DAY
        grace -= day not in HOLIDAYS
    return day


@dataclass
class Money:
    """What one customer has with us: invoices by age with what is due, and what settled them."""

    wallet: int = 0
    due: dict[str, int] = field(default_factory=dict)
    shares: list[list[Any]] = field(default_factory=list)
    """[payment or None for the wallet, invoice, amount], the last settled first."""
    left: dict[str, int] = field(default_factory=dict)
    """By payment with money: what of it was not given back."""
    settled: Counter[str] = field(default_factory=Counter)
    """By invoice: all that ever settled it, given back or not."""
    reopened: set[tuple[str, str]] = field(default_factory=set)
    """Payments, and the invoices that they settled for a while, until they were given back."""

    def settle(self, payment: str | None, amount: int, invoices: list[str]) -> int:
        """Oldest first; what is left over."""
        for invoice in invoices:
            part = min(amount, self.due[invoice])
            if part:
                self.settled[invoice] += part
                self.due[invoice] -= part
                self.shares.insert(0, [payment, invoice, part])
                amount -= part
        return amount

    def from_wallet(self, most: int, invoices: list[str]) -> None:
        """So much of the wallet at most."""
        most = min(most, self.wallet)
        self.wallet -= most - self.settle(None, most, invoices)

    def paid(self, payment: str, amount: int, first: str | None = None) -> None:
        """Money comes in."""
        self.left[payment] = amount
        order = ([first] if first else []) + [invoice for invoice in self.due if invoice != first]
        self.wallet += self.settle(payment, amount, order)

    def credited(self, total: int) -> None:
        """A credit note goes into the wallet, and from there to what is open."""
        self.wallet += total
        self.from_wallet(total, list(self.due))

    def possible(self, payment: str) -> int:
        """What of a payment can be given back."""
        settled: int = sum(part for by, _, part in self.shares if by == payment)
        return settled + min(self.left[payment] - settled, self.wallet)

    def refunded(self, payment: str, amount: int) -> list[str]:
        """What is in the wallet first, then what was settled last; the invoices that the payment settles no more."""
        settled = sum(part for by, _, part in self.shares if by == payment)
        kept = min(amount, self.left[payment] - settled, self.wallet)
        self.left[payment] -= amount
        self.wallet -= kept
        amount -= kept
        for share in [share for share in self.shares if share[0] == payment]:
            if taken := min(amount, share[2]):
                self.reopened.add((payment, share[1]))
            share[2] -= taken
            self.due[share[1]] += taken
            amount -= taken
        self.shares = [share for share in self.shares if share[2]]
        return [invoice for by, invoice in self.reopened if by == payment and invoice in self.due]

    def voided(self, invoice: str) -> None:
        """What had settled it is in the wallet."""
        self.wallet += sum(part for _, settled, part in self.shares if settled == invoice)
        self.shares = [share for share in self.shares if share[1] != invoice]
        del self.due[invoice]


@dataclass
class Paper:
    """An invoice as dunning looks at it; `done` are steps that were taken or passed over."""

    issued: date
    total: int
    reopened: date | None = None
    done: set[tuple[str, date, int]] = field(default_factory=set)

    @property
    def due(self) -> date:
        return self.issued + DUE_DAYS * DAY


@dataclass
class Subscriber:
    """One customer with one service."""

    ends: datetime
    anchor: datetime
    package: int = 0
    money: Money = field(default_factory=Money)
    papers: dict[str, Paper] = field(default_factory=dict)
    gaps: list[tuple[datetime, datetime]] = field(default_factory=list)
    """Time that nobody is charged for, and why not is known."""
    told: Counter[str] = field(default_factory=Counter)
    """Messages by event."""
    stopped: str | None = None
    """Why the service is off line."""
    begun: bool = False
    """Whether time began anew at a moment that is known but to some milliseconds."""
    dunned: bool = False
    """Whether an invoice ran out of grace while it was."""
    # -- what is agreed
    cycle: str | None = None
    billing_day: int | None = None
    grace: int | None = None
    suspends: bool = True
    generates: bool = True
    renews: bool = False
    told_for: datetime | None = None
    # -- what is to come
    planned: tuple[date, int] | None = None
    suspend_on: date | None = None
    every: int | None = None
    remind: int | None = None
    reminded: bool = False

    @property
    def length(self) -> tuple[int, int]:
        """Of a period: months, days."""
        return CYCLES[self.cycle]

    @property
    def price(self) -> int:
        """Of a period."""
        months, length = self.length
        price = Fraction(PRICES[self.package])
        return half_up(price * months if months else price / 30 * length)

    def excused(self, since: datetime, until: datetime) -> bool:
        """Whether nobody should be charged for a time; to some seconds, which a request takes."""
        for start, end in sorted(self.gaps):
            if start <= since + SOME and since < end:
                since = end
        return since + SOME >= until

    def adopt(self, ends: datetime) -> None:
        """The end as it really is, where time has just begun anew."""
        late = ends - self.ends
        if self.begun and timedelta() < late < SOME:
            self.ends, self.anchor = ends, self.anchor + late
        self.begun = False

    # -- invoices

    def issued(self, invoice: str, total: int, now: datetime) -> None:
        """A new invoice."""
        self.papers[invoice] = Paper(day_of(now), total)
        self.money.due[invoice] = total

    def billed(self, invoice: str, total: int, now: datetime) -> None:
        """A new invoice, which the wallet pays as far as it goes."""
        self.issued(invoice, total, now)
        self.money.from_wallet(self.money.wallet, [invoice])

    def refunded(self, payment: str, amount: int, now: datetime) -> None:
        for invoice in self.money.refunded(payment, amount):
            self.papers[invoice].reopened = day_of(now)

    def voided(self, invoice: str) -> None:
        self.money.voided(invoice)
        del self.papers[invoice]

    # -- time

    def missed(self, until: datetime) -> list[Time]:
        """The periods that come after the end, up to the one around `until`, with what each costs."""
        number = number_at(self.anchor, self.length, self.ends)
        start, opens, found = self.ends, boundary(self.anchor, self.length, number), list[Time]()
        while len(found) < MOST_PERIODS:
            number += 1
            end = boundary(self.anchor, self.length, number)
            of, left = days(opens, end), days(start, end)
            # Of a part without a day there is nothing to charge: it goes with the next period.
            if left or start == opens:
                found.append((start, end, half_up(Fraction(self.price * min(left, of), of))))
                if end > until:
                    break
                start = end
            opens = end
        return found

    def run(self, as_of: datetime, charged: list[Time]) -> list[Time]:
        """What a billing run has to bill. Time that is charged already is not charged again, nor what is left of such a
        period."""
        if self.stopped or not self.generates or self.ends > as_of:
            return []
        found = self.missed(as_of)
        before = [row for row in found if any(row[0] < end and start < row[1] for start, end, _ in charged)]
        self.gaps += [(start, end) for start, end, _ in before]
        self.ends = found[-1][1]
        return [row for row in found if row not in before]

    def recharged(self, count: int, now: datetime) -> int:
        """So many days more of the package's own month; what they cost, with tax."""
        start = max(now, self.ends)
        of = days(start, boundary(start, CYCLES[None], 1))
        net = half_up(Fraction(PRICES[self.package] * count, of))
        self.lay_fallow(now)
        self.ends = self.anchor = start + count * DAY
        return taxed(net)

    def lay_fallow(self, now: datetime) -> None:
        """Time begins anew where it was over."""
        if self.ends <= now:
            self.gaps.append((self.ends, now))
            self.begun = True

    def changed(self, package: int, now: datetime, charged: list[Time]) -> int:
        """Another package: what is to be paid, or given back when below zero."""
        lines = []
        for start, end, price in charged:
            if end > now and (of := days(start, end)):
                lines.append(-half_up(Fraction(price * min(max(days(now, end), 0), of), of)))
        self.package = package
        if self.ends <= now:
            self.lay_fallow(now)
            self.anchor, self.ends = now, boundary(now, self.length, 1)
            lines.append(self.price)
        else:
            lines += self._until_the_end(now)
        return sum(taxed(line) for line in lines)

    def _until_the_end(self, now: datetime) -> list[int]:
        """What it costs from now to the end, by periods."""
        lines, number = [], number_at(self.anchor, self.length, now)
        while now < self.ends:
            opens = boundary(self.anchor, self.length, number)
            number += 1
            closes = boundary(self.anchor, self.length, number)
            end, of = min(closes, self.ends), days(opens, closes)
            left = [half_up(Fraction(self.price * days(at, closes), of)) for at in (now, end)]
            lines.append(self.price if (now, end) == (opens, closes) else left[0] - left[1])
            now = end
        return lines

    def renewed(self, now: datetime, charged: list[Time]) -> int | None:
        """What the wallet pays for another period; None when it does not."""
        start = max(self.ends, now)
        if not self.renews or self.stopped or self.ends > now + HOUR or any(end > start for _, end, _ in charged):
            return None
        costs = taxed(self.price)
        if self.money.wallet < costs:
            self.told["renewal.short"] += self.told_for != self.ends
            self.told_for = self.ends
            return None
        number = number_at(self.anchor, self.length, start)
        if boundary(self.anchor, self.length, number) != start:
            self.anchor, number = start, 0
        self.lay_fallow(now)
        self.ends = boundary(self.anchor, self.length, number + 1)
        return costs

    # -- what is agreed

    def agree(self, cycle: str | None, billing_day: int | None) -> None:
        """Other periods, or another day on which they end: what is paid for stays, and what follows ends otherwise."""
        was, before = self.length, self._next()
        anchor, day_before = self.anchor, self.billing_day
        self.cycle, self.billing_day = cycle, billing_day
        if self.length != was:
            anchor = self.ends
        moved = billing_day is not None and (billing_day != day_before or anchor != self.anchor)
        if billing_day is not None and moved and self.length[0]:
            anchor = self.ends
            while (anchor + _EAST).day != billing_day:
                anchor += DAY
        self.anchor, kept = anchor, self.anchor
        if self.length == was and self._next() == before:
            self.anchor = kept

    def _next(self) -> tuple[datetime, datetime]:
        """The period around the end."""
        number = number_at(self.anchor, self.length, self.ends)
        return boundary(self.anchor, self.length, number), boundary(self.anchor, self.length, number + 1)

    # -- debts

    def counted_from(self, invoice: str) -> date:
        """The due day, or that of the last refund of what had settled it, when so much was paid once as it comes to."""
        paper = self.papers[invoice]
        paid = self.money.settled[invoice] >= paper.total
        return max(paper.due, paper.reopened) if paid and paper.reopened else paper.due

    def late(self, invoice: str, day: date) -> bool:
        """Whether an invoice is out of grace."""
        grace = GRACE_DAYS if self.grace is None else self.grace
        return suspension_on(self.counted_from(invoice), grace) <= day

    def relieved(self, now: datetime) -> None:
        """Somebody has paid: whoever is off line for debts alone, and has none out of grace, is on line again."""
        owed = [invoice for invoice, due in self.money.due.items() if due]
        late = any(self.late(invoice, day_of(now)) for invoice in owed)
        if self.stopped == "NON_PAYMENT" and self.ends > now and not late:
            self.stopped = None
            self.told["service.activated"] += 1

    def freed(self, now: datetime) -> None:
        """Nobody has paid, and yet there may be nothing out of grace any more: that frees whom dunning has stopped."""
        if self.dunned:
            self.relieved(now)

    def dun(self, day: date, now: datetime) -> None:
        """What is done about debts on a day, and about a day of suspension."""
        self.freed(now)
        can_stop = self.stopped in (None, "NON_PAYMENT")
        for invoice, due in self.money.due.items():
            if due:
                self._dun(invoice, self.papers[invoice], day, can_stop=can_stop)
        if self.suspend_on is not None:
            self._suspend_on(self.suspend_on, day, day_of(now))

    def _dun(self, invoice: str, paper: Paper, day: date, *, can_stop: bool) -> None:
        steps = {("remind", paper.due, -n): paper.due - n * DAY for n in BEFORE if paper.issued < paper.due - n * DAY}
        since = self.counted_from(invoice)
        steps |= {("remind", since, n): since + n * DAY for n in AFTER}
        ripe = [step for step, on in sorted(steps.items(), key=lambda one: one[1]) if on <= day]
        todo = [step for step in ripe if step not in paper.done]
        paper.done.update(todo)
        stop = ("suspend", since, 0)
        if self.suspends and can_stop and stop not in paper.done and self.late(invoice, day):
            paper.done.add(stop)
            if self.stopped is None:
                self.stop("NON_PAYMENT", told=True)
            self.dunned = True
        elif todo and (todo[-1][2] > 0 or day <= paper.due):
            self.told["invoice.overdue" if day > paper.due else "invoice.due"] += 1

    def stop(self, reason: str, *, told: bool = False) -> None:
        """Off line."""
        self.stopped, self.dunned = reason, False
        self.told["service.suspended"] += told

    def _suspend_on(self, on: date, day: date, today: date) -> None:
        if on <= day:
            self.suspend_on = None if self.every is None else next_day(max(day, today), self.every)
            self.reminded = False
            if self.stopped is None:
                self.stop("OTHER", told=True)
        elif self.remind is not None and on - self.remind * DAY <= day and not self.reminded:
            self.reminded = True
            self.told["service.suspend_soon"] += self.stopped is None
