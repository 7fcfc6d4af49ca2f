"""Looking at routers: whether they are well, what is wrong with them, and what they hold that they should not."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from ispgraph import clock
from ispgraph.actors import drift
from ispgraph.actors.turns import Turn, step_of
from ispgraph.adapters import radius_client, routeros
from ispgraph.adapters.errors import AdapterError, Refused
from ispgraph.adapters.radius_client import Identity, Outcome
from ispgraph.domain import jobs
from ispgraph.domain.models import Job, JobStatus, RouterMode, RouterStatus, StepOutcome, StepProtocol
from ispgraph.domain.network import lanes, outcomes
from ispgraph.domain.network.outcomes import Step

_EVERY_SECONDS = 60.0
_CLOCK_SECONDS = 300
_ACCOUNTING = timedelta(minutes=15)
_OBSERVE_EVERY = timedelta(minutes=15)
# A name and a session that nobody has: a router that takes our requests says that it does not know them.
_NOBODY = Identity(user_name="ispgraph-test", acct_session_id="ispgraph-test")
_TRIAL = {"list": "ispgraph-test", "address": "192.0.2.1", "timeout": "1s", "comment": "ispgraph:test"}
_SIGNED_SINCE = (7, 15)
Say = Callable[[bool, str, str], None]
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


async def check(turn: Turn) -> None:
    """See whether the router is well, and keep what it says of itself; now and then, what it holds as well.

    A failure here closes no lane.
    """
    problem: str | None = None
    facts: dict[str, str] = {}
    try:
        if turn.address is not None:
            api = await turn.api()
            facts = await _facts(api)
            problem = await _ailment(turn, api)
            if clock.now() - (turn.router.reconciled_at or turn.router.created_at) > _OBSERVE_EVERY:
                await drift.observe(turn)
        status = RouterStatus.ONLINE if problem is None else RouterStatus.DEGRADED
    except Refused as error:
        status, problem = RouterStatus.DEGRADED, str(error)
    except AdapterError as error:
        status, problem = RouterStatus.OFFLINE, str(error)
    now = clock.now()
    async with turn.database.transaction(turn.lane.tenant_id) as session:
        row = await lanes.hold(session, turn.lane)
        if turn.address is None:
            heard = row.accounting_last_seen_at
            status = RouterStatus.ONLINE if heard and now - heard < _ACCOUNTING else RouterStatus.UNKNOWN
        row.status, row.problem = status, problem
        if status is RouterStatus.OFFLINE:
            row.unreachable_since = row.unreachable_since or now
        row.check_at = now + timedelta(seconds=_EVERY_SECONDS * random.uniform(0.9, 1.1))  # noqa: S311  jitter
        if facts:
            row.version, row.board = facts.get("version"), facts.get("board-name")
            row.serial = row.serial or facts.get("serial-number")


async def _facts(api: routeros.Router) -> dict[str, str]:
    found: dict[str, str] = {}
    for path, columns in (
        ("/system/resource", ("version", "board-name", "uptime")),
        ("/system/routerboard", ("serial-number",)),
    ):
        for row in await api.print(path, columns=columns):
            found |= row
    return found


async def _ailment(turn: Turn, api: routeros.Router) -> str | None:
    """The first thing that is wrong with a router that answers."""
    off = await _clock_off(api)
    if off is not None and abs(off) > _CLOCK_SECONDS:
        return f"Its clock is off by {off:.0f} s."
    if turn.router.mode is RouterMode.RADIUS and not await _accepts(api):
        return "It does not accept CoA and Disconnect (/radius incoming accept=no)."
    return None


async def _accepts(api: routeros.Router) -> bool:
    rows = await api.print("/radius/incoming", columns=["accept"])
    return not rows or rows[0].get("accept") in ("true", "yes")


async def _clock_off(api: routeros.Router) -> float | None:
    """Seconds by which the router's clock is ahead; None when it cannot be read."""
    for row in await api.print("/system/clock", columns=["date", "time", "gmt-offset"]):
        told = _instant(row.get("date", ""), row.get("time", ""), row.get("gmt-offset", "+00:00"))
        if told is not None:
            return (told - clock.now()).total_seconds()
    return None


def _instant(date: str, time: str, offset: str) -> datetime | None:
    """RouterOS writes 2026-11-21, before 7.10 nov/21/2026, in its own zone."""
    if "/" in date:
        month, day, year = date.split("/")
        if month not in _MONTHS:
            return None
        date = f"{year}-{_MONTHS.index(month) + 1:02d}-{day}"
    try:
        return datetime.fromisoformat(f"{date}T{time}{offset}").astimezone(UTC)
    except ValueError:
        return None


