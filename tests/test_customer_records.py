"""Customers made, corrected and removed through the API, outside the wizard."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import IntegrityError

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import customer_records
from ispgraph.domain.models import (
    AuditEntry,
    ConnectionType,
    Customer,
    CustomField,
    CustomFieldType,
    CustomFieldValue,
    Draft,
    DraftStatus,
    Operator,
    Payment,
    Role,
    Service,
    ServiceMac,
    ServiceStatus,
    Session,
    SessionState,
    Tenant,
    UsageDay,
)
from ispgraph.domain.permissions import DEFAULTS
from tests.api import Api
from tests.billing.conftest import Till
from tests.factories import House, uuid_of
from tests.wizard import Wizard, faults

ERRORS = "errors { code message field }"
CUSTOMER = """customer { id accountNumber version name mobile email company status joinedAt updatedAt zone { id }
  address { street city state postalCode country } operator { id } services { id } wallet { amount }
  balance { amount } customFields { field { key } value } }"""
CREATE = f"""mutation ($input: CustomerCreateInput!) {{ customerCreate(input: $input) {{
  {ERRORS} {CUSTOMER} jobs {{ id }} }} }}"""
UPDATE = f"mutation ($input: CustomerUpdateInput!) {{ customerUpdate(input: $input) {{ {ERRORS} {CUSTOMER} }} }}"
DELETE = f"mutation ($id: ID!) {{ customerDelete(customerId: $id) {{ {ERRORS} deletedId }} }}"
ADDRESS = {"street": "1 Example Street", "city": "Dhaka", "state": None, "postalCode": "1205", "country": "BD"}
ALL = DEFAULTS[Role.ADMIN]
JANE = {"name": "Jane Example", "mobile": "01712345678", "email": "jane@example.com"}


class Desk:
    """One operator at work on customers."""

    def __init__(self, api: Api, operator: Operator) -> None:
        self.api, self.operator = api, operator

    async def create(self, **given: Any) -> dict[str, Any]:
        """The payload of customerCreate."""
        payload: dict[str, Any] = (await self.api.data(CREATE, self.operator, input=given))["customerCreate"]
        return payload

    async def made(self, **given: Any) -> dict[str, Any]:
        """A new customer, with Jane's name and number unless said otherwise."""
        payload = await self.create(**{"name": JANE["name"], "mobile": JANE["mobile"]} | given)
        assert payload["errors"] == []
        customer: dict[str, Any] = payload["customer"]
        return customer

    async def update(self, customer: dict[str, Any], **given: Any) -> dict[str, Any]:
        """The payload of customerUpdate."""
        document = {"input": {"customerId": customer["id"], **given}}
        payload: dict[str, Any] = (await self.api.data(UPDATE, self.operator, **document))["customerUpdate"]
        return payload

    async def delete(self, customer: dict[str, Any]) -> dict[str, Any]:
        """The payload of customerDelete."""
        payload: dict[str, Any] = (await self.api.data(DELETE, self.operator, id=customer["id"]))["customerDelete"]
        return payload

    async def read(self, customer: dict[str, Any]) -> dict[str, Any] | None:
        """The customer as it stands now."""
        document = f"query ($by: CustomerBy!) {{ {CUSTOMER.replace('{', '(by: $by) {', 1)} }}"
        found: dict[str, Any] | None = (await self.api.data(document, self.operator, by={"id": customer["id"]}))[
            "customer"
        ]
        return found


@pytest.fixture
async def desk(api: Api, house: House) -> Desk:
    """The desk of the admin of `house`, which does without e-mail addresses."""
    await require_email(house, False)
    return Desk(api, house.admin)


async def audited(house: House, customer: dict[str, Any]) -> list[tuple[str, dict[str, object]]]:
    """Actions and details of the record about a customer, oldest first."""
    rows = select(AuditEntry).where(AuditEntry.subject_id == uuid_of(customer["id"])).order_by(AuditEntry.id)
    async with house.database.read(house.tenant.id) as session:
        return [(row.action, row.details) for row in await session.scalars(rows)]


