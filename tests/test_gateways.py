"""Accounts with providers through the API: forms, secrets that nobody sees again, and messages that try them out."""

import json
import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import redis.asyncio
from sqlalchemy import select, update

from ispgraph import ids, pubsub
from ispgraph import jobs as queue
from ispgraph.actors.registry import ACTIONS
from ispgraph.actors.run import Runner
from ispgraph.adapters.sms.double import Weather, serve
from ispgraph.adapters.sms.http_double import HttpDouble
from ispgraph.domain import gateways, secrets
from ispgraph.domain.gateway_providers import Provider
from ispgraph.domain.models import AuditEntry, Gateway, GatewayKind, Job, Role
from ispgraph.domain.providers import PROVIDERS
from ispgraph.settings import Settings
from tests import factories
from tests.api import Api
from tests.conftest import Dsns
from tests.factories import House
from tests.messaging.mail_server import PASSWORD, USER, mail_server

GATEWAY = """id kind provider name settings { name value } secretsSet testMode active position callbackUrl createdAt"""
SAVE = f"""mutation ($input: GatewayInput!) {{ gatewaySave(input: $input) {{
  gateway {{ {GATEWAY} }} errors {{ code message field }} }} }}"""
LIST = f"""query ($kind: GatewayKind, $first: Int, $after: String) {{
  gateways(kind: $kind, first: $first, after: $after) {{
    totalCount nodes {{ {GATEWAY} }} pageInfo {{ hasNextPage endCursor }} }} }}"""
TEST = """mutation ($id: ID!, $to: String!, $key: String) { gatewayTest(gatewayId: $id, to: $to, idempotencyKey: $key) {
  job { id kind status message ... on GatewayJob { gateway { id name } } } errors { code message field } } }"""
JOB = "query ($id: ID!) { job(id: $id) { status message ... on GatewayJob { gateway { id } } } }"
PROVIDERS_OF = """query ($kind: GatewayKind) { gatewayProviders(kind: $kind) { slug kind label currencies
  settings { name label secret required default choices note } } }"""

SECRET = "s3cret-of-nobody"
TWILIO = {"account_sid": "AC1", "auth_token": SECRET, "sender": "+15005550006"}


@pytest.fixture(autouse=True)
def connected(redis_url: str, valkey: redis.asyncio.Redis) -> Iterator[None]:
    queue.connect(redis_url)
    pubsub.connect(redis_url)
    yield
    queue.disconnect()
    pubsub.disconnect()


def of(**settings: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in settings.items()]


async def save(api: Api, house: House, **given: Any) -> Any:
    return (await api.data(SAVE, house.admin, input=given))["gatewaySave"]


async def saved(api: Api, house: House, provider: str = "twilio", name: str = "Main", **settings: str) -> Any:
    kind = PROVIDERS[provider].kind.value
    done = await save(api, house, kind=kind, provider=provider, name=name, settings=of(**(settings or TWILIO)))
    assert done["errors"] == []
    return done["gateway"]


def faults(done: Any) -> set[tuple[str, str]]:
    assert done["gateway"] is None
    return {(each["code"], ".".join(each["field"])) for each in done["errors"]}


async def opened(house: House, gateway: Any) -> gateways.Opened:
    async with house.database.read(house.tenant.id) as session:
        row = await session.get_one(Gateway, ids.decode("gwy", gateway["id"]))
        return gateways.opened(factories.NETWORK_KEY, row)


