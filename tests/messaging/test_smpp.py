"""SMPP against a public implementation of a message centre."""

import asyncio
import json
import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ispgraph.adapters import outbound
from ispgraph.adapters.carriers import Carrier, Fate, Forged, Report, open_carrier
from ispgraph.adapters.errors import BadReply, Refusal, Refused, TimedOut, Unreachable
from ispgraph.adapters.sms import smpp
from ispgraph.up.ports import free_port
from tests.messaging.accounts import account, letter

SCRIPT = Path(__file__).with_name("smsc.mjs")
USER, PASSWORD = "north", "pa55word"
needs_npm = [
    pytest.mark.npm,
    pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js"),
    pytest.mark.skipif(
        not (SCRIPT.parents[1] / "lab/npm/node_modules/smpp").exists(), reason="needs npm ci in tests/lab/npm"
    ),
]


class Centre:
    """The message centre, and what it has said so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: list[dict[str, Any]] = []
        self.port = 0

    async def next(self, event: str, seconds: float = 5) -> dict[str, Any]:
        """What it says of this kind from now on."""
        assert self._process.stdout is not None
        while True:
            line = await asyncio.wait_for(self._process.stdout.readline(), seconds)
            assert line, "it has ended"
            self.said.append(json.loads(line))
            if self.said[-1]["event"] == event:
                return self.said[-1]

    async def order(self, **order: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()
        await self.next("done")

    def submitted(self) -> list[dict[str, Any]]:
        return [each for each in self.said if each["event"] == "submit"]


@asynccontextmanager
async def running() -> AsyncIterator[Centre]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("node", str(SCRIPT), USER, PASSWORD, stdin=pipe, stdout=pipe)
    centre = Centre(process)
    try:
        centre.port = (await centre.next("ready", 20))["port"]
        yield centre
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


@pytest.fixture
async def centre() -> AsyncIterator[Centre]:
    async with running() as made:
        yield made


@pytest.fixture
async def carriers(client: outbound.Client, centre: Centre) -> AsyncIterator["Carriers"]:
    made = Carriers(client, centre)
    yield made
    for each in made.opened:
        await each.close()


class Carriers:
    def __init__(self, client: outbound.Client, centre: Centre) -> None:
        self._client, self._centre = client, centre
        self.opened: list[Carrier] = []

    def __call__(self, **changed: str) -> Carrier:
        given = {
            "host": "127.0.0.1",
            "port": str(self._centre.port),
            "system_id": USER,
            "password": PASSWORD,
            "system_type": "ISP",
            "sender": "NORTH",
        }
        self.opened.append(open_carrier(account("smpp", **(given | changed)), self._client))
        return self.opened[-1]


pytestmark = needs_npm


async def heard(carrier: Carrier, seconds: float = 3) -> list[Report]:
    """The next reports, waited for as a worker does."""
    for _ in range(int(seconds / 0.05)):
        if found := await carrier.reports():
            return found
        await asyncio.sleep(0.05)
    return []


NASTY = "Déjà {vu} [1] €5 @home\nÜber 100%_"


async def test_a_message_arrives_as_it_is(centre: Centre, carriers: Carriers) -> None:
    carrier = carriers()
    texts = ["Hello", "@", NASTY, "বাংলা 🎉 with emoji"]
    for text in texts:
        accepted = await carrier.send(letter(body=text))
        got = await centre.next("submit")
        assert (got["text"], got["id"]) == (text, accepted.provider_reference)
        assert accepted.segments == 1
        assert (got["to"], got["from"], got["ton"]) == ("8801712345678", "NORTH", [5, 1])
        assert (got["coding"], got["esm"], got["udh"]) == (8 if "🎉" in text else 0, 0, None)
        assert got["registered"] == 1
    assert [each["system"] for each in centre.said if each["event"] == "bind"] == ["ISP"]
    with pytest.raises(Forged):
        carrier.reported("POST", {}, {}, b"")


async def test_senders_that_are_numbers(centre: Centre, carriers: Carriers) -> None:
    carrier = carriers()
    for sender, shown, kind in (("+8801812345678", "8801812345678", 1), ("2929", "2929", 0)):
        await carrier.send(letter(sender=sender))
        got = await centre.next("submit")
        assert (got["from"], got["ton"][0]) == (shown, kind)


@pytest.mark.parametrize(
    ("text", "parts", "coding"),
    [
        ("a" * 160, [160], 0),
        ("a" * 161, [153, 8], 0),
        # The sign that takes two octets is not cut in two.
        ("a" * 152 + "€" + "b" * 10, [152, 11], 0),
        ("ক" * 70, [70], 8),
        ("ক" * 71, [67, 4], 8),
        # Nor is a character of two halves.
        ("ক" * 66 + "🎉" + "ক" * 10, [66, 11], 8),
    ],
)
async def test_long_messages_are_joined(
    centre: Centre, carriers: Carriers, text: str, parts: list[int], coding: int
) -> None:
    accepted = await carriers().send(letter(body=text))
    got = [await centre.next("submit") for _ in parts]
    assert "".join(each["text"] for each in got) == text
    assert [len(each["text"]) for each in got] == parts
    assert {each["coding"] for each in got} == {coding}
    assert (accepted.provider_reference, accepted.segments) == (got[0]["id"], len(parts))
    if len(parts) > 1:
        headers = [bytes.fromhex(each["udh"]) for each in got]
        assert {each["esm"] for each in got} == {0x40}
        assert {header[-3] for header in headers} == {headers[0][-3]}
        assert [tuple(header[-2:]) for header in headers] == [(len(parts), 1), (len(parts), 2)]


async def test_receipts(centre: Centre, carriers: Carriers) -> None:
    carrier = carriers()
    named = (await carrier.send(letter())).provider_reference
    assert named is not None
    assert await carrier.reports() == []
    for stat, err, fate, reason in (
        ("ENROUTE", "000", Fate.SENT, None),
        ("DELIVRD", "000", Fate.DELIVERED, None),
        ("UNDELIV", "011", Fate.FAILED, "UNDELIV, error 011"),
        ("EXPIRED", "000", Fate.FAILED, "EXPIRED"),
    ):
        await centre.order(receipt={"id": named, "stat": stat, "err": err})
        assert await heard(carrier) == [Report(named, None, fate, reason)]
        assert (await centre.next("acknowledged"))["status"] == 0
    # In two halves of TCP, and between other things.
    await centre.order(speak="STOP")
    await centre.order(enquire=True)
    await centre.order(receipt={"id": named, "stat": "DELIVRD"}, split=True)
    assert await heard(carrier) == [Report(named, None, Fate.DELIVERED, None)]
    await centre.next("alive")
    # While a message is handed over as well.
    await centre.order(receipt={"id": named, "stat": "DELIVRD"})
    await carrier.send(letter())
    assert await heard(carrier) == [Report(named, None, Fate.DELIVERED, None)]


async def test_a_message_in_parts_has_arrived_when_all_of_them_have(centre: Centre, carriers: Carriers) -> None:
    carrier = carriers()
    whole = (await carrier.send(letter(body="a" * 400))).provider_reference
    parts = [(await centre.next("submit"))["id"] for _ in range(3)]
    assert whole == parts[0]
    for part in parts[:2]:
        await centre.order(receipt={"id": part, "stat": "DELIVRD"})
        assert await heard(carrier, 0.3) == []
        await centre.next("acknowledged")
    await centre.order(receipt={"id": parts[2], "stat": "DELIVRD"})
    assert await heard(carrier) == [Report(whole, None, Fate.DELIVERED, None)]
    other = (await carrier.send(letter(body="a" * 200))).provider_reference
    parts = [(await centre.next("submit"))["id"] for _ in range(2)]
    await centre.order(receipt={"id": parts[1], "stat": "UNDELIV"})
    assert await heard(carrier) == [Report(other, None, Fate.FAILED, "UNDELIV")]


async def test_numbers_that_are_answered_in_hexadecimal(
    centre: Centre, carriers: Carriers, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier: Any = carriers(message_ids="hexadecimal")
    assert carrier._named("1f") == "31"
    # This centre's are no numbers at all, and stay as they are.
    assert (await carrier.send(letter())).provider_reference == "m-1"


async def test_a_wrong_login(centre: Centre, carriers: Carriers, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for changed in ({"password": "wr0ngpwd"}, {"system_id": "south"}):
        with pytest.raises(Refused) as refused:
            await carriers(**changed).send(letter())
        assert refused.value.kind is Refusal.BAD_LOGIN
        assert "wr0ng" not in repr(refused.value)
    assert "wr0ng" not in caplog.text
    assert b"wr0ngpwd".hex() not in caplog.text


async def test_what_the_centre_refuses(centre: Centre, carriers: Carriers) -> None:
    carrier = carriers()
    with pytest.raises(Refused, match="0x0B"):
        await carrier.send(letter(to="+12"))
    await centre.order(mode="throttle")
    with pytest.raises(Unreachable, match="0x58") as busy:
        await carrier.send(letter())
    assert not busy.value.outcome_unknown
    await centre.order(mode="calm")
    # The connection is the same.
    await carrier.send(letter())
    assert [each["good"] for each in centre.said if each["event"] == "bind"] == [True]
    with pytest.raises(Refused) as long:
        await carrier.send(letter(body="a" * 40_000))
    assert long.value.kind is Refusal.INVALID_VALUE


async def test_when_the_centre_is_lost_the_outcome_is_unknown_and_the_next_message_goes(
    centre: Centre, carriers: Carriers, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = carriers()
    await centre.order(mode="drop")
    with pytest.raises(BadReply) as lost:
        await carrier.send(letter())
    assert lost.value.outcome_unknown
    monkeypatch.setattr(smpp, "ANSWER_SECONDS", 0.5)
    await centre.order(mode="hang")
    with pytest.raises(TimedOut) as late:
        await carrier.send(letter())
    assert late.value.outcome_unknown
    monkeypatch.setattr(smpp, "ANSWER_SECONDS", 5.0)
    await centre.order(mode="calm")
    named = (await carrier.send(letter())).provider_reference
    await centre.next("submit")
    # Lost while nothing was asked: whoever listens notices, and listens on another connection.
    await centre.order(kick=True)
    for _ in range(3):
        with suppress(Unreachable):
            assert await carrier.reports() == []
    await centre.order(receipt={"id": named, "stat": "DELIVRD"})
    assert await heard(carrier) == [Report(named, None, Fate.DELIVERED, None)]


async def test_half_a_message_is_told(centre: Centre, carriers: Carriers) -> None:
    carrier = carriers()
    await carrier.send(letter())
    sending = asyncio.create_task(carrier.send(letter(body="a" * 20_000)))
    await centre.next("submit")
    await centre.next("submit")
    await centre.order(mode="throttle")
    with pytest.raises(BadReply, match="of 131 parts") as half:
        await sending
    assert half.value.outcome_unknown


async def test_who_gives_up_leaves_no_answer_behind(centre: Centre, carriers: Carriers) -> None:
    carrier = carriers()
    await centre.order(mode="hang")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.4):
            await carrier.send(letter(body="first"))
    await centre.order(mode="calm")
    accepted = await carrier.send(letter(body="second"))
    assert [(each["text"], each["id"]) for each in centre.submitted()][:1] == [("first", "m-1")]
    assert accepted.provider_reference == "m-2"


async def test_a_silence_is_broken(centre: Centre, carriers: Carriers, monkeypatch: pytest.MonkeyPatch) -> None:
    carrier = carriers()
    await carrier.send(letter())
    monkeypatch.setattr(smpp, "_IDLE_SECONDS", 0.0)
    assert await carrier.reports() == []
    await centre.next("enquired")


async def test_taking_leave(centre: Centre, client: outbound.Client, carriers: Carriers) -> None:
    carrier = carriers()
    await carrier.send(letter())
    await carrier.close()
    await centre.next("unbind")
    await centre.next("closed")


async def test_many_at_once_take_turns(centre: Centre, carriers: Carriers) -> None:
    carrier = carriers()
    accepted = await asyncio.gather(*(carrier.send(letter(body=f"number {number}")) for number in range(30)))
    got = {(each := await centre.next("submit"))["text"]: each["id"] for _ in range(30)}
    assert [each.provider_reference for each in accepted] == [got[f"number {number}"] for number in range(30)]


async def test_a_centre_that_is_not_there(client: outbound.Client) -> None:
    login = {"host": "127.0.0.1", "port": str(free_port()), "system_id": USER, "password": PASSWORD}
    carrier = open_carrier(account("smpp", **login), client)
    with pytest.raises(Unreachable, match="refused"):
        await carrier.send(letter())
    # Not at once again, and nobody who listens is told twice.
    with pytest.raises(Unreachable, match="a moment ago") as again:
        await carrier.send(letter())
    assert not again.value.outcome_unknown
    assert await carrier.reports() == []
    inside = open_carrier(account("smpp", **login), outbound.client(private=False))
    with pytest.raises(Refused):
        await inside.send(letter())
