"""A network that behaves badly: routers, devices, and the accounting packets that come of them in the order of arrival.

What happens is invented here, and nothing is said of what it adds up to: that is for the oracle.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

START, STOP, INTERIM, ON = 1, 2, 3, 7
ORIGIN_1970 = datetime(1970, 1, 2, tzinfo=UTC)
INTERVAL = 300


@dataclass(frozen=True)
class Packet:
    """One Accounting-Request. `event` is what the clock of the router showed, None when it did not say; `delay` what it
    says that it kept the packet for. `up` and `down` are its input and output octets, of 64 bits."""

    arrival: datetime
    router: str
    user: str
    status: int
    session_id: str = ""
    cookie: str = ""
    station: str = ""
    seconds: int = 0
    up: int = 0
    down: int = 0
    event: datetime | None = None
    delay: int | None = None


@dataclass(frozen=True)
class Device:
    """What dials in: as whom, from where, and over which router."""

    user: str
    station: str
    router: str


class Network:
    """Makes packets for as long as it runs.

    `classless` routers echo no Class, and count on. `plain` ones have clocks that are right, say how long they kept a
    packet, and tell when they have started again, before anybody dials in.
    """

    def __init__(
        self, seed: int, devices: Sequence[Device], *, classless: Iterable[str] = (), plain: Iterable[str] = ()
    ) -> None:
        self.random = random.Random(seed)
        self.devices = devices
        self.classless = frozenset(classless)
        self.plain = frozenset(plain)
        self.numbers: dict[str, int] = {}
        self.packets: list[Packet] = []

    def run(self, begin: datetime, end: datetime) -> None:
        """Whatever happens in this stretch of time."""
        routers = sorted({device.router for device in self.devices})
        reboots = {
            router: sorted(
                begin + timedelta(seconds=self.random.randrange(int((end - begin).total_seconds()))) for _ in range(2)
            )
            for router in routers
        }
        for router in self.plain & reboots.keys():
            for at in reboots[router]:
                self._send(Packet(at, router, "", ON), at + timedelta(seconds=40), [])
        for device in self.devices:
            at = begin + timedelta(seconds=self.random.randrange(1800))
            while at < end:
                at = self._session(device, at, end, reboots[device.router])
                at += timedelta(seconds=self.random.choice((50 if device.router in self.plain else 5, 70, 4000)))

    def in_order(self) -> list[Packet]:
        """As they arrive."""
        return sorted(self.packets, key=lambda packet: packet.arrival)

    def _session(self, device: Device, begun: datetime, end: datetime, reboots: Sequence[datetime]) -> datetime:
        dice = self.random
        lasts = dice.choice((200, 3000, 20_000, 80_000)) + dice.randrange(600)
        over = min(begun + timedelta(seconds=lasts), end)
        stops = dice.random() < 0.8
        for at in reboots:
            if begun < at < over:
                over, stops = at, False
        start = 1 + sum(at <= begun for at in reboots)
        number = self.numbers[device.router] = self.numbers.get(device.router, 0) + 1
        # What counts the sessions of a start of the router comes round, but not while its Class is all that tells them.
        count = number if device.router in self.classless else number % 8
        of = Packet(
            begun,
            device.router,
            device.user if dice.random() < 0.9 else device.user.upper(),
            START,
            session_id=f"81{start % 16:x}{count:05x}",
            cookie="" if device.router in self.classless else dice.randbytes(20).hex(),
            station=device.station,
        )
        self._send(of, begun, reboots)
        seconds = up = down = 0
        whole = int((over - begun).total_seconds())
        while seconds < whole:
            step = min(INTERVAL + dice.randrange(-2, 3), whole - seconds)
            seconds += step
            # Now and then nothing, now and then all that a fast line carries: beyond 32 bits within minutes.
            speed = dice.choice((0, 9_000, 2_000_000, 60_000_000))
            more_up, more_down = dice.randrange(step * speed // 7 + 1), dice.randrange(step * speed + 1)
            if dice.random() < 0.01:
                up, down = more_up, more_down
            else:
                up, down = up + more_up, down + more_down
            last = seconds >= whole
            if last and not stops:
                break
            told = replace(of, status=STOP if last else INTERIM, seconds=seconds, up=up, down=down)
            self._send(told, begun + timedelta(seconds=seconds), reboots)
        return over

    def _send(self, packet: Packet, at: datetime, reboots: Sequence[datetime]) -> None:
        """What becomes of a packet of this moment: it may be lost, late, and come more than once."""
        dice = self.random
        if dice.random() < 0.05:
            return
        plain = packet.router in self.plain
        event: datetime | None = at.replace(microsecond=0)
        if not plain:
            clock = dice.random()
            if clock < 0.1:
                event = ORIGIN_1970 + timedelta(seconds=dice.randrange(10_000))
            elif clock < 0.2:
                event = None
            elif clock < 0.3:
                event = at + timedelta(seconds=dice.choice((-250, 250, 4000)))
        for turn in range(1 if dice.random() < 0.93 else 3):
            late = 0.0
            if turn or dice.random() < 0.08:
                # Kept by the router, which says so, or on its way for long, which nobody says.
                late = dice.choice((3, 20, 400, 2000)) + dice.random()
            kept = int(late) if late and (plain or dice.random() < 0.7) else None
            way = timedelta(seconds=late, microseconds=dice.randrange(1, 400_000))
            if any(at <= reboot < at + way for reboot in reboots):
                # What a router keeps, it loses when it starts again.
                continue
            self.packets.append(replace(packet, arrival=at + way, event=event, delay=kept))
