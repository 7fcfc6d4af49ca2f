"""The settings of a tenant, and what they change."""

import pytest
from sqlalchemy import select

from ispgraph.domain.models import AuditEntry, Role
from tests.api import Api
from tests.factories import House
from tests.wizard import Wizard, faults

UPDATE = """mutation ($input: TenantSettingsInput!) { tenantSettingsUpdate(input: $input) {
  settings { emailRequired pendingUntilPaid taxRate invoiceDueDays accountPrefix } errors { code message field } } }"""
WALLED = """mutation ($input: TenantSettingsInput!) { tenantSettingsUpdate(input: $input) {
  settings { suspension walledAddressList walledPool walledKbps } errors { code message field } } }"""
USUAL = {"suspension": "REJECT", "walledAddressList": "suspended", "walledPool": None, "walledKbps": 512}


async def test_settings_hold_for_what_is_made_afterwards(api: Api, house: House, other_house: House) -> None:
    given = {"emailRequired": False, "pendingUntilPaid": True, "taxRate": "7.5", "accountPrefix": "NO-"}
    changed = (await api.data(UPDATE, house.admin, input=given))["tenantSettingsUpdate"]
    assert changed == {"settings": {**given, "invoiceDueDays": 7}, "errors": []}
    wizard = await Wizard.begin(api, house.admin)
    basics = {"name": "Jane", "mobile": "01712345678"}
    made = await (await wizard.fill(await house.package(), pays="0", Basics=basics)).confirm()
    assert made["customer"]["status"] == "PENDING"
    assert made["customer"]["accountNumber"].startswith("NO-")
    assert made["invoice"]["total"]["amount"] == "537.50"
    read = "{ tenantSettings { emailRequired taxRate } }"
    assert (await api.data(read, other_house.admin))["tenantSettings"] == {"emailRequired": True, "taxRate": "0.000"}


async def test_a_prefix_of_blanks_is_none(api: Api, house: House) -> None:
    changed = (await api.data(UPDATE, house.admin, input={"accountPrefix": "\n\t  "}))["tenantSettingsUpdate"]
    assert changed["settings"]["accountPrefix"] == ""


async def test_settings_out_of_bounds(api: Api, house: House) -> None:
    given = {"taxRate": "100.5", "invoiceDueDays": -1, "accountPrefix": "far too long"}
    payload = (await api.data(UPDATE, house.admin, input=given))["tenantSettingsUpdate"]
    assert faults(payload) == [
        ("INVALID", "input.taxRate"),
        ("INVALID", "input.invoiceDueDays"),
        ("INVALID", "input.accountPrefix"),
    ]
    manager = await house.operator(Role.MANAGER)
    answer = await api(UPDATE, manager, input={})
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_the_walled_garden(api: Api, house: House, other_house: House) -> None:
    async def change(**given: object) -> dict[str, object]:
        payload = (await api.data(WALLED, house.admin, input=given))["tenantSettingsUpdate"]
        assert payload["errors"] == []
        settings: dict[str, object] = payload["settings"]
        return settings

    assert await change() == USUAL
    given = {"suspension": "WALLED_GARDEN", "walledAddressList": " owing ", "walledPool": "pool-9", "walledKbps": 64}
    changed = given | {"walledAddressList": "owing"}
    assert await change(**given) == changed
    # Left out is left alone; null and empty take the pool away.
    assert await change(suspension=None, walledAddressList=None, walledKbps=None) == changed
    assert await change(walledPool="") == changed | {"walledPool": None}
    assert await change(walledPool="pool-9") == changed
    assert await change(walledPool=None) == changed | {"walledPool": None}
    read = "{ tenantSettings { suspension walledAddressList walledPool walledKbps } }"
    assert (await api.data(read, house.admin))["tenantSettings"] == changed | {"walledPool": None}
    assert (await api.data(read, other_house.admin))["tenantSettings"] == USUAL
    async with house.database.read(house.tenant.id) as session:
        trail = list(await session.scalars(select(AuditEntry.details).order_by(AuditEntry.id)))
    first = {"suspension": "WALLED_GARDEN", "walled_address_list": "owing", "walled_pool": "pool-9"}
    assert trail == [
        first | {"walled_kbps": "64"},
        {"walled_pool": None},
        {"walled_pool": "pool-9"},
        {"walled_pool": None},
    ]


@pytest.mark.parametrize("name", ["two words", "a" * 64, 'quo"te', "%{User-Name}", "é", "a\nb"])
async def test_names_that_routers_would_misread(api: Api, house: House, name: str) -> None:
    given = {"walledAddressList": name, "walledPool": name, "walledKbps": 7}
    payload = (await api.data(WALLED, house.admin, input=given))["tenantSettingsUpdate"]
    assert faults(payload) == [
        ("INVALID", "input.walledAddressList"),
        ("INVALID", "input.walledPool"),
        ("INVALID", "input.walledKbps"),
    ]
    payload = (await api.data(WALLED, house.admin, input={"walledAddressList": " "}))["tenantSettingsUpdate"]
    assert faults(payload) == [("REQUIRED", "input.walledAddressList")]
