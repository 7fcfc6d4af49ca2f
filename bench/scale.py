"""Two of every program behind a balancer, PgBouncer, a primary and a replica; one of each kind is killed every twenty
seconds under mixed load: `python -m bench.scale --minutes 10`.

Status 1 when something that was acknowledged is lost or done twice, when an answer was older than one before it, when
the books do not balance, a job does not end, or a request takes longer than `--most` seconds.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from bench.place import ROOT
from bench.processes import python
from bench.scale_house import KINDS, ScaleHouse, dial_in, furnish
from bench.scale_load import Clerk, Seen, lost, panel
from ispgraph import ids

_DIRECTORY = Path("/tmp/bench-scale")
_ROUND_SECONDS = 20.0
_BREATH_SECONDS = 3.0
_END_SECONDS = 180.0
_UNENDED = "SELECT count(*) FROM jobs WHERE finished_at IS NULL"


async def _destroy(house: ScaleHouse, until: float) -> int:
    """One of each kind dies in twenty seconds, a quarter of that after the one before; the next time the other one, but
    not before the first has been there again for a while: both at once would be another test."""
    begun = time.monotonic()

    async def one_after_the_other(order: int, kind: str) -> int:
        kills = 0
        at = begun + (order + 1) * _ROUND_SECONDS / len(KINDS)
        while at < until - _BREATH_SECONDS:
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            await house.members[kind][kills % 2].die()
            kills += 1
            at = max(at + _ROUND_SECONDS, time.monotonic() + _BREATH_SECONDS)
        return kills

    return sum(await asyncio.gather(*(one_after_the_other(n, kind) for n, kind in enumerate(KINDS))))


async def run(house: ScaleHouse, given: Any) -> int:
    """All of it; the exit status."""
    lab = httpx.AsyncClient(base_url=f"http://127.0.0.1:{house.lab_port}", timeout=120, trust_env=False)
    books = await house.connect()
    await furnish(house, lab, given.interim)
    await house.begin()
    await dial_in(house, lab)
    package = ids.encode("pkg", await books.fetchval("SELECT id FROM packages"))
    seen, token = Seen(), house.token()
    url, socket = (f"{scheme}://127.0.0.1:{house.balancer.port}/graphql" for scheme in ("http", "ws"))
    keys = [ids.encode("cus", line.customer_id) for line in house.lines]
    load = os.getloadavg()[0]
    before, begun = house.cpu(), time.monotonic()
    end = begun + given.minutes * 60
    log = house.directory / "acknowledged.jsonl"
    clerks = [
        Clerk(url, token, keys[n :: given.clerks], package, seen, log, n).work(
            lambda: time.monotonic() > end, given.pause
        )
        for n in range(given.clerks)
    ]
    screens = [panel(socket, token, seen, lambda: time.monotonic() > end) for _ in range(given.panels)]
    destroying = asyncio.create_task(_destroy(house, end))
    await asyncio.gather(*clerks, *screens)
    took = time.monotonic() - begun
    kills = await destroying
    used = {name: seconds - before.get(name, 0.0) for name, seconds in house.cpu().items()}
    reads = await house.reads()
    print(table(seen, took), flush=True)
    waited = time.monotonic()
    while (open_jobs := await books.fetchval(_UNENDED)) and time.monotonic() - waited < _END_SECONDS:  # noqa: ASYNC110
        await asyncio.sleep(0.5)
    drained = time.monotonic() - waited
    wrong = await lost(seen, books)
    wrong += [f"older than what was known: {each}" for each in seen.stale]
    wrong += [f"refused: {each}" for each in seen.refused]
    if open_jobs:
        wrong.append(f"{open_jobs} jobs have not ended after {drained:.0f} s")
    failed = await books.fetch("SELECT kind, message FROM jobs WHERE status = 'FAILED'")
    command = partial(subprocess.run, cwd=ROOT, env=house.environment, capture_output=True, text=True)
    checked = await asyncio.to_thread(command, python("ispgraph", "check-invariants"))
    if checked.returncode:
        wrong.append(checked.stdout[-3000:] + checked.stderr[-1000:])
    slowest = max(max(times) for times in seen.answered.values())
    if slowest > given.most:
        wrong.append(f"a request took {slowest:.1f} s")
    sessions = await books.fetchrow(
        "SELECT count(*) AS all, count(*) FILTER (WHERE stopped_at IS NULL) AS open,"
        " sum(input_octets + output_octets)::bigint AS bytes FROM sessions"
    )
    away = sorted(seen.away[given.panels :]) or [0.0]
    down = {kind: max([*(s for m in house.members[kind] for s in m.down), 0.0]) for kind in KINDS}
    done = sum(len(times) for times in seen.answered.values())
    print(
        f"load of the machine before it began: {load:.1f}; at the end {os.getloadavg()[0]:.1f} ({os.cpu_count()} CPUs)"
    )
    print(f"{kills} kills in {took:.0f} s; longest until ready again: " + _shown(down, "s"))
    print(f"{done} answers ({done / took:.1f}/s), sent again: {dict(seen.again)}")
    print(
        f"{len(seen.acknowledged)} acknowledged: {_kinds(seen)}; {len(seen.keys)} keys, none twice or lost unless said"
    )
    print(
        f"{seen.events} live events on {given.panels} sockets, {seen.connected - given.panels} reconnects,"
        f" events again after {statistics.median(away):.2f} s (median), {away[-1]:.2f} s (longest)"
    )
    print(f"readings of the last lives of both APIs: {reads}")
    print(f"sessions: {dict(sessions)}; jobs ended {drained:.1f} s after the load; {len(failed)} failed")
    for row in failed[:5]:
        print(f"  failed: {dict(row)}")
    print("CPU seconds: " + _shown(used, ""))
    print("check-invariants: " + ("clean" if checked.returncode == 0 else "BROKEN"))
    sys.stdout.flush()
    for each in wrong[:40]:
        print(f"WRONG {each}")
    await books.close()
    await lab.aclose()
    return 1 if wrong else 0


def table(seen: Seen, took: float) -> str:
    """Milliseconds from the first sending to the answer, by kind of operation."""
    lines = ["operation    answers    /s     p50     p95     p99     max | longest single try"]
    for kind, times in sorted(seen.answered.items()):
        cuts = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else [times[0]] * 99
        shown = " ".join(f"{1000 * each:7.0f}" for each in (cuts[49], cuts[94], cuts[98], max(times)))
        lines.append(
            f"{kind:10} {len(times):9d} {len(times) / took:5.1f} {shown} | {1000 * max(seen.tries[kind]):7.0f}"
        )
    return "\n".join(lines)


def _kinds(seen: Seen) -> dict[str, int]:
    kinds = sorted({each["kind"] for each in seen.acknowledged})
    return {kind: sum(each["kind"] == kind for each in seen.acknowledged) for kind in kinds}


def _shown(figures: dict[str, float], unit: str) -> str:
    return ", ".join(f"{name} {value:.1f}{unit and ' ' + unit}" for name, value in figures.items())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--customers", type=int, default=200)
    parser.add_argument("--routers", type=int, default=4)
    parser.add_argument("--clerks", type=int, default=8)
    parser.add_argument("--panels", type=int, default=6)
    parser.add_argument("--pause", type=float, default=0.5, help="seconds that a clerk rests between two things")
    parser.add_argument("--interim", type=int, default=20, help="seconds between two accounting packets of a session")
    parser.add_argument("--most", type=float, default=5.0, help="seconds that a client may wait for an answer")
    parser.add_argument("--dir", type=Path, default=_DIRECTORY, help="made anew")
    given = parser.parse_args()
    if given.dir.exists():
        if not (given.dir / "bench.scale").exists():
            sys.exit(f"{given.dir} was not made by this command")
        shutil.rmtree(given.dir)
    given.dir.mkdir(mode=0o755, parents=True)
    (given.dir / "bench.scale").touch()
    house = ScaleHouse(given.dir.absolute())
    with house.running(given.customers, given.routers):
        status = asyncio.run(run(house, given))
    sys.exit(status)


if __name__ == "__main__":
    main()