async def count(house: House, model: type[Any] = Customer) -> int:
    """How many rows of a kind the house has."""
    async with house.database.read(house.tenant.id) as session:
        return await session.scalar(select(func.count()).select_from(model)) or 0


async def require_email(house: House, required: bool) -> None:
    """Whether from now on customers need an e-mail address."""
    async with house.database.transaction(house.tenant.id) as session:
        await session.execute(update(Tenant).where(Tenant.id == house.tenant.id).values(email_required=required))


def accounted(service: Service, number: int) -> Session:
    """An accounting session of a service."""
    return Session(
        tenant_id=service.tenant_id,
        customer_id=service.customer_id,
        service_id=service.id,
        acct_session_id=str(number),
        unique_id=str(number),
        username=service.username,
        connection_type=service.connection_type,
        state=SessionState.OPEN,
        started_at=clock.now(),
        updated_at=clock.now(),
    )


async def till(house: House) -> Till:
    """The till of a house."""
    return Till(house, await house.viewer())


async def test_a_customer_without_a_service(api: Api, house: House, desk: Desk) -> None:
    clerk, zone = await house.operator(Role.STAFF), await house.zone()
    wizard = await (await Wizard.begin(api, house.admin)).fill(await house.package())
    first = (await wizard.confirm())["customer"]
    payload = await Desk(api, clerk).create(
        name="  Joan Example ",
        mobile="01812-345678",
        email="Joan@Example.COM",
        company="Example Mills",
        address=ADDRESS,
        zoneId=ids.encode("zon", zone.id),
    )
    made = payload["customer"]
    assert (payload["errors"], payload["jobs"]) == ([], [])
    assert made == {
        "id": made["id"],
        "accountNumber": str(int(first["accountNumber"]) + 1),
        "version": 1,
        "name": "Joan Example",
        "mobile": "+8801812345678",
        "email": "joan@example.com",
        "company": "Example Mills",
        "status": "PENDING",
        "joinedAt": made["joinedAt"],
        "updatedAt": made["joinedAt"],
        "zone": {"id": ids.encode("zon", zone.id)},
        "address": ADDRESS,
        "operator": {"id": ids.encode("opr", clerk.id)},
        "services": [],
        "wallet": {"amount": "0.00"},
        "balance": {"amount": "0.00"},
        "customFields": [],
    }
    assert await desk.read(made) == made
    assert await audited(house, made) == [
        ("customer.create", {"account_number": made["accountNumber"], "name": "Joan Example"})
    ]
    async with house.database.read(house.tenant.id) as session:
        assert (await session.get_one(Customer, uuid_of(made["id"]))).password_hash is None


async def test_name_and_number_are_enough(desk: Desk) -> None:
    made = await desk.made(email=" ", company="", address=None, zoneId=None)
    assert {name: made[name] for name in ("email", "company", "address", "zone")} == {
        "email": None,
        "company": None,
        "address": None,
        "zone": None,
    }


async def test_every_fault_of_a_new_customer_at_once(house: House, other_house: House, desk: Desk) -> None:
    foreign = ids.encode("zon", (await other_house.zone()).id)
    await desk.made(**JANE)
    await require_email(house, True)
    payload = await desk.create(
        name=" ",
        mobile="12",
        email="Jane@example.com",
        company="x" * 256,
        address={"street": "", "city": "y" * 101},
        zoneId=foreign,
    )
    assert payload["customer"] is None
    assert faults(payload) == [
        ("REQUIRED", "input.name"),
        ("INVALID", "input.mobile"),
        ("TAKEN", "input.email"),
        ("INVALID", "input.company"),
        ("REQUIRED", "input.address.street"),
        ("INVALID", "input.address.city"),
        ("NOT_FOUND", "input.zoneId"),
    ]
    assert faults(await desk.create(name="J", mobile=JANE["mobile"])) == [("REQUIRED", "input.email")]
    assert faults(await desk.create(name="J", mobile=JANE["mobile"], email="j@")) == [("INVALID", "input.email")]
    assert faults(await desk.create(**JANE, zoneId="zon_1")) == [("NOT_FOUND", "input.zoneId")]
    assert await count(house) == 1
    # A refusal takes no account number: the next one is the next
    numbers = [int((await desk.made(email=f"j{n}@example.com"))["accountNumber"]) for n in range(2)]
    assert numbers == [numbers[0], numbers[0] + 1]
    async with house.database.read(house.tenant.id) as session:
        last = await session.scalar(text("SELECT last FROM number_series WHERE series = 'ACCOUNT'"))
    assert last == 100_000 + await count(house)


