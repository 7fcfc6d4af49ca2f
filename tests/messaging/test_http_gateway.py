"""The gateway that is told by its settings, against its double."""

import json
from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as some

from ispgraph.adapters import outbound
from ispgraph.adapters.carriers import Carrier, Fate, Forged, open_carrier
from ispgraph.adapters.errors import AdapterError, BadReply, Refusal, Refused, TimedOut, Unreachable
from ispgraph.adapters.sms.double import Weather, serve
from ispgraph.adapters.sms.http_double import HttpDouble
from ispgraph.domain import http_gateway
from tests.messaging.accounts import account, letter

KEY = "k&y=1 +ü"
REPORTS = {
    "report_secret": "shared s&cret",
    "report_id": "id",
    "report_reference": "ref",
    "report_status": "status",
    "report_delivered": "DELIVRD, delivered",
    "report_failed": "UNDELIV,failed",
    "report_reason": "error",
}
FORM = {
    "content": "form",
    "template": "api_key={token}&msisdn={number}&message={body}&sender={sender}&ref={reference}&callback={report_url}",
    "success_rule": "json",
    "success_path": "status",
    "success_value": "success",
    "reference_path": "data.message_id",
    "error_path": "message",
} | REPORTS
JSON = FORM | {
    "content": "json",
    "template": '{"msisdn": "{number}", "message": "{body}", "sender": "{sender}", "ref": "{reference}", "flash": 0,'
    ' "callback": "{report_url}"}',
    "headers": "Authorization: Bearer {token}\nX-Trace: {reference}",
}
QUERY = {
    "method": "GET",
    "content": "query",
    "template": FORM["template"],
    "success_rule": "regex",
    "success_value": "^OK:",
    "reference_path": "",
    "reference_pattern": r"^OK: (\d+)",
}


@pytest.fixture
async def double() -> HttpDouble:
    return HttpDouble(api_key=KEY)


@pytest.fixture
async def base(double: HttpDouble) -> AsyncIterator[str]:
    async with serve(double) as url:
        yield url


def carrier(base: str, client: outbound.Client, **changed: str) -> Carrier:
    given = FORM | {"url": f"{base}/sms/send", "token": KEY, "sender": "NORTH"} | changed
    assert http_gateway.check(given) == {}
    return open_carrier(account("http", **given), client)


NASTY = 'Déjà vu & more={token}+%20"\\ \n{"x": 1}\x1b€ বাংলা 🎉&ref=stolen'


@pytest.mark.parametrize("kind", ["form", "json", "query"])
async def test_whatever_a_message_holds_it_arrives_as_it_is(
    double: HttpDouble, base: str, client: outbound.Client, kind: str
) -> None:
    by = {"form": {}, "json": JSON, "query": QUERY | {"url": f"{base}/smsapi"}}[kind]
    if kind == "json":
        # The key goes in a header there, which takes no more than ASCII.
        double.api_key = "plain-key"
        by = by | {"token": "plain-key"}
    sends = carrier(base, client, **by)
    accepted = await sends.send(letter(body=NASTY))
    [taken] = double.taken
    assert (taken.to, taken.body, taken.sender) == ("8801712345678", NASTY, "NORTH")
    assert taken.given["ref"] == "msg-000001"
    assert (accepted.provider_reference, accepted.segments) == (taken.id, None)


