"""The RouterOS adapter against routers that are scripted byte by byte, polite ones and others."""

import asyncio
import dataclasses
import datetime
import hashlib
import logging
import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ispgraph.adapters.errors import AdapterError, BadReply, Refusal, Refused, TimedOut, Unreachable
from ispgraph.adapters.routeros import Address, connect
from tests.adapters.scripted import PASSWORD, USER, Talk, router, sentence


async def test_strings_go_and_come_as_they_are() -> None:
    exact = {
        "name": "007",
        "comment": "yes",
        "password": "a=b==c",
        "profile": "",
        "caller-id": "José বাংলা \n\t",
        "routes": "x" * 20_000,
    }

    async def script(talk: Talk) -> None:
        await talk.log_in()
        words = await talk.hear()
        assert words == [b"/ppp/secret/add", *(f"={name}={value}".encode() for name, value in exact.items())]
        talk.say("!done", "=ret=*1F")
        assert await talk.hear() == [b"/ppp/secret/print", b"=.proplist=.id,name", b"?=name=007", b"?=comment=yes"]
        talk.say("!re", "=.id=*1F", *words[1:], "=disabled=false", "=rx-byte=12345")
        # Without a second "=" there is no value; empty sentences mean nothing; tags may come first.
        talk.writer.write(b"\x00" + sentence("!re", talk.tag, "=.id=*20", "=comment"))
        talk.say("!done")

    async with router(script) as (address, _), connect(address) as device:
        assert await device.add("/ppp/secret", exact) == "*1F"
        rows = await device.print("/ppp/secret", where={"name": "007", "comment": "yes"}, columns=[".id", "name"])
    assert rows == [
        {".id": "*1F", **exact, "disabled": "false", "rx-byte": "12345"},
        {".id": "*20", "comment": ""},
    ]


async def test_bytes_that_are_not_utf8_are_read_as_latin1() -> None:
    async def script(talk: Talk) -> None:
        await talk.log_in()
        await talk.hear()
        talk.say("!re", b"=comment=Jos\xe9 \x81", "=name=José")
        talk.say("!done")

    async with router(script) as (address, _), connect(address) as device:
        rows = await device.print("/ppp/secret", columns=["comment", "name"])
    assert rows == [{"comment": "José \x81", "name": "José"}]


async def test_every_verb_in_its_words() -> None:
    async def script(talk: Talk) -> None:
        await talk.log_in()
        for _ in range(6):
            words = await talk.hear()
            if words[0].endswith(b"monitor"):
                talk.say("!re", "=requests=3")
                talk.say("!re", "=requests=4")
            elif words[0].endswith(b"print"):
                talk.say("!empty")
            talk.say("!done", *(["=ret=done"] if words[0] == b"/x/y" else []))

    async with router(script) as (address, talks), connect(address) as device:
        await device.set("/ppp/secret", "*a0", {"disabled": "yes"})
        await device.set("/radius/incoming", None, {"accept": "yes"})
        await device.unset("/ppp/secret", "*A", "remote-address")
        assert await device.run("/radius/incoming/monitor", {"once": ""}) == [{"requests": "3"}, {"requests": "4"}]
        assert await device.run("/x/y", {}) == [{"ret": "done"}]
        assert await device.print("/ppp/active", columns=["name"]) == []
        assert device.last_ms is not None
        assert 0 < device.last_ms < 1000
    assert talks[0].heard[1:] == [
        [b"/ppp/secret/set", b"=.id=*a0", b"=disabled=yes"],
        [b"/radius/incoming/set", b"=accept=yes"],
        [b"/ppp/secret/unset", b"=.id=*A", b"=value-name=remote-address"],
        [b"/radius/incoming/monitor", b"=once="],
        [b"/x/y"],
        [b"/ppp/active/print", b"=.proplist=name"],
    ]


@pytest.mark.parametrize("id", ["", "*", "*1,*2", "ether1", "*g"])
async def test_an_item_is_named_by_one_id(id: str) -> None:
    async def script(talk: Talk) -> None:
        await talk.log_in()
        await talk.reader.read()

    async with router(script) as (address, talks), connect(address) as device:
        with pytest.raises(ValueError, match="not an id"):
            await device.remove("/ppp/secret", id)
        with pytest.raises(ValueError, match="no property"):
            await device.set("/ppp/secret", "*1", {"name=x": "y"})
    assert len(talks[0].heard) == 1


