"""The collection of operations is true: every file is valid, says who may, and does in the demo what it is for."""

import asyncio
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from graphql import FieldNode, OperationDefinitionNode, build_schema, parse, validate
from redis.asyncio import Redis
from sqlalchemy import func, select
from starlette.applications import Starlette
from strawberry.utils.str_converters import to_camel_case

from ispgraph import clock, demo
from ispgraph.api.server import Server
from ispgraph.db import Database
from ispgraph.domain.models import Customer, Service, Tenant, WebhookDelivery
from ispgraph.domain.webhooks.catalogue import WebhookEvent
from ispgraph.resolvers.base import told
from ispgraph.resolvers.build import Mutation, Query, Subscription
from ispgraph.schema.words.events import EVENTS
from ispgraph.settings import Settings
from ispgraph.up.ports import free_port
from tests import repeating
from tests.accounting import session as open_session
from tests.api import Api, schema
from tests.factories import PASSWORD_HASH
from tests.operations import Memory, Operation, collection
from tests.repeating import keyed
from tests.test_once import WITHOUT
from tests.watching import watcher

# Root fields that no operation uses, each with the reason.
LEFT_OUT = {
    "portalUploadAssets": "it takes files, by a multipart request: docs/people.md shows one",
}

# What the demo answers with an error: there is nothing of the kind in it, without a network, that could be acted upon.
REFUSED = {
    "01-signing-in/second-factor": "INVALID",
    "01-signing-in/reset-password": "INVALID",
    "01-signing-in/two-factor-confirm": "INVALID",
    "01-signing-in/two-factor-disable": "INVALID_STATE",
    "04-actions/activate-fair-use": "INVALID_STATE",
    "04-actions/disconnect": "INVALID_STATE",
    "04-actions/reset-fair-use": "INVALID_STATE",
    "04-actions/bulk-message": "NOT_CONFIGURED",
    "04-actions/send-sms": "NOT_CONFIGURED",
    "05-billing/check-gateway-payment": "INVALID_STATE",
    "05-billing/reject-gateway-payment": "NOT_FOUND",
    "05-billing/check-gateway-refund": "NOT_FOUND",
    "05-billing/confirm-gateway-refund": "NOT_FOUND",
    "05-billing/reject-gateway-refund": "NOT_FOUND",
    "08-operators/remove-second-factor": "INVALID_STATE",
    "09-network/read-users": "NOT_CONFIGURED",
    "09-network/refresh-hosting": "INVALID_STATE",
    "11-portals/accept-invitation": "INVALID",
    "14-importing/begin": "NOT_FOUND",
    "14-importing/report": "NOT_FOUND",
    "14-importing/run": "NOT_FOUND",
    "14-importing/undo": "NOT_FOUND",
    "15-webhooks/redeliver": "INVALID_STATE",
}

# Who does what ends the sign-in of whoever does it.
WHO = {
    "01-signing-in/change-password": "ACCOUNTANT",
    "01-signing-in/end-sign-in": "MANAGER",
    "01-signing-in/renew-token": "STAFF",
    "01-signing-in/sign-out": "STAFF",
    "16-self-care/preferences": "CUSTOMER",
}

# What comes before many others is done once: there is one router at an address, and one new customer is enough for all
# who leave the service as it is.
ONCE = {"03-wizard/9-confirm", "09-network/add-router"}
APART = {
    "02-customers/request-transfer",
    "02-customers/decide-transfer",
    "04-actions/activate",
    "04-actions/activate-several",
    "04-actions/change-package",
    "04-actions/plan-package-change",
    "04-actions/suspend",
    "04-actions/suspend-several",
}

# What nobody asks again with the same token or the same key.
ENDS_IT = WITHOUT | {"passwordChange", "signInEnd"}

# What the second answer to a key lacks, or has anew.
TOLD_ONCE = frozenset(
    {"token", "expiresAt", "secret", "uri", "recoveryCodes", "credentials", "radiusSecret", "receiptUrl"}
)

LISTEN = """mutation ($events: [WebhookEvent!]!) {
  webhookEndpointSave(input: {name: "Everything", url: "https://panel.example.com/all", events: $events}) {
    errors { message } } }"""
SIGN_IN = "mutation ($input: SignInInput!) { signIn(input: $input) { token errors { message } } }"


def roots(operation: Operation) -> list[str]:
    document = parse(operation.document)
    (definition,) = (one for one in document.definitions if isinstance(one, OperationDefinitionNode))
    return [one.name.value for one in definition.selection_set.selections if isinstance(one, FieldNode)]


