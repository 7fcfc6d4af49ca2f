"""Every root field, as every role and as nobody, about one's own objects and those of others: what comes of it is what
`access_table` says and nothing more, and what one may not see is not there.

The fields, their arguments and the shape of their answers are read from schema.graphql, the objects are those of the
mirrored providers, and no mutation leaves anything behind. A new field, and a new kind of id, has to be told of here.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    build_schema,
    get_named_type,
    is_leaf_type,
    is_required_input_field,
)
from redis.asyncio import Redis
from starlette.requests import HTTPConnection

from ispgraph import clock, mirror
from ispgraph.db import Database
from ispgraph.domain.models import Role
from ispgraph.domain.permissions import DEFAULTS, Permission
from ispgraph.resolvers.build import Mutation, Query, Subscription
from ispgraph.resolvers.context import ContextFactory
from ispgraph.schema.base import KINDS
from ispgraph.settings import Settings
from tests.access_table import CUSTOMERS, CUSTOMERS_MAY, EITHER, MUTATION, PUBLIC, QUERY, SIGNED_IN, SUBSCRIPTION
from tests.api import Api, schema
from tests.servers import ROOT
from tests.undone import undone

GRAPH = build_schema((ROOT / "schema.graphql").read_text())
NOBODY = "nobody"
FOREIGN = "foreign"
PLACES = ("house", "reseller", "below", "sibling", FOREIGN)


@dataclass(frozen=True)
class Viewer:
    """Somebody who signs in: by name in the mirror, with a role's permissions, and whose things are seen."""

    name: str
    role: Role
    sees: frozenset[str]
    commands: frozenset[str]
    """Below whom the operators stand who belong to these places."""
    customer: bool = False
    """Whether it is a customer who has signed in, not an operator."""

    @property
    def permissions(self) -> set[str]:
        return {permission.value for permission in DEFAULTS[self.role]}


_HOUSE = frozenset(PLACES) - {FOREIGN}
_NONE: frozenset[str] = frozenset()
# One line for each role; another kind of viewer is another line.
VIEWERS = [
    Viewer("super-admin", Role.SUPER_ADMIN, _HOUSE, _HOUSE),
    Viewer("admin", Role.ADMIN, _HOUSE, _HOUSE),
    Viewer("manager", Role.MANAGER, _HOUSE, _NONE),
    Viewer("accountant", Role.ACCOUNTANT, _HOUSE, _NONE),
    Viewer("staff", Role.STAFF, _HOUSE, _NONE),
    Viewer("operator", Role.OPERATOR, frozenset({"reseller", "below"}), frozenset({"reseller", "below"})),
    Viewer("sub-operator", Role.SUB_OPERATOR, frozenset({"below"}), _NONE),
    Viewer("sibling", Role.OPERATOR, frozenset({"sibling"}), frozenset({"sibling"})),
    Viewer("customer", Role.CUSTOMER, _NONE, _NONE),
    Viewer("person", Role.CUSTOMER, frozenset({"reseller"}), _NONE, customer=True),
]
BY_NAME = {each.name: each for each in VIEWERS}

