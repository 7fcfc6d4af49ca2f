"""Connections: logins by version, permissions, tags, cancelling, streams, TLS."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator

import pytest

from ispgraph.lab.routeros import RouterOS
from tests.lab.raw import Raw, values

BAD = ["!trap", "=message=invalid user name or password (6)"]


@pytest.fixture
async def old() -> AsyncIterator[RouterOS]:
    router = RouterOS("old", version="6.42.12", users={"api": ("pw", "full")})
    await router.start()
    yield router
    await router.stop()


def response(challenge: str, password: str = "pw") -> str:
    return "=response=00" + hashlib.md5(b"\0" + password.encode() + bytes.fromhex(challenge)).hexdigest()


@pytest.mark.parametrize(("user", "password"), [("api", "wrong"), ("nobody", "pw"), ("", ""), ("api", "")])
async def test_bad_logins_are_refused_and_may_try_again(router: RouterOS, user: str, password: str) -> None:
    async with await Raw.connect(router, user=None) as raw:
        assert await raw.ask("/login", f"=name={user}", f"=password={password}") == [BAD, ["!done"]]
        assert await raw.ask("/login", "=name=api", "=password=pw") == [["!done"]]
        assert await raw.rows("/system/identity/print") == [{"name": "border"}]
    assert (router.counters.logins, router.counters.failed_logins) == (1, 1)
    lines = [router.table("/log").get(item, "message") for item in router.table("/log")]
    assert lines[0] == f"login failure for user {user} from 127.0.0.1 via api"


async def test_a_challenge_logs_in_below_6_43_only(router: RouterOS, old: RouterOS) -> None:
    async with await Raw.connect(old, user=None) as raw:
        # The words of the new login do not count here.
        [done] = await raw.ask("/login", "=name=api", "=password=pw")
        challenge = values(done)["ret"]
        assert len(challenge) == 32
        assert await raw.ask("/login", "=name=api", response(challenge)) == [["!done"]]
        assert await raw.rows("/system/identity/print") == [{"name": "old"}]
    async with await Raw.connect(old, user=None) as raw:
        challenge = values((await raw.ask("/login"))[0])["ret"]
        wrong = await raw.ask("/login", "=name=api", response(challenge, "other"))
        assert wrong == [["!trap", "=message=cannot log in"], ["!done"]]
        # A challenge serves once.
        assert (await raw.ask("/login", "=name=api", response(challenge)))[0][0] == "!trap"
    async with await Raw.connect(router, user=None) as raw:
        challenge = values((await raw.ask("/login"))[0])["ret"]
        assert await raw.ask("/login", "=name=api", response(challenge)) == [BAD, ["!done"]]


async def test_nothing_is_done_before_login(router: RouterOS) -> None:
    async with await Raw.connect(router, user=None) as raw:
        assert await raw.ask("/ppp/secret/add", "=name=x") == [["!fatal", "not logged in"]]
        assert await raw.rest() == b""
    async with await Raw.connect(router, user=None) as raw:
        raw.send("/login", "=name=" + "x" * 5000)
        assert await raw.rest() == b""
    assert len(router.table("/ppp/secret")) == 0


@pytest.mark.parametrize(
    ("user", "may_write", "sees_secrets"), [("api", True, True), ("clerk", True, False), ("viewer", False, False)]
)
async def test_groups(router: RouterOS, user: str, may_write: bool, sees_secrets: bool) -> None:
    router.create("/ppp/secret", {"name": "ana", "password": "hidden"})
    async with await Raw.connect(router, user=user) as raw:
        [row] = await raw.rows("/ppp/secret/print")
        assert row.get("password") == ("hidden" if sees_secrets else None)
        # Who may not see it may not search for it either.
        assert len(await raw.rows("/ppp/secret/print", "?password=hidden")) == sees_secrets
        asked = "=.proplist=name,password"
        assert len((await raw.rows("/ppp/secret/print", asked))[0]) == 1 + sees_secrets
        for words in (
            ("set", "=.id=*1", "=comment=x"),
            ("disable", "=.id=*1"),
            ("add", "=name=b"),
            ("remove", "=.id=*1"),
        ):
            found = await raw.ask(f"/ppp/secret/{words[0]}", *words[1:])
            assert (
                found[0] != ["!trap", "=message=not enough permissions (9)"]
                if may_write
                else found[0]
                == [
                    "!trap",
                    "=message=not enough permissions (9)",
                ]
            )
    assert len(router.table("/ppp/secret")) == 1


async def test_tags_are_the_second_word_of_every_reply(router: RouterOS, raw: Raw) -> None:
    router.create("/ppp/secret", {"name": "ana"})
    found = await raw.ask("/ppp/secret/print", ".tag=a b", "=.proplist=name")
    assert found == [["!re", ".tag=a b", "=name=ana"], ["!done", ".tag=a b"]]
    assert await raw.ask("/ppp/secret/add", "=name=ana", ".tag=7") == [
        ["!trap", ".tag=7", "=message=failure: secret with the same name already exists"],
        ["!done", ".tag=7"],
    ]
    assert await raw.ask("/ppp/secret/add", ".tag=8", "=name=bob") == [["!done", ".tag=8", "=ret=*2"]]


async def test_tagged_commands_overtake_each_other_and_are_cancelled(router: RouterOS, raw: Raw) -> None:
    raw.send("/interface/listen", ".tag=1", "=.proplist=name,comment")
    raw.send("/interface/monitor-traffic", "=interface=ether1", "=interval=20s", ".tag=2")
    assert (await raw.reply())[:3] == ["!re", ".tag=2", "=name=ether1"]
    raw.send("/interface/set", "=.id=ether2", "=comment=uplink", ".tag=3")
    # The order of these two is no promise.
    found = [await raw.reply(), await raw.reply()]
    assert sorted(found) == [["!done", ".tag=3"], ["!re", ".tag=1", "=.id=*2", "=name=ether2", "=comment=uplink"]]
    item = router.table("/interface").add({"name": "<pppoe-ana>"}, dynamic=True)
    assert await raw.reply() == ["!re", ".tag=1", f"=.id={item.id}", "=name=<pppoe-ana>"]
    router.table("/interface").remove(item)
    assert await raw.reply() == ["!re", ".tag=1", f"=.id={item.id}", "=.dead=yes"]
    raw.send("/cancel", "=tag=1", ".tag=4")
    assert [await raw.reply() for _ in range(3)] == [
        ["!trap", ".tag=1", "=category=2", "=message=interrupted"],
        ["!done", ".tag=1"],
        ["!done", ".tag=4"],
    ]
    router.table("/interface").add({"name": "unseen"})
    raw.send("/cancel")
    assert [(await raw.reply())[:2] for _ in range(3)] == [["!trap", ".tag=2"], ["!done", ".tag=2"], ["!done"]]
    assert await raw.ask("/cancel", "=tag=1", ".tag=5") == [["!done", ".tag=5"]]


async def test_commands_without_a_tag_wait_for_each_other(router: RouterOS, raw: Raw) -> None:
    router.faults.set(delay_done_seconds=0.05)
    raw.send("/ppp/secret/add", "=name=ana")
    raw.send("/ppp/secret/print", "=.proplist=name")
    assert await raw.reply() == ["!done", "=ret=*1"]
    assert await raw.replies() == [["!re", "=name=ana"], ["!done"]]


async def test_a_listener_that_leaves_is_forgotten(router: RouterOS) -> None:
    async with await Raw.connect(router) as raw:
        raw.send("/interface/listen", ".tag=1")
        await raw.ask("/system/identity/print")
    while router.counters.connections:
        await asyncio.sleep(0.005)
    assert router.table("/interface")._watchers == []


async def test_monitors_and_rates(router: RouterOS, raw: Raw) -> None:
    router.monitors["/radius/incoming"] = lambda item: {"requests": "3", "acks": "2"}
    assert await raw.rows("/radius/incoming/monitor", "=once=") == [{"requests": "3", "acks": "2"}]
    router.interface_rates = lambda item: (2_000_000.9, 10_000_000, 200, 1000)
    wanted = "=.proplist=name,rx-bits-per-second,tx-bits-per-second"
    words = ("/interface/monitor-traffic", "=interface=ether2,ether1", "=once=", wanted)
    rates = {"rx-bits-per-second": "2000000", "tx-bits-per-second": "10000000"}
    assert await raw.rows(*words) == [{"name": "ether2", **rates}, {"name": "ether1", **rates}]


@pytest.mark.parametrize(
    ("version", "says_empty"), [("7.18", True), ("7.20.1", True), ("7.17.2", False), ("6.49", False)]
)
async def test_the_word_for_nothing(version: str, says_empty: bool) -> None:
    router = RouterOS("r", version=version, users={"api": ("pw", "full")})
    await router.start()
    async with await Raw.connect(router) as raw:
        nothing = [["!empty", ".tag=1"]] if says_empty else []
        assert await raw.ask("/ppp/secret/print", ".tag=1") == [*nothing, ["!done", ".tag=1"]]
        assert await raw.ask("/ppp/secret/print", "=count-only=") == [["!done", "=ret=0"]]
        assert len(await raw.rows("/ppp/profile/print")) == 2
        assert await raw.ask("/ppp/profile/set", "=.id=default", "=comment=x") == [["!done"]]
    await router.stop()


async def test_pieces_and_several_sentences_at_once(router: RouterOS, raw: Raw) -> None:
    data = b"\0\x16/system/identity/print\0\0"
    for byte in data * 2:
        raw.writer.write(bytes([byte]))
        await raw.writer.drain()
    assert [await raw.replies() for _ in range(2)] == [[["!re", "=name=border"], ["!done"]]] * 2
    raw.writer.write(data * 5)
    assert [await raw.replies() for _ in range(5)] == [[["!re", "=name=border"], ["!done"]]] * 5


async def test_a_control_byte_ends_the_connection(raw: Raw) -> None:
    raw.writer.write(b"\xff")
    assert await raw.rest() == b""


async def test_foreign_bytes_and_long_words_survive(raw: Raw) -> None:
    await raw.ask("/ppp/secret/add", b"=name=caf\xe9", "=comment=" + "ন" * 7000)
    [row] = await raw.rows("/ppp/secret/print", b"?name=caf\xe9")
    assert row["name"].encode("utf-8", "surrogateescape") == b"caf\xe9"
    assert row["comment"] == "ন" * 7000


async def test_many_rows_by_a_query_that_an_index_answers(router: RouterOS, raw: Raw) -> None:
    table = router.table("/ppp/active")
    for number in range(3000):
        table.add({"name": f"u{number}", "address": f"10.0.{number // 250}.{number % 250}"}, dynamic=True)
    assert [row["name"] for row in await raw.rows("/ppp/active/print")] == [f"u{number}" for number in range(3000)]
    assert [row["name"] for row in await raw.rows("/ppp/active/print", "?address=10.0.1.7")] == ["u257"]
    found = await raw.rows("/ppp/active/print", "?name=u5", "?name=u6", "?#|", "=.proplist=name")
    assert found == [{"name": "u5"}, {"name": "u6"}]


async def test_tls_with_the_fingerprint_that_is_told(router: RouterOS) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with await Raw.connect(router, port=router.tls_port, ssl=context) as raw:
        shown = raw.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert hashlib.sha256(shown).hexdigest() == router.fingerprint
        assert await raw.rows("/system/identity/print") == [{"name": "border"}]


async def test_reboot_by_command_and_counters(router: RouterOS) -> None:
    async with await Raw.connect(router) as first, await Raw.connect(router, user="clerk") as second:
        assert (router.counters.connections, router.counters.highest_connections) == (2, 2)
        assert await second.refusal("/system/reboot") == "not enough permissions (9)"
        first.send("/system/reboot")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await first.reply()
    while router.counters.connections:
        await asyncio.sleep(0.005)
    assert (router.reboots, router.counters.highest_connections) == (1, 2)
    assert router.counters.commands == {"/login": 2, "/system/reboot": 2}


async def test_quit(raw: Raw) -> None:
    assert await raw.ask("/quit") == [["!fatal", "session terminated on request"]]
    assert await raw.rest() == b""