def kind(operation: Operation) -> str:
    (definition,) = (one for one in parse(operation.document).definitions if isinstance(one, OperationDefinitionNode))
    return str(definition.operation.value)


def accesses() -> dict[str, str]:
    found = {}
    for type_ in (Query, Mutation, Subscription):
        for field in type_.__strawberry_definition__.fields:  # type: ignore[attr-defined]
            found[to_camel_case(field.python_name)] = told(field.access)
    return found


def test_every_operation_is_valid_and_says_who_may() -> None:
    built, access = build_schema(schema().as_str()), accesses()
    assert len(collection()) > 150
    for path, one in collection().items():
        assert validate(built, parse(one.document)) == [], path
        assert one.permission == ", ".join(sorted({access[root] for root in roots(one)})), path
        assert set(one.first) <= set(collection()), path
        declared = re.findall(r"\$(\w+):", one.document.split("{")[0] if one.variables == {} else one.document)
        assert set(one.variables) <= set(declared), path
    titles = [(one.path.split("/")[0], one.title) for one in collection().values()]
    assert len(set(titles)) == len(titles)


def test_every_root_field_has_an_operation() -> None:
    used = {root for one in collection().values() for root in roots(one)}
    assert set(accesses()) - used == set(LEFT_OUT), "add a file to examples/operations, or a reason"


class Walk:
    """Somebody at the playground, signed in to the demo."""

    def __init__(self, api: Api, operators: list[demo.SignInOf]) -> None:
        self.api = api
        self.operators = {one["role"]: one for one in operators if one["tenant"] == "example-net"}
        self.once: dict[str, Any] = {}
        self.counted: Callable[[], Awaitable[Counter[str]]] | None = None
        """Counts what webhooks were promised, by event."""
        self.heard: dict[str, set[str]] = {}
        """Which events each mutation raised."""
        self.contents: Callable[[], Awaitable[dict[str, Any]]] | None = None
        """Tells what stands in the database: then each mutation is asked again with its idempotency key."""
        self.repeated: dict[str, Any] = {}
        """The operations that did more when they were asked again, or had another answer."""

    async def sign_in(self, role: str) -> str:
        if role == "CUSTOMER":
            one = collection()["16-self-care/sign-in"]
            return str((await self.api.data(one.document, **one.variables))["customerSignIn"]["token"])
        given = {name: self.operators[role][name] for name in ("email", "password", "tenant")}  # type: ignore[literal-required]
        answer = (await self.api.data(SIGN_IN, input=given))["signIn"]
        assert answer["errors"] == []
        return str(answer["token"])

    async def carry_out(self, one: Operation, memory: Memory, token: str, done: set[str]) -> list[str]:
        """Do what comes first, once, and then this; what was wrong."""
        for path in one.first:
            if path not in done and (wrong := await self.carry_out(collection()[path], memory, token, done)):
                return wrong
        if one.path in self.once:
            memory.remember(self.once[one.path])
            return []
        before = await self.counted() if self.counted else Counter()
        document, variables = one.document, memory.fill(one.variables)
        if kind(one) == "mutation":
            document, variables = keyed(schema()._schema, document, variables, secrets.token_hex(8))
        answer = await self.api(document, token=token, **variables)
        if self.counted and kind(one) == "mutation":
            for root in roots(one):
                self.heard.setdefault(root, set()).update(await self.counted() - before)
        memory.remember(answer.get("data"))
        done.add(one.path)
        if one.path in ONCE:
            self.once[one.path] = answer.get("data")
        if answer.get("errors"):
            return [str(error) for error in answer["errors"]]
        wrong = [f"{error['code']} {error['message']} ({one.path})" for error in _errors(answer["data"])]
        if kind(one) == "mutation" and self.contents and not wrong and not ENDS_IT & set(roots(one)):
            there = await self.contents()
            again = await self.api(document, token=token, **variables)
            same = _untold(again.get("data")) == _untold(answer["data"])
            changed = {name for name, rows in (await self.contents()).items() if rows != there[name]}
            if not same or changed:
                self.repeated[one.path] = (sorted(changed), again, answer)
        return wrong


def _untold(value: Any) -> Any:
    """An answer without what is told once, and without until when its links are good: they are signed each time."""
    if isinstance(value, str):
        return value.partition("?expires=")[0]
    if isinstance(value, dict):
        return {name: _untold(each) for name, each in value.items() if name not in TOLD_ONCE}
    return [_untold(each) for each in value] if isinstance(value, list) else value