# The kind of what an argument of this name refers to.
KIND_OF = {
    **{"accountId": "hac", "assigneeId": "opr", "batchId": "vbt", "customerId": "cus", "customerIds": "cus"},
    **{"draftId": "dft", "gatewayId": "gwy", "gatewayPaymentId": "gpy", "gatewayRefundId": "grf", "grantId": "gra"},
    **{"invoiceId": "inv", "jobId": "job", "operatorId": "opr", "overrideId": "pov", "packageChangeId": "pch"},
    **{"packageId": "pkg", "parentId": "opr", "paymentId": "pay", "paymentLinkId": "pln", "routerId": "rtr"},
    **{"serverId": "hsv", "serviceId": "svc", "sessionId": "ses", "signInId": "sgn", "subjectId": "cus"},
    **{"taxProfileId": "tax", "ticketId": "tkt", "toOperatorId": "opr", "tokenId": "atk", "transferId": "trf"},
    **{"voucherId": "vou", "zoneId": "zon", "fieldId": "cfd", "rateId": "crt", "bulkRunId": "blk", "importId": "imp"},
    **{"endpointId": "whe", "deliveryId": "whd"},
}
KIND_AT = {
    "node.id": "cus", "nodes.ids": "cus", "customer.by.id": "cus", "customerDraft.id": "dft", "job.id": "job",
    "taxProfileSave.input.id": "tax", "gatewaySave.input.id": "gwy", "zoneCreate.input.parentId": "zon",
    "webhookEndpointSave.input.id": "whe",
}  # fmt: skip
# What everybody of a provider sees who has the permission of the kind: it belongs to the provider as a whole.
SHARED = {"tax", "pkg", "zon", "cfd", "rtr", "gwy", "hsv", "run", "mtp"}
# Seen by whoever stands above the operator and may manage operators.
OF_BELOW = {"atk", "sgn", "whe", "whd"}
# Seen by whoever stands above the operator, and by those who see the reports of the whole provider.
OF_WALLETS = {"crt", "opp"}
# What a customer sees: of its own, and these of the whole provider.
OF_CUSTOMERS = {"cus", "svc", "pch", "ses", "inv", "pay", "pln", "gpy", "led", "msg", "hac", "prt", "tkt"}
CUSTOMERS_SHARE = {"pkg"}
# What `node` asks for beside that.
KIND_NEEDS = {
    **dict.fromkeys(
        (
            "cus",
            "svc",
            "pch",
            "ses",
            "inv",
            "pay",
            "pln",
            "grf",
            "gpy",
            "led",
            "msg",
            "hac",
            "prt",
            "trf",
            "job",
            "pov",
            "blk",
        ),
        "VIEW_CUSTOMERS",
    ),
    **{"hsv": "MANAGE_HOSTING", "tkt": "MANAGE_TICKETS", "aud": "VIEW_AUDIT_LOG", "run": "GENERATE_BILLS"},
    **{"dft": "CREATE_CUSTOMERS", "vbt": "MANAGE_VOUCHERS", "gwy": "MANAGE_SETTINGS", "mtp": "SEND_SMS"},
    **{"imp": "CREATE_CUSTOMERS", "whe": "MANAGE_SETTINGS", "whd": "MANAGE_SETTINGS"},
}
# What is left out because something else is given that says the same.
ONE_OF = {("priceOverrideSet", "operatorId"), ("jobUpdated", "customerId"), ("customerImportBegin", "fileId")}
# Values by the name of an argument, where those of its type would not do.
VALUES: dict[str, Any] = {
    "reason": "Because", "downloadKbps": 1000, "uploadKbps": 1000, "sessionSeconds": 600, "count": 1, "days": 1,
    "reportType": "REVENUE", "body": "Hello", "channels": [], "language": "en", "method": "CASH",
    "percent": "5", "discountPercent": "5", "credits": 1, "recurringDayOfMonth": 5, "contactName": "Ann Example",
    "slug": "another", "subdomain": "another-portal", "displayName": "Another", "subject": "Slow",
    "category": "EQUIPMENT",
}  # fmt: skip
# Optional fields without which an input says nothing.
ALSO = {
    "TimeLimitInput.dailySeconds", "VolumeLimitInput.dailyBytes", "SuspendDateInput.suspendOn",
    "HotspotRechargeInput.method", "GenerateBillInput.amount", "SendSmsInput.body", "MessagePreviewInput.body",
    "OperatorUpdateInput.name", "OperatorGrantInput.expiresAt", "CommissionRateInput.percent",
    "CustomerSelection.customerIds", "CustomersBulkMessageInput.body",
    "CommissionRateSetInput.percent", "PriceOverrideInput.discountPercent", "MacBindInput.macAddress",
    "CustomerImportInput.file",
}  # fmt: skip
# Where these have their file, which comes in a request of its own.
FILES = {"customerImportBegin": "variables.input.file"}
# Of these only the right to use them is tried: without a place to keep pictures nothing else is looked at.
BARE = {"portalUploadAssets": {"assets": []}}
# Null here for whoever asks: no budgets are kept.
NULL = {"rateLimit"}


# -- documents


def fields() -> Iterator[tuple[str, str, GraphQLField, str]]:
    """Every root field with its operation and who may use it."""
    for operation, root, table in (
        ("query", GRAPH.query_type, QUERY),
        ("mutation", GRAPH.mutation_type, MUTATION),
        ("subscription", GRAPH.subscription_type, SUBSCRIPTION),
    ):
        assert root is not None
        for name, field in root.fields.items():
            yield operation, name, field, table[name]


