"""Endpoints as a front end keeps them, and a worker that calls them."""

from typing import Any

from redis.asyncio import Redis
from sqlalchemy import text

from ispgraph import ids
from ispgraph.actors.webhooks import WebhookCaller
from ispgraph.adapters.webhooks_double import Received, WebhookDouble
from ispgraph.db import Database
from ispgraph.domain.models import Customer, Operator
from ispgraph.domain.webhooks import deliveries
from tests.api import Api
from tests.factories import House

ENDPOINT = """endpoint { id name url events document status problem failures failingSince deliveredAt
  formerSecretUntil owner { id } } errors { code message field }"""
SAVE = f"mutation ($input: WebhookEndpointInput!) {{ webhookEndpointSave(input: $input) {{ secret {ENDPOINT} }} }}"
ON_ENDPOINT = "mutation ($id: ID!) {{ webhookEndpoint{verb}(endpointId: $id) {{ {fields} }} }}"
DELIVERY = """id messageId event subjectId customerId status attemptCount nextAttemptAt responseStatus responseBody
  error payload endedAt attempts { responseStatus error milliseconds }"""
LOG = f"""query ($endpoint: ID, $status: [DeliveryStatus!], $events: [WebhookEvent!], $subject: ID) {{
  webhookDeliveries(endpointId: $endpoint, status: $status, events: $events, subjectId: $subject, first: 100) {{
    totalCount nodes {{ {DELIVERY} }} }} }}"""
REDELIVER = f"""mutation ($id: ID!, $key: String) {{ webhookRedeliver(deliveryId: $id, idempotencyKey: $key) {{
  delivery {{ {DELIVERY} }} errors {{ code field }} }} }}"""
SUSPEND = "mutation ($input: SuspendInput!) { customerSuspend(input: $input) { errors { code } } }"
ACTIVATE = "mutation ($input: ActivateInput!) { customerActivate(input: $input) { errors { code } } }"


class Hooks:
    """Operators with their endpoints, and one worker."""

    def __init__(self, api: Api, house: House, caller: WebhookCaller, redis: Redis) -> None:
        self.api, self.house, self.caller, self.redis = api, house, caller, redis

    async def save(self, who: Operator | None = None, **given: Any) -> dict[str, Any]:
        """The payload of webhookEndpointSave."""
        found: dict[str, Any] = await self.run(SAVE, who, input=given)
        return found

    async def endpoint(self, double: WebhookDouble, base: str, *events: str, **given: Any) -> str:
        """A new endpoint that is the double: its id. Only its own secret is genuine."""
        who = given.pop("who", None)
        made = await self.save(who, **{"name": "Panel", "url": f"{base}/hook", "events": list(events)} | given)
        assert made["errors"] == [], made
        double.secret = made["secret"]
        return str(made["endpoint"]["id"])

    async def on(self, verb: str, endpoint: str, fields: str = ENDPOINT, who: Operator | None = None) -> Any:
        """The payload of a mutation of an endpoint."""
        return await self.run(ON_ENDPOINT.format(verb=verb, fields=fields), who, id=endpoint)

    async def shown(self, endpoint: str) -> dict[str, Any]:
        """An endpoint as it is."""
        document = "{ webhookEndpoints { nodes { id status problem failures failingSince deliveredAt } } }"
        nodes = (await self.api.data(document, self.house.admin))["webhookEndpoints"]["nodes"]
        found: dict[str, Any] = next(each for each in nodes if each["id"] == endpoint)
        return found

    async def run(self, document: str, who: Operator | None = None, **variables: Any) -> Any:
        """The one field of a document."""
        [found] = (await self.api.data(document, who or self.house.admin, **variables)).values()
        return found

    async def log(self, who: Operator | None = None, **given: Any) -> list[dict[str, Any]]:
        """Deliveries, oldest first."""
        found: list[dict[str, Any]] = (await self.run(LOG, who, **given))["nodes"]
        return found[::-1]

    async def sweep(self) -> None:
        """What the scheduler and a worker do once."""
        async with self.house.database.read(None) as session:
            found = await deliveries.due_endpoints(session, 100)
        for tenant_id, endpoint_id in found:
            await self.caller.call(tenant_id.hex, endpoint_id.hex)
        await self.caller.idle()

    async def suspend(self, customer: Customer) -> None:
        """Suspend a customer, and so its service."""
        done = await self.run(SUSPEND, input={"customerId": cus(customer), "reason": "NON_PAYMENT"})
        assert done["errors"] == []

    async def activate(self, customer: Customer) -> None:
        """And back."""
        assert (await self.run(ACTIVATE, input={"customerId": cus(customer)}))["errors"] == []


def cus(customer: Customer) -> str:
    return ids.encode("cus", customer.id)


def kinds(received: list[Received]) -> list[str]:
    """The types of what came, in order."""
    return [each.body["type"] for each in received]


def faults(payload: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["code"], ".".join(each["field"] or [])) for each in payload["errors"]]


async def count(database: Database, tenant_id: Any) -> int:
    """How many deliveries there are, seen by the tenant."""
    async with database.read(tenant_id) as session:
        found: int = (await session.execute(text("SELECT count(*) FROM webhook_deliveries"))).scalar_one()
        return found