async def test_racing_for_an_email_with_the_wizard(api: Api, house: House, desk: Desk) -> None:
    wizard = await (await Wizard.begin(api, house.admin)).fill(await house.package(), Basics=JANE)
    confirmed, *answers = await asyncio.gather(wizard.confirm(), *(desk.create(**JANE) for _ in range(6)))
    won = [answer for answer in (confirmed, *answers) if not answer["errors"]]
    assert len(won) == await count(house) == 1
    refused = {fault for answer in answers for fault in faults(answer)}
    assert refused == {("TAKEN", "input.email")}
    assert faults(confirmed) in ([], [("TAKEN", "draft.basics.email")])


async def test_the_same_key_makes_one_customer(api: Api, house: House, desk: Desk) -> None:
    given = {**JANE, "address": ADDRESS, "idempotencyKey": "k"}
    answers = await asyncio.gather(*(desk.create(**given) for _ in range(8)))
    assert [answer["errors"] for answer in answers] == [[]] * 8
    assert all(answer == answers[0] for answer in answers)
    for changed in ({"name": "Joan"}, {"address": {**ADDRESS, "city": "Sylhet"}}, {"company": "Example Mills"}):
        payload = await desk.create(**{**given, **changed})
        assert faults(payload) == [("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")]
    assert faults(await desk.create(**{**given, "idempotencyKey": ""})) == [("INVALID", "input.idempotencyKey")]
    assert await count(house) == 1
    # Another operator's key is another key
    clerk = Desk(api, await house.operator(Role.STAFF))
    assert faults(await clerk.create(**given)) == [("TAKEN", "input.email")]
    assert (await desk.delete(answers[0]["customer"]))["errors"] == []
    assert faults(await desk.create(**given)) == [("NOT_FOUND", "input.idempotencyKey")]
    assert await count(house) == 0


async def test_what_is_not_named_stays(desk: Desk, house: House, moved_clock: None) -> None:
    zone = ids.encode("zon", (await house.zone()).id)
    before = await desk.made(**JANE, company="Example Mills", address=ADDRESS, zoneId=zone)
    clock.set_clock((clock.now() + timedelta(hours=1)).isoformat())
    payload = await desk.update(before, mobile="01812345678", expectedVersion=1)
    after = payload["customer"]
    assert payload["errors"] == []
    assert after["updatedAt"] > before["updatedAt"]
    assert after == before | {"version": 2, "mobile": "+8801812345678", "updatedAt": after["updatedAt"]}
    assert await desk.read(before) == after
    assert (await audited(house, before))[1:] == [("customer.update", {"mobile": [before["mobile"], after["mobile"]]})]