class Arguments:
    """The values of a field's arguments, with ids of one place, and which kinds of ids were taken."""

    def __init__(self, field: str, objects: dict[str, list[str]], *, whole: bool) -> None:
        self._field, self._objects, self._whole = field, objects, whole
        self.kinds: set[str] = set()

    def of(self, definition: GraphQLField) -> dict[str, Any]:
        found = {}
        for name, argument in definition.args.items():
            if isinstance(argument.type, GraphQLNonNull) or self._wanted(argument.type, name, [name]):
                found[name] = self._value(argument.type, name, [name])
        return found

    def _wanted(self, kind: Any, name: str, path: list[str], owner: str = "") -> bool:
        """Whether what may be left out is given: ids are, where they do not narrow a list."""
        if f"{owner}.{name}" in ALSO:
            return True
        if not self._whole or (self._field, name) in ONE_OF or get_named_type(kind).name != "ID":
            return False
        return self._kind(name, path) not in SHARED

    def _kind(self, name: str, path: list[str]) -> str:
        at = ".".join([self._field, *path])
        assert at in KIND_AT or name in KIND_OF, f"say what {at} refers to"
        return KIND_AT.get(at) or KIND_OF[name]

    def _value(self, kind: Any, name: str, path: list[str]) -> Any:
        if isinstance(kind, GraphQLNonNull):
            return self._value(kind.of_type, name, path)
        named = get_named_type(kind)
        if named.name != "ID" and name in VALUES and is_leaf_type(named):
            value = VALUES[name]
            if not isinstance(named, GraphQLEnumType) or not isinstance(value, str) or value in named.values:
                return value
        if isinstance(kind, GraphQLList):
            return [self._value(kind.of_type, name, path)]
        if isinstance(kind, GraphQLInputObjectType):
            return {
                each: self._value(field.type, each, [*path, each])
                for each, field in kind.fields.items()
                if is_required_input_field(field)
                or self._wanted(field.type, each, [*path, each], kind.name)
                or (kind.name == "CustomerBy" and each == "id")
            }
        if isinstance(kind, GraphQLEnumType):
            return next(iter(kind.values))
        if named.name == "ID":
            which = self._kind(name, path)
            self.kinds.add(which)
            return self._objects[which][0]
        return _scalar(named.name)


def _scalar(name: str) -> Any:
    soon = clock.now() + timedelta(days=10)
    return {
        "Int": 1, "Float": 1.5, "String": "Text 1", "Boolean": False, "BigInt": "1000", "Decimal": "1",
        "Date": soon.date().isoformat(), "DateTime": soon.isoformat(), "Time": "08:00:00", "JSON": "x",
        "EmailAddress": "another@example.net", "PhoneNumber": "01711000001", "MacAddress": "02:00:5E:00:00:07",
        "IpAddress": "192.0.2.99", "IpNetwork": "192.0.2.0/24", "Upload": None,
    }[name]  # fmt: skip


def document(operation: str, name: str, field: GraphQLField) -> str:
    """A document with this one field, all of whose arguments are variables."""
    declared = ", ".join(f"${each}: {argument.type}" for each, argument in field.args.items())
    given = ", ".join(f"{each}: ${each}" for each in field.args)
    wrapped = (f" ({declared})" if declared else "", f"({given})" if given else "")
    return f"{operation}{wrapped[0]} {{ {name}{wrapped[1]}{_selected(field)} }}"


def _selected(field: GraphQLField) -> str:
    kind = get_named_type(field.type)
    if is_leaf_type(kind):
        return ""
    if isinstance(kind, GraphQLObjectType):
        if kind.name.endswith("Connection"):
            nodes = get_named_type(kind.fields["nodes"].type)
            return " { nodes { id } }" if "id" in getattr(nodes, "fields", {}) else " { nodes { __typename } }"
        if "errors" in kind.fields and kind.name.endswith("Payload"):
            results = " results { errors { code field } }" if "results" in kind.fields else ""
            return f" {{ errors {{ code field }}{results} }}"
        if "id" in kind.fields:
            return " { id }"
    return " { __typename }"


# -- what comes of it


REFUSED, HIDDEN, ALLOWED, ANONYMOUS = "FORBIDDEN", "NOT_FOUND", "ALLOWED", "UNAUTHENTICATED"


