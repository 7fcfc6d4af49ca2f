"""A customer who buys time and changes what is bought, through the API."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ispgraph import clock, ids, invariants
from ispgraph.db import Database
from ispgraph.domain.models import Package
from tests.api import Api
from tests.factories import House
from tests.wizard import Wizard

LINES = "lines { description explanation amount { amount } tax { amount } }"
INVOICE = f"invoice {{ id number kind status credits {{ number }} total {{ amount }} amountDue {{ amount }} {LINES} }}"
DONE = f"""customer {{ wallet {{ amount }} balance {{ amount }} status service {{ id status expiresAt autoRenew
  package {{ name }} }} }} {INVOICE} payment {{ method category amount {{ amount }} }} jobs {{ id kind status }}
  warnings errors {{ code message field }}"""
QUOTED = f"""token expiresAt {LINES} credit {{ amount }} charge {{ amount }} tax {{ amount }} total {{ amount }}
  nextInvoiceOn effectiveAt radiusBefore {{ attribute value }} radiusAfter {{ attribute value }} warnings"""
QUOTE = f"""query ($customer: ID!, $package: ID!, $on: Date) {{
  changePackageQuote(customerId: $customer, packageId: $package, effectiveOn: $on) {{ {QUOTED} }} }}"""
CHANGE = f"mutation ($input: ChangePackageInput!) {{ customerChangePackage(input: $input) {{ {DONE} }} }}"
RECHARGE_QUOTE = f"""query ($customer: ID!, $package: ID, $days: Int!, $hours: Int! = 0) {{
  dailyRechargeQuote(customerId: $customer, packageId: $package, days: $days, hours: $hours) {{ {QUOTED} }} }}"""
RECHARGE = f"mutation ($input: DailyRechargeInput!) {{ customerDailyRecharge(input: $input) {{ {DONE} }} }}"
ADVANCE = """mutation ($input: AdvancePaymentInput!) { customerRecordAdvancePayment(input: $input) {
  errors { code } } }"""
MESSAGES = """query ($id: ID!) { node(id: $id) { ... on Customer { messages { nodes { channel body } }
  service { expiresAt status package { name } } wallet { amount }
  invoices { nodes { number status total { amount } periodStart periodEnd } } } } }"""
HISTORY = """query ($id: ID!) { node(id: $id) { ... on Service { package { name } packageChanges { totalCount nodes {
  id status effectiveOn appliedAt reason message fromPackage { name } toPackage { name } requestedBy { name }
  invoice { number } } } } } }"""
CANCEL = """mutation ($id: ID!) { packageChangeCancel(packageChangeId: $id) { packageChange { status }
  errors { code field } } }"""


@dataclass
class Buyer:
    """One customer of one operator."""

    api: Api
    house: House
    package: Package
    customer: str
    service: str
    invoice: str

    @classmethod
    async def enrolled(
        cls, api: Api, house: House, package: Package, *, at: str, pays: str, number: int = 0
    ) -> "Buyer":
        """Who buys a package at an instant, and pays so much."""
        clock.set_clock(at)
        line = {"pppoe": {"username": f"jane{number}", "password": "a-Password-1"}}
        wizard = await (await Wizard.begin(api, house.admin)).fill(package, pays=pays, number=number, Connection=line)
        made = await wizard.confirm()
        assert made["errors"] == [], made
        document = "query ($id: ID!) { node(id: $id) { ... on Customer { service { id } } } }"
        found = (await api.data(document, house.admin, id=made["customer"]["id"]))["node"]
        return cls(api, house, package, made["customer"]["id"], found["service"]["id"], made["invoice"]["number"])

    async def quote(self, package: Package, on: str | None = None) -> dict[str, Any]:
        """What a change would come to."""
        given = {"customer": self.customer, "package": ids.encode("pkg", package.id), "on": on}
        found: dict[str, Any] = (await self.api.data(QUOTE, self.house.admin, **given))["changePackageQuote"]
        return found

    async def change(self, package: Package, **given: Any) -> dict[str, Any]:
        """Another package: the payload."""
        asked = {"customerId": self.customer, "packageId": ids.encode("pkg", package.id), **given}
        payload: dict[str, Any] = (await self.api.data(CHANGE, self.house.admin, input=asked))["customerChangePackage"]
        return payload

    async def days(self, days: int, package: Package | None = None, hours: int = 0) -> dict[str, Any]:
        """What some days, and hours, would cost."""
        key = package and ids.encode("pkg", package.id)
        given = {"customer": self.customer, "package": key, "days": days, "hours": hours}
        found: dict[str, Any] = (await self.api.data(RECHARGE_QUOTE, self.house.admin, **given))["dailyRechargeQuote"]
        return found

    async def recharge(self, days: int, method: str = "CASH", **given: Any) -> dict[str, Any]:
        """Some days more: the payload."""
        asked = {"customerId": self.customer, "days": days, "method": method, **given}
        payload: dict[str, Any] = (await self.api.data(RECHARGE, self.house.admin, input=asked))[
            "customerDailyRecharge"
        ]
        return payload

    async def advance(self, amount: str) -> None:
        """Cash for the wallet."""
        given = {"customerId": self.customer, "amount": amount, "method": "CASH"}
        await self.api.data(ADVANCE, self.house.admin, input=given)

    async def state(self) -> dict[str, Any]:
        """The customer with service, messages and invoices."""
        found: dict[str, Any] = (await self.api.data(MESSAGES, self.house.admin, id=self.customer))["node"]
        return found

    async def history(self) -> dict[str, Any]:
        """The service with the requests for other packages, the latest first."""
        found: dict[str, Any] = (await self.api.data(HISTORY, self.house.admin, id=self.service))["node"]
        return found


def figures(found: dict[str, Any]) -> tuple[str, str, str, str]:
    """Credit, charge, tax and total of a quote."""
    return tuple(found[name]["amount"] for name in ("credit", "charge", "tax", "total"))  # type: ignore[return-value]


def faults(payload: dict[str, Any]) -> list[tuple[str, list[str] | None]]:
    """Codes and fields."""
    return [(error["code"], error["field"]) for error in payload["errors"]]


def wallet(payload: dict[str, Any]) -> tuple[str, str]:
    """The wallet and the balance that a payload shows."""
    return payload["customer"]["wallet"]["amount"], payload["customer"]["balance"]["amount"]


async def sound(owner: Database) -> None:
    """check-invariants finds nothing."""
    assert [(found.rule.name, found.culprits) for found in await invariants.check(owner) if found.broken] == []


def around_today() -> dict[str, str]:
    """Bounds of a report that has today in it, in any time zone: `to` is the first day that does not count."""
    day = clock.now().date()
    return {"from": str(day - timedelta(days=1)), "to": str(day + timedelta(days=2))}
