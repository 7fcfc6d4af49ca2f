"""What commands do to items, and with which words the router refuses."""

import asyncio
from typing import Any

import pytest

from ispgraph.lab.items import Change
from ispgraph.lab.kinds import Refused
from ispgraph.lab.routeros import RouterOS
from tests.lab.raw import Raw

SECRET = "/ppp/secret"


async def test_a_secret_from_birth_to_end(raw: Raw) -> None:
    first = await raw.add(f"{SECRET}/add", "=name=ana", "=password=a=b", "=limit-bytes-in=5M", "=comment=")
    assert first == "*1"
    [shown] = await raw.rows(f"{SECRET}/print")
    assert shown == {
        ".id": "*1",
        "name": "ana",
        "password": "a=b",
        "service": "any",
        "profile": "default",
        "caller-id": "",
        "routes": "",
        "limit-bytes-in": "5000000",
        "limit-bytes-out": "0",
        "last-logged-out": "1970-01-01 00:00:00",
        "last-caller-id": "",
        "last-disconnect-reason": "",
        "disabled": "false",
    }
    assert await raw.ask(f"{SECRET}/set", "=.id=*1", "=caller-id=AA", "=disabled=yes", "=comment=x") == [["!done"]]
    wanted = "=.proplist=name,caller-id,disabled,comment,nothing"
    assert await raw.rows(f"{SECRET}/print", wanted) == [
        {"name": "ana", "caller-id": "AA", "disabled": "true", "comment": "x"}
    ]
    assert await raw.ask(f"{SECRET}/unset", "=numbers=ana", "=value-name=caller-id") == [["!done"]]
    assert await raw.ask(f"{SECRET}/enable", "=.id=ana") == [["!done"]]
    assert await raw.ask(f"{SECRET}/comment", "=numbers=*1", "=comment=") == [["!done"]]
    assert await raw.rows(f"{SECRET}/getall", wanted) == [{"name": "ana", "caller-id": "", "disabled": "false"}]
    assert await raw.add(f"{SECRET}/add", "=name=bob") == "*2"
    assert await raw.ask(f"{SECRET}/remove", "=.id=*1,bob") == [["!done"]]
    assert await raw.rows(f"{SECRET}/print") == []
    # An id is never used again.
    assert await raw.add(f"{SECRET}/add", "=name=ana") == "*3"
    assert await raw.ask(f"{SECRET}/print", "=count-only=") == [["!done", "=ret=1"]]


