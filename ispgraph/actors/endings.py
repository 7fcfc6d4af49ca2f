"""Ending sessions, and making sure that they have ended: Disconnect over RADIUS first, then the router's API.

A router's word that it ended a session is not believed: what counts is the session's Stop in accounting, or that the
router lists it no longer. A session is named by its own id, so asking twice cannot end the one that came after it.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import func, select

from ispgraph import clock
from ispgraph.actors.turns import Turn, step_of
from ispgraph.adapters import radius_client
from ispgraph.adapters.errors import AdapterError, BadReply, TimedOut, Unreachable
from ispgraph.adapters.radius_client import Answer, Identity, Nas, Outcome
from ispgraph.domain.models import ConnectionType, Job, OpenSession, Session, StepOutcome, StepProtocol
from ispgraph.domain.network.items import ACTIVE, CONNECTIONS, HOTSPOT_ACTIVE, HOTSPOT_COOKIES
from ispgraph.domain.network.outcomes import Step

# How long after its ACK a router may take to send the Stop.
STOP_SECONDS = 10.0
# And how long we wait for the Stop of a session that the router lists no longer.
_LATE_SECONDS = 2.0
_LOOK_SECONDS = 0.25
_AT_ONCE = 64
# Fewer are looked up by name; more are found in one listing of all.
_BY_NAME = 4
_NO_SUCH_SESSION = 503
_OUTCOMES = {Outcome.ACK: StepOutcome.ACK, Outcome.NAK: StepOutcome.NAK, Outcome.TIMEOUT: StepOutcome.TIMEOUT}


@dataclass(slots=True)
class Ending:
    """One session that a job wants ended. `answer` is what the router said to Disconnect."""

    job: Job
    session: Session
    answer: Answer | None = None
    ended: bool = False
    steps: list[Step] = field(default_factory=list)


async def end(turn: Turn, endings: Sequence[Ending]) -> None:
    """End these sessions; each is `ended` afterwards. Raises AdapterError when some could not be, or nobody knows."""
    if not endings:
        return
    jobs = [ending.job for ending in endings]
    nas = turn.nas
    if nas is not None:
        gate = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(_disconnect(nas, ending, gate) for ending in endings))
        if any(ending.answer and ending.answer.outcome is not Outcome.TIMEOUT for ending in endings):
            await turn.answered()
        await _wait(turn, endings)
        await _tell(turn, endings)
    left = [ending for ending in endings if not ending.ended]
    if not left:
        return
    if turn.address is None:
        raise _nobody_knows(left)
    await turn.record({}, jobs, "Looking for the session on the router.")
    try:
        await _by_api(turn, left)
    except (BadReply, TimedOut, Unreachable) as error:
        # Whatever was under way may have been done: look again, over another connection.
        for ending in left:
            ending.steps.append(step_of(StepProtocol.ROUTEROS, error))
        await _tell(turn, left)
        await turn.reconnect()
        await _by_api(turn, [ending for ending in left if not ending.ended])
    await _tell(turn, left)


def identity(session: Session) -> Identity:
    """How a router is told which session is meant: RouterOS needs the address for a hotspot user."""
    return Identity(
        user_name=session.username,
        acct_session_id=session.acct_session_id,
        framed_ip=None if session.ip_address is None else str(session.ip_address),
    )


def told(protocol: StepProtocol, answer: Answer) -> Step:
    """A router's answer as a step."""
    return Step(protocol, _OUTCOMES[answer.outcome], answer.text, answer.error_cause, answer.round_trip_ms)


async def _disconnect(nas: Nas, ending: Ending, gate: asyncio.Semaphore) -> None:
    try:
        async with gate:
            ending.answer = await radius_client.disconnect(nas, identity(ending.session).attributes())
    except AdapterError as error:
        ending.steps.append(step_of(StepProtocol.DISCONNECT, error))
        return
    ending.steps.append(told(StepProtocol.DISCONNECT, ending.answer))


async def _tell(turn: Turn, endings: Sequence[Ending], message: str | None = None) -> None:
    steps: dict[UUID, list[Step]] = {}
    for ending in endings:
        steps.setdefault(ending.job.id, []).extend(ending.steps)
        ending.steps.clear()
    await turn.record(steps, [ending.job for ending in endings], message)


async def _wait(turn: Turn, endings: Sequence[Ending]) -> None:
    """Wait for the Stop of every session whose end a router has agreed to; look once for the others.

    Most Stops are there in a moment, so the first looks come soon, and only a longer wait is worth telling.
    """
    loop = asyncio.get_running_loop()
    until, pause, told = loop.time() + STOP_SECONDS, _LOOK_SECONDS / 4, False
    while True:
        await _look(turn, endings)
        agreed = [one for one in endings if not one.ended and one.answer and one.answer.outcome is Outcome.ACK]
        if not agreed or loop.time() >= until:
            return
        if pause == _LOOK_SECONDS and not told:
            await _tell(turn, endings, "The router was asked to end the session; waiting for its end.")
            told = True
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LOOK_SECONDS)