async def test_null_takes_away_and_an_address_is_replaced_as_a_whole(desk: Desk, house: House) -> None:
    zones = [ids.encode("zon", (await house.zone(name)).id) for name in ("North", "South")]
    before = await desk.made(**JANE, company="Example Mills", address=ADDRESS, zoneId=zones[0])
    moved = (await desk.update(before, address={"street": "2 Example Street"}, zoneId=zones[1]))["customer"]
    assert moved["address"] == {**dict.fromkeys(ADDRESS), "street": "2 Example Street"}
    assert (moved["zone"], moved["version"]) == ({"id": zones[1]}, 2)
    payload = await desk.update(before, email=None, company=None, address=None, zoneId=None)
    cleared = payload["customer"]
    assert payload["errors"] == []
    gone = {"email": None, "company": None, "address": None, "zone": None}
    assert cleared == moved | gone | {"version": 3, "updatedAt": cleared["updatedAt"]}
    assert await desk.read(before) == cleared
    assert (await audited(house, before))[-1] == (
        "customer.update",
        {
            "email": ["jane@example.com", None],
            "company": ["Example Mills", None],
            "street": ["2 Example Street", None],
            "zone_id": [str(uuid_of(zones[1])), None],
        },
    )


async def test_what_is_there_already_changes_nothing(desk: Desk, house: House) -> None:
    asked = CustomField(key="floor", label="Floor", type=CustomFieldType.NUMBER)
    await house.add(asked)
    zone = ids.encode("zon", (await house.zone()).id)
    made = await desk.made(**JANE, company="Example Mills", address=ADDRESS, zoneId=zone)
    filled = (await desk.update(made, customFields=[{"key": "floor", "value": 3}]))["customer"]
    same = {**JANE, "email": "JANE@example.com ", "company": " Example Mills", "address": ADDRESS, "zoneId": zone}
    for given in ({}, same, {"customFields": [{"key": "floor", "value": "3.0"}]}, {"customFields": None}):
        payload = await desk.update(made, **given)
        assert (payload["errors"], payload["customer"]) == ([], filled)
    assert [action for action, _ in await audited(house, made)] == ["customer.create", "customer.update"]


async def test_every_fault_of_a_change_at_once(house: House, other_house: House, desk: Desk) -> None:
    await house.add(CustomField(key="floor", label="Floor", type=CustomFieldType.NUMBER, required=True))
    foreign = ids.encode("zon", (await other_house.zone()).id)
    await desk.made(**JANE)
    before = await desk.made(name="Joan", email="joan@example.com")
    high = [{"key": "floor", "value": "high"}]
    refused: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
        (
            {
                "name": None,
                "mobile": None,
                "email": "jane@example.com",
                "company": "x" * 256,
                "address": {"street": " "},
                "zoneId": foreign,
                "customFields": [{"key": "floor", "value": None}, {"key": "roof", "value": 1}, {"key": "floor"}],
            },
            [
                ("REQUIRED", "input.name"),
                ("REQUIRED", "input.mobile"),
                ("TAKEN", "input.email"),
                ("INVALID", "input.company"),
                ("REQUIRED", "input.address.street"),
                ("NOT_FOUND", "input.zoneId"),
                ("REQUIRED", "input.customFields.0.value"),
                ("NOT_FOUND", "input.customFields.1.key"),
                ("INVALID", "input.customFields.2.key"),
            ],
        ),
        ({"name": "", "mobile": "1"}, [("REQUIRED", "input.name"), ("INVALID", "input.mobile")]),
        ({"name": "Jo", "customFields": high}, [("INVALID", "input.customFields.0.value")]),
        ({"name": "Jo", "zoneId": "zon_1"}, [("NOT_FOUND", "input.zoneId")]),
        ({"name": "Jo", "expectedVersion": 2}, [("VERSION_CONFLICT", "input.expectedVersion")]),
        ({"name": "Jo", "customFields": high * 201}, [("LIMIT_EXCEEDED", "input.customFields")]),
    ]
    for given, expected in refused:
        payload = await desk.update(before, **given)
        assert (faults(payload), payload["customer"]) == (expected, None)
    await require_email(house, True)
    for nothing in (None, " "):
        assert faults(await desk.update(before, name="Jo", email=nothing)) == [("REQUIRED", "input.email")]
    assert await desk.read(before) == before
    assert [action for action, _ in await audited(house, before)] == ["customer.create"]
    # Nothing is asked that was not touched
    assert faults(await desk.update(before, name="Jo")) == []


