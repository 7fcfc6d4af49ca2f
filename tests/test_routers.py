"""Routers through the API: what is taken, what is refused, what follows, and what is never shown."""

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import delete, select, update

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import secrets
from ispgraph.domain.models import (
    AuditEntry,
    Customer,
    CustomerStatus,
    IdempotencyKey,
    Job,
    ProvisioningState,
    Role,
    Router,
    RouterMode,
    RouterStatus,
    Service,
)
from ispgraph.settings import Settings
from ispgraph.up.ports import free_port
from tests.accounting import account, session
from tests.api import Api
from tests.conftest import Dsns
from tests.factories import NETWORK_KEY, House, uuid_of
from tests.radius import running
from tests.radius.client import ACCEPT, Login, exchange
from tests.wizard import Wizard

PAYLOAD = """router { id name address apiPort apiTls mode status radiusAddress nasIdentifier coaPort pendingJobs }
  jobs { id kind status } radiusSecret errors { code message field }"""
ADD = f"mutation ($input: RouterInput!) {{ routerAdd(input: $input) {{ {PAYLOAD} }} }}"
UPDATE = f"""mutation ($routerId: ID!, $input: RouterInput!) {{
  routerUpdate(routerId: $routerId, input: $input) {{ {PAYLOAD} }} }}"""
TEST = f"mutation ($routerId: ID!) {{ routerTest(routerId: $routerId) {{ {PAYLOAD} }} }}"
RECONCILE = f"""mutation ($routerId: ID!, $dryRun: Boolean! = true) {{
  routerReconcile(routerId: $routerId, dryRun: $dryRun) {{ {PAYLOAD} }} }}"""
EDGE = {"name": "Edge 1", "address": "192.0.2.1", "username": "ispgraph", "password": "An-Api-Password"}
SECRET = "a-Radius-Secret-of-26-char"
FINGERPRINT = ":".join(["AB"] * 32)
REFUSED: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"name": " "}, ("REQUIRED", "input", "name")),
    ({"name": "x" * 101}, ("INVALID", "input", "name")),
    ({"address": ""}, ("REQUIRED", "input", "address")),
    ({"address": "two words"}, ("INVALID", "input", "address")),
    ({"address": "-a.example.net"}, ("INVALID", "input", "address")),
    ({"address": "a..example.net"}, ("INVALID", "input", "address")),
    ({"address": f"{'a' * 64}.net"}, ("INVALID", "input", "address")),
    ({"address": ".".join(["a" * 60] * 5)}, ("INVALID", "input", "address")),
    ({"address": "1.2.3"}, ("INVALID", "input", "address")),
    ({"address": "0.0.0.0"}, ("INVALID", "input", "address")),
    ({"address": "255.255.255.255"}, ("INVALID", "input", "address")),
    ({"address": "224.0.0.1"}, ("INVALID", "input", "address")),
    ({"address": "fe80::1%eth0"}, ("INVALID", "input", "address")),
    ({"address": "http://a.example.net"}, ("INVALID", "input", "address")),
    ({"address": "192.0.2.1:8728"}, ("INVALID", "input", "address")),
    ({"radiusAddress": "::ffff:192.0.2.1"}, ("INVALID", "input", "radiusAddress")),
    ({"radiusAddress": "core.example.net"}, ("INVALID", "input", "radiusAddress")),
    ({"apiPort": 65536}, ("INVALID", "input", "apiPort")),
    ({"coaPort": -1}, ("INVALID", "input", "coaPort")),
    ({"username": ""}, ("REQUIRED", "input", "username")),
    ({"password": ""}, ("REQUIRED", "input", "password")),
    ({"password": "two\nlines"}, ("INVALID", "input", "password")),
    ({"password": "é" * 128}, ("INVALID", "input", "password")),
    ({"radiusSecret": "x" * 15}, ("INVALID", "input", "radiusSecret")),
    ({"radiusSecret": "x" * 65}, ("INVALID", "input", "radiusSecret")),
    ({"radiusSecret": "a secret with spaces"}, ("INVALID", "input", "radiusSecret")),
    ({"radiusSecret": "secret-with-an-é-in-it"}, ("INVALID", "input", "radiusSecret")),
    ({"tlsFingerprint": FINGERPRINT}, ("INVALID", "input", "tlsFingerprint")),
    ({"tlsFingerprint": "g" * 64, "apiTls": True}, ("INVALID", "input", "tlsFingerprint")),
    ({"nasIdentifier": "a\u202eb"}, ("INVALID", "input", "nasIdentifier")),
    ({"idempotencyKey": ""}, ("INVALID", "input", "idempotencyKey")),
]
DRIFT = {"path": "/ppp/secret/jane", "property": "profile", "expected": "gold", "observed": None}


