"""Twilio, Vonage, Africa's Talking and SSL Wireless, against their doubles."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from ispgraph.adapters import outbound
from ispgraph.adapters.carriers import Accepted, Carrier, Fate, Forged, open_carrier
from ispgraph.adapters.errors import AdapterError, BadReply, Refusal, Refused, TimedOut, Unreachable
from ispgraph.adapters.sms import twilio, vonage
from ispgraph.adapters.sms.africas_talking_double import AfricasTalkingDouble
from ispgraph.adapters.sms.double import Double, Weather, serve
from ispgraph.adapters.sms.ssl_wireless import short_reference
from ispgraph.adapters.sms.ssl_wireless_double import SslWirelessDouble
from ispgraph.adapters.sms.twilio_double import TwilioDouble
from ispgraph.adapters.sms.vonage_double import VonageDouble
from tests.messaging.accounts import account, letter
from tests.messaging.listener import Heard, listener

SECRET = "s3cret & long"
LOGINS: dict[str, dict[str, str]] = {
    "twilio": {"account_sid": "AC" + "0" * 32, "auth_token": "token-of-the-double", "sender": "+15005550006"},
    "vonage": {
        "api_key": "abcd1234",
        "api_secret": "secret-of-the-double",
        "sender": "NORTH",
        "signature_secret": "signature-of-the-double",
        "signature_method": "sha256",
    },
    "africas_talking": {
        "username": "sandbox",
        "api_key": "key-of-the-double",
        "sender": "NORTH",
        "report_secret": SECRET,
    },
    "ssl_wireless": {"api_token": "token-of-the-double", "sid": "NORTHNET"},
}
DOUBLES: dict[str, Callable[[], Double]] = {
    "twilio": TwilioDouble,
    "vonage": VonageDouble,
    "africas_talking": AfricasTalkingDouble,
    "ssl_wireless": SslWirelessDouble,
}
HIDDEN = {
    "twilio": "auth_token",
    "vonage": "api_secret",
    "africas_talking": "api_key",
    "ssl_wireless": "api_token",
}


@dataclass
class Line:
    """An account, its double, and what the double would call back."""

    double: Any
    carrier: Carrier


@asynccontextmanager
async def line(provider: str, client: outbound.Client, **changed: str) -> AsyncIterator[Line]:
    double = DOUBLES[provider]()
    async with serve(double) as base:
        yield Line(double, open_carrier(account(provider, **(LOGINS[provider] | {"base_url": base} | changed)), client))


NASTY = "Déjà & more=1+%20\n{x} বাংলা 🎉"


@pytest.mark.parametrize("provider", LOGINS)
async def test_a_message_arrives_as_it_is(provider: str, client: outbound.Client) -> None:
    async with line(provider, client) as on:
        accepted = await on.carrier.send(letter(body=NASTY))
        [taken] = on.double.taken
        assert taken.body == NASTY
        assert taken.to.removeprefix("+") == "8801712345678"
        assert accepted == Accepted(taken.id, None if provider == "ssl_wireless" else 1)
        assert await on.carrier.reports() == []
        await on.carrier.close()


@pytest.mark.parametrize("provider", LOGINS)
async def test_a_wrong_login_is_told_without_its_secret(provider: str, client: outbound.Client) -> None:
    async with line(provider, client, **{HIDDEN[provider]: "wr0ng-secret"}) as on:
        with pytest.raises(Refused) as refused:
            await on.carrier.send(letter())
        assert refused.value.kind is Refusal.BAD_LOGIN
        assert "wr0ng" not in repr(refused.value)
        assert not refused.value.outcome_unknown
        assert on.double.taken == []


@pytest.mark.parametrize("provider", LOGINS)
@pytest.mark.parametrize(
    ("weather", "kind", "done"), [(Weather.BROKEN, BadReply, 0), (Weather.RESET_AFTER, BadReply, 1)]
)
async def test_in_bad_weather_the_outcome_is_unknown(
    provider: str, client: outbound.Client, weather: Weather, kind: type[AdapterError], done: int
) -> None:
    async with line(provider, client) as on:
        on.double.weather = weather
        with pytest.raises(kind) as raised:
            await on.carrier.send(letter())
        assert raised.value.outcome_unknown
        assert len(on.double.taken) == done


async def test_one_that_never_answers_is_given_up(client: outbound.Client) -> None:
    async with line("twilio", client) as on:
        on.double.weather = Weather.HANGS_AFTER
        with pytest.raises(TimedOut) as raised:
            await on.carrier.send(letter())
        assert raised.value.outcome_unknown
        assert len(on.double.taken) == 1


@pytest.mark.parametrize("provider", LOGINS)
async def test_a_number_that_is_none_is_refused(provider: str, client: outbound.Client) -> None:
    async with line(provider, client) as on:
        with pytest.raises(Refused) as refused:
            await on.carrier.send(letter(to="+12"))
        assert refused.value.kind is Refusal.OTHER
        assert on.double.taken == []


async def test_other_senders_and_other_refusals(client: outbound.Client) -> None:
    async with line("twilio", client) as on:
        with pytest.raises(Refused, match="not a valid, SMS-capable"):
            await on.carrier.send(letter(sender="+15550000000"))
        with pytest.raises(Refused, match="1600 character limit"):
            await on.carrier.send(letter(body="x" * 1601))
    async with line("vonage", client) as on:
        assert (await on.carrier.send(letter(body="x" * 161))).segments == 2
        on.double.throttled = True
        with pytest.raises(Unreachable) as busy:
            await on.carrier.send(letter())
        assert not busy.value.outcome_unknown
    async with line("africas_talking", client) as on:
        with pytest.raises(Refused, match="InvalidSenderId"):
            await on.carrier.send(letter(sender="SOUTH"))
        on.double.credit = 0
        with pytest.raises(Refused, match="InsufficientBalance"):
            await on.carrier.send(letter())
    async with line("ssl_wireless", client) as on:
        long = "0123456789abcdef0123456789abcdef"
        await on.carrier.send(letter(reference=long))
        assert on.double.taken[0].given["csms_id"] == short_reference(long)
        assert len(short_reference(long)) == 20
        assert short_reference(long) != short_reference(long[:-1] + "0")
        with pytest.raises(Refused, match="duplicate"):
            await on.carrier.send(letter(reference=long))
        with pytest.raises(Forged):
            on.carrier.reported("POST", {}, {}, b"")


# -- reports


@pytest.fixture
async def ear() -> AsyncIterator[Heard]:
    async with listener() as heard:
        yield heard


async def test_reports_of_twilio(client: outbound.Client, ear: Heard) -> None:
    async with line("twilio", client) as on:
        path = "/delivery/00000000000000000000000000000001/00000000000000000000000000000002"
        await on.carrier.send(letter(report_url=ear.base + path))
        [taken] = on.double.taken
        for status, error, fate in (
            ("sent", None, Fate.SENT),
            ("delivered", None, Fate.DELIVERED),
            ("undelivered", 30003, Fate.FAILED),
        ):
            await on.double.report(taken, status, error)
            [report] = on.carrier.reported(*ear.last)
            assert (report.provider_reference, report.fate) == (taken.id, fate)
            assert report.reason == (f"Twilio's error {error}" if error else None)
        method, query, headers, body = ear.last
        for changed in (
            (method, query, headers, body.replace(b"undelivered", b"delivered")),
            (method, query, headers, body + b"&Extra=1"),
            (method, {"a": "b"}, headers, body),
            (method, query, headers | {"x-twilio-signature": ""}, body),
            (method, query, headers | {"x-twilio-signature": "ü"}, body),
            (method, query, {}, body),
        ):
            with pytest.raises(Forged):
                on.carrier.reported(*changed)
        await on.double.report(taken, "delivered", token="another")
        with pytest.raises(Forged):
            on.carrier.reported(*ear.last)


def test_the_published_signature_of_twilio() -> None:
    """The example of its documentation: https://www.twilio.com/docs/usage/security"""
    form = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    expected = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    assert twilio.signature("12345", url, form.items()) == expected
    carrier = open_carrier(
        account("twilio", account_sid="AC1", auth_token="12345"),
        outbound.client(private=True),
        report_url="https://mycompany.com/myapp.php",
    )
    query, body = {"foo": "1", "bar": "2"}, urlencode(form).encode()
    # It is about a call, and so no report: but the signature is right.
    with pytest.raises(BadReply):
        carrier.reported("POST", query, {"x-twilio-signature": expected}, body)
    with pytest.raises(Forged):
        carrier.reported("POST", query, {"x-twilio-signature": expected}, body.replace(b"1234", b"1235"))


