"""What packets must add up to, by the definition: whoever reads the packets of one session in the order of their
arrival knows of it what the one that tells of the most time told, and nothing more.

So each packet that tells of more time than any before it is a reading of the counters. From one reading to the next,
a counter grew by the difference, or, when it fell, began again at zero in between. It grew evenly: until any instant
between two readings it had grown by the part of the time that had passed, whole octets of it. What was used in a
stretch of time is the difference between its two ends. Nothing here knows of quarters of an hour.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

from tests.radius.stream import INTERIM, ON, START, STOP, Packet

_TRUSTED = timedelta(seconds=300)


@dataclass(frozen=True)
class Growth:
    """Upload, download and seconds that came about between two instants."""

    begin: datetime
    end: datetime
    figures: tuple[int, int, int]

    def until(self, at: datetime) -> tuple[int, ...]:
        """How much of it there was at an instant."""
        if at <= self.begin:
            # What took no time was there at its instant.
            return (0, 0, 0)
        if at >= self.end:
            return self.figures
        part = Fraction(
            (at - self.begin) // timedelta(microseconds=1), (self.end - self.begin) // timedelta(microseconds=1)
        )
        return tuple(int(figure * part) for figure in self.figures)


@dataclass
class Session:
    """What is known of one session."""

    user: str
    router: str
    begun: datetime
    read_at: datetime
    seconds: int = 0
    shown: tuple[int, int] = (0, 0)
    total: tuple[int, int] = (0, 0)
    told_end: bool = False
    growth: list[Growth] = field(default_factory=list)


class Oracle:
    """Reads packets in the order of arrival. `swapped`: the routers that count the wrong way round."""

    def __init__(self, zone: str, swapped: Sequence[str] = ()) -> None:
        self.zone = ZoneInfo(zone)
        self.swapped = swapped
        self.sessions: dict[str, Session] = {}

    def read(self, packet: Packet) -> None:
        """One packet more."""
        if packet.status == ON:
            return
        at = packet.arrival - timedelta(seconds=packet.delay or 0)
        if packet.event is not None and abs(packet.event - at) <= _TRUSTED:
            at = min(packet.event, packet.arrival)
        name = packet.cookie or f"{packet.router} {packet.session_id}"
        if name not in self.sessions:
            begun = at - timedelta(seconds=packet.seconds)
            self.sessions[name] = Session(packet.user.lower(), packet.router, begun, begun)
            if packet.status == START:
                return
        session = self.sessions[name]
        if packet.status == START or packet.seconds <= session.seconds:
            session.told_end |= packet.status == STOP
            return
        if session.told_end and packet.status == INTERIM:
            return
        session.told_end |= packet.status == STOP
        figures = (packet.up, packet.down)
        grown = tuple(
            now - before if now >= before else now for now, before in zip(figures, session.shown, strict=True)
        )
        if packet.router in self.swapped:
            grown = grown[::-1]
        end = max(session.read_at, at)
        session.growth.append(Growth(session.read_at, end, (grown[0], grown[1], packet.seconds - session.seconds)))
        session.total = (session.total[0] + grown[0], session.total[1] + grown[1])
        session.read_at, session.seconds, session.shown = end, packet.seconds, figures

    def used(self, user: str, first: date, end: date) -> tuple[int, int, int]:
        """Upload, download and seconds of a user from the beginning of one day to that of another."""
        days = self.days(user)
        found = [figures for day, figures in days.items() if first <= day < end]
        up, down, seconds = (sum(figures[n] for figures in found) for n in range(3))
        return up, down, seconds

    def days(self, user: str) -> dict[date, tuple[int, int, int]]:
        """By calendar days of the zone."""
        found: dict[date, list[int]] = {}
        for session in self.sessions.values():
            if session.user != user:
                continue
            for growth in session.growth:
                day = growth.begin.astimezone(self.zone).date()
                last = max(growth.end - timedelta(microseconds=1), growth.begin).astimezone(self.zone).date()
                had: tuple[int, ...] = (0, 0, 0)
                while day <= last:
                    midnight = datetime.combine(day + timedelta(days=1), time(), self.zone).astimezone(UTC)
                    has = growth.figures if day == last else growth.until(midnight)
                    into = found.setdefault(day, [0, 0, 0])
                    for n in range(3):
                        into[n] += has[n] - had[n]
                    had, day = has, day + timedelta(days=1)
        return {day: (figures[0], figures[1], figures[2]) for day, figures in found.items()}