async def test_an_account_is_made_and_changed(api: Api, house: House, settings: Settings) -> None:
    made = await saved(api, house)
    key = ids.decode("gwy", made["id"])
    assert made["settings"] == of(account_sid="AC1", sender="+15005550006")
    assert made["secretsSet"] == ["auth_token"]
    assert (made["kind"], made["provider"], made["name"]) == ("SMS", "twilio", "Main")
    assert (made["testMode"], made["active"], made["position"]) == (False, True, 1)
    assert made["callbackUrl"] == f"{settings.origin}/delivery/{house.tenant.id.hex}/{key.hex}"
    assert (await opened(house, made)).settings == TWILIO

    changed = await save(
        api, house, id=made["id"], name="Second", active=False, testMode=True, position=7, settings=of(sender="NORTH")
    )
    assert changed["errors"] == []
    now = changed["gateway"]
    assert now["settings"] == of(account_sid="AC1", sender="NORTH")
    assert (now["name"], now["active"], now["testMode"], now["position"]) == ("Second", False, True, 7)
    # The secret was left out: it is what it was.
    account = await opened(house, made)
    assert account.settings == TWILIO | {"sender": "NORTH"}
    assert account.test_mode
    await save(api, house, id=made["id"], settings=of(auth_token="another"))
    assert (await opened(house, made)).settings["auth_token"] == "another"
    async with house.database.read(house.tenant.id) as session:
        assert await gateways.active(session, GatewayKind.SMS) == []
        trail = select(AuditEntry).where(AuditEntry.subject_id == key).order_by(AuditEntry.id)
        entries = list(await session.scalars(trail))
    assert [(each.action, each.details.get("changed")) for each in entries] == [
        ("gateway.create", None),
        ("gateway.update", ["active", "name", "position", "settings.sender", "test_mode"]),
        ("gateway.update", ["settings.auth_token"]),
    ]


async def test_the_same_terms_change_nothing(api: Api, house: House) -> None:
    made = await saved(api, house)
    again = await save(api, house, id=made["id"], name="Main", kind="SMS", provider="twilio", settings=of(**TWILIO))
    assert again == {"gateway": made, "errors": []}
    async with house.database.read(house.tenant.id) as session:
        entries = list(await session.scalars(select(AuditEntry.action).where(AuditEntry.action.like("gateway.%"))))
    assert entries == ["gateway.create"]


WRONG: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    ({}, {("REQUIRED", "input.kind"), ("REQUIRED", "input.provider"), ("REQUIRED", "input.name")}),
    ({"provider": "pigeon"}, {("INVALID", "input.provider")}),
    ({"kind": "EMAIL"}, {("INVALID", "input.provider")}),
    ({"name": " \t"}, {("REQUIRED", "input.name")}),
    ({"name": "x" * 101}, {("INVALID", "input.name")}),
    ({"position": -1}, {("INVALID", "input.position")}),
    ({"position": 10_000}, {("INVALID", "input.position")}),
    ({"settings": of()}, {("REQUIRED", f"input.settings.{name}") for name in TWILIO}),
    ({"settings": of(**TWILIO, colour="red")}, {("INVALID", "input.settings.colour")}),
    ({"settings": of(**(TWILIO | {"auth_token": ""}))}, {("REQUIRED", "input.settings.auth_token")}),
    ({"settings": of(**TWILIO) + of(sender="x")}, {("INVALID", "input.settings.sender")}),
    ({"settings": of(**(TWILIO | {"sender": "a\nb"}))}, {("INVALID", "input.settings.sender")}),
    ({"settings": of(**(TWILIO | {"auth_token": "x" * 1001}))}, {("INVALID", "input.settings.auth_token")}),
    ({"settings": of(**TWILIO, base_url="ftp://x.example")}, {("INVALID", "input.settings.base_url")}),
    ({"settings": of(**TWILIO, base_url="https://")}, {("INVALID", "input.settings.base_url")}),
    ({"settings": of(**TWILIO, base_url="https://u:p@x.example")}, {("INVALID", "input.settings.base_url")}),
    ({"settings": of(**TWILIO, base_url="https://x.example:99999")}, {("INVALID", "input.settings.base_url")}),
    ({"settings": of(**TWILIO, base_url="https://x.example/#a")}, {("INVALID", "input.settings.base_url")}),
    ({"settings": of(**TWILIO, base_url="http://169.254.169.254/")}, {("INVALID", "input.settings.base_url")}),
    ({"settings": of(**TWILIO, base_url="http://[fe80::1]/")}, {("INVALID", "input.settings.base_url")}),
]


