"""Confirming a draft: what it makes, and that it makes it once, whole, or not at all."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import text

from ispgraph import ids
from ispgraph.db import Database
from ispgraph.domain.billing import payments
from ispgraph.domain.models import Role
from tests import factories
from tests.api import Api
from tests.factories import House
from tests.wizard import Wizard, faults

COUNTS = "SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM services), (SELECT count(*) FROM invoices), \
(SELECT count(*) FROM payments), (SELECT count(*) FROM postings), (SELECT count(*) FROM jobs)"


async def counts(database: Database, house: House) -> tuple[int, ...]:
    async with database.read(house.tenant.id) as session:
        return tuple((await session.execute(text(COUNTS))).one())


@pytest.mark.parametrize(
    ("pays", "status", "paid", "wallet", "balance"),
    [
        ("500.00", "PAID", "500.00", "0.00", "0.00"),
        ("200.50", "PARTIALLY_PAID", "200.50", "0.00", "-299.50"),
        ("650.00", "PAID", "500.00", "150.00", "150.00"),
        ("0", "OPEN", "0.00", "0.00", "-500.00"),
    ],
)
async def test_what_is_paid(
    api: Api, house: House, pays: str, status: str, paid: str, wallet: str, balance: str
) -> None:
    wizard = await (await Wizard.begin(api, house.admin)).fill(await house.package(), pays=pays)
    review = (
        await wizard.read("""review { ready missing { code } username invoiceTotal { amount } invoiceStatusAfter
        walletAfter { amount } expiresAt radius { attribute value } }""")
    )["review"]
    made = await wizard.confirm()
    assert made["errors"] == []
    customer, invoice = made["customer"], made["invoice"]
    assert (invoice["status"], invoice["amountPaid"]["amount"]) == (status, paid)
    assert (customer["wallet"]["amount"], customer["balance"]["amount"]) == (wallet, balance)
    assert customer["status"] == "ACTIVE"
    assert (made["payment"] is None) == (pays == "0")
    assert made["draft"] == {
        "status": "COMPLETED",
        "progressPercent": 100,
        "completedSteps": ["BASICS", "CONNECTION", "PACKAGE", "ADDRESS", "PAYMENT", "REVIEW"],
        "connection": {"passwordSet": False},
        "customer": {"id": customer["id"]},
    }
    assert review["ready"]
    assert (review["invoiceStatusAfter"], review["walletAfter"]["amount"]) == (status, wallet)
    assert review["username"] == customer["services"][0]["username"] == "jane"
    debits = sum(float(entry["debit"]["amount"]) for entry in customer["ledger"]["nodes"] if entry["debit"])
    assert debits == 500.0


async def test_tax_is_added(api: Api, owner: Database, database: Database) -> None:
    taxed = await factories.house(owner, database, "taxed", tax_rate="15")
    wizard = await (await Wizard.begin(api, taxed.admin)).fill(await taxed.package(), pays="500.00")
    made = await wizard.confirm()
    assert (made["invoice"]["total"]["amount"], made["invoice"]["tax"]["amount"]) == ("575.00", "75.00")
    assert made["invoice"]["status"] == "PARTIALLY_PAID"


async def test_unpaid_customers_may_be_kept_pending(api: Api, owner: Database, database: Database) -> None:
    strict = await factories.house(owner, database, "strict", pending_until_paid=True)
    package = await strict.package()
    unpaid = await (await (await Wizard.begin(api, strict.admin)).fill(package, pays="0")).confirm()
    assert unpaid["customer"]["status"] == unpaid["customer"]["services"][0]["status"] == "PENDING"
    assert unpaid["customer"]["services"][0]["expiresAt"] is None
    paid = await (await (await Wizard.begin(api, strict.admin)).fill(package, pays="1", number=1)).confirm()
    assert paid["customer"]["status"] == "ACTIVE"


async def test_every_kind_of_connection(api: Api, house: House) -> None:
    package, router = await house.package(), await house.router()
    kinds = [
        {"pppoe": {"username": "", "password": "given-password"}, "routerId": ids.encode("rtr", router.id)},
        {"hotspot": {"macAddress": "02-00-00-00-00-01", "deviceType": "phone"}},
        {"staticIp": {"ipAddress": "10.1.2.3", "subnet": "10.1.2.0/24"}},
        {"other": {"configuration": "vlan 7"}},
    ]
    made = [
        await (await (await Wizard.begin(api, house.admin)).fill(package, number=n, Connection=kind)).confirm()
        for n, kind in enumerate(kinds)
    ]
    services = [each["customer"]["services"][0] for each in made]
    assert [s["connectionType"] for s in services] == ["PPPOE", "HOTSPOT", "STATIC_IP", "OTHER"]
    assert [s["username"] for s in services] == ["janeexample", "janeexample1", "janeexample2", "janeexample3"]
    assert made[0]["credentials"]["password"] == "given-password"
    assert all(len(each["credentials"]["password"]) == 10 for each in made[1:])
    assert services[1]["macAddresses"] == ["02:00:00:00:00:01"]
    assert services[2]["ipAddress"] == "10.1.2.3"
    assert [row["value"] for row in services[2]["network"]["radius"] if "Netmask" in row["attribute"]] == [
        "255.255.255.0"
    ]
    assert [len(each["jobs"]) for each in made] == [1, 1, 1, 1]
    accounts = [each["customer"]["accountNumber"] for each in made]
    assert accounts == [str(int(accounts[0]) + n) for n in range(4)]
    numbers = [each["invoice"]["number"] for each in made]
    assert [number[-6:] for number in numbers] == ["000001", "000002", "000003", "000004"]


async def test_what_is_taken_by_now(api: Api, house: House) -> None:
    package = await house.package()
    hotspot = {"hotspot": {"macAddress": "02:00:00:00:00:01"}}
    late = await (await Wizard.begin(api, house.admin)).fill(package, Connection=hotspot)
    await (await (await Wizard.begin(api, house.admin)).fill(package, Connection=hotspot)).confirm()
    assert faults(await late.confirm()) == [("TAKEN", "draft.connection.macAddress"), ("TAKEN", "draft.basics.email")]
    draft = await late.read("status review { ready missing { code } } log { step succeeded }")
    assert draft["status"] == "FAILED"
    assert not draft["review"]["ready"]
    assert draft["log"][-1] == {"step": "REVIEW", "succeeded": False}
    assert faults(await late.step("Connection", **hotspot)) == [("TAKEN", "input.hotspot.macAddress")]


async def test_a_price_that_moved_must_be_accepted(api: Api, house: House, database: Database) -> None:
    package = await house.package()
    wizard = await (await Wizard.begin(api, house.admin)).fill(package)
    async with database.transaction(house.tenant.id) as session:
        await session.execute(text("UPDATE packages SET price_minor = 60000"))
    assert faults(await wizard.confirm()) == [("QUOTE_STALE", "draft.package")]
    await wizard.step("Package", packageId=ids.encode("pkg", package.id))
    assert (await wizard.confirm())["invoice"]["total"]["amount"] == "600.00"


async def test_an_incomplete_draft_names_every_missing_step(api: Api, house: House) -> None:
    wizard = await Wizard.begin(api, house.admin)
    await wizard.step("Address", address={"street": "X"})
    assert faults(await wizard.confirm()) == [
        ("DRAFT_INCOMPLETE", f"draft.{name}") for name in ("basics", "connection", "package", "payment")
    ]


async def test_confirming_again_answers_the_same(api: Api, house: House, database: Database) -> None:
    package = await house.package()
    wizard = await (await Wizard.begin(api, house.admin)).fill(package)
    first = await wizard.confirm(idempotencyKey="k1")
    before = await counts(database, house)
    for given in ({"idempotencyKey": "k1"}, {}, {"idempotencyKey": "k2"}):
        again = await wizard.confirm(**given)
        assert again["customer"]["id"] == first["customer"]["id"]
        assert again["invoice"] == first["invoice"]
        assert again["payment"] == first["payment"]
        assert again["credentials"] is None
    other = await (await Wizard.begin(api, house.admin)).fill(package, number=1)
    assert faults(await other.confirm(idempotencyKey="k1")) == [("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")]
    assert await counts(database, house) == before


async def test_fifty_confirms_of_one_draft_make_one_customer(api: Api, house: House, database: Database) -> None:
    wizard = await (await Wizard.begin(api, house.admin)).fill(await house.package())
    answers = await asyncio.gather(*(wizard.confirm() for _ in range(50)))
    assert all(answer["errors"] == [] for answer in answers)
    assert len({answer["customer"]["id"] for answer in answers}) == 1
    assert sum(answer["credentials"] is not None for answer in answers) == 1
    assert await counts(database, house) == (1, 1, 1, 1, 4, 1)


@pytest.mark.long
async def test_fifty_drafts_with_one_wished_username(api: Api, house: House, database: Database) -> None:
    package = await house.package()
    wizards = [await (await Wizard.begin(api, house.admin)).fill(package, number=n) for n in range(50)]
    answers = await asyncio.gather(*(wizard.confirm() for wizard in wizards))
    assert all(answer["errors"] == [] for answer in answers)
    usernames = {answer["credentials"]["username"] for answer in answers}
    assert usernames == {"jane"} | {f"jane{n}" for n in range(1, 50)}
    numbers = sorted(int(answer["invoice"]["number"][-6:]) for answer in answers)
    assert numbers == list(range(1, 51))


async def test_racing_for_one_email(api: Api, house: House, database: Database) -> None:
    package = await house.package()
    wizards = [await (await Wizard.begin(api, house.admin)).fill(package) for _ in range(8)]
    answers = await asyncio.gather(*(wizard.confirm() for wizard in wizards))
    codes = [faults(answer) for answer in answers]
    assert codes.count([]) == 1
    assert codes.count([("TAKEN", "draft.basics.email")]) == 7
    assert (await counts(database, house))[0] == 1


async def test_a_failure_half_way_leaves_nothing(
    api: Api, house: House, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = await house.package()
    wizard = await (await Wizard.begin(api, house.admin)).fill(package)
    record = payments.record

    async def broken(*args: Any, **named: Any) -> Any:
        await record(*args, **named)
        raise RuntimeError("the plug was pulled, a-Password-1")

    monkeypatch.setattr(payments, "record", broken)
    answer = await api(
        "mutation ($i: DraftConfirmInput!) { customerDraftConfirm(input: $i) { customer { id } } }",
        house.admin,
        i={"draftId": wizard.draft},
    )
    assert answer["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert "plug" not in json.dumps(answer)
    assert await counts(database, house) == (0, 0, 0, 0, 0, 0)
    monkeypatch.setattr(payments, "record", record)
    made = await wizard.confirm()
    assert made["invoice"]["number"].endswith("000001")


async def test_another_tenants_things_are_not_there(api: Api, house: House, other_house: House) -> None:
    foreign = await other_house.package()
    zone = await other_house.zone()
    wizard = await Wizard.begin(api, house.admin)
    payload = await wizard.step("Package", packageId=ids.encode("pkg", foreign.id))
    assert faults(payload) == [("NOT_FOUND", "input.packageId")]
    payload = await wizard.step("Address", address={"street": "X"}, zoneId=ids.encode("zon", zone.id))
    assert faults(payload) == [("NOT_FOUND", "input.zoneId")]
    made = await (await (await Wizard.begin(api, other_house.admin)).fill(foreign)).confirm()
    document = "query ($id: ID!, $by: CustomerBy!) { node(id: $id) { id } customer(by: $by) { id } }"
    data = await api.data(document, house.admin, id=made["customer"]["id"], by={"username": "jane"})
    assert data == {"node": None, "customer": None}
    data = await api.data(document, other_house.admin, id=made["customer"]["id"], by={"username": "jane"})
    assert data["node"] == data["customer"] == {"id": made["customer"]["id"]}


async def test_a_resellers_customer_stays_the_resellers(api: Api, house: House) -> None:
    seller = await house.operator(Role.OPERATOR)
    begun = await (await Wizard.begin(api, seller)).fill(await house.package())
    made = await Wizard(api, house.admin, begun.draft).confirm()
    assert made["errors"] == []
    document = "query ($by: CustomerBy!) { customer(by: $by) { operator { email } } }"
    data = await api.data(document, seller, by={"accountNumber": made["customer"]["accountNumber"]})
    assert data["customer"]["operator"]["email"] == seller.email
    rival = await house.operator(Role.OPERATOR)
    data = await api.data(document, rival, by={"accountNumber": made["customer"]["accountNumber"]})
    assert data["customer"] is None
    for kind in ("customer", "invoice", "payment"):
        found = await api.data("query ($id: ID!) { node(id: $id) { id } }", rival, id=made[kind]["id"])
        assert found["node"] is None
        found = await api.data("query ($id: ID!) { node(id: $id) { id } }", seller, id=made[kind]["id"])
        assert found["node"]["id"] == made[kind]["id"]


async def test_long_names_make_room_for_their_number(api: Api, house: House) -> None:
    package = await house.package()
    made = []
    for number in range(4):
        wish = {"pppoe": {"username": "a" * 60, "password": "a-Password-1"}}
        wizard = await (await Wizard.begin(api, house.admin)).fill(package, number=number, Connection=wish)
        made.append((await wizard.confirm())["credentials"]["username"])
    assert made == ["a" * 60, "a" * 56 + "1", "a" * 56 + "2", "a" * 56 + "3"]
    realm = "b@" + "r" * 50 + ".example"
    answers = []
    for number in range(4, 6):
        wish = {"pppoe": {"username": realm, "password": "a-Password-1"}}
        wizard = await (await Wizard.begin(api, house.admin)).fill(package, number=number, Connection=wish)
        answers.append(await wizard.confirm())
    assert answers[0]["credentials"]["username"] == realm
    assert faults(answers[1]) == [("TAKEN", "draft.connection.username")]


async def test_who_may_not_take_payments_confirms_without(api: Api, house: House) -> None:
    clerk = await house.operator(Role.STAFF, permissions=["CREATE_CUSTOMERS", "VIEW_CUSTOMERS"])
    package = await house.package()
    wizard = await (await Wizard.begin(api, clerk)).fill(package, pays="0")
    assert faults(await wizard.step("Payment", amount="5", method="CASH")) == [("NOT_PERMITTED", "input.amount")]
    assert (await Wizard(api, house.admin, wizard.draft).step("Payment", amount="5", method="CASH"))["errors"] == []
    assert faults(await wizard.confirm()) == [("NOT_PERMITTED", "draft.payment")]
    assert (await Wizard(api, house.admin, wizard.draft).confirm())["errors"] == []


async def test_bad_pages_below_a_customer_are_bad_requests(api: Api, house: House) -> None:
    made = await (await (await Wizard.begin(api, house.admin)).fill(await house.package())).confirm()
    for field in ("invoices", "payments", "ledger", "jobs"):
        for arguments in ("first: -1", "first: 101", 'after: "zz"', "first: 1, last: 1"):
            document = f"query ($by: CustomerBy!) {{ customer(by: $by) {{ {field}({arguments}) {{ totalCount }} }} }}"
            answer = await api(document, house.admin, by={"id": made["customer"]["id"]})
            assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