async def test(turn: Turn, of: Sequence[Job]) -> None:
    """Find out all that is wrong with a router, and say it: a step for each thing that was tried."""
    found: list[Step] = []
    if turn.address is None:
        detail = "We have no login for the API: only RADIUS was tried."
        found.append(Step(StepProtocol.ROUTEROS, StepOutcome.UNCHANGED, detail))
    else:
        try:
            await _test_api(turn, found)
        except AdapterError as error:
            found.append(step_of(StepProtocol.ROUTEROS, error))
    if turn.router.mode is RouterMode.RADIUS:
        await _test_requests(turn, found)
    await check(turn)
    bad = [
        f"{step.detail.rstrip('.')}."
        for step in found
        if step.outcome not in (StepOutcome.VERIFIED, StepOutcome.UNCHANGED)
    ]
    async with turn.database.transaction(turn.lane.tenant_id) as session:
        for job in (await lanes.hold_jobs(session, turn.lane, of)).values():
            outcomes.record(session, job, found)
            status = JobStatus.FAILED if bad else JobStatus.SUCCEEDED
            jobs.finish(session, job, status, " ".join(bad) or "Everything that was tried works.")


async def _test_api(turn: Turn, found: list[Step]) -> None:
    def say(right: bool, good: str, bad: str) -> None:
        outcome = StepOutcome.VERIFIED if right else StepOutcome.REFUSED
        found.append(Step(StepProtocol.ROUTEROS, outcome, good if right else bad, None, api.last_ms))

    api = await turn.api()
    facts = await _facts(api)
    version = facts.get("version", "")
    say(True, f"Logged in: RouterOS {version} on {facts.get('board-name', 'an unknown board')}.", "")
    key = await api.add("/ip/firewall/address-list", _TRIAL)
    await api.remove("/ip/firewall/address-list", key)
    say(True, "The login may write.", "")
    off = await _clock_off(api)
    told = f"The clock is off by {off or 0:.0f} s."
    say(off is None or abs(off) <= _CLOCK_SECONDS, told, f"{told} Set up NTP: accounting and certificates need it.")
    if turn.router.mode is RouterMode.LOCAL:
        return
    say(await _accepts(api), "CoA and Disconnect are accepted.", "Set /radius incoming accept=yes.")
    rows = await api.print("/radius/incoming", columns=["port"])
    port = rows[0].get("port") if rows else None
    ours = str(turn.router.coa_port)
    say(port in (None, ours), f"They are taken at port {ours}.", f"They are taken at port {port}, and sent to {ours}.")
    await _test_radius(api, say, version)


async def _test_radius(api: routeros.Router, say: Say, version: str) -> None:
    columns = ["address", "service", "require-message-auth", "disabled"]
    servers = [row for row in await api.print("/radius", columns=columns) if row.get("disabled") != "true"]
    say(bool(servers), "A RADIUS server is set up.", "No RADIUS server is set up (/radius).")
    if servers and tuple(int(part) for part in version.split(" ")[0].split(".")[:2] if part.isdigit()) >= _SIGNED_SINCE:
        signed = all(row.get("require-message-auth", "").startswith("yes") for row in servers)
        advice = "Set require-message-auth=yes-for-request-resp: without it answers can be forged (CVE-2024-3596)."
        say(signed, "Answers have to be signed.", advice)
    for row in await api.print("/ppp/aaa", columns=["use-radius", "accounting"]):
        for name in ("use-radius", "accounting"):
            right = row.get(name) in ("true", "yes", None)
            say(right, f"/ppp aaa {name}=yes.", f"Set /ppp aaa {name}=yes.")


async def _test_requests(turn: Turn, found: list[Step]) -> None:
    """Ask for the end of a session that nobody has. Silence has a reason, which the router's counters may tell."""
    nas = turn.nas
    if nas is None:
        found.append(Step(StepProtocol.DISCONNECT, StepOutcome.REFUSED, "There is no RADIUS secret for this router."))
        return
    before = await _bad_requests(turn)
    try:
        answer = await radius_client.disconnect(nas, _NOBODY.attributes())
    except AdapterError as error:
        found.append(step_of(StepProtocol.DISCONNECT, error))
        return
    if answer.outcome is not Outcome.TIMEOUT:
        detail = "CoA and Disconnect reach the router, and the secret is right."
        found.append(
            Step(StepProtocol.DISCONNECT, StepOutcome.VERIFIED, detail, answer.error_cause, answer.round_trip_ms)
        )
        return
    after = await _bad_requests(turn)
    wrong = before is not None and after is not None and after > before
    detail = (
        "The RADIUS secret is not the router's."
        if wrong
        else "The router is silent: "
        + ("requests do not reach it, come from an address it does not know, or are not accepted.")
    )
    found.append(Step(StepProtocol.DISCONNECT, StepOutcome.TIMEOUT, detail))


async def _bad_requests(turn: Turn) -> int | None:
    if not turn.may_reach_api:
        return None
    try:
        rows = await (await turn.api()).run("/radius/incoming/monitor", {"once": ""})
    except AdapterError:
        return None
    return next((int(row["bad-requests"]) for row in rows if row.get("bad-requests", "").isdigit()), None)


async def reconcile(turn: Turn, of: Sequence[Job]) -> None:
    """Compare all that the router holds with what it should hold; with `dryRun` false, put right what is ours."""
    for job in of:
        findings = await drift.find(turn)
        looks = job.arguments.get("dryRun", True)
        repairs = drift.Repairs([], findings) if looks else await drift.repair(turn, findings)
        await drift.report(turn, job, findings, repairs)