def test_repeated_fields_count_once_in_a_signature_of_twilio() -> None:
    """As the test of its own library for PHP has it."""
    pairs = [("Sid", "CA123"), ("SidAccount", "AC123"), ("Digits", "5678"), ("Digits", "1234"), ("Digits", "1234")]
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert twilio.signature("12345", url, pairs) == "IK+Dwps556ElfBT0I3Rgjkr1wJU="


async def test_reports_of_vonage(client: outbound.Client, ear: Heard) -> None:
    async with line("vonage", client) as on:
        await on.carrier.send(letter(report_url=ear.base + "/delivery/1/2"))
        [taken] = on.double.taken
        for status, code, fate in (
            ("buffered", "0", Fate.SENT),
            ("delivered", "0", Fate.DELIVERED),
            ("failed", "9", Fate.FAILED),
        ):
            await on.double.report(taken, status, code)
            [report] = on.carrier.reported(*ear.last)
            assert (report.provider_reference, report.reference, report.fate) == (taken.id, "msg-000001", fate)
        _, query, headers, _ = ear.last
        as_json = json.dumps(query).encode()
        [report] = on.carrier.reported("POST", {}, {"content-type": "application/json"}, as_json)
        assert report.fate is Fate.FAILED
        for name in ("status", "client-ref", "nonce", "sig"):
            with pytest.raises(Forged):
                on.carrier.reported("GET", query | {name: "delivered"}, headers, b"")
        with pytest.raises(Forged):
            on.carrier.reported("GET", {**query, "more": "1"}, headers, b"")
        await on.double.report(taken, "delivered", secret="another")
        with pytest.raises(Forged):
            on.carrier.reported(*ear.last)
    async with line("vonage", client, signature_secret="", report_secret=SECRET) as on:
        await on.carrier.send(letter(report_url=ear.base + "/delivery/1/2"))
        await on.double.report(on.double.taken[0], "delivered")
        [report] = on.carrier.reported(*ear.last)
        assert report.fate is Fate.DELIVERED
        with pytest.raises(Forged):
            on.carrier.reported("GET", ear.last[1] | {"key": "another"}, {}, b"")
    async with line("vonage", client, signature_secret="") as on:
        with pytest.raises(Forged):
            on.carrier.reported("GET", {"messageId": "1", "status": "delivered"}, {}, b"")


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("md5hash", "6af838ef94998832dbfc29020b564830"),
        ("md5", "c15c21ced558c93a226c305f58f902f2"),
        ("sha1", "3e19a4e6880fdc2c1426bfd0587c98b9532f0210"),
        ("sha256", "a321e824b9b816be7c3f28859a31749a098713d39f613c80d455bbaffae1cd24"),
    ],
)
def test_the_published_signatures_of_vonage(method: str, expected: str) -> None:
    """As the tests of its own library for Python have them."""
    fields = {"timestamp": "1461605396", "b": "2", "a": "1", "sig": "no part of it"}
    assert vonage.signature("secret", fields, method) == expected