def outcome(name: str, answer: dict[str, Any], who: str) -> str:
    """What an answer says of who asked: the field was refused, what was meant is not there, or neither."""
    if "errors" in answer:
        code = answer["errors"][0]["extensions"]["code"]
        assert code != "INTERNAL", answer
        if code in (REFUSED, ANONYMOUS):
            return str(code)
        if code == "COST_EXCEEDED" and who == NOBODY:
            # What is allowed to strangers is counted before anybody asks who they are.
            return ANONYMOUS
        assert "invalid value" not in answer["errors"][0]["message"], (name, answer)
        missing = "no such" in answer["errors"][0]["message"].lower()
        return HIDDEN if missing else ALLOWED
    found = answer["data"][name]
    if name in NULL and found is None:
        return ALLOWED
    if found is None or found == [None]:
        return HIDDEN
    if name in _NARROWED and not (found["nodes"] if isinstance(found, dict) else found):
        return HIDDEN
    faults = list(found.get("errors", ())) if isinstance(found, dict) else []
    if isinstance(found, dict):
        faults += [fault for each in found.get("results", ()) for fault in each["errors"]]
    for fault in faults:
        path = fault["field"] or [""]
        of_id = path[-1] in KIND_OF or path[-1] in ("id", "ids") or (path[-1].isdigit() and path[-2] in KIND_OF)
        if fault["code"] == "NOT_FOUND" and of_id:
            return HIDDEN
        if fault["code"] == "NOT_PERMITTED" and fault["field"] is None:
            return REFUSED
    return ALLOWED


def visible(viewer: Viewer, place: str, kind: str) -> bool:
    """Whether the viewer sees an object of this kind of this place, having the permission of the field."""
    if place == FOREIGN:
        return False
    if viewer.customer:
        return kind in CUSTOMERS_SHARE or (kind in OF_CUSTOMERS and place in viewer.sees)
    if kind in SHARED:
        return True
    if kind in OF_BELOW:
        return place in viewer.commands and "MANAGE_OPERATORS" in viewer.permissions
    if kind in OF_WALLETS:
        whole = viewer.sees == _HOUSE and "VIEW_REPORTS" in viewer.permissions
        return whole or place in viewer.commands or (viewer.name == "sub-operator" and place == "below")
    return place in viewer.sees


def expected(name: str, viewer: Viewer | None, access: str, place: str, kinds: set[str]) -> set[str]:
    """What may come of it."""
    if viewer is None:
        return {ALLOWED} if access == PUBLIC else {ANONYMOUS}
    if viewer.customer and access != PUBLIC:
        seen = all(visible(viewer, place, kind) for kind in kinds)
        return {REFUSED} if name not in CUSTOMERS_MAY else {ALLOWED} if seen else {HIDDEN}
    if access not in (PUBLIC, SIGNED_IN) and access not in viewer.permissions:
        return {REFUSED}
    if name in EITHER and not EITHER[name] & viewer.permissions:
        return {REFUSED}
    if access == SIGNED_IN and {KIND_NEEDS[kind] for kind in kinds & set(KIND_NEEDS)} - viewer.permissions:
        return {REFUSED, HIDDEN}
    return {ALLOWED} if all(visible(viewer, place, kind) for kind in kinds) else {HIDDEN}


# -- the world