async def test_what_is_wrong_is_told_by_its_name(api: Api, house: House) -> None:
    whole = {"kind": "SMS", "provider": "twilio", "name": "Main", "settings": of(**TWILIO)}
    for given, expected in WRONG:
        done = await save(api, house, **(whole | given if given else given))
        assert faults(done) == expected
        assert SECRET not in json.dumps(done)
    assert (await api.data(LIST, house.admin))["gateways"]["totalCount"] == 0


MAIL = {"host": "mail.isp.example", "sender": "North <billing@isp.example>"}


WRONG_MAIL: list[tuple[dict[str, str], str | None]] = [
    ({"host": "mail example"}, "host"),
    ({"host": "169.254.1.1"}, "host"),
    ({"port": "0"}, "port"),
    ({"port": "587 "}, None),
    ({"port": "65536"}, "port"),
    ({"port": "٥٨٧"}, "port"),
    ({"security": "ssl"}, "security"),
    ({"sender": "North"}, "sender"),
    ({"sender": "a@b.example\r\nBcc: c@d.example"}, "sender"),
    ({"reply_to": "nobody"}, "reply_to"),
    ({"username": "north"}, "password"),
    ({"password": "north"}, "username"),
    ({"ca_certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}, "ca_certificate"),
]


async def test_the_form_of_a_mail_server(api: Api, house: House) -> None:
    for number, (changed, field) in enumerate(WRONG_MAIL):
        given = {"kind": "EMAIL", "provider": "smtp", "name": f"Mail {number}"}
        done = await save(api, house, **given, settings=of(**(MAIL | changed)))
        if field is None:
            assert done["errors"] == []
            assert done["gateway"]["callbackUrl"] is None
        else:
            assert faults(done) == {("INVALID", f"input.settings.{field}")}


WRONG_CENTRE: list[tuple[dict[str, str], str]] = [
    ({"password": "ninechars"}, "password"),
    ({"system_id": "x" * 16}, "system_id"),
    ({"sender": "Nörth"}, "sender"),
    ({"tls": "maybe"}, "tls"),
    ({"host": "255.255.255.255"}, "host"),
]


async def test_the_form_of_a_message_centre(api: Api, house: House) -> None:
    whole = {"host": "smsc.isp.example", "system_id": "north", "password": "pa55word", "sender": "NORTH"}
    given = {"kind": "SMS", "provider": "smpp", "name": "Centre"}
    for changed, field in WRONG_CENTRE:
        done = await save(api, house, **given, settings=of(**(whole | changed)))
        assert faults(done) == {("INVALID", f"input.settings.{field}")}
    assert (await save(api, house, **given, settings=of(**whole)))["errors"] == []


async def test_addresses_of_our_own_network_are_for_those_who_allow_them(
    api: Api, house: House, settings: Settings
) -> None:
    urls = ["http://127.0.0.1:9/", "http://localhost/", "https://192.168.1.1/", "https://[::1]/", "http://10.0.0.1/"]
    for url in urls:
        with pytest.raises(ValueError, match="may not be called"):
            gateways.gateway_forms.outside.check_url(url, private=False)
        gateways.gateway_forms.outside.check_url(url, private=True)
    assert settings.private_gateways
    await saved(api, house, **TWILIO, base_url="http://127.0.0.1:9")


async def test_names_are_unique_in_a_kind_and_accounts_keep_theirs(api: Api, house: House) -> None:
    made = await saved(api, house)
    await saved(api, house, "smtp", "Main", **MAIL)
    twice = await save(api, house, kind="SMS", provider="twilio", name="Main", settings=of(**TWILIO))
    assert faults(twice) == {("TAKEN", "input.name")}
    other = await saved(api, house, name="Other")
    assert faults(await save(api, house, id=other["id"], name="Main")) == {("TAKEN", "input.name")}
    stays = await save(api, house, id=made["id"], kind="EMAIL", provider="vonage")
    assert faults(stays) == {("INVALID", "input.kind"), ("INVALID", "input.provider")}
    emptied = await save(api, house, id=made["id"], settings=of(auth_token="", sender=""))
    assert faults(emptied) == {("REQUIRED", "input.settings.auth_token"), ("REQUIRED", "input.settings.sender")}
    assert faults(await save(api, house, id="gwy_" + "0" * 32, name="X")) == {("NOT_FOUND", "input.id")}


async def test_money_that_a_provider_does_not_take(api: Api, house: House) -> None:
    [provider] = [each for each in PROVIDERS.values() if each.slug == "bkash"]
    given = {each.name: "x" for each in provider.settings if each.required}
    async with house.database.transaction(house.tenant.id) as session:
        house.tenant.currency = "USD"
        await session.merge(house.tenant)
    done = await save(api, house, kind="PAYMENT", provider="bkash", name="bKash", settings=of(**given))
    assert faults(done) == {("INVALID", "input.provider")}


async def test_a_key_makes_an_account_once(api: Api, house: House) -> None:
    given = {"kind": "SMS", "provider": "twilio", "name": "Main", "settings": of(**TWILIO), "idempotencyKey": "k"}
    first = await save(api, house, **given)
    assert await save(api, house, **given) == first
    other = await save(api, house, **(given | {"settings": of(**(TWILIO | {"auth_token": "another"}))}))
    assert faults(other) == {("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")}


async def test_accounts_come_by_position_and_in_pages(api: Api, house: House) -> None:
    names = ["First", "Second", "Third"]
    for name in names:
        await saved(api, house, name=name)
    await saved(api, house, "smtp", **MAIL)
    last = await save(
        api, house, kind="SMS", provider="twilio", name="Zeroth", settings=of(**TWILIO), position=0, active=False
    )
    assert last["errors"] == []
    page = (await api.data(LIST, house.admin, kind="SMS", first=3))["gateways"]
    assert [each["name"] for each in page["nodes"]] == ["Zeroth", "First", "Second"]
    assert (page["totalCount"], page["pageInfo"]["hasNextPage"]) == (4, True)
    rest = (await api.data(LIST, house.admin, kind="SMS", first=3, after=page["pageInfo"]["endCursor"]))["gateways"]
    assert [each["name"] for each in rest["nodes"]] == ["Third"]
    assert (await api.data(LIST, house.admin))["gateways"]["totalCount"] == 5
    async with house.database.read(house.tenant.id) as session:
        assert [each.name for each in await gateways.active(session, GatewayKind.SMS)] == names


async def test_nobody_else_sees_or_changes_them(api: Api, house: House, other_house: House) -> None:
    made = await saved(api, house)
    assert (await api.data(LIST, other_house.admin))["gateways"]["nodes"] == []
    assert faults(await save(api, other_house, id=made["id"], name="Mine")) == {("NOT_FOUND", "input.id")}
    node = "query ($id: ID!) { node(id: $id) { ... on Gateway { name secretsSet } } }"
    assert (await api.data(node, house.admin, id=made["id"]))["node"] == {"name": "Main", "secretsSet": ["auth_token"]}
    assert (await api.data(node, other_house.admin, id=made["id"]))["node"] is None
    staff = await house.operator(Role.STAFF)
    assert (await api.data(node, staff, id=made["id"]))["node"] is None
    for document, given in (
        (LIST, {}),
        (PROVIDERS_OF, {}),
        (SAVE, {"input": {"id": made["id"], "name": "Mine"}}),
        (TEST, {"id": made["id"], "to": "+8801712345678"}),
    ):
        answer = await api(document, staff, **given)
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    tried = (await api.data(TEST, other_house.admin, id=made["id"], to="+8801712345678"))["gatewayTest"]
    assert [(each["code"], each["field"]) for each in tried["errors"]] == [("NOT_FOUND", ["gatewayId"])]


async def test_what_providers_ask_for(api: Api, house: House) -> None:
    found = (await api.data(PROVIDERS_OF, house.admin))["gatewayProviders"]
    assert [each["slug"] for each in found] == list(PROVIDERS)
    assert {"twilio", "vonage", "africas_talking", "ssl_wireless", "smpp", "http", "smtp", "stripe"} <= PROVIDERS.keys()
    twilio = found[0]
    assert [(each["name"], each["secret"], each["required"]) for each in twilio["settings"]] == [
        ("account_sid", False, True),
        ("auth_token", True, True),
        ("sender", False, True),
        ("base_url", False, False),
    ]
    mail = (await api.data(PROVIDERS_OF, house.admin, kind="EMAIL"))["gatewayProviders"]
    assert [each["slug"] for each in mail] == ["smtp"]
    [security] = [each for each in mail[0]["settings"] if each["name"] == "security"]
    assert (security["choices"], security["default"]) == (["starttls", "tls", "none"], "starttls")


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda provider: provider.slug)
def test_every_form_can_be_filled_in(provider: Provider) -> None:
    names = [setting.name for setting in provider.settings]
    assert len(set(names)) == len(names)
    for setting in provider.settings:
        assert not setting.choices or setting.default in setting.choices
        assert not (setting.secret and setting.default)


# -- trying them out


def gateway_of(base: str, key: str = SECRET) -> dict[str, str]:
    return {
        "url": f"{base}/sms/send",
        "template": "api_key={token}&msisdn={number}&message={body}&ref={reference}&callback={report_url}",
        "token": key,
        "success_rule": "json",
        "success_path": "status",
        "success_value": "success",
        "reference_path": "data.message_id",
        "error_path": "message",
    }


async def tried(api: Api, house: House, settings: Settings, gateway: Any, to: str, key: str | None = None) -> Any:
    """The job of a test, carried out."""
    begun = (await api.data(TEST, house.admin, id=gateway["id"], to=to, key=key))["gatewayTest"]
    assert begun["errors"] == []
    job = begun["job"]
    assert (job["kind"], job["gateway"]["id"]) == ("gateway.test", gateway["id"])
    await Runner(house.database, settings, ACTIONS).run_job(house.tenant.id.hex, ids.decode("job", job["id"]).hex)
    return (await api.data(JOB, house.admin, id=job["id"]))["job"]


async def test_a_message_tries_an_account(api: Api, house: House, settings: Settings) -> None:
    double = HttpDouble(api_key=SECRET)
    async with serve(double) as base:
        made = await saved(api, house, "http", **gateway_of(base))
        job = await tried(api, house, settings, made, "01712-345678", key="k")
        [taken] = double.taken
        assert job["status"] == "SUCCEEDED"
        assert job["message"] == f"Main has taken the message to +8801712345678. Its reference there is {taken.id}."
        assert taken.body == f"{house.tenant.name}: this is a test message."
        assert taken.given["callback"] == made["callbackUrl"]
        # The key again: no second message.
        again = (await api.data(TEST, house.admin, id=made["id"], to="01712-345678", key="k"))["gatewayTest"]
        assert again["job"]["status"] == "SUCCEEDED"
        assert len(double.taken) == 1


async def test_a_test_that_fails_says_why_and_is_not_repeated(api: Api, house: House, settings: Settings) -> None:
    double = HttpDouble(api_key="another")
    async with serve(double) as base:
        made = await saved(api, house, "http", **gateway_of(base))
        job = await tried(api, house, settings, made, "+8801712345678")
        assert job["status"] == "FAILED"
        assert job["message"] == "The login was refused: Invalid API key …"
        double.api_key, double.weather = SECRET, Weather.RESET_AFTER
        job = await tried(api, house, settings, made, "+8801712345678")
        assert job["status"] == "FAILED"
        assert job["message"].endswith("It may have gone out all the same.")
        assert len(double.taken) == 1
    async with house.database.transaction(house.tenant.id) as session:
        # As if the worker had died while it sent.
        lost = await gateways.test(session, ids.decode("gwy", made["id"]), "+8801712345678", by=await house.viewer())
        await session.execute(update(Job).where(Job.id == lost.id).values(attempts=1))
    await Runner(house.database, settings, ACTIONS).run_job(house.tenant.id.hex, lost.id.hex)
    job = (await api.data(JOB, house.admin, id=ids.encode("job", lost.id)))["job"]
    assert (job["status"], "not known" in job["message"]) == ("FAILED", True)


async def test_a_mail_tries_a_mail_server(api: Api, house: House, settings: Settings) -> None:
    async with mail_server() as mail:
        login = {"port": str(mail.port), "security": "none", "username": USER, "password": PASSWORD}
        made = await saved(api, house, "smtp", **(MAIL | {"host": "127.0.0.1"} | login))
        job = await tried(api, house, settings, made, "Someone@Customer.example")
        assert job["status"] == "SUCCEEDED"
        assert mail.taken[0].rcpt_tos == ["someone@customer.example"]


async def test_what_can_not_be_tested(api: Api, house: House, settings: Settings) -> None:
    sms, mail = await saved(api, house), await saved(api, house, "smtp", **MAIL)
    bank = {each.name: "x" for each in PROVIDERS["bank_transfer"].settings if each.required}
    payments = await saved(api, house, "bank_transfer", **bank)
    assert "/callbacks/" in payments["callbackUrl"]
    for gateway, to, code, field in (
        (sms, "12", "INVALID", "to"),
        (sms, "someone@customer.example", "INVALID", "to"),
        (mail, "+8801712345678", "INVALID", "to"),
        (mail, " ", "REQUIRED", "to"),
        (payments, "+8801712345678", "INVALID_STATE", "gatewayId"),
    ):
        done = (await api.data(TEST, house.admin, id=gateway["id"], to=to))["gatewayTest"]
        assert [(each["code"], each["field"]) for each in done["errors"]] == [(code, [field])]
    async with house.database.transaction(house.tenant.id) as session:
        key = ids.decode("gwy", sms["id"])
        blob = gateways.sealed(bytes(32), house.tenant.id, key, {"auth_token": "x"})
        await session.execute(update(Gateway).where(Gateway.id == key).values(secrets=blob))
    job = await tried(api, house, settings, sms, "+8801712345678")
    assert (job["status"], "give them again" in job["message"]) == ("FAILED", True)
    shown = (await api.data(LIST, house.admin, kind="SMS"))["gateways"]["nodes"][0]
    assert shown["secretsSet"] == []
    again = await save(api, house, id=sms["id"], settings=of(auth_token=SECRET))
    assert again["gateway"]["secretsSet"] == ["auth_token"]


async def test_secrets_are_nowhere_to_be_read(
    api: Api,
    house: House,
    settings: Settings,
    dsns: Dsns,
    caplog: pytest.LogCaptureFixture,
    valkey: redis.asyncio.Redis,
) -> None:
    caplog.set_level(logging.DEBUG)
    double, answers = HttpDouble(api_key="another"), []
    async with serve(double) as base:
        made = await saved(api, house, "http", **gateway_of(base))
        answers.append(made)
        answers.append(await save(api, house, id=made["id"], settings=of(token=SECRET + "2"), idempotencyKey="k"))
        answers.append(await save(api, house, id=made["id"], settings=of(token=SECRET, colour=SECRET)))
        query = of(method="GET", content="query", url=f"{base}/smsapi", success_rule="text", success_value="OK")
        answers.append(await save(api, house, id=made["id"], settings=query))
        answers.append(await tried(api, house, settings, made, "+8801712345678"))
        double.weather = Weather.BROKEN
        answers.append(await tried(api, house, settings, made, "+8801712345678"))
    answers.append(await api.data(LIST, house.admin))
    answers.append(repr(await opened(house, made)))
    connection = await asyncpg.connect(dsns.superuser)
    tables = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    dump = [str(await connection.fetch(f'SELECT t::text FROM "{each[0]}" t')) for each in tables]
    await connection.close()
    for key in await valkey.keys("*"):
        dump.append(str(await valkey.dump(key)))
    assert double.asked
    assert made["id"].removeprefix("gwy_") in str(dump).replace("-", "")
    for place in (str(answers), "".join(dump), caplog.text):
        assert "s3cret" not in place


def test_secrets_belong_to_one_account() -> None:

    blob = gateways.sealed(bytes(32), UUID(int=1), UUID(int=2), {"token": "x"})
    other = Gateway(id=UUID(int=3), tenant_id=UUID(int=1), settings={}, secrets=blob, kind=GatewayKind.SMS)
    with pytest.raises(secrets.BadSecret):
        gateways.opened(bytes(32), other)
