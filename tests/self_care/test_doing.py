"""What customers do: pay, write tickets, choose how they are written to, and watch what goes on."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import payment_links
from ispgraph.domain.models import AuditEntry, Customer, Message, PaymentLink, TicketReply
from ispgraph.up.ports import free_port
from tests import accounting
from tests.billing.conftest import Till
from tests.crowd import customer, service
from tests.factories import PASSWORD_HASH, House
from tests.paying.counter import account
from tests.programs import Program
from tests.self_care.home import Home, faults
from tests.tickets.counter import Counter
from tests.watching import watcher

LINK = """mutation ($input: SendPaymentLinkInput!) { done: customerSendPaymentLink(input: $input) {
  link { id url status amount { amount } invoice { number } } messages { body } errors { code message field } } }"""
TICKET = "id number subject status priority replies { author byCustomer body internal }"
CREATE = f"""mutation ($input: TicketCreateInput!) {{ done: ticketCreate(input: $input) {{ ticket {{ {TICKET} }}
  errors {{ code field }} }} }}"""
REPLY = f"""mutation ($id: ID!, $body: String!, $internal: Boolean! = false, $key: String) {{
  done: ticketReply(ticketId: $id, body: $body, internal: $internal, idempotencyKey: $key) {{ ticket {{ {TICKET} }}
  errors {{ code field }} }} }}"""
PREFER = """mutation ($input: PreferencesInput!) { done: preferencesUpdate(input: $input) {
  customer { language smsOptOut emailOptOut } errors { code field } } }"""
BILLS = """{ viewer { customer { amountDue { amount } invoices { totalCount nodes { id number pdfUrl
  lines { description } payments { number receiptUrl } } } } } }"""
NODE = "query ($id: ID!) { node(id: $id) { id } }"


async def neighbour(house: House) -> Customer:
    row = customer(house, "Bea Sibling", account_number="N-1002", password_hash=PASSWORD_HASH)
    await house.add(row)
    return row


async def test_bills_are_read_and_paid_by_whose_they_are(home: Home, till: Till, house: House) -> None:
    bill = await till.bill(home.customer.id, 10_000)
    payment = await till.pay(2_500, bill)
    other = await neighbour(house)
    foreign = await till.bill(other.id, 7_000)
    await account(
        house, "bank_transfer", {}, "Bank", settings={"account_name": "N", "account_number": "1", "bank": "B"}
    )
    await home.entered()
    me = (await home.ask(BILLS))["viewer"]["customer"]
    assert (me["amountDue"]["amount"], me["invoices"]["totalCount"]) == ("75.00", 1)
    [shown] = me["invoices"]["nodes"]
    assert (shown["number"], shown["payments"][0]["number"]) == (bill.number, payment.number)
    for url in (shown["pdfUrl"], shown["payments"][0]["receiptUrl"]):
        paper = await home.api.get(url)
        assert (paper.status_code, paper.content[:5]) == (200, b"%PDF-")
        # The link is for this paper alone.
        for wrong in (url.replace(bill.id.hex, foreign.id.hex), url[:-3] + "xyz"):
            assert wrong == url or (await home.api.get(wrong)).status_code in (403, 404)
    assert (await home.ask(NODE, id=shown["id"]))["node"] == {"id": shown["id"]}
    assert (await home.ask(NODE, id=ids.encode("inv", foreign.id)))["node"] is None
    # The own page to pay on is shown, not sent; that of somebody else is not there.
    wish: dict[str, Any] = {"customerId": home.id, "channels": []}
    made = await home.do(LINK, input=wish | {"invoiceId": shown["id"], "idempotencyKey": "pay"})
    assert faults(made) == []
    assert (made["link"]["amount"]["amount"], made["link"]["invoice"]["number"]) == ("75.00", bill.number)
    again = await home.do(LINK, input=wish | {"invoiceId": shown["id"], "idempotencyKey": "pay"})
    assert again["link"]["id"] == made["link"]["id"]
    page = await home.api.get(urlsplit(made["link"]["url"]).path)
    assert (page.status_code, "75.00" in page.text) == (200, True)
    theirs = ids.encode("inv", foreign.id)
    for given, fault in (
        ({"channels": ["SMS"]}, ("INVALID", "input.channels")),
        ({"invoiceId": theirs}, ("NOT_FOUND", "input.invoiceId")),
        ({"customerId": ids.encode("cus", other.id)}, ("NOT_FOUND", "input.customerId")),
        ({"customerId": ids.encode("cus", other.id), "invoiceId": theirs}, ("NOT_FOUND", "input.customerId")),
    ):
        assert faults(await home.do(LINK, input=wish | given)) == [fault]
    for _ in range(payment_links.MOST_BY_CUSTOMER - 1):
        assert faults(await home.do(LINK, input=wish)) == []
    assert faults(await home.do(LINK, input=wish)) == [("LIMIT_EXCEEDED", "input.customerId")]
    async with house.database.read(house.tenant.id) as session:
        assert set(await session.scalars(select(PaymentLink.customer_id))) == {home.customer.id}
        entries = (await session.scalars(select(AuditEntry).where(AuditEntry.action == "payment_link.send"))).all()
    assert {(entry.operator_id, entry.details["by"]) for entry in entries} == {(None, "customer")}


async def test_tickets_are_written_on_from_both_sides(home: Home, house: House, api: Any) -> None:
    other = await neighbour(house)
    desk = Counter(api, house.admin)
    foreign = (await desk.create(other, subject="Of the neighbour"))["ticket"]["id"]
    await home.entered()
    wish = {"customerId": home.id, "subject": "Slow", "body": "Since Monday", "category": "TECHNICAL"}
    opened = await home.do(CREATE, input=wish | {"idempotencyKey": "one"})
    assert faults(opened) == []
    ticket = opened["ticket"]["id"]
    assert (await home.do(CREATE, input=wish | {"idempotencyKey": "one"}))["ticket"]["id"] == ticket
    for given, fault in (
        ({"priority": "URGENT"}, ("INVALID", "input.priority")),
        ({"customerId": ids.encode("cus", other.id)}, ("NOT_FOUND", "input.customerId")),
        ({"subject": ""}, ("REQUIRED", "input.subject")),
    ):
        assert faults(await home.do(CREATE, input=wish | given)) == [fault]
    # A note among operators is not for the customer, whichever way it is read.
    office = {"id": ticket, "internal": True, "body": "Difficult person"}
    assert faults(await home.office(REPLY, **office)) == []
    assert faults(await home.office(REPLY, id=ticket, body="We look into it")) == []
    listed = f"tickets {{ totalCount nodes {{ {TICKET} }} }} messages {{ nodes {{ body }} }}"
    mine = f"{{ viewer {{ customer {{ {listed} }} }} }}"
    by_id = f"query ($id: ID!) {{ node(id: $id) {{ ... on Ticket {{ {TICKET} }} }} }}"
    seen = (await home.ask(mine))["viewer"]["customer"]
    assert seen["tickets"]["totalCount"] == 1
    said = await home.do(REPLY, id=ticket, body="Thank you", key="two")
    assert faults(said) == []
    found = (await home.ask(by_id, id=ticket))["node"]
    assert said["ticket"] == found
    for text in (str(seen), str(said), str(found)):
        assert "Difficult" not in text
    assert [(each["author"], each["byCustomer"], each["body"]) for each in found["replies"]] == [
        (house.admin.name, False, "We look into it"),
        ("Ann Example", True, "Thank you"),
    ]
    # The office has all of it, and no first answer of the customer's to itself.
    whole = (await api.data(by_id, house.admin, id=ticket))["node"]
    assert [each["internal"] for each in whole["replies"]] == [True, False, False]
    assert faults(await home.do(REPLY, id=ticket, body="x", internal=True)) == [("INVALID", "internal")]
    for wrong in (foreign, "tkt_" + "0" * 32):
        assert faults(await home.do(REPLY, id=wrong, body="x")) == [("NOT_FOUND", "ticketId")]
    assert (await home.ask(by_id, id=foreign))["node"] is None
    # What waits for the customer, or was thought done, is open again; whoever works on it is told.
    clerk = house.admin
    assert faults(await desk.assign(ticket, clerk)) == []
    for status, then in (("PENDING", "OPEN"), ("RESOLVED", "OPEN"), ("IN_PROGRESS", "IN_PROGRESS")):
        assert faults(await desk.status(ticket, status)) == []
        assert (await home.do(REPLY, id=ticket, body=f"After {status}"))["ticket"]["status"] == then
    assert faults(await desk.status(ticket, "CLOSED")) == []
    assert faults(await home.do(REPLY, id=ticket, body="x")) == [("INVALID_STATE", "ticketId")]
    async with house.database.read(house.tenant.id) as session:
        told = list(await session.scalars(select(Message.body).where(Message.event == "operator.ticket_said")))
        authors = set(await session.scalars(select(TicketReply.author_name)))
    assert len(told) == 3
    assert "Ann Example has written" in told[0]
    assert authors == {None, "Ann Example"}


async def test_preferences_and_packages(home: Home, house: House) -> None:
    await house.package("Home 50")
    await house.package("Of last year", active=False)
    await home.entered()
    given = {"language": "bn", "smsOptOut": True}
    assert (await home.do(PREFER, input=given))["customer"] == {**given, "emailOptOut": False}
    assert faults(await home.do(PREFER, input={"language": "no language!"})) == [("INVALID", "input.language")]
    assert (await home.do(PREFER, input={"language": None, "emailOptOut": True}))["customer"] == {
        "language": None,
        "smsOptOut": True,
        "emailOptOut": True,
    }
    offered = await home.ask("{ packages(activeOnly: false) { name price { amount currency } } }")
    assert offered["packages"] == [{"name": "Home 50", "price": {"amount": "500.00", "currency": "USD"}}]
    timeline = f'{{ customer(by: {{id: "{home.id}"}}) {{ timeline {{ nodes {{ summary actor }} }} }} }}'
    told = (await home.api.data(timeline, house.admin))["customer"]["timeline"]["nodes"]
    assert any(each["summary"].startswith("Changed: ") for each in told), told


async def test_one_watches_oneself_alone(home: Home, house: House, owner: Database) -> None:
    other = await neighbour(house)
    package = await house.package()
    lines = [service(row, package.id, is_primary=True) for row in (home.customer, other)]
    for line in lines:
        await house.add(line)
    now = clock.now() - timedelta(minutes=1)
    for row, line in zip((home.customer, other), lines, strict=True):
        await accounting.account(owner, house, accounting.session(row, now, service_id=line.id))
    await home.entered()
    assert home.token is not None
    port = free_port()
    api = Program("app", home.settings, ISPGRAPH_PORT=str(port))
    await api.ready()
    usage = "subscription ($id: ID!) { liveUsage(customerId: $id, intervalSeconds: 1) { customerId online } }"
    changed = "subscription ($id: ID!) { customerChanged(customerId: $id) { id language } }"
    foreign = ids.encode("cus", other.id)
    try:
        async with watcher(f"ws://127.0.0.1:{port}/graphql", home.token) as panel:
            await panel.subscribe("1", usage, id=home.id)
            await panel.subscribe("2", changed, id=home.id)
            await panel.subscribe("3", "subscription { sessionChanged { id state } }")
            assert (await panel.until(lambda events: events, "1"))[0] == {"customerId": home.id, "online": True}
            assert (await panel.until(lambda events: events, "2"))[0]["id"] == home.id
            opened = await panel.until(lambda events: events, "3")
            assert len(opened) == 1, "the neighbour's is not told"
            for name, document, code in (
                ("4", usage, "BAD_REQUEST"),
                ("5", changed, "BAD_REQUEST"),
                ("6", "subscription ($id: ID!) { jobUpdated(customerId: $id) { id } }", "FORBIDDEN"),
                ("7", "subscription { liveUsageAll { customerId } }", "FORBIDDEN"),
                ("8", "subscription { routerStatusChanged { id } }", "FORBIDDEN"),
                ("9", "subscription ($id: ID!) { customerChanged(customerId: $id) { statusReason } }", "FORBIDDEN"),
            ):
                await panel.subscribe(name, document, id=foreign if code == "BAD_REQUEST" else home.id)
                ended = await panel.end(name)
                assert code in str(ended) or code in str(panel.came[name]), (name, ended, panel.came[name])
            # Rights are looked at again meanwhile, and hold.
            before = len(panel.events("2"))
            await home.do(PREFER, input={"language": "bn"})
            await panel.until(lambda events: events[before:] and events[-1]["language"] == "bn", "2")
            # With the sign-in the connection ends.
            await home.ask("mutation { signOut { errors { code } } }")
            assert await panel.closed() is not None
    finally:
        api.kill()
