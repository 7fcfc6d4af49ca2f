"""Reckons what 10,000, 100,000 and 1,000,000 subscribers need, from figures that were measured and habits that are
assumed: `python -m bench.sizing` prints the tables of docs/sizing.md, `--write` puts them there.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "sizing.md"
SIZES = (10_000, 100_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that the tables are made from; `by` is what measured it, or why it is assumed."""

    value: float
    text: str
    by: str


_ROWS = {
    "customers": 914,
    "services": 690,
    "customer_balances": 197,
    "invoices": 508,
    "invoice_lines": 300,
    "payments": 405,
    "allocations": 298,
    "journals": 229,
    "postings": 300,
    "sessions": 825,
    "open_sessions": 434,
    "usage_days": 340,
    "usage_buckets": 434,
}
_SIZES = {
    name: Figure(size, f"bytes of a row of `{name}` with its indexes", "`bench.measure`")
    for name, size in _ROWS.items()
}
_HERE = "`bench.measure`"
MEASURED = {
    **_SIZES,
    "wal_start": Figure(1935, "bytes of WAL for a Start", "`bench.measure`"),
    "wal_interim": Figure(759, "bytes of WAL for an Interim, in the books", "`bench.measure`"),
    "wal_stop": Figure(776, "bytes of WAL for a Stop", "`bench.measure`"),
    "dump_seconds": Figure(56.7, "seconds of `pg_dump` for the data set", "`bench.measure`, load average 16"),
    "dump_bytes": Figure(210_077_917, "bytes that it wrote", "`bench.measure`"),
    "dumped": Figure(1_428_701_711, "bytes of the database that it read", "`bench.measure`"),
    "waiting": Figure(450, "bytes of Redis for a job that waits", "`bench.measure`"),
    "packets": Figure(
        5215, "accounting packets a second through FreeRADIUS, two cores", "`bench.accounting`, `together`"
    ),
    "packet_radius": Figure(0.14, "ms of FreeRADIUS and `ispgraph interims` for a packet", "the same"),
    "packet_database": Figure(0.10, "ms of PostgreSQL for a packet, in the books", "the same"),
    "logins": Figure(2318, "logins a second through FreeRADIUS, two cores", "`bench.authorization`"),
    "login_cpu": Figure(0.72, "ms of FreeRADIUS and PostgreSQL for a login", "`bench.authorization`"),
    "list_api": Figure(2.56, "ms of the API for a page of 50 customers", "`bench.reads`"),
    "list_database": Figure(15.3, "ms of PostgreSQL for it, of 100,000 customers", "`bench.reads`"),
    "detail_api": Figure(1.34, "ms of the API for a whole customer", "`bench.reads`"),
    "detail_database": Figure(1.00, "ms of PostgreSQL for it", "`bench.reads`"),
    "suspension": Figure(46, "ms of all programs for a suspension, to its verified end", "`bench.network`"),
    "suspensions": Figure(40, "suspensions a second, two cores", "`bench.network`, the slower run"),
    "billing": Figure(71, "seconds to bill 100,000 services, one core busy", "`bench.billing`"),
    "message": Figure(25, "µs of the API for a live reading that reaches a viewer", "`bench.live`"),
    "viewer": Figure(49, "kB of the API for a viewer", "`bench.live`"),
}
ASSUMED = {
    "online": Figure(0.6, "of the subscribers are online in the busiest hour", "look at `ispgraph_sessions_open`"),
    "average": Figure(0.4, "are online on the average of a day", "the same"),
    "interim": Figure(300, "seconds between interim updates", "as docs/network.md sets them"),
    "begun": Figure(1, "session of a subscriber a day", "a line that is left on has fewer"),
    "billed": Figure(1, "invoice, payment and allocation a month, and two journals of five postings", "monthly bills"),
    "requests": Figure(
        1.0, "request a second for 1,000 subscribers in the busiest hour, one in four a list", "a guess"
    ),
    "viewers": Figure(0.0005, "of the subscribers are watched live at once, a reading a second each", "a guess"),
    "overdue": Figure(0.05, "of the subscribers are suspended in one night", "a guess, and a bad night"),
    "busy": Figure(0.5, "of a core is used at most, so that there is room for what is not foreseen", "a habit"),
}

