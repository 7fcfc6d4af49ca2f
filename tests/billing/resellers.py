"""A tree of operators with customers at its bottom, and what is said, paid and read about it through the API."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ispgraph import clock, ids
from ispgraph.domain.billing import invoices
from ispgraph.domain.models import Customer, CustomerStatus, Invoice, Operator, Package, Role, Service
from tests import crowd
from tests.api import Api
from tests.billing.conftest import Till

ERRORS = "errors { code message field }"
RATE = f"""commissionRate {{ id operator {{ id }} package {{ id }} percent fixed {{ amount }} validFrom inForce }}
  {ERRORS}"""
SET_RATE = f"mutation ($input: CommissionRateInput!) {{ commissionRateSet(input: $input) {{ {RATE} }} }}"
END_RATE = f"mutation ($input: CommissionRateEndInput!) {{ commissionRateEnd(input: $input) {{ {RATE} }} }}"
RATES = """query ($operator: ID, $package: ID, $first: Int) { commissionRates(operatorId: $operator,
  packageId: $package, first: $first) { totalCount nodes { operator { id } package { name } percent fixed { amount }
  inForce } } }"""
PAYMENT = f"""payment {{ id kind amount {{ amount }} method reference notes recordedBy {{ id }} }}
  operator {{ walletBalance {{ amount }} }} {ERRORS}"""
RECORD = f"mutation ($input: OperatorPaymentInput!) {{ operatorRecordPayment(input: $input) {{ {PAYMENT} }} }}"
ADJUST = f"mutation ($input: OperatorAdjustmentInput!) {{ operatorAdjustWallet(input: $input) {{ {PAYMENT} }} }}"
STATEMENT = """query ($id: ID, $from: Date, $to: Date, $first: Int, $after: String) {
  operatorStatement(operatorId: $id, from: $from, to: $to) { operator { id } from to
    opening { amount } credited { amount } debited { amount } closing { amount }
    entries(first: $first, after: $after) { totalCount pageInfo { endCursor hasNextPage } nodes {
      at kind description credit { amount } debit { amount } balance { amount } invoice { number } payment { number }
    } } } }"""


def opr(operator: Operator) -> str:
    """The public id."""
    return ids.encode("opr", operator.id)


@dataclass
class Tree:
    """`reseller` above `sub` above `seller`, and beside them `rival`; the till takes money as the admin."""

    api: Api
    till: Till
    reseller: Operator
    sub: Operator
    seller: Operator
    rival: Operator

    @classmethod
    async def grow(cls, api: Api, till: Till) -> "Tree":
        """The operators, without rates and customers."""
        house = till.house
        reseller = await house.operator(Role.OPERATOR)
        sub = await house.operator(Role.SUB_OPERATOR, reseller)
        seller = await house.operator(Role.STAFF, sub)
        return cls(api, till, reseller, sub, seller, await house.operator(Role.OPERATOR))

    @property
    def admin(self) -> Operator:
        """Of the house."""
        return self.till.house.admin

    async def ask(self, document: str, who: Operator | None = None, **variables: Any) -> dict[str, Any]:
        """The one field of a document, as the admin or somebody else."""
        data = await self.api.data(document, who or self.admin, **variables)
        (payload,) = data.values()
        found: dict[str, Any] = payload
        return found

    async def rate(self, operator: Operator, who: Operator | None = None, **given: Any) -> dict[str, Any]:
        """The payload of commissionRateSet."""
        return await self.ask(SET_RATE, who, input={"operatorId": opr(operator), **given})

    async def customer(self, operator: Operator) -> Customer:
        """A customer of an operator."""
        row = crowd.customer(self.till.house, "Someone", operator_id=operator.id, status=CustomerStatus.PENDING)
        await self.till.house.add(row)
        return row

    async def service(self, customer: Customer, package: Package, *, primary: bool = True) -> Service:
        """A service of a customer."""
        row = crowd.service(customer, package.id, is_primary=primary)
        await self.till.house.add(row)
        return row

    async def bill(self, service: Service, price: int, rate: str = "0") -> Invoice:
        """An open invoice over a service; the price in minor units."""
        till = self.till
        async with till.database.transaction(till.house.tenant.id) as session:
            row = await invoices.draft(
                session,
                tenant=till.house.tenant,
                customer_id=service.customer_id,
                service_id=service.id,
                lines=[invoices.Line("A month", price, Decimal(rate))],
                period_start=None,
                period_end=None,
            )
            return await invoices.open(session, row, tenant=till.house.tenant, at=clock.now(), by=till.by)

    async def wallets(self) -> tuple[str, str, str]:
        """What is in the wallets of the reseller, the sub-operator and the seller."""
        rows = await self.ask("{ operators { id walletBalance { amount } } }")
        held = {row["id"]: row["walletBalance"]["amount"] for row in rows}  # type: ignore[index]
        return held[opr(self.reseller)], held[opr(self.sub)], held[opr(self.seller)]

    async def move(self, operator: Operator, kind: str, amount: object, **given: Any) -> dict[str, Any]:
        """The payload of operatorRecordPayment."""
        asked = {"operatorId": opr(operator), "kind": kind, "amount": amount, "method": "CASH"}
        return await self.ask(RECORD, given.pop("who", None), input=asked | given)

    async def adjust(self, operator: Operator, amount: object, reason: str = "Wrong", **given: Any) -> dict[str, Any]:
        """The payload of operatorAdjustWallet."""
        asked = {"operatorId": opr(operator), "amount": amount, "reason": reason}
        return await self.ask(ADJUST, given.pop("who", None), input=asked | given)
