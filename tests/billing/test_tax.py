"""Tax on top of prices and in them, and which rate is for what is sold."""

import asyncio
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import tax_profiles
from ispgraph.domain.billing import tax
from ispgraph.domain.models import AuditEntry, BillingCycle, Package, Role, Service, TaxProfile
from tests import factories
from tests.api import Api
from tests.factories import House
from tests.wizard import Wizard, faults

RATES = st.decimals(0, 100, places=3)
AMOUNTS = st.integers(-(10**12), 10**12)
SAVE = """mutation ($input: TaxProfileInput!) { taxProfileSave(input: $input) {
  taxProfile { id name rate isDefault } errors { code message field } } }"""
LIST = "{ taxProfiles { id name rate isDefault } }"
LINE = """description explanation quantity unitPrice { amount } amount { amount } tax { amount } taxRate taxIncluded"""
HOME = {
    "name": "Home 20",
    "connectionTypes": ["PPPOE"],
    "downloadKbps": 20_000,
    "uploadKbps": 5_000,
    "price": "100.00",
}


@given(AMOUNTS, RATES)
def test_on_top_and_in_it(minor: int, rate: Decimal) -> None:
    on_top, inside = tax.taxed(minor, rate, included=False), tax.taxed(minor, rate, included=True)
    assert on_top.net_minor == minor
    assert inside.gross_minor == inside.net_minor + inside.tax_minor == minor
    assert abs(on_top.tax_minor - Fraction(rate) * minor / 100) <= Fraction(1, 2)
    assert abs(inside.net_minor - Fraction(minor) * 100 / (100 + Fraction(rate))) <= Fraction(1, 2)
    # A credit is the same the other way round.
    for included in (False, True):
        credit, charge = tax.taxed(-minor, rate, included=included), tax.taxed(minor, rate, included=included)
        assert (credit.net_minor, credit.tax_minor) == (-charge.net_minor, -charge.tax_minor)


@pytest.mark.parametrize(
    ("minor", "rate", "net"),
    [(10_000, "15", 8_696), (10_000, "0", 10_000), (10_000, "100", 5_000), (1, "100", 1), (-115, "15", -100)],
)
def test_a_price_with_its_tax_in_it_is_what_is_paid(minor: int, rate: str, net: int) -> None:
    assert tax.taxed(minor, Decimal(rate), included=True) == tax.Taxed(net, minor - net)


async def saved(api: Api, house: House, **given: Any) -> dict[str, Any]:
    """The profile of taxProfileSave by the admin."""
    payload = (await api.data(SAVE, house.admin, input=given))["taxProfileSave"]
    assert payload["errors"] == []
    profile: dict[str, Any] = payload["taxProfile"]
    return profile


async def packaged(api: Api, house: House, profile: str | None, package: str | None = None) -> dict[str, Any]:
    """The payload of making a package with a profile, or of giving that profile to a package."""
    document = """mutation ($input: PackageInput!) { packageCreate(input: $input) {
        package { id taxProfile { name rate } } errors { code message field } } }"""
    if package is not None:
        document = document.replace("packageCreate(", f'packageUpdate(packageId: "{package}", ')
    answer = await api.data(document, house.admin, input={**HOME, "taxProfileId": profile})
    payload: dict[str, Any] = answer["packageCreate" if package is None else "packageUpdate"]
    return payload


async def test_profiles_are_made_changed_and_listed(api: Api, house: House, other_house: House) -> None:
    standard = await saved(api, house, name=" Standard ", rate="15")
    assert standard == {"id": standard["id"], "name": "Standard", "rate": "15", "isDefault": False}
    reduced = await saved(api, house, name="Reduced", rate="5.125", isDefault=True)
    assert (await api.data(LIST, house.admin))["taxProfiles"] == [reduced, standard]
    changed = await saved(api, house, id=standard["id"], name="Standard", rate="16", isDefault=True)
    assert changed == standard | {"rate": "16", "isDefault": True}
    assert await saved(api, house, id=standard["id"], name="Standard", rate="16.000", isDefault=True) == changed
    staff = await house.operator(Role.STAFF)
    assert (await api.data(LIST, staff))["taxProfiles"] == [reduced | {"isDefault": False}, changed]
    assert (await api.data(LIST, other_house.admin))["taxProfiles"] == []
    async with house.database.read(house.tenant.id) as session:
        rows = select(AuditEntry.action, AuditEntry.details).order_by(AuditEntry.id)
        trail = [tuple(row) for row in await session.execute(rows)]
    assert trail == [
        ("tax_profile.create", {"name": "Standard", "rate": "15", "is_default": "False"}),
        ("tax_profile.create", {"name": "Reduced", "rate": "5.125", "is_default": "True"}),
        ("tax_profile.update", {"rate": "16", "is_default": "True"}),
    ]


