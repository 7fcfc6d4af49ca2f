"""Whoever begins is told how to get on line: at once, or when what was waited for has come."""

from typing import Any
from uuid import UUID

from sqlalchemy import select

from ispgraph.db import Database
from ispgraph.domain.models import Message, MessageChannel
from tests import factories
from tests.api import Api
from tests.wizard import Wizard

PAY = "mutation ($input: InvoicePaymentInput!) { invoiceRecordPayment(input: $input) { errors { code message } } }"
ACTIVATE = "mutation ($input: ActivateInput!) { customerActivate(input: $input) { errors { code message } } }"
SUSPEND = "mutation ($input: SuspendInput!) { customerSuspend(input: $input) { errors { code message } } }"


async def test_credentials_come_when_a_service_begins(api: Api, owner: Database, database: Database) -> None:
    strict = await factories.house(owner, database, "strict", pending_until_paid=True)
    package = await strict.package()

    async def begin(number: int) -> dict[str, Any]:
        made = await (await (await Wizard.begin(api, strict.admin)).fill(package, pays="0", number=number)).confirm()
        found: dict[str, Any] = made
        return found

    seen: set[UUID] = set()

    async def told() -> list[tuple[str, str]]:
        async with database.read(strict.tenant.id) as session:
            rows = [row for row in await session.scalars(select(Message).order_by(Message.id)) if row.id not in seen]
        seen.update(row.id for row in rows)
        return [(row.event or "", row.body) for row in rows if row.channel is MessageChannel.SMS]

    async def done(document: str, **given: Any) -> None:
        (payload,) = (await api.data(document, strict.admin, input=given)).values()
        assert payload["errors"] == []

    paying, by_hand, quiet = [await begin(number) for number in range(3)]
    assert await told() == []
    await done(PAY, invoiceId=paying["invoice"]["id"], amount="1", method="CASH")
    words = dict(await told())
    assert set(words) == {"payment.received", "service.welcome"}
    username = paying["customer"]["services"][0]["username"]
    assert f"{package.name} is ready. Username: {username} Password: " in words["service.welcome"]
    # The password itself is filled in while the message is sent.
    assert paying["credentials"]["password"] not in words["service.welcome"]
    customer = {"customerId": by_hand["customer"]["id"]}
    await done(ACTIVATE, **customer, notify=True)
    assert [event for event, _ in await told()] == ["service.welcome"]
    # Later it is only on again.
    await done(SUSPEND, **customer, reason="OTHER", notify=False)
    await done(ACTIVATE, **customer, notify=True)
    assert [event for event, _ in await told()] == ["service.activated"]
    await done(ACTIVATE, customerId=quiet["customer"]["id"], notify=False)
    assert await told() == []