class Land:
    """The mirrored providers, and the API in front of them."""

    def __init__(self, api: Api, factory: ContextFactory, made: dict[str, Any]) -> None:
        self.api, self.factory = api, factory
        east, west = made["tenants"]
        self.tokens = {each["name"]: each["token"] for each in east["operators"]}
        [person] = [each for each in east["customers"] if each["place"] == "reseller"]
        self.tokens["person"] = person["token"]
        self.own = {key for kind, keys in person["own"].items() if kind in OF_CUSTOMERS for key in keys}
        self.objects = {place: {**east["shared"], **found} for place, found in east["objects"].items()}
        self.objects[FOREIGN] = {**west["shared"], **west["objects"]["reseller"]}
        self.tenants = [east["id"], west["id"]]
        for each in self.objects.values():
            # The first are those of whom the things are; the last are those of who stands below.
            each["opr"], each["sgn"] = each["opr"][::-1], each["sgn"][::-1]

    async def ask(self, name: str, text: str, variables: dict[str, Any], who: str) -> dict[str, Any]:
        token = None if who == NOBODY else self.tokens[who]
        if name in FILES:
            sent = {"operations": json.dumps({"query": text, "variables": variables})}
            sent["map"] = json.dumps({"0": [FILES[name]]})
            signed = {"GraphQL-Require-Preflight": "1"}
            if token is not None:
                signed["Authorization"] = f"Bearer {token}"
            files = {"0": ("file.csv", b"external_id,name", "text/csv")}
            answer = await self.api.client.post("/graphql", data=sent, files=files, headers=signed)
            return answer.json()  # type: ignore[no-any-return]
        return json.loads(await self.api._post({"query": text, "variables": variables}, token))  # type: ignore[no-any-return]

    async def subscribe(self, text: str, variables: dict[str, Any], who: str) -> dict[str, Any]:
        """The first event, or, for lack of one, that there was none."""
        headers = [] if who == NOBODY else [(b"authorization", f"Bearer {self.tokens[who]}".encode())]
        connection = HTTPConnection({"type": "websocket", "headers": headers, "client": ("192.0.2.1", 5)})
        context = await self.factory(connection, None)
        found: Any = await schema().subscribe(text, variables, context_value=context)
        if not hasattr(found, "__aiter__"):
            return _plain(found)
        async with aclosing(found) as events:
            try:
                async with asyncio.timeout(0.4):
                    async for event in events:
                        return _plain(event)
            except TimeoutError:
                pass
        return {"data": {"waiting": True}}


def _plain(result: Any) -> dict[str, Any]:
    if not result.errors:
        return {"data": result.data}
    return {"errors": [{"message": each.message, "extensions": each.extensions or {}} for each in result.errors]}


@pytest.fixture
async def land(api: Api, database: Database, valkey: Redis, settings: Settings) -> AsyncIterator[Land]:
    made = await mirror.seed(settings)
    with undone(database):
        yield Land(api, ContextFactory(database, valkey, settings), made)


async def differences(land: Land, names: Sequence[str], places: Sequence[str]) -> list[str]:
    """Where what comes of it is not what is expected: for these viewers and the objects of these places."""
    found = []
    for operation, name, field, access in fields():
        text = document(operation, name, field)
        for who in names:
            for place in places:
                arguments = Arguments(name, land.objects[place], whole=operation != "query" or name in _NARROWED)
                variables, kinds = arguments.of(field), arguments.kinds
                if name in BARE:
                    variables, kinds = variables | BARE[name], set()
                if not kinds and place != places[0]:
                    continue
                if who == "sub-operator" and place == "reseller" and "trf" in kinds:
                    continue
                if name in _NARROWED:
                    kinds = kinds | {_NARROWED[name]}
                wanted = expected(name, BY_NAME.get(who), access, place, kinds)
                if operation == "subscription":
                    answer = await land.subscribe(text, variables, who)
                else:
                    answer = await land.ask(name, text, variables, who)
                came = outcome(name, answer, who) if "waiting" not in (answer.get("data") or {}) else ALLOWED
                if came not in wanted:
                    told = json.dumps(answer)[:300]
                    found.append(f"{name} as {who} of {place}: {came}, not {' or '.join(wanted)}: {told}")
    return found


# Queries in which an id that may be left out says whose things are meant, and what these are.
_NARROWED = {"apiTokens": "atk", "signIns": "sgn"}


async def nodes_amiss(land: Land, names: Sequence[str]) -> list[str]:
    """What `nodes` shows and should not, or the other way round."""
    wrong = []
    for viewer in map(BY_NAME.__getitem__, names):
        for place, objects in land.objects.items():
            asked = [(kind, keys[0]) for kind, keys in sorted(objects.items()) if keys]
            keys = {"ids": [key for _, key in asked]}
            answer = await land.ask("nodes", "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", keys, viewer.name)
            assert "errors" not in answer, answer
            for (kind, key), node in zip(asked, answer["data"]["nodes"], strict=True):
                needed = {KIND_NEEDS[kind]} if kind in KIND_NEEDS else set()
                there = (viewer.customer or needed <= viewer.permissions) and visible(viewer, place, kind)
                if not viewer.customer and viewer.role is Role.CUSTOMER and kind not in SHARED | OF_BELOW | OF_WALLETS:
                    there = False
                if viewer.name == "sub-operator" and place == "reseller" and kind == "trf":
                    there = True
                if (node is not None) != there:
                    wrong.append(f"{kind} of {place} to {viewer.name}: {'there' if node else 'not there'}")
                assert node is None or node["id"] == key
    return wrong


