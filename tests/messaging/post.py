"""A tenant that sends: its gateway with a double behind it, and a postman."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids, invariants
from ispgraph.actors.postman import Postman
from ispgraph.db import Database
from ispgraph.domain import gateways
from ispgraph.domain.models import Customer, Gateway, GatewayKind, Message, Operator
from tests.api import Api
from tests.factories import NETWORK_KEY, House

KEY = "key-of-the-double"
SEND = """mutation ($input: SendSmsInput!) { customerSendSms(input: $input) {
  message { id status body segments error to event } errors { code message field } } }"""
SETTINGS = {
    "content": "form",
    "template": "api_key={token}&msisdn={number}&message={body}&ref={reference}&callback={report_url}",
    "success_rule": "json",
    "success_path": "status",
    "success_value": "success",
    "reference_path": "data.message_id",
    "error_path": "message",
    "report_id": "id",
    "report_reference": "ref",
    "report_status": "status",
    "report_delivered": "DELIVRD",
    "report_failed": "UNDELIV",
    "report_reason": "error",
}


async def gateway(house: House, url: str = "http://127.0.0.1:9", **changed: Any) -> Gateway:
    """An SMS gateway on HTTP in use."""
    key = ids.uuid7()
    hidden = {"token": KEY, "report_secret": "shared secret"}
    row = Gateway(
        **{
            "id": key,
            "kind": GatewayKind.SMS,
            "provider": "http",
            "name": f"gateway {key.hex[-6:]}",
            "settings": SETTINGS | {"url": f"{url}/sms/send"},
            "secrets": gateways.sealed(NETWORK_KEY, house.tenant.id, key, hidden),
            "created_at": clock.now(),
            "updated_at": clock.now(),
        }
        | changed
    )
    await house.add(row)
    return row


async def send(api: Api, who: Operator, customer: Customer, **given: Any) -> Mapping[str, Any]:
    """An SMS by hand; the payload."""
    if "templateKey" not in given:
        given.setdefault("body", "Hello")
    variables = {"customerId": ids.encode("cus", customer.id), **given}
    found: Mapping[str, Any] = (await api.data(SEND, who, input=variables))["customerSendSms"]
    return found


async def deliver(postman: Postman, house: House) -> None:
    """One turn of the worker."""
    await postman.deliver(house.tenant.id.hex, house.tenant.id.hex)


async def message(database: Database, house: House, public: str) -> Message:
    """A message as it stands."""
    async with database.read(house.tenant.id) as session:
        return await session.get_one(Message, ids.decode("msg", public))


async def unbooked(session: AsyncSession, house: House) -> list[str]:
    """Operators whose credits are not what the book says: there should be none."""
    (rule,) = [rule for rule in invariants.RULES if rule.name == "sms-credits"]
    return list(await invariants.breaches(session, rule, house.tenant.id, clock.now()))
