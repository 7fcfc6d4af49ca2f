"""Keeping endpoints through the API, what is refused, and which events there are."""

import asyncio
import re
import socket
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import select, text
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from ispgraph import clock
from ispgraph.adapters import webhooks
from ispgraph.adapters.errors import Refused
from ispgraph.adapters.webhooks_double import WebhookDouble
from ispgraph.db import Database
from ispgraph.domain import secrets
from ispgraph.domain.models import AuditEntry, Role, WebhookEndpoint
from ispgraph.domain.webhooks import endpoints
from ispgraph.domain.webhooks.catalogue import SUBJECTS, WHEN, WebhookEvent, spelt
from ispgraph.settings import Settings
from tests import subscribers
from tests.api import Api
from tests.factories import NETWORK_KEY, House
from tests.test_access import TOKEN
from tests.webhooks.hooks import SAVE, Hooks, faults
from tests.wizard import Wizard

FIT = "query ($subject: ID!) { node(id: $subject) { id } }"
URL = "https://panel.example.com/hook"


async def test_what_is_wrong_is_told_at_once_and_changes_nothing(hooks: Hooks) -> None:
    empty = await hooks.save()
    assert faults(empty) == [("REQUIRED", "input.name"), ("REQUIRED", "input.url"), ("REQUIRED", "input.events")]
    bad = await hooks.save(
        name=" ",
        url="ftp://panel.example.com",
        events=["WEBHOOK_TEST"],
        document="mutation { signOut { errors { code } } }",
    )
    assert sorted(faults(bad)) == [
        ("INVALID", "input.document"),
        ("INVALID", "input.events"),
        ("INVALID", "input.url"),
        ("REQUIRED", "input.name"),
    ]
    documents = {
        "{": "Syntax Error",
        "{ nothing }": "Cannot query field",
        "query ($id: ID!) { node(id: $id) { id } }": "The only variable there is",
        "query ($subject: ID) { viewer @include(if: true) { permissions } search: node(id: $subject) { id } }": "ID!",
        "query A { viewer { permissions } } query B { viewer { permissions } }": "A document is one query.",
        "subscription { routerStatusChanged { id } }": "A document is one query.",
        "{ __schema { types { name } } }": "It may not ask for the schema.",
        "{ customers(first: 100) { nodes { invoices(first: 100) { nodes { lines { id: quantity } } } } } }": "It costs",
        "{ viewer { permissions } } #" + "x" * 10_000: "at most 10000 characters",
    }
    for document, reason in documents.items():
        refused = await hooks.save(name="A", url=URL, events=["INVOICE_PAID"], document=document)
        assert faults(refused) == [("INVALID", "input.document")], document
        assert reason in refused["errors"][0]["message"]
    assert await hooks.run("{ webhookEndpoints { totalCount } }") == {"totalCount": 0}


@pytest.mark.parametrize(
    "url",
    [
        "http://panel.example.com/hook",
        "https://127.0.0.1/hook",
        "https://[::1]/hook",
        "https://[::ffff:10.0.0.1]/hook",
        "https://10.1.2.3/hook",
        "https://169.254.169.254/latest/meta-data",
        "https://192.168.1.1:8443/",
        "https://localhost/hook",
        "https://router.local/",
        "https://user:word@panel.example.com/",
        "https://panel.example.com/#part",
        "https://panel.example.com:99999/",
        "javascript:alert(1)",
        "//panel.example.com",
    ],
)
async def test_addresses_of_our_own_network_are_refused(
    url: str, database: Database, valkey: Redis, settings: Settings, house: House
) -> None:
    api = Api(database, valkey, replace(settings, private_webhooks=False))
    given = {"name": "A", "url": url, "events": ["INVOICE_PAID"]}
    done = (await api.data(SAVE, house.admin, input=given))["webhookEndpointSave"]
    assert faults(done) == [("INVALID", "input.url")]
    await api.close()


async def test_a_name_that_leads_into_our_own_network_is_not_called(
    double: WebhookDouble, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(base.rpartition(":")[2])
    asked = []
    answers = ["203.0.113.7", "127.0.0.1"]

    async def resolved(*given: Any, **_: Any) -> list[Any]:
        asked.append(given[0])
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, port)) for answer in answers]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolved)
    secret = ["whsec_c2VjcmV0LW9mLXR3ZW50eS1mb3VyLWJ5dGVz"]
    for private in (False, True):
        client = webhooks.client(private=private, seconds=3)
        url = f"http://panel.example.com:{port}/hook"
        calling = webhooks.call(client, url, message_id="evt_1", at=1, secrets=secret, body="{}")
        if private:
            assert (await calling).taken
        else:
            with pytest.raises(Refused, match="may not be called"):
                await calling
        await client.aclose()
        # Where it is allowed, the one look-up is also what is connected to.
        answers[:] = ["127.0.0.1"]
    assert asked == ["panel.example.com"] * 2
    assert len(double.received) == 1