def _errors(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        own = value.get("errors") or []
        return [*own, *(error for key, one in value.items() if key != "errors" for error in _errors(one))]
    return [error for one in value for error in _errors(one)] if isinstance(value, list) else []


@pytest.fixture
async def walk(settings: Settings, api: Api, valkey: "Redis", owner: Database) -> Walk:
    found = Walk(api, (await demo.run(settings))["operators"])
    tenant, customer = await aster(owner)
    async with owner.transaction(tenant.id) as session:
        (await session.get_one(Customer, customer.id)).password_hash = PASSWORD_HASH
    return found


async def aster(owner: Database) -> tuple[Tenant, Customer]:
    async with owner.read(None) as session:
        tenant = (await session.scalars(select(Tenant).where(Tenant.slug == "example-net"))).one()
    async with owner.read(tenant.id) as session:
        return tenant, (await session.scalars(select(Customer).where(Customer.name == "Aster Example"))).one()


async def everything_is_told_to_somebody(walk: Walk, owner: Database, token: str) -> None:
    tenant, _ = await aster(owner)
    events = [event.value for event in WebhookEvent if event is not WebhookEvent.WEBHOOK_TEST]
    saved = await walk.api.data(LISTEN, token=token, events=events)
    assert saved["webhookEndpointSave"]["errors"] == []
    counts = select(WebhookDelivery.event, func.count()).group_by(WebhookDelivery.event)

    async def counted() -> Counter[str]:
        async with owner.read(tenant.id) as session:
            return Counter(dict((await session.execute(counts)).all()))

    async def contents() -> dict[str, Any]:
        async with owner.read(tenant.id) as session:
            return await repeating.contents(session)

    walk.counted, walk.contents = counted, contents


async def test_every_operation_does_in_the_demo_what_it_is_for(walk: Walk, owner: Database) -> None:
    token = await walk.sign_in("ADMIN")
    await everything_is_told_to_somebody(walk, owner, token)
    found = {}
    for path, one in collection().items():
        if kind(one) == "subscription":
            continue
        own = await walk.sign_in(WHO[path]) if path in WHO else token
        if path in APART:
            walk.once.pop("03-wizard/9-confirm", None)
        wrong = await walk.carry_out(one, Memory(), own, set())
        expected = REFUSED.get(path)
        if [error.split()[0] for error in wrong] != ([expected] if expected else []):
            found[path] = wrong
    assert found == {}
    assert walk.repeated == {}
    assert len([root for root, events in walk.heard.items() if events]) > 20
    untold = {root: events - set(EVENTS.get(root, "").split()) for root, events in walk.heard.items()}
    assert {root: events for root, events in untold.items() if events} == {}, "see ispgraph/schema/words/events.py"


async def somebody_is_on_line(owner: Database) -> None:
    tenant, customer = await aster(owner)
    async with owner.transaction(tenant.id) as session:
        line = await session.scalar(select(Service).where(Service.customer_id == customer.id))
        assert line is not None
        row = open_session(customer, clock.now() - timedelta(hours=1), service_id=line.id, username=line.username)
        row.tenant_id = tenant.id
        session.add(row)


@asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    """The application behind the product's server, in this loop; where its WebSocket is."""
    port = free_port()
    server = Server(app, "127.0.0.1", port)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        assert not serving.done()
        await asyncio.sleep(0.01)
    yield f"ws://127.0.0.1:{port}/graphql"
    server.should_exit = True
    await serving


async def test_every_subscription_tells_something(walk: Walk, owner: Database) -> None:
    await somebody_is_on_line(owner)
    token = await walk.sign_in("ADMIN")
    async with served(walk.api.app) as url, watcher(url, token) as panel:
        for path, one in collection().items():
            if kind(one) != "subscription":
                continue
            memory = Memory()
            for first in one.first:
                assert await walk.carry_out(collection()[first], memory, token, set()) == []
            await panel.subscribe(path, one.document, **memory.fill(one.variables))
            if path == "13-watching/jobs":
                # Of a job there is something to tell when it is promised.
                suspend = collection()["04-actions/suspend"]
                await asyncio.sleep(0.5)
                assert await walk.carry_out(suspend, memory, token, {"03-wizard/9-confirm"}) == []
            assert await panel.until(lambda events: events, path), path