Reckoning = Callable[[int], float]


def _of(name: str) -> float:
    return (MEASURED.get(name) or ASSUMED[name]).value


def _bytes(*tables: str) -> float:
    return sum(_of(table) for table in tables)


def people(n: int) -> float:
    """Bytes of what there is once for each subscriber."""
    return n * (_bytes("customers", "services", "customer_balances") + _of("online") * _of("open_sessions"))


def books(n: int) -> float:
    """Bytes of a month of bills and payments."""
    once = _bytes("invoices", "invoice_lines", "payments", "allocations") + 2 * _of("journals") + 5 * _of("postings")
    return n * _of("billed") * once


def usage(n: int) -> float:
    """Bytes of a month of sessions and days of usage."""
    return 30 * n * (_of("begun") * _of("sessions") + _of("usage_days"))


def quarters(n: int) -> float:
    """Bytes of a month of quarters of an hour."""
    return 30 * n * 96 * _of("average") * _of("usage_buckets")


def year(n: int) -> float:
    """Bytes of the database after a year."""
    return people(n) + 12 * (books(n) + usage(n) + quarters(n))


def packets(n: int) -> float:
    """Accounting packets a second in the busiest hour."""
    return n * _of("online") / _of("interim") + 2 * n * _of("begun") / 86_400


def wal(n: int) -> float:
    """Bytes of WAL that a day of accounting writes."""
    interims = n * _of("average") * 86_400 / _of("interim") * _of("wal_interim")
    return interims + n * _of("begun") * (_of("wal_start") + _of("wal_stop"))


def requests(n: int) -> float:
    """Requests a second."""
    return n / 1000 * _of("requests")


def api_cores(n: int) -> float:
    """Cores of the API, busy: requests, and readings for viewers."""
    each = 0.25 * _of("list_api") + 0.75 * _of("detail_api")
    return requests(n) * each / 1000 + n * _of("viewers") * _of("message") / 1e6


def database_cores(n: int) -> float:
    """Cores of PostgreSQL, busy, for requests and accounting; a list is reckoned to cost as among 100,000 customers."""
    each = 0.25 * _of("list_database") + 0.75 * _of("detail_database")
    return requests(n) * each / 1000 + packets(n) * _of("packet_database") / 1000


def radius_cores(n: int) -> float:
    """Cores of FreeRADIUS, busy."""
    return packets(n) * _of("packet_radius") / 1000


def everybody(n: int) -> float:
    """Seconds until everybody who was online is in again, when all ask at once, of two cores."""
    return n * _of("online") / _of("logins")


def apis(n: int) -> int:
    """Programs `api`: two at least, so that one may be away."""
    return max(2, ceil(api_cores(n) / _of("busy")) + 1)


def connections(n: int) -> int:
    """Connections to PostgreSQL at most: two pools of ten for each `api`, sixteen for each of two workers, four and
    eight for two of `scheduler` and `live`, thirty-two of FreeRADIUS."""
    return apis(n) * 20 + 2 * 16 + 2 * 4 + 2 * 8 + 32


def suspending(n: int) -> float:
    """Seconds until a bad night's suspensions have been carried out, of two cores."""
    return n * _of("overdue") / _of("suspensions")


def billing(n: int) -> float:
    """Seconds of the billing run, on one core of PostgreSQL and the worker together."""
    return n / 100_000 * _of("billing")


def dump(n: int) -> float:
    """Seconds of a backup after a year."""
    return year(n) / _of("dumped") * _of("dump_seconds")


def dumped(n: int) -> float:
    """Bytes of a backup after a year."""
    return year(n) / _of("dumped") * _of("dump_bytes")