async def own_amiss(land: Land) -> list[str]:
    """What `nodes` shows to a customer of everything there is, beside all of its own and the packages."""
    asked = [(kind, key) for found in land.objects.values() for kind, keys in found.items() for key in keys]
    foreign = {key for keys in land.objects[FOREIGN].values() for key in keys}
    assert land.own <= {key for _, key in asked}
    text, shown = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", set()
    for start in range(0, len(asked), 100):
        keys = {"ids": [key for _, key in asked[start : start + 100]]}
        answer = await land.ask("nodes", text, keys, "person")
        shown |= {node["id"] for node in answer["data"]["nodes"] if node is not None}
    wanted = land.own | {key for kind, key in asked if kind in CUSTOMERS_SHARE and key not in foreign}
    return [f"{key} to a customer: {'there' if key in shown else 'not there'}" for key in sorted(shown ^ wanted)]


async def lists_amiss(land: Land) -> list[str]:
    """Ids of the mirror that come out of lists, with nothing said to narrow them."""
    foreign = {key for keys in land.objects[FOREIGN].values() for key in keys} | {land.tenants[1]}
    place_of = {key: place for place, found in land.objects.items() for keys in found.values() for key in keys}
    lists = [
        (name, document(operation, name, field), access)
        for operation, name, field, access in fields()
        if operation == "query" and not any(isinstance(each.type, GraphQLNonNull) for each in field.args.values())
        if "{ id }" in document(operation, name, field)
    ]
    assert len(lists) > 20
    wrong, seen = [], set()
    for viewer in VIEWERS:
        for name, text, access in lists:
            if name in CUSTOMERS_MAY if viewer.customer else access in {*viewer.permissions, SIGNED_IN}:
                answer = await land.ask(name, text, {}, viewer.name)
                assert "errors" not in answer, (name, answer)
                for key in _keys(answer["data"][name]):
                    kind, place = key[:3], place_of.get(key)
                    assert key not in foreign, (name, viewer.name, key)
                    if place is None:
                        continue
                    seen.add(kind)
                    shared = viewer.name == "sub-operator" and kind == "trf"
                    if kind not in SHARED | OF_BELOW and not visible(viewer, place, kind) and not shared:
                        wrong.append(f"{name} to {viewer.name}: {kind} of {place}")
    assert seen >= {"cus", "inv", "job", "tkt", "trf", "opr", "dft", "vbt", "vou", "pln", "gpy", "grf", "msg", "pov"}
    return wrong


def _keys(found: Any) -> Iterator[str]:
    rows = found["nodes"] if isinstance(found, dict) and "nodes" in found else found
    for row in rows if isinstance(rows, list) else [rows]:
        if isinstance(row, dict) and "id" in row:
            yield row["id"]


# -- what is held


def test_the_table_names_every_root_field_and_no_other() -> None:
    for kind, table in ((Query, QUERY), (Mutation, MUTATION), (Subscription, SUBSCRIPTION)):
        root = GRAPH.type_map[kind.__name__]
        assert isinstance(root, GraphQLObjectType)
        assert set(root.fields) == set(table)
        assert set(table.values()) - {PUBLIC, SIGNED_IN, CUSTOMERS} <= {permission.value for permission in Permission}
    assert {each.role for each in VIEWERS} == set(Role)


async def test_a_sample_goes_by_the_table(land: Land) -> None:
    """A reseller, somebody without any permission, and who is not signed in; and every list."""
    kinds = {*KINDS, "mtp"} - {"ten"}
    assert {kind for found in land.objects.values() for kind, keys in found.items() if keys} == kinds
    found = await nodes_amiss(land, ["operator", "customer"])
    found += await lists_amiss(land)
    found += await own_amiss(land)
    found += await differences(land, ["person"], ["reseller", "house", FOREIGN])
    found += await differences(land, [NOBODY, "customer"], ["house"])
    found += await differences(land, ["operator"], ["below", "sibling", FOREIGN])
    assert not found, "\n".join(found)


@pytest.mark.long
async def test_everything_goes_by_the_table(land: Land) -> None:
    """Every field as every role about the objects of every place, and every kind of object."""
    found = await nodes_amiss(land, list(BY_NAME))
    found += await differences(land, [NOBODY, *BY_NAME], PLACES)
    assert not found, "\n".join(found)