async def test_an_endpoint_belongs_to_who_saved_it_last_and_needs_a_person(
    hooks: Hooks, api: Api, house: House, database: Database
) -> None:
    other = await house.operator(Role.MANAGER, permissions=["MANAGE_SETTINGS"])
    made = await hooks.save(other, name="A", url=URL, events=["INVOICE_PAID", "INVOICE_PAID"], document=FIT)
    assert made["secret"].startswith("whsec_")
    assert made["endpoint"]["events"] == ["INVOICE_PAID"]
    key = made["endpoint"]["id"]
    changed = await hooks.save(id=key, url=f"{URL}/2")
    assert changed["secret"] is None
    assert (changed["endpoint"]["url"], changed["endpoint"]["document"]) == (f"{URL}/2", FIT)
    viewer = await hooks.run("{ viewer { operator { id } } }")
    assert changed["endpoint"]["owner"]["id"] == viewer["operator"]["id"]
    # So the former owner, who is below, sees it no more.
    assert await hooks.run("{ webhookEndpoints { totalCount } }", other) == {"totalCount": 0}
    assert (await hooks.save(id=key, document=" "))["endpoint"]["document"] is None
    # A program with a part of somebody's permissions could have a document read with all of them.
    given = {"name": "t", "permissions": ["MANAGE_SETTINGS"], "expiresAt": "2027-06-01T00:00:00Z"}
    token = (await api.data(TOKEN, house.admin, input=given))["apiTokenCreate"]["token"]
    answer = await api(SAVE, token=token, input={"name": "B", "url": URL, "events": ["INVOICE_PAID"]})
    assert [each["code"] for each in answer["data"]["webhookEndpointSave"]["errors"]] == ["NOT_PERMITTED"]
    async with database.read(house.tenant.id) as session:
        [row] = (await session.scalars(select(WebhookEndpoint))).all()
        actions = (await session.scalars(select(AuditEntry.action).order_by(AuditEntry.id))).all()
    assert made["secret"].encode() not in row.secret
    assert endpoints.in_clear(NETWORK_KEY, row) == [made["secret"]]
    assert [each for each in actions if each.startswith("webhook.")] == ["webhook.create", *["webhook.update"] * 2]


async def test_a_key_makes_one_endpoint_and_there_are_not_too_many(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "MOST", 2)
    given = {"name": "A", "url": URL, "events": ["INVOICE_PAID"]}
    first, second = [await hooks.save(**given, idempotencyKey="k") for _ in range(2)]
    assert (first["endpoint"], second["secret"]) == (second["endpoint"], None)
    assert faults(await hooks.save(**given | {"name": "B"}, idempotencyKey="k"))[0][0] == "IDEMPOTENCY_KEY_REUSED"
    await hooks.save(**given)
    assert faults(await hooks.save(**given)) == [("LIMIT_EXCEEDED", "input")]
    deleted = await hooks.on("Delete", first["endpoint"]["id"], "endpointId errors { code field }")
    assert deleted == {"endpointId": first["endpoint"]["id"], "errors": []}
    assert faults(await hooks.on("Delete", first["endpoint"]["id"], "errors { code field }")) == [
        ("NOT_FOUND", "endpointId")
    ]
    assert (await hooks.save(**given))["errors"] == []


async def test_while_a_secret_is_rotated_both_fit(hooks: Hooks, double: WebhookDouble, base: str, house: House) -> None:
    endpoint = await hooks.endpoint(double, base, "CUSTOMER_UPDATED")
    former = double.secret
    document = """mutation ($id: ID!) { webhookEndpointRotateSecret(endpointId: $id, overlapHours: 169) {
      errors { code field } } }"""
    found = await hooks.run(document, id=endpoint)
    assert faults(found) == [("INVALID", "overlapHours")]
    rotated = await hooks.on("RotateSecret", endpoint, "secret endpoint { formerSecretUntil } errors { code field }")
    fresh = rotated["secret"]
    assert fresh != former
    until = rotated["endpoint"]["formerSecretUntil"]
    for genuine in ({former, fresh}, {fresh}):
        await hooks.on("Test", endpoint, "errors { code }")
        await hooks.sweep()
        call = double.received[-1]
        fitting = set()
        for secret in (former, fresh):
            try:
                Webhook(secret).verify(call.raw, call.headers)
                fitting.add(secret)
            except WebhookVerificationError:
                pass
        assert fitting == genuine
        assert len(call.headers["webhook-signature"].split(" ")) == len(genuine)
        # The referee looks at the clock on the wall: the secret is made to end instead.
        async with house.database.transaction(house.tenant.id) as session:
            row = (await session.scalars(select(WebhookEndpoint))).one()
            row.former_until = clock.now()
    assert until is not None