REFUSALS = [
    ("failure: secret with the same name already exists", None, Refusal.ALREADY_EXISTS),
    ("failure: already have user with this name for this server", "4", Refusal.ALREADY_EXISTS),
    ("failure: already have such address", None, Refusal.ALREADY_EXISTS),
    ("failure: entry already exists", None, Refusal.ALREADY_EXISTS),
    ("no such item", "0", Refusal.NO_SUCH_ITEM),
    ("no such item (4)", None, Refusal.NO_SUCH_ITEM),
    ("input does not match any value of profile", "1", Refusal.INVALID_VALUE),
    ("invalid value for argument remote-address", None, Refusal.INVALID_VALUE),
    ("something new about a value", "1", Refusal.INVALID_VALUE),
    ("unknown parameter disabeld", "1", Refusal.UNKNOWN_PARAMETER),
    ("no such command prefix", "0", Refusal.UNKNOWN_COMMAND),
    ("no such command", "0", Refusal.UNKNOWN_COMMAND),
    ("not enough permissions (9)", None, Refusal.NOT_PERMITTED),
    ("invalid user name or password (6)", None, Refusal.BAD_LOGIN),
    ("interrupted", "2", Refusal.OTHER),
    ("failure: not enough space on disk", "x", Refusal.OTHER),
    ("", None, Refusal.OTHER),
]


@pytest.mark.parametrize(("said", "category", "kind"), REFUSALS)
async def test_refusals_are_recognised_and_leave_the_connection_good(
    said: str, category: str | None, kind: Refusal
) -> None:
    async def script(talk: Talk) -> None:
        await talk.log_in()
        await talk.hear()
        # An attribute that nobody foresaw is no reason to fall over.
        more = ["=category=" + category] if category else []
        talk.say("!trap", *more, f"=message={said}\r\n", "=where=elsewhere")
        talk.say("!done")
        await talk.hear()
        talk.say("!re", "=name=lab")
        talk.say("!done")

    async with router(script) as (address, _), connect(address) as device:
        with pytest.raises(Refused) as caught:
            await device.set("/ppp/secret", "*1", {"name": "x"})
        assert (caught.value.kind, caught.value.message) == (kind, said)
        assert caught.value.category == (int(category) if category and category.isdecimal() else None)
        assert not caught.value.outcome_unknown
        assert await device.print("/system/identity", columns=["name"]) == [{"name": "lab"}]


async def test_removing_what_is_not_there_is_as_good() -> None:
    async def script(talk: Talk) -> None:
        await talk.log_in()
        for message in ("no such item", None, "failure: cannot remove dynamic item"):
            await talk.hear()
            if message:
                talk.say("!trap", f"=message={message}")
            talk.say("!done")

    async with router(script) as (address, _), connect(address) as device:
        assert await device.remove("/ppp/active", "*1") is False
        assert await device.remove("/ppp/active", "*1") is True
        with pytest.raises(Refused, match="dynamic"):
            await device.remove("/ppp/active", "*1")


async def test_several_traps_are_told_together() -> None:
    async def script(talk: Talk) -> None:
        await talk.log_in()
        await talk.hear()
        talk.say("!trap", "=message=unknown parameter a")
        talk.say("!trap", "=message=no such item")
        talk.say("!done")

    async with router(script) as (address, _), connect(address) as device:
        with pytest.raises(Refused) as caught:
            await device.set("/ppp/secret", "*1", {"a": "b"})
    assert (caught.value.kind, caught.value.message) == (
        Refusal.UNKNOWN_PARAMETER,
        "unknown parameter a; no such item",
    )


async def test_what_the_router_says_is_made_fit_to_show() -> None:
    async def script(talk: Talk) -> None:
        await talk.log_in()
        await talk.hear()
        talk.say("!trap", "=message=failure:\x00 password s3cret-of-anna\x1b[2J is bad " + "x" * 5000)
        talk.say("!done")

    async with router(script) as (address, _), connect(address) as device:
        with pytest.raises(Refused) as caught:
            await device.add("/ppp/secret", {"name": "anna", "password": "s3cret-of-anna"})
    assert caught.value.message.startswith("failure: password *** [2J is bad xxx")
    assert len(caught.value.message) == 300


async def _lost(device, kind: type[AdapterError], *, unknown: bool = True) -> AdapterError:  # type: ignore[no-untyped-def]
    """The command fails in this way, and the connection is of no use afterwards."""
    with pytest.raises(kind) as caught:
        await device.add("/ppp/secret", {"name": "x"})
    assert type(caught.value) is kind
    assert caught.value.outcome_unknown is unknown
    with pytest.raises(Unreachable, match="gone") as after:
        await device.print("/ppp/secret", columns=["name"])
    assert not after.value.outcome_unknown
    return caught.value


