"""Payment links and attempts in the graph: sent, shown, taken back, and decided by people."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select, update

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain.models import (
    AuditEntry,
    Customer,
    Gateway,
    GatewayPaymentState,
    InvoiceStatus,
    Message,
    PaymentMethod,
    Role,
)
from tests import subscribers
from tests.factories import House
from tests.paying.counter import SEND, Counter, account, fields
from tests.statements import counted

S = GatewayPaymentState
LINK = "id url status amount { amount } openCount gateways"
OF_CUSTOMER = f"""query ($id: ID!) {{ customer(by: {{id: $id}}) {{
  paymentLinks {{ totalCount nodes {{ {LINK} invoice {{ number }} }} }}
  gatewayPayments {{ nodes {{ state gateway amount {{ amount }} received {{ amount }} receipt link {{ status }}
    payment {{ number }} }} }} }} }}"""
ATTEMPTS = """query ($state: [GatewayPaymentState!]) { gatewayPayments(state: $state) { totalCount nodes {
  id state reference gateway payerNote reason } } }"""
LISTED = """query ($status: [PaymentLinkStatus!], $customer: ID, $first: Int, $after: String) {
  paymentLinks(status: $status, customerId: $customer, first: $first, after: $after) {
    totalCount pageInfo { endCursor } nodes { id url status customer { name } } } }"""
CANCEL = f"""mutation ($id: ID!, $key: String) {{ paymentLinkCancel(paymentLinkId: $id, idempotencyKey: $key) {{
  link {{ {LINK} }} errors {{ code field }} }} }}"""
CONFIRM = """mutation ($input: GatewayPaymentConfirmInput!) { gatewayPaymentConfirm(input: $input) {
  gatewayPayment { state reason receipt received { amount } payment { number method collectedBy { name } } }
  customer { wallet { amount } } errors { code message field } } }"""
REJECT = """mutation ($input: GatewayPaymentRejectInput!) { gatewayPaymentReject(input: $input) {
  gatewayPayment { state reason } errors { code field } } }"""
CHECK = """mutation ($id: ID!) { gatewayPaymentCheck(gatewayPaymentId: $id) {
  gatewayPayment { state } errors { code field } } }"""
JOBS = """query ($id: ID!) { customer(by: {id: $id}) { jobs { nodes { kind status message
  ... on GatewayPaymentJob { gatewayPayment { state } } } } } }"""


async def sent(counter: Counter, who: Any = None, **given: Any) -> dict[str, Any]:
    """The payload of sending a link."""
    wish = {"customerId": ids.encode("cus", counter.customer.id), "channels": [], **given}
    answer = await counter.api.data(SEND, who or counter.house.admin, input=wish)
    payload: dict[str, Any] = answer["customerSendPaymentLink"]
    return payload


def faults(payload: dict[str, Any]) -> list[tuple[str, list[str]]]:
    return [(error["code"], error["field"]) for error in payload["errors"]]


async def mailable(counter: Counter) -> None:
    async with counter.house.database.transaction(counter.house.tenant.id) as session:
        await session.execute(update(Customer).values(email="ann@example.net"))


async def transfer(counter: Counter) -> Gateway:
    told = {"account_name": "North Networks", "account_number": "DE00 1234", "bank": "Example Bank"}
    return await account(counter.house, "bank_transfer", {}, "Bank", settings=told, position=1)


async def test_a_link_is_written_and_asks_for_what_is_due(counter: Counter) -> None:
    await mailable(counter)
    invoice = await counter.till.bill(counter.customer.id, 10_000)
    payload = await sent(
        counter, invoiceId=ids.encode("inv", invoice.id), channels=["SMS", "EMAIL"], idempotencyKey="one"
    )
    link = payload["link"]
    assert link["amount"] == {"amount": "100.00", "currency": "USD"}
    assert (link["status"], link["openCount"], link["gateways"]) == ("ACTIVE", 0, ["Card"])
    assert [(message["channel"], message["status"]) for message in payload["messages"]] == [
        ("SMS", "QUEUED"),
        ("EMAIL", "QUEUED"),
    ]
    for message in payload["messages"]:
        assert link["url"] in message["body"]
        assert "100.00" in message["body"]
    again = await sent(
        counter, invoiceId=ids.encode("inv", invoice.id), channels=["EMAIL", "SMS"], idempotencyKey="one"
    )
    assert again == payload
    assert len(await counter.rows(select(Message))) == 2
    # It follows what is due, by whatever way that changes.
    await counter.till.pay(2_500, invoice)
    shown = await counter.api.data(OF_CUSTOMER, counter.house.admin, id=ids.encode("cus", counter.customer.id))
    (node,) = shown["customer"]["paymentLinks"]["nodes"]
    assert (node["url"], node["amount"], node["status"]) == (link["url"], {"amount": "75.00"}, "ACTIVE")
    await counter.till.pay(7_500, invoice)
    shown = await counter.api.data(OF_CUSTOMER, counter.house.admin, id=ids.encode("cus", counter.customer.id))
    assert shown["customer"]["paymentLinks"]["nodes"][0]["status"] == "PAID"
    actions = [entry.action for entry in await counter.rows(select(AuditEntry).order_by(AuditEntry.id))]
    assert "payment_link.send" in actions


async def test_only_the_channels_that_were_asked_for(counter: Counter) -> None:
    await mailable(counter)
    payload = await sent(counter, channels=["EMAIL"])
    assert [message["to"] for message in payload["messages"]] == ["ann@example.net"]


async def test_what_cannot_be_sent_is_told_at_its_field(counter: Counter, other_house: House) -> None:
    invoice = await counter.till.bill(counter.customer.id, 10_000)
    paid = await counter.till.bill(counter.customer.id, 500)
    await counter.till.pay(500, paid)
    theirs = await counter.till.bill((await counter.till.customer()).id, 700)
    foreign = await subscribers.customer(other_house)
    now = clock.now()
    at = ["input", "expiresAt"]
    cases: list[tuple[dict[str, Any], list[tuple[str, list[str]]]]] = [
        ({"channels": ["EMAIL"]}, [("INVALID", ["input", "channels"])]),
        ({"gateways": ["Card", "Gold"]}, [("NOT_FOUND", ["input", "gateways", "1"])]),
        ({"expiresAt": (now - timedelta(minutes=1)).isoformat()}, [("INVALID", at)]),
        ({"expiresAt": (now + timedelta(days=367)).isoformat()}, [("INVALID", at)]),
        ({"invoiceId": ids.encode("inv", paid.id)}, [("INVALID_STATE", ["input", "invoiceId"])]),
        ({"invoiceId": ids.encode("inv", theirs.id)}, [("NOT_FOUND", ["input", "invoiceId"])]),
        ({"invoiceId": "inv_1"}, [("NOT_FOUND", ["input", "invoiceId"])]),
        ({"invoiceId": ids.encode("inv", invoice.id), "amount": "5"}, [("INVALID", ["input", "amount"])]),
        ({"amount": "0"}, [("INVALID", ["input", "amount"])]),
        ({"customerId": ids.encode("cus", foreign.id)}, [("NOT_FOUND", ["input", "customerId"])]),
    ]
    for given, expected in cases:
        assert faults(await sent(counter, **given)) == expected, given
    async with counter.house.database.transaction(counter.house.tenant.id) as session:
        await session.execute(update(Gateway).values(active=False))
    assert faults(await sent(counter)) == [("NOT_CONFIGURED", ["input", "gateways"])]
    assert await counter.rows(select(Message)) == []


async def test_links_are_for_those_who_may(counter: Counter, other_house: House) -> None:
    house = counter.house
    link = await counter.link()
    clerk = await house.operator(Role.STAFF)
    seller = await house.operator(Role.OPERATOR)
    given = {"customerId": ids.encode("cus", counter.customer.id), "channels": []}
    for document, variables in ((SEND, {"input": given}), (CANCEL, {"id": link["id"]})):
        refused = await counter.api(document, clerk, **variables)
        assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert faults(await sent(counter, seller)) == [("NOT_FOUND", ["input", "customerId"])]
    for stranger in (seller, other_house.admin):
        answer = (await counter.api.data(CANCEL, stranger, id=link["id"]))["paymentLinkCancel"]
        assert faults(answer) == [("NOT_FOUND", ["paymentLinkId"])]
        assert (await counter.api.data(ATTEMPTS, stranger))["gatewayPayments"]["totalCount"] == 0
        found = await counter.api.data("query ($id: ID!) { node(id: $id) { id } }", stranger, id=link["id"])
        assert found["node"] is None


async def test_links_are_listed_by_status_and_customer(
    counter: Counter, other_house: House, database: Database, moved_clock: None
) -> None:
    house, till = counter.house, counter.till
    seller, accountant = await house.operator(Role.OPERATOR), await house.operator(Role.STAFF)
    theirs = await subscribers.customer(house, operator_id=seller.id)
    soon = (clock.now() + timedelta(hours=1)).isoformat()
    invoice = await till.bill(counter.customer.id, 10_000)
    made = {
        "EXPIRED": await counter.link(expiresAt=soon),
        "CANCELLED": await counter.link(),
        "PAID": await counter.link(invoiceId=ids.encode("inv", invoice.id)),
        "ACTIVE": await counter.link(amount="5"),
    }
    await counter.api.data(CANCEL, house.admin, id=made["CANCELLED"]["id"])
    await till.pay(10_000, invoice)
    payload = await sent(counter, seller, customerId=ids.encode("cus", theirs.id))
    made["theirs"] = payload["link"]
    clock.set_clock("+3601")

    async def listed(who: Any, **given: Any) -> list[str]:
        with counted(database) as seen:
            page = (await counter.api.data(LISTED, who, **given))["paymentLinks"]
        # One for the page; one for all rows, of which the addresses are unsealed.
        assert len(seen) == (2 if page["nodes"] else 1)
        assert page["totalCount"] == len(page["nodes"])
        named = {link["id"]: name for name, link in made.items()}
        names = [named[node["id"]] for node in page["nodes"]]
        stand = ["ACTIVE" if name == "theirs" else name for name in names]
        assert [node["status"] for node in page["nodes"]] == stand
        return names

    every = ["theirs", "ACTIVE", "PAID", "CANCELLED", "EXPIRED"]
    assert await listed(house.admin) == every
    for status in ("PAID", "CANCELLED", "EXPIRED"):
        assert await listed(house.admin, status=[status]) == [status]
    assert await listed(house.admin, status=["ACTIVE", "PAID"]) == ["theirs", "ACTIVE", "PAID"]
    assert await listed(house.admin, status=[]) == []
    assert await listed(house.admin, customer=ids.encode("cus", counter.customer.id)) == every[1:]
    mine = {"customer": ids.encode("cus", theirs.id), "status": ["ACTIVE"]}
    assert await listed(house.admin, **mine) == ["theirs"]
    # Of another's customers nothing is told, neither by the list nor by the filter.
    assert await listed(seller) == ["theirs"]
    assert await listed(seller, customer=ids.encode("cus", counter.customer.id)) == []
    assert await listed(other_house.admin) == []
    assert await listed(other_house.admin, **mine) == []
    first = (await counter.api.data(LISTED, house.admin, first=2))["paymentLinks"]
    rest = (await counter.api.data(LISTED, house.admin, after=first["pageInfo"]["endCursor"]))["paymentLinks"]
    assert [node["id"] for node in first["nodes"] + rest["nodes"]] == [made[name]["id"] for name in every]
    assert first["nodes"][0] == {
        **{"id": made["theirs"]["id"], "url": made["theirs"]["url"], "status": "ACTIVE"},
        "customer": {"name": theirs.name},
    }
    refused = await counter.api(LISTED, accountant)
    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    refused = await counter.api(LISTED, house.admin, customer="cus_1")
    assert "customerId" in str(refused["errors"][0])


async def test_a_link_taken_back_stays_so(counter: Counter) -> None:
    link = await counter.link()
    for _ in range(2):
        answer = (await counter.api.data(CANCEL, counter.house.admin, id=link["id"], key="k"))["paymentLinkCancel"]
        assert (answer["link"]["status"], answer["errors"]) == ("CANCELLED", [])
    answer = (await counter.api.data(CANCEL, counter.house.admin, id=link["id"]))["paymentLinkCancel"]
    assert faults(answer) == [("NO_CHANGE", ["paymentLinkId"])]


async def test_money_ahead_of_time_goes_to_the_wallet(counter: Counter) -> None:
    link = await counter.link(amount="30")
    path = link["url"].removeprefix(counter.home)
    assert "Payment in advance" in (await counter.browser.get(path)).text
    await counter.double.pay(await counter.session(path))
    shown = await counter.api.data(OF_CUSTOMER, counter.house.admin, id=ids.encode("cus", counter.customer.id))
    (node,) = shown["customer"]["paymentLinks"]["nodes"]
    assert (node["status"], node["amount"]["amount"]) == ("PAID", "0.00")
    (attempt,) = shown["customer"]["gatewayPayments"]["nodes"]
    assert (attempt["state"], attempt["received"], attempt["link"]) == ("PAID", {"amount": "30.00"}, {"status": "PAID"})
    assert attempt["payment"]["number"].startswith("PAY-")


async def test_a_bank_transfer_is_confirmed_by_hand(counter: Counter) -> None:
    bank = await transfer(counter)
    invoice = await counter.till.bill(counter.customer.id, 10_000)
    path = await counter.path()
    began = await counter.begin(path, bank)
    assert began.status_code == 303
    there = began.url.join(began.headers["location"])
    page = (await counter.browser.get(there)).text
    (attempt,) = await counter.attempts()
    for said in (attempt.reference, "DE00 1234", "Example Bank", "North Networks"):
        assert said in page
    form = fields(page + bank.id.hex, bank)["form"]
    noted = await counter.browser.post(there, data={"form": form, "note": "On Monday <b>"}, follow_redirects=True)
    assert "On Monday &lt;b&gt;" in noted.text
    long = await counter.browser.post(there, data={"form": form, "note": "x" * 201})
    assert long.status_code == 400
    listed = await counter.api.data(ATTEMPTS, counter.house.admin, state=["PENDING"])
    (node,) = listed["gatewayPayments"]["nodes"]
    assert (node["payerNote"], node["gateway"], node["reference"]) == ("On Monday <b>", "Bank", attempt.reference)
    assert (await counter.api.data(ATTEMPTS, counter.house.admin, state=["PAID"]))["gatewayPayments"]["nodes"] == []

    given = {"gatewayPaymentId": node["id"], "amount": "90", "receipt": "TRX-1", "idempotencyKey": "k"}
    for _ in range(2):
        answer = (await counter.api.data(CONFIRM, counter.house.admin, input=given))["gatewayPaymentConfirm"]
        assert answer["errors"] == []
        payment = answer["gatewayPayment"]["payment"]
        assert (payment["method"], payment["collectedBy"]["name"]) == ("BANK_TRANSFER", counter.house.admin.name)
    assert [payment.amount_minor for payment in await counter.payments()] == [9_000]
    assert (await counter.again(invoice)).status is InvoiceStatus.PARTIALLY_PAID
    assert "Paid. Thank you!" in (await counter.browser.get(there)).text
    # The same transfer does not count for another attempt.
    await counter.begin(path, bank)
    other = ids.encode("gpy", (await counter.attempts())[1].id)
    given = {"gatewayPaymentId": other, "receipt": "TRX-1"}
    answer = (await counter.api.data(CONFIRM, counter.house.admin, input=given))["gatewayPaymentConfirm"]
    assert faults(answer) == [("TAKEN", ["input", "receipt"])]
    given = {"gatewayPaymentId": other, "reason": "Nothing came."}
    answer = (await counter.api.data(REJECT, counter.house.admin, input=given))["gatewayPaymentReject"]
    assert answer["gatewayPayment"] == {"state": "FAILED", "reason": "Nothing came."}
    answer = (await counter.api.data(CHECK, counter.house.admin, id=other))["gatewayPaymentCheck"]
    assert faults(answer) == [("INVALID_STATE", ["gatewayPaymentId"])]
    assert len(await counter.payments()) == 1


async def test_what_a_gateway_can_say_is_not_decided_by_hand(counter: Counter) -> None:
    house = counter.house
    await counter.till.bill(counter.customer.id, 10_000)
    session = await counter.session(await counter.path())
    (attempt,) = await counter.attempts()
    key = ids.encode("gpy", attempt.id)
    answer = (await counter.api.data(CONFIRM, house.admin, input={"gatewayPaymentId": key}))["gatewayPaymentConfirm"]
    assert faults(answer) == [("INVALID_STATE", ["input", "gatewayPaymentId"])]
    counter.double.hold = True
    await counter.double.pay(session)
    answer = (await counter.api.data(CHECK, house.admin, id=key))["gatewayPaymentCheck"]
    assert answer == {"gatewayPayment": {"state": "PENDING"}, "errors": []}
    await counter.work()
    assert [each.state for each in await counter.attempts()] == [S.PAID]
    found = (await counter.api.data(JOBS, house.admin, id=ids.encode("cus", counter.customer.id)))["customer"]["jobs"]
    assert found["nodes"] == [
        {"kind": "gateway.check", "status": "SUCCEEDED", "message": "PAID", "gatewayPayment": {"state": "PAID"}}
    ]
    for document, variables in (
        (CONFIRM, {"input": {"gatewayPaymentId": key}}),
        (REJECT, {"input": {"gatewayPaymentId": key, "reason": "x"}}),
        (CHECK, {"id": key}),
    ):
        (name,) = answer_of = await counter.api.data(document, house.admin, **variables)
        assert [error["code"] for error in answer_of[name]["errors"]] == ["INVALID_STATE"]


async def test_money_in_doubt_is_decided_by_an_operator(counter: Counter) -> None:
    await counter.till.bill(counter.customer.id, 10_000)
    session = await counter.session(await counter.path())
    counter.double.sessions[session]["currency"] = "eur"
    await counter.double.pay(session)
    await counter.work()
    (attempt,) = await counter.attempts()
    key = ids.encode("gpy", attempt.id)
    given = {"gatewayPaymentId": key, "amount": "110.50"}
    answer = (await counter.api.data(CONFIRM, counter.house.admin, input=given))["gatewayPaymentConfirm"]
    assert answer["gatewayPayment"]["receipt"] == attempt.receipt
    assert answer["customer"]["wallet"]["amount"] == "10.50"
    assert [payment.method for payment in await counter.payments()] == [PaymentMethod.ONLINE]