@pytest.mark.parametrize(
    ("changed", "code", "field"),
    [
        ({"rate": "-0.001"}, "INVALID", "rate"),
        ({"rate": "100.001"}, "INVALID", "rate"),
        ({"rate": "7.5001"}, "INVALID", "rate"),
        ({"name": " "}, "REQUIRED", "name"),
        ({"name": "x" * 101}, "INVALID", "name"),
        ({"name": "Taken"}, "TAKEN", "name"),
        ({"id": "tax_0"}, "NOT_FOUND", "id"),
        ({"id": "pkg_01a1ff36bbdf755fb571ee1db19fbec8"}, "NOT_FOUND", "id"),
        ({"id": "foreign"}, "NOT_FOUND", "id"),
    ],
)
async def test_a_profile_is_refused(
    api: Api, house: House, other_house: House, changed: dict[str, Any], code: str, field: str
) -> None:
    await saved(api, house, name="Taken", rate="1", isDefault=True)
    if changed.get("id") == "foreign":
        changed = {"id": (await saved(api, other_house, name="Theirs", rate="3"))["id"]}
    before = (await api.data(LIST, house.admin))["taxProfiles"]
    given = {"name": "Standard", "rate": "15", "isDefault": True} | changed
    payload = (await api.data(SAVE, house.admin, input=given))["taxProfileSave"]
    assert (faults(payload), payload["taxProfile"]) == ([(code, f"input.{field}")], None)
    assert (await api.data(LIST, house.admin))["taxProfiles"] == before


async def test_who_may_not_change_settings_saves_none(api: Api, house: House) -> None:
    manager = await house.operator(Role.MANAGER)
    answer = await api(SAVE, manager, input={"name": "Standard", "rate": "15"})
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_of_many_new_defaults_one_stays(api: Api, house: House) -> None:
    await asyncio.gather(*(saved(api, house, name=f"Rate {n}", rate=str(n), isDefault=True) for n in range(8)))
    profiles = (await api.data(LIST, house.admin))["taxProfiles"]
    assert (len(profiles), sum(profile["isDefault"] for profile in profiles)) == (8, 1)


async def test_a_package_has_a_profile_of_its_house(api: Api, house: House, other_house: House) -> None:
    foreign = (await saved(api, other_house, name="Theirs", rate="3"))["id"]
    for unfit in (foreign, "tax_0"):
        payload = await packaged(api, house, unfit)
        assert (faults(payload), payload["package"]) == ([("NOT_FOUND", "input.taxProfileId")], None)
    own = (await saved(api, house, name="Standard", rate="15"))["id"]
    package = (await packaged(api, house, own))["package"]
    assert package["taxProfile"] == {"name": "Standard", "rate": "15"}
    assert faults(await packaged(api, house, foreign, package["id"])) == [("NOT_FOUND", "input.taxProfileId")]
    assert (await packaged(api, house, None, package["id"]))["package"]["taxProfile"] is None
    async with house.database.read(house.tenant.id) as session:
        rows = select(AuditEntry.details).where(AuditEntry.action == "package.update")
        trail = (await session.scalars(rows)).all()
    assert trail == [{"tax_profile_id": [str(ids.decode("tax", own)), None]}]


async def test_which_rate_counts(api: Api, owner: Database, database: Database, other_house: House) -> None:
    """The package's own before the default before the tenant's; another house's default is none of them."""
    taxed = await factories.house(owner, database, "taxed", tax_rate="20")
    await saved(api, other_house, name="Theirs", rate="3", isDefault=True)
    package = (await packaged(api, taxed, None))["package"]["id"]

    async def rates() -> tuple[str, str]:
        async with database.read(taxed.tenant.id) as session:
            row = await session.get_one(Package, factories.uuid_of(package))
            own = await tax_profiles.rate_of(session, row, taxed.tenant)
            return f"{own:f}", f"{await tax_profiles.rate_of(session, None, taxed.tenant):f}"

    assert await rates() == ("20.000", "20.000")
    first = await saved(api, taxed, name="Default", rate="10", isDefault=True)
    assert await rates() == ("10.000", "10.000")
    none = await saved(api, taxed, name="None", rate="0")
    await packaged(api, taxed, none["id"], package)
    assert await rates() == ("0.000", "10.000")
    await saved(api, taxed, id=first["id"], name="Default", rate="10")
    assert await rates() == ("0.000", "20.000")


# From 31 January at ten in the morning, in Dhaka: the cycle, its days, in words, and the last day.
CYCLES = [
    (BillingCycle.DAILY, 1, "1 day", "2027-02-01"),
    (BillingCycle.DAILY, 30, "30 days", "2027-03-02"),
    (BillingCycle.WEEKLY, 30, "7 days", "2027-02-07"),
    (BillingCycle.WEEKLY, 14, "14 days", "2027-02-14"),
    (BillingCycle.MONTHLY, 30, "1 month", "2027-02-28"),
    (BillingCycle.MONTHLY, 32, "32 days", "2027-03-04"),
    (BillingCycle.QUARTERLY, 90, "3 months", "2027-04-30"),
    (BillingCycle.YEARLY, 365, "1 year", "2028-01-31"),
    (BillingCycle.ONE_TIME, 30, "30 days", "2027-03-02"),
]
DAYS = {
    **{"2027-02-01": "31 January to 1 February 2027", "2027-03-02": "31 January to 2 March 2027"},
    **{"2027-02-07": "31 January to 7 February 2027", "2027-02-14": "31 January to 14 February 2027"},
    **{"2027-02-28": "31 January to 28 February 2027", "2027-03-04": "31 January to 4 March 2027"},
    **{"2027-04-30": "31 January to 30 April 2027", "2028-01-31": "31 January 2027 to 31 January 2028"},
}