async def test_reports_of_africas_talking(client: outbound.Client, ear: Heard) -> None:
    async with line("africas_talking", client) as on:
        await on.carrier.send(letter())
        [taken] = on.double.taken
        url = f"{ear.base}/delivery/1/2?{urlencode({'key': SECRET})}"
        for status, reason, fate in (
            ("Submitted", "", Fate.SENT),
            ("Success", "", Fate.DELIVERED),
            ("Rejected", "UserInBlackList", Fate.FAILED),
        ):
            await on.double.report(url, taken, status, reason)
            [report] = on.carrier.reported(*ear.last)
            assert (report.provider_reference, report.fate, report.reason) == (taken.id, fate, reason or None)
        for address in (f"{ear.base}/delivery/1/2", f"{ear.base}/delivery/1/2?key=guess"):
            await on.double.report(address, taken, "Success")
            with pytest.raises(Forged):
                on.carrier.reported(*ear.last)


def test_sandboxes() -> None:
    client = outbound.client(private=False)
    carrier: Any = open_carrier(account("africas_talking", test_mode=True), client)
    assert carrier._base == "https://api.sandbox.africastalking.com"
    carrier = open_carrier(account("africas_talking"), client)
    assert carrier._base == "https://api.africastalking.com"


def test_who_carries_nothing() -> None:
    with pytest.raises(Refused):
        open_carrier(account("pigeon"), outbound.client(private=False))