def _tagged(*words: str | bytes) -> bytes:
    # The login had tag 1.
    return sentence(*words, ".tag=2")


NONSENSE = {
    "0xFF": b"\xff\xff\xff",
    "five bytes of length": b"\xf0\x00\x00\x00\x05!done\x00",
    "a word past every bound": b"\xef\xff\xff\xff",
    "no such reply": _tagged("!what"),
    "not a reply": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n" + b"x" * 200,
    "not an attribute": _tagged("!re", "name=x") + _tagged("!done"),
    "an answer to something else": sentence("!done", ".tag=1"),
    "an answer to nothing": sentence("!re", "=name=x") + sentence("!done", "=ret=*1"),
    "added, but what": _tagged("!done"),
    "closed in a word": b"\x05!don",
    "closed in a sentence": b"\x05!done",
    "closed between sentences": _tagged("!re", "=name=x"),
    "closed at once": b"",
    "fatal": sentence("!fatal", "session terminated on request"),
    "fatal without a reason": sentence("!fatal"),
    "trap, and then gone": _tagged("!trap", "=message=no such item"),
}


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE.keys())
async def test_nonsense_is_a_bad_reply_and_the_connection_is_dropped(answer: bytes) -> None:
    async def script(talk: Talk) -> None:
        await talk.log_in()
        await talk.hear()
        talk.writer.write(answer)

    async with router(script) as (address, _), connect(address) as device:
        error = await _lost(device, BadReply)
    if b"!fatal" in answer:
        assert "ended the conversation" in error.text
    if b"terminated" in answer:
        assert "session terminated on request" in error.text


async def test_a_reset_in_the_middle_leaves_the_outcome_unknown() -> None:
    async def script(talk: Talk) -> None:
        await talk.log_in()
        await talk.hear()
        talk.say("!re", "=name=x")
        await talk.writer.drain()
        await asyncio.sleep(0.05)
        talk.reset()

    async with router(script) as (address, _), connect(address) as device:
        await _lost(device, BadReply)


@pytest.mark.parametrize("reset", [False, True])
async def test_a_connection_that_ended_while_idle_is_known_before_anything_is_sent(reset: bool) -> None:
    async def script(talk: Talk) -> None:
        await talk.log_in()
        await talk.writer.drain()
        await asyncio.sleep(0.05)
        if reset:
            talk.reset()

    async with router(script) as (address, _), connect(address) as device:
        await asyncio.sleep(0.2)
        await _lost(device, Unreachable, unknown=False)


async def test_what_came_late_is_not_taken_for_the_next_answer() -> None:
    async def script(talk: Talk) -> None:
        await talk.log_in()
        await talk.hear()
        talk.say("!done", "=ret=*1")
        talk.say("!done", "=ret=*1")
        await talk.hear()
        talk.say("!done", "=ret=*2")

    async with router(script) as (address, _), connect(address) as device:
        assert await device.add("/ppp/secret", {"name": "x"}) == "*1"
        await _lost(device, BadReply)


async def test_the_deadline_holds_against_silence_and_against_dripping() -> None:
    async def silent(talk: Talk) -> None:
        await talk.log_in()
        await talk.reader.read()

    async def dripping(talk: Talk) -> None:
        await talk.log_in()
        await talk.hear()
        for byte in _tagged("!re", "=name=" + "x" * 1000):
            talk.writer.write(bytes([byte]))
            await talk.writer.drain()
            await asyncio.sleep(0.05)

    for script in (silent, dripping):
        async with router(script) as (address, _), connect(address, command_deadline=0.4) as device:
            begun = asyncio.get_running_loop().time()
            await _lost(device, TimedOut)
            assert 0.35 < asyncio.get_running_loop().time() - begun < 2


async def test_the_deadline_holds_while_the_router_reads_nothing() -> None:
    async def script(talk: Talk) -> None:
        await talk.log_in()
        talk.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(5)

    async with router(script) as (address, _), connect(address, command_deadline=0.4) as device:
        with pytest.raises(TimedOut):
            await device.run("/x", {str(number): "x" * 1_000_000 for number in range(20)})


async def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(talk: Talk) -> None:
        await talk.log_in()
        await talk.hear()
        while True:
            talk.say("!re", "=name=" + "x" * 10_000)
            await talk.writer.drain()

    monkeypatch.setattr("ispgraph.adapters.routeros._LONGEST_REPLY", 2_000_000)
    async with router(script) as (address, _), connect(address) as device:
        error = await _lost(device, BadReply)
    assert "longer" in error.text


