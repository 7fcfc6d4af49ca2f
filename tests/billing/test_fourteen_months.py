"""Fourteen months of one customer, read like a ledger book: every number is written out and was reckoned by hand.

The months of one who began on 31 January 2028, at ten in the morning in Berlin, end on 29 February, 31 March, 30 April:
on the last day where there is no 31st, and at ten by the clocks on the wall, which go forward on 26 March and back on
29 October. All prices are without 19 % of tax.
"""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from ispgraph import clock
from ispgraph.db import Database
from ispgraph.domain.models import Package
from tests import factories
from tests.api import Api
from tests.billing import office
from tests.billing.changing import Buyer, sound

BERLIN = ZoneInfo("Europe/Berlin")
PAY = """mutation ($input: AdvancePaymentInput!) { customerRecordAdvancePayment(input: $input) {
  payment { id number } errors { code message } } }"""
REFUND = """mutation ($id: ID!) { paymentRefund(paymentId: $id, reason: "Paid from the wrong account") {
  errors { code message } } }"""
SUSPEND = "mutation ($input: SuspendInput!) { customerSuspend(input: $input) { errors { code message } } }"
ACTIVATE = "mutation ($input: ActivateInput!) { customerActivate(input: $input) { errors { code message } } }"
BOOK = """query ($id: ID!) { node(id: $id) { ... on Customer { wallet { amount } amountDue { amount }
  service { expiresAt }
  invoices(last: 100) { nodes { number total { amount } amountDue { amount } lines { description amount { amount } } } }
  ledger(last: 100) { nodes { account description debit { amount } credit { amount } balance { amount } } } } } }"""


class Months:
    """The customer, and a calendar."""

    def __init__(self, api: Api, house: factories.House, package: Package) -> None:
        self.api, self.house, self.package = api, house, package
        self.buyer: Buyer

    def on(self, year: int, month: int, day: int) -> None:
        """It is ten in the morning of a day; whoever worked with the API signs in again."""
        clock.set_clock(datetime(year, month, day, 10, 0, 5, tzinfo=BERLIN).isoformat())
        self.api.sign_in_again()

    async def ask(self, document: str, **variables: Any) -> Any:
        """What a mutation or query answers, without errors."""
        (answer,) = (await self.api.data(document, self.house.admin, **variables)).values()
        assert not answer.get("errors"), answer
        return answer

    async def bill(self, year: int, month: int, day: int) -> None:
        """The run of a day."""
        self.on(year, month, day)
        await office.bill(self.house)

    async def pay(self, amount: str) -> str:
        """Cash."""
        asked = {"customerId": self.buyer.customer, "amount": amount, "method": "CASH"}
        return str((await self.ask(PAY, input=asked))["payment"]["id"])

    async def book(self) -> dict[str, Any]:
        """The customer's books."""
        found: dict[str, Any] = await self.ask(BOOK, id=self.buyer.customer)
        return found


@pytest.fixture
async def months(api: Api, owner: Database, database: Database) -> Months:
    house = await factories.house(
        owner, database, "months", time_zone="Europe/Berlin", currency="EUR", country="DE", tax_rate="19"
    )
    package = await house.package("Home", price_minor=3_000)
    return Months(api, house, package)


# Account, description, debit, credit, and the balance after it: below zero the customer owes.
LEDGER = """
RECEIVABLE Invoice INV-2028-000001       35.70         -35.70
RECEIVABLE Payment PAY-2028-000001              35.70    0.00
RECEIVABLE Invoice INV-2028-000002       35.70         -35.70
RECEIVABLE Payment PAY-2028-000002              35.70    0.00
RECEIVABLE Invoice INV-2028-000003       35.70         -35.70
RECEIVABLE Payment PAY-2028-000003              35.70    0.00
RECEIVABLE Invoice INV-2028-000004        8.93          -8.93
RECEIVABLE Payment PAY-2028-000004               8.93    0.00
RECEIVABLE Invoice INV-2028-000005       53.55         -53.55
RECEIVABLE Payment PAY-2028-000005              53.55    0.00
RECEIVABLE Invoice INV-2028-000006       53.55         -53.55
RECEIVABLE Payment PAY-2028-000006              53.55    0.00
RECEIVABLE Invoice INV-2028-000007       53.55         -53.55
RECEIVABLE Payment PAY-2028-000007              53.55    0.00
RECEIVABLE Refund of PAY-2028-000007     53.55         -53.55
RECEIVABLE Payment PAY-2028-000008              53.55    0.00
RECEIVABLE Invoice INV-2028-000008       53.55         -53.55
RECEIVABLE Payment PAY-2028-000009              53.55    0.00
RECEIVABLE Invoice INV-2028-000009       53.55         -53.55
RECEIVABLE Payment PAY-2028-000010              53.55    0.00
WALLET     Credit note CRN-2028-000001           9.91    9.91
RECEIVABLE Invoice INV-2028-000010       23.80         -13.89
WALLET     Payment PAY-2028-000011        9.91         -23.80
RECEIVABLE Payment PAY-2028-000011               9.91  -13.89
RECEIVABLE Payment PAY-2028-000012              13.89    0.00
RECEIVABLE Invoice INV-2028-000011       23.80         -23.80
RECEIVABLE Payment PAY-2028-000013              23.80    0.00
RECEIVABLE Invoice INV-2028-000012       23.80         -23.80
RECEIVABLE Payment PAY-2028-000014              23.80    0.00
RECEIVABLE Invoice INV-2028-000013       23.80         -23.80
RECEIVABLE Payment PAY-2028-000015              23.80    0.00
RECEIVABLE Invoice INV-2029-000001       23.80         -23.80
RECEIVABLE Payment PAY-2029-000001              23.80    0.00
RECEIVABLE Invoice INV-2029-000002       23.80         -23.80
"""