REFUSED = [
    ("/ppp/secret/add =name=ana", "failure: secret with the same name already exists"),
    ("/ppp/secret/add =name=x =nme=y", "unknown parameter nme"),
    ("/ppp/secret/add =name=x =last-caller-id=y", "unknown parameter last-caller-id"),
    ("/ppp/secret/add =password=x", "1|missing value(s) of argument(s) name"),
    ("/ppp/secret/add =name=x =profile=gold", "1|input does not match any value of profile"),
    ("/ppp/secret/add =name=x =service=carrier", "1|input does not match any value of service"),
    ("/ppp/secret/add =name=x =disabled=maybe", "1|input does not match any value of disabled"),
    ("/ppp/secret/add =name=x =remote-address=pool9", "1|invalid value for argument remote-address"),
    ("/ppp/secret/add =name=x =remote-address=", "1|invalid value for argument remote-address"),
    ("/ppp/secret/add =name=x =limit-bytes-in=much", "1|invalid value for argument limit-bytes-in"),
    ("/ppp/secret/add name", "unknown parameter name"),
    ("/ppp/secret/set =name=x", "1|missing value(s) of argument(s) numbers"),
    ("/ppp/secret/set =.id=*99 =name=x", "0|no such item"),
    ("/ppp/secret/set =.id=bob =name=ana", "failure: secret with the same name already exists"),
    ("/ppp/secret/set =.id=ana =frob=1", "unknown parameter frob"),
    ("/ppp/secret/remove =.id=*99", "0|no such item"),
    ("/ppp/secret/remove =.id=*1,*99", "0|no such item"),
    ("/ppp/secret/remove =.id=nobody", "0|no such item"),
    ("/ppp/secret/remove =.id=*XYZ", "0|no such item"),
    ("/ppp/secret/remove =.id=0", "0|no such item"),
    ("/ppp/secret/remove =.id=ana =force=yes", "unknown parameter force"),
    ("/ppp/secret/unset =.id=ana =value-name=name", "1|input does not match any value of value-name"),
    ("/ppp/secret/print =limit=5", "unknown parameter limit"),
    ("/ppp/secret/print ?#!", "5|invalid query"),
    ("/ppp/secret/frobnicate", "0|no such command"),
    ("/ppp/secrets/print", "0|no such command prefix"),
    ("/ppp/print", "0|no such command"),
    ("/vpn/secret/print", "0|no such command prefix"),
    ("#", "0|no such command prefix"),
    ("/ppp/profile/remove =.id=default", "failure: can not remove default profile"),
    ("/system/resource/set =uptime=1s", "0|no such command"),
    ("/system/identity/set =.id=*1 =name=x", "unknown parameter .id"),
    ("/queue/simple/add =name=q =target=10.0.0.1/32 =max-limit=fast", "1|invalid value for argument max-limit"),
    ("/queue/simple/add =name=q =target=ether9", "1|input does not match any value of target"),
    ("/queue/simple/add =name=q =target=10.0.0.300", "1|input does not match any value of target"),
    ("/queue/simple/add =name=q =priority=9", "1|invalid value for argument priority"),
    ("/ip/hotspot/user/add =name=x =server=cafe", "1|input does not match any value of server"),
    ("/ip/hotspot/user/add =name=x =mac-address=12", "1|invalid value for argument mac-address"),
    (
        "/radius/add =service=ppp =address=10.0.0.1 =accounting-port=0",
        "1|value of accounting-port out of range (1..65535)",
    ),
    ("/radius/add =service=carrier =address=10.0.0.1", "1|input does not match any value of service"),
    ("/ip/pool/add =name=p =ranges=10.0.0.9-10.0.0.1", "1|invalid value for argument ranges"),
    ("/interface/set =.id=ether1 =rx-byte=0", "unknown parameter rx-byte"),
    ("/interface/monitor-traffic =once=", "1|missing value(s) of argument(s) interface"),
    ("/interface/monitor-traffic =interface=ether9 =once=", "1|input does not match any value of interface"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[words for words, _ in REFUSED])
async def test_refusals(router: RouterOS, raw: Raw, words: str, message: str) -> None:
    for name in ("ana", "bob"):
        router.create(SECRET, {"name": name})
    before = [(item.id, dict(item.values)) for item in router.table(SECRET)]
    assert await raw.refusal(*words.split()) == message
    assert [(item.id, dict(item.values)) for item in router.table(SECRET)] == before


NORMAL = [
    ("/queue/simple", {"target": "10.1.0.5"}, "target", "10.1.0.5/32"),
    ("/queue/simple", {"target": "10.1.0.5", "max-limit": "2M/10M"}, "max-limit", "2000000/10000000"),
    ("/queue/simple", {"target": "ether1", "max-limit": "5M"}, "max-limit", "5000000/5000000"),
    ("/queue/simple", {"target": "ether1", "priority": "3"}, "priority", "3/3"),
    ("/queue/simple", {"target": "ether1", "burst-time": "90/2m"}, "burst-time", "1m30s/2m"),
    ("/ip/firewall/address-list", {"list": "a", "address": "10.0.0.1/32"}, "address", "10.0.0.1"),
    ("/ip/firewall/address-list", {"list": "a", "address": "10.0.0.9/24"}, "address", "10.0.0.0/24"),
    ("/ip/hotspot/user", {"name": "x", "limit-uptime": "25:00:00"}, "limit-uptime", "1d1h"),
    ("/ip/hotspot/user", {"name": "x", "mac-address": "aa-bb-cc-dd-ee-0f"}, "mac-address", "AA:BB:CC:DD:EE:0F"),
    ("/ip/hotspot/user", {"name": "x", "limit-bytes-total": "10G"}, "limit-bytes-total", "10000000000"),
    ("/radius", {"service": "ppp,hotspot", "address": "127.0.0.1", "timeout": "3000ms"}, "timeout", "3s"),
    ("/radius", {"service": "ppp", "address": "127.0.0.1"}, "require-message-auth", "yes-for-request-resp"),
    ("/ppp/profile", {"name": "p", "rate-limit": "2M/10M 4M/20M 1M/5M 10/10 8"}, "rate-limit", None),
    ("/ppp/profile", {"name": "p", "session-timeout": "3600"}, "session-timeout", "1h"),
]


@pytest.mark.parametrize(("path", "given", "name", "wanted"), NORMAL)
def test_values_as_they_are_printed(path: str, given: dict[str, str], name: str, wanted: str | None) -> None:
    router = RouterOS("r")
    item = router.create(path, given)
    assert router.table(path).get(item, name) == (given[name] if wanted is None else wanted)


@pytest.mark.parametrize(
    "text", ["10Q", "2M/10M/3M", "2M 4M 1M 10 9", "-1", "2M  4M", "2M 4M 1M 10 8 1M 7", "2M/10M 4M/20M fast"]
)
def test_rate_limits_that_are_none(text: str) -> None:
    with pytest.raises(Refused, match="rate-limit"):
        RouterOS("r").create("/ppp/profile", {"name": "p", "rate-limit": text})


def test_an_empty_rate_limit_or_comment_is_none() -> None:
    router = RouterOS("r")
    item = router.create("/ppp/profile", {"name": "p", "rate-limit": "", "comment": ""})
    assert [router.table("/ppp/profile").get(item, name) for name in ("rate-limit", "comment")] == [None, None]


async def test_unique_keys_of_several_properties(router: RouterOS, raw: Raw) -> None:
    entry = ("/ip/firewall/address-list/add", "=list=SUSPENDED", "=address=10.0.0.1")
    first = await raw.add(*entry)
    assert await raw.refusal(*entry) == "failure: already have such entry"
    await raw.add("/ip/firewall/address-list/add", "=list=OTHER", "=address=10.0.0.1")
    second = await raw.add("/ip/firewall/address-list/add", "=list=SUSPENDED", "=address=10.0.0.2")
    moved = ("/ip/firewall/address-list/set", f"=.id={second}", "=address=10.0.0.1")
    assert await raw.refusal(*moved) == "failure: already have such entry"
    assert await raw.ask("/ip/firewall/address-list/set", f"=.id={first}", "=address=10.0.0.1") == [["!done"]]
    router.create("/ip/hotspot", {"name": "hall", "interface": "ether1"})
    await raw.add("/ip/hotspot/user/add", "=name=guest")
    await raw.add("/ip/hotspot/user/add", "=name=guest", "=server=hall")
    again = await raw.refusal("/ip/hotspot/user/add", "=name=guest", "=server=all")
    assert again == "failure: already have user with this name for this server"


async def test_entries_with_a_timeout_are_dynamic_and_go(router: RouterOS, raw: Raw) -> None:
    path = "/ip/firewall/address-list"
    await raw.add(f"{path}/add", "=list=a", "=address=10.0.0.1", "=timeout=1h")
    await raw.add(f"{path}/add", "=list=a", "=address=10.0.0.2")
    router.clock.advance(1800)
    shown = await raw.rows(f"{path}/print", "=.proplist=address,timeout,dynamic")
    assert shown[0] in ({"address": "10.0.0.1", "timeout": left, "dynamic": "true"} for left in ("30m", "29m59s"))
    assert shown[1] == {"address": "10.0.0.2", "dynamic": "false"}
    router.clock.advance(1801)
    assert [row["address"] for row in await raw.rows(f"{path}/print")] == ["10.0.0.2"]


async def test_dynamic_items_are_not_edited(router: RouterOS, raw: Raw) -> None:
    queue = router.table("/queue/simple").add({"name": "<pppoe-ana>", "target": "<pppoe-ana>"}, dynamic=True)
    for words in (
        ("set", "=max-limit=1M/1M"),
        ("disable",),
        ("unset", "=value-name=time"),
        ("comment", "=comment=x"),
    ):
        refused = await raw.refusal(f"/queue/simple/{words[0]}", f"=.id={queue.id}", *words[1:])
        assert refused == "failure: cannot change dynamic simple queue"
    refused = await raw.refusal("/queue/simple/remove", "=.id=<pppoe-ana>")
    assert refused == "failure: cannot remove dynamic simple queue"
    assert len(router.table("/queue/simple")) == 1


async def test_a_session_takes_a_comment_and_an_entry_with_a_timeout_any_change(router: RouterOS, raw: Raw) -> None:
    router.table("/ppp/active").add({"name": "ana"}, dynamic=True)
    assert await raw.ask("/ppp/active/comment", "=numbers=ana", "=comment=x") == [["!done"]]
    entries = "/ip/firewall/address-list"
    first = await raw.add(f"{entries}/add", "=list=a", "=address=10.0.0.1", "=timeout=1h")
    assert await raw.ask(f"{entries}/set", f"=.id={first}", "=comment=x", "=timeout=2h") == [["!done"]]
    second = router.table(entries).add({"list": "a", "address": "10.0.0.2"}, dynamic=True)
    refused = await raw.refusal(f"{entries}/set", f"=.id={second.id}", "=comment=x")
    assert refused == "failure: cannot change dynamic address list entry"


async def test_removing_a_session_tells_who_watches(router: RouterOS, raw: Raw) -> None:
    table, seen = router.table("/ppp/active"), list[Change]()
    table.watch(seen.append)
    for name in ("ana", "bob"):
        table.add({"name": name, "session-id": "0x81500001"}, dynamic=True)
    assert await raw.ask("/ppp/active/remove", "=.id=ana") == [["!done"]]
    table.remove(next(iter(table)))
    told = [(change.kind, change.item.values["name"], change.origin) for change in seen]
    assert told == [
        ("added", "ana", "lab"),
        ("added", "bob", "lab"),
        ("removed", "ana", "api"),
        ("removed", "bob", "lab"),
    ]


async def test_order_and_places(raw: Raw) -> None:
    async def names() -> str:
        return "".join([row["name"] for row in await raw.rows("/queue/simple/print")])

    for name in "abc":
        await raw.add("/queue/simple/add", f"=name={name}", "=target=10.0.0.1/32")
    await raw.add("/queue/simple/add", "=name=d", "=target=10.0.0.2/32", "=place-before=b")
    assert await names() == "adbc"
    await raw.ask("/queue/simple/move", "=numbers=c", "=destination=a")
    assert await names() == "cadb"
    await raw.ask("/queue/simple/move", "=numbers=c,a")
    assert await names() == "dbca"
    assert [row["name"] for row in await raw.rows("/queue/simple/print", "?target=10.0.0.1/32")] == ["b", "c", "a"]
    assert await raw.refusal("/ppp/secret/add", "=name=x", "=place-before=*1") == "unknown parameter place-before"


async def test_references_follow_a_new_name(router: RouterOS, raw: Raw) -> None:
    await raw.add("/ppp/profile/add", "=name=gold")
    await raw.add(f"{SECRET}/add", "=name=ana", "=profile=gold")
    await raw.ask("/ppp/profile/set", "=numbers=gold", "=name=silver")
    assert [row["profile"] for row in await raw.rows(f"{SECRET}/print")] == ["silver"]
    [profile] = router.table("/ppp/profile").find(name="silver")
    await raw.ask("/ppp/profile/remove", "=numbers=silver")
    assert [row["profile"] for row in await raw.rows(f"{SECRET}/print")] == [profile.id]


async def test_the_reset_of_counters_is_asked_for(router: RouterOS, raw: Raw) -> None:
    seen = list[Change]()
    router.table("/queue/simple").watch(seen.append)
    await raw.add("/queue/simple/add", "=name=q", "=target=10.0.0.1")
    await raw.ask("/queue/simple/reset-counters", "=numbers=q")
    assert [change.kind for change in seen] == ["added", "reset"]


async def test_properties_are_worked_out_only_when_somebody_looks(router: RouterOS, raw: Raw) -> None:
    table, looks = router.table("/interface"), []

    def received(item: Any) -> str:
        looks.append(item.id)
        return str(len(looks))

    table.compute("rx-byte", received)
    await raw.rows("/interface/print", "=.proplist=name,tx-byte")
    assert looks == []
    shown = await raw.rows("/interface/print", "=.proplist=name,rx-byte")
    assert shown == [{"name": "ether1", "rx-byte": "1"}, {"name": "ether2", "rx-byte": "2"}]


def test_ten_thousand_items_stay_fast_and_indexes_true() -> None:
    table = RouterOS("r").table("/ppp/active")
    items = [table.add({"name": f"u{n}", "session-id": f"0x{n:x}"}, dynamic=True) for n in range(10_000)]
    looked = 0

    def count(item: Any) -> str:
        nonlocal looked
        looked += 1
        return "pppoe"

    table.compute("service", count)
    assert table.find(service="pppoe", name="u777") == [items[777]]
    assert looked == 1
    table.change(items[777], {"name": "new"})
    table.remove(items[778])
    assert (table.find(name="u777"), table.find(name="u778")) == ([], [])
    assert table.find(name="new", session_id="0x309") == [items[777]]
    table.change(items[777], {"name": "u777"})
    assert (table.find(name="u777"), table.find(name="new")) == ([items[777]], [])


def test_a_reboot_loses_what_is_dynamic() -> None:
    router = RouterOS("r", users={"api": ("pw", "full")})
    router.create(SECRET, {"name": "ana"})
    active = router.table("/ppp/active")
    active.add({"name": "ana"}, dynamic=True)
    before = list[int]()
    router.before_reboot.append(lambda: before.append(len(active)))
    router.clock.advance(500)
    router.reboot()
    assert (before, len(active), len(router.table(SECRET)), router.reboots) == ([1], 0, 1, 1)
    assert router.now() - router.booted_at < 1


@pytest.mark.parametrize(
    ("version", "date"), [("7.16.1", "2026-01-02"), ("7.9", "jan/02/2026"), ("6.49.10", "jan/02/2026")]
)
def test_dates_by_version_and_a_clock_that_is_off(version: str, date: str) -> None:
    router = RouterOS("r", version=version)
    router.clock_offset = 1767312000 + 60 - router.now()
    clock = router.table("/system/clock")
    assert clock.get(next(iter(clock)), "date") == date


@pytest.mark.parametrize(("version", "known"), [("7.15", True), ("7.14.3", False), ("6.49", False)])
def test_properties_that_came_with_a_version(version: str, known: bool) -> None:
    router = RouterOS("r", version=version)
    values = {"service": "ppp", "address": "127.0.0.1", "require-message-auth": "no"}
    if known:
        router.create("/radius", values)
    else:
        with pytest.raises(Refused, match="unknown parameter require-message-auth"):
            router.create("/radius", values)


async def test_lab_time_runs_at_any_speed() -> None:
    router = RouterOS("r")
    start = router.now()
    router.clock.set_speed(100_000)
    await asyncio.wait_for(router.clock.sleep(2000), 5)
    assert router.now() - start >= 2000
    router.clock.set_speed(0.001)
    sleeper = asyncio.create_task(router.clock.sleep(100))
    await asyncio.sleep(0.01)
    router.clock.set_speed(1_000_000)
    await asyncio.wait_for(sleeper, 5)
    with pytest.raises(ValueError, match="positive"):
        router.clock.set_speed(0)
