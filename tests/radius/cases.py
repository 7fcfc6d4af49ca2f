"""The one table of logins that FreeRADIUS and the embedded responder must answer alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.radius.client import ACCEPT, REJECT, Login, attribute
from tests.radius.world import GARDEN, ODD_PASSWORDS, PASSWORD, SOUTH, STRANGER

METHODS = ("pap", "chap", "chap-own-challenge", "mschap", "mschap2")
MAC = "00:1A:2B:3C:4D:5E"


@dataclass(frozen=True)
class Case:
    """A login, the code of its answer (None: silence), what must stand in it and what must not."""

    name: str
    login: Login
    code: int | None
    has: Mapping[str, Any] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()


def _accepted(name: str, login: Login, lacks: tuple[str, ...] = (), **has: Any) -> Case:
    return Case(name, login, ACCEPT, {key.replace("_", "-"): value for key, value in has.items()}, lacks)


def _refused(name: str, login: Login, message: str | None = None) -> Case:
    # A refusal says nothing about the package.
    return Case(
        name,
        login,
        REJECT,
        {"Reply-Message": message} if message else {},
        ("Mikrotik-Rate-Limit", "Class", "Session-Timeout", "Framed-IP-Address", "MS-CHAP2-Success")
        + (() if message else ("Reply-Message",)),
    )


def _methods() -> list[Case]:
    found = []
    for method in METHODS:
        found += [
            _accepted(f"{method}: right password", Login("alice", PASSWORD, method)),
            _accepted(f"{method}: unsigned request", Login("alice", PASSWORD, method, signed=False)),
            _accepted(f"{method}: name in capitals", Login("ALICE", PASSWORD, method)),
            _accepted(
                f"{method}: password in another script", Login("odd-script", ODD_PASSWORDS["odd-script"], method)
            ),
            _refused(f"{method}: wrong password", Login("alice", "wrong horse", method)),
            _refused(f"{method}: password in capitals", Login("alice", PASSWORD.upper(), method)),
            _refused(f"{method}: wrong password, unsigned", Login("alice", "wrong horse", method, signed=False)),
            _refused(f"{method}: empty password", Login("alice", "", method)),
            _refused(f"{method}: unknown user", Login("nobody", PASSWORD, method)),
            _refused(f"{method}: suspended", Login("suspended", PASSWORD, method), "Account suspended"),
        ]
    return found


def _routers() -> list[Case]:
    return [
        Case("unknown router", Login("alice", PASSWORD, nas=STRANGER, secret=b"whatever"), None),
        Case("wrong shared secret", Login("alice", PASSWORD, secret=b"wrong"), None),
        Case("Proxy-State, unsigned", Login("alice", PASSWORD, signed=False, extra=attribute(33, b"x")), None),
        _accepted("Proxy-State, signed", Login("alice", PASSWORD, extra=attribute(33, b"x")), Proxy_State=b"x"),
        _accepted("the same name in another tenant", Login("alice", "another password", nas=SOUTH)),
        _refused("another tenant's password", Login("alice", PASSWORD, nas=SOUTH)),
        _refused("another tenant's router", Login("southerner", PASSWORD)),
        _refused("no credential", Login("alice", method="none")),
    ]


def _garden() -> list[Case]:
    walled = {"Mikrotik_Address_List": "wall", "Framed_Pool": "walled", "Mikrotik_Rate_Limit": "256k/256k"}
    message = "Account suspended"
    no_more = ("Session-Timeout", "Framed-IP-Address", "Mikrotik-Total-Limit")
    found = [
        _accepted("free, beside a walled garden", Login("free", PASSWORD, nas=GARDEN), ("Mikrotik-Address-List",)),
        _refused("a violation is not walled", Login("violator", PASSWORD, nas=GARDEN), message),
        _refused("closed is not walled", Login("closed", PASSWORD, nas=GARDEN), "Account closed"),
    ]
    for method in METHODS:
        found += [
            _accepted(f"{method}: walled", Login("walled", PASSWORD, method, nas=GARDEN), no_more, **walled),
            _accepted(f"{method}: walled as its time is over", Login("over", PASSWORD, method, nas=GARDEN), **walled),
            _refused(f"{method}: walled, wrong password", Login("walled", "wrong", method, nas=GARDEN), message),
        ]
    return found


def _names() -> list[Case]:
    names = ("o'brien", "bob+1", "ann@isp.example", "josé", "a#b", "a=b", "a%b", 'quo"te', "back\\slash")
    strange = (
        "alice' OR '1'='1",
        "'; DROP TABLE services; --",
        "alice'||'",
        "%{User-Password}",
        "alice\\",
        "ALICE ",
        "a" * 250,
    )
    return [
        *(_accepted(f"name {name}", Login(name, PASSWORD)) for name in names),
        *(_accepted(f"name {name}, mschap2", Login(name, PASSWORD, "mschap2")) for name in names),
        *(_refused(f"strange name {name[:30]}", Login(name, PASSWORD)) for name in strange),
        *(_accepted(f"password of {name}", Login(name, word)) for name, word in ODD_PASSWORDS.items()),
        *(_accepted(f"password of {name}, chap", Login(name, word, "chap")) for name, word in ODD_PASSWORDS.items()),
    ]


def _states() -> list[Case]:
    messages = {
        "over": "Account expired",
        "expired": "Account expired",
        "suspended": "Account suspended",
        "pending": "Account not active yet",
        "terminated": "Account closed",
        "of-suspended": "Account suspended",
        "of-terminated": "Account closed",
    }
    return [_refused(f"state {name}", Login(name, PASSWORD), message) for name, message in messages.items()]


def _hotspots() -> list[Case]:
    notations = (MAC, "00-1a-2b-3c-4d-5e", "001a.2b3c.4d5e", "001A2B3C4D5E")
    return [
        *(_accepted(f"device {mac}", Login(mac, mac, station=MAC)) for mac in notations),
        *(_accepted(f"device {mac}, chap", Login(mac, mac, "chap", station=MAC)) for mac in notations),
        _accepted("device, the second", Login("00:1A:2B:3C:4D:5F", "00:1A:2B:3C:4D:5F")),
        _refused("device with the password of its service", Login(MAC, PASSWORD, station=MAC)),
        _refused("device written otherwise in the password", Login(MAC, MAC.lower(), station=MAC)),
        _refused("a neighbour's device", Login(MAC, MAC, station="00:1A:2B:99:99:99")),
        _refused("device of a dial-in", Login("00:1A:2B:00:00:01", "00:1A:2B:00:00:01")),
        _refused("unknown device", Login("00:1A:2B:00:00:99", "00:1A:2B:00:00:99")),
        _refused("device of another tenant's hotspot", Login(MAC, MAC, nas=SOUTH)),
        _refused("suspended device", Login("001a2b000002", "001a2b000002"), "Account suspended"),
        _accepted("a name that is a device's address wins", Login("00:1A:2B:00:00:03", "by name")),
        _refused("the device whose name is taken", Login("00:1A:2B:00:00:03", "00:1A:2B:00:00:03")),
        _accepted("hotspot by name", Login("cafe", PASSWORD, "chap-own-challenge", station=MAC)),
        _accepted("hotspot bound to none, by name", Login("open-cafe", PASSWORD, station="00:1A:2B:99:99:99")),
    ]


def _bound() -> list[Case]:
    message = "This account is bound to another device"
    mine = (
        *("00:1A:2B:00:00:01", "00-1a-2b-00-00-01", "001a.2b00.0001", "001A2B-000001", "001A:2B00:0001"),
        *("001a2b000001", "00:1A:2B:00:00:0A"),
    )
    others = ("00:1A:2B:00:00:02", "00:1A:2B:00:00:1", "192.0.2.1", "x", None)
    return [
        *(_accepted(f"bound, from {mac}", Login("dialler", PASSWORD, station=mac)) for mac in mine),
        *(_accepted(f"bound, {method}", Login("dialler", PASSWORD, method, station=mine[0])) for method in METHODS),
        *(_refused(f"bound, from {mac}", Login("dialler", PASSWORD, station=mac), message) for mac in others),
        *(
            _refused(f"bound, elsewhere, {method}", Login("dialler", PASSWORD, method, station=others[0]), message)
            for method in METHODS
        ),
        _refused("bound, wrong password", Login("dialler", "wrong horse", station=mine[0])),
        _refused("bound to a device of two, hotspot", Login("cafe", PASSWORD, station="00:1A:2B:99:99:99"), message),
        _refused("bound and suspended, elsewhere", Login("closed-cafe", PASSWORD, station=MAC), "Account suspended"),
        _refused("bound and walled, elsewhere", Login("bound", PASSWORD, station=MAC, nas=GARDEN), message),
        _accepted(
            "bound and walled",
            Login("bound", PASSWORD, station="00:1A:2B:00:00:0C", nas=GARDEN),
            Mikrotik_Address_List="wall",
        ),
    ]


def _attributes() -> list[Case]:
    none = ("Framed-IP-Address", "Framed-IP-Netmask", "Mikrotik-Group", "Mikrotik-Total-Limit", "Reply-Message")
    near = lambda seconds: range(seconds - 120, seconds + 1)  # noqa: E731
    return [
        _accepted(
            "rate limit is upload/download",
            Login("alice", PASSWORD),
            lacks=none,
            Mikrotik_Rate_Limit="5000k/20000k",
            Acct_Interim_Interval=300,
            Session_Timeout=near(10 * 86400),
        ),
        _accepted("no end", Login("ann@isp.example", PASSWORD), lacks=("Session-Timeout",)),
        _accepted("an end in a century", Login("for-ever", PASSWORD), Session_Timeout=2147483647),
        _accepted("an end in half a minute", Login("nearly-over", PASSWORD), Session_Timeout=60),
        _accepted(
            "static address",
            Login("static", PASSWORD),
            Framed_IP_Address="10.20.30.40",
            Framed_IP_Netmask="255.255.255.0",
            Mikrotik_Group="gold \\ 'fibre'",
        ),
        _accepted("IPv6 has no place in Framed-IP-Address", Login("six", PASSWORD), lacks=none),
        _accepted(
            "10 GiB in two words, and an hour",
            Login("capped", PASSWORD),
            Mikrotik_Total_Limit=2147483648,
            Mikrotik_Total_Limit_Gigawords=2,
            Session_Timeout=3600,
        ),
        _accepted(
            "5000 octets",
            Login("small", PASSWORD),
            Mikrotik_Total_Limit=5000,
            Mikrotik_Total_Limit_Gigawords=0,
        ),
    ]


def _limits() -> list[Case]:
    near = lambda seconds: range(seconds - 120, seconds + 1)  # noqa: E731
    quota = ("Mikrotik-Total-Limit", "Mikrotik-Total-Limit-Gigawords")
    data, time = "The data of this period is used up", "The time of this period is used up"
    return [
        _accepted(
            "7 of 10 GiB are left, in two words",
            Login("quota-rest", PASSWORD),
            Mikrotik_Total_Limit=3 * 2**30,
            Mikrotik_Total_Limit_Gigawords=1,
        ),
        _refused("no data is left", Login("quota-gone", PASSWORD), data),
        _accepted("5000 of 9000 seconds are left", Login("time-rest", PASSWORD), quota, Session_Timeout=5000),
        _refused("no time is left", Login("time-gone", PASSWORD), time),
        _accepted(
            "the least of what is left",
            Login("daily", PASSWORD),
            Mikrotik_Total_Limit=0,
            Mikrotik_Total_Limit_Gigawords=1,
            Session_Timeout=7000,
        ),
        _refused("no data is left today", Login("daily-gone", PASSWORD), "The data of today is used up"),
        _accepted("until the window closes", Login("hours-open", PASSWORD), Session_Timeout=near(7200)),
        _refused("the window is closed", Login("hours-closed", PASSWORD), "Outside of the hours of this service"),
        _accepted("half an hour at a time", Login("session", PASSWORD), quota, Session_Timeout=1800),
        _accepted("below the threshold", Login("fair-below", PASSWORD), quota, Mikrotik_Rate_Limit="5000k/20000k"),
        _accepted("from the threshold on", Login("fair-above", PASSWORD), quota, Mikrotik_Rate_Limit="1000k/2000k"),
        _accepted("a speed of its own", Login("slow", PASSWORD), Mikrotik_Rate_Limit="500k/3000k"),
        _accepted("the router's own speed", Login("own-rate", PASSWORD), ("Mikrotik-Rate-Limit",)),
        _accepted("a temporary speed", Login("boosted", PASSWORD), Mikrotik_Rate_Limit="8000k/9000k"),
        _accepted("after a temporary speed", Login("no-more-boosted", PASSWORD), Mikrotik_Rate_Limit="500k/3000k"),
        _refused("no data is left, chap", Login("quota-gone", PASSWORD, "chap"), data),
        _accepted("7 of 10 GiB, mschap2", Login("quota-rest", PASSWORD, "mschap2"), Mikrotik_Total_Limit=3 * 2**30),
    ]


CASES = [
    *_methods(),
    *_routers(),
    *_garden(),
    *_names(),
    *_states(),
    *_hotspots(),
    *_bound(),
    *_attributes(),
    *_limits(),
]