@pytest.mark.usefixtures("moved_clock")
async def test_fourteen_months(months: Months, owner: Database) -> None:
    start = datetime(2028, 1, 31, 10, tzinfo=BERLIN)
    months.buyer = await Buyer.enrolled(months.api, months.house, months.package, at=start.isoformat(), pays="35.70")
    more = await months.house.package("Home Plus", price_minor=4_500)
    less = await months.house.package("Home Small", price_minor=2_000)
    await months.bill(2028, 2, 29)
    await months.pay("35.70")
    await months.bill(2028, 3, 31)
    await months.pay("35.70")
    # 15 of the 30 days from 31 March to 30 April are left: 15.00 of 30.00 back, 22.50 of 45.00 charged.
    months.on(2028, 4, 15)
    changed = await months.buyer.change(more)
    assert changed["errors"] == []
    assert [line["amount"]["amount"] for line in changed["invoice"]["lines"]] == ["-15.00", "22.50"]
    assert [line["tax"]["amount"] for line in changed["invoice"]["lines"]] == ["-2.85", "4.28"]
    await months.pay("8.93")
    await months.bill(2028, 4, 30)
    await months.pay("53.55")
    await months.bill(2028, 5, 31)
    await months.pay("53.55")
    # A week off line, as he asked for: the time is his, and is not made up for.
    months.on(2028, 6, 5)
    await months.ask(SUSPEND, input={"customerId": months.buyer.customer, "reason": "CUSTOMER_REQUEST"})
    months.on(2028, 6, 12)
    await months.ask(ACTIVATE, input={"customerId": months.buyer.customer})
    await months.bill(2028, 6, 30)
    payment = await months.pay("53.55")
    months.on(2028, 7, 3)
    await months.ask(REFUND, id=payment)
    months.on(2028, 7, 4)
    await months.pay("53.55")
    await months.bill(2028, 7, 31)
    await months.pay("53.55")
    await months.bill(2028, 8, 31)
    await months.pay("53.55")
    # 10 of the 30 days from 31 August to 30 September: 15.00 of 45.00 back, 6.67 of 20.00 charged, 1.58 of tax back.
    months.on(2028, 9, 20)
    changed = await months.buyer.change(less)
    assert changed["errors"] == []
    assert [line["amount"]["amount"] for line in changed["invoice"]["lines"]] == ["-15.00", "6.67"]
    assert [line["tax"]["amount"] for line in changed["invoice"]["lines"]] == ["-2.85", "1.27"]
    await months.bill(2028, 9, 30)
    await months.pay("13.89")
    for day in ((2028, 10, 31), (2028, 11, 30), (2028, 12, 31), (2029, 1, 31)):
        await months.bill(*day)
        await months.pay("23.80")
    # And the fourteenth, which is not paid yet.
    await months.bill(2029, 2, 28)
    book = await months.book()
    ends = datetime.fromisoformat(book["service"]["expiresAt"]).replace(second=0, microsecond=0)
    assert ends == datetime(2029, 3, 31, 10, tzinfo=BERLIN)
    assert [line["description"] for row in book["invoices"]["nodes"][::-1] for line in row["lines"]] == [
        "Home, 1 month, 31 January to 29 February 2028",
        "Home, 1 month, 29 February to 31 March 2028",
        "Home, 1 month, 31 March to 30 April 2028",
        "Credit for Home, 15 of 30 days, 15 April to 30 April 2028",
        "Home Plus, 15 of 30 days, 15 April to 30 April 2028",
        "Home Plus, 1 month, 30 April to 31 May 2028",
        "Home Plus, 1 month, 31 May to 30 June 2028",
        "Home Plus, 1 month, 30 June to 31 July 2028",
        "Home Plus, 1 month, 31 July to 31 August 2028",
        "Home Plus, 1 month, 31 August to 30 September 2028",
        "Credit for Home Plus, 10 of 30 days, 20 September to 30 September 2028",
        "Home Small, 10 of 30 days, 20 September to 30 September 2028",
        "Home Small, 1 month, 30 September to 31 October 2028",
        "Home Small, 1 month, 31 October to 30 November 2028",
        "Home Small, 1 month, 30 November to 31 December 2028",
        "Home Small, 1 month, 31 December 2028 to 31 January 2029",
        "Home Small, 1 month, 31 January to 28 February 2029",
        "Home Small, 1 month, 28 February to 31 March 2029",
    ]
    assert (book["wallet"]["amount"], book["amountDue"]["amount"]) == ("0.00", "23.80")
    assert "\n".join(_row(node) for node in book["ledger"]["nodes"][::-1]) == LEDGER.strip()
    # 3 x 30.00 + 7.50 + 5 x 45.00 - 8.33 + 6 x 20.00; and of tax 3 x 5.70 + 1.43 + 5 x 8.55 - 1.58 + 6 x 3.80.
    async with months.house.database.read(months.house.tenant.id) as session:
        sums = await session.execute(text("SELECT account, sum(amount_minor)::bigint FROM postings GROUP BY 1"))
    assert {row[0]: row[1] for row in sums} == {
        "REVENUE": -43417,
        "TAX": -8250,
        "CASH": 49287,
        "RECEIVABLE": 2380,
        "WALLET": 0,
    }
    await sound(owner)


def _row(node: dict[str, Any]) -> str:
    debit, credit = ((node[side] or {"amount": ""})["amount"] for side in ("debit", "credit"))
    description = node["description"].split(":")[0]
    return f"{node['account']:<10} {description:<28}{debit:>7}{credit:>7}{node['balance']['amount']:>8}"
