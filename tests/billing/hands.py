"""Customers that change hands, asked for and decided through the API."""

from dataclasses import dataclass
from typing import Any

from ispgraph import ids
from ispgraph.domain.models import Customer, Operator
from tests.billing.resellers import Tree, opr

TRANSFER = """transfer { id customerName accountNumber status reason note transferInvoices fromOperator { id name }
  toOperator { id name } requestedBy { id } waitingFor { id } sourceConfirmedAt sourceConfirmedBy { id }
  targetConfirmedAt targetConfirmedBy { id } decidedAt decidedBy { id } } warnings errors { code message field }"""
REQUEST = f"mutation ($input: TransferInput!) {{ customerRequestTransfer(input: $input) {{ {TRANSFER} }} }}"
DECIDE = f"mutation ($input: TransferDecisionInput!) {{ customerDecideTransfer(input: $input) {{ {TRANSFER} }} }}"
LIST = """query ($status: [TransferStatus!], $customer: ID, $mine: Boolean) { customerTransfers(status: $status,
  customerId: $customer, mine: $mine) { totalCount nodes { id customerName status waitingFor { id } } } }"""
CUSTOMER = """query ($id: ID!) { customer(by: {id: $id}) { version operator { id }
  transfers { nodes { id status } } } }"""


def cus(customer: Customer) -> str:
    """The public id."""
    return ids.encode("cus", customer.id)


@dataclass
class Hands:
    """What the operators of a tree ask for and decide."""

    tree: Tree

    async def ask(self, customer: Customer, to: Operator, who: Operator | None = None, **given: Any) -> dict[str, Any]:
        """The payload of customerRequestTransfer, by the admin unless somebody else is named."""
        return await self.tree.ask(REQUEST, who, input={"customerId": cus(customer), "toOperatorId": opr(to)} | given)

    async def decide(self, transfer: str, who: Operator, approve: bool = True, **given: Any) -> dict[str, Any]:
        """The payload of customerDecideTransfer."""
        return await self.tree.ask(DECIDE, who, input={"transferId": transfer, "approve": approve} | given)

    async def asked(self, customer: Customer, to: Operator, **given: Any) -> str:
        """The id of a new transfer."""
        payload = await self.ask(customer, to, **given)
        assert payload["errors"] == []
        found: str = payload["transfer"]["id"]
        return found

    async def give(self, customer: Customer, source: Operator, target: Operator, **given: Any) -> None:
        """A transfer from the first word to the last."""
        transfer = await self.asked(customer, target, **given)
        for who, status in ((source, "PENDING_TARGET"), (target, "APPROVED")):
            payload = await self.decide(transfer, who)
            assert (payload["errors"], payload["transfer"]["status"]) == ([], status)

    async def listed(self, who: Operator, **given: Any) -> list[str]:
        """The ids of customerTransfers."""
        return [each["id"] for each in (await self.tree.ask(LIST, who, **given))["nodes"]]

    async def read(self, customer: Customer, who: Operator | None = None) -> dict[str, Any] | None:
        """The customer as an operator sees it."""
        data = await self.tree.api.data(CUSTOMER, who or self.tree.admin, id=cus(customer))
        found: dict[str, Any] | None = data["customer"]
        return found
