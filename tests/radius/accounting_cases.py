"""The one table of accounting that FreeRADIUS and the embedded responder must store alike."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.radius.reports import INTERIM, OFF, ON, STOP, Report, again, session
from tests.radius.world import SOUTH

GIB4 = 2**32
# Of what "now" is when the packet is sent, the servers see a second or two more.
NOW = range(-5, 2)


def ago(seconds: int) -> range:
    """Seconds from now, give or take what a test takes."""
    return range(-seconds - 5, -seconds + 2)


@dataclass(frozen=True)
class Case:
    """Packets in the order of their arrival, and the rows they leave, the earlier session first.

    In `rows`, `started`, `updated` and `stopped` are seconds from now; other names are columns.
    """

    name: str
    packets: Callable[[], Sequence[Report]]
    rows: Sequence[Mapping[str, Any]]


def _case(name: str, packets: Callable[[Report], Sequence[Report]], *rows: Mapping[str, Any], **of: Any) -> Case:
    return Case(name, lambda: packets(session(**of)), rows)


def _open(seconds: int, up: int, down: int = 0, **more: Any) -> dict[str, Any]:
    told = {"duration_seconds": seconds, "input_octets": up, "output_octets": down}
    return {"state": "OPEN", "stopped": None, "terminate_cause": None, **told, **more}


def _stopped(seconds: int, up: int, down: int = 0, cause: str = "User-Request", **more: Any) -> dict[str, Any]:
    return _open(seconds, up, down) | {"state": "STOPPED", "stopped": NOW, "terminate_cause": cause, **more}


def _stale(seconds: int, up: int, down: int = 0, **more: Any) -> dict[str, Any]:
    return _stopped(seconds, up, down, "Lost-Carrier") | {"state": "STALE", **more}


_ORDER = [
    _case(
        "A1: Start, Interim, Interim past 4 GiB",
        lambda s: [s.start(), s.interim(300, 100, 200), s.interim(600, 300, GIB4 + 5)],
        _open(600, 300, GIB4 + 5, started=NOW, updated=NOW),
    ),
    _case(
        "A2: an old Interim after a newer one",
        lambda s: [s.start(event=-200), s.interim(180, 900, GIB4), s.interim(90, 100, 100, event=-100)],
        _open(180, 900, GIB4, started=ago(200), updated=NOW),
    ),
    _case("A3: Start, Stop", lambda s: [s.start(), s.stop(60, 7, 8)], _stopped(60, 7, 8, started=NOW)),
    _case(
        "A5: a Stop twice, the second without its time",
        lambda s: [s.start(event=-160), s.stop(60, 7, 8, event=-100), s.stop(60, 7, 8, event=None)],
        _stopped(60, 7, 8, stopped=ago(100), updated=ago(100)),
    ),
    _case(
        "A4: an Interim after the Stop",
        lambda s: [s.start(), s.stop(600, 70, 80), s.interim(300, 7, 8), s.interim(900, 99, 99)],
        _stopped(600, 70, 80),
    ),
    _case(
        "A7: a Stop without Start",
        lambda s: [s.stop(600, 7, GIB4 + 8, cause=2)],
        _stopped(600, 7, GIB4 + 8, "Lost-Carrier", started=ago(600)),
    ),
    _case("A8: an Interim without Start", lambda s: [s.interim(7200, 5, 6)], _open(7200, 5, 6, started=ago(7200))),
    _case(
        "A9: a late Start",
        lambda s: [s.interim(250, 5, 6), s.start(event=-250)],
        _open(250, 5, 6, started=ago(250), updated=NOW),
    ),
    _case(
        "a Start after its Stop",
        lambda s: [s.stop(100, 5, 6), s.start(event=-100)],
        _stopped(100, 5, 6, started=ago(100)),
    ),
    _case("A15: a Start twice", lambda s: [s.start(event=-120), s.start()], _open(0, 0, started=ago(120))),
    _case(
        "an Interim twice, then one that counts on within the second",
        lambda s: [s.interim(60, 5, 6), s.interim(60, 5, 6), s.interim(60, 7, 5)],
        _open(60, 7, 6),
    ),
    _case(
        "A17: counters that fall while the time goes on",
        lambda s: [
            *(s.start(), s.interim(300, 1000, 5000), s.interim(600, 50, 6000), s.interim(900, 100, 60)),
            *(s.interim(300, 1000, 5000), s.stop(1000, 110, 60)),
        ],
        _stopped(1000, 1110, 6060),
    ),
    _case(
        "a Stop that says less",
        lambda s: [s.start(), s.interim(300, 100, 200), s.stop(0, 0, 0, cause=11)],
        _stopped(300, 100, 200, "NAS-Reboot"),
    ),
    _case("an Interim without counters", lambda s: [s.start(), s.start(status=INTERIM, seconds=90)], _open(90, 0)),
    _case(
        "a Stop without anything",
        lambda s: [s.start(event=-200), s.start(status=STOP)],
        {"state": "STOPPED", "duration_seconds": range(199, 205), "stopped": NOW, "terminate_cause": None},
    ),
]

_CLOCKS = [
    _case("A10: a router in 1970", lambda s: [s.start(event=1_000_001)], _open(0, 0, started=NOW)),
    _case("a router in the future", lambda s: [s.start(event=86_400)], _open(0, 0, started=NOW)),
    _case("a router four minutes ahead", lambda s: [s.start(event=240)], _open(0, 0, started=NOW)),
    _case("a router four minutes behind", lambda s: [s.start(event=-240)], _open(0, 0, started=ago(240))),
    _case("A10b: sent again for 15 minutes", lambda s: [s.start(event=None, delay=900)], _open(0, 0, started=ago(900))),
    _case("the same with its time", lambda s: [s.start(event=-905, delay=900)], _open(0, 0, started=ago(905))),
    _case(
        "a Stop sent again for 15 minutes, in 1970",
        lambda s: [s.stop(60, 1, event=1_000_001, delay=900)],
        _stopped(60, 1, started=ago(960), stopped=ago(900)),
    ),
    _case("a delay of a century", lambda s: [s.start(event=None, delay=2**32 - 1)], _open(0, 0, started=ago(86400))),
    _case(
        "numbers of 32 bits at their end",
        lambda s: [
            s.stop(2**32 - 1, 2**64 - 1, 2**64 - 1, cause=2**32 - 1, port_type=2**32 - 1, service_type=2**32 - 1)
        ],
        _stopped(2**31 - 1, 2**52 - 1, 2**52 - 1, "4294967295"),
    ),
]

_IDENTITY = [
    _case(
        "A6: a number of a session again, with another Class",
        lambda s: [
            *(s.start(event=-200), s.stop(90, GIB4, GIB4, event=-110)),
            *(s.start(event=-60, cookie=b"another"), s.interim(50, 9, 9, cookie=b"another")),
            s.stop(60, 99, 99, cookie=b"another"),
        ],
        _stopped(90, GIB4, GIB4, stopped=ago(110)),
        _stopped(60, 99, 99, started=ago(60)),
    ),
    _case(
        "A6: a number of a session again, without Class",
        lambda s: [
            *(s.start(event=-200), s.interim(60, 8, 8, event=-140), s.stop(90, GIB4, GIB4, event=-110)),
            *(s.start(event=-60), s.interim(50, 9, 9), s.start(event=-60), s.stop(60, 99, 99)),
        ],
        _stopped(90, GIB4, GIB4, stopped=ago(110)),
        _stopped(60, 99, 99, started=ago(60)),
        cookie=None,
    ),
    _case(
        "a late Start without Class",
        lambda s: [s.stop(90, 5, 5, event=-10), s.start(event=-100), s.interim(30, 3, 3)],
        _stopped(90, 5, 5, stopped=ago(10)),
        cookie=None,
    ),
    _case(
        "a number of a session again while the first is open",
        lambda s: [s.start(event=-200), s.interim(100, 5, 5, event=-100), s.start(cookie=b"another")],
        _stale(100, 5, 5, stopped=ago(100)),
        _open(0, 0, started=NOW),
    ),
    _case(
        "A12: no Acct-Session-Id",
        lambda s: [s.start(), s.interim(60, 5, 5), s.stop(90, 6, 6)],
        _stopped(90, 6, 6, acct_session_id=""),
        session_id=None,
    ),
    _case(
        "A13: NAS-Identifier changes",
        lambda s: [s.start(), s.interim(60, 5, 5, identifier="renamed"), s.stop(90, 6, 6, identifier="again")],
        _stopped(90, 6, 6),
    ),
    _case(
        "A14: the name in capitals",
        lambda s: [s.start(user="Alice"), s.interim(60, 5, 5, user="alice"), s.stop(90, 6, 6, user="ALICE")],
        _stopped(90, 6, 6, username="Alice", service="alice"),
    ),
    _case(
        "A14: the name in capitals, without Class",
        lambda s: [s.start(user="Alice"), s.interim(60, 5, 5, user="alice"), s.stop(90, 6, 6, user="ALICE")],
        _stopped(90, 6, 6, username="Alice"),
        cookie=None,
    ),
    _case(
        "the same device dials again",
        lambda s: [
            *(s.start(event=-200), s.interim(60, 5, 5, event=-140)),
            again(s),
        ],
        _stale(60, 5, 5, stopped=ago(140)),
        _open(0, 0, started=NOW),
    ),
    _case(
        "another device of the same user",
        lambda s: [s.start(event=-9), session()],
        _open(0, 0),
        _open(0, 0),
    ),
    _case(
        "an older session of the device is heard of only now",
        lambda s: [s.start(event=-60), again(s).interim(250, 5, 5, event=-20)],
        _open(250, 5, 5),
        _open(0, 0, started=ago(60)),
    ),
    _case(
        "taken for lost, and heard of again",
        lambda s: [
            *(s.start(event=-200), s.interim(60, 5, 5, event=-140), again(s, event=-130)),
            *(s.interim(60, 5, 5, event=-140), s.interim(200, 9, 9)),
        ],
        _open(200, 9, 9, started=ago(200), updated=NOW),
        _open(0, 0),
    ),
    _case(
        "taken for lost, and its Stop after all",
        lambda s: [
            *(s.start(event=-200), s.interim(60, 5, 5, event=-140)),
            *(again(s, event=-130), s.stop(60, 5, 5, event=-135, cause=2)),
        ],
        _stopped(60, 5, 5, "Lost-Carrier", stopped=ago(135)),
        _open(0, 0),
    ),
]

_ROUTERS = [
    *(
        _case(
            f"A11: Accounting-{name}",
            lambda s, status=status: [
                *(s.start(event=-250), s.interim(100, 5, 5, event=-150), session(station=None, event=-2)),
                # It comes late: what has begun since lives on.
                Report(None, None, None, user="", status=status, event=-30),
            ],
            _stopped(100, 5, 5, "NAS-Reboot", stopped=ago(150)),
            _open(0, 0, started=ago(2)),
        )
        for name, status in (("On", ON), ("Off", OFF))
    ),
    _case(
        "A11: Accounting-On of another router",
        lambda s: [s.start(event=-100), Report(None, None, None, user="", status=ON, nas=SOUTH)],
        _open(0, 0),
    ),
    _case(
        "what is told after Accounting-On",
        lambda s: [
            *(s.start(event=-250), Report(None, None, None, user="", status=ON), s.interim(249, 6, 6)),
            s.stop(250, 7, 7, cause=11),
        ],
        _stopped(250, 7, 7, "NAS-Reboot"),
    ),
    _case("a status that tells of no session", lambda s: [s.start(status=15)]),
    _case(
        "the same session of two routers",
        lambda s: [s.start(event=-9), s.interim(8, 1), s.start(nas=SOUTH), s.interim(60, 5, 5, nas=SOUTH)],
        _open(8, 1),
    ),
]

_MEANING = [
    _case(
        "what a Start tells",
        lambda s: [s.start(cookie=bytes.fromhex("000102030405060fdeadbeef") + secrets.token_bytes(8))],
        _open(
            *(0, 0),
            username="alice",
            service="alice",
            connection_type="PPPOE",
            ip_address="10.9.8.7",
            mac_address="02:00:5e:10:20:30",
            nas_address="192.0.2.1",
            acct_session_id="81a0000f",
            policy="000102030405060f",
            rate="deadbeef",
        ),
        session_id="81a0000f",
        station="02-00-5e-10-20-30",
    ),
    _case("a Class of other length", lambda s: [s.start()], _open(0, 0, policy=None, rate=None), cookie=b"x" * 16),
    _case("no Class", lambda s: [s.start()], _open(0, 0, policy=None, rate=None), cookie=None),
    _case(
        "the address changes",
        lambda s: [s.start(), s.interim(60, 1, address="10.9.8.8")],
        _open(60, 1, ip_address="10.9.8.8"),
    ),
    _case("hotspot by its port", lambda s: [s.start()], _open(0, 0, connection_type="HOTSPOT"), port_type=19),
    _case("hotspot at an Ethernet port", lambda s: [s.start()], _open(0, 0, connection_type="HOTSPOT"), service_type=1),
    _case(
        "the type of the service when nothing else tells",
        lambda s: [s.start(user="cafe", service_type=None)],
        _open(0, 0, connection_type="HOTSPOT", service="cafe"),
    ),
    _case(
        "a device by itself",
        lambda s: [s.start(user="00:1A:2B:3C:4D:5E", station="00:1A:2B:3C:4D:5E", service_type=1)],
        _open(0, 0, username="00:1A:2B:3C:4D:5E", service="cafe", mac_address="00:1a:2b:3c:4d:5e"),
    ),
    _case(
        "a user of nobody",
        lambda s: [s.start(user="nobody here", service_type=None), s.stop(60, 5, 6, user="nobody here")],
        _stopped(60, 5, 6, username="nobody here", service=None, connection_type="OTHER"),
    ),
    _case("a user of another tenant", lambda s: [s.start(user="southerner")], _open(0, 0, service=None)),
    *(
        _case(f"name {name}", lambda s, name=name: [s.start(user=name)], _open(0, 0, username=name, service=service))
        for name, service in (
            *((known, known) for known in ("o'brien", "josé", 'quo"te', "back\\slash", "a%b")),
            *((odd, None) for odd in ("'; DROP TABLE sessions; --", "%{User-Password}", "a\\'b", "x" * 253, "t}")),
        )
    ),
    *(
        _case(f"name {name!r}", lambda s, name=name: [s.start(user=name)], _open(0, 0, username="", service=None))
        for name in (b"jos\xe9", b"alice\0", b"")
    ),
    _case(
        "a number of a session that is no plain text",
        lambda s: [s.start(), s.stop(60, 5, 6)],
        _stopped(60, 5, 6, acct_session_id="o'clock %{x} \\"),
        session_id="o'clock %{x} \\",
    ),
    _case("a Class with a NUL", lambda s: [s.start(), s.stop(60, 5)], _stopped(60, 5), cookie=b"\0'\0" + bytes(17)),
    _case("a signed report", lambda s: [s.start(), s.stop(60, 5)], _stopped(60, 5), signed=True),
    _case("a station that is none", lambda s: [s.start()], _open(0, 0, mac_address=None), station="ether1"),
]

CASES = [*_ORDER, *_CLOCKS, *_IDENTITY, *_ROUTERS, *_MEANING]