SETTINGS = """mutation ($given: TenantSettingsInput!) { tenantSettingsUpdate(input: $given) {
  settings { taxInclusive } errors { code } } }"""


@pytest.mark.parametrize("inclusive", [False, True], ids=["on-top", "included"])
async def test_the_first_period_of_the_wizard(api: Api, house: House, moved_clock: None, inclusive: bool) -> None:
    changed = await api.data(SETTINGS, house.admin, given={"taxInclusive": inclusive})
    assert changed["tenantSettingsUpdate"] == {"settings": {"taxInclusive": inclusive}, "errors": []}
    profile = await saved(api, house, name="Standard", rate="15")
    terms = {"price_minor": 10_000, "tax_profile_id": ids.decode("tax", profile["id"])}
    made = {}
    for number, (cycle, days, words, last) in enumerate(CYCLES):
        clock.set_clock("2027-01-31T04:00:00Z")
        package = await house.package(f"Home {number}", billing_cycle=cycle, validity_days=days, **terms)
        wizard = await Wizard.begin(api, house.admin)
        connection = {"other": {"configuration": "vlan 7"}}
        await wizard.fill(package, pays="100.00", number=number, Connection=connection)
        line = {
            "description": f"Home {number}, {words}, {DAYS[last]}",
            "explanation": f"{words} at 100.00 USD, {'with 15 % tax in it' if inclusive else 'and 15 % tax'}.",
            "quantity": "1",
            "unitPrice": {"amount": "100.00"},
            "amount": {"amount": "86.96" if inclusive else "100.00"},
            "tax": {"amount": "13.04" if inclusive else "15.00"},
            "taxRate": "15",
            "taxIncluded": inclusive,
        }
        review = (await wizard.read(f"review {{ lines {{ {LINE} }} invoiceTotal {{ amount }} expiresAt }}"))["review"]
        assert review["lines"] == [line]
        assert review["invoiceTotal"] == {"amount": "100.00" if inclusive else "115.00"}
        assert review["expiresAt"].startswith(f"{last}T04:00:")
        confirmed = await wizard.confirm()
        assert (confirmed["errors"], confirmed["invoice"]["status"]) == ([], "PAID" if inclusive else "PARTIALLY_PAID")
        service = confirmed["customer"]["services"][0]
        assert service["expiresAt"].startswith(f"{last}T04:00:")
        made[confirmed["invoice"]["id"]] = (review["invoiceTotal"], service, line)
    # What comes later changes nothing of them.
    await saved(api, house, id=profile["id"], name="Standard", rate="20")
    await api.data(SETTINGS, house.admin, given={"taxInclusive": not inclusive})
    read = f"""query ($id: ID!) {{ node(id: $id) {{ ... on Invoice {{
        total {{ amount }} periodStart periodEnd lines {{ {LINE} }} }} }} }}"""
    for invoice_id, (total, service, line) in made.items():
        invoice = (await api.data(read, house.admin, id=invoice_id))["node"]
        assert (invoice["total"], invoice["lines"], invoice["periodEnd"]) == (total, [line], service["expiresAt"])
        async with house.database.read(house.tenant.id) as session:
            row = (await session.scalars(select(Service).where(Service.username == service["username"]))).one()
        assert row.billing_anchor == row.started_at == datetime.fromisoformat(invoice["periodStart"])


async def test_the_books_balance_with_the_tax_in_the_price(api: Api, owner: Database, database: Database) -> None:
    """What is posted is what the invoice says: 86.96 earned, 13.04 of tax, 100.00 to pay."""
    house = await factories.house(owner, database, "gross", tax_rate="15", tax_inclusive=True)
    package = await house.package(price_minor=10_000)
    made = await (await (await Wizard.begin(api, house.admin)).fill(package, pays="100.00")).confirm()
    invoice, ledger = made["invoice"], made["customer"]["ledger"]["nodes"]
    assert (invoice["total"]["amount"], invoice["tax"]["amount"], invoice["status"]) == ("100.00", "13.04", "PAID")
    assert sorted((row["debit"] or row["credit"])["amount"] for row in ledger) == ["100.00", "100.00"]


async def test_the_database_itself_has_one_default(house: House) -> None:
    await house.add(TaxProfile(name="One", rate=Decimal(1), is_default=True))
    with pytest.raises(Exception, match="uq_tax_profiles_default"):
        await house.add(TaxProfile(name="Two", rate=Decimal(2), is_default=True))
    async with house.database.read(house.tenant.id) as session:
        assert await session.scalar(select(func.count()).select_from(TaxProfile)) == 1