def waiting(n: int) -> float:
    """Bytes of Redis when the jobs of a bad night wait all at once."""
    return n * _of("overdue") * _of("waiting")


def _size(value: float) -> str:
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if value >= scale:
            return f"{value / scale:,.1f} {unit}"
    return f"{value / 1e3:,.0f} kB"


def _time(value: float) -> str:
    for unit, scale in (("h", 3600), ("min", 60)):
        if value >= 2 * scale:
            return f"{value / scale:,.1f} {unit}"
    return f"{value:,.0f} s"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _share(value: float) -> str:
    return f"{value:.0%}" if value >= 0.01 else "below 1%"


_TABLES: dict[str, Sequence[tuple[str, Reckoning, Callable[[float], str]]]] = {
    "disk": (
        ("customers, services, balances, open sessions", people, _size),
        ("bills and payments, a month", books, _size),
        ("sessions and days of usage, a month", usage, _size),
        ("quarters of an hour, a month", quarters, _size),
        ("those of 400 days, as a new tenant keeps them", lambda n: quarters(n) * 400 / 30, _size),
        ("those of 62 days, the least", lambda n: quarters(n) * 62 / 30, _size),
        ("**all of it after a year**", year, _size),
        ("WAL of accounting, a day", wal, _size),
        ("a backup after a year", dumped, _size),
        ("the time it takes", dump, _time),
    ),
    "load": (
        ("accounting packets a second", packets, _number),
        ("share of what two cores did", lambda n: packets(n) / _of("packets"), _share),
        ("of FreeRADIUS, cores", radius_cores, _number),
        ("API requests a second", requests, _number),
        ("of the API, cores", api_cores, _number),
        ("of PostgreSQL, cores", database_cores, _number),
        ("live viewers", lambda n: n * _of("viewers"), _number),
        ("their memory in the API", lambda n: n * _of("viewers") * _of("viewer") * 1000, _size),
        ("programs `api`", apis, _number),
        ("connections to PostgreSQL", connections, _number),
        ("Redis, when a bad night's jobs wait", waiting, _size),
    ),
    "nights": (
        ("the billing run", billing, _time),
        ("suspending those who have not paid", suspending, _time),
        ("processor time of that", lambda n: n * _of("overdue") * _of("suspension") / 1000, _time),
        ("everybody in again after a power cut", everybody, _time),
        ("processor time of that", lambda n: n * _of("online") * _of("login_cpu") / 1000, _time),
    ),
}


def _table(rows: Sequence[tuple[str, Reckoning, Callable[[float], str]]]) -> str:
    lines = ["| subscribers | " + " | ".join(f"{size:,}" for size in SIZES) + " |", "|---|" + "---|" * len(SIZES)]
    lines += [f"| {text} | " + " | ".join(shown(reckon(n)) for n in SIZES) + " |" for text, reckon, shown in rows]
    return "\n".join(lines)


def _figures(of: dict[str, Figure]) -> str:
    lines = ["| figure | | from |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {each.value:,g} | {each.text} | {each.by} |" for each in of.values())])


def tables() -> dict[str, str]:
    """The tables of the page, by name."""
    made = {name: _table(rows) for name, rows in _TABLES.items()}
    return {"measured": _figures(MEASURED), "assumed": _figures(ASSUMED), **made}


def written(page: str) -> str:
    """The page with its tables reckoned anew. Raises KeyError for a table that is none."""
    made = tables()

    def again(found: re.Match[str]) -> str:
        return f"<!-- {found[1]} -->\n\n{made[found[1]]}\n\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", again, page, flags=re.DOTALL)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.sizing", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/sizing.md")
    if parser.parse_args().write:
        PAGE.write_text(written(PAGE.read_text()))
        return
    for name, table in tables().items():
        print(f"{name}\n\n{table}\n")


if __name__ == "__main__":
    main()
