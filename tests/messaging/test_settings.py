"""Quiet hours, and SMS switched off."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from ispgraph import clock
from ispgraph.db import Database
from ispgraph.domain import messages
from ispgraph.domain.models import Tenant
from tests import subscribers
from tests.api import Api
from tests.factories import House

UPDATE = """mutation ($messages: MessageSettingsInput!) { tenantSettingsUpdate(input: { messages: $messages }) {
  settings { messages { language smsEnabled quietFrom quietUntil } } errors { code field } } }"""


async def update(api: Api, house: House, **given: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await api.data(UPDATE, house.admin, messages=given))["tenantSettingsUpdate"]
    return answer


async def test_settings_are_kept(api: Api, house: House) -> None:
    first = await update(api, house, quietFrom="21:00:30", quietUntil="08:00")
    assert first["settings"]["messages"] == {
        "language": "en",
        "smsEnabled": True,
        "quietFrom": "21:00:00",
        "quietUntil": "08:00:00",
    }
    second = await update(api, house, language="bn", smsEnabled=False)
    assert second["settings"]["messages"] == first["settings"]["messages"] | {"language": "bn", "smsEnabled": False}
    third = await update(api, house, quietFrom=None, quietUntil=None)
    assert third["settings"]["messages"]["quietFrom"] is None


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"quietFrom": "21:00"}, "quietUntil"),
        ({"quietUntil": "08:00", "quietFrom": None}, "quietFrom"),
        ({"quietFrom": "08:00", "quietUntil": "08:00:59"}, "quietUntil"),
        ({"language": "xx-YY-zz"}, "language"),
    ],
)
async def test_bad_settings_are_refused(api: Api, house: House, given: dict[str, Any], field: str) -> None:
    answer = await update(api, house, **given)
    assert [error["field"] for error in answer["errors"]] == [["input", "messages", field]]


@pytest.mark.parametrize(
    ("begins", "ends", "at", "expected"),
    [
        # Dhaka is six hours ahead of UTC.
        (time(21), time(8), "2026-06-01T16:00", "2026-06-02T02:00"),
        (time(21), time(8), "2026-06-01T01:59", "2026-06-01T02:00"),
        (time(21), time(8), "2026-06-01T02:00", "2026-06-01T02:00"),
        (time(21), time(8), "2026-06-01T14:59", "2026-06-01T14:59"),
        (time(13), time(15), "2026-06-01T08:30", "2026-06-01T09:00"),
        (time(13), time(15), "2026-06-01T09:00", "2026-06-01T09:00"),
        (None, None, "2026-06-01T20:00", "2026-06-01T20:00"),
    ],
)
def test_when_telephones_may_ring(begins: time | None, ends: time | None, at: str, expected: str) -> None:
    tenant = Tenant(time_zone="Asia/Dhaka", quiet_from=begins, quiet_until=ends)
    instant = datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert messages.after_quiet(tenant, instant) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


async def test_only_what_is_not_urgent_waits_and_e_mails_never_do(
    api: Api, house: House, database: Database, moved_clock: None
) -> None:
    clock.set_clock("2026-06-01T16:00:00+00:00")
    await update(api, house, quietFrom="21:00", quietUntil="08:00")
    customer = await subscribers.customer(house, email="ann@example.com")
    link = {"amount": "USD 5.00", "url": "https://pay.example/x", "until": "tomorrow"}
    async with database.transaction(house.tenant.id) as session:
        waits = await messages.tell(session, customer, "service.activated", by=None)
        urgent = await messages.tell(session, customer, "payment_link.sent", by=None, **link)
    later = datetime(2026, 6, 2, 2, tzinfo=UTC)
    now = datetime(2026, 6, 1, 16, tzinfo=UTC)
    found = [(each.channel.value, each.not_before.replace(microsecond=0) - now) for each in (*waits, *urgent)]
    nothing = timedelta(0)
    assert [(channel, delay < timedelta(minutes=1)) for channel, delay in found] == [
        ("SMS", False),
        ("EMAIL", True),
        ("SMS", True),
        ("EMAIL", True),
    ]
    assert (waits[0].not_before, nothing <= found[1][1]) == (later, True)


async def test_without_sms_there_are_e_mails_alone(api: Api, house: House, database: Database) -> None:
    await update(api, house, smsEnabled=False)
    customer = await subscribers.customer(house, email="ann@example.com")
    async with database.transaction(house.tenant.id) as session:
        made = await messages.tell(session, customer, "service.activated", by=None)
    assert [each.channel.value for each in made] == ["EMAIL"]