async def added(api: Api, house: House, **changed: Any) -> dict[str, Any]:
    """The payload of routerAdd by the admin."""
    payload: dict[str, Any] = (await api.data(ADD, house.admin, input=EDGE | changed))["routerAdd"]
    return payload


async def updated(api: Api, house: House, router: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """The payload of routerUpdate by the admin; secrets stay, but another address needs the password again."""
    kept = {} if changed.get("address", EDGE["address"]) != EDGE["address"] else {"password": ""}
    given = EDGE | kept | changed
    payload: dict[str, Any] = (await api.data(UPDATE, house.admin, routerId=router["id"], input=given))["routerUpdate"]
    return payload


def found(payload: dict[str, Any]) -> set[tuple[str, ...]]:
    """The errors of a payload, as code and path."""
    return {(error["code"], *error["field"]) for error in payload["errors"]}


async def row(database: Database, house: House, public: str) -> Router:
    """The row behind a router."""
    async with database.read(house.tenant.id) as reading:
        return await reading.get_one(Router, uuid_of(public))


async def rows(database: Database, house: House, model: Any) -> list[Any]:
    """All rows of a table, oldest first."""
    async with database.read(house.tenant.id) as reading:
        return list(await reading.scalars(select(model).order_by(*model.__table__.primary_key)))


def opened(kept: Router) -> tuple[str | None, str | None]:
    """The API password and the RADIUS secret of a row."""
    api = secrets.router_api(kept.tenant_id, kept.id)
    radius = secrets.router_radius(kept.tenant_id, kept.id)
    return (
        secrets.unseal(NETWORK_KEY, kept.api_password, api) if kept.api_password else None,
        secrets.unseal(NETWORK_KEY, kept.radius_secret, radius) if kept.radius_secret else None,
    )


async def put(database: Database, house: House, public: str, **columns: Any) -> None:
    """Set columns of a router as those who look at it would."""
    async with database.transaction(house.tenant.id) as writing:
        await writing.execute(update(Router).where(Router.id == uuid_of(public)).values(**columns))


# -- adding


async def test_a_router_is_added_and_tested_and_its_secret_is_shown_once(
    api: Api, database: Database, house: House
) -> None:
    payload = await added(api, house)
    assert payload["errors"] == []
    router, shown = payload["router"], payload["radiusSecret"]
    assert router == {
        "id": router["id"],
        "name": "Edge 1",
        "address": "192.0.2.1",
        "apiPort": 8728,
        "apiTls": False,
        "mode": "RADIUS",
        "status": "UNKNOWN",
        "radiusAddress": "192.0.2.1",
        "nasIdentifier": None,
        "coaPort": 3799,
        "pendingJobs": 1,
    }
    assert [(job["kind"], job["status"]) for job in payload["jobs"]] == [("router.test", "QUEUED")]
    assert re.fullmatch(r"[!-~]{24,64}", shown)
    kept = await row(database, house, router["id"])
    assert opened(kept) == ("An-Api-Password", shown)
    assert kept.check_at == kept.created_at
    [job] = await rows(database, house, Job)
    assert (job.kind, job.router_id, job.created_by_id) == ("router.test", kept.id, house.admin.id)
    [entry] = await rows(database, house, AuditEntry)
    assert (entry.action, entry.subject_id, entry.details) == ("router.add", kept.id, {"name": "Edge 1"})
    other = await added(api, house, name="Edge 2", address="192.0.2.2")
    assert other["radiusSecret"] != shown


async def test_everything_can_be_said_of_a_router(api: Api, database: Database, house: House) -> None:
    payload = await added(
        api,
        house,
        name="  Tower é ",
        address="Tower-1.Example.NET.",
        apiPort=8729,
        apiTls=True,
        tlsFingerprint=FINGERPRINT,
        mode="LOCAL",
        radiusAddress="2001:DB8::0:7",
        radiusSecret=SECRET,
        coaPort=1700,
        nasIdentifier=" tower ",
    )
    assert payload["errors"] == []
    assert payload["radiusSecret"] is None
    router = payload["router"]
    assert (router["name"], router["address"], router["apiPort"]) == ("Tower é", "tower-1.example.net", 8729)
    assert (router["apiTls"], router["mode"], router["radiusAddress"]) == (True, "LOCAL", "2001:db8::7")
    assert (router["coaPort"], router["nasIdentifier"]) == (1700, "tower")
    kept = await row(database, house, router["id"])
    assert kept.api_fingerprint == "ab" * 32
    assert opened(kept) == ("An-Api-Password", SECRET)


async def test_an_address_is_an_ip_address_or_a_host_name(api: Api, house: House) -> None:
    for given, address, radius in (
        (" 127.0.0.9 ", "127.0.0.9", "127.0.0.9"),
        ("2001:DB8:0:0::1", "2001:db8::1", "2001:db8::1"),
        ("core", "core", None),
        ("a1.example.net", "a1.example.net", None),
        ("1-core.example.net", "1-core.example.net", None),
    ):
        router = (await added(api, house, name=given, address=given))["router"]
        assert (router["address"], router["radiusAddress"]) == (address, radius)


async def test_every_fault_is_told_at_once(api: Api, database: Database, house: House) -> None:
    await added(api, house, radiusSecret=SECRET)
    payload = await added(
        api,
        house,
        address="10.0.0.256",
        username=" ",
        apiPort=0,
        coaPort=65536,
        tlsFingerprint="AB:CD",
        radiusAddress="192.0.2.1",
        radiusSecret=SECRET,
        nasIdentifier="é" * 127,
    )
    assert payload["router"] is None
    assert payload["jobs"] == []
    assert found(payload) == {
        ("TAKEN", "input", "name"),
        ("REQUIRED", "input", "username"),
        ("TAKEN", "input", "radiusAddress"),
        ("TAKEN", "input", "radiusSecret"),
        *(("INVALID", "input", name) for name in ("address", "apiPort", "coaPort", "tlsFingerprint", "nasIdentifier")),
    }
    assert len(await rows(database, house, Router)) == 1


async def test_a_router_is_refused(api: Api, house: House) -> None:
    for changed, error in REFUSED:
        assert found(await added(api, house, **changed)) == {error}, changed


async def test_a_router_that_keeps_its_users_itself_needs_a_login(api: Api, house: House) -> None:
    bare = {"username": "", "password": ""}
    assert found(await added(api, house, mode="LOCAL", **bare)) == {
        ("REQUIRED", "input", "username"),
        ("REQUIRED", "input", "password"),
    }
    payload = await added(api, house, **bare)
    assert (payload["errors"], payload["jobs"]) == ([], [])
    router = payload["router"]["id"]
    for document in (TEST, RECONCILE):
        [payload] = (await api.data(document, house.admin, routerId=router)).values()
        expected = set() if document == TEST else {("NOT_CONFIGURED", "routerId")}
        assert found(payload) == expected, "its RADIUS secret can be tried"


async def test_a_password_is_not_sent_to_another_address_than_it_was_given_for(api: Api, house: House) -> None:
    router = (await added(api, house))["router"]
    payload = await updated(api, house, router, address="192.0.2.66", password="")
    assert found(payload) == {("REQUIRED", "input", "password")}


async def test_the_address_of_radius_packets_is_of_one_router_of_all_tenants(
    api: Api, house: House, other_house: House
) -> None:
    await added(api, house, radiusAddress="198.51.100.7")
    again = {"name": "Edge 2", "address": "192.0.2.2"}
    near = await added(api, house, **again, radiusAddress="198.51.100.7")
    far = await added(api, other_house, radiusAddress="198.51.100.7")
    assert found(near) == found(far) == {("TAKEN", "input", "radiusAddress")}
    # Whose it is cannot be told from the answer.
    assert near["errors"] == far["errors"]
    # Where it is the address that was meant, it is the address that is taken.
    assert found(await added(api, other_house, address="198.51.100.7")) == {("TAKEN", "input", "address")}
    # A name and an address of the API are each tenant's own.
    assert (await added(api, other_house, radiusAddress="198.51.100.8"))["errors"] == []


async def test_of_many_at_once_one_gets_the_name(api: Api, database: Database, house: House) -> None:
    payloads = await asyncio.gather(
        *(added(api, house, address=f"192.0.2.{number}", idempotencyKey=f"k{number}") for number in range(1, 9))
    )
    assert sum(not payload["errors"] for payload in payloads) == 1
    assert set().union(*map(found, payloads)) == {("TAKEN", "input", "name")}
    assert len(await rows(database, house, Router)) == len(await rows(database, house, Job)) == 1


async def test_no_two_routers_of_a_tenant_share_a_secret(api: Api, house: House, other_house: House) -> None:
    first = (await added(api, house, radiusSecret=SECRET))["router"]
    second = (await added(api, house, name="Edge 2", address="192.0.2.2"))["router"]
    named = {"name": "Edge 2", "address": "192.0.2.2"}
    assert found(await updated(api, house, second, **named, radiusSecret=SECRET)) == {
        ("TAKEN", "input", "radiusSecret")
    }
    assert (await updated(api, house, first, radiusSecret=SECRET))["errors"] == []
    # Another tenant's is nobody's business here.
    payload = await added(api, other_house, address="192.0.2.3", radiusSecret=SECRET)
    assert payload["errors"] == []


async def test_a_secret_that_no_longer_opens_is_equal_to_none(api: Api, database: Database, house: House) -> None:
    router = (await added(api, house))["router"]
    await put(database, house, router["id"], radius_secret=b"\1" + bytes(80), api_password=b"\1" + bytes(80))
    assert (await added(api, house, name="B", address="192.0.2.2", radiusSecret=SECRET))["errors"] == []
    other = SECRET[::-1]
    assert (await updated(api, house, router, password="fresh", radiusSecret=other))["errors"] == []
    assert opened(await row(database, house, router["id"])) == ("fresh", other)


# -- changing


async def test_updating_replaces_all_but_secrets_that_are_left_out(api: Api, database: Database, house: House) -> None:
    payload = await added(api, house, apiTls=True, tlsFingerprint=FINGERPRINT, nasIdentifier="edge", coaPort=1700)
    router, secret = payload["router"], payload["radiusSecret"]
    payload = await updated(api, house, router, name="Edge B", username="other", radiusSecret="")
    assert (payload["errors"], payload["radiusSecret"]) == ([], None)
    shown = payload["router"]
    assert (shown["id"], shown["name"], shown["apiTls"]) == (router["id"], "Edge B", False)
    assert (shown["nasIdentifier"], shown["coaPort"]) == (None, 3799)
    kept = await row(database, house, router["id"])
    assert (kept.api_username, kept.api_fingerprint, opened(kept)) == ("other", None, ("An-Api-Password", secret))
    await updated(api, house, router, password="A-New-Password", radiusSecret=SECRET)
    assert opened(await row(database, house, router["id"])) == ("A-New-Password", SECRET)
    changes = [entry.details for entry in await rows(database, house, AuditEntry) if entry.action == "router.update"]
    assert changes == [
        {"changed": ["api_fingerprint", "api_tls", "api_username", "coa_port", "name", "nas_identifier"]},
        {"changed": ["api_password", "api_username", "name", "radius_secret"]},
    ]


async def test_the_same_terms_again_change_nothing(api: Api, database: Database, house: House) -> None:
    router = (await added(api, house, radiusAddress="2001:db8::7", radiusSecret=SECRET))["router"]
    before = await row(database, house, router["id"])
    for given in ({}, {"password": "An-Api-Password", "radiusSecret": SECRET}):
        payload = await updated(api, house, router, radiusAddress="2001:db8::7", **given)
        assert (payload["router"], payload["jobs"], payload["errors"]) == (router, [], [])
    after = await row(database, house, router["id"])
    assert (after.check_at, after.api_password) == (before.check_at, before.api_password)
    assert len(await rows(database, house, AuditEntry)) == 1


@pytest.mark.parametrize(
    ("changed", "reconciled"),
    [
        ({"address": "192.0.2.77"}, True),
        ({"radiusAddress": "192.0.2.78"}, True),
        ({"apiPort": 8738}, True),
        ({"mode": "LOCAL"}, True),
        ({"name": "Edge B", "coaPort": 1700, "password": "another one"}, False),
        ({"address": "192.0.2.77", "username": "", "password": ""}, False),
    ],
)
async def test_a_router_in_another_place_is_compared_with_what_it_should_hold(
    api: Api, database: Database, house: House, changed: dict[str, Any], reconciled: bool
) -> None:
    router = (await added(api, house))["router"]
    payload = await updated(api, house, router, **changed)
    assert payload["errors"] == []
    assert [job["kind"] for job in payload["jobs"]] == ["router.reconcile"] * reconciled
    promised = [job.arguments for job in await rows(database, house, Job) if job.kind == "router.reconcile"]
    assert promised == [{"dryRun": True}] * reconciled


async def test_a_changed_router_is_looked_at_at_once_and_another_device_is_expected_at_another_address(
    api: Api, database: Database, house: House, moved_clock: None
) -> None:
    router = (await added(api, house))["router"]
    now = clock.now()
    met = {"serial": "HX1", "board": "CCR2004", "version": "7.19.4", "status": RouterStatus.OFFLINE, "problem": "Away."}
    waiting = {
        "failures": 5,
        "unreachable_since": now - timedelta(hours=1),
        "retry_at": now + timedelta(minutes=1),
        "check_at": now + timedelta(hours=1),
    }
    await put(database, house, router["id"], **met, **waiting)
    clock.set_clock("+60")
    await updated(api, house, router, coaPort=1700)
    kept = await row(database, house, router["id"])
    assert (kept.failures, kept.unreachable_since, kept.retry_at) == (0, None, None)
    assert now + timedelta(seconds=59) < kept.check_at <= clock.now()
    assert {name: getattr(kept, name) for name in met} == met
    await updated(api, house, router, coaPort=1700, address="192.0.2.77")
    kept = await row(database, house, router["id"])
    assert (kept.serial, kept.board, kept.version, kept.problem) == (None, None, None, None)
    assert kept.status is RouterStatus.UNKNOWN


async def test_a_router_that_turns_to_radius_gets_a_secret(api: Api, database: Database, house: House) -> None:
    payload = await added(api, house, mode="LOCAL")
    assert payload["radiusSecret"] is None
    router = payload["router"]
    assert (await row(database, house, router["id"])).radius_secret is None
    shown = (await updated(api, house, router))["radiusSecret"]
    kept = await row(database, house, router["id"])
    assert (kept.mode, opened(kept)) == (RouterMode.RADIUS, ("An-Api-Password", shown))
    # And keeps it when it turns away again.
    assert (await updated(api, house, router, mode="LOCAL"))["radiusSecret"] is None
    assert opened(await row(database, house, router["id"])) == ("An-Api-Password", shown)


async def test_a_login_that_is_taken_away_is_gone(api: Api, database: Database, house: House) -> None:
    router = (await added(api, house))["router"]
    assert (await updated(api, house, router, username=""))["errors"] == []
    kept = await row(database, house, router["id"])
    assert (kept.api_username, kept.api_password) == (None, None)
    assert found(await updated(api, house, router)) == {("REQUIRED", "input", "password")}


async def test_a_name_that_is_taken_is_refused_in_an_update_too(api: Api, house: House) -> None:
    await added(api, house)
    second = (await added(api, house, name="Edge 2", address="192.0.2.2"))["router"]
    payload = await updated(api, house, second, password="An-Api-Password")
    assert found(payload) == {("TAKEN", "input", "name"), ("TAKEN", "input", "address")}


# -- once


async def test_one_key_adds_one_router(api: Api, database: Database, house: House) -> None:
    first = await added(api, house, idempotencyKey="k")
    again = await added(api, house, idempotencyKey="k")
    assert first["radiusSecret"] is not None
    assert again == first | {"radiusSecret": None}
    assert found(await added(api, house, idempotencyKey="k", password="other")) == {
        ("IDEMPOTENCY_KEY_REUSED", "input", "idempotencyKey")
    }
    payloads = await asyncio.gather(
        *(added(api, house, name="Edge 2", address="192.0.2.2", idempotencyKey="raced") for _ in range(5))
    )
    assert len({payload["router"]["id"] for payload in payloads}) == 1
    assert sum(payload["radiusSecret"] is not None for payload in payloads) == 1
    assert len(await rows(database, house, Router)) == len(await rows(database, house, Job)) == 2


async def test_one_key_changes_a_router_once(api: Api, database: Database, house: House) -> None:
    router = (await added(api, house))["router"]
    first = await updated(api, house, router, address="192.0.2.8", idempotencyKey="k")
    await updated(api, house, router, address="192.0.2.9")
    again = await updated(api, house, router, address="192.0.2.8", idempotencyKey="k")
    assert again["jobs"] == first["jobs"]
    assert again["router"]["address"] == "192.0.2.9"
    other = (await added(api, house, name="Edge 2"))["router"]
    payload = await updated(api, house, other, address="192.0.2.8", idempotencyKey="k")
    assert found(payload) == {("IDEMPOTENCY_KEY_REUSED", "input", "idempotencyKey")}


# -- asking for it


async def test_a_test_and_a_comparison_are_promised(api: Api, database: Database, house: House) -> None:
    router = (await added(api, house))["router"]
    made = []
    for document, given in ((TEST, {}), (RECONCILE, {}), (RECONCILE, {"dryRun": False})):
        [payload] = (await api.data(document, house.admin, routerId=router["id"], **given)).values()
        assert (payload["errors"], payload["router"]["id"]) == ([], router["id"])
        made += payload["jobs"]
    assert {job["status"] for job in made} == {"QUEUED"}
    kept = (await rows(database, house, Job))[1:]
    assert [ids.encode("job", job.id) for job in kept] == [job["id"] for job in made]
    assert [(job.kind, job.arguments) for job in kept] == [
        ("router.test", {}),
        ("router.reconcile", {"dryRun": True}),
        ("router.reconcile", {"dryRun": False}),
    ]
    trail = (await rows(database, house, AuditEntry))[1:]
    assert [(entry.action, entry.details) for entry in trail] == [
        ("router.test", {}),
        ("router.reconcile", {"dry_run": True}),
        ("router.reconcile", {"dry_run": False}),
    ]


async def test_routers_are_managed_with_the_permission_and_in_the_own_tenant(
    api: Api, house: House, other_house: House
) -> None:
    router = (await added(api, house))["router"]["id"]
    staff = await house.operator(Role.STAFF)
    documents: dict[str, dict[str, Any]] = {
        ADD: {"input": EDGE},
        UPDATE: {"routerId": router, "input": EDGE},
        TEST: {"routerId": router},
        RECONCILE: {"routerId": router},
    }
    for document, variables in documents.items():
        for who, code in ((staff, "FORBIDDEN"), (None, "UNAUTHENTICATED")):
            answer = await api(document, who, **variables)
            assert answer["errors"][0]["extensions"]["code"] == code
        if "routerId" in variables:
            for public in (router, "rtr_1", router.replace("rtr", "job"), ids.encode("rtr", UUID(int=0))):
                [payload] = (await api.data(document, other_house.admin, **variables | {"routerId": public})).values()
                assert found(payload) == {("NOT_FOUND", "routerId")}


# -- what is shown


async def test_nothing_secret_is_shown_or_kept_in_clear(
    api: Api, dsns: Dsns, house: House, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    words = ["Api-Word-One", "Api-Word-Two", SECRET, SECRET[::-1]]
    answers = [await added(api, house, password=words[0], radiusSecret=words[2], idempotencyKey="k")]
    router = answers[0]["router"]
    answers.append(await updated(api, house, router, password=words[1], radiusSecret=words[3], idempotencyKey="l"))
    answers.append(await added(api, house, password=words[1], radiusSecret=words[3]))
    fields = "id name serial problem radiusAddress drift { path }"
    answers.append(await api.data(f"{{ routers {{ {fields} }} }}", house.admin))
    answers.append(await api(ADD, house.admin, input=EDGE | {"password": words[0], "apiPort": "x"}))
    answers.append(await api.data('{ __type(name: "Router") { fields { name } } }', house.admin))
    shown = f"{answers} {caplog.text} {capsys.readouterr()}"
    dump = await dumped(dsns.superuser)
    assert "Edge 1" in shown
    assert "Edge 1" in dump
    for word in words:
        assert word not in shown
        assert word not in dump
        assert word.encode().hex() not in dump


async def dumped(superuser: str) -> str:
    """Every row of every table."""
    connection = await asyncpg.connect(superuser)
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    texts = [
        str(await connection.fetchval(f'SELECT json_agg(t)::text FROM "{table["tablename"]}" t')) for table in tables
    ]
    await connection.close()
    return "\n".join(texts)


async def test_a_key_keeps_no_hash_that_a_password_could_be_guessed_from(
    api: Api, database: Database, house: House, settings: Settings, valkey: Any
) -> None:
    """The same input under another network key leaves another hash: without the key nothing can be tried."""
    hashes = []
    for key in (settings.network_key, bytes(32)):
        other = Api(database, valkey, replace(settings, network_key=key))
        await added(other, house, idempotencyKey="k")
        [kept] = await rows(database, house, IdempotencyKey)
        hashes.append(kept.input_hash)
        async with database.transaction(house.tenant.id) as writing:
            await writing.execute(delete(IdempotencyKey))
            moved = {"name": f"Moved {len(hashes)}", "radius_address": None}
            await writing.execute(update(Router).where(Router.name == "Edge 1").values(moved))
        await other.close()
    assert hashes[0] != hashes[1]


async def test_a_router_tells_how_it_is(
    api: Api, database: Database, house: House, other_house: House, settings: Settings, valkey: Any
) -> None:
    router = (await added(api, house, address="core.example.net"))["router"]
    at = clock.now().replace(microsecond=0)
    spoken = at.isoformat().replace("+00:00", "Z")
    instants = ("last_seen_at", "accounting_last_seen_at", "unreachable_since", "retry_at", "reconciled_at")
    second = {"path": "/ip/pool/home", "property": None, "expected": None, "observed": "10.0.0.0/24"}
    await put(
        database,
        house,
        router["id"],
        **dict.fromkeys(instants, at),
        status=RouterStatus.DEGRADED,
        problem="Its clock is wrong.",
        board="CCR2004",
        serial="HX1",
        version="7.19.4",
        drift=[DRIFT, second],
    )
    document = """{ routers { status problem board serial version lastSeenAt accountingLastSeenAt unreachableSince
      retryAt reconciledAt drift { path property expected observed } radiusAddress } }"""
    [shown] = (await api.data(document, house.admin))["routers"]
    assert shown == {
        "status": "DEGRADED",
        "problem": "Its clock is wrong.",
        "board": "CCR2004",
        "serial": "HX1",
        "version": "7.19.4",
        "lastSeenAt": spoken,
        "accountingLastSeenAt": spoken,
        "unreachableSince": spoken,
        "retryAt": spoken,
        "reconciledAt": spoken,
        "drift": [DRIFT, second],
        "radiusAddress": None,
    }
    loaded = Api(database, valkey, replace(settings, compiled_reads=False))
    assert (await loaded.data(document, house.admin))["routers"] == [shown]
    await loaded.close()
    # What is on a router may be the customers of others.
    staff = await house.operator(Role.STAFF)
    assert (await api.data(document, staff))["routers"] == [shown | {"drift": []}]
    assert (await api.data(document, other_house.admin))["routers"] == []


async def test_sessions_on_a_router_are_counted_by_who_may_see_them(
    api: Api, owner: Database, database: Database, house: House, settings: Settings, valkey: Any
) -> None:
    loaded = Api(database, valkey, replace(settings, compiled_reads=False))
    busy, idle = await house.router("127.0.0.1", name="A"), await house.router("127.0.0.2", name="B")
    reseller = await house.operator(Role.OPERATOR)
    blind = await house.operator(Role.STAFF, permissions=[])
    people = [await customer(house, number, who.id) for number, who in enumerate((house.admin, reseller, reseller))]
    at = clock.now()
    sessions = [session(each, at, router_id=busy.id) for each in people]
    sessions.append(session(people[1], at, router_id=busy.id, stopped_at=at))
    unknown = session(people[0], at, router_id=busy.id)
    unknown.customer_id = None
    await account(owner, house, *sessions, unknown, session(people[1], at, router_id=idle.id))
    for who, counts in ((house.admin, [4, 1]), (reseller, [2, 1]), (blind, [0, 0])):
        for way in (api, loaded):
            shown = await way.data("{ routers { onlineSessions } }", who)
            assert [each["onlineSessions"] for each in shown["routers"]] == counts
    await loaded.close()


async def customer(house: House, number: int, operator_id: UUID) -> Customer:
    """A customer of an operator."""
    made = Customer(account_number=f"C{number}", name="Example", mobile="+8801712345678", operator_id=operator_id)
    made.status = CustomerStatus.ACTIVE
    await house.add(made)
    return made


async def test_a_service_tells_how_the_network_has_it(api: Api, database: Database, house: House) -> None:
    wizard = await (await Wizard.begin(api, house.admin)).fill(await house.package())
    made = (await wizard.confirm())["customer"]
    document = """query ($id: ID!) { customer(by: { id: $id }) { service { network {
      state problem desiredVersion drift { path property expected observed } } } } }"""

    async def shown() -> dict[str, Any]:
        data = await api.data(document, house.admin, id=made["id"])
        network: dict[str, Any] = data["customer"]["service"]["network"]
        return network

    before = await shown()
    assert (before["problem"], before["drift"]) == (None, [])
    async with database.transaction(house.tenant.id) as writing:
        problem = "The router does not answer."
        state = {"provisioning": ProvisioningState.UNREACHABLE, "network_problem": problem, "drift": [DRIFT]}
        await writing.execute(update(Service).values(**state))
    after = await shown()
    assert (after["state"], after["problem"], after["drift"]) == ("UNREACHABLE", problem, [DRIFT])


# -- what RADIUS makes of it


@contextlib.contextmanager
def servers(settings: Settings) -> Iterator[dict[str, tuple[str, int]]]:
    """The responder and, where it is installed, FreeRADIUS: their addresses."""
    kinds = ["responder"] + ["freeradius"] * running.FREERADIUS.exists()
    with contextlib.ExitStack() as stack:
        started = {}
        for kind in kinds:
            ports = {name: free_port(socket.SOCK_DGRAM) for name in ("radius_auth_port", "radius_acct_port")}
            run = getattr(running, kind)(replace(settings, **ports))
            started[kind] = stack.enter_context(run).address
        yield started


async def accepted(server: tuple[str, int], secret: str, seconds: float) -> float:
    """After how many seconds a login over the router is accepted."""
    login = Login("jane", "a-Password-1", nas="127.0.0.77")
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while loop.time() < begun + seconds:
        answer = await asyncio.to_thread(exchange, server, login, secret.encode(), wait=0.5)
        if answer is not None:
            assert answer.code == ACCEPT
            return loop.time() - begun
        await asyncio.sleep(0.25)
    raise AssertionError(f"nobody got in within {seconds} s")


async def jane(api: Api, house: House) -> None:
    """A customer who pays."""
    wizard = await (await Wizard.begin(api, house.admin)).fill(await house.package())
    assert (await wizard.confirm())["customer"]["status"] == "ACTIVE"


async def test_users_of_a_router_that_was_just_added_get_on_line(api: Api, house: House, settings: Settings) -> None:
    await jane(api, house)
    with servers(settings) as started:
        # A stranger's packets, so that what is remembered of strangers is waited for as well.
        for server in started.values():
            stranger = Login("jane", "a-Password-1", nas="127.0.0.77")
            assert exchange(server, stranger, SECRET.encode(), wait=0.3) is None
        secret = (await added(api, house, address="127.0.0.77"))["radiusSecret"]
        await asyncio.gather(*(accepted(server, secret, 15) for server in started.values()))


@pytest.mark.long
async def test_another_secret_is_known_within_a_minute(api: Api, house: House, settings: Settings) -> None:
    await jane(api, house)
    payload = await added(api, house, address="127.0.0.77")
    router, secret = payload["router"], payload["radiusSecret"]
    with servers(settings) as started:
        await asyncio.gather(*(accepted(server, secret, 10) for server in started.values()))
        changed = await updated(api, house, router, address="127.0.0.77", radiusSecret=SECRET)
        assert changed["errors"] == []
        await asyncio.gather(*(accepted(server, SECRET, 40) for server in started.values()))
