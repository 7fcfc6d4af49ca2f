"""Measures the reading queries: `python -m bench.reads [--seconds 3] [--rounds 5] [--only limit,ours]`."""

import argparse
import json
import math
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from bench.place import DIRECTORY, ROOT, Place
from bench.processes import cpu_seconds, python
from bench.reads import questions, same
from bench.reads.servers import KINDS, POOL, Served, running

CONNECTIONS = 16
WARM_UP_SECONDS = 4.0
COMPARED = 6
COUNTED = 32

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Figures:
    """One server in one round."""

    per_second: float
    p50: float
    p99: float
    app_ms: float
    database_ms: float
    requests: int
    failed: int
    kilobytes: float


class Generator:
    """The load generator, a process that lives as long as the run."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            python("bench.reads.load"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
        )

    def learn(self, served: Served) -> None:
        for query, bodies in served.bodies.items():
            self._tell(target=f"{served.kind.name} {query}", port=served.port, head=served.head, bodies=bodies)

    def run(self, served: Served, query: str, seconds: float, skip: int, connections: int = CONNECTIONS) -> Any:
        self._tell(run=f"{served.kind.name} {query}", seconds=seconds, connections=connections, skip=skip)
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def _tell(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def ask(served: Served, body: str) -> dict[str, Any]:
    """One request, apart from any measuring."""
    headers = dict(line.split(": ", 1) for line in served.head.splitlines()[1:] if ": " in line)
    request = urllib.request.Request(f"http://127.0.0.1:{served.port}/graphql", body.encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        raise ValueError(f"{error.code}: {error.read()[:400].decode(errors='replace')}") from error
    return found


def compare(servers: Sequence[Served], query: str, say: Say) -> list[Served]:
    """The servers that answer as the first one does; what the others do is said."""
    right = list(servers)
    size: list[int] = []
    for place in range(0, COMPARED * 7, 7):
        expected = None
        for served in list(right):
            body = served.bodies[query][place % len(served.bodies[query])]
            try:
                found = same.common(query, ask(served, body), postgraphile=served.kind.postgraphile)
            except (ValueError, KeyError, TypeError) as error:
                say(f"{served.kind.title} does not answer the {query} query: {error!r:.600}")
                right.remove(served)
                continue
            if expected is None:
                expected = found
                size.append(len(found))
            elif wrong := same.difference(expected, found):
                say(f"{served.kind.title} answers otherwise than {right[0].kind.title} ({query}): {wrong}")
                right.remove(served)
    rows = f", {min(size)} to {max(size)} rows" if query == "list" and size else ""
    say(f"{query}: the same {COMPARED} answers from {', '.join(one.kind.name for one in right)}{rows}")
    return right


def measure(place: Place, generator: Generator, served: Served, query: str, seconds: float, skip: int) -> Figures:
    """One server for so many seconds."""
    postmaster = place.postgres.pid
    assert postmaster is not None
    app, database = cpu_seconds(served.process.pid), cpu_seconds(postmaster)
    found = generator.run(served, query, seconds, skip)
    app, database = cpu_seconds(served.process.pid) - app, cpu_seconds(postmaster) - database
    times = sorted(found["milliseconds"]) or [float("nan")]
    count = max(len(found["milliseconds"]), 1)
    if found["failed"]:
        print(f"  {served.kind.title}: {found['failed']} failed, {found['problem']}", file=sys.stderr)
    return Figures(
        per_second=len(found["milliseconds"]) / found["seconds"],
        p50=median(times),
        p99=quantiles(times, n=100)[98] if len(times) > 1 else times[0],
        app_ms=app * 1000 / count,
        database_ms=database * 1000 / count,
        requests=len(found["milliseconds"]),
        failed=found["failed"],
        kilobytes=found["bytes"] / count / 1000,
    )


def statements(place: Place, generator: Generator, served: Served, query: str) -> float:
    """How many SQL statements one request takes, counted by pg_stat_statements over a few requests."""
    generator.run(served, query, 0.3, 0, connections=1)
    with place.counted() as found:
        asked = 0
        for body in served.bodies[query][:COUNTED]:
            ask(served, body)
            asked += 1
    return found[0] / asked


def table(query: str, rounds: dict[str, list[Figures]], sql: dict[str, float], titles: dict[str, str]) -> str:
    """The medians over the rounds. Ratios are medians of the ratios within each round: of requests per second and of
    processor time to the first server, and of the product's requests per second to each server's."""
    first = next(iter(rounds))
    heads = ("req/s", f"x {first}", "ours x", "p50 ms", "p99 ms", "app ms", f"x {first}", "PG ms", "SQL", "kB", "asked")
    lines = [f"{query:30} " + " ".join(f"{head:>8}" for head in heads)]
    for name, figures in rounds.items():
        ours = _ratio(rounds["ours"], figures, "per_second") if "ours" in rounds else math.nan
        cells = (
            f"{_middle(figures, 'per_second'):.1f}",
            f"{_ratio(figures, rounds[first], 'per_second'):.3f}",
            f"{ours:.2f}",
            f"{_middle(figures, 'p50'):.1f}",
            f"{_middle(figures, 'p99'):.1f}",
            f"{_middle(figures, 'app_ms'):.2f}",
            f"{_ratio(figures, rounds[first], 'app_ms'):.2f}",
            f"{_middle(figures, 'database_ms'):.2f}",
            f"{sql[name]:.1f}",
            f"{_middle(figures, 'kilobytes'):.1f}",
            str(sum(one.requests for one in figures)),
        )
        lines.append(f"{titles[name]:30} " + " ".join(f"{cell:>8}" for cell in cells))
    return "\n".join(lines)


def _middle(figures: Sequence[Figures], field: str) -> float:
    return median(getattr(one, field) for one in figures)


def _ratio(figures: Sequence[Figures], to: Sequence[Figures], field: str) -> float:
    pairs = zip(figures, to, strict=True)
    return median(getattr(one, field) / (getattr(other, field) or math.nan) for one, other in pairs)


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure, and for how long."""

    servers: Sequence[str]
    queries: Sequence[str]
    search: str
    seconds: float
    rounds: int