@given(some.text(some.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
@examples(max_examples=25)
def test_filling_in_makes_no_parameters_and_no_fields(text: str) -> None:
    values = dict.fromkeys(http_gateway.PLACES, "x") | {"body": text, "token": "t{body}"}
    template = '{"a": ["{body}", {"b": "<{token}>"}], "c": 1}'
    assert http_gateway.filled("{token}", values) == "t{body}"
    found = json.loads(http_gateway.filled_json(template, values))
    assert found == {"a": [text, {"b": "<t{body}>"}], "c": 1}


async def test_what_the_gateway_refuses_is_told_without_the_key(
    double: HttpDouble, base: str, client: outbound.Client
) -> None:
    with pytest.raises(Refused) as login:
        await carrier(base, client, token="wrong key & secret").send(letter())
    assert login.value.kind is Refusal.BAD_LOGIN
    assert "Invalid API key" in str(login.value)
    assert "wrong" not in str(login.value)
    with pytest.raises(Refused) as line:
        await carrier(base, client, **QUERY, url=f"{base}/smsapi", token="wrong key").send(letter())
    assert "ERROR 1001" in str(line.value)
    assert "wrong" not in str(line.value)
    with pytest.raises(Refused, match="Invalid number"):
        await carrier(base, client).send(letter(to="+12"))
    sends = carrier(base, client)
    await sends.send(letter())
    with pytest.raises(Refused, match="Duplicate reference"):
        await sends.send(letter())
    assert len(double.taken) == 1


@pytest.mark.parametrize(
    ("weather", "kind", "done"),
    [
        (Weather.BROKEN, BadReply, 0),
        (Weather.HANGS, TimedOut, 0),
        (Weather.RESET_AFTER, BadReply, 1),
        (Weather.HANGS_AFTER, TimedOut, 1),
    ],
)
async def test_in_bad_weather_the_outcome_is_unknown(
    double: HttpDouble, base: str, client: outbound.Client, weather: Weather, kind: type[AdapterError], done: int
) -> None:
    double.weather = weather
    with pytest.raises(kind) as raised:
        await carrier(base, client).send(letter())
    assert raised.value.outcome_unknown
    assert len(double.taken) == done


async def test_a_gateway_that_is_not_there_was_asked_nothing(client: outbound.Client) -> None:
    with pytest.raises(Unreachable) as raised:
        await carrier("http://127.0.0.1:1", client).send(letter())
    assert not raised.value.outcome_unknown


async def test_success_is_what_the_rule_says(double: HttpDouble, base: str, client: outbound.Client) -> None:
    for changed in (
        {"success_status": "201,202"},
        {"success_rule": "text", "success_value": "hooray"},
        {"success_rule": "regex", "success_value": "hoora+y"},
        {"success_rule": "json", "success_path": "code", "success_value": "1"},
        {"success_rule": "json", "success_path": "data.nothing.0", "success_value": "1"},
    ):
        with pytest.raises(Refused):
            await carrier(base, client, **changed).send(letter(reference=f"r{len(double.taken)}"))
    for changed in (
        {"success_rule": "status"},
        {"success_status": "200, 202"},
        {"success_rule": "text", "success_value": '"success"'},
        {"success_rule": "json", "success_path": "code", "success_value": "0|00"},
    ):
        await carrier(base, client, **changed).send(letter(reference=f"r{len(double.taken)}"))


async def test_delivery_reports(double: HttpDouble, base: str, client: outbound.Client) -> None:
    sends = carrier(base, client)
    await sends.send(letter())
    [taken] = double.taken
    query = dict(parse_qsl(urlsplit(taken.given["callback"]).query))
    assert query == {"key": "shared s&cret"}
    states = (("DELIVRD", Fate.DELIVERED), ("Failed", Fate.FAILED), ("BUFFERED", Fate.SENT))
    for state, fate in states:
        said = {"id": taken.id, "ref": "msg-000001", "status": state, "error": "a\nb"}
        [report] = sends.reported("GET", query | said, {}, b"")
        assert (report.provider_reference, report.reference, report.fate) == (taken.id, "msg-000001", fate)
        assert report.reason == "a b"
    as_json = {"content-type": "application/json; charset=utf-8"}
    [report] = sends.reported("POST", query, as_json, b'{"id": 7, "status": "delivered"}')
    assert (report.provider_reference, report.reference, report.fate) == ("7", None, Fate.DELIVERED)
    form = {"content-type": "application/x-www-form-urlencoded"}
    [report] = sends.reported("POST", query, form, b"ref=abc&status=UNDELIV")
    assert (report.provider_reference, report.reference, report.fate) == (None, "abc", Fate.FAILED)
    for bad in ({}, {"key": ""}, {"key": "shared"}):
        with pytest.raises(Forged):
            sends.reported("GET", bad | {"id": "1", "status": "DELIVRD"}, {}, b"")
    for body in (b"[1]", b"{", b"[" * 100_000, b"\xff"):
        with pytest.raises(BadReply):
            sends.reported("POST", query, as_json, body)
    with pytest.raises(BadReply):
        sends.reported("GET", query | {"status": "DELIVRD"}, {}, b"")


async def test_without_a_secret_no_report_is_believed(base: str, client: outbound.Client) -> None:
    sends = open_carrier(account("http", url=base, report_id="id", report_status="s", report_delivered="1"), client)
    for query in ({}, {"key": ""}):
        with pytest.raises(Forged):
            sends.reported("GET", query | {"id": "1", "s": "1"}, {}, b"")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"template": "a={nothing}"}, "template"),
        ({"content": "json", "template": "{body}"}, "template"),
        ({"content": "json", "template": "[" * 100_000}, "template"),
        ({"headers": "No colon"}, "headers"),
        ({"headers": "Host: elsewhere.example"}, "headers"),
        ({"headers": "X-Key: {key}"}, "headers"),
        ({"method": "GET"}, "content"),
        ({"success_status": "okay"}, "success_status"),
        ({"success_rule": "json", "success_path": ""}, "success_path"),
        ({"success_rule": "text", "success_value": ""}, "success_value"),
        ({"success_rule": "regex", "success_value": "("}, "success_value"),
        ({"success_rule": "regex", "success_value": "(a+)+$"}, "success_value"),
        ({"success_rule": "regex", "success_value": "a.*b.*c.*d"}, "success_value"),
        ({"reference_pattern": "no group"}, "reference_pattern"),
        ({"reference_path": "$..id"}, "reference_path"),
        ({"report_secret": ""}, "report_secret"),
        ({"report_id": "", "report_reference": ""}, "report_id"),
        ({"report_delivered": ""}, "report_delivered"),
    ],
)
def test_descriptions_that_make_no_sense(changed: dict[str, str], field: str) -> None:
    given = FORM | {"method": "POST", "url": "https://sms.example/", "token": KEY} | changed
    assert list(http_gateway.check(given)) == [field]
