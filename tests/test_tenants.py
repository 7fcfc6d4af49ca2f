"""The settings of a tenant, and what they change."""

from ispgraph.domain.models import Role
from tests.api import Api
from tests.factories import House
from tests.wizard import Wizard, faults

UPDATE = """mutation ($input: TenantSettingsInput!) { tenantSettingsUpdate(input: $input) {
  settings { emailRequired pendingUntilPaid taxRate invoiceDueDays accountPrefix } errors { code message field } } }"""


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