async def test_answers_to_custom_fields_are_merged(desk: Desk, house: House) -> None:
    await house.add(
        CustomField(key="floor", label="Floor", type=CustomFieldType.NUMBER),
        CustomField(key="heardFrom", label="Heard from", type=CustomFieldType.SELECT, options=["Web", "Shop"]),
        CustomField(key="notes", label="Notes", type=CustomFieldType.TEXT),
    )
    before = await desk.made()

    async def answered(**values: object) -> dict[str, object]:
        payload = await desk.update(
            before, customFields=[{"key": key, "value": value} for key, value in values.items()]
        )
        assert payload["errors"] == []
        assert await desk.read(before) == payload["customer"]
        return {item["field"]["key"]: item["value"] for item in payload["customer"]["customFields"]}

    assert await answered(floor="3", heardFrom="Web", notes=None) == {"floor": 3, "heardFrom": "Web"}
    assert await answered(heardFrom="Shop", notes=" by the door ") == {
        "floor": 3,
        "heardFrom": "Shop",
        "notes": "by the door",
    }
    assert await answered(floor=None, notes="  ") == {"heardFrom": "Shop"}
    assert [details for _, details in (await audited(house, before))[1:]] == [
        {"custom_fields": {"floor": [None, 3], "heardFrom": [None, "Web"]}},
        {"custom_fields": {"heardFrom": ["Web", "Shop"], "notes": [None, "by the door"]}},
        {"custom_fields": {"floor": [3, None], "notes": ["by the door", None]}},
    ]
    assert (await desk.read(before) or {})["version"] == 4


async def test_of_changes_to_one_version_one_wins(desk: Desk) -> None:
    before = await desk.made()
    answers = await asyncio.gather(*(desk.update(before, name=f"Jane {n}", expectedVersion=1) for n in range(8)))
    won = [answer["customer"] for answer in answers if not answer["errors"]]
    lost = [faults(answer) for answer in answers if answer["errors"]]
    assert lost == [[("VERSION_CONFLICT", "input.expectedVersion")]] * 7
    assert await desk.read(before) == won[0]
    assert won[0]["version"] == 2


async def test_of_changes_to_one_email_one_wins(desk: Desk) -> None:
    customers = [await desk.made(name=f"Customer {n}") for n in range(6)]
    answers = await asyncio.gather(*(desk.update(each, email="one@example.com") for each in customers))
    assert sorted(map(faults, answers)) == [[]] + [[("TAKEN", "input.email")]] * 5


async def test_a_customer_without_history_is_deleted_with_its_belongings(desk: Desk, house: House) -> None:
    asked, package = CustomField(key="floor", label="Floor", type=CustomFieldType.NUMBER), await house.package()
    await house.add(asked)
    kept, made = await desk.made(), await desk.made()
    for customer in (kept, made):
        service = Service(
            customer_id=uuid_of(customer["id"]),
            package_id=package.id,
            connection_type=ConnectionType.HOTSPOT,
            status=ServiceStatus.PENDING,
            username=f"u{customer['accountNumber']}",
            password=b"sealed",
        )
        await house.add(service)
        mac = f"02:00:00:00:{customer['accountNumber'][-4:-2]}:{customer['accountNumber'][-2:]}"
        await house.add(ServiceMac(service_id=service.id, mac=mac))
        await desk.update(customer, customFields=[{"key": "floor", "value": 1}])
    payload = await desk.delete(made)
    assert payload == {"errors": [], "deletedId": made["id"]}
    assert await desk.read(made) is None
    for model in (Customer, Service, ServiceMac, CustomFieldValue):
        assert await count(house, model) == 1, model
    assert [action for action, _ in await audited(house, made)] == [
        "customer.create",
        "customer.update",
        "customer.delete",
    ]
    assert (await audited(house, made))[-1][1] == {"account_number": made["accountNumber"], "name": JANE["name"]}
    assert faults(await desk.delete(made)) == [("NOT_FOUND", "customerId")]
    # Its account number is not given again
    assert int((await desk.made())["accountNumber"]) == int(made["accountNumber"]) + 1