def run(place: Place, options: Options, say: Say) -> None:
    """Start everything, see that the answers are the same, measure in rounds, print the tables."""
    generator, terms = Generator(), questions.SEARCHES[options.search]
    with (
        place.running(),
        place.valkey() as redis_url,
        running(place, options.servers, terms, redis_url, say) as servers,
    ):
        for served in servers:
            generator.learn(served)
        for query in options.queries:
            right = compare(servers, query, say)
            for served in right:
                generator.run(served, query, WARM_UP_SECONDS, 0)
            sql = {served.kind.name: statements(place, generator, served, query) for served in right}
            found: dict[str, list[Figures]] = {served.kind.name: [] for served in right}
            for number in range(options.rounds):
                turn = number % max(len(right), 1)
                for served in right[turn:] + right[:turn]:
                    figures = measure(place, generator, served, query, options.seconds, number * 13)
                    found[served.kind.name].append(figures)
            if found:
                titles = {served.kind.name: served.kind.title for served in right}
                say(f"\n{table(query, found, sql, titles)}\n")
    generator.stop()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.reads", description=__doc__)
    parser.add_argument("--dir", type=Path, default=DIRECTORY)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each server in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only", default=",".join(kind.name for kind in KINDS if not kind.traced), help="servers, by comma"
    )
    parser.add_argument("--query", choices=questions.QUERIES, help="one of the two queries")
    parser.add_argument("--search", choices=questions.SEARCHES, default="mixed", help="how many customers a term finds")
    given = parser.parse_args()
    place, names = Place.open(given.dir.absolute()), given.only.split(",")
    if unknown := set(names) - {kind.name for kind in KINDS}:
        parser.error(f"no such server: {', '.join(unknown)}")
    queries = [given.query] if given.query else list(questions.QUERIES)
    options = Options(names, queries, given.search, given.seconds, given.rounds)
    known = place.description
    print(
        f"{known.customers} customers, {known.sessions} sessions; search finding {given.search}; "
        f"{CONNECTIONS} connections, pool {POOL}, {given.rounds} rounds of {given.seconds:g} s, medians\n",
        flush=True,
    )
    run(place, options, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
