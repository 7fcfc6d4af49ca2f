"""The desk where tickets are worked on, as a front end drives it."""

from dataclasses import dataclass
from typing import Any

from ispgraph import ids
from ispgraph.domain.models import Customer, Operator
from tests.api import Api

TICKET = """id number version status subject body category priority createdAt updatedAt firstResponseDueAt
  firstResponseOverdue firstRespondedAt firstResponseSeconds resolvedAt closedAt reopenCount resolutionSeconds
  customer { id name } assignee { id name } createdBy { id } replies { author body internal at }"""
PAYLOAD = f"{{ ticket {{ {TICKET} }} errors {{ code message field }} }}"
CREATE = f"mutation ($input: TicketCreateInput!) {{ done: ticketCreate(input: $input) {PAYLOAD} }}"
REPLY = f"""mutation ($ticketId: ID!, $body: String!, $internal: Boolean! = false, $idempotencyKey: String) {{
  done: ticketReply(ticketId: $ticketId, body: $body, internal: $internal, idempotencyKey: $idempotencyKey)
  {PAYLOAD} }}"""
STATUS = f"""mutation ($ticketId: ID!, $status: TicketStatus!) {{
  done: ticketSetStatus(ticketId: $ticketId, status: $status) {PAYLOAD} }}"""
ASSIGN = f"""mutation ($ticketId: ID!, $operatorId: ID) {{
  done: ticketAssign(ticketId: $ticketId, operatorId: $operatorId) {PAYLOAD} }}"""
UPDATE = f"mutation ($input: TicketUpdateInput!) {{ done: ticketUpdate(input: $input) {PAYLOAD} }}"
READ = f"query ($id: ID!) {{ node(id: $id) {{ ... on Ticket {{ {TICKET} }} }} }}"
LIST = """query ($status: [TicketStatus!], $where: TicketWhere, $search: String, $orderBy: TicketOrder, $first: Int,
  $after: String) { tickets(status: $status, where: $where, search: $search, orderBy: $orderBy, first: $first,
  after: $after) { totalCount pageInfo { hasNextPage endCursor } nodes { id number subject } } }"""
TOLD = """query ($id: ID!) { customer(by: {id: $id}) { messages(first: 100) { nodes { channel to body status } } } }"""


def cus(customer: Customer) -> str:
    """The public id of a customer."""
    return ids.encode("cus", customer.id)


def opr(operator: Operator) -> str:
    """The public id of an operator."""
    return ids.encode("opr", operator.id)


def faults(payload: dict[str, Any]) -> list[tuple[str, str]]:
    """Codes with dotted paths."""
    return [(error["code"], ".".join(error["field"] or [])) for error in payload["errors"]]


@dataclass
class Counter:
    """One operator at the desk."""

    api: Api
    operator: Operator

    async def _done(self, document: str, **variables: Any) -> dict[str, Any]:
        payload: dict[str, Any] = (await self.api.data(document, self.operator, **variables))["done"]
        return payload

    async def create(self, customer: Customer, **given: Any) -> dict[str, Any]:
        """Open a ticket; the payload."""
        values = {
            "customerId": cus(customer),
            "subject": "No internet",
            "body": "It has been dark since noon.",
            **given,
        }
        return await self._done(CREATE, input=values)

    async def opened(self, customer: Customer, **given: Any) -> dict[str, Any]:
        """Open a ticket; the ticket."""
        payload = await self.create(customer, **given)
        assert payload["errors"] == []
        ticket: dict[str, Any] = payload["ticket"]
        return ticket

    async def reply(self, ticket: str, body: str = "We are looking at it.", **given: Any) -> dict[str, Any]:
        """Reply; the payload."""
        return await self._done(REPLY, ticketId=ticket, body=body, **given)

    async def status(self, ticket: str, status: str) -> dict[str, Any]:
        """Set the status; the payload."""
        return await self._done(STATUS, ticketId=ticket, status=status)

    async def assign(self, ticket: str, operator: Operator | None) -> dict[str, Any]:
        """Assign; the payload."""
        return await self._done(ASSIGN, ticketId=ticket, operatorId=operator and opr(operator))

    async def update(self, ticket: str, **given: Any) -> dict[str, Any]:
        """Update; the payload."""
        return await self._done(UPDATE, input={"ticketId": ticket, **given})

    async def read(self, ticket: str) -> dict[str, Any] | None:
        """The ticket as it stands, if the operator sees it."""
        found: dict[str, Any] | None = (await self.api.data(READ, self.operator, id=ticket))["node"]
        return found

    async def subjects(self, **given: Any) -> list[str]:
        """The subjects of a list, in its order."""
        page = (await self.api.data(LIST, self.operator, **given))["tickets"]
        assert page["totalCount"] == len(page["nodes"]), "one page"
        return [ticket["subject"] for ticket in page["nodes"]]

    async def told(self, customer: Customer) -> list[tuple[str, str]]:
        """What was written to a customer, newest first: channel and text."""
        answer = await self.api.data(TOLD, self.operator, id=cus(customer))
        return [(each["channel"], each["body"]) for each in answer["customer"]["messages"]["nodes"]]