async def test_a_command_given_up_by_its_caller_spoils_the_connection() -> None:
    async def script(talk: Talk) -> None:
        await talk.log_in()
        await talk.reader.read()

    async with router(script) as (address, _), connect(address) as device:
        task = asyncio.create_task(device.print("/ppp/secret", columns=["name"]))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(Unreachable):
            await device.print("/ppp/secret", columns=["name"])


async def test_tasks_take_turns() -> None:
    async def script(talk: Talk) -> None:
        await talk.log_in()
        for _ in range(20):
            words = await talk.hear()
            await asyncio.sleep(0)
            talk.say("!re", words[-1].removeprefix(b"?"))
            talk.say("!done")

    async with router(script) as (address, _), connect(address) as device:
        answers = await asyncio.gather(
            *(device.print("/x", where={"name": str(number)}, columns=["name"]) for number in range(20))
        )
    assert answers == [[{"name": str(number)}] for number in range(20)]


async def test_a_bad_login() -> None:
    async def script(talk: Talk) -> None:
        await talk.hear()
        talk.say("!trap", "=message=invalid user name or password (6)")
        talk.say("!done")

    async with router(script) as (address, _):
        with pytest.raises(Refused) as caught:
            async with connect(address):
                pass
    assert caught.value.kind is Refusal.BAD_LOGIN


async def test_the_challenge_of_old_versions_is_not_a_login() -> None:
    async def script(talk: Talk) -> None:
        await talk.hear()
        talk.say("!done", "=ret=" + "0f" * 16)

    async with router(script) as (address, _):
        with pytest.raises(Refused, match=r"6\.43"):
            async with connect(address):
                pass


async def _enter(address: Address, deadline: float) -> None:
    async with connect(address, deadline=deadline):
        pass


async def _fails(address: Address, kind: type[AdapterError], deadline: float = 5) -> AdapterError:
    with pytest.raises(kind) as caught:
        await _enter(address, deadline)
    assert type(caught.value) is kind
    assert not caught.value.outcome_unknown
    assert PASSWORD not in caught.value.text
    return caught.value


async def test_nobody_there() -> None:
    async with router(Talk.log_in) as (address, _):
        pass
    error = await _fails(address, Unreachable)
    assert "Connection refused" in error.text
    error = await _fails(dataclasses.replace(address, host="no.such.host.invalid"), Unreachable)
    assert "no.such.host.invalid port" in error.text


@pytest.mark.parametrize("how", ["accepts and hangs", "hangs at the login", "drips at the login"])
async def test_the_deadline_of_connecting(how: str) -> None:
    async def script(talk: Talk) -> None:
        if how != "accepts and hangs":
            await talk.hear()
        if how == "drips at the login":
            for byte in sentence("!done", "=x=" + "y" * 100):
                talk.writer.write(bytes([byte]))
                await asyncio.sleep(0.05)
        await talk.reader.read()

    async with router(script) as (address, _):
        begun = asyncio.get_running_loop().time()
        await _fails(address, TimedOut, deadline=0.4)
        assert 0.35 < asyncio.get_running_loop().time() - begun < 2