async def _look(turn: Turn, endings: Iterable[Ending]) -> None:
    waiting = {ending.session.id: ending for ending in endings if not ending.ended}
    if not waiting:
        return
    stopped = select(Session.id, Session.terminate_cause).where(
        Session.id.in_(waiting),
        Session.started_at.in_({ending.session.started_at for ending in waiting.values()}),
        Session.stopped_at.is_not(None),
    )
    async with turn.database.read(turn.lane.tenant_id) as session:
        rows = (await session.execute(stopped)).all()
    for key, cause in rows:
        ending = waiting[key]
        ending.ended = True
        detail = f"The session {ending.session.acct_session_id} has ended ({cause or 'no cause given'})."
        ending.steps.append(Step(StepProtocol.DISCONNECT, StepOutcome.VERIFIED, detail))


def _nobody_knows(left: Sequence[Ending]) -> AdapterError:
    names = ", ".join(sorted({ending.session.username for ending in left}))
    said = next((ending.answer.text for ending in left if ending.answer is not None), "It could not be asked")
    return Unreachable(
        f"The end of the session of {names} could not be seen, and we have no login for the router's API. {said}"
    )


async def _by_api(turn: Turn, endings: Sequence[Ending]) -> None:
    """Remove what the router still lists, look again, and close in our books what it no longer has."""
    if not endings:
        return
    api = await turn.api()
    for path, chosen in _by_menu(endings).items():
        listed = await _listed(turn, path, chosen)
        for ending in chosen:
            for item in listed.get(ending.session.id, []):
                await api.remove(path, item[".id"])
                detail = f"Removed from {path}: {ending.session.username} {ending.session.acct_session_id}."
                ending.steps.append(Step(StepProtocol.ROUTEROS, StepOutcome.APPLIED, detail, None, api.last_ms))
        still = await _listed(turn, path, [one for one in chosen if listed.get(one.session.id)])
        gone = [ending for ending in chosen if not still.get(ending.session.id)]
        for ending in chosen:
            if ending in gone:
                detail = f"The router does not list the session {ending.session.acct_session_id}."
                ending.steps.append(Step(StepProtocol.ROUTEROS, StepOutcome.VERIFIED, detail, None, api.last_ms))
                ending.ended = True
            else:
                detail = f"The router still lists the session {ending.session.acct_session_id}."
                ending.steps.append(Step(StepProtocol.ROUTEROS, StepOutcome.REFUSED, detail, None, api.last_ms))
        await _close(turn, gone)
    if stuck := [ending for ending in endings if not ending.ended]:
        raise BadReply(f"{turn.router.name} removes the session of {stuck[0].session.username}, and still lists it")


def _by_menu(endings: Sequence[Ending]) -> Mapping[str, list[Ending]]:
    found: dict[str, list[Ending]] = {}
    for ending in endings:
        hotspot = ending.session.connection_type is ConnectionType.HOTSPOT
        found.setdefault(HOTSPOT_ACTIVE if hotspot else ACTIVE, []).append(ending)
    return found


async def _listed(turn: Turn, path: str, endings: Sequence[Ending]) -> dict[UUID, list[dict[str, str]]]:
    """What the router lists of each session now. A hotspot's list has no session ids: the address tells."""
    api = await turn.api()
    user = "user" if path == HOTSPOT_ACTIVE else "name"
    columns = [".id", user, "address", "session-id"] if user == "name" else [".id", user, "address"]
    if len(endings) <= _BY_NAME:
        names = sorted({ending.session.username for ending in endings})
        rows = [row for name in names for row in await api.print(path, where={user: name}, columns=columns)]
    else:
        rows = await api.print(path, columns=columns)
    found: dict[UUID, list[dict[str, str]]] = {}
    for ending in endings:
        session = ending.session
        found[session.id] = [row for row in rows if row.get(user) == session.username and _same(row, session)]
    return found


def _same(row: Mapping[str, str], session: Session) -> bool:
    if "session-id" in row:
        return row["session-id"].lower().removeprefix("0x") == session.acct_session_id.lower().removeprefix("0x")
    return session.ip_address is None or row.get("address") == str(session.ip_address)


async def _close(turn: Turn, endings: Sequence[Ending]) -> None:
    """Sessions that the router has no longer end with their last update, unless their Stop comes at last."""
    left = {ending.session.id for ending in endings}
    until = asyncio.get_running_loop().time() + _LATE_SECONDS
    while left and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(_LOOK_SECONDS)
        async with turn.database.read(turn.lane.tenant_id) as session:
            open_ones = select(OpenSession.session_id).where(OpenSession.session_id.in_(left))
            left = set(await session.scalars(open_ones))
    async with turn.transaction() as session:
        for key in sorted(left):
            await session.execute(select(func.radius_session_gone(key, clock.now())))


async def cut(turn: Turn, address: str) -> Step:
    """Have the router forget the connections of an address: a wall stops new ones only. Raises AdapterError."""
    api = await turn.api()
    rows = await api.print(CONNECTIONS, columns=[".id", "src-address"])
    mine = [row[".id"] for row in rows if row.get("src-address", "").rpartition(":")[0] == address]
    for key in mine:
        await api.remove(CONNECTIONS, key)
    detail = f"Removed {len(mine)} connections of {address} from {CONNECTIONS}."
    outcome = StepOutcome.APPLIED if mine else StepOutcome.UNCHANGED
    return Step(StepProtocol.ROUTEROS, outcome, detail, None, api.last_ms)


async def forget_device(turn: Turn, username: str) -> None:
    """Take away the cookie by which a hotspot would let a device in again without asking."""
    api = await turn.api()
    for row in await api.print(HOTSPOT_COOKIES, where={"user": username}, columns=[".id"]):
        await api.remove(HOTSPOT_COOKIES, row[".id"])