async def test_history_keeps_a_customer(api: Api, desk: Desk, house: House, owner: Database) -> None:
    router = await house.router()
    wired = {"pppoe": {"username": "jane", "password": "a-Password-1"}, "routerId": ids.encode("rtr", router.id)}
    wizard = await (await Wizard.begin(api, house.admin)).fill(await house.package(), Connection=wired)
    made = (await wizard.confirm())["customer"]
    await (await till(house)).pay(1000, customer_id=uuid_of(made["id"]))
    async with owner.transaction(house.tenant.id) as session:
        service = (await session.scalars(select(Service))).one()
        session.add_all(accounted(service, n) for n in range(12))
        whose = {"tenant_id": service.tenant_id, "service_id": service.id, "customer_id": service.customer_id}
        session.add(UsageDay(day=clock.now().date(), **whose))
    before = await desk.read(made)
    payload = await desk.delete(made)
    assert payload["deletedId"] is None
    assert [(error["code"], error["field"]) for error in payload["errors"]] == [("INVALID_STATE", ["customerId"])] * 6
    assert [error["message"] for error in payload["errors"]] == [
        "A customer with 1 invoice cannot be deleted.",
        "A customer with 2 payments cannot be deleted.",
        "A customer with 3 ledger entries cannot be deleted.",
        "A customer with 12 sessions cannot be deleted.",
        "A customer with 1 day of usage cannot be deleted.",
        "A customer with 1 job cannot be deleted.",
    ]
    assert await desk.read(made) == before
    assert "customer.delete" not in [action for action, _ in await audited(house, made)]


async def test_whatever_refers_to_a_customer_keeps_it(desk: Desk, house: House) -> None:
    made = await desk.made()
    await desk.api.data("mutation { customerDraftStart { errors { code } } }", house.admin)
    async with house.database.transaction(house.tenant.id) as session:
        changed = {"customer_id": uuid_of(made["id"]), "status": DraftStatus.COMPLETED}
        await session.execute(update(Draft).values(**changed))
    assert faults(await desk.delete(made)) == [("INVALID_STATE", "customerId")]
    assert await desk.read(made) == made


async def test_a_payment_on_its_way_keeps_the_customer(desk: Desk, house: House) -> None:
    made, cash = await desk.made(), await till(house)
    async with house.database.transaction(house.tenant.id) as session:
        await cash.take(session, 500, customer_id=uuid_of(made["id"]))
        deleting = asyncio.create_task(desk.delete(made))
        done, _ = await asyncio.wait([deleting], timeout=0.3)
        assert not done, "it waits for the payment"
    payload = await deleting
    assert [error["message"] for error in payload["errors"]] == [
        "A customer with 1 payment cannot be deleted.",
        "A customer with 1 ledger entry cannot be deleted.",
    ]
    assert ((await desk.read(made)) or {})["wallet"] == {"amount": "5.00"}


async def test_a_payment_finds_no_customer_after_the_deletion(desk: Desk, house: House) -> None:
    made, cash = await desk.made(), await till(house)
    async with house.database.transaction(house.tenant.id) as session:
        await customer_records.remove(session, uuid_of(made["id"]), by=cash.by)
        paying = asyncio.create_task(cash.pay(500, customer_id=uuid_of(made["id"])))
        done, _ = await asyncio.wait([paying], timeout=0.3)
        assert not done, "it waits for the deletion"
    with pytest.raises(IntegrityError):
        await paying
    assert (await count(house), await count(house, Payment)) == (0, 0)