async def test_closed_or_talking_nonsense_before_we_are_in() -> None:
    async def closes(talk: Talk) -> None:
        await asyncio.sleep(0)

    async def resets(talk: Talk) -> None:
        await talk.hear()
        talk.reset()

    async def greets(talk: Talk) -> None:
        talk.writer.write(b"220 mail.example.net ESMTP ready when you are, and more to come\r\n" * 3)
        await talk.reader.read()

    async def fatal(talk: Talk) -> None:
        await talk.hear()
        talk.writer.write(sentence("!fatal", "too many commands before login"))

    for script, kind in ((closes, Unreachable), (resets, Unreachable), (greets, BadReply), (fatal, BadReply)):
        async with router(script) as (address, _):
            await _fails(address, kind)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    """A router's self-signed certificate and its fingerprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab router")])
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(day)
        .not_valid_after(day + datetime.timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    path: Path = tmp_path_factory.mktemp("tls") / "router.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context, hashlib.sha256(signed.public_bytes(serialization.Encoding.DER)).hexdigest()


async def _one_command(talk: Talk) -> None:
    await talk.log_in()
    await talk.hear()
    talk.say("!re", "=name=lab")
    talk.say("!done")


async def test_tls_with_a_pinned_certificate(certificate: tuple[ssl.SSLContext, str]) -> None:
    context, fingerprint = certificate
    colons = ":".join(fingerprint[place : place + 2] for place in range(0, 64, 2)).upper()
    async with router(_one_command, context) as (address, _):
        for shape in (fingerprint, colons):
            async with connect(dataclasses.replace(address, fingerprint=shape)) as device:
                assert await device.print("/system/identity", columns=["name"]) == [{"name": "lab"}]


@pytest.mark.parametrize("pin", ["00" * 32, "", None])
async def test_tls_with_another_certificate_sends_no_password(
    certificate: tuple[ssl.SSLContext, str], pin: str | None
) -> None:
    context, fingerprint = certificate
    heard = []

    async def script(talk: Talk) -> None:
        heard.append(await talk.reader.read())

    async with router(script, context) as (address, _):
        error = await _fails(dataclasses.replace(address, fingerprint=pin), Refused)
        assert isinstance(error, Refused)
        assert error.kind is Refusal.UNTRUSTED
        assert pin is None or fingerprint in error.text
        await asyncio.sleep(0.05)
    assert heard in ([], [b""])


async def test_tls_where_there_is_none(certificate: tuple[ssl.SSLContext, str]) -> None:
    async def plain(talk: Talk) -> None:
        await talk.reader.read(1)
        talk.say("!fatal", "no")

    async def hangs(talk: Talk) -> None:
        await asyncio.sleep(5)

    async with router(plain) as (address, _):
        error = await _fails(dataclasses.replace(address, tls=True, fingerprint="ab" * 32), BadReply)
        assert "TLS" in error.text
    async with router(hangs) as (address, _):
        await _fails(dataclasses.replace(address, tls=True, fingerprint="ab" * 32), TimedOut, deadline=0.4)
    # A router without a certificate offers only key exchanges without one, which we do not take.
    without = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    async with router(hangs, without) as (address, _):
        with pytest.raises((BadReply, Unreachable), match=r"TLS|closed"):
            await _enter(dataclasses.replace(address, tls=True, fingerprint="ab" * 32), 5)


async def test_nothing_secret_is_logged_or_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def script(talk: Talk) -> None:
        await talk.log_in()
        await talk.hear()
        talk.say("!re", "=password=s3cret-of-anna")
        talk.say("!done")

    async with router(script) as (address, _), connect(address) as device:
        assert await device.print("/ppp/secret", columns=["password"]) == [{"password": "s3cret-of-anna"}]
    assert PASSWORD not in repr(address)
    assert USER in repr(address)
    assert PASSWORD not in caplog.text
    assert "s3cret" not in caplog.text


async def test_fifty_that_hang_do_not_delay_another() -> None:
    async def hangs(talk: Talk) -> None:
        await talk.reader.read()

    async def attempt(address: Address) -> None:
        with pytest.raises(TimedOut):
            async with connect(address, deadline=1):
                pass

    pauses = []

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.005)
            pauses.append(loop.time() - before - 0.005)

    async with router(hangs) as (dead, _), router(_one_command) as (alive, _):
        watching = asyncio.create_task(watch())
        hanging = [asyncio.create_task(attempt(dead)) for _ in range(50)]
        await asyncio.sleep(0.1)
        begun = asyncio.get_running_loop().time()
        async with connect(alive) as device:
            await device.print("/system/identity", columns=["name"])
        taken = asyncio.get_running_loop().time() - begun
        assert not any(task.done() for task in hanging)
        await asyncio.gather(*hanging)
        watching.cancel()
    assert taken < 0.2
    assert len(pauses) > 50
    assert max(pauses) < 0.2


async def test_a_large_answer_lets_others_in_between() -> None:
    rows = 20_000
    row = b"!re", b"=.id=*1", b"=name=anna", b"=profile=default", b"=comment=somewhere"

    async def script(talk: Talk) -> None:
        await talk.log_in()
        await talk.hear()
        # All of it is on its way before anything is read.
        talk.writer.write(sentence(*row, talk.tag) * rows)
        talk.say("!done")
        await talk.writer.drain()

    longest = 0.0

    async def watch() -> None:
        # Time of this process: what others do on the machine is not the point.
        nonlocal longest
        while True:
            before = time.process_time()
            await asyncio.sleep(0.001)
            longest = max(longest, time.process_time() - before)

    async with router(script) as (address, _), connect(address) as device:
        watching = asyncio.create_task(watch())
        assert len(await device.print("/ppp/secret", columns=["name"])) == rows
        watching.cancel()
    assert longest < 0.2