async def test_a_secret_that_cannot_be_read_any_more_pauses_its_endpoint(
    hooks: Hooks, double: WebhookDouble, base: str, house: House
) -> None:
    endpoint = await hooks.endpoint(double, base, "CUSTOMER_UPDATED")
    async with house.database.transaction(house.tenant.id) as session:
        row = (await session.scalars(select(WebhookEndpoint))).one()
        row.secret = secrets.seal(bytes(32), "whsec_AAAA", secrets.webhook(row.tenant_id, row.id))
    await hooks.on("Test", endpoint, "errors { code }")
    await hooks.sweep()
    shown = await hooks.shown(endpoint)
    assert (shown["status"], shown["problem"]) == (
        "PAUSED",
        "Its secret is lost: rotate the secret, and resume it.",
    )
    double.secret = (await hooks.on("RotateSecret", endpoint, "secret errors { code field }"))["secret"]
    await hooks.on("Resume", endpoint)
    await hooks.sweep()
    assert double.received[0].genuine


async def test_every_event_of_the_catalogue_is_raised_by_a_trigger(database: Database, house: House) -> None:
    async with database.read(None) as session:
        rows = await session.execute(
            text("""SELECT t.tgargs FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
              WHERE p.proname = 'raise_webhook_event' AND t.tgparentid = 0""")
        )
        raised = [[part.decode() for part in row.tgargs.split(b"\0")] for row in rows]
    assert {each[0] for each in raised} == {each.value for each in WebhookEvent} - {"WEBHOOK_TEST"}
    assert {each[1] for each in raised} == set(SUBJECTS)
    assert set(WHEN) == set(WebhookEvent)
    assert all(re.fullmatch(r"[a-z_]+\.[a-z_]+", spelt(each.value)) for each in WebhookEvent)
    assert spelt("CREDIT_NOTE_ISSUED") == "credit_note.issued"
    assert spelt("SERVICE_PACKAGE_CHANGED") == "service.package_changed"


# Table, columns that change, and the event that follows.
CHANGES = [
    ("customers", {"name": "Bee Example", "version": 9}, "CUSTOMER_UPDATED"),
    ("customers", {"status": "TERMINATED"}, "CUSTOMER_TERMINATED"),
    ("services", {"status": "EXPIRED"}, "SERVICE_EXPIRED"),
    ("services", {"provisioning": "APPLIED"}, "SERVICE_PROVISIONED"),
    ("services", {"provisioning": "FAILED"}, "SERVICE_PROVISIONING_FAILED"),
    ("routers", {"status": "OFFLINE"}, "ROUTER_OFFLINE"),
    ("routers", {"status": "ONLINE"}, "ROUTER_ONLINE"),
]


async def test_whoever_changes_a_row_raises_its_event(hooks: Hooks, house: House, database: Database) -> None:
    names = [each.value for each in WebhookEvent if each is not WebhookEvent.WEBHOOK_TEST]
    made = await hooks.save(name="All", url=URL, events=names)
    assert made["errors"] == []
    customer = await subscribers.customer(house)
    await subscribers.service(house, customer)
    await house.router()
    for table, values, _ in CHANGES:
        sets = ", ".join(f"{name} = :{name}" for name in values)
        async with database.transaction(house.tenant.id) as session:
            # What stays as it is raises nothing.
            for _ in range(2):
                await session.execute(text(f"UPDATE {table} SET {sets}"), values)
    rows = await hooks.log()
    assert [row["event"] for row in rows] == ["CUSTOMER_CREATED", "SERVICE_CREATED", *(each[2] for each in CHANGES)]
    assert rows[0]["subjectId"] == rows[0]["customerId"] == rows[1]["customerId"]
    assert rows[-1]["customerId"] is None


async def test_what_a_creation_sets_off_is_told_in_order(
    hooks: Hooks, api: Api, house: House, double: WebhookDouble, base: str
) -> None:
    names = [each.value for each in WebhookEvent if each is not WebhookEvent.WEBHOOK_TEST]
    await hooks.endpoint(double, base, *names)
    wizard = await (await Wizard.begin(api, house.admin)).fill(await house.package())
    made = await wizard.confirm()
    assert made["errors"] == []
    await hooks.sweep()
    found = {each.body["type"]: each.body["data"] for each in double.received}
    customer = made["customer"]["id"]
    assert found["customer.created"]["id"] == found["payment.received"]["customerId"] == customer
    assert found["invoice.issued"]["id"] == found["invoice.paid"]["id"] == made["invoice"]["id"]
    assert found["payment.received"]["id"] == made["payment"]["id"]
    order = [each.body["type"] for each in double.received if each.body["data"]["id"] == made["invoice"]["id"]]
    assert order == ["invoice.issued", "invoice.paid"]