async def test_deleting_against_paying_loses_nothing(desk: Desk, house: House) -> None:
    cash = await till(house)
    for _ in range(8):
        made = await desk.made()
        paid, payload = await asyncio.gather(
            cash.pay(500, customer_id=uuid_of(made["id"])), desk.delete(made), return_exceptions=True
        )
        assert isinstance(payload, dict)
        assert isinstance(paid, Payment) == bool(payload["errors"])
        assert (await desk.read(made) is None) == isinstance(paid, IntegrityError)


async def test_nobody_elses_customers(api: Api, desk: Desk, house: House, other_house: House) -> None:
    sellers = [await house.operator(Role.OPERATOR, permissions=sorted(p.value for p in ALL)) for _ in range(2)]
    theirs = await Desk(api, sellers[0]).made(**JANE)
    for stranger in (Desk(api, sellers[1]), Desk(api, other_house.admin)):
        assert faults(await stranger.update(theirs, name="X")) == [("NOT_FOUND", "input.customerId")]
        assert faults(await stranger.update(theirs, name="", expectedVersion=7)) == [("NOT_FOUND", "input.customerId")]
        assert faults(await stranger.delete(theirs)) == [("NOT_FOUND", "customerId")]
    for nonsense in ({"id": "cus_1"}, {"id": ids.encode("cus", ids.uuid7())}, {"id": theirs["operator"]["id"]}):
        assert faults(await desk.update(nonsense, name="X")) == [("NOT_FOUND", "input.customerId")]
        assert faults(await desk.delete(nonsense)) == [("NOT_FOUND", "customerId")]
    assert await desk.read(theirs) == theirs
    # Their own subtree's they may: a sub-operator's customer is the operator's as well
    below = await house.operator(Role.SUB_OPERATOR, parent=sellers[0])
    of_below = await Desk(api, below).made()
    assert (await Desk(api, sellers[0]).update(of_below, name="X"))["errors"] == []
    assert (await Desk(api, sellers[0]).delete(of_below))["errors"] == []


async def test_each_verb_needs_its_permission(api: Api, desk: Desk, house: House) -> None:
    made = await desk.made()
    verbs = {
        "CREATE_CUSTOMERS": (CREATE, {"input": {"name": "X", "mobile": JANE["mobile"]}}),
        "EDIT_CUSTOMERS": (UPDATE, {"input": {"customerId": made["id"], "name": "X"}}),
        "DELETE_CUSTOMERS": (DELETE, {"id": made["id"]}),
    }
    for permission, (document, variables) in verbs.items():
        others = sorted(each.value for each in ALL if each.value != permission)
        answer = await api(document, await house.operator(Role.MANAGER, permissions=others), **variables)
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
        answer = await api(document, None, **variables)
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["UNAUTHENTICATED"]
    assert await desk.read(made) == made
    assert await count(house) == 1


async def test_who_may_change_but_not_view_is_told_that_it_was_done_and_no_more(api: Api, house: House) -> None:
    who = await house.operator(Role.MANAGER, permissions=["CREATE_CUSTOMERS", "EDIT_CUSTOMERS"])
    create = """mutation ($input: CustomerCreateInput!) { customerCreate(input: $input) {
      customer { id mobile balance { amount } } errors { code } } }"""
    given = {"name": "Quiet Example", "mobile": "01711000999", "email": "quiet@example.net"}
    assert (await api.data(create, who, input=given))["customerCreate"] == {"customer": None, "errors": []}
    listed = await api.data('{ customers(search: "Quiet") { nodes { id mobile } } }', house.admin)
    [customer] = listed["customers"]["nodes"]
    update = """mutation ($input: CustomerUpdateInput!) { customerUpdate(input: $input) {
      customer { mobile operator { email } } errors { code } } }"""
    changed = {"customerId": customer["id"], "name": "Quieter Example"}
    assert (await api.data(update, who, input=changed))["customerUpdate"] == {"customer": None, "errors": []}
    seen = (await api.data(update, house.admin, input=changed))["customerUpdate"]["customer"]
    assert seen["mobile"] == customer["mobile"]
