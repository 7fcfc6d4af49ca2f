"""Accounting packets of a session, and what a bad network does to them."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Literal

import structlog

from ispgraph.lab import packets
from ispgraph.lab.packets import Attribute
from ispgraph.lab.radius import RadiusClient
from ispgraph.lab.session import Session
from ispgraph.lab.traffic import PACKET_DOWN, PACKET_UP

log = structlog.get_logger("ispgraph.lab")

Status = Literal["Start", "Stop", "Interim"]
Effect = Literal["lose", "duplicate", "reorder", "delay"]
EFFECTS = ("lose", "duplicate", "reorder", "delay")
STATUSES: dict[Status, int] = {"Start": 1, "Stop": 2, "Interim": 3}
CAUSES = {
    "User-Request": 1,
    "Lost-Carrier": 2,
    "Idle-Timeout": 4,
    "Session-Timeout": 5,
    "Admin-Reset": 6,
    "NAS-Error": 9,
    "NAS-Request": 10,
    "NAS-Reboot": 11,
}
_HELD_SECONDS = 10.0
_RADIUS = packets.number(1)


@dataclass(slots=True)
class Weather:
    """One thing that happens to accounting packets: to a ``share`` of them (0 to 1), or to the ``next`` so many.

    ``lose``: the packet and all its repetitions are lost. ``duplicate``: each datagram arrives twice. ``reorder``: the
    packet leaves after the next one of its session, or after 10 seconds. ``delay``: it leaves ``seconds`` later.
    """

    effect: Effect
    of: frozenset[str] = frozenset(STATUSES)
    share: float = 0.0
    next: int = 0
    seconds: float = 5.0


@dataclass(slots=True)
class AccountingCounters:
    """Packets that a server confirmed, that none confirmed, and that the weather took."""

    confirmed: int = 0
    unconfirmed: int = 0
    lost: int = 0


@dataclass
class Accounting:
    """Sends each packet in a task of its own, as a router does: a Stop does not wait for an unanswered Start."""

    client: RadiusClient
    address: str
    seed: str
    weather: list[Weather] = field(default_factory=list)
    counters: AccountingCounters = field(default_factory=AccountingCounters)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: dict[Session, asyncio.Event] = {}

    def report(self, session: Session, status: Status, cause: str | None = None) -> None:
        """Begin to send a packet with the counters of this moment."""
        task = asyncio.get_running_loop().create_task(
            self._send(session, status, self._attributes(session, status, cause))
        )
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("accounting failed", exc_info=error)

    async def drain(self, seconds: float) -> None:
        """Wait for what is on its way, at most so long; then give it up."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send(self, session: Session, status: Status, attributes: list[Attribute]) -> None:
        weather = self._strike(status)
        effect = weather.effect if weather else None
        if effect == "lose":
            self.counters.lost += 1
            return
        if weather and effect == "delay":
            await asyncio.sleep(weather.seconds)
        if effect == "reorder":
            overtaken = self._held.setdefault(session, asyncio.Event())
            try:
                async with asyncio.timeout(_HELD_SECONDS):
                    await overtaken.wait()
            except TimeoutError:
                self._held.pop(session, None)
        confirmed = await self.client.account(session.kind, attributes, twice=effect == "duplicate")
        if effect != "reorder" and (waiting := self._held.pop(session, None)) is not None:
            waiting.set()
        self.counters.confirmed += confirmed
        self.counters.unconfirmed += not confirmed

    def _strike(self, status: Status) -> Weather | None:
        for weather in self.weather:
            if status not in weather.of:
                continue
            if weather.next > 0:
                weather.next -= 1
                return weather
            if self._random.random() < weather.share:
                return weather
        return None

    def _attributes(self, session: Session, status: Status, cause: str | None) -> list[Attribute]:
        router = session.router
        found: list[Attribute] = [
            *session.identity(),
            (packets.ACCT_SESSION_ID, session.session_id.encode()),
            (packets.FRAMED_IP, packets.address(session.address)),
            (packets.ACCT_AUTHENTIC, _RADIUS),
            (packets.EVENT_TIMESTAMP, packets.number(int(router.own_time()) & 0xFFFFFFFF)),
            (packets.ACCT_STATUS, packets.number(STATUSES[status])),
            (packets.NAS_IDENTIFIER, router.identity.encode()),
            (packets.NAS_IP, packets.address(self.address)),
            *((packets.CLASS, value) for value in session.classes),
        ]
        if status != "Start":
            up, down = session.meter.read(router.now())
            seconds = int(router.now() - session.started)
            for key, value in (
                (packets.ACCT_SESSION_TIME, seconds),
                (packets.ACCT_INPUT, up & 0xFFFFFFFF),
                (packets.ACCT_OUTPUT, down & 0xFFFFFFFF),
                (packets.ACCT_INPUT_GIGAWORDS, up >> 32),
                (packets.ACCT_OUTPUT_GIGAWORDS, down >> 32),
                (packets.ACCT_INPUT_PACKETS, up // PACKET_UP & 0xFFFFFFFF),
                (packets.ACCT_OUTPUT_PACKETS, down // PACKET_DOWN & 0xFFFFFFFF),
            ):
                found.append((key, packets.number(value)))
        if cause is not None:
            found.append((packets.ACCT_TERMINATE_CAUSE, packets.number(CAUSES[cause])))
        return found
