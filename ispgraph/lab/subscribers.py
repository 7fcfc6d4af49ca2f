"""The subscribers' devices: who they are, when they dial, and how stubbornly."""

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import structlog

from ispgraph.lab.agenda import Agenda
from ispgraph.lab.hosts import Host
from ispgraph.lab.nas import Nas
from ispgraph.lab.session import Caller, Session
from ispgraph.lab.sessions import DialFailed

log = structlog.get_logger("ispgraph.lab")

State = Literal["offline", "dialing", "online", "refused"]
# A patient device doubles its pause with each failure in a row, up to so many times the first one.
_PATIENCE = 16


@dataclass
class Subscriber:
    """One device behind a router. Seconds are lab time.

    ``key`` names the device, ``name`` is what it logs in with: two devices may share a name. ``redial_seconds`` None
    never dials by itself again. Without ``patient`` it keeps dialing at the same pace, however often it is refused.
    """

    key: str
    nas: Nas
    agenda: Agenda
    caller: Caller
    redial_seconds: float | None = 10.0
    patient: bool = True
    state: State = "offline"
    since: float = 0.0
    reason: str | None = None
    message: str | None = None
    dials: int = 0
    session: Session | None = None
    host: Host | None = None
    wanted: bool = False
    _failures: int = 0
    _planned: float | None = None
    _task: "asyncio.Task[None] | None" = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.since = self.nas.router.now()
        self.caller.ended = self._ended

    def switch_on(self) -> None:
        """Dial, or plug a host in; does nothing when that is the case already."""
        self.wanted = True
        if self.caller.service == "static":
            self._plug_in()
        elif self.session is None and self._task is None:
            self._planned = None
            self._turn("dialing")
            self._task = asyncio.get_running_loop().create_task(self._dial())

    def hang_up(self) -> None:
        """End the session from the subscriber's side and stay off."""
        self.cancel()
        if self.host is not None:
            self.nas.hosts.off(self.host)
            self.host = None
        if self.session is not None:
            self.nas.sessions.end(self.session, "User-Request")
        self._turn("offline")

    def cancel(self) -> None:
        """Want nothing any more, and break off a dial."""
        self.wanted = False
        self._planned = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def set_load(self, up: int, down: int) -> None:
        """Bits per second that the subscriber wants from now on."""
        self.caller.load_up, self.caller.load_down = up, down
        if self.session is not None:
            self.nas.sessions.set_load(self.session, up, down)
        if self.host is not None:
            self.nas.hosts.set_load(self.host, up, down)

    def _plug_in(self) -> None:
        if self.host is None:
            caller = self.caller
            assert caller.address is not None
            now = self.nas.router.now()
            host = Host(caller.name, caller.address, caller.mac, now, caller.load_up, caller.load_down)
            self.nas.hosts.on(host)
            self.host = host
            self._turn("online")

    async def _dial(self) -> None:
        try:
            self.dials += 1
            self.session = await self.nas.sessions.dial(self.caller)
            self.reason = self.message = None
            self._failures = 0
            self._turn("online")
        except DialFailed as failure:
            self.reason, self.message = failure.reason, failure.message
            self._failures += 1
            self._turn("refused" if failure.refused else "offline")
            self._plan_redial()
        finally:
            if self._task is asyncio.current_task():
                self._task = None

    def _ended(self, session: Session, cause: str) -> None:
        if self.session is session:
            self.session = None
            self.reason = cause
            self._turn("offline")
            self._plan_redial()

    def _plan_redial(self) -> None:
        if self.wanted and self.redial_seconds is not None:
            growth = min(2 ** max(0, self._failures - 1), _PATIENCE) if self.patient else 1
            self._planned = self.nas.router.now() + self.redial_seconds * growth
            self.agenda.at(self._planned, partial(self._redial, self._planned))

    def _redial(self, planned: float, _due: float) -> None:
        if self.wanted and self._planned == planned:
            self.switch_on()

    def _turn(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self.since = self.nas.router.now()
